"""Mediated devices: active, used, and of a type that Nova hands out."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis.ground import Ground, host_says, libvirt_says
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

NOT_ACTIVE = Diagnosis(
    id="mdev-not-active",
    severity="warn",
    title="A mediated device is defined but not active",
    why="nova-compute starts it only at its own start; until then its function's provider counts it beside what can be "
    "created, and boots there fail.",
    needs=("libvirt",),
    action="mdev.start",
)
FREE_PINS = Diagnosis(
    id="free-mdev-pins-type",
    severity="info",
    title="Free mediated devices keep a GPU at its size",
    why="Nova never removes a mediated device: while free ones are left, this GPU takes no vGPU of another size.",
    needs=("libvirt",),
    action="mdev.remove",
)
TYPE_NOT_ENABLED = Diagnosis(
    id="type-not-enabled",
    severity="warn",
    title="A GPU carries a type that nova.conf does not enable there",
    why="Nova neither hands these devices out nor accounts for them, and they keep other types off the GPU.",
    needs=("libvirt", "ssh"),
)


def _states(ground: Ground) -> Iterator[Finding]:
    free: dict[tuple[str, str], int] = defaultdict(int)
    used: set[tuple[str, str]] = set()
    for mdev in ground.snapshot.mdevs:
        if mdev.mechanism != "mdev":
            continue
        if mdev.state == "defined":
            yield NOT_ACTIVE.found(
                f"mdev {mdev.host} {mdev.uuid}",
                "defined but not active"
                + ("" if mdev.parent else "; its virtual function is gone")
                + "; nova-compute starts it at its own start, until then boots on it fail",
                libvirt_says(
                    mdev.host, f"{mdev.type_name or mdev.type_id} on {mdev.parent or 'no function'}: inactive"
                ),
                host=mdev.host,
                command=shlex.join(["vgpu-console", "mdev", "start", mdev.host, mdev.uuid or ""])
                if mdev.parent
                else "",
                key="o" if mdev.parent else "",
            )
        elif mdev.gpu and mdev.used is False:
            free[(mdev.host, mdev.gpu)] += 1
        if mdev.gpu and mdev.used:
            used.add((mdev.host, mdev.gpu))
    for (host, gpu), count in free.items():
        if (host, gpu) not in used:
            yield FREE_PINS.found(
                f"gpu {host} {gpu}",
                f"free mdevs keep this GPU at its size: {count}",
                libvirt_says(host, f"{count} active on {gpu}, held by no domain"),
                host=host,
                key="x",
            )


def _types(ground: Ground) -> Iterator[Finding]:
    for host, gpu in ground.gpus():
        for capacity in gpu.types:
            if capacity.created and capacity.enabled is False:
                name = capacity.type_name or capacity.type_id
                yield TYPE_NOT_ENABLED.found(
                    f"gpu {host.name} {gpu.address}",
                    f"carries {capacity.created} × {name}, which nova.conf does not enable here",
                    libvirt_says(host.name, f"{capacity.created} of {capacity.type_id} on {gpu.address}"),
                    host_says(host.name, f"nova.conf enables {capacity.type_id} for other devices or not at all"),
                    host=host.name,
                    command=f"vgpu-console nova-conf {host.name}",
                    key="N",
                )


CHAPTER = Chapter((NOT_ACTIVE, FREE_PINS, TYPE_NOT_ENABLED), (_states, _types))
