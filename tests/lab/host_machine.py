"""A lab host as the tests hold it: boot it, reach it, act behind the console's back, and put it back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import REPOSITORY
from vgpu_console.sources.ssh_shell import AsyncSshShell

COMMAND = REPOSITORY / "tests" / "lab" / "hosts" / "lab"
PORT_BASE = int(os.environ.get("HOST_LAB_TEST_PORT_BASE", "22100"))
NAME = os.environ.get("HOST_LAB_TEST_NAME", "gpu-test")
"""Another name and port base make a second host beside that of a test run that is under way."""

TYPES = {
    "nvidia-468": ("GRID A100-4C", 4096, 10),
    "nvidia-469": ("GRID A100-5C", 5120, 8),
    "nvidia-470": ("GRID A100-8C", 8192, 5),
    "nvidia-471": ("GRID A100-10C", 10240, 4),
    "nvidia-472": ("GRID A100-20C", 20480, 2),
    "nvidia-473": ("GRID A100-40C", 40960, 1),
}
"""Type id -> its name, framebuffer in MiB, and how many one A100 PCIe 40GB takes."""

VFS = 16


class GpuHost:
    """A running lab host. Times are long, because the machine is emulated and shares two cores with the tests."""

    def __init__(self, name: str = NAME, port_base: int = PORT_BASE) -> None:
        self.name = name
        self.home = Path(os.environ.get("HOST_LAB_HOME") or REPOSITORY / ".lab" / "hosts") / name
        self.address = "127.0.0.1"  # what the console calls this host
        self.ssh_port = port_base + 22
        self.libvirt_port = port_base + 9
        self.key = self.home / "id"
        self.known_hosts = self.home / "known_hosts"
        self.gpus = ("0000:01:00.0", "0000:02:00.0")
        self.framework = "mdev"
        self._port_base = port_base
        self._control = Path(tempfile.mkdtemp(prefix="vgpu-lab-ssh-"))

    # The machine

    def up(self, *, keep: bool) -> None:
        """Boot it with the sizes that the tests expect; with ``keep`` one that is up will do."""
        self._lab("up", "--name", self.name, "--port-base", str(self._port_base), "--keep")
        if keep:
            self.reset()

    def down(self) -> None:
        """End it."""
        self._lab("down", "--name", self.name)

    def _lab(self, *arguments: str) -> None:
        subprocess.run([sys.executable, str(COMMAND), *arguments], check=True, timeout=900)

    def reset(self, framework: str = "mdev") -> None:
        """No guests, no devices, all virtual functions on, libvirtd running, nova.conf as installed, that framework.

        ``mdev``, or the vendor's own, ``vendor``: loading the driver anew for another one takes ten seconds.
        """
        self.run(f"hostlab-reset {framework}", timeout_s=240)
        self.framework = framework

    # Reaching it

    @property
    def libvirt_uri(self) -> str:
        """libvirt over TCP: no authentication, the fastest way."""
        return f"qemu+tcp://127.0.0.1:{self.libvirt_port}/system"

    def libvirt_ssh_uri(self, user: str = "root") -> str:
        """libvirt over SSH. ``watcher`` is a user who may read and not write."""
        return f"qemu+ssh://{user}@127.0.0.1:{self.ssh_port}/system?command={self.home / 'ssh'}"

    def shell(self, user: str = "root", *, changes: bool = False) -> AsyncSshShell:
        """The console's own SSH, for whoever closes it; with ``changes`` it may do more than read."""
        return AsyncSshShell(
            user=user,
            port=self.ssh_port,
            keys=[self.key],
            config=[os.devnull],
            known_hosts=self.known_hosts,
            changes=changes,
        )

    def connect(self) -> Any:
        """libvirt-python's connection that may write: the other opinion of what is true. Raises libvirtError."""
        import libvirt

        return libvirt.open(self.libvirt_uri)

    def run(self, command: str, *, user: str = "root", check: bool = True, timeout_s: float = 120.0) -> str:
        """Standard output of a shell command there, without the last line's end. AssertionError when it fails."""
        done = self.attempt(command, user=user, timeout_s=timeout_s)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout.rstrip("\n")

    def attempt(
        self, command: str, *, user: str = "root", timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """The same with exit status and standard error, and without judging them."""
        kept = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._control}/%r", "-o", "ControlPersist=30"]
        full = [str(self.home / "ssh"), *kept, f"{user}@{self.name}", "--", command]
        return subprocess.run(full, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)

    # The hardware

    def functions(self, gpu: str, count: int = VFS) -> list[str]:
        """The addresses of a GPU's first virtual functions, whether they are enabled or not."""
        bus = gpu[:8]
        return [f"{bus}{number >> 3:02x}.{number & 7}" for number in range(1, count + 1)]

    def set_vfs(self, gpu: str, count: int) -> None:
        """Enable that many virtual functions of a GPU, after disabling those it has. AssertionError when refused."""
        file = f"/sys/bus/pci/devices/{gpu}/sriov_numvfs"
        self.run(f"echo 0 >{file} && {{ [ {count} = 0 ] || echo {count} >{file}; }} && udevadm settle")

    def make_mdev_behind(self, function: str, type_id: str, device: str | None = None) -> str:
        """A mediated device by the kernel's own file, of which libvirt learns by an event only. AssertionError."""
        device = device or str(uuid.uuid4())
        done = self.try_mdev_behind(function, type_id, device)
        assert done.returncode == 0, done.stderr
        return device

    def try_mdev_behind(
        self, function: str, type_id: str, device: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same; the kernel's refusal is in standard error."""
        folder = f"/sys/class/mdev_bus/{function}/mdev_supported_types/{type_id}"
        return self.attempt(f"echo {device or uuid.uuid4()} >{folder}/create")

    def remove_mdev_behind(self, *devices: str) -> None:
        """Take devices away by the kernel's own file. It waits while a guest holds one."""
        for device in devices:
            self.run(f"echo 1 >/sys/bus/mdev/devices/{device}/remove")

    def kernel_mdevs(self) -> dict[str, tuple[str, str]]:
        """What the kernel has now: uuid -> type id and function."""
        links = self.run(
            "cd /sys/bus/mdev/devices && for d in *; do [ -e $d ] && echo $d $(readlink -f $d/mdev_type); done; true"
        )
        found = {}
        for line in links.splitlines():
            device, path = line.split()
            parts = path.split("/")
            found[device] = (parts[-1], parts[-3])
        return found

    def available(self, gpu: str, type_id: str) -> dict[str, int]:
        """available_instances of a type on each of a GPU's enabled functions, as the kernel says it."""
        files = self.run(
            f"cd /sys/class/mdev_bus && grep -H '' {gpu[:8]}*/mdev_supported_types/{type_id}/available_instances"
        )
        return {line.split("/")[0]: int(line.rpartition(":")[2]) for line in files.splitlines()}

    # libvirt, nova.conf

    def restart_libvirtd(self) -> None:
        """As systemd would; returns when it answers."""
        self.run("hostlab-libvirtd restart")

    def kill_libvirtd(self) -> None:
        """A crash (SIGKILL); ``start_libvirtd`` brings it back."""
        self.run("hostlab-libvirtd kill")

    def start_libvirtd(self) -> None:
        """Start it where it does not run; returns when it answers."""
        self.run("hostlab-libvirtd start")

    def freeze_libvirtd(self, frozen: bool = True) -> None:
        """Stop it in its tracks (SIGSTOP), connections and all; False lets it go on."""
        self.run(f"kill -{'STOP' if frozen else 'CONT'} $(cat /run/libvirtd.pid)")

    def write_nova_conf(self, text: str) -> None:
        """Replace /etc/nova/nova.conf."""
        self.run(f"cat >/etc/nova/nova.conf <<'END-OF-FILE'\n{text}\nEND-OF-FILE")

    def set_create_delay(self, seconds: float) -> None:
        """Make the kernel take that much longer to make each vGPU."""
        self.run(f"echo {int(seconds * 1000)} >/sys/module/nvidia/parameters/create_delay_ms")

    # Guests

    def start_guest(self, name: str, mdevs: Iterable[str] = (), pci: Iterable[str] = ()) -> str:
        """A running guest that holds mediated devices, or virtual functions under the vendor's framework; its uuid.

        It has no disk and does nothing, but QEMU has its vGPUs open. Raises libvirtError.
        """
        connection = self.connect()
        try:
            return str(connection.createXML(guest_xml(name, mdevs, pci), 0).UUIDString())
        finally:
            connection.close()

    def define_guest(self, name: str, mdevs: Iterable[str] = (), pci: Iterable[str] = ()) -> str:
        """The same, shut off; its uuid."""
        connection = self.connect()
        try:
            return str(connection.defineXML(guest_xml(name, mdevs, pci)).UUIDString())
        finally:
            connection.close()

    def stop_guest(self, name: str) -> None:
        """End a guest, as by pulling its plug."""
        self.run(f"virsh -q destroy {name}")


def guest_xml(name: str, mdevs: Iterable[str] = (), pci: Iterable[str] = ()) -> str:
    """A small domain with these devices, as Nova would attach them."""
    hostdevs = [
        "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>"
        f"<source><address uuid='{device}'/></source></hostdev>"
        for device in mdevs
    ]
    for address in pci:
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        hostdevs.append(
            "<hostdev mode='subsystem' type='pci' managed='no'><source>"
            f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source></hostdev>"
        )
    return (
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
        "<emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/>"
        "<controller type='usb' model='none'/><video><model type='none'/></video>"
        f"{''.join(hostdevs)}</devices></domain>"
    )


@pytest.fixture(scope="session")
def booted_gpu_host() -> Iterator[GpuHost]:
    """One host for each worker. LAB_KEEP=1 uses the one that is up and leaves it up, while tests are being written."""
    keep = os.environ.get("LAB_KEEP") == "1"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    made = GpuHost(f"{NAME}-{worker}", PORT_BASE + 100 * int(worker[2:])) if worker else GpuHost()
    made.up(keep=keep)
    yield made
    if not keep:
        made.down()


@pytest.fixture
def gpu_host(booted_gpu_host: GpuHost, request: pytest.FixtureRequest) -> Iterator[GpuHost]:
    """The host as it came up, or with ``vendor_framework`` in that one: whatever a test does to it is undone after it.

    The framework is left as it is for the next test, which mostly wants the same.
    """
    wanted = "vendor" if request.node.get_closest_marker("vendor_framework") else "mdev"
    if booted_gpu_host.framework != wanted:
        booted_gpu_host.reset(wanted)
    yield booted_gpu_host
    booted_gpu_host.reset(wanted)
