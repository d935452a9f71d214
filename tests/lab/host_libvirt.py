"""A lab host's libvirt as an object with libvirt-python's calls, for what the test driver cannot do.

That is: devices that are defined and not active, their persistence and autostart, device events, and a lost host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.lab.lab import Lab

CAP_PCI_DEV, CAP_MDEV_TYPES, CAP_MDEV = 1 << 1, 1 << 13, 1 << 14
DEVICES_INACTIVE, DEVICES_ACTIVE = 1 << 30, 1 << 31
DOMAINS_ACTIVE, DOMAINS_INACTIVE = 1, 2
EVENT_CREATED, EVENT_DELETED = 0, 1
NODE_DEVICE_LIFECYCLE = 0


class LabLibvirtError(Exception):
    """Speaks like libvirt.libvirtError."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self._code = code

    def get_error_message(self) -> str:
        """libvirt's words."""
        return str(self)

    def get_error_code(self) -> int:
        """libvirt's number."""
        return self._code


class LabLibvirt:
    """The console's libvirt seam: opens connections to the lab's hosts by the host part of the URI."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.refuse: set[str] = set()  # hosts that cannot be reached
        self.opened: list[LabConnection] = []

    def __call__(self, uri: str, read_only: bool) -> LabConnection:
        """Open a connection. Raises LabLibvirtError."""
        host = urlsplit(uri).hostname or ""
        if host in self.refuse or host not in self._lab.hosts():
            raise LabLibvirtError(f"unable to connect to server at '{host}:16509': Connection refused", 38)
        connection = LabConnection(self._lab, host, read_only, self.refuse)
        self.opened.append(connection)
        return connection

    def send_events(self) -> None:
        """Tell every connection about devices that came or went since it last looked."""
        for connection in self.opened:
            connection.send_events()


class LabConnection:
    """virConnect, as far as a reader uses it."""

    def __init__(self, lab: Lab, host: str, read_only: bool, refused: set[str]) -> None:
        self._lab, self._host, self._refused = lab, host, refused
        self.read_only = read_only
        self._callbacks: dict[int, tuple[Callable[..., None], Any]] = {}
        self._closed = False
        self._known = {device.name() for device in self.listAllDevices()}

    def getHostname(self) -> str:
        """The host's own name."""
        return self._host

    def getType(self) -> str:
        """The driver's name."""
        return "QEMU"

    def getURI(self) -> str:
        """Where this connection leads."""
        return f"qemu+ssh://{self._host}/system"

    def getLibVersion(self) -> int:
        """10.5.0: what the lab's Nova is told."""
        return 10_005_000

    def getVersion(self) -> int:
        """QEMU 9.0.0: what the lab's Nova is told."""
        return 9_000_000

    def isAlive(self) -> int:
        """1 while the host answers."""
        return int(not self._closed and self._host not in self._refused)

    def close(self) -> int:
        """Give the connection back."""
        self._closed = True
        return 0

    def setKeepAlive(self, interval: int, count: int) -> int:
        """Accepted."""
        return 0

    def registerCloseCallback(self, callback: Callable[..., None], opaque: Any) -> None:
        """Accepted; the lab ends connections only by refusing calls."""

    def unregisterCloseCallback(self) -> None:
        """Accepted."""

    def nodeDeviceEventRegisterAny(self, device: Any, event: int, callback: Callable[..., None], opaque: Any) -> int:
        """Tell the callback of devices that come and go."""
        if event == NODE_DEVICE_LIFECYCLE:
            self._callbacks[event] = (callback, opaque)
        return event

    def nodeDeviceEventDeregisterAny(self, number: int) -> None:
        """Tell it no more."""
        self._callbacks.pop(number, None)

    def domainEventRegisterAny(self, domain: Any, event: int, callback: Callable[..., None], opaque: Any) -> int:
        """Accepted; the lab sends no domain events."""
        return 1000 + event

    def domainEventDeregisterAny(self, number: int) -> None:
        """Accepted."""

    def listAllDevices(self, flags: int = 0) -> list[LabDevice]:
        """Node devices by capability and state, as libvirt's flags say."""
        capabilities = flags & (CAP_PCI_DEV | CAP_MDEV_TYPES | CAP_MDEV)
        states = flags & (DEVICES_ACTIVE | DEVICES_INACTIVE) or DEVICES_ACTIVE
        found = []
        for row in self._ask("nodedevs"):
            own = CAP_MDEV if row["capability"] == "mdev" else CAP_PCI_DEV
            if row.get("mdev_types"):
                own |= CAP_MDEV_TYPES
            state = DEVICES_ACTIVE if row.get("active", True) else DEVICES_INACTIVE
            if (not capabilities or own & capabilities) and state & states:
                found.append(LabDevice(row))
        return found

    def nodeDeviceLookupByName(self, name: str) -> LabDevice:
        """One device. Raises LabLibvirtError."""
        for row in self._ask("nodedevs"):
            if row["name"] == name:
                return LabDevice(row)
        raise LabLibvirtError(f"no node device with matching name '{name}'", 53)

    def listAllDomains(self, flags: int = 0) -> list[LabDomain]:
        """Domains by state; no flags mean all."""
        states = flags & (DOMAINS_ACTIVE | DOMAINS_INACTIVE) or (DOMAINS_ACTIVE | DOMAINS_INACTIVE)
        rows = self._ask("domains")
        return [LabDomain(row) for row in rows if states & (DOMAINS_ACTIVE if row["active"] else DOMAINS_INACTIVE)]

    def send_events(self) -> None:
        """Call back for each device that came or went since the last look."""
        if self._closed or self._host in self._refused:
            return
        now = {device.name(): device for device in self.listAllDevices()}
        for name in sorted(self._known ^ set(now)):
            event = EVENT_CREATED if name in now else EVENT_DELETED
            device = now.get(name) or LabDevice({"name": name, "xml": ""})
            for callback, opaque in list(self._callbacks.values()):
                callback(self, device, event, 0, opaque)
        self._known = set(now)

    def _ask(self, what: str) -> list[dict[str, Any]]:
        if self._closed or self._host in self._refused:
            raise LabLibvirtError("internal error: client socket is closed", 1)
        return list(self._lab.control(f"/hosts/{self._host}/{what}"))


class LabDevice:
    """virNodeDevice."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def name(self) -> str:
        """libvirt's name."""
        return str(self._row["name"])

    def XMLDesc(self, flags: int = 0) -> str:
        """The description as it was when the device was listed."""
        return str(self._row["xml"])

    def isActive(self) -> int:
        """1 when it runs; a PCI device always does."""
        return int(self._row.get("active", True))

    def isPersistent(self) -> int:
        """1 when it is defined; a PCI device always is."""
        return int(self._row.get("persistent", True))

    def autostart(self) -> int:
        """1 when it starts with the host."""
        return int(self._row.get("autostart", False))


class LabDomain:
    """virDomain."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def name(self) -> str:
        """Nova's instance name."""
        return str(self._row["name"])

    def UUIDString(self) -> str:
        """The server's id."""
        return str(self._row["uuid"])

    def isActive(self) -> int:
        """1 when it runs."""
        return int(self._row["active"])

    def XMLDesc(self, flags: int = 0) -> str:
        """Nova's whole domain."""
        return str(self._row["xml"])
