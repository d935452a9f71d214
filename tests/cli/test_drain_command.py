"""``drain``: the plan, the run, what is refused, and a drain that was left and is taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.moving_fleet import HOST, MovingFleet
from tests.cli.one_cloud import run
from vgpu_console.actions.drain_store import DrainStore
from vgpu_console.simulator import HttpFault

DIRTY = "migrate.dirty-tracking"
ACCEPT = ("--accept", DIRTY)
DRAIN = ("drain", HOST, "--yes", *ACCEPT)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> MovingFleet:
    return MovingFleet(monkeypatch)


def store(home: Path) -> DrainStore:
    return DrainStore(home / ".local" / "state" / "vgpu-console" / "drains-demo")


def report(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_places_every_server_the_shortest_pause_first_and_sends_nothing(fleet: MovingFleet) -> None:
    plan = report("drain", HOST, "--dry-run")

    assert (plan["host"], plan["servers"], plan["stay"]) == (HOST, 5, [])
    names = [m["name"] for m in plan["moves"]]
    assert names[0] == "web-1"
    assert set(names) == {"web-1", "note-1", "note-2", "train-1", "train-2"}
    highs = [m["predicted_downtime_ms"]["high"] for m in plan["moves"]]
    assert highs == sorted(highs)
    assert plan["to_accept"] == {DIRTY: 4}
    assert plan["at_once"]["most"] == 1
    assert fleet.cloud.state.migrations == {}


def test_only_to_the_hosts_that_are_named(fleet: MovingFleet) -> None:
    plan = report("drain", HOST, "--dry-run", "--to", "gpu-c")

    assert {m["destination"] for m in plan["moves"]} == {"gpu-c"}


def test_who_must_stay_is_told_with_the_reason_and_the_exit_code_says_that_it_is_a_part(fleet: MovingFleet) -> None:
    fleet.cloud.compute.set(fleet.named("train-1"), "SHUTOFF", "stopped", None)

    result = run("drain", HOST, "--dry-run")

    assert result.exit_code == 5
    assert "4 of 5 servers can go, 1 must stay" in result.stdout
    assert "  train-1: the server is SHUTOFF: only an ACTIVE or PAUSED one is live-migrated" in result.stdout


# --- the run ----------------------------------------------------------------------------------------------------------


def test_every_server_leaves_and_the_report_has_each_downtime(fleet: MovingFleet, home: Path) -> None:
    found = report(*DRAIN, "--disable", "--reason", "new cooling")

    assert HOST not in fleet.where().values()
    assert (found["status"], found["counts"]["done"]) == ("ended", 5)
    assert found["accepted"] == [DIRTY]
    by_server = {m.server_id: m for m in fleet.cloud.state.migrations.values()}
    assert {s["id"]: s["downtime_ms"] for s in found["servers"]} == {i: m.downtime_ms for i, m in by_server.items()}
    host = fleet.cloud.state.hosts[HOST]
    assert (host.status, host.disabled_reason) == ("disabled", "new cooling")
    assert found["enable_again"] == f"openstack compute service set --enable {HOST} nova-compute"
    history = json.loads(run("migrations", "--history", "-o", "json").stdout)
    assert {r["migration"] for r in history} == {m.uuid for m in by_server.values()}
    assert store(home).unfinished("demo") == ()


def test_what_happens_to_each_is_told_on_stderr(fleet: MovingFleet) -> None:
    result = run(*DRAIN)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"drain of {HOST} (demo), begun ")
    lines = result.stderr.splitlines()
    moved = [line for line in lines if ": moved, downtime " in line]
    assert len(moved) == 5
    assert moved[0].startswith("web-1 → ")
    assert any(line.startswith("train-1 → ") and line.endswith(": memory") for line in lines)


def test_after_a_failure_no_more_is_started(fleet: MovingFleet) -> None:
    fleet.cloud.migrations.fault = "destination-dies"

    found = report(*DRAIN, code=1)

    assert (found["status"], found["why"]) == ("stopped", "1 failed: no more is started")
    assert (found["counts"]["failed"], found["counts"]["waiting"]) == (1, 4)
    assert len(fleet.cloud.state.migrations) == 1


def test_with_zero_it_goes_on_whatever_fails(fleet: MovingFleet) -> None:
    fleet.cloud.migrations.fault = "destination-dies"

    found = report(*DRAIN, "--stop-after-failures", "0", code=1)

    assert found["counts"]["failed"] == 5


def test_where_nova_compute_cannot_be_disabled_nothing_moves_and_it_can_be_taken_up(
    fleet: MovingFleet, home: Path
) -> None:
    fleet.cloud.faults.http["compute"] = HttpFault("status", status=409, path="/os-services/")

    result = run(*DRAIN, "--disable")
    del fleet.cloud.faults.http["compute"]
    again = run("drain", HOST, "--dry-run")

    assert result.exit_code == 1
    assert fleet.cloud.state.migrations == {}
    [drain] = store(home).unfinished("demo")
    assert "nova-compute was not disabled: " in result.stderr
    assert f"to go on: vgpu-console drain --resume {drain.id}" in result.stderr
    assert f"to go on with it instead: vgpu-console drain --resume {drain.id}" in again.stderr
    assert report("drain", "--resume", "--yes")["counts"]["done"] == 5


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("drain", HOST, "--yes"), 4, f"refused: to accept it: --accept {DIRTY}"),
        (("drain", HOST, *ACCEPT), 4, "needs --yes"),
        ((*DRAIN, "--read-only"), 4, "read-only"),
        (("drain", "gpu-z", "--yes"), 2, "gpu-z"),
        ((*DRAIN, "--to", HOST), 2, "it cannot be a destination"),
        ((*DRAIN, "--to", "gpu-z"), 2, "gpu-z"),
        ((*DRAIN, "--reason", "new cooling"), 2, "--reason is of --disable"),
        ((*DRAIN, "--disable", "--reason", "x" * 256), 2, "1 to 255 characters"),
        (("drain",), 2, "name one HOST, or give --resume or --status"),
        (("drain", HOST, "--status"), 2, "name one HOST"),
        (("drain", "--resume", "--dry-run"), 2, "--resume goes on as the drain was begun"),
        (("drain", "--resume", "--yes"), 2, "no drain of this cloud is left to do"),
        (("drain", "--resume", "../x", "--yes"), 2, "is not the id of a drain"),
    ],
)
def test_it_is_refused_and_nothing_moves(
    arguments: tuple[str, ...], code: int, words: str, fleet: MovingFleet, home: Path
) -> None:
    result = run(*arguments)

    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert fleet.cloud.state.migrations == {}
    assert store(home).drains() == ((), ())


def test_a_host_without_servers_is_empty_already(fleet: MovingFleet) -> None:
    result = run("drain", "gpu-b", "--yes")

    assert result.exit_code == 0
    assert "no server is on gpu-b: there is nothing to do" in result.stderr


def test_a_drain_that_another_console_runs(fleet: MovingFleet, home: Path) -> None:
    lock = store(home).lock("demo", HOST)

    result = run(*DRAIN)
    lock.release()

    assert result.exit_code == 4
    assert f"a drain of {HOST} is run by another console: process " in result.stderr
    assert fleet.cloud.state.migrations == {}


# --- left and taken up ------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_what_runs_and_resume_goes_on(fleet: MovingFleet, home: Path) -> None:
    def ctrl_c() -> None:
        if sum(m.status == "completed" for m in fleet.cloud.state.migrations.values()) == 2:
            raise KeyboardInterrupt

    fleet.before_rest = ctrl_c
    left = run(*DRAIN)
    fleet.before_rest = lambda: None
    [drain] = store(home).unfinished("demo")
    status = run("drain", "--status")
    found = report("drain", "--resume", "--yes")

    assert (left.exit_code, left.stdout) == (130, "")
    assert f"to go on: vgpu-console drain --resume {drain.id}" in left.stderr
    assert status.exit_code == 0
    assert status.stdout.splitlines()[1].split()[:4] == [drain.id, "demo", HOST, "left"]
    assert f"to go on with {HOST}: vgpu-console drain --resume {drain.id}" in status.stderr
    assert (found["id"], found["counts"]["done"]) == (drain.id, 5)
    assert HOST not in fleet.where().values()
    assert len(fleet.cloud.state.migrations) == 5


def test_one_that_is_done_cannot_be_taken_up(fleet: MovingFleet, home: Path) -> None:
    id = report(*DRAIN)["id"]

    result = run("drain", "--resume", id, "--yes")

    assert result.exit_code == 2
    assert f"nothing of drain {id} is left to do" in result.stderr


def test_the_status_of_none_is_said(fleet: MovingFleet) -> None:
    result = run("drain", "--status", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "no drains: nothing is in " in result.stderr
