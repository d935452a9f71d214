"""Snapshots for tests that show things: a small fleet with every state an operator meets, and its parts.

``small_fleet()`` is fixed to the last digit, so that golden files and pictures of it can be compared.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.placement import Allocation, Inventory
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    TypeCapacity,
    VgpuServer,
    VirtualFunction,
)
from vgpu_console.model.source import SourceStatus

NOW = 1_760_000_000.0

PROJECTS = {name: uuid.uuid5(uuid.NAMESPACE_DNS, name).hex for name in ("ml-research", "vdi", "render", "students")}


def an_id(*words: object) -> str:
    """The same uuid for the same words, on every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join(map(str, words))))


def status(kind: str, host: str = "", *, age: float = 2.0, error: str | None = None, **more: object) -> SourceStatus:
    """A source that answered ``age`` seconds before NOW, or failed just then with ``error``."""
    return SourceStatus(
        kind=kind,  # type: ignore[arg-type]
        host=host,
        fetched_at=NOW - age,
        attempted_at=NOW - 1 if error else NOW - age,
        duration_s=5.0 if error else 0.25,
        error=error,
        error_kind="timeout" if error else None,
        failures=4 if error else 0,
        next_at=NOW + 3,
        interval_s={"keystone": 30.0, "libvirt": 10.0, "ssh": 60.0}.get(kind, 5.0),
        requests=3,
        **more,  # type: ignore[arg-type]
    )


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
            capacity(host, address, *_SECOND[type_id], None, None, None),
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


_A100, _A40, _T4, _L40S = (
    ("nvidia-472", "GRID A100-20C", 20_480),
    ("nvidia-559", "NVIDIA A40-8Q", 8_192),
    ("nvidia-232", "GRID T4-4Q", 4_096),
    ("nvidia-1155", "NVIDIA L40S-12Q", 12_288),
)

_SECOND = {  # a type that each of them offers too, of whose maximum nobody knows
    "nvidia-472": ("nvidia-471", "GRID A100-10C", 10_240),
    "nvidia-559": ("nvidia-558", "NVIDIA A40-4Q", 4_096),
    "nvidia-1155": ("nvidia-1153", "NVIDIA L40S-6Q", 6_144),
}


def _devices() -> tuple[MediatedDevice, ...]:
    a100, a40, t4, l40s = _A100[:2], _A40[:2], _T4[:2], _L40S[:2]
    return (
        device("gpu-01", "41", 0, *a100, "vm-train-1", "ml-research"),
        device("gpu-01", "41", 1, *a100, "vm-train-2", "ml-research"),
        device("gpu-01", "81", 0, *a100, "vm-train-3", "ml-research"),
        device("gpu-02", "41", 0, *a100, "vm-train-7", "ml-research"),
        device("gpu-02", "81", 3, *a100, None, None, active=False),
        *(device("gpu-03", "31", n, *a40, f"desk-{n}", "vdi") for n in range(5)),
        *(device("gpu-05", "3b", n, *t4, f"render-{n}", "render", sriov=False) for n in range(2)),
        device("gpu-05", "5e", 0, *t4, "lab-1", "students", sriov=False),
        *(device("gpu-06", "21", n, *l40s, f"twin-{n}", "vdi", mechanism="vendor-vfio") for n in range(3)),
    )


def _t4(host: str, bus: str, devices: Sequence[MediatedDevice]) -> PhysicalGpu:
    address = f"0000:{bus}:00.0"
    used = sum(d.host == host and d.gpu == address for d in devices)
    return PhysicalGpu(
        host=host,
        address=address,
        model="T4",
        mechanism="mdev",
        vfs_enabled=None,
        vfs_total=None,
        sriov=False,
        types=(capacity(host, address, *_T4, 4, used, used),),
        active_type=_T4[0],
        active_type_name=_T4[1],
        vgpus_created=used,
        vgpus_used=used,
        vgpus_max=4,
        max_source="host",
        driver="nvidia",
        vendor_id="10de",
        product_id="1eb8",
        provider_uuid=an_id("provider", host, address),
    )


