"""One host's GPUs, virtual functions and vGPUs, from what its libvirt and its shell said.

Neither Nova nor Placement knows a GPU level: virtual functions are grouped under their physical function here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from vgpu_console.model.host_facts import (
    LibvirtFacts,
    MdevTypeOffer,
    Mechanism,
    PciDevice,
    PciSysfs,
    SshFacts,
    VgpuTypeDescription,
)
from vgpu_console.model.snapshot import MaxSource, MediatedDevice, PhysicalGpu, TypeCapacity, VirtualFunction
from vgpu_console.rules.nova_conf import addresses_on_bus, types_for_device

NVIDIA = "10de"


class TypeRow(Protocol):
    """A row of the bundled catalogue."""

    @property
    def framebuffer_mib(self) -> int | None: ...
    @property
    def max(self) -> int | None: ...
    @property
    def source(self) -> str: ...


class TypeCatalogue(Protocol):
    """What the join needs of the catalogue."""

    def lookup(self, type_name: str, product_id: str | None = None) -> TypeRow | None: ...


class HostDevices(msgspec.Struct, frozen=True, kw_only=True):
    """A host's GPUs and vGPUs before servers and projects are known. ``gpus`` None: no source has said."""

    gpus: tuple[PhysicalGpu, ...] | None = None
    mdevs: tuple[MediatedDevice, ...] = ()
    domains: dict[str, str] = {}  # mdev uuid or VF address -> domain uuid
    gpu_of: dict[str, str] = {}  # address of a function or GPU -> address of its GPU


_BRACKETS = re.compile(r"\[([^\]]+)\]")


def short_model(product: str) -> str:
    """``GA100 [A100 PCIe 40GB]`` and ``NVIDIA A100-PCIE-40GB`` as an operator says them: ``A100 PCIe 40GB``."""
    inside = _BRACKETS.search(product)
    name = inside.group(1) if inside else product
    for prefix in ("NVIDIA ", "GRID ", "Tesla "):
        name = name.removeprefix(prefix)
    return name.replace("-PCIE-", " PCIe ").replace("-SXM4-", " SXM4 ").strip()


