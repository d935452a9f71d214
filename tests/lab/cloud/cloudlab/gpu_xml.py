"""libvirt's node device XML of a lab host's GPUs."""

from __future__ import annotations

from cloudlab.gpu_hardware import Function, GpuHost, Mdev, node_name


def function_xml(host: GpuHost, function: Function) -> str:
    """A ``<device>`` of a PCI function with its ``mdev_types``, ``virt_functions`` or ``phys_function``."""
    bus, slot, number = _parts(function.address)
    return f"""<device>
  <name>{function.name}</name>
  <path>{_path(function)}</path>
  <parent>computer</parent>
  <driver>
    <name>nvidia</name>
  </driver>
  <capability type='pci'>
    <class>0x030200</class>
    <domain>0</domain>
    <bus>{bus}</bus>
    <slot>{slot}</slot>
    <function>{number}</function>
    <product id='0x{function.model.product_id}'>{function.model.product}</product>
    <vendor id='0x10de'>NVIDIA Corporation</vendor>
{_relatives(function)}{_types(host, function)}    <iommuGroup number='{bus * 256 + slot * 8 + number}'>
      {_address(function.address)}
    </iommuGroup>
    <numa node='{function.numa_node}'/>
  </capability>
</device>"""


def mdev_xml(host: GpuHost, mdev: Mdev) -> str:
    """A ``<device>`` of a mediated device."""
    parent = host.functions[mdev.parent]
    driver = "  <driver>\n    <name>vfio_mdev</name>\n  </driver>\n" if mdev.active else ""
    return f"""<device>
  <name>{mdev.name}</name>
  <path>{_path(parent)}/{mdev.uuid}</path>
  <parent>{node_name(mdev.parent)}</parent>
{driver}  <capability type='mdev'>
    <type id='{mdev.type_id}'/>
    <uuid>{mdev.uuid}</uuid>
    <parent_addr>{mdev.parent}</parent_addr>
    <iommuGroup number='0'/>
  </capability>
</device>"""


def _types(host: GpuHost, function: Function) -> str:
    if not function.carries_mdevs:
        return ""
    rows = [
        f"      <type id='{kind.id}'>\n        <name>{kind.name}</name>\n        <deviceAPI>vfio-pci</deviceAPI>\n"
        f"        <availableInstances>{host.available(function, kind)}</availableInstances>\n      </type>\n"
        for kind in function.model.types
    ]
    return f"    <capability type='mdev_types'>\n{''.join(rows)}    </capability>\n"


def _relatives(function: Function) -> str:
    if function.is_virtual:
        return f"    <capability type='phys_function'>\n      {_address(function.gpu)}\n    </capability>\n"
    if not function.model.total_vfs:
        return ""
    rows = "".join(f"      {_address(address)}\n" for address in function.virtual_functions)
    return f"    <capability type='virt_functions' maxCount='{function.model.total_vfs}'>\n{rows}    </capability>\n"


def _address(address: str) -> str:
    bus, slot, number = _parts(address)
    return f"<address domain='0x0000' bus='0x{bus:02x}' slot='0x{slot:02x}' function='0x{number:x}'/>"


def _path(function: Function) -> str:
    return f"/sys/devices/pci0000:00/0000:00:01.0/{function.address}"


def _parts(address: str) -> tuple[int, int, int]:
    _, bus, rest = address.split(":")
    slot, number = rest.split(".")
    return int(bus, 16), int(slot, 16), int(number, 16)
