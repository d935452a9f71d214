"""The lab host's kernel: what it lets be created, what it refuses, and that the embedded cloud believes the same."""

from __future__ import annotations

import uuid

import pytest

from tests.lab.host_machine import TYPES, VFS, GpuHost
from vgpu_console.simulator.gpu_models import BOARDS
from vgpu_console.simulator.hosts import Gpu, Host, KernelRefusal

pytest.importorskip("libvirt", reason="libvirt-python is not installed")
pytestmark = pytest.mark.lab

FULL = "No space left on device"
BUSY = "Device or resource busy"
INVALID = "Invalid argument"


def _fill(host: GpuHost, gpu: str, type_id: str) -> tuple[list[str], str]:
    """Devices of a type on one function after the other, until the kernel refuses: their functions, and its words."""
    functions = host.functions(gpu)
    done = host.attempt(
        f"cd /sys/class/mdev_bus; for f in {' '.join(functions)}; do"
        f" cat /proc/sys/kernel/random/uuid >$f/mdev_supported_types/{type_id}/create && echo $f || break; done"
    )
    return done.stdout.split(), done.stderr


def _table(host: GpuHost, gpu: str) -> dict[str, list[int]]:
    """available_instances of each type, on each function in order."""
    values = host.run(
        f"cd /sys/class/mdev_bus; for t in {' '.join(TYPES)}; do"
        f" cat $(printf '%s/mdev_supported_types/'$t'/available_instances ' {' '.join(host.functions(gpu))}); done"
    ).split()
    return {t: [int(v) for v in values[n * VFS : (n + 1) * VFS]] for n, t in enumerate(TYPES)}


class Twin:
    """The simulator's GPU of the same kind; its functions are counted, because their addresses differ."""

    def __init__(self) -> None:
        host = Host("twin")
        self.gpu = Gpu(host, BOARDS["A100-40"], "0000:41:00.0")
        host.gpus.append(self.gpu)
        self.functions = self.gpu.vf_addresses()

    def create(self, number: int, type_id: str) -> str | None:
        """The refusal, or None."""
        try:
            self.gpu.create(str(uuid.uuid4()), type_id, self.functions[number], persistent=False)
        except KernelRefusal as refusal:
            return str(refusal)
        return None

    def table(self) -> dict[str, list[int]]:
        """As _table() has it."""
        kinds = {kind.type_id: kind for kind in self.gpu.board.types}
        return {t: [self.gpu.available(f, kinds[t]) for f in self.functions] for t in TYPES}


# the smallest, one between and the largest; all six are made through the console in test_host_changes
@pytest.mark.parametrize("type_id", ["nvidia-468", "nvidia-472", "nvidia-473"])
def test_the_kernel_takes_the_real_maximum_and_refuses_the_next(gpu_host: GpuHost, type_id: str) -> None:
    name, _, maximum = TYPES[type_id]
    first, second = gpu_host.gpus
    twin = Twin()
    assert _table(gpu_host, first) == twin.table() == {t: [1] * VFS for t in TYPES}

    created, words = _fill(gpu_host, first, type_id)
    assert created == gpu_host.functions(first, maximum), f"{name}: {words}"
    assert FULL in words
    assert [twin.create(n, type_id) is None for n in range(maximum + 1)] == [True] * maximum + [False]
    assert _table(gpu_host, first) == twin.table() == {t: [0] * VFS for t in TYPES}
    assert _table(gpu_host, second) == {t: [1] * VFS for t in TYPES}

    device, (_, function) = next(iter(gpu_host.kernel_mdevs().items()))
    gpu_host.remove_mdev_behind(device)
    number = gpu_host.functions(first).index(function)
    twin.gpu.stop(twin.gpu.mdevs[twin.functions[number]][0])
    assert _table(gpu_host, first) == twin.table()
    assert gpu_host.available(first, type_id)[function] == 1


def test_one_function_one_device_and_one_gpu_one_size(gpu_host: GpuHost) -> None:
    first, second = gpu_host.functions(gpu_host.gpus[0])[:2]
    device = gpu_host.make_mdev_behind(first, "nvidia-470")
    for function, type_id in ((first, "nvidia-470"), (first, "nvidia-471"), (second, "nvidia-471")):
        assert FULL in gpu_host.try_mdev_behind(function, type_id).stderr
    assert "File exists" in gpu_host.try_mdev_behind(second, "nvidia-470", device).stderr
    gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[1])[0], "nvidia-471")
    gpu_host.remove_mdev_behind(device)
    gpu_host.make_mdev_behind(second, "nvidia-471")
    assert sorted(t for t, _ in gpu_host.kernel_mdevs().values()) == ["nvidia-471", "nvidia-471"]


