"""Facts from Nova: services, hypervisors, servers, migrations, flavors."""

from __future__ import annotations

import msgspec


class ComputeService(msgspec.Struct, frozen=True, kw_only=True):
    """A nova-compute service (``GET /os-services``)."""

    id: str
    host: str
    state: str | None  # "up" or "down"
    status: str | None  # "enabled" or "disabled"
    disabled_reason: str | None = None
    zone: str | None = None
    updated_at: str | None = None
    forced_down: bool | None = None


class Hypervisor(msgspec.Struct, frozen=True, kw_only=True):
    """A compute node (``GET /os-hypervisors/detail``). ``name`` is also its root resource provider's name."""

    id: str
    name: str
    service_host: str
    state: str | None = None
    status: str | None = None
    type: str | None = None
    version: int | None = None  # of the hypervisor: 8002000 is QEMU 8.2.0
    host_ip: str | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server with the flavor that is embedded in it (``GET /servers/detail``, microversion >= 2.47)."""

    id: str
    name: str
    project_id: str
    user_id: str = ""
    host: str | None = None
    hypervisor: str | None = None
    instance_name: str | None = None  # libvirt's domain name
    status: str | None = None
    vm_state: str | None = None
    task_state: str | None = None
    power_state: int | None = None
    flavor: str | None = None
    ram_mib: int | None = None
    vcpus: int | None = None
    extra_specs: dict[str, str] | None = None  # None: not visible to this credential
    created: str | None = None
    updated: str | None = None
    locked: bool | None = None
    fault: str | None = None
    pinned_zone: str | None = None  # the zone it may not leave; "": none; None: not told (before 2.96)
    fault_at: str | None = None  # when that fault was written: it may belong to an earlier failure than the last one


class MigrationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``GET /os-migrations``, live with the byte counts of ``/servers/{id}/migrations`` while it runs.

    The byte counts are guest RAM only: a vGPU's framebuffer is in no API.
    """

    id: int
    uuid: str
    server_id: str
    source: str | None
    destination: str | None
    status: str | None
    migration_type: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    project_id: str | None = None  # of whoever started it, mostly an administrator's: not of the server
    memory_total_bytes: int | None = None
    memory_processed_bytes: int | None = None
    memory_remaining_bytes: int | None = None

    @property
    def live(self) -> bool:
        """Whether it is a live migration: no resize, cold migration or evacuation."""
        return self.migration_type in (None, LIVE_MIGRATION)

    @property
    def in_progress(self) -> bool:
        """Whether it has not ended: it may hold allocations. A resize goes on until it is confirmed or reverted."""
        if self.live:
            return self.status in LIVE_MIGRATION_IN_PROGRESS
        return self.status is not None and self.status not in MIGRATION_ENDED


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """A host aggregate (``GET /os-aggregates``) with the metadata that the scheduler's filters look at."""

    id: str
    name: str
    zone: str | None = None
    hosts: tuple[str, ...] = ()
    metadata: dict[str, str] = {}


class NovaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of Nova; lists are complete, also after a refresh with ``changes-since``."""

    microversion: str = ""  # the one used, bounded by what the cloud speaks
    max_microversion: str = ""
    services: tuple[ComputeService, ...] | None = None
    hypervisors: tuple[Hypervisor, ...] | None = None
    servers: tuple[Server, ...] | None = None
    all_projects: bool = True  # False: only the own project's servers are visible
    migrations: tuple[MigrationFacts, ...] | None = None  # live ones
    other_migrations: tuple[MigrationFacts, ...] | None = None  # resizes, cold migrations, evacuations
    flavors: tuple[Flavor, ...] | None = None
    aggregates: tuple[Aggregate, ...] | None = None


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """A flavor with its extra specs (``GET /flavors/detail``, microversion >= 2.61)."""

    id: str
    name: str
    ram_mib: int | None = None
    vcpus: int | None = None
    disk_gib: int | None = None
    extra_specs: dict[str, str] | None = None


LIVE_MIGRATION_IN_PROGRESS = frozenset(
    {"accepted", "queued", "preparing", "running", "running (post-copy)", "post-migrating"}
)
"""Statuses of a live migration that has not ended (nova: objects/migration.py, api-ref)."""

LIVE_MIGRATION = "live-migration"
"""``migration_type`` of a live migration; the others are resize, migration (a cold one) and evacuation."""

MIGRATION_ENDED = frozenset({"confirmed", "reverted", "error", "failed", "completed", "cancelled", "done"})
"""Statuses of a migration of any kind that has ended (nova: cmd/manage.py, what placement audit takes for ended)."""
