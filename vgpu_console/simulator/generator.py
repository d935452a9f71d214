"""Generates a fleet of any size: hosts with SR-IOV GPUs, projects, servers and limits in proportion."""

from __future__ import annotations

import gc

import msgspec

from vgpu_console.simulator.builder import Builder
from vgpu_console.simulator.hosts import Gpu, Host
from vgpu_console.simulator.providers import Provider
from vgpu_console.simulator.state import Flavor, Project

_PROFILES = (("A100-40", "A100-10C"), ("A100-40", "A100-20C"), ("A100-40", "A100-5C"))


class FleetSize(msgspec.Struct, frozen=True):
    """What to generate. ``used`` is the part of each GPU's real maximum that servers hold."""

    hosts: int
    gpus: int = 8
    vfs: int = 16
    used: float = 0.4
    projects: int | None = None  # None: one for every four hosts, at least three


def generate(builder: Builder, size: FleetSize) -> None:
    """Build the fleet. Every part goes by the same rules as in a scenario; nothing is scheduled."""
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of objects that all stay: collections would only look at them again
    try:
        _generate(builder, size)
    finally:
        if collecting:
            gc.enable()


def _generate(builder: Builder, size: FleetSize) -> None:
    count = size.projects if size.projects is not None else max(3, size.hosts // 4)
    builder.default_limits(
        {
            "servers": 1000,
            "class:VCPU": 20000,
            "class:MEMORY_MB": 40_000_000,
            "class:DISK_GB": 1_000_000,
            "class:VGPU": 64,
        }
    )
    projects = [
        builder.project(f"project-{number:04d}", {"class:VGPU": 40 + number % 50} if number % 3 == 0 else None)
        for number in range(1, count + 1)
    ]
    flavors: dict[str, Flavor] = {
        kind: builder.flavor(f"gpu.{kind.lower()}", 16384, 4, 40, {"resources:VGPU": "1"}) for _, kind in _PROFILES
    }
    width = max(4, len(str(size.hosts)))
    turn = 0
    for number in range(1, size.hosts + 1):
        board, kind = _PROFILES[number % len(_PROFILES)]
        host = builder.host(f"gpu-{number:0{width}d}")
        for _ in range(size.gpus):
            builder.gpu(host, board, (kind,), vfs=size.vfs)
        builder.inventories(host)
        host.inventory_due = builder.state.now  # nova-compute need not look again: what follows is all there is
        for gpu in host.gpus:
            turn = _fill(builder, host, gpu, flavors[kind], projects, size.used, turn)
        host.inventory_due = None
        if any(len(gpu.mdevs) == gpu.enabled[0].maximum for gpu in host.gpus):
            builder.inventories(host)  # a full GPU's other functions offer nothing any more


def _fill(
    builder: Builder, host: Host, gpu: Gpu, flavor: Flavor, projects: list[Project], used: float, turn: int
) -> int:
    """Put servers on a GPU's first functions."""
    placement, compute = builder.state.placement, builder.compute
    amount = round(gpu.enabled[0].maximum * used + 0.25 * (turn % 3 - 1))
    root = placement.providers[host.root_uuid]
    user = next(iter(builder.state.users))
    base = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mib, "DISK_GB": flavor.disk_gib}
    for function in gpu.functions()[: min(amount, gpu.enabled[0].maximum)]:
        provider: Provider | None = placement.by_name.get(compute.provider_name(host, gpu, function))
        if provider is None or not all(root.can_take(name, value) for name, value in base.items()):
            break
        project = projects[turn % len(projects)]
        turn += 1
        server = compute.new_server(f"vm-{turn:06d}", project.id, user, flavor, action=False)
        server.created = server.updated = builder.state.now
        compute.boot_now(server, host, {root.uuid: base, provider.uuid: {"VGPU": 1}})
    return turn
