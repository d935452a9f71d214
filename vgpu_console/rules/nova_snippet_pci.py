"""The ``[pci]`` section for GPUs under the vendor VFIO framework, generated from the functions that have a type."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.rules.device_spec import aliases, device_specs
from vgpu_console.rules.nova_gpu import GpuSide, label
from vgpu_console.rules.nova_side_pci import first_match

LEAST_LIBVIRT, LEAST_QEMU = (10, 0, 0), (8, 2, 2)
"""With ``live_migratable`` in a device_spec, nova-compute refuses to start on older ones (nova: libvirt/driver.py)."""

_HEX = re.compile(r"[0-9a-f]{4}")
_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def pci_section(snapshot: Snapshot, host: Host, sides: Sequence[GpuSide]) -> list[list[str]]:
    """Blocks of lines: the section for nova-compute, what the control plane needs besides, and what stays untrue."""
    if not sides:
        return []
    movable, why = _movable(host)
    lines = ["[pci]"]
    names: dict[str, str] = {}  # resource class -> name of the alias
    for side in sides:
        lines += _specs(side, movable, names)
    if not names:
        return [lines[1:]]
    rest = _others(host, sides)
    if rest:
        lines.insert(1, f"# {rest} other device_spec of this host stay as they are; Nova takes the first that matches")
    lines.append("# managed no: the function stays bound to the nvidia driver, which makes it a vGPU")
    lines.append(f"# live_migratable {'yes' if movable else 'is left out'}: {why}")
    lines += [_alias(host, name, resource_class, movable) for resource_class, name in names.items()]
    lines.append("report_in_placement = true")
    control = [
        "# On nova-api, nova-scheduler and nova-conductor: the same alias lines in [pci], and",
        "#   [filter_scheduler]",
        "#   pci_in_placement = true",
        "# A flavor asks for it with pci_passthrough:alias = " + " or ".join(f"{n}:1" for n in names.values()),
    ]
    untrue = [
        "# What stays untrue whatever is written here: Nova counts a function as long as a device_spec matches it,",
        "# with or without a type. After a boot or sriov-manage the types are gone, and servers that are given one",
        "# do not start.",
    ]
    return [lines, control, untrue]


def _movable(host: Host) -> tuple[bool, str]:
    """Whether live_migratable may be said on this host, and why."""
    libvirt, qemu = _version(host.libvirt), _version(host.qemu)
    if libvirt is None or qemu is None:
        return False, "libvirt and QEMU of this host are not known, and with older ones nova-compute would not start"
    if libvirt < LEAST_LIBVIRT or qemu < LEAST_QEMU:
        return False, f"it needs libvirt 10.0.0 and QEMU 8.2.2, here are {host.libvirt} and {host.qemu}"
    return True, f"libvirt {host.libvirt} and QEMU {host.qemu} can; whether the GPU's driver can, NVIDIA's tables say"


def _version(text: str | None) -> tuple[int, ...] | None:
    parts = (text or "").split(".")
    return tuple(int(p) for p in parts[:3]) if all(p.isdigit() for p in parts) else None


def _specs(side: GpuSide, movable: bool, names: dict[str, str]) -> list[str]:
    gpu = side.gpu
    typed = [f for f in gpu.functions if f.current_vgpu_type and _ADDRESS.fullmatch(f.address)]
    lines = [f"# {gpu.address} ({gpu.model or 'GPU'}): {len(typed)} of {len(gpu.functions)} functions have a type"]
    if not typed:
        lines.append("#   nothing to hand out: give functions a type first")
    for function in typed:
        type_id = str(function.current_vgpu_type)
        capacity = side.capacity(type_id)
        name = label(type_id, capacity.type_name if capacity is not None else "")
        known = first_match(side, function.address)
        plain_name = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        resource_class = (known.resource_class if known is not None else None) or (
            f"CUSTOM_VGPU_TYPE_{type_id}" if name == type_id else f"CUSTOM_{plain_name}"
        )
        names.setdefault(resource_class, resource_class.removeprefix("CUSTOM_"))
        spec = {"vendor_id": gpu.vendor_id.lower()} if _HEX.fullmatch(gpu.vendor_id.lower()) else {}
        spec |= {"address": function.address, "resource_class": resource_class, "managed": "no"}
        if movable:
            spec["live_migratable"] = "yes"
        lines.append("device_spec = " + json.dumps(spec))
    return lines


def _alias(host: Host, name: str, resource_class: str, movable: bool) -> str:
    """The alias of a class: under the name that nova.conf has for it already."""
    known = next((a for a in aliases(host.nova_conf) or () if a.get("resource_class") == resource_class), None)
    alias = {
        "name": known["name"] if known is not None and known.get("name") else name,
        "device_type": "type-VF",
        "resource_class": resource_class,
    }
    if movable:
        alias["live_migratable"] = "yes"
    return "alias = " + json.dumps(alias)


def _others(host: Host, sides: Sequence[GpuSide]) -> int:
    """How many device_specs are about something else."""
    specs = device_specs(host.nova_conf) or ()
    functions = [(f.address, s.gpu) for s in sides for f in s.gpu.functions]
    return sum(1 for s in specs if not any(s.matches(a, gpu.address, gpu.vendor_id) for a, gpu in functions))
