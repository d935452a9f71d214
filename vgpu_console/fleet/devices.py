"""One host's GPUs, virtual functions and vGPUs, from what its libvirt and its shell said.

Neither Nova nor Placement knows a GPU level: virtual functions are grouped under their physical function here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec

from vgpu_console.fleet.boards import Board, boards_of, mechanism_of
from vgpu_console.fleet.type_maximum import Described, TypeCatalogue, TypeRow, described_types, maximum, own_words, room
from vgpu_console.fleet.vendor_vfio import creatable_functions, offered_types, typed_functions
from vgpu_console.model.host_facts import LibvirtFacts, Mechanism, SshFacts, VgpuTypeDescription
from vgpu_console.model.snapshot import MediatedDevice, PhysicalGpu, TypeCapacity, VirtualFunction
from vgpu_console.rules.nova_conf import addresses_on_bus, types_for_device


class HostDevices(msgspec.Struct, frozen=True, kw_only=True):
    """A host's GPUs and vGPUs before servers and projects are known. ``gpus`` None: no source has said."""

    gpus: tuple[PhysicalGpu, ...] | None = None
    mdevs: tuple[MediatedDevice, ...] = ()
    domains: dict[str, str] = {}  # mdev uuid or VF address -> domain uuid
    gpu_of: dict[str, str] = {}  # address of a function or GPU -> address of its GPU


def _available(board: Board, type_id: str, ssh: SshFacts | None, room: int | None) -> int | None:
    """How many of a type could be made now: what the functions still offer, bounded by the real maximum."""
    counts = [offer.available_instances for _, offer in board.offers() if offer.type_id == type_id]
    if not counts and ssh is not None:
        own = {board.address, *board.functions}
        counts = [t.available_instances for t in ssh.types if t.type_id == type_id and t.address in own]
    if not counts or None in counts:
        return None
    # A virtual function carries one vGPU; a GPU without them says itself how many are left.
    slots = sum(min(1, n or 0) if board.functions else (n or 0) for n in counts)
    if room is None:
        return slots if slots == 0 or not board.functions else None
    return max(0, min(slots, room))


def host_devices(
    host: str, libvirt: LibvirtFacts | None, ssh: SshFacts | None, catalogue: TypeCatalogue
) -> HostDevices:
    """Join the two readings of one host. Either may be missing; what only the other knows is then unknown (None)."""
    if libvirt is None and ssh is None:
        return HostDevices()
    boards = boards_of(libvirt, ssh)
    gpu_of = {f: b.address for b in boards.values() for f in (b.address, *b.functions)}
    domains: dict[str, str] = {}
    for domain in libvirt.domains if libvirt else ():
        for held in (*domain.mdevs, *domain.pci):
            domains[held] = domain.uuid
    names = {offer.type_id: offer.name for b in boards.values() for _, offer in b.offers() if offer.name}
    names.update({t.type_id: t.name for t in (ssh.types if ssh else ()) if t.name})
    # a full GPU of the vendor framework names no type any more; the driver's list or another GPU of this host may
    for kind in ssh.supported_types if ssh else ():
        if kind.name:
            names.setdefault(str(kind.type_id), kind.name)
            names.setdefault(f"nvidia-{kind.type_id}", kind.name)
    names.update({str(n): name for p in (ssh.pci if ssh else ()) for n, name in p.creatable_vgpu_types or ()})
    autostart = (ssh.mdev_autostart if ssh else None) or {}
    mdevs = _mediated_devices(host, libvirt, gpu_of, names, autostart)
    described: dict[str, list[VgpuTypeDescription]] = defaultdict(list)
    for entry in ssh.types if ssh else ():
        described[entry.address].append(entry)
    mechanisms = {a: mechanism_of(b, described, ssh) for a, b in boards.items()}
    mdevs += typed_functions(host, libvirt, boards, mechanisms, names)
    by_gpu: dict[str, list[MediatedDevice]] = defaultdict(list)
    for mdev in mdevs:
        if mdev.gpu is not None:
            by_gpu[mdev.gpu].append(mdev)
    gpus = [
        _physical_gpu(host, board, mechanisms[address], by_gpu[address], libvirt, ssh, names, catalogue)
        for address, board in sorted(boards.items())
    ]
    return HostDevices(gpus=tuple(gpus), mdevs=tuple(mdevs), domains=domains, gpu_of=gpu_of)


