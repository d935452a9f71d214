"""vGPUs made, removed, started and stopped from the keyboard, on the embedded cloud: what its hosts carry then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import dialog, pane, press, row_ids, screen_text, toasts, view, words
from tests.screens.on_hosts import (
    FIRST,
    SECOND,
    Driver,
    back_on_host,
    carried,
    confirm,
    gpu,
    on_empty_gpu,
    on_host,
    page,
)
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.vgpu_type import VgpuTypeDialog
from vgpu_console.screens.host import HostScreen
from vgpu_console.simulator.faults import DeviceFault


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path, hosts=True)


# New vGPUs --------------------------------------------------------------------------------------------------------


def test_a_type_is_chosen_from_the_table_and_a_device_is_made(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-05", f"gpu:{FIRST}")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        said = screen_text(app)
        assert "New vGPU on gpu-05" in said
        assert "GPU runs T4-4Q; free its" in said
        assert "its maximum is 4, 3 created" in said
        await press(pilot, "enter")
        await until_dialog(pilot, PlanDialog)
        assert "state     absent  →  active" in page(app)
        assert "virsh nodedev-define" in page(app)
        assert len(carried(gpu(demo, "gpu-05"))) == 3  # nothing is sent before the answer
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        assert any("absent → active" in toast for toast in toasts(app))
        await until(pilot, lambda: len([r for r in row_ids(app) if r.startswith("mdev:")]) == 5)

    demo.run(test)
    assert carried(gpu(demo, "gpu-05")) == ["nvidia-232"] * 4
    assert demo.results() == ["done"]


def test_two_at_once_are_two_changes_with_a_line_each(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_empty_gpu(app, pilot, demo)
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        await press(pilot, "2", "p")
        assert "gone at boot" in screen_text(app)
        await press(pilot, "enter")
        await until_dialog(pilot, PlanDialog)
        assert "2 changes" in screen_text(app)
        assert page(app).count("absent → active") == 2
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        assert any("2 changes applied and read back" in toast for toast in toasts(app))

    demo.run(test)
    board = gpu(demo, "gpu-05", 1)
    assert carried(board) == ["nvidia-232"] * 2
    assert not any(mdev.persistent for mdevs in board.mdevs.values() for mdev in mdevs)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("3", "enter"), "1 more T4-4Q can be made"),
        (("0", "enter"), "at least 1"),
        (("backspace", "enter"), "no number was typed"),
        (("pageup", "enter"), "no T4-1Q can be made: GPU runs T4-4Q"),
    ],
)
def test_what_cannot_be_made_is_said_where_it_was_chosen(demo: Demo, keys: tuple[str, ...], said: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-05", f"gpu:{FIRST}")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        await press(pilot, *keys)
        await until(pilot, lambda: said in " ".join(screen_text(app).split()))
        assert isinstance(app.screen, VgpuTypeDialog)
        await press(pilot, "escape")
        assert isinstance(app.screen, HostScreen)

    demo.run(test)
    assert demo.results() == []


def test_on_a_function_the_device_is_made_there(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-02", f"gpu:{FIRST}")
        await press(pilot, "enter")  # unfolds its idle functions
        await until(pilot, lambda: "vf:0000:41:01.1" in row_ids(app))
        view(app).select("vf:0000:41:01.1")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        assert "on 0000:41:01.1" in screen_text(app)
        await press(pilot, "7", "enter")  # the number cannot be changed: a function carries one
        await until_dialog(pilot, PlanDialog)
        assert "on 0000:41:01.1" in page(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)

    demo.run(test)
    assert len(gpu(demo, "gpu-02").mdevs["0000:41:01.1"]) == 1


def test_from_the_dashboard_a_host_offers_its_gpus_in_turn(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until(pilot, lambda: len(app.snapshot.mdevs if app.snapshot else ()) > 10)
        view(app).select("gpu-05")
        await pilot.pause()
        assert "n new" in words(app, "keys")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        assert "0000:41:00.0 T4  GPU 1 of 2" in screen_text(app)
        await press(pilot, "right")
        assert "0000:81:00.0 T4  GPU 2 of 2" in screen_text(app)
        assert "GPU runs T4-8Q; free its" in screen_text(app)
        await press(pilot, "right", "left", "escape", "v")
        assert any("gpu-05 has no SR-IOV" in toast for toast in toasts(app))
        await press(pilot, "x")
        assert any("enter on a host shows its devices" in toast for toast in toasts(app))

    demo.run(test)


def test_the_table_follows_the_fleet_while_it_is_open(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-05", f"gpu:{FIRST}")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        assert "its maximum is 4, 3 created" in screen_text(app)
        board = gpu(demo, "gpu-05")
        with demo.cloud.state.lock:
            board.create(demo.cloud.state.new_uuid(), "nvidia-232", FIRST, persistent=False)
        app.ask_sources()
        await until(pilot, lambda: "all 4 of its maximum are created" in screen_text(app))
        await press(pilot, "enter")
        await until(pilot, lambda: "no T4-4Q can be made" in screen_text(app))

    demo.run(test)
    assert demo.results() == []


def test_the_first_refusal_ends_it_with_libvirts_words(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_empty_gpu(app, pilot, demo)
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        await press(pilot, "4", "enter")
        demo.cloud.faults.devices["gpu-05"] = DeviceFault(kind="acl", call="virNodeDeviceCreate")
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "0 of 4 done" in page(app), 60)
        assert page(app).count("not begun: the one before it failed") == 3
        assert "access denied" in page(app)
        await press(pilot, "c")
        assert "0 of 4 done" in app.clipboard

    demo.run(test)
    assert demo.results() == ["failed"]


# What is there ----------------------------------------------------------------------------------------------------


def free_device(demo: Demo) -> str:
    """The free device of gpu-05's second GPU."""
    return next(m.uuid for mdevs in gpu(demo, "gpu-05", 1).mdevs.values() for m in mdevs)


