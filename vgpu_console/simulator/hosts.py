"""Hosts with their GPUs, virtual functions, mediated devices and domains, under the rules the kernel enforces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from vgpu_console.simulator.gpu_models import Board, VgpuType

Mechanism = Literal["mdev", "vendor-vfio"]


class KernelRefusal(Exception):
    """The driver or mdevctl refuses a mediated device; the text is what libvirt passes on."""


class Mdev:
    """A mediated device: running (``active``), defined (``persistent``), or both."""

    __slots__ = ("active", "autostart", "kind", "parent", "persistent", "uuid")

    def __init__(self, uuid: str, kind: VgpuType, parent: str, *, persistent: bool = True, active: bool = True) -> None:
        self.uuid = uuid
        self.kind = kind
        self.parent = parent  # PCI address of the function
        self.active = active
        self.persistent = persistent
        self.autostart = persistent

    @property
    def name(self) -> str:
        """libvirt's node device name (7.7 and later)."""
        return f"mdev_{self.uuid.replace('-', '_')}_{self.parent.replace(':', '_').replace('.', '_')}"


class Gpu:
    """A physical GPU. Virtual functions are not objects: all that is particular to one is in the maps by address."""

    __slots__ = (
        "_functions",
        "address",
        "board",
        "claimed",
        "current_types",
        "ecc",
        "ecc_pending",
        "enabled",
        "host",
        "manager_up",
        "max_instances",
        "mdevs",
        "mechanism",
        "mig",
        "mixed",
        "named",
        "numa",
        "spec",
        "unbound",
        "vfs_enabled",
        "written",
    )

    def __init__(self, host: Host, board: Board, address: str, *, mechanism: Mechanism = "mdev", numa: int = 0) -> None:
        self.host = host
        self.board = board
        self.address = address
        self.mechanism: Mechanism = mechanism
        self.numa = numa
        self.vfs_enabled = board.total_vfs
        self.ecc = True  # the default of every board here
        self.ecc_pending: bool | None = None  # from the next reset on; None: the same
        self.mig = False  # cut into instances
        self.mixed = False  # vGPUs of several sizes at once ("heterogeneous mode")
        self.manager_up = True  # NVIDIA's vGPU manager runs: it is what makes the driver offer types
        self.unbound: set[str] = set()  # virtual functions that have no driver
        self.enabled: tuple[VgpuType, ...] = ()  # what nova.conf enables here; the first is the one Nova offers
        self.named: tuple[str, ...] | None = None  # the functions that nova.conf names; None: all that can be
        self.written: tuple[VgpuType, ...] | None = None  # what nova.conf says since nova-compute started, if not that
        self.spec = {"managed": "no", "live_migratable": "yes"}  # vendor VFIO: what each device_spec says besides
        self.mdevs: dict[str, list[Mdev]] = {}  # by function address
        self.current_types: dict[str, VgpuType] = {}  # vendor VFIO: the type set on a virtual function
        self.claimed: dict[str, str] = {}  # mdev uuid or VF address -> server id
        self._functions: tuple[str, ...] | None = None

    @property
    def sriov(self) -> bool:
        """Whether the board carries its vGPUs on virtual functions."""
        return self.board.total_vfs > 0

    def set_vfs(self, count: int) -> None:
        """Enable or disable virtual functions, as sriov-manage does; devices on vanished functions stop running."""
        self.vfs_enabled = count
        self._functions = None
        present = set(self.vf_addresses())
        for address, mdevs in list(self.mdevs.items()):
            if address in present:
                continue
            for mdev in mdevs:
                mdev.active = False
            kept = [mdev for mdev in mdevs if mdev.persistent]
            if kept:
                self.mdevs[address] = kept
            else:
                del self.mdevs[address]
        self.current_types = {a: kind for a, kind in self.current_types.items() if a in present}

    def vf_addresses(self) -> tuple[str, ...]:
        """The enabled virtual functions, in order."""
        if self._functions is None:
            prefix = self.address[:8]  # "0000:41:"
            first = self.board.first_vf
            self._functions = tuple(
                f"{prefix}{(first + index) >> 3:02x}.{(first + index) & 7}" for index in range(self.vfs_enabled)
            )
        return self._functions

    def functions(self) -> tuple[str, ...]:
        """The functions that can carry a vGPU: the virtual ones, or the GPU itself where it has no SR-IOV."""
        return self.vf_addresses() if self.sriov else (self.address,)

    def novas_functions(self) -> tuple[str, ...]:
        """The functions that are there and that nova.conf names: those that nova-compute looks at."""
        if self.named is None:
            return self.functions()
        return tuple(function for function in self.functions() if function in self.named)

    def all_mdevs(self) -> Iterator[Mdev]:
        """Every mediated device of this GPU."""
        for mdevs in self.mdevs.values():
            yield from mdevs

    def carries(self, function: str) -> bool:
        """Whether the driver offers types on a function: it is bound, and the vGPU manager runs."""
        return self.manager_up and function not in self.unbound

    def running(self) -> list[VgpuType]:
        """The types of the vGPUs that exist on this GPU now."""
        if self.mechanism == "vendor-vfio":
            return list(self.current_types.values())
        return [mdev.kind for mdev in self.all_mdevs() if mdev.active]

    def spare(self, kind: VgpuType, running: list[VgpuType]) -> int:
        """How many more of a type the GPU as a whole can take beside those that run."""
        if kind.mig != self.mig:
            return 0
        if not self.mixed and any(other.framebuffer_mib != kind.framebuffer_mib for other in running):
            return 0
        return max(0, kind.maximum - len(running))

    def available(self, function: str, kind: VgpuType, running: list[VgpuType] | None = None) -> int:
        """The driver's ``available_instances`` of a type on one function.

        All vGPUs of a time-sliced GPU have one framebuffer size, the GPU takes no more than the type's maximum, and a
        virtual function takes one.
        """
        if not self.carries(function):
            return 0
        left = self.spare(kind, self.running() if running is None else running)
        if not self.sriov:
            return left
        if function in self.current_types or any(mdev.active for mdev in self.mdevs.get(function, ())):
            return 0
        return min(1, left)

    def create(self, uuid: str, type_id: str, function: str, *, persistent: bool, active: bool = True) -> Mdev:
        """Create or define a mediated device. Raises KernelRefusal with mdevctl's text."""
        if self.host.find_mdev(uuid) is not None:
            raise KernelRefusal("Device already exists")
        if function not in self.functions() or self.mechanism != "mdev" or not self.carries(function):
            raise KernelRefusal("Unable to find parent device")
        try:
            kind = self.board.type(type_id)
        except KeyError:
            raise KernelRefusal(f"Parent {function} does not support mdev type {type_id}") from None
        if active and not self.available(function, kind):
            raise KernelRefusal(f"No available instances of {type_id} on {function}")
        mdev = Mdev(uuid, kind, function, persistent=persistent, active=active)
        self.mdevs.setdefault(function, []).append(mdev)
        return mdev

    def start(self, mdev: Mdev) -> None:
        """Start a defined device. Raises KernelRefusal."""
        if mdev.active:
            raise KernelRefusal("Device already exists")
        if mdev.parent not in self.functions():
            raise KernelRefusal(f"Unable to find parent device '{mdev.parent}'")
        if not self.available(mdev.parent, mdev.kind):
            raise KernelRefusal(f"No available instances of {mdev.kind.type_id} on {mdev.parent}")
        mdev.active = True

    def stop(self, mdev: Mdev) -> None:
        """Stop a running device; a transient one is gone then. Raises KernelRefusal while a guest holds it."""
        if mdev.uuid in self.claimed:
            raise KernelRefusal("device in use")
        mdev.active = False
        if not mdev.persistent:
            self._forget(mdev)

    def undefine(self, mdev: Mdev) -> None:
        """Remove the definition; an inactive device is gone then."""
        mdev.persistent = False
        mdev.autostart = False
        if not mdev.active:
            self._forget(mdev)

    def _forget(self, mdev: Mdev) -> None:
        mdevs = self.mdevs[mdev.parent]
        mdevs.remove(mdev)
        if not mdevs:
            del self.mdevs[mdev.parent]


