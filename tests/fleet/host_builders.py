"""Facts of a few kinds of hosts, as their libvirt and their shell would give them."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.model.host_facts import (
    DomainFacts,
    LibvirtFacts,
    MdevFacts,
    MdevTypeOffer,
    PciDevice,
    PciSysfs,
    SshFacts,
    VgpuTypeDescription,
)

PF = "0000:41:00.0"
A100_20C = "nvidia-472"
A100_10C = "nvidia-471"


class Row:
    """A catalogue row of a test."""

    def __init__(self, maximum: int | None, framebuffer_mib: int | None, mixed: int | None = None) -> None:
        self.max = maximum
        self.max_mixed = mixed
        self.framebuffer_mib = framebuffer_mib
        self.source = "test catalogue"


class Catalogue:
    """Knows the rows it is given, by type name without a vendor's prefix."""

    def __init__(self, rows: dict[str, Row] | None = None) -> None:
        self._rows = {"A100-20C": Row(2, 20480), "A100-10C": Row(4, 10240)} if rows is None else rows

    def lookup(self, type_name: str, product_id: str | None = None) -> Row | None:
        return self._rows.get(type_name.removeprefix("GRID ").removeprefix("NVIDIA "))


def vf(number: int) -> str:
    """The address of the numbered virtual function of PF, counted from 0."""
    return f"0000:41:{(4 + number) // 8:02x}.{(4 + number) % 8}"


def sriov_libvirt(
    *, enabled: int = 16, mdevs: Sequence[MdevFacts] = (), domains: Sequence[DomainFacts] = (), offer: str = A100_20C
) -> LibvirtFacts:
    """An A100 with 16 virtual functions, of which ``enabled`` are on; ``offer`` can still be made on the free ones."""
    taken = {m.parent for m in mdevs}
    names = {A100_20C: "GRID A100-20C", A100_10C: "GRID A100-10C"}
    functions = tuple(
        PciDevice(
            address=vf(n),
            vendor_id="10de",
            product_id="20f1",
            physical_function=PF,
            types=tuple(
                MdevTypeOffer(
                    type_id=t, name=names[t], available_instances=1 if t == offer and vf(n) not in taken else 0
                )
                for t in names
            ),
        )
        for n in range(enabled)
    )
    board = PciDevice(
        address=PF,
        vendor_id="10de",
        product_id="20f1",
        product="GA100 [A100 PCIe 40GB]",
        driver="nvidia",
        virtual_functions=tuple(f.address for f in functions),
        max_virtual_functions=16,
    )
    return LibvirtFacts(
        host="gpu-01",
        libvirt_version="10.0.0",
        qemu_version="8.2.0",
        devices=(board, *functions),
        mdevs=tuple(mdevs),
        domains=tuple(domains),
    )


def sriov_ssh(
    *, numvfs: int = 16, conf: dict[str, str] | None = None, described: dict[str, int] | None = None
) -> SshFacts:
    """The same card as its sysfs shows it; ``described``: type id -> max_instance in its description."""
    types = tuple(
        VgpuTypeDescription(
            address=vf(n),
            type_id=t,
            name={A100_20C: "GRID A100-20C"}.get(t, ""),
            max_instances=m,
            framebuffer_mib=20480,
        )
        for n in range(numvfs)
        for t, m in (described or {}).items()
    )
    board = PciSysfs(address=PF, vendor_id="10de", product_id="20f1", sriov_numvfs=numvfs, sriov_totalvfs=16)
    functions = tuple(PciSysfs(address=vf(n), vendor_id="10de", physical_function=PF) for n in range(numvfs))
    return SshFacts(
        host="gpu-01",
        kernel="5.14.0-427.el9.x86_64",
        nvidia_driver="550.90.05",
        mdev_bus=numvfs > 0,
        types=types,
        pci=(board, *functions),
        nova_conf=conf,
    )


def mdev(number: int, type_id: str = A100_20C, *, active: bool = True, parent: str | None = "") -> MdevFacts:
    """The numbered mdev, on the virtual function of the same number unless another parent is given."""
    return MdevFacts(
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        type_id=type_id,
        parent=vf(number) if parent == "" else parent,
        active=active,
    )


def domain(number: int, *mdevs: MdevFacts) -> DomainFacts:
    """A running guest that holds these mdevs."""
    return DomainFacts(
        uuid=f"11111111-0000-4000-8000-{number:012d}",
        name=f"instance-{number:08x}",
        active=True,
        mdevs=tuple(m.uuid for m in mdevs),
    )


def vendor_ssh(current: dict[int, int], creatable: tuple[tuple[int, str], ...]) -> SshFacts:
    """An L40S under the vendor framework with four virtual functions: number -> type that it has now."""
    functions = tuple(
        PciSysfs(
            address=vf(n),
            vendor_id="10de",
            product_id="26b9",
            physical_function=PF,
            current_vgpu_type=current.get(n, 0),
            creatable_vgpu_types=creatable,
        )
        for n in range(4)
    )
    board = PciSysfs(address=PF, vendor_id="10de", product_id="26b9", sriov_numvfs=4, sriov_totalvfs=32)
    return SshFacts(host="gpu-06", mdev_bus=False, pci=(board, *functions), gpu_models=((PF, "NVIDIA L40S"),))
