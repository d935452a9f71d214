"""Lines with a hanging indent: words wrapped by hand where the rest of a line must stand below its own column."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

from vgpu_console.screens.widgets.cells import Span
from vgpu_console.text import plain

Line = tuple[Span, ...]


def hang(first: Sequence[Span], text: str, tone: str, width: int, after: Span | None = None) -> list[Line]:
    """``first`` and behind it the text, wrapped to ``width`` cells; later lines start below the text's beginning.

    ``after`` stands at the right end of the first line where that leaves room, else on a line of its own.
    """
    indent = sum(cell_len(word) for word, _ in first)
    room = max(8, width - indent)
    rows = wrapped(text, room)
    lines: list[Line] = [(*first, (rows[0], tone)), *(((" " * indent, ""), (row, tone)) for row in rows[1:])]
    if after is not None and after[0]:
        gap = width - indent - cell_len(rows[0]) - cell_len(after[0])
        if gap >= 2:
            lines[0] = (*lines[0], (" " * gap, ""), after)
        else:
            lines.append(((" " * indent, ""), after))
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """The text in rows of at most ``width`` cells, broken at spaces; a longer word is cut where it must be."""
    rows: list[str] = []
    row, used = "", 0
    for word in plain(text).split(" "):
        for piece in chop_cells(word, width) or [""]:
            size = cell_len(piece)
            if row and used + 1 + size <= width:
                row, used = f"{row} {piece}", used + 1 + size
            else:
                rows += [row] if row else []
                row, used = piece, size
    return [*rows, row]
