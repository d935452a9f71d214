"""The destination's GPUs that could take a server's vGPUs, and what is really free on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.snapshot import MediatedDevice, PhysicalGpu, Provider
from vgpu_console.rules.device_spec import device_specs
from vgpu_console.rules.migration.scene import Scene


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Places for one type. ``free`` None: not known, then ``least`` are there at any rate.

    ``dead`` are places that Placement offers and where nothing can be made: functions of a full GPU, or gone ones;
    ``settable`` those of the vendor VFIO framework on which the type could be set, which Nova does not do.
    """

    free: int | None
    least: int = 0
    first: str = ""  # the GPU with the first of them
    dead: int = 0
    settable: int = 0


def gpus_for(scene: Scene) -> tuple[PhysicalGpu, ...] | None:
    """Those that offer a type of the server and on which Nova may use it; None when the host's GPUs are not known.

    Where nova.conf is not readable, what the GPU offers is all that can be said.
    """
    gpus = scene.destination.host.gpus
    if gpus is None:
        return None
    wanted = scene.types.keys()
    return tuple(g for g in gpus if any(t.type_id in wanted and t.enabled is not False for t in g.types))


def likely_gpus(scene: Scene) -> tuple[PhysicalGpu, ...] | None:
    """Of those the ones with a free place; all where none is known to have one."""
    gpus = gpus_for(scene)
    open_ = tuple(g for g in gpus or () if any(room_on(scene, g, id).free != 0 for id in scene.types))
    return open_ or gpus


def room_for(scene: Scene, type_id: str) -> Room | None:
    """What the destination has for one type on all its GPUs; None when its GPUs are not known."""
    gpus = gpus_for(scene)
    if gpus is None:
        return None
    rooms = [(g, room_on(scene, g, type_id)) for g in gpus]
    free = [r.free for _, r in rooms] + [None for g in scene.destination.host.gpus or () if unreadable(g)]
    coming = _coming(scene)
    least = max(0, sum(r.least for _, r in rooms) - coming)
    return Room(
        free=None if None in free else max(0, sum(n for n in free if n is not None) - coming),
        least=least,
        first=next((g.address for g, r in rooms if r.least), ""),
        dead=sum(r.dead for _, r in rooms) + _ghosts(scene),
        settable=sum(r.settable for _, r in rooms),
    )


def unreadable(gpu: PhysicalGpu) -> bool:
    """Whether nothing told what the GPU offers; with its virtual functions off it offers nothing for sure."""
    return gpu.mechanism == "unknown" and not (gpu.sriov and gpu.vfs_enabled == 0)


def room_on(scene: Scene, gpu: PhysicalGpu, type_id: str) -> Room:
    """What one GPU has of a type: free devices that exist, and those that Nova can make now.

    A place counts only where Placement has it to give: Nova makes no device on a function without a provider, or whose
    provider holds an allocation, whatever libvirt says.
    """
    row = next((t for t in gpu.types if t.type_id == type_id), None)
    if row is None or (gpu.sriov and gpu.vfs_enabled == 0):
        return Room(free=0)
    if scene.destination.libvirt is None:
        return Room(free=None)  # free devices may be there that only libvirt knows
    own = [d for d in scene.ground.devices.get(gpu.host, ()) if d.gpu == gpu.address and d.type_id == type_id]
    if any(d.used is None for d in own):
        return Room(free=None)
    idle = [d for d in own if not d.used and d.state == "active"]
    if gpu.mechanism == "vendor-vfio":
        mine = [d for d in idle if _handed_out(scene, gpu, d)]
        return Room(free=len(mine), least=len(mine), settable=row.available or 0)
    providers = scene.ground.providers.get(gpu.host, {})
    known = gpu.host in scene.ground.roots
    if not gpu.functions:
        provider = providers.get(gpu.provider_uuid or "")
        return Room(free=0) if known and provider is None else _whole(idle, row.available, provider)
    return _on_functions(scene, gpu, type_id, idle, row.available, providers if known else None)


