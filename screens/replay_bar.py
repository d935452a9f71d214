"""The line of a replay: playing or not, the recorded time, how fast, and the whole recording as a bar with marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vgpu_console.recording.format import Begun
from vgpu_console.recording.moments import local_words, span_words
from vgpu_console.recording.replay import Position
from vgpu_console.screens.seams import Transport
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Glyphs, Span
from vgpu_console.screens.widgets.columns import spans_width
from vgpu_console.screens.widgets.span_line import SpanLine

TICK_S = 0.25
LEAST_BAR = 10
NARROW = 100

Marks = Callable[[int], Sequence[Begun | None]]
"""What began where, for a bar of so many cells."""


class ReplayBar(SpanLine):
    """Brings itself up to date; draws only the cells that changed."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(id="replay")
        self._transport = transport
        self._marks: tuple[int, Sequence[Begun | None]] = (-1, ())

    def on_mount(self) -> None:
        """Go with the recorded time."""
        self.set_interval(TICK_S, self.tick)
        self.tick()

    def on_resize(self) -> None:
        """The bar takes what room there is."""
        self.tick()

    def tick(self) -> None:
        """Show where it is now."""
        reading = getattr(self.app, "snapshot", None) is None
        self.set_spans(*bar_spans(self._transport.position, self.size.width, self._of_cells, reading=reading))

    def _of_cells(self, count: int) -> Sequence[Begun | None]:
        if self._marks[0] != count:
            self._marks = (count, self._transport.marks(count))
        return self._marks[1]


def bar_spans(
    position: Position, width: int, marks: Marks, *, reading: bool = False
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The words of the line, left and right, for ``width`` cells. Where there is no room the bar gives way.

    ``reading``: there is no picture yet; the first one of a large fleet takes some seconds.
    """
    glyphs = cells.glyphs()
    narrow = width < NARROW
    sign = (f"{glyphs.cursor} playing", "ok") if position.playing else (f"{_pause(glyphs)} paused", "warn")
    if reading and not position.note:
        sign = (f"{glyphs.pending} reading", "warn")
    left: list[Span] = [(" ", ""), sign, (f"  {local_words(position.time, date=False)}", "title")]
    left.append((f"  {_speed(position.speed)}  ", "accent" if position.speed != 1 else "muted"))
    gone, whole = span_words(position.time - position.first), span_words(position.last - position.first)
    frames = f"{position.number + 1}/{position.frames}"
    right: list[Span] = []
    if position.note:
        right.append((f"{glyphs.warn} damaged" if narrow else f"{glyphs.warn} not all of it could be read", "warn"))
        right.append(("  ", ""))
    right.append((f"{frames} " if narrow else f"{gone} of {whole}  frame {frames} ", "muted"))
    room = width - spans_width(left, glyphs) - spans_width(right, glyphs) - 2
    if room >= LEAST_BAR:
        left += _bar(position, room, marks(room), glyphs)
    return tuple(left), tuple(right)


def _bar(position: Position, room: int, marks: Sequence[Begun | None], glyphs: Glyphs) -> list[Span]:
    """Filled up to where it is, with a sign where something began: ``!`` a finding or a source, ``▸`` a migration."""
    filled = min(room, max(1, round(position.part * room)))
    out: list[Span] = []
    for cell in range(room):
        begun = marks[cell] if cell < len(marks) else None
        if begun is not None and begun.fails:
            span = (glyphs.warn, "fail")
        elif begun is not None and (begun.warns or begun.failed_sources):
            span = (glyphs.warn, "warn")
        elif begun is not None and begun.migrations:
            span = (glyphs.cursor, "accent")
        else:
            span = (glyphs.full, "bar") if cell < filled else (glyphs.rest, "bar-rest")
        if out and out[-1][1] == span[1]:
            out[-1] = (out[-1][0] + span[0], span[1])
        else:
            out.append(span)
    return out


def _pause(glyphs: Glyphs) -> str:
    return "=" if glyphs.ascii else "‖"


def _speed(speed: float) -> str:
    return f"×{speed:g}"
