"""The cloud on a loopback port, read and changed with the real openstacksdk."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from openstack import exceptions
from openstack.config import OpenStackConfig

from tests.simulator.client import FakeClock
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.serve import ServedDemo, serve_demo


@pytest.fixture
def served(settled: DemoCloud, tmp_path: Path) -> Iterator[ServedDemo]:
    demo = serve_demo(settled, tmp_path / "demo")
    yield demo
    demo.close()


def connect(served: ServedDemo, cloud: str) -> Any:
    config = OpenStackConfig(config_files=[str(served.clouds_yaml)], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud=cloud))


def test_clouds_yaml_is_for_its_owner_only(served: ServedDemo) -> None:
    assert stat.S_IMODE(served.clouds_yaml.stat().st_mode) == 0o600
    assert served.url.startswith("http://127.0.0.1:")


def test_openstacksdk_reads_the_whole_cloud(served: ServedDemo, settled: DemoCloud) -> None:
    cloud = connect(served, "demo")
    cloud.compute.default_microversion = "2.96"
    cloud.placement.default_microversion = "1.39"
    assert {s.host for s in cloud.compute.services(binary="nova-compute")} == set(settled.hosts)
    assert {h.name for h in cloud.compute.hypervisors(details=True)} == set(settled.hosts)
    servers = list(cloud.compute.servers(all_projects=True, limit=5))
    assert len(servers) == 19
    assert {s.compute_host for s in servers if s.name == "vm-train-1"} == {"gpu-01"}
    providers = {p.name: p for p in cloud.placement.resource_providers()}
    assert len(providers) == len(settled.state.placement.providers)
    (inventory,) = cloud.placement.resource_provider_inventories(providers["gpu-05_pci_0000_41_00_0"])
    assert (inventory.resource_class, inventory.total) == ("VGPU", 4)
    assert {p.name for p in cloud.identity.projects()} == {p.name for p in settled.state.projects.values()}
    assert {r.resource_name for r in cloud.identity.registered_limits()} >= {"class:VGPU", "servers"}
    statuses = [m.status for m in cloud.compute.migrations()]
    assert statuses == ["completed"]


def test_openstacksdk_boots_until_the_limit_and_deletes(
    served: ServedDemo, settled: DemoCloud, clock: FakeClock
) -> None:
    rosa = connect(served, "demo-rosa")
    rosa.compute.default_microversion = "2.96"
    flavor = rosa.compute.find_flavor("desktop.a40-8q", ignore_missing=False)
    made = rosa.compute.create_server(name="one", flavor_id=flavor.id, image_id="", networks="none")
    clock.tick(30)
    assert rosa.compute.get_server(made.id).status == "ACTIVE"
    with pytest.raises(exceptions.HttpException, match="Resource class:VGPU is over limit of 4 due to current usage 2"):
        rosa.compute.create_server(
            name="more", flavor_id=flavor.id, image_id="", networks="none", min_count=3, max_count=3
        )
    rosa.compute.delete_server(made.id)
    with pytest.raises(exceptions.NotFoundException):
        rosa.compute.get_server(made.id)


def test_openstacksdk_migrates_live(served: ServedDemo, clock: FakeClock) -> None:
    cloud = connect(served, "demo")
    server = next(s for s in cloud.compute.servers(all_projects=True) if s.name == "vm-train-1")
    cloud.compute.live_migrate_server(server, host="gpu-02")
    clock.tick(10)
    (running,) = cloud.compute.server_migrations(server)
    assert (running.source_compute, running.dest_compute, running.status) == ("gpu-01", "gpu-02", "running")
    clock.tick(120)
    assert cloud.compute.get_server(server.id).compute_host == "gpu-02"


def test_the_systems_scope_reads_all_limits(served: ServedDemo) -> None:
    system = connect(served, "demo-system")
    assert len(list(system.identity.limits())) == 5
    with pytest.raises(exceptions.ForbiddenException):
        list(system.compute.services())


def test_a_taken_port_is_an_oserror(served: ServedDemo, settled: DemoCloud, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        serve_demo(settled, tmp_path, int(served.url.rsplit(":", 1)[1]))
