"""Choose what of a row goes to the clipboard."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on
from textual.app import ComposeResult

from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.render.words import clip
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

_COLUMNS = (Column("key", "KEY", 3), Column("what", "WHAT", 17), Column("text", "TEXT", 20, flex=1))


class CopyDialog(Dialog[tuple[str, str]]):
    """Each choice with its key and its text. The key, or enter, copies; ``y`` again copies the first."""

    heading = "Copy"
    footing = "key or enter copies · esc"

    def __init__(self, choices: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._choices = {key: (what, value) for key, what, value in choices}

    def inside(self) -> ComposeResult:
        """The list."""
        table = FleetTable(_COLUMNS, id="copy-table", classes="list")
        table.styles.height = len(self._choices) + 1
        yield table

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one(FleetTable).set_rows(
            [
                TableRow(
                    key,
                    (
                        text(key, "accent"),
                        text(what),
                        text(clip(value.split("\n", 1)[0].replace("\t", "  "), 200), "muted"),
                    ),
                )
                for key, (what, value) in self._choices.items()
            ]
        )

    def on_key(self, event: events.Key) -> None:
        """A choice's key copies it."""
        key = next(iter(self._choices)) if event.character == "y" else event.character
        if key in self._choices:
            event.stop()
            self.dismiss(self._choices[key])

    @on(FleetTable.Opened)
    def _chosen(self, event: FleetTable.Opened) -> None:
        event.stop()
        self.dismiss(self._choices[event.row_id])
