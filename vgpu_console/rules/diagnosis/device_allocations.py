"""What Placement allocated to a server against the devices that its domain holds, function by function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vgpu_console.model.evidence import libvirt_says, placement_says
from vgpu_console.model.snapshot import Finding, MediatedDevice, Provider, VgpuServer
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

ELSEWHERE = Diagnosis(
    id="allocation-elsewhere",
    severity="warn",
    title="Placement allocated another function than the one that the server's vGPU is on",
    why="Placement gives the function in use to the next server, whose boot fails, and keeps a free one back. A "
    "migration to any other host makes both anew.",
    needs=("nova", "placement", "libvirt"),
    action="migrate.start",
    fleeting=True,
)
NOT_ALLOCATED = Diagnosis(
    id="device-without-allocation",
    severity="fail",
    title="A server holds a vGPU that Placement has not allocated to it",
    why="Placement offers the function to the next server, whose boot fails, and the project's quota does not count "
    "this vGPU. nova-manage placement heal_allocations refuses servers with vGPUs; a migration to any other host "
    "allocates anew.",
    needs=("nova", "placement", "libvirt"),
    action="migrate.start",
    fleeting=True,
)


def _servers(ground: Ground) -> Iterator[Finding]:
    if not (ground.answers("nova") and ground.answers("placement")):
        return
    for server in ground.snapshot.servers:
        every = ground.devices_of.get(server.id, ())
        if not every or not server.host or _one_for_one(server, every):
            continue
        devices = [d for d in every if d.host == server.host]
        if not devices or not ground.answers("libvirt", server.host):
            continue
        given = [p for p in map(ground.providers.get, server.allocated_on) if p is not None and p.host == server.host]
        if len(given) < len(server.allocated_on) or any(
            not d.parent or (d.host, d.uuid) in ground.shared for d in devices
        ):
            continue  # on another host too, on a function that is gone, or somebody else's: told as that
        held = {_place(d) for d in devices}
        if held == {p.device for p in given} or not ground.settled(server.id):
            continue
        lacking = [d for d in devices if _place(d) not in {p.device for p in given}]
        if not lacking or not all(_told(ground, d) for d in lacking):
            continue
        if (server.allocated or 0) >= len(devices):
            yield _elsewhere(ground, server, server.host, lacking, given)
        else:
            yield _unallocated(ground, server, server.host, lacking, given)


def _one_for_one(server: VgpuServer, devices: Sequence[MediatedDevice]) -> bool:
    """The usual case: one device, on the function that was allocated."""
    return len(devices) == 1 and server.allocated_on == (devices[0].provider_uuid,)


def _place(device: MediatedDevice) -> str | None:
    """The address in the name of the provider of such a device: Nova counts PCI functions on their GPU's provider."""
    return device.gpu if device.mechanism == "vendor-vfio" else device.parent


def _told(ground: Ground, device: MediatedDevice) -> bool:
    """Whether Nova tells Placement of such devices: of PCI functions only with [pci] report_in_placement."""
    providers = ground.providers_of.get(device.host, ())
    return device.mechanism != "vendor-vfio" or any(p.device == device.gpu for p in providers)


def _elsewhere(
    ground: Ground, server: VgpuServer, host: str, lacking: Sequence[MediatedDevice], given: Sequence[Provider]
) -> Finding:
    who = ground.server_words(server.id)
    on, at = ", ".join(p.device or p.name for p in given), ", ".join(d.parent or "" for d in lacking)
    return ELSEWHERE.found(
        who,
        f"has its vGPU on {at}, and Placement has allocated {on}",
        placement_says(f"{server.id} holds {', '.join(p.name for p in given)}"),
        libvirt_says(host, f"its domain has {', '.join(d.uuid or d.parent or '' for d in lacking)} on {at}"),
        host=host,
        command=f"vgpu-console migrate start {server.id}",
        key="m",
        objects=(who, *(f"mdev {host} {d.uuid or d.parent}" for d in lacking)),
    )


def _unallocated(
    ground: Ground, server: VgpuServer, host: str, lacking: Sequence[MediatedDevice], given: Sequence[Provider]
) -> Finding:
    who, at = ground.server_words(server.id), ", ".join(d.parent or "" for d in lacking)
    return NOT_ALLOCATED.found(
        who,
        f"has a vGPU on {at} that Placement has not allocated to it",
        placement_says(f"{server.id} holds {', '.join(p.name for p in given) or 'no device'}"),
        libvirt_says(host, f"its domain has {', '.join(d.uuid or d.parent or '' for d in lacking)} on {at}"),
        host=host,
        command=f"vgpu-console migrate start {server.id}",
        key="m",
        objects=(who, *(f"mdev {host} {d.uuid or d.parent}" for d in lacking)),
    )


CHAPTER = Chapter((ELSEWHERE, NOT_ALLOCATED), (_servers,))
