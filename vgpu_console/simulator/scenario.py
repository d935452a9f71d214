"""Reads a scenario file (TOML, ``assets/scenarios``) into a cloud."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgpu_console.simulator.builder import Builder
from vgpu_console.simulator.file_tree import possible_vfs
from vgpu_console.simulator.hosts import Host
from vgpu_console.simulator.life import Burst, Life

SCENARIOS = Path(__file__).resolve().parent.parent / "assets" / "scenarios"


class ScenarioError(Exception):
    """A scenario file that cannot be read; the text names the file and what is wrong."""


def load_scenario(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ScenarioError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: {error}") from error


def scenario_path(name: str | Path) -> Path:
    """The file of a named scenario, or the path itself."""
    if isinstance(name, Path) or "/" in name or name.endswith(".toml"):
        return Path(name)
    return SCENARIOS / f"{name}.toml"


def version_number(text: str) -> int:
    """``10.0.0`` as libvirt counts versions."""
    major, minor, release = (int(part) for part in text.split("."))
    return major * 1_000_000 + minor * 1_000 + release


def microversion(text: str) -> tuple[int, int]:
    """``2.104`` as a pair."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def apply(scenario: Mapping[str, Any], builder: Builder, life: Life) -> None:
    """Build the scenario's cloud. Raises ScenarioError for a name that is not defined or a device that does not fit."""
    try:
        _apply(scenario, builder, life)
    except (KeyError, ValueError) as error:
        raise ScenarioError(f"scenario {scenario.get('name', '?')}: {error}") from error


def _apply(scenario: Mapping[str, Any], builder: Builder, life: Life) -> None:
    state = builder.state
    cloud = scenario.get("cloud", {})
    state.compute_max = microversion(cloud.get("compute_microversion", "2.104"))
    state.placement_max = microversion(cloud.get("placement_microversion", "1.39"))
    state.sees_all_limits = cloud.get("project_admin_sees_all_limits", False)
    state.enforcement_model = cloud.get("enforcement_model", "flat")
    state.quota_driver = cloud.get("quota_driver", "unified")
    builder.default_limits(scenario.get("limits", {}))
    for row in scenario.get("project", ()):
        builder.project(row["name"], row.get("limits"))
    for row in scenario.get("user", ()):
        builder.user(row["name"], row.get("projects", {}), row.get("system", ()))
    flavors = {
        row["name"]: builder.flavor(
            row["name"], row["ram_mib"], row["vcpus"], row["disk_gib"], row.get("extra_specs", {})
        )
        for row in scenario.get("flavor", ())
    }
    for row in scenario.get("host", ()):
        _host(row, builder)
    for row in scenario.get("mdev", ()):
        gpu = state.hosts[row["host"]].gpus[row["gpu"]]
        function = gpu.functions()[row["function"]]
        kind = gpu.board.type(row["type"])
        gpu.create(state.new_uuid(), kind.type_id, function, persistent=True, active=row.get("active", True))
    for host in state.hosts.values():
        builder.inventories(host)
        _traits(builder, host)
    for row in scenario.get("server", ()):
        project = builder.project_named(row["project"])
        for name in row["names"]:
            if "fault" in row:
                server = builder.compute.new_server(name, project.id, next(iter(state.users)), flavors[row["flavor"]])
                builder.compute.fail(server, row["fault"])
                continue
            host = state.hosts[row["host"]]
            gpu = host.gpus[row["gpu"]] if "gpu" in row else None
            server = builder.server(name, project, flavors[row["flavor"]], host, gpu)
            if "migrates_to" in row:
                life.first.append((server, row["migrates_to"]))
            if "migrated_to" in row:
                life.past.append((server, row["migrated_to"]))
            state.now += 7.0  # servers are not all of one moment
    for host in state.hosts.values():
        builder.inventories(host)
    for row in scenario.get("host", ()):
        for gpu, wanted in zip(state.hosts[row["name"]].gpus, row["gpus"], strict=True):
            if wanted.get("vfs_lost"):
                gpu.set_vfs(0)
        host = state.hosts[row["name"]]
        host.status = row.get("status", "enabled")
        host.disabled_reason = row.get("disabled_reason")
    _life(scenario.get("life", {}), builder, life, flavors)


def _host(row: Mapping[str, Any], builder: Builder) -> None:
    host = builder.host(row["name"])
    host.driver = row.get("driver", host.driver)
    host.kernel = row.get("kernel", host.kernel)
    host.cpu_model = row.get("cpu", host.cpu_model)
    if "os" in row:
        os_id, version, name = row["os"]
        host.os = (os_id, version, name)
    if "libvirt" in row:
        host.libvirt_version = version_number(row["libvirt"])
    if "qemu" in row:
        host.qemu_version = version_number(row["qemu"])
    host.up = row.get("up", True)
    host.nova_conf = {group: dict(options) for group, options in row.get("nova", {}).items()}
    for wanted in row["gpus"]:
        gpu = builder.gpu(
            host,
            wanted["board"],
            wanted.get("types", ()),
            mechanism=wanted.get("mechanism", "mdev"),
            vfs=wanted.get("vfs"),
        )
        gpu.ecc = wanted.get("ecc", gpu.ecc)
        if "named_vfs" in wanted:  # nova.conf names the first of them only, as many as the GPU can carry vGPUs
            gpu.named = tuple(possible_vfs(gpu.board, gpu.address)[: wanted["named_vfs"]])
        for function in gpu.vf_addresses()[: wanted.get("typed_vfs", 0)]:
            gpu.current_types[function] = gpu.enabled[0]
        for name, value in row.get("max_instances", {}).items():
            host.max_instances[gpu.board.type(name).type_id] = value


def _traits(builder: Builder, host: Host) -> None:
    """The traits that an operator puts on device providers so that flavors can ask for a type."""
    placement = builder.state.placement
    for gpu in host.gpus:
        if gpu.mechanism != "mdev" or not gpu.enabled:
            continue
        trait = f"CUSTOM_{gpu.enabled[0].short_name.upper().replace('-', '_')}"
        for function in gpu.novas_functions():
            provider = placement.by_name.get(builder.compute.provider_name(host, gpu, function))
            if provider is not None:
                placement.set_traits(provider, provider.traits | {trait})


def _life(options: Mapping[str, Any], builder: Builder, life: Life, flavors: Mapping[str, Any]) -> None:
    builder.state.migration_seconds = options.get("migration_seconds", builder.state.migration_seconds)
    life.living = options.get("living", False)
    life.pause_s = options.get("pause_seconds", life.pause_s)
    life.burst_s = options.get("burst_seconds", life.burst_s)
    life.migrating = frozenset(options.get("migrating", ()))
    life.between = tuple(options.get("between", ()))
    life.bursts = [
        Burst(row["name"], builder.project_named(row["project"]).id, flavors[row["flavor"]], row["host"])
        for row in options.get("bursts", ())
    ]
