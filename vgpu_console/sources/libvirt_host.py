"""A host's libvirt: GPUs and virtual functions with their types, mediated devices, the guests that hold them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, MdevFacts, PciDevice
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import LibvirtOpener, SourceError
from vgpu_console.sources.libvirt_errors import GONE, UNSUPPORTED, code_of, explain, is_lost, words_of
from vgpu_console.sources.libvirt_open import open_libvirt
from vgpu_console.sources.libvirt_xml import parse_domain, parse_mdev, parse_pci_device
from vgpu_console.text import plain

__all__ = ["LibvirtHostSource", "open_libvirt"]

LOG = logging.getLogger(__name__)
T = TypeVar("T")

# virConnectListAllNodeDevicesFlags and virConnectListAllDomainsFlags. Numbers, because bindings that were built against
# an older libvirt lack the newer names, and the simulator has none.
CAP_PCI_DEV, CAP_MDEV_TYPES, CAP_MDEV = 1 << 1, 1 << 13, 1 << 14
DEVICE_INACTIVE, DEVICE_ACTIVE = 1 << 30, 1 << 31
DOMAIN_ACTIVE = 1
NODE_DEVICE_LIFECYCLE, NODE_DEVICE_UPDATE = 0, 1
DOMAIN_LIFECYCLE = 0

NVIDIA = "10de"
_DISPLAY_CLASSES = ("0300", "0302")  # VGA and 3D controllers


class LibvirtHostSource:
    """Reads one host's libvirt over a kept, read-only connection, which is opened anew when it was lost.

    ``on_event`` is called from a foreign thread whenever a device or a domain changed or the connection broke; it must
    return at once. libvirt's lists are stale for a moment after an event, so a second reading should follow the first.
    """

    kind: SourceKind = "libvirt"

    def __init__(
        self,
        host: str,
        uri: str,
        opener: LibvirtOpener | None = None,
        *,
        timeout_s: float = 5.0,
        on_event: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._uri = uri
        real = opener is None or opener is open_libvirt
        self._opener: LibvirtOpener = partial(open_libvirt, timeout_s=timeout_s) if real else opener  # type: ignore[assignment]
        self._on_event = on_event
        self._guard = threading.Lock()
        self._connection: Any = None
        self._registered: list[tuple[str, int]] = []
        self._closed = False
        self._no_gpus: set[str] = set()  # names of PCI devices that were looked at and are no GPUs

    def fetch(self, previous: LibvirtFacts | None = None) -> LibvirtFacts:
        """One reading (blocking). Equal facts come back as the previous object. Raises SourceError."""
        self.requests = 0
        self.notes = ()
        connection, fresh = self.connected()
        try:
            facts = self._read(connection)
        except Exception as error:
            lost = _lost(connection, error)
            if lost:
                self.forget(connection)
            if fresh or not lost:
                raise explain(error) from None
            connection, _ = self.connected()
            try:
                facts = self._read(connection)
            except Exception as again:
                self.forget(connection)
                raise explain(again) from None
        if not facts.defined_visible:
            self.notes = ("this libvirt lists running mediated devices only, not those that are merely defined",)
        if facts.skipped:
            self.notes += (f"{len(facts.skipped)} descriptions could not be read: {facts.skipped[0]}",)
        return previous if previous is not None and previous == facts else facts

    def close(self) -> None:
        """Close the connection; a fetch that is under way fails."""
        with self._guard:
            self._closed = True
            connection = self._connection
        if connection is not None:
            self.forget(connection)

    # The connection

    def connected(self) -> tuple[Any, bool]:
        """The kept connection, or a new one (and then True). Raises SourceError."""
        with self._guard:
            kept = self._connection
            if self._closed:
                raise SourceError("unavailable", "this source is closed")
        if kept is not None:
            if _alive(kept):
                return kept, False
            self.forget(kept)
        try:
            self.requests += 1
            connection = self._opener(self._uri, True)
        except Exception as error:
            raise explain(error) from None
        with self._guard:
            closed = self._closed
            if not closed:
                self._connection = connection
        if closed:
            _close(connection)
            raise SourceError("unavailable", "this source is closed")
        self._no_gpus.clear()
        self._listen(connection)
        return connection, True

    def forget(self, connection: Any) -> None:
        """Close a connection that is of no more use; the next call opens another."""
        with self._guard:
            if self._connection is connection:
                self._connection = None
            registered, self._registered = self._registered, []
        for method, number in registered:
            with contextlib.suppress(Exception):
                getattr(connection, method)(number)
        with contextlib.suppress(Exception):
            connection.unregisterCloseCallback()
        _close(connection)

    def _listen(self, connection: Any) -> None:
        """Ask for events as far as this driver has them (the test driver has none of devices)."""
        if self._on_event is None:
            return
        wanted: list[tuple[str, int, Callable[..., None]]] = [
            ("nodeDevice", NODE_DEVICE_LIFECYCLE, self._device_changed),
            ("nodeDevice", NODE_DEVICE_UPDATE, self._changed),
            ("domain", DOMAIN_LIFECYCLE, self._changed),
        ]
        for what, event, callback in wanted:
            try:
                number = getattr(connection, f"{what}EventRegisterAny")(None, event, callback, None)
            except Exception as error:
                LOG.debug("libvirt:%s sends no %s events (%d): %s", self.host, what, event, words_of(error))
            else:
                with self._guard:
                    self._registered.append((f"{what}EventDeregisterAny", number))
        with contextlib.suppress(Exception):
            connection.registerCloseCallback(self._changed, None)

    def _changed(self, *_details: Any) -> None:
        if self._on_event is not None and not self._closed:
            self._on_event()

    def _device_changed(self, _connection: Any, device: Any, *_details: Any) -> None:
        with contextlib.suppress(Exception):
            self._no_gpus.discard(device.name())  # another device may sit at that address now
        self._changed()

    # The reading

    def _call(self, call: Callable[..., T], *arguments: Any) -> T:
        self.requests += 1
        return call(*arguments)

    def _read(self, connection: Any) -> LibvirtFacts:
        skipped: list[str] = []
        kind = self._optional(connection, "getType") or "QEMU"
        offering = {d.name() for d in self._call(connection.listAllDevices, CAP_MDEV_TYPES)}
        devices = tuple(self._devices(connection, offering, skipped))
        mdevs, defined_visible = self._mdevs(connection, skipped)
        domains = sorted(self._domains(connection, skipped), key=lambda d: d.uuid)
        return LibvirtFacts(
            host=self.host,
            hostname=plain(self._optional(connection, "getHostname"), 256),
            libvirt_version=_dotted(self._optional(connection, "getLibVersion")),
            qemu_version=_dotted(self._optional(connection, "getVersion")) if str(kind).upper() == "QEMU" else None,
            devices=tuple(sorted(devices, key=lambda d: d.address)),
            mdevs=tuple(sorted(mdevs, key=lambda m: m.uuid)),
            domains=tuple(d for d in domains if d.mdevs or d.pci),
            bare_domains=tuple(d.uuid for d in domains if not (d.mdevs or d.pci)),
            defined_visible=defined_visible,
            skipped=tuple(sorted(skipped)),
        )

    def _optional(self, connection: Any, call: str) -> Any:
        """The answer of a call that a driver may lack; a lost connection still ends the reading."""
        try:
            return self._call(getattr(connection, call))
        except Exception as error:
            _unless_lost(connection, error)
            return None

    def _parsed(
        self, connection: Any, objects: Iterable[Any], parse: Callable[[str], T], skipped: list[str]
    ) -> Iterator[tuple[Any, T]]:
        """Each object with what its description says; those that vanished meanwhile are left out without a word."""
        for thing in objects:
            try:
                yield thing, parse(self._call(thing.XMLDesc, 0))
            except Exception as error:
                if code_of(error) in GONE:
                    continue
                if not isinstance(error, ValueError):
                    _unless_lost(connection, error)
                skipped.append(f"{_name(thing)}: {words_of(error)}")

    def _devices(self, connection: Any, offering: set[str], skipped: list[str]) -> Iterator[PciDevice]:
        """NVIDIA's display functions, everything that offers mdev types, their virtual and physical functions."""
        listed = {d.name(): d for d in self._call(connection.listAllDevices, CAP_PCI_DEV)}
        asked = [d for name, d in listed.items() if name in offering or name not in self._no_gpus]
        for name in sorted(offering - listed.keys()):  # mdev parents outside PCI, such as mtty
            with contextlib.suppress(Exception):
                asked.append(self._call(connection.nodeDeviceLookupByName, name))
        found = {p.address: (d.name(), p) for d, p in self._parsed(connection, asked, parse_pci_device, skipped)}
        gpus = {a for a, (name, p) in found.items() if _is_gpu(p) or p.types or name in offering}
        gpus |= {p.physical_function for a, (_, p) in found.items() if a in gpus and p.physical_function}
        for address, (name, device) in found.items():
            if address in gpus or device.physical_function in gpus:
                self._no_gpus.discard(name)
                yield device
            else:
                self._no_gpus.add(name)

    def _mdevs(self, connection: Any, skipped: list[str]) -> tuple[list[MdevFacts], bool]:
        """All mediated devices; False when this driver cannot list those that are defined and not active."""
        visible = True
        active: set[str] | None = None
        try:
            listed = self._call(connection.listAllDevices, CAP_MDEV | DEVICE_ACTIVE | DEVICE_INACTIVE)
            active = {d.name() for d in self._call(connection.listAllDevices, CAP_MDEV | DEVICE_ACTIVE)}
        except Exception as error:
            _unless_lost(connection, error)
            if code_of(error) not in UNSUPPORTED:
                raise
            visible = False
            listed = self._call(connection.listAllDevices, CAP_MDEV)
        mdevs = [
            msgspec.structs.replace(
                mdev,
                active=mdev.active if active is None else device.name() in active,
                persistent=self._flag(connection, device, "isPersistent"),
                autostart=self._flag(connection, device, "autostart"),
            )
            for device, mdev in self._parsed(connection, listed, parse_mdev, skipped)
        ]
        if active is not None:
            mdevs = [mdev for mdev in mdevs if not _is_left_over(mdev)]
        return mdevs, visible

    def _flag(self, connection: Any, device: Any, call: str) -> bool | None:
        try:
            answer = self._call(getattr(device, call))
        except Exception as error:
            _unless_lost(connection, error)
            return None
        return bool(answer) if isinstance(answer, int) and answer >= 0 else None

    def _domains(self, connection: Any, skipped: list[str]) -> Iterator[DomainFacts]:
        """Running and merely defined domains, with the mediated devices and PCI functions that they hold."""
        listed = self._call(connection.listAllDomains, 0)
        active = {d.UUIDString() for d in self._call(connection.listAllDomains, DOMAIN_ACTIVE)}
        for domain, facts in self._parsed(connection, listed, parse_domain, skipped):
            yield msgspec.structs.replace(facts, active=domain.UUIDString() in active)


def _is_gpu(device: PciDevice) -> bool:
    return device.vendor_id == NVIDIA and device.pci_class.startswith(_DISPLAY_CLASSES)


def _is_left_over(mdev: MdevFacts) -> bool:
    """Whether libvirt lists a device that is no more: neither in the kernel nor defined, and without a type.

    libvirt 11.3 keeps such an entry when a device goes while libvirt reads it; it stays until libvirtd restarts.
    """
    return mdev.active is False and not mdev.persistent and not mdev.type_id


def _name(thing: Any) -> str:
    try:
        return plain(thing.name(), 128)
    except Exception:
        return "a device"


def _dotted(number: Any) -> str | None:
    """libvirt counts versions as major * 1,000,000 + minor * 1,000 + release."""
    if not isinstance(number, int) or number <= 0:
        return None
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _lost(connection: Any, error: Exception) -> bool:
    return is_lost(error) or not _alive(connection)


def _unless_lost(connection: Any, error: Exception) -> None:
    if _lost(connection, error):
        raise error


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except Exception:
        return False


def _close(connection: Any) -> None:
    with contextlib.suppress(Exception):
        connection.close()
