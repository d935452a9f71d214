"""Plans on hosts, applied to the embedded cloud through the runtime's own world: what is true afterwards, and what is
said when a host breaks, forbids it, or has changed meanwhile. The plans are written by hand: what is tested is the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.observe_devices import NO_MDEV
from vgpu_console.actions.plan import DeviceStep, OperatorStep, Plan, ShellStep, Step, Target, sealed
from vgpu_console.actions.runner import Outcome, apply, apply_all
from vgpu_console.actions.unfinished import look_at, state_word
from vgpu_console.config import DemoChoice, Settings, SshSettings, load
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.faults import DeviceFault

HOST, GPU, FUNCTION, TYPE = "gpu-02", "0000:41:00.0", "0000:41:01.2", "nvidia-472"
UUID = "11111111-2222-3333-4444-555555555555"


def create(host: str = HOST, function: str = FUNCTION, type_id: str = TYPE, uuid: str = UUID) -> Plan:
    """A persistent device: define, autostart, start."""
    steps = (
        DeviceStep(title="define it", host=host, call="define", uuid=uuid, function=function, type_id=type_id),
        DeviceStep(title="start it with its parent", host=host, call="autostart-on", uuid=uuid),
        DeviceStep(title="start it", host=host, call="start", uuid=uuid),
    )
    there = {"state": "active", "type": type_id, "function": function, "persistent": True, "autostart": True}
    return sealed(
        Plan(
            action="mdev.create",
            title=f"{type_id} on {host} {function}",
            target=Target(
                kind="mediated device",
                id=f"{host} {uuid}",
                name=f"{host} {uuid[:8]}",
                key={"host": host, "gpu": GPU, "function": function, "uuid": uuid, "type": type_id},
            ),
            before={**NO_MDEV, "beside": []},
            after={**there, "held_by": None, "beside": []},
            steps=steps,
            settle_s=15.0,
        )
    )


def set_type(function: str = "0000:41:00.7", before: int = 0, after: int = 1155, host: str = "gpu-06") -> Plan:
    """A vGPU type on a vendor VFIO virtual function."""
    step = ShellStep(title="set it", host=host, call="set-vgpu-type", address=function, value=after)
    return sealed(
        Plan(
            action="vgpu-type.set" if after else "vgpu-type.clear",
            title=f"{after} on {host} {function}",
            target=Target(
                kind="virtual function",
                id=f"{host} {function}",
                name=f"{host} {function}",
                key={"host": host, "gpu": GPU, "function": function},
            ),
            before={"type": before},
            after={"type": after},
            steps=(step,),
        )
    )


def enable(step: Step, before: int = 0, settle_s: float = 60.0) -> Plan:
    """All virtual functions of the GPU of gpu-02 that lost them."""
    return sealed(
        Plan(
            action="sriov.enable",
            title="virtual functions of gpu-02 0000:81:00.0",
            target=Target(
                kind="physical GPU",
                id="gpu-02 0000:81:00.0",
                name="gpu-02 0000:81:00.0",
                key={"host": "gpu-02", "gpu": "0000:81:00.0"},
            ),
            before={"vfs": before},
            after={"vfs": 16},
            steps=(step,),
            settle_s=settle_s,
        )
    )


BY_CONSOLE = ShellStep(title="enable them", host="gpu-02", call="enable-vfs", address="0000:81:00.0")
BY_OPERATOR = OperatorStep(title="run it", host="gpu-02", command="/usr/lib/nvidia/sriov-manage -e 0000:81:00.0")


class Console:
    """A fleet on the embedded cloud, whose clock moves with the waiting of the runner."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.now = 1_800_000_000.0
        self.fleet = Fleet(settings, DemoChoice(), clock=lambda: self.now)
        assert self.fleet._demo is not None
        self.cloud: DemoCloud = self.fleet._demo
        self.cloud.life.living = False
        self.world: FleetWorld = self.fleet.world()
        self.journal = Journal(folder / "journal.jsonl", clock=lambda: self.now)
        self.words: list[str] = []

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def apply(self, plan: Plan, **more: Any) -> Outcome:
        def progress(_plan: Plan, _taken: int, word: str) -> None:
            self.words.append(word)

        return apply(plan, self.world, self.journal, wait=self.wait, progress=progress, **more)

    def results(self) -> list[str | None]:
        return [e.result for e in self.journal.entries() if e.event == "ended"]


Make = Callable[..., Console]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Console] = []

    def make(**settings: Any) -> Console:
        console = Console(tmp_path, Settings(**settings))
        made.append(console)
        return console

    yield make
    for console in made:
        console.fleet.close()


@pytest.fixture
def console(make: Make) -> Console:
    return make()


