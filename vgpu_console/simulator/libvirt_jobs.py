"""What libvirt says of a migration job, its errors, and its reading of a device's XML."""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.state import Migration, State

ERR_INTERNAL, ERR_DENIED, ERR_NO_DOMAIN, ERR_NO_DEVICE, ERR_INVALID, ERR_CONFIG, ERR_XML = 1, 29, 42, 53, 55, 67, 27
CREATED, DELETED, DEFINED, UNDEFINED = 0, 1, 2, 3


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
    """The newest migration of a server."""
    return next((m for m in reversed(state.migrations.values()) if m.server_id == server_id), None)


def running(migration: Migration, now: float) -> dict[str, Any]:
    """Statistics of a running job, as ``jobStats`` gives them on the source."""
    started = migration.started or now
    elapsed = now - started
    part = min(1.0, elapsed / migration.duration_s)
    total = migration.memory_total
    rate = int(total / migration.duration_s) if total else 0
    stats: dict[str, Any] = {
        "type": 2,
        "operation": 5,
        "time_elapsed": int(elapsed * 1000),
        "downtime": 300,
        "setup_time": 12,
        "vfio_data_transferred": 24 * max(1, len(migration.devices)),
    }
    if total:
        stats |= {
            "memory_total": total,
            "memory_processed": int(total * part * 1.08),
            "memory_remaining": int(total * (1.0 - part)),
            "memory_bps": rate,
            "memory_dirty_rate": rate // 4096 // 4,
            "memory_page_size": 4096,
            "memory_iteration": 1 + int(part > 0.85),
            "data_total": total,
            "data_processed": int(total * part * 1.08),
            "data_remaining": int(total * (1.0 - part)),
        }
    return stats


def completed(migration: Migration) -> dict[str, Any]:
    """Statistics of a completed job, as the destination keeps them."""
    downtime = migration.downtime_ms or 0
    return {
        "type": 3,
        "operation": 6,
        "time_elapsed": int(migration.duration_s * 1000),
        "downtime": downtime,
        "downtime_net": max(0, downtime - 120),
        "memory_total": migration.memory_total,
        "memory_processed": migration.memory_processed,
        "memory_remaining": 0,
        "memory_page_size": 4096,
        "vfio_data_transferred": 60 * max(1, len(migration.devices)),
        "success": True,
    }


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
