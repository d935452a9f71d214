"""Hand-built snapshots for the screens, and an engine that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tests.builders import parts
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.runner import World
from vgpu_console.model.facts import CloudIdentity, Facts
from vgpu_console.model.placement import Allocation, Candidates, RequestGroup
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    LimitOrigin,
    MediatedDevice,
    Migration,
    MissingMeaning,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    QuotaTotals,
    Snapshot,
    TypeCapacity,
    VgpuServer,
    VirtualFunction,
)
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.screens.seams import Mover

NOW = 1_790_000_000.0
"""The moment at which all pictures are taken (2026-09-21 14:13:20 UTC)."""

IDENTITY = CloudIdentity(
    cloud="prod", region="RegionOne", user="op", scope="admin (project)", limits_scope="system all", read_only=False
)


def source(kind: SourceKind, age: float | None = 2.0, *, host: str = "", error: str | None = None) -> SourceStatus:
    """A source that answered ``age`` seconds ago, and failed since if ``error`` says how."""
    return SourceStatus(
        kind=kind,
        host=host,
        fetched_at=None if age is None else NOW - age,
        attempted_at=NOW - 1,
        error=error,
        error_kind="timeout" if error else None,
        failures=3 if error else 0,
        next_at=NOW + 4,
        interval_s=60.0 if kind == "ssh" else 10.0,
    )


def gpu(
    host: str,
    slot: int,
    model: str,
    kind: str,
    used: int | None,
    maximum: int | None,
    *,
    vfs: int = 16,
    mechanism: str = "mdev",
    enabled: int | None = None,
) -> PhysicalGpu:
    """A GPU of ``vfs`` virtual functions whose first ``used`` hold a vGPU."""
    board = f"0000:{0x41 + slot * 0x40:02x}:00.0"
    functions = tuple(
        VirtualFunction(
            host=host,
            gpu=board,
            address=f"{board[:8]}{(i + 4) // 8:02x}.{(i + 4) % 8}",
            mdevs=(mdev_uuid(host, slot, i),) if mechanism == "mdev" and i < (used or 0) else (),
            current_vgpu_type=None if mechanism == "mdev" else (1145 if i < (used or 0) else 0),
            creatable=("nvidia-472",) if i >= (used or 0) and (used or 0) < (maximum or 0) else (),
        )
        for i in range(vfs if enabled is None else enabled)
    )
    capacity = TypeCapacity(
        host=host,
        gpu=board,
        type_id="nvidia-472",
        type_name=kind,
        framebuffer_mib=20480,
        max=maximum,
        max_source="host",
        created=used,
        used=used,
        available=None if maximum is None or used is None else maximum - used,
    )
    return PhysicalGpu(
        host=host,
        address=board,
        model=model,
        mechanism=mechanism,  # type: ignore[arg-type]
        vfs_enabled=(len(functions) if vfs else None),
        vfs_total=vfs or None,
        sriov=bool(vfs),
        functions=functions,
        types=(capacity,),
        active_type="nvidia-472",
        active_type_name=kind,
        vgpus_created=used,
        vgpus_used=used,
        vgpus_max=maximum,
        max_source="host",
    )


def mdev_uuid(host: str, slot: int, place: int) -> str:
    """A uuid that tells where its device lives."""
    return f"4b20d080-{slot:04d}-4048-85b3-{int(host[-2:]):06d}{place:06d}"


def host(name: str, gpus: tuple[PhysicalGpu, ...] | None, **more: Any) -> Host:
    """A host of this fleet whose counts are those of its GPUs."""
    known: dict[str, Any] = {
        "driver": "550.90.05",
        "kernel": "5.14.0-427.el9.x86_64",
        "os_name": "Red Hat Enterprise Linux 9.4",
        "libvirt": "10.0.0",
        "qemu": "8.2.0",
        "zone": "nova",
        "nova_conf": {"devices.enabled_mdev_types": "nvidia-472", "libvirt.live_migration_downtime": "500"},
    }
    return parts.host(name, gpus, **{**known, **more})


def six_hosts() -> tuple[Host, ...]:
    """The fleet of the sketch: A100, A40, T4, L40S, one silent, one disabled."""
    a100 = "A100 PCIe 40GB"
    return (
        host("gpu-01", (gpu("gpu-01", 0, a100, "GRID A100-20C", 2, 2), gpu("gpu-01", 1, a100, "GRID A100-20C", 1, 2))),
        host(
            "gpu-02",
            (gpu("gpu-02", 0, a100, "GRID A100-20C", 1, 2), gpu("gpu-02", 1, a100, "GRID A100-20C", 0, 2)),
            driver="550.54.16",
            findings=(
                Finding(
                    id="driver-differs",
                    severity="warn",
                    object="host gpu-02",
                    message="the driver differs from gpu-01's: 550.54.16, 550.90.05",
                    host="gpu-02",
                ),
                Finding(
                    id="x", severity="info", object="host gpu-02", message="QEMU is older than 8.2.1", host="gpu-02"
                ),
            ),
        ),
        host("gpu-03", (gpu("gpu-03", 0, "A40", "NVIDIA A40-8Q", 5, 6),)),
        host(
            "gpu-04",
            (
                gpu("gpu-04", 0, a100, "GRID A100-10C", 2, 4, enabled=0),
                gpu("gpu-04", 1, a100, "GRID A100-10C", 0, 4, enabled=0),
            ),
            stale=True,
            errors=("libvirt: no answer within 5 s", "ssh: no route to host"),
            findings=(
                Finding(id="vfs-off", severity="fail", object="host gpu-04", message="no virtual function is enabled"),
            ),
        ),
        host(
            "gpu-05",
            (
                gpu("gpu-05", 0, "T4", "GRID T4-4Q", 2, 4, vfs=0),
                gpu("gpu-05", 1, "T4", "GRID T4-4Q", 1, 4, vfs=0),
            ),
            driver="535.183.01",
        ),
        host(
            "gpu-06",
            (gpu("gpu-06", 0, "L40S", "NVIDIA L40S-12Q", 3, 4, vfs=32, mechanism="vendor-vfio"),),
            driver="570.86.10",
            service_status="disabled",
            disabled_reason="firmware update until Friday",
        ),
    )


_PROJECTS = (("a1", "ml-research"), ("b2", "vdi"), ("c3", "render"), ("d4", "students"))


def devices(hosts: Iterable[Host]) -> tuple[MediatedDevice, ...]:
    """A device on every function that has one; each belongs to a server of the next project."""
    found = []
    for one in hosts:
        for slot, board in enumerate(one.gpus or ()):
            places = board.functions or tuple(
                VirtualFunction(host=one.name, gpu=board.address, address=board.address)
                for _ in range(board.vgpus_used or 0)
            )
            for i in range(min(board.vgpus_used or 0, len(places))):
                project_id, project = _PROJECTS[(slot + i) % 4]
                number = int(one.name[-2:]) * 100 + slot * 10 + i
                found.append(
                    MediatedDevice(
                        uuid=None if board.mechanism == "vendor-vfio" else mdev_uuid(one.name, slot, i),
                        host=one.name,
                        parent=places[i].address,
                        gpu=board.address,
                        type_id="nvidia-472",
                        type_name=board.active_type_name or "",
                        mechanism=board.mechanism,
                        state="active",
                        server_id=server_id(number),
                        server=f"vm-{project[:6]}-{number}",
                        project_id=project_id * 16,
                        project=project,
                        used=True,
                    )
                )
    return tuple(found)


def server_id(number: int) -> str:
    """A server's id by its number."""
    return f"7f3c0000-0000-4000-8000-{number:012d}"


