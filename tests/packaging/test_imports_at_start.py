"""What a command loads: reading on the command line must not pay for the screens, nor ``--help`` for the clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

RUN = """
import json, runpy, sys
report, sys.argv = sys.argv[1], ["vgpu-console", *sys.argv[2:]]
code = 0
try:
    runpy.run_module("vgpu_console", run_name="__main__", alter_sys=False)
except SystemExit as end:
    code = end.code
with open(report, "w") as file:
    json.dump({"code": code, "modules": sorted({name.split(".")[0] for name in sys.modules})}, file)
"""

READ_COMMANDS = ("hosts", "gpus", "mdevs", "types", "servers", "quota", "migrations", "providers")


class Run(NamedTuple):
    """How one command ended, what it wrote, and the top-level modules it had loaded by then."""

    code: int | None
    stdout: str
    stderr: str
    modules: set[str]


def run(home: Path, *arguments: str) -> Run:
    """Run the command in a process of its own, as its script does, with no configuration but the built-in one."""
    report = home / "report.json"
    environment = {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(report), *arguments],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert report.exists(), done.stderr
    result = json.loads(report.read_text())
    return Run(result["code"], done.stdout, done.stderr, set(result["modules"]))


def test_the_probe_sees_what_is_loaded(tmp_path: Path) -> None:
    """The probe itself: a module that the command certainly needs is in its report."""
    assert {"vgpu_console", "click"} <= run(tmp_path, "--help").modules


def test_help_loads_no_client_and_no_screen(tmp_path: Path) -> None:
    ended = run(tmp_path, "--help")

    assert ended.code in (0, None)
    assert "Usage" in ended.stdout
    assert ended.modules & {"openstack", "keystoneauth1", "requests", "libvirt", "textual", "asyncssh"} == set()


@pytest.mark.parametrize("command", [*READ_COMMANDS, "snapshot", "report"])
def test_a_read_command_loads_no_screen(tmp_path: Path, command: str) -> None:
    options = {"snapshot": [], "report": ["--format", "json"]}.get(command, ["-o", "json"])
    ended = run(tmp_path, "--demo", command, *options)

    # 5 says that a part of the fleet could not be reached, which the demo may show on purpose.
    assert ended.code in (0, None, 5), ended.stderr
    answer: Any = json.loads(ended.stdout)
    assert answer, "an empty answer proves nothing about what a full one loads"
    assert "textual" not in ended.modules
