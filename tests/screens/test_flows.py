"""What an operator does, key by key, and what the screen says then."""

from __future__ import annotations

import threading
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input

from tests.screens import fleets
from tests.screens.driving import (
    console,
    dialog,
    drive,
    pane,
    press,
    row_ids,
    screen_text,
    toasts,
    view,
    words,
)
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.screens.dashboard import DashboardScreen
from vgpu_console.screens.dialogs.help import HelpDialog
from vgpu_console.screens.dialogs.jump import Jump
from vgpu_console.screens.dialogs.server import ServerDialog
from vgpu_console.screens.dialogs.sort import SortDialog
from vgpu_console.screens.host import HostScreen
from vgpu_console.screens.view import FilterLine
from vgpu_console.screens.widgets.fleet_table import FleetTable

Driver = Pilot[Any]


def test_number_keys_show_the_views_and_minus_goes_back() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        for key, name in (("2", "servers"), ("3", "quota"), ("4", "migrations"), ("1", "fleet")):
            await press(pilot, key)
            assert view(app).view == name
        await press(pilot, "minus")
        assert view(app).view == "migrations"
        await press(pilot, "backspace")
        assert view(app).view == "fleet"

    drive(console(), test)


def test_enter_goes_from_host_to_device_to_server_and_to_its_host() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "down", "enter")
        host = view(app)
        assert isinstance(host, HostScreen)
        assert host.host == "gpu-02"
        assert row_ids(app)[:4] == [
            "gpu:0000:41:00.0",
            "vf:0000:41:00.4",
            f"mdev:{fleets.mdev_uuid('gpu-02', 0, 0)}",
            "idle:0000:41:00.0",
        ]
        await press(pilot, "down", "down", "enter")
        assert isinstance(app.screen, ServerDialog)
        assert "vm-ml-res-200" in screen_text(app)
        assert fleets.server_id(200) in screen_text(app)
        await press(pilot, "h")
        assert isinstance(view(app), HostScreen)
        await press(pilot, "escape")
        assert isinstance(view(app), DashboardScreen)
        assert pane(app).table.cursor_id == "gpu-02"

    drive(console(), test)


def test_enter_on_a_gpu_unfolds_its_idle_functions() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "enter")
        folded = len(row_ids(app))
        await press(pilot, "enter")
        assert len(row_ids(app)) == folded + 13  # 14 idle functions instead of one row
        await press(pilot, "enter")
        assert len(row_ids(app)) == folded

    drive(console(), test)


def test_q_leaves_a_detail_and_quits_at_the_top_and_escape_never_quits() -> None:
    app = console()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "enter", "q")
        assert isinstance(view(app), DashboardScreen)
        await press(pilot, "escape", "escape")
        assert app.is_running
        assert app.return_code is None
        await press(pilot, "q")

    drive(app, test)
    assert app.return_code == 0


def test_ctrl_c_quits_at_the_second_press_only() -> None:
    app = console()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+c")
        assert app.return_code is None
        assert any("once more" in toast for toast in toasts(app))
        await press(pilot, "ctrl+c")

    drive(app, test)
    assert app.return_code == 0


def test_the_filter_narrows_as_it_is_typed_and_the_title_counts() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "slash", *"a100-20c")
        assert row_ids(app) == ["gpu-01", "gpu-02"]
        assert pane(app).head.text.startswith("Hosts 2/6  / a100-20c")
        await press(pilot, "enter")
        assert pane(app).table.has_focus
        assert row_ids(app) == ["gpu-01", "gpu-02"]
        await press(pilot, "escape")
        assert len(row_ids(app)) == 6
        assert pane(app).head.text.startswith("Hosts 6 ")

    drive(console(), test)


def test_escape_in_the_filter_line_clears_it_and_closes_it() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "slash", "x", "y", "z")
        assert "No row matches xyz" in screen_text(app)
        await press(pilot, "escape")
        assert not view(app).query_one(FilterLine).display
        assert len(row_ids(app)) == 6
        assert isinstance(view(app), DashboardScreen)

    drive(console(), test)


def test_the_filter_works_on_the_pane_that_has_the_focus() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "tab", "slash", *"vdi", "enter")
        assert [i.partition("/")[2] for i in row_ids(app, "quota-pane")] == ["class:VGPU"]
        assert len(row_ids(app, "hosts-pane")) == 6

    drive(console(), test)


def test_sorting_by_letter_reversing_and_sorting_again() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "s")
        assert isinstance(app.screen, SortDialog)
        await press(pilot, "f")  # free
        free = [row.cells[6].sort for row in pane(app).table.rows]
        known = [n for n in free if n is not None]
        assert known == sorted(known)
        assert free[-1] is None, "unknown comes last"
        await press(pilot, "S")
        again = [row.cells[6].sort for row in pane(app).table.rows]
        assert [n for n in again if n is not None] == sorted(known, reverse=True)
        assert again[-1] is None, "unknown comes last in both directions"

    drive(console(), test)


def test_jump_goes_to_hosts_servers_projects_and_aliases() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "colon", *"mig", "enter")
        assert view(app).view == "migrations"
        await press(pilot, "colon", *"gpu-05")
        assert isinstance(app.screen, Jump)
        await press(pilot, "enter")
        shown = view(app)
        assert isinstance(shown, HostScreen)
        assert shown.host == "gpu-05"
        await press(pilot, "colon", *"project vdi", "enter")
        assert view(app).view == "quota"
        assert pane(app).table.cursor_id == f"{'b2' * 16}/class:VGPU"
        await press(pilot, "colon", *"vm-ml-res-300", "enter")
        assert isinstance(app.screen, ServerDialog)
        await press(pilot, "escape")
        assert pane(app).table.cursor_id == fleets.server_id(300)

    drive(console(), test)


