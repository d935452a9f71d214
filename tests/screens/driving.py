"""Runs the console without a terminal and hands it to a test that presses keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.screens.fleets import NOW, StillEngine, fleet
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.span_line import SpanLine

Test = Callable[[VgpuConsoleApp, Pilot[Any]], Awaitable[None]]


def console(
    *snapshots: Snapshot,
    settings: Settings | None = None,
    engine: StillEngine | None = None,
    exports: Path | None = None,
) -> VgpuConsoleApp:
    """The console over hand-built snapshots, at a fixed time."""
    shown = engine or StillEngine(*(snapshots or (fleet(),)))
    return VgpuConsoleApp(lambda: shown, settings=settings, clock=lambda: NOW, export_folder=exports)


def drive(app: VgpuConsoleApp, test: Test, size: tuple[int, int] = (120, 40)) -> None:
    """Run the app, wait for its first snapshot, then the test. Toasts are drawn as for an operator."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await settle(pilot)
            await test(app, pilot)

    asyncio.run(run())


async def settle(pilot: Pilot[Any]) -> None:
    """Until the engine's thread has delivered, and what followed from it is on the screen."""
    for _ in range(200):
        app = pilot.app
        if isinstance(app, VgpuConsoleApp) and app.snapshot is not None:
            break
        await pilot.pause(0.01)
    await pilot.pause()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys one after the other and let each take effect."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.pause()


def view(app: VgpuConsoleApp) -> ViewScreen:
    """The view in front."""
    assert isinstance(app.screen, ViewScreen), app.screen
    return app.screen


def dialog(app: VgpuConsoleApp) -> Dialog[Any]:
    """The dialog in front."""
    assert isinstance(app.screen, Dialog), app.screen
    return app.screen


def pane(app: VgpuConsoleApp, name: str | None = None) -> TablePane:
    """A pane of the view in front: the one named, else its first."""
    return view(app).query_one(f"#{name}", TablePane) if name else view(app).query(TablePane).first()


def row_ids(app: VgpuConsoleApp, name: str | None = None) -> list[str]:
    """The rows that a pane shows, by identity."""
    return [row.id for row in pane(app, name).table.rows]


def words(app: VgpuConsoleApp, name: str) -> str:
    """What a line of the view in front says."""
    found = view(app).query_one(f"#{name}")
    assert isinstance(found, (SpanLine, Lines))
    return found.text


def screen_text(app: VgpuConsoleApp) -> str:
    """All that is on the screen, as text."""
    from vgpu_console.screens.export import picture_of

    return picture_of(app).text


def toasts(app: VgpuConsoleApp) -> list[str]:
    """The messages that stand on the screen."""
    return [notification.message for notification in app._notifications]
