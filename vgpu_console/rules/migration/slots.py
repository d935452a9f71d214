"""What one destination can take of several servers at once: devices on its GPUs, CPU, memory and disk on its root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import PhysicalGpu
from vgpu_console.rules.migration.destinations import room_on
from vgpu_console.rules.migration.scene import Scene


class Need(msgspec.Struct, frozen=True):
    """What one server takes: a type id for each of its vGPUs, and amounts of Placement's classes on the root."""

    types: tuple[str, ...] = ()
    root: tuple[tuple[str, int], ...] = ()


class GpuSlots(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. ``free`` is what it could still hand out of each type, were nothing else put on it."""

    address: str
    free: Mapping[str, int]
    sizes: Mapping[str, int | None]  # MiB of framebuffer
    mixed: bool = False  # several sizes at once: mixed-size mode, or MIG instances

    def left_after(self, type_id: str) -> GpuSlots | None:
        """With one more of a type on it; None when it has no room.

        Types of its size share its places. Those of another size are gone then, or, where sizes mix, bounded by the
        framebuffer that is left.
        """
        if self.free.get(type_id, 0) < 1:
            return None
        own = self.sizes.get(type_id)
        whole = max((n * (self.sizes.get(t) or 0) for t, n in self.free.items()), default=0)
        left: dict[str, int] = {}
        for other, amount in self.free.items():
            size = self.sizes.get(other)
            if other == type_id or (own is not None and size == own):
                left[other] = max(0, amount - 1)
            elif self.mixed and own and size:
                left[other] = min(amount, (whole - own) // size)
            else:
                left[other] = 0
        return msgspec.structs.replace(self, free=left)

    def others(self, type_id: str) -> int:
        """How many sizes other than this type's it could still take: what putting the type here would end."""
        own = self.sizes.get(type_id)
        return len({self.sizes.get(t) or t for t, n in self.free.items() if n > 0 and t != type_id} - {own})


class HostSlots(msgspec.Struct, frozen=True, kw_only=True):
    """A destination before anything is put on it. ``root`` holds what is left of each class, as far as it is known."""

    gpus: tuple[GpuSlots, ...] = ()
    root: Mapping[str, int] = {}

    def fits(self, needs: Sequence[Need]) -> bool:
        """Whether all of them fit together."""
        asked: Counter[str] = Counter()
        for need in needs:
            asked.update(dict(need.root))
        if any(amount > self.root.get(name, amount) for name, amount in asked.items()):
            return False
        return packed(self.gpus, [t for need in needs for t in need.types]) is not None

    def free(self, type_id: str) -> int:
        """Devices of the type that it could hand out, were nothing else put on it."""
        return sum(gpu.free.get(type_id, 0) for gpu in self.gpus)


def packed(gpus: Sequence[GpuSlots], types: Iterable[str]) -> tuple[GpuSlots, ...] | None:
    """The GPUs with all these devices on them; None when they do not fit.

    Large types go first, and to the GPU that loses the fewest other sizes by it. Nova itself may pick another GPU,
    which is why each server is looked at again right before it moves.
    """
    left = list(gpus)

    def size(type_id: str) -> int:
        return max((gpu.sizes.get(type_id) or 0 for gpu in gpus), default=0)

    for type_id in sorted(types, key=lambda t: (-size(t), t)):
        able = [i for i, gpu in enumerate(left) if gpu.free.get(type_id, 0) > 0]
        if not able:
            return None
        at = min(able, key=lambda i: (left[i].others(type_id), left[i].free[type_id], left[i].address))
        after = left[at].left_after(type_id)
        if after is None:
            return None
        left[at] = after
    return tuple(left)


def gpu_slots(scene: Scene, types: Iterable[str]) -> tuple[GpuSlots, ...] | None:
    """What the destination's GPUs have of these types. None: what is free there is not known."""
    gpus = scene.destination.host.gpus
    if gpus is None:
        return None
    wanted = sorted(set(types))
    out: list[GpuSlots] = []
    for gpu in gpus:
        offered = {t.type_id: t for t in gpu.types if t.type_id in wanted and t.enabled is not False}
        counts = {one: room_on(scene, gpu, one).free for one in offered}
        if None in counts.values():
            return None
        out.append(
            GpuSlots(
                address=gpu.address,
                free={one: n for one, n in counts.items() if n is not None},
                sizes={one: row.framebuffer_mib for one, row in offered.items()},
                mixed=_mixed(gpu),
            )
        )
    return tuple(out)


def root_of(candidates: Candidates | None, root_uuid: str | None) -> tuple[dict[str, int], dict[str, int]]:
    """(what is left of each class of a root provider, what one such server takes there), by Placement's own answer."""
    if candidates is None or candidates.error or root_uuid is None:
        return {}, {}
    for one in candidates.candidates:
        takes = one.allocations.get(root_uuid)
        if takes:
            left = candidates.free.get(root_uuid, {})
            return {name: left[name] for name in takes if name in left}, dict(takes)
    return {}, {}


def _mixed(gpu: PhysicalGpu) -> bool:
    return gpu.mixed_sizes is True or gpu.mig is True
