"""The command on a canned fleet, in this process and in one of its own, away from the user's own files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.canned_console import CASES, Reader, runtime_module
from vgpu_console import log
from vgpu_console.cli import console

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any configuration; the log of a test goes there."""
    for name in list(os.environ):
        if name.startswith(("VGPU_CONSOLE_", "OS_", "XDG_")) or name in ("NO_COLOR", "SSH_CONNECTION", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``invoke("partial", "hosts", "-o", "json")``: a command in this process, on one of the canned fleets."""

    def run(case: str | Reader, *arguments: str) -> Result:
        reader = CASES[case] if isinstance(case, str) else case
        monkeypatch.setitem(sys.modules, "vgpu_console.runtime", runtime_module(reader))
        try:
            return CliRunner().invoke(console, list(arguments), prog_name="vgpu-console")
        finally:
            log.stop()

    return run


@pytest.fixture
def spawn(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same in a process of its own, as an operator runs it; stdin, stdout and stderr are no terminals."""

    def run(case: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.cli.canned_console", case, *arguments],
            cwd=ROOT,
            env={"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8", "TERM": "xterm-256color", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
