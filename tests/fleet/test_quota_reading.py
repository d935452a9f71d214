"""The narrow reading of the quota view: the figures of the whole reading, at a fraction of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.actions.demo import still_demo
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.collector import OPENSTACK
from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud, HttpFault
from vgpu_console.simulator.providers import Provider
from vgpu_console.simulator.state import Server
from vgpu_console.view_filters import Filters
from vgpu_console.views import VIEWS, records

MINE = "ml-research"
STRANGER = "0d9cb4f5-1d41-4c3c-9d8e-6a1f0c2b7a11"


class _Reading(Fleet):
    """One reading of a cloud that the test holds; counts requests by path."""

    def __init__(self, cloud: DemoCloud, *, use_only: bool) -> None:
        self._cloud = cloud
        super().__init__(Settings(), DemoChoice(), kinds=OPENSTACK, use_only=use_only, clock=cloud.clock)
        self.counts: Counter[str] = Counter()
        send = self.cloud.request

        def counted(method: str, service: str, path: str, **more: Any) -> Any:
            what = path.rpartition("/")[2] if path.startswith("/resource_providers/") else path
            self.counts[f"{service} {'/allocations/' if path.startswith('/allocations/') else what}"] += 1
            return send(method, service, path, **more)

        self.cloud.request = counted  # type: ignore[method-assign]

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        return self._cloud

    def read(self) -> Snapshot:
        return self.snapshot(60.0)


@pytest.fixture
def cloud() -> DemoCloud:
    return still_demo()


def _read(cloud: DemoCloud, *, use_only: bool) -> tuple[Snapshot, _Reading]:
    fleet = _Reading(cloud, use_only=use_only)
    try:
        snapshot = fleet.read()
        assert [s.error for s in snapshot.sources if s.error] == []
        return snapshot, fleet
    finally:
        fleet.close()


def _row(snapshot: Snapshot, project: str, resource: str = "class:VGPU") -> ProjectQuota:
    return next(q for q in snapshot.quotas if (q.project, q.resource) == (project, resource))


def _server(cloud: DemoCloud, project: str) -> Server:
    owner = next(p for p in cloud.state.projects.values() if p.name == project)
    return next(
        s
        for s in cloud.state.servers.values()
        if s.project_id == owner.id and s.status == "ACTIVE" and "resources:VGPU" in s.flavor.extra_specs
    )


def _free_device(cloud: DemoCloud) -> Provider:
    """A device with a vGPU to give, on a host where others are taken."""
    for tree in cloud.state.placement.trees.values():
        devices = [p for p in tree.values() if p.parent]
        free = next((p for p in devices if p.can_take("VGPU", 1)), None)
        if free is not None and any(p.allocations for p in devices):
            return free
    raise AssertionError("every vGPU is taken")


def _pass(cloud: DemoCloud, seconds: float) -> None:
    clock = cloud.clock
    now = clock() + seconds
    cloud.clock = lambda: now
    cloud.advance()


# --- what may be going on ---------------------------------------------------------------------------------------------


def nothing(cloud: DemoCloud) -> None:
    """All at rest."""


def a_live_migration(cloud: DemoCloud) -> None:
    cloud.migrations.start(_server(cloud, MINE), None, "who")
    _pass(cloud, 8)


def a_resize_that_waits(cloud: DemoCloud) -> None:
    cloud.resizes.start(_server(cloud, MINE), None, "who", None)
    _pass(cloud, 8)


def a_resize_and_a_leak(cloud: DemoCloud) -> None:
    a_resize_that_waits(cloud)
    a_leak(cloud)


def a_leak(cloud: DemoCloud, project: str = MINE) -> None:
    owner = next(p.id for p in cloud.state.projects.values() if p.name == project)
    held = {_free_device(cloud).uuid: {"VGPU": 1}}
    cloud.state.placement.allocate(STRANGER, held, owner, "nobody")


def a_leak_of_a_project_without_servers(cloud: DemoCloud) -> None:
    using = {s.project_id for s in cloud.state.servers.values() if s.deleted is None}
    a_leak(cloud, next(p.name for p in cloud.state.projects.values() if p.id not in using))


def an_ended_migration_that_still_holds(cloud: DemoCloud) -> None:
    server = _server(cloud, MINE)
    migration = cloud.migrations.start(server, None, "who")
    _pass(cloud, 8)
    held = {uuid: dict(what) for uuid, what in cloud.state.placement.consumers[migration.uuid].allocations.items()}
    _pass(cloud, 600)
    assert migration.ended_status
    cloud.state.placement.allocate(migration.uuid, held, server.project_id, "nobody")


def a_server_in_error(cloud: DemoCloud) -> None:
    cloud.compute.fail(_server(cloud, MINE), "broken")


def a_server_that_holds_nothing(cloud: DemoCloud) -> None:
    server = _server(cloud, MINE)
    cloud.state.placement.allocate(server.id, {}, server.project_id, server.user_id)


def a_server_that_is_being_made(cloud: DemoCloud) -> None:
    like = _server(cloud, MINE)
    made = cloud.compute.new_server("fresh", like.project_id, like.user_id, like.flavor)
    cloud.compute.boot(made)
    _pass(cloud, 1)


def a_server_with_more_than_its_flavor_says(cloud: DemoCloud) -> None:
    server = _server(cloud, MINE)
    held = {uuid: dict(what) for uuid, what in cloud.state.placement.consumers[server.id].allocations.items()}
    held[_free_device(cloud).uuid] = {"VGPU": 1}
    cloud.state.placement.allocate(server.id, held, server.project_id, server.user_id)


def a_host_without_free_memory(cloud: DemoCloud) -> None:
    """Its tree is in no summary of allocation candidates."""
    server = _server(cloud, MINE)
    root = cloud.state.placement.providers[cloud.state.hosts[server.host or ""].root_uuid]
    inventory = root.inventories["MEMORY_MB"]
    free = inventory.capacity - root.used("MEMORY_MB")
    cloud.state.placement.allocate(STRANGER, {root.uuid: {"MEMORY_MB": free}}, server.project_id, "nobody")


def summaries_that_fail(cloud: DemoCloud) -> None:
    cloud.faults.http["placement"] = HttpFault("status", status=500, path="/allocation_candidates")


CASES: list[Callable[[DemoCloud], None]] = [
    nothing,
    a_live_migration,
    a_resize_that_waits,
    a_resize_and_a_leak,
    a_leak,
    a_leak_of_a_project_without_servers,
    an_ended_migration_that_still_holds,
    a_server_in_error,
    a_server_that_holds_nothing,
    a_server_that_is_being_made,
    a_server_with_more_than_its_flavor_says,
    a_host_without_free_memory,
    summaries_that_fail,
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_the_figures_are_those_of_the_whole_reading(cloud: DemoCloud, case: Callable[[DemoCloud], None]) -> None:
    case(cloud)
    whole, _ = _read(cloud, use_only=False)
    narrow, _ = _read(cloud, use_only=True)
    view = VIEWS["quota"]
    assert records(view, view.rows(narrow, Filters())) == records(view, view.rows(whole, Filters()))
    assert [q.in_flight for q in narrow.quotas] == [q.in_flight for q in whole.quotas]
    assert any(q.used for q in narrow.quotas)


def test_what_each_case_looks_like(cloud: DemoCloud) -> None:
    """That the cases are what they say: used, by instances, by migrations, leaked, in flight."""

    def split(case: Callable[[DemoCloud], None]) -> tuple[int | None, ...]:
        held = still_demo()
        case(held)
        row = _row(_read(held, use_only=True)[0], MINE)
        return (row.used, row.used_by_instances, row.used_by_migrations, row.leaked, row.in_flight)

    used = _row(_read(cloud, use_only=True)[0], MINE).used
    assert used is not None
    assert split(nothing) == (used, used, 0, 0, 0)
    assert split(a_live_migration) == (used + 1, used, 1, 0, 1)
    assert split(a_resize_that_waits) == (used + 1, used, 1, 0, 1)
    assert split(a_resize_and_a_leak) == (used + 2, used, 1, 1, 1)
    assert split(a_leak) == (used + 1, used, 0, 1, 0)
    assert split(an_ended_migration_that_still_holds) == (used + 1, used, 0, 1, 0)
    assert split(a_server_that_holds_nothing) == (used - 1, used - 1, 0, 0, 0)
    assert split(a_server_with_more_than_its_flavor_says) == (used + 1, used + 1, 0, 0, 0)


BY_ALIAS = 1
"""Devices given by a PCI alias: which class that stands for is in nova.conf only, so who holds them is always asked."""


def test_at_rest_it_takes_twelve_requests_and_one_per_project_with_usage(cloud: DemoCloud) -> None:
    """Tokens and version documents included."""
    snapshot, fleet = _read(cloud, use_only=True)
    using = len({q.project_id for q in snapshot.quotas if q.used})
    assert fleet.counts["placement /usages"] == using > 2
    assert fleet.cloud.requests - using - BY_ALIAS <= 12
    assert fleet.counts["placement allocations"] == BY_ALIAS
    unread = ("/allocations/", "inventories", "traits", "os-services", "os-hypervisors", "role_assignments", "domains")
    assert not [path for path in fleet.counts if path.endswith(unread)]


def test_what_moves_costs_a_request_each(cloud: DemoCloud) -> None:
    at_rest = _read(cloud, use_only=True)[1].cloud.requests
    a_live_migration(cloud)
    fleet = _read(cloud, use_only=True)[1]
    assert fleet.counts["placement /allocations/"] == 2  # of the server and of the migration
    assert fleet.cloud.requests == at_rest + 2


def test_a_leak_has_only_its_own_tree_looked_into(cloud: DemoCloud) -> None:
    root = _free_device(cloud).root
    a_leak(cloud)
    fleet = _read(cloud, use_only=True)[1]
    held = [p for p in cloud.state.placement.trees[root].values() if p.parent and p.allocations]
    assert fleet.counts["placement allocations"] == len(held) + BY_ALIAS


def test_without_nova_the_split_is_unknown_and_the_usage_is_not(cloud: DemoCloud) -> None:
    whole = _row(_read(cloud, use_only=False)[0], MINE)
    cloud.faults.http["compute"] = HttpFault("status", status=503)
    fleet = _Reading(cloud, use_only=True)
    row = _row(fleet.read(), MINE)
    fleet.close()
    assert (row.used, row.used_by_instances, row.leaked) == (whole.used, None, None)


def test_limits_that_cannot_be_read_are_unknown(cloud: DemoCloud) -> None:
    cloud.faults.http["identity"] = HttpFault("status", status=403, path="/limits")
    snapshot, _ = _read(cloud, use_only=True)
    assert {(q.limit, q.origin) for q in snapshot.quotas} <= {(None, "unknown"), (None, "missing")}


def test_a_keystone_that_fails_is_an_error_though_the_catalogue_was_there(cloud: DemoCloud) -> None:
    cloud.faults.http["identity"] = HttpFault("status", status=403, path="/v3/")
    fleet = _Reading(cloud, use_only=True)
    snapshot = fleet.read()
    fleet.close()
    assert next(s for s in snapshot.sources if s.kind == "keystone").error is not None
