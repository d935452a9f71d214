"""What a change of mediated devices means, as lines for an operator: the GPU's size and room, and Nova's capacity."""

from __future__ import annotations

from collections.abc import Iterable

from vgpu_console.actions.mdev_checks import Scene
from vgpu_console.actions.quota_checks import listed
from vgpu_console.model.snapshot import MediatedDevice, PhysicalGpu
from vgpu_console.rules.mdev_room import TypeRoom, counted, listed_types
from vgpu_console.rules.nova_offers import Offers, nova_type

NEXT_UPDATE = "at its next update (about a minute)"
"""nova-compute writes its inventories periodically ([DEFAULT] update_resources_interval, 60 s unless set)."""


def framebuffer(mib: int | None) -> str:
    """``20 GiB`` of 20480; "" where it is not known."""
    if mib is None:
        return ""
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def made(room: TypeRoom, function: str, *, autostart: bool, persistent: bool) -> str:
    """What the function carries afterwards, and what becomes of it at a boot."""
    size = framebuffer(room.framebuffer_mib)
    what = f"{function} will carry one {room.label}" + (f" ({size})" if size else "")
    if not persistent:
        return f"{what}, running until it is stopped or the host boots (transient)"
    return f"{what}, running now" + (" and started with its function from now on" if autostart else "")


def left_after(room: TypeRoom, count: int) -> str:
    """How many more of the type the GPU takes once ``count`` are made."""
    these = "this one" if count == 1 else "these"
    lead = f"GPU {room.gpu} will run {room.label}"
    if room.creatable is None:
        return f"{lead}: how many more can be made after {these} is not known ({room.why_not})"
    left = room.creatable - count
    if left == 0:
        full = room.max is not None and room.created is not None and room.created + count >= room.max
        return f"{lead}: after {these} it is full" + (f", {room.max} is its real maximum" if full else "")
    return f"{lead}: {left} more can be made after {these}"


def after_boot(gpu: PhysicalGpu) -> tuple[str, ...]:
    """What a defined device on a virtual function needs at a boot."""
    if not gpu.functions:
        return ()
    return (
        "after a boot it comes back only once sriov-manage has run; nova-compute (2024.2 and later) does not start "
        "while a defined device has no function",
    )


def remains(gpu: PhysicalGpu | None, others: Iterable[MediatedDevice]) -> str:
    """What the GPU runs when a device is gone from it."""
    rest = list(others)
    if gpu is None:
        return "its function is not there: only the definition goes"
    running = [d for d in rest if d.state != "defined"]
    if running:
        return f"GPU {gpu.address} still runs {listed_types(running)}: {counted(len(running), 'device')} left on it"
    idle = f" ({counted(len(rest), 'defined device')} left on it)" if rest else ""
    return f"GPU {gpu.address} runs nothing then and takes any size{idle}"


def nova_lines(at: Scene, gpu: PhysicalGpu | None, before: Offers | None, after: Offers | None) -> tuple[str, ...]:
    """Which providers Nova drops and adds, and what Placement then offers against what the GPU really holds."""
    if gpu is None or gpu.mechanism != "mdev":
        return ()
    if before is None or after is None:
        return (f"what Nova then offers is not known: nova.conf of {at.host.name} could not be read",)
    own = {f.address for f in gpu.functions} or {gpu.address}
    cut = [cap for type_id, cap in after.cut if type_id in {nova_type(at.host, f) for f in own}]
    if cut:
        return (
            f"Nova offers {cut[0]} on the whole host then (max_instances); on which functions goes by libvirt's own "
            "order, which changes when libvirtd restarts",
        )
    if own & (after.unknown | before.unknown):
        return ("what Nova then offers on this GPU is not known: it depends on what the driver still offers",)
    out = [
        *_dropped(at, sorted(before.providers - after.providers)),
        *_added(sorted(after.providers - before.providers)),
    ]
    offered = sum(total for f, total in after.totals.items() if f in own)
    offered_before = sum(total for f, total in before.totals.items() if f in own)
    if offered or offered_before:
        out.append(_truth(gpu, offered))
    twice = sorted(f for f in own if gpu.functions and after.totals.get(f, 0) > 1 >= before.totals.get(f, 0))
    if twice:
        out.append(f"Nova counts {listed(twice)} twice, as a defined device and as a free function: boots there fail")
    return tuple(out)


def _dropped(at: Scene, functions: list[str]) -> list[str]:
    if not functions:
        return []
    providers = [p for p in at.snapshot.providers if p.host == at.host.name and p.device in functions]
    out = [f"Nova drops {counted(len(functions), 'provider')} {NEXT_UPDATE}: {listed(functions, 4)}"]
    allocated = [p for p in providers if p.allocations]
    if allocated:
        verb = "is" if len(allocated) == 1 else "are"
        out.append(f"{len(allocated)} of them {verb} allocated and cannot go: Nova logs an error at each update")
    if any(t.startswith("CUSTOM_") for p in providers for t in p.traits or ()):
        out.append("traits that were put on them by hand are lost: when they come back they need them again")
    return out


def _added(functions: list[str]) -> list[str]:
    if not functions:
        return []
    return [
        f"Nova adds {counted(len(functions), 'provider')} {NEXT_UPDATE}, without traits set by hand: "
        f"{listed(functions, 4)}"
    ]


def _truth(gpu: PhysicalGpu, offered: int) -> str:
    """What Placement says against the real maximum of the type that Nova makes there."""
    types = {t.type_id: t for t in gpu.types}
    enabled = [t for t in types.values() if t.enabled and t.max is not None]
    lead = f"Placement then offers {offered} on this GPU"
    if len(enabled) != 1:
        return lead
    real = enabled[0].max or 0
    if offered > real:
        return f"{lead}, {real} are real: boots beyond that fail"
    return f"{lead}, as many as it holds" if offered == real else f"{lead}; it could hold {real}"
