"""What libvirt says of a migration job, its errors, and its reading of a device's XML."""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.state import Migration, State

ERR_INTERNAL, ERR_DENIED, ERR_NO_DOMAIN, ERR_NO_DEVICE, ERR_INVALID, ERR_CONFIG, ERR_XML = 1, 29, 42, 53, 55, 67, 27
ERR_SYSTEM, ERR_AUTH, ERR_ACCESS = 38, 45, 88
CREATED, DELETED, DEFINED, UNDEFINED = 0, 1, 2, 3
MIGRATION_IN, MIGRATION_OUT = 4, 5  # virDomainJobOperation
VFIO_SINCE = 10_006_000  # libvirt 10.6.0 tells vfio_data_transferred


class DemoLibvirtError(Exception):
    """Looks like libvirt.libvirtError."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self._code = code

    def get_error_code(self) -> int:
        """VIR_ERR_…"""
        return self._code

    def get_error_message(self) -> str:
        """libvirt's text."""
        return str(self)


def last_migration(state: State, server_id: str) -> Migration | None:
    """The newest live migration of a server."""
    moves = (m for m in reversed(state.migrations.values()) if m.kind == "live-migration")
    return next((m for m in moves if m.server_id == server_id), None)


PASS_S = 4.0
"""How long a pass takes of a migration that never converges."""


def copied(migration: Migration, now: float) -> float:
    """The part of the memory that the present pass has sent, 0 to 1."""
    elapsed = now - (migration.started or now)
    if migration.fault in ("stuck", "no-job"):
        return min(0.3, elapsed / migration.duration_s)
    if migration.fault == "never-converges":
        return 0.2 + 0.5 * (elapsed % PASS_S) / PASS_S
    return min(1.0, elapsed / migration.duration_s)


def sent(migration: Migration, now: float) -> float:
    """What was sent in all, in memories."""
    elapsed = now - (migration.started or now)
    return elapsed / PASS_S if migration.fault == "never-converges" else copied(migration, now) * 1.08


def iteration(migration: Migration, now: float) -> int:
    """Which pass over the memory is under way: the last ones are short."""
    part = (now - (migration.started or now)) / migration.duration_s
    if migration.fault == "stuck":
        return 1
    if migration.fault == "never-converges":
        return 1 + int((now - (migration.started or now)) / PASS_S)
    return 1 + int(part > 0.85) + int(migration.suspended is not None)


def running(migration: Migration, now: float, libvirt_version: int) -> dict[str, Any]:
    """Statistics of a running job, as ``jobStats`` gives them on the source."""
    started = migration.started or now
    elapsed = now - started
    part, total = copied(migration, now), migration.job_total
    still = migration.fault == "stuck" and part >= 0.3
    per_s = 1.0 / PASS_S if migration.fault == "never-converges" else 1.0 / migration.duration_s
    rate = 0 if still else int(total * per_s)
    dirty = rate * 2 if migration.fault == "never-converges" else rate // 4
    stats: dict[str, Any] = {
        "type": 2,
        "operation": MIGRATION_OUT,
        "time_elapsed": int(elapsed * 1000),
        "downtime": 300,
        "setup_time": 12,
    }
    if libvirt_version >= VFIO_SINCE:
        stats["vfio_data_transferred"] = 24 * max(1, len(migration.devices))
    if total:
        stats |= {
            "memory_total": total,
            "memory_processed": int(total * sent(migration, now)),
            "memory_remaining": int(total * (1.0 - part)),
            "memory_bps": rate,
            "memory_dirty_rate": dirty // 4096,
            "memory_page_size": 4096,
            "memory_iteration": iteration(migration, now),
            "memory_postcopy_requests": 0,
            "data_total": total,
            "data_processed": int(total * sent(migration, now)),
            "data_remaining": int(total * (1.0 - part)),
        }
    return stats


def completed(migration: Migration, libvirt_version: int, *, event: bool = False) -> dict[str, Any]:
    """Statistics of a completed job, as the destination keeps them, or as the source's JOB_COMPLETED event has them."""
    downtime = migration.downtime_ms or 0
    elapsed = int(migration.duration_s * 1000)
    stats: dict[str, Any] = {
        "operation": MIGRATION_OUT if event else MIGRATION_IN,
        "time_elapsed": elapsed,
        "time_elapsed_net": max(0, elapsed - 1),
        "downtime": max(0, downtime + migration.clocks_apart_ms),
        "downtime_net": max(0, downtime - 120),
        "setup_time": 12,
        "data_total": migration.memory_total,
        "data_processed": migration.memory_processed,
        "data_remaining": 0,
        "memory_total": migration.memory_total,
        "memory_processed": migration.memory_processed,
        "memory_remaining": 0,
        "memory_iteration": migration.iteration,
        "memory_postcopy_requests": 0,
        "memory_page_size": 4096,
    }
    if libvirt_version >= VFIO_SINCE:
        stats["vfio_data_transferred"] = 60 * max(1, len(migration.devices))
    return stats if event else stats | {"type": 3}


def read_mdev(xml: str) -> tuple[str, str, str | None]:
    """Type, parent and uuid of a device to be made. Raises DemoLibvirtError."""
    import xml.etree.ElementTree as Tree

    try:
        root = Tree.fromstring(xml)  # noqa: S314 - the console's own XML
    except Tree.ParseError as error:
        raise DemoLibvirtError(ERR_XML, f"XML error: {error}") from error
    kind = root.find("./capability[@type='mdev']/type")
    parent = root.findtext("./parent")
    if kind is None or not kind.get("id") or not parent:
        raise DemoLibvirtError(ERR_XML, "XML error: missing type id attribute or parent for mdev device")
    return str(kind.get("id")), parent, root.findtext("./capability[@type='mdev']/uuid")
