"""A recording in the console: what it shows, what its keys do, and that nothing can be changed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.screens import replays
from tests.screens.demo_console import until
from tests.screens.driving import drive, pane, press, screen_text, toasts, words
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.recording.format import Begun
from vgpu_console.recording.replay import Position
from vgpu_console.screens.dialogs.replay_time import ReplayTimeDialog
from vgpu_console.screens.replay_bar import bar_spans
from vgpu_console.screens.widgets import cells

Driver = Pilot[Any]
SIZES = [(80, 24), (120, 40)]


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of half an hour, from 14:13:20 to 14:43:20."""
    return replays.record(tmp_path_factory.mktemp("replay"))


def driver(app: VgpuConsoleApp) -> str:
    """Which frame is on the screen: gpu-01's driver says so."""
    assert app.snapshot is not None
    return str(app.snapshot.hosts[0].driver)


async def shows(pilot: Driver, number: int) -> None:
    """Wait for a frame to be shown."""
    await until(pilot, lambda: driver(pilot.app) == f"550.90.{number:02d}")  # type: ignore[arg-type]


def test_it_says_what_it_is_when_it_was_and_that_nothing_can_be_changed(path: Path) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shows(pilot, 20)
        title = words(app, "title")
        assert "REPLAY 2026-09-21 14:23:24" in title
        assert title.endswith("READ-ONLY")
        assert "nova 6s" in words(app, "sources")  # two seconds old when that frame was taken, four seconds ago
        assert words(app, "replay").startswith(" ‖ paused  14:23:24  ×1")
        assert words(app, "replay").endswith("00:10:04 of 00:30:00  frame 21/61")
        for key, word in (("l", "limit"), ("m", "move"), ("n", "new"), ("d", "drain")):
            await press(pilot, key)
            assert any(t.startswith(word) and "this is a recording" in t for t in toasts(app)), (key, toasts(app))
        await press(pilot, "r")
        assert "this is a recording: nothing can be changed or asked" in toasts(app)
        assert app.paused

    app, _, _ = replays.replay(path, at=604)
    drive(app, test)


def test_it_plays_pauses_and_goes_faster(path: Path) -> None:
    app, engine, clock = replays.replay(path)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shows(pilot, 0)
        assert words(app, "replay").startswith(" ▸ playing  14:13:20  ×1")
        clock.at = 31
        await shows(pilot, 1)
        await press(pilot, "space")
        clock.at = 300
        await press(pilot)
        assert engine.paused
        assert words(app, "replay").startswith(" ‖ paused  14:13:51")
        await press(pilot, "p", *["right_curly_bracket"] * 5)
        assert words(app, "replay").startswith(" ▸ playing  14:13:51  ×60")
        clock.at += 10
        await shows(pilot, 21)
        await press(pilot, "left_curly_bracket")
        assert engine.position.speed == 30
        clock.at += 1_000
        await shows(pilot, 60)
        assert words(app, "replay").startswith(" ‖ paused  14:43:20")

    drive(app, test)


def test_steps_minutes_events_and_a_typed_time(path: Path) -> None:
    app, engine, _ = replays.replay(path, at=300)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shows(pilot, 10)
        for key, number in (
            ("full_stop", 11),
            ("comma", 10),
            ("right_square_bracket", 12),
            ("left_square_bracket", 10),
            ("greater_than_sign", 30),
            ("less_than_sign", 10),
            ("right_parenthesis", 20),
            ("right_parenthesis", 40),
            ("left_parenthesis", 20),
        ):
            await press(pilot, key)
            await shows(pilot, number)
        await press(pilot, "left_parenthesis")
        assert "nothing began before this" in toasts(app)
        await press(pilot, "at")
        assert isinstance(app.screen, ReplayTimeDialog)
        assert app.screen.query_one(Input).value == "2026-09-21 14:23:20"
        await press(pilot, *"99:00", "enter")
        assert "'99:00' is no time" in screen_text(app)
        app.screen.query_one(Input).value = "14:43"
        await press(pilot, "enter")
        await shows(pilot, 59)
        assert engine.now() == replays.BEGINS + 1780
        await press(pilot, "at", "escape")
        assert engine.now() == replays.BEGINS + 1780

    drive(app, test)


def test_space_is_a_space_where_something_is_typed_and_marks_nothing(path: Path) -> None:
    app, engine, _ = replays.replay(path, at=0)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shows(pilot, 0)
        await press(pilot, "slash", "g", "space", "full_stop")
        assert engine.paused
        assert engine.position.number == 0
        assert app.screen.query_one("#filter-line", Input).value == "g ."
        await press(pilot, "escape", "space")
        assert not engine.paused
        assert not pane(app).table.marks

    drive(app, test)


