"""All pre-checks of one move, the worst first, and the one word they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from vgpu_console.model.check import Check
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.migration import (
    checks_cloud,
    checks_devices,
    checks_downtime,
    checks_gpus,
    checks_hosts,
    checks_server,
    checks_vendor,
)
from vgpu_console.rules.migration.scene import Scene

Verdict = Literal["pass", "warn", "unknown", "fail"]

STALE_S = 120.0
"""Nothing older than this is trusted for a move, but for a source that is asked so rarely in a large fleet."""

ORDER: dict[str, int] = {"fail": 0, "unknown": 1, "warn": 2, "pass": 3}
"""The worst first: what nobody knows is worse than what is known and can be judged."""

_Look = Callable[[Scene], Check | None]

_LOOKS: tuple[_Look, ...] = (
    checks_server.server_state,
    checks_server.guest,
    checks_server.locked,
    checks_server.flavor,
    checks_cloud.source_service,
    checks_cloud.destination_service,
    checks_cloud.zone,
    checks_cloud.aggregate,
    checks_cloud.old_compute,
    checks_gpus.framework,
    checks_devices.type_id,
    checks_devices.type_name,
    checks_hosts.nvidia_driver,
    checks_hosts.os_pair,
    checks_hosts.kernel,
    checks_hosts.libvirt,
    checks_hosts.qemu,
    checks_hosts.qemu_order,
    checks_hosts.cpu,
    checks_gpus.board,
    checks_gpus.ecc,
    checks_gpus.mig,
    checks_devices.free_slot,
    checks_devices.reserved_device,
    checks_cloud.allocation_candidate,
    checks_devices.several_types,
    checks_devices.other_devices,
    checks_vendor.live_migratable,
    checks_downtime.post_copy,
    checks_downtime.downtime_ladder,
    checks_downtime.completion_timeout,
    checks_downtime.dirty_tracking,
    checks_downtime.downtime_limit,
    checks_server.double_allocation,
    checks_cloud.concurrency,
)
"""Among checks of one status the first is the reason that is told, so what explains others goes before them."""

_OF_EVERY_SERVER = frozenset(
    {
        checks_server.server_state,
        checks_server.locked,
        checks_server.flavor,
        checks_cloud.source_service,
        checks_cloud.destination_service,
        checks_cloud.zone,
        checks_cloud.aggregate,
        checks_hosts.qemu_order,
        checks_hosts.cpu,
        checks_cloud.allocation_candidate,
        checks_cloud.concurrency,
        checks_downtime.downtime_limit,
    }
)
"""What is looked at of a server without vGPUs too."""


def check_migration(scene: Scene) -> tuple[Check, ...]:
    """Every check that applies to this move; one of the server's vGPUs only where it has any.

    To its own host a server cannot be moved, and nothing else of that is worth a look.
    """
    if scene.source.name == scene.destination.name:
        return tuple(c for c in (checks_cloud.same_host(scene), _fresh(scene)) if c is not None)
    wanted = [look for look in _LOOKS if scene.vgpus or look in _OF_EVERY_SERVER]
    found = [check for look in wanted if (check := look(scene)) is not None]
    found.append(_fresh(scene))
    if not scene.vgpus:
        found.append(scene.check("no-vgpu", "pass", "the server has no vGPU: nothing of GPUs is looked at", "nova"))
    return tuple(sorted(found, key=lambda c: ORDER[c.status]))


def verdict(checks: Iterable[Check]) -> Verdict:
    """The worst of them."""
    worst = min((ORDER[check.status] for check in checks), default=ORDER["pass"])
    words: tuple[Verdict, ...] = ("fail", "unknown", "warn", "pass")
    return words[worst]


def _fresh(scene: Scene) -> Check:
    """Nothing is begun on what is old: Nova's word is needed, and the hosts' must not be stale."""
    status = scene.cloud_status("nova")
    age = status.age_s(scene.now) if status is not None else None
    if status is None or age is None:
        return scene.check("fresh", "fail", "Nova was never read", "nova")
    if status.error is not None:
        return scene.check("fresh", "fail", f"Nova could not be read last time: {status.error}", "nova")
    if age > _trusted_s(status):
        return scene.check("fresh", "fail", f"Nova was last read {age:.0f} s ago: refresh first", "nova")
    old = [word for end in scene.ends for kind in ("libvirt", "ssh") if (word := _old(scene, end.status.get(kind)))]
    if old and scene.vgpus:
        return scene.check("fresh", "warn", f"old: {', '.join(old)}", "nova")
    return scene.check("fresh", "pass", f"Nova was read {age:.0f} s ago", "nova")


def _trusted_s(status: SourceStatus) -> float:
    return max(STALE_S, 2 * status.interval_s + 5)


def _old(scene: Scene, status: SourceStatus | None) -> str:
    """What is left of an answer that is old, or that could not be renewed; "" where there is none or it is good."""
    age = status.age_s(scene.now) if status is not None else None
    if status is None or age is None:
        return ""
    failed = f", and failed since ({status.error})" if status.error else ""
    return f"{status.kind} of {status.host} {age:.0f} s{failed}" if failed or age > _trusted_s(status) else ""
