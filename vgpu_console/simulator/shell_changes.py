"""What the console's changing commands do on a simulated host, and what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from vgpu_console.simulator.faults import Faults
from vgpu_console.simulator.hosts import Gpu, Host
from vgpu_console.simulator.libvirt_jobs import CREATED
from vgpu_console.simulator.libvirt_xml import device_name
from vgpu_console.simulator.state import State
from vgpu_console.sources.change_command import HostChange

BINDING_S = 0.25
"""So long sriov-manage takes for each virtual function that it binds again."""


class ShellChanges:
    """Carries out ``set-vgpu-type`` and ``enable-vfs``. ``device_changed`` has nova-compute notice."""

    def __init__(self, state: State, faults: Faults, device_changed: Callable[[Host], None]) -> None:
        self._state = state
        self._faults = faults
        self._device_changed = device_changed

    def run(self, host: Host, change: HostChange) -> str:
        """The command's output. The state is changed under its lock."""
        with self._state.lock:
            if host.name in self._faults.no_sudo:
                code, said = 1, "sudo: a password is required"
            elif change.call == "set-vgpu-type":
                code, said = self._set_type(host, change.address, change.value or 0)
            else:
                code, said = self._enable(host, change.address)
        words = f"{said}\n" if said else ""
        return f"==vgpu-console-change 1==\n{words}==exit {code}==\n"

    def _set_type(self, host: Host, address: str, number: int) -> tuple[int, str]:
        path = f"/sys/bus/pci/devices/{address}/nvidia/current_vgpu_type"
        gpu = host.gpu_of(address)
        if gpu is None or gpu.mechanism != "vendor-vfio" or address not in gpu.vf_addresses():
            return 100, f"{path}: no such file"
        if address in gpu.claimed:
            return 1, f"tee: {path}: Device or resource busy"
        if number == 0:
            gpu.current_types.pop(address, None)
        else:
            kind = next((one for one in gpu.board.types if one.number == number), None)
            if kind is None or not gpu.available(address, kind):
                return 1, f"tee: {path}: Invalid argument"
            gpu.current_types[address] = kind
        self._device_changed(host)
        return 0, ""

    def _enable(self, host: Host, address: str) -> tuple[int, str]:
        gpu = next((one for one in host.gpus if one.address == address), None)
        manage = PurePosixPath("/usr/lib/nvidia/sriov-manage")
        if gpu is None or not gpu.sriov:
            return 1, f"{manage}: line 1: /sys/bus/pci/devices/{address}/sriov_totalvfs: No such file or directory"
        if gpu.vfs_enabled == gpu.board.total_vfs:
            return 0, f"GPU at {address} already has VFs enabled."
        self._bind_next(host, gpu)
        return 0, f"Enabling VFs on {address}"

    def _bind_next(self, host: Host, gpu: Gpu) -> None:
        """One function more, and the next one a moment later: the kernel makes them one after the other."""
        if gpu.vfs_enabled >= gpu.board.total_vfs:
            return
        gpu.set_vfs(gpu.vfs_enabled + 1)
        for listener in list(host.listeners):
            listener.device_event(device_name(gpu.vf_addresses()[-1]), CREATED)  # type: ignore[attr-defined]
        self._device_changed(host)
        self._state.after(BINDING_S, lambda: self._bind_next(host, gpu))
