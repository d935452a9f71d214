"""The doctor: every diagnosis looked for in one ground, and what could not be looked at.

Unknown is not wrong and not right: a look that lacks a figure says nothing, and its diagnosis is told as not looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Finding, Severity, Snapshot, Unlooked
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis import (
    allocations,
    capacity,
    compute_start,
    computes,
    device_allocations,
    domains,
    flavors,
    functions,
    gpu_modes,
    hosts,
    live_migration,
    mediated_devices,
    moves,
    pairs,
    providers,
    quota,
    reserved_devices,
    sources,
    vendor_vfio,
)
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.diagnosis.unseen import partly_seen

ORDER: dict[Severity, int] = {"fail": 0, "warn": 1, "info": 2}
"""The worst first."""

CHAPTERS: tuple[Chapter, ...] = (
    functions.CHAPTER,
    mediated_devices.CHAPTER,
    compute_start.CHAPTER,
    vendor_vfio.CHAPTER,
    gpu_modes.CHAPTER,
    domains.CHAPTER,
    device_allocations.CHAPTER,
    providers.CHAPTER,
    capacity.CHAPTER,
    allocations.CHAPTER,
    flavors.CHAPTER,
    moves.CHAPTER,
    reserved_devices.CHAPTER,
    computes.CHAPTER,
    live_migration.CHAPTER,
    pairs.CHAPTER,
    hosts.CHAPTER,
    sources.CHAPTER,
    quota.CHAPTER,
)

DIAGNOSES: tuple[Diagnosis, ...] = tuple(d for chapter in CHAPTERS for d in chapter.diagnoses)
"""All that the doctor can tell, in the order of the manual."""

BY_ID: dict[str, Diagnosis] = {d.id: d for d in DIAGNOSES}

_ACCESS: dict[SourceKind, str] = {
    "keystone": "a credential that Keystone accepts, with the reader role on the system for limits",
    "placement": "a credential with the admin (or service) role: Placement shows providers to no one else",
    "nova": "a credential with the admin role in a project: Nova shows hosts and all servers to no one else",
    "libvirt": "[libvirt] enabled = true and a connection to the host's libvirt (qemu+ssh), read-only is enough",
    "ssh": "[ssh] enabled = true and an account on the host that may read nova.conf and sysfs",
}


def diagnose(snapshot: Snapshot, facts: Facts, now: float) -> tuple[tuple[Finding, ...], tuple[Unlooked, ...]]:
    """All findings, the worst first, then by host and id; and what could not be looked at, by source."""
    ground = Ground(snapshot, facts, now)
    found = [finding for chapter in CHAPTERS for look in chapter.looks for finding in look(ground)]
    found.sort(key=lambda f: (ORDER[f.severity], f.host, f.id, f.object))
    return tuple(found), (*_unlooked(ground), *partly_seen(ground, DIAGNOSES), *quota.unseen(ground))


def _unlooked(ground: Ground) -> Iterator[Unlooked]:
    by_source: dict[SourceKind, list[str]] = defaultdict(list)
    for diagnosis in DIAGNOSES:
        for kind in diagnosis.needs:
            by_source[kind].append(diagnosis.id)
    for kind, ids in by_source.items():
        silent: dict[str, list[str]] = defaultdict(list)  # reason -> hosts
        for host in _gpu_hosts(ground) if kind in ("libvirt", "ssh") else ("",):
            if not ground.answers(kind, host):
                status = ground.statuses.get(f"{kind}:{host}" if host else kind)
                reason = (status.error if status else None) or _not_read(kind, status is not None)
                silent[reason.removeprefix(f"{host}: ")].append(host)
        for reason, names in silent.items():
            hosts_ = tuple(name for name in names if name)
            yield Unlooked(source=kind, hosts=hosts_, ids=tuple(ids), reason=reason, access=_ACCESS[kind])


def _gpu_hosts(ground: Ground) -> Iterator[str]:
    """Hosts that carry vGPUs or may do: those of which it is known that they have no GPU are none of ours."""
    for host in ground.snapshot.hosts:
        if host.gpus or host.gpus is None:
            yield host.name


def _not_read(kind: SourceKind, asked: bool) -> str:
    return "not read yet" if asked else f"not asked ([{kind}] enabled = false?)"
