"""Each lab host's libvirt: Nova's own fake, with the node devices of GPUs and with live migrations that take time.

Nova 34 makes mediated devices through libvirt's node device calls, which the fake accepts and ignores; here they act on
the host's GPUs. The fake's migration always fails; here it runs, reports job statistics, and can be aborted.
"""

from __future__ import annotations

import threading
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

from nova.tests.fixtures import libvirt as fake

from cloudlab.gpu_hardware import GpuHost, HardwareError, Mdev, address_of
from cloudlab.gpu_xml import function_xml, mdev_xml

migration: dict[str, Any] = {"seconds": 8.0, "mode": "ok", "raise": False}
"""The migration knob. ``mode``: ok, fail (half-way) or hang (memory never converges). ``raise``: an abort or a failure
is also raised from migrateToURI3, as real libvirt does; Nova 34 then puts the server into ERROR. Without it the
migration ends ``cancelled`` or ``failed`` as Nova's documentation says."""

connections: dict[str, GpuConnection] = {}

_OPERATION_ABORTED = 78
_TICK = 0.2
_MIB = 2**20


def error(message: str, code: int) -> Exception:
    """A libvirtError with its code."""
    made: Exception = fake.make_libvirtError(fake.libvirtError, message, error_code=code, error_message=message)
    return made


class PciNode:
    """A GPU function as a virNodeDevice."""

    mac_address = None

    def __init__(self, host: GpuHost, address: str) -> None:
        self._host, self._function = host, host.functions[address]
        self.address = address

    def name(self) -> str:
        """libvirt's name."""
        return self._function.name

    def parent(self) -> str:
        """The device above it."""
        return "computer"

    def listCaps(self) -> list[str]:
        """Capabilities of the device itself."""
        return ["pci"]

    def XMLDesc(self, flags: int = 0) -> str:
        """The description as it is now."""
        return function_xml(self._host, self._function)


class MdevNode:
    """A mediated device as a virNodeDevice."""

    def __init__(self, host: GpuHost, mdev: Mdev) -> None:
        self._host, self._mdev = host, mdev

    def name(self) -> str:
        """libvirt's name."""
        return self._mdev.name

    def parent(self) -> str:
        """The function it is on."""
        return self._host.functions[self._mdev.parent].name

    def listCaps(self) -> list[str]:
        """Capabilities of the device."""
        return ["mdev"]

    def isActive(self) -> int:
        """1 when it runs."""
        return int(self._mdev.active)

    def XMLDesc(self, flags: int = 0) -> str:
        """The description as it is now."""
        return mdev_xml(self._host, self._mdev)

    def create(self, flags: int = 0) -> int:
        """Start a defined device."""
        try:
            self._host.start(self._mdev.uuid)
        except HardwareError as refused:
            raise error(str(refused), fake.VIR_ERR_INTERNAL_ERROR) from refused
        return 0

    def setAutostart(self, autostart: int) -> int:
        """Start it with the host."""
        self._mdev.autostart = bool(autostart)
        return 0


class _PciDevices:
    """The fake connection's view of PCI devices, in its own shape."""

    def __init__(self, host: GpuHost) -> None:
        nodes = [PciNode(host, address) for address in host.functions]
        self.devices = {node.name(): node for node in nodes}
        self._capable = [function.name for function in host.functions.values() if function.carries_mdevs]

    def get_all_devices(self) -> list[str]:
        return list(self.devices)

    def get_device_by_name(self, name: str) -> PciNode | None:
        return self.devices.get(name)

    def get_all_mdev_capable_devices(self) -> list[str]:
        return self._capable

    def get_pci_address_mac_mapping(self) -> dict[str, str]:
        return {}


