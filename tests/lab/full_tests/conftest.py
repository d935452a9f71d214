"""One full lab for the session, an SSH agent that holds its key, and consoles on it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, SOURCE, FullLab
from tests.lab.full_tests.libvirt_witness import Witness


@pytest.fixture(scope="session")
def full_lab() -> Iterator[FullLab]:
    """A lab of its own; there is one on a machine. LAB_KEEP=1 uses the one that is up and leaves it up."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    keep = os.environ.get("LAB_KEEP") == "1"
    made = FullLab()
    if keep and made.is_up:
        made.clean()
    else:
        made.up()
    yield made
    if not keep:
        made.down()


@pytest.fixture(scope="session")
def agent(full_lab: FullLab) -> Iterator[str]:
    """The socket of an SSH agent with the key of the hosts, as an operator would have it."""
    told = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(SSH_\w+)=([^;]+);", told))
    subprocess.run(["ssh-add", "-q", str(full_lab.key)], env={**os.environ, **found}, check=True)
    yield found["SSH_AUTH_SOCK"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(found["SSH_AGENT_PID"]), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _pointed_at_lab(full_lab: FullLab, agent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The lab's clouds.yaml and agent, no other OS_* variable, nothing written to the user's own folders."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(full_lab.clouds_yaml))
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def clean_lab(full_lab: FullLab) -> Iterator[FullLab]:
    """The lab without servers, before and after."""
    yield full_lab
    full_lab.clean()


@pytest.fixture(scope="module")
def slow_line(full_lab: FullLab) -> Iterator[None]:
    """Migrations from the source are so slow that there is time to do something to them."""
    full_lab.set(SOURCE, libvirt__live_migration_bandwidth="10", libvirt__live_migration_downtime="500")
    yield
    full_lab.set(SOURCE, libvirt__live_migration_bandwidth="", libvirt__live_migration_downtime="")


@pytest.fixture
def console(clean_lab: FullLab, tmp_path: Path) -> Iterator[FullConsole]:
    """A console of the administrator."""
    made = FullConsole(clean_lab, tmp_path)
    yield made
    made.close()


@pytest.fixture
def server(clean_lab: FullLab) -> Any:
    """A server with a vGPU on the first host."""
    return clean_lab.boot("mover")


@pytest.fixture
def witness(clean_lab: FullLab, server: Any) -> Iterator[Witness]:
    """libvirt's own word of the server's migration."""
    made = Witness(clean_lab, server.id, SOURCE, DESTINATION)
    yield made
    made.close()
