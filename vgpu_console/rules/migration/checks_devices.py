"""Pre-checks of the devices: type, name, a real free place on the destination, what else the guest holds."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.rules import nova_conf
from vgpu_console.rules.device_spec import aliases, device_specs
from vgpu_console.rules.migration.destinations import free_on, gpus_for
from vgpu_console.rules.migration.scene import HostScene, Scene


def type_id(scene: Scene) -> Check:
    """Nova compares type ids only: each of the source must be among those enabled on the destination."""
    if scene.mechanism == "vendor-vfio":
        return _type_offered(scene)
    if not scene.types:
        return scene.check("type-id", "unknown", _devices_unknown(scene), "libvirt")
    enabled = nova_conf.enabled_types(scene.destination.conf)
    if enabled is None:
        evidence = f"{_shown(scene)}: what {scene.destination.name} enables is in its nova.conf, which is not readable"
        return scene.check("type-id", "unknown", evidence, "ssh")
    missing = sorted(set(scene.types) - set(enabled))
    if missing:
        offered = ", ".join(enabled) or "none"
        evidence = f"{', '.join(missing)} is not enabled on {scene.destination.name} (enabled: {offered})"
        return scene.check("type-id", "fail", evidence, "ssh")
    return scene.check("type-id", "pass", f"{_shown(scene)} is enabled on {scene.destination.name}", "ssh")


def _type_offered(scene: Scene) -> Check:
    """Vendor VFIO: the numbers are the driver's own; the destination's GPUs must offer them."""
    gpus = scene.destination.host.gpus
    if not scene.types or gpus is None:
        return scene.check("type-id", "unknown", _devices_unknown(scene), "ssh")
    offered = {t.type_id for g in gpus for t in g.types}
    missing = sorted(set(scene.types) - offered)
    if missing:
        return scene.check("type-id", "fail", f"no GPU of {scene.destination.name} offers {', '.join(missing)}", "ssh")
    return scene.check("type-id", "pass", f"{_shown(scene)} is offered on {scene.destination.name}", "ssh")


def type_name(scene: Scene) -> Check | None:
    """One number may mean another type on another board or driver, which Nova does not compare."""
    gpus = scene.destination.host.gpus
    if not scene.types or gpus is None:
        return scene.check("type-name", "unknown", _devices_unknown(scene), "libvirt")
    if not gpus_for(scene):
        return None  # nothing to compare with, which the check of the type's id says
    unknown: list[str] = []
    for id, name in sorted(scene.types.items()):
        there = {t.type_name for g in gpus for t in g.types if t.type_id == id}
        if not there or "" in there or not name:
            unknown.append(id)
        elif there != {name}:
            evidence = (
                f"{id} is {name} on {scene.source.name} and {', '.join(sorted(there))} on {scene.destination.name}"
            )
            return scene.check("type-name", "fail", evidence, "libvirt")
    if unknown:
        evidence = f"the name of {', '.join(unknown)} is not known on both hosts"
        return scene.check("type-name", "unknown", evidence, "libvirt")
    return scene.check("type-name", "pass", f"{', '.join(sorted(scene.types.values()))} on both", "libvirt")


def free_slot(scene: Scene) -> Check:
    """Really free places: Placement offers a virtual function of a GPU that is full as well."""
    gpus = gpus_for(scene)
    if not scene.types or gpus is None:
        return scene.check("free-slot", "unknown", _devices_unknown(scene), "libvirt")
    needed: dict[str, int] = {}
    for device in scene.devices:
        needed[device.type_id] = needed.get(device.type_id, 0) + 1
    told: list[str] = []
    unknown: list[str] = []
    for id, amount in sorted(needed.items()):
        known = [(g, free_on(scene, g, id)) for g in gpus]
        free = sum(n for _, n in known if n is not None)
        if free >= amount:
            where = next(g.address for g, n in known if n)
            told.append(f"{free} × {scene.types[id] or id} free on {scene.destination.name}, first on {where}")
        elif any(n is None for _, n in known):
            unknown.append(f"what of {scene.types[id] or id} is free on {scene.destination.name} is not known")
        else:
            have = f"{free} free" if free else "none free"
            evidence = f"{amount} × {scene.types[id] or id} needed, {have} on {scene.destination.name}"
            return scene.check("free-slot", "fail", evidence, "libvirt")
    if unknown:
        return scene.check("free-slot", "unknown", "; ".join(unknown), "libvirt")
    return scene.check("free-slot", "pass", "; ".join(told), "libvirt")


def allocation_candidate(scene: Scene) -> Check:
    """Placement's own word: room for the flavor's groups, with its traits, on the destination."""
    root = next(
        (p for p in scene.snapshot.providers if p.host == scene.destination.name and p.parent_uuid is None), None
    )
    if scene.candidates is None or root is None:
        why = "Placement was not asked for candidates" if root is not None else "its root provider is not known"
        return scene.check("allocation-candidate", "unknown", why, "placement")
    here = sum(
        any(scene.candidates.roots.get(uuid) == root.uuid for uuid in one.allocations)
        for one in scene.candidates.candidates
    )
    if here:
        return scene.check("allocation-candidate", "pass", f"{here} in {scene.destination.name}", "placement")
    if scene.candidates.cut:
        evidence = f"none of {scene.destination.name} among the first {len(scene.candidates.candidates)}"
        return scene.check("allocation-candidate", "unknown", evidence, "placement")
    evidence = f"Placement finds no place on {scene.destination.name} for the flavor with its traits"
    return scene.check("allocation-candidate", "fail", evidence, "placement")


def several_types(scene: Scene) -> Check | None:
    """With several types under one class and no traits, Placement may pick a device of another type.

    Nova then gives up the whole host, not that device alone (release note of vGPU live migration).
    """
    enabled = nova_conf.enabled_types(scene.destination.conf)
    conf = scene.destination.conf
    if not scene.types or enabled is None or conf is None or len(enabled) < 2 or scene.mechanism != "mdev":
        return None
    specs = scene.nova.extra_specs if scene.nova is not None else None
    if specs is not None and any(key.startswith("trait") and ":CUSTOM_" in key for key in specs):
        return None
    classes = [conf.get(f"mdev_{one}.mdev_class", "VGPU") for one in enabled]
    mine = {conf.get(f"mdev_{one}.mdev_class", "VGPU") for one in scene.types}
    others = [t for t, c in zip(enabled, classes, strict=True) if c in mine and t not in scene.types]
    if not others:
        return None
    evidence = (
        f"{scene.destination.name} has {', '.join(others)} under the same class and the flavor asks for no trait: "
        f"Placement may pick the wrong device, and Nova then refuses the host"
    )
    return scene.check("several-types", "warn", evidence, "ssh")


def other_devices(scene: Scene) -> Check:
    """Other passed-through functions stop a migration, and several VFIO devices must all move peer to peer."""
    if scene.domain is None:
        return scene.check("other-devices", "unknown", f"the guest's devices: {_unread(scene.source)}", "libvirt")
    own = {d.parent for d in scene.devices if d.mechanism == "vendor-vfio"}
    strange = [a for a in scene.domain.pci if a not in own]
    if strange:
        evidence = f"the guest holds {', '.join(strange)} besides: a passed-through function cannot move along"
        return scene.check("other-devices", "fail", evidence, "libvirt")
    count = len(scene.domain.mdevs) + len(scene.domain.pci)
    if count > 1:
        evidence = f"{count} vGPUs: each of them must be able to move peer to peer (QEMU)"
        return scene.check("other-devices", "warn", evidence, "libvirt")
    return scene.check("other-devices", "pass", "no other passed-through device", "libvirt")


def live_migratable(scene: Scene) -> Check | None:
    """Vendor VFIO: Nova moves PCI functions only where device_spec on both hosts and the alias say live_migratable."""
    if scene.mechanism != "vendor-vfio":
        return None
    unread = [end for end in scene.ends if end.conf is None]
    refusing: list[str] = []
    for end in scene.ends:
        specs = device_specs(end.conf)
        functions = {
            f.address: g
            for g in end.host.gpus or ()
            for f in g.functions
            if g.mechanism == "vendor-vfio" and (end is scene.destination or f.address in _parents(scene))
        }
        for address, gpu in functions.items():
            mine = [s for s in specs or () if s.matches(address, gpu.address, gpu.vendor_id)]
            if specs is not None and mine and not any(s.live_migratable for s in mine):
                refusing.append(f"{end.name} {address}")
                break
        if (
            specs is not None
            and functions
            and not any(s.matches(a, g.address, g.vendor_id) for s in specs for a, g in functions.items())
        ):
            refusing.append(f"{end.name} (no device_spec)")
    said = aliases(scene.source.conf)
    if said is not None and not any(
        one.get("live_migratable", "").lower() in ("yes", "true", "1", "on") for one in said
    ):
        refusing.append("the alias")
    if refusing:
        evidence = f"live_migratable is not said for {', '.join(refusing)}: Nova refuses the move"
        return scene.check("live-migratable", "fail", evidence, "ssh")
    if unread:
        names = ", ".join(end.name for end in unread)
        return scene.check("live-migratable", "unknown", f"nova.conf of {names} is not readable", "ssh")
    return scene.check("live-migratable", "pass", "device_spec of both hosts and the alias say so", "ssh")


def _parents(scene: Scene) -> set[str | None]:
    return {d.parent for d in scene.devices}


def _shown(scene: Scene) -> str:
    return ", ".join(f"{id} ({name})" if name else id for id, name in sorted(scene.types.items()))


def _unread(end: HostScene) -> str:
    return end.why_unread("libvirt")


def _devices_unknown(scene: Scene) -> str:
    if not scene.types:
        return f"the vGPU that the server holds is not known: {_unread(scene.source)}"
    return f"the GPUs of {scene.destination.name} are not known: {_unread(scene.destination)}"
