"""A line of toned words that redraws only the cells that changed: the title, the strip of sources, panel titles."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.columns import fit, spans_width
from vgpu_console.screens.widgets.toned import Toned


class SpanLine(Toned):
    """One line: spans on the left, spans on the right. Where both have no room the left is cut with an ellipsis."""

    DEFAULT_CSS = """
    SpanLine {
        height: 1;
        width: 1fr;
        background: $background;
        color: $foreground;
    }
    """

    can_focus = False

    def __init__(
        self,
        left: Sequence[Span] = (),
        right: Sequence[Span] = (),
        *,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._left: tuple[Span, ...] = tuple(left)
        self._right: tuple[Span, ...] = tuple(right)

    @property
    def text(self) -> str:
        """The line as it is drawn, without tones and without space at its end."""
        return "".join(segment.text for segment in self._segments(self.size.width)).rstrip()

    def set_spans(self, left: Sequence[Span], right: Sequence[Span] = ()) -> None:
        """Show these words; nothing is written to the terminal when they look the same."""
        new = (tuple(left), tuple(right))
        if new == (self._left, self._right):
            return
        if not self.is_attached or not self.size.width:
            self._left, self._right = new
            return
        before = _by_cell(self._segments(self.size.width))
        self._left, self._right = new
        after = _by_cell(self._segments(self.size.width))
        regions = [Region(start, 0, end - start, 1) for start, end in _differences(before, after)]
        if regions:
            self.refresh(*regions)

    def _segments(self, width: int) -> list[Segment]:
        styles = self.tones().normal
        base = styles[""]
        glyphs = cells.glyphs()
        wide = min(width, spans_width(self._right, glyphs))
        room = max(0, width - wide - (1 if wide else 0))
        segments = fit(self._left, room, "left", styles, glyphs, base)
        if wide:
            segments += [Segment(" ", base)] if width > wide else []
            segments += fit(self._right, wide, "right", styles, glyphs, base)
        return segments

    def render_line(self, y: int) -> Strip:
        """The line itself; further lines, if a style gives any, are blank."""
        width = self.size.width
        segments = self._segments(width) if y == 0 else []
        return Strip(segments).adjust_cell_length(width, self.rich_style).simplify()


def _by_cell(segments: Sequence[Segment]) -> list[tuple[str, Style | None]]:
    """What stands in each cell. A wide character fills two: its own and an empty one behind it."""
    out: list[tuple[str, Style | None]] = []
    for segment in segments:
        for char in segment.text:
            size = Segment(char).cell_length
            if size == 0 and out:
                out[-1] = (out[-1][0] + char, out[-1][1])
                continue
            out.append((char, segment.style))
            out.extend([("", segment.style)] * (size - 1))
    return out


def _differences(before: Sequence[object], after: Sequence[object], join: int = 4) -> list[tuple[int, int]]:
    """Stretches of cells that differ; stretches fewer than ``join`` cells apart are one, since moving costs more."""
    out: list[tuple[int, int]] = []
    for at in range(max(len(before), len(after))):
        if at < len(before) and at < len(after) and before[at] == after[at]:
            continue
        if out and at - out[-1][1] < join:
            out[-1] = (out[-1][0], at + 1)
        else:
            out.append((at, at + 1))
    return out
