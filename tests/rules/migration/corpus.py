"""Small clouds of the simulator, each different: the same seed gives the same cloud, server and destination."""

from __future__ import annotations

import random
from typing import NamedTuple, TypeVar

from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.builder import Builder
from vgpu_console.simulator.hosts import Gpu, Host
from vgpu_console.simulator.state import Flavor, Project, Server

NOW = 1_800_000_000.0
LADDER = {
    "live_migration_downtime": "500000",
    "live_migration_downtime_steps": "3",
    "live_migration_downtime_delay": "3",
    "live_migration_completion_timeout": "0",
}
SYSTEMS = (
    ("rhel", "10.0", "Red Hat Enterprise Linux 10.0 (Coughlan)", "6.12.0-55.9.1.el10_0.x86_64"),
    ("rhel", "9.6", "Red Hat Enterprise Linux 9.6 (Plow)", "5.14.0-570.12.1.el9_6.x86_64"),
    ("rhel", "9.4", "Red Hat Enterprise Linux 9.4 (Plow)", "5.14.0-427.13.1.el9_4.x86_64"),
    ("rhel", "9.2", "Red Hat Enterprise Linux 9.2 (Plow)", "5.14.0-284.11.1.el9_2.x86_64"),
    ("ubuntu", "24.04", "Ubuntu 24.04.1 LTS", "6.8.0-51-generic"),
    ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS", "5.15.0-119-generic"),
)
TYPES = {
    "A100-40": ("A100-20C", "A100-10C"),
    "A100-80": ("A100D-20C", "A100D-40C"),
    "A40": ("A40-8Q", "A40-12Q"),
    "T4": ("T4-8Q", "T4-4Q"),
    "L40S": ("L40S-24Q", "L40S-12Q"),
}

T = TypeVar("T")


class World(NamedTuple):
    """A cloud, the server that is to move, where to, and the limit that the operator set."""

    cloud: DemoCloud
    server: Server
    destination: Host
    max_downtime_s: float | None

    @property
    def source(self) -> Host:
        """Where the server is."""
        return self.cloud.state.hosts[self.server.host or ""]


