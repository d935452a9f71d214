"""What Nova is told of a host's GPUs, what Placement says, and what the hardware can do: three figures that differ.

On an SR-IOV GPU Nova makes a provider of each virtual function and gives it what that function could create at the
moment: 1 each while the GPU is empty, however few the GPU can really carry. ``max_instances`` is a cap for the whole
host: Nova walks the functions in the order in which libvirt lists them, and reports none of the rest. That order is of
a hash table, another one at every start of libvirtd (nova: virt/libvirt/driver.py, _get_gpu_inventories).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from vgpu_console.model.snapshot import MediatedDevice, Snapshot
from vgpu_console.rules.nova_conf import addresses_of, max_instances_of
from vgpu_console.rules.nova_gpu import GpuSide, NovaSideRow, State, label
from vgpu_console.rules.nova_side_pci import vendor_rows


def nova_side(snapshot: Snapshot, host_name: str) -> tuple[NovaSideRow, ...]:
    """Every GPU of a host with each type that Nova is told of or that it carries; () for a host that is not known."""
    host = snapshot.host(host_name)
    if host is None:
        return ()
    rows: list[NovaSideRow] = []
    for gpu in host.gpus or ():
        side = GpuSide(snapshot, host, gpu)
        if gpu.mechanism == "vendor-vfio":
            rows += vendor_rows(side)
        else:
            rows += _mdev_rows(side)
    return tuple(rows)


def _mdev_rows(side: GpuSide) -> list[NovaSideRow]:
    configured = side.configured_types()
    carried = side.carried()
    types = list(dict.fromkeys([*(configured or ()), *carried]))
    return [_mdev_row(side, t, configured, carried, first=n == 0) for n, t in enumerate(types or [""])]


def _mdev_row(
    side: GpuSide,
    type_id: str,
    configured: tuple[str, ...] | None,
    carried: Mapping[str, Sequence[MediatedDevice]],
    *,
    first: bool,
) -> NovaSideRow:
    gpu, capacity = side.gpu, side.capacity(type_id)
    most = capacity.max if capacity is not None else None
    is_configured = None if configured is None else type_id in configured
    functions = tuple(a for a in side.addresses() if is_configured and side.type_of(a) == type_id)
    nobodys = [a for a in side.providers if configured is not None and side.type_of(a) is None and _offers(side, a)]
    if is_configured and side.off:
        asked: Iterable[str] = side.providers
    else:
        asked = [*functions, *(nobodys if first else ())] if configured is not None else side.providers
    placed = side.offered(asked)
    idle = (len(functions) if side.virtual else most) if is_configured else 0 if configured is not None else None
    real = None if most is None else min(most, len(functions)) if side.virtual else most
    if is_configured is False or (is_configured and (side.off or side.pinned_by(type_id))):
        real = 0
    if is_configured is None:
        real = most
    over = max(0, placed[0] - real) if placed is not None and real is not None else None
    stranded = max(0, most - real) if is_configured and most is not None and real is not None else None
    row = NovaSideRow(
        host=side.host.name,
        gpu=gpu.address,
        model=gpu.model,
        mechanism=gpu.mechanism,
        type_id=type_id,
        type_name=capacity.type_name if capacity is not None else "",
        configured=is_configured,
        by_default=bool(is_configured) and not addresses_of(side.conf or {}, type_id),
        device_addresses=side.listed(type_id),
        functions=functions,
        max_instances=max_instances_of(side.conf, type_id) if side.conf is not None else None,
        idle_total=idle,
        placement_total=placed[0] if placed is not None else None,
        placement_used=placed[1] if placed is not None else None,
        max=most,
        real=real,
        over_reported=over,
        stranded=stranded,
        left_over=tuple(side.providers[a].uuid for a in nobodys) if first else (),
        state="unknown",
        verdict="",
    )
    state, verdict = _judged(side, row, carried)
    return msgspec.structs.replace(row, state=state, verdict=verdict)


def _offers(side: GpuSide, address: str) -> bool:
    return bool(side.providers[address].inventories)


def _judged(side: GpuSide, row: NovaSideRow, carried: Mapping[str, Sequence[MediatedDevice]]) -> tuple[State, str]:
    name = label(row.type_id, row.type_name)
    if row.configured is None:
        return "unknown", "nova.conf was not read: what Nova makes on this GPU is not known"
    if not row.configured:
        number = len(carried.get(row.type_id, ()))
        if number:
            return "warn", f"nova.conf does not enable {name} here: Nova neither counts nor hands out its {number}"
        return "ok", "no type is enabled on it: Nova makes no vGPU here" + _left_over(row)
    offered = row.placement_total
    if side.off:
        still = f"; Placement still offers {offered}, which cannot start" if offered else ""
        return "fail", f"none of its {side.gpu.vfs_total} virtual functions is on: Nova can make none{still}"
    others = side.pinned_by(row.type_id)
    if others:
        what = ", ".join(f"{len(d)} {label(t, d[0].type_name)}" for t, d in others.items())
        return "fail", f"it carries {what}: Nova reports no {name} and drops its providers until those are removed"
    if row.max is None or row.real is None or row.idle_total is None:
        return "unknown", f"the real maximum of {name} on this GPU is not known" + _left_over(row)
    parts: list[str] = []
    over = max(row.over_reported or 0, row.idle_total - row.real)
    if row.idle_total > row.real:
        parts.append(
            f"Nova reports 1 for each of {row.idle_total} virtual functions of an empty GPU, "
            f"{row.real} {'is' if row.real == 1 else 'are'} real: {row.idle_total - row.real} over-reported"
        )
    if row.over_reported:
        parts.append(f"Placement offers {offered} now, {row.over_reported} more than can start")
    if row.stranded:
        parts.append(
            f"nova.conf names {len(row.functions)} of its functions, it can carry {row.max}: {row.stranded} stranded"
        )
    waiting = sum(1 for d in carried.get(row.type_id, ()) if d.state == "defined" and not d.used)
    if waiting:
        parts.append(f"{waiting} defined, not running: Nova counts its function twice until it is started")
    if not parts and offered is not None and offered < row.real:
        parts.append(
            f"Placement offers {offered} of {row.real} real: nova-compute has not reported yet, or a cap cuts it"
        )
    if row.max_instances is not None:
        parts.append(f"max_instances {row.max_instances} is for the whole host, whichever GPU comes first")
    if over or parts:
        return "warn", "; ".join(parts) + _left_over(row)
    if side.gpu.vgpus_created is None:
        return "unknown", f"{row.idle_total} reported of an empty GPU; what it carries now is not known"
    told = "Placement tells the truth" if offered is not None else "Placement was not read"
    return ("ok" if offered is not None else "unknown"), f"{row.idle_total} reported, {row.real} real: {told}"


def _left_over(row: NovaSideRow) -> str:
    number = len(row.left_over)
    if not number:
        return ""
    return f"; {number} provider{'s' if number > 1 else ''} of functions without a type stay in Placement until deleted"
