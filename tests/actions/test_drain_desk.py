"""The desk behind the drains on screen: plans for several hosts, what is begun and written down, what is taken up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.actions.drain_console import HOST, DrainConsole, console
from vgpu_console.actions.drain import Drain, DrainOptions
from vgpu_console.actions.drain_commands import commands_of
from vgpu_console.actions.drain_desk import DrainDesk, KnownDrain
from vgpu_console.actions.drain_store import DrainFileError, DrainStore
from vgpu_console.actions.drain_world import NovaFollowing
from vgpu_console.actions.plan import PlanError
from vgpu_console.fleet.drain_places import plan_drains
from vgpu_console.rules.migration.candidates import DowntimeSettings
from vgpu_console.sources.nova_migrations import NovaMigrations


@pytest.fixture
def operator(tmp_path: Path) -> DrainConsole:
    return console(tmp_path)


class Desk(DrainDesk):
    """A desk over the fleet of the drain's tests; time stands still unless a test moves it."""

    def __init__(self, operator: DrainConsole, store: DrainStore | None = None) -> None:
        reader = NovaMigrations(operator.fleet.cloud, operator.moment)
        super().__init__(
            known=lambda: operator.seen,
            reader=reader,
            ask=operator.fleet.candidates,
            world=operator.fleet.world(),
            journal=operator.journal,
            follow=lambda item, source: NovaFollowing(reader, item.server, item.migration, operator.moment),
            store=store or operator.store,
            settings=DowntimeSettings,
            past=lambda: (),
            clock=operator.moment,
        )


@pytest.fixture
def desk(operator: DrainConsole) -> Iterator[Desk]:
    desk = Desk(operator)
    yield desk
    desk.close()


def options(desk: Desk, wanted: dict[str, frozenset[str] | None], **fields: object) -> tuple[object, DrainOptions]:
    plans = desk.plan(wanted)
    known: dict[str, object] = {"accepted": frozenset(plans.to_accept), "to": plans.to, "chosen": plans.chosen}
    return plans, DrainOptions(**{**known, **fields})  # type: ignore[arg-type]


def begin(desk: Desk, wanted: dict[str, frozenset[str] | None], **fields: object) -> tuple[str, ...]:
    plans, chosen = options(desk, wanted, **fields)
    return desk.begin(plans, chosen)  # type: ignore[arg-type]


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


# Plans ----------------------------------------------------------------------------------------------------------------


def test_plans_of_several_hosts_share_the_room_that_there_is(operator: DrainConsole) -> None:
    """Two GPUs of two places each are left on the third host; what the first plan takes the second does not have."""
    cloud = operator.cloud
    project = next(p for p in cloud.state.projects.values() if p.name == "ml-research")
    flavor = next(f for f in cloud.state.flavors.values() if f.name == "large")
    there = cloud.state.hosts["gpu-b"]
    for name in ("solo-1", "solo-2"):
        cloud.builder.server(name, project, flavor, there, there.gpus[0])
    operator.read()
    alone = plan_drains(operator.fleet.candidates, *operator.seen, {"gpu-b": None}, operator.moment())
    assert (alone.totals.go, alone.totals.stay) == (2, 0)
    both = plan_drains(operator.fleet.candidates, *operator.seen, {HOST: None, "gpu-b": None}, operator.moment())
    assert {m.destination for _, m in both.moves} == {"gpu-c"}
    assert both.to == ("gpu-c",), "hosts that are emptied take nothing of each other"
    assert both.notes == ("gpu-a, gpu-b take no servers from one another; name destinations to allow it",)
    assert [s.server.name for _, s in both.stay] == ["solo-1", "solo-2"]
    assert both.totals.servers == 7
    assert both.to_accept == {"migrate.dirty-tracking": 4}


