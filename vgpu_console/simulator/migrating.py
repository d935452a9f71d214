"""Live migrations of the embedded cloud: from the request to their end, moved by the clock.

The steps, their order and what stays behind after an abort follow what Nova 34 does with a real libvirt.
"""

from __future__ import annotations

from vgpu_console.simulator.compute import MDEV_UNAVAILABLE, NO_VALID_HOST, Compute, notify_domain
from vgpu_console.simulator.flavors import device_groups
from vgpu_console.simulator.hosts import Host, KernelRefusal
from vgpu_console.simulator.libvirt_jobs import copied, iteration, sent
from vgpu_console.simulator.state import Action, Migration, MigrationFault, Server

MONITOR_INTERVAL_S = 5.0
"""[libvirt] live_migration_monitor_interval: how often nova-compute writes the byte counts."""


class CannotMigrate(Exception):
    """A request that Nova refuses at once; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Migrations:
    """Starts, moves, aborts and ends live migrations.

    ``fault`` is how those go wrong that begin from now on. ``raises``: whether Nova takes a failed or aborted one for
    an error of the server, as 32.2 and later do.
    """

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.state = compute.state
        self.fault: MigrationFault | None = None
        self.raises = True

    def start(
        self, server: Server, target: str | None, user_id: str, project_id: str | None = None, *, wait: bool = False
    ) -> Migration:
        """Accept a live migration; ``project_id`` is the scope of who asks, project admin's where nobody is named.

        With ``wait`` (microversion < 2.34) the pre-checks are made at once.

        Raises CannotMigrate.
        """
        if server.status != "ACTIVE" or server.task_state is not None:
            where = f"task_state {server.task_state}" if server.task_state else f"vm_state {server.vm_state}"
            raise CannotMigrate(409, f"Cannot 'os-migrateLive' instance {server.id} while it is in {where}")
        if target is not None and target not in self.state.hosts:
            raise CannotMigrate(400, f"Compute host {target} could not be found.")
        if target is not None and target == server.host:
            raise CannotMigrate(400, f"Migration pre-check error: Unable to migrate {server.id} to current host.")
        now = self.state.now
        migration = Migration(
            id=next(self.state.migration_numbers),
            uuid=self.state.new_uuid(),
            server_id=server.id,
            source=server.host or "",
            destination=None,
            created=now,
            updated=now,
            project_id=project_id or next(p.id for p in self.state.projects.values() if p.name == "admin"),
            user_id=user_id,
        )
        self.state.migrations[migration.id] = migration
        self.compute.set(server, "MIGRATING", "active", "migrating")
        action = migration.action = self.compute.act(server, "live-migration", user_id)
        if wait:
            self._conduct(migration, server, target, action)
            if migration.status == "error":
                raise CannotMigrate(400, NO_VALID_HOST)
        else:
            self.state.after(0.4, lambda: self._conduct(migration, server, target, action))
        return migration

    def _mark(self, migration: Migration, status: str) -> None:
        migration.status = status
        migration.updated = self.state.now
        if migration.ended_status and migration.ended is None:
            migration.ended = self.state.now

    def _conduct(self, migration: Migration, server: Server, target: str | None, action: Action) -> None:
        if server.deleted is not None:
            self._mark(migration, "error")
            return
        placement = self.state.placement
        placement.move(server.id, migration.uuid)
        source = self.state.hosts[migration.source]
        held = placement.consumers.get(migration.uuid)
        migration.rollback = {u: dict(r) for u, r in held.allocations.items()} if held else {}
        for host in self.compute.candidates():
            if host.name == migration.source or (target is not None and host.name != target):
                continue
            allocations = self.compute.fit(host, server.flavor)
            if allocations is None:
                continue
            problem = self._mismatch(source, host, server)
            devices: list[str] = []
            if problem is None:
                placement.allocate(server.id, allocations, server.project_id, server.user_id)
                try:
                    devices = self.compute.take_devices(host, allocations, server.id)
                except KernelRefusal:
                    placement.allocate(server.id, {}, server.project_id, server.user_id)
                    problem = MDEV_UNAVAILABLE
            if problem is not None:
                name = "compute_check_can_live_migrate_destination"
                self.compute.event(action, name, "Error", host.name, problem)
                continue
            self.compute.event(action, "compute_check_can_live_migrate_source", host=migration.source)
            self.compute.event(action, "compute_check_can_live_migrate_destination", host=host.name)
            self.compute.event(action, "conductor_live_migrate_instance")
            self.compute.event(action, "compute_live_migration", host=migration.source)
            guest = source.guests.get(server.id)
            migration.devices = dict(zip((guest.mdevs + guest.pci) if guest else [], devices, strict=False))
            migration.destination = host.name
            migration.updated = self.state.now
            self.state.after(0.6, lambda: self._queue(migration, server))
            return
        placement.move(migration.uuid, server.id)
        self.compute.event(action, "conductor_live_migrate_instance", "Error", details=NO_VALID_HOST)
        action.message = "Error"
        self._mark(migration, "error")
        server.fault, server.fault_at = NO_VALID_HOST, self.state.now  # to be seen when the server is in ERROR
        self.compute.set(server, "ACTIVE", "active", None)

    def _mismatch(self, source: Host, host: Host, server: Server) -> str | None:
        if not device_groups(server.flavor):
            return None
        guest = source.guests.get(server.id)
        wanted = sorted(
            {found[1].kind.type_id for u in (guest.mdevs if guest else ()) if (found := source.find_mdev(u))}
        )
        offered = sorted({kind.type_id for gpu in host.gpus for kind in gpu.enabled if gpu.mechanism == "mdev"})
        if any(kind not in offered for kind in wanted):
            return f"Source mdev types {wanted} are not supported by this compute : {offered}"
        return None

    def _gone(self, migration: Migration, server: Server) -> bool:
        """Whether the server was deleted under way; then the migration ends and holds nothing any more."""
        if server.deleted is None:
            return False
        for host in (self.state.hosts[migration.source], self.state.hosts[migration.destination or ""]):
            host.guests.pop(server.id, None)
            self.compute.release_devices(host, [*migration.devices, *migration.devices.values()])
        self.state.placement.allocate(migration.uuid, {}, server.project_id, server.user_id)
        self._mark(migration, "error")
        return True

    def _queue(self, migration: Migration, server: Server) -> None:
        if migration.status == "accepted":
            self._mark(migration, "queued")
        if migration.status != "queued":
            return
        busy = any(
            other.source == migration.source and other.status in ("preparing", "running")
            for other in self.state.migrations.values()
        )
        if busy:  # [DEFAULT] max_concurrent_live_migrations = 1
            self.state.after(1.0, lambda: self._queue(migration, server))
            return
        self.state.after(0.6, lambda: self._prepare(migration, server))

    def _prepare(self, migration: Migration, server: Server) -> None:
        if migration.status != "queued" or self._gone(migration, server):
            return
        self._mark(migration, "preparing")
        host = self.state.hosts[migration.destination or ""]
        guest = self.compute.add_guest(host, server, list(migration.devices.values()))
        guest.state = 3  # VIR_DOMAIN_PAUSED: waits for its memory
        notify_domain(host, server.id, 2, 1)
        self._event(migration, "compute_pre_live_migration", host.name)
        self.state.after(3.0, lambda: self._run(migration, server))

    def _run(self, migration: Migration, server: Server) -> None:
        if migration.status != "preparing":
            return
        if migration.cancelled:  # aborted in the meantime: nova-compute rolls back without an exception
            self._fail(migration, server, "cancelled", raised=False)
            return
        self._mark(migration, "running")
        migration.fault = self.fault
        migration.started = self.state.now
        migration.job_total = server.flavor.ram_mib * 1024 * 1024 + 17 * 1024 * 1024
        migration.duration_s = self.state.migration_seconds * self.state.random.uniform(0.8, 1.2)
        if migration.fault == "qemu-refuses":
            self.state.after(0.3, lambda: self._fail(migration, server, "failed"))
            return
        self._sample(migration, server)

    def _sample(self, migration: Migration, server: Server) -> None:
        """Write the byte counts as nova-compute's monitor does, and end the memory phase when its time has come."""
        if migration.status != "running" or migration.started is None or migration.switching:
            return
        if self._gone(migration, server):
            return
        self._iterate(migration, server)
        elapsed = self.state.now - migration.started
        part = copied(migration, self.state.now)
        driven = self.state.hosts[migration.source].up
        if elapsed > 0 and driven and migration.fault != "no-job":
            total = migration.memory_total = migration.job_total
            counts = int(total * (1.0 - part)), int(total * sent(migration, self.state.now))
            if counts != (migration.memory_remaining, migration.memory_processed):
                migration.updated = self.state.now  # a row that is written as it was keeps its time
            migration.memory_remaining, migration.memory_processed = counts
            server.progress = int(part * 100)
        if part >= 0.5 and self._goes_wrong(migration, server):
            return
        if part >= 1.0:
            left = 0.2 if migration.suspended is not None else self.state.random.uniform(0.7, 1.5)
            self._suspend(migration, server)
            migration.switching = True
            self._iterate(migration, server)
            self.state.after(left, lambda: self._switch_over(migration, server))
            return
        interval = 1.0 if migration.fault == "never-converges" else MONITOR_INTERVAL_S
        left = migration.duration_s - elapsed
        if left > 0:  # never so small that the clock cannot show it
            interval = min(interval, max(0.05, left))
        self.state.after(interval, lambda: self._sample(migration, server))

    def _goes_wrong(self, migration: Migration, server: Server) -> bool:
        """What its fault does when half of the memory is sent; whether that ends it."""
        source = self.state.hosts[migration.source]
        if migration.fault == "destination-dies":
            self._fail(migration, server, "failed")
            return True
        if migration.fault == "guest-dies":
            guest = source.guests.get(server.id)
            if guest is not None:
                guest.active, guest.state = False, 5  # VIR_DOMAIN_SHUTOFF
                notify_domain(source, server.id, 5, 2)
            server.power_state = 4
            self._fail(migration, server, "failed")
            return True
        if migration.fault == "source-compute-dies" and not migration.switching:
            source.up = False
        return False

    def restart_compute(self, host: Host) -> None:
        """nova-compute of a host comes back: it calls errors the migrations that it left, and finds no guest of them.

        What libvirt has finished meanwhile it does not learn: the server stays on the source for Nova.
        """
        host.up = True
        for migration in self.state.migrations.values():
            if migration.source != host.name or migration.ended_status or migration.fault != "source-compute-dies":
                continue
            server = self.state.servers[migration.server_id]
            self._mark(migration, "error")
            server.progress = 0
            server.power_state = 1 if server.id in host.guests else 0
            self.compute.set(server, "ACTIVE", "active", None)

    def restart_destination(self, host: Host) -> None:
        """nova-compute of a host is restarted: what it had reserved for servers that are not there is free again."""
        for gpu in host.gpus:
            for device, owner in list(gpu.claimed.items()):
                if owner not in host.guests:
                    del gpu.claimed[device]

    def _event(self, migration: Migration, name: str, host: str | None = None) -> None:
        if migration.action is not None:
            self.compute.event(migration.action, name, host=host)

    def _iterate(self, migration: Migration, server: Server) -> None:
        """Tell the source's listeners when the next pass over the memory has begun."""
        if migration.fault == "no-job":
            return
        now_at = iteration(migration, self.state.now)
        if now_at > migration.iteration:
            migration.iteration = now_at
            notify_iteration(self.state.hosts[migration.source], server.id, now_at)

    def _suspend(self, migration: Migration, server: Server) -> None:
        """The guest stands still on the source: from here its downtime counts."""
        guest = self.state.hosts[migration.source].guests.get(server.id)
        if migration.suspended is None and guest is not None:
            guest.state = 3
            migration.suspended = self.state.now
            notify_domain(self.state.hosts[migration.source], server.id, 3, 1)

    def _switch_over(self, migration: Migration, server: Server) -> None:
        if migration.status != "running" or self._gone(migration, server):
            return
        source = self.state.hosts[migration.source]
        target = self.state.hosts[migration.destination or ""]
        source.guests.pop(server.id, None)
        self.compute.release_devices(source, list(migration.devices))
        guest = target.guests.get(server.id)
        if guest is not None:
            guest.state = 1
        migration.downtime_ms = round((self.state.now - (migration.suspended or self.state.now)) * 1000)
        migration.clocks_apart_ms = round((target.clock_ahead_s - source.clock_ahead_s) * 1000)
        notify_domain(target, server.id, 4, 1)
        notify_domain(source, server.id, 5, 3)
        if not source.up:  # nobody tells Nova
            return
        server.host = target.name
        server.progress = 0
        self._event(migration, "compute_post_live_migration_at_destination", target.name)
        self.compute.set(server, "ACTIVE", "active", None)

        def complete() -> None:
            if migration.fault == "post-fails":
                self._mark(migration, "error")
                return
            self.state.placement.allocate(migration.uuid, {}, server.project_id, server.user_id)
            self._mark(migration, "completed")

        self.state.after(2.0, complete)

    def _fail(self, migration: Migration, server: Server, status: str, *, raised: bool | None = None) -> None:
        """Roll back: the guest stays on the source, and Nova 32.2 and later put the server into ERROR all the same."""
        target = self.state.hosts[migration.destination or ""]
        if target.guests.pop(server.id, None) is not None:
            notify_domain(target, server.id, 5, 5)
        guest = self.state.hosts[migration.source].guests.get(server.id)
        if migration.suspended is not None and guest is not None:
            migration.suspended = None
            guest.state = 1
            notify_domain(self.state.hosts[migration.source], server.id, 4, 1)
        self.compute.release_devices(target, list(migration.devices.values()))
        placement = self.state.placement
        placement.allocate(server.id, {}, server.project_id, server.user_id)
        placement.move(migration.uuid, server.id)
        self._event(migration, "compute_rollback_live_migration_at_destination", target.name)
        self._mark(migration, status)
        server.progress = 0
        self.compute.set(server, "ACTIVE", "active", None)
        if not (self.raises if raised is None else raised):
            return

        def then() -> None:
            self._mark(migration, "error")
            if server.deleted is None:
                self.compute.set(server, "ERROR", "error", None)

        self.state.after(0.5, then)

    def abort(self, migration: Migration, server: Server) -> None:
        """Abort a migration. A queued one ends clean but for its devices on the destination, which stay reserved.

        Raises CannotMigrate.
        """
        if migration.status == "queued":
            action = self.compute.act(server, "live_migration_cancel")
            self.compute.event(action, "compute_live_migration_abort", host=migration.source)
            placement = self.state.placement
            placement.allocate(server.id, {}, server.project_id, server.user_id)
            placement.move(migration.uuid, server.id)
            self._mark(migration, "cancelled")
            self.compute.set(server, "ACTIVE", "active", None)
        elif migration.status == "preparing":
            migration.cancelled = True
            self.compute.event(self.compute.act(server, "live_migration_cancel"), "compute_live_migration_abort")
        elif migration.status == "running":

            def cancel() -> None:
                if migration.status == "running" and migration.downtime_ms is None:
                    self._fail(migration, server, "cancelled")

            action = self.compute.act(server, "live_migration_cancel")
            if self.state.hosts[migration.source].up:  # else the message waits, and comes too late
                self.compute.event(action, "compute_live_migration_abort", host=migration.source)
                self.state.after(2.6, cancel)
        else:
            raise CannotMigrate(
                400,
                f"Migration {migration.id} of instance {server.id} is {migration.status}. "
                "Cannot abort while in this state.",
            )

    def force_complete(self, migration: Migration, server: Server) -> None:
        """Pause the guest until all is copied. Raises CannotMigrate unless the migration runs."""
        if migration.status != "running" or migration.started is None:
            raise CannotMigrate(
                400,
                f"Migration {migration.id} state of instance {server.id} is {migration.status}. "
                "Cannot force_complete while the migration is in this state.",
            )
        action = self.compute.act(server, "live_migration_force_complete")
        self.compute.event(action, "compute_live_migration_force_complete", host=migration.source)
        if migration.fault == "never-converges":
            migration.fault = None  # a guest that stands still writes nothing
        self._suspend(migration, server)
        migration.duration_s = min(migration.duration_s, self.state.now - migration.started + 2.0)
        self.state.after(2.0, lambda: self._sample(migration, server))


def notify_iteration(host: Host, server_id: str, number: int) -> None:
    """Tell a host's libvirt connections that a migration began its next pass over the memory."""
    for listener in host.listeners:
        listener.iteration_event(server_id, number)  # type: ignore[attr-defined]
