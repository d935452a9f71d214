"""What an operator types means one host, GPU, type or device; else the answer says what is near."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actions.demo import still_demo
from tests.actions.device_console import HostConsole
from tests.builders import small_fleet
from vgpu_console.actions.devices import (
    device_uuid,
    find_gpu,
    find_host,
    find_mdev,
    find_type,
    node_device,
    pci_address,
    short_uuid,
)
from vgpu_console.actions.plan import PlanError
from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.rules.mdev_room import type_rooms


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return HostConsole(still_demo(), tmp_path_factory.mktemp("journal")).read().snapshot


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("41:00.4", "0000:41:00.4"),
        ("0000:41:00.4", "0000:41:00.4"),
        ("00000000:41:00.4", "0000:41:00.4"),
        ("0000:C1:00.0", "0000:c1:00.0"),
        ("pci_0000_41_00_4", "0000:41:00.4"),
        (" 41:00.4 ", "0000:41:00.4"),
        ("41:00", None),
        ("41:00.8", None),
        ("gpu", None),
        ("", None),
    ],
)
def test_addresses_as_the_tools_write_them(text: str, address: str | None) -> None:
    assert pci_address(text) == address


@given(st.text(max_size=40))
def test_any_text_is_an_address_in_full_or_none(text: str) -> None:
    found = pci_address(text)
    assert found is None or (pci_address(found) == found and pci_address(node_device(found)) == found)


def test_hosts_by_name_and_by_the_beginning_of_a_domain_name() -> None:
    hosts = Snapshot(hosts=(Host(name="gpu-01.lan"), Host(name="gpu-02.lan"), Host(name="gpu-02.dmz")))
    assert find_host(hosts, "gpu-01.lan").name == "gpu-01.lan"
    assert find_host(hosts, "GPU-01").name == "gpu-01.lan"
    with pytest.raises(PlanError, match=r"'gpu-02' is the beginning of 2 hosts: gpu-02.lan, gpu-02.dmz") as ambiguous:
        find_host(hosts, "gpu-02")
    assert ambiguous.value.exit == 2
    with pytest.raises(PlanError, match=r"no host is called 'gpu-03.lan'; is it gpu-0"):
        find_host(hosts, "gpu-03.lan")
    with pytest.raises(PlanError, match=r"no host is called 'web'; there are gpu-01.lan, gpu-02.dmz, gpu-02.lan$"):
        find_host(hosts, "web")
    with pytest.raises(PlanError, match="no host is known") as nothing:
        find_host(Snapshot(), "gpu-01")
    assert nothing.value.exit == 3
    with pytest.raises(PlanError, match="no host was named"):
        find_host(hosts, "  ")


@pytest.mark.parametrize("text", ["0000:81:00.0", "81:00.0", "81:00.5", "pci_0000_81_01_2"])
def test_a_gpu_by_its_own_address_or_by_a_functions(snapshot: Snapshot, text: str) -> None:
    assert find_gpu(snapshot, "gpu-01", text).address == "0000:81:00.0"


@pytest.mark.parametrize(
    ("host", "text", "exit", "says"),
    [
        ("gpu-01", "", 2, "gpu-01 has 2 GPUs: 0000:41:00.0 (A100 PCIe 40GB), 0000:81:00.0"),
        ("gpu-01", "first", 2, "'first' is no PCI address; the GPUs of gpu-01: 0000:41:00.0"),
        ("gpu-01", "99:00.0", 2, "gpu-01 has no GPU at 0000:99:00.0; it has 0000:41:00.0"),
        ("gpu-02", "81:00.4", 4, "gpu-02 has no function 0000:81:00.4: GPU 0000:81:00.0 has 0 of 16 virtual functions"),
        ("gpu-04", "41:00.0", 3, "the GPUs of gpu-04 are not known: libvirt: "),
        ("gpu-99", "41:00.0", 2, "no host is called 'gpu-99'"),
    ],
)
def test_gpus_that_are_not_meant(snapshot: Snapshot, host: str, text: str, exit: int, says: str) -> None:
    with pytest.raises(PlanError) as refused:
        find_gpu(snapshot, host, text)
    assert says in str(refused.value)
    assert refused.value.exit == exit


def test_the_only_gpu_needs_no_address(snapshot: Snapshot) -> None:
    assert find_gpu(snapshot, "gpu-03", "").address == "0000:41:00.0"


@pytest.mark.parametrize(
    "text", ["nvidia-472", "GRID A100-20C", "A100-20C", "a100-20c", "NVIDIA A100-20C", "20C", "472"]
)
def test_a_type_by_any_of_its_names(snapshot: Snapshot, text: str) -> None:
    assert find_type(type_rooms(snapshot, "gpu-01", "0000:41:00.0"), text).type_id == "nvidia-472"


def test_types_that_are_not_meant(snapshot: Snapshot) -> None:
    rooms = type_rooms(snapshot, "gpu-01", "0000:41:00.0")
    with pytest.raises(PlanError, match="has no vGPU type 'A100-21C'; is it A100-20C"):
        find_type(rooms, "A100-21C")
    with pytest.raises(PlanError, match="it has A100-4C, A100-5C, A100-8C, A100-10C, A100-20C, A100-40C"):
        find_type(rooms, "quux")
    with pytest.raises(PlanError, match="no vGPU type was named"):
        find_type(rooms, "")
    with pytest.raises(PlanError, match="offers no vGPU type") as none:
        find_type((), "A100-20C")
    assert none.value.exit == 4
    twins = (*rooms, msgspec.structs.replace(rooms[-1], type_id="nvidia-900"))
    with pytest.raises(PlanError, match=r"2 types: nvidia-473 \(GRID A100-40C\), nvidia-900 .*give the id"):
        find_type(twins, "A100-40C")


def test_a_device_by_uuid_its_beginning_or_libvirts_name(snapshot: Snapshot) -> None:
    device = next(m for m in snapshot.mdevs if m.uuid)
    uuid = device.uuid or ""
    for text in (uuid, uuid.upper(), uuid[:8], uuid[:13], f"mdev_{uuid.replace('-', '_')}_0000_41_00_4"):
        assert find_mdev(snapshot, device.host, text).uuid == uuid


def test_devices_that_are_not_meant(snapshot: Snapshot) -> None:
    first = next(m for m in snapshot.mdevs if m.uuid)
    twin = msgspec.structs.replace(first, host="gpu-03")
    both = msgspec.structs.replace(snapshot, mdevs=(*snapshot.mdevs, twin))
    with pytest.raises(PlanError, match=f"2 mediated devices: gpu-01 {first.uuid}, gpu-03 {first.uuid}"):
        find_mdev(both, None, first.uuid or "")
    assert find_mdev(both, "gpu-03", first.uuid or "").host == "gpu-03"
    with pytest.raises(PlanError, match="is no uuid of a mediated device"):
        find_mdev(snapshot, None, "vm-train-1")
    with pytest.raises(PlanError, match="there is no mediated device 'ffffffff' on gpu-01") as absent:
        find_mdev(snapshot, "gpu-01", "ffffffff")
    assert absent.value.exit == 2
    with pytest.raises(PlanError, match="devices of gpu-04 are not known: libvirt: ") as unread:
        find_mdev(snapshot, "gpu-04", "ffffffff")
    assert unread.value.exit == 3
    with pytest.raises(PlanError, match="not read: libvirt of gpu-04") as somewhere:
        find_mdev(snapshot, None, "ffffffff")
    assert somewhere.value.exit == 3
    with pytest.raises(PlanError, match=r"gpu-06 0000:41:00.4 has a vGPU type, no mediated device: clear the type"):
        find_mdev(snapshot, "gpu-06", "41:00.4")


def test_a_name_is_short_until_two_devices_begin_the_same() -> None:
    fleet = small_fleet()
    first = fleet.mdevs[0]
    uuid = first.uuid or ""
    assert short_uuid(fleet, first.host, uuid) == uuid[:8]
    twin = msgspec.structs.replace(first, uuid=uuid[:-1] + ("0" if uuid[-1] != "0" else "1"))
    assert short_uuid(msgspec.structs.replace(fleet, mdevs=(*fleet.mdevs, twin)), first.host, uuid) == uuid


@pytest.mark.parametrize("text", ["", "abc", "{00000000-0000-4000-8000-000000000001}", "0" * 32, "\x1b[31m", "ü" * 36])
def test_malformed_uuids_are_refused(text: str) -> None:
    with pytest.raises(PlanError, match="is no uuid for a device"):
        device_uuid(text)


def test_a_uuid_is_taken_in_lower_case_and_never_nil(tmp_path: Path) -> None:
    assert device_uuid(" ABCDEF00-0000-4000-8000-00000000000A ") == "abcdef00-0000-4000-8000-00000000000a"
    with pytest.raises(PlanError, match="not all of them 0"):
        device_uuid("00000000-0000-0000-0000-000000000000")
