"""How a line of the fleet table is drawn: the header, a row, the words of an empty table. Nothing here keeps state."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region

from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Cell
from vgpu_console.screens.widgets.columns import Placed, fit, safe
from vgpu_console.screens.widgets.table_row import TableRow
from vgpu_console.screens.widgets.tones import Palette

GUTTER = 3
"""Cells before the first column: the cursor's sign, the mark, and a space."""

_EMPTY_WIDTH = 72
_NOTHING = Cell(())


def cell_at(row: TableRow, place: int) -> Cell:
    """The row's cell of a column; an empty one where the row is too short."""
    return row.cells[place] if place < len(row.cells) else _NOTHING


def differing(old: TableRow, new: TableRow, placed: Sequence[Placed], y: int) -> list[Region]:
    """Where on line ``y`` two rows look different; neighbouring columns are one region, since a move costs bytes."""
    out: list[Region] = []
    joined = False
    for one in placed:
        if cell_at(old, one.place).spans == cell_at(new, one.place).spans:
            joined = False
            continue
        if joined:
            last = out.pop()
            out.append(Region(last.x, y, one.x + one.width - last.x, 1))
        else:
            out.append(Region(one.x, y, one.width, 1))
        joined = True
    return out


def header(placed: Sequence[Placed], styles: Palette, sort_key: str | None, reverse: bool) -> list[Segment]:
    """The titles, with an arrow beside the one that the rows are sorted by."""
    blank = styles.normal[""]
    segments: list[Segment] = []
    at = 0
    for one in placed:
        if one.x > at:
            segments.append(Segment(" " * (one.x - at), blank))
        if one.column.key == sort_key:
            segments += _sorted_title(one, styles, reverse)
        else:
            title = ((one.column.title, "title"),)
            segments += fit(title, one.width, one.column.align, styles.normal, cells.glyphs(), blank)
        at = one.x + one.width
    return segments


def _sorted_title(one: Placed, styles: Palette, reverse: bool) -> list[Segment]:
    glyphs = cells.glyphs()
    blank = styles.normal[""]
    arrow = f" {glyphs.descending if reverse else glyphs.ascending}"[-one.width :]
    room = one.width - len(arrow)
    lead = min(cell_len(safe(one.column.title, glyphs)), room)
    name = fit(((one.column.title, "title"),), lead, "left", styles.normal, glyphs, blank)
    sign = Segment(arrow, styles.normal["accent"])
    pad = Segment(" " * (room - lead), blank)
    return [pad, *name, sign] if one.column.align == "right" else [*name, sign, pad]


def row_line(
    row: TableRow, placed: Sequence[Placed], styles: Palette, *, cursor: bool, marked: bool, focus: bool
) -> list[Segment]:
    """A row: its signs in the gutter, then its cells."""
    glyphs = cells.glyphs()
    chosen = styles.normal if not cursor else styles.cursor if focus else styles.cursor_blurred
    fill = chosen[""]
    segments = [
        Segment(glyphs.cursor if cursor else " ", chosen["accent"]),
        Segment(glyphs.mark if marked else " ", chosen["accent"]),
        Segment(" ", fill),
    ]
    at = GUTTER
    for one in placed:
        if one.x > at:
            segments.append(Segment(" " * (one.x - at), fill))
        segments += fit(cell_at(row, one.place).spans, one.width, one.column.align, chosen, glyphs, fill)
        at = one.x + one.width
    return segments


def empty_lines(words: str, width: int, height: int) -> dict[int, str]:
    """The lines that say why a table is empty, by their place: wrapped, in the middle of the room below the header."""
    if not words or width < 5 or height < 2:
        return {}
    text = safe(words, cells.glyphs())
    lines = [line.plain.rstrip() for line in Content(text).wrap(min(width - 4, _EMPTY_WIDTH))]
    lines = lines[: height - 1]
    top = 1 + (height - 1 - len(lines)) // 2
    return {top + i: " " * ((width - cell_len(line)) // 2) + line for i, line in enumerate(lines)}
