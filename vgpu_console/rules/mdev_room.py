"""How many vGPUs of each type a GPU can still take, on which functions, and why not more.

The driver's own offer on each function goes first: it knows of mixed sizes, MIG instances and faults. It says nothing
of the GPU as a whole, so it is bounded by the type's real maximum; on an SR-IOV GPU a virtual function carries one
vGPU, running or defined, and as a rule all vGPUs of a GPU have one framebuffer size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from vgpu_console.model.snapshot import (
    Host,
    MaxSource,
    MediatedDevice,
    PhysicalGpu,
    Snapshot,
    TypeCapacity,
    VirtualFunction,
)
from vgpu_console.rules.catalogue import load_catalogue, short_type_name
from vgpu_console.rules.nova_conf import types_for_device

VFS_OFF = "virtual functions are off: enable them first"

_MIG = re.compile(r"-[0-9]+-[0-9]+[A-Z]")


class TypeRoom(msgspec.Struct, frozen=True, kw_only=True):
    """One type on one GPU. ``creatable`` None: not known; then ``functions`` are all on which the driver offers it.

    ``functions`` are those that would carry the next ones, in order (a GPU without SR-IOV itself, once).
    """

    host: str
    gpu: str
    type_id: str
    type_name: str
    framebuffer_mib: int | None
    max: int | None
    max_source: MaxSource
    max_evidence: str
    created: int | None
    used: int | None
    creatable: int | None
    functions: tuple[str, ...]
    why_not: str  # why not more, or why none
    enabled: bool | None = None  # named in nova.conf for this GPU; None: not readable, or not a mediated device

    @property
    def label(self) -> str:
        """``A100-20C``: the name without the vendor's prefix, else the id."""
        return short_type_name(self.type_name) or self.type_id


class GpuView(msgspec.Struct, frozen=True):
    """A GPU with its host and the devices on it, as far as they are known."""

    host: Host
    gpu: PhysicalGpu
    devices: tuple[MediatedDevice, ...]
    claimed: frozenset[str] = frozenset()  # functions that Placement has allocated

    @property
    def framebuffers(self) -> dict[str, int]:
        """Type id -> MiB, of the types whose size is known."""
        return {t.type_id: t.framebuffer_mib for t in self.gpu.types if t.framebuffer_mib is not None}

    def same_size(self, one: str, other: str) -> bool:
        """Whether two types can share the GPU while it takes one size only; unknown sizes cannot."""
        sizes = self.framebuffers
        return one == other or (one in sizes and sizes.get(one) == sizes.get(other))

    def others(self, type_id: str, *, running: bool) -> tuple[MediatedDevice, ...]:
        """Devices of another size, those that run or those that are merely defined."""
        return tuple(
            d for d in self.devices if not self.same_size(d.type_id, type_id) and (d.state != "defined") is running
        )


def gpu_view(snapshot: Snapshot, host_name: str, gpu_address: str) -> GpuView | None:
    """The GPU with what is on it; None for a host or GPU that the snapshot does not have."""
    host = snapshot.host(host_name)
    gpu = next((g for g in (host.gpus or ()) if g.address == gpu_address), None) if host is not None else None
    if host is None or gpu is None:
        return None
    devices = tuple(m for m in snapshot.mdevs if m.host == host_name and m.gpu == gpu_address)
    claimed = frozenset(p.device for p in snapshot.providers if p.host == host_name and p.device and p.allocations)
    return GpuView(host, gpu, devices, claimed)


def type_rooms(snapshot: Snapshot, host_name: str, gpu_address: str) -> tuple[TypeRoom, ...]:
    """Every type that a GPU offers, carries or is configured for, small ones first; () for an unknown GPU."""
    view = gpu_view(snapshot, host_name, gpu_address)
    if view is None:
        return ()
    rooms = [_room(view, capacity) for capacity in view.gpu.types]
    return tuple(sorted(rooms, key=lambda r: (r.framebuffer_mib or 1 << 31, r.type_name, r.type_id)))


def not_read(host: Host, kind: str) -> str:
    """Why a host's devices are not known; "" when that source has answered."""
    if kind in host.known_from:
        return ""
    error = next((e for e in host.errors if e.startswith(f"{kind}:")), None)
    return f"not read: {error}" if error else f"not read: {kind} has not answered"