def _hosts(devices: Sequence[MediatedDevice]) -> tuple[Host, ...]:
    def a100(host: str, bus: str) -> PhysicalGpu:
        return sriov_gpu(host, bus, "A100 PCIe 40GB", *_A100, 2, devices)

    common = {"libvirt": "11.3.0", "qemu": "9.1.0", "kernel": "5.14.0-503.el9", "zone": "nova"}
    drivers = Finding(
        id="driver-differs",
        severity="warn",
        object="host gpu-02",
        message="driver 550.54.16 differs from 550.90.05 on gpu-01: no live migration between them",
        host="gpu-02",
    )
    idle = Finding(
        id="mdev-defined-only",
        severity="info",
        object="host gpu-02",
        message="one mediated device is defined and not active",
        host="gpu-02",
    )
    silent = Finding(
        id="host-silent", severity="fail", object="host gpu-04", message="no answer for 41 s", host="gpu-04"
    )
    return (
        _host("gpu-01", (a100("gpu-01", "41"), a100("gpu-01", "81")), "550.90.05", **common),
        _host("gpu-02", (a100("gpu-02", "41"), a100("gpu-02", "81")), "550.54.16", findings=(drivers, idle), **common),
        _host("gpu-03", (sriov_gpu("gpu-03", "31", "A40", *_A40, 6, devices),), "550.90.05", **common),
        Host(
            name="gpu-04",
            service_state="down",
            service_status="enabled",
            known_from=("nova", "placement"),
            errors=("libvirt: no answer within 5 s", "ssh: no answer within 10 s"),
            findings=(silent,),
            mdevs_used=2,
            used_source="placement",
            zone="nova",
            stale=True,
        ),
        _host("gpu-05", (_t4("gpu-05", "3b", devices), _t4("gpu-05", "5e", devices)), "535.183.04", **common),
        _host(
            "gpu-06",
            (sriov_gpu("gpu-06", "21", "L40S", *_L40S, 4, devices, vfs=32, enabled=32, mechanism="vendor-vfio"),),
            "570.86.10",
            service_status="disabled",
            disabled_reason="driver update",
            **{**common, "kernel": "6.12.0-55.el10"},
        ),
    )


def _host(name: str, gpus: tuple[PhysicalGpu, ...], driver: str, **more: object) -> Host:
    def total(field: str) -> int | None:
        values = [getattr(gpu, field) for gpu in gpus]
        return None if None in values else sum(values)

    fields: dict[str, object] = {
        "service_state": "up",
        "service_status": "enabled",
        "vfs_enabled": total("vfs_enabled"),
        "vfs_total": total("vfs_total"),
        "mdevs_created": total("vgpus_created"),
        "mdevs_used": total("vgpus_used"),
        "mdevs_max": total("vgpus_max"),
        "known_from": ("nova", "placement", "libvirt", "ssh"),
        "used_source": "libvirt",
        "os_name": "Red Hat Enterprise Linux 9.5 (Plow)",
        **more,
    }
    return Host(name=name, gpus=gpus, driver=driver, **fields)  # type: ignore[arg-type]


def _servers() -> tuple[VgpuServer, ...]:
    return (
        *(server(f"vm-train-{n}", "ml-research", "gpu-01") for n in (1, 2, 3)),
        server("vm-train-7", "ml-research", "gpu-02", state="MIGRATING"),
        server("vm-infer-1", "ml-research", "gpu-04", 2),
        *(server(f"desk-{n}", "vdi", "gpu-03") for n in range(5)),
        *(server(f"render-{n}", "render", "gpu-05") for n in range(2)),
        server("lab-1", "students", "gpu-05"),
        *(server(f"twin-{n}", "vdi", "gpu-06") for n in range(3)),
        server("desk-9", "vdi", None, state="ERROR"),
    )


def _quotas() -> tuple[ProjectQuota, ...]:
    def quota(project: str, limit: int | None, origin: str, used: int, migrating: int = 0) -> ProjectQuota:
        return ProjectQuota(
            project_id=PROJECTS[project],
            project=project,
            resource="class:VGPU",
            limit=limit,
            origin=origin,  # type: ignore[arg-type]
            used=used,
            limit_id=an_id("limit", project) if origin == "project" else None,
            default=None if origin == "missing" else 4,
            used_by_instances=used - migrating,
            used_by_migrations=migrating,
            leaked=0,
            free=None if limit is None else limit - used,
            in_flight=migrating,
            missing_means="unlimited" if origin == "missing" else None,
        )

    return (
        quota("ml-research", 10, "project", 6, migrating=1),
        quota("vdi", 8, "project", 8),
        quota("render", 4, "default", 2),
        quota("students", None, "missing", 1),
        ProjectQuota(
            project_id=PROJECTS["render"],
            project="render",
            resource="class:CUSTOM_A40_8Q",
            limit=-1,
            origin="default",
            used=None,
            default=-1,
        ),
    )


