"""From what an operator typed to one host, GPU, vGPU type or mediated device. Never a guess.

Each raises PlanError: unknown, with what is near; ambiguous, with what to choose from; not read, with exit code 3.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, PlanError
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.mdev_room import TypeRoom
from vgpu_console.text import plain

_SHOWN = 8
_ADDRESS = re.compile(r"(?:pci_)?(?:(?:0000)?([0-9a-f]{4})[:_])?([0-9a-f]{2})[:_]([0-9a-f]{2})[._]([0-7])")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_PART = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")
NIL = "00000000-0000-0000-0000-000000000000"


def pci_address(text: str) -> str | None:
    """``41:00.4``, ``0000:41:00.4``, ``00000000:41:00.4`` (nvidia-smi) or ``pci_0000_41_00_4`` as ``0000:41:00.4``."""
    found = _ADDRESS.fullmatch(text.strip().lower())
    if found is None:
        return None
    domain, bus, slot, function = found.groups()
    return f"{domain or '0000'}:{bus}:{slot}.{function}"


def device_uuid(text: str) -> str:
    """A uuid for a new device, in lower case. Raises PlanError for anything else, and for the nil uuid."""
    asked = plain(text.strip(), 80)
    lower = asked.lower()
    if not _UUID.fullmatch(lower) or lower == NIL:
        raise PlanError(f"{asked!r} is no uuid for a device: 32 hexadecimal digits as 8-4-4-4-12, not all of them 0")
    return lower


def find_host(snapshot: Snapshot, text: str) -> Host:
    """The host of that name, or the only one whose name goes on with a dot after it (``gpu-01`` of ``gpu-01.lan``)."""
    asked = plain(text.strip(), 300)
    if not asked:
        raise PlanError("no host was named")
    exact = snapshot.host(asked)
    if exact is not None:
        return exact
    names = [h.name for h in snapshot.hosts]
    if not names:
        raise PlanError("no host is known: neither Nova nor the configuration has named one", NO_CONNECTION)
    found = [h for h in snapshot.hosts if h.name.lower().startswith(f"{asked.lower()}.")]
    found = found or [h for h in snapshot.hosts if h.name.lower() == asked.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(f"{asked!r} is the beginning of {len(found)} hosts: {_listed([h.name for h in found])}")
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.6)
    hint = f"is it {_listed(near)}?" if near else f"there are {_listed(sorted(names))}"
    raise PlanError(f"no host is called {asked!r}; {hint}")


def node_device(address: str) -> str:
    """libvirt's name of a function: ``pci_0000_41_00_4``; a parent outside PCI is written by that name already."""
    return f"pci_{re.sub('[:.]', '_', address)}" if pci_address(address) else address


def find_gpu(snapshot: Snapshot, host: str, text: str) -> PhysicalGpu:
    """A host's GPU by its PCI address, short or full, or by that of one of its virtual functions.

    An empty text is the host's only GPU.
    """
    owner = find_host(snapshot, host)
    asked = plain(text.strip(), 80)
    if owner.gpus is None:
        raise PlanError(f"the GPUs of {owner.name} are not known: {_unread(owner)}", NO_CONNECTION)
    if not owner.gpus:
        raise PlanError(f"{owner.name} has no GPU", REFUSED)
    offered = _listed([f"{g.address} ({g.model or 'GPU'})" for g in owner.gpus])
    if not asked:
        if len(owner.gpus) == 1:
            return owner.gpus[0]
        raise PlanError(f"{owner.name} has {len(owner.gpus)} GPUs: {offered}; name one")
    own = [g.address for g in owner.gpus]
    address = asked if asked in own else pci_address(asked)  # a parent outside PCI (mtty) has libvirt's name
    if address is None:
        raise PlanError(f"{asked!r} is no PCI address; the GPUs of {owner.name}: {offered}")
    for gpu in owner.gpus:
        if gpu.address == address or any(f.address == address for f in gpu.functions):
            return gpu
    for gpu in owner.gpus:
        beside = gpu.address.rpartition(":")[0] == address.rpartition(":")[0]
        if beside and gpu.sriov and gpu.vfs_enabled is not None and gpu.vfs_enabled < (gpu.vfs_total or 0):
            count = f"{gpu.vfs_enabled} of {gpu.vfs_total} virtual functions"
            raise PlanError(f"{owner.name} has no function {address}: GPU {gpu.address} has {count} enabled", REFUSED)
    raise PlanError(f"{owner.name} has no GPU at {address}; it has {offered}")


