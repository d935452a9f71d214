"""SSH servers on loopback for the tests: asyncssh's own, which the tests can look into, and OpenSSH's where it is."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import asyncssh


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def make_key(folder: Path, name: str, passphrase: str | None = None) -> Path:
    """A key pair on disk, as ssh-keygen writes it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / name
    key.write_private_key(path, "pkcs8-pem" if passphrase else "openssh", passphrase=passphrase)
    path.chmod(0o600)
    key.write_public_key(f"{path}.pub")
    return path


class AsyncSshServer:
    """Really runs commands with /bin/sh, and counts connections and commands."""

    def __init__(self, folder: Path, authorized: Path) -> None:
        self.host_key = make_key(folder, "host_key")
        self.port = 0
        self.logins = 0
        self.running = 0
        self.most_running = 0
        self._authorized = authorized
        self._links: list[asyncssh.SSHServerConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._acceptor = self._call(self._listen())

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> Any:
        outer = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                outer._links.append(conn)

            def auth_completed(self) -> None:
                outer.logins += 1

        acceptor = await asyncssh.listen(
            "127.0.0.1", self.port, server_factory=Server, server_host_keys=[str(self.host_key)],
            authorized_client_keys=str(self._authorized), process_factory=self._process, encoding=None,
        )  # fmt: skip
        self.port = acceptor.get_port()
        return acceptor

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            child = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", process.command or "true", stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            try:
                await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
                process.exit(await child.wait())
            finally:
                if child.returncode is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    await child.communicate()
        except (OSError, asyncssh.Error):
            process.exit(255)
        finally:
            self.running -= 1

    def drop_links(self) -> None:
        """Cut every connection, as a restarted daemon or a lost line does."""

        async def cut() -> None:
            for link in self._links:
                link.abort()
            self._links.clear()

        self._call(cut())

    def close(self) -> None:
        """Stop listening and end the thread."""

        async def stop() -> None:
            self._acceptor.close()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.drop_links()
        self._call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _pump(reader: Any, writer: Any) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def sshd_path() -> str | None:
    """OpenSSH's server, which stands outside a user's PATH on most systems."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin:/sbin")


def sshd_obstacle() -> str | None:
    """Why OpenSSH's server cannot be run here, or None."""
    if sshd_path() is None:
        return "no sshd on this machine"
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam("sshd")
    except KeyError:
        return "sshd needs the user sshd when root runs it"
    return None if os.path.isdir("/run/sshd") else "sshd needs the folder /run/sshd when root runs it"


class OpenSshServer:
    """sshd of this machine as the current user, on a free loopback port, with keys of its own."""

    def __init__(self, folder: Path, authorized: Path) -> None:
        self.host_key = make_key(folder, "host_key")
        self.port = free_port()
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\nAuthorizedKeysFile {authorized}\n"
            f"StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        self._log = folder / "sshd.log"
        command = [str(sshd_path()), "-D", "-e", "-f", str(config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            if "Server listening" in self._log.read_text():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"sshd did not start: {self._log.read_text()}")

    def close(self) -> None:
        """Stop it; sessions end with their clients."""
        self._process.terminate()
        self._process.wait(5)