def test_a_device_is_made_and_read_back(console: Console) -> None:
    outcome = console.apply(create())
    assert (outcome.result, outcome.message) == ("done", "applied and read back")
    found = console.cloud.state.hosts[HOST].find_mdev(UUID)
    assert found is not None
    assert (found[1].active, found[1].persistent, found[1].autostart) == (True, True, True)
    steps = [(e.event, e.step, e.message) for e in console.journal.entries()]
    assert [e for e, _, _ in steps] == ["begun", "step", "step", "step", "ended"]


def test_lists_that_are_behind_do_not_make_it_fail(console: Console) -> None:
    console.cloud.faults.stale_s[HOST] = 2.0
    console.world._hosts._of(HOST)._wait = console.wait  # its patience passes on the same clock
    outcome = console.apply(create())
    assert outcome.result == "done", outcome.message
    assert any(
        word.startswith("waiting: state absent so far, wanted active") or "so far" in word for word in console.words
    )


def test_a_start_that_is_refused_says_what_is_there_now(console: Console) -> None:
    console.cloud.faults.devices[HOST] = DeviceFault(kind="broken", call="virNodeDeviceCreate")
    outcome = console.apply(create())
    assert (outcome.result, outcome.steps_taken) == ("failed", 2)
    assert outcome.message.startswith(f"{HOST}: libvirt: internal error: Unable to finish virNodeDeviceCreate")
    assert "now: state defined" in outcome.message


@pytest.mark.parametrize(
    ("obeyed", "stays_down", "result", "said"),
    [
        (True, False, "failed", "nobody knows whether it was obeyed; now: state defined"),
        (False, False, "failed", "nobody knows whether it was obeyed; nothing was changed"),
        (True, True, "failed", "0 of 3 steps were taken; what is true now could not be read: gpu-02: libvirt:"),
    ],
)
def test_libvirtd_dies_in_the_middle(console: Console, obeyed: bool, stays_down: bool, result: str, said: str) -> None:
    console.cloud.faults.devices[HOST] = DeviceFault(kind="dies", obeyed=obeyed, stays_down=stays_down, times=1)
    outcome = console.apply(create())
    assert outcome.result == result
    assert said in outcome.message
    assert console.journal.unfinished() == ()


def test_the_last_step_of_a_daemon_that_dies_may_have_been_obeyed(console: Console) -> None:
    console.cloud.faults.devices[HOST] = DeviceFault(kind="dies", call="virNodeDeviceCreate", obeyed=True, times=1)
    outcome = console.apply(create())
    assert outcome.result == "done"
    assert "the change is there" in outcome.message


def test_a_line_that_is_cut_before_the_first_look_sends_nothing(console: Console) -> None:
    console.cloud.faults.libvirt[HOST] = "closed"
    outcome = console.apply(create())
    assert outcome.result == "refused"
    assert outcome.message.startswith("cannot be re-checked, nothing was sent: gpu-02: libvirt:")


def test_two_consoles_at_once_the_second_is_told_that_the_world_moved(console: Console, tmp_path: Path) -> None:
    plan = create()
    other = create(uuid="99999999-2222-3333-4444-555555555555")
    assert console.apply(plan).ok
    again, beside = console.apply(plan), console.apply(other)
    assert [again.result, beside.result] == ["moved", "moved"]
    assert "state was absent and is active" in again.message
    assert f"beside was [] and is ['{UUID}']" in beside.message


def test_a_read_only_console_opens_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    console = make(read_only=True)
    opened: list[tuple[str, bool]] = []
    opener = console.cloud.hub.open

    def watched(uri: str, read_only: bool) -> Any:
        opened.append((uri, read_only))
        return opener(uri, read_only)

    monkeypatch.setattr(console.cloud.hub, "open", watched)
    for plan in (create(), set_type(), enable(BY_CONSOLE)):
        outcome = console.apply(plan)
        assert (outcome.result, outcome.message) == ("refused", "this console is read-only")
        for step in plan.steps:
            assert "read-only" in console.world.refuses(step)
    assert opened == []
    assert list(console.journal.entries()) == []
    assert console.world.observe(create()) == create().before  # looking is allowed, by a read-only connection
    assert opened == [(f"demo://{HOST}/system", True)]


def test_a_user_who_may_only_read_is_refused_before_anything_is_sent(console: Console) -> None:
    console.cloud.faults.devices[HOST] = DeviceFault(kind="denied")
    outcome = console.apply(create())
    assert outcome.result == "refused"
    assert outcome.message == (
        "cannot be re-checked, nothing was sent: gpu-02: this user may not change anything through libvirt: "
        "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'"
    )
    assert console.results() == ["refused"]


