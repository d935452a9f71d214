"""A shell on each simulated host: it answers the console's one fact command from the host's file tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from vgpu_console.model.source import ErrorKind
from vgpu_console.simulator.faults import Faults
from vgpu_console.simulator.file_tree import DEVICES, Files, Links, file_tree
from vgpu_console.simulator.state import State
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.fact_command import FACT_COMMAND, OUTPUT_LIMIT

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
    r"|quota\.(driver|unified_limits_resource_(strategy|list))"
    r"|pci\.(device_spec|passthrough_whitelist|alias|report_in_placement)"
    r"|filter_scheduler\.pci_in_placement"
)


class DemoShell:
    """A HostShell. It knows one command; anything else is refused as an unknown one."""

    def __init__(self, state: State, faults: Faults, advance: Callable[[], None]) -> None:
        self.state = state
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
        return fact_output(files, links)

    def close(self) -> None:
        """Nothing is held open."""


def fact_output(files: Files, links: Links) -> str:
    """What the fact command prints on a host with these files and links."""
    return "\n".join([*_lines(files, links), ""])[:OUTPUT_LIMIT]


def _grep(files: Files, path: str, shown: str) -> Iterator[str]:
    """``grep -Hs ''``: each line of a file with the name it is shown under."""
    for line in files.get(path, "").splitlines():
        yield f"{shown}:{line}"


def _lines(files: Files, links: Links) -> Iterator[str]:
    yield "==vgpu-console-facts 1=="
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
    yield "==gpus=="
    gpus = "/proc/driver/nvidia/gpus/"
    for path in sorted(files):
        if path.startswith(gpus) and path.endswith("/information"):
            for line in files[path].splitlines():
                if line.startswith("Model"):
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
    yield from _nova_lines(files)
    yield "==end=="


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