def _whole(idle: list[MediatedDevice], makeable: int | None, provider: Provider | None) -> Room:
    """A GPU without virtual functions is one provider for all of its vGPUs."""
    left = _left(provider) if provider is not None else None
    if makeable is None:
        return Room(free=None)
    places = len(idle) + makeable
    places = places if left is None else min(places, left)
    return Room(free=places, least=places, first="")


def _on_functions(
    scene: Scene,
    gpu: PhysicalGpu,
    type_id: str,
    idle: list[MediatedDevice],
    makeable: int | None,
    providers: Mapping[str, Provider] | None,
) -> Room:
    """``providers`` None: Placement does not know this host, then libvirt's word is all there is."""
    parents = {d.parent for d in idle}
    handles = slots = dead = 0
    for function in gpu.functions:
        has = function.address in parents
        makes = type_id in function.creatable
        provider = providers.get(function.provider_uuid or "") if providers is not None else None
        if providers is not None and (provider is None or _left(provider) == 0):
            continue
        handles += has
        slots += makes and not has
        dead += provider is not None and not has and not makes and _asked_for(scene, provider)
    if makeable is None:  # beside other sizes only the driver knows what fits: each function speaks for itself alone
        return Room(free=None, least=handles + min(1, slots), dead=0)
    free = handles + min(slots, makeable)
    return Room(free=free, least=free, dead=dead)


def _ghosts(scene: Scene) -> int:
    """Providers that offer a place on a function that is not there any more: Nova leaves them standing."""
    host = scene.destination.host
    there = {a for g in host.gpus or () for a in (g.address, *(f.address for f in g.functions))}
    if scene.mechanism != "mdev" or scene.destination.libvirt is None:
        return 0
    return sum(
        provider.device is not None and provider.device not in there and _asked_for(scene, provider)
        for provider in scene.ground.providers.get(host.name, {}).values()
    )


def _asked_for(scene: Scene, provider: Provider) -> bool:
    """Whether Placement could give it to this flavor: something is left of it, and it has the traits."""
    wanted = {
        k.partition(":")[2] for k, v in (scene.extra_specs or {}).items() if k.startswith("trait") and v == "required"
    }
    mine = {t for t in wanted if t.startswith("CUSTOM_")}
    return _left(provider) != 0 and (provider.traits is None or mine <= set(provider.traits))


def _left(provider: Provider) -> int | None:
    """What Placement has left of the device classes of a provider; None when that is not known."""
    if provider.inventories is None or provider.allocations is None:
        return None
    classes = {i.resource_class: i.total - i.reserved for i in provider.inventories}
    used = sum(n for a in provider.allocations for c, n in a.resources.items() if c in classes)
    return max(0, sum(classes.values()) - used)


def _handed_out(scene: Scene, gpu: PhysicalGpu, device: MediatedDevice) -> bool:
    """Whether a device_spec of nova.conf takes the function; yes where that cannot be read."""
    specs = device_specs(scene.destination.conf)
    address = device.parent or ""
    return specs is None or any(s.matches(address, gpu.address, gpu.vendor_id) for s in specs)


def _coming(scene: Scene) -> int:
    """vGPUs of servers that are on their way to the destination, as far as neither libvirt nor Placement shows them.

    Nova keeps a place for them in nova-compute's memory from the check on, some seconds before anything can be seen.
    """
    return sum(_unseen(scene, m) for m in _towards(scene))


def _towards(scene: Scene) -> Iterable[MigrationFacts]:
    here = scene.destination.name
    return (m for m in scene.migrations or () if m.destination == here and m.server_id != scene.server.id)


def _unseen(scene: Scene, migration: MigrationFacts) -> int:
    server = scene.ground.servers.get(migration.server_id)
    if server is None:
        return 0
    host = scene.destination.name
    held = sum(d.server_id == migration.server_id for d in scene.ground.devices.get(host, ()))
    given = sum(
        sum(a.resources.values())
        for p in scene.ground.providers.get(host, {}).values()
        if p.parent_uuid is not None
        for a in p.allocations or ()
        if a.consumer_id == migration.server_id
    )
    return max(0, (server.vgpus or 0) - max(held, given))