def _migrations() -> tuple[Migration, ...]:
    return (
        Migration(
            uuid=an_id("migration", 1),
            server_id=an_id("server", "vm-train-7"),
            server="vm-train-7",
            project="ml-research",
            source="gpu-02",
            destination="gpu-01",
            status="running",
            running=True,
            vgpu=True,
            progress=68,
            id=41,
            created_at="2025-10-09T08:52:39Z",
            updated_at="2025-10-09T08:53:17Z",
            memory_total_bytes=12_884_901_888,
            memory_processed_bytes=8_804_682_956,
            memory_remaining_bytes=4_080_218_932,
        ),
        Migration(
            uuid=an_id("migration", 2),
            server_id=an_id("server", "vm-train-1"),
            server="vm-train-1",
            project="ml-research",
            source="gpu-02",
            destination="gpu-01",
            status="completed",
            running=False,
            vgpu=True,
            downtime_ms=6_200,
            id=40,
        ),
        Migration(
            uuid=an_id("migration", 3),
            server_id=an_id("server", "gone"),
            server="",
            project="",
            source="gpu-03",
            destination=None,
            status="error",
            running=False,
            vgpu=None,
            id=39,
        ),
    )


def _providers(hosts: Sequence[Host], devices: Sequence[MediatedDevice]) -> tuple[Provider, ...]:
    out = []
    for host in hosts:
        root = an_id("provider", host.name)
        out.append(
            Provider(
                uuid=root, name=host.name, host=host.name, generation=12, inventories=(), allocations=(), traits=()
            )
        )
        for gpu in host.gpus or ():
            places = [d for d in devices if d.host == host.name and d.gpu == gpu.address]
            addresses = sorted({d.parent or "" for d in places})
            for address in addresses:
                here = [d for d in places if d.parent == address and d.server_id]
                out.append(
                    Provider(
                        uuid=an_id("provider", host.name, address),
                        name=f"{host.name}_pci_{address.replace(':', '_').replace('.', '_')}",
                        host=host.name,
                        generation=3,
                        parent_uuid=root,
                        device=address,
                        gpu=gpu.address,
                        inventories=(Inventory(resource_class="VGPU", total=1 if gpu.sriov else 4, max_unit=1),),
                        allocations=tuple(Allocation(d.server_id or "", {"VGPU": 1}) for d in here),
                        traits=("CUSTOM_NVIDIA_A100",) if "A100" in gpu.model else (),
                    )
                )
    out.append(
        Provider(
            uuid=an_id("provider", "gpu-04", "41"),
            name="gpu-04_pci_0000_41_00_0",
            host="gpu-04",
            generation=7,
            parent_uuid=an_id("provider", "gpu-04"),
            device="0000:41:00.0",
            inventories=(Inventory(resource_class="VGPU", total=8, reserved=8),),
        )
    )
    return tuple(out)


def small_fleet(*, broken: bool = True) -> Snapshot:
    """Six hosts: two with A100, one A40, one that is silent, one with T4 (no SR-IOV), one with L40S on vendor VFIO.

    ``broken`` False makes every source answer, so that a command on it ends with exit code 0; the silent host then
    is one whose devices nobody could know.
    """
    devices = _devices()
    hosts = _hosts(devices)
    names = [h.name for h in hosts]
    silent = "no answer within {} s" if broken else None
    sources = (
        status("nova"),
        status("placement"),
        status("keystone", age=31.0, notes=("limits: only this project's are visible",) if broken else ()),
        *(
            status("libvirt", n, error=silent.format(5) if silent else None, age=41.0)
            if n == "gpu-04"
            else status("libvirt", n, age=4.0)
            for n in names
        ),
        *(
            status("ssh", n, error=silent.format(10) if silent else None, age=41.0)
            if n == "gpu-04"
            else status("ssh", n, age=12.0)
            for n in names
        ),
    )
    return Snapshot(
        taken_at=NOW,
        identity=CloudIdentity(
            cloud="prod",
            region="RegionOne",
            user="admin",
            scope="admin (project)",
            limits_scope="system all",
            read_only=False,
        ),
        sources=sources,
        hosts=hosts,
        mdevs=devices,
        servers=_servers(),
        quotas=_quotas(),
        migrations=_migrations(),
        providers=_providers(hosts, devices),
        findings=tuple(f for h in hosts for f in h.findings),
    )
