"""Both host sources on the embedded cloud: they must agree with each other about every host."""

from __future__ import annotations

import threading

import pytest

from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_host import LibvirtHostSource
from vgpu_console.sources.ssh_host import SshHostSource

NOW = 1_760_000_000.0


@pytest.fixture
def demo() -> DemoCloud:
    return open_demo(clock=lambda: NOW)


def test_libvirt_and_ssh_see_the_same_functions(demo: DemoCloud) -> None:
    compared = 0
    for host in demo.hosts:
        try:
            ssh = SshHostSource(host, demo.shell).fetch(None)
            libvirt = LibvirtHostSource(host, f"demo://{host}/system", demo.libvirt).fetch(None)
        except SourceError:
            continue  # a scenario has hosts that do not answer
        compared += 1
        sysfs = {f.address: f for f in ssh.pci}
        assert sysfs.keys() == {d.address for d in libvirt.devices}
        for device in libvirt.devices:
            other = sysfs[device.address]
            assert (other.vendor_id, other.product_id) == (device.vendor_id, device.product_id)
            assert other.physical_function == device.physical_function
            if device.max_virtual_functions is not None:
                assert other.sriov_totalvfs == device.max_virtual_functions
                assert other.sriov_numvfs == len(device.virtual_functions or ())
        offered = {(d.address, t.type_id, t.available_instances) for d in libvirt.devices for t in d.types}
        assert {(t.address, t.type_id, t.available_instances) for t in ssh.types} == offered
        assert all(t.max_instances and t.framebuffer_mib for t in ssh.types)
        assert libvirt.skipped == ()
        known = {m.uuid for m in libvirt.mdevs}
        assert known.issuperset(u for d in libvirt.domains for u in d.mdevs) or libvirt.defined_visible
    assert compared >= 4


def test_an_unchanged_host_is_the_same_object(demo: DemoCloud) -> None:
    host = next(iter(demo.hosts))
    ssh = SshHostSource(host, demo.shell)
    libvirt = LibvirtHostSource(host, f"demo://{host}/system", demo.libvirt)
    facts, devices = ssh.fetch(None), libvirt.fetch(None)
    assert ssh.fetch(facts) is facts
    assert libvirt.fetch(devices) is devices


def test_a_device_made_by_another_hand_is_told_and_seen(demo: DemoCloud) -> None:
    """Events reach the callback; the next reading has the device; closing ends the telling."""
    told = threading.Event()
    for host in demo.hosts:
        source = LibvirtHostSource(host, f"demo://{host}/system", demo.libvirt, on_event=told.set)
        try:
            before = source.fetch(None)
        except SourceError:
            continue
        offers = [(d.name, t.type_id) for d in before.devices for t in d.types if t.available_instances]
        if not offers:
            continue
        parent, type_id = offers[0]
        uuid = "0b1c2d3e-0000-4000-8000-00000000abcd"
        other = demo.libvirt(f"demo://{host}/system", False)
        told.clear()
        other.nodeDeviceCreateXML(
            f"<device><parent>{parent}</parent><capability type='mdev'><type id='{type_id}'/><uuid>{uuid}</uuid>"
            "</capability></device>"
        )
        demo.advance()
        assert told.wait(5)
        assert uuid in {m.uuid for m in source.fetch(before).mdevs}
        source.close()
        return
    pytest.fail("no host of the scenario has room for a device")