class Guest:
    """A libvirt domain: what Nova made of a server on this host."""

    __slots__ = ("active", "mdevs", "memory_mib", "name", "pci", "server_id", "state", "title", "vcpus")

    def __init__(self, server_id: str, name: str, title: str, memory_mib: int, vcpus: int) -> None:
        self.server_id = server_id
        self.name = name
        self.title = title  # the server's name, in Nova's metadata
        self.memory_mib = memory_mib
        self.vcpus = vcpus
        self.mdevs: list[str] = []  # uuids
        self.pci: list[str] = []  # addresses of passed-through virtual functions
        self.active = True
        self.state = 1  # VIR_DOMAIN_RUNNING


class Host:
    """A compute host: its hardware, what runs on it, and what its operating system says of itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gpus: list[Gpu] = []
        self.guests: dict[str, Guest] = {}
        self.driver = "550.90.05"
        self.cpu_model = "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
        self.kernel = "5.14.0-427.13.1.el9_4.x86_64"
        self.os = ("rhel", "9.4", "Red Hat Enterprise Linux 9.4 (Plow)")
        self.libvirt_version = 10000000
        self.qemu_version = 8002000
        self.libvirt_installed: int | None = None  # None: what runs
        self.nova_qemu_version: int | None = None  # what nova-compute last told; None: what there is
        self.hostname = ""  # what it calls itself; "": its name
        self.clock_ahead_s = 0.0
        self.garbled: set[str] = set()  # PCI functions whose product data libvirt cannot put into XML
        self.zone = "nova"
        self.status = "enabled"
        self.disabled_reason: str | None = None
        self.disabled_at: float | None = None
        self.up = True
        self.forced_down = False
        self.ip = "192.0.2.1"
        self.vcpus = 128
        self.memory_mib = 1024 * 1024
        self.disk_gib = 7000
        self.service_id = ""
        self.service_number = 0
        self.root_uuid = ""
        self.max_instances: dict[str, int] = {}  # type id -> [mdev_*] max_instances
        self.nova_conf: dict[str, dict[str, str]] = {}  # a scenario's own options, group -> option -> value
        self.nova_conf_readable = True
        self.missing_tools: set[str] = set()  # programs that are not installed, by their paths
        self.inventory_due: float | None = None  # when nova-compute next writes its inventories
        self.listeners: list[object] = []  # libvirt connections that want events

    @property
    def mechanism(self) -> Mechanism:
        """How this host's driver makes vGPUs."""
        return self.gpus[0].mechanism if self.gpus else "mdev"

    def gpu_of(self, address: str) -> Gpu | None:
        """The GPU that a function (or the GPU's own address) belongs to."""
        for gpu in self.gpus:
            if gpu.address == address or (gpu.address[:8] == address[:8] and address in gpu.vf_addresses()):
                return gpu
        return None

    def find_mdev(self, uuid: str) -> tuple[Gpu, Mdev] | None:
        """A mediated device by its uuid."""
        for gpu in self.gpus:
            for mdev in gpu.all_mdevs():
                if mdev.uuid == uuid:
                    return gpu, mdev
        return None


GPU_BUSES = (0x41, 0x81, 0x21, 0x61, 0xA1, 0xC1, 0xE1, 0x01, 0x31, 0x51, 0x71, 0x91, 0xB1, 0xD1, 0xF1, 0x11)
"""PCI buses of a host's GPUs, in order."""


def gpu_address(index: int) -> str:
    """The PCI address of a host's n-th GPU."""
    return f"0000:{GPU_BUSES[index]:02x}:00.0"
