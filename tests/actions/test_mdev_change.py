"""Removing, starting and stopping devices: never one that somebody uses, and always with the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.actions.demo import NOW, check, still_demo
from tests.actions.device_console import ONE_A100, HostConsole, demo_of
from vgpu_console.actions.mdev_change import plan_autostart, plan_remove, plan_start, plan_stop
from vgpu_console.actions.mdev_create import plan_create
from vgpu_console.actions.observe_devices import mdev_state
from vgpu_console.actions.plan import DeviceStep, Plan, PlanError
from vgpu_console.model.host_facts import DomainFacts
from vgpu_console.model.snapshot import Migration

A100 = "0000:41:00.0"


@pytest.fixture
def one(tmp_path: Path) -> HostConsole:
    """An A100 with one persistent 20C that nobody holds, on its first function."""
    console = HostConsole(demo_of(tmp_path, ONE_A100), tmp_path / "j").read()
    (plan,) = plan_create(console.facts, console.snapshot, "gpu-01", A100, "20C", now=NOW)
    assert console.apply(plan).ok
    return console.read()


@pytest.fixture
def fleet(tmp_path: Path) -> HostConsole:
    return HostConsole(still_demo(), tmp_path / "j").read()


def only(console: HostConsole, host: str = "gpu-01") -> str:
    return next(m.uuid or "" for m in console.snapshot.mdevs if m.host == host)


def held_by(console: HostConsole, server: str) -> str:
    return next(m.uuid or "" for m in console.snapshot.mdevs if m.server == server)


def free_on(console: HostConsole, host: str) -> str:
    return next(m.uuid or "" for m in console.snapshot.mdevs if m.host == host and not m.used)


def call(plan: Callable[..., Plan], console: HostConsole, uuid: str, host: str | None = None, **more: Any) -> Plan:
    return plan(console.facts, console.snapshot, host, uuid, NOW, **more)


def calls(steps: tuple[Any, ...]) -> list[str]:
    return [s.call for s in steps if isinstance(s, DeviceStep)]


def state(console: HostConsole, plan: Plan) -> dict[str, Any]:
    facts = console.fleet.libvirt_facts(plan.target.key["host"] or "")
    return mdev_state(facts, plan.target.key["uuid"] or "", plan.target.key["function"] or "")


def take(console: HostConsole, steps: tuple[Any, ...]) -> None:
    for step in steps:
        console.fleet.take(step)


def test_a_free_device_is_removed_and_its_inverse_brings_it_back(one: HostConsole) -> None:
    plan = call(plan_remove, one, only(one)[:8])
    assert (plan.action, plan.danger) == ("mdev.remove", "destroy")
    assert plan.target.name == f"gpu-01 {only(one)[:8]}"
    assert calls(plan.steps) == ["stop", "undefine"]
    assert {c.status for c in plan.checks} == {"pass"}
    assert f"GPU {A100} runs nothing then and takes any size" in plan.effect
    assert [c for c in plan.commands if c.startswith("mdevctl")] == [
        f"mdevctl stop --uuid {only(one)}",
        f"mdevctl undefine --uuid {only(one)}",
    ]
    assert one.apply(plan).ok
    assert not one.host("gpu-01").gpus[0].mdevs
    assert calls(plan.inverse) == ["define", "autostart-on", "start"]
    take(one, plan.inverse)
    assert state(one, plan) == plan.before


def test_a_transient_device_comes_back_transient(tmp_path: Path) -> None:
    console = HostConsole(demo_of(tmp_path, ONE_A100), tmp_path / "j").read()
    (made,) = plan_create(console.facts, console.snapshot, "gpu-01", A100, "20C", persistent=False, now=NOW)
    assert console.apply(made).ok
    plan = call(plan_remove, console.read(), only(console))
    assert (calls(plan.steps), calls(plan.inverse)) == (["stop"], ["create"])
    assert console.apply(plan).ok
    take(console, plan.inverse)
    assert state(console, plan) == plan.before


def test_a_device_that_is_merely_defined_loses_its_definition_only(fleet: HostConsole) -> None:
    plan = call(plan_remove, fleet, free_on(fleet, "gpu-03"))
    assert calls(plan.steps) == ["undefine"]
    assert calls(plan.inverse) == ["define", "autostart-on"]
    assert fleet.apply(plan).ok
    take(fleet, plan.inverse)
    assert state(fleet, plan) == plan.before


@pytest.mark.parametrize("make", [plan_remove, plan_stop])
def test_a_device_in_use_names_server_and_project(fleet: HostConsole, make: Callable[..., Plan]) -> None:
    plan = call(make, fleet, held_by(fleet, "vm-train-1"))
    unused, allocated = check(plan, "mdev.unused"), check(plan, "mdev.allocation")
    assert (unused.status, allocated.status) == ("fail", "fail")
    assert unused.evidence == "server vm-train-1 of project ml-research runs with it (domain instance-00000001)"
    assert allocated.evidence == "gpu-01_pci_0000_41_00_4 is allocated to server vm-train-1 of project ml-research"
    outcome = fleet.apply(plan)
    assert outcome.result == "refused"
    assert "vm-train-1 of project ml-research" in outcome.message
    assert state(fleet, plan) == plan.before


def test_a_guest_that_is_shut_off_still_has_its_device(fleet: HostConsole) -> None:
    uuid = held_by(fleet, "desk-11")
    found = next(g for g in fleet.host("gpu-05").guests.values() if g.title == "desk-11")
    found.active = False
    plan = call(plan_remove, fleet.read(), uuid)
    assert check(plan, "mdev.unused").status == "fail"
    assert "server desk-11 of project vdi is shut off and names it" in check(plan, "mdev.unused").evidence


def test_a_guest_that_nova_does_not_know_is_named_by_its_domain(one: HostConsole) -> None:
    libvirt = one.facts.libvirt["gpu-01"]
    guest = DomainFacts(uuid="11111111-0000-4000-8000-000000000001", name="by-hand", active=None, mdevs=(only(one),))
    facts = msgspec.structs.replace(libvirt, domains=(guest,))
    one.facts = msgspec.structs.replace(one.facts, libvirt={"gpu-01": facts})
    found = check(call(plan_remove, one.join(), only(one)), "mdev.unused")
    assert found.status == "fail"
    assert "domain by-hand (11111111-0000-4000-8000-000000000001), no server that Nova tells of" in found.evidence


def test_a_server_that_boots_on_the_function_holds_the_device_already(one: HostConsole) -> None:
    placement = one.cloud.state.placement
    provider = placement.by_name["gpu-01_pci_0000_41_00_4"]
    placement.allocate("leaked", {provider.uuid: {"VGPU": 1}}, "nobody", "admin")
    found = check(call(plan_remove, one.read(), only(one)), "mdev.allocation")
    assert found.status == "fail"
    assert "leaked, neither a server nor a migration that Nova tells of" in found.evidence


def test_on_a_gpu_of_several_devices_only_more_allocations_than_holders_are_doubtful(fleet: HostConsole) -> None:
    uuid = free_on(fleet, "gpu-05")
    assert check(call(plan_remove, fleet, uuid), "mdev.allocation").status == "pass"
    (more,) = plan_create(fleet.facts, fleet.snapshot, "gpu-05", A100, "T4-4Q", now=NOW)
    assert fleet.apply(more).ok
    fleet.read()
    free = more.target.key["uuid"] or ""
    assert check(call(plan_remove, fleet, free), "mdev.allocation").status == "pass"
    placement = fleet.cloud.state.placement
    provider = placement.by_name["gpu-05_pci_0000_41_00_0"]
    placement.allocate("booting", {provider.uuid: {"VGPU": 1}}, "nobody", "admin")
    found = check(call(plan_remove, fleet.read(), free), "mdev.allocation")
    assert found.status == "warn"
    assert "booting" in found.evidence


@pytest.mark.parametrize("ends", [("gpu-01", "gpu-02"), ("gpu-02", "gpu-01")])
def test_a_live_migration_to_or_from_the_host_forbids_it(one: HostConsole, ends: tuple[str, str]) -> None:
    moving = Migration(
        uuid="m", server_id="s", server="vm-train-7", project="ml-research", source=ends[0], destination=ends[1],
        status="running", running=True, vgpu=True,
    )  # fmt: skip
    one.snapshot = msgspec.structs.replace(one.snapshot, migrations=(moving,))
    found = check(call(plan_remove, one, only(one)), "mdev.migration")
    assert found.status == "fail"
    assert f"vm-train-7 of project ml-research {ends[0]} -> {ends[1]}" in found.evidence
    plain = msgspec.structs.replace(moving, vgpu=False)
    one.snapshot = msgspec.structs.replace(one.snapshot, migrations=(plain,))
    assert check(call(plan_remove, one, only(one)), "mdev.migration").status == "pass"


def test_what_could_not_be_asked_is_not_taken_for_good(one: HostConsole) -> None:
    one.facts = msgspec.structs.replace(one.facts, nova=None, placement=None)
    plan = call(plan_remove, one.join(), only(one))
    assert {c.id for c in plan.needs_override} == {"mdev.allocation", "mdev.migration"}
    assert one.apply(plan, accept=False).result == "refused"


def test_without_libvirt_nothing_is_known_of_guests(one: HostConsole) -> None:
    uuid = only(one)
    with pytest.raises(PlanError) as unread:
        call(plan_remove, one.without("libvirt", "gpu-01"), uuid, "gpu-01")
    assert unread.value.exit == 3
    assert "the devices of gpu-01 are not known: libvirt: gpu-01: no route to host" in str(unread.value)


def test_stopping_leaves_the_definition_and_says_what_nova_makes_of_it(one: HostConsole) -> None:
    plan = call(plan_stop, one, only(one))
    assert (plan.danger, calls(plan.steps), calls(plan.inverse)) == ("risk", ["stop"], ["start"])
    assert "it stays defined" in plan.effect[0]
    assert any(line.startswith("Nova counts 0000:41:00.4 twice") for line in plan.effect)
    assert one.apply(plan).ok
    one.cloud.compute.update_inventories(one.host("gpu-01"))
    one.read()
    provider = next(p for p in one.snapshot.providers if p.device == "0000:41:00.4")
    assert [i.total for i in provider.inventories or ()] == [2]
    again = call(plan_stop, one, only(one))
    assert (again.steps, again.effect) == ((), ("it is not running",))
    start = call(plan_start, one, only(one))
    assert {c.status for c in start.checks} == {"pass"}
    assert one.apply(start).ok
    one.read()
    assert call(plan_start, one, only(one)).changes_nothing


def test_stopping_a_transient_device_ends_it(tmp_path: Path) -> None:
    console = HostConsole(demo_of(tmp_path, ONE_A100), tmp_path / "j").read()
    (made,) = plan_create(console.facts, console.snapshot, "gpu-01", A100, "20C", persistent=False, now=NOW)
    assert console.apply(made).ok
    plan = call(plan_stop, console.read(), only(console))
    assert plan.after["state"] == "absent"
    assert "it is transient: it is gone then" in plan.effect[0]
    assert console.apply(plan).ok
    take(console, plan.inverse)
    assert state(console, plan) == plan.before


def test_a_device_cannot_start_where_another_size_runs(one: HostConsole) -> None:
    assert one.apply(call(plan_stop, one, only(one))).ok
    gpu = one.host("gpu-01").gpus[0]
    gpu.create("0e0e0e0e-0000-4000-8000-000000000001", "nvidia-471", "0000:41:00.7", persistent=False)
    one.read()
    uuid = next(m.uuid or "" for m in one.snapshot.mdevs if m.state == "defined")
    plan = call(plan_start, one, uuid)
    assert {c.id: c.status for c in plan.checks if c.status == "fail"} == {"mdev.room": "fail", "mdev.one-size": "fail"}
    assert check(plan, "mdev.one-size").evidence == "the GPU runs A100-10C, which is another size"


def test_a_device_whose_function_is_gone_can_only_be_removed(one: HostConsole) -> None:
    uuid = only(one)
    one.host("gpu-01").gpus[0].set_vfs(0)
    one.read()
    with pytest.raises(PlanError, match="is not there") as gone:
        call(plan_start, one, uuid)
    assert gone.value.exit == 4
    plan = call(plan_remove, one, uuid)
    assert (calls(plan.steps), plan.inverse) == (["undefine"], ())
    assert "cannot be made again before it is back" in plan.inverse_note
    assert one.apply(plan).ok


def test_autostart_goes_on_and_off(one: HostConsole) -> None:
    off = call(plan_autostart, one, only(one), on=False)
    assert (calls(off.steps), calls(off.inverse), off.danger) == (["autostart-off"], ["autostart-on"], "change")
    assert one.apply(off).ok
    one.read()
    assert call(plan_autostart, one, only(one), on=False).changes_nothing
    on = call(plan_autostart, one, only(one), on=True)
    assert "once sriov-manage has run" in on.effect[0]
    assert one.apply(on).ok


def test_autostart_of_a_device_in_use_is_allowed(fleet: HostConsole) -> None:
    plan = call(plan_autostart, fleet, held_by(fleet, "vm-train-1"), on=False)
    assert fleet.apply(plan, accept=False).ok


def test_what_cannot_start_by_itself_says_so(one: HostConsole) -> None:
    uuid = only(one)
    libvirt = one.facts.libvirt["gpu-01"]

    def with_flags(persistent: bool | None, autostart: bool | None) -> None:
        mdev = msgspec.structs.replace(libvirt.mdevs[0], persistent=persistent, autostart=autostart)
        facts = msgspec.structs.replace(libvirt, mdevs=(mdev,), libvirt_version="7.5.0")
        one.facts = msgspec.structs.replace(one.facts, libvirt={"gpu-01": facts})
        one.join()

    with_flags(False, False)
    with pytest.raises(PlanError, match="is transient"):
        call(plan_autostart, one, uuid, on=True)
    with_flags(None, None)
    with pytest.raises(PlanError, match=r"libvirt 7.5.0 tells nothing of autostart"):
        call(plan_autostart, one, uuid, on=True)
    with pytest.raises(PlanError, match="does not tell whether"):
        call(plan_stop, one, uuid)
    assert calls(call(plan_remove, one, uuid).steps) == ["stop", "undefine"]


def test_a_device_taken_meanwhile_is_not_touched(one: HostConsole) -> None:
    plan = call(plan_remove, one, only(one))
    libvirt_host = one.host("gpu-01")
    libvirt_host.gpus[0].undefine(next(libvirt_host.gpus[0].all_mdevs()))
    outcome = one.apply(plan)
    assert outcome.result == "moved"
    assert "persistent was True and is False" in outcome.message


def test_a_vendor_framework_type_is_no_mediated_device(fleet: HostConsole) -> None:
    with pytest.raises(PlanError, match="clear the type"):
        call(plan_remove, fleet, "0000:41:00.4", "gpu-06")
