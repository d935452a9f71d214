"""Plans on the command line, byte for byte; and what goes for plans of any action: risks, interruptions, imports.

``UPDATE_GOLDEN=1`` writes the golden files anew; read the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from tests.cli.one_cloud import limits, run
from tests.packaging.test_imports_at_start import run as probe
from vgpu_console import cli_plan, log
from vgpu_console.actions.cloud_world import CloudWorld
from vgpu_console.actions.plan import HttpStep, Step, sealed
from vgpu_console.actions.quota import find_project, plan_set
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.sources.base import SourceError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    one = open_demo("small", living=False)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: one)
    return one


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan_set.txt", ["set", "vdi", "4", "--dry-run"]),
        ("plan_set.json", ["set", "vdi", "4", "--dry-run", "-o", "json"]),
        ("plan_default.txt", ["default", "3", "--dry-run"]),
        ("plan_clear.txt", ["clear", "vdi", "render", "--dry-run"]),
        ("import.txt", ["import", "--dry-run"]),
    ],
)
def test_the_whole_plan_is_the_golden_one(name: str, arguments: list[str], cloud: DemoCloud) -> None:
    result = run("quota", *arguments)
    text = re.sub(r"read \d+ s ago", "read 0 s ago", result.stdout)
    text = re.sub(r'"age_s": [\d.e-]+', '"age_s": 0', text)

    assert result.exit_code == 0, result.stderr
    golden = GOLDEN / f"quota_{name}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


# --- risks ------------------------------------------------------------------------------------------------------------


def destroy(way: cli_plan.Way, typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The whole way of a plan that destroys something, with this typed at its question."""

    def make(read: cli_plan.Reading) -> cli_plan.Proposal:
        project = find_project(read.facts, "render")
        plan = plan_set(read.facts, read.snapshot, project.id, "class:VGPU", 2, read.snapshot.taken_at)
        return cli_plan.Proposal([sealed(msgspec.structs.replace(plan, danger="destroy"))], several=False)

    monkeypatch.setattr(cli_plan, "_can_ask", lambda: True)
    with CliRunner().isolation(input=typed) as (_, err, _):
        try:
            code = cli_plan.change({"demo": (True, "--demo")}, "quota.set", way, make)
        finally:
            log.stop()
        assert err is not None
        return code, err.getvalue().decode()


@pytest.mark.parametrize(("typed", "code"), [("render\n", 0), ("y\n", 4), ("vdi\n", 4), ("\n", 4)])
def test_what_destroys_is_confirmed_by_its_name(
    typed: str, code: int, cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = cli_plan.Way(dry_run=False, yes=False, accept=frozenset(), expect=(), form="table")
    ended, shown = destroy(way, typed, monkeypatch)

    assert "Type render to go on" in shown
    assert ended == code
    assert limits(cloud).get("render") == (2 if code == 0 else None)


def test_what_destroys_needs_the_hash_beside_yes(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    way = cli_plan.Way(dry_run=False, yes=True, accept=frozenset(), expect=(), form="table")
    code, shown = destroy(way, "", monkeypatch)

    assert code == 4
    assert "needs --expect and the plan's hash" in shown
    assert "render" not in limits(cloud)


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_ctrl_c_in_the_middle_tells_what_was_done_and_what_was_not(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    take = CloudWorld.take
    steps: list[Step] = []

    def interrupted(self: CloudWorld, step: Step) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise KeyboardInterrupt
        take(self, step)

    monkeypatch.setattr(CloudWorld, "take", interrupted)
    result = run("quota", "set", "render", "admin", "vdi", "6", "--yes", "--accept", "quota.capacity", "-o", "json")
    told: list[dict[str, Any]] = json.loads(result.stdout)

    assert result.exit_code == 130
    assert [(r["target"]["name"], r["result"]) for r in told] == [
        ("render", "done"),
        ("admin", "interrupted"),
        ("vdi", "interrupted"),
    ]
    assert limits(cloud)["render"] == 6
    assert "admin" not in limits(cloud)
    listed = json.loads(run("journal", "-o", "json").stdout)
    assert [r["result"] for r in listed] == ["done", "interrupted"]


def test_projects_are_not_begun_where_their_default_could_not_be_made(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: CloudWorld, step: Step) -> None:
        raise SourceError("unreachable", "keystone does not answer")

    monkeypatch.setattr(CloudWorld, "take", fails)
    resource = "class:CUSTOM_L40S_12Q"
    result = run(
        "quota",
        "set",
        "render",
        "vdi",
        "6",
        "--resource",
        resource,
        "--yes",
        "--accept",
        "quota.capacity",
        "-o",
        "json",
    )

    assert result.exit_code == 1
    assert [(r["target"]["kind"], r["result"]) for r in json.loads(result.stdout)] == [
        ("registered limit", "failed"),
        ("project limit", "refused"),
        ("project limit", "refused"),
    ]
    assert f"not begun: the default of {resource} is not there" in result.stdout


def test_a_default_that_broke_off_is_mended_from_the_journal(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    before = limits(cloud)
    take = CloudWorld.take

    def breaks(self: CloudWorld, step: Step) -> None:
        if isinstance(step, HttpStep) and step.method == "POST":
            raise SourceError("unreachable", "keystone does not answer")
        take(self, step)

    monkeypatch.setattr(CloudWorld, "take", breaks)
    broken = run("quota", "default", "3", "--yes")
    assert broken.exit_code == 1
    assert limits(cloud) == {"default": 3}
    assert "set again by: vgpu-console quota restore" in broken.stderr

    monkeypatch.setattr(CloudWorld, "take", take)
    mended = run("quota", "restore", "--yes", "-o", "json")
    assert mended.exit_code == 0, mended.stdout + mended.stderr
    assert limits(cloud) == before | {"default": 3}

    by_id = json.loads(run("journal", "-o", "json").stdout)[0]["run"]
    again = run("quota", "restore", by_id, "--yes")
    assert (again.exit_code, "already so" in again.stdout) == (0, True)


def test_there_is_nothing_to_restore_without_a_journal(cloud: DemoCloud) -> None:
    for arguments, words in (([], "no change of a default that took"), (["feedbeef"], "no change 'feedbeef' is")):
        result = run("quota", "restore", *arguments, "--yes")
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr


# --- imports ----------------------------------------------------------------------------------------------------------

_CLIENTS = {"openstack", "keystoneauth1", "requests", "libvirt", "textual", "asyncssh", "rich", "msgspec"}


@pytest.mark.parametrize(
    "arguments", [["quota", "--help"], ["quota", "set", "--help"], ["quota", "audit", "-h"], ["journal", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    ended = probe(tmp_path, *arguments)

    assert ended.code in (0, None)
    assert "Examples:" in ended.stdout
    assert ended.modules & _CLIENTS == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--demo", "quota", "set", "vdi", "6", "--yes"],
        ["--demo", "quota", "audit"],
        ["--demo", "quota", "what-if", "vdi", "desktop.a40-8q"],
    ],
)
def test_no_quota_command_loads_a_screen(arguments: list[str], tmp_path: Path) -> None:
    ended = probe(tmp_path, *arguments)

    assert ended.code in (0, None, 4)
    assert ended.stdout
    assert "textual" not in ended.modules
