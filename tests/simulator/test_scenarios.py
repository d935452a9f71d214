"""Scenarios and generated fleets: what they hold, that they live, and that one seed gives one cloud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import DemoCloud, ScenarioError, open_demo


def check_sound(cloud: DemoCloud) -> None:
    """What must hold at any time: no GPU beyond its maximum, one size on it, nothing allocated beyond capacity."""
    for host in cloud.state.hosts.values():
        for gpu in host.gpus:
            running = gpu.running()
            assert len({kind.framebuffer_mib for kind in running}) <= 1
            assert all(len(running) <= kind.maximum for kind in running)
            for mdevs in gpu.mdevs.values():
                assert not gpu.sriov or len([m for m in mdevs if m.active]) <= 1
        for guest in host.guests.values():
            for uuid in guest.mdevs:
                found = host.find_mdev(uuid)
                assert found is not None
                assert found[1].active
    for provider in cloud.state.placement.providers.values():
        for name, inventory in provider.inventories.items():
            assert provider.used(name) <= inventory.capacity
    totals: dict[str, int] = {}
    for consumer in cloud.state.placement.consumers.values():
        for resources in consumer.allocations.values():
            totals[consumer.project] = totals.get(consumer.project, 0) + resources.get("VGPU", 0)
    for project, amount in totals.items():
        assert cloud.state.placement.usages[project].get("VGPU", 0) == amount


def test_the_small_fleet_has_one_of_each(cloud: DemoCloud) -> None:
    boards = {name: [gpu.board.key for gpu in host.gpus] for name, host in cloud.state.hosts.items()}
    assert boards == {
        "gpu-01": ["A100-40"] * 2,
        "gpu-02": ["A100-40"] * 2,
        "gpu-03": ["A40"],
        "gpu-04": ["A100-40"] * 2,
        "gpu-05": ["T4"] * 2,
        "gpu-06": ["L40S"],
    }
    assert cloud.state.hosts["gpu-06"].mechanism == "vendor-vfio"
    check_sound(cloud)


def test_a_living_fleet_goes_on_for_a_day_and_stays_sound() -> None:
    clock = FakeClock()
    cloud = open_demo("small", clock=clock)
    statuses = set()
    for _ in range(24 * 12):
        clock.tick(300)
        cloud.advance()
        check_sound(cloud)
        statuses |= {m.status for m in cloud.state.migrations.values()}
    assert len(cloud.state.migrations) > 100
    assert statuses >= {"running", "completed"}
    assert not {"failed", "error"} & statuses
    deleted = [s for s in cloud.state.servers.values() if s.deleted is not None]
    assert len(deleted) > 50
    assert len([s for s in cloud.state.servers.values() if s.deleted is None]) < 30
    errors = [s.name for s in cloud.state.servers.values() if s.deleted is None and s.status == "ERROR"]
    assert errors == ["vm-train-9"]


def test_nothing_moves_but_with_the_clock(clock: FakeClock) -> None:
    cloud = open_demo("small", clock=clock)
    admin = Api(cloud)
    paths = (("compute", "/servers/detail?all_tenants=1", "2.96"), ("placement", "/resource_providers", "1.39"))
    first = [admin.get(*path) for path in paths]
    assert [admin.get(*path) for path in paths] == first
    clock.tick(600)
    assert [admin.get(*path) for path in paths] != first


def test_one_seed_gives_one_cloud_and_another_gives_another() -> None:
    def servers(seed: int) -> list[tuple[str, str, str | None, str]]:
        clock = FakeClock()
        cloud = open_demo("small", clock=clock, seed=seed)
        clock.tick(3600)
        cloud.advance()
        return [(s.id, s.name, s.host, s.status) for s in cloud.state.servers.values()]

    assert servers(1) == servers(1)
    assert servers(1) != servers(2)


@pytest.mark.parametrize(("hosts", "gpus", "vfs", "used"), [(3, 8, 16, 0.4), (4, 2, 16, 1.0), (2, 1, 4, 0.0)])
def test_generated_fleets_are_of_the_size_that_was_asked(
    clock: FakeClock, hosts: int, gpus: int, vfs: int, used: float
) -> None:
    cloud = open_demo(hosts, clock=clock, gpus=gpus, vfs=vfs, used=used, projects=5)
    assert len(cloud.hosts) == hosts
    assert all(len(host.gpus) == gpus for host in cloud.state.hosts.values())
    assert len(cloud.state.projects) == 6
    if used < 1.0:
        assert len(cloud.state.placement.providers) == hosts * (1 + gpus * vfs)
    else:  # full GPUs offer nothing on the functions that are left
        assert len(cloud.state.placement.providers) < hosts * (1 + gpus * vfs) / 2
    held = sum(len(host.guests) for host in cloud.state.hosts.values())
    most = sum(gpu.enabled[0].maximum for host in cloud.state.hosts.values() for gpu in host.gpus)
    assert held == pytest.approx(used * most, abs=0.15 * most)
    check_sound(cloud)


def test_a_generated_fleets_list_of_providers_is_json_for_every_row(clock: FakeClock) -> None:
    cloud = open_demo(20, clock=clock)
    rows = Api(cloud).get("placement", "/resource_providers", "1.39")["resource_providers"]
    assert len(rows) == len({row["uuid"] for row in rows}) == 20 * 129


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "Invalid value"),
        ("[[host]]\nname = 'a'\ngpus = [{board = 'H9000'}]", "H9000"),
        ("[[server]]\nnames = ['x']\nproject = 'none'\nflavor = 'f'\nhost = 'h'", "no project 'none'"),
    ],
)
def test_a_broken_scenario_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=said):
        open_demo(path)
    with pytest.raises(ScenarioError, match="No such file"):
        open_demo("there-is-none")


def test_opening_the_cloud_imports_no_client_library() -> None:
    code = (
        "import sys; from vgpu_console.simulator import open_demo; open_demo();"
        "print([m for m in ('openstack', 'requests', 'libvirt', 'asyncssh', 'textual') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
