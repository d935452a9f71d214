"""The files of a simulated host that the fact command reads: /proc, /sys and nova.conf, as paths and contents."""

from __future__ import annotations

from collections.abc import Mapping

from vgpu_console.simulator.gpu_models import Board
from vgpu_console.simulator.hosts import Gpu, Host
from vgpu_console.simulator.programs import gsp_firmware, vendor_name

DEVICES = "/sys/bus/pci/devices"

Files = dict[str, str]
Links = dict[str, str]

OTHER_DEVICES = (
    (
        "0000:02:00.0",
        "0x15b3",
        "0x101d",
        "0x020000",
        "mlx5_core",
        "Mellanox Technologies",
        "MT2892 Family [ConnectX-6 Dx]",
    ),
    (
        "0000:02:00.1",
        "0x15b3",
        "0x101d",
        "0x020000",
        "mlx5_core",
        "Mellanox Technologies",
        "MT2892 Family [ConnectX-6 Dx]",
    ),
    ("0000:03:00.0", "0x1a03", "0x2000", "0x030000", "ast", "ASPEED Technology, Inc.", "ASPEED Graphics Family"),
)
"""What every server has besides GPUs: a network card with two ports, and the management controller's display chip."""


def possible_vfs(board: Board, address: str) -> list[str]:
    """The addresses that a GPU's virtual functions have when they are enabled."""
    prefix, first = address[:8], board.first_vf
    return [f"{prefix}{(first + i) >> 3:02x}.{(first + i) & 7}" for i in range(board.total_vfs)]


def file_tree(host: Host) -> tuple[Files, Links]:
    """All files and links of a host; its programs are in ``programs``."""
    os_id, version, name = host.os
    files: Files = {
        "/proc/sys/kernel/osrelease": host.kernel + "\n",
        "/etc/os-release": f'NAME="{name.split()[0]}"\nID="{os_id}"\nVERSION_ID="{version}"\nPRETTY_NAME="{name}"\n',
        "/proc/cpuinfo": f"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: {host.cpu_model}\n",
        "/sys/module/nvidia/version": host.driver + "\n",
        "/proc/driver/nvidia/version": (
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {host.driver}  Fri May 31 09:35:42 UTC 2024\n"
            "GCC version:  gcc version 11.4.1 20231218 (Red Hat 11.4.1-3) (GCC)\n"
        ),
    }
    links: Links = {}
    for address, vendor, device, pci_class, driver, _, _ in OTHER_DEVICES:
        _function(files, links, address, vendor, device, pci_class, driver, 0)
    for index, gpu in enumerate(host.gpus):
        _gpu(files, links, gpu, index)
    if host.nova_conf_readable:
        files["/etc/nova/nova.conf"] = nova_conf(host)
    return files, links


def _function(
    files: Files, links: Links, address: str, vendor: str, device: str, pci_class: str, driver: str, numa: int
) -> None:
    folder = f"{DEVICES}/{address}"
    files[f"{folder}/vendor"] = vendor + "\n"
    files[f"{folder}/device"] = device + "\n"
    files[f"{folder}/class"] = pci_class + "\n"
    files[f"{folder}/numa_node"] = f"{numa}\n"
    if driver:
        links[f"{folder}/driver"] = f"../../../../bus/pci/drivers/{driver}"


def _gpu(files: Files, links: Links, gpu: Gpu, index: int) -> None:
    board = gpu.board
    folder = f"{DEVICES}/{gpu.address}"
    _function(files, links, gpu.address, "0x10de", f"0x{board.product_id}", "0x030200", "nvidia", gpu.numa)
    if gpu.sriov:
        files[f"{folder}/sriov_totalvfs"] = f"{board.total_vfs}\n"
        files[f"{folder}/sriov_numvfs"] = f"{gpu.vfs_enabled}\n"
    files[f"/proc/driver/nvidia/gpus/{gpu.address}/information"] = (
        f"Model: \t\t {board.model}\nIRQ:   \t\t {90 + index}\n"
        f"Bus Type: \t PCIe\nBus Location: \t {gpu.address}\nDevice Minor: \t {index}\n"
        f"GPU Firmware: \t {gsp_firmware(gpu)}\n"
    )
    for function in gpu.vf_addresses():
        driver = "" if function in gpu.unbound else "nvidia"
        _function(files, links, function, "0x10de", f"0x{board.product_id}", "0x030200", driver, gpu.numa)
        links[f"{DEVICES}/{function}/physfn"] = f"../{gpu.address}"
    running = gpu.running()
    if gpu.mechanism == "vendor-vfio":
        for function in gpu.vf_addresses():
            current = gpu.current_types.get(function)
            creatable = [kind for kind in board.types if gpu.available(function, kind, running)]
            rows = "".join(f"{kind.number:<6}: {vendor_name(kind.name)}\n" for kind in creatable)
            nvidia = f"{DEVICES}/{function}/nvidia"
            files[f"{nvidia}/current_vgpu_type"] = f"{current.number if current else 0}\n"
            files[f"{nvidia}/creatable_vgpu_types"] = "ID    : vGPU Name\n" + rows
        return
    for mdev in gpu.all_mdevs():
        if mdev.persistent:
            start = "auto" if mdev.autostart else "manual"
            definition = f'{{\n  "mdev_type": "{mdev.kind.type_id}",\n  "start": "{start}",\n  "attrs": []\n}}'
            files[f"/etc/mdevctl.d/{mdev.parent}/{mdev.uuid}"] = definition
    for function in gpu.functions():
        for kind in board.types if gpu.carries(function) else ():
            base = f"/sys/class/mdev_bus/{function}/mdev_supported_types/{kind.type_id}"
            files[f"{base}/name"] = kind.name + "\n"
            files[f"{base}/description"] = kind.description + "\n"
            files[f"{base}/device_api"] = "vfio-pci\n"
            files[f"{base}/create"] = ""
            files[f"{base}/available_instances"] = f"{gpu.available(function, kind, running)}\n"


