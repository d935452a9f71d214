"""SR-IOV virtual functions: enabled, all of them, and each bound to its driver."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vgpu_console.model.evidence import Evidence, host_says, libvirt_says, placement_says
from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu, Provider
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.nova_conf import enabled_types

VFS_OFF = Diagnosis(
    id="vfs-off",
    severity="fail",
    title="No virtual function is enabled",
    why="Nothing can be put on this GPU: virtual functions are gone after every boot until sriov-manage has run, and "
    "Nova goes on offering the devices that it knew before.",
    needs=("libvirt",),
    action="sriov.enable",
)
VFS_PARTIAL = Diagnosis(
    id="vfs-partial",
    severity="warn",
    title="Only some virtual functions are enabled",
    why="The GPU can carry fewer vGPUs than it has functions for; sriov-manage may have been cut short.",
    needs=("libvirt",),
    action="sriov.enable",
    fleeting=True,
)
UNBOUND = Diagnosis(
    id="function-unbound",
    severity="fail",
    title="Virtual functions are not bound to the driver",
    why="Such a function carries no vGPU. When sriov-manage runs at boot while the driver still starts, some are left "
    "unbound, and Nova keeps the providers that it made of them before.",
    needs=("libvirt",),
    fleeting=True,
)


def _counts(ground: Ground) -> Iterator[Finding]:
    for host, gpu in ground.gpus():
        if not gpu.sriov or gpu.vfs_enabled is None or gpu.vfs_total is None or gpu.vfs_enabled >= gpu.vfs_total:
            continue
        says = libvirt_says if host.name in ground.facts.libvirt else host_says
        said = says(host.name, f"{gpu.address}: {gpu.vfs_enabled} of {gpu.vfs_total} virtual functions")
        if gpu.vfs_enabled == 0:
            yield _off(ground, host, gpu, said)
        elif _sysfs_count(ground, host, gpu) not in (None, gpu.vfs_enabled):
            continue  # the two were read at different moments: somebody is enabling them
        else:
            yield VFS_PARTIAL.found(
                f"gpu {host.name} {gpu.address}",
                f"only {gpu.vfs_enabled} of {gpu.vfs_total} virtual functions are enabled",
                said,
                host=host.name,
                command=_enable(host, gpu),
                key="v",
            )


def _off(ground: Ground, host: Host, gpu: PhysicalGpu, said: Evidence) -> Finding:
    """With what is lost by it: the functions that Placement goes on offering, and the servers that were on them."""
    providers = _on_bus(ground, host, gpu)
    offering = [p for p in providers if any(i.total for i in p.inventories or ())]
    servers = [
        ground.server_words(a.consumer_id)
        for p in providers
        for a in p.allocations or ()
        if a.consumer_id in ground.servers
    ]
    offers = f"; Placement still offers {len(offering)} of them" if offering else ""
    hurt = (
        f"; {len(servers)} servers were on it" if len(servers) > 1 else f"; {servers[0]} was on it" if servers else ""
    )
    meant = not host.nova_conf or enabled_types(host.nova_conf) or "pci.device_spec" in host.nova_conf
    return VFS_OFF.found(
        f"gpu {host.name} {gpu.address}",
        f"none of {gpu.vfs_total} virtual functions is enabled (sriov-manage has not run since boot?){offers}{hurt}",
        said,
        *((placement_says(f"{_some([p.name for p in offering])}: total 1 each"),) if offering else ()),
        host=host.name,
        command=_enable(host, gpu),
        key="v",
        objects=(f"gpu {host.name} {gpu.address}", *dict.fromkeys(servers)),
        severity=None if meant or providers else "info",
    )


def _on_bus(ground: Ground, host: Host, gpu: PhysicalGpu) -> list[Provider]:
    """Providers of devices on the GPU's bus: those of its virtual functions, which are gone."""
    bus = gpu.address.rpartition(":")[0] + ":"
    return [p for p in ground.providers_of.get(host.name, ()) if p.device and p.device.startswith(bus)]


def _enable(host: Host, gpu: PhysicalGpu) -> str:
    return f"vgpu-console sriov enable {shlex.quote(host.name)} --gpu {gpu.address}"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (" …" if len(words) > 3 else "")


def _sysfs_count(ground: Ground, host: Host, gpu: PhysicalGpu) -> int | None:
    """What the host's own files say, where they could be read the last time."""
    ssh = ground.facts.ssh.get(host.name)
    if ssh is None or not ground.answers("ssh", host.name):
        return None
    return next((p.sriov_numvfs for p in ssh.pci if p.address == gpu.address), None)


def _unbound(ground: Ground) -> Iterator[Finding]:
    for name, libvirt in ground.facts.libvirt.items():
        lost: dict[str, list[str]] = defaultdict(list)
        for device in libvirt.devices:
            if device.driver is None and device.physical_function is not None:
                lost[device.physical_function].append(device.address)
        if lost and name in ground.hosts and ground.answers("libvirt", name):
            yield from _unbound_on(ground, ground.hosts[name], lost)


def _unbound_on(ground: Ground, host: Host, lost: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Only of GPUs whose own driver is NVIDIA's, and where sysfs, if it was read, says the same."""
    ssh = ground.facts.ssh.get(host.name) if ground.answers("ssh", host.name) else None
    bound = {p.address for p in ssh.pci if p.driver} if ssh is not None else set[str]()
    for gpu in host.gpus or ():
        functions = [a for a in lost.get(gpu.address, ()) if a not in bound]
        if not functions or gpu.driver != "nvidia":
            continue
        offering = [p for p in ground.providers_of.get(host.name, ()) if p.device in functions]
        offers = f"; Placement offers {len(offering)} of them" if offering else ""
        tee = f"echo {functions[0]} | sudo tee /sys/bus/pci/drivers/nvidia/bind"
        yield UNBOUND.found(
            f"gpu {host.name} {gpu.address}",
            f"{len(functions)} of {gpu.vfs_enabled} virtual functions have no driver: {_some(functions)}{offers}",
            libvirt_says(host.name, f"{_some(functions)}: no driver; {gpu.address}: nvidia"),
            *((host_says(host.name, f"{_some(functions)}: no driver in sysfs"),) if ssh is not None else ()),
            *((placement_says(f"{_some([p.name for p in offering])}: offered"),) if offering else ()),
            host=host.name,
            command=f"ssh {shlex.quote(host.name)} {shlex.quote(tee)}",
        )


CHAPTER = Chapter((VFS_OFF, VFS_PARTIAL, UNBOUND), (_counts, _unbound))
