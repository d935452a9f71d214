"""What differs between a layout and what is there, GPU by GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from vgpu_console.actions.devices import find_type
from vgpu_console.actions.layout_file import GpuLayout, Layout, LayoutError
from vgpu_console.actions.plan import PlanError
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.mdev_room import TypeRoom, type_rooms

Verdict = Literal[
    "missing",  # fewer than wanted
    "surplus",  # more than wanted
    "other type",  # the GPU carries a type that no entry gives it
    "not running",  # as many as wanted, but some are only defined
    "not persistent",  # as many as wanted, but they would be gone after a reboot
    "unknown type",  # the GPU has no such type
    "unknown host",  # no host matches
    "unknown GPU",  # no GPU of the hosts that match does
    "unreadable",  # what is there is not known
]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as the layout has it. ``host`` and ``gpu`` are globs where nothing matches them."""

    host: str
    gpu: str
    type: str
    wanted: int | None
    present: int | None  # None: not known
    verdict: Verdict
    why: str
    entry: int = 0  # of the file, counted from 1; 0: none asks for it
    type_id: str = ""
    persistent: bool = True
    devices: tuple[MediatedDevice, ...] = ()  # those that the verdict is about, free ones first


class Wanted(msgspec.Struct, frozen=True):
    """What one entry wants on one GPU."""

    entry: int
    layout: GpuLayout
    host: Host
    gpu: PhysicalGpu
    room: TypeRoom | None  # None: the GPU's types are not known
    problem: str  # why there is none


def differences(layout: Layout, snapshot: Snapshot) -> tuple[Difference, ...]:
    """Everything that differs, by host and GPU; () when all is as the layout has it.

    Raises LayoutError where two entries give one GPU the same type.
    """
    found, wanted = _matched(layout, snapshot)
    by_gpu: dict[tuple[str, str], list[Wanted]] = defaultdict(list)
    for want in wanted:
        by_gpu[want.host.name, want.gpu.address].append(want)
    for wants in by_gpu.values():
        found += _of_gpu(snapshot, wants)
    return tuple(sorted(found, key=lambda d: (d.host, d.gpu, d.entry == 0, d.entry, d.type)))


def _matched(layout: Layout, snapshot: Snapshot) -> tuple[list[Difference], list[Wanted]]:
    found: list[Difference] = []
    wanted: list[Wanted] = []
    for number, entry in enumerate(layout.gpu, start=1):
        hosts = [h for h in snapshot.hosts if fnmatchcase(h.name, entry.host)]
        if not hosts:
            found.append(_unmatched(entry, number, "unknown host", f"no host matches {entry.host}"))
        read = [h for h in hosts if h.gpus is not None]
        for host in hosts:
            if host.gpus is None:
                why = "; ".join(host.errors) or "its GPUs were not read"
                found.append(_unmatched(entry, number, "unreadable", why, host.name))
        gpus = [(h, g) for h in read for g in h.gpus or () if matches_gpu(entry.gpu, g)]
        if read and not gpus:
            names = ", ".join(h.name for h in read[:3]) + (" …" if len(read) > 3 else "")
            found.append(_unmatched(entry, number, "unknown GPU", f"no GPU of {names} matches {entry.gpu}"))
        for host, gpu in gpus:
            room, problem = _room(snapshot, host, gpu, entry.type)
            wanted.append(Wanted(number, entry, host, gpu, room, problem))
    return found, wanted


def matches_gpu(glob: str, gpu: PhysicalGpu) -> bool:
    """Whether a glob means a GPU: by its PCI address, with or without the domain."""
    wanted = glob.lower()
    return fnmatchcase(gpu.address, wanted) or fnmatchcase(gpu.address.partition(":")[2], wanted)


def _unmatched(entry: GpuLayout, number: int, verdict: Verdict, why: str, host: str = "") -> Difference:
    return Difference(
        host=host or entry.host,
        gpu=entry.gpu,
        type=entry.type,
        wanted=entry.count,
        present=None,
        verdict=verdict,
        why=why,
        entry=number,
        persistent=entry.persistent,
    )


