"""The GPUs of a lab host and the mediated devices on them: what the driver and the kernel would keep true.

A GPU with SR-IOV carries one mediated device per virtual function, one without carries them itself; in both, all
mediated devices of a GPU are of one type, and a type has a maximum per GPU.
"""

from __future__ import annotations

import dataclasses
import threading
import uuid as uuid_module


class HardwareError(Exception):
    """The device refuses, in mdevctl's words."""


@dataclasses.dataclass(frozen=True)
class VgpuType:
    """A vGPU type as the driver describes it."""

    id: str
    name: str
    framebuffer_mib: int
    max_instances: int


@dataclasses.dataclass(frozen=True)
class GpuModel:
    """A kind of GPU; ``first_bus`` keeps the kinds at different PCI addresses."""

    product_id: str
    product: str
    marketing_name: str
    types: tuple[VgpuType, ...]
    enabled_type: str
    first_bus: int
    total_vfs: int


SRIOV = GpuModel(
    product_id="20f1",
    product="GA100 [A100 PCIe 40GB]",
    marketing_name="NVIDIA A100-PCIE-40GB",
    types=(
        VgpuType("nvidia-468", "GRID A100-4C", 4096, 10),
        VgpuType("nvidia-469", "GRID A100-5C", 5120, 8),
        VgpuType("nvidia-470", "GRID A100-8C", 8192, 5),
        VgpuType("nvidia-471", "GRID A100-10C", 10240, 4),
        VgpuType("nvidia-472", "GRID A100-20C", 20480, 2),
        VgpuType("nvidia-473", "GRID A100-40C", 40960, 1),
    ),
    enabled_type="nvidia-471",
    first_bus=0x41,
    total_vfs=16,
)
PLAIN = GpuModel(
    product_id="1eb8",
    product="TU104GL [Tesla T4]",
    marketing_name="Tesla T4",
    types=(
        VgpuType("nvidia-230", "GRID T4-1Q", 1024, 16),
        VgpuType("nvidia-231", "GRID T4-2Q", 2048, 8),
        VgpuType("nvidia-232", "GRID T4-4Q", 4096, 4),
        VgpuType("nvidia-233", "GRID T4-8Q", 8192, 2),
        VgpuType("nvidia-234", "GRID T4-16Q", 16384, 1),
    ),
    enabled_type="nvidia-232",
    first_bus=0x81,
    total_vfs=0,
)


@dataclasses.dataclass(frozen=True)
class Function:
    """A PCI function. ``gpu`` is the address of the physical GPU; equal to ``address`` on the GPU itself."""

    address: str
    gpu: str
    model: GpuModel
    numa_node: int
    virtual_functions: tuple[str, ...] = ()

    @property
    def is_virtual(self) -> bool:
        """Whether this is an SR-IOV virtual function."""
        return self.address != self.gpu

    @property
    def carries_mdevs(self) -> bool:
        """Whether mediated devices are made on this function."""
        return self.is_virtual or not self.model.total_vfs

    @property
    def name(self) -> str:
        """libvirt's name of it."""
        return node_name(self.address)


@dataclasses.dataclass
class Mdev:
    """A mediated device. ``parent`` is a PCI address."""

    uuid: str
    type_id: str
    parent: str
    active: bool = True
    persistent: bool = False
    autostart: bool = False

    @property
    def name(self) -> str:
        """libvirt's name of it since 7.7: uuid and parent, with underscores."""
        return f"mdev_{self.uuid}_{self.parent}".translate(_TO_UNDERSCORE)


_TO_UNDERSCORE = str.maketrans("-:.", "___")


def node_name(address: str) -> str:
    """``0000:41:00.4`` as libvirt names it: ``pci_0000_41_00_4``."""
    return f"pci_{address}".translate(_TO_UNDERSCORE)


def address_of(name: str) -> str:
    """``pci_0000_41_00_4`` as a PCI address."""
    domain, bus, slot, function = name.removeprefix("pci_").split("_")
    return f"{domain}:{bus}:{slot}.{function}"


def gpu_address(model: GpuModel, number: int) -> str:
    """The PCI address of a host's n-th GPU of that kind."""
    return f"0000:{model.first_bus + number:02x}:00.0"


