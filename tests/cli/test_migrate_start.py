"""``migrate start`` and ``follow`` from argument to the end of the migration, on the embedded cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.moving_fleet import MovingFleet
from tests.cli.one_cloud import run
from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.journal import Entry, Journal
from vgpu_console.simulator import HttpFault

PROMISED = ["migration", "server", "source", "destination", "end", "title", "explanation", "predicted_downtime_ms"]
ACCEPT = ("--accept", "migrate.dirty-tracking")
START = ("migrate", "start", "train-1", "--yes", *ACCEPT)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> MovingFleet:
    return MovingFleet(monkeypatch)


def journal(home: Path) -> list[Entry]:
    return list(Journal(home / ".local" / "state" / "vgpu-console" / "journal-demo.jsonl").entries())


def started(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = run(*START, *arguments, "-o", "json")
    assert result.exit_code == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# --- to its end -------------------------------------------------------------------------------------------------------


def test_it_is_followed_to_its_end_and_its_downtime_is_measured(fleet: MovingFleet, home: Path) -> None:
    found = started("--to", "gpu-c")

    [migration] = fleet.cloud.state.migrations.values()
    assert list(found)[:10] == [*PROMISED, "downtime_ms", "measured_by"]
    assert found["migration"] == migration.uuid
    assert (found["server"], found["source"], found["destination"]) == ("train-1", "gpu-a", "gpu-c")
    assert (found["end"], found["mends"]) == ("completed", [])
    assert found["downtime_ms"] == migration.downtime_ms
    assert found["predicted_downtime_ms"]["low"] > 10_000
    assert {c["status"] for c in found["verified"]} == {"pass"}
    assert fleet.where()["train-1"] == "gpu-c"
    begun, *_, outcome = journal(home)
    assert begun.overrides == ("migrate.dirty-tracking",)
    assert (outcome.event, migration.uuid in outcome.message) == ("outcome", True)


def test_what_happens_is_told_on_stderr_and_only_the_result_on_stdout(fleet: MovingFleet) -> None:
    result = run(*START)

    assert result.exit_code == 0
    assert result.stdout.startswith("train-1: completed: gpu-a → gpu-b\n")
    assert " ms (predicted 19.8 to 50.3 s), by the JOB_COMPLETED event of the source" in result.stdout
    told = [line.partition(": ")[2].split(" ")[0] for line in result.stderr.splitlines()]
    assert [told.index(word) for word in ("queued", "preparing", "memory", "post")] == sorted(
        told.index(word) for word in ("queued", "preparing", "memory", "post")
    )


def test_without_following_it_is_only_begun(fleet: MovingFleet) -> None:
    result = run(*START, "--no-follow", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["result"]) == (0, "done")
    [migration] = fleet.cloud.state.migrations.values()
    assert migration.ended is None
    assert f"to follow it: vgpu-console migrate follow {fleet.named('train-1').id}" in result.stderr


def test_a_failure_is_told_as_what_it_was_with_what_mends_it(fleet: MovingFleet) -> None:
    fleet.cloud.migrations.fault = "destination-dies"

    found = started(code=1)

    assert found["end"] == "destination-died"
    assert found["downtime_ms"] is None
    assert found["not_measured"]
    commands = [m["command"] for m in found["mends"]]
    assert f"vgpu-console migrate reset {fleet.named('train-1').id}" in commands
    assert fleet.where()["train-1"] == "gpu-a"


def test_a_nova_that_falls_silent_is_told_with_its_age_and_the_end_is_found_all_the_same(fleet: MovingFleet) -> None:
    turns = 0

    def silent_for_a_while() -> None:
        nonlocal turns
        turns += 1
        if turns == 40:
            fleet.cloud.faults.http["compute"] = HttpFault("status")
        if turns == 140:
            del fleet.cloud.faults.http["compute"]

    fleet.before_rest = silent_for_a_while
    fleet.cloud.state.migration_seconds = 40.0

    result = run(*START)

    assert result.exit_code == 0, result.stderr
    assert "nova does not answer for " in result.stderr
    assert result.stdout.startswith("train-1: completed")


# --- ctrl+c and follow ------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_it_running_and_follow_takes_it_up(fleet: MovingFleet) -> None:
    def ctrl_c() -> None:
        if any(m.status == "running" for m in fleet.cloud.state.migrations.values()):
            raise KeyboardInterrupt

    fleet.before_rest = ctrl_c
    left = run(*START)
    fleet.before_rest = lambda: None
    [kept] = json.loads(run("migrations", "--history", "-o", "json").stdout)
    followed = run("migrate", "follow", "train-1", "-o", "json")

    assert (left.exit_code, left.stdout) == (130, "")
    assert f"to follow it again: vgpu-console migrate follow {fleet.named('train-1').id}" in left.stderr
    assert followed.exit_code == 0, followed.stderr
    found = json.loads(followed.stdout)
    assert found["end"] == "completed"
    assert (kept["end"], kept["type"]) == (None, "GRID A100-20C")
    predicted = {"low": round(kept["predicted_low_ms"]), "high": round(kept["predicted_high_ms"])}
    assert found["predicted_downtime_ms"] == predicted  # by the console that was there when it began
    assert found["downtime_ms"] == next(iter(fleet.cloud.state.migrations.values())).downtime_ms


def test_somebody_elses_migration_can_be_followed(fleet: MovingFleet, home: Path) -> None:
    migration = fleet.begin("train-2", "gpu-b")
    fleet.until(migration, "running")

    result = run("migrate", "follow", "train-2", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["migration"]) == (0, migration.uuid)
    assert journal(home) == []


def test_what_could_not_be_read_for_it_is_told(fleet: MovingFleet) -> None:
    """Whether post-copy is permitted is in nova.conf alone: who cannot read it must not wonder why it stays unknown."""
    migration = fleet.begin("train-2", "gpu-b")
    fleet.until(migration, "running")
    fleet.cloud.faults.ssh["gpu-b"] = "unreachable"

    result = run("migrate", "follow", "train-2")

    assert result.exit_code == 0, result.stderr
    assert "  ssh:gpu-b: gpu-b: no route to host" in result.stderr.splitlines()


def test_one_that_never_moved_cannot_be_followed(fleet: MovingFleet) -> None:
    result = run("migrate", "follow", "train-1")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "train-1 has never been live-migrated" in result.stderr


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(fleet: MovingFleet, *arguments: str, code: int = 4) -> str:
    result = run("migrate", "start", *arguments)
    assert result.exit_code == code, result.stdout + result.stderr
    assert fleet.cloud.state.migrations == {}
    return result.stdout + result.stderr


def test_a_warning_that_nobody_accepted(fleet: MovingFleet) -> None:
    assert "to accept it: --accept migrate.dirty-tracking" in refused(fleet, "train-1", "--yes")


def test_without_a_terminal_and_without_yes(fleet: MovingFleet) -> None:
    assert "needs --yes" in refused(fleet, "train-1", *ACCEPT)


def test_on_a_read_only_console(fleet: MovingFleet) -> None:
    assert "read-only" in refused(fleet, "train-1", "--yes", *ACCEPT, "--read-only")


def test_to_a_host_that_cannot_take_it_whatever_is_accepted(fleet: MovingFleet) -> None:
    fleet.cloud.state.hosts["gpu-b"].status = "disabled"

    words = refused(fleet, "train-1", "--to", "gpu-b", "--yes", *ACCEPT, "--accept", "migrate.destination-service")

    assert "gpu-b is disabled" in words


def test_where_no_host_can_take_it_each_is_named(fleet: MovingFleet) -> None:
    for name in ("gpu-b", "gpu-c"):
        fleet.cloud.state.hosts[name].status = "disabled"

    words = refused(fleet, "train-1", "--yes", *ACCEPT)

    assert "gpu-b: gpu-b is disabled" in words
    assert "gpu-c: gpu-c is disabled" in words


def test_a_longer_pause_than_is_allowed(fleet: MovingFleet) -> None:
    assert "can go from gpu-a to no other host" in refused(fleet, "train-1", "--yes", *ACCEPT, "--max-downtime", "1")


def test_an_unknown_server(fleet: MovingFleet) -> None:
    assert "no server has the id or name" in refused(fleet, "nobody", "--yes", code=2)


def test_another_plan_than_was_expected(fleet: MovingFleet) -> None:
    assert "the plan has changed" in refused(fleet, "train-1", "--yes", *ACCEPT, "--expect", "0123456789abcdef")


def test_a_server_that_changed_since_the_check_is_refused_and_checked_again(
    fleet: MovingFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = FleetWorld.observe

    def changed(self: FleetWorld, plan: Any) -> dict[str, Any]:
        fleet.wait(1)
        fleet.cloud.compute.set(fleet.named("train-1"), "ACTIVE", "active", "rebooting")
        return observe(self, plan)

    monkeypatch.setattr(FleetWorld, "observe", changed)

    words = refused(fleet, "train-1", "--yes", *ACCEPT)

    assert "task was none and is rebooting" in words
    assert "checked again: no: train-1 can go from gpu-a to no other host" in words


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_gives_the_plan_that_is_then_expected_and_sends_nothing(fleet: MovingFleet) -> None:
    dry = run("migrate", "start", "train-1", "--to", "gpu-c", "--dry-run", "-o", "json")
    plan = json.loads(dry.stdout)

    assert dry.exit_code == 0
    assert fleet.cloud.state.migrations == {}
    assert plan["steps"][0]["body"]["os-migrateLive"]["host"] == "gpu-c"
    assert plan["commands"][0].startswith("openstack --os-compute-api-version 2.30 server migrate --live-migration")
    assert started("--to", "gpu-c", "--expect", plan["hash"])["end"] == "completed"
