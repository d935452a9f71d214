"""States of a GPU as a whole that decide what can be put on it: MIG, mixed sizes, an ECC change that waits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache

from vgpu_console.model.evidence import host_says
from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu
from vgpu_console.rules.catalogue import CatalogueRow, load_catalogue
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.diagnosis.vendor_vfio import specs_of
from vgpu_console.rules.nova_conf import addresses_of, enabled_types

MIG_OFF = Diagnosis(
    id="mig-off",
    severity="fail",
    title="nova.conf wants MIG-backed types, and the GPU's MIG mode is off",
    why="The GPU offers none of these types. On Hopper and later GPUs MIG mode and its instances are gone after every "
    "boot.",
    needs=("ssh",),
)
MIG_ON = Diagnosis(
    id="mig-on",
    severity="fail",
    title="nova.conf wants time-sliced types, and the GPU's MIG mode is on",
    why="The GPU offers none of these types while it is cut into instances.",
    needs=("ssh",),
)
ECC_PENDING = Diagnosis(
    id="ecc-pending",
    severity="info",
    title="A change of a GPU's ECC mode waits for a reset",
    why="The GPU has another ECC mode after the next boot than now. A live migration between GPUs of which only one "
    "has ECC stops before its end.",
    needs=("ssh",),
)
MIXED_OFF = Diagnosis(
    id="mixed-mode-off",
    severity="info",
    title="nova.conf gives a GPU types of several sizes, and its mixed-size mode is off",
    why="The GPU takes only the size that comes first: Placement loses the providers of the other one while that is "
    "there. sriov-manage switches the mode off each time it runs.",
    needs=("ssh",),
)
MIXED_ON = Diagnosis(
    id="mixed-mode-on",
    severity="info",
    title="A GPU is in mixed-size mode, and nova.conf gives it one size",
    why="In this mode fewer vGPUs of most types fit on a GPU than with equal sizes.",
    needs=("ssh",),
)


def _wanted(host: Host, gpu: PhysicalGpu) -> list[CatalogueRow]:
    """The types that nova.conf means for a GPU, as far as the catalogue knows them.

    On vendor VFIO it names resource classes only; a class that is called after a type of this board stands for it.
    """
    if gpu.mechanism == "vendor-vfio":
        specs = specs_of(host.nova_conf or {})
        found = {spec.resource_class for f in gpu.functions if (spec := specs.of(gpu, f.address)) is not None}
        names = [c.removeprefix("CUSTOM_").replace("_", "-") for c in sorted(c for c in found if c)]
    else:
        names = [t.type_name or t.type_id for t in gpu.types if t.enabled]
        if len(names) > 1 and _contradicts(host.nova_conf or {}):
            return []  # Nova does not start with it: told as that
    return [row for name in names if (row := _row(name, gpu.product_id)) is not None]


@lru_cache(maxsize=4096)
def _row(type_name: str, product_id: str) -> CatalogueRow | None:
    return load_catalogue().lookup(type_name, product_id or None)


def _contradicts(conf: Mapping[str, str]) -> bool:
    """Whether nova.conf gives one device to two types."""
    named = [address for type_id in enabled_types(conf) or () for address in set(addresses_of(conf, type_id))]
    return len(named) > len(set(named))


def _modes(ground: Ground) -> Iterator[Finding]:
    for host, gpu in ground.gpus():
        if gpu.ecc is not None and gpu.ecc_pending is not None and gpu.ecc != gpu.ecc_pending:
            yield _ecc(host, gpu)
        if (gpu.mig is None and gpu.mixed_sizes is None) or host.nova_conf is None:
            continue
        wanted = _wanted(host, gpu)
        yield from _mig(host, gpu, wanted)
        yield from _sizes(host, gpu, [row for row in wanted if not row.mig])


def _where(host: Host, gpu: PhysicalGpu) -> str:
    return f"gpu {host.name} {gpu.address}"


def _smi(host: Host, *words: str) -> str:
    return f"ssh {shlex.quote(host.name)} {shlex.join(['sudo', 'nvidia-smi', *words])}"


def _ecc(host: Host, gpu: PhysicalGpu) -> Finding:
    now, then = ("on" if gpu.ecc else "off"), ("on" if gpu.ecc_pending else "off")
    return ECC_PENDING.found(
        _where(host, gpu),
        f"ECC is {now}, and {then} after the next reset of the GPU",
        host_says(host.name, f"nvidia-smi: ecc.mode.current {now}, ecc.mode.pending {then}"),
        host=host.name,
        command=_smi(host, "--gpu-reset", "-i", gpu.address) + "   # no vGPU may be on it",
    )


def _mig(host: Host, gpu: PhysicalGpu, wanted: list[CatalogueRow]) -> Iterator[Finding]:
    for diagnosis, state, mig in ((MIG_OFF, False, True), (MIG_ON, True, False)):
        names = [row.name for row in wanted if row.mig is mig]
        if gpu.mig is state and names:
            yield diagnosis.found(
                _where(host, gpu),
                f"MIG mode is {'on' if state else 'off'}, and nova.conf wants {', '.join(names[:3])}",
                host_says(host.name, f"nvidia-smi: mig.mode.current {'Enabled' if state else 'Disabled'}"),
                host_says(host.name, f"nova.conf: {', '.join(names[:3])} for {gpu.address}"),
                host=host.name,
                command=_smi(host, "-i", gpu.address, "-mig", "0" if state else "1"),
            )


def _sizes(host: Host, gpu: PhysicalGpu, wanted: list[CatalogueRow]) -> Iterator[Finding]:
    sizes = {row.framebuffer_mib for row in wanted}
    if None in sizes or not sizes or gpu.mixed_sizes is None or gpu.mig:
        return
    names = ", ".join(row.name for row in wanted[:3])
    mode = host_says(host.name, f"nvidia-smi: vGPU heterogeneous mode {'on' if gpu.mixed_sizes else 'off'}")
    conf = host_says(host.name, f"nova.conf: {names} for {gpu.address}")
    if len(sizes) > 1 and not gpu.mixed_sizes:
        yield MIXED_OFF.found(
            _where(host, gpu),
            f"nova.conf gives it {names}, of different sizes, and it takes one size at a time",
            mode,
            conf,
            host=host.name,
            command=_smi(host, "vgpu", "-i", gpu.address, "-shm", "1") + "   # before any vGPU is on it",
            severity="warn" if gpu.mechanism == "vendor-vfio" else None,
        )
    elif len(sizes) == 1 and gpu.mixed_sizes:
        row = wanted[0]
        fewer = f": {row.max_mixed} of {row.name} fit instead of {row.max}" if _fewer(row) else ""
        yield MIXED_ON.found(
            _where(host, gpu),
            f"is in mixed-size mode, and nova.conf gives it {names} only{fewer}",
            mode,
            conf,
            host=host.name,
            command=_smi(host, "vgpu", "-i", gpu.address, "-shm", "0") + "   # before any vGPU is on it",
        )


def _fewer(row: CatalogueRow) -> bool:
    return row.max is not None and row.max_mixed is not None and row.max_mixed < row.max


CHAPTER = Chapter((MIG_OFF, MIG_ON, ECC_PENDING, MIXED_OFF, MIXED_ON), (_modes,))
