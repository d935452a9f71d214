"""All pre-checks of one move, the worst first, and the one word they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from vgpu_console.model.check import Check
from vgpu_console.rules.migration import checks_devices, checks_downtime, checks_hosts, checks_server
from vgpu_console.rules.migration.scene import Scene

Verdict = Literal["pass", "warn", "unknown", "fail"]

STALE_S = 120.0
"""Hosts are read each minute over SSH: what is older than two of these readings is not trusted for a move."""

_ORDER = {"fail": 0, "warn": 1, "unknown": 2, "pass": 3}

_OF_EVERY_SERVER: tuple[Callable[[Scene], Check | None], ...] = (
    checks_server.same_host,
    checks_server.server_state,
    checks_server.locked,
    checks_server.source_service,
    checks_server.destination_service,
    checks_server.zone,
    checks_hosts.qemu_order,
    checks_devices.allocation_candidate,
    checks_server.concurrency,
    checks_downtime.completion_timeout,
    checks_downtime.downtime_limit,
)

_WITH_VGPUS: tuple[Callable[[Scene], Check | None], ...] = (
    checks_server.old_compute,
    checks_hosts.libvirt,
    checks_hosts.qemu,
    checks_hosts.kernel,
    checks_hosts.os_pair,
    checks_hosts.nvidia_driver,
    checks_hosts.framework,
    checks_devices.type_id,
    checks_devices.type_name,
    checks_hosts.board,
    checks_hosts.ecc,
    checks_devices.free_slot,
    checks_devices.several_types,
    checks_devices.other_devices,
    checks_devices.live_migratable,
    checks_downtime.post_copy,
    checks_downtime.downtime_ladder,
    checks_downtime.dirty_tracking,
    checks_server.double_allocation,
)


def check_migration(scene: Scene) -> tuple[Check, ...]:
    """Every check that applies to this move; one of the server's vGPUs only where it has any."""
    wanted = (*_OF_EVERY_SERVER, *_WITH_VGPUS) if scene.vgpus else _OF_EVERY_SERVER
    found = [check for look in wanted if (check := look(scene)) is not None]
    found.append(_fresh(scene))
    if not scene.vgpus:
        found.append(scene.check("no-vgpu", "pass", "the server has no vGPU: nothing of GPUs is looked at", "nova"))
    return tuple(sorted(found, key=lambda c: _ORDER[c.status]))


def verdict(checks: Iterable[Check]) -> Verdict:
    """The worst of them; a warning outranks what is merely unknown."""
    statuses = {check.status for check in checks}
    return next((word for word in ("fail", "warn", "unknown") if word in statuses), "pass")


def _fresh(scene: Scene) -> Check:
    """Nothing is begun on what is old: Nova's word is needed, and the hosts' must not be stale."""
    status = next((s for s in scene.snapshot.sources if s.kind == "nova" and not s.host), None)
    age = status.age_s(scene.now) if status is not None else None
    if status is None or age is None:
        return scene.check("fresh", "fail", "Nova was never read", "nova")
    if status.error is not None:
        return scene.check("fresh", "fail", f"Nova could not be read last time: {status.error}", "nova")
    if age > STALE_S:
        return scene.check("fresh", "fail", f"Nova was last read {age:.0f} s ago: refresh first", "nova")
    old = [
        f"{kind} of {end.name} {end_age:.0f} s"
        for end in scene.ends
        for kind in ("libvirt", "ssh")
        if scene.vgpus and (end_age := end.age_s(kind, scene.now)) is not None and end_age > STALE_S
    ]
    if old:
        return scene.check("fresh", "warn", f"old: {', '.join(old)}", "nova")
    return scene.check("fresh", "pass", f"Nova was read {age:.0f} s ago", "nova")
