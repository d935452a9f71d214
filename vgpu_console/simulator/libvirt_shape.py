"""Connections with libvirt-python's calls and errors to the simulated hosts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

from vgpu_console.simulator.faults import Faults
from vgpu_console.simulator.file_tree import OTHER_DEVICES
from vgpu_console.simulator.hosts import Gpu, Guest, Host, KernelRefusal, Mdev
from vgpu_console.simulator.libvirt_xml import (
    address_of,
    capabilities_xml,
    device_name,
    domain_xml,
    gpu_function_xml,
    mdev_xml,
    other_function_xml,
)
from vgpu_console.simulator.state import Migration, State

ERR_INTERNAL, ERR_DENIED, ERR_NO_DOMAIN, ERR_NO_DEVICE, ERR_INVALID, ERR_CONFIG, ERR_XML = 1, 29, 42, 53, 55, 67, 27
CAP_PCI, CAP_MDEV_TYPES, CAP_MDEV, INACTIVE, ACTIVE = 1 << 1, 1 << 13, 1 << 14, 1 << 30, 1 << 31
CREATED, DELETED, DEFINED, UNDEFINED = 0, 1, 2, 3
LIFECYCLE, JOB_COMPLETED = 0, 21
_ANY_CAP = (1 << 30) - 1


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


class LibvirtHub:
    """Opens connections and hands out events. ``pending`` is delivered outside the state's lock."""

    def __init__(
        self,
        state: State,
        faults: Faults,
        advance: Callable[[], None],
        device_changed: Callable[[Host], None],
    ) -> None:
        self.state = state
        self.faults = faults
        self.advance = advance
        self.device_changed = device_changed
        self.pending: list[Callable[[], None]] = []

    def open(self, uri: str, read_only: bool) -> DemoConnection:
        """Open a connection; any URI with the host as its authority will do. Raises DemoLibvirtError, OSError."""
        self.advance()
        match = re.match(r"[a-z0-9+]+://(?:[^@/]*@)?([^:/]+)", uri)
        name = match[1] if match else ""
        fault = self.faults.libvirt.get(name)
        host = self.state.hosts.get(name)
        if host is None:
            raise DemoLibvirtError(
                38, f"Cannot recv data: ssh: Could not resolve hostname {name}: Connection reset by peer"
            )
        if fault == "timeout":
            raise TimeoutError(f"{name}: no answer")
        if fault == "auth":
            raise DemoLibvirtError(38, "Cannot recv data: Permission denied (publickey).: Connection reset by peer")
        if fault is not None and fault != "garbage":
            raise DemoLibvirtError(
                38, f"Cannot recv data: ssh: connect to host {name} port 22: No route to host: Connection reset by peer"
            )
        return DemoConnection(self, host, read_only)

    def deliver(self) -> None:
        """Call the callbacks of what has happened."""
        while self.pending:
            self.pending.pop(0)()


