"""A host's /sys, /proc and /etc as folders and files, for the fact command to be really run on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from vgpu_console.sources.fact_command import FACT_SCRIPT, PROGRAM_LIMIT_S, PROGRAMS_LIMIT_S

A100_TYPES = {
    "nvidia-471": ("GRID A100-10C", "framebuffer=10240M, max_resolution=4096x2160, max_instance=4", 0),
    "nvidia-472": ("GRID A100-20C", "framebuffer=20480M, max_resolution=4096x2160, max_instance=2", 1),
}
T4_TYPES = {"nvidia-231": ("GRID T4-2Q", "framebuffer=2048M, max_resolution=7680x4320, max_instance=8", 8)}

CREATABLE = "ID    : vGPU Name\n1414 : NVIDIA H200X-1-18C\n1415 : NVIDIA H200X-1-18CME\n"


def write(root: Path, path: str, text: str) -> Path:
    """A file below the root, with its folders."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def pci(root: Path, address: str, *, vendor: str, device: str, pci_class: str, driver: str = "", **files: str) -> Path:
    """A PCI function with its sysfs files and its driver link."""
    here = f"/sys/bus/pci/devices/{address}"
    for name, value in {"vendor": vendor, "device": device, "class": pci_class, "numa_node": "0", **files}.items():
        write(root, f"{here}/{name}", value + "\n")
    folder = root / here.lstrip("/")
    if driver:
        (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
    return folder


def program(root: Path, path: str, script: str) -> Path:
    """An executable below the root, in sh."""
    file = write(root, path, f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def nvidia_smi(root: Path, *, query: str = "", types: str = "", modes: str = "", path: str = "/usr/bin") -> Path:
    """An nvidia-smi whose three answers are pieces of sh; each time it is started leaves a line in ``asked``."""
    return program(
        root,
        f"{path}/nvidia-smi",
        f"""echo "$*" >>'{root}/asked'
case "$*" in
--query-gpu=*) {query or ":"} ;;
"vgpu -s -v") {types or ":"} ;;
"-q -x") {modes or ":"} ;;
*) echo "unknown option $*"; exit 2 ;;
esac""",
    )


def mdev_parent(root: Path, address: str, types: dict[str, tuple[str, str, int]]) -> None:
    """An entry of /sys/class/mdev_bus with its supported types."""
    for type_id, (name, description, available) in types.items():
        here = f"/sys/class/mdev_bus/{address}/mdev_supported_types/{type_id}"
        write(root, f"{here}/name", name + "\n")
        write(root, f"{here}/description", f"num_heads=1, frl_config=60, {description}\n")
        write(root, f"{here}/available_instances", f"{available}\n")
        write(root, f"{here}/device_api", "vfio-pci\n")
        write(root, f"{here}/create", "")
        (root / here.lstrip("/") / "devices").mkdir()


def gpu_host(root: Path) -> Path:
    """A100 with two of 16 functions enabled, a T4, a vendor VFIO GPU, and what else a server has on its bus."""
    write(root, "/proc/sys/kernel/osrelease", "5.14.0-427.13.1.el9_4.x86_64\n")
    write(
        root,
        "/etc/os-release",
        'NAME="Red Hat Enterprise Linux"\nVERSION_ID="9.4"\nID="rhel"\n'
        'PRETTY_NAME="Red Hat Enterprise Linux 9.4 (Plow)"\n'
        'HOME_URL="https://www.redhat.com/"\n',
    )
    write(root, "/proc/cpuinfo", 2 * "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz\n\n")
    write(root, "/sys/module/nvidia/version", "550.90.05\n")
    write(
        root, "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.05  Release\nGCC\n"
    )
    for address, model in (("0000:41:00.0", "NVIDIA A100-PCIE-40GB"), ("0000:5e:00.0", "Tesla T4")):
        write(root, f"/proc/driver/nvidia/gpus/{address}/information", f"Model: \t\t {model}\nGPU UUID: \t GPU-1\n")
    write(
        root,
        "/proc/driver/nvidia/gpus/0000:c1:00.0/information",
        "Model: \t\t NVIDIA H200 NVL\nGPU Firmware: \t 550.90.05\nGPU Excluded:\t No\n",
    )
    pf = pci(
        root, "0000:41:00.0", vendor="0x10de", device="0x20f1", pci_class="0x030200", driver="nvidia",
        numa_node="1", sriov_numvfs="2", sriov_totalvfs="16",
    )  # fmt: skip
    for n in (4, 5):
        address = f"0000:41:00.{n}"
        vf = pci(root, address, vendor="0x10de", device="0x20f1", pci_class="0x030200", driver="nvidia", numa_node="1")
        (vf / "physfn").symlink_to("../0000:41:00.0")
        (pf / f"virtfn{n - 4}").symlink_to(f"../{address}")
        mdev_parent(root, address, A100_TYPES)
    pci(root, "0000:5e:00.0", vendor="0x10de", device="0x1eb8", pci_class="0x030200", driver="nvidia", numa_node="-1")
    mdev_parent(root, "0000:5e:00.0", T4_TYPES)
    pci(
        root, "0000:c1:00.0", vendor="0x10de", device="0x2335", pci_class="0x030200", driver="nvidia",
        sriov_numvfs="1", sriov_totalvfs="32",
    )  # fmt: skip
    vf = pci(root, "0000:c1:00.4", vendor="0x10de", device="0x2335", pci_class="0x030200", driver="nvidia")
    (vf / "physfn").symlink_to("../0000:c1:00.0")
    write(root, "/sys/bus/pci/devices/0000:c1:00.4/nvidia/current_vgpu_type", "0\n")
    write(root, "/sys/bus/pci/devices/0000:c1:00.4/nvidia/creatable_vgpu_types", CREATABLE)
    pci(root, "0000:03:00.0", vendor="0x1a03", device="0x2000", pci_class="0x030000", driver="ast")
    pci(root, "0000:17:00.0", vendor="0x15b3", device="0x101d", pci_class="0x020000", driver="mlx5_core",
        sriov_numvfs="8", sriov_totalvfs="8")  # fmt: skip
    return root


def run_facts(
    root: Path,
    shell: tuple[str, ...] = ("/bin/sh",),
    path: str | None = None,
    *,
    impatient: bool = False,
    only: bool = False,
) -> str:
    """What the fact command prints on that tree, with the time as 1700000000; only the line of the root is changed.

    ``impatient`` also makes its two time limits 1 and 2 seconds, for programs that hang; ``only`` leaves nothing but
    ``path`` to find commands in.
    """
    first, rest = FACT_SCRIPT.split("\n", 1)
    assert first == "R="
    if impatient:
        for limit, shorter in ((f"timeout -s KILL {PROGRAM_LIMIT_S} ", "timeout -s KILL 1 "),
                               (f"timeout {PROGRAMS_LIMIT_S} ", "timeout 2 ")):  # fmt: skip
            assert rest.count(limit) == 1
            rest = rest.replace(limit, shorter)
    if only:
        system = "PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin;"
        assert rest.count(system) == 1
        rest = rest.replace(system, "")
    env = {"PATH": path or os.defpath, "HOME": "/nonexistent"}
    done = subprocess.run([*shell, "-c", f"R='{root}'\n{rest}"], capture_output=True, env=env, timeout=60, check=True)
    assert done.stderr == b""
    return re.sub(r"(?<=^==clock==\n)[0-9]{10}$", "1700000000", done.stdout.decode("utf-8", "replace"), flags=re.M)
