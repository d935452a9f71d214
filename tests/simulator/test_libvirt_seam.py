"""The simulated libvirt: XML that libvirt-python's users know, read-only walls, refusals, events."""

from __future__ import annotations

import xml.etree.ElementTree as Tree
from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.simulator.libvirt_shape import ACTIVE, CAP_MDEV, CAP_MDEV_TYPES, CAP_PCI, INACTIVE

UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"


def mdev(parent: str, type_id: str = "nvidia-472", uuid: str = UUID) -> str:
    return (
        f"<device><parent>{parent}</parent><capability type='mdev'><type id='{type_id}'/>"
        f"<uuid>{uuid}</uuid></capability></device>"
    )


def xml(connection: Any, name: str) -> Tree.Element:
    return Tree.fromstring(connection.nodeDeviceLookupByName(name).XMLDesc())


def test_a_physical_function_lists_its_virtual_ones(cloud: DemoCloud) -> None:
    gpu = xml(cloud.libvirt("demo://gpu-01/system"), "pci_0000_41_00_0")
    assert gpu.findtext("./driver/name") == "nvidia"
    product, vendor = gpu.find("./capability/product"), gpu.find("./capability/vendor")
    assert product is not None
    assert vendor is not None
    assert (vendor.get("id"), product.get("id"), product.text) == ("0x10de", "0x20f1", "GA100 [A100 PCIe 40GB]")
    functions = gpu.find("./capability/capability[@type='virt_functions']")
    assert functions is not None
    assert (functions.get("maxCount"), len(functions)) == ("16", 16)
    assert functions[0].attrib == {"domain": "0x0000", "bus": "0x41", "slot": "0x00", "function": "0x4"}
    assert gpu.find("./capability/capability[@type='mdev_types']") is None


def test_a_gpu_without_enabled_functions_lists_none(cloud: DemoCloud) -> None:
    functions = xml(cloud.libvirt("demo://gpu-02/system"), "pci_0000_81_00_0").find(
        "./capability/capability[@type='virt_functions']"
    )
    assert functions is not None
    assert (functions.get("maxCount"), len(functions)) == ("16", 0)


def test_a_virtual_function_offers_what_fits_beside_its_siblings(cloud: DemoCloud) -> None:
    connection = cloud.libvirt("demo://gpu-01/system")

    def offers(name: str) -> dict[str, str]:
        rows = xml(connection, name).findall("./capability/capability[@type='mdev_types']/type")
        return {str(row.findtext("name")): str(row.findtext("availableInstances")) for row in rows}

    full = offers("pci_0000_41_01_0")
    assert set(full.values()) == {"0"}
    assert full.keys() >= {"GRID A100-4C", "GRID A100-40C"}
    half = offers("pci_0000_81_01_0")  # one A100-20C runs, the other place is taken by the coming migration
    assert half["GRID A100-10C"] == "0"
    parent = xml(connection, "pci_0000_41_01_0").find("./capability/capability[@type='phys_function']/address")
    assert parent is not None
    assert parent.get("bus") == "0x41"


def test_turing_carries_its_types_itself_and_vendor_vfio_has_none(cloud: DemoCloud) -> None:
    turing = cloud.libvirt("demo://gpu-05/system")
    assert xml(turing, "pci_0000_41_00_0").find("./capability/capability[@type='mdev_types']") is not None
    vendor = cloud.libvirt("demo://gpu-06/system")
    assert vendor.listAllDevices(CAP_MDEV_TYPES) == []
    assert len([d for d in vendor.listAllDevices(CAP_PCI) if d.name().startswith("pci_0000_41")]) == 33
    hostdevs = [Tree.fromstring(d.XMLDesc()).findall("./devices/hostdev[@type='pci']") for d in vendor.listAllDomains()]
    assert [len(rows) for rows in hostdevs] == [1, 1, 0]


def test_a_host_has_other_devices_too(cloud: DemoCloud) -> None:
    connection = cloud.libvirt("demo://gpu-01/system")
    names = {device.name() for device in connection.listAllDevices(CAP_PCI)}
    assert {"pci_0000_02_00_0", "pci_0000_03_00_0"} <= names
    assert "computer" in {device.name() for device in connection.listAllDevices()}
    assert xml(connection, "pci_0000_02_00_0").findtext("./driver/name") == "mlx5_core"


def test_an_inactive_device_has_no_path_and_names_its_parents_address(cloud: DemoCloud) -> None:
    connection = cloud.libvirt("demo://gpu-03/system")
    (device,) = connection.listAllDevices(CAP_MDEV | INACTIVE)
    assert (device.isActive(), device.isPersistent()) == (0, 1)
    with pytest.raises(Exception, match="read only access prevents virNodeDeviceGetAutostart"):
        device.autostart()
    writing = cloud.libvirt("demo://gpu-03/system", False)
    assert [d.autostart() for d in writing.listAllDevices(CAP_MDEV | INACTIVE)] == [1]
    root = Tree.fromstring(device.XMLDesc())
    assert root.find("path") is None
    assert root.findtext("./capability/parent_addr") == "0000:41:04.3"
    active = connection.listAllDevices(CAP_MDEV | ACTIVE)
    assert len(active) == 5
    assert all(d.name().startswith("mdev_") and str(d.parent()).startswith("pci_0000_41_") for d in active)


