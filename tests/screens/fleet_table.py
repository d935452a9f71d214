"""The table by itself, as tests drive it: an app with nothing else, rows, and what is on its lines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.strip import Strip

from vgpu_console.screens import themes
from vgpu_console.screens.widgets.cells import bar, number, state, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

COLUMNS = (
    Column("host", "HOST", 10, flex=1),
    Column("state", "STATE", 8, priority=2),
    Column("used", "USED / MAX", 20, priority=1),
    Column("free", "FREE", 7, align="right"),
)


def row(name: str, used: int | None = 1, free: int | None = 3, word: str = "up") -> TableRow:
    return TableRow(name, (text(name), state(word, "ok"), bar(used, 4), number(free)))


def rows(count: int) -> list[TableRow]:
    return [row(f"gpu-{i}", free=i) for i in range(count)]


class CountingTable(FleetTable):
    """Remembers which lines were asked for."""

    painted: list[int]

    def render_line(self, y: int) -> Strip:
        self.painted.append(y)
        return super().render_line(y)


class TableApp(App[None]):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        themes.register_themes(self)
        self.now = 100.0
        self.table = CountingTable(COLUMNS, clock=lambda: self.now, **options)
        self.table.painted = []
        self.told: list[tuple[str, str | None]] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_fleet_table_opened(self, message: FleetTable.Opened) -> None:
        self.told.append(("opened", message.row_id))

    def on_fleet_table_moved(self, message: FleetTable.Moved) -> None:
        self.told.append(("moved", message.row_id))

    def on_fleet_table_vanished(self, message: FleetTable.Vanished) -> None:
        self.told.append(("vanished", message.row_id))

    def on_fleet_table_counted(self, message: FleetTable.Counted) -> None:
        self.told.append(("counted", f"{len(message.control.rows)}/{message.control.total}"))


Steps = Callable[[TableApp, Pilot[None]], Awaitable[None]]


def play(steps: Steps, size: tuple[int, int] = (80, 12), **options: Any) -> None:
    """Run the steps on a table in a terminal of this size."""

    async def run() -> None:
        app = TableApp(**options)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())


def shown(table: FleetTable) -> list[str]:
    return [table.render_line(y).text for y in range(table.size.height)]


async def settle(app: TableApp, pilot: Pilot[None]) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()
