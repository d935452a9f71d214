"""How many vGPUs of each type still fit on a GPU, on which functions, and why not more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.host_builders import A100_10C, A100_20C, PF, domain, mdev, sriov_libvirt, sriov_ssh, vendor_ssh, vf
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, MdevFacts, MdevTypeOffer, PciDevice, SshFacts
from vgpu_console.model.placement import Allocation
from vgpu_console.model.snapshot import Provider, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.mdev_room import VFS_OFF, TypeRoom, type_rooms

HOST = "gpu-01"


def snapshot_of(libvirt: LibvirtFacts | None, ssh: SshFacts | None = None, error: str | None = None) -> Snapshot:
    status = SourceStatus(kind="libvirt", host=HOST, fetched_at=None if error else 1.0, error=error)
    facts = Facts(
        libvirt={HOST: libvirt} if libvirt else {},
        ssh={HOST: ssh} if ssh else {},
        statuses=(status,),
        expected_hosts=(HOST,),
    )
    return Joiner(load_catalogue()).join(facts, 2.0)


def room_of(snapshot: Snapshot, type_id: str, gpu: str = PF) -> TypeRoom:
    return next(r for r in type_rooms(snapshot, HOST, gpu) if r.type_id == type_id)


def board(
    names: Mapping[str, str],
    offers: Mapping[str, Sequence[int]],
    *,
    vfs: int = 16,
    mdevs: Sequence[MdevFacts] = (),
    domains: Sequence[DomainFacts] = (),
) -> LibvirtFacts:
    """An A100 whose functions (by number) offer types: type id -> name, type id -> functions that have one left."""
    plain = sriov_libvirt(enabled=vfs, mdevs=mdevs, domains=domains)
    devices = [plain.devices[0]]
    for number, function in enumerate(plain.devices[1:]):
        types = tuple(
            MdevTypeOffer(type_id=t, name=name, available_instances=1 if number in offers.get(t, ()) else 0)
            for t, name in names.items()
        )
        devices.append(msgspec.structs.replace(function, types=types))
    return msgspec.structs.replace(plain, devices=tuple(devices))


BOTH = {A100_20C: "GRID A100-20C", A100_10C: "GRID A100-10C"}


def test_an_idle_gpu_takes_the_real_maximum_on_its_first_functions() -> None:
    snapshot = snapshot_of(board(BOTH, {A100_20C: range(16), A100_10C: range(16)}))
    large, small = room_of(snapshot, A100_20C), room_of(snapshot, A100_10C)
    assert (large.creatable, large.functions, large.why_not) == (2, (vf(0), vf(1)), "its maximum is 2")
    assert (small.creatable, small.functions) == (4, (vf(0), vf(1), vf(2), vf(3)))
    assert (large.max_source, large.framebuffer_mib) == ("catalogue", 20480)
    assert [r.label for r in type_rooms(snapshot, HOST, PF)] == ["A100-10C", "A100-20C"]


@pytest.mark.parametrize(
    ("devices", "held", "why"),
    [
        ([mdev(0)], [], "GPU runs A100-20C; free its 1 mdev to change size"),
        ([mdev(0), mdev(1)], [], "GPU runs A100-20C; free its 2 mdevs to change size"),
        ([mdev(0)], [0], "GPU runs A100-20C; free its 1 mdev to change size, 1 in use by a server"),
        ([mdev(0), mdev(1)], [0, 1], "GPU runs A100-20C; free its 2 mdevs to change size, 2 in use by servers"),
    ],
)
def test_another_size_says_what_must_go_first(devices: list[MdevFacts], held: list[int], why: str) -> None:
    guests = [domain(n, devices[n]) for n in held]
    room = room_of(snapshot_of(board(BOTH, {A100_20C: range(2, 16)}, mdevs=devices, domains=guests)), A100_10C)
    assert (room.creatable, room.functions, room.why_not) == (0, (), why)


def test_a_full_gpu_says_that_it_is_full_and_counts_what_is_merely_defined() -> None:
    full = room_of(snapshot_of(board(BOTH, {}, mdevs=[mdev(0), mdev(1)])), A100_20C)
    assert (full.creatable, full.why_not) == (0, "all 2 of its maximum are created")
    idle = room_of(snapshot_of(board(BOTH, {A100_20C: range(16)}, mdevs=[mdev(0), mdev(1, active=False)])), A100_20C)
    assert (idle.creatable, idle.why_not) == (0, "all 2 of its maximum are created (1 defined, not running)")


def test_a_function_with_a_defined_device_is_not_free_although_the_driver_offers_it() -> None:
    room = room_of(snapshot_of(board(BOTH, {A100_20C: range(16)}, mdevs=[mdev(0, active=False)])), A100_20C)
    assert (room.creatable, room.functions, room.why_not) == (
        1,
        (vf(1),),
        "its maximum is 2, 1 created (1 defined, not running)",
    )


def test_functions_that_are_off_come_before_everything_else() -> None:
    conf = {"devices.enabled_mdev_types": "nvidia-472"}
    room = room_of(snapshot_of(sriov_libvirt(enabled=0), sriov_ssh(numvfs=0, conf=conf)), A100_20C)
    assert (room.creatable, room.functions, room.why_not) == (0, (), VFS_OFF)


@pytest.mark.parametrize(
    ("vfs", "made", "creatable", "why"),
    [
        (2, 0, 2, "it is offered on 2 free virtual functions (2 of 16 are enabled)"),
        (1, 1, 0, "no enabled virtual function is free (1 of 16 are enabled)"),
    ],
)
def test_too_few_functions_are_told(vfs: int, made: int, creatable: int, why: str) -> None:
    devices = [mdev(n, A100_10C) for n in range(made)]
    room = room_of(snapshot_of(board(BOTH, {A100_10C: range(made, vfs)}, vfs=vfs, mdevs=devices)), A100_10C)
    assert (room.creatable, room.why_not) == (creatable, why)


def test_without_libvirt_nothing_is_said_of_the_room() -> None:
    snapshot = snapshot_of(None, sriov_ssh(described={A100_20C: 2}), error="gpu-01: no route to host")
    room = room_of(snapshot, A100_20C)
    assert (room.max, room.created, room.creatable, room.functions) == (2, None, None, ())
    assert room.why_not == "not read: libvirt: gpu-01: no route to host"


def test_a_maximum_that_nobody_knows_leaves_the_room_unknown() -> None:
    room = room_of(snapshot_of(board({"nvidia-9": "GRID X9-1Z"}, {"nvidia-9": (0, 5)})), "nvidia-9")
    assert (room.max, room.creatable, room.functions) == (None, None, (vf(0), vf(5)))
    assert room.why_not == "its real maximum is not known; the driver offers it on 2 functions"


def test_types_on_mig_instances_are_not_counted_by_framebuffer() -> None:
    mig = {"nvidia-476": "GRID A100-3-20C"}
    some = room_of(snapshot_of(board(mig, {"nvidia-476": (0, 1, 2)})), "nvidia-476")
    assert (some.creatable, some.functions) == (None, (vf(0), vf(1), vf(2)))
    assert some.why_not.startswith("MIG-backed: each takes a GPU instance")
    none = room_of(snapshot_of(board(mig, {})), "nvidia-476")
    assert (none.creatable, none.functions) == (0, ())
    assert none.why_not == "MIG-backed: needs MIG mode and a free GPU instance (nvidia-smi mig -lgi)"


def test_mixed_sizes_end_at_the_framebuffer() -> None:
    beside = board(BOTH, {A100_10C: range(1, 16), A100_20C: range(1, 16)}, mdevs=[mdev(0)])
    small, large = room_of(snapshot_of(beside), A100_10C), room_of(snapshot_of(beside), A100_20C)
    assert (small.creatable, small.functions) == (2, (vf(1), vf(2)))
    assert "framebuffer" in small.why_not
    assert large.creatable == 1


def test_a_gpu_without_functions_carries_them_itself() -> None:
    t4 = PciDevice(
        address=PF,
        vendor_id="10de",
        product_id="1eb8",
        product="TU104GL [Tesla T4]",
        max_virtual_functions=0,
        types=(MdevTypeOffer(type_id="nvidia-232", name="GRID T4-4Q", available_instances=3),),
    )
    one = MdevFacts(uuid="00000000-0000-4000-8000-000000000001", type_id="nvidia-232", parent=PF, active=True)
    room = room_of(snapshot_of(LibvirtFacts(host=HOST, devices=(t4,), mdevs=(one,))), "nvidia-232")
    assert (room.max, room.created, room.creatable, room.functions) == (4, 1, 3, (PF,))
    assert room.why_not == "its maximum is 4, 1 created"


def test_functions_that_nova_serves_come_first_and_those_it_has_given_away_last() -> None:
    conf = {"devices.enabled_mdev_types": "nvidia-472", "mdev_nvidia-472.device_addresses": f"{vf(8)}, {vf(9)}"}
    libvirt = board(BOTH, {A100_20C: range(16), A100_10C: range(16)})
    snapshot = snapshot_of(libvirt, sriov_ssh(conf=conf))
    assert room_of(snapshot, A100_20C).functions == (vf(8), vf(9))
    assert room_of(snapshot, A100_10C).functions == (vf(0), vf(1), vf(2), vf(3))
    provider = Provider(
        uuid="p", name="x", host=HOST, generation=1, device=vf(8), allocations=(Allocation("server", {"VGPU": 1}),)
    )
    booting = msgspec.structs.replace(snapshot, providers=(provider,))
    assert room_of(booting, A100_20C).functions == (vf(9), vf(0))


def test_the_vendor_framework_has_the_same_table() -> None:
    ssh = vendor_ssh({0: 1155}, ((1155, "NVIDIA L40S-12Q"),))
    facts = Facts(ssh={HOST: ssh}, statuses=(SourceStatus(kind="ssh", host=HOST, fetched_at=1.0),))
    snapshot = Joiner(load_catalogue()).join(facts, 2.0)
    room = room_of(snapshot, "1155")
    assert (room.max, room.created, room.used, room.creatable) == (4, 1, None, 3)
    assert room.functions == (vf(1), vf(2), vf(3))


def test_an_unknown_host_or_gpu_has_no_rooms() -> None:
    snapshot = snapshot_of(sriov_libvirt())
    assert type_rooms(snapshot, "gpu-99", PF) == ()
    assert type_rooms(snapshot, HOST, "0000:99:00.0") == ()


@given(
    vfs=st.integers(0, 16),
    made=st.sets(st.integers(0, 15), max_size=4),
    idle=st.sets(st.integers(0, 15), max_size=4),
    offered=st.sets(st.integers(0, 15)),
)
def test_no_more_is_promised_than_maximum_and_free_functions_allow(
    vfs: int, made: set[int], idle: set[int], offered: set[int]
) -> None:
    devices = [mdev(n, A100_10C, active=n not in idle) for n in sorted(made | idle) if n < vfs]
    libvirt = board(BOTH, {A100_10C: sorted(offered), A100_20C: ()}, vfs=vfs, mdevs=devices)
    for room in type_rooms(snapshot_of(libvirt), HOST, PF):
        taken = {d.parent for d in devices}
        assert room.creatable is not None
        assert room.max is not None
        assert room.creatable <= max(0, room.max - (len(devices) if room.type_id == A100_10C else 0))
        assert len(room.functions) == room.creatable
        assert not taken & set(room.functions)
        assert set(room.functions) <= {vf(n) for n in offered if n < vfs}
        assert room.why_not
