"""What ``max_instances`` does to a type over all GPUs of a host: a cap for the whole host, met in libvirt's order.

Nova walks the functions as libvirt lists them and reports none of those that would exceed the cap (nova:
virt/libvirt/driver.py, _get_gpu_inventories). The order is of a hash table, another one at every start of libvirtd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.nova_gpu import NovaSideRow, State, label
from vgpu_console.rules.nova_side import nova_side


class NovaTypeSide(msgspec.Struct, frozen=True, kw_only=True):
    """One type over all GPUs of a host. ``usable_least`` and ``usable_most``: by the order in which Nova meets them."""

    host: str
    type_id: str
    type_name: str
    gpus: int
    max_instances: int | None
    idle_total: int | None  # what Nova reports in all while the GPUs are empty, the cap included
    placement_total: int | None
    real: int | None
    usable_least: int | None
    usable_most: int | None
    over_reported: int | None
    stranded: int | None
    state: State
    verdict: str


def nova_types(snapshot: Snapshot, host_name: str) -> tuple[NovaTypeSide, ...]:
    """Every type of ``enabled_mdev_types`` over all GPUs of a host, with what a cap does to it."""
    host = snapshot.host(host_name)
    rows = [r for r in nova_side(snapshot, host_name) if r.type_id and r.mechanism != "vendor-vfio"]
    by_type: dict[str, list[NovaSideRow]] = defaultdict(list)
    for row in rows:
        if row.configured:
            by_type[row.type_id].append(row)
    sriov = {g.address: bool(g.sriov or g.functions) for g in (host.gpus if host else None) or ()}
    return tuple(_type_side(type_id, mine, sriov) for type_id, mine in by_type.items())


def _type_side(type_id: str, rows: Sequence[NovaSideRow], sriov: Mapping[str, bool]) -> NovaTypeSide:
    name = label(type_id, rows[0].type_name)
    cap = rows[0].max_instances
    placed = [r.placement_total for r in rows]
    on = [r for r in rows if r.functions and r.state != "fail"]  # of the others Nova can report none
    known = all(r.real is not None and r.idle_total is not None for r in on)
    real = sum(r.real or 0 for r in on) if known else None
    offers: list[list[tuple[str, int]]] = [  # per GPU: what each of its devices would report, empty
        [(r.gpu, 1) for _ in r.functions] if sriov.get(r.gpu) else [(r.gpu, r.idle_total or 0)] for r in on
    ]
    least = most = idle = None
    if known and real is not None:
        able = {r.gpu: r.real or 0 for r in on}
        walks = [_walked(order, cap) for order in _orders(offers, able)]
        usable = [sum(min(n, able[gpu]) for gpu, n in kept.items()) for kept in walks]
        least, most = min(usable, default=0), max(usable, default=0)
        idle = max((sum(kept.values()) for kept in walks), default=0)
    listed = sum(r.stranded or 0 for r in rows)
    stranded = None if real is None or most is None else max(0, real - most) + listed
    over = None if idle is None or real is None else max(0, idle - real)
    state, verdict = _type_verdict(name, cap, idle, real, least, most, over, listed)
    return NovaTypeSide(
        host=rows[0].host,
        type_id=type_id,
        type_name=rows[0].type_name,
        gpus=len(rows),
        max_instances=cap,
        idle_total=idle,
        placement_total=None if None in placed else sum(p or 0 for p in placed),
        real=real,
        usable_least=least,
        usable_most=most,
        over_reported=over,
        stranded=stranded,
        state=state,
        verdict=verdict,
    )


def _orders(offers: Sequence[Sequence[tuple[str, int]]], able: Mapping[str, int]) -> list[list[tuple[str, int]]]:
    """The worst and the best orders in which libvirt could list the devices: GPU after GPU, and in turns."""
    by_room = sorted((list(o) for o in offers if o), key=lambda o: able.get(o[0][0], 0))
    ascending = [one for group in by_room for one in group]
    descending = [one for group in reversed(by_room) for one in group]
    longest = max((len(o) for o in by_room), default=0)
    turns = [group[n] for n in range(longest) for group in reversed(by_room) if n < len(group)]
    return [ascending, descending, turns]


def _walked(order: Iterable[tuple[str, int]], cap: int | None) -> dict[str, int]:
    """What Nova keeps of each GPU: a device that would exceed the cap is left out as a whole, later ones may fit."""
    kept: dict[str, int] = defaultdict(int)
    total = 0
    for gpu, count in order:
        if cap is not None and total + count > cap:
            continue
        total += count
        kept[gpu] += count
    return kept


def _type_verdict(
    name: str,
    cap: int | None,
    idle: int | None,
    real: int | None,
    least: int | None,
    most: int | None,
    over: int | None,
    listed: int,
) -> tuple[State, str]:
    if idle is None or real is None or least is None or most is None:
        return "unknown", f"the real maximum of {name} is not known on every GPU"
    parts = []
    if over:
        parts.append(f"{idle} VGPU reported of empty GPUs for {real} real: {over} over-reported")
    if listed:
        parts.append(f"{listed} stranded: see the GPUs that cannot make it, or of which too few functions are named")
    if cap is not None and most < real:
        parts.append(f"max_instances {cap} leaves {real - most} of {real} real vGPUs unused")
    if cap is not None and least < most:
        parts.append(
            f"max_instances {cap} takes functions in libvirt's order, which changes at every start of libvirtd: of the "
            f"{idle} it reports between {least} and {most} can start, until a GPU is full and Nova updates"
        )
    if parts:
        return "warn", "; ".join(parts)
    return "ok", f"{idle} VGPU reported of empty GPUs, {real} real"
