"""Changes to a host's mediated devices through a read-write libvirt connection, and the reading that judges them.

libvirt 7.3 and later; each call is one of virNodeDeviceDefineXML, CreateXML, Create, Destroy, Undefine, SetAutostart.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.sources.base import LibvirtOpener, Refused, SourceError, Unanswered
from vgpu_console.sources.deadline import within
from vgpu_console.sources.libvirt_errors import GONE, UNSUPPORTED, code_of, explain, is_lost, words_of
from vgpu_console.sources.libvirt_host import (
    CAP_MDEV,
    DEVICE_ACTIVE,
    DEVICE_INACTIVE,
    LibvirtHostSource,
    open_libvirt,
)
from vgpu_console.sources.libvirt_xml import parse_mdev
from vgpu_console.text import plain

T = TypeVar("T")

MdevCall = Literal["define", "create", "start", "autostart-on", "autostart-off", "stop", "undefine"]

CHANGE_S = 30.0
"""The least time a change may take. libvirt itself waits 5 s at a time for the new device to appear (measured: 6.2)."""
STALE_S = 10.0
"""So long after a change libvirt's lists and its idea of what is active may be those of before (measured: 0.3-4)."""
LOOK_AGAIN_S = 0.25
IDLE_S = 30.0
"""A connection that may change things is not kept longer than this without use."""

_NO_DEVICE = 53  # VIR_ERR_NO_NODE_DEVICE
_INVALID = 55  # VIR_ERR_OPERATION_INVALID: active where it must not be, or the other way round
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_DEVICE = re.compile(r"[A-Za-z0-9_]{1,128}")  # a parent outside PCI, by its libvirt name
_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,128}")

NOBODY_KNOWS = "nobody knows whether it was obeyed"


