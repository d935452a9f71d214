"""libvirt's XML of the simulated hosts: PCI functions, mediated devices, domains."""

from __future__ import annotations

import html

from vgpu_console.simulator.file_tree import OTHER_DEVICES
from vgpu_console.simulator.hosts import Gpu, Guest, Host, Mdev


def escape(text: str) -> str:
    """Text inside an element. (xml.sax.saxutils would import a whole HTTP client.)"""
    return html.escape(text, quote=False)


def device_name(address: str) -> str:
    """libvirt's name of a PCI function: ``pci_0000_41_00_4``."""
    return "pci_" + address.replace(":", "_").replace(".", "_")


def address_of(name: str) -> str:
    """The PCI address in such a name."""
    domain, bus, slot, function = name.removeprefix("pci_").split("_")
    return f"{domain}:{bus}:{slot}.{function}"


def _address(address: str) -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


def _bridge(address: str) -> tuple[str, str]:
    """The PCI bridge above a bus: its name and its place in /sys/devices."""
    root = f"{max(0, int(address[5:7], 16) - 1):02x}"
    return f"pci_0000_{root}_01_1", f"/sys/devices/pci0000:{root}/0000:{root}:01.1"


def _numbers(address: str) -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return (
        f"    <domain>{int(domain, 16)}</domain>\n    <bus>{int(bus, 16)}</bus>\n"
        f"    <slot>{int(slot, 16)}</slot>\n    <function>{int(function, 16)}</function>\n"
    )


def _group(address: str) -> int:
    """A stable IOMMU group number for a function."""
    return int(address[5:7], 16) * 64 + int(address[8:10], 16) * 8 + int(address[11])


def _head(name: str, path: str, parent: str, driver: str) -> str:
    head = f"<device>\n  <name>{name}</name>\n  <path>{path}</path>\n  <parent>{parent}</parent>\n"
    return head + (f"  <driver>\n    <name>{driver}</name>\n  </driver>\n" if driver else "")


def _mdev_types(gpu: Gpu, function: str) -> str:
    running = gpu.running()
    rows = "".join(
        f"      <type id='{kind.type_id}'>\n        <name>{escape(kind.name)}</name>\n"
        f"        <deviceAPI>vfio-pci</deviceAPI>\n"
        f"        <availableInstances>{gpu.available(function, kind, running)}</availableInstances>\n      </type>\n"
        for kind in gpu.board.types
    )
    return f"    <capability type='mdev_types'>\n{rows}    </capability>\n"


def gpu_function_xml(gpu: Gpu, address: str) -> str:
    """A GPU or one of its virtual functions."""
    bridge, folder = _bridge(address)
    physical = address == gpu.address
    out = _head(device_name(address), f"{folder}/{address}", bridge, "" if address in gpu.unbound else "nvidia")
    out += f"  <capability type='pci'>\n    <class>0x030200</class>\n{_numbers(address)}"
    out += f"    <product id='0x{gpu.board.product_id}'>{escape(gpu.board.product)}</product>\n"
    out += "    <vendor id='0x10de'>NVIDIA Corporation</vendor>\n"
    if address in gpu.host.garbled:  # libvirt before 9.9 wrote what the card says as it is
        out += "    <capability type='vpd'>\n      <name>\x01\x7f</name>\n    </capability>\n"
    if not physical:
        out += f"    <capability type='phys_function'>\n      {_address(gpu.address)}\n    </capability>\n"
    elif gpu.sriov and gpu.vfs_enabled:
        rows = "".join(f"      {_address(function)}\n" for function in gpu.vf_addresses())
        out += f"    <capability type='virt_functions' maxCount='{gpu.board.total_vfs}'>\n{rows}    </capability>\n"
    elif gpu.sriov:
        out += f"    <capability type='virt_functions' maxCount='{gpu.board.total_vfs}'/>\n"
    if gpu.mechanism == "mdev" and physical != gpu.sriov and gpu.carries(address):
        out += _mdev_types(gpu, address)
    out += f"    <iommuGroup number='{_group(address)}'>\n      {_address(address)}\n    </iommuGroup>\n"
    out += f"    <numa node='{gpu.numa}'/>\n"
    if physical:
        out += (
            "    <pci-express>\n      <link validity='cap' port='0' speed='16' width='16'/>\n"
            "      <link validity='sta' speed='16' width='16'/>\n    </pci-express>\n"
        )
    return out + "  </capability>\n</device>\n"