class _Dice:
    """Mostly the good value; how often another is the fleet's own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.share = self.random.choice((0.0, 0.02, 0.02, 0.05, 0.05, 0.15, 0.4))

    def mostly(self, good: T, *others: T) -> T:
        return self.random.choice(others) if self.random.random() < self.share else good

    def seldom(self) -> bool:
        return self.random.random() < self.share


def world(seed: int) -> World:
    """The cloud of that number."""
    dice = _Dice(seed)
    cloud = DemoCloud(clock=lambda: NOW, seed=seed)
    builder, state = cloud.builder, cloud.state
    state.compute_max = dice.mostly((2, 104), (2, 100), (2, 96), (2, 95), (2, 90))
    state.migration_seconds = 3600.0
    builder.default_limits({"servers": 100, "class:VGPU": dice.mostly(50, 0, 3, -1), "class:VCPU": 5000})
    project = builder.project("ml")
    vendor = dice.random.random() < 0.2
    board = "L40S" if vendor else dice.random.choice(("A100-40", "A100-80", "A40", "T4", "A100-40"))
    kind = dice.random.choice(TYPES[board])
    flavor = _flavor(dice, builder, kind, vendor)
    system = dice.random.choice((SYSTEMS[0], SYSTEMS[0], SYSTEMS[4], SYSTEMS[1], SYSTEMS[2]))
    hosts = [
        _host(dice, builder, f"gpu-{n:02d}", system, board, kind, vendor) for n in range(1, dice.random.randint(3, 4))
    ]
    source, destination = hosts[0], hosts[1]
    _prepare(dice, builder, hosts, flavor)
    server = _servers(dice, builder, project, flavor, hosts)
    _move_beside(cloud, hosts)
    cloud.advance()
    _afterwards(dice, cloud, server, source, destination, project, flavor)
    return World(cloud, server, destination, dice.mostly(600.0, None, 5.0))


def _flavor(dice: _Dice, builder: Builder, kind: str, vendor: bool) -> Flavor:
    ram = dice.random.choice((4096, 16384, 65536))
    if vendor:
        return builder.flavor("vgpu", ram, 4, 20, {"pci_passthrough:alias": f"{_alias(kind)}:1"})
    specs = {"resources:VGPU": "1"}
    if not dice.seldom():
        specs[f"trait:CUSTOM_{_alias(kind)}"] = "required"
    if dice.seldom():
        specs["hw:viommu_model"] = "intel"
    return builder.flavor("vgpu", ram, 4, 20, specs)


def _alias(kind: str) -> str:
    return kind.upper().replace("-", "_")


def _host(
    dice: _Dice, builder: Builder, name: str, system: tuple[str, str, str, str], board: str, kind: str, vendor: bool
) -> Host:
    host = builder.host(name)
    os_id, version, os_name, kernel = dice.mostly(system, *SYSTEMS)
    host.os = (os_id, version, os_name)
    host.kernel = dice.mostly(kernel, "5.17.15", "5.18.0")
    host.driver = dice.mostly("570.86.10", "570.86.11", "550.90.05")
    host.cpu_model = dice.mostly(host.cpu_model, "AMD EPYC 7763 64-Core Processor")
    host.libvirt_version = dice.mostly(10_000_000, 8_005_000, 8_006_000, 9_010_000, 11_003_000)
    host.qemu_version = dice.mostly(8_002_002, 8_000_005, 8_001_000, 9_001_000)
    host.nova_conf = {"libvirt": dict(LADDER)}
    options = host.nova_conf["libvirt"]
    options["live_migration_downtime"] = dice.mostly("500000", "500", "30000", "900000")
    options["live_migration_completion_timeout"] = dice.mostly("0", "800")
    if dice.seldom():
        options["live_migration_permit_post_copy"] = dice.random.choice(("true", "false", "True"))
    if dice.seldom():
        host.nova_conf["workarounds"] = {"skip_hypervisor_version_check_on_lm": "true"}
    if dice.seldom():
        host.nova_conf["compute"] = {"max_concurrent_live_migrations": dice.random.choice(("0", "1", "4"))}
    if vendor:
        movable = dice.mostly("yes", "no")
        host.nova_conf["pci"] = {
            "alias": f'{{"name": "{_alias(kind)}", "device_type": "type-VF", "live_migratable": "{movable}"}}'
        }
    host.nova_conf_readable = not dice.seldom()
    for _ in range(dice.random.choice((1, 1, 2))):
        put = dice.mostly(board, "A100-80", "A40") if not vendor else board
        other = put != board
        mine = TYPES[put][0] if other else dice.mostly(kind, TYPES[put][0], TYPES[put][1])
        gpu = builder.gpu(host, put, (mine,), mechanism="vendor-vfio" if vendor else "mdev", vfs=6)
        gpu.ecc = dice.mostly(True, False)
        if vendor:
            for function in gpu.vf_addresses()[: dice.mostly(2, 0, 1)]:
                gpu.current_types[function] = gpu.enabled[0]
    return host


def _prepare(dice: _Dice, builder: Builder, hosts: list[Host], flavor: Flavor) -> None:
    """Providers, traits, and what keeps a host from having them."""
    placement = builder.state.placement
    if dice.seldom() and hosts[1].gpus[0].mechanism == "mdev":
        hosts[1].max_instances[hosts[1].gpus[0].enabled[0].type_id] = dice.random.choice((0, 1))
    for host in hosts:
        builder.inventories(host)
        for gpu in host.gpus:
            for function in gpu.functions():
                provider = placement.by_name.get(builder.compute.provider_name(host, gpu, function))
                if provider is not None and not dice.seldom():
                    name = f"CUSTOM_{_alias(gpu.enabled[0].short_name)}"
                    placement.set_traits(provider, provider.traits | {name})


def _servers(dice: _Dice, builder: Builder, project: Project, flavor: Flavor, hosts: list[Host]) -> Server:
    """The server on the first host that takes it, and others beside it and on the destination."""
    source, destination = hosts[0], hosts[1]
    first = source.gpus[0]
    if builder.compute.fit(source, flavor) is None:  # the dice left no room: a GPU of the wanted kind is put right
        _mend(builder, source, flavor, first)
    server = builder.server("vm-1", project, flavor, source)
    builder.inventories(source)
    for number in range(dice.mostly(0, 1, 2, 9)):
        if builder.compute.fit(destination, flavor) is None:
            break
        builder.server(f"other-{number}", project, flavor, destination)
        builder.inventories(destination)
    if dice.seldom() and builder.compute.fit(source, flavor) is not None:
        builder.server("beside", project, flavor, source)
        builder.inventories(source)
    return server


def _move_beside(cloud: DemoCloud, hosts: list[Host]) -> None:
    """The server beside ours is on its way to a third host."""
    beside = next((s for s in cloud.state.servers.values() if s.name == "beside"), None)
    if beside is not None and len(hosts) > 2:
        cloud.migrations.start(beside, hosts[2].name, next(iter(cloud.state.users)))


def _mend(builder: Builder, host: Host, flavor: Flavor, gpu: Gpu) -> None:
    """Give the GPU the type that the flavor wants, with its providers' traits."""
    placement = builder.state.placement
    words = [k.partition("CUSTOM_")[2] for k in flavor.extra_specs if k.startswith("trait:")]
    words += [v.partition(":")[0] for k, v in flavor.extra_specs.items() if k == "pci_passthrough:alias"]
    named = {_alias(kind.short_name): kind for kind in gpu.board.types}
    gpu.enabled = (next((named[w] for w in words if w in named), gpu.enabled[0]),)
    if gpu.mechanism == "vendor-vfio":
        gpu.current_types = dict.fromkeys(gpu.vf_addresses()[:2], gpu.enabled[0])
    builder.inventories(host)
    for function in gpu.functions():
        provider = placement.by_name.get(builder.compute.provider_name(host, gpu, function))
        if provider is not None:
            placement.set_traits(provider, provider.traits | {f"CUSTOM_{w}" for w in words})