class _Board:
    """Everything the sources said about one physical GPU, gathered by PCI address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.device: PciDevice | None = None
        self.sysfs: PciSysfs | None = None
        self.model = ""
        self.functions: dict[str, tuple[PciDevice | None, PciSysfs | None]] = {}

    @property
    def product_id(self) -> str:
        return (self.device.product_id if self.device else "") or (self.sysfs.product_id if self.sysfs else "")

    def offers(self) -> Iterable[tuple[str, MdevTypeOffer]]:
        """Every type that libvirt shows on the GPU itself or on one of its virtual functions."""
        if self.device is not None:
            for offer in self.device.types:
                yield self.address, offer
        for address, (device, _) in self.functions.items():
            for offer in device.types if device is not None else ():
                yield address, offer

    def sriov(self) -> bool | None:
        if self.device is not None and self.device.max_virtual_functions is not None:
            return self.device.max_virtual_functions > 0
        if self.sysfs is not None:
            return bool(self.sysfs.sriov_totalvfs)
        return None if self.device is None else bool(self.functions)

    def vfs_total(self) -> int | None:
        if self.sysfs is not None and self.sysfs.sriov_totalvfs is not None:
            return self.sysfs.sriov_totalvfs
        return self.device.max_virtual_functions if self.device is not None else None

    def vfs_enabled(self) -> int | None:
        if self.device is not None and self.device.virtual_functions is not None:
            return len(self.device.virtual_functions)
        return self.sysfs.sriov_numvfs if self.sysfs is not None else None


def _is_gpu(vendor_id: str, pci_class: str) -> bool:
    return vendor_id == NVIDIA and (not pci_class or pci_class.startswith("03"))


def _boards(libvirt: LibvirtFacts | None, ssh: SshFacts | None) -> dict[str, _Board]:
    """Group all functions that either source knows under the physical GPU they belong to."""
    devices = {d.address: d for d in libvirt.devices} if libvirt else {}
    sysfs = {p.address: p for p in ssh.pci} if ssh else {}
    parents: dict[str, str] = {}
    for device in devices.values():
        if device.physical_function:
            parents[device.address] = device.physical_function
        for address in device.virtual_functions or ():
            parents[address] = device.address
    for entry in sysfs.values():
        if entry.physical_function:
            parents[entry.address] = entry.physical_function
    with_types = {a for a, d in devices.items() if d.types}
    with_types.update(t.address for t in (ssh.types if ssh else ()))
    models = dict(ssh.gpu_models) if ssh else {}
    boards: dict[str, _Board] = {}
    for address in sorted(devices.keys() | sysfs.keys() | with_types):
        top = parents.get(address, address)
        vendors = (devices.get(top), devices.get(address))
        gpu_like = (
            address in with_types
            or any(d is not None and _is_gpu(d.vendor_id, d.pci_class) for d in vendors)
            or (top in sysfs and sysfs[top].vendor_id == NVIDIA)
        )
        if not gpu_like:
            continue
        board = boards.setdefault(top, _Board(top))
        if address == top:
            board.device, board.sysfs = devices.get(address), sysfs.get(address)
        else:
            board.functions[address] = (devices.get(address), sysfs.get(address))
    for address, board in boards.items():
        if board.device is not None and board.device.virtual_functions is not None:
            # libvirt hears of a change at once, the shell is asked at a slower pace: libvirt's list rules.
            board.functions = {a: (devices.get(a), sysfs.get(a)) for a in board.device.virtual_functions}
        board.model = short_model(board.device.product if board.device and board.device.product else "")
        board.model = board.model or short_model(models.get(address, ""))
    return boards


def _mechanism(board: _Board, described: Mapping[str, list[VgpuTypeDescription]], ssh: SshFacts | None) -> Mechanism:
    addresses = [board.address, *board.functions]
    if any(True for _ in board.offers()) or any(described.get(a) for a in addresses):
        return "mdev"
    entries = [entry for _, entry in board.functions.values() if entry is not None]
    if any(e.current_vgpu_type is not None or e.creatable_vgpu_types is not None for e in entries):
        return "vendor-vfio"
    if board.sriov() and not board.functions:
        return "unknown"  # with its virtual functions off a GPU shows neither kind of files
    if ssh is not None and ssh.mdev_bus is False and board.sysfs is not None:
        return "none"
    return "unknown"


class _Described(msgspec.Struct, frozen=True):
    """What the host's driver says of a type, wherever on this host it says it."""

    name: str
    framebuffer_mib: int | None
    max_instances: int | None
    evidence: str


def _described_types(ssh: SshFacts | None, addresses: Iterable[str]) -> dict[str, _Described]:
    out: dict[str, _Described] = {}
    wanted = set(addresses)
    for entry in ssh.types if ssh else ():
        if entry.address in wanted and entry.type_id not in out:
            path = f"/sys/class/mdev_bus/{entry.address}/mdev_supported_types/{entry.type_id}/description"
            out[entry.type_id] = _Described(entry.name, entry.framebuffer_mib, entry.max_instances, path)
    return out


