"""A GPU as Nova is told of it and as Placement offers it: what ``nova_side`` says of each, and where it is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import msgspec

from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Provider, Snapshot, TypeCapacity
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.nova_conf import addresses_of, enabled_types, types_for_device

State = Literal["ok", "warn", "fail", "unknown"]


class NovaSideRow(msgspec.Struct, frozen=True, kw_only=True):
    """One type on one GPU. ``type_id`` is empty where the GPU has none in Nova and carries none.

    ``idle_total`` is what Nova reports of an empty GPU by this configuration, caps apart; ``real`` what could really
    be handed out of the functions that are configured, ``max`` what the GPU could carry.
    """

    host: str
    gpu: str
    model: str
    mechanism: str
    type_id: str
    type_name: str
    configured: bool | None  # None: nova.conf could not be read
    by_default: bool  # the type serves every device that no other type names
    device_addresses: tuple[str, ...]  # those of this GPU that nova.conf names for the type
    functions: tuple[str, ...]  # on which Nova makes this type: enabled ones, or the GPU itself
    max_instances: int | None  # for the whole host
    idle_total: int | None
    placement_total: int | None
    placement_used: int | None
    max: int | None
    real: int | None
    over_reported: int | None
    stranded: int | None
    left_over: tuple[str, ...]  # uuids of providers of functions that are configured no more: Nova leaves them
    state: State
    verdict: str


class GpuSide:
    """A GPU with its devices, its providers and what nova.conf says of it."""

    def __init__(self, snapshot: Snapshot, host: Host, gpu: PhysicalGpu) -> None:
        self.host, self.gpu, self.conf = host, gpu, host.nova_conf
        self.devices = tuple(m for m in snapshot.mdevs if m.host == host.name and m.gpu == gpu.address)
        bus = gpu.address.rpartition(":")[0] + ":"
        self.virtual = bool(gpu.sriov or gpu.functions)  # its vGPUs live on virtual functions, one on each
        off = bool(gpu.sriov) and gpu.vfs_enabled == 0
        self.off = off
        self.providers: dict[str, Provider] = {
            p.device: p
            for p in snapshot.providers
            if p.host == host.name
            and p.device is not None
            and (p.gpu == gpu.address or (off and p.gpu is None and p.device.startswith(bus)))
        }
        self.placement_read = any(s.kind == "placement" and s.fetched_at is not None for s in snapshot.sources)

    def addresses(self) -> tuple[str, ...]:
        """What Nova can make a provider of: the enabled virtual functions, or the GPU itself."""
        return tuple(f.address for f in self.gpu.functions) or (() if self.gpu.sriov else (self.gpu.address,))

    def type_of(self, address: str) -> str | None:
        """The type that Nova makes there; None for none, or where nova.conf could not be read."""
        return next(iter(types_for_device(self.conf, (address,)) or ()), None)

    def configured_types(self) -> tuple[str, ...] | None:
        """The types that Nova makes on this GPU; while its functions are off, those that are meant for it."""
        if self.conf is None:
            return None
        bus = self.gpu.address.rpartition(":")[0] + ":"
        enabled = enabled_types(self.conf) or ()
        if self.off:
            listed = [t for t in enabled if any(a.startswith(bus) for a in addresses_of(self.conf, t))]
            default = [t for t in enabled if not addresses_of(self.conf, t)][:1]
            return tuple(listed or default)
        found = {self.type_of(a) for a in self.addresses()}
        return tuple(t for t in enabled if t in found)

    def listed(self, type_id: str) -> tuple[str, ...]:
        """The addresses of this GPU that nova.conf names for a type."""
        bus = self.gpu.address.rpartition(":")[0] + ":"
        mine = {*self.addresses(), self.gpu.address}
        listed = addresses_of(self.conf or {}, type_id)
        return tuple(a for a in listed if a in mine or (self.off and a.startswith(bus)))

    def capacity(self, type_id: str) -> TypeCapacity | None:
        """What the hardware says of a type here."""
        return next((t for t in self.gpu.types if t.type_id == type_id), None)

    def origin(self, type_id: str) -> str:
        """Where a type's maximum was read."""
        capacity = self.capacity(type_id)
        if capacity is None or capacity.max is None:
            return "not known"
        return "by its driver" if capacity.max_source == "host" else capacity.max_evidence or "catalogue"

    def carried(self) -> dict[str, list[MediatedDevice]]:
        """Its devices by type."""
        out: dict[str, list[MediatedDevice]] = defaultdict(list)
        for device in self.devices:
            out[device.type_id].append(device)
        return out

    def pinned_by(self, type_id: str) -> dict[str, list[MediatedDevice]]:
        """Running devices of another size, by type, while there is none of this type: then none can be made.

        Sizes that are not known are taken to differ. A GPU that carries several sizes is in mixed-size mode.
        """
        carried = self.carried()
        if carried.get(type_id):
            return {}
        size = {t.type_id: t.framebuffer_mib for t in self.gpu.types if t.framebuffer_mib is not None}
        return {
            t: running
            for t, devices in carried.items()
            if size.get(t, -1) != size.get(type_id, -2) and (running := [d for d in devices if d.state != "defined"])
        }

    def offered(self, addresses: Iterable[str]) -> tuple[int, int] | None:
        """Total and used of the providers of these addresses; None when Placement was not read."""
        if not self.placement_read:
            return None
        total = used = 0
        for provider in (self.providers[a] for a in addresses if a in self.providers):
            if provider.inventories is None or provider.allocations is None:
                return None
            total += sum(i.total for i in provider.inventories)
            used += sum(sum(a.resources.values()) for a in provider.allocations)
        return total, used


def label(type_id: str, type_name: str) -> str:
    """A type as tables show it."""
    return short_type_name(type_name) or type_id
