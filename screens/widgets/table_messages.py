"""What a fleet table tells its screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from vgpu_console.screens.widgets.fleet_table import FleetTable


class TableMessage(Message, namespace="fleet_table"):
    """A message that knows its table, so that ``@on(FleetTable.Opened, "#hosts")`` works."""

    def __init__(self, table: FleetTable) -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> FleetTable:
        """The table that sent this."""
        return self.table


class Opened(TableMessage, namespace="fleet_table"):
    """Enter, or a second click, on a row."""

    def __init__(self, table: FleetTable, row_id: str) -> None:
        super().__init__(table)
        self.row_id = row_id


class Moved(TableMessage, namespace="fleet_table"):
    """The cursor is on another row; None: there is no row."""

    def __init__(self, table: FleetTable, row_id: str | None) -> None:
        super().__init__(table)
        self.row_id = row_id


class Vanished(TableMessage, namespace="fleet_table"):
    """The row under the cursor is not in the fleet any more; the cursor stayed at its place."""

    def __init__(self, table: FleetTable, row_id: str) -> None:
        super().__init__(table)
        self.row_id = row_id


class Marked(TableMessage, namespace="fleet_table"):
    """The set of marked rows changed."""


class Counted(TableMessage, namespace="fleet_table"):
    """The number of shown rows, or of all rows, changed."""
