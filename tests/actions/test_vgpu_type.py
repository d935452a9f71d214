"""vGPUs of the vendor VFIO framework: types set and cleared through the shell, verified by reading sysfs again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import NOW, check, still_demo
from tests.actions.device_console import HostConsole
from vgpu_console.actions.plan import Plan, PlanError, ShellStep
from vgpu_console.actions.vgpu_type import plan_clear_type, plan_set_type
from vgpu_console.model.host_facts import PciSysfs

HOST, GPU = "gpu-06", "0000:41:00.0"
USED, FREE = "0000:41:00.4", "0000:41:00.7"


@pytest.fixture
def console(tmp_path: Path) -> HostConsole:
    """An L40S with three of its 32 functions typed, two of them held by servers."""
    return HostConsole(still_demo(), tmp_path).read()


def setting(
    console: HostConsole, type_text: str = "L40S-12Q", count: int = 1, function: str | None = None
) -> tuple[Plan, ...]:
    return plan_set_type(console.facts, console.snapshot, HOST, GPU, type_text, count, now=NOW, function=function)


def clearing(console: HostConsole, function: str) -> Plan:
    return plan_clear_type(console.facts, console.snapshot, HOST, function, NOW)


def functions(console: HostConsole) -> dict[str, PciSysfs]:
    return {p.address: p for p in console.facts.ssh[HOST].pci if p.physical_function == GPU}


def unused(console: HostConsole) -> str:
    """A typed function that no guest holds."""
    return next(m.parent for m in console.snapshot.mdevs if m.host == HOST and not m.used and m.parent)


def with_conf(console: HostConsole, conf: dict[str, str] | None) -> HostConsole:
    ssh = {**console.facts.ssh, HOST: msgspec.structs.replace(console.facts.ssh[HOST], nova_conf=conf)}
    console.facts = msgspec.structs.replace(console.facts, ssh=ssh)
    return console.join()


@pytest.mark.parametrize("text", ["L40S-12Q", "NVIDIA L40S-12Q", "l40s-12q"])
def test_a_type_is_set_and_read_back(console: HostConsole, text: str) -> None:
    (plan,) = setting(console, text)
    (step,) = plan.steps
    assert isinstance(step, ShellStep)
    number = plan.after["type"]
    assert (step.call, step.address, step.value) == ("set-vgpu-type", FREE, number)
    assert (plan.before, plan.danger, plan.settle_s) == ({"type": 0}, "change", 15.0)
    path = f"/sys/bus/pci/devices/{FREE}/nvidia/current_vgpu_type"
    assert plan.commands == (f'ssh gpu-06 "echo {number} | sudo tee {path}"',)
    assert console.apply(plan).ok
    assert functions(console.read())[FREE].current_vgpu_type == number


def test_only_the_real_maximum_can_be_made(console: HostConsole) -> None:
    """An L40S carries four of 12Q: one more beside the three that are there."""
    with pytest.raises(PlanError, match="room for 1 more L40S-12Q, not for 2") as raised:
        setting(console, count=2)
    assert raised.value.exit == 4
    assert console.apply(setting(console)[0]).ok
    with pytest.raises(PlanError, match="L40S-12Q") as raised:
        setting(console.read())
    assert raised.value.exit == 4


def test_the_first_plan_of_several_does_not_spoil_the_next(console: HostConsole) -> None:
    for function in (unused(console),):
        assert console.apply(clearing(console, function)).ok
    plans = setting(console.read(), count=2)
    assert len({p.target.id for p in plans}) == 2
    assert [o.result for o in console.apply_all(plans)] == ["done", "done"]


def test_a_type_that_is_there_already_is_no_step(console: HostConsole) -> None:
    (plan,) = setting(console, function=USED)
    assert (plan.steps, plan.changes_nothing) == ((), True)


def test_clearing_a_free_one_and_its_way_back(console: HostConsole) -> None:
    function = unused(console)
    plan = clearing(console, function)
    assert plan.danger == "destroy"
    assert not plan.blocked_by
    assert console.apply(plan).ok
    console.read()
    assert functions(console)[function].current_vgpu_type == 0
    back = setting(console, function=function)[0]
    assert back.steps == plan.inverse
    assert console.apply(back).ok
    assert clearing(console, FREE).changes_nothing


def test_a_function_that_a_guest_has_is_refused_and_its_server_named(console: HostConsole) -> None:
    held = next(m for m in console.snapshot.mdevs if m.host == HOST and m.used)
    plan = clearing(console, held.parent or "")
    blocked = next(c for c in plan.blocked_by if c.id == "vfio.not-open")
    assert f"server {held.server} of project {held.project}" in blocked.evidence
    assert console.apply(plan).result == "refused"


def test_a_guest_that_is_shut_off_holds_it_too(console: HostConsole) -> None:
    libvirt = console.facts.libvirt[HOST]
    off = tuple(msgspec.structs.replace(d, active=False) for d in libvirt.domains)
    console.facts = msgspec.structs.replace(
        console.facts, libvirt={**console.facts.libvirt, HOST: msgspec.structs.replace(libvirt, domains=off)}
    )
    held = next(m for m in console.join().snapshot.mdevs if m.host == HOST and m.used)
    assert "(shut off)" in check(clearing(console, held.parent or ""), "vfio.not-open").evidence


def test_after_a_boot_a_guest_that_is_shut_off_is_given_its_type_back(console: HostConsole) -> None:
    held = next(m for m in console.snapshot.mdevs if m.host == HOST and m.used)
    guest = next(g for g in console.cloud.state.hosts[HOST].guests.values() if held.parent in g.pci)
    gpu = console.cloud.state.hosts[HOST].gpu_of(held.parent or "")
    assert gpu is not None
    del gpu.current_types[held.parent or ""]
    console.read()
    assert check(setting(console, function=held.parent)[0], "vfio.not-open").status == "fail", "it runs"
    guest.active = False
    gpu.claimed.pop(held.parent or "")
    console.read()
    plan = setting(console, function=held.parent)[0]
    given = check(plan, "vfio.not-open")
    assert given.status == "warn"
    assert f"given back to server {held.server}" in given.evidence
    assert console.apply(plan).ok


def test_guests_that_could_not_be_read_are_no_pass(console: HostConsole) -> None:
    function = unused(console)
    console.without("libvirt", HOST)
    assert check(clearing(console, function), "vfio.not-open").status == "unknown"
    assert check(setting(console)[0], "vfio.not-open").status == "unknown"


@pytest.mark.parametrize(
    ("conf", "set_status", "clear_status"),
    [
        (None, "unknown", "unknown"),
        ({}, "warn", "pass"),
        ({"pci.device_spec": '{"address": "0000:41:00.0"}'}, "warn", "warn"),
        ({"pci.device_spec": '{"address": "*:41:*.*", "managed": "no", "live_migratable": "yes"}'}, "pass", "warn"),
    ],
)
def test_what_nova_does_with_it(
    console: HostConsole, conf: dict[str, str] | None, set_status: str, clear_status: str
) -> None:
    with_conf(console, conf)
    assert check(setting(console)[0], "vfio.device-spec").status == set_status
    assert check(clearing(console, unused(console)), "vfio.device-spec").status == clear_status


def test_functions_that_nova_hands_out_are_used_first(console: HostConsole) -> None:
    with_conf(console, {"pci.device_spec": '{"address": "0000:41:01.3", "managed": "no"}'})
    assert setting(console)[0].target.key["function"] == "0000:41:01.3"


def test_an_allocation_without_a_guest_is_told(console: HostConsole) -> None:
    function = unused(console)
    libvirt = console.facts.libvirt[HOST]
    console.facts = msgspec.structs.replace(
        console.facts, libvirt={**console.facts.libvirt, HOST: msgspec.structs.replace(libvirt, domains=())}
    )
    assert check(clearing(console.join(), function), "vfio.allocated").status == "warn"


@pytest.mark.parametrize(
    ("host", "gpu", "type_text", "count", "function", "exit", "words"),
    [
        (HOST, GPU, "L40S-99Q", 1, None, 2, "no vGPU type"),
        (HOST, GPU, "L40S-12Q", 0, None, 2, "at least 1"),
        (HOST, GPU, "L40S-12Q", 2, FREE, 2, "either a function or a number"),
        (HOST, GPU, "L40S-12Q", 1, GPU, 2, "the GPU itself"),
        (HOST, GPU, "L40S-12Q", 1, "0000:41:1f.7", 2, "no virtual function"),
        ("gpu-01", GPU, "A100-20C", 1, None, 4, "carries mediated devices"),
        ("gpu-04", GPU, "A100-10C", 1, None, 3, "not known"),
    ],
)
def test_what_makes_no_sense(
    console: HostConsole, host: str, gpu: str, type_text: str, count: int, function: str | None, exit: int, words: str
) -> None:
    with pytest.raises(PlanError, match=words) as raised:
        plan_set_type(console.facts, console.snapshot, host, gpu, type_text, count, now=NOW, function=function)
    assert raised.value.exit == exit


def test_without_ssh_the_types_are_not_known(console: HostConsole) -> None:
    console.without("ssh", HOST)
    with pytest.raises(PlanError) as raised:
        setting(console)
    assert raised.value.exit == 3


def test_another_hand_was_faster(console: HostConsole) -> None:
    (plan,) = setting(console)
    assert console.apply(plan).ok
    outcome = console.apply(plan)
    assert outcome.result == "moved"
