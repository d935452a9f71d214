"""A host's devices as an indented table: GPU, its virtual functions, the vGPU on each, and who has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot, VirtualFunction
from vgpu_console.screens.render import marks, words
from vgpu_console.screens.render.hosts import NO_TYPE, gpu_type
from vgpu_console.screens.seams import DeviceTarget
from vgpu_console.screens.widgets.cells import Cell, Span, bar, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("device", "DEVICE", 27, flex=20, maximum=44),
    Column("type", "TYPE", 12, flex=1, priority=2, maximum=20),
    Column("state", "STATE", 10),
    Column("used", "USED BY", 16, flex=2),
    Column("project", "PROJECT", 13, flex=1, priority=1),
    Column("kept", "AT BOOT", 7, priority=4),
    replace(marks.COLUMN, priority=3),
)

_EMPTY = text("")
_FEW = 3
"""Up to this many idle functions are shown one by one; more are folded into one row."""


class DeviceTree(NamedTuple):
    """The rows, and for each row that a server holds, Nova's server id."""

    rows: list[TableRow]
    servers: dict[str, str]


def device_tree(snapshot: Snapshot, host: Host, opened: Collection[str] = ()) -> DeviceTree:
    """The rows of one host. ``opened`` holds the addresses of GPUs whose idle functions are unfolded."""
    by_parent: dict[str | None, list[MediatedDevice]] = defaultdict(list)
    for device in snapshot.mdevs:
        if device.host == host.name:
            by_parent[device.parent].append(device)
    rows: list[TableRow] = []
    servers: dict[str, str] = {}

    def add(device: MediatedDevice, depth: int, label: str = "") -> None:
        row = _device_row(device, depth, label)
        rows.append(row)
        if device.server_id:
            servers[row.id] = device.server_id

    for gpu in host.gpus or ():
        rows.append(_gpu_row(gpu))
        for device in by_parent.pop(gpu.address, []):
            add(device, 1)
        idle: list[VirtualFunction] = []
        for function in gpu.functions:
            devices = by_parent.pop(function.address, [])
            if not devices and not function.mdevs and not function.current_vgpu_type:
                idle.append(function)
                continue
            if len(devices) == 1 and devices[0].uuid is None:
                add(devices[0], 1, function.address)  # vendor VFIO: the function is the device
                continue
            rows.append(_function_row(function, _type_names(gpu)))
            for device in devices:
                add(device, 2)
        if len(idle) <= _FEW or gpu.address in opened:
            rows.extend(_function_row(function, _type_names(gpu)) for function in idle)
        elif idle:
            rows.append(_idle_row(gpu, idle))
    orphans = [device for devices in by_parent.values() for device in devices]
    if orphans:
        rows.append(TableRow("lost", (text("no GPU found for", "warn"), *[_EMPTY] * 5)))
        for device in orphans:
            add(device, 1)
    found = marks.Marks(host.findings)
    return DeviceTree([_marked(row, host.name, found) for row in rows], servers)


def _marked(row: TableRow, host: str, found: marks.Marks) -> TableRow:
    """The row with the mark of the findings that name its device in the last column."""
    kind, _, name = row.id.partition(":")
    mark = None
    if kind in ("gpu", "mdev", "vf", "vgpu"):
        word = {"vf": "function", "vgpu": "mdev"}.get(kind, kind)
        mark = found.of(word, host, name)
    return TableRow(row.id, (*row.cells, marks.cell(mark)), row.search)


def gpu_of_row(row_id: str) -> str | None:
    """The GPU whose idle functions a row folds or unfolds; None for other rows."""
    kind, _, address = row_id.partition(":")
    return address if kind in ("gpu", "idle") else None


def target_of(snapshot: Snapshot, host: Host, row_id: str) -> DeviceTarget | None:
    """What a row of ``device_tree`` stands for; None for the headline of devices without a GPU."""
    kind, _, name = row_id.partition(":")
    if kind in ("gpu", "idle"):
        return DeviceTarget(host.name, "gpu", name)
    if kind == "vf":
        gpu = next((g.address for g in host.gpus or () if any(f.address == name for f in g.functions)), None)
        return DeviceTarget(host.name, "function", gpu, name)
    field = {"mdev": "uuid", "vgpu": "parent"}.get(kind)
    if field is None:
        return None
    one = next((m for m in snapshot.mdevs if m.host == host.name and getattr(m, field) == name), None)
    if one is None:
        return DeviceTarget(host.name, "vgpu", uuid=name) if kind == "mdev" else None
    return DeviceTarget(host.name, "vgpu", one.gpu, one.parent, one.uuid)


