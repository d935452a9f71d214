"""Facts from a host: what libvirt says, and what one shell command over SSH says.

PCI addresses are always written ``0000:41:00.4`` (lower case hexadecimal, domain of four digits).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Mechanism = Literal["mdev", "vendor-vfio", "none", "unknown"]
"""How a GPU makes vGPUs: kernel mediated devices, or NVIDIA's vendor VFIO framework (``current_vgpu_type`` on a VF)."""


class MdevTypeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A type that a PCI function offers: libvirt's ``<type id=…>`` of an ``mdev_types`` capability."""

    type_id: str  # "nvidia-472"
    name: str = ""  # "GRID A100-20C"
    available_instances: int | None = None  # of this function, now; never a maximum


class PciDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI function that is a GPU, one of its virtual functions, or an mdev parent."""

    address: str
    name: str = ""  # libvirt's "pci_0000_41_00_4"
    vendor_id: str = ""  # "10de"
    product_id: str = ""  # "20f1"
    product: str = ""  # "GA100 [A100 PCIe 40GB]"
    pci_class: str = ""  # "030200"
    driver: str | None = None
    numa_node: int | None = None
    physical_function: str | None = None  # set on a virtual function
    virtual_functions: tuple[str, ...] | None = None  # set on a physical function: the enabled ones
    max_virtual_functions: int | None = None
    types: tuple[MdevTypeOffer, ...] = ()


class MdevFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A mediated device that libvirt knows, active or merely defined."""

    uuid: str
    type_id: str
    parent: str | None  # PCI address of the function it lives on; None when that function is gone
    name: str = ""
    active: bool | None = None
    persistent: bool | None = None
    autostart: bool | None = None


class DomainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A libvirt domain that holds mediated devices or passed-through virtual functions."""

    uuid: str  # Nova's server id
    name: str
    active: bool | None = None
    mdevs: tuple[str, ...] = ()  # uuids of <hostdev type='mdev'>
    pci: tuple[str, ...] = ()  # addresses of <hostdev type='pci'>


class LibvirtFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a host's libvirt. Versions are dotted: ``11.3.0``."""

    host: str
    hostname: str = ""  # what libvirt itself calls the host
    libvirt_version: str | None = None
    qemu_version: str | None = None
    devices: tuple[PciDevice, ...] = ()
    mdevs: tuple[MdevFacts, ...] = ()
    domains: tuple[DomainFacts, ...] = ()
    bare_domains: tuple[str, ...] = ()  # uuids of the domains that hold none of these
    defined_visible: bool = True  # False: this libvirt cannot list devices that are defined and not active
    skipped: tuple[str, ...] = ()  # devices whose XML could not be read, each with its reason


class VgpuTypeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a host's driver says of a type on one function: sysfs ``name`` and ``description``."""

    address: str  # the function (or GPU) whose mdev_supported_types it is in
    type_id: str
    name: str = ""
    framebuffer_mib: int | None = None
    max_instances: int | None = None
    available_instances: int | None = None


class PciSysfs(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU function as sysfs shows it; the ``vgpu`` fields are the vendor VFIO framework's files on a VF."""

    address: str
    vendor_id: str = ""
    product_id: str = ""
    driver: str | None = None
    numa_node: int | None = None
    sriov_numvfs: int | None = None
    sriov_totalvfs: int | None = None
    physical_function: str | None = None
    current_vgpu_type: int | None = None  # 0: none set
    creatable_vgpu_types: tuple[tuple[int, str], ...] | None = None  # (1414, "NVIDIA H200X-1-18C")


class NvidiaGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as NVIDIA's own program and its driver describe it; None where neither has said."""

    address: str
    name: str = ""  # "NVIDIA A100-PCIE-40GB"
    ecc_current: bool | None = None
    ecc_pending: bool | None = None  # after the next reset of the GPU
    mig: bool | None = None
    host_mode: str | None = None  # "SR-IOV", "Non SR-IOV": how it carries vGPUs; None also: it carries none
    mixed_sizes: bool | None = None  # vGPUs of different framebuffer sizes at once ("heterogeneous mode")
    gsp: bool | None = None  # the GPU's system processor runs firmware


class SupportedType(msgspec.Struct, frozen=True, kw_only=True):
    """A type that ``nvidia-smi vgpu -s -v`` lists for a GPU: what it supports, whatever exists on it now."""

    address: str  # of the GPU
    type_id: int  # 1414; the number in an mdev type's "nvidia-472"
    name: str = ""  # "NVIDIA L40S-12Q"
    max_instances: int | None = None  # on one GPU
    framebuffer_mib: int | None = None
    mig: bool | None = None  # backed by a MIG instance instead of a time slice


class SshFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the constant shell command. ``nova_conf`` holds the named options only, group.option -> value.

    ``tools`` holds the paths of those programs that are installed, by name; None when the answer did not get so far.
    ``create_mdev`` and ``set_vgpu_type`` say whether this SSH user may itself write the file that makes a vGPU: None
    where the host has no such file. ``clock_skew_s`` is how far the host's clock is ahead of this machine's, known to
    within ``clock_error_s``.
    """

    host: str
    kernel: str | None = None
    os_id: str | None = None  # "rhel"
    os_version: str | None = None  # "9.4"
    os_name: str | None = None  # "Red Hat Enterprise Linux 9.4 (Plow)"
    nvidia_driver: str | None = None
    mdev_bus: bool | None = None  # /sys/class/mdev_bus is there and populated
    types: tuple[VgpuTypeDescription, ...] = ()
    pci: tuple[PciSysfs, ...] = ()
    gpu_models: tuple[tuple[str, str], ...] = ()  # (address, "NVIDIA A100-PCIE-40GB") from /proc/driver/nvidia/gpus
    nova_conf: dict[str, str] | None = None  # None: no nova.conf could be read
    nova_conf_path: str | None = None
    cpu_model: str | None = None
    nvidia_gpus: tuple[NvidiaGpu, ...] = ()
    supported_types: tuple[SupportedType, ...] = ()
    tools: dict[str, str] | None = None
    mdev_autostart: dict[str, bool] | None = (
        None  # uuid -> started with its parent, of defined ones, by mdevctl's files
    )
    create_mdev: bool | None = None
    set_vgpu_type: bool | None = None
    libvirt_installed: str | None = None  # "10.0.0": the program's own word, which need not be what runs
    qemu_installed: str | None = None
    clock_skew_s: float | None = None
    clock_error_s: float | None = None