def _besides(options: Mapping[str, str]) -> str:
    return "".join(f', "{name}": "{value}"' for name, value in options.items())


def nova_groups(host: Host) -> list[tuple[str, list[tuple[str, str]]]]:
    """The host's nova.conf by group, with the secrets that a real one has."""
    devices: list[tuple[str, str]] = []
    types: list[tuple[str, list[tuple[str, str]]]] = []
    pci: list[tuple[str, str]] = []
    by_type: dict[str, list[str]] = {}
    for gpu in host.gpus:
        for kind in gpu.enabled if gpu.written is None else gpu.written:
            if gpu.mechanism == "vendor-vfio":
                resource = f"CUSTOM_{kind.short_name.upper().replace('-', '_')}"
                pci += [
                    (
                        "device_spec",
                        f'{{"vendor_id": "10de", "product_id": "{gpu.board.product_id}", "address": "{function}", '
                        f'"resource_class": "{resource}"{_besides(gpu.spec)}}}',
                    )
                    for function in (gpu.current_types if gpu.named is None else gpu.named)
                ]
                alias = f'{{"name": "{resource.removeprefix("CUSTOM_")}", "resource_class": "{resource}", '
                if "pci" not in host.nova_conf:
                    pci.append(("alias", f'{alias}"device_type": "type-VF", "live_migratable": "yes"}}'))
                continue
            addresses = possible_vfs(gpu.board, gpu.address) if gpu.sriov else [gpu.address]
            if gpu.named is not None:
                addresses = list(gpu.named)
            by_type.setdefault(kind.type_id, []).extend(addresses)
    if pci:
        pci.append(("report_in_placement", "true"))
    if by_type:
        devices.append(("enabled_mdev_types", ",".join(by_type)))
    for type_id, addresses in by_type.items():
        options = [("device_addresses", ",".join(addresses))]
        if type_id in host.max_instances:
            options.append(("max_instances", str(host.max_instances[type_id])))
        types.append((f"mdev_{type_id}", options))
    own = {group: list(options.items()) for group, options in host.nova_conf.items()}
    devices = own.pop("devices", devices)
    groups: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "DEFAULT",
            [
                ("host", host.name),
                ("transport_url", f"rabbit://nova:{SECRET}@rabbit.example.net:5672/"),
                ("compute_driver", "libvirt.LibvirtDriver"),
                *own.pop("DEFAULT", []),
            ],
        ),
        ("database", [("connection", f"mysql+pymysql://nova:{SECRET}@db.example.net/nova")]),
        ("keystone_authtoken", [("username", "nova"), ("password", SECRET)]),
        ("placement", [("username", "placement"), ("password", SECRET)]),
        ("devices", devices),
        *types,
        ("pci", pci),
        ("libvirt", [("virt_type", "kvm"), *own.pop("libvirt", [])]),
        ("quota", [*_QUOTA, *own.pop("quota", [])]),
        *own.items(),
    ]
    return [(group, options) for group, options in groups if options]


SECRET = "s3cr3t-of-the-demo"  # noqa: S105 - stands for what must never leave a host


_QUOTA = [
    ("driver", "nova.quota.UnifiedLimitsDriver"),
    ("unified_limits_resource_strategy", "require"),
    ("unified_limits_resource_list", "servers"),
]


def nova_conf(host: Host) -> str:
    """The text of the host's nova.conf."""
    lines = ["# nova-compute on a host of the embedded cloud", ""]
    for group, options in nova_groups(host):
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in options]
        lines.append("")
    return "\n".join(lines)