def test_an_access_driver_that_forbids_the_call(console: Console) -> None:
    console.cloud.faults.devices[HOST] = DeviceFault(kind="acl")
    outcome = console.apply(create())
    assert (outcome.result, outcome.steps_taken) == ("failed", 0)
    assert outcome.message == (
        "gpu-02: this user may not do this through libvirt: access denied: 'nodedev' denied access; nothing was changed"
    )


def test_a_type_is_set_and_cleared_over_ssh(console: Console) -> None:
    assert console.apply(set_type()).ok
    gpu = console.cloud.state.hosts["gpu-06"].gpus[0]
    assert gpu.current_types["0000:41:00.7"].number == 1155
    outcome = console.apply(set_type(before=1155, after=0))
    assert (outcome.result, "0000:41:00.7" in gpu.current_types) == ("done", False)
    held = next(iter(gpu.claimed))
    refused = console.apply(set_type(function=held, before=1155, after=0))
    assert refused.result == "failed"
    assert "Device or resource busy; nothing was changed" in refused.message


def test_without_the_right_over_ssh_nothing_is_sent(make: Make) -> None:
    settings = load({"ssh.changes": (False, "--option")}, environ={})
    console = make(origins=settings.origins, ssh=SshSettings(changes=False))
    assert not console.world.shell_changes
    outcome = console.apply(set_type())
    assert (outcome.result, outcome.message) == (
        "refused",
        "nothing was sent: SSH may only read here: [ssh] changes is not set",
    )
    assert console.cloud.state.hosts["gpu-06"].gpus[0].current_types.get("0000:41:00.7") is None
    assert list(console.journal.entries()) == []


def test_a_sudo_that_says_no(console: Console) -> None:
    console.cloud.faults.no_sudo.add("gpu-06")
    outcome = console.apply(set_type())
    assert outcome.result == "failed"
    assert outcome.message == (
        "gpu-06: this user may not do it, nothing was run: sudo: a password is required; nothing was changed"
    )


def test_virtual_functions_come_one_by_one_and_are_counted_on_the_way(console: Console) -> None:
    outcome = console.apply(enable(BY_CONSOLE))
    assert outcome.result == "done", outcome.message
    counted = [word for word in console.words if word.startswith("waiting: vfs ")]
    assert counted[0] == "waiting: vfs 1 so far, wanted 16"
    assert len(set(counted)) > 3


def test_an_operators_own_step_is_waited_for(console: Console) -> None:
    def wait(seconds: float) -> None:
        console.wait(seconds)
        if console.now > 1_800_000_003:
            console.cloud.state.hosts["gpu-02"].gpus[1].set_vfs(16)

    outcome = apply(enable(BY_OPERATOR), console.world, console.journal, wait=wait)
    assert outcome.result == "done"
    never = apply(enable(BY_OPERATOR, settle_s=2), console.world, console.journal, wait=lambda _: None)
    assert never.result == "moved"  # they are all there


def test_nothing_more_is_made_after_the_first_that_failed(console: Console) -> None:
    uuids = [f"{n}1111111-2222-3333-4444-555555555555" for n in range(3)]
    functions = [FUNCTION, "0000:41:01.3", "0000:41:01.4"]
    plans = [create(function=f, uuid=u) for f, u in zip(functions, uuids, strict=True)]
    outcomes = apply_all(plans, console.world, console.journal, stop_at_first=True, wait=console.wait)
    assert [o.result for o in outcomes] == ["done", "failed", "refused"]  # vm-train-7 has one of the two
    assert "No available instances" in outcomes[1].message
    assert outcomes[2].message == "not begun: the one before it failed"
    assert console.cloud.state.hosts[HOST].find_mdev(uuids[2]) is None


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        (0, "now it is as before: nothing was changed"),
        (1, "now it is neither as before nor as planned: state defined, type nvidia-472, function 0000:41:01.2"),
        (3, "now it is as planned: the change is there"),
    ],
)
def test_a_console_that_was_killed_and_what_the_next_one_says(console: Console, steps: int, word: str) -> None:
    plan = create()
    run = console.journal.begin(plan, cloud="demo")
    for number, step in enumerate(plan.steps[:steps], start=1):
        console.journal.step(run, number, step.title)
        console.world.take(step)
    (entry,) = console.journal.unfinished()
    assert state_word(look_at(entry, console.world)).startswith(word)
    console.cloud.faults.libvirt[HOST] = "closed"
    console.world.close()
    assert state_word(look_at(entry, console.world)).startswith("what is true now is not known: gpu-02: libvirt:")
    strange = msgspec.structs.replace(entry, plan=msgspec.structs.replace(plan, action="mdev.polish"))
    assert state_word(look_at(strange, console.world)).endswith("this version knows no action mdev.polish")
