"""The programs of a simulated host that the fact command runs or looks for, as what they answer to which arguments.

The layouts are those of nvidia-smi's own output, with some of the lines that the console does not look at.
"""

from __future__ import annotations

import shlex

from vgpu_console.simulator.gpu_models import VgpuType
from vgpu_console.simulator.hosts import Gpu, Host
from vgpu_console.sources.fact_command import GPU_QUERY, MODES_QUERY, TYPES_QUERY

Programs = dict[str, dict[tuple[str, ...], str]]
"""Path -> arguments -> standard output. A program without answers is only looked for."""

_MIXED_SIZES_SINCE = 550
"""The driver branch that can put vGPUs of different sizes on one GPU; an older one has no word for it."""


def programs(host: Host) -> Programs:
    """The programs that a host has."""
    version = ("--version",)
    libvirt = "{}.{}.{}".format(*_parts(host.libvirt_installed or host.libvirt_version))
    qemu = "{}.{}.{}".format(*_parts(host.qemu_version))
    found: Programs = {
        "/usr/sbin/libvirtd": {version: f"libvirtd (libvirt) {libvirt}\n"},
        "/usr/bin/sudo": {},
    }
    if host.os[0] == "rhel":
        found["/usr/libexec/qemu-kvm"] = {version: f"QEMU emulator version {qemu} (qemu-kvm-{qemu}-1.el9)\n"}
    else:
        found["/usr/bin/qemu-system-x86_64"] = {
            version: f"QEMU emulator version {qemu} (Debian 1:{qemu}+ds-0ubuntu1)\n"
        }
    if host.mechanism == "mdev":
        found["/usr/sbin/mdevctl"] = {}
    if host.gpus:
        found["/usr/bin/nvidia-smi"] = {
            GPU_QUERY: "".join(_query_line(gpu) for gpu in host.gpus),
            TYPES_QUERY: "".join(_types_of(gpu) for gpu in host.gpus),
            MODES_QUERY: _modes_of(host),
        }
    if any(gpu.sriov for gpu in host.gpus):
        found["/usr/lib/nvidia/sriov-manage"] = {}
    for path in host.missing_tools:
        found.pop(path, None)
    return found


def as_script(answers: dict[tuple[str, ...], str]) -> str:
    """A program that really gives these answers, for a host whose files are on a disk."""
    cases = "".join(
        f"{shlex.quote(shlex.join(words))})\ncat <<'END OF ANSWER'\n{output}END OF ANSWER\n;;\n"
        for words, output in answers.items()
    )
    return f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 2 ;;\nesac\n'


def _parts(version: int) -> tuple[int, int, int]:
    return version // 1_000_000, version // 1_000 % 1_000, version % 1_000


def bus_id(gpu: Gpu) -> str:
    """The GPU's address as nvidia-smi writes it: ``00000000:41:00.0``."""
    return "0000" + gpu.address.upper()


def gsp_firmware(gpu: Gpu) -> str:
    """The firmware version that the driver names, or N/A: it is used where the vendor VFIO framework is."""
    return gpu.host.driver if gpu.mechanism == "vendor-vfio" else "N/A"


def _onoff(value: bool) -> str:
    return "Enabled" if value else "Disabled"


def _mig(gpu: Gpu) -> str:
    return _onoff(gpu.mig) if gpu.board.mig_capable else "[N/A]"


def _query_line(gpu: Gpu) -> str:
    return f"{bus_id(gpu)}, {gpu.board.model}, {_onoff(gpu.ecc)}, {_onoff(_pending(gpu))}, {_mig(gpu)}\n"


def _pending(gpu: Gpu) -> bool:
    """The ECC mode after the next reset."""
    return gpu.ecc if gpu.ecc_pending is None else gpu.ecc_pending


def _types_of(gpu: Gpu) -> str:
    rows = [f"GPU {bus_id(gpu)}"]
    for kind in gpu.board.types:
        rows.append(_labelled(4, "vGPU Type ID", f"0x{kind.number:x}"))
        rows += [_labelled(8, label, value) for label, value in _type_rows(gpu, kind)]
    return "\n".join(rows) + "\n"


def _type_rows(gpu: Gpu, kind: VgpuType) -> list[tuple[str, str]]:
    return [
        ("Name", vendor_name(kind.name) if gpu.mechanism == "vendor-vfio" else kind.name),
        ("Class", "Compute" if kind.heads == 1 else "Quadro"),
        ("GPU Instance Profile ID", str(kind.number % 100) if kind.mig else "N/A"),
        ("Max Instances", str(kind.maximum)),
        ("Max Instances Per VM", "1"),
        ("Device ID", f"0x{gpu.board.product_id}10de"),
        ("FB Memory", f"{kind.framebuffer_mib} MiB"),
        ("Display Heads", str(kind.heads)),
    ]


def _labelled(indent: int, label: str, value: str) -> str:
    return f"{' ' * indent}{label:<{42 - indent}}: {value}"


def _modes_of(host: Host) -> str:
    rows = ['<?xml version="1.0" ?>', "<nvidia_smi_log>", f"\t<driver_version>{host.driver}</driver_version>"]
    mixed = int(host.driver.partition(".")[0]) >= _MIXED_SIZES_SINCE
    for gpu in host.gpus:
        ecc, pending = _onoff(gpu.ecc), _onoff(_pending(gpu))
        mode = "SR-IOV" if gpu.sriov else "Non SR-IOV"
        rows += [
            f'\t<gpu id="{bus_id(gpu)}">',
            f"\t\t<product_name>{gpu.board.model}</product_name>",
            f"\t\t<mig_mode>\n\t\t\t<current_mig>{_mig(gpu).strip('[]')}</current_mig>\n\t\t</mig_mode>",
            "\t\t<gpu_virtualization_mode>",
            "\t\t\t<virtualization_mode>Host VGPU</virtualization_mode>",
            f"\t\t\t<host_vgpu_mode>{mode}</host_vgpu_mode>",
            *([f"\t\t\t<vgpu_heterogeneous_mode>{_onoff(gpu.mixed)}</vgpu_heterogeneous_mode>"] if mixed else []),
            "\t\t</gpu_virtualization_mode>",
            f"\t\t<gsp_firmware_version>{gsp_firmware(gpu)}</gsp_firmware_version>",
            f"\t\t<ecc_mode>\n\t\t\t<current_ecc>{ecc}</current_ecc>\n\t\t\t<pending_ecc>{pending}</pending_ecc>\n\t\t</ecc_mode>",
            "\t</gpu>",
        ]
    return "\n".join([*rows, "</nvidia_smi_log>", ""])


def vendor_name(name: str) -> str:
    """A type's name as the vendor VFIO framework writes it: ``NVIDIA L40S-12Q``."""
    return "NVIDIA " + name.removeprefix("GRID ").removeprefix("NVIDIA ")
