"""The join: everything the sources said, into one frozen snapshot. Pure, but for a memory of unchanged parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from vgpu_console.fleet.devices import HostDevices, host_devices
from vgpu_console.fleet.provider_trees import Holdings, ProviderJoin
from vgpu_console.fleet.quotas import QuotaJoin
from vgpu_console.fleet.type_maximum import TypeCatalogue
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS, ComputeService, Hypervisor, MigrationFacts, Server
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    Provider,
    Snapshot,
    VgpuServer,
    VirtualFunction,
)
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.diagnosis.confirm import Confirmation
from vgpu_console.rules.diagnosis.doctor import diagnose
from vgpu_console.rules.nova_conf import mdev_classes
from vgpu_console.rules.resource_classes import requested


class _Named(msgspec.Struct, frozen=True):
    """Names for eyes, by id."""

    projects: Mapping[str, str]
    servers: Mapping[str, Server]


class Joiner:
    """Joins facts into snapshots and remembers, per host, what was made of facts that have not changed.

    Sources hand out a new object when they have read anew, so identity of the inputs is the key: joining the same
    facts twice gives equal snapshots, whether or not the memory is warm.
    """

    def __init__(self, catalogue: TypeCatalogue) -> None:
        self._catalogue = catalogue
        self._quotas = QuotaJoin()
        self._devices: dict[str, tuple[LibvirtFacts | None, SshFacts | None, HostDevices]] = {}
        self._providers = ProviderJoin()
        self._confirmation = Confirmation()
        self._gpus: dict[str, tuple[HostDevices, tuple[Provider, ...], tuple[PhysicalGpu, ...] | None]] = {}

    def join(self, facts: Facts, now: float) -> Snapshot:
        """One snapshot of the fleet as the sources know it; ``now`` is in seconds since the epoch."""
        nova, placement, keystone = facts.nova, facts.placement, facts.keystone
        services = {s.host: s for s in (nova.services if nova else None) or ()}
        hypervisors = {h.service_host or h.name: h for h in (nova.hypervisors if nova else None) or ()}
        names = _Named(
            {p.id: p.name for p in (keystone.projects if keystone else None) or ()},
            {s.id: s for s in (nova.servers if nova else None) or ()},
        )
        configured = frozenset(c for s in facts.ssh.values() for c in mdev_classes(s.nova_conf))
        trees = self._providers.trees(placement, (nova.hypervisors if nova else None) or (), configured)
        classes = trees.classes
        host_names = dict.fromkeys(
            [*services, *hypervisors, *facts.libvirt, *facts.ssh, *facts.expected_hosts, *trees.hosts_with_devices]
        )
        devices = {h: self._host_devices(h, facts.libvirt.get(h), facts.ssh.get(h)) for h in host_names}
        providers = self._providers.tied(trees, devices)
        statuses = defaultdict(list)
        for status in facts.statuses:
            if status.host:
                statuses[status.host].append(status)
        mdevs: list[MediatedDevice] = []
        hosts: list[Host] = []
        for name in sorted(host_names):
            found = devices[name]
            by_device = providers.by_device.get(name, {})
            mdevs.extend(_name_devices(found, by_device, names))
            hosts.append(
                _host(
                    name,
                    services.get(name),
                    hypervisors.get(name),
                    self._tied_gpus(name, found, by_device),
                    facts.libvirt.get(name),
                    facts.ssh.get(name),
                    statuses.get(name, []),
                    bool(by_device),
                    trees.used_on(name),
                )
            )
        running = (nova.migrations if nova else None) or ()
        servers = _vgpu_servers(names, classes, mdevs, trees.held)
        snapshot = Snapshot(
            taken_at=now,
            identity=facts.identity,
            sources=facts.statuses,
            hosts=tuple(hosts),
            mdevs=tuple(mdevs),
            servers=servers,
            migrations=_migrations(running, names, {s.id for s in servers}, nova is not None),
            providers=providers.all,
        )
        return self._with_findings(self._quotas.add_to(snapshot, facts, classes), facts)

    def _with_findings(self, snapshot: Snapshot, facts: Facts) -> Snapshot:
        found, unlooked = diagnose(snapshot, facts, snapshot.taken_at)
        found = self._confirmation.confirmed(found, facts.statuses)
        by_host: dict[str, list[Finding]] = defaultdict(list)
        for finding in found:
            if finding.host:
                by_host[finding.host].append(finding)
        hosts = tuple(
            msgspec.structs.replace(h, findings=tuple(by_host[h.name])) if h.name in by_host else h
            for h in snapshot.hosts
        )
        return msgspec.structs.replace(snapshot, hosts=hosts, findings=found, unlooked=unlooked)

    def _host_devices(self, host: str, libvirt: LibvirtFacts | None, ssh: SshFacts | None) -> HostDevices:
        kept = self._devices.get(host)
        if kept is not None and kept[0] is libvirt and kept[1] is ssh:
            return kept[2]
        made = host_devices(host, libvirt, ssh, self._catalogue)
        self._devices[host] = (libvirt, ssh, made)
        return made

    def _tied_gpus(
        self, host: str, found: HostDevices, by_device: Mapping[str, Provider]
    ) -> tuple[PhysicalGpu, ...] | None:
        """The host's GPUs and functions, each with the provider that stands for it."""
        own = tuple(by_device.values())
        kept = self._gpus.get(host)
        same = kept is not None and kept[0] is found and len(kept[1]) == len(own)
        if kept is not None and same and all(old is new for old, new in zip(kept[1], own, strict=True)):
            return kept[2]
        gpus = None if found.gpus is None else tuple(_with_providers(g, by_device) for g in found.gpus)
        self._gpus[host] = (found, own, gpus)
        return gpus


