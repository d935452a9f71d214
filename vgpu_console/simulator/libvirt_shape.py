"""Connections with libvirt-python's calls and errors to the simulated hosts."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from vgpu_console.simulator.faults import DeviceFault, Faults
from vgpu_console.simulator.file_tree import OTHER_DEVICES
from vgpu_console.simulator.hosts import Gpu, Guest, Host, KernelRefusal, Mdev
from vgpu_console.simulator.libvirt_jobs import (
    CREATED,
    DEFINED,
    ERR_ACCESS,
    ERR_AUTH,
    ERR_CONFIG,
    ERR_DENIED,
    ERR_INTERNAL,
    ERR_NO_DEVICE,
    ERR_NO_DOMAIN,
    ERR_SYSTEM,
    DemoLibvirtError,
    completed,
    last_migration,
    read_mdev,
)
from vgpu_console.simulator.libvirt_objects import DemoDomain, DemoNodeDevice
from vgpu_console.simulator.libvirt_xml import (
    address_of,
    capabilities_xml,
    device_name,
    gpu_function_xml,
    mdev_xml,
    other_function_xml,
)
from vgpu_console.simulator.state import State

CAP_PCI, CAP_MDEV_TYPES, CAP_MDEV, INACTIVE, ACTIVE = 1 << 1, 1 << 13, 1 << 14, 1 << 30, 1 << 31
LIFECYCLE, MIGRATION_ITERATION, JOB_COMPLETED = 0, 20, 21
_ANY_CAP = (1 << 30) - 1


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
        self.pending: deque[Callable[[], None]] = deque()
        self.shown: dict[str, tuple[float, dict[str, bool]]] = {}  # host -> until when its lists are those of before

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
        changes = self.faults.devices.get(name)
        if not read_only and changes is not None and changes.kind == "denied":
            raise DemoLibvirtError(
                ERR_AUTH,
                "authentication unavailable: no polkit agent available to authenticate action "
                "'org.libvirt.unix.manage'",
            )
        return DemoConnection(self, host, read_only)

    def deliver(self) -> None:
        """Call the callbacks of what has happened."""
        while True:
            try:
                tell = self.pending.popleft()
            except IndexError:  # empty, or another thread took the last one
                return
            tell()


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

    @contextlib.contextmanager
    def _changing(self, call: str) -> Iterator[None]:
        """What every call that changes a device is made in: read-only connections and faults show here."""
        fault = None
        with self._enter():
            self._deny(call)
            fault = self._hub.faults.take_device(self._host.name, call)
            if fault is None or fault.obeyed:
                before = {m.name: m.active for gpu in self._host.gpus for m in gpu.all_mdevs()}
                yield
                stale_s = self._hub.faults.stale_s.get(self._host.name, 0.0)
                if stale_s:
                    self._hub.shown[self._host.name] = (self._hub.state.now + stale_s, before)
        if fault is not None:
            self._fail(fault, call)

    def _fail(self, fault: DeviceFault, call: str) -> None:
        """Always raises. The state is not held: a daemon that hangs stops nobody else."""
        if fault.kind == "acl":
            raise DemoLibvirtError(ERR_ACCESS, "access denied: 'nodedev' denied access")
        if fault.kind == "broken":
            raise DemoLibvirtError(
                ERR_INTERNAL, f"internal error: Unable to finish {call}: Error: failed to write to sysfs"
            )
        if fault.kind == "hangs":
            self._hub.faults.sleep(fault.hang_s)
        if fault.stays_down:
            self._hub.faults.libvirt[self._host.name] = "closed"
        for listener in list(self._host.listeners):
            listener.lose(1)  # type: ignore[attr-defined]
        raise DemoLibvirtError(ERR_SYSTEM, "End of file while reading data: Input/output error")

    def _listed(self) -> dict[str, bool]:
        """Mediated devices and whether they are active, as this libvirt lists them now: perhaps those of before."""
        until, before = self._hub.shown.get(self._host.name, (0.0, {}))
        if self._hub.state.now < until:
            return before
        return {m.name: m.active for gpu in self._host.gpus for m in gpu.all_mdevs()}

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
            return self._host.hostname or self._host.name

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
        """Events of domains: 0 life cycle, 20 the next pass of a migration, 21 job completed."""
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
        """A domain's life cycle changed; (stopped, migrated) is followed by its job's figures, the last of all."""
        self._tell(LIFECYCLE, server_id, event, detail)
        migration = last_migration(self._hub.state, server_id)
        if (event, detail) == (5, 3) and migration is not None:
            self._tell(JOB_COMPLETED, server_id, completed(migration, self._host.libvirt_version, event=True))

    def iteration_event(self, server_id: str, iteration: int) -> None:
        """A migration began its next pass over the guest's memory."""
        self._tell(MIGRATION_ITERATION, server_id, iteration)

    def _tell(self, wanted: int, server_id: str, *details: Any) -> None:
        domain = DemoDomain(self, server_id)
        for event_id, callback, opaque in list(self._domain_callbacks.values()):
            if event_id == wanted:
                self._hub.pending.append(lambda cb=callback, o=opaque: cb(self, domain, *details, o))  # type: ignore[misc]

    # -- devices -----------------------------------------------------------------------------------------------

    def listAllDevices(self, flags: int = 0) -> list[DemoNodeDevice]:
        """Node devices, filtered by capability and state as libvirt does."""
        with self._enter():
            caps = flags & _ANY_CAP
            states = flags & (INACTIVE | ACTIVE)
            names: list[str] = []
            active = not states or bool(states & ACTIVE)
            for gpu in self._host.gpus:
                carriers = gpu.mechanism == "mdev" and gpu.manager_up
                if active and (not caps or caps & CAP_PCI or (caps & CAP_MDEV_TYPES and carriers and not gpu.sriov)):
                    names.append(device_name(gpu.address))
                if active and (not caps or caps & CAP_PCI or (caps & CAP_MDEV_TYPES and carriers)):
                    pci = not caps or caps & CAP_PCI
                    names += [device_name(f) for f in gpu.vf_addresses() if pci or f not in gpu.unbound]
            if not caps or caps & CAP_MDEV:
                wanted = states or ACTIVE | INACTIVE
                names += [
                    name for name, is_active in self._listed().items() if wanted & (ACTIVE if is_active else INACTIVE)
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
        with self._changing(call):
            type_id, parent, uuid = read_mdev(xml)
            gpu = self._host.gpu_of(address_of(parent)) if parent.startswith("pci_") else None
            if gpu is None:
                raise DemoLibvirtError(
                    ERR_CONFIG, f"unsupported configuration: unable to find parent device '{parent}'"
                )
            if "/usr/sbin/mdevctl" in self._host.missing_tools:
                raise DemoLibvirtError(ERR_INTERNAL, "Cannot find 'mdevctl' in path: No such file or directory")
            function = address_of(parent)
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
