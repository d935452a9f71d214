"""What the keys for devices mean on each kind of row, and the reason that stands there when they mean nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.screens import fleets
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.device_keys import Meant, meant
from vgpu_console.screens.render.devices import device_tree, target_of
from vgpu_console.screens.seams import DeviceTarget

FLEET = fleets.fleet()
BOARD = "0000:41:00.0"


def on(host: str, row: str, key: str, snapshot: Snapshot = FLEET, *more: str) -> Meant:
    """What a key means on a row of a host's screen."""
    owner = snapshot.host(host)
    assert owner is not None
    targets = [target_of(snapshot, owner, one) for one in (row, *more)]
    assert None not in targets
    return meant(snapshot, key, [t for t in targets if t is not None])


def with_device(place: int, **changes: Any) -> Snapshot:
    """The fleet with one of its devices changed."""
    mdevs = list(FLEET.mdevs)
    mdevs[place] = msgspec.structs.replace(mdevs[place], **changes)
    return msgspec.structs.replace(FLEET, mdevs=tuple(mdevs))


def uuid_row(host: str, slot: int, place: int) -> str:
    return f"mdev:{fleets.mdev_uuid(host, slot, place)}"


def test_every_row_of_every_host_stands_for_something_or_for_nothing_that_could_be_changed() -> None:
    for host in FLEET.hosts:
        gpus = [g.address for g in host.gpus or ()]
        for row in device_tree(FLEET, host, gpus).rows:
            target = target_of(FLEET, host, row.id)
            assert target is not None
            assert target.host == host.name
            for key in ("mdev.create", "mdev.remove", "mdev.start", "mdev.autostart", "sriov.enable"):
                found = meant(FLEET, key, [target])
                assert found.why_not or found.devices or found.gpus


@pytest.mark.parametrize(
    ("host", "row", "action"),
    [
        ("gpu-01", f"gpu:{BOARD}", "mdev.create"),
        ("gpu-01", f"idle:{BOARD}", "mdev.create"),
        ("gpu-01", "vf:0000:41:01.0", "mdev.create"),
        ("gpu-01", uuid_row("gpu-01", 0, 0), "mdev.create"),
        ("gpu-05", f"gpu:{BOARD}", "mdev.create"),
        ("gpu-06", f"gpu:{BOARD}", "vgpu-type.set"),
        ("gpu-06", "vgpu:0000:41:00.4", "vgpu-type.set"),
    ],
)
def test_new_is_for_the_gpu_of_the_row_and_by_its_mechanism(host: str, row: str, action: str) -> None:
    assert on(host, row, "mdev.create") == Meant(action, gpus=(BOARD,))


def test_new_on_a_host_offers_all_its_gpus() -> None:
    found = meant(FLEET, "mdev.create", [DeviceTarget("gpu-02", "host")])
    assert found.gpus == (BOARD, "0000:81:00.0")


@pytest.mark.parametrize(
    ("host", "row", "key", "why"),
    [
        ("gpu-04", f"gpu:{BOARD}", "mdev.create", "virtual functions are off (v enables them)"),
        ("gpu-01", "vf:0000:41:00.4", "mdev.create", "0000:41:00.4 is taken: a function carries one vGPU"),
        ("gpu-05", f"gpu:{BOARD}", "sriov.enable", f"gpu-05 {BOARD} has no SR-IOV"),
        ("gpu-01", f"gpu:{BOARD}", "sriov.enable", f"all 16 virtual functions of gpu-01 {BOARD} are on"),
        ("gpu-01", f"gpu:{BOARD}", "mdev.remove", f"there is no vGPU on this row ({BOARD})"),
        ("gpu-01", "vf:0000:41:01.0", "mdev.start", "there is no vGPU on this row (0000:41:01.0)"),
        ("gpu-06", "vgpu:0000:41:00.4", "mdev.start", "x clears its type"),
        ("gpu-06", "vgpu:0000:41:00.4", "mdev.autostart", "x clears its type"),
    ],
)
def test_what_a_row_cannot_do_says_why(host: str, row: str, key: str, why: str) -> None:
    assert why in on(host, row, key).why_not


@pytest.mark.parametrize(
    ("host", "key", "why"),
    [
        ("gpu-01", "mdev.remove", "enter on a host shows its devices"),
        ("gpu-05", "sriov.enable", "gpu-05 has no SR-IOV"),
        ("gpu-04", "sriov.enable", "2 GPUs of gpu-04 have functions off"),
        ("gpu-01", "sriov.enable", "all 32 virtual functions of gpu-01 are on"),
        ("gpu-09", "mdev.create", "no source knows gpu-09 any more"),
    ],
)
def test_a_host_of_the_dashboard_says_why(host: str, key: str, why: str) -> None:
    assert why in meant(FLEET, key, [DeviceTarget(host, "host")]).why_not


def test_nothing_under_the_cursor_is_said() -> None:
    for key in ("mdev.create", "mdev.remove", "sriov.enable"):
        assert "under the cursor" in meant(FLEET, key, []).why_not


def test_a_host_that_was_not_read_says_what_failed() -> None:
    silent = msgspec.structs.replace(FLEET.hosts[3], gpus=None)
    shown = msgspec.structs.replace(FLEET, hosts=(silent,))
    for key in ("mdev.create", "sriov.enable"):
        why = meant(shown, key, [DeviceTarget("gpu-04", "host")]).why_not
        assert why == "the GPUs of gpu-04 are not known: libvirt: no answer within 5 s; ssh: no route to host"


def test_a_gpu_with_functions_off_can_enable_them() -> None:
    assert on("gpu-04", f"gpu:{BOARD}", "sriov.enable").gpus == (BOARD,)


@pytest.mark.parametrize(("state", "action"), [("active", "mdev.stop"), ("defined", "mdev.start")])
def test_one_key_starts_what_is_defined_and_stops_what_runs(state: str, action: str) -> None:
    shown = with_device(0, state=state)
    found = on("gpu-01", uuid_row("gpu-01", 0, 0), "mdev.start", shown)
    assert (found.action, found.why_not, len(found.devices)) == (action, "", 1)


def test_devices_in_both_states_are_not_toggled_together() -> None:
    shown = with_device(0, state="defined")
    found = on("gpu-01", uuid_row("gpu-01", 0, 0), "mdev.start", shown, uuid_row("gpu-01", 0, 1))
    assert "mark those of one kind" in found.why_not
    shown = with_device(0, state="unknown")
    assert on("gpu-01", uuid_row("gpu-01", 0, 0), "mdev.start", shown).why_not == "whether it runs is not known"


@pytest.mark.parametrize(("now", "then"), [(True, False), (False, True), (None, False)])
def test_autostart_is_turned_to_the_other(now: bool | None, then: bool) -> None:
    shown = with_device(0, autostart=now)
    assert on("gpu-01", uuid_row("gpu-01", 0, 0), "mdev.autostart", shown).on is then


def test_a_function_stands_for_the_device_on_it_and_both_are_one() -> None:
    found = on("gpu-01", "vf:0000:41:00.4", "mdev.remove", FLEET, uuid_row("gpu-01", 0, 0))
    assert [d.uuid for d in found.devices] == [fleets.mdev_uuid("gpu-01", 0, 0)]
    assert on("gpu-06", "vf:0000:41:00.4", "mdev.remove").action == "vgpu-type.clear"


def test_a_device_that_went_away_is_said() -> None:
    gone = DeviceTarget("gpu-01", "vgpu", uuid="0" * 36)
    assert "is not on gpu-01 any more" in meant(FLEET, "mdev.remove", [gone]).why_not
