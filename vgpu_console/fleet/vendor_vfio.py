"""NVIDIA's vendor VFIO framework: a vGPU is a virtual function with a type number in ``current_vgpu_type``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vgpu_console.fleet.boards import Board
from vgpu_console.model.host_facts import LibvirtFacts, Mechanism
from vgpu_console.model.snapshot import MediatedDevice, VirtualFunction


def typed_functions(
    host: str,
    libvirt: LibvirtFacts | None,
    boards: Mapping[str, Board],
    mechanisms: Mapping[str, Mechanism],
    names: Mapping[str, str],
) -> list[MediatedDevice]:
    """The vendor framework's vGPUs: virtual functions with a type. Sysfs knows the type, libvirt the guest."""
    holder = {address: d for d in (libvirt.domains if libvirt else ()) for address in d.pci}
    out = []
    for board in boards.values():
        if mechanisms[board.address] != "vendor-vfio":
            continue
        for address, (_, entry) in sorted(board.functions.items()):
            if entry is None or not entry.current_vgpu_type:
                continue
            domain = holder.get(address)
            type_id = str(entry.current_vgpu_type)
            out.append(
                MediatedDevice(
                    uuid=None,
                    host=host,
                    parent=address,
                    gpu=board.address,
                    type_id=type_id,
                    type_name=names.get(type_id, ""),
                    mechanism="vendor-vfio",
                    state="active",
                    server_id=domain.uuid if domain else None,
                    domain=domain.name if domain else None,
                    used=None if libvirt is None else domain is not None,
                )
            )
    return out


def offered_types(board: Board) -> dict[str, str]:
    """Every type of the GPU, id -> name: creatable ones, and those that a full GPU names no more but supports.

    Types of the kind (time-sliced or MIG-backed) that the GPU's MIG mode rules out are left out.
    """
    found: dict[str, str] = {}
    for _, entry in board.functions.values():
        for number, name in (entry.creatable_vgpu_types or ()) if entry else ():
            found.setdefault(str(number), name)
    for number, kind in board.supported.items():
        if board.modes.mig is None or kind.mig is None or kind.mig == board.modes.mig:
            found.setdefault(str(number), kind.name)
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def creatable_functions(functions: Iterable[VirtualFunction], type_id: str, room: int | None) -> int | None:
    """How many of a type could be set now: on functions that offer it, bounded by what the GPU has room for."""
    slots = sum(1 for f in functions if type_id in f.creatable)
    if slots == 0:
        return 0
    return None if room is None else max(0, min(slots, room))
