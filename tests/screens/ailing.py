"""The small fleet of the screens with findings of every severity, made by the doctor's own rows, and with none."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.screens import fleets
from vgpu_console.model.evidence import host_says, keystone_says, libvirt_says, placement_says
from vgpu_console.model.snapshot import Snapshot, Unlooked
from vgpu_console.rules.diagnosis import functions, live_migration, pairs, quota

FLEET = fleets.fleet()
SERVER = FLEET.servers[0]
MIGRATION = FLEET.migrations[1]

FINDINGS = (
    live_migration.POST_COPY.found(
        "host gpu-03",
        "live_migration_permit_post_copy is on: QEMU refuses to move any vGPU",
        host_says("gpu-03", "nova.conf: [libvirt] live_migration_permit_post_copy = true"),
        host="gpu-03",
        command="ssh gpu-03 sudo crudini --set /etc/nova/nova.conf libvirt live_migration_permit_post_copy false",
    ),
    functions.VFS_OFF.found(
        "gpu gpu-04 0000:41:00.0",
        "none of 16 virtual functions is enabled (sriov-manage has not run since boot?)",
        libvirt_says("gpu-04", "0000:41:00.0: 0 of 16 virtual functions"),
        placement_says("16 providers of its functions are still offered"),
        host="gpu-04",
        command="vgpu-console sriov enable gpu-04 --gpu 0000:41:00.0",
        key="v",
    ),
    pairs.DRIVER.found(
        "host gpu-02",
        "NVIDIA driver 550.54.16; gpu-01 with A100-20C: 550.90.05",
        host_says("gpu-02", "NVIDIA driver 550.54.16"),
        host_says("gpu-01", "NVIDIA driver 550.90.05"),
        host="gpu-02",
        objects=("host gpu-02", "host gpu-01", f"server {SERVER.name} ({SERVER.id}) of project {SERVER.project}"),
    ),
    msgspec.structs.replace(
        quota.OVER_LIMIT.found(
            "project vdi",
            "uses 6 of 4 class:VGPU: Nova refuses any new server that asks for it until 3 are gone",
            keystone_says("limit 4 of class:VGPU (project)"),
            placement_says("6 of class:VGPU in use"),
            command="openstack limit set --resource-limit 6 5e0c",
            key="l",
        ),
        objects=("project vdi", f"migration {MIGRATION.uuid}"),
    ),
    live_migration.TIMEOUT.found(
        "host gpu-05",
        "live_migration_completion_timeout is 800 s for each GiB of memory: Nova then aborts the migration",
        host_says("gpu-05", "nova.conf: live_migration_completion_timeout 800"),
        host="gpu-05",
    ),
)

UNLOOKED = (
    Unlooked(
        source="libvirt",
        hosts=("gpu-04",),
        ids=("vfs-partial", "mdev-not-active", "libvirt-too-old"),
        reason="no answer within 5 s",
        access="[libvirt] enabled = true and a connection to the host's libvirt (qemu+ssh), read-only is enough",
    ),
    Unlooked(
        source="keystone",
        hosts=(),
        ids=("limit-of-dead-project",),
        reason="this credential may see a part of the limits only",
        access="a credential with reader on the system (limits_cloud, or --limits-cloud)",
    ),
)


def ailing(**changes: Any) -> Snapshot:
    """The fleet with findings, and with something that was not looked at."""
    by_host = {f.host: f for f in FINDINGS}
    hosts = tuple(
        msgspec.structs.replace(h, findings=(by_host[h.name],) if h.name in by_host else ()) for h in FLEET.hosts
    )
    return fleets.fleet(**{"hosts": hosts, "findings": FINDINGS, "unlooked": UNLOOKED, **changes})
