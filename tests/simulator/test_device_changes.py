"""What changes of devices do in the embedded cloud, how Nova follows them, and the faults in their way."""

from __future__ import annotations

import pytest

from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.faults import DeviceFault
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.change_command import HostChange

UUID = "11111111-2222-3333-4444-555555555555"


class Moving:
    """The small scenario on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.cloud: DemoCloud = open_demo("small", clock=lambda: self.now, living=False)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.cloud.advance()

    def providers(self, host: str, prefix: str) -> int:
        """How many providers with a VGPU inventory the GPU of that PCI bus has in Placement."""
        names = self.cloud.state.placement.by_name
        return sum(
            1 for name, p in names.items() if name.startswith(f"{host}_pci_{prefix}") and "VGPU" in p.inventories
        )


@pytest.fixture
def moving() -> Moving:
    return Moving()


def xml(type_id: str, parent: str) -> str:
    return (
        f"<device><parent>{parent}</parent><capability type='mdev'><type id='{type_id}'/><uuid>{UUID}</uuid>"
        "</capability></device>"
    )


def test_nova_follows_a_device_of_a_type_that_it_does_not_offer_at_its_next_update(moving: Moving) -> None:
    """The only size of the GPU is then one that nova.conf does not name: it can carry nothing that Nova offers."""
    connection = moving.cloud.libvirt("demo://gpu-05/system", False)
    state = moving.cloud.state
    gpu = state.hosts["gpu-05"].gpus[1]
    free = next(gpu.all_mdevs())
    gpu.stop(free)
    gpu.undefine(free)
    moving.cloud.compute.device_changed(state.hosts["gpu-05"])
    moving.after(61)
    assert moving.providers("gpu-05", "0000_81") == 1
    connection.nodeDeviceCreateXML(xml("nvidia-233", "pci_0000_81_00_0"), 0)
    assert moving.providers("gpu-05", "0000_81") == 1  # not yet: nova-compute looks once a minute
    moving.after(61)
    assert moving.providers("gpu-05", "0000_81") == 0


def test_sriov_manage_binds_one_function_after_the_other(moving: Moving) -> None:
    gpu = moving.cloud.state.hosts["gpu-02"].gpus[1]
    change = HostChange("enable-vfs", gpu.address)
    seen: list[str] = []
    connection = moving.cloud.libvirt("demo://gpu-02/system", True)
    connection.nodeDeviceEventRegisterAny(None, 0, lambda _c, device, *_: seen.append(device.name()), None)
    assert moving.cloud.shell.change("gpu-02", change, 5.0).endswith("==exit 0==\n")
    assert gpu.vfs_enabled == 1
    moving.after(1.0)
    assert 1 < gpu.vfs_enabled < 16
    moving.after(10.0)
    assert gpu.vfs_enabled == 16
    assert len(seen) == 16
    assert "already has VFs enabled" in moving.cloud.shell.change("gpu-02", change, 5.0)
    assert "==exit 1==" in moving.cloud.shell.change("gpu-05", HostChange("enable-vfs", "0000:41:00.0"), 5.0)


@pytest.mark.parametrize(
    ("host", "address", "value", "end"),
    [
        ("gpu-06", "0000:41:00.7", 1155, "==exit 0=="),
        ("gpu-06", "0000:41:00.7", 1158, "Invalid argument\n==exit 1=="),  # another size than the GPU runs
        ("gpu-06", "0000:41:00.7", 7, "Invalid argument\n==exit 1=="),  # no such type
        ("gpu-06", "0000:41:00.6", 1155, "Invalid argument\n==exit 1=="),  # it has a type
        ("gpu-06", "0000:41:00.4", 0, "Device or resource busy\n==exit 1=="),  # a server has it
        ("gpu-06", "0000:41:00.6", 0, "==exit 0=="),
        ("gpu-06", "0000:41:00.0", 1155, "no such file\n==exit 100=="),  # the physical function
        ("gpu-01", "0000:41:00.4", 472, "no such file\n==exit 100=="),  # a host of mediated devices
    ],
)
def test_current_vgpu_type_obeys_the_drivers_rules(
    moving: Moving, host: str, address: str, value: int, end: str
) -> None:
    assert moving.cloud.shell.change(host, HostChange("set-vgpu-type", address, value), 5.0).rstrip().endswith(end)


def test_a_host_that_cannot_be_reached_changes_nothing(moving: Moving) -> None:
    moving.cloud.faults.ssh["gpu-06"] = "closed"
    with pytest.raises(SourceError, match="connection closed"):
        moving.cloud.shell.change("gpu-06", HostChange("set-vgpu-type", "0000:41:00.7", 1155), 5.0)
    with pytest.raises(SourceError, match="is no PCI address"):
        moving.cloud.shell.change("gpu-01", HostChange("set-vgpu-type", "x", 1), 5.0)
    assert "0000:41:00.7" not in moving.cloud.state.hosts["gpu-06"].gpus[0].current_types


def test_lists_are_those_of_before_for_a_moment(moving: Moving) -> None:
    moving.cloud.faults.stale_s["gpu-02"] = 2.0
    connection = moving.cloud.libvirt("demo://gpu-02/system", False)
    device = connection.nodeDeviceDefineXML(xml("nvidia-472", "pci_0000_41_01_2"), 0)
    mdevs = 1 << 14
    assert device.name() not in [d.name() for d in connection.listAllDevices(mdevs)]
    moving.after(2.5)
    device.create(0)
    assert device.isActive() == 0
    with pytest.raises(DemoLibvirtError, match="is not active") as caught:
        device.destroy()
    assert caught.value.get_error_code() == 55
    moving.after(2.5)
    assert device.isActive() == 1
    assert device.destroy() == 0


def test_faults_of_a_host_count_down_and_name_their_call(moving: Moving) -> None:
    faults = moving.cloud.faults
    faults.devices["gpu-02"] = DeviceFault(kind="acl", call="virNodeDeviceCreate", times=1)
    connection = moving.cloud.libvirt("demo://gpu-02/system", False)
    device = connection.nodeDeviceDefineXML(xml("nvidia-472", "pci_0000_41_01_2"), 0)
    with pytest.raises(DemoLibvirtError, match="access denied"):
        device.create(0)
    assert device.create(0) == 0
    faults.devices["gpu-02"] = DeviceFault(kind="dies", obeyed=True)
    with pytest.raises(DemoLibvirtError, match="End of file"):
        device.destroy()
    assert connection.isAlive() == 0
    assert moving.cloud.state.hosts["gpu-02"].find_mdev(UUID)[1].active is False  # type: ignore[index]
    faults.devices["gpu-02"] = DeviceFault(kind="denied")
    assert moving.cloud.libvirt("demo://gpu-02/system", True).isAlive()
    with pytest.raises(DemoLibvirtError, match="no polkit agent"):
        moving.cloud.libvirt("demo://gpu-02/system", False)
