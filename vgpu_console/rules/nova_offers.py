"""How many vGPUs Nova will offer on each function of a host, for devices that are there or would be there.

As Nova counts (nova: virt/libvirt/driver.py ``_get_gpu_inventories``): on each device that has a type by nova.conf, its
mediated devices of that type, running or defined, and what could still be created there. A device with none has no
provider. ``max_instances`` cuts over the whole host in the order in which libvirt lists devices, which is that of a
hash and another one after each start of libvirtd: where it cuts, no device's number is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot
from vgpu_console.rules.nova_conf import max_instances_of, types_for_device


class Placed(NamedTuple):
    """A mediated device as far as it counts here."""

    function: str
    gpu: str
    type_id: str
    active: bool


class Offers(NamedTuple):
    """Function -> number of vGPUs. ``unknown`` are functions of which it cannot be said; ``cut`` are types that
    ``max_instances`` cuts, with their cap."""

    totals: dict[str, int]
    unknown: frozenset[str] = frozenset()
    cut: tuple[tuple[str, int], ...] = ()

    @property
    def providers(self) -> frozenset[str]:
        """The functions that have a provider in Placement."""
        return frozenset(f for f, total in self.totals.items() if total > 0)


def placed(devices: Iterable[MediatedDevice]) -> tuple[Placed, ...]:
    """Those of the devices that are on a GPU that is there."""
    return tuple(Placed(d.parent, d.gpu, d.type_id, d.state != "defined") for d in devices if d.parent and d.gpu)


def devices_of(snapshot: Snapshot, host: str) -> tuple[Placed, ...]:
    """The mediated devices of a host now."""
    return placed(m for m in snapshot.mdevs if m.host == host and m.mechanism == "mdev")


def nova_type(host: Host, function: str) -> str | None:
    """The type that Nova makes on a function; "" for none, None when nova.conf could not be read."""
    types = types_for_device(host.nova_conf, [function])
    return None if types is None else types[0] if types else ""


def nova_offers(host: Host, devices: Iterable[Placed]) -> Offers | None:
    """What Nova would report with these devices on the host; None when nova.conf or the GPUs are not known."""
    if host.nova_conf is None or host.gpus is None:
        return None
    on_gpu: dict[str, list[Placed]] = defaultdict(list)
    for device in devices:
        on_gpu[device.gpu].append(device)
    totals: dict[str, int] = {}
    unknown: set[str] = set()
    of_type: dict[str, list[str]] = defaultdict(list)
    for gpu in host.gpus:
        if gpu.mechanism != "mdev":
            continue
        for function in [f.address for f in gpu.functions] or ([] if gpu.sriov else [gpu.address]):
            type_id = nova_type(host, function)
            if not type_id:
                continue
            of_type[type_id].append(function)
            more = _available(gpu, function, type_id, on_gpu[gpu.address])
            if more is None:
                unknown.add(function)
                continue
            there = sum(1 for d in on_gpu[gpu.address] if d.function == function and d.type_id == type_id)
            totals[function] = there + more
    cut = []
    for type_id, functions in of_type.items():
        cap = max_instances_of(host.nova_conf, type_id)
        if cap is not None and sum(totals.get(f, 0) for f in functions) > cap:
            cut.append((type_id, cap))
            unknown.update(f for f in functions if totals.pop(f, 0))
    return Offers(totals, frozenset(unknown), tuple(cut))


def _available(gpu: PhysicalGpu, function: str, type_id: str, devices: list[Placed]) -> int | None:
    """What the driver would offer of a type on a function of a GPU that takes one size; None when not known."""
    types = {t.type_id: t for t in gpu.types}
    kind = types.get(type_id)
    if kind is None:
        return 0  # the GPU does not offer what nova.conf names
    running = [d for d in devices if d.active]
    present = {types[d.type_id].framebuffer_mib or d.type_id if d.type_id in types else d.type_id for d in running}
    if len(present) > 1:
        return None  # the GPU takes several sizes: what still fits only the driver knows
    if present and present != {kind.framebuffer_mib or type_id}:
        return 0
    if kind.max is None:
        return None
    left = max(0, kind.max - len(running))
    if not (gpu.sriov or gpu.functions):
        return left
    return 0 if any(d.function == function for d in running) else min(1, left)