class LibvirtDevices:
    """One host's mediated devices, to be changed and read again. Every method blocks, within a bound; thread-safe.

    With ``read_only`` the connection is opened read-only and every change is refused before that. Connections are
    closed when they have not been used for a while.
    """

    def __init__(
        self,
        host: str,
        uri: str,
        opener: LibvirtOpener | None = None,
        *,
        timeout_s: float = 5.0,
        read_only: bool = False,
        change_s: float | None = None,
        stale_s: float = STALE_S,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host = host
        self._uri = uri
        real = opener is None or opener is open_libvirt
        self._opener: LibvirtOpener = partial(open_libvirt, timeout_s=timeout_s) if real else opener  # type: ignore[assignment]
        self._read_only = read_only
        self._reading_s = timeout_s * 6  # opening takes three times the time-out at most
        self._change_s = change_s if change_s is not None else max(CHANGE_S, timeout_s * 6)
        self._stale_s = stale_s
        self._wait = wait
        self._turn = threading.Lock()  # one call at a time: a second one would see a half-made change
        self._guard = threading.Lock()
        self._source: LibvirtHostSource | None = None
        self._rest: threading.Timer | None = None
        self._changed: dict[str, float] = {}  # uuid -> when this object last changed it (monotonic)

    def take(self, call: MdevCall, uuid: str, function: str = "", type_id: str = "") -> None:
        """Make one call. ``function`` and ``type_id`` go with define and create.

        Raises Refused before anything is opened (read-only, values of the wrong form, libvirt's test driver),
        SourceError with libvirt's words when it was not obeyed, Unanswered when nobody knows whether it was.
        """
        if self._read_only:
            raise Refused(f"{self.host}: this console is read-only")
        self._check(call, uuid, function, type_id)
        sent = threading.Event()
        with self._turn:
            try:
                self._within(self._change_s, lambda source: self._take(source, sent, call, uuid, function, type_id))
            except TimeoutError:
                words = f"{self.host}: libvirt did not answer within {self._change_s:g} s"
                if sent.is_set():
                    raise Unanswered("timeout", f"{words}: {NOBODY_KNOWS}") from None
                raise SourceError("timeout", f"{words} of being asked, nothing was changed") from None
            finally:
                if sent.is_set():
                    self._changed[uuid] = time.monotonic()
                self._close_later()

    def facts(self) -> LibvirtFacts:
        """The host's devices and guests now, through the same connection. Raises SourceError."""
        with self._turn:
            try:
                return self._within(self._reading_s, lambda source: source.fetch(None))
            except TimeoutError:
                words = f"{self.host}: libvirt did not answer within {self._reading_s:g} s"
                raise SourceError("timeout", words) from None
            except SourceError as error:
                raise self._of_this_host(error) from None
            finally:
                self._close_later()

    def close(self) -> None:
        """Close the connection, if there is one; a later call opens another."""
        with self._guard:
            source, self._source = self._source, None
            rest, self._rest = self._rest, None
        if rest is not None:
            rest.cancel()
        if source is not None:
            # closing asks the far side, which may be the one that hangs
            threading.Thread(target=source.close, name="libvirt-close", daemon=True).start()

    # The connection

    def _open(self, uri: str, _read_only: bool) -> Any:
        """For the source that reads: our own kind of connection, not its own read-only one."""
        if not self._read_only:
            _refuse_test_driver(urlsplit(uri).scheme.partition("+")[0])
        try:
            connection = self._opener(uri, self._read_only)
        except Exception as error:
            raise self._not_opened(explain(error)) from None
        if not self._read_only:
            with contextlib.suppress(AttributeError):
                _refuse_test_driver(str(connection.getType()))
        return connection

    def _not_opened(self, error: SourceError) -> SourceError:
        if self._read_only or error.kind not in ("auth", "forbidden"):
            return error
        words = str(error).removeprefix("libvirt: ")
        return SourceError("forbidden", f"this user may not change anything through libvirt: {words}")

    def _within(self, seconds: float, work: Callable[[LibvirtHostSource], T]) -> T:
        with self._guard:
            source = self._source = self._source or LibvirtHostSource(self.host, self._uri, self._open)
            if self._rest is not None:
                self._rest.cancel()
        try:
            return within(seconds, lambda: work(source), f"libvirt-{self.host}")
        except TimeoutError:
            self.close()  # what hangs is left behind; the next call opens another connection
            raise

    def _close_later(self) -> None:
        with self._guard:
            if self._source is None:
                return
            if self._rest is not None:
                self._rest.cancel()
            self._rest = threading.Timer(IDLE_S, self._close_idle)
            self._rest.daemon = True
            self._rest.start()

    def _close_idle(self) -> None:
        if self._turn.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._turn.release()

    # One change

    def _check(self, call: str, uuid: str, function: str, type_id: str) -> None:
        wrong = ""
        if not _UUID.fullmatch(uuid):
            wrong = f"{plain(uuid, 60)} is no uuid"
        elif call in ("define", "create"):
            if not (_ADDRESS.fullmatch(function) or _DEVICE.fullmatch(function)):
                wrong = f"{plain(function, 60) or 'nothing'} is no PCI address"
            elif not _TYPE.fullmatch(type_id):
                wrong = f"{plain(type_id, 60) or 'nothing'} is no type"
        if wrong:
            raise Refused(f"{self.host}: not sent: {wrong}")

    def _take(
        self, source: LibvirtHostSource, sent: threading.Event, call: MdevCall, uuid: str, function: str, type_id: str
    ) -> None:
        end = time.monotonic() + self._patience(uuid)
        reopened = False
        while True:
            connection, fresh = self._connected(source)
            try:
                change = self._call(connection, call, uuid, function, type_id)
                sent.set()
                change()
            except Exception as error:
                lost = is_lost(error) or not _alive(connection)
                if lost:
                    source.forget(connection)
                    if not sent.is_set() and not fresh and not reopened:
                        reopened = True  # a kept connection that had gone unnoticed
                        continue
                elif code_of(error) in (*GONE, _INVALID) and time.monotonic() < end:
                    sent.clear()  # an answer came, and it was no
                    self._wait(LOOK_AGAIN_S)
                    continue
                self._tell(error, lost=lost, sent=sent.is_set())
            return

    def _connected(self, source: LibvirtHostSource) -> tuple[Any, bool]:
        try:
            return source.connected()
        except SourceError as error:
            raise self._of_this_host(error) from None

    def _patience(self, uuid: str) -> float:
        """Seconds for which "no such device" and "not active" may be yesterday's news."""
        changed = self._changed.get(uuid)
        return 0.0 if changed is None else max(0.0, self._stale_s - (time.monotonic() - changed))

    def _call(self, connection: Any, call: MdevCall, uuid: str, function: str, type_id: str) -> Callable[[], Any]:
        """The call, ready to be made: nothing but lists is asked before it."""
        if call == "define":
            return partial(connection.nodeDeviceDefineXML, device_xml(uuid, function, type_id), 0)
        if call == "create":
            return partial(connection.nodeDeviceCreateXML, device_xml(uuid, function, type_id), 0)
        device = _find(connection, uuid, function)
        if call == "start":
            return partial(device.create, 0)
        if call == "stop":
            return partial(device.destroy)
        if call == "undefine":
            return partial(device.undefine, 0)
        return partial(device.setAutostart, int(call == "autostart-on"))

    def _tell(self, error: Exception, *, lost: bool, sent: bool) -> NoReturn:
        """What became of it, in libvirt's own words. Always raises."""
        told = explain(error)
        if isinstance(error, AttributeError) or code_of(error) in UNSUPPORTED:
            words = f"{self.host}: needs libvirt 7.3 or later, here and there (autostart 7.8): {told}"
            raise SourceError("unavailable", words) from None
        if lost and sent:
            raise Unanswered("unreachable", f"{self.host}: the connection broke ({words_of(error)}): {NOBODY_KNOWS}")
        if told.kind in ("auth", "forbidden"):
            words = str(told).removeprefix("libvirt: ")
            raise SourceError("forbidden", f"{self.host}: this user may not do this through libvirt: {words}") from None
        raise self._of_this_host(told) from None

    def _of_this_host(self, error: SourceError) -> SourceError:
        if isinstance(error, Refused):
            return Refused(f"{self.host}: {error}")
        return SourceError(error.kind, f"{self.host}: {error}")


class _NotListed(Exception):
    """libvirt's lists have no such device (which they may not have yet); looks like an error of libvirt's."""

    def get_error_code(self) -> int:
        """libvirt's number of that."""
        return _NO_DEVICE

    def get_error_message(self) -> str:
        """The words."""
        return str(self)


def device_xml(uuid: str, function: str, type_id: str) -> str:
    """The node device to define or create (libvirt's schema nodedev.rng). ``function``: PCI address or libvirt name."""
    parent = "pci_" + re.sub(r"[:.]", "_", function) if _ADDRESS.fullmatch(function) else function
    device = ElementTree.Element("device")
    ElementTree.SubElement(device, "parent").text = parent
    mdev = ElementTree.SubElement(device, "capability", type="mdev")
    ElementTree.SubElement(mdev, "type", id=type_id)
    ElementTree.SubElement(mdev, "uuid").text = uuid
    return ElementTree.tostring(device, encoding="unicode")


def _find(connection: Any, uuid: str, function: str) -> Any:
    """The node device of that uuid, active or defined: ``mdev_<uuid>``, with the parent after it since libvirt 7.8."""
    try:
        listed = connection.listAllDevices(CAP_MDEV | DEVICE_ACTIVE | DEVICE_INACTIVE)
    except Exception as error:
        if code_of(error) not in UNSUPPORTED:
            raise
        listed = connection.listAllDevices(CAP_MDEV)
    name = "mdev_" + uuid.replace("-", "_")
    found = [d for d in listed if d.name().lower() == name or d.name().lower().startswith(name + "_")]
    if len(found) > 1 and function:
        found = [d for d in found if parse_mdev(d.XMLDesc(0)).parent == function]
    if len(found) > 1:
        raise ValueError(f"{len(found)} devices have the uuid {uuid}")
    if not found:
        raise _NotListed(f"no mediated device {uuid} is known")
    return found[0]


def _refuse_test_driver(driver: str) -> None:
    if driver.lower() == "test":
        raise Refused("libvirt's test driver says yes to changes and makes none")


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except Exception:
        return False