def _gpu_row(gpu: PhysicalGpu) -> TableRow:
    kind = gpu_type(gpu)
    name = gpu.model or "unnamed GPU"
    label: tuple[Span, ...] = ((gpu.address, "accent"), (f" {name}", "title"))
    if gpu.mechanism == "vendor-vfio":
        label += ((" vendor VFIO", "muted"),)
    if gpu.sriov:
        short = gpu.vfs_enabled == 0 and bool(gpu.vfs_total)
        shown = f"VFs {words.number(gpu.vfs_enabled)}/{words.number(gpu.vfs_total)}"
        state = text(shown, "warn" if short else "muted")
    else:
        state = text(*{"mdev": ("mdev", "muted"), "none": ("no vGPU", "muted")}.get(gpu.mechanism, ("?", "unknown")))
    origin = {"host": "host max", "catalogue": "catalogue max", "unknown": "? max"}[gpu.max_source]
    use = text("–", "muted") if gpu.mechanism == "none" else bar(gpu.vgpus_used, gpu.vgpus_max, 8)
    return TableRow(
        f"gpu:{gpu.address}",
        (
            Cell(label, gpu.address),
            text(kind, "muted" if kind in ("–", NO_TYPE) else "unknown" if kind == words.UNKNOWN else ""),
            state,
            use,
            text(origin, "muted"),
            _EMPTY,
        ),
        f"{gpu.address} {name} {kind} {gpu.mechanism}",
    )


def _function_row(function: VirtualFunction, names: Mapping[str, str]) -> TableRow:
    """``names`` are those of the GPU's types by their ids."""
    creatable = ", ".join(dict.fromkeys(names.get(name, name) for name in function.creatable))
    idle = not function.mdevs and not function.current_vgpu_type
    note = f"can take {creatable}" if creatable else ""
    return TableRow(
        f"vf:{function.address}",
        (
            text(f"  {function.address}", "muted" if idle else ""),
            _EMPTY,
            text("· idle" if idle else "VF", "muted"),
            text(note if idle else "", "muted"),
            _EMPTY,
            _EMPTY,
        ),
        f"{function.address} {'idle' if idle else ''}",
    )


def _type_names(gpu: PhysicalGpu) -> dict[str, str]:
    return {t.type_id: words.short_type(t.type_name) for t in gpu.types}


def _idle_row(gpu: PhysicalGpu, idle: list[VirtualFunction]) -> TableRow:
    creatable = list(dict.fromkeys(name for function in idle for name in function.creatable))
    names = _type_names(gpu)
    able = ", ".join(dict.fromkeys(names.get(name, name) for name in creatable))
    last = idle[-1].address.rpartition(":")[2]
    return TableRow(
        f"idle:{gpu.address}",
        (
            text(f"  {words.plural(len(idle), 'idle VF')}  {idle[0].address.rpartition(':')[2]} … {last}", "muted"),
            _EMPTY,
            text("· idle", "muted"),
            text(f"can take {able}" if able else "enter unfolds", "muted"),
            _EMPTY,
            _EMPTY,
        ),
        f"{gpu.address} idle",
    )


def _device_row(device: MediatedDevice, depth: int, label: str = "") -> TableRow:
    name = label or device.uuid or device.parent or words.UNKNOWN
    row_id = f"mdev:{device.uuid}" if device.uuid else f"vgpu:{device.parent}"
    state: Span = {
        "active": ("✓ active", "ok"),
        "defined": ("· defined", "muted"),
        "unknown": ("? unknown", "unknown"),
    }[device.state]
    if device.server or device.server_id:
        holder = text(device.server or device.server_id)
    elif device.domain:
        holder = text(f"{device.domain} (domain)", "warn")
    elif device.used is None:
        holder = text("? not readable", "unknown")
    elif device.used:
        holder = text("a guest not in Nova", "warn")
    else:
        holder = text("free", "muted")
    kind = words.short_type(device.type_name or device.type_id)
    return TableRow(
        row_id,
        (
            text("  " * depth + name),
            text(kind),
            Cell((state,)),
            holder,
            text(device.project or device.project_id or ""),
            _kept(device),
        ),
        f"{name} {kind} {state[0]} {holder.text} {device.project or ''}",
    )


def _kept(device: MediatedDevice) -> Cell:
    """What becomes of a device at a boot, as far as libvirt tells: it starts by itself, is defined only, or is gone."""
    if device.mechanism == "vendor-vfio" or device.persistent is False:
        return text("gone", "muted")
    if device.persistent is None:
        return text("?", "muted")
    return text({True: "starts", False: "defined", None: "?"}[device.autostart], "muted")
