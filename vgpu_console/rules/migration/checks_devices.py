"""Pre-checks of the devices: type, name, a real free place on the destination, what else the guest holds."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.rules import nova_conf
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.migration.destinations import Room, gpus_for, room_for, unreadable
from vgpu_console.rules.migration.scene import Scene


def type_id(scene: Scene) -> Check:
    """Nova compares type ids only: each of the source must be among those enabled on the destination."""
    if not scene.types:
        return scene.check("type-id", "unknown", _devices_unknown(scene), "libvirt")
    if scene.mechanism == "vendor-vfio":
        return _type_offered(scene)
    name = scene.destination.name
    enabled = nova_conf.enabled_types(scene.destination.conf)
    if enabled is None:
        evidence = f"{_shown(scene)}: what {name} enables is not known, {scene.destination.no_conf}"
        return scene.check("type-id", "unknown", evidence, "ssh", end=scene.destination)
    missing = sorted(set(scene.types) - set(enabled))
    if missing:
        offered = ", ".join(enabled) or "none"
        evidence = f"{', '.join(missing)} is not enabled on {name} (enabled: {offered})"
        return scene.check("type-id", "fail", evidence, "ssh", end=scene.destination)
    return scene.check("type-id", "pass", f"{_shown(scene)} is enabled on {name}", "ssh", end=scene.destination)


def _type_offered(scene: Scene) -> Check:
    """Vendor VFIO: the numbers are the driver's own; the destination's GPUs must offer them."""
    gpus, end = scene.destination.host.gpus, scene.destination
    if gpus is None:
        return scene.check("type-id", "unknown", _devices_unknown(scene), "ssh", end=end)
    offered = {t.type_id for g in gpus for t in g.types}
    missing = sorted(set(scene.types) - offered)
    if missing and any(unreadable(g) for g in gpus):
        evidence = f"what the GPUs of {end.name} offer is not known: {end.why_unread('ssh')}"
        return scene.check("type-id", "unknown", evidence, "ssh", end=end)
    if missing:
        evidence = f"no GPU of {end.name} offers {', '.join(missing)}"
        return scene.check("type-id", "fail", evidence, "ssh", end=end)
    return scene.check("type-id", "pass", f"{_shown(scene)} is offered on {end.name}", "ssh", end=end)


def type_name(scene: Scene) -> Check | None:
    """One number may mean another type on another board or driver, which Nova does not compare.

    Drivers of different age put GRID or NVIDIA before the same name: that part does not count.
    """
    gpus = scene.destination.host.gpus
    if not scene.types or gpus is None:
        return scene.check("type-name", "unknown", _devices_unknown(scene), "libvirt")
    if not gpus_for(scene):
        return None  # nothing to compare with, which the check of the type's id says
    source, destination = scene.source.name, scene.destination.name
    unknown: list[str] = []
    for id, name in sorted(scene.types.items()):
        there = {short_type_name(t.type_name) for g in gpus for t in g.types if t.type_id == id}
        if not there or "" in there or not name:
            unknown.append(id)
        elif there != {short_type_name(name)}:
            evidence = f"{id} is {name} on {source} and {', '.join(sorted(there))} on {destination}"
            return scene.check("type-name", "fail", evidence, "libvirt")
    if unknown:
        evidence = f"the name of {', '.join(unknown)} is not known on both hosts"
        return scene.check("type-name", "unknown", evidence, "libvirt")
    evidence = f"{', '.join(sorted(scene.types.values()))} on {source} and {destination}"
    return scene.check("type-name", "pass", evidence, "libvirt")


def free_slot(scene: Scene) -> Check:
    """Really free places: Placement offers a virtual function of a GPU that is full as well."""
    end = scene.destination
    if not scene.types or end.host.gpus is None:
        return scene.check("free-slot", "unknown", _devices_unknown(scene), "libvirt", end=end)
    told: list[str] = []
    unknown: list[str] = []
    dead = 0
    for id, amount in sorted(scene.needed.items()):
        kind = scene.types[id] or id
        room = room_for(scene, id) or Room(free=None)
        if room.least >= amount or (room.free is not None and room.free >= amount):
            count = str(room.free) if room.free is not None else f"at least {room.least}"
            where = f", first on {room.first}" if room.first else ""
            told.append(f"{count} × {kind} free on {end.name}{where}")
            dead += room.dead
        elif room.free is None:
            unknown.append(f"what of {kind} is free on {end.name} is not known")
        else:
            have = f"{room.free} free" if room.free else "none free"
            evidence = f"{amount} × {kind} needed, {have} on {end.name}"
            if room.settable:
                evidence += f": the type could be set on {room.settable} functions first, which Nova does not do"
            return scene.check("free-slot", "fail", evidence, "libvirt", end=end)
    if unknown:
        return scene.check("free-slot", "unknown", "; ".join(unknown), "libvirt", end=end)
    if dead:
        evidence = f"{'; '.join(told)}; Placement also offers {dead} places that are full or gone, and Nova may try one"
        return scene.check("free-slot", "warn", evidence, "libvirt", end=end)
    return scene.check("free-slot", "pass", "; ".join(told), "libvirt", end=end)


def several_types(scene: Scene) -> Check | None:
    """With several types under one class and no traits, Placement may pick a device of another type.

    Nova then gives up the whole host, not that device alone (release note of vGPU live migration).
    """
    enabled = nova_conf.enabled_types(scene.destination.conf)
    conf, end = scene.destination.conf, scene.destination
    if not scene.types or enabled is None or conf is None or len(enabled) < 2 or scene.mechanism != "mdev":
        return None
    specs = scene.extra_specs
    if specs is not None and any(
        k.startswith("trait") and ":CUSTOM_" in k and v == "required" for k, v in specs.items()
    ):
        return None
    classes = {one: nova_conf.mdev_class_of(conf, one) or "VGPU" for one in enabled}
    mine = {classes.get(one, "VGPU") for one in scene.types}
    others = [t for t in enabled if classes[t] in mine and t not in scene.types]
    if not others:
        return None
    evidence = (
        f"{end.name} has {', '.join(others)} under the same class and the flavor asks for no trait: "
        f"Placement may pick the wrong device, and Nova then refuses the host"
    )
    return scene.check("several-types", "warn", evidence, "ssh", end=end)


def other_devices(scene: Scene) -> Check | None:
    """Other passed-through functions stop a migration, and several VFIO devices must all move peer to peer.

    Left out where libvirt answers and knows no such guest, which the check of the guest says.
    """
    if scene.domain is None:
        if scene.source.libvirt is not None:
            return None
        evidence = f"the guest's devices: {scene.source.why_unread('libvirt')}"
        return scene.check("other-devices", "unknown", evidence, "libvirt", end=scene.source)
    own = {d.parent for d in scene.devices if d.mechanism == "vendor-vfio"}
    strange = [a for a in scene.domain.pci if a not in own]
    untold = {f.address for g in scene.source.host.gpus or () if g.mechanism == "unknown" for f in g.functions}
    if strange and untold.issuperset(strange):
        evidence = f"whether {', '.join(strange)} of the guest is a vGPU is not known: {scene.source.why_unread('ssh')}"
        return scene.check("other-devices", "unknown", evidence, "ssh", end=scene.source)
    if strange:
        evidence = f"the guest holds {', '.join(strange)} besides: a passed-through function cannot move along"
        return scene.check("other-devices", "fail", evidence, "libvirt", end=scene.source)
    count = len(scene.domain.mdevs) + len(scene.domain.pci)
    if count > 1:
        evidence = f"{count} vGPUs: each of them must be able to move peer to peer (QEMU)"
        return scene.check("other-devices", "warn", evidence, "libvirt", end=scene.source)
    return scene.check("other-devices", "pass", "no other passed-through device", "libvirt", end=scene.source)


def reserved_device(scene: Scene) -> Check | None:
    """A device that is free for libvirt and Placement may not be for the destination's nova-compute.

    Left out where the doctor tells of none: nothing shows what is in the memory of that process.
    """
    told = scene.ground.reserved.get(scene.destination.name)
    mine = {
        f"mdev {d.host} {d.uuid}"
        for d in scene.ground.devices.get(scene.destination.name, ())
        if d.type_id in scene.types and not d.used
    }
    if told is None or not mine.intersection(told.objects):
        return None
    evidence = f"{told.message}; mends it: {told.command}"
    return scene.check("reserved-device", "warn", evidence, "nova", end=scene.destination)


def _shown(scene: Scene) -> str:
    return ", ".join(f"{id} ({name})" if name else id for id, name in sorted(scene.types.items()))


def _devices_unknown(scene: Scene) -> str:
    if not scene.types:
        return f"the vGPU that the server holds is not known: {scene.source.why_unread('libvirt')}"
    return f"the GPUs of {scene.destination.name} are not known: {scene.destination.why_unread('libvirt')}"