def test_a_free_device_is_removed_by_typing_its_name(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        uuid = free_device(demo)
        await on_host(app, pilot, "gpu-05", f"mdev:{uuid}")
        await press(pilot, "x")
        await until_dialog(pilot, PlanDialog)
        assert "state     active  →  absent" in page(app)
        await press(pilot, "y", "a")  # neither is enough
        assert isinstance(app.screen, PlanDialog)
        assert app.screen.must_type == f"gpu-05 {uuid[:8]}"
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        await until(pilot, lambda: f"mdev:{uuid}" not in row_ids(app))

    demo.run(test)
    assert carried(gpu(demo, "gpu-05", 1)) == []
    assert demo.results() == ["done"]


def test_a_device_in_use_is_refused_with_its_server_and_project_first(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-05", f"gpu:{FIRST}")
        await press(pilot, "down", "x")
        await until_dialog(pilot, PlanDialog)
        first = page(app).splitlines()[:3]
        assert first[0].startswith("Not possible")
        assert "of project" in first[1]
        assert "cannot be applied" in screen_text(app)
        await press(pilot, "enter")
        assert isinstance(app.screen, HostScreen)

    demo.run(test)
    assert demo.results() == []


def test_marked_devices_are_removed_at_once_and_the_refused_one_stays(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        board = gpu(demo, "gpu-05", 1)
        with demo.cloud.state.lock:
            board.create(demo.cloud.state.new_uuid(), "nvidia-233", SECOND, persistent=True)
        app.ask_sources()
        await on_host(app, pilot, "gpu-05")
        await until(pilot, lambda: len([r for r in row_ids(app) if r.startswith("mdev:")]) == 5)
        used = next(r for r in row_ids(app) if r.startswith("mdev:"))
        for row in (used, *(f"mdev:{m.uuid}" for mdevs in board.mdevs.values() for m in mdevs)):
            view(app).select(row)
            await press(pilot, "space")
        await press(pilot, "x")
        await until_dialog(pilot, PlanDialog)
        assert "3 changes" in screen_text(app)
        assert "Not possible   1 change" in page(app)
        assert dialog(app).query_one("#plan-name").placeholder == "type 2 devices"  # type: ignore[attr-defined]
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "2 of 3 done" in page(app), 30)
        assert "not allowed" in page(app)
        await press(pilot, "escape")
        await until(pilot, lambda: len([r for r in row_ids(app) if r.startswith("mdev:")]) == 3)
        assert not pane(app).table.marks - {used}

    demo.run(test)
    assert carried(gpu(demo, "gpu-05", 1)) == []
    assert len(carried(gpu(demo, "gpu-05"))) == 3


def test_one_key_starts_and_stops_and_another_switches_autostart(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        idle = next(m.uuid for mdevs in gpu(demo, "gpu-03").mdevs.values() for m in mdevs if not m.active)
        row = f"mdev:{idle}"

        def state() -> str:
            return next(r for r in pane(app).table.rows if r.id == row).cells[2].text

        await on_host(app, pilot, "gpu-03", row)
        assert state() == "· defined"
        await press(pilot, "o")
        await until_dialog(pilot, PlanDialog)
        assert ": start" in screen_text(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        await until(pilot, lambda: state() == "✓ active")
        await press(pilot, "o")
        await until_dialog(pilot, PlanDialog)
        assert ": stop" in screen_text(app)
        await press(pilot, "y")  # it is a risk
        assert isinstance(app.screen, PlanDialog)
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        await until(pilot, lambda: state() == "· defined")
        await press(pilot, "A")
        await until_dialog(pilot, PlanDialog)
        before = "autostart yes  →  no" in page(app)
        assert before or "autostart no  →  yes" in page(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)

    demo.run(test)
    assert demo.results() == ["done"] * 3


def test_what_moved_is_planned_again_once_the_hosts_libvirt_was_read(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        uuid = free_device(demo)
        await on_host(app, pilot, "gpu-05", f"mdev:{uuid}")
        await press(pilot, "x")
        await until_dialog(pilot, PlanDialog)
        (mdev,) = (m for mdevs in gpu(demo, "gpu-05", 1).mdevs.values() for m in mdevs)
        mdev.active = False
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "changed meanwhile" in screen_text(app), 30)
        await press(pilot, "p")
        assert any("reading libvirt of gpu-05 again" in toast for toast in toasts(app))
        await until_dialog(pilot, PlanDialog)
        assert "state     defined  →  absent" in page(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)

    demo.run(test)
    assert demo.results() == ["moved", "done"]
    assert carried(gpu(demo, "gpu-05", 1)) == []
