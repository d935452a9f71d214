"""Resizes and cold migrations of the embedded cloud: from the request until they are confirmed or reverted.

Nova first hands what the server holds on the source to the migration's uuid and then claims the destination for the
server, so that both count until the operator confirms or reverts (nova: conductor/tasks/migrate.py).
"""

from __future__ import annotations

from vgpu_console.simulator.compute import NO_VALID_HOST, Compute, notify_domain
from vgpu_console.simulator.hosts import Host, KernelRefusal
from vgpu_console.simulator.migrating import CannotMigrate
from vgpu_console.simulator.state import Flavor, Migration, Server

_COPY_S = 4.0


class Resizes:
    """Starts, ends, confirms and reverts them."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.state = compute.state

    def start(self, server: Server, flavor: Flavor | None, user_id: str, project_id: str | None) -> Migration:
        """Begin a resize to a flavor, a cold migration where there is none. Raises CannotMigrate."""
        kind = "migration" if flavor is None else "resize"
        if server.task_state is not None or server.vm_state not in ("active", "stopped"):
            where = f"task_state {server.task_state}" if server.task_state else f"vm_state {server.vm_state}"
            call = "migrate" if flavor is None else "resize"
            raise CannotMigrate(409, f"Cannot '{call}' instance {server.id} while it is in {where}")
        target = self._target(server, flavor or server.flavor)
        if target is None:
            raise CannotMigrate(400, NO_VALID_HOST)
        host, allocations = target
        state = self.state
        migration = Migration(
            id=next(state.migration_numbers),
            uuid=state.new_uuid(),
            server_id=server.id,
            source=server.host or "",
            destination=host.name,
            created=state.now,
            updated=state.now,
            project_id=project_id or server.project_id,
            user_id=user_id,
            status="pre-migrating",
            kind=kind,
            old_flavor=server.flavor,
        )
        state.placement.move(server.id, migration.uuid)
        state.placement.allocate(server.id, allocations, server.project_id, server.user_id)
        state.migrations[migration.id] = migration
        self.compute.act(server, "migrate" if flavor is None else "resize", user_id)
        self.compute.set(server, "RESIZE", server.vm_state, "resize_migrating")
        self._mark(migration, "migrating")
        state.after(_COPY_S, lambda: self._finish(migration, server, flavor or server.flavor, host, allocations))
        return migration

    def _target(self, server: Server, flavor: Flavor) -> tuple[Host, dict[str, dict[str, int]]] | None:
        for host in self.compute.candidates():
            allocations = None if host.name == server.host else self.compute.fit(host, flavor)
            if allocations is not None:
                return host, allocations
        return None

    def _mark(self, migration: Migration, status: str) -> None:
        migration.status = status
        migration.updated = self.state.now
        if migration.ended_status:
            migration.ended = self.state.now

    def _finish(
        self, migration: Migration, server: Server, flavor: Flavor, host: Host, allocations: dict[str, dict[str, int]]
    ) -> None:
        if server.deleted is not None:
            self._give_back(migration, server, "error")
            return
        try:
            devices = self.compute.take_devices(host, allocations, server.id)
        except KernelRefusal as refusal:
            self._mark(migration, "error")
            self.compute.fail(server, str(refusal))
            return
        self._leave(self.state.hosts[migration.source], server)
        server.flavor = flavor
        self.compute.add_guest(host, server, devices)
        notify_domain(host, server.id, 2, 0)
        server.host = host.name
        self._mark(migration, "finished")
        self.compute.set(server, "VERIFY_RESIZE", "resized", None)

    def _leave(self, host: Host, server: Server) -> None:
        guest = host.guests.pop(server.id, None)
        if guest is not None:
            self.compute.release_devices(host, guest.mdevs + guest.pci)
            notify_domain(host, server.id, 5, 0)

    def _give_back(self, migration: Migration, server: Server, status: str) -> None:
        self.state.placement.allocate(migration.uuid, {}, server.project_id, server.user_id)
        self._mark(migration, status)

    def _finished(self, server: Server, call: str) -> Migration:
        rows = [m for m in self.state.migrations.values() if m.server_id == server.id and m.status == "finished"]
        if not rows or server.vm_state != "resized":
            raise CannotMigrate(409, f"Cannot '{call}' instance {server.id} while it is in vm_state {server.vm_state}")
        return rows[-1]

    def confirm(self, server: Server) -> None:
        """Let the source go. Raises CannotMigrate."""
        migration = self._finished(server, "confirmResize")
        self.compute.act(server, "confirmResize")
        self._give_back(migration, server, "confirmed")
        self.compute.set(server, "ACTIVE", "active", None)

    def revert(self, server: Server) -> None:
        """Back to the source with what it held there. Raises CannotMigrate."""
        migration = self._finished(server, "revertResize")
        placement = self.state.placement
        self.compute.act(server, "revertResize")
        self._leave(self.state.hosts[server.host or ""], server)
        placement.allocate(server.id, {}, server.project_id, server.user_id)
        held = placement.consumers[migration.uuid].allocations
        back = {uuid: dict(resources) for uuid, resources in held.items()}
        placement.move(migration.uuid, server.id)
        source = self.state.hosts[migration.source]
        server.flavor = migration.old_flavor or server.flavor
        self.compute.add_guest(source, server, self.compute.take_devices(source, back, server.id))
        notify_domain(source, server.id, 2, 0)
        server.host = source.name
        self._mark(migration, "reverted")
        self.compute.set(server, "ACTIVE", "active", None)