def test_what_a_guest_holds_cannot_be_taken_away(gpu_host: GpuHost) -> None:
    gpu, other = gpu_host.gpus
    device = gpu_host.make_mdev_behind(gpu_host.functions(gpu)[0], "nvidia-472")
    gpu_host.start_guest("holder", [device])
    refused = gpu_host.attempt(f"virsh nodedev-destroy $(virsh -q nodedev-list --cap mdev | grep {device[:8]})")
    assert refused.returncode != 0
    assert "device in use" in refused.stderr
    assert BUSY in gpu_host.attempt(f"echo 0 >/sys/bus/pci/devices/{gpu}/sriov_numvfs").stderr
    managed = gpu_host.attempt(f"/usr/lib/nvidia/sriov-manage -d {gpu}")
    assert (managed.returncode, managed.stderr.strip()) == (0, f"Cannot obtain unbindLock for {gpu}")
    assert gpu_host.run(f"cat /sys/bus/pci/devices/{gpu}/sriov_numvfs") == str(VFS)
    assert device in gpu_host.kernel_mdevs()
    assert gpu_host.attempt(f"/usr/lib/nvidia/sriov-manage -d {other}").stderr == ""
    assert gpu_host.run(f"cat /sys/bus/pci/devices/{other}/sriov_numvfs") == "0"
    gpu_host.stop_guest("holder")
    gpu_host.run(f"/usr/lib/nvidia/sriov-manage -d {gpu}; /usr/lib/nvidia/sriov-manage -e ALL")
    assert gpu_host.kernel_mdevs() == {}
    assert gpu_host.run("cat /sys/bus/pci/drivers/nvidia/*/sriov_numvfs").split() == [str(VFS)] * 2


@pytest.mark.vendor_framework
def test_the_vendors_framework_has_the_same_rules(gpu_host: GpuHost) -> None:
    gpu = gpu_host.gpus[0]
    functions = gpu_host.functions(gpu)

    def write(function: str, number: int | str) -> str:
        done = gpu_host.attempt(f"echo {number} >/sys/bus/pci/devices/{function}/nvidia/current_vgpu_type")
        return done.stderr.rpartition(": ")[2].strip() or "ok"

    assert write(functions[0], 470) == "ok"
    assert write(functions[0], 470) == BUSY
    assert write(functions[1], 471) == BUSY
    assert write(functions[1], 999) == INVALID
    assert write(functions[1], "A100-8C") == INVALID
    assert [write(f, 470) for f in functions[1:6]] == ["ok"] * 4 + [FULL]
    gpu_host.start_guest("holder", pci=[functions[0]])
    assert write(functions[0], 0) == BUSY
    assert write(functions[1], 0) == "ok"
    gpu_host.stop_guest("holder")
    assert write(functions[0], 0) == "ok"
    assert gpu_host.attempt(f"cat /sys/bus/pci/devices/{functions[0]}/nvidia/current_vgpu_type").stdout == "0\n"


def test_a_vgpu_moves_with_its_guest_to_one_of_its_own_type_only(gpu_host: GpuHost) -> None:
    """VFIO's migration between two QEMUs in the host, which stands for two hosts: the kernel's part is the same."""
    source = gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[0])[0], "nvidia-472")
    same = gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[0])[1], "nvidia-472")
    other = gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[1])[0], "nvidia-471")
    ended, registers = gpu_host.run(f"hostlab-migrate {source} {same}").splitlines()
    assert ended.endswith("completed")
    assert [int(value, 16) for value in registers.split()] == [0x5A, 0, 0x77]
    refused = gpu_host.attempt(f"hostlab-migrate {source} {other}")
    assert refused.stdout.strip().endswith("failed"), refused
    again, registers = gpu_host.run(f"hostlab-migrate {same} {source}").splitlines()
    assert again.endswith("completed")
    assert [int(value, 16) for value in registers.split()] == [0x5A, 0, 0x77]
