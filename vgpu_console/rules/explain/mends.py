"""What mends the causes that explanations find: the console's action where it has one, and the command to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from vgpu_console.model.migration_end import Mend
from vgpu_console.model.snapshot import MediatedDevice, Provider, Snapshot

_TOGETHER = 8
"""So many devices in one command; a host may have hundreds."""


def enable_functions(host: str, gpu: str) -> Mend:
    """Virtual functions are off after a boot until NVIDIA's program enables them."""
    return Mend(
        words=f"enable the virtual functions of {gpu} on {host}",
        action="sriov.enable",
        command=f"vgpu-console sriov enable {shlex.quote(host)} --gpu {gpu}",
    )


def mend_ghosts(snapshot: Snapshot, gone: Sequence[Provider]) -> list[Mend]:
    """Functions that are off are switched on; what is gone for good is deleted, where nobody holds it."""
    out = []
    for host in snapshot.hosts:
        for gpu in host.gpus or ():
            bus = gpu.address.rpartition(":")[0] + ":"
            mine = any(p.host == host.name and (p.device or "").startswith(bus) for p in gone)
            if mine and gpu.sriov and gpu.vfs_enabled == 0:
                out.append(enable_functions(host.name, gpu.address))
    free = [p.uuid for p in gone if not p.allocations]
    if not out and free:
        loop = f'for p in {_words(free)}; do openstack resource provider delete "$p"; done'
        out.append(Mend(words="if these devices are gone for good, delete their providers", command=loop))
    return out


def remove_devices(host: str, devices: Iterable[MediatedDevice]) -> Mend:
    """Free devices hold the GPU at their size until they are gone."""
    names = [d.uuid or d.parent or "" for d in devices][:_TOGETHER]
    return Mend(
        words="remove the free devices of the other type, so that the GPU is free for another",
        action="mdev.remove",
        command=f"vgpu-console mdev remove {shlex.quote(host)} {_words(names)}",
    )


def start_devices(host: str, devices: Iterable[MediatedDevice]) -> Mend:
    """Nova counts a device that is defined and not started together with what its function could make."""
    names = [d.uuid or "" for d in devices][:_TOGETHER]
    return Mend(
        words="start them (a restart of nova-compute does so, too)",
        action="mdev.start",
        command=f"vgpu-console mdev start {shlex.quote(host)} {_words(names)}",
    )


def restart_compute(host: str, words: str) -> Mend:
    """nova-compute reads nova.conf and its devices when it starts."""
    return Mend(words=words, command=f"ssh {shlex.quote(host)} sudo systemctl restart nova-compute")


def show_snippet(host: str, words: str) -> Mend:
    """What nova.conf would have to say."""
    return Mend(words=words, command=f"vgpu-console nova-conf {shlex.quote(host)} --snippet")


def set_type(host: str, gpu: str) -> Mend:
    """A function of the vendor VFIO framework has no type after a boot."""
    return Mend(
        words=f"set a vGPU type on functions of {gpu}",
        action="vgpu-type.set",
        command=f"vgpu-console mdev types {shlex.quote(host)} --gpu {gpu}",
    )


def enable_service(host: str) -> Mend:
    """Somebody disabled it on purpose, so the reason is to be looked at first."""
    return Mend(
        words=f"let {host} take servers again, if nothing of the reason is left",
        action="service.enable",
        command=f"openstack compute service set --enable {shlex.quote(host)} nova-compute",
    )


def reset_server(server_id: str) -> Mend:
    """Nova 32.2 and later put a server into ERROR when its migration fails or is aborted, though its guest runs."""
    return Mend(
        words="set it back to ACTIVE: its guest never stopped",
        action="migrate.reset",
        command=f"vgpu-console migrate reset {server_id}",
    )


def give_device_again(server_id: str, extra_specs: Iterable[str]) -> Mend:
    """A hard reboot gives a lost device again to a flavor with literally resources:VGPU (nova: libvirt driver)."""
    if "resources:VGPU" in extra_specs:
        return Mend(
            words="a hard reboot makes the device again (its guest is restarted)",
            command=f"openstack server reboot --hard {server_id}",
        )
    return new_place(server_id)


def new_place(server_id: str) -> Mend:
    """Shelving gives everything back, unshelving asks the scheduler anew; nova-manage cannot heal vGPU allocations."""
    return Mend(
        words="shelve and unshelve it: scheduled anew, it gets device and allocation together (its guest is down)",
        command=f"openstack server shelve --offload --wait {server_id} && openstack server unshelve {server_id}",
    )


def _words(names: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, names))
