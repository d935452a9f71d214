"""Columns of the fleet table, and how they share a line: the less important go first when it is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from vgpu_console.screens.widgets.cells import Glyphs, Span
from vgpu_console.text import plain

GAP = 2
"""Cells between two columns."""

_LEAST = 3
"""No column is squeezed below this many cells."""


@dataclass(frozen=True)
class Column:
    """A column: ``width`` is its least width in cells, ``flex`` its share of spare room (``maximum`` cells at most,
    0 for no bound). ``priority`` 0 is always shown; of the others the highest number goes first when room is short.
    """

    key: str
    title: str
    width: int
    align: Literal["left", "right"] = "left"
    flex: int = 0
    priority: int = 0
    maximum: int = 0


class Placed(NamedTuple):
    """A column that is shown: its place among all columns, where it starts, and how wide it is."""

    place: int
    x: int
    width: int
    column: Column


def layout(columns: Sequence[Column], width: int, start: int = 0) -> tuple[Placed, ...]:
    """Which columns are shown in ``width`` cells, and where. Nothing is placed beyond the width."""
    shown = list(range(len(columns)))

    def need() -> int:
        return start + sum(columns[i].width for i in shown) + GAP * max(0, len(shown) - 1)

    while need() > width:
        droppable = [i for i in shown if columns[i].priority > 0]
        if not droppable:
            break
        shown.remove(max(droppable, key=lambda i: (columns[i].priority, i)))
    widths = {i: columns[i].width for i in shown}
    missing = need() - width
    while missing > 0:
        widest = max(shown, key=lambda i: widths[i], default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
        missing -= 1
    if missing < 0:
        _share(columns, shown, widths, -missing)
    placed = []
    x = start
    for i in shown:
        if x >= width:
            break
        placed.append(Placed(i, x, min(widths[i], width - x), columns[i]))
        x += widths[i] + GAP
    return tuple(placed)


def _share(columns: Sequence[Column], shown: list[int], widths: dict[int, int], spare: int) -> None:
    """Give the spare cells to the flexible columns by their shares, up to their maxima."""
    open_ = [i for i in shown if columns[i].flex > 0]
    while spare > 0 and open_:
        total = sum(columns[i].flex for i in open_)
        given = 0
        for i in list(open_):
            part = max(1, spare * columns[i].flex // total)
            if columns[i].maximum:
                part = min(part, columns[i].maximum - widths[i])
                if part <= 0:
                    open_.remove(i)
                    continue
            part = min(part, spare - given)
            widths[i] += part
            given += part
        if not given and not open_:
            return
        spare -= given


_ASCII_SIGNS = str.maketrans("✓✗…·×–▸●◐█░→∞‖▲▼", "+x~.x->*!#->~=^v")
"""Stand-ins for the console's own signs, so that they do not become ``?``, which means unknown."""


def safe(value: str, glyphs: Glyphs) -> str:
    """Text as it may go to the terminal: past ``plain()``, and in ASCII where the terminal has nothing else."""
    cleaned = plain(value)
    if glyphs.ascii and not cleaned.isascii():
        return cleaned.translate(_ASCII_SIGNS).encode("ascii", "replace").decode("ascii")
    return cleaned


def fit(
    spans: Sequence[Span], width: int, align: str, styles: dict[str, Style], glyphs: Glyphs, fill: Style
) -> list[Segment]:
    """Spans as segments of exactly ``width`` cells: padded on the side away from ``align``, or cut with ``…``."""
    if width <= 0:
        return []
    pieces = [(safe(text, glyphs), styles.get(tone, fill)) for text, tone in spans]
    lengths = [cell_len(text) for text, _ in pieces]
    total = sum(lengths)
    if total <= width:
        segments = [Segment(text, style) for text, style in pieces if text]
        if total < width:
            pad = Segment(" " * (width - total), fill)
            segments.insert(0, pad) if align == "right" else segments.append(pad)
        return segments
    segments = []
    room = width - 1
    last = fill
    for (text, style), length in zip(pieces, lengths, strict=True):
        last = style
        if length > room:
            if room:
                segments.append(Segment(set_cell_size(text, room), style))
            break
        if text:
            segments.append(Segment(text, style))
        room -= length
    segments.append(Segment(glyphs.more, last))
    return segments


def spans_width(spans: Sequence[Span], glyphs: Glyphs) -> int:
    """How many cells the spans take when nothing is cut."""
    return sum(cell_len(safe(text, glyphs)) for text, _ in spans)
