"""A drain on the embedded cloud, turn by turn: what is asked of Nova, what is written down, what an operator sees."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.actions.drain_console import HOST, DrainConsole, Moment, build, console
from vgpu_console.actions.drain import taken_up
from vgpu_console.actions.drain_report import report_lines
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.actions.drain_store import DrainHeld
from vgpu_console.actions.runner import apply_all
from vgpu_console.simulator import DemoCloud, HttpFault


@pytest.fixture
def operator(tmp_path: Path) -> DrainConsole:
    return console(tmp_path)


def states(runner: DrainRunner) -> dict[str, str]:
    return {i.name: i.state for i in runner.drain.items}


def running(runner: DrainRunner, name: str) -> bool:
    return states(runner)[name] == "running"


def next_console(operator: DrainConsole, folder: Path) -> DrainConsole:
    """Another console on the same cloud, with the same state folder."""
    return DrainConsole(operator.cloud, operator.moment, folder)


def test_all_servers_leave_one_after_the_other_in_their_order(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}
    assert HOST not in operator.where().values()
    assert operator.asked() == ["web-1", "note-1", "note-2", "train-1", "train-2"]
    assert runner.view().over
    assert runner.drain.status == "ended"
    most = max(view.counts.get("running", 0) for view in operator.views)
    assert most == 1  # Nova's default, whatever was asked for
    results = [e.result for e in operator.journal.entries() if e.event == "ended"]
    assert results == ["done"] * 5


def test_only_what_was_accepted_is_journaled_and_only_where_it_is_needed(operator: DrainConsole) -> None:
    drain = operator.drain(accepted=frozenset({"migrate.dirty-tracking", "migrate.kernel"}))
    operator.run(operator.runner(drain))
    begun = {e.plan.target.name: e.overrides for e in operator.journal.entries() if e.plan is not None}
    assert begun["web-1"] == ()
    assert begun["train-1"] == ("migrate.dirty-tracking",)


def test_more_run_at_once_where_nova_and_the_operator_allow_it(tmp_path: Path) -> None:
    operator = console(tmp_path, at_once=3)
    runner = operator.runner(operator.drain(max_parallel=2))
    operator.run(runner, until=lambda: runner.drain.counts.get("running", 0) == 2)
    assert (runner.view().at_once, runner.view().at_once_why) == (2, "as asked for")
    operator.run(runner)
    assert max(view.counts.get("running", 0) + view.counts.get("starting", 0) for view in operator.views) == 2
    assert set(states(runner).values()) == {"done"}


def test_the_table_tells_phase_and_memory_while_one_runs(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner)
    rows = [r for view in operator.views for r in view.rows if r.name == "train-1" and r.state == "running"]
    phases = list(dict.fromkeys(r.phase for r in rows))
    assert phases[-2:] == ["preparing", "memory"]
    percents = [r.ram_percent for r in rows if r.ram_percent is not None]
    assert percents == sorted(percents)
    assert percents[-1] > 50
    assert rows[0].type == "GRID A100-20C"
    assert rows[0].predicted_high_ms is not None


def test_a_doubt_that_nobody_accepted_keeps_servers_waiting_and_then_back(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(accepted=frozenset()))
    operator.run(runner, until=lambda: states(runner)["web-1"] == "done")
    operator.run(runner, until=lambda: bool(runner.view().to_accept))
    assert runner.view().to_accept == ("migrate.dirty-tracking",)
    operator.run(runner)
    assert operator.asked() == ["web-1"]
    assert all(i.why.startswith("needs to be accepted: migrate.dirty-tracking") for i in runner.drain.having("skipped"))
    assert len(runner.drain.having("skipped")) == 4


def test_what_is_accepted_later_goes_on_at_once(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(accepted=frozenset()))
    operator.run(runner, until=lambda: bool(runner.view().to_accept))
    runner.accept(["migrate.dirty-tracking"])
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_who_was_skipped_for_a_doubt_waits_again_when_it_is_accepted(operator: DrainConsole) -> None:
    drain = operator.drain(accepted=frozenset())
    doubt = "needs to be accepted: migrate.dirty-tracking: Ampere cannot"
    skipped = tuple(
        msgspec.structs.replace(i, state="skipped", why=doubt) if i.name != "web-1" else i for i in drain.items
    )
    runner = operator.runner(msgspec.structs.replace(drain, items=skipped))
    operator.run(runner, until=lambda: running(runner, "web-1"))
    runner.accept(["migrate.dirty-tracking"])
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_two_at_once_do_not_take_the_same_last_place(tmp_path: Path) -> None:
    """gpu-b has one large place left: the second of two that start in one turn goes to gpu-c."""
    operator = console(tmp_path, at_once=0)
    state = operator.cloud.state
    large = next(f for f in state.flavors.values() if f.name == "large")
    project = next(p for p in state.projects.values() if p.name == "ml-research")
    host = state.hosts["gpu-b"]
    operator.cloud.builder.server("here-1", project, large, host, host.gpus[0])
    operator.read()
    drain = operator.drain(max_parallel=5)
    crowded = tuple(
        msgspec.structs.replace(i, destination="gpu-b") if i.name.startswith("train") else i for i in drain.items
    )
    runner = operator.runner(msgspec.structs.replace(drain, items=crowded))
    runner.tick()
    assert sorted(i.destination for i in runner.drain.items if i.name.startswith("train")) == ["gpu-b", "gpu-c"]
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_a_destination_that_nova_no_longer_knows_gives_way_to_another(operator: DrainConsole) -> None:
    drain = operator.drain()
    lost = tuple(msgspec.structs.replace(i, destination="gpu-z") for i in drain.items)
    runner = operator.runner(msgspec.structs.replace(drain, items=lost))
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_one_that_fails_does_not_stop_the_others(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: states(runner)["web-1"] == "done")
    operator.cloud.migrations.fault = "qemu-refuses"
    operator.run(runner, until=lambda: states(runner)["note-1"] == "failed")
    operator.cloud.migrations.fault = None
    operator.run(runner)
    assert states(runner) == {
        "web-1": "done", "note-1": "failed", "note-2": "done", "train-1": "done", "train-2": "done"
    }  # fmt: skip
    failed = runner.drain.item(operator.server("note-1"))
    assert failed.why.endswith("the server is in ERROR on gpu-a")
    assert "1 failed" in report_lines(runner.drain)[1]


def test_after_so_many_failures_no_more_is_started_and_what_runs_goes_on(tmp_path: Path) -> None:
    operator = console(tmp_path, at_once=2)
    runner = operator.runner(operator.drain(max_parallel=2, stop_after_failures=1))
    operator.run(runner, until=lambda: states(runner)["web-1"] == "done")
    operator.cloud.migrations.fault = "destination-dies"
    operator.run(runner, until=lambda: bool(runner.drain.having("failed")))
    operator.cloud.migrations.fault = None
    begun = len(operator.asked())
    operator.run(runner)
    assert (runner.drain.status, runner.drain.failures >= 1) == ("stopped", True)
    assert "no more is started" in runner.drain.why
    assert len(operator.asked()) == begun
    assert runner.drain.having("waiting")
    assert not runner.drain.having("running", "starting")


def test_paused_nothing_starts_and_resumed_it_goes_on(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: running(runner, "web-1"))
    runner.pause()
    operator.run(runner, until=lambda: states(runner)["web-1"] == "done")
    for _ in range(30):
        runner.tick()
        operator.moment.wait(1.0)
    assert operator.asked() == ["web-1"]
    runner.resume()
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_stopped_the_running_one_goes_on_to_its_end(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: running(runner, "web-1"))
    runner.stop()
    operator.run(runner)
    assert states(runner)["web-1"] == "done"
    assert (runner.drain.status, runner.drain.counts["waiting"]) == ("stopped", 4)
    assert any("drain --resume" in line for line in report_lines(runner.drain))


def test_running_ones_are_aborted_only_by_plans_of_their_own(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: runner.view().rows[1].ram_percent is not None)
    runner.stop()
    (plan,) = runner.abort_plans()
    assert (plan.action, plan.target.name) == ("migrate.abort", "note-1")
    (outcome,) = apply_all([plan], operator.fleet.world(), operator.journal, wait=operator.moment.wait)
    assert outcome.ok
    operator.run(runner)
    assert states(runner)["note-1"] == "failed"
    assert operator.where()["note-1"] == HOST


def test_a_server_that_is_deleted_while_it_waits_is_passed_over(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: running(runner, "web-1"))
    operator.cloud.compute.delete(operator.cloud.state.servers[operator.server("note-2")])
    operator.run(runner)
    assert states(runner)["note-2"] == "skipped"
    assert runner.drain.item(operator.server("note-2")).why == "the server was deleted meanwhile"
    assert runner.drain.failures == 0


def test_a_server_that_is_deleted_while_it_moves_is_nobodys_failure(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(stop_after_failures=1))
    operator.run(runner, until=lambda: running(runner, "note-1"))
    operator.cloud.compute.delete(operator.cloud.state.servers[operator.server("note-1")])
    operator.run(runner)
    gone = runner.drain.item(operator.server("note-1"))
    assert (gone.state, runner.drain.failures) == ("skipped", 0)
    assert "deleted" in gone.why
    assert states(runner)["train-2"] == "done"


def test_a_server_that_moved_by_itself_is_told_and_not_moved_again(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    cloud, moment = operator.cloud, operator.moment
    operator.run(runner, until=lambda: running(runner, "web-1"))
    runner.pause()
    operator.run(runner, until=lambda: states(runner)["web-1"] == "done")
    server = cloud.state.servers[operator.server("train-1")]
    cloud.migrations.start(server, "gpu-b", server.user_id)
    while server.host == HOST or server.task_state is not None:
        moment.wait(1.0)
        cloud.advance()
    runner.resume()
    operator.run(runner)
    assert states(runner)["train-1"] == "skipped"
    assert runner.drain.item(server.id).why == "it is on gpu-b now: it moved without this drain"
    assert "train-1" not in operator.asked()


def test_somebody_elses_migration_from_the_host_is_waited_for(operator: DrainConsole) -> None:
    server = operator.cloud.state.servers[operator.server("train-1")]
    runner = operator.runner(operator.drain())
    operator.cloud.migrations.start(server, "gpu-b", server.user_id)
    operator.moment.wait(5.0)
    operator.cloud.advance()
    runner.tick()
    assert "other migrations leave gpu-a" in runner.view().why
    assert operator.asked() == []
    operator.run(runner)
    assert states(runner)["train-1"] == "skipped"
    assert states(runner)["web-1"] == "done"


def test_a_destination_that_is_disabled_meanwhile_gives_way_to_another(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: running(runner, "web-1"))
    operator.cloud.state.hosts["gpu-b"].status = "disabled"
    operator.read()
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}
    where = operator.where()
    assert {where[name] for name in ("note-1", "note-2", "train-1", "train-2")} == {"gpu-c"}


def test_where_no_other_host_is_allowed_it_is_skipped_with_the_reason(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(to=("gpu-b",)))
    operator.run(runner, until=lambda: running(runner, "web-1"))
    operator.cloud.state.hosts["gpu-b"].status = "disabled"
    operator.read()
    operator.run(runner)
    assert states(runner) == {
        "web-1": "done", "note-1": "skipped", "note-2": "skipped", "train-1": "skipped", "train-2": "skipped"
    }  # fmt: skip
    assert "gpu-b is disabled" in runner.drain.item(operator.server("note-1")).why


def test_nova_down_in_the_middle_costs_time_and_nothing_else(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(stop_after_failures=1))
    operator.run(runner, until=lambda: running(runner, "note-1"))
    operator.cloud.faults.http["compute"] = HttpFault(kind="refused")
    ages = []
    for _ in range(90):
        runner.tick()
        operator.moment.wait(1.0)
        operator.cloud.advance()
        ages.append(runner.view().rows[1].age_s or 0.0)
    assert states(runner)["note-1"] == "running"
    assert ages[-1] >= 80
    assert "nova does not answer" in runner.view().rows[1].message
    del operator.cloud.faults.http["compute"]
    operator.read()
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}
    assert operator.asked() == ["web-1", "note-1", "note-2", "train-1", "train-2"]


def test_nova_down_between_two_servers_keeps_the_next_one_waiting(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.cloud.faults.http["compute"] = HttpFault(kind="status", status=503)
    for _ in range(5):
        runner.tick()
        operator.moment.wait(1.0)
    assert runner.view().why.startswith("Nova does not answer")
    assert set(states(runner).values()) == {"waiting"}
    del operator.cloud.faults.http["compute"]
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_placement_down_for_long_keeps_servers_waiting_and_skips_nobody(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.cloud.faults.http["placement"] = HttpFault(kind="refused", path="/allocation_candidates")
    for _ in range(30):
        runner.tick()
        operator.moment.wait(10.0)
        operator.read()
    assert set(states(runner).values()) == {"waiting"}
    assert runner.view().to_accept == ("migrate.allocation-candidate",)
    del operator.cloud.faults.http["placement"]
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}


def test_a_lost_answer_to_the_start_is_looked_up_and_not_asked_twice(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    id = operator.server("web-1")
    operator.cloud.faults.http["compute"] = HttpFault(kind="truncated", path=f"/servers/{id}/action", times=1)
    operator.run(runner)
    assert set(states(runner).values()) == {"done"}
    moves = [m for m in operator.cloud.state.migrations.values() if m.server_id == id]
    assert len(moves) == 1


def test_a_refusal_by_nova_is_a_failure_with_its_words(operator: DrainConsole) -> None:
    id = operator.server("web-1")
    operator.cloud.faults.http["compute"] = HttpFault(kind="status", status=403, path=f"/servers/{id}/action")
    runner = operator.runner(operator.drain())
    operator.run(runner)
    assert states(runner)["web-1"] == "failed"
    assert "403" in runner.drain.item(id).why or "allow" in runner.drain.item(id).why
    assert states(runner)["train-2"] == "done"


def test_a_killed_console_is_taken_up_where_it_was(operator: DrainConsole, tmp_path: Path) -> None:
    first = operator.runner(operator.drain())
    operator.run(first, until=lambda: running(first, "note-1"))
    written = first.drain.item(operator.server("note-1"))
    first._lock_of_host.release()  # what the kernel does for a killed process
    for _ in range(60):  # it ends while nobody looks
        operator.moment.wait(1.0)
        operator.cloud.advance()
    later = next_console(operator, tmp_path)
    (left,) = later.store.unfinished("demo", HOST)
    again = later.runner(taken_up(left))
    again.tick()
    item = again.drain.item(written.server)
    assert (item.migration, item.state) == (written.migration, "done")
    later.run(again)
    assert set(states(again).values()) == {"done"}
    assert later.asked() == ["web-1", "note-1", "note-2", "train-1", "train-2"]
    assert len(operator.cloud.state.migrations) == 5


@pytest.mark.parametrize("obeyed", [True, False])
def test_killed_between_the_write_and_the_answer_nothing_is_started_twice(
    operator: DrainConsole, tmp_path: Path, obeyed: bool
) -> None:
    drain = operator.drain()
    id = operator.server("web-1")
    starting = msgspec.structs.replace(drain.item(id), state="starting", before=0, asked_at=operator.moment())
    operator.store.save(drain.with_item(starting))
    if obeyed:
        server = operator.cloud.state.servers[id]
        operator.cloud.migrations.start(server, starting.destination, server.user_id)
    operator.moment.wait(120.0)
    operator.cloud.advance()
    later = next_console(operator, tmp_path)
    runner = later.runner(taken_up(later.store.load(drain.id)))
    later.run(runner)
    moves = [m for m in operator.cloud.state.migrations.values() if m.server_id == id]
    assert len(moves) == (1 if obeyed else 0)
    assert states(runner)["web-1"] == ("done" if obeyed else "failed")
    assert "web-1" not in later.asked()
    assert states(runner)["train-2"] == "done"


def test_two_consoles_cannot_run_the_same_drain(operator: DrainConsole, tmp_path: Path) -> None:
    first = operator.runner(operator.drain())
    operator.run(first, until=lambda: running(first, "web-1"))
    other = next_console(operator, tmp_path)
    (left,) = other.store.unfinished("demo")
    with pytest.raises(DrainHeld, match="is run by another console: process"):
        other.runner(taken_up(left))
    operator.run(first)
    assert len(operator.cloud.state.migrations) == 5


def test_the_host_is_disabled_first_and_the_report_says_how_to_enable_it(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain(disable=True))
    operator.run(runner)
    host = operator.cloud.state.hosts[HOST]
    assert host.status == "disabled"
    assert (host.disabled_reason or "").startswith("drained by vgpu-console")
    assert runner.view().enable_again == f"openstack compute service set --enable {HOST} nova-compute"
    first = next(e.plan.action for e in operator.journal.entries() if e.plan is not None)
    assert first == "service.disable"
    assert any("to enable it again" in line for line in report_lines(runner.drain))


def test_what_was_disabled_before_is_left_to_whom_it_belongs(operator: DrainConsole) -> None:
    operator.cloud.state.hosts[HOST].status = "disabled"
    operator.read()
    runner = operator.runner(operator.drain(disable=True))
    operator.run(runner)
    assert runner.drain.service == "was disabled"
    assert runner.view().enable_again == ""


def test_nothing_moves_where_the_host_cannot_be_disabled(operator: DrainConsole) -> None:
    operator.cloud.faults.http["compute"] = HttpFault(kind="status", status=403, path="/os-services/")
    runner = operator.runner(operator.drain(disable=True))
    runner.tick()
    assert runner.drain.status == "paused"
    assert "was not disabled" in runner.view().why
    assert operator.cloud.state.migrations == {}


def test_a_state_that_cannot_be_written_stops_before_anything_is_sent(
    operator: DrainConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = operator.runner(operator.drain())
    monkeypatch.setattr(operator.store, "folder", Path("/dev/null/drains"))
    runner.tick()
    assert operator.cloud.state.migrations == {}
    assert runner.drain.status == "paused"
    assert "cannot be written" in runner.view().why


def test_the_thread_runs_it_to_its_end_and_gives_the_lock_away(operator: DrainConsole) -> None:
    drain = operator.drain()
    web = tuple(i for i in drain.items if i.name == "web-1")
    runner = operator.runner(msgspec.structs.replace(drain, items=web))
    runner.start()
    for _ in range(300):
        if runner.join(0.1):
            break
        operator.moment.wait(2.0)
    assert states(runner) == {"web-1": "done"}
    assert operator.store.held("demo", HOST) == ""


def test_left_alone_it_gives_the_lock_away_and_the_migration_goes_on(operator: DrainConsole) -> None:
    runner = operator.runner(operator.drain())
    operator.run(runner, until=lambda: running(runner, "web-1"))
    runner.close()
    assert operator.store.held("demo", HOST) == ""
    assert operator.store.load(runner.drain.id).item(operator.server("web-1")).state == "running"


def test_the_builders_cloud_is_the_same_each_time() -> None:
    clouds = []
    for _ in range(2):
        cloud = DemoCloud(clock=Moment())
        build(cloud)
        clouds.append(sorted(cloud.state.servers))
    assert clouds[0] == clouds[1]
