"""Pre-checks of the vendor VFIO framework, where a vGPU is a passed-through PCI function with a type."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.model.snapshot import PhysicalGpu
from vgpu_console.rules.device_spec import DeviceSpec, aliases, device_specs
from vgpu_console.rules.migration.scene import HostScene, Scene

_YES = frozenset({"1", "t", "true", "on", "y", "yes"})


def live_migratable(scene: Scene) -> Check | None:
    """Nova moves a PCI function only where device_spec on both hosts and the flavor's alias say live_migratable.

    Without it in the alias Nova refuses ("does not explicitly request live-migratable devices"); the alias that counts
    is the API's, which is to be the same on the computes (nova: conductor/tasks/live_migrate.py).
    """
    if scene.mechanism != "vendor-vfio":
        return None
    refusing = [*_unmovable(scene, scene.source), *_unmovable(scene, scene.destination), *_alias(scene)]
    if refusing:
        evidence = f"live_migratable is not said for {', '.join(refusing)}: Nova refuses the move"
        return scene.check("live-migratable", "fail", evidence, "ssh")
    unread = [end.no_conf for end in scene.ends if end.conf is None]
    if unread:
        return scene.check("live-migratable", "unknown", "; ".join(unread), "ssh")
    if scene.extra_specs is None:
        return scene.check("live-migratable", "unknown", "which alias the flavor names is not visible", "nova")
    if scene.aliases and not _named(scene):
        evidence = f"alias {', '.join(sorted(scene.aliases))} of the flavor is not in nova.conf of {scene.source.name}"
        return scene.check("live-migratable", "unknown", evidence, "ssh")
    evidence = f"device_spec of {scene.source.name} and {scene.destination.name} and the alias say so"
    return scene.check("live-migratable", "pass", evidence, "ssh")


def _unmovable(scene: Scene, end: HostScene) -> list[str]:
    """The functions of a host that could be concerned and are not said to be movable: the first of them."""
    specs = device_specs(end.conf)
    if specs is None:
        return []
    parents = {d.parent for d in scene.devices}
    found = [
        (function.address, gpu)
        for gpu in end.host.gpus or ()
        if gpu.mechanism == "vendor-vfio"
        for function in gpu.functions
        if (function.address in parents if end is scene.source else str(function.current_vgpu_type) in scene.types)
    ]
    said = {address: _movable(specs, address, gpu) for address, gpu in found}
    if not found or (end is scene.destination and any(said.values())):
        return []  # one of them is enough: Nova hands out no other for such a request
    if all(one is None for one in said.values()):
        return [f"{end.name} (no device_spec takes {found[0][0]})"]
    return [f"{end.name} {address}" for address, one in said.items() if not one][:1]


def _movable(specs: tuple[DeviceSpec, ...], address: str, gpu: PhysicalGpu) -> bool | None:
    """Whether a device_spec says so; None when none takes the function."""
    mine = [s for s in specs if s.matches(address, gpu.address, gpu.vendor_id)]
    return any(s.live_migratable for s in mine) if mine else None


def _named(scene: Scene) -> list[dict[str, str]]:
    """The aliases of nova.conf that the flavor names."""
    return [one for one in aliases(scene.source.conf) or () if one.get("name") in scene.aliases]


def _alias(scene: Scene) -> list[str]:
    silent = {one["name"] for one in _named(scene) if one.get("live_migratable", "").lower() not in _YES}
    return [f"alias {name}" for name in sorted(silent)]