def is_mig(type_name: str) -> bool:
    """Whether a type lives on a MIG GPU instance instead of a time slice (``A100-3-20C``)."""
    return bool(_MIG.search(short_type_name(type_name)))


def free_functions(view: GpuView, type_id: str) -> tuple[str, ...]:
    """The virtual functions that carry nothing and on which the driver offers the type, in the order of use.

    First those on which Nova makes this type, last those that Placement has allocated to someone who comes.
    """
    conf = view.host.nova_conf
    occupied = {d.parent for d in view.devices}

    def rank(function: VirtualFunction) -> tuple[bool, bool, str]:
        types = types_for_device(conf, [function.address])
        return function.address in view.claimed, types is not None and type_id not in types[:1], function.address

    free = [f for f in view.gpu.functions if type_id in f.creatable and not f.mdevs and f.address not in occupied]
    return tuple(f.address for f in sorted(free, key=rank))


def _room(view: GpuView, capacity: TypeCapacity) -> TypeRoom:
    mixed = mixed_sizes(view, capacity.type_id)
    if mixed:
        capacity = _mixed_maximum(view, capacity)
    creatable, functions, why = _creatable(view, capacity, mixed=mixed)
    return TypeRoom(
        host=capacity.host,
        gpu=capacity.gpu,
        type_id=capacity.type_id,
        type_name=capacity.type_name,
        framebuffer_mib=capacity.framebuffer_mib,
        max=capacity.max,
        max_source=capacity.max_source,
        max_evidence=capacity.max_evidence,
        created=capacity.created,
        used=capacity.used,
        creatable=creatable,
        functions=functions[:creatable] if creatable is not None else functions,
        why_not=why,
        enabled=capacity.enabled,
    )


def mixed_sizes(view: GpuView, type_id: str) -> bool:
    """Whether the GPU shows that it takes several sizes: it carries them, or offers one beside another."""
    running = [d for d in view.devices if d.state != "defined"]
    if any(not view.same_size(a.type_id, b.type_id) for a, b in pairwise(running)):
        return True
    return bool(view.others(type_id, running=True)) and _offered(view, type_id) > 0


def _offered(view: GpuView, type_id: str) -> int:
    """On how many free functions the driver offers a type; without SR-IOV, how many it offers."""
    if view.gpu.functions or view.gpu.sriov:
        return len(free_functions(view, type_id))
    return next((t.available or 0 for t in view.gpu.types if t.type_id == type_id), 0)


def _mixed_maximum(view: GpuView, capacity: TypeCapacity) -> TypeCapacity:
    """With the maximum of mixed-size mode where the catalogue has one: it can be lower."""
    row = load_catalogue().lookup(capacity.type_name, view.gpu.product_id or None) if capacity.type_name else None
    if row is None or row.max_mixed is None:
        return capacity
    return msgspec.structs.replace(
        capacity, max=row.max_mixed, max_source="catalogue", max_evidence=f"{row.source}; mixed sizes"
    )


def _creatable(view: GpuView, capacity: TypeCapacity, *, mixed: bool) -> tuple[int | None, tuple[str, ...], str]:
    """How many more, where, and why not more."""
    gpu, type_id = view.gpu, capacity.type_id
    unread = not_read(view.host, "ssh" if gpu.mechanism == "vendor-vfio" else "libvirt")
    if unread:
        return None, (), unread
    if gpu.sriov and gpu.vfs_enabled == 0:
        return 0, (), VFS_OFF
    if gpu.mechanism in ("none", "unknown"):
        return 0, (), "its driver offers no vGPUs now"
    on_functions = bool(gpu.sriov or gpu.functions)
    functions = free_functions(view, type_id) if on_functions else (gpu.address,)
    offered = len(functions) if on_functions else capacity.available
    if offered == 0:
        return 0, (), _why_none(view, capacity)
    if is_mig(capacity.type_name):
        return None, functions, "MIG-backed: each takes a GPU instance, and how many are free is not known here"
    room = _left(view, capacity, mixed=mixed)
    if offered is None or room is None:
        known = f"; the driver offers it on {counted(len(functions), 'function')}" if on_functions else ""
        return None, functions, f"its real maximum is not known{known}"
    count = max(0, min(offered, room))
    if count == 0:
        return 0, (), _why_full(view, capacity, mixed=mixed)
    why = _why_full(view, capacity, mixed=mixed) if room <= offered else _why_few(gpu, offered)
    return count, functions, why


