"""A host's physical GPUs, each with the functions that belong to it, as libvirt and the shell know them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from vgpu_console.model.host_facts import (
    LibvirtFacts,
    MdevTypeOffer,
    Mechanism,
    NvidiaGpu,
    PciDevice,
    PciSysfs,
    SshFacts,
    SupportedType,
    VgpuTypeDescription,
)

NVIDIA = "10de"

_BRACKETS = re.compile(r"\[([^\]]+)\]")


def short_model(product: str) -> str:
    """``GA100 [A100 PCIe 40GB]`` and ``NVIDIA A100-PCIE-40GB`` as an operator says them: ``A100 PCIe 40GB``."""
    inside = _BRACKETS.search(product)
    name = inside.group(1) if inside else product
    for prefix in ("NVIDIA ", "GRID ", "Tesla "):
        name = name.removeprefix(prefix)
    return name.replace("-PCIE-", " PCIe ").replace("-SXM4-", " SXM4 ").strip()


class Board:
    """Everything the sources said about one physical GPU, gathered by PCI address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.device: PciDevice | None = None
        self.sysfs: PciSysfs | None = None
        self.model = ""
        self.modes = NvidiaGpu(address=address)  # what NVIDIA's own program said of it; nothing until it has
        self.supported: dict[int, SupportedType] = {}  # by the type's number
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


def boards_of(libvirt: LibvirtFacts | None, ssh: SshFacts | None) -> dict[str, Board]:
    """Group all functions that either source knows under the physical GPU they belong to, by the GPU's address."""
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
    modes = {g.address: g for g in ssh.nvidia_gpus} if ssh else {}
    supported: dict[str, dict[int, SupportedType]] = defaultdict(dict)
    for kind in ssh.supported_types if ssh else ():
        supported[kind.address][kind.type_id] = kind
    boards: dict[str, Board] = {}
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
        board = boards.setdefault(top, Board(top))
        if address == top:
            board.device, board.sysfs = devices.get(address), sysfs.get(address)
        else:
            board.functions[address] = (devices.get(address), sysfs.get(address))
    for address, board in boards.items():
        if board.device is not None and board.device.virtual_functions is not None:
            # libvirt hears of a change at once, the shell is asked at a slower pace: libvirt's list rules.
            board.functions = {a: (devices.get(a), sysfs.get(a)) for a in board.device.virtual_functions}
        board.model = short_model(board.device.product if board.device and board.device.product else "")
        board.modes, board.supported = modes.get(address, board.modes), supported.get(address, {})
        board.model = board.model or short_model(models.get(address, "") or board.modes.name)
    return boards


def mechanism_of(board: Board, described: Mapping[str, list[VgpuTypeDescription]], ssh: SshFacts | None) -> Mechanism:
    """How the GPU makes vGPUs, by the files and types that it shows; a GPU whose functions are off shows neither."""
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
