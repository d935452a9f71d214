"""A vGPU of the vendor VFIO framework is a passed-through function: what Nova must be told, and what it never does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules.migration.corpus import LADDER, NOW, World
from tests.rules.migration.test_corpus import checked
from vgpu_console.model.check import Check
from vgpu_console.simulator import DemoCloud

ALIAS = '{"name": "L40S_12Q", "device_type": "type-VF", "live_migratable": "yes"}'


def two_hosts() -> World:
    """Two hosts with an L40S each and three functions of a type; a server with one of them."""
    cloud = DemoCloud(clock=lambda: NOW)
    builder = cloud.builder
    builder.default_limits({"servers": 10})
    project = builder.project("render")
    for name in ("gpu-01", "gpu-02"):
        host = builder.host(name)
        host.os, host.kernel = ("ubuntu", "24.04", "Ubuntu 24.04.1 LTS"), "6.8.0-51-generic"
        host.qemu_version = 8_002_002
        host.nova_conf = {"libvirt": dict(LADDER), "pci": {"alias": ALIAS}}
        gpu = builder.gpu(host, "L40S", ("L40S-12Q",), mechanism="vendor-vfio", vfs=6)
        gpu.current_types = dict.fromkeys(gpu.vf_addresses()[:3], gpu.enabled[0])
        builder.inventories(host)
    flavor = builder.flavor("render", 16384, 8, 40, {"pci_passthrough:alias": "L40S_12Q:1"})
    server = builder.server("frame-1", project, flavor, cloud.state.hosts["gpu-01"])
    cloud.advance()
    return World(cloud, server, cloud.state.hosts["gpu-02"], 600.0)


@pytest.fixture(autouse=True)
def no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def looked_at(change: Callable[[World], None]) -> dict[str, Check]:
    world = two_hosts()
    change(world)
    chosen = checked(world).chosen
    assert chosen is not None
    return {c.id.removeprefix("migrate."): c for c in chosen.checks}


def nothing(world: World) -> None:
    """Everything in order."""


def set_alias(host: int, text: str | None) -> Callable[[World], None]:
    def change(world: World) -> None:
        pci = (world.source if host == 1 else world.destination).nova_conf["pci"]
        pci.pop("alias")
        if text is not None:
            pci["alias"] = text

    return change


def no_type_set(world: World) -> None:
    world.destination.gpus[0].current_types.clear()


def old_nova(world: World) -> None:
    world.cloud.state.compute_max = (2, 99)


def old_libvirt(world: World) -> None:
    world.destination.libvirt_version = 9_010_000


def unreadable(world: World) -> None:
    world.destination.nova_conf_readable = False


def no_ssh(world: World) -> None:
    world.cloud.faults.ssh["gpu-02"] = "unreachable"


def blind_source(world: World) -> None:
    world.cloud.faults.ssh["gpu-01"] = "unreachable"


CASES: list[tuple[Callable[[World], None], dict[str, str]]] = [
    (nothing, {}),
    (set_alias(1, ALIAS.replace("yes", "no")), {"live-migratable": "fail"}),
    (set_alias(1, '{"name": "L40S_12Q", "device_type": "type-VF"}'), {"live-migratable": "fail"}),
    (set_alias(1, None), {"live-migratable": "unknown"}),
    (set_alias(2, None), {}),
    (no_type_set, {"free-slot": "fail", "allocation-candidate": "pass"}),
    (old_nova, {"old-compute": "fail"}),
    (old_libvirt, {"libvirt": "fail"}),
    (unreadable, {"live-migratable": "unknown", "post-copy": "unknown"}),
]


@pytest.mark.parametrize(("change", "flipped"), CASES)
def test_one_changed_fact_flips_one_check(change: Callable[[World], None], flipped: dict[str, str]) -> None:
    found = looked_at(change)
    wanted = {word: status for word, status in flipped.items() if status != "pass"}
    assert {word: check.status for word, check in found.items() if check.status != "pass"} == wanted


def test_a_type_that_is_not_set_is_told_with_how_often_it_could_be() -> None:
    check = looked_at(no_type_set)["free-slot"]
    assert check.evidence == (
        "1 × NVIDIA L40S-12Q needed, none free on gpu-02: the type could be set on 4 functions first, "
        "which Nova does not do"
    )


def test_without_ssh_nothing_is_known_of_what_the_destination_makes() -> None:
    found = looked_at(no_ssh)
    assert {w for w, c in found.items() if c.status == "fail"} == set()
    assert {w for w, c in found.items() if c.status == "unknown"} >= {"framework", "type-id", "free-slot", "kernel"}


def test_a_function_of_which_nobody_says_that_it_is_a_vgpu_is_not_called_strange() -> None:
    found = looked_at(blind_source)
    assert found["other-devices"].status == "unknown"
    assert "is a vGPU is not known" in found["other-devices"].evidence
