"""A row of the fleet table."""

from __future__ import annotations

from typing import NamedTuple

from vgpu_console.screens.widgets.cells import Cell


class TableRow(NamedTuple):
    """A row: its identity, its cells in the order of the columns, and the text that the filter looks in (else the
    cells' words)."""

    id: str
    cells: tuple[Cell, ...]
    search: str = ""