class DemoConnection:
    """virConnect."""

    def __init__(self, hub: LibvirtHub, host: Host, read_only: bool) -> None:
        self._hub = hub
        self._host = host
        self._read_only = read_only
        self._closed = False
        self._device_callbacks: dict[int, tuple[int, Callable[..., None], Any]] = {}
        self._domain_callbacks: dict[int, tuple[int, Callable[..., None], Any]] = {}
        self._next = 0
        self._on_close: tuple[Callable[..., None], Any] | None = None
        host.listeners.append(self)

    def _enter(self) -> Any:
        """What every call begins with: time moves, faults show, the state is held."""
        self._hub.advance()
        if self._closed:
            raise DemoLibvirtError(6, "invalid connection pointer in virConnect")
        if self._hub.faults.libvirt.get(self._host.name) not in (None, "garbage"):
            raise DemoLibvirtError(ERR_INTERNAL, "internal error: client socket is closed")
        return self._hub.state.lock

    def _deny(self, call: str) -> None:
        if self._read_only:
            raise DemoLibvirtError(ERR_DENIED, f"operation forbidden: read only access prevents {call}")

    # -- the connection ----------------------------------------------------------------------------------------

    def getLibVersion(self) -> int:
        """The daemon's version: 11003000 is 11.3.0."""
        with self._enter():
            return self._host.libvirt_version

    def getVersion(self) -> int:
        """QEMU's version."""
        with self._enter():
            return self._host.qemu_version

    def getHostname(self) -> str:
        """What the host calls itself."""
        with self._enter():
            return self._host.name

    def getCapabilities(self) -> str:
        """Capabilities XML."""
        with self._enter():
            return capabilities_xml(self._host)

    def getURI(self) -> str:
        """The canonical URI."""
        return "qemu:///system"

    def isAlive(self) -> int:
        """1 while the connection stands."""
        return int(not self._closed and self._hub.faults.libvirt.get(self._host.name) is None)

    def setKeepAlive(self, interval: int, count: int) -> int:
        """Accepted."""
        return 0

    def registerCloseCallback(self, callback: Callable[..., None], opaque: Any) -> int:
        """Called with (connection, reason, opaque) when the connection is lost."""
        self._on_close = (callback, opaque)
        return 0

    def unregisterCloseCallback(self) -> int:
        """Forget the close callback."""
        self._on_close = None
        return 0

    def lose(self, reason: int = 2) -> None:
        """For tests: the connection is lost (2: keepalive), as when a cable is cut."""
        if self._closed:
            return
        self._drop()
        if self._on_close is not None:
            callback, opaque = self._on_close
            callback(self, reason, opaque)

    def _drop(self) -> None:
        self._closed = True
        with contextlib.suppress(ValueError):
            self._host.listeners.remove(self)

    def close(self) -> int:
        """Close it."""
        self._drop()
        return 0

    # -- events ------------------------------------------------------------------------------------------------

    def nodeDeviceEventRegisterAny(self, dev: Any, eventID: int, cb: Callable[..., None], opaque: Any) -> int:
        """Events of devices: 0 life cycle, 1 update."""
        self._next += 1
        self._device_callbacks[self._next] = (eventID, cb, opaque)
        return self._next

    def nodeDeviceEventDeregisterAny(self, callbackID: int) -> None:
        """Stop."""
        self._device_callbacks.pop(callbackID, None)

    def domainEventRegisterAny(self, dom: Any, eventID: int, cb: Callable[..., None], opaque: Any) -> int:
        """Events of domains: 0 life cycle, 21 job completed."""
        self._next += 1
        self._domain_callbacks[self._next] = (eventID, cb, opaque)
        return self._next

    def domainEventDeregisterAny(self, callbackID: int) -> None:
        """Stop."""
        self._domain_callbacks.pop(callbackID, None)

    def device_event(self, name: str, event: int) -> None:
        """A device's life cycle changed: remember whom to tell."""
        for event_id, callback, opaque in list(self._device_callbacks.values()):
            if event_id == LIFECYCLE:
                device = DemoNodeDevice(self, name)
                self._hub.pending.append(lambda cb=callback, o=opaque, d=device: cb(self, d, event, 0, o))  # type: ignore[misc]

    def domain_event(self, server_id: str, event: int, detail: int) -> None:
        """A domain's life cycle changed, or (stopped, migrated) its migration job completed here."""
        domain = DemoDomain(self, server_id)
        for event_id, callback, opaque in list(self._domain_callbacks.values()):
            if event_id == LIFECYCLE:
                self._hub.pending.append(lambda cb=callback, o=opaque: cb(self, domain, event, detail, o))  # type: ignore[misc]
            elif event_id == JOB_COMPLETED and (event, detail) == (5, 3):
                migration = _last_migration(self._hub.state, server_id)
                params = _completed(migration) if migration else {}
                self._hub.pending.append(lambda cb=callback, o=opaque, p=params: cb(self, domain, p, o))  # type: ignore[misc]

    # -- devices -----------------------------------------------------------------------------------------------

    def listAllDevices(self, flags: int = 0) -> list[DemoNodeDevice]:
        """Node devices, filtered by capability and state as libvirt does."""
        with self._enter():
            caps = flags & _ANY_CAP
            states = flags & (INACTIVE | ACTIVE)
            names: list[str] = []
            active = not states or bool(states & ACTIVE)
            for gpu in self._host.gpus:
                carriers = gpu.mechanism == "mdev"
                if active and (not caps or caps & CAP_PCI or (caps & CAP_MDEV_TYPES and carriers and not gpu.sriov)):
                    names.append(device_name(gpu.address))
                if active and (not caps or caps & CAP_PCI or (caps & CAP_MDEV_TYPES and carriers)):
                    names += [device_name(function) for function in gpu.vf_addresses()]
                if not caps or caps & CAP_MDEV:
                    names += [
                        m.name for m in gpu.all_mdevs() if not states or states & (ACTIVE if m.active else INACTIVE)
                    ]
            if active and (not caps or caps & CAP_PCI):
                names += [device_name(row[0]) for row in OTHER_DEVICES]
            if active and not caps:
                names.append("computer")
            return [DemoNodeDevice(self, name) for name in names]

    def nodeDeviceLookupByName(self, name: str) -> DemoNodeDevice:
        """A device by its name."""
        with self._enter():
            self._xml(name)
            return DemoNodeDevice(self, name)

    def _mdev(self, name: str) -> tuple[Gpu, Mdev] | None:
        for gpu in self._host.gpus:
            for mdev in gpu.all_mdevs():
                if mdev.name == name:
                    return gpu, mdev
        return None

    def _xml(self, name: str) -> str:
        if name.startswith("mdev_") and (found := self._mdev(name)):
            return mdev_xml(*found)
        if name.startswith("pci_"):
            address = address_of(name)
            gpu = self._host.gpu_of(address)
            if gpu is not None:
                return gpu_function_xml(gpu, address)
            with contextlib.suppress(KeyError):
                return other_function_xml(address)
        if name == "computer":
            return "<device>\n  <name>computer</name>\n  <capability type='system'/>\n</device>\n"
        raise DemoLibvirtError(ERR_NO_DEVICE, f"Node device not found: no node device with matching name '{name}'")

    def nodeDeviceCreateXML(self, xmlDesc: str, flags: int = 0) -> DemoNodeDevice:
        """Start a transient mediated device."""
        return self._make(xmlDesc, "virNodeDeviceCreateXML", active=True)

    def nodeDeviceDefineXML(self, xmlDesc: str, flags: int = 0) -> DemoNodeDevice:
        """Define a mediated device; defining one that runs makes it persistent."""
        return self._make(xmlDesc, "virNodeDeviceDefineXML", active=False)

    def _make(self, xml: str, call: str, *, active: bool) -> DemoNodeDevice:
        with self._enter():
            self._deny(call)
            type_id, parent, uuid = _read_mdev(xml)
            if not parent.startswith("pci_") or self._host.gpu_of(address_of(parent)) is None:
                raise DemoLibvirtError(
                    ERR_CONFIG, f"unsupported configuration: unable to find parent device '{parent}'"
                )
            function = address_of(parent)
            gpu = self._host.gpu_of(function)
            assert gpu is not None
            uuid = uuid or self._hub.state.new_uuid()
            found = self._host.find_mdev(uuid)
            if not active and found is not None and not found[1].persistent:
                found[1].persistent = True
                self._changed(found[1].name, DEFINED)
                return DemoNodeDevice(self, found[1].name)
            try:
                mdev = gpu.create(uuid, type_id, function, persistent=not active, active=active)
                mdev.autostart = False
            except KernelRefusal as refusal:
                verb = "create" if active else "define"
                raise DemoLibvirtError(
                    ERR_INTERNAL, f"internal error: Unable to {verb} mediated device: Error: {refusal}"
                ) from refusal
            self._changed(mdev.name, CREATED if active else DEFINED)
            return DemoNodeDevice(self, mdev.name)

    def _changed(self, name: str, event: int) -> None:
        """A device changed by hand: nova-compute will see it, and so do all connections."""
        for listener in list(self._host.listeners):
            listener.device_event(name, event)  # type: ignore[attr-defined]
        self._hub.device_changed(self._host)

    # -- domains -----------------------------------------------------------------------------------------------

    def listAllDomains(self, flags: int = 0) -> list[DemoDomain]:
        """Domains; 1 asks for active, 2 for inactive ones, 0 for all."""
        with self._enter():
            wanted = flags & 3 or 3
            return [
                DemoDomain(self, guest.server_id)
                for guest in self._host.guests.values()
                if wanted & (1 if guest.active else 2)
            ]

    def lookupByUUIDString(self, uuidstr: str) -> DemoDomain:
        """A domain by its uuid."""
        with self._enter():
            self._guest(uuidstr)
            return DemoDomain(self, uuidstr)

    def _guest(self, server_id: str) -> Guest:
        guest = self._host.guests.get(server_id)
        if guest is None:
            raise DemoLibvirtError(ERR_NO_DOMAIN, f"Domain not found: no domain with matching uuid '{server_id}'")
        return guest


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

    def isActive(self) -> int:
        """1 while it exists in the kernel."""
        with self._conn._enter():
            return int(self._found()[1].active) if self._name.startswith("mdev_") else 1

    def isPersistent(self) -> int:
        """1 when it is defined."""
        with self._conn._enter():
            return int(self._found()[1].persistent) if self._name.startswith("mdev_") else 0

    def autostart(self) -> int:
        """1 when it is started with its parent."""
        with self._conn._enter():
            return int(self._found()[1].autostart) if self._name.startswith("mdev_") else 0

    def setAutostart(self, autostart: int) -> int:
        """Change that."""
        with self._conn._enter():
            self._conn._deny("virNodeDeviceSetAutostart")
            mdev = self._found()[1]
            if not mdev.persistent:
                raise DemoLibvirtError(
                    ERR_INVALID, "Requested operation is not valid: cannot set autostart for transient device"
                )
            mdev.autostart = bool(autostart)
            return 0

    def create(self, flags: int = 0) -> int:
        """Start a defined device."""
        with self._conn._enter():
            self._conn._deny("virNodeDeviceCreate")
            gpu, mdev = self._found()
            if mdev.active:
                raise DemoLibvirtError(ERR_INVALID, "Requested operation is not valid: Device is already active")
            self._try("start", lambda: gpu.start(mdev))
            self._conn._changed(self._name, CREATED)
            return 0

    def destroy(self) -> int:
        """Stop it; refused while a guest holds it."""
        with self._conn._enter():
            self._conn._deny("virNodeDeviceDestroy")
            gpu, mdev = self._found()
            if not mdev.active:
                raise DemoLibvirtError(
                    ERR_INVALID, f"Requested operation is not valid: Device '{self._name}' is not active"
                )
            self._try("destroy", lambda: gpu.stop(mdev))
            self._conn._changed(self._name, DELETED)
            return 0

    def undefine(self, flags: int = 0) -> int:
        """Remove its definition."""
        with self._conn._enter():
            self._conn._deny("virNodeDeviceUndefine")
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
        names = ("type", "time_elapsed", "time_remaining", "data_total", "data_processed", "data_remaining")
        names += (
            "memory_total",
            "memory_processed",
            "memory_remaining",
            "disk_total",
            "disk_processed",
            "disk_remaining",
        )
        return [int(stats.get(name, 0)) for name in names]

    def jobStats(self, flags: int = 0) -> dict[str, Any]:
        """The running job on the source; with flags 1 (and 2: keep) the completed one, on the destination."""
        with self._conn._enter():
            self._conn._guest(self._id)
            state, here = self._conn._hub.state, self._conn._host.name
            migration = _last_migration(state, self._id)
            if flags & 1:
                done = migration is not None and migration.downtime_ms is not None and migration.destination == here
                return _completed(migration) if done and migration is not None else {"type": 0}
            if migration is None or migration.status != "running" or migration.downtime_ms is not None:
                return {"type": 0}
            if migration.source != here:
                raise DemoLibvirtError(
                    ERR_INVALID,
                    "Requested operation is not valid: migration statistics are available only on the source host",
                )
            return _running(migration, state.now)


def _last_migration(state: State, server_id: str) -> Migration | None:
    return next((m for m in reversed(state.migrations.values()) if m.server_id == server_id), None)


def _running(migration: Migration, now: float) -> dict[str, Any]:
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


def _completed(migration: Migration) -> dict[str, Any]:
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


def _read_mdev(xml: str) -> tuple[str, str, str | None]:
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