def _name_devices(found: HostDevices, by_device: Mapping[str, Provider], names: _Named) -> list[MediatedDevice]:
    out = []
    for mdev in found.mdevs:
        server = names.servers.get(mdev.server_id) if mdev.server_id else None
        provider = by_device.get(mdev.parent) if mdev.parent else None
        out.append(
            msgspec.structs.replace(
                mdev,
                server=server.name if server else None,
                project_id=server.project_id if server else None,
                project=names.projects.get(server.project_id, server.project_id) if server else None,
                provider_uuid=provider.uuid if provider else None,
            )
        )
    return out


def _total(numbers: Iterable[int | None]) -> int | None:
    listed = list(numbers)
    return None if None in listed else sum(n for n in listed if n is not None)


def _with_providers(gpu: PhysicalGpu, by_device: Mapping[str, Provider]) -> PhysicalGpu:
    own = by_device.get(gpu.address)
    functions = tuple(_with_provider(f, by_device.get(f.address)) for f in gpu.functions)
    if own is None and functions == gpu.functions:
        return gpu
    return msgspec.structs.replace(gpu, functions=functions, provider_uuid=own.uuid if own else None)


def _with_provider(function: VirtualFunction, provider: Provider | None) -> VirtualFunction:
    return function if provider is None else msgspec.structs.replace(function, provider_uuid=provider.uuid)