def _available(board: _Board, type_id: str, ssh: SshFacts | None, room: int | None) -> int | None:
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
    boards = _boards(libvirt, ssh)
    gpu_of = {f: b.address for b in boards.values() for f in (b.address, *b.functions)}
    domains: dict[str, str] = {}
    for domain in libvirt.domains if libvirt else ():
        for held in (*domain.mdevs, *domain.pci):
            domains[held] = domain.uuid
    names = {offer.type_id: offer.name for b in boards.values() for _, offer in b.offers() if offer.name}
    names.update({t.type_id: t.name for t in (ssh.types if ssh else ()) if t.name})
    # a full GPU of the vendor framework names no type any more; another GPU of this host may
    names.update({str(n): name for p in (ssh.pci if ssh else ()) for n, name in p.creatable_vgpu_types or ()})
    mdevs = _mediated_devices(host, libvirt, gpu_of, names)
    described: dict[str, list[VgpuTypeDescription]] = defaultdict(list)
    for entry in ssh.types if ssh else ():
        described[entry.address].append(entry)
    mechanisms = {a: _mechanism(b, described, ssh) for a, b in boards.items()}
    mdevs += _typed_functions(host, libvirt, boards, mechanisms, names)
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
    host: str, libvirt: LibvirtFacts | None, gpu_of: Mapping[str, str], names: Mapping[str, str]
) -> list[MediatedDevice]:
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
                autostart=mdev.autostart,
                server_id=domain.uuid if domain else None,
                domain=domain.name if domain else None,
                used=domain is not None,
            )
        )
    return out


def _typed_functions(
    host: str,
    libvirt: LibvirtFacts | None,
    boards: Mapping[str, _Board],
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


def _virtual_functions(host: str, board: _Board, mdevs: list[MediatedDevice]) -> tuple[VirtualFunction, ...]:
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
    board: _Board,
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
    own_descriptions = _described_types(ssh, own_addresses)
    types = []
    for type_id, name in _type_names(board, mechanism, created, enabled, names, ssh).items():
        described = own_descriptions.get(type_id) or _sibling(board, type_id, ssh)
        row = catalogue.lookup(name, board.product_id or None) if name else None
        maximum, source, evidence = _maximum(described, row)
        made = created[type_id] if counted else None
        room = maximum - made if maximum is not None and made is not None else None
        types.append(
            TypeCapacity(
                host=host,
                gpu=board.address,
                type_id=type_id,
                type_name=name,
                framebuffer_mib=(described.framebuffer_mib if described else None)
                or (row.framebuffer_mib if row else None),
                max=maximum,
                max_source=source,
                created=made,
                used=used[type_id] if counted and libvirt is not None else None,
                available=_creatable_functions(functions, type_id, room)
                if mechanism == "vendor-vfio"
                else _available(board, type_id, ssh, room),
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
    )


def _type_names(
    board: _Board,
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
        for _, sysfs in board.functions.values():
            for number, name in (sysfs.creatable_vgpu_types or ()) if sysfs else ():
                found.setdefault(str(number), name)
    elif board.sriov() and not board.functions:
        for type_id in enabled or ():
            found.setdefault(type_id, names.get(type_id, ""))
    for type_id in created:
        found.setdefault(type_id, names.get(type_id, ""))
    return found


def _sibling(board: _Board, type_id: str, ssh: SshFacts | None) -> _Described | None:
    """The same type on another GPU of the same product in this host: it describes a GPU whose functions are off."""
    if ssh is None or board.functions:
        return None
    product = {p.address: p.product_id for p in ssh.pci}
    own = board.product_id
    alike = [a for a, p in product.items() if p == own and own]
    return _described_types(ssh, alike).get(type_id)


def _maximum(described: _Described | None, row: TypeRow | None) -> tuple[int | None, MaxSource, str]:
    if described is not None and described.max_instances is not None:
        return described.max_instances, "host", described.evidence
    if row is not None and row.max is not None:
        return row.max, "catalogue", row.source
    return None, "unknown", ""


def _creatable_functions(functions: Iterable[VirtualFunction], type_id: str, room: int | None) -> int | None:
    slots = sum(1 for f in functions if type_id in f.creatable)
    if slots == 0:
        return 0
    return None if room is None else max(0, min(slots, room))


def _active_type(created: Mapping[str, int], enabled: tuple[str, ...] | None) -> str | None:
    """The size this GPU runs now; an idle GPU takes the one that nova.conf gives it, if it gives one only."""
    if created:
        return next(iter(created)) if len(created) == 1 else None
    return enabled[0] if enabled is not None and len(enabled) == 1 else None
