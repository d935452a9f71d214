"""The command that a finding prints is one that the console takes, and it mends what the finding is about."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.one_cloud import run
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.ill_hosts import ILL

MENDED = (
    "vfs-off",
    "vfs-partial",
    "mdev-not-active",
    "mdev-cannot-start",
    "mdev-parent-lost",
    "mdev-no-autostart",
    "free-mdev-pins-type",
    "domain-mdev-missing",
    "vendor-types-lost",
    "vendor-vf-untyped",
)
"""Those that commands of the console make whole."""

LEFT = {"domain-mdev-missing": set[str]()}
"""What is still to be done after it."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def one_cloud(scenario: str, monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    """The cloud that the commands of a test share."""
    cloud = open_demo(scenario)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: cloud)
    return cloud


def look(scenario: str) -> Snapshot:
    fleet = Fleet(Settings(), DemoChoice(scenario))
    try:
        return fleet.snapshot(20.0)
    finally:
        fleet.close()


def found(diagnosis: str) -> Finding:
    return next(f for f in look(f"ill-{diagnosis}").findings if f.id == diagnosis)


def commands(diagnosis: str) -> list[list[str]]:
    """What the finding says to do, command by command."""
    command = found(diagnosis).command
    assert command, "nothing is said about what to do"
    return [shlex.split(one, comments=True) for one in command.split(" && ")]


@pytest.mark.parametrize("diagnosis", sorted(ILL))
def test_a_command_of_the_console_is_one_that_it_takes(
    diagnosis: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_cloud(f"ill-{diagnosis}", monkeypatch)
    name, *words = commands(diagnosis)[0]
    if name != "vgpu-console":
        assert name in ("openstack", "ssh", "virsh")
        return
    changes = words[0] in ("mdev", "sriov", "migrate") and words[1] != "types"
    result = run(*words, *(["--dry-run"] if changes else []))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("diagnosis", MENDED)
def test_after_it_the_fleet_is_well(diagnosis: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = one_cloud(f"ill-{diagnosis}", monkeypatch)
    assert found(diagnosis).action
    for _, *words in commands(diagnosis):
        over_ssh = ["--over-ssh"] if words[0] == "sriov" else []
        shown = json.loads(run(*words, *over_ssh, "--dry-run", "-o", "json").stdout)
        plan = shown[0] if isinstance(shown, list) else shown
        accepted = [w for c in plan["checks"] if c["status"] != "pass" for w in ("--accept", c["id"])]
        result = run(*words, *over_ssh, "--yes", "--expect", plan["hash"], *accepted)
        assert result.exit_code == 0, result.output
    cloud.state.advance(cloud.clock() + 120.0)  # nova-compute's next update
    left = {f.id for f in look("well").findings}
    assert left == LEFT.get(diagnosis, set())