class _MdevDevices:
    """The fake connection's view of mediated devices."""

    def __init__(self, host: GpuHost) -> None:
        self._host = host

    @property
    def devices(self) -> dict[str, MdevNode]:
        return {mdev.name: MdevNode(self._host, mdev) for mdev in list(self._host.mdevs.values())}

    def get_all_devices(self) -> list[str]:
        return list(self.devices)

    def get_device_by_name(self, name: str) -> MdevNode:
        found = self.devices.get(name)
        if found is None:
            raise error(f"no node device with matching name '{name}'", fake.VIR_ERR_NO_NODE_DEVICE)
        return found


class GpuConnection(fake.Connection):
    """A host's libvirt connection, as nova-compute holds it."""

    def __init__(self, host: GpuHost) -> None:
        self.gpu_host = host
        machine = fake.HostInfo(cpu_nodes=2, cpu_sockets=1, cpu_cores=16, cpu_threads=2, kB_mem=512 * 2**20)
        super().__init__(
            "qemu:///system",
            version=10_005_000,
            hv_version=9_000_000,
            hostname=host.name,
            host_info=machine,
            pci_info=_PciDevices(host),
            mdev_info=_MdevDevices(host),
        )
        connections[host.name] = self

    def getInfo(self) -> list[Any]:
        """libvirt's second figure is in MiB; the fake hands out KiB."""
        info = list(super().getInfo())
        info[1] //= 1024
        return info

    def nodeDeviceCreateXML(self, xml: str, flags: int = 0) -> MdevNode:
        """Make and start a mediated device."""
        uuid, type_id, parent = _wanted(xml)
        try:
            return MdevNode(self.gpu_host, self.gpu_host.create(parent, type_id, uuid))
        except HardwareError as refused:
            raise error(str(refused), fake.VIR_ERR_INTERNAL_ERROR) from refused

    def nodeDeviceDefineXML(self, xml: str, flags: int = 0) -> MdevNode:
        """Make a mediated device persistent."""
        uuid, type_id, parent = _wanted(xml)
        try:
            return MdevNode(self.gpu_host, self.gpu_host.define(parent, type_id, uuid))
        except HardwareError as refused:
            raise error(str(refused), fake.VIR_ERR_INTERNAL_ERROR) from refused

    def listAllDevices(self, flags: int = 0) -> list[Any]:
        """With the mdev flag: mediated devices, active or not as the flags say."""
        if not flags & fake.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV:
            return list(super().listAllDevices(flags))
        only_inactive = flags & fake.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE
        return [node for node in self.mdev_info.devices.values() if not (only_inactive and node.isActive())]

    def listAllDomains(self, flags: int = 0) -> list[Any]:
        """No flags mean all domains, as in libvirt."""
        everything = fake.VIR_CONNECT_LIST_DOMAINS_ACTIVE | fake.VIR_CONNECT_LIST_DOMAINS_INACTIVE
        return list(super().listAllDomains(flags or everything))

    def defineXML(self, xml: str) -> Any:
        """Defining a domain that runs changes its definition and leaves it running."""
        defined = fake.Domain(connection=self, running=False, transient=False, xml=xml)
        running = self._vms.get(defined.name())
        if running is None or running._state == fake.VIR_DOMAIN_SHUTOFF:
            self._vms[defined.name()] = defined
            return defined
        running._def, running._transient = defined._def, False
        return running

    def forget(self, domain: Any) -> None:
        """A domain left for another host: neither running nor defined here any more."""
        self._vms.pop(domain.name(), None)
        for number, running in list(self._running_vms.items()):
            if running is domain:
                del self._running_vms[number]


