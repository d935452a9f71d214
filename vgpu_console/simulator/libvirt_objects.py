"""Devices and domains with libvirt-python's calls, as a simulated connection hands them out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vgpu_console.simulator.hosts import Gpu, KernelRefusal, Mdev
from vgpu_console.simulator.libvirt_jobs import (
    CREATED,
    DELETED,
    ERR_INTERNAL,
    ERR_INVALID,
    ERR_NO_DEVICE,
    UNDEFINED,
    DemoLibvirtError,
    completed,
    last_migration,
    running,
)
from vgpu_console.simulator.libvirt_xml import domain_xml

if TYPE_CHECKING:
    from vgpu_console.simulator.libvirt_shape import DemoConnection


class DemoNodeDevice:
    """virNodeDevice."""

    def __init__(self, connection: DemoConnection, name: str) -> None:
        self._conn = connection
        self._name = name

    def name(self) -> str:
        """Its name."""
        return self._name

    def XMLDesc(self, flags: int = 0) -> str:
        """Its XML, as it is now."""
        with self._conn._enter():
            return self._conn._xml(self._name)

    def parent(self) -> str | None:
        """Its parent's name."""
        match = re.search(r"<parent>(.*?)</parent>", self.XMLDesc())
        return match[1] if match else None

    def _found(self) -> tuple[Gpu, Mdev]:
        found = self._conn._mdev(self._name)
        if found is None:
            raise DemoLibvirtError(
                ERR_NO_DEVICE, f"Node device not found: no node device with matching name '{self._name}'"
            )
        return found

    def _active(self, mdev: Mdev) -> bool:
        """libvirt's own idea of it, which is behind for a moment after a change (measured with 11.3)."""
        return self._conn._listed().get(self._name, mdev.active)

    def isActive(self) -> int:
        """1 while it exists in the kernel."""
        with self._conn._enter():
            return int(self._active(self._found()[1])) if self._name.startswith("mdev_") else 1

    def isPersistent(self) -> int:
        """1 when it is defined."""
        with self._conn._enter():
            return int(self._found()[1].persistent) if self._name.startswith("mdev_") else 0

    def autostart(self) -> int:
        """1 when it is started with its parent; told only to who may change it."""
        with self._conn._enter():
            self._conn._deny("virNodeDeviceGetAutostart")
            return int(self._found()[1].autostart) if self._name.startswith("mdev_") else 0

    def setAutostart(self, autostart: int) -> int:
        """Change that."""
        with self._conn._changing("virNodeDeviceSetAutostart"):
            mdev = self._found()[1]
            if not mdev.persistent:
                raise DemoLibvirtError(
                    ERR_INVALID, "Requested operation is not valid: cannot set autostart for transient device"
                )
            mdev.autostart = bool(autostart)
            return 0

    def create(self, flags: int = 0) -> int:
        """Start a defined device."""
        with self._conn._changing("virNodeDeviceCreate"):
            gpu, mdev = self._found()
            if self._active(mdev):
                raise DemoLibvirtError(ERR_INVALID, "Requested operation is not valid: Device is already active")
            self._try("start", lambda: gpu.start(mdev))
            self._conn._changed(self._name, CREATED)
            return 0

    def destroy(self) -> int:
        """Stop it; refused while a guest holds it."""
        with self._conn._changing("virNodeDeviceDestroy"):
            gpu, mdev = self._found()
            if not self._active(mdev):
                raise DemoLibvirtError(
                    ERR_INVALID, f"Requested operation is not valid: Device '{self._name}' is not active"
                )
            self._try("destroy", lambda: gpu.stop(mdev))
            self._conn._changed(self._name, DELETED)
            return 0

    def undefine(self, flags: int = 0) -> int:
        """Remove its definition."""
        with self._conn._changing("virNodeDeviceUndefine"):
            gpu, mdev = self._found()
            if not mdev.persistent:
                raise DemoLibvirtError(ERR_INVALID, "Requested operation is not valid: Device is not persistent")
            gpu.undefine(mdev)
            self._conn._changed(self._name, UNDEFINED)
            return 0

    def _try(self, verb: str, what: Callable[[], None]) -> None:
        try:
            what()
        except KernelRefusal as refusal:
            text = str(refusal) if verb == "destroy" else f"Error: {refusal}"
            raise DemoLibvirtError(
                ERR_INTERNAL, f"internal error: Unable to {verb} '{self._name}': {text}"
            ) from refusal


class DemoDomain:
    """virDomain."""

    def __init__(self, connection: DemoConnection, server_id: str) -> None:
        self._conn = connection
        self._id = server_id

    def UUIDString(self) -> str:
        """Nova's server id."""
        return self._id

    def name(self) -> str:
        """Nova's instance name."""
        return self._conn._guest(self._id).name

    def isActive(self) -> int:
        """1 while it runs."""
        with self._conn._enter():
            return int(self._conn._guest(self._id).active)

    def isPersistent(self) -> int:
        """Nova's domains are defined."""
        return 1

    def state(self, flags: int = 0) -> list[int]:
        """[state, reason]."""
        with self._conn._enter():
            return [self._conn._guest(self._id).state, 1]

    def XMLDesc(self, flags: int = 0) -> str:
        """Its XML."""
        with self._conn._enter():
            return domain_xml(self._conn._host, self._conn._guest(self._id))

    def jobInfo(self) -> list[int]:
        """The older form of jobStats: twelve numbers."""
        stats = self.jobStats()
        names = ["type", "time_elapsed", "time_remaining"]
        names += [f"{what}_{how}" for what in ("data", "memory", "disk") for how in ("total", "processed", "remaining")]
        return [int(stats.get(name, 0)) for name in names]

    def jobStats(self, flags: int = 0) -> dict[str, Any]:
        """The running job on the source; with flags 1 the completed one, on the destination.

        Completed ones are gone after the first reading, unless it has flag 2 (keep) too.
        """
        with self._conn._enter():
            self._conn._guest(self._id)
            state, host = self._conn._hub.state, self._conn._host
            migration = last_migration(state, self._id)
            if migration is None:
                return {"type": 0}
            if flags & 1:
                if migration.downtime_ms is None or migration.destination != host.name or migration.figures_read_away:
                    return {"type": 0}
                migration.figures_read_away = not flags & 2
                return completed(migration, host.libvirt_version)
            if migration.status != "running" or migration.downtime_ms is not None:
                return {"type": 0}
            if migration.fault in ("no-job", "qemu-refuses"):
                return {"type": 0}
            if migration.source != host.name:
                raise DemoLibvirtError(
                    ERR_INVALID,
                    "Requested operation is not valid: migration statistics are available only on the source host",
                )
            return running(migration, state.now, host.libvirt_version)
