"""What a fleet can hold: its vGPUs by type, against the real maximum of the GPUs that carry them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.resource_classes import is_device_class

NO_TYPE = "no type yet"
MIXED = "several types on one GPU"


class TypeLine(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs that carry one type, over the hosts whose devices could be read. A sum that lacks a part is None.

    ``offered`` is what Placement hands out of these GPUs, ``over_committed`` what of that they cannot carry;
    ``unknown`` says of what and why a figure is not known.
    """

    type: str
    type_id: str | None
    framebuffer_mib: int | None
    gpus: int
    max: int | None
    created: int | None
    used: int | None
    free: int | None
    offered: int | None
    over_committed: int | None
    unknown: tuple[str, ...] = ()


class Uncounted(msgspec.Struct, frozen=True):
    """A host that is in none of the sums, and why."""

    host: str
    reason: str


def short_type(name: str) -> str:
    """A vGPU type's name without its brand, which changes with the driver."""
    return name.removeprefix("NVIDIA ").removeprefix("GRID ")


def uncounted(hosts: Iterable[Host]) -> tuple[Uncounted, ...]:
    """The hosts whose devices are not known, or only as they were when the host last answered."""
    found = []
    for host in hosts:
        if host.gpus is None or (host.stale and host.gpus != ()):
            reason = "; ".join(host.errors) or "neither libvirt nor SSH was asked"
            found.append(Uncounted(host.name, f"last figures only: {reason}" if host.gpus else reason))
    return tuple(found)


def by_type(snapshot: Snapshot) -> tuple[TypeLine, ...]:
    """A line for each type that GPUs carry, by name; GPUs without one type come last."""
    left_out = {one.host for one in uncounted(snapshot.hosts)}
    groups: dict[str, list[PhysicalGpu]] = defaultdict(list)
    for host in snapshot.hosts:
        if host.name not in left_out:
            for gpu in host.gpus or ():
                if gpu.mechanism != "none":
                    groups[_type_of(gpu)].append(gpu)
    offers = _offers(snapshot)
    names = sorted(groups, key=lambda name: (name in (NO_TYPE, MIXED), name))
    return tuple(_line(name, groups[name], offers) for name in names)


def _type_of(gpu: PhysicalGpu) -> str:
    if gpu.mixed_types:
        return MIXED
    return short_type(gpu.active_type_name or gpu.active_type or NO_TYPE)


def _offers(snapshot: Snapshot) -> dict[tuple[str, str], int | None]:
    """What Placement hands out of each GPU; None where that could not be read. No provider: nothing."""
    answered = any(s.kind == "placement" and s.fetched_at is not None for s in snapshot.sources)
    nothing = 0 if answered else None
    found: dict[tuple[str, str], int | None] = {
        (gpu.host, gpu.address): nothing for host in snapshot.hosts for gpu in host.gpus or ()
    }
    for provider in snapshot.providers:
        if provider.gpu is None:
            continue
        place = (provider.host, provider.gpu)
        before = found.get(place, 0)
        if provider.inventories is None or before is None:
            found[place] = None
        else:
            found[place] = before + sum(i.total for i in provider.inventories if is_device_class(i.resource_class))
    return found


def _line(name: str, gpus: Sequence[PhysicalGpu], offers: dict[tuple[str, str], int | None]) -> TypeLine:
    offered = {_place(gpu): offers.get((gpu.host, gpu.address)) for gpu in gpus}
    over = [
        None if gpu.vgpus_max is None or (given := offered[_place(gpu)]) is None else max(0, given - gpu.vgpus_max)
        for gpu in gpus
    ]
    reasons = []
    for figure, values, why in (
        ("real maximum", [g.vgpus_max for g in gpus], _why_no_maximum(name)),
        ("created", [g.vgpus_created for g in gpus], "the host's devices could not be read"),
        ("used", [g.vgpus_used for g in gpus], "the host's guests could not be read"),
        ("offered", list(offered.values()), "Placement has not told"),
    ):
        if missing := [_place(gpu) for gpu, value in zip(gpus, values, strict=True) if value is None]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            reasons.append(f"{figure} of {missing[0]}{more}: {why}")
    carried = [t for gpu in gpus for t in gpu.types if t.type_id == gpu.active_type]
    return TypeLine(
        type=name,
        type_id=gpus[0].active_type if name not in (NO_TYPE, MIXED) else None,
        framebuffer_mib=carried[0].framebuffer_mib if carried and name not in (NO_TYPE, MIXED) else None,
        gpus=len(gpus),
        max=_sum([gpu.vgpus_max for gpu in gpus]),
        created=_sum([gpu.vgpus_created for gpu in gpus]),
        used=_sum([gpu.vgpus_used for gpu in gpus]),
        free=_sum([gpu.vgpus_free for gpu in gpus]),
        offered=_sum(list(offered.values())),
        over_committed=_sum(over),
        unknown=tuple(reasons),
    )


def _why_no_maximum(name: str) -> str:
    if name == NO_TYPE:
        return "it depends on the type that comes first"
    if name == MIXED:
        return "it depends on which types come next"
    return "neither the host nor the catalogue tells it"


def _place(gpu: PhysicalGpu) -> str:
    return f"{gpu.host} {gpu.address}"


def _sum(values: Sequence[int | None]) -> int | None:
    """None as soon as one part is not known."""
    return None if None in values else sum(value for value in values if value is not None)
