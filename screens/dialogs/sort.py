"""Choose the column to sort by."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on
from textual.app import ComposeResult

from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.widgets.cells import glyphs, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

_COLUMNS = (Column("key", "KEY", 3), Column("column", "COLUMN", 16, flex=1), Column("now", "NOW", 8))
_LETTERS = "abcdefghilmnoprstuvwxyz"  # without j and k, which move, and q, which closes


def letters_for(columns: Sequence[Column]) -> dict[str, str]:
    """A letter for each column, its own first letter where that is free: column key -> letter."""
    taken: dict[str, str] = {}
    for column in columns:
        own = [c for c in column.title.lower() if c in _LETTERS]
        letter = next((c for c in [*own, *_LETTERS] if c not in taken.values()), "")
        taken[column.key] = letter
    return taken


class SortDialog(Dialog[str]):
    """A list of the columns; a letter or enter chooses. The current column chosen again turns its order around."""

    heading = "Sort by"
    footing = "letter or enter chooses · the same again reverses · esc"

    def __init__(self, columns: Sequence[Column], current: str | None, reverse: bool) -> None:
        super().__init__()
        self._columns = columns
        self._current = current
        self._arrow = glyphs().descending if reverse else glyphs().ascending
        self._letters = letters_for(columns)

    def inside(self) -> ComposeResult:
        """The list."""
        table = FleetTable(_COLUMNS, id="sort-table", classes="list")
        table.styles.height = min(len(self._columns) + 1, 16)
        yield table

    def on_mount(self) -> None:
        """Fill the list and start at the current column."""
        table = self.query_one(FleetTable)
        titles = {"!": "findings"}
        table.set_rows(
            [
                TableRow(
                    c.key,
                    (
                        text(self._letters[c.key], "accent"),
                        text(titles.get(c.title, c.title.lower())),
                        text(self._arrow if c.key == self._current else ""),
                    ),
                )
                for c in self._columns
            ]
        )
        if self._current is not None:
            table.select(self._current)

    def on_key(self, event: events.Key) -> None:
        """A column's letter chooses it."""
        for key, letter in self._letters.items():
            if event.character == letter and letter:
                event.stop()
                self.dismiss(key)
                return

    @on(FleetTable.Opened)
    def _chosen(self, event: FleetTable.Opened) -> None:
        event.stop()
        self.dismiss(event.row_id)