def _host(
    name: str,
    service: ComputeService | None,
    hypervisor: Hypervisor | None,
    gpus: tuple[PhysicalGpu, ...] | None,
    libvirt: LibvirtFacts | None,
    ssh: SshFacts | None,
    statuses: list[SourceStatus],
    provided: bool,
    placed: int | None,
) -> Host:
    used = _total(g.vgpus_used for g in gpus) if gpus is not None else None
    used_source = "libvirt" if used is not None else ""
    if used is None and libvirt is None and placed is not None:
        used, used_source = placed, "placement"
    known = {
        "nova": service is not None or hypervisor is not None,
        "placement": provided,
        "libvirt": libvirt is not None,
        "ssh": ssh is not None,
    }
    return Host(
        name=name,
        service_state=(service.state if service else None) or (hypervisor.state if hypervisor else None),
        service_status=(service.status if service else None) or (hypervisor.status if hypervisor else None),
        disabled_reason=service.disabled_reason if service else None,
        zone=service.zone if service else None,
        gpus=gpus,
        vfs_enabled=_total(g.vfs_enabled for g in gpus) if gpus is not None else None,
        vfs_total=_total(g.vfs_total for g in gpus) if gpus is not None else None,
        mdevs_created=_total(g.vgpus_created for g in gpus) if gpus is not None else None,
        mdevs_used=used,
        mdevs_max=_total(g.vgpus_max for g in gpus) if gpus is not None else None,
        used_source=used_source,
        driver=ssh.nvidia_driver if ssh else None,
        kernel=ssh.kernel if ssh else None,
        os_name=ssh.os_name if ssh else None,
        libvirt=(libvirt.libvirt_version if libvirt else None) or (ssh.libvirt_installed if ssh else None),
        qemu=(libvirt.qemu_version if libvirt else None) or (ssh.qemu_installed if ssh else None),
        cpu_model=ssh.cpu_model if ssh else None,
        clock_skew_s=ssh.clock_skew_s if ssh else None,
        clock_error_s=ssh.clock_error_s if ssh else None,
        nova_conf=ssh.nova_conf if ssh else None,
        known_from=tuple(kind for kind, yes in known.items() if yes),
        errors=tuple(f"{s.kind}: {s.error}" for s in statuses if s.error),
        stale=any(s.error is not None and s.fetched_at is not None for s in statuses),
    )


def _vgpu_servers(
    names: _Named,
    classes: frozenset[str],
    mdevs: Iterable[MediatedDevice],
    allocated: Holdings,
) -> tuple[VgpuServer, ...]:
    held: dict[str, list[MediatedDevice]] = defaultdict(list)
    for mdev in mdevs:
        if mdev.server_id:
            held[mdev.server_id].append(mdev)
    out = []
    for server in names.servers.values():
        wanted = requested(server.extra_specs, classes)
        given = allocated.get(server.id, [])
        devices = held.get(server.id, [])
        if not wanted and not given and not devices:
            continue
        out.append(
            VgpuServer(
                id=server.id,
                name=server.name,
                project_id=server.project_id,
                project=names.projects.get(server.project_id, server.project_id),
                host=server.host,
                status=server.status,
                vgpus=sum(wanted.values()) if wanted else sum(n for _, n in given) or len(devices) or None,
                task_state=server.task_state,
                power_state=server.power_state,
                flavor=server.flavor,
                ram_mib=server.ram_mib,
                types=tuple(dict.fromkeys(d.type_name or d.type_id for d in devices)),
                devices=tuple(d.uuid or d.parent or "" for d in devices),
                allocated=sum(n for _, n in given),
                allocated_on=tuple(uuid for uuid, _ in given),
                requested=wanted or {},
                created=server.created,
            )
        )
    return tuple(sorted(out, key=lambda s: (s.name, s.id)))


def _progress(row: MigrationFacts) -> int | None:
    total, remaining = row.memory_total_bytes, row.memory_remaining_bytes
    if not total or remaining is None or row.status not in LIVE_MIGRATION_IN_PROGRESS:
        return None
    return max(0, min(100, round(100 * (total - remaining) / total)))


def _migrations(
    rows: Iterable[MigrationFacts], names: _Named, vgpu_servers: set[str], nova_known: bool
) -> tuple[Migration, ...]:
    out = []
    for row in rows:
        server = names.servers.get(row.server_id)
        project_id = server.project_id if server else None  # the record's own is of whoever started it
        out.append(
            Migration(
                uuid=row.uuid,
                id=row.id,
                server_id=row.server_id,
                server=server.name if server else "",
                project=names.projects.get(project_id, project_id) if project_id else "",
                source=row.source,
                destination=row.destination,
                status=row.status,
                running=row.status in LIVE_MIGRATION_IN_PROGRESS,
                vgpu=(row.server_id in vgpu_servers) if server is not None and nova_known else None,
                progress=_progress(row),
                created_at=row.created_at,
                updated_at=row.updated_at,
                memory_total_bytes=row.memory_total_bytes,
                memory_processed_bytes=row.memory_processed_bytes,
                memory_remaining_bytes=row.memory_remaining_bytes,
            )
        )
    out.sort(key=lambda m: (m.running, m.created_at or "", m.uuid), reverse=True)
    return tuple(out)
