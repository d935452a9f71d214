"""What Nova is told, what Placement says and what the hardware can do, side by side."""

from __future__ import annotations

import msgspec
import pytest

from tests.rules.nova_hosts import (
    A100_10C,
    A100_20C,
    GPU0,
    GPU1,
    HOST,
    T4,
    T4_4Q,
    conf_of,
    guest,
    host_facts,
    mdev,
    provider,
    server,
    snapshot_of,
    vf,
)
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.nova_caps import NovaTypeSide, nova_types
from vgpu_console.rules.nova_gpu import NovaSideRow
from vgpu_console.rules.nova_side import nova_side

TWO = (GPU0, GPU1)


def one(snapshot: Snapshot) -> NovaSideRow:
    (row,) = nova_side(snapshot, HOST)
    return row


def whole(snapshot: Snapshot) -> NovaTypeSide:
    (side,) = nova_types(snapshot, HOST)
    return side


def two_a100(**options: str) -> Snapshot:
    return snapshot_of(*host_facts(TWO, conf=conf_of(A100_20C, **options)))


def test_without_a_cap_nova_reports_a_vgpu_for_each_of_32_functions() -> None:
    snapshot = two_a100()
    assert [(r.idle_total, r.real, r.state) for r in nova_side(snapshot, HOST)] == [(16, 2, "warn")] * 2
    side = whole(snapshot)
    assert (side.idle_total, side.real, side.over_reported, side.stranded) == (32, 4, 28, 0)
    assert side.verdict == "32 VGPU reported of empty GPUs for 4 real: 28 over-reported"


@pytest.mark.parametrize(
    ("cap", "idle", "least", "most", "stranded"),
    [
        (1, 1, 1, 1, 3),
        (2, 2, 2, 2, 2),
        (3, 3, 2, 3, 1),
        (4, 4, 2, 4, 0),  # all four may be of one GPU, which can carry two
        (17, 17, 3, 4, 0),
        (18, 18, 4, 4, 0),
        (100, 32, 4, 4, 0),
    ],
)
def test_a_cap_is_for_the_host_and_meets_functions_in_no_order(
    cap: int, idle: int, least: int, most: int, stranded: int
) -> None:
    side = whole(two_a100(nvidia_472__max_instances=str(cap)))
    assert (side.idle_total, side.usable_least, side.usable_most, side.stranded) == (idle, least, most, stranded)
    assert side.state == "warn"
    assert ("changes at every start of libvirtd" in side.verdict) is (least < most)
    assert ("unused" in side.verdict) is (stranded > 0)


def test_a_cap_drops_a_gpu_without_functions_as_a_whole() -> None:
    conf = conf_of(T4_4Q, nvidia_232__max_instances="6")
    side = whole(snapshot_of(*host_facts(TWO, vfs=0, types=T4, conf=conf)))
    assert (side.real, side.idle_total, side.usable_most, side.stranded) == (8, 4, 4, 4)


@pytest.mark.parametrize(
    ("named", "idle", "real", "stranded", "state", "words"),
    [
        ([0, 1], 2, 2, 0, "ok", "2 reported, 2 real: Placement tells the truth"),
        ([0], 1, 1, 1, "warn", "nova.conf names 1 of its functions, it can carry 2: 1 stranded"),
        ([0, 1, 2], 3, 2, 0, "warn", "1 for each of 3 virtual functions of an empty GPU, 2 are real: 1 over-reported"),
    ],
)
def test_named_functions(named: list[int], idle: int, real: int, stranded: int, state: str, words: str) -> None:
    conf = conf_of(A100_20C, nvidia_472__device_addresses=",".join(vf(GPU0, n) for n in named))
    there = [provider(vf(GPU0, n)) for n in named]
    row = one(snapshot_of(*host_facts((GPU0,), conf=conf), there))
    assert (row.idle_total, row.real, row.stranded, row.state) == (idle, real, stranded, state)
    assert words in row.verdict
    assert row.device_addresses == tuple(vf(GPU0, n) for n in named)
    assert not row.by_default


def test_providers_of_functions_that_are_named_no_more_still_offer() -> None:
    conf = conf_of(A100_20C, nvidia_472__device_addresses=f"{vf(GPU0, 0)},{vf(GPU0, 1)}")
    there = [provider(vf(GPU0, n)) for n in range(4)]
    row = one(snapshot_of(*host_facts((GPU0,), conf=conf), there))
    assert (row.placement_total, row.over_reported) == (4, 2)
    assert row.left_over == (there[2].uuid, there[3].uuid)
    assert "2 providers of functions without a type stay in Placement until deleted" in row.verdict