def other_function_xml(address: str) -> str:
    """A device that is no GPU of ours. Raises KeyError."""
    for known, vendor, device, pci_class, driver, maker, product in OTHER_DEVICES:
        if known == address:
            bridge, folder = _bridge(address)
            return (
                _head(device_name(address), f"{folder}/{address}", bridge, driver)
                + f"  <capability type='pci'>\n    <class>{pci_class}</class>\n{_numbers(address)}"
                + f"    <product id='{device}'>{escape(product)}</product>\n"
                + f"    <vendor id='{vendor}'>{escape(maker)}</vendor>\n"
                + f"    <iommuGroup number='{_group(address)}'>\n      {_address(address)}\n    </iommuGroup>\n"
                + "    <numa node='0'/>\n  </capability>\n</device>\n"
            )
    raise KeyError(address)


def mdev_xml(gpu: Gpu, mdev: Mdev) -> str:
    """A mediated device. One that is not running has no path, driver or IOMMU group."""
    present = mdev.parent in gpu.functions()
    parent = device_name(mdev.parent) if present else "computer"
    if mdev.active:
        _, folder = _bridge(mdev.parent)
        out = _head(mdev.name, f"{folder}/{mdev.parent}/{mdev.uuid}", parent, "vfio_mdev")
    else:
        out = f"<device>\n  <name>{mdev.name}</name>\n  <parent>{parent}</parent>\n"
    out += f"  <capability type='mdev'>\n    <type id='{mdev.kind.type_id}'/>\n    <uuid>{mdev.uuid}</uuid>\n"
    out += f"    <parent_addr>{mdev.parent}</parent_addr>\n"
    if mdev.active:
        out += f"    <iommuGroup number='{5000 + _group(mdev.parent)}'/>\n"
    return out + "  </capability>\n</device>\n"


def domain_xml(host: Host, guest: Guest) -> str:
    """A domain as Nova makes it, as far as devices are concerned."""
    hostdevs = "".join(
        "    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>\n"
        f"      <source>\n        <address uuid='{uuid}'/>\n      </source>\n"
        f"      <alias name='hostdev{index}'/>\n    </hostdev>\n"
        for index, uuid in enumerate(guest.mdevs)
    )
    hostdevs += "".join(
        "    <hostdev mode='subsystem' type='pci' managed='no'>\n      <driver name='vfio'/>\n"
        f"      <source>\n        {_address(address)}\n      </source>\n    </hostdev>\n"
        for address in guest.pci
    )
    return (
        f"<domain type='kvm' id='{int(guest.name.rsplit('-', 1)[-1], 16)}'>\n  <name>{guest.name}</name>\n"
        f"  <uuid>{guest.server_id}</uuid>\n"
        '  <metadata>\n    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">\n'
        f"      <nova:name>{escape(guest.title)}</nova:name>\n    </nova:instance>\n  </metadata>\n"
        f"  <memory unit='KiB'>{guest.memory_mib * 1024}</memory>\n"
        f"  <vcpu placement='static'>{guest.vcpus}</vcpu>\n"
        "  <os>\n    <type arch='x86_64' machine='pc-q35-8.2'>hvm</type>\n  </os>\n"
        f"  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n{hostdevs}  </devices>\n</domain>\n"
    )


def capabilities_xml(host: Host) -> str:
    """The host part of libvirt's capabilities."""
    return (
        f"<capabilities>\n  <host>\n    <uuid>{host.root_uuid}</uuid>\n    <cpu>\n      <arch>x86_64</arch>\n"
        "      <model>EPYC-Rome</model>\n      <vendor>AMD</vendor>\n    </cpu>\n    <iommu support='yes'/>\n"
        "  </host>\n</capabilities>\n"
    )
