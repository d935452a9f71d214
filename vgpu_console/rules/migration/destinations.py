"""The destination's GPUs that could take a server's vGPUs, and what is free on them."""

from __future__ import annotations

from vgpu_console.model.snapshot import PhysicalGpu, Provider
from vgpu_console.rules.migration.scene import Scene


def gpus_for(scene: Scene) -> tuple[PhysicalGpu, ...] | None:
    """Those that offer a type of the server and on which Nova may use it; None when the host's GPUs are not known.

    Where nova.conf is not readable, what the GPU offers is all that can be said.
    """
    gpus = scene.destination.host.gpus
    if gpus is None:
        return None
    wanted = set(scene.types)
    return tuple(g for g in gpus if any(t.type_id in wanted and t.enabled is not False for t in g.types))


def free_on(scene: Scene, gpu: PhysicalGpu, type_id: str) -> int | None:
    """Devices of the type that the GPU could still hand out: free ones that exist, and those that can be made now.

    A virtual function whose provider holds an allocation is taken, whatever libvirt says. None: not known.
    """
    row = next((t for t in gpu.types if t.type_id == type_id), None)
    if row is None or row.available is None:
        return None
    taken = {p.uuid for p in _providers(scene, gpu) if p.allocations}
    idle = 0
    for device in scene.snapshot.mdevs:
        if device.host != gpu.host or device.gpu != gpu.address or device.type_id != type_id:
            continue
        if device.used is None:
            return None
        idle += not device.used and device.state == "active" and device.provider_uuid not in taken
    return idle + row.available


def _providers(scene: Scene, gpu: PhysicalGpu) -> list[Provider]:
    return [p for p in scene.snapshot.providers if p.host == gpu.host and p.gpu == gpu.address]
