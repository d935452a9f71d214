"""A shell on each simulated host: it answers the console's fact command from its file tree, and makes changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from vgpu_console.model.source import ErrorKind
from vgpu_console.simulator.faults import Faults
from vgpu_console.simulator.file_tree import DEVICES, Files, Links, file_tree
from vgpu_console.simulator.programs import Programs, programs
from vgpu_console.simulator.shell_changes import ShellChanges
from vgpu_console.simulator.state import State
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.change_command import HostChange, change_command
from vgpu_console.sources.fact_command import (
    FACT_COMMAND,
    GPU_QUERY,
    MODES_QUERY,
    OUTPUT_LIMIT,
    TOOLS,
    TYPES_QUERY,
)

_FAULTS: dict[str, tuple[ErrorKind, str]] = {
    "unreachable": ("unreachable", "{}: no route to host"),
    "timeout": ("timeout", "{}: no answer within the deadline"),
    "auth": ("auth", "{}: permission denied (publickey)"),
    "closed": ("unreachable", "{}: connection closed by the other side"),
}

_SELECTED = re.compile(
    r"DEFAULT\.(host|compute_driver|max_concurrent_live_migrations|migrate_max_retries|long_rpc_timeout)"
    r"|devices\.enabled_(mdev|vgpu)_types"
    r"|(mdev|vgpu)_[A-Za-z0-9_.-]+\.(device_addresses|mdev_class|max_instances)"
    r"|libvirt\.live_migration_[a-z_]+"
    r"|compute\.max_concurrent_live_migrations|workarounds\.skip_hypervisor_version_check_on_lm"
    r"|quota\.(driver|unified_limits_resource_(strategy|list))"
    r"|pci\.(device_spec|passthrough_whitelist|alias|report_in_placement)"
    r"|filter_scheduler\.pci_in_placement"
)


class DemoShell:
    """A ChangingShell. It reads by one command and has a few changes; anything else is refused as an unknown one."""

    def __init__(self, state: State, faults: Faults, advance: Callable[[], None], changes: ShellChanges) -> None:
        self.state = state
        self.changes = changes
        self.faults = faults
        self.advance = advance

    def run(self, host: str, command: str, timeout_s: float) -> str:
        """The command's output on that host. Raises SourceError for a fault, an unknown host or another command."""
        self.advance()
        fault = self.faults.ssh.get(host)
        known = self.state.hosts.get(host)
        if fault == "garbage":
            return "This account is currently not available.\n"
        if fault is not None:
            kind, text = _FAULTS[fault]
            raise SourceError(kind, text.format(host))
        if known is None:
            raise SourceError("unreachable", f"{host}: name or service not known")
        if command != FACT_COMMAND:
            raise SourceError("protocol", f"{host}: the embedded cloud's hosts run the fact command only")
        with self.state.lock:
            files, links = file_tree(known)
            return fact_output(files, links, programs(known), int(self.state.now + known.clock_ahead_s))

    def change(self, host: str, change: HostChange, timeout_s: float) -> str:
        """What a change's command prints on that host. Raises SourceError for a fault or an unknown host."""
        self.advance()
        fault = self.faults.ssh.get(host)
        known = self.state.hosts.get(host)
        if fault == "garbage":
            return "This account is currently not available.\n"
        if fault is not None:
            kind, text = _FAULTS[fault]
            raise SourceError(kind, text.format(host))
        if known is None:
            raise SourceError("unreachable", f"{host}: name or service not known")
        change_command(change)  # the form of its values, as on the wire
        return self.changes.run(known, change)

    def close(self) -> None:
        """Nothing is held open."""


def fact_output(files: Files, links: Links, installed: Programs, now: int) -> str:
    """What the fact command prints on a host with these files, links and programs at that time (epoch, seconds)."""
    return "\n".join([*_lines(files, links, installed, now), ""])[:OUTPUT_LIMIT]


def _grep(files: Files, path: str, shown: str) -> Iterator[str]:
    """``grep -Hs ''``: each line of a file with the name it is shown under."""
    for line in files.get(path, "").splitlines():
        yield f"{shown}:{line}"