@pytest.mark.parametrize("view", ["1", "2", "3", "4", "5", "6"])
def test_every_view_has_the_line_and_a_detail_too(path: Path, view: str) -> None:
    app, _, _ = replays.replay(path, at=1_500)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shows(pilot, 50)
        await press(pilot, view)
        assert "frame 51/61" in words(app, "replay")
        assert "REPLAY" in words(app, "title")
        await press(pilot, "1", "enter", "full_stop")
        await shows(pilot, 51)
        assert "frame 52/61" in words(app, "replay")

    drive(app, test)


def test_a_damaged_recording_says_so_while_it_is_shown(path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.rec"
    cut.write_bytes(path.read_bytes()[:-9])
    app, _, _ = replays.replay(cut, at=0)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert words(app, "replay").endswith("! not all of it could be read  00:00:00 of 00:29:30  frame 1/60")
        assert any("its last frame is not whole and is left out" in toast for toast in toasts(app))

    drive(app, test)


def test_help_lists_the_keys_of_a_replay_and_the_live_console_has_none_of_them(path: Path) -> None:
    from tests.screens.driving import console

    app, _, _ = replays.replay(path, at=0)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "question_mark", *"replay:")
        shown = screen_text(app)
        for key, does in (("<", "ten minutes back"), ("}", "faster"), ("@", "to a time that is typed")):
            assert re.search(rf"{re.escape(key)} +In a replay: {does}", shown), (key, shown)

    drive(app, test, (120, 50))

    async def live(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "question_mark", *"replay:")
        assert "No row matches replay:" in screen_text(app)
        assert not app.screen_stack[0].query("#replay")

    drive(console(), live)


def position(**changes: Any) -> Position:
    """Half way through an hour."""
    usual = Position(
        number=180, frames=361, time=1800.0, first=0.0, last=3600.0, playing=True, speed=1.0, part=0.5, note=""
    )
    return usual._replace(**changes)


def test_the_bar_fills_and_carries_its_marks() -> None:
    def marks(count: int) -> list[Begun | None]:
        out: list[Begun | None] = [None] * count
        out[1], out[2], out[-1] = Begun(fails=1, migrations=3), Begun(migrations=1), Begun(warns=2)
        return out

    left, right = bar_spans(position(), 120, marks)
    bar = "".join(text for text, _ in left[4:])
    assert len(bar) > 50
    assert bar[:4] == "█!▸█"
    assert (bar[-1], bar.count("░")) == ("!", len(bar) - len(bar) // 2 - 1)
    assert ("!", "fail") in left
    assert ("!", "warn") in left
    assert "".join(t for t, _ in right) == "00:30:00 of 01:00:00  frame 181/361 "


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_the_line_fits_whatever_the_width(width: int) -> None:
    left, right = bar_spans(position(note="damaged", speed=600.0), width, lambda count: [None] * count)
    taken = sum(len(text) for text, _ in (*left, *right))
    assert taken <= max(width, 62)


def test_until_the_first_picture_it_says_that_it_reads() -> None:
    left, _ = bar_spans(position(), 120, lambda count: [None] * count, reading=True)
    assert left[1] == ("… reading", "warn")


def test_the_line_on_a_terminal_without_unicode() -> None:
    cells.use_glyphs(cells.ASCII)
    try:
        left, _ = bar_spans(position(playing=False), 120, lambda count: [None] * count)
        assert "".join(t for t, _ in left).replace("×", "x").isascii()
    finally:
        cells.use_glyphs(cells.UNICODE)


async def _ready(pilot: Any) -> None:
    for _ in range(300):
        if pilot.app.snapshot is not None:
            break
        await pilot.pause(0.01)
    await pilot.pause()
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_picture(snap_compare: Any, path: Path, size: tuple[int, int]) -> None:
    app, _, _ = replays.replay(path, at=1_204)
    assert snap_compare(app, terminal_size=size, run_before=_ready)


def test_picture_of_the_time_dialog(snap_compare: Any, path: Path) -> None:
    app, _, _ = replays.replay(path, at=904, speed=60)

    async def asked(pilot: Any) -> None:
        await _ready(pilot)
        await pilot.press("at")
        await pilot.pause()
        pilot.app.screen.query_one(Input).cursor_blink = False
        await pilot.pause()

    assert snap_compare(app, terminal_size=(100, 30), run_before=asked)
