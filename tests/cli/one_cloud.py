"""One embedded cloud that several commands in a row work on, in this process or over a loopback port."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner, Result

from tests.cli.conftest import ROOT
from vgpu_console import log
from vgpu_console.cli import console
from vgpu_console.simulator import DemoCloud

VGPU = "class:VGPU"
CTRL_C = b"\x03"


def run(*arguments: str) -> Result:
    """A command in this process on the cloud that ``--demo`` opens; no stream is a terminal."""
    try:
        return CliRunner().invoke(console, ["--demo", *arguments], prog_name="vgpu-console")
    finally:
        log.stop()


def limits(cloud: DemoCloud, resource: str = VGPU) -> dict[str, int]:
    """What its Keystone holds: ``default``, and the projects that have a limit of their own."""
    state = cloud.state
    found = {}
    for registered in state.registered_limits.values():
        if registered.resource_name == resource:
            found["default"] = registered.default_limit
    for limit in state.limits.values():
        if limit.resource_name == resource:
            owner = state.projects.get(limit.project_id or "")
            found[owner.name if owner else str(limit.project_id)] = limit.resource_limit
    return found


def project_id(cloud: DemoCloud, name: str) -> str:
    """The id of a project whose name is there once."""
    return next(p.id for p in cloud.state.projects.values() if p.name == name)


def environment(home: Path, clouds_yaml: Path, cloud: str = "demo", **more: str) -> dict[str, str]:
    """What points a process of its own at the served cloud; there are no hosts behind it."""
    return {
        "HOME": str(home),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
        "OS_CLOUD": cloud,
        "VGPU_CONSOLE_LIBVIRT_ENABLED": "no",
        "VGPU_CONSOLE_SSH_ENABLED": "no",
        **more,
    }


def spawn(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "vgpu_console", *arguments],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


class Ended(NamedTuple):
    """How a command ended, what it wrote as data, and what its terminal showed."""

    code: int
    stdout: str
    shown: str


def _take_terminal() -> None:
    """Makes stdin the terminal that ctrl+c comes from; runs in the child before the command."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def converse(
    environ: dict[str, str], arguments: Sequence[str], answer: Callable[[str], bytes], *, ahead: bytes = b""
) -> Ended:
    """A command whose stdin and stderr are a terminal. ``answer`` is given what it showed up to its question.

    ``ahead`` is typed before the command has shown anything.
    """
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vgpu_console", *arguments],
        cwd=ROOT,
        env=environ,
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=inner,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(inner)
    os.write(outer, ahead)
    shown, typed = "", b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([outer], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            if typed == CTRL_C:  # a signal between the question and the read is seen only when the read returns
                os.write(outer, typed)
            continue
        try:
            chunk = os.read(outer, 65_536)
        except OSError:  # Linux says that the last writer has gone with EIO
            break
        shown += chunk.decode(errors="replace")
        if not typed and shown.endswith("[y/N]: "):
            typed = answer(shown)
            os.write(outer, typed)
    else:
        process.kill()
    assert process.stdout is not None
    out = process.stdout.read().decode()
    code = process.wait(30)
    os.close(outer)
    shown = re.sub(r"\r\x1b\[K[^\r\n]*(?=\r\x1b\[K)", "", shown)  # the line of progress
    return Ended(code, out, shown.replace("\r\x1b[K", "").replace("\r\n", "\n"))
