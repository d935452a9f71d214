"""The jump line: type a view, host, server, project or flavor; the list above it narrows with every letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from vgpu_console.model.nova import Flavor
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.targets import FIXED, Target, all_targets, search
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

_COLUMNS = (Column("word", "GO TO", 24, flex=2), Column("beside", "WHAT IT IS", 20, flex=1))
_MOST = 50


class Jump(Dialog[tuple[str, str]]):
    """Tab completes with the row under the cursor, enter goes there."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "Complete", priority=True, id="jump.complete")]

    heading = "Go to"
    footing = "enter goes · tab completes · esc"

    def __init__(self, snapshot: Snapshot | None, flavors: Sequence[Flavor] = ()) -> None:
        super().__init__()
        self._targets = all_targets(snapshot, flavors)
        self._found: list[Target] = []
        self._typed_before = ""
        self._fitting: list[Target] = []

    def inside(self) -> ComposeResult:
        """The list, and below it the line."""
        yield FleetTable(_COLUMNS, empty="nothing is called that", id="jump-table", classes="list")
        yield Input(placeholder="view, host, server, project or flavor", id="jump-line")

    def on_mount(self) -> None:
        """Start with the views."""
        self._search("")
        self.query_one(Input).focus()

    def _search(self, typed: str) -> None:
        typed = typed.removeprefix(":").strip()
        # What fits a longer word is among what fitted its beginning, unless an alias or a kind of place is typed.
        longer = bool(self._typed_before) and typed.startswith(self._typed_before) and " " not in typed
        fitting = search(typed, [*FIXED, *self._fitting] if longer else self._targets)
        fitting = list(dict.fromkeys(fitting))
        self._typed_before, self._fitting = typed, fitting
        self._found = fitting[:_MOST]
        table = self.query_one(FleetTable)
        table.set_rows([TableRow(str(i), (text(t.word), text(t.beside, "muted"))) for i, t in enumerate(self._found)])
        if self._found:
            table.select("0")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._search(event.value)

    def on_key(self, event: events.Key) -> None:
        """Arrows choose in the list while the line has the focus."""
        moves = {"down": 1, "up": -1, "ctrl+n": 1}
        if event.key in moves:
            event.stop()
            self.query_one(FleetTable).action_move(moves[event.key])

    def _chosen_target(self) -> Target | None:
        row = self.query_one(FleetTable).cursor_id
        return self._found[int(row)] if row is not None and self._found else None

    def action_complete(self) -> None:
        """Write the word under the cursor into the line."""
        target = self._chosen_target()
        if target is not None:
            line = self.query_one(Input)
            line.value = target.word
            line.cursor_position = len(line.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._go()

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        self._go()

    def _go(self) -> None:
        target = self._chosen_target()
        if target is not None:
            self.dismiss((target.kind, target.name))