def _left(view: GpuView, capacity: TypeCapacity, *, mixed: bool) -> int | None:
    """What the GPU as a whole still takes: up to the maximum, and in mixed sizes up to its framebuffer."""
    if capacity.max is None:
        return None
    if view.gpu.mechanism == "vendor-vfio":
        return None if capacity.created is None else capacity.max - capacity.created
    alike = [d for d in view.devices if view.same_size(d.type_id, capacity.type_id)]
    left = capacity.max - len(alike)
    if not mixed:
        return left
    sizes = view.framebuffers
    taken = [sizes.get(d.type_id) for d in view.devices]
    if capacity.framebuffer_mib is None or None in taken:
        return None
    whole = max(t.max * t.framebuffer_mib for t in view.gpu.types if t.max is not None and t.framebuffer_mib)
    return min(left, (whole - sum(t for t in taken if t is not None)) // capacity.framebuffer_mib)


def _why_none(view: GpuView, capacity: TypeCapacity) -> str:
    """The driver offers none: because of other sizes, the maximum, the functions, MIG; in this order."""
    others = view.others(capacity.type_id, running=True)
    if others:
        return _other_size(view, others)
    alike = [d for d in view.devices if view.same_size(d.type_id, capacity.type_id)]
    if capacity.max is not None and len(alike) >= capacity.max:
        return _why_full(view, capacity, mixed=False)
    gpu = view.gpu
    occupied = {d.parent for d in view.devices}
    if gpu.functions and all(f.address in occupied for f in gpu.functions):
        return _why_few(gpu, 0)
    if is_mig(capacity.type_name):
        return "MIG-backed: needs MIG mode and a free GPU instance (nvidia-smi mig -lgi)"
    return "the driver offers none now"


def _other_size(view: GpuView, others: Sequence[MediatedDevice]) -> str:
    names = listed_types(others)
    what = "vGPU" if view.gpu.mechanism == "vendor-vfio" else "mdev"
    used = sum(1 for d in others if d.used)
    held = f", {used} in use by {'a server' if used == 1 else 'servers'}" if used else ""
    return f"GPU runs {names}; free its {counted(len(others), what)} to change size{held}"


def _why_full(view: GpuView, capacity: TypeCapacity, *, mixed: bool) -> str:
    alike = [d for d in view.devices if view.same_size(d.type_id, capacity.type_id)]
    idle = sum(1 for d in alike if d.state == "defined")
    beside = f" ({idle} defined, not running)" if idle else ""
    bound = f"its maximum beside other sizes is {capacity.max}" if mixed else f"its maximum is {capacity.max}"
    if mixed and capacity.max is not None and len(alike) < capacity.max:
        return "sizes are mixed: the framebuffer that is left ends it"
    if capacity.max is not None and len(alike) >= capacity.max:
        return f"all {capacity.max} of its maximum are created{beside}"
    return f"{bound}, {len(alike)} created{beside}" if alike else bound


def _why_few(gpu: PhysicalGpu, free: int) -> str:
    enabled = gpu.vfs_enabled if gpu.vfs_enabled is not None else len(gpu.functions)
    of = f"{enabled} of {gpu.vfs_total}" if gpu.vfs_total and gpu.vfs_total > enabled else f"all {enabled}"
    where = f"no enabled virtual function is free ({of} are enabled)"
    return where if free == 0 else f"it is offered on {counted(free, 'free virtual function')} ({of} are enabled)"


def listed_types(devices: Iterable[MediatedDevice]) -> str:
    """The types of devices, each once: ``A100-20C, A100-10C``."""
    return ", ".join(dict.fromkeys(short_type_name(d.type_name) or d.type_id for d in devices))


def counted(number: int, noun: str) -> str:
    """``1 mdev``, ``2 mdevs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
