"""Functions with a type, functions that are enabled, what a console may not, and Nova's side: on the embedded cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import pane, press, row_ids, screen_text, toasts, view, words
from tests.screens.on_hosts import (
    FIRST,
    SECOND,
    Driver,
    back_on_host,
    confirm,
    gpu,
    on_host,
    page,
)
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.nova_side import NovaSideDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.vgpu_type import VgpuTypeDialog
from vgpu_console.screens.host import HostScreen


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path, hosts=True)


# Functions with a type ----------------------------------------------------------------------------------------------


def test_on_a_vendor_vfio_gpu_the_same_keys_set_and_clear_a_type(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        board = gpu(demo, "gpu-06")
        before = {a: kind.type_id for a, kind in board.current_types.items()}
        await on_host(app, pilot, "gpu-06", f"gpu:{FIRST}")
        await press(pilot, "n")
        await until_dialog(pilot, VgpuTypeDialog)
        assert "vendor VFIO" in screen_text(app)
        assert "persistent" not in screen_text(app)
        await press(pilot, "p", "enter")
        await until_dialog(pilot, PlanDialog)
        assert "current_vgpu_type" in page(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        new = [a for a in board.current_types if a not in before]
        assert len(new) == 1
        await until(pilot, lambda: f"vgpu:{new[0]}" in row_ids(app))
        view(app).select(f"vgpu:{new[0]}")
        await press(pilot, "x")
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        assert new[0] not in board.current_types or not board.current_types[new[0]]

    demo.run(test)
    assert demo.results() == ["done", "done"]


def test_without_the_right_over_ssh_a_type_is_not_set_and_the_reason_is_told(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True, by_hand=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-06", f"gpu:{FIRST}")
        await press(pilot, "n")
        assert any("the console may only read over SSH" in toast for toast in toasts(app))
        assert isinstance(app.screen, HostScreen)

    demo.run(test)


# Virtual functions ------------------------------------------------------------------------------------------------


def test_the_console_enables_functions_where_it_may(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-02", f"gpu:{SECOND}")
        await press(pilot, "n")
        assert any("virtual functions are off" in toast for toast in toasts(app))
        await press(pilot, "v")
        await until_dialog(pilot, PlanDialog)
        assert "functions 0  →  16" in page(app)
        await confirm(app, pilot)
        await back_on_host(app, pilot)
        await until(pilot, lambda: any("VFs 16/16" in r.cells[2].text for r in pane(app).table.rows[-2:]))

    demo.run(test)
    assert gpu(demo, "gpu-02", 1).vfs_enabled == 16
    assert demo.results() == ["done"]


async def waits_for_the_operator(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Until the console counts functions that nobody has enabled yet, and says what esc does now."""
    await until_dialog(pilot, ApplyDialog)
    await until(pilot, lambda: "0 / 16" in page(app))
    await until(pilot, lambda: "esc stops waiting" in screen_text(app))


def test_the_operators_command_is_shown_and_copied_and_the_functions_are_counted(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True, by_hand=True)
    command = f"/usr/lib/nvidia/sriov-manage -e {SECOND}"

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        board = gpu(demo, "gpu-02", 1)
        await on_host(app, pilot, "gpu-02", f"gpu:{SECOND}")
        await press(pilot, "v")
        await confirm(app, pilot)
        await waits_for_the_operator(app, pilot)
        assert command in page(app)
        await press(pilot, "c")
        assert app.clipboard == command
        board.set_vfs(4)
        await until(pilot, lambda: "4 / 16" in page(app))
        board.set_vfs(16)
        await back_on_host(app, pilot)

    demo.run(test)
    assert demo.results() == ["done"]


def test_escape_stops_waiting_for_the_operator_and_tells_what_is_there(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True, by_hand=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-02", f"gpu:{SECOND}")
        await press(pilot, "v")
        await confirm(app, pilot)
        await waits_for_the_operator(app, pilot)
        await press(pilot, "escape")
        await until(pilot, lambda: "not verified" in page(app))
        assert "The console waits no longer" in page(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, HostScreen)
        assert not app.changes.running

    demo.run(test)
    assert demo.results() == ["unverified"]


def test_leaving_the_console_ends_the_waiting(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True, by_hand=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-02", f"gpu:{SECOND}")
        await press(pilot, "v")
        await confirm(app, pilot)
        await waits_for_the_operator(app, pilot)
        app.exit()

    demo.run(test)
    run = demo.app.changes.run
    assert run is not None
    assert run.stopping


# What is not possible ---------------------------------------------------------------------------------------------


def test_a_console_that_only_reads_dims_the_keys_and_says_why(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True, read_only=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-05", "")
        for key, word in (("n", "new"), ("x", "remove"), ("o", "on/off"), ("A", "auto"), ("v", "VFs")):
            assert f"{key} {word}" in words(app, "keys")
            await press(pilot, key)
            assert isinstance(app.screen, HostScreen)
            assert any(toast == f"{word}: this console is read-only" for toast in toasts(app))
        await press(pilot, "N")
        assert isinstance(app.screen, NovaSideDialog)

    demo.run(test)


def test_without_libvirt_the_reason_is_the_setting(tmp_path: Path) -> None:
    demo = Demo(tmp_path)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "n")
        assert any("no host's libvirt is read ([libvirt] enabled?)" in toast for toast in toasts(app))

    demo.run(test)


def test_novas_side_shows_the_arithmetic_and_copies_the_snippet(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-01", "")
        await press(pilot, "N")
        said = " ".join(page(app).split())
        assert "2 are real: 14 over-reported" in said
        assert "device_addresses: 41:00.4, 41:00.5" in said
        assert "[mdev_nvidia-472]" in said
        await press(pilot, "y")
        assert "device_addresses = 0000:41:00.4,0000:41:00.5,0000:81:00.4,0000:81:00.5" in app.clipboard
        await press(pilot, "escape", "1")
        await until(pilot, lambda: not isinstance(app.screen, HostScreen))
        view(app).select("gpu-04")
        await press(pilot, "N")
        assert "are not known" in " ".join(page(app).split())

    demo.run(test)
