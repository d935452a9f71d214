"""Switching virtual functions on: what is refused, what is told, and that only what is seen counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import NOW, check
from tests.actions.device_console import HostConsole
from vgpu_console.actions.plan import OperatorStep, Plan, PlanError, ShellStep
from vgpu_console.actions.runner import Outcome, apply
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.model.host_facts import LibvirtFacts, MdevFacts
from vgpu_console.simulator import open_demo

OFF, FULL = ("gpu-02", "0000:81:00.0"), ("gpu-01", "0000:41:00.0")


class PatientConsole(HostConsole):
    """The clock of its cloud moves while a plan waits: functions come one after the other."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        super().__init__(open_demo("small", clock=lambda: self.now, living=False), folder)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.cloud.advance()

    def patiently(self, plan: Plan, wait: Callable[[float], None] | None = None) -> Outcome:
        return apply(plan, self.fleet, self.journal, wait=wait or self.wait)


@pytest.fixture
def console(tmp_path: Path) -> PatientConsole:
    made = PatientConsole(tmp_path)
    made.read()
    return made


def planned(console: HostConsole, where: tuple[str, str] = OFF, *, by_console: bool = True) -> Plan:
    return plan_enable(console.facts, console.snapshot, *where, NOW, by_console=by_console)


def with_libvirt(console: HostConsole, host: str, **changes: object) -> HostConsole:
    """As if that host's libvirt had said something else."""
    facts = msgspec.structs.replace(console.facts.libvirt[host], **changes)
    libvirt: dict[str, LibvirtFacts] = {**console.facts.libvirt, host: facts}
    console.facts = msgspec.structs.replace(console.facts, libvirt=libvirt)
    return console.join()


def shrunk(console: HostConsole, host: str, gpu: str, on: int) -> HostConsole:
    """As if only so many functions of a GPU were on."""
    devices = console.facts.libvirt[host].devices
    board = next(d for d in devices if d.address == gpu)
    kept = (board.virtual_functions or ())[:on]
    rest = [d for d in devices if d.physical_function != gpu or d.address in kept]
    changed = [msgspec.structs.replace(d, virtual_functions=kept) if d.address == gpu else d for d in rest]
    return with_libvirt(console, host, devices=tuple(changed))


def test_the_operator_types_it_and_the_console_waits_until_it_sees_them(console: PatientConsole) -> None:
    plan = planned(console, by_console=False)
    (step,) = plan.steps
    assert isinstance(step, OperatorStep)
    assert step.command == "/usr/lib/nvidia/sriov-manage -e 0000:81:00.0"
    assert (plan.before, plan.after, plan.settle_s, plan.danger) == ({"vfs": 0}, {"vfs": 16}, 600.0, "risk")
    assert plan.commands == ("ssh gpu-02 sudo /usr/lib/nvidia/sriov-manage -e 0000:81:00.0",)
    assert plan.target.key == {"host": "gpu-02", "gpu": "0000:81:00.0"}
    assert not plan.blocked_by
    assert {c.status for c in plan.checks} == {"pass"}

    def operator(seconds: float) -> None:
        console.wait(seconds)
        if console.now == NOW + 60:  # the operator has come to it
            console.fleet.take(planned(console).steps[0])

    outcome = console.patiently(plan, operator)
    assert (outcome.result, outcome.observed) == ("done", {"vfs": 16})
    assert console.now > NOW + 60


def test_nobody_types_it(console: PatientConsole) -> None:
    outcome = console.patiently(planned(console, by_console=False))
    assert (outcome.result, outcome.observed, console.now) == ("unverified", {"vfs": 0}, NOW + 600)


def test_the_console_runs_it_and_reads_back(console: PatientConsole) -> None:
    plan = planned(console)
    assert [type(s) for s in plan.steps] == [ShellStep]
    outcome = console.patiently(plan)
    assert outcome.ok, outcome.message
    again = planned(console.read())
    assert (again.steps, again.before, again.after) == ((), {"vfs": 16}, {"vfs": 16})


def test_live_vgpus_are_named_and_forbid_it(console: HostConsole) -> None:
    plan = planned(shrunk(console, *FULL, 8), FULL)
    (blocked,) = plan.blocked_by
    assert blocked.id == "sriov.no-live-vgpus"
    server = next(m for m in console.snapshot.mdevs if m.host == "gpu-01" and m.gpu == FULL[1] and m.server)
    assert f"server {server.server} of project {server.project}" in blocked.evidence
    assert check(plan, "sriov.partial").status == "warn"
    assert console.apply(plan).result == "refused"


