"""Hosts as a whole: their service, their sources, and drivers that differ within a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.snapshot import Evidence, Finding
from vgpu_console.rules.diagnosis.ground import Ground, host_says, nova_says
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

SERVICE_DOWN = Diagnosis(
    id="service-down",
    severity="fail",
    title="nova-compute is down",
    why="Nova schedules nothing there, and nothing that runs there can be moved, changed or deleted through Nova.",
    needs=("nova",),
)
SOURCE_FAILED = Diagnosis(
    id="source-failed",
    severity="warn",
    title="A source of facts about a host fails",
    why="What the console shows of this host is old or incomplete.",
    needs=(),
)
DRIVER_DIFFERS = Diagnosis(
    id="driver-differs",
    severity="warn",
    title="Hosts with the same type run different NVIDIA drivers",
    why="Nova does not look at drivers: it starts a live migration between them, which then fails.",
    needs=("ssh",),
)


def _drivers(ground: Ground) -> Iterator[Finding]:
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for host, gpu in ground.gpus():
        if gpu.active_type_name and host.driver and host.name not in groups[gpu.active_type_name][host.driver]:
            groups[gpu.active_type_name][host.driver].append(host.name)
    for type_name, drivers in groups.items():
        if len(drivers) < 2:
            continue
        common = max(drivers, key=lambda d: (len(drivers[d]), d))
        for driver, names in drivers.items():
            for name in names if driver != common else ():
                yield DRIVER_DIFFERS.found(
                    f"host {name}",
                    f"NVIDIA driver {driver}; {', '.join(drivers[common][:3])} with {type_name}: {common}",
                    host_says(name, f"NVIDIA driver {driver}"),
                    *(host_says(other, f"NVIDIA driver {common}") for other in drivers[common][:3]),
                    host=name,
                )


def _services(ground: Ground) -> Iterator[Finding]:
    for host in ground.snapshot.hosts:
        if host.service_state == "down":
            yield SERVICE_DOWN.found(
                f"host {host.name}",
                "nova-compute is down",
                nova_says(f"nova-compute on {host.name}: down, {host.service_status or 'status unknown'}"),
                host=host.name,
                command=f"ssh {host.name} sudo journalctl -u nova-compute -n 100",
            )
    for status in ground.snapshot.sources:
        if status.host and status.error:
            yield SOURCE_FAILED.found(
                f"host {status.host}",
                f"{status.kind}: {status.error}",
                Evidence(status.kind, status.host, status.error),
                host=status.host,
            )


CHAPTER = Chapter((SERVICE_DOWN, SOURCE_FAILED, DRIVER_DIFFERS), (_services, _drivers))