def fleet(**changes: Any) -> Snapshot:
    """The whole small fleet at ``NOW``; ``changes`` replace fields of the snapshot."""
    hosts = six_hosts()
    mdevs = devices(hosts)
    servers = tuple(
        VgpuServer(
            id=m.server_id or "",
            name=m.server or "",
            project_id=m.project_id or "",
            project=m.project or "",
            host=m.host,
            status="MIGRATING" if i == 3 else "ACTIVE",
            task_state="migrating" if i == 3 else None,
            vgpus=1,
            flavor="gpu.large",
            ram_mib=32768,
            types=(m.type_name,),
            devices=(m.uuid or m.parent or "",),
            allocated=1,
            allocated_on=("5e0c0000-0000-4000-8000-000000000001",),
            requested={"VGPU": 1},
            created="2026-08-01T10:00:00Z",
        )
        for i, m in enumerate(mdevs)
    )
    quotas = (
        quota("a1", "ml-research", 10, "project", 8, moving=2),
        quota("b2", "vdi", 6, "project", 6, leaked=1),
        quota("c3", "render", 4, "default", 2),
        quota("d4", "students", None, "missing", 1),
    )
    moving = servers[3] if len(servers) > 3 else None
    migrations = (
        (
            Migration(
                uuid="aaaa0000-0000-4000-8000-000000000001",
                server_id=moving.id,
                server=moving.name,
                project=moving.project,
                source="gpu-02",
                destination="gpu-01",
                status="running",
                running=True,
                vgpu=True,
                progress=68,
                created_at="2026-09-21T14:12:39Z",
                updated_at="2026-09-21T14:13:18Z",
                memory_total_bytes=32 * 2**30,
                memory_processed_bytes=22 * 2**30,
                memory_remaining_bytes=10 * 2**30,
            ),
            Migration(
                uuid="aaaa0000-0000-4000-8000-000000000002",
                server_id=servers[0].id,
                server=servers[0].name,
                project=servers[0].project,
                source="gpu-03",
                destination="gpu-01",
                status="error",
                running=False,
                vgpu=True,
                created_at="2026-09-20T09:00:00Z",
                updated_at="2026-09-20T09:02:00Z",
            ),
        )
        if moving
        else ()
    )
    sources: list[SourceStatus] = [source("nova"), source("placement"), source("keystone", 31)]
    sources[2] = msgspec.structs.replace(sources[2], interval_s=60.0)
    for one in hosts:
        silent = one.name == "gpu-04"
        sources.append(
            source("libvirt", 41 if silent else 3, host=one.name, error="no answer within 5 s" if silent else None)
        )
        sources.append(source("ssh", 55 if silent else 12, host=one.name, error="no route to host" if silent else None))
    whole = Snapshot(
        taken_at=NOW,
        identity=IDENTITY,
        sources=tuple(sources),
        hosts=hosts,
        mdevs=mdevs,
        servers=servers,
        quotas=quotas,
        quota_totals=TOTALS,
        quota_findings=QUOTA_FINDINGS,
        missing_limit=MissingMeaning(
            "unlimited", "Nova speaks 2.100: since 31 (2025.1) only 'servers' must be registered"
        ),
        migrations=migrations,
        providers=(
            Provider(
                uuid="5e0c0000-0000-4000-8000-000000000001",
                name="gpu-01_pci_0000_41_00_4",
                host="gpu-01",
                generation=7,
                allocations=(
                    *(Allocation(one.id, {"VGPU": 1}) for one in servers),
                    *(Allocation(one.uuid, {"VGPU": 1}) for one in migrations if one.running),
                ),
            ),
        ),
    )
    return msgspec.structs.replace(whole, **changes)