def test_guests_hold_the_devices_that_exist(cloud: DemoCloud) -> None:
    for host in ("gpu-01", "gpu-02", "gpu-03", "gpu-05"):
        connection = cloud.libvirt(f"demo://{host}/system")
        there = {
            Tree.fromstring(d.XMLDesc()).findtext("./capability/uuid")
            for d in connection.listAllDevices(CAP_MDEV | ACTIVE)
        }
        for domain in connection.listAllDomains():
            root = Tree.fromstring(domain.XMLDesc())
            held = {str(a.get("uuid")) for a in root.findall("./devices/hostdev[@type='mdev']/source/address")}
            assert held <= there


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c: c.nodeDeviceCreateXML(mdev("pci_0000_41_00_4")), "virNodeDeviceCreateXML"),
        (lambda c: c.nodeDeviceDefineXML(mdev("pci_0000_41_00_4")), "virNodeDeviceDefineXML"),
        (lambda c: c.listAllDevices(CAP_MDEV)[0].destroy(), "virNodeDeviceDestroy"),
        (lambda c: c.listAllDevices(CAP_MDEV)[0].setAutostart(0), "virNodeDeviceSetAutostart"),
        (lambda c: c.listAllDevices(CAP_MDEV)[0].undefine(), "virNodeDeviceUndefine"),
    ],
)
def test_a_read_only_connection_changes_nothing(cloud: DemoCloud, call: Any, name: str) -> None:
    with pytest.raises(DemoLibvirtError) as refusal:
        call(cloud.libvirt("demo://gpu-01/system", True))
    assert refusal.value.get_error_code() == 29
    assert refusal.value.get_error_message() == f"operation forbidden: read only access prevents {name}"


@pytest.mark.parametrize(
    ("xml_text", "code", "text"),
    [
        (mdev("pci_0000_41_00_4"), 1, "No available instances of nvidia-472 on 0000:41:00.4"),
        (mdev("pci_0000_41_00_4", "nvidia-1"), 1, "does not support mdev type nvidia-1"),
        (mdev("pci_0000_99_00_4"), 67, "unable to find parent device"),
        ("<device>", 27, "XML error"),
    ],
)
def test_refusals_have_libvirts_codes_and_mdevctls_words(cloud: DemoCloud, xml_text: str, code: int, text: str) -> None:
    with pytest.raises(DemoLibvirtError, match=text) as refusal:
        cloud.libvirt("demo://gpu-01/system", False).nodeDeviceCreateXML(xml_text)
    assert refusal.value.get_error_code() == code


def test_a_device_in_use_is_not_stopped_and_a_free_one_is(settled: DemoCloud) -> None:
    connection = settled.libvirt("demo://gpu-01/system", False)
    (domain, *_) = connection.listAllDomains()
    held = Tree.fromstring(domain.XMLDesc()).find("./devices/hostdev/source/address")
    assert held is not None
    name = next(d for d in connection.listAllDevices(CAP_MDEV) if str(held.get("uuid")).replace("-", "_") in d.name())
    with pytest.raises(DemoLibvirtError, match="device in use"):
        name.destroy()
    free = settled.libvirt("demo://gpu-05/system", False)
    (pinning,) = [d for d in free.listAllDevices(CAP_MDEV) if "_0000_81_" in d.name()]
    pinning.destroy()
    pinning.undefine()
    with pytest.raises(DemoLibvirtError, match="no node device with matching name"):
        pinning.XMLDesc()


def test_events_are_told_to_everyone_who_listens(settled: DemoCloud, clock: FakeClock) -> None:
    watcher, hand = settled.libvirt("demo://gpu-02/system"), settled.libvirt("demo://gpu-02/system", False)
    seen: list[tuple[str, int]] = []
    number = watcher.nodeDeviceEventRegisterAny(
        None, 0, lambda c, d, event, detail, o: seen.append((d.name(), event)), None
    )
    made = hand.nodeDeviceCreateXML(mdev("pci_0000_41_00_7"))
    hand.nodeDeviceDefineXML(mdev("pci_0000_41_00_7"))
    made.destroy()
    settled.advance()
    assert [event for _, event in seen] == [0, 2, 1]
    assert {name for name, _ in seen} == {f"mdev_{UUID.replace('-', '_')}_0000_41_00_7"}
    watcher.nodeDeviceEventDeregisterAny(number)
    made.create()
    settled.advance()
    assert len(seen) == 3


def test_a_delete_stops_the_domain_with_an_event(settled: DemoCloud) -> None:
    watcher = settled.libvirt("demo://gpu-05/system")
    seen: list[tuple[str, int]] = []
    watcher.domainEventRegisterAny(None, 0, lambda c, d, event, detail, o: seen.append((d.UUIDString(), event)), None)
    api = Api(settled)
    server = api.server("desk-11")
    api.call("DELETE", "compute", f"/servers/{server['id']}")
    settled.advance()
    assert seen == [(server["id"], 5)]
    with pytest.raises(DemoLibvirtError) as refusal:
        watcher.lookupByUUIDString(server["id"])
    assert refusal.value.get_error_code() == 42


def test_versions_and_loss(cloud: DemoCloud) -> None:
    connection = cloud.libvirt("qemu+ssh://root@gpu-06/system?no_verify=1")
    assert (connection.getLibVersion(), connection.getVersion(), connection.getHostname()) == (
        10000000,
        8002002,
        "gpu-06",
    )
    reasons: list[int] = []
    connection.registerCloseCallback(lambda c, reason, o: reasons.append(reason), None)
    assert connection.isAlive() == 1
    connection.lose()
    assert (connection.isAlive(), reasons) == (0, [2])
    with pytest.raises(DemoLibvirtError):
        connection.listAllDevices()
    with pytest.raises(DemoLibvirtError, match="No route to host"):
        cloud.libvirt("demo://gpu-04/system")
