"""What two snapshots are compared by: the things in them, what tells them apart, and the fields that count.

A field that is None is not known; what is known to be nothing has a word of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from vgpu_console.model.snapshot import (
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    TypeCapacity,
    VgpuServer,
)
from vgpu_console.model.source import SourceKind

NOWHERE = "nowhere"
FREE = "free"
NO_TYPE = "no type"
NOT_SET = "not set"

Fields = dict[str, Any]
"""Of every thing of a kind the same names; a value that is a dict again has names that come and go."""


class Things(NamedTuple):
    """Things of one kind.

    ``service`` knows all of them or none. ``devices``: they are known as far as their host's devices are. ``of_host``:
    they come and go with their host. ``moves`` are fields that say where a thing is.
    """

    what: str
    of: Callable[[Snapshot], Iterable[Any]]
    id: Callable[[Any], str]
    name: Callable[[Any], str]
    host: Callable[[Any], str]
    fields: Callable[[Any], Fields]
    service: SourceKind | None = None
    devices: bool = False
    of_host: bool = False
    moves: tuple[str, ...] = ()

    def moved(self, before: Any, after: Any) -> bool:
        """Whether both are places: a device that was free has not moved to its first server."""
        return before not in (FREE, NOWHERE) and after not in (FREE, NOWHERE)


def _host(host: Host) -> Fields:
    known = host.service_state is not None or host.service_status is not None
    return {
        "service": host.service_state,
        "status": host.service_status,
        "disabled because": (host.disabled_reason or "") if known else host.disabled_reason,
        "zone": host.zone,
        "GPUs": None if host.gpus is None else len(host.gpus),
        "driver": host.driver,
        "kernel": host.kernel,
        "system": host.os_name,
        "libvirt": host.libvirt,
        "QEMU": host.qemu,
        "nova.conf": host.nova_conf,
    }


def _gpu(gpu: PhysicalGpu) -> Fields:
    empty = gpu.vgpus_created == 0 or gpu.mechanism == "none"
    type_ = "several" if gpu.mixed_types else gpu.active_type_name or gpu.active_type or (NO_TYPE if empty else None)
    return {
        "model": gpu.model or None,
        "mechanism": gpu.mechanism,
        "VFs enabled": gpu.vfs_enabled,
        "VFs in all": gpu.vfs_total,
        "type": type_,
        "real maximum": gpu.vgpus_max,
        "created": gpu.vgpus_created,
        "used": gpu.vgpus_used,
        "ECC": gpu.ecc,
        "MIG": gpu.mig,
    }


def _type(capacity: TypeCapacity) -> Fields:
    return {"real maximum": capacity.max, "enabled": capacity.enabled}


def _vgpu(mdev: MediatedDevice) -> Fields:
    holder = mdev.server or mdev.server_id or mdev.domain
    return {
        "type": mdev.type_name or mdev.type_id,
        "state": None if mdev.state == "unknown" else mdev.state,
        "autostart": mdev.autostart,
        "function": mdev.parent,
        "server": holder or (FREE if mdev.used is False else None),
    }


def _server(server: VgpuServer) -> Fields:
    return {
        "name": server.name,
        "project": server.project or server.project_id,
        "host": server.host or NOWHERE,
        "status": server.status,
        "vGPUs": server.vgpus,
        "flavor": server.flavor,
    }


def _quota(quota: ProjectQuota) -> Fields:
    limit: Any = "unlimited" if quota.limit == -1 else quota.limit
    default: Any = "unlimited" if quota.default == -1 else quota.default
    missing = quota.origin == "missing"
    return {
        "limit": "missing" if limit is None and missing else limit,
        "from": None if quota.origin == "unknown" else quota.origin,
        "default": "missing" if default is None and missing else default,
        "used": quota.used,
        "leaked": quota.leaked,
    }


def _migration(migration: Migration) -> Fields:
    return {"status": migration.status, "downtime_ms": migration.downtime_ms}


def _provider(provider: Provider) -> Fields:
    figures: Fields | None = None
    if provider.inventories is not None:
        totals = {f"{one.resource_class} total": one.total for one in provider.inventories}
        reserved = {f"{one.resource_class} reserved": one.reserved for one in provider.inventories if one.reserved}
        figures = totals | reserved
    return {
        "name": provider.name,
        "traits": None if provider.traits is None else ", ".join(sorted(provider.traits)),
        "inventory": figures,
    }


def _move_name(migration: Migration) -> str:
    server = migration.server or migration.server_id
    return f"{server} {migration.source or '?'} → {migration.destination or '?'}"


def _gpus(snapshot: Snapshot) -> Iterable[PhysicalGpu]:
    return (gpu for host in snapshot.hosts for gpu in host.gpus or ())


ALL: tuple[Things, ...] = (
    Things("host", lambda s: s.hosts, lambda h: h.name, lambda h: h.name, lambda h: h.name, _host),
    Things(
        "gpu",
        _gpus,
        lambda g: f"{g.host} {g.address}",
        lambda g: g.address,
        lambda g: g.host,
        _gpu,
        devices=True,
        of_host=True,
    ),
    Things(
        "type",
        lambda s: (t for gpu in _gpus(s) for t in gpu.types),
        lambda t: f"{t.host} {t.gpu} {t.type_id}",
        lambda t: f"{t.gpu} {t.type_name or t.type_id}",
        lambda t: t.host,
        _type,
        devices=True,
        of_host=True,
    ),
    Things(
        "vgpu",
        lambda s: s.mdevs,
        lambda m: f"{m.host} {m.uuid or m.parent}",
        lambda m: m.uuid or m.parent or "?",
        lambda m: m.host,
        _vgpu,
        devices=True,
        moves=("server",),
    ),
    Things(
        "server",
        lambda s: s.servers,
        lambda v: v.id,
        lambda v: v.name or v.id,
        lambda v: v.host or "",
        _server,
        service="nova",
        moves=("host",),
    ),
    Things(
        "quota",
        lambda s: s.quotas,
        lambda q: f"{q.project_id} {q.resource}",
        lambda q: f"{q.project or q.project_id} {q.resource}",
        lambda q: "",
        _quota,
        service="keystone",
    ),
    Things(
        "migration",
        lambda s: s.migrations,
        lambda m: m.uuid,
        _move_name,
        lambda m: "",
        _migration,
        service="nova",
    ),
    Things(
        "provider",
        lambda s: s.providers,
        lambda p: p.uuid,
        lambda p: p.name,
        lambda p: p.host,
        _provider,
        service="placement",
        of_host=True,
    ),
    Things(
        "finding",
        lambda s: s.findings,
        lambda f: f"{f.id} {f.object}",
        lambda f: f"{f.id}: {f.object}",
        lambda f: f.host,
        lambda f: {"severity": f.severity},
    ),
)
"""In the order in which they are told."""
