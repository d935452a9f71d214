"""The parts of snapshots that tests show: GPUs, devices, hosts, servers, quota rows. Each knows its own counts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from vgpu_console.model.snapshot import (
    Host,
    LimitOrigin,
    MediatedDevice,
    PhysicalGpu,
    ProjectQuota,
    TypeCapacity,
    VgpuServer,
    VirtualFunction,
)

PROJECTS = {name: uuid.uuid5(uuid.NAMESPACE_DNS, name).hex for name in ("ml-research", "vdi", "render", "students")}


def an_id(*words: object) -> str:
    """The same uuid for the same words, on every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join(map(str, words))))


def capacity(
    host: str, gpu: str, type_id: str, name: str, mib: int, maximum: int | None, used: int | None, created: int | None
) -> TypeCapacity:
    """A type on a GPU; what is not used can be created."""
    return TypeCapacity(
        host=host,
        gpu=gpu,
        type_id=type_id,
        type_name=name,
        framebuffer_mib=mib,
        max=maximum,
        max_source="unknown" if maximum is None else "host",
        created=created,
        used=used,
        available=None if maximum is None or created is None else maximum - created,
        enabled=True,
        max_evidence=f"/sys/class/mdev_bus/{gpu}/mdev_supported_types/{type_id}/description",
    )


def sriov_gpu(
    host: str,
    bus: str,
    model: str,
    type_id: str,
    type_name: str,
    mib: int,
    maximum: int,
    devices: Sequence[MediatedDevice],
    *,
    vfs: int = 16,
    enabled: int = 16,
    mechanism: str = "mdev",
    reachable: bool = True,
) -> PhysicalGpu:
    """An SR-IOV GPU at 0000:<bus>:00.0 with its virtual functions and the devices that live on them."""
    address = f"0000:{bus}:00.0"
    mine = [d for d in devices if d.host == host and d.gpu == address]
    used = sum(d.server_id is not None for d in mine)
    functions = tuple(
        VirtualFunction(
            host=host,
            gpu=address,
            address=(parent := f"0000:{bus}:{(n + 4) // 8:02x}.{(n + 4) % 8}"),
            mdevs=tuple(d.uuid for d in mine if d.parent == parent and d.uuid),
            current_vgpu_type=(1155 if any(d.parent == parent for d in mine) else 0)
            if mechanism == "vendor-vfio"
            else None,
            creatable=(type_id,) if len(mine) < maximum else (),
            provider_uuid=an_id("provider", host, parent),
        )
        for n in range(enabled)
    )
    return PhysicalGpu(
        host=host,
        address=address,
        model=model,
        mechanism=mechanism,  # type: ignore[arg-type]
        vfs_enabled=enabled,
        vfs_total=vfs,
        sriov=True,
        functions=functions,
        types=(
            capacity(host, address, type_id, type_name, mib, maximum, used, len(mine)),
            capacity(host, address, *SECOND[type_id], None, None, None),
        )
        if reachable
        else (),
        active_type=type_id,
        active_type_name=type_name,
        vgpus_created=len(mine) if reachable else None,
        vgpus_used=used if reachable else None,
        vgpus_max=maximum,
        max_source="host",
        driver="nvidia",
        vendor_id="10de",
        product_id="20f1",
        numa_node=0,
    )


def device(
    host: str,
    bus: str,
    slot: int,
    type_id: str,
    type_name: str,
    server: str | None,
    project: str | None,
    *,
    sriov: bool = True,
    mechanism: str = "mdev",
    active: bool = True,
) -> MediatedDevice:
    """A vGPU in the n-th slot of a GPU, held by a server or by nobody."""
    parent = f"0000:{bus}:{(slot + 4) // 8:02x}.{(slot + 4) % 8}" if sriov else f"0000:{bus}:00.0"
    return MediatedDevice(
        uuid=None if mechanism == "vendor-vfio" else an_id("mdev", host, bus, slot),
        host=host,
        parent=parent,
        gpu=f"0000:{bus}:00.0",
        type_id=type_id,
        type_name=type_name,
        mechanism=mechanism,  # type: ignore[arg-type]
        state="active" if active else "defined",
        persistent=None if mechanism == "vendor-vfio" else True,
        autostart=None if mechanism == "vendor-vfio" else active,
        server_id=an_id("server", server) if server else None,
        server=server,
        project_id=PROJECTS[project] if project else None,
        project=project,
        domain=f"instance-{slot:08x}" if server else None,
        used=server is not None,
    )


def server(name: str, project: str, host: str | None, vgpus: int = 1, *, state: str = "ACTIVE") -> VgpuServer:
    """A server with vGPUs."""
    return VgpuServer(
        id=an_id("server", name),
        name=name,
        project_id=PROJECTS[project],
        project=project,
        host=host,
        status=state,
        vgpus=vgpus,
        task_state="migrating" if state == "MIGRATING" else None,
        power_state=1,
        flavor="vgpu.large",
        ram_mib=12_288,
        allocated=vgpus if host else 0,
        requested={"VGPU": vgpus},
        created="2025-10-01T08:00:00Z",
    )


SECOND = {  # a type that each of them offers too, of whose maximum nobody knows
    "nvidia-472": ("nvidia-471", "GRID A100-10C", 10_240),
    "nvidia-559": ("nvidia-558", "NVIDIA A40-4Q", 4_096),
    "nvidia-1155": ("nvidia-1153", "NVIDIA L40S-6Q", 6_144),
}


def host(name: str, gpus: Sequence[PhysicalGpu] | None, **more: Any) -> Host:
    """A host whose counts are those of its GPUs; functions are counted of those that have any."""

    def total(field: str) -> int | None:
        values = [getattr(gpu, field) for gpu in gpus or ()]
        return None if gpus is None or None in values else sum(values)

    sriov = [gpu for gpu in gpus or () if gpu.sriov]
    counts: dict[str, Any] = {
        "service_state": "up",
        "service_status": "enabled",
        "vfs_enabled": sum(gpu.vfs_enabled or 0 for gpu in sriov) if sriov else None,
        "vfs_total": sum(gpu.vfs_total or 0 for gpu in sriov) if sriov else None,
        "mdevs_created": total("vgpus_created"),
        "mdevs_used": total("vgpus_used"),
        "mdevs_max": total("vgpus_max"),
        "known_from": ("nova", "placement", "libvirt", "ssh"),
    }
    return Host(name=name, gpus=None if gpus is None else tuple(gpus), **{**counts, **more})


def quota(
    project_id: str,
    project: str,
    limit: int | None,
    origin: LimitOrigin,
    used: int | None,
    *,
    limit_id: str = "",
    moving: int = 0,
    leaked: int = 0,
) -> ProjectQuota:
    """A project's quota of VGPU; what is used beside ``moving`` and ``leaked`` is held by servers."""
    return ProjectQuota(
        project_id=project_id,
        project=project,
        resource="class:VGPU",
        limit=limit,
        origin=origin,
        used=used,
        limit_id=limit_id if origin == "project" else None,
        default=None if origin == "missing" else 4,
        used_by_instances=None if used is None else used - moving - leaked,
        used_by_migrations=None if used is None else moving,
        leaked=None if used is None else leaked,
        in_flight=None if used is None else moving,
        free=None if limit is None or used is None or limit < 0 else max(0, limit - used),
        missing_means="unlimited" if origin == "missing" else None,
    )
