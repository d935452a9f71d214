"""A small fleet with every state an operator meets, fixed to the last digit: golden files are compared with it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.builders.parts import PROJECTS, an_id, capacity, device, host, quota, server, sriov_gpu
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.placement import Allocation, Inventory
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    LimitOrigin,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    VgpuServer,
)
from vgpu_console.model.source import SourceStatus

NOW = 1_760_000_000.0


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


_A100, _A40, _T4, _L40S = (
    ("nvidia-472", "GRID A100-20C", 20_480),
    ("nvidia-559", "NVIDIA A40-8Q", 8_192),
    ("nvidia-232", "GRID T4-4Q", 4_096),
    ("nvidia-1155", "NVIDIA L40S-12Q", 12_288),
)


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
    system = "Red Hat Enterprise Linux 9.5 (Plow)"
    return host(name, gpus, driver=driver, used_source="libvirt", os_name=system, **more)


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
    def of(name: str, limit: int | None, origin: LimitOrigin, used: int, moving: int = 0) -> ProjectQuota:
        return quota(PROJECTS[name], name, limit, origin, used, limit_id=an_id("limit", name), moving=moving)

    return (
        of("ml-research", 10, "project", 6, moving=1),
        of("vdi", 8, "project", 8),
        of("render", 4, "default", 2),
        of("students", None, "missing", 1),
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
    for one in hosts:
        root = an_id("provider", one.name)
        out.append(
            Provider(uuid=root, name=one.name, host=one.name, generation=12, inventories=(), allocations=(), traits=())
        )
        for gpu in one.gpus or ():
            places = [d for d in devices if d.host == one.name and d.gpu == gpu.address]
            addresses = sorted({d.parent or "" for d in places})
            for address in addresses:
                here = [d for d in places if d.parent == address and d.server_id]
                out.append(
                    Provider(
                        uuid=an_id("provider", one.name, address),
                        name=f"{one.name}_pci_{address.replace(':', '_').replace('.', '_')}",
                        host=one.name,
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