def _mediated_devices(
    host: str,
    libvirt: LibvirtFacts | None,
    gpu_of: Mapping[str, str],
    names: Mapping[str, str],
    autostart: Mapping[str, bool],
) -> list[MediatedDevice]:
    """``autostart`` by mdevctl's files: libvirt tells it only to who may change it (virNodeDeviceGetAutostart)."""
    if libvirt is None:
        return []
    holder = {uuid: d for d in libvirt.domains for uuid in d.mdevs}
    out = []
    for mdev in sorted(libvirt.mdevs, key=lambda m: (m.parent or "~", m.uuid)):
        domain = holder.get(mdev.uuid)
        out.append(
            MediatedDevice(
                uuid=mdev.uuid,
                host=host,
                parent=mdev.parent,
                gpu=gpu_of.get(mdev.parent) if mdev.parent else None,
                type_id=mdev.type_id,
                type_name=names.get(mdev.type_id, ""),
                mechanism="mdev",
                state="unknown" if mdev.active is None else "active" if mdev.active else "defined",
                persistent=mdev.persistent,
                autostart=mdev.autostart if mdev.autostart is not None else autostart.get(mdev.uuid),
                server_id=domain.uuid if domain else None,
                domain=domain.name if domain else None,
                used=domain is not None,
            )
        )
    return out


def _virtual_functions(host: str, board: Board, mdevs: list[MediatedDevice]) -> tuple[VirtualFunction, ...]:
    held: dict[str, list[str]] = defaultdict(list)
    for mdev in mdevs:
        if mdev.parent and mdev.uuid:
            held[mdev.parent].append(mdev.uuid)
    out = []
    for address, (device, entry) in sorted(board.functions.items()):
        creatable = [o.type_id for o in device.types if o.available_instances] if device else []
        if entry is not None and entry.creatable_vgpu_types and not entry.current_vgpu_type:
            creatable += [str(i) for i, _ in entry.creatable_vgpu_types]
        out.append(
            VirtualFunction(
                host=host,
                gpu=board.address,
                address=address,
                mdevs=tuple(held.get(address, ())),
                current_vgpu_type=entry.current_vgpu_type if entry else None,
                creatable=tuple(creatable),
            )
        )
    return tuple(out)


