"""One look at one guest in a host's libvirt: whether it runs there, and which mediated devices it holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from vgpu_console.model.migration_end import GuestLook, GuestState
from vgpu_console.sources.base import LibvirtOpener
from vgpu_console.sources.libvirt_errors import GONE, code_of, explain
from vgpu_console.sources.libvirt_xml import parse_domain, parse_mdev

CAP_MDEV = 1 << 14
# virDomainState: blocked and being shut down are still running CPUs; saved to disk (PM suspended) is paused
_STATES: dict[int, GuestState] = {
    1: "running",
    2: "running",
    3: "paused",
    4: "running",
    5: "shut off",
    6: "shut off",
    7: "paused",
}


def look_at_guest(
    host: str, uri: str, opener: LibvirtOpener, domain_uuid: str, *, clock: Callable[[], float] = time.time
) -> GuestLook:
    """Look (blocking) over a read-only connection of its own. What cannot be looked at is told in ``why``; raises
    nothing."""
    try:
        connection = opener(uri, True)
    except Exception as error:
        return GuestLook(host=host, state=None, why=str(explain(error)), seen_at=clock())
    try:
        held: tuple[str, ...] = ()
        state: GuestState | None = "absent"
        try:
            domain = connection.lookupByUUIDString(domain_uuid)
            state = _STATES.get(domain.state()[0])
            held = parse_domain(domain.XMLDesc(0)).mdevs
        except Exception as error:
            if code_of(error) not in GONE:
                raise
        mdevs, idle = _devices(connection, held)
        why = "" if state is not None else "libvirt names no state of the guest"
        return GuestLook(host=host, state=state, why=why, seen_at=clock(), mdevs=mdevs, idle=idle)
    except Exception as error:
        return GuestLook(host=host, state=None, why=str(explain(error)), seen_at=clock())
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def _devices(connection: Any, held: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str] | None]:
    """The types of what the guest holds, and the host's devices that no guest holds; None where that is not told."""
    kinds: dict[str, str] = {}
    taken = set(held)
    try:
        for device in connection.listAllDevices(CAP_MDEV):
            with contextlib.suppress(ValueError):
                found = parse_mdev(device.XMLDesc(0))
                kinds[found.uuid] = found.type_id
        for domain in connection.listAllDomains(0):
            with contextlib.suppress(ValueError):
                taken |= set(parse_domain(domain.XMLDesc(0)).mdevs)
    except Exception:  # a driver without node devices, or a device that went in between: the guest's state still holds
        return {uuid: kinds.get(uuid, "") for uuid in held}, None
    idle = {uuid: kind for uuid, kind in kinds.items() if uuid not in taken}
    return {uuid: kinds.get(uuid, "") for uuid in held}, idle
