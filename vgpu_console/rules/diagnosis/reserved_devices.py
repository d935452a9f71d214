"""Devices that a destination's nova-compute keeps reserved for a migration that was aborted while it waited.

The reservation is in that process' memory alone (nova: virt/libvirt/driver.py, instance_claimed_mdevs): libvirt and
Placement both show the device as free, and no source tells when nova-compute was started. So it is only told that it
may be so, and only where a device is there that it can be about.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.evidence import libvirt_says, nova_says, placement_says
from vgpu_console.model.migration_trace import nova_seconds
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.snapshot import Finding, MediatedDevice
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

RESERVED = Diagnosis(
    id="mdev-may-be-reserved",
    severity="warn",
    title="A free device may be reserved for a migration that was aborted",
    why="nova-compute of the destination gives back what it had reserved for a waiting migration only when it is "
    "restarted: boots and migrations that Placement sends to that device fail with “mdev-capable resource is not "
    "available”.",
    needs=("nova", "libvirt"),
)

RECENT_S = 7 * 86400.0
"""Within a week it is not likely enough that nova-compute was restarted."""

_CANCELLED_MEANS_QUEUED = (2, 101)
"""From Nova 33 on an abort of a migration that runs ends in ``error``, so that ``cancelled`` is one that waited."""


def _reserved(ground: Ground) -> Iterator[Finding]:
    by_host: dict[str, list[MigrationFacts]] = defaultdict(list)
    for rows in ground.migrations_of.values():
        for number, row in enumerate(rows):
            # a later migration of the same server to that host takes the reservation over and ends it
            if _waited(ground, row) and not any(later.destination == row.destination for later in rows[:number]):
                by_host[row.destination or ""].append(row)
    for name, rows_to in by_host.items():
        host = ground.hosts.get(name)
        if host is None or host.service_state == "down" or not ground.heard("libvirt", name):
            continue
        types = {t for row in rows_to for t in _types(ground, row.server_id)}
        free = [
            m
            for m in ground.devices.get(name, ())
            if m.mechanism == "mdev" and m.state == "active" and m.used is False and _free(ground, m)
        ]
        free = [m for m in free if not types or m.type_id in types]
        if free:
            yield _told(ground, name, rows_to, free)


def _waited(ground: Ground, row: MigrationFacts) -> bool:
    ended = nova_seconds(row.updated_at)
    return (
        row.status == "cancelled"
        and row.destination is not None
        and ended is not None
        and (0 <= ground.now - ended + 60.0 <= RECENT_S)
    )


def _types(ground: Ground, server_id: str) -> set[str]:
    return {m.type_id for m in ground.devices_of.get(server_id, ())}


def _free(ground: Ground, mdev: MediatedDevice) -> bool:
    """Whether Placement shows its function as free, too."""
    provider = ground.providers.get(mdev.provider_uuid or "")
    return provider is None or not provider.allocations


def _told(ground: Ground, name: str, rows: list[MigrationFacts], free: list[MediatedDevice]) -> Finding:
    version = ground.facts.nova.max_microversion if ground.facts.nova else ""
    major, _, minor = version.partition(".")
    sure = minor.isdigit() and (int(major), int(minor)) >= _CANCELLED_MEANS_QUEUED
    number = len(rows)
    who = ", ".join(ground.server_words(row.server_id) for row in rows[:3])
    one_of = "it" if len(free) == 1 else f"{min(number, len(free))} of these {len(free)}"
    doubt = "" if sure else ", if it only waited: this Nova says cancelled of one that ran, too"
    devices = ", ".join(f"{m.uuid} on {m.parent}" for m in free[:3]) + (" …" if len(free) > 3 else "")
    return RESERVED.found(
        f"host {name}",
        f"free by libvirt: {devices}; {one_of} may be reserved by nova-compute since a migration of {who} was aborted"
        f"{doubt}, unless nova-compute was restarted since, which nothing shows",
        nova_says("; ".join(f"migration {row.id} to {name}: cancelled ({row.updated_at})" for row in rows[:3])),
        libvirt_says(name, f"held by no domain: {devices}"),
        placement_says(f"nothing is allocated on the functions of {'it' if len(free) == 1 else 'these'}"),
        host=name,
        objects=(
            f"host {name}",
            *(f"mdev {name} {m.uuid}" for m in free[:16]),
            *(f"server {r.server_id}" for r in rows),
        ),
        command=f"ssh {shlex.quote(name)} sudo systemctl restart nova-compute",
        severity="warn" if sure else "info",
    )


CHAPTER = Chapter((RESERVED,), (_reserved,))
