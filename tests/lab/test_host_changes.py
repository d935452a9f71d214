"""Mediated devices made, changed and removed on a real host: real libvirt, mdevctl and kernel behind every word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.device_console import DeviceConsole
from tests.lab.host_machine import TYPES, GpuHost
from tests.lab.lab import until
from vgpu_console.actions.plan import Plan, PlanError

A20 = "nvidia-472"


@pytest.fixture
def console(open_device_console: Callable[..., DeviceConsole]) -> DeviceConsole:
    """A console that has just read the host."""
    return open_device_console().read()


def created(console: DeviceConsole, gpu: str, count: int = 1, **more: Any) -> list[str]:
    """Devices of type A100-20C, made through the console."""
    plans = console.create(gpu, "A100-20C", count, **more)
    outcomes = console.apply_all(plans)
    assert [o.result for o in outcomes] == ["done"] * count, [o.message for o in outcomes]
    console.read()
    return [str(p.target.key["uuid"]) for p in plans]


def flags(console: DeviceConsole, uuid: str) -> tuple[str, bool | None, bool | None]:
    """State, persistent and autostart of a device, as it was last read."""
    device = next(m for m in console.snapshot.mdevs if m.uuid == uuid)
    return device.state, device.persistent, device.autostart


class TestCreating:
    def test_a_persistent_device_is_there_with_every_flag_and_outlives_libvirtd(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        gpu = gpu_host.gpus[0]
        (plan,) = console.create(gpu, "A100-20C")
        words: list[str] = []
        outcome = console.apply(plan, progress=lambda _, __, word: words.append(word))
        assert (outcome.result, outcome.message) == ("done", "applied and read back")
        uuid, function = str(plan.target.key["uuid"]), str(plan.target.key["function"])
        assert gpu_host.kernel_mdevs() == {uuid: (A20, function)}
        assert outcome.observed == plan.after
        assert (plan.after["persistent"], plan.after["autostart"], plan.after["state"]) == (True, True, "active")
        assert words[0] == "re-reading"

        gpu_host.restart_libvirtd()
        # libvirtd lists devices before it has read their definitions
        until(lambda: flags(console.read(), uuid) == ("active", True, True), "the flags of the device")

    def test_a_transient_device_is_gone_for_good_once_it_is_stopped(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        (uuid,) = created(console, gpu_host.gpus[0], persistent=False)
        assert flags(console, uuid)[:2] == ("active", False)
        console.done(console.remove(uuid))
        assert gpu_host.kernel_mdevs() == {}
        assert console.read().snapshot.mdevs == ()

    @pytest.mark.parametrize("type_id", TYPES)
    def test_exactly_the_real_maximum_of_a_type_is_made_and_the_next_is_explained(
        self, gpu_host: GpuHost, console: DeviceConsole, type_id: str
    ) -> None:
        name, _, most = TYPES[type_id]
        gpu = gpu_host.gpus[1]
        assert console.room(gpu, type_id).creatable == most
        with pytest.raises(PlanError) as refused:
            console.create(gpu, type_id, most + 1)
        assert str(most) in str(refused.value)
        outcomes = console.apply_all(console.create(gpu, type_id, most, persistent=False))
        assert [o.result for o in outcomes] == ["done"] * most, [o.message for o in outcomes]
        assert len(gpu_host.kernel_mdevs()) == most
        assert set(gpu_host.available(gpu, type_id).values()) == {0}
        room = console.read().room(gpu, type_id)
        assert (room.created, room.creatable) == (most, 0)
        with pytest.raises(PlanError) as full:
            console.create(gpu, type_id)
        assert full.value.exit == 4
        assert "maximum" in str(full.value)
        others = [r for r in console.gpu(gpu).types if r.type_id != type_id]
        assert {r.available for r in others} == {0}
        assert name.removeprefix("GRID ") in console.room(gpu, others[0].type_id).why_not

    def test_a_refusal_in_the_middle_stops_and_tells_what_was_made(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        """Another device takes the GPU's last place while the console is at work."""
        gpu = gpu_host.gpus[0]
        plans = console.create(gpu, "A100-20C", 2)
        taken = gpu_host.functions(gpu)[7]
        assert taken not in {p.target.key["function"] for p in plans}
        stolen: list[str] = []

        def steal(plan: Plan, steps: int, word: str) -> None:
            if plan is plans[1] and not stolen:
                stolen.append(gpu_host.make_mdev_behind(taken, A20))

        outcomes = console.apply_all(plans, progress=steal)
        assert [o.result for o in outcomes] == ["done", "failed"]
        made = str(plans[0].target.key["uuid"])
        assert set(gpu_host.kernel_mdevs()) == {made, stolen[0]}
        assert "No available instances" in outcomes[1].message or "No space left" in outcomes[1].message

    def test_a_device_made_behind_the_console_is_seen_before_anything_is_sent(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        (plan,) = console.create(gpu_host.gpus[0], "A100-20C")
        function = str(plan.target.key["function"])
        other = gpu_host.make_mdev_behind(function, A20)
        outcome = console.apply(plan)
        assert (outcome.result, gpu_host.kernel_mdevs()) == ("moved", {other: (A20, function)})
        assert other in outcome.message

    def test_another_size_is_refused_with_what_to_do(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        created(console, gpu_host.gpus[0])
        with pytest.raises(PlanError, match="GPU runs A100-20C; free its 1 mdev to change size") as refused:
            console.create(gpu_host.gpus[0], "A100-10C")
        assert refused.value.exit == 4
        assert console.room(gpu_host.gpus[1], "nvidia-471").creatable == 4

    def test_a_uuid_that_is_taken_is_refused(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        (uuid,) = created(console, gpu_host.gpus[0])
        with pytest.raises(PlanError, match=uuid[:8]):
            console.create(gpu_host.gpus[1], "A100-20C", uuid=uuid)

    def test_without_virtual_functions_nothing_can_be_made(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        gpu = gpu_host.gpus[0]
        gpu_host.set_vfs(gpu, 0)
        console.read_with(gpu, 0)
        assert console.gpu(gpu).vfs_enabled == 0
        with pytest.raises(PlanError, match="virtual functions are off") as refused:
            console.create(gpu, "A100-20C")
        assert refused.value.exit == 4
        gpu_host.set_vfs(gpu, 16)
        created(console.read_with(gpu, 16), gpu)


class TestChanging:
    def test_stop_start_autostart_and_remove(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        (uuid,) = created(console, gpu_host.gpus[0])
        console.done(console.stop(uuid))
        assert gpu_host.kernel_mdevs() == {}
        console.read()
        console.done(console.autostart(uuid, False))
        console.read()
        assert flags(console, uuid) == ("defined", True, False)
        console.done(console.start(uuid))
        assert list(gpu_host.kernel_mdevs()) == [uuid]
        console.done(console.read().remove(uuid))
        assert gpu_host.kernel_mdevs() == {}
        assert console.read().snapshot.mdevs == ()

    def test_what_a_removal_says_undoes_it(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        (uuid,) = created(console, gpu_host.gpus[0])
        plan = console.remove(uuid)
        console.done(plan)
        for step in plan.inverse:
            console.world.take(step)
        assert list(gpu_host.kernel_mdevs()) == [uuid]

    @pytest.mark.parametrize("running", [True, False], ids=["running", "shut off"])
    def test_a_device_that_a_guest_names_is_not_removed(
        self, gpu_host: GpuHost, console: DeviceConsole, running: bool
    ) -> None:
        (uuid,) = created(console, gpu_host.gpus[0])
        domain = (gpu_host.start_guest if running else gpu_host.define_guest)("vm-train-7", [uuid])
        console.read()
        plan = console.remove(uuid)
        (failed,) = [c for c in plan.blocked_by if c.id == "mdev.unused"]
        assert "vm-train-7" in failed.evidence
        outcome = console.apply(plan)
        assert outcome.result == "refused"
        assert list(gpu_host.kernel_mdevs()) == [uuid]
        assert domain

    def test_a_guest_that_took_it_meanwhile_stops_the_removal(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        (uuid,) = created(console, gpu_host.gpus[0])
        plan = console.remove(uuid)
        domain = gpu_host.start_guest("vm-late", [uuid])
        outcome = console.apply(plan)
        assert (outcome.result, list(gpu_host.kernel_mdevs())) == ("moved", [uuid])
        assert domain in outcome.message

    def test_a_device_made_by_hand_can_be_removed_too(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        uuid = gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[0])[3], A20)
        console.done(console.read().remove(uuid))
        assert gpu_host.kernel_mdevs() == {}


class TestFaults:
    def test_libvirtd_that_dies_in_the_middle_is_told_with_what_is_there(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        (plan,) = console.create(gpu_host.gpus[0], "A100-20C")

        def kill(_: Plan, steps: int, word: str) -> None:
            if steps == 1 and word == plan.steps[1].title:
                gpu_host.kill_libvirtd()

        outcome = console.apply(plan, progress=kill)
        assert outcome.result == "failed"
        assert "2 of 3" in outcome.message or "1 of 3" in outcome.message
        events = [e.event for e in console.journal.entries()]
        assert events[-1] == "ended"
        gpu_host.start_libvirtd()
        device = next(m for m in console.read().snapshot.mdevs)
        assert device.state == "defined"
        console.done(console.remove(str(device.uuid)))

    def test_two_consoles_at_once_make_one_device(
        self, gpu_host: GpuHost, open_device_console: Callable[..., DeviceConsole]
    ) -> None:
        consoles = [open_device_console().read(), open_device_console().read()]
        plans = [c.create(gpu_host.gpus[0], "A100-20C")[0] for c in consoles]
        assert plans[0].hash == plans[1].hash
        ready = threading.Barrier(2)
        results: dict[int, str] = {}

        def work(number: int) -> None:
            ready.wait()
            results[number] = consoles[number].apply(plans[number]).result

        threads = [threading.Thread(target=work, args=(n,)) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(gpu_host.kernel_mdevs()) == 1
        assert "done" in results.values()

    def test_a_read_only_console_sends_nothing(
        self, gpu_host: GpuHost, open_device_console: Callable[..., DeviceConsole]
    ) -> None:
        console = open_device_console(read_only=True).read()
        (plan,) = console.create(gpu_host.gpus[0], "A100-20C")
        outcome = console.apply(plan)
        assert (outcome.result, outcome.message) == ("refused", "this console is read-only")
        assert gpu_host.kernel_mdevs() == {}

    def test_a_user_without_the_right_is_refused_in_one_line(
        self, gpu_host: GpuHost, open_device_console: Callable[..., DeviceConsole]
    ) -> None:
        plans = open_device_console().read().create(gpu_host.gpus[0], "A100-20C")
        outcome = open_device_console(user="watcher").apply(plans[0])
        assert outcome.result == "refused"
        assert "nothing was sent" in outcome.message
        assert "\n" not in outcome.message
        assert gpu_host.kernel_mdevs() == {}
