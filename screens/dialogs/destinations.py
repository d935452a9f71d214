"""Which hosts servers may be moved to: any, or those that are marked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.render.drain_plan import HOST_COLUMNS
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow
from vgpu_console.screens.widgets.span_line import SpanLine


class DestinationsDialog(Dialog[tuple[str, ...]]):
    """Gives back the marked hosts; () for any."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("a", "any", "Any host", id="destinations.any")]
    AUTO_FOCUS = "FleetTable"

    heading = "Destinations"
    footing = "space mark · enter take the marked · a any host · esc"

    def __init__(self, rows: Sequence[TableRow], chosen: Collection[str]) -> None:
        super().__init__()
        self._rows = tuple(rows)
        self._chosen = frozenset(chosen)

    def inside(self) -> ComposeResult:
        """The hosts, and how many are marked."""
        yield FleetTable(HOST_COLUMNS, empty="there is no other host", id="destinations", classes="dialog-table")
        yield SpanLine(id="destinations-said")

    def on_mount(self) -> None:
        """Those that were chosen before are marked."""
        table = self.query_one(FleetTable)
        table.set_rows(self._rows)
        table.mark(self._chosen & {row.id for row in self._rows})
        self._restate()

    @on(FleetTable.Marked)
    def _restate(self) -> None:
        marks = self.query_one(FleetTable).marks
        said = f"{len(marks)} marked: only there" if marks else "none marked: any host"
        self.query_one("#destinations-said", SpanLine).set_spans(((said, "accent" if marks else "muted"),))

    @on(FleetTable.Opened)
    def _taken(self, event: FleetTable.Opened) -> None:
        event.stop()
        marks = self.query_one(FleetTable).marks
        self.dismiss(tuple(row.id for row in self._rows if row.id in marks))

    def action_any(self) -> None:
        """Any host."""
        self.dismiss(())