def find_type(rooms: Sequence[TypeRoom], text: str) -> TypeRoom:
    """A type of a GPU by its id (``nvidia-472``, ``1155``), its name, or its name without GRID or NVIDIA."""
    asked = plain(text.strip(), 120)
    if not asked:
        raise PlanError("no vGPU type was named")
    if not rooms:
        raise PlanError("this GPU offers no vGPU type now", REFUSED)
    wanted = asked.casefold()
    for candidates in (
        [r for r in rooms if r.type_id == asked],
        [r for r in rooms if r.type_name.casefold() == wanted],
        [r for r in rooms if r.label.casefold() == short_type_name(asked).casefold()],
        [r for r in rooms if wanted.isdigit() and r.type_id.rpartition("-")[2] == asked],
        [r for r in rooms if r.label.casefold().partition("-")[2] == wanted],
    ):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            words = _listed([f"{r.type_id} ({r.type_name or r.type_id})" for r in candidates])
            raise PlanError(f"{asked!r} is the name of {len(candidates)} types: {words}; give the id")
    where = f"{rooms[0].host} {rooms[0].gpu}"
    names = [r.label for r in rooms]
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.6)
    if near:
        raise PlanError(f"{where} has no vGPU type {asked!r}; is it {_listed(near)}?")
    raise PlanError(f"{where} has no vGPU type {asked!r}; it has {_listed(names, 16)}")


def find_mdev(snapshot: Snapshot, host: str | None, text: str) -> MediatedDevice:
    """A mediated device by its uuid, the beginning of it (4 digits or more), or libvirt's name of it."""
    asked = plain(text.strip(), 120)
    owner = find_host(snapshot, host) if host else None
    wanted = _uuid_part(asked)
    if wanted is None:
        address = pci_address(asked)
        typed = [m for m in snapshot.mdevs if m.uuid is None and m.parent == address and address]
        if any(owner is None or m.host == owner.name for m in typed):
            raise PlanError(f"{typed[0].host} {address} has a vGPU type, no mediated device: clear the type", REFUSED)
        raise PlanError(f"{asked!r} is no uuid of a mediated device, nor the beginning of one (4 digits or more)")
    places = [owner] if owner is not None else list(snapshot.hosts)
    devices = [m for m in snapshot.mdevs if m.uuid and (owner is None or m.host == owner.name)]
    found = [m for m in devices if m.uuid == wanted] or [m for m in devices if (m.uuid or "").startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        words = _listed([f"{m.host} {m.uuid}" for m in found])
        raise PlanError(f"{asked!r} is the beginning of {len(found)} mediated devices: {words}")
    unread = [h for h in places if "libvirt" not in h.known_from]
    if owner is not None and unread:
        raise PlanError(f"the devices of {owner.name} are not known: {_unread(owner, 'libvirt')}", NO_CONNECTION)
    where = f" on {owner.name}" if owner is not None else ""
    if unread:
        names = _listed([h.name for h in unread])
        raise PlanError(f"no mediated device {asked!r} was read{where}; not read: libvirt of {names}", NO_CONNECTION)
    near = difflib.get_close_matches(wanted, [m.uuid for m in devices if m.uuid], n=3, cutoff=0.8)
    raise PlanError(f"there is no mediated device {asked!r}{where}" + (f"; is it {_listed(near)}?" if near else ""))


def short_uuid(snapshot: Snapshot, host: str, uuid: str) -> str:
    """The first 8 digits, as tables show them; all where another device of the host begins the same."""
    same = [m for m in snapshot.mdevs if m.host == host and m.uuid and m.uuid != uuid and m.uuid[:8] == uuid[:8]]
    return uuid if same else uuid[:8]


def _uuid_part(text: str) -> str | None:
    lower = text.lower()
    if lower.startswith("mdev_"):
        lower = "-".join(lower.removeprefix("mdev_").split("_")[:5])
    return lower if _UUID_PART.fullmatch(lower) else None


def _unread(host: Host, kind: str = "") -> str:
    errors = [e for e in host.errors if e.startswith(f"{kind}:")] if kind else list(host.errors)
    return "; ".join(errors) or f"{kind or 'libvirt and ssh'} of this host did not answer yet"


def _listed(names: Sequence[str], most: int = _SHOWN) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