def test_named_servers_leave_and_the_others_are_not_even_looked_at(operator: DrainConsole) -> None:
    ids = frozenset({operator.server("note-1")})
    plans = plan_drains(operator.fleet.candidates, *operator.seen, {HOST: ids}, operator.moment())
    assert plans.chosen
    assert [m.server.name for _, m in plans.moves] == ["note-1"]
    assert not plans.stay


def test_a_destination_that_is_the_only_host_to_be_emptied_is_refused(desk: Desk) -> None:
    with pytest.raises(PlanError, match="cannot be a destination"):
        desk.plan({HOST: None}, (HOST,))
    with pytest.raises(PlanError, match="no source knows nowhere any more"):
        desk.plan({"nowhere": None})


def test_a_plan_tells_how_far_it_is_and_stops_when_nobody_waits(desk: Desk) -> None:
    told: list[str] = []
    desk.plan({HOST: None}, tell=told.append)
    assert told[0] == "gpu-a: looking at every server and every destination"
    assert told[-1] == "gpu-a: 3 answers of Placement"
    told.clear()
    with pytest.raises(PlanError, match="cancelled"):
        desk.plan({HOST: None}, tell=told.append, cancelled=lambda: len(told) >= 2)
    assert told[-1] == "gpu-a: 1 answer of Placement", "the second question was not asked"


# Begun ----------------------------------------------------------------------------------------------------------------


def test_what_is_begun_is_on_the_disk_locked_and_known(operator: DrainConsole, desk: Desk) -> None:
    views: list[None] = []
    desk.open(lambda: views.append(None), lambda known: None, lambda left: None)
    (id,) = begin(desk, {HOST: None}, max_parallel=2)
    known = desk.drain(id)
    assert known is not None
    assert known.runs_here
    assert not known.left
    assert operator.store.held("demo", HOST)
    assert operator.store.load(id).max_parallel == 2
    until(lambda: desk.drain(id).view.counts.get("running"))  # type: ignore[union-attr]
    assert views
    with pytest.raises(PlanError, match="run by another console"):
        begin(desk, {HOST: None})
    assert len(operator.store.drains()[0]) == 1


def test_with_one_host_locked_nothing_of_the_others_is_begun(operator: DrainConsole, desk: Desk) -> None:
    cloud = operator.cloud
    project = next(p for p in cloud.state.projects.values() if p.name == "ml-research")
    flavor = next(f for f in cloud.state.flavors.values() if f.name == "small")
    cloud.builder.server("solo", project, flavor, cloud.state.hosts["gpu-b"])
    operator.read()
    lock = operator.store.lock("demo", "gpu-b")
    with pytest.raises(PlanError, match="a drain of gpu-b is run by another console"):
        begin(desk, {HOST: None, "gpu-b": None})
    assert not desk.drains()
    assert operator.store.drains() == ((), ())
    assert operator.store.held("demo", HOST) == ""
    lock.release()
    assert len(begin(desk, {HOST: None, "gpu-b": None})) == 2


def test_a_disk_that_is_full_begins_nothing_and_leaves_nothing(operator: DrainConsole) -> None:
    class Full(DrainStore):
        def save(self, drain: Drain) -> None:
            raise DrainFileError("the drain cannot be written: No space left on device")

    desk = Desk(operator, Full(operator.store.folder))
    with pytest.raises(PlanError, match="No space left"):
        begin(desk, {HOST: None})
    assert operator.store.held("demo", HOST) == ""
    assert operator.store.drains() == ((), ())
    assert not operator.asked()


def test_a_plan_in_which_nobody_can_go_begins_nothing(desk: Desk) -> None:
    plans, chosen = options(desk, {"gpu-c": None})
    with pytest.raises(PlanError, match="no server can go"):
        desk.begin(plans, chosen)  # type: ignore[arg-type]


# Left and taken up ----------------------------------------------------------------------------------------------------