class MigratingDomain(fake.Domain):
    """A domain whose live migration takes the seconds that the knob says."""

    _job: dict[str, Any] | None = None
    _aborted: threading.Event | None = None

    def jobStats(self, flags: int = 0) -> dict[str, Any]:
        """The running job's statistics; an ended job is reported once, then there is none."""
        job = self._job
        if job is None:
            return {"type": fake.VIR_DOMAIN_JOB_NONE}
        if job["type"] != fake.VIR_DOMAIN_JOB_UNBOUNDED:
            self._job = None
        return dict(job)

    def abortJob(self) -> None:
        """Ask the running migration to stop."""
        if self._aborted is not None:
            self._aborted.set()

    def migrateToURI3(self, dconnuri: str, params: dict[str, Any], flags: int) -> None:
        """Copy, then go on at the destination; blocks for as long as that takes."""
        name = dconnuri.split("://", 1)[1].split("/", 1)[0]
        destination = connections.get(name)
        if destination is None:
            raise error(f"unable to connect to server at '{name}:16509'", fake.VIR_ERR_SYSTEM_ERROR)
        knob, self._aborted, self._job = dict(migration), threading.Event(), None
        self._job_type = fake.VIR_DOMAIN_JOB_NONE
        copied = self._copy_memory(knob)
        if copied != "done":
            cancelled = copied == "aborted"
            self._job = {"type": fake.VIR_DOMAIN_JOB_CANCELLED if cancelled else fake.VIR_DOMAIN_JOB_FAILED}
            if not migration["raise"]:
                return
            if cancelled:
                raise error("operation aborted: migration out job: canceled by client", _OPERATION_ABORTED)
            raise error("operation failed: migration out job: unexpectedly failed", fake.VIR_ERR_OPERATION_FAILED)
        destination.createXML(params["destination_xml"], 0)
        self._connection.forget(self)
        self._state = fake.VIR_DOMAIN_SHUTOFF
        self._job = {"type": fake.VIR_DOMAIN_JOB_COMPLETED}

    def _copy_memory(self, knob: dict[str, Any]) -> str:
        """Passes over the memory, each for what was dirtied in the one before; ``done``, ``failed`` or ``aborted``."""
        total = self._def["memory"] * 1024 + 256 * _MIB
        seconds = max(float(knob["seconds"]), _TICK)
        passes = [0.7, 0.2, 0.1]  # shares of the time and of the speed
        speed = total / (seconds * passes[0])
        started, processed, iteration, remaining = time.monotonic(), 0.0, 1, float(total)
        while True:
            elapsed = time.monotonic() - started
            self._job = _statistics(total, processed, remaining, iteration, speed, elapsed)
            assert self._aborted is not None
            if self._aborted.wait(_TICK):
                return "aborted"
            if knob["mode"] == "fail" and elapsed > seconds / 2:
                return "failed"
            step = speed * _TICK
            processed, remaining = processed + step, remaining - step
            if remaining > 0:
                continue
            if knob["mode"] == "hang":
                remaining = total * 0.2
            elif iteration < len(passes):
                remaining = speed * seconds * passes[iteration]
            else:
                return "done"
            iteration += 1


def _statistics(
    total: int, processed: float, remaining: float, iteration: int, speed: float, elapsed: float
) -> dict[str, Any]:
    """virDomainGetJobStats of a running job, by libvirt's own parameter names."""
    copied = {"total": total, "processed": int(processed), "remaining": int(max(0.0, remaining))}
    return {
        "type": fake.VIR_DOMAIN_JOB_UNBOUNDED,
        "time_elapsed": int(elapsed * 1000),
        "downtime": 300,
        "memory_iteration": iteration,
        "memory_bps": int(speed),
        "disk_total": 0,
        "disk_processed": 0,
        "disk_remaining": 0,
        **{f"memory_{key}": value for key, value in copied.items()},
        **{f"data_{key}": value for key, value in copied.items()},
    }


def _wanted(xml: str) -> tuple[str | None, str, str]:
    """uuid, type and parent address of a device that is to be made."""
    tree = ElementTree.fromstring(xml)
    kind = tree.find("./capability/type")
    parent = tree.findtext("./parent")
    if kind is None or not parent:
        raise error("XML error: a mediated device needs a type and a parent", fake.VIR_ERR_XML_ERROR)
    return tree.findtext("./capability/uuid"), kind.get("id", ""), address_of(parent)


def install() -> None:
    """The fake makes its domains by name at call time: from now on they can migrate."""
    fake.Domain = fake.virDomain = MigratingDomain
