"""All keys that work on the screen in front, searchable; enter runs the one under the cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.widgets import Input

from vgpu_console.screens import keys
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

_COLUMNS = (
    Column("key", "KEY", 15),
    Column("does", "DOES", 30, flex=1),
    Column("group", "FOR", 8, priority=2),
    Column("id", "NAME IN [keys]", 17, priority=1),
)
_GROUPS = ("Views", "Table", "Change", "Fleet", "Console")


class HelpDialog(Dialog[tuple[str, Any]]):
    """Made of the live bindings, so it shows remapped keys as they are and nothing that does not work here."""

    heading = "Keys"
    footing = "type to search · enter runs it · esc"

    def __init__(self, active: Sequence[ActiveBinding], unavailable: Mapping[str, str] | None = None) -> None:
        super().__init__()
        reasons = unavailable or {}
        self._actions: dict[str, tuple[str, Any]] = {}
        self._rows: list[TableRow] = []
        collected: dict[str, list[ActiveBinding]] = {}
        for one in active:
            if one.binding.id is not None:
                collected.setdefault(one.binding.id, []).append(one)
        for name, bindings in collected.items():
            first = bindings[0]
            _word, does, group = keys.describe(first.binding)
            key = keys.BY_ID.get(name)
            why = reasons.get(name, key.reason if key is not None else "")
            dim = "muted" if not first.enabled or why else ""
            shown = keys.key_words(",".join(b.binding.key for b in bindings))
            self._actions[name] = (first.binding.action, first.node)
            cells = (
                text(shown, dim or "accent"),
                text(f"{does}: {why}" if name in reasons else does, dim),
                text(group, "muted"),
                text(name, "muted"),
            )
            self._rows.append(TableRow(name, cells, f"{shown} {does} {group} {name}"))
        self._rows.sort(key=lambda row: _GROUPS.index(row.cells[2].text))

    def inside(self) -> ComposeResult:
        """A search line above the table."""
        yield Input(placeholder="search", id="help-search")
        yield FleetTable(_COLUMNS, empty="no key does that", id="help-table", classes="dialog-table")

    def on_mount(self) -> None:
        """Fill the table."""
        self.query_one(FleetTable).set_rows(self._rows)
        self.query_one(Input).focus()

    def on_key(self, event: events.Key) -> None:
        """Arrows move in the table while the search line has the focus."""
        moves = {"down": 1, "up": -1}
        table = self.query_one(FleetTable)
        if event.key in moves:
            event.stop()
            table.action_move(moves[event.key])
        elif event.key in ("pageup", "pagedown"):
            event.stop()
            table.action_page(1 if event.key == "pagedown" else -1)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one(FleetTable).filter(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(FleetTable).action_open()

    @on(FleetTable.Opened)
    def _chosen(self, event: FleetTable.Opened) -> None:
        event.stop()
        action, node = self._actions[event.row_id]
        self.dismiss((action, node))