def _room(snapshot: Snapshot, host: Host, gpu: PhysicalGpu, text: str) -> tuple[TypeRoom | None, str]:
    try:
        return find_type(type_rooms(snapshot, host.name, gpu.address), text), ""
    except PlanError as error:
        return None, str(error)


def _of_gpu(snapshot: Snapshot, wants: list[Wanted]) -> Iterable[Difference]:
    host, gpu = wants[0].host, wants[0].gpu
    _no_doubles(wants)
    mine: dict[str, list[MediatedDevice]] = defaultdict(list)
    for device in snapshot.mdevs:
        if device.host == host.name and device.gpu == gpu.address:
            mine[device.type_id].append(device)
    if gpu.vgpus_created is None:
        why = "; ".join(host.errors) or "its vGPUs were not read"
        return [_difference(w, None, "unreadable", why) for w in wants]
    out = []
    for want in wants:
        if want.room is None:
            verdict: Verdict = "unreadable" if gpu.sriov and gpu.vfs_enabled == 0 else "unknown type"
            if want.layout.count:
                out.append(_difference(want, 0, "missing" if verdict == "unreadable" else verdict, want.problem))
            continue
        out += _compared(want, want.room, mine.get(want.room.type_id, []))
    named = {w.room.type_id for w in wants if w.room is not None}
    for type_id, devices in sorted(mine.items()):
        if type_id not in named:
            out.append(_other(host, gpu, type_id, devices))
    return out


def _no_doubles(wants: list[Wanted]) -> None:
    seen: dict[str, Wanted] = {}
    for want in wants:
        key = want.room.type_id if want.room is not None else short_type_name(want.layout.type).lower()
        other = seen.setdefault(key, want)
        if other is not want:
            raise LayoutError(
                f"[[gpu]] {other.entry} and {want.entry} both give {want.host.name} {want.gpu.address} "
                f"{want.layout.type}"
            )


def _compared(want: Wanted, room: TypeRoom, devices: list[MediatedDevice]) -> list[Difference]:
    number, count = len(devices), want.layout.count
    free_first = sorted(devices, key=lambda d: (d.used is not False, d.state == "active", d.parent or "", d.uuid or ""))
    if number < count:
        lacking = count - number
        enough = room.creatable is not None and room.creatable >= lacking
        return [_difference(want, number, "missing", f"{lacking} can be made now" if enough else room.why_not)]
    if number > count:
        over = tuple(free_first[: number - count])
        held = sum(1 for d in over if d.used is not False)
        why = (
            f"{held} of the {len(over)} too many {'is' if held == 1 else 'are'} in use"
            if held
            else "all of them are free"
        )
        return [_difference(want, number, "surplus", why, over)]
    idle = tuple(d for d in free_first if d.state == "defined")
    if idle:
        why = f"{len(idle)} of {number} {'is' if len(idle) == 1 else 'are'} defined and not running"
        return [_difference(want, number, "not running", why, idle)]
    if want.layout.persistent:
        transient = tuple(d for d in free_first if d.uuid is not None and d.persistent is False)
        if transient:
            why = f"{len(transient)} of {number} would be gone after a reboot"
            return [_difference(want, number, "not persistent", why, transient)]
    return []


def _difference(
    want: Wanted, present: int | None, verdict: Verdict, why: str, devices: tuple[MediatedDevice, ...] = ()
) -> Difference:
    return Difference(
        host=want.host.name,
        gpu=want.gpu.address,
        type=want.room.label if want.room is not None else want.layout.type,
        wanted=want.layout.count,
        present=present,
        verdict=verdict,
        why=why,
        entry=want.entry,
        type_id=want.room.type_id if want.room is not None else "",
        persistent=want.layout.persistent,
        devices=devices,
    )


def _other(host: Host, gpu: PhysicalGpu, type_id: str, devices: list[MediatedDevice]) -> Difference:
    held = sum(1 for d in devices if d.used is not False)
    return Difference(
        host=host.name,
        gpu=gpu.address,
        type=short_type_name(devices[0].type_name) or type_id,
        wanted=0,
        present=len(devices),
        verdict="other type",
        why=f"{held} in use" if held else "all of them are free",
        type_id=type_id,
        devices=tuple(sorted(devices, key=lambda d: (d.used is not False, d.parent or "", d.uuid or ""))),
    )
