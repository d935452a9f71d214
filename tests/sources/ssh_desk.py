"""An operator's own side of SSH for the tests: a key, known hosts, and shells made from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources.ssh_servers import AsyncSshServer, OpenSshServer, make_key
from vgpu_console.sources.ssh_shell import AsyncSshShell

HOST = "127.0.0.1"


class Desk:
    """An operator's ~/.ssh with one key, and shells made from it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ssh = home / ".ssh"
        self.ssh.mkdir(parents=True)
        self.key = make_key(self.ssh, "operator")
        self.shells: list[AsyncSshShell] = []

    def trust(self, port: int, host_key: Path, file: str = "known_hosts") -> Path:
        path = self.ssh / file
        with path.open("a") as f:
            f.write(f"[{HOST}]:{port} {Path(f'{host_key}.pub').read_text()}")
        return path

    def shell(self, server: AsyncSshServer | OpenSshServer | int, **more: object) -> AsyncSshShell:
        port = server if isinstance(server, int) else server.port
        settings: dict[str, object] = {"port": port, "keys": [self.key], "only": None, **more}
        shell = AsyncSshShell(**settings)  # type: ignore[arg-type]
        self.shells.append(shell)
        return shell


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The user's home is a new one without an agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    desk = Desk(tmp_path / "home")
    yield desk
    for shell in desk.shells:
        shell.close()


@pytest.fixture
def server(tmp_path: Path, desk: Desk) -> Iterator[AsyncSshServer]:
    """A server that the desk trusts and that takes its key."""
    server = AsyncSshServer(tmp_path, Path(f"{desk.key}.pub"))
    desk.trust(server.port, server.host_key)
    yield server
    server.close()
