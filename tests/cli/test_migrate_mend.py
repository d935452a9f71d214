"""``migrate abort``, ``force-complete``, ``reset`` and ``heal``: what is sent, what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.moving_fleet import MovingFleet
from tests.cli.one_cloud import run
from vgpu_console.simulator.state import Migration


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> MovingFleet:
    return MovingFleet(monkeypatch)


@pytest.fixture
def running(fleet: MovingFleet) -> Migration:
    """The migration of train-1, which sends its memory."""
    fleet.cloud.state.migration_seconds = 60.0
    migration = fleet.begin("train-1", "gpu-b")
    fleet.until(migration, "running")
    return migration


def outcome(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = run("migrate", *arguments, "--yes", "-o", "json")
    assert result.exit_code == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: str) -> str:
    result = run("migrate", *arguments, "--yes")
    assert result.exit_code == 4, result.stdout + result.stderr
    return result.stdout + result.stderr


# --- abort and force --------------------------------------------------------------------------------------------------


def test_a_running_one_is_aborted_and_its_end_is_told_by_follow(fleet: MovingFleet, running: Migration) -> None:
    assert outcome("abort", "train-1")["result"] == "done"
    assert running.ended_status

    told = run("migrate", "follow", "train-1", "-o", "json")

    assert (told.exit_code, json.loads(told.stdout)["end"]) == (1, "aborted")
    assert fleet.where()["train-1"] == "gpu-a"


def test_the_abort_of_one_that_waits_says_what_it_leaves(fleet: MovingFleet, running: Migration) -> None:
    waiting = fleet.begin("train-2", "gpu-b")
    fleet.until(waiting, "queued")

    dry = run("migrate", "abort", "train-2", "--dry-run")

    assert dry.exit_code == 0
    assert "stays reserved until its nova-compute is restarted" in dry.stdout
    assert outcome("abort", "train-2")["result"] == "done"
    assert waiting.status == "cancelled"


def test_one_that_has_ended_cannot_be_aborted_or_forced(fleet: MovingFleet) -> None:
    fleet.until(fleet.begin("web-1", "gpu-b"), "completed")

    assert "has ended: completed" in refused("abort", "web-1")
    assert "this one is completed" in refused("force-complete", "web-1")


def test_force_says_that_it_pauses_the_guest_and_then_does(fleet: MovingFleet, running: Migration) -> None:
    dry = run("migrate", "force-complete", "train-1", "--dry-run")

    assert "Nova pauses the guest at once" in dry.stdout
    assert outcome("force-complete", "train-1")["result"] == "done"
    assert running.suspended is not None
    told = json.loads(run("migrate", "follow", "train-1", "-o", "json").stdout)
    assert (told["end"], fleet.where()["train-1"]) == ("forced", "gpu-b")


# --- reset and heal ---------------------------------------------------------------------------------------------------


def test_a_server_in_error_whose_guest_runs_is_reset(fleet: MovingFleet, running: Migration) -> None:
    outcome("abort", "train-1")
    fleet.wait(5)
    assert fleet.named("train-1").status == "ERROR"

    found = outcome("reset", "train-1")

    assert found["result"] == "done"
    assert fleet.named("train-1").status == "ACTIVE"


def test_a_server_in_error_without_a_guest_is_not_called_active(fleet: MovingFleet, running: Migration) -> None:
    fleet.cloud.migrations.fault = running.fault = "guest-dies"
    fleet.until(running, "error")

    words = refused("reset", "train-1")

    assert "no guest of it runs on gpu-a: ACTIVE would be untrue" in words
    assert fleet.named("train-1").status == "ERROR"


def test_where_libvirt_is_silent_the_reset_must_be_accepted(fleet: MovingFleet, running: Migration) -> None:
    outcome("abort", "train-1")
    fleet.wait(5)
    fleet.cloud.faults.libvirt["gpu-a"] = "unreachable"

    assert "--accept reset.guest-runs" in refused("reset", "train-1")
    assert outcome("reset", "train-1", "--accept", "reset.guest-runs")["result"] == "done"


def test_a_server_that_is_well_is_not_reset(fleet: MovingFleet) -> None:
    assert "not in ERROR: there is nothing to reset" in refused("reset", "train-1")


def test_what_an_ended_migration_holds_is_freed_by_server_or_by_its_uuid(fleet: MovingFleet) -> None:
    fleet.cloud.migrations.fault = "post-fails"
    migration = fleet.begin("train-1", "gpu-b")
    fleet.until(migration, "error")
    assert migration.uuid in fleet.cloud.state.placement.consumers

    dry = json.loads(run("migrate", "heal", "train-1", "--dry-run", "-o", "json").stdout)
    found = outcome("heal", migration.uuid, *[w for c in dry["checks"] for w in ("--accept", c["id"])])

    assert dry["target"]["id"] == migration.uuid
    assert found["result"] == "done"
    assert migration.uuid not in fleet.cloud.state.placement.consumers
    assert "there is nothing to heal" in refused("heal", "train-1")


def test_what_a_running_one_holds_is_not_touched(fleet: MovingFleet, running: Migration) -> None:
    assert "what one under way holds is in use" in refused("heal", "train-1")
    assert running.uuid in fleet.cloud.state.placement.consumers
