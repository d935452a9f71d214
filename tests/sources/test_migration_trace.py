"""One server's migration read afresh: how many requests it costs, what bad answers make of it, whose actions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fleet.follow_scene import FollowScene
from tests.sources.canned_cloud import CannedCloud, Reply
from vgpu_console.model.migration_trace import (
    CANCEL_ACTION,
    ServerAction,
    action_of,
    asked_during,
    nova_seconds,
)
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_guest import look_at_guest
from vgpu_console.sources.nova_migrations import NovaMigrations

V = "/compute/v2.1"
SERVER = f"{V}/servers/s-1"


def row(number: int, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": number, "uuid": f"m-{number}", "instance_uuid": "s-1", "source_compute": "gpu-a", "dest_compute": "gpu-b",
        "status": status, "migration_type": "live-migration", "created_at": f"2026-08-04T12:0{number}:00.000000",
        "updated_at": f"2026-08-04T12:0{number}:30.000000",
    } | more  # fmt: skip


def act(name: str, at: str, request: str = "req-1") -> dict[str, Any]:
    return {"action": name, "request_id": request, "start_time": at, "message": None, "instance_uuid": "s-1"}


@pytest.fixture
def cloud() -> CannedCloud:
    made = CannedCloud()
    made.get(SERVER, Reply(200, {"server": {"id": "s-1", "name": "vm", "status": "ERROR", "tenant_id": "p",
             "fault": {"message": "No valid host", "created": "2026-08-04T11:00:00Z", "code": 500}}}))  # fmt: skip
    made.get(f"{V}/os-migrations", Reply(200, {"migrations": [row(2), row(3, "running", dest_compute=None), row(1)]}))
    made.get(f"{SERVER}/migrations", Reply(200, {"migrations": [
        {"id": 3, "uuid": "m-3", "server_uuid": "s-1", "source_compute": "gpu-a", "dest_compute": "gpu-b",
         "status": "running", "memory_total_bytes": 100, "memory_processed_bytes": 40, "memory_remaining_bytes": 60}
    ]}))  # fmt: skip
    made.get(f"{SERVER}/os-instance-actions", Reply(200, {"instanceActions": [
        act(CANCEL_ACTION, "2026-08-04T12:03:20.000000", "req-c"),
        act("live-migration", "2026-08-04T12:02:59", "req-3"),
        act("live-migration", "2026-08-04T12:01:59", "req-2"), act("create", "2026-08-04T10:00:00", "req-0"),
    ]}))  # fmt: skip
    for number in (2, 3):
        events = [{"event": "compute_check_can_live_migrate_destination", "result": "Error", "host": "gpu-x",
                   "start_time": "2026-08-04T12:03:01.5", "details": f"words of {number}\x1b[31m"}]  # fmt: skip
        whole = act("live-migration", f"2026-08-04T12:0{number - 1}:59", f"req-{number}") | {"events": events}
        made.get(f"{SERVER}/os-instance-actions/req-{number}", Reply(200, {"instanceAction": whole}))
    for consumer in ("s-1", "m-3", "m-2"):
        made.get(f"/placement/allocations/{consumer}", Reply(200, {"allocations": {
            "rp-1": {"resources": {"VGPU": 1, "odd": "x"}, "generation": 4}}, "consumer_generation": 7,
            "project_id": "p", "user_id": "u"}))  # fmt: skip
    return made


@pytest.fixture
def reader(cloud: CannedCloud) -> NovaMigrations:
    return NovaMigrations(cloud.connection(), lambda: 1000.0)


def test_one_trace_is_seven_requests(cloud: CannedCloud, reader: NovaMigrations) -> None:
    trace = reader.trace("s-1")
    assert len(cloud.paths()) == 7
    assert [(m.id, m.status) for m in trace.migrations or ()] == [(3, "running"), (2, "completed"), (1, "completed")]
    running = trace.migration("m-3")
    assert running is not None
    assert (running.destination, running.memory_processed_bytes) == ("gpu-b", 40)
    assert trace.action is not None
    assert [(e.name, e.result, e.host, e.details) for e in trace.action.events] == [
        ("compute_check_can_live_migrate_destination", "Error", "gpu-x", "words of 3·[31m")
    ]
    assert [a.action for a in trace.actions or ()] == [CANCEL_ACTION, "live-migration", "live-migration", "create"]
    assert trace.server is not None
    assert (trace.server.fault, trace.server.fault_at) == ("No valid host", "2026-08-04T11:00:00Z")
    assert (trace.server_holds or ())[0].resources == {"VGPU": 1}
    assert trace.fetched_at == 1000.0


def test_an_older_migration_has_its_own_events(reader: NovaMigrations) -> None:
    action = reader.trace("s-1", "m-2").action
    assert action is not None
    assert (action.request_id, action.events[0].details) == ("req-2", "words of 2·[31m")


def test_a_consumer_has_what_a_safe_change_needs(reader: NovaMigrations) -> None:
    found = reader.consumer("m-3")
    assert (found.generation, found.project_id, found.user_id) == (7, "p", "u")


def test_a_server_that_is_gone(cloud: CannedCloud, reader: NovaMigrations) -> None:
    for path in (SERVER, f"{SERVER}/migrations", f"{SERVER}/os-instance-actions"):
        cloud.get(path, Reply(404, {"itemNotFound": {"message": "no"}}))
    trace = reader.trace("s-1")
    assert (trace.server, trace.server_gone, trace.action) == (None, True, None)
    assert [m.status for m in trace.migrations or ()] == ["running", "completed", "completed"]


def test_actions_that_may_not_be_read_are_unknown_and_told(cloud: CannedCloud, reader: NovaMigrations) -> None:
    cloud.get(f"{SERVER}/os-instance-actions", Reply(403, {"forbidden": {"message": "no"}}))
    trace = reader.trace("s-1")
    assert (trace.actions, trace.action) == (None, None)
    assert reader.notes[0].startswith("instance actions: ")


def test_other_kinds_and_other_servers_are_not_its_live_migrations(cloud: CannedCloud, reader: NovaMigrations) -> None:
    rows = [row(1, migration_type="resize"), row(2, instance_uuid="s-2"), row(3)]
    cloud.get(f"{V}/os-migrations", Reply(200, {"migrations": rows}))
    assert [m.id for m in reader.migrations("s-1")] == [3]


def test_a_list_that_is_cut_says_so(cloud: CannedCloud, reader: NovaMigrations) -> None:
    cloud.get(f"{V}/os-migrations", Reply(200, {"migrations": [row(1)], "migrations_links": [{"rel": "next"}]}))
    assert [m.id for m in reader.running("2026-08-04T12:00:00")] == [1]
    assert reader.notes == ["migrations: only the newest 1 were read"]
    asked = cloud.asked[-1].query
    assert (asked["changes-since"], asked["limit"]) == (["2026-08-04T12:00:00"], ["500"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([
    "server", "migrations", "instanceActions", "instanceAction", "allocations", "events", "id", "uuid", "request_id",
    "instance_uuid", "server_uuid", "action", "start_time", "details", "resources", "fault", "consumer_generation",
])  # fmt: skip
ANSWERS = st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3), max_size=5)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ANSWERS, status=st.sampled_from([200, 200, 200, 404, 403, 500]))
def test_any_answer_gives_facts_or_a_plain_error(cloud: CannedCloud, body: dict[str, Any], status: int) -> None:
    reader = NovaMigrations(cloud.connection())
    for path in (SERVER, f"{V}/os-migrations", f"{SERVER}/migrations", f"{SERVER}/os-instance-actions",
                 f"{SERVER}/os-instance-actions/req-1", "/placement/allocations/s-1"):  # fmt: skip
        cloud.get(path, Reply(status, body))
    calls: list[Any] = [
        lambda: reader.trace("s-1"), lambda: reader.running(), lambda: reader.in_progress("s-1"),
        lambda: reader.with_events("s-1", "req-1"), lambda: reader.action("s-1"), lambda: reader.consumer("s-1"),
    ]  # fmt: skip
    said = []
    for call in calls:
        try:
            call()
        except SourceError as error:
            said.append(str(error))
    assert all(line.isprintable() for line in [*said, *reader.notes])


# -- whose action is whose ---------------------------------------------------------------------------------------------


def move(status: str, made: str | None, changed: str | None = None) -> MigrationFacts:
    return MigrationFacts(
        id=1, uuid="m", server_id="s", source="a", destination="b", status=status, created_at=made, updated_at=changed
    )


def action(name: str, at: str | None) -> ServerAction:
    return ServerAction(request_id=str(at), action=name, started_at=at)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ("2026-08-04T12:00:00.5", "2026-08-04T12:00:00Z"),  # with a zone and without
        ("2026-08-04T11:59:59", "2026-08-04T12:00:00Z"),  # two services' clocks differ a little
        ("2026-08-04T12:59:00", "2026-08-04T12:00:00Z"),
        ("2026-08-04T13:00:01", "2026-08-04T13:00:00"),
        ("2026-08-04T10:00:00", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_the_action_that_began_it(made: str | None, found: str | None) -> None:
    actions = [action("live-migration", at) for at in ("2026-08-04T13:00:00", "2026-08-04T12:00:00Z", None, "?")]
    one = action_of(actions, move("running", made))
    assert (one.started_at if one is not None else None) == found


@pytest.mark.parametrize(
    ("row_", "at", "asked"),
    [
        (move("running", "2026-08-04T12:00:00"), "2026-08-04T12:00:30", True),
        (move("running", "2026-08-04T12:00:00"), "2026-08-04T11:00:30", False),
        (move("error", "2026-08-04T12:00:00", "2026-08-04T12:01:00"), "2026-08-04T12:00:30", True),
        (move("error", "2026-08-04T12:00:00", "2026-08-04T12:01:00"), "2026-08-04T12:05:30", False),
        (move("running", "2026-08-04T12:00:00"), None, None),
        (move("running", None), "2026-08-04T12:00:30", None),
    ],
)
def test_what_was_asked_while_it_ran(row_: MigrationFacts, at: str | None, asked: bool | None) -> None:
    assert asked_during([action(CANCEL_ACTION, at)], row_, CANCEL_ACTION) is asked


def test_novas_times_are_utc() -> None:
    assert nova_seconds("2026-08-04T12:00:00.500000") == nova_seconds("2026-08-04T12:00:00.5Z") == 1785844800.5
    assert nova_seconds("") is None


# -- the guest in libvirt ----------------------------------------------------------------------------------------------


def test_a_look_at_the_guest() -> None:
    scene = FollowScene(seconds=2.0)
    guest = scene.server.id

    def look(host: str) -> Any:
        return look_at_guest(host, f"demo://{host}/system", scene.cloud.libvirt, guest, clock=scene.clock)

    here = look("gpu-01")
    (held,) = scene.cloud.state.hosts["gpu-01"].guests[guest].mdevs
    assert (here.state, here.alive, here.mdevs) == ("running", True, {held: "nvidia-472"})
    assert held not in here.idle
    gone = look("gpu-02")
    assert (gone.state, gone.alive, gone.mdevs) == ("absent", False, {})
    scene.cloud.state.hosts["gpu-01"].guests[guest].state = 3
    assert look("gpu-01").state == "paused"
    scene.cloud.state.hosts["gpu-01"].guests[guest].state = 99
    strange = look("gpu-01")
    assert (strange.state, strange.alive, strange.why) == (None, None, "libvirt names no state of the guest")
    unreachable = look("gpu-04")
    assert (unreachable.state, unreachable.idle) == (None, None)
    assert "No route to host" in unreachable.why
    scene.start()
    for _ in range(60):
        scene.clock.tick(0.5)
        scene.cloud.advance()
    assert held in (look("gpu-01").idle or {}), "the source keeps its device, and nobody holds it"
