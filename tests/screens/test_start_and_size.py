"""The first picture, what is shown when nothing answers, and windows of any size."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.screens import fleets
from tests.screens.driving import (
    console,
    drive,
    pane,
    press,
    row_ids,
    screen_text,
    settle,
    toasts,
    words,
)
from vgpu_console.app import EXIT_NO_CONNECTION, EXIT_USAGE, VgpuConsoleApp
from vgpu_console.config import ConfigError
from vgpu_console.sources.base import SourceError

Driver = Pilot[Any]


def test_all_sources_down_is_a_screen_with_reasons_and_the_next_try() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        said = words(app, "down")
        assert "keystone  ✗ the password was not accepted (401) (next try in 4s)" in said
        assert said.count("connection refused") == 2
        await press(pilot, "2")
        assert "unknown: nova: connection refused" in screen_text(app)

    drive(console(fleets.all_down()), test)


def test_the_first_picture_does_not_wait_for_the_cloud() -> None:
    open_now = threading.Event()

    def factory() -> fleets.StillEngine:
        assert open_now.wait(10)
        return fleets.StillEngine(fleets.fleet())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "asking nova and placement …" in screen_text(app)
        await press(pilot, "3", "1", "p")
        assert any("still being opened" in toast for toast in toasts(app))
        open_now.set()
        for _ in range(200):
            if app.snapshot is not None:
                break
            await pilot.pause(0.01)
        await settle(pilot)
        assert len(row_ids(app)) == 6

    app = VgpuConsoleApp(factory, clock=lambda: fleets.NOW)

    async def run() -> None:
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await pilot.pause()
            await test(app, pilot)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("unavailable", "cloud 'prdo' is not in clouds.yaml; there are: prod"), EXIT_NO_CONNECTION),
        (ConfigError("small.toml, line 3: a host has no name"), EXIT_USAGE),
    ],
)
def test_settings_that_cannot_work_end_with_one_line_and_their_exit_code(error: Exception, code: int) -> None:
    def factory() -> fleets.StillEngine:
        raise error

    app = VgpuConsoleApp(factory, clock=lambda: fleets.NOW)

    async def run() -> None:
        async with app.run_test() as pilot:
            for _ in range(200):
                if app.return_code is not None:
                    break
                await pilot.pause(0.01)

    asyncio.run(run())
    assert app.return_code == code
    assert app.failure == str(error)


@pytest.mark.parametrize(("size", "small"), [((59, 24), True), ((80, 14), True), ((60, 15), False), ((80, 24), False)])
def test_a_window_that_is_too_small_says_so(size: tuple[int, int], small: bool) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert ("too small" in screen_text(app)) is small
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.1)
        assert "gpu-01" in screen_text(app)

    drive(console(), test, size=size)


def test_an_unchanged_snapshot_leaves_the_rows_alone() -> None:
    engine = fleets.StillEngine(fleets.fleet())
    calls: list[int] = []

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        table = pane(app).table
        real = table.set_rows

        def counted(rows: Any) -> None:
            calls.append(len(rows))
            real(rows)

        table.set_rows = counted  # type: ignore[method-assign]
        assert app.snapshot is not None
        engine.deliver(msgspec.structs.replace(app.snapshot, taken_at=fleets.NOW + 1))
        await pilot.pause()
        await pilot.pause()
        assert calls == []

    drive(console(engine=engine), test)
