"""Placement's providers of vGPUs against the devices that the hosts really have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.snapshot import Finding, Provider
from vgpu_console.rules.diagnosis.ground import Ground, libvirt_says, placement_says
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

GHOST_PROVIDER = Diagnosis(
    id="ghost-provider",
    severity="fail",
    title="Placement offers devices that the host does not have",
    why="The scheduler sends servers there, and they fail to boot: Nova keeps the provider of a device that has gone.",
    needs=("placement", "libvirt"),
)
OVER_REPORTED = Diagnosis(
    id="capacity-over-reported",
    severity="warn",
    title="Placement offers more vGPUs than the GPU can carry",
    why="Servers beyond the real maximum are scheduled there and fail to boot: every virtual function counts as one "
    "until max_instances says otherwise.",
    needs=("placement", "libvirt"),
)


def vgpu_total(provider: Provider) -> int:
    """What a provider offers of VGPU and of custom classes."""
    return sum(
        i.total
        for i in provider.inventories or ()
        if i.resource_class == "VGPU" or i.resource_class.startswith("CUSTOM_")
    )


def _ghosts(ground: Ground) -> Iterator[Finding]:
    asked = {h.name for h in ground.snapshot.hosts if h.gpus is not None and "libvirt" in h.known_from and not h.stale}
    ghosts: dict[str, list[Provider]] = defaultdict(list)
    for provider in ground.snapshot.providers:
        if provider.device and provider.gpu is None and provider.host in asked and vgpu_total(provider):
            ghosts[provider.host].append(provider)
    for host, providers in ghosts.items():
        names = ", ".join(p.device or "" for p in providers[:3]) + (" …" if len(providers) > 3 else "")
        yield GHOST_PROVIDER.found(
            f"host {host}",
            f"Placement offers {len(providers)} devices that the host does not have: {names}; boots there fail",
            placement_says(", ".join(f"{p.name} total {vgpu_total(p)}" for p in providers[:3])),
            libvirt_says(host, f"no node device at {names}"),
            host=host,
        )


def _over_reported(ground: Ground) -> Iterator[Finding]:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for provider in ground.snapshot.providers:
        if provider.gpu is not None:
            totals[(provider.host, provider.gpu)] += vgpu_total(provider)
    for host, gpu in ground.gpus():
        offered = totals.get((host.name, gpu.address), 0)
        if gpu.vgpus_max is not None and offered > gpu.vgpus_max:
            name = gpu.active_type_name or gpu.active_type
            yield OVER_REPORTED.found(
                f"gpu {host.name} {gpu.address}",
                f"Placement offers {offered} vGPUs, {name} allows {gpu.vgpus_max} on this GPU",
                placement_says(f"inventories of this GPU's functions: {offered} in all"),
                libvirt_says(host.name, f"{gpu.address} carries {name}, of which {gpu.vgpus_max} fit"),
                host=host.name,
                command=f"vgpu-console nova-conf {host.name}",
                key="N",
            )


CHAPTER = Chapter((GHOST_PROVIDER, OVER_REPORTED), (_ghosts, _over_reported))
