"""Nova's side of a GPU under the vendor VFIO framework: functions with a type, handed out as PCI devices.

Nova counts every function that a ``[pci] device_spec`` matches, with a type or without, on one provider for the GPU
(nova: compute/pci_placement_translator.py); a guest that is given one without a type does not start.
"""

from __future__ import annotations

from collections import defaultdict

from vgpu_console.rules.device_spec import DeviceSpec, device_specs
from vgpu_console.rules.nova_gpu import GpuSide, NovaSideRow, State, label

_TRUE = ("true", "yes", "on", "1")


def vendor_rows(side: GpuSide) -> list[NovaSideRow]:
    """A row for each type that functions of the GPU have; one without a type where none has any."""
    typed: dict[str, list[str]] = defaultdict(list)
    for function in side.gpu.functions:
        if function.current_vgpu_type:
            typed[str(function.current_vgpu_type)].append(function.address)
    return [_row(side, type_id, tuple(typed.get(type_id, ())), first=n == 0) for n, type_id in enumerate(typed or [""])]


def first_match(side: GpuSide, address: str) -> DeviceSpec | None:
    """The ``device_spec`` that Nova applies to a function: the first that matches."""
    specs = device_specs(side.conf) or ()
    return next((s for s in specs if s.matches(address, side.gpu.address, side.gpu.vendor_id)), None)


def _row(side: GpuSide, type_id: str, typed: tuple[str, ...], *, first: bool) -> NovaSideRow:
    gpu, capacity = side.gpu, side.capacity(type_id)
    known = side.conf is not None
    matched = tuple(f.address for f in gpu.functions if first_match(side, f.address) is not None)
    mine = tuple(a for a in typed if a in matched)
    untyped = [f.address for f in gpu.functions if f.address in matched and not f.current_vgpu_type]
    placed = side.offered(side.providers) if first else None
    all_typed = sum(1 for f in gpu.functions if f.current_vgpu_type)
    row_total = len(mine) + (len(untyped) if first else 0)
    state, verdict = _judged(side, type_id, typed, mine, untyped if first else [], placed)
    return NovaSideRow(
        host=side.host.name,
        gpu=gpu.address,
        model=gpu.model,
        mechanism=gpu.mechanism,
        type_id=type_id,
        type_name=capacity.type_name if capacity is not None else "",
        configured=bool(mine) if known else None,
        by_default=False,
        device_addresses=mine,
        functions=typed,
        max_instances=None,
        idle_total=row_total if known else None,
        placement_total=placed[0] if placed is not None else None,
        placement_used=placed[1] if placed is not None else None,
        max=capacity.max if capacity is not None else None,
        real=len(typed),
        over_reported=max(0, placed[0] - all_typed) if placed is not None else None,
        stranded=len(typed) - len(mine) if known else None,
        left_over=(),
        state=state,
        verdict=verdict,
    )


def _judged(
    side: GpuSide,
    type_id: str,
    typed: tuple[str, ...],
    mine: tuple[str, ...],
    untyped: list[str],
    placed: tuple[int, int] | None,
) -> tuple[State, str]:
    if side.conf is None:
        return "unknown", "nova.conf was not read: which functions Nova hands out is not known"
    capacity = side.capacity(type_id)
    name = label(type_id, capacity.type_name if capacity is not None else "")
    parts: list[str] = []
    if typed and len(mine) < len(typed):
        parts.append(f"{len(typed) - len(mine)} of {len(typed)} {name} in no [pci] device_spec: Nova does not use them")
    if untyped:
        parts.append(
            f"device_spec matches {len(untyped)} function{'s' if len(untyped) > 1 else ''} without a type: "
            "Nova hands them out, and those servers do not start"
        )
    specs = [s for s in (first_match(side, a) for a in mine) if s is not None]
    if any(s.managed is not False for s in specs):
        parts.append("device_spec does not say managed: no, so libvirt takes functions from the nvidia driver")
    fixed = [s for s in specs if s.live_migratable is not True]
    if fixed:
        parts.append("not said to be live_migratable: Nova refuses to move these servers")
    reports = side.conf.get("pci.report_in_placement", "").lower() in _TRUE
    if mine and not reports:
        parts.append("report_in_placement is off: Placement counts none of them, and types cannot be told apart")
    if placed is not None and reports and placed[0] != len(mine) + len(untyped) and not parts:
        parts.append(f"Placement counts {placed[0]}, device_spec matches {len(mine) + len(untyped)}")
    if parts:
        return "warn", "; ".join(parts)
    if not typed:
        return "ok", "no function has a type, and Nova hands none out"
    return "ok", f"{len(typed)} {name}, all handed out by Nova"
