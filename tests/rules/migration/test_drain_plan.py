"""The plan of a drain: who goes where so that all fit, in which order, who stays and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.actions.drain_console import HOST, DrainConsole, console
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.rules.migration.drain_words import DrainPlan
from vgpu_console.rules.migration.placement import at_once, drain_plan, leaving
from vgpu_console.rules.migration.scene import UnknownHost
from vgpu_console.rules.migration.slots import Need


@pytest.fixture
def operator(tmp_path: Path) -> DrainConsole:
    return console(tmp_path)


def plan(operator: DrainConsole, snapshot: Snapshot | None = None, **asked: object) -> DrainPlan:
    known, facts = operator.seen
    return drain_plan(snapshot or known, facts, HOST, operator.moment(), **asked)  # type: ignore[arg-type]


def places(found: DrainPlan) -> dict[str, str]:
    return {m.server.name: m.destination for m in found.moves}


def changed(snapshot: Snapshot, name: str, **fields: object) -> Snapshot:
    """The snapshot with one host changed."""
    hosts = tuple(msgspec.structs.replace(h, **fields) if h.name == name else h for h in snapshot.hosts)
    return msgspec.structs.replace(snapshot, hosts=hosts)


def test_every_server_has_a_place_and_the_short_pauses_come_first(operator: DrainConsole) -> None:
    found = operator.plan()
    assert [m.server.name for m in found.moves] == ["web-1", "note-1", "note-2", "train-1", "train-2"]
    highs = [m.predicted.high_ms or 0 for m in found.moves]
    assert highs == sorted(highs)
    assert not found.stay
    assert set(places(found).values()) == {"gpu-b", "gpu-c"}
    assert found.to_accept == {"migrate.dirty-tracking": 4}


def test_servers_without_vgpus_are_told_apart(operator: DrainConsole) -> None:
    totals = operator.plan().totals
    assert (totals.servers, totals.with_vgpus, totals.without_vgpus) == (5, 4, 1)
    web = next(m for m in operator.plan().moves if m.server.name == "web-1")
    assert web.server.vgpus == 0
    assert not any(c.id == "migrate.free-slot" for c in web.checks)


def test_the_same_facts_give_the_same_plan(operator: DrainConsole) -> None:
    snapshot = operator.seen[0]
    turned = msgspec.structs.replace(
        snapshot, hosts=snapshot.hosts[::-1], mdevs=snapshot.mdevs[::-1], servers=snapshot.servers[::-1]
    )
    assert places(plan(operator, turned)) == places(plan(operator))
    assert plan(operator) == plan(operator)


def test_slots_are_used_up_as_servers_are_placed(operator: DrainConsole) -> None:
    """One large GPU with two places: two large servers fit on one host, and a third that comes there does not."""
    large = next(t for m in plan(operator).moves if m.server.name == "train-1" for t in m.server.type_ids)
    assert Counter(places(plan(operator, to=("gpu-b",))).values()) == {"gpu-b": 5}
    found = plan(operator, to=("gpu-b",), taken={"gpu-b": [Need((large,))]})
    assert len([n for n in places(found) if n.startswith("train")]) == 1
    (stay,) = found.stay
    assert stay.reason == "no room is left on gpu-b once the others are there"
    assert stay.fails == ()


def test_what_comes_of_another_type_takes_no_place_of_this_one(operator: DrainConsole) -> None:
    types = {m.server.name: m.server.type_ids for m in plan(operator).moves}
    only = frozenset({operator.server("train-1"), operator.server("train-2")})
    found = plan(operator, to=("gpu-b",), only=only, taken={"gpu-b": [Need(types["note-1"])]})
    assert places(found) == {"train-1": "gpu-b", "train-2": "gpu-b"}


def test_who_is_on_the_way_to_a_host_already_has_its_place(operator: DrainConsole) -> None:
    snapshot, facts = operator.seen
    id = operator.server("train-1")
    row = MigrationFacts(
        id=9, uuid="m9", server_id=id, source=HOST, destination="gpu-b", status="preparing", migration_type=None
    )
    assert facts.nova is not None
    moving = msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, migrations=(row,)))
    only = frozenset({operator.server("train-2")})
    before = drain_plan(snapshot, moving, HOST, operator.moment(), to=("gpu-b",), only=only)
    assert places(before) == {"train-2": "gpu-b"}
    large = before.moves[0].server.type_ids
    after = drain_plan(
        snapshot, moving, HOST, operator.moment(), to=("gpu-b",), only=only, taken={"gpu-b": [Need(large)]}
    )
    assert places(after) == {}


@pytest.mark.parametrize(
    ("fields", "id"),
    [
        ({"service_state": "down"}, "migrate.destination-service"),
        ({"service_status": "disabled", "disabled_reason": "firmware"}, "migrate.destination-service"),
        ({"driver": "535.183.04"}, "migrate.nvidia-driver"),
        ({"gpus": ()}, "migrate.framework"),
    ],
)
def test_a_destination_that_fails_a_check_is_excluded_with_its_reason(
    operator: DrainConsole, fields: dict[str, object], id: str
) -> None:
    found = plan(operator, changed(operator.seen[0], "gpu-b", **fields))
    with_vgpus = [m for m in found.moves if m.server.vgpus]
    assert {m.destination for m in with_vgpus} == {"gpu-c"}
    alone = plan(operator, changed(operator.seen[0], "gpu-b", **fields), to=("gpu-b",))
    told = [s for s in alone.stay if s.server.vgpus]
    assert len(told) == 4
    for stay in told:
        (against,) = stay.hosts
        assert id in against.fails
        assert stay.reason == f"gpu-b: {against.reason}"


def test_a_host_whose_free_places_are_not_known_takes_no_vgpu(operator: DrainConsole) -> None:
    found = plan(operator, changed(operator.seen[0], "gpu-b", gpus=None), to=("gpu-b",))
    assert [m.server.name for m in found.moves] == ["web-1"]
    assert {s.hosts[0].fails for s in found.stay} == {("migrate.free-slot",)}


def test_a_server_in_error_stays_with_that_reason_and_takes_nobodys_place(operator: DrainConsole) -> None:
    snapshot, facts = operator.seen
    assert facts.nova is not None
    assert facts.nova.servers is not None
    id = operator.server("train-1")
    rows = tuple(msgspec.structs.replace(s, status="ERROR") if s.id == id else s for s in facts.nova.servers)
    broken: Facts = msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, servers=rows))
    found = drain_plan(snapshot, broken, HOST, operator.moment())
    (stay,) = found.stay
    assert (stay.server.name, stay.fails) == ("train-1", ("migrate.server-state",))
    assert "ERROR" in stay.reason
    assert len(found.moves) == 4


def test_a_limit_on_the_pause_keeps_back_those_that_would_take_longer(operator: DrainConsole) -> None:
    from vgpu_console.rules.migration.candidates import DowntimeSettings

    found = plan(operator, settings=DowntimeSettings(max_downtime_ms=30_000))
    assert sorted(s.server.name for s in found.stay) == ["train-1", "train-2"]
    assert all("limit 30 s" in s.reason for s in found.stay)


def test_room_in_memory_bounds_a_host_by_placements_own_word(operator: DrainConsole) -> None:
    host = operator.cloud.state.hosts["gpu-b"]
    root = operator.cloud.state.placement.providers[host.root_uuid]
    root.inventories["MEMORY_MB"].reserved = root.inventories["MEMORY_MB"].total - 20_000
    found = operator.plan(to=("gpu-b",))
    memory = {"web-1": 2048, "note-1": 8192, "note-2": 8192, "train-1": 16384, "train-2": 16384}
    assert found.moves
    assert sum(memory[m.server.name] for m in found.moves) <= 20_000
    assert len(found.moves) + len(found.stay) == 5


def test_unknown_hosts_and_the_host_itself_are_refused(operator: DrainConsole) -> None:
    snapshot, facts = operator.seen
    with pytest.raises(UnknownHost):
        drain_plan(snapshot, facts, "gpu-x", operator.moment())
    with pytest.raises(UnknownHost):
        plan(operator, to=("gpu-x",))
    with pytest.raises(ValueError, match="cannot be a destination"):
        plan(operator, to=(HOST,))


def test_an_empty_host_has_an_empty_plan(operator: DrainConsole) -> None:
    snapshot, facts = operator.seen
    found = drain_plan(snapshot, facts, "gpu-b", operator.moment())
    assert (found.moves, found.stay, found.excluded, found.totals.servers) == ((), (), (), 0)
    assert leaving(snapshot, facts, "gpu-b") == ()


def test_the_plan_says_what_it_does_not_know(operator: DrainConsole) -> None:
    assert plan(operator).notes == ("Placement was not asked: room in CPU, memory and disk is not looked at",)
    assert operator.plan().notes == ()
    snapshot, facts = operator.seen
    assert facts.nova is not None
    own = msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, all_projects=False))
    assert "this credential sees its own project's servers only" in drain_plan(snapshot, own, HOST, 0.0).notes[0]


@pytest.mark.parametrize(
    ("conf", "most", "why"),
    [
        (None, 1, "nova.conf of gpu-a is not readable: Nova's default is taken"),
        ({}, 1, "Nova's default (max_concurrent_live_migrations)"),
        (
            {"compute.max_concurrent_live_migrations": "3"},
            3,
            "max_concurrent_live_migrations = 3 in nova.conf of gpu-a",
        ),
        (
            {"DEFAULT.max_concurrent_live_migrations": "2"},
            2,
            "max_concurrent_live_migrations = 2 in nova.conf of gpu-a",
        ),
        (
            {"compute.max_concurrent_live_migrations": "0"},
            None,
            "max_concurrent_live_migrations = 0 in nova.conf of gpu-a",
        ),
    ],
)
def test_how_many_nova_does_at_once(conf: dict[str, str] | None, most: int | None, why: str) -> None:
    found = at_once(Host(name="gpu-a", nova_conf=conf))
    assert (found.most, found.why) == (most, why)