class GpuHost:
    """The GPUs of one host. Thread-safe: Nova's threads and the control port meet here."""

    def __init__(self, name: str, model: GpuModel, gpus: int, vfs: int) -> None:
        self.name = name
        self.functions: dict[str, Function] = {}
        self.mdevs: dict[str, Mdev] = {}
        self.lock = threading.RLock()
        for number in range(gpus):
            gpu = gpu_address(model, number)
            prefix = gpu.rsplit(":", 1)[0]
            count = min(vfs, model.total_vfs)
            virtual = tuple(f"{prefix}:{index // 8:02x}.{index % 8}" for index in range(4, 4 + count))
            node = number % 2
            self.functions[gpu] = Function(gpu, gpu, model, node, virtual)
            for address in virtual:
                self.functions[address] = Function(address, gpu, model, node)

    def on_gpu(self, gpu: str) -> list[Mdev]:
        """The mediated devices of a GPU or of any of its virtual functions."""
        return [mdev for mdev in list(self.mdevs.values()) if self.functions[mdev.parent].gpu == gpu]

    def available(self, function: Function, kind: VgpuType) -> int:
        """``available_instances``: what the driver would still make on this function. Defined devices hold nothing."""
        running = [mdev for mdev in self.on_gpu(function.gpu) if mdev.active]
        if any(mdev.type_id != kind.id for mdev in running):
            return 0
        rest = kind.max_instances - len(running)
        if function.is_virtual:
            taken = any(mdev.parent == function.address for mdev in running)
            return 0 if taken else min(1, rest)
        return rest

    def create(self, parent: str, type_id: str, uuid: str | None = None) -> Mdev:
        """Make and start a mediated device. Raises HardwareError."""
        with self.lock:
            self._check_room(parent, type_id)
            mdev = Mdev(uuid or str(uuid_module.uuid4()), type_id, parent)
            if mdev.uuid in self.mdevs:
                raise HardwareError("Device already exists")
            self.mdevs[mdev.uuid] = mdev
            return mdev

    def define(self, parent: str, type_id: str, uuid: str | None = None) -> Mdev:
        """Make a device persistent; one that does not exist yet is defined and stays inactive. Raises HardwareError."""
        with self.lock:
            known = self.mdevs.get(uuid or "")
            if known is None:
                self._function(parent, type_id)
                known = Mdev(uuid or str(uuid_module.uuid4()), type_id, parent, active=False)
                self.mdevs[known.uuid] = known
            known.persistent = True
            return known

    def start(self, uuid: str) -> None:
        """Start a defined device. Raises HardwareError."""
        with self.lock:
            mdev = self._mdev(uuid)
            if not mdev.active:
                self._check_room(mdev.parent, mdev.type_id)
                mdev.active = True

    def destroy(self, uuid: str) -> None:
        """Stop a device; it goes away unless it is defined. Raises HardwareError."""
        with self.lock:
            mdev = self._mdev(uuid)
            mdev.active = False
            if not mdev.persistent:
                del self.mdevs[uuid]

    def undefine(self, uuid: str) -> None:
        """Forget a device's definition; it goes away unless it is active. Raises HardwareError."""
        with self.lock:
            mdev = self._mdev(uuid)
            mdev.persistent = mdev.autostart = False
            if not mdev.active:
                del self.mdevs[uuid]

    def _mdev(self, uuid: str) -> Mdev:
        if uuid not in self.mdevs:
            raise HardwareError(f"Mediated device {uuid} not found")
        return self.mdevs[uuid]

    def _function(self, parent: str, type_id: str) -> tuple[Function, VgpuType]:
        function = self.functions.get(parent)
        if function is None or not function.carries_mdevs:
            raise HardwareError(f"Unable to find parent device '{parent}'")
        for kind in function.model.types:
            if kind.id == type_id:
                return function, kind
        raise HardwareError(f"Parent {parent} does not support mdev type {type_id}")

    def _check_room(self, parent: str, type_id: str) -> None:
        function, kind = self._function(parent, type_id)
        if self.available(function, kind) < 1:
            raise HardwareError(f"No available instances of {type_id} on {parent}")