def test_a_console_that_ends_leaves_it_to_the_next_which_is_told_and_asked(
    operator: DrainConsole, desk: Desk, tmp_path: Path
) -> None:
    (id,) = begin(desk, {HOST: None})
    until(lambda: desk.drain(id).view.counts.get("running"))  # type: ignore[union-attr]
    desk.close()
    later = Desk(operator)
    left: list[tuple[KnownDrain, ...]] = []
    later.open(lambda: None, lambda known: None, left.append)
    until(lambda: left)
    ((known,),) = left
    assert known.left
    assert not known.here
    asked = operator.asked()
    time.sleep(0.1)
    assert operator.asked() == asked, "nothing goes on by itself"
    later.resume(id)
    until(lambda: later.drain(id).runs_here)  # type: ignore[union-attr]
    later.close()


def test_one_that_another_console_runs_is_not_left(operator: DrainConsole, desk: Desk) -> None:
    begin(desk, {HOST: None})
    other = Desk(operator)
    other.read_left()
    (known,) = other.drains()
    assert known.holder.startswith("process ")
    assert not known.left
    with pytest.raises(PlanError, match="run by another console"):
        other.resume(known.drain.id)


def test_paused_stopped_and_taken_up_by_the_same_console(operator: DrainConsole, desk: Desk) -> None:
    over: list[KnownDrain] = []
    desk.open(lambda: None, over.append, lambda left: None)
    (id,) = begin(desk, {HOST: None})
    desk.pause(id)
    until(lambda: desk.drain(id).view.status == "paused")  # type: ignore[union-attr]
    desk.go_on(id)
    until(lambda: desk.drain(id).view.status == "running")  # type: ignore[union-attr]
    desk.stop(id)

    def time_passes() -> bool:
        operator.moment.wait(2.0)
        operator.cloud.advance()
        return bool(over)

    until(time_passes, 20.0)
    known = desk.drain(id)
    assert known is not None
    assert known.left, "stopped with servers left"
    assert [one.drain.id for one in over] == [id]
    desk.resume(id)  # its lock is free by then
    until(lambda: desk.drain(id).runs_here)  # type: ignore[union-attr]


def test_one_whose_servers_failed_is_taken_up_for_them_alone(operator: DrainConsole, desk: Desk) -> None:
    drain = operator.drain()
    items = tuple(
        msgspec.structs.replace(i, state="failed" if i.name == "note-1" else "done", why="QEMU refused")
        for i in drain.items
    )
    operator.store.save(msgspec.structs.replace(drain, items=items, status="ended", ended=operator.moment()))
    with pytest.raises(PlanError, match="nothing of the drain of gpu-a is left to do"):
        desk.resume(drain.id)
    desk.resume(drain.id, failed_too=True)
    until(lambda: operator.asked() == ["note-1"])


# Commands -------------------------------------------------------------------------------------------------------------


def test_the_commands_of_a_drain_by_hand(operator: DrainConsole) -> None:
    drain = operator.drain(disable=True, max_parallel=2, to=("gpu-b",), stop_after_failures=3)
    lines = commands_of([drain])
    assert lines[0] == (
        "vgpu-console drain gpu-a --to gpu-b --max-parallel 2 --stop-after-failures 3 --disable "
        "--accept migrate.dirty-tracking"
    )
    assert lines[1] == "openstack compute service set --disable gpu-a nova-compute"
    moves = [i for i in drain.items if i.state == "waiting"]
    assert [line.rpartition(" ")[2] for line in lines[2:]] == [i.server for i in moves], "in their order"
    chosen = msgspec.structs.replace(drain, chosen=True, service="")
    assert not any(line.startswith("vgpu-console") for line in commands_of([chosen])), "that would take all servers"
    begun = msgspec.structs.replace(
        drain, service="disabled", items=(msgspec.structs.replace(drain.items[0], state="done"), *drain.items[1:])
    )
    lines = commands_of([begun])
    assert lines[0] == f"vgpu-console drain --resume {drain.id}"
    assert drain.items[0].server not in " ".join(lines), "it has moved already"
    assert lines[-1] == "openstack compute service set --enable gpu-a nova-compute"
