"""A lab host's /sys, /proc and /etc below a folder, and the shell that runs the console's command there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from vgpu_console.sources.base import SourceError

KERNEL = "5.14.0-570.12.1.el9_6.x86_64"
DRIVER = "570.133.10"

_ROOT_OF_COMMAND = "'R=\n"


class LabShell:
    """The console's SSH seam: the very command that it sends, run by /bin/sh on files that say what the lab says."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = Path(tempfile.mkdtemp(prefix="vgpu-lab-hosts-"))
        self.refuse: set[str] = set()  # hosts that do not answer
        self.last_output = ""

    def run(self, host: str, command: str, timeout_s: float) -> str:
        """Write the host's files anew and run the command on them."""
        if host in self.refuse:
            raise SourceError("unreachable", f"{host}: connection refused")
        root = self._folder / host
        shutil.rmtree(root, ignore_errors=True)
        write_tree(self._lab, host, root)
        assert command.count(_ROOT_OF_COMMAND) == 1, "the fact command names its root in another way"
        moved = command.replace(_ROOT_OF_COMMAND, f"'R={root}\n")
        self.last_output = subprocess.run(
            ["/bin/sh", "-c", moved], capture_output=True, text=True, timeout=timeout_s, check=True
        ).stdout
        return self.last_output

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def write_tree(lab: Lab, host: str, root: Path) -> None:
    """The files of a host as kernel, driver and package would have them."""
    truth = lab.hosts()[host]
    _write(root / "proc/sys/kernel/osrelease", KERNEL)
    _write(root / "etc/os-release", 'ID="rhel"\nVERSION_ID="9.6"\nPRETTY_NAME="Red Hat Enterprise Linux 9.6 (Plow)"')
    _write(root / "sys/module/nvidia/version", DRIVER)
    (root / "sys/bus/pci/drivers/nvidia").mkdir(parents=True)
    (root / "sys/class/mdev_bus").mkdir(parents=True)
    for gpu in truth["gpus"]:
        address = gpu["address"]
        _write(root / f"proc/driver/nvidia/gpus/{address}/information", f"Model: \t\t {gpu['marketing_name']}")
        _write_function(root, address, gpu)
        if gpu["total_vfs"]:
            device = _device(root, address)
            _write(device / "sriov_totalvfs", str(gpu["total_vfs"]))
            _write(device / "sriov_numvfs", str(len(gpu["virtual_functions"])))
        for number, virtual in enumerate(gpu["virtual_functions"]):
            _write_function(root, virtual, gpu)
            (_device(root, virtual) / "physfn").symlink_to(f"../{address}")
            (_device(root, address) / f"virtfn{number}").symlink_to(f"../{virtual}")
    for kind in truth["types"]:
        _write_type(root, kind)
    nova_conf = root / "etc/nova/nova.conf"
    nova_conf.parent.mkdir(parents=True)
    shutil.copyfile(lab.home / "nova/nova.conf", nova_conf)


def _device(root: Path, address: str) -> Path:
    return root / "sys/bus/pci/devices" / address


def _write_function(root: Path, address: str, gpu: dict[str, Any]) -> None:
    device = _device(root, address)
    _write(device / "vendor", "0x10de")
    _write(device / "device", f"0x{gpu['product_id']}")
    _write(device / "class", "0x030200")
    _write(device / "numa_node", str(gpu["numa_node"]))
    (device / "driver").symlink_to("../../../../bus/pci/drivers/nvidia")


def _write_type(root: Path, kind: dict[str, Any]) -> None:
    device = _device(root, kind["address"])
    folder = device / "mdev_supported_types" / kind["id"]
    _write(folder / "name", kind["name"])
    _write(
        folder / "description",
        f"num_heads=1, frl_config=60, framebuffer={kind['framebuffer_mib']}M, max_resolution=4096x2160, "
        f"max_instance={kind['max_instances']}",
    )
    _write(folder / "available_instances", str(kind["available"]))
    link = root / "sys/class/mdev_bus" / kind["address"]
    if not link.is_symlink():
        link.symlink_to(device)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")