def _physical_gpu(
    host: str,
    board: Board,
    mechanism: Mechanism,
    mdevs: list[MediatedDevice],
    libvirt: LibvirtFacts | None,
    ssh: SshFacts | None,
    names: Mapping[str, str],
    catalogue: TypeCatalogue,
) -> PhysicalGpu:
    functions = _virtual_functions(host, board, mdevs)
    counted = ssh is not None if mechanism == "vendor-vfio" else libvirt is not None
    created = Counter(m.type_id for m in mdevs)
    used = Counter(m.type_id for m in mdevs if m.used)
    own_addresses = [board.address, *board.functions]
    conf = ssh.nova_conf if ssh else None
    targets = list(board.functions) or (addresses_on_bus(conf, board.address) if board.sriov() else ())
    enabled = types_for_device(conf, targets or [board.address])
    own_descriptions = described_types(ssh, own_addresses)
    named = _type_names(board, mechanism, created, enabled, names, ssh)
    said = {type_id: own_words(board, type_id, own_descriptions, ssh) for type_id in named}
    rows = {
        type_id: catalogue.lookup(name, board.product_id or None) if name else None for type_id, name in named.items()
    }
    sizes = {type_id: _framebuffer(said[type_id], rows[type_id]) for type_id in named}
    types = []
    for type_id, name in named.items():
        limit, source, evidence = maximum(said[type_id], rows[type_id], board.modes.mixed_sizes)
        made = created[type_id] if counted else None
        left = room(limit, made, [sizes.get(m.type_id) for m in mdevs if m.type_id != type_id], sizes[type_id])
        types.append(
            TypeCapacity(
                host=host,
                gpu=board.address,
                type_id=type_id,
                type_name=name,
                framebuffer_mib=sizes[type_id],
                max=limit,
                max_source=source,
                created=made,
                used=used[type_id] if counted and libvirt is not None else None,
                available=creatable_functions(functions, type_id, left)
                if mechanism == "vendor-vfio"
                else _available(board, type_id, ssh, left),
                enabled=None if enabled is None or mechanism == "vendor-vfio" else type_id in enabled,
                max_evidence=evidence,
            )
        )
    active = _active_type(created, enabled if mechanism != "vendor-vfio" else None)
    capacity = next((t for t in types if t.type_id == active), None)
    device, sysfs = board.device, board.sysfs
    return PhysicalGpu(
        host=host,
        address=board.address,
        model=board.model,
        mechanism=mechanism,
        vfs_enabled=board.vfs_enabled() if board.sriov() else (0 if board.sriov() is False else None),
        vfs_total=board.vfs_total() if board.sriov() else (0 if board.sriov() is False else None),
        sriov=board.sriov(),
        functions=functions,
        types=tuple(types),
        active_type=active,
        active_type_name=(capacity.type_name if capacity else names.get(active or "", "")) or None,
        mixed_types=len(created) > 1,
        vgpus_created=len(mdevs) if counted else None,
        vgpus_used=sum(1 for m in mdevs if m.used) if counted and libvirt is not None else None,
        vgpus_max=capacity.max if capacity else None,
        max_source=capacity.max_source if capacity else "unknown",
        driver=(device.driver if device else None) or (sysfs.driver if sysfs else None),
        vendor_id=(device.vendor_id if device else "") or (sysfs.vendor_id if sysfs else ""),
        product_id=board.product_id,
        numa_node=device.numa_node if device and device.numa_node is not None else sysfs.numa_node if sysfs else None,
        ecc=board.modes.ecc_current,
        ecc_pending=board.modes.ecc_pending,
        mig=board.modes.mig,
        mixed_sizes=board.modes.mixed_sizes,
        gsp=board.modes.gsp,
    )


def _framebuffer(said: Described | None, row: TypeRow | None) -> int | None:
    return (said.framebuffer_mib if said else None) or (row.framebuffer_mib if row else None)


def _type_names(
    board: Board,
    mechanism: Mechanism,
    created: Mapping[str, int],
    enabled: tuple[str, ...] | None,
    names: Mapping[str, str],
    ssh: SshFacts | None,
) -> dict[str, str]:
    """Every type this GPU offers, carries or is configured for: id -> name (empty when nothing names it)."""
    found: dict[str, str] = {}
    for _, offer in board.offers():
        found.setdefault(offer.type_id, offer.name or names.get(offer.type_id, ""))
    own = {board.address, *board.functions}
    for entry in ssh.types if ssh else ():
        if entry.address in own:
            found.setdefault(entry.type_id, entry.name)
    if mechanism == "vendor-vfio":
        for type_id, name in offered_types(board).items():
            found.setdefault(type_id, name)
    elif board.sriov() and not board.functions:
        for type_id in enabled or ():
            found.setdefault(type_id, names.get(type_id, ""))
    for type_id in created:
        found.setdefault(type_id, names.get(type_id, ""))
    return found


def _active_type(created: Mapping[str, int], enabled: tuple[str, ...] | None) -> str | None:
    """The size this GPU runs now; an idle GPU takes the one that nova.conf gives it, if it gives one only."""
    if created:
        return next(iter(created)) if len(created) == 1 else None
    return enabled[0] if enabled is not None and len(enabled) == 1 else None