def _lines(files: Files, links: Links, installed: Programs, now: int) -> Iterator[str]:
    yield "==vgpu-console-facts 1=="
    yield from ("==clock==", str(now))
    yield "==kernel=="
    yield from files.get("/proc/sys/kernel/osrelease", "").splitlines()
    yield "==os-release=="
    for line in files.get("/etc/os-release", "").splitlines():
        if line.startswith(("ID=", "VERSION_ID=", "PRETTY_NAME=")):
            yield line
    yield "==nvidia=="
    for line in files.get("/sys/module/nvidia/version", "").splitlines():
        yield f"module:{line}"
    for line in files.get("/proc/driver/nvidia/version", "").splitlines():
        if line.startswith("NVRM version"):
            yield line
    yield "==cpu=="
    yield from [line for line in files.get("/proc/cpuinfo", "").splitlines() if line.startswith("model name")][:1]
    yield "==gpus=="
    gpus = "/proc/driver/nvidia/gpus/"
    for path in sorted(files):
        if path.startswith(gpus) and path.endswith("/information"):
            for line in files[path].splitlines():
                if line.startswith(("Model", "GPU Firmware")):
                    yield f"{path.removeprefix(gpus)}:{line}"
    displays = sorted(
        path.split("/")[-2]
        for path, content in files.items()
        if path.startswith(DEVICES) and path.endswith("/class") and content.startswith("0x03")
    )
    yield "==pci=="
    for address in displays:
        for name in ("vendor", "device", "class", "numa_node", "sriov_numvfs", "sriov_totalvfs"):
            yield from _grep(files, f"{DEVICES}/{address}/{name}", f"{address}/{name}")
    yield "==links=="
    for address in displays:
        for name in ("driver", "physfn"):
            target = links.get(f"{DEVICES}/{address}/{name}")
            if target is not None:
                yield f"{address}/{name} -> {target}"
    yield "==vgpu=="
    for address in displays:
        for name in ("current_vgpu_type", "creatable_vgpu_types"):
            yield from _grep(files, f"{DEVICES}/{address}/nvidia/{name}", f"{address}/nvidia/{name}")
    yield from _mdev_lines(files)
    yield from _definition_lines(files)
    yield from _nova_lines(files)
    yield "==tools=="
    paths = {}
    for name, folders in TOOLS.items():
        found = next((f"{folder}/{name}" for folder in folders if f"{folder}/{name}" in installed), None)
        if found is not None:
            paths[name] = found
            yield f"{name}:{found}"
    yield "==rights=="  # the account that the demo logs in with may do what the console offers
    if any(path.endswith("/create") for path in files):
        yield "create_mdev:yes"
    if any(path.endswith("/current_vgpu_type") for path in files):
        yield "set_vgpu_type:yes"
    yield from _program_lines(installed, paths)
    yield from ("==clock==", str(now), "==end==")


_WANTED = {
    "types": re.compile(r"GPU [0-9A-F:.]+|(vGPU Type ID|Name|FB Memory|GPU Instance Profile ID|Max Instances) ?:.*"),
    "modes": re.compile(
        r"<gpu id=.*|<(product_name|current_ecc|pending_ecc|current_mig|host_vgpu_mode|vgpu_heterogeneous_mode"
        r"|gsp_firmware_version)>.*"
    ),
}


def _program_lines(installed: Programs, paths: dict[str, str]) -> Iterator[str]:
    yield "==programs=="
    smi = paths.get("nvidia-smi")
    if smi is None:
        yield "nvidia-smi:absent"
    asked: list[tuple[str, str | None, tuple[str, ...]]] = [("libvirt", paths.get("libvirtd"), ("--version",))]
    asked.append(("qemu", paths.get("qemu-kvm") or paths.get("qemu-system-x86_64"), ("--version",)))
    asked += [("query", smi, GPU_QUERY), ("types", smi, TYPES_QUERY), ("modes", smi, MODES_QUERY)]
    for word, path, arguments in asked:
        if path is None:
            continue
        for number, line in enumerate(installed[path][arguments].splitlines()):
            said = " ".join(line.split())
            wanted = _WANTED.get(word)
            if word == "query" or (number == 0 and word != "modes") or (wanted and wanted.fullmatch(said)):
                yield f"{word}:{said}"
        yield f"{word} status 0"


def _mdev_lines(files: Files) -> Iterator[str]:
    bus = "/sys/class/mdev_bus/"
    types = sorted(path.removesuffix("/name") for path in files if path.startswith(bus) and path.endswith("/name"))
    yield "==mdev_bus=="
    yield f"yes {len({path.split('/')[4] for path in types})}" if types else "no"
    yield "==mdev_types=="
    said: dict[tuple[str, str, str], str] = {}
    for path in types:
        address, type_id = path.split("/")[4], path.rpartition("/")[2]
        for what in ("name", "description", "available_instances"):
            content = files[f"{path}/{what}"].rstrip("\n")
            key = (address.rpartition(":")[0], type_id, what)
            if what != "available_instances":
                if said.get(key) == content:
                    continue
                said[key] = content
            yield f"{address}/{type_id}/{what}:{content}"


def _definition_lines(files: Files) -> Iterator[str]:
    folder = "/etc/mdevctl.d/"
    yield "==mdev_definitions=="
    for path in sorted(p for p in files if p.startswith(folder)):
        for line in files[path].splitlines():
            if '"start"' in line:
                yield f"{path.removeprefix(folder)}:{line}"


def _nova_lines(files: Files) -> Iterator[str]:
    path = "/etc/nova/nova.conf"
    yield "==nova_conf_files=="
    if path in files:
        yield f"{path} readable"
    yield "==nova_conf=="
    group = "DEFAULT"
    for line in files.get(path, "").splitlines():
        if line.startswith("["):
            group = line[1:].partition("]")[0]
            continue
        name, equal, value = line.partition("=")
        option = f"{group}.{name.strip()}"
        if equal and not line.startswith("#") and _SELECTED.fullmatch(option):
            yield f"{path}\t{option}={value.strip()}"