def quota(
    project_id: str,
    project: str,
    limit: int | None,
    origin: LimitOrigin,
    used: int | None,
    *,
    moving: int = 0,
    leaked: int = 0,
) -> ProjectQuota:
    """A project's quota of VGPU; its ids are made of ``project_id``."""
    limit_id = f"{project_id}-limit"
    return parts.quota(project_id * 16, project, limit, origin, used, limit_id=limit_id, moving=moving, leaked=leaked)


TOTALS = (
    QuotaTotals(resource="class:VGPU", promised=34, unlimited=1, unknown=0, capacity=26, used=17, unreserved=None),
)

QUOTA_FINDINGS = (
    Finding(
        id="limit-not-registered",
        severity="fail",
        object="limit class:CUSTOM_L40S_12Q",
        message="2 flavors ask for it and no registered limit is there: on this Nova that means no limit at all",
        command="openstack registered limit create --service 5e1 --default-limit 4 class:CUSTOM_L40S_12Q",
    ),
    Finding(
        id="project-over-limit",
        severity="warn",
        object="project vdi",
        message="uses 6 of 6 class:VGPU, one of them leaked",
        command="openstack limit set --resource-limit 7 b2-limit",
        key="l",
    ),
    Finding(
        id="unified-limits-unknown",
        severity="info",
        object="nova",
        message="whether Nova enforces unified limits is not known: no nova.conf could be read",
        command=r"grep -A 20 '^\[quota\]' /etc/nova/nova.conf",
    ),
)


def all_down() -> Snapshot:
    """What there is when no source has ever answered."""
    return Snapshot(
        taken_at=NOW,
        identity=IDENTITY,
        sources=(
            source("nova", None, error="connection refused: https://prod.example:8774"),
            source("placement", None, error="connection refused: https://prod.example:8778"),
            source("keystone", None, error="the password was not accepted (401)"),
        ),
    )


class StillEngine:
    """An engine that shows what it is given: at the start, and with each ``deliver``."""

    def __init__(self, *snapshots: Snapshot, world: World | None = None, journal: Journal | None = None) -> None:
        self._at_start = snapshots
        self._receive: Callable[[Snapshot], None] = lambda snapshot: None
        self.paused = False
        self.world = world
        self.journal = journal
        self.mover: Mover | None = None
        self.calls: list[str] = []

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Deliver the first snapshots at once."""
        self._receive = on_snapshot
        for snapshot in self._at_start:
            on_snapshot(snapshot)

    def facts(self) -> Facts:
        """Nothing: what is shown was built by hand."""
        return Facts()

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """There is no Placement behind it."""
        return Candidates(error="placement: no such service")

    def deliver(self, snapshot: Snapshot) -> None:
        """A new snapshot."""
        self._receive(snapshot)

    def stop(self) -> None:
        """Nothing runs."""
        self.calls.append("stop")

    def refresh_now(self) -> None:
        """Remember that it was asked."""
        self.calls.append("refresh")

    def pause(self) -> None:
        """Hold."""
        self.paused = True

    def resume(self) -> None:
        """Go on."""
        self.paused = False