def test_jump_completes_with_tab_and_quits_by_command() -> None:
    app = console()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "colon", *"gpu-0", "down", "tab")
        assert dialog(app).query_one(Input).value == "gpu-02"
        await press(pilot, "escape", "colon", *"q", "enter")

    drive(app, test)
    assert app.return_code == 0


def test_help_lists_live_bindings_can_be_searched_and_runs_them() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpDialog)
        table = app.screen.query_one(FleetTable)
        assert {"filter", "table.down", "view-quota", "pause"} <= {row.id for row in table.rows}
        await press(pilot, *"each project")
        assert [row.id for row in table.rows] == ["view-quota"]
        await press(pilot, "enter")
        assert view(app).view == "quota"

    drive(console(), test)


def test_remapped_keys_work_and_are_shown_and_unknown_ids_are_told() -> None:
    settings = Settings(keys={"view-quota": "f9", "refesh": "F5"})

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert any("refesh" in toast and "did you mean refresh?" in toast for toast in toasts(app))
        await press(pilot, "f9")
        assert view(app).view == "quota"
        await press(pilot, "1", "3")
        assert view(app).view == "fleet", "the old key is free"
        await press(pilot, "question_mark", *"view-quota")
        row = app.screen.query_one(FleetTable).rows[0]
        assert row.cells[0].text == "f9"

    drive(console(settings=settings), test)


def test_a_key_that_does_nothing_here_is_dim_and_says_why() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "m move" in words(app, "keys")
        await press(pilot, "m")
        assert any(toast.startswith("move: this console follows no live") for toast in toasts(app))

    drive(console(), test)


def test_pause_is_shown_and_resume_takes_it_away() -> None:
    engine = fleets.StillEngine(fleets.fleet())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "p")
        assert engine.paused
        assert "PAUSED" in words(app, "title")
        await press(pilot, "p")
        assert not engine.paused
        assert "PAUSED" not in words(app, "title")

    drive(console(engine=engine), test)


def test_refresh_asks_the_engine_outside_the_loop() -> None:
    asked_in: list[str] = []

    class Engine(fleets.StillEngine):
        def refresh_now(self) -> None:
            asked_in.append(threading.current_thread().name)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "r")
        for _ in range(100):
            if asked_in:
                break
            await pilot.pause(0.01)
        assert asked_in
        assert asked_in[0] != threading.main_thread().name

    drive(console(engine=Engine(fleets.fleet())), test)


def test_a_new_snapshot_changes_rows_and_leaves_the_cursor_on_its_host() -> None:
    engine = fleets.StillEngine(fleets.fleet())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "down", "down")
        assert pane(app).table.cursor_id == "gpu-03"
        hosts = fleets.six_hosts()
        engine.deliver(fleets.fleet(hosts=hosts[1:]))
        await pilot.pause()
        await pilot.pause()
        assert row_ids(app)[0] == "gpu-02"
        assert pane(app).table.cursor_id == "gpu-03"
        engine.deliver(fleets.fleet(hosts=(*hosts[:2], *hosts[3:])))
        await pilot.pause()
        await pilot.pause()
        assert any("gpu-03 is not in the fleet any more" in toast for toast in toasts(app))

    drive(console(engine=engine), test)


def test_faults_only_shows_what_needs_an_eye_and_says_so() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "z")
        assert row_ids(app) == ["gpu-02", "gpu-04", "gpu-06"]
        assert "Hosts 3/6  faults only" in pane(app).head.text
        assert toasts(app) == [], "rows that z hides have not gone away"
        await press(pilot, "z")
        assert len(row_ids(app)) == 6

    drive(console(), test)


def test_wide_brings_the_columns_that_had_no_room() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        table = pane(app).table
        usual = table.shown_columns
        seen = set(usual)
        assert "kernel" not in usual
        for _ in range(6):
            await press(pilot, "w")
            assert table.shown_columns[0] == "host"
            seen |= set(table.shown_columns)
            if table.shown_columns == usual:
                break
        assert seen == {column.key for column in table.columns}
        assert table.shown_columns == usual, "after the last, the usual ones"

    drive(console(), test, size=(80, 24))


def test_devices_are_not_sorted_away_from_their_gpu() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "enter", "s")
        assert isinstance(view(app), HostScreen)
        assert any("stay below their GPU" in toast for toast in toasts(app))

    drive(console(), test)


def test_the_palette_goes_to_a_host() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+p", *"gpu-05")
        for _ in range(100):
            await pilot.pause(0.02)
            if app.screen.query("CommandList").first().display:
                break
        await pilot.pause(0.3)
        await press(pilot, "enter")
        await pilot.pause(0.1)
        shown = view(app)
        assert isinstance(shown, HostScreen)
        assert shown.host == "gpu-05"

    drive(console(), test)


def test_theme_key_goes_round() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        seen = [app.theme]
        for _ in range(4):
            await press(pilot, "T")
            seen.append(app.theme)
        assert seen[0] == seen[-1]
        assert len(set(seen)) == 4

    drive(console(), test)
