"""Illnesses of live migrations: those that hang, those that failed, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_console.simulator.compute import NO_VALID_HOST

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud
    from vgpu_console.simulator.state import Migration, MigrationFault, Server

QUEUED_S = 1.1
"""So long after the request a migration waits in the queue."""


def _server(cloud: DemoCloud, name: str) -> Server:
    return next(s for s in cloud.state.servers.values() if s.name == name)


def _moved(cloud: DemoCloud, name: str, target: str, fault: MigrationFault | None = None) -> Migration:
    """Begin a migration that goes wrong in that way."""
    cloud.migrations.fault = fault
    server = _server(cloud, name)
    return cloud.migrations.start(server, target, server.user_id)


def error_while_guest_runs(cloud: DemoCloud) -> None:
    """The destination's QEMU died under way."""
    _moved(cloud, "desk-01", "gpu-04", "destination-dies")


def guest_on_other_host(cloud: DemoCloud) -> None:
    """nova-compute of the source died while libvirt moved the guest, and came back afterwards."""
    _moved(cloud, "desk-01", "gpu-04", "source-compute-dies")
    cloud.state.after(120.0, lambda: cloud.migrations.restart_compute(cloud.state.hosts["gpu-03"]))


def guest_twice(cloud: DemoCloud) -> None:
    """Somebody started the domain of a server on another host by hand."""
    server, host = _server(cloud, "desk-01"), cloud.state.hosts["gpu-04"]
    gpu = host.gpus[0]
    function = gpu.novas_functions()[0]
    mdev = gpu.create(cloud.state.new_uuid(), gpu.enabled[0].type_id, function, persistent=True)
    gpu.claimed[mdev.uuid] = server.id
    guest = cloud.compute.add_guest(host, server, [mdev.uuid])
    guest.state = 1


def guest_nowhere(cloud: DemoCloud) -> None:
    """Somebody destroyed and undefined the domain by hand."""
    server, host = _server(cloud, "desk-01"), cloud.state.hosts["gpu-03"]
    guest = host.guests.pop(server.id)
    cloud.compute.release_devices(host, guest.mdevs)


def fault_outdated(cloud: DemoCloud) -> None:
    """No host was found for it once; later a migration failed, and its guest was switched off within."""
    server = _server(cloud, "desk-01")
    cloud.compute.fail(server, NO_VALID_HOST)
    cloud.compute.set(server, "ACTIVE", "active", None)

    def later() -> None:
        _moved(cloud, "desk-01", "gpu-04", "guest-dies")

    cloud.state.after(60.0, later)


def migration_stuck(cloud: DemoCloud) -> None:
    """libvirt's job stands still."""
    _moved(cloud, "desk-01", "gpu-04", "stuck")


def migration_undriven(cloud: DemoCloud) -> None:
    """nova-compute of the source died under way."""
    _moved(cloud, "desk-01", "gpu-04", "source-compute-dies")


def server_left_migrating(cloud: DemoCloud) -> None:
    """nova-compute of the source was stopped while the migration waited: it cancels that and leaves the rest."""
    migration = _moved(cloud, "desk-01", "gpu-04")

    def stopped() -> None:
        migration.status, migration.updated = "cancelled", cloud.state.now

    cloud.state.after(QUEUED_S, stopped)


def mdev_may_be_reserved(cloud: DemoCloud) -> None:
    """Somebody aborted it while it waited."""
    migration = _moved(cloud, "desk-01", "gpu-04")
    server = _server(cloud, "desk-01")
    cloud.state.after(QUEUED_S, lambda: cloud.migrations.abort(migration, server))


ILL: dict[str, Callable[[DemoCloud], None]] = {
    "error-while-guest-runs": error_while_guest_runs,
    "guest-on-other-host": guest_on_other_host,
    "guest-twice": guest_twice,
    "guest-nowhere": guest_nowhere,
    "fault-outdated": fault_outdated,
    "migration-stuck": migration_stuck,
    "migration-undriven": migration_undriven,
    "server-left-migrating": server_left_migrating,
    "mdev-may-be-reserved": mdev_may_be_reserved,
}
"""Diagnosis -> what makes the healthy fleet ill of it."""