def test_a_shut_off_guest_forbids_nothing_and_is_named(console: HostConsole) -> None:
    shrunk(console, *FULL, 8)
    domains = tuple(msgspec.structs.replace(d, active=False) for d in console.facts.libvirt["gpu-01"].domains)
    plan = planned(with_libvirt(console, "gpu-01", domains=domains), FULL)
    found = check(plan, "sriov.no-live-vgpus")
    assert found.status == "pass"
    assert "(shut off)" in found.evidence


def test_a_guest_whose_device_is_not_listed_is_not_taken_for_elsewhere(console: HostConsole) -> None:
    """libvirt lists a new device seconds after the kernel has it; QEMU may have it open by then."""
    shrunk(console, *FULL, 8)
    plan = planned(with_libvirt(console, "gpu-01", mdevs=()), FULL)
    found = check(plan, "sriov.no-live-vgpus")
    assert found.status == "unknown"
    assert "libvirt does not tell on which GPU" in found.evidence
    assert "server vm-train-1 of project ml-research" in found.evidence
    assert console.apply(plan, accept=False).result == "refused"


def test_free_devices_are_told(console: HostConsole) -> None:
    shrunk(console, *FULL, 8)
    assert check(planned(with_libvirt(console, "gpu-01", domains=()), FULL), "sriov.free-devices").status == "warn"


def test_devices_that_wait_for_their_functions(console: HostConsole) -> None:
    lost = [
        MdevFacts(uuid=f"00000000-0000-4000-8000-00000000000{n}", type_id="nvidia-472", parent=parent, active=False,
                  persistent=True, autostart=auto)
        for n, (parent, auto) in enumerate([(None, True), ("0000:81:00.4", False), ("0000:41:00.4", True)])
    ]  # fmt: skip
    plan = planned(with_libvirt(console, "gpu-02", mdevs=tuple(lost)))
    evidence = check(plan, "sriov.nova").evidence
    assert evidence.startswith("2 defined devices wait for missing functions")
    assert any(
        line.startswith("of 2 devices that wait for missing functions 1 start by themselves") for line in plan.effect
    )


@pytest.mark.parametrize(("driver", "status"), [("vfio-pci", "fail"), (None, "unknown"), ("nvidia", "pass")])
def test_the_driver_that_the_gpu_is_bound_to(console: HostConsole, driver: str | None, status: str) -> None:
    devices = tuple(
        msgspec.structs.replace(d, driver=driver) if d.address == OFF[1] else d
        for d in console.facts.libvirt["gpu-02"].devices
    )
    ssh = console.facts.ssh["gpu-02"]
    pci = tuple(msgspec.structs.replace(p, driver=driver) if p.address == OFF[1] else p for p in ssh.pci)
    both = {**console.facts.ssh, "gpu-02": msgspec.structs.replace(ssh, pci=pci)}
    console.facts = msgspec.structs.replace(console.facts, ssh=both)
    assert check(planned(with_libvirt(console, "gpu-02", devices=devices)), "sriov.driver").status == status


def test_a_host_that_was_not_read_over_ssh(console: HostConsole) -> None:
    console.without("ssh", "gpu-02")
    assert check(planned(console), "sriov.path").status == "unknown"
    assert check(planned(console, by_console=False), "sriov.path").status == "pass"


def test_old_facts_are_refused(console: HostConsole) -> None:
    plan = plan_enable(console.facts, console.snapshot, *OFF, NOW + 3600, by_console=True)
    assert [c.id for c in plan.blocked_by] == ["sriov.fresh"]


@pytest.mark.parametrize(
    ("host", "gpu", "exit", "words"),
    [
        ("gpu-2", "0000:81:00.0", 2, "no host is called"),
        ("gpu-02", "0000:99:00.0", 2, "has no GPU at 0000:99:00.0"),
        ("gpu-04", "0000:41:00.0", 3, "not known"),
        ("gpu-05", "0000:41:00.0", 4, "has no virtual functions"),
    ],
)
def test_what_makes_no_sense(console: HostConsole, host: str, gpu: str, exit: int, words: str) -> None:
    with pytest.raises(PlanError, match=words) as raised:
        planned(console, (host, gpu))
    assert raised.value.exit == exit


def test_without_libvirt_nothing_is_known_of_guests(console: HostConsole) -> None:
    console.without("libvirt", "gpu-02")
    with pytest.raises(PlanError, match="libvirt has not been read") as raised:
        planned(console)
    assert raised.value.exit == 3


def test_a_plan_shown_twice_is_the_same_plan(console: HostConsole) -> None:
    assert planned(console).hash == planned(console.read()).hash
    assert planned(console).hash != planned(console, by_console=False).hash
