"""``vgpu-console quota …`` on the real cloud, as a script would call it: exit codes, JSON, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.quota_console import VGPU, ask_for_server
from tests.lab.test_console_command import Console

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

ANYWAY = ("--yes", "--accept", "quota.capacity")


@pytest.fixture
def console(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Console:
    """The command on the lab, with a journal of its own."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Console(lab, tmp_path)


def _one(console: Console, *arguments: str, code: int = 0, cloud: str = "lab-admin") -> Any:
    done = console(*arguments, "-o", "json", cloud=cloud)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_set_and_what_if_and_nova(console: Console, lab: Lab, sdk_system: Any) -> None:
    row = next(r for r in console.json("quota") if r["project"] == "vdi")
    used = row["used"]
    assert (row["used_by_instances"], row["used_by_migrations"], row["leaked"], row["limit_id"]) == (used, 0, 0, None)
    plan = _one(console, "quota", "set", "vdi", str(used), "--dry-run")
    assert set(plan) >= {"action", "target", "before", "after", "steps", "checks", "inverse", "commands", "hash"}
    unasked = console("quota", "set", "vdi", str(used))
    assert (unasked.returncode, "--yes" in unasked.stderr) == (4, True)
    done = _one(console, "quota", "set", "vdi", str(used), "--expect", plan["hash"], *ANYWAY)
    assert (done["result"], done["observed"]) == ("done", {"limit": used})
    assert _one(console, "quota", "what-if", "vdi", "t4-4q", code=4)["quota"]["verdict"] == "no"
    assert ask_for_server(lab, "lab-vdi", "t4-4q")[0] == 403
    stale = console("quota", "set", "vdi", "9", "--expect", plan["hash"], *ANYWAY)
    assert (stale.returncode, "the plan has changed" in stale.stderr) == (4, True)
    runs = json.loads(console("journal", "-o", "json").stdout)
    assert [(r["title"], r["result"], r["cloud"]) for r in runs] == [("class:VGPU of vdi", "done", "lab-admin")]


@pytest.mark.parametrize("cloud", ["lab-auditor", "lab-reader"])
def test_who_may_not_is_told_the_role(console: Console, cloud: str, sdk_system: Any) -> None:
    done = console("quota", "set", "ml-research", "9", *ANYWAY, "--accept", "quota.below-usage", cloud=cloud)
    assert done.returncode == 4, done.stderr
    assert "needs role admin" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert {limit.resource_limit for limit in sdk_system.identity.limits(resource_name=VGPU)} == {6}


def test_bad_input_is_one_line_and_nothing_is_sent(console: Console, lab: Lab) -> None:
    sent = (lab.home / "log" / "identity.requests").read_text().count("POST\t/v3/limits")
    for arguments, words in (
        (("vdi", "-2"), "too low"),
        (("vdi", "99999999999"), "too high"),
        (("vdi", "four"), "not a whole number"),
        (("ml-reserch", "4"), "is it"),
    ):
        done = console("quota", "set", *arguments, *ANYWAY)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("vgpu-console:")]) == 1
    assert (lab.home / "log" / "identity.requests").read_text().count("POST\t/v3/limits") == sent


def test_audit_and_import(console: Console) -> None:
    rows = _one(console, "quota", "audit")
    assert all(set(row) >= {"id", "severity", "object", "message", "command"} for row in rows)
    assert {row["id"] for row in rows if row["severity"] != "info"} == set()
    found = _one(console, "quota", "import", "--project", "ml-research", "--dry-run")
    assert (found["plans"], found["missing"]) == ([], [])
    assert {row["status"] for row in found["rows"]} == {"exists"}
