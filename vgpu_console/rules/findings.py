"""What is wrong in a snapshot, as far as the snapshot alone can show it: each finding has a stable id.

Unknown is not wrong and not right: a rule that lacks a figure says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu, Provider, Severity, Snapshot
from vgpu_console.rules.quota_audit import concerns_the_cloud

_ORDER: dict[Severity, int] = {"fail": 0, "warn": 1, "info": 2}


def findings_of(snapshot: Snapshot) -> tuple[Finding, ...]:
    """All findings, the worst first, then by host and id."""
    found = [
        *_virtual_functions(snapshot),
        *_ghost_providers(snapshot),
        *_over_reported(snapshot),
        *_devices(snapshot),
        *_drivers(snapshot),
        *_services(snapshot),
        *(finding for finding in snapshot.quota_findings if concerns_the_cloud(finding)),
    ]
    return tuple(sorted(found, key=lambda f: (_ORDER[f.severity], f.host, f.id, f.object)))


def _gpus(snapshot: Snapshot) -> Iterator[tuple[Host, PhysicalGpu]]:
    for host in snapshot.hosts:
        for gpu in host.gpus or ():
            yield host, gpu


def _virtual_functions(snapshot: Snapshot) -> Iterator[Finding]:
    for host, gpu in _gpus(snapshot):
        if not gpu.sriov or gpu.vfs_enabled is None or gpu.vfs_total is None or gpu.vfs_enabled >= gpu.vfs_total:
            continue
        where = f"gpu {host.name} {gpu.address}"
        if gpu.vfs_enabled == 0:
            yield Finding(
                id="vfs-off",
                severity="fail",
                object=where,
                host=host.name,
                message=f"none of {gpu.vfs_total} virtual functions is enabled (sriov-manage has not run since boot?)",
            )
        else:
            yield Finding(
                id="vfs-partial",
                severity="warn",
                object=where,
                host=host.name,
                message=f"only {gpu.vfs_enabled} of {gpu.vfs_total} virtual functions are enabled",
            )


def _vgpu_total(provider: Provider) -> int:
    return sum(
        i.total
        for i in provider.inventories or ()
        if i.resource_class == "VGPU" or i.resource_class.startswith("CUSTOM_")
    )


def _ghost_providers(snapshot: Snapshot) -> Iterator[Finding]:
    """Placement offers a device that the host does not have now (nova keeps such providers for ever)."""
    asked = {h.name for h in snapshot.hosts if h.gpus is not None and "libvirt" in h.known_from and not h.stale}
    ghosts: dict[str, list[Provider]] = defaultdict(list)
    for provider in snapshot.providers:
        if provider.device and provider.gpu is None and provider.host in asked and _vgpu_total(provider):
            ghosts[provider.host].append(provider)
    for host, providers in ghosts.items():
        names = ", ".join(p.device or "" for p in providers[:3]) + (" …" if len(providers) > 3 else "")
        yield Finding(
            id="ghost-provider",
            severity="fail",
            object=f"host {host}",
            host=host,
            message=f"Placement offers {len(providers)} devices that the host does not have: {names}; boots there fail",
        )


def _over_reported(snapshot: Snapshot) -> Iterator[Finding]:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for provider in snapshot.providers:
        if provider.gpu is not None:
            totals[(provider.host, provider.gpu)] += _vgpu_total(provider)
    for host, gpu in _gpus(snapshot):
        offered = totals.get((host.name, gpu.address), 0)
        if gpu.vgpus_max is not None and offered > gpu.vgpus_max:
            yield Finding(
                id="capacity-over-reported",
                severity="warn",
                object=f"gpu {host.name} {gpu.address}",
                host=host.name,
                message=f"Placement offers {offered} vGPUs, {gpu.active_type_name or gpu.active_type} allows "
                f"{gpu.vgpus_max} on this GPU",
            )


def _devices(snapshot: Snapshot) -> Iterator[Finding]:
    free: dict[tuple[str, str], int] = defaultdict(int)
    used: set[tuple[str, str]] = set()
    for mdev in snapshot.mdevs:
        if mdev.mechanism != "mdev":
            continue
        name = f"mdev {mdev.host} {mdev.uuid}"
        if mdev.state == "defined":
            yield Finding(
                id="mdev-not-active",
                severity="warn",
                object=name,
                host=mdev.host,
                message="defined but not active"
                + ("" if mdev.parent else "; its virtual function is gone")
                + "; nova-compute starts it at its own start, until then boots on it fail",
            )
        elif mdev.gpu and mdev.used is False:
            free[(mdev.host, mdev.gpu)] += 1
        if mdev.gpu and mdev.used:
            used.add((mdev.host, mdev.gpu))
    for (host, gpu), count in free.items():
        if (host, gpu) not in used:
            yield Finding(
                id="free-mdev-pins-type",
                severity="info",
                object=f"gpu {host} {gpu}",
                host=host,
                message=f"free mdevs keep this GPU at its size: {count}",
            )
    for host_entry, gpu_entry in _gpus(snapshot):
        for capacity in gpu_entry.types:
            if capacity.created and capacity.enabled is False:
                yield Finding(
                    id="type-not-enabled",
                    severity="warn",
                    object=f"gpu {host_entry.name} {gpu_entry.address}",
                    host=host_entry.name,
                    message=f"carries {capacity.created} × {capacity.type_name or capacity.type_id}, "
                    "which nova.conf does not enable here",
                )


def _drivers(snapshot: Snapshot) -> Iterator[Finding]:
    """Hosts that offer the same type with different NVIDIA drivers cannot exchange guests on some systems."""
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for host, gpu in _gpus(snapshot):
        if gpu.active_type_name and host.driver and host.name not in groups[gpu.active_type_name][host.driver]:
            groups[gpu.active_type_name][host.driver].append(host.name)
    for type_name, drivers in groups.items():
        if len(drivers) < 2:
            continue
        common = max(drivers, key=lambda d: (len(drivers[d]), d))
        for driver, hosts in drivers.items():
            for host_name in hosts if driver != common else ():
                yield Finding(
                    id="driver-differs",
                    severity="warn",
                    object=f"host {host_name}",
                    host=host_name,
                    message=f"NVIDIA driver {driver}; {', '.join(drivers[common][:3])} with {type_name}: {common}",
                )


def _services(snapshot: Snapshot) -> Iterator[Finding]:
    for host in snapshot.hosts:
        if host.service_state == "down":
            yield Finding(
                id="service-down",
                severity="fail",
                object=f"host {host.name}",
                host=host.name,
                message="nova-compute is down",
            )
        for error in host.errors:
            yield Finding(
                id="source-failed", severity="warn", object=f"host {host.name}", host=host.name, message=error
            )
