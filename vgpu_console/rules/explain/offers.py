"""What Placement's providers offer of the classes that are asked for, and what the GPUs behind them can carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

import msgspec

from vgpu_console.model.snapshot import Host, PhysicalGpu, Provider, Snapshot
from vgpu_console.rules.resource_classes import is_device_class


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One host's devices by Placement, and what its GPUs can really carry; ``real`` None: not known."""

    offered: int = 0
    used: int = 0
    reserved: int = 0
    real: int | None = None


def offering(snapshot: Snapshot, classes: Collection[str]) -> list[Provider]:
    """Device providers with an inventory of all those classes' kinds: any of them."""
    return [
        p
        for p in snapshot.providers
        if p.parent_uuid is not None and any(i.resource_class in classes and i.total for i in p.inventories or ())
    ]


def by_host(providers: Iterable[Provider]) -> dict[str, list[Provider]]:
    """Providers of each host."""
    out: dict[str, list[Provider]] = defaultdict(list)
    for provider in providers:
        out[provider.host].append(provider)
    return out


def devices_offered(provider: Provider) -> int:
    """What a provider has of classes that can be vGPUs."""
    return sum(i.total - i.reserved for i in provider.inventories or () if is_device_class(i.resource_class))


def held(provider: Provider, classes: Collection[str]) -> int:
    """What consumers hold of these classes."""
    return sum(n for a in provider.allocations or () for c, n in a.resources.items() if c in classes)


def left(provider: Provider, classes: Collection[str]) -> int:
    """What Placement still gives of these classes."""
    total = sum(
        int((i.total - i.reserved) * i.allocation_ratio)
        for i in provider.inventories or ()
        if i.resource_class in classes
    )
    return max(0, total - held(provider, classes))


def figures(host: Host | None, providers: Iterable[Provider], classes: Collection[str]) -> Figures:
    """The figures of one host."""
    mine = list(providers)
    rows = [i for p in mine for i in p.inventories or () if i.resource_class in classes]
    gpus = (host.gpus if host is not None else None) or ()
    maxima = [usable_maximum(g) for g in gpus]
    real = None if not gpus or None in maxima else sum(n for n in maxima if n is not None)
    return Figures(
        offered=sum(i.total for i in rows),
        used=sum(held(p, classes) for p in mine),
        reserved=sum(i.reserved for i in rows),
        real=real,
    )


def usable_maximum(gpu: PhysicalGpu) -> int | None:
    """What a GPU can carry of what Nova makes there: nothing with its functions off, or held at another type."""
    if (gpu.sriov and gpu.vfs_enabled == 0) or held_at_another(gpu):
        return 0
    return gpu.vgpus_max


def held_at_another(gpu: PhysicalGpu) -> bool:
    """Whether it runs a type that nova.conf does not enable on it, of another size than those it enables."""
    runs = next((t for t in gpu.types if t.type_id == gpu.active_type), None)
    if runs is None or runs.enabled is not False or not runs.created:
        return False
    sizes = {t.framebuffer_mib for t in gpu.types if t.enabled and t.framebuffer_mib is not None}
    return runs.framebuffer_mib not in sizes


def asked_host(host: Host | None) -> bool:
    """Whether its libvirt told of its devices, now and not a while ago."""
    return host is not None and host.gpus is not None and "libvirt" in host.known_from and not host.stale


def ghosts(snapshot: Snapshot, providers: Iterable[Provider]) -> list[Provider]:
    """Those that stand for a device which the host does not have now: Nova keeps them for ever."""
    hosts = {h.name: h for h in snapshot.hosts}
    return [p for p in providers if p.device and p.gpu is None and asked_host(hosts.get(p.host)) and devices_offered(p)]


def on_full_gpus(snapshot: Snapshot, providers: Iterable[Provider], classes: Collection[str]) -> list[Provider]:
    """Those from which Placement still gives, on GPUs that can carry no more."""
    full = {(h.name, g.address) for h in snapshot.hosts for g in h.gpus or () if _full(h, g)}
    return [p for p in providers if (p.host, p.gpu) in full and left(p, classes) and not _idle_there(snapshot, p)]


def _full(host: Host, gpu: PhysicalGpu) -> bool:
    return asked_host(host) and gpu.vgpus_free == 0


def _idle_there(snapshot: Snapshot, provider: Provider) -> bool:
    """Whether a free device stands on it, which Nova hands out again."""
    return any(
        m.host == provider.host and m.parent == provider.device and m.used is False and m.state == "active"
        for m in snapshot.mdevs
    )
