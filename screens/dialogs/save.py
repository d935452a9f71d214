"""Choose what goes into a file: the screen in front, or the fleet's report in one of its formats."""

from __future__ import annotations

from pathlib import Path

from textual import events, on
from textual.app import ComposeResult

from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.render.words import clip
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

SCREEN = "s"
"""The key of the first choice."""

_COLUMNS = (Column("key", "KEY", 3), Column("what", "WHAT", 16), Column("file", "FILE", 20, flex=1))

_FLEET = (
    ("m", "fleet report", "Markdown, for a ticket or a wiki"),
    ("h", "fleet report", "HTML, one file that needs nothing else; prints"),
    ("n", "fleet report", "JSON, for a script"),
    ("c", "fleet report", "CSV, all tables"),
)


class SaveDialog(Dialog[str]):
    """Each choice with its key; the key, or enter, writes it."""

    heading = "Write to a file"
    footing = "key or enter writes · esc"

    def __init__(self, *, has_fleet: bool, last: Path | None) -> None:
        """``has_fleet``: there is something to report. ``last`` is what was written last, whose path may be copied."""
        super().__init__()
        self._choices = [(SCREEN, "this screen", "SVG picture, and text")]
        if has_fleet:
            self._choices += _FLEET
        if last is not None:
            self._choices.append(("y", "copy path", str(last)))

    def inside(self) -> ComposeResult:
        """The list."""
        table = FleetTable(_COLUMNS, id="save-table", classes="list")
        table.styles.height = len(self._choices) + 1
        yield table

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one(FleetTable).set_rows(
            [
                TableRow(key, (text(key, "accent"), text(what), text(clip(where, 300), "muted")))
                for key, what, where in self._choices
            ]
        )

    def on_key(self, event: events.Key) -> None:
        """A choice's key takes it; enter takes the first one when it came before the list had the focus."""
        typed_ahead = event.key == "enter" and not isinstance(self.focused, FleetTable)
        key = SCREEN if typed_ahead else event.character
        if any(key == one for one, _, _ in self._choices):
            event.stop()
            self.dismiss(key)

    @on(FleetTable.Opened)
    def _chosen(self, event: FleetTable.Opened) -> None:
        event.stop()
        self.dismiss(event.row_id)
