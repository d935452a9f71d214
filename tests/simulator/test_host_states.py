"""States that a host can get into, as libvirt and the host's own files then show them, and what Nova makes of them."""

from __future__ import annotations

import pytest

from tests.simulator.client import FakeClock
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.hosts import Gpu, KernelRefusal
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.sources.fact_command import FACT_COMMAND
from vgpu_console.sources.ssh_parse import parse_facts

MDEV_TYPES = 1 << 13


@pytest.fixture
def well() -> DemoCloud:
    return open_demo("well", clock=FakeClock())


def offered(cloud: DemoCloud, gpu: Gpu) -> dict[str, int]:
    """VGPU that Placement has of each of a GPU's functions."""
    placement = cloud.state.placement
    names = {f: placement.by_name.get(cloud.compute.provider_name(gpu.host, gpu, f)) for f in gpu.functions()}
    return {f: p.inventories["VGPU"].total for f, p in names.items() if p is not None and p.inventories}


def parents(cloud: DemoCloud, host: str) -> set[str]:
    """What libvirt lists as parents of mediated devices."""
    return {d.name() for d in cloud.libvirt(f"demo://{host}/system").listAllDevices(MDEV_TYPES)}


def test_a_function_without_a_driver_offers_nothing_and_nova_leaves_its_provider(well: DemoCloud) -> None:
    gpu = well.state.hosts["gpu-04"].gpus[0]
    before, lost = offered(well, gpu), gpu.functions()[2]
    gpu.unbound = {lost}
    well.compute.update_inventories(gpu.host)
    connection = well.libvirt("demo://gpu-04/system")
    xml = connection.nodeDeviceLookupByName("pci_" + lost.replace(":", "_").replace(".", "_")).XMLDesc(0)
    assert "<driver>" not in xml
    assert "mdev_types" not in xml
    assert len(parents(well, "gpu-04")) == len(gpu.functions()) - 1
    with pytest.raises(KernelRefusal, match="parent"):
        gpu.create(well.state.new_uuid(), "nvidia-562", lost, persistent=True)
    facts = parse_facts("gpu-04", well.shell.run("gpu-04", FACT_COMMAND, 1.0))
    assert [p.address for p in facts.pci if p.vendor_id == "10de" and p.driver is None] == [lost]
    assert lost not in {t.address for t in facts.types}
    assert offered(well, gpu) == before


def test_without_the_vgpu_manager_there_are_no_types_and_nova_keeps_what_it_told(well: DemoCloud) -> None:
    gpu = well.state.hosts["gpu-04"].gpus[0]
    before = offered(well, gpu)
    gpu.manager_up = False
    well.compute.update_inventories(gpu.host)
    assert parents(well, "gpu-04") == set()
    facts = parse_facts("gpu-04", well.shell.run("gpu-04", FACT_COMMAND, 1.0))
    assert facts.types == ()
    assert facts.mdev_bus is False
    assert offered(well, gpu) == before


def test_without_mdevctl_libvirt_makes_no_device(well: DemoCloud) -> None:
    well.state.hosts["gpu-04"].missing_tools = {"/usr/sbin/mdevctl"}
    xml = (
        "<device><parent>pci_0000_41_00_4</parent><capability type='mdev'><type id='nvidia-562'/></capability></device>"
    )
    with pytest.raises(DemoLibvirtError, match="Cannot find 'mdevctl' in path"):
        well.libvirt("demo://gpu-04/system", read_only=False).nodeDeviceCreateXML(xml)
    facts = parse_facts("gpu-04", well.shell.run("gpu-04", FACT_COMMAND, 1.0))
    assert facts.tools is not None
    assert "mdevctl" not in facts.tools


@pytest.mark.parametrize(("mig", "makes"), [(False, "A30-12C"), (True, "A30-2-12C")])
def test_a_gpu_makes_types_of_one_kind_only(well: DemoCloud, mig: bool, makes: str) -> None:
    gpu = well.builder.gpu(well.builder.host("gpu-06"), "A30", ("A30-12C",))
    gpu.mig = mig
    can = {k.short_name for k in gpu.board.types if gpu.available(gpu.functions()[0], k)}
    assert makes in can
    assert {name.count("-") > 1 for name in can} == {mig}


def test_several_sizes_fit_only_in_the_mode_for_it(well: DemoCloud) -> None:
    gpu = well.state.hosts["gpu-03"].gpus[0]
    other, free = gpu.board.type("A40-16Q"), gpu.functions()[10]
    assert gpu.available(free, other) == 0
    gpu.mixed = True
    assert gpu.available(free, other) == 1


def test_nova_counts_what_device_spec_names_whatever_is_set_on_it(well: DemoCloud) -> None:
    gpu = well.state.hosts["gpu-05"].gpus[0]
    gpu.current_types.clear()
    well.compute.update_inventories(gpu.host)
    provider = well.state.placement.by_name[f"gpu-05_{gpu.address}"]
    assert provider.inventories["CUSTOM_L40S_12Q"].total == 4
    assert gpu.named is not None
    gpu.named = gpu.named[:3]
    well.compute.update_inventories(gpu.host)
    assert provider.inventories["CUSTOM_L40S_12Q"].total == 3


def test_only_the_functions_that_nova_conf_names_have_providers(well: DemoCloud) -> None:
    for host in well.state.hosts.values():
        for gpu in host.gpus:
            if gpu.mechanism == "mdev":
                assert set(offered(well, gpu)) == set(gpu.named or ())


def test_a_migration_of_the_past_has_ended_and_left_its_device_free(well: DemoCloud) -> None:
    (migration,) = well.state.migrations.values()
    assert migration.status == "completed"
    source = well.state.hosts[migration.source].gpus[0]
    assert [m.uuid in source.claimed for m in source.all_mdevs()] == [True, False]