def _afterwards(
    dice: _Dice, cloud: DemoCloud, server: Server, source: Host, destination: Host, project: Project, flavor: Flavor
) -> None:
    """What happened since: services, states, aggregates, devices that are left, functions that are off, faults."""
    builder = cloud.builder
    destination.status = dice.mostly("enabled", "disabled")
    destination.up = not dice.seldom()
    source.up = not dice.seldom()
    server.status = dice.mostly("ACTIVE", "PAUSED", "SHUTOFF", "ERROR")
    server.task_state = dice.mostly(None, "rebooting")
    server.power_state = dice.mostly(1, 0)
    server.locked = dice.seldom()
    if dice.seldom():
        builder.aggregate("far", [destination.name], zone="az-2")
        server.pinned_zone = dice.random.choice((None, "nova", "az-2"))
    if dice.seldom():
        tenants = dice.random.choice((project.id, "p-other"))
        builder.aggregate("kept", [destination.name], {"filter_tenant_id": tenants})
    gpu = dice.random.choice(destination.gpus)
    if gpu.mechanism == "mdev" and not gpu.mdevs and (dice.seldom() or dice.random.random() < 0.1):
        _left_behind(cloud, gpu, dice.random.choice(("idle", "full of idle ones", "defined", "other size", "off")))
    if dice.seldom():
        cloud.faults.libvirt[dice.random.choice((source, destination)).name] = "unreachable"
    if dice.seldom():
        cloud.faults.ssh[dice.random.choice((source, destination)).name] = "unreachable"


def _left_behind(cloud: DemoCloud, gpu: Gpu, what: str) -> None:
    """Devices that nobody uses, or virtual functions that are off: Placement has not heard of it yet."""
    if what == "off":
        if gpu.sriov:
            gpu.set_vfs(0)
        return
    kind = gpu.board.types[-1] if what == "other size" else gpu.enabled[0]
    functions = gpu.functions() if gpu.sriov else gpu.functions() * kind.maximum
    for function in functions[: kind.maximum if what == "full of idle ones" else 1]:
        gpu.create(cloud.state.new_uuid(), kind.type_id, function, persistent=True, active=what != "defined")
