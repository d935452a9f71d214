"""SR-IOV virtual functions: enabled, and all of them."""

from __future__ import annotations

from collections.abc import Iterator

from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis.ground import Ground, libvirt_says
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

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
)


def _counts(ground: Ground) -> Iterator[Finding]:
    for host, gpu in ground.gpus():
        if not gpu.sriov or gpu.vfs_enabled is None or gpu.vfs_total is None or gpu.vfs_enabled >= gpu.vfs_total:
            continue
        where = f"gpu {host.name} {gpu.address}"
        command = f"vgpu-console sriov enable {host.name} --gpu {gpu.address}"
        says = libvirt_says(host.name, f"{gpu.address}: {gpu.vfs_enabled} of {gpu.vfs_total} virtual functions")
        if gpu.vfs_enabled == 0:
            yield VFS_OFF.found(
                where,
                f"none of {gpu.vfs_total} virtual functions is enabled (sriov-manage has not run since boot?)",
                says,
                host=host.name,
                command=command,
                key="v",
            )
        else:
            yield VFS_PARTIAL.found(
                where,
                f"only {gpu.vfs_enabled} of {gpu.vfs_total} virtual functions are enabled",
                says,
                host=host.name,
                command=command,
                key="v",
            )


CHAPTER = Chapter((VFS_OFF, VFS_PARTIAL), (_counts,))
