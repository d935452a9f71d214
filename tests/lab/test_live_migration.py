"""A live migration as the console sees it: running with its bytes, ended, aborted, failed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.lab.lab import Lab, until
from tests.lab.lab_fleet import LabFleet
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS, MigrationFacts

pytestmark = pytest.mark.lab


def _migration_of(fleet: LabFleet, server_id: str) -> MigrationFacts | None:
    """The newest migration of a server, read anew."""
    facts = fleet.read()
    assert facts.nova is not None
    found = [m for m in facts.nova.migrations or () if m.server_id == server_id]
    return max(found, key=lambda m: m.id, default=None)


def _running(fleet: LabFleet, server_id: str) -> MigrationFacts:
    def running() -> MigrationFacts | None:
        one = _migration_of(fleet, server_id)
        return one if one and one.status == "running" and one.memory_total_bytes else None

    found = until(running, "the migration runs with its bytes", 30)
    assert found is not None
    return found


def _ended(fleet: LabFleet, server_id: str, *statuses: str) -> MigrationFacts:
    def ended() -> MigrationFacts | None:
        one = _migration_of(fleet, server_id)
        return one if one and one.status in statuses else None

    found = until(ended, f"the migration is {' or '.join(statuses)}", 60)
    assert found is not None
    return found


@pytest.fixture
def server(lab: Lab, sdk: Any) -> Any:
    """A server with a vGPU on gpu-01 or gpu-02; deleted afterwards."""
    made = lab.boot("mover", "a100-10c")
    yield made
    until(lambda: sdk.compute.get_server(made.id).task_state is None, "the server is at rest", 60)
    lab.delete(made.id)


def _other(host: str) -> str:
    return {"gpu-01": "gpu-02", "gpu-02": "gpu-01"}[host]


def test_seen_running_and_completed(lab: Lab, fleet: LabFleet, sdk: Any, server: Any) -> None:
    fleet.read()
    source, destination = server.compute_host, _other(server.compute_host)
    sdk.compute.live_migrate_server(server, host=destination, block_migration="auto")
    first = _running(fleet, server.id)
    assert (first.source, first.destination, first.status) == (source, destination, "running")
    rows = list(sdk.compute.server_migrations(server.id))
    assert [(r.id, r.memory_total_bytes) for r in rows] == [(first.id, first.memory_total_bytes)]
    remaining = set()
    while True:
        one = _migration_of(fleet, server.id)
        assert one is not None
        if one.status not in LIVE_MIGRATION_IN_PROGRESS:
            break
        if one.memory_remaining_bytes is not None:
            remaining.add(one.memory_remaining_bytes)
        time.sleep(0.3)
    assert len(remaining) >= 2
    last = _ended(fleet, server.id, "completed")
    assert (last.uuid, last.memory_total_bytes) == (first.uuid, None)

    def moved() -> bool:
        facts = fleet.read()
        assert facts.nova is not None
        assert facts.placement is not None
        host = next(s.host for s in facts.nova.servers or () if s.id == server.id)
        holders = {
            p.name.partition("_")[0]
            for p in facts.placement.providers
            for a in p.allocations or ()
            if a.consumer_id in (server.id, last.uuid)
        }
        return host == destination and holders == {destination}

    until(moved, "the server and its allocation are on the destination alone", 20)


def test_usage_counts_twice_while_it_runs(lab: Lab, fleet: LabFleet, sdk: Any, server: Any) -> None:
    """The migration's own allocation on the source belongs to the project too, for as long as it runs."""
    before = fleet.read().placement
    assert before is not None
    sdk.compute.live_migrate_server(server, host=_other(server.compute_host), block_migration="auto")
    _running(fleet, server.id)
    during = fleet.read().placement
    assert during is not None
    assert during.usages[server.project_id]["VGPU"] == before.usages[server.project_id]["VGPU"] + 1
    _ended(fleet, server.id, "completed")

    def as_before() -> bool:
        now = fleet.read().placement
        assert now is not None
        return now.usages[server.project_id] == before.usages[server.project_id]

    until(as_before, "the usage is what it was", 20)


def test_aborted(lab: Lab, fleet: LabFleet, sdk: Any, server: Any) -> None:
    lab.control("/migration", {"seconds": 60})
    sdk.compute.live_migrate_server(server, host=_other(server.compute_host), block_migration="auto")
    running = _running(fleet, server.id)
    sdk.compute.abort_server_migration(running.id, server.id, ignore_missing=False)
    assert _ended(fleet, server.id, "cancelled").uuid == running.uuid
    facts = fleet.read()
    assert facts.nova is not None
    seen = next(s for s in facts.nova.servers or () if s.id == server.id)
    assert (seen.host, seen.status) == (server.compute_host, "ACTIVE")


def test_failed_as_libvirt_fails_leaves_the_server_in_error(lab: Lab, fleet: LabFleet, sdk: Any, server: Any) -> None:
    """Real libvirt raises from the migration call; Nova 34 then says ``error`` and puts the server into ERROR."""
    lab.control("/migration", {"seconds": 3, "mode": "fail", "raise": True})
    sdk.compute.live_migrate_server(server, host=_other(server.compute_host), block_migration="auto")
    assert _ended(fleet, server.id, "error").source == server.compute_host

    def in_error() -> bool:
        facts = fleet.read()
        assert facts.nova is not None
        seen = next(s for s in facts.nova.servers or () if s.id == server.id)
        return (seen.host, seen.status) == (server.compute_host, "ERROR")

    until(in_error, "the server is in ERROR on its source", 20)
    assert server.instance_name in lab.hosts()[server.compute_host]["domains"]
    sdk.compute.reset_server_state(server, "active")
