"""Faults that tests and scenarios switch on: what can go wrong at each seam."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

HttpKind = Literal["status", "html", "truncated", "null", "refused"]


class HttpFault(msgspec.Struct, eq=False):
    """How a service fails. ``times`` counts down the requests it applies to; None is for ever.

    ``status`` answers with the service's own error, ``html`` with a proxy's page, ``truncated`` cuts the right answer
    in half, ``null`` turns ``null_fields`` of the right answer into null, ``refused`` does not answer at all.
    ``delay_s`` alone (kind None) only makes it slow.
    """

    kind: HttpKind | None = None
    status: int = 503
    null_fields: tuple[str, ...] = ()
    delay_s: float = 0.0
    path: str = ""  # only requests whose path holds this
    times: int | None = None


HostFault = Literal["unreachable", "timeout", "auth", "closed", "garbage"]

DeviceFaultKind = Literal["denied", "acl", "broken", "dies", "hangs"]


class DeviceFault(msgspec.Struct, eq=False):
    """How changes of devices through one host's libvirt fail.

    ``denied`` opens no connection for changes (polkit), ``acl`` forbids the call, ``broken`` refuses it with mdevctl's
    words, ``dies`` ends libvirtd in the middle of it (it is there again at once, unless ``stays_down``), ``hangs`` does
    not come back for ``hang_s``. ``obeyed``: the change was made all the same.
    """

    kind: DeviceFaultKind
    call: str = ""  # only this call: "virNodeDeviceCreate"; "" for all
    times: int | None = None
    obeyed: bool = False
    stays_down: bool = False
    hang_s: float = 60.0


class Faults(msgspec.Struct, eq=False):
    """All faults of one cloud: ``http`` by service type, the others by host.

    ``stale_s`` is how long after a change libvirt lists of a host still show what was before; ``no_sudo`` are hosts on
    which the account of the console may change nothing.
    """

    http: dict[str, HttpFault] = {}
    libvirt: dict[str, HostFault] = {}
    ssh: dict[str, HostFault] = {}
    devices: dict[str, DeviceFault] = {}
    stale_s: dict[str, float] = {}
    no_sudo: set[str] = set()
    sleep: Callable[[float], None] = time.sleep

    def take_device(self, host: str, call: str) -> DeviceFault | None:
        """The fault that applies to a change on a host, counted down."""
        fault = self.devices.get(host)
        if fault is None or fault.kind == "denied" or fault.call not in ("", call):
            return None
        if fault.times is not None:
            if fault.times <= 0:
                return None
            fault.times -= 1
        return fault

    def take_http(self, service: str, path: str) -> HttpFault | None:
        """The fault that applies to a request, counted down."""
        fault = self.http.get(service)
        if fault is None or fault.path not in path:
            return None
        if fault.times is not None:
            if fault.times <= 0:
                return None
            fault.times -= 1
        return fault