def test_another_size_on_the_gpu_takes_all_of_it() -> None:
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[mdev(vf(GPU0, 0), A100_10C)])
    configured, carried = nova_side(snapshot_of(libvirt, ssh), HOST)
    assert (configured.type_id, configured.state, configured.real, configured.stranded) == (A100_20C, "fail", 0, 2)
    assert "carries 1 A100-10C: Nova reports no A100-20C" in configured.verdict
    assert (carried.type_id, carried.configured, carried.state) == (A100_10C, False, "warn")


def test_a_device_of_another_size_that_does_not_run_pins_nothing() -> None:
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[mdev(vf(GPU0, 0), A100_10C, active=False)])
    configured = nova_side(snapshot_of(libvirt, ssh), HOST)[0]
    assert (configured.state, configured.real) == ("warn", 2)


def test_a_full_gpu_with_its_devices_used() -> None:
    devices = [mdev(vf(GPU0, 0)), mdev(vf(GPU0, 1))]
    domain = guest(*devices)
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=devices, domains=[domain])
    there = [provider(vf(GPU0, n), consumer=domain.uuid) for n in range(2)]
    row = one(snapshot_of(libvirt, ssh, there, [server(domain)]))
    assert (row.placement_total, row.placement_used, row.over_reported) == (2, 2, 0)
    assert row.state == "warn"  # true now, and 14 too many as soon as it is empty


def test_a_device_that_does_not_run_counts_twice() -> None:
    conf = conf_of(A100_20C, nvidia_472__device_addresses=f"{vf(GPU0, 0)},{vf(GPU0, 1)}")
    libvirt, ssh = host_facts((GPU0,), conf=conf, mdevs=[mdev(vf(GPU0, 0), active=False)])
    row = one(snapshot_of(libvirt, ssh, [provider(vf(GPU0, 0), total=2), provider(vf(GPU0, 1))]))
    assert row.over_reported == 1
    assert "1 defined, not running: Nova counts its function twice" in row.verdict


def test_functions_that_are_off() -> None:
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C))
    off = [d for d in libvirt.devices if d.physical_function is None]
    board = msgspec.structs.replace(off[0], virtual_functions=())
    bare = msgspec.structs.replace(libvirt, devices=(board,))
    asked = msgspec.structs.replace(
        ssh, types=(), pci=(msgspec.structs.replace(ssh.pci[0], sriov_numvfs=0),), mdev_bus=False
    )
    row = one(snapshot_of(bare, asked, [provider(vf(GPU0, n)) for n in range(16)]))
    assert (row.state, row.real, row.placement_total) == ("fail", 0, 16)
    assert row.verdict == (
        "none of its 16 virtual functions is on: Nova can make none; Placement still offers 16, which cannot start"
    )


def test_what_was_not_read_is_not_known() -> None:
    libvirt, ssh = host_facts((GPU0,), conf=None)
    row = one(snapshot_of(libvirt, ssh))
    assert (row.configured, row.idle_total, row.state) == (None, None, "unknown")
    assert "nova.conf was not read" in row.verdict
    assert nova_types(snapshot_of(libvirt, ssh), HOST) == ()
    conf = conf_of(A100_20C, nvidia_472__device_addresses=f"{vf(GPU0, 0)},{vf(GPU0, 1)}")
    row = one(snapshot_of(*host_facts((GPU0,), conf=conf), None))
    assert (row.placement_total, row.over_reported, row.state) == (None, None, "unknown")
    assert nova_side(snapshot_of(None, None), HOST) == ()
    assert nova_side(snapshot_of(libvirt, ssh), "elsewhere") == ()


def test_devices_that_were_not_read_are_no_truth() -> None:
    conf = conf_of(A100_20C, nvidia_472__device_addresses=f"{vf(GPU0, 0)},{vf(GPU0, 1)}")
    _, ssh = host_facts((GPU0,), conf=conf)
    row = one(snapshot_of(None, ssh, [provider(vf(GPU0, 0)), provider(vf(GPU0, 1))]))
    assert row.state == "unknown"


def test_a_type_without_a_known_maximum() -> None:
    types = {"nvidia-999": ("GRID NEW-1C", 0, 1024)}
    libvirt, ssh = host_facts((GPU0,), types=types, described=False, conf=conf_of("nvidia-999"))
    row = one(snapshot_of(libvirt, ssh))
    assert (row.real, row.state) == (None, "unknown")
    side = whole(snapshot_of(libvirt, ssh))
    assert (side.real, side.state) == (None, "unknown")
