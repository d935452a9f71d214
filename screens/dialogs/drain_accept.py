"""What servers of a running drain wait for somebody to accept: each warning and each unknown by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.guard import InputGuard
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.widgets.cells import glyphs
from vgpu_console.screens.widgets.span_line import SpanLine


class DrainAcceptDialog(Dialog[tuple[str, ...]]):
    """Space accepts one after the other, ``a`` takes them upon the drain; gives back their ids."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "accept", "Accept the next check", id="accept.next"),
        Binding("backspace", "take_back", "Take the last acceptance back", show=False),
        Binding("a", "apply", "Let the drain go on with what is accepted", id="accept.apply"),
        Binding("n", "close", "No", show=False),
    ]
    AUTO_FOCUS = "Page"

    heading = "To accept"
    footing = "space accept · a apply · n no · esc"

    def __init__(self, open_checks: Mapping[str, Sequence[str]], clock: Callable[[], float]) -> None:
        """``open_checks``: id of a check -> what it says, a line for each server."""
        super().__init__()
        self._open = dict(open_checks)
        self._clock = clock
        self._guard = InputGuard(clock)
        self._accepted: list[str] = []

    def inside(self) -> ComposeResult:
        """The page and the choice."""
        yield Page(self._lines, beside=2, id="accept-page")
        yield SpanLine(id="accept-choice")

    def on_mount(self) -> None:
        """From now on keys count, after a moment."""
        self._guard = InputGuard(self._clock)
        self._restate()

    @property
    def _left(self) -> list[str]:
        return [one for one in self._open if one not in self._accepted]

    def _lines(self, width: int) -> list[Line]:
        lines: list[Line] = []
        cursor = next(iter(self._left), None)
        for id, said in self._open.items():
            done = id in self._accepted
            sign = (f"{glyphs().ok} accepted  ", "accent") if done else (f"{glyphs().warn} ", "warn")
            lines.append(((f"{glyphs().cursor} " if id == cursor else "  ", "accent"), sign, (id, "title")))
            for one in said:
                lines += hang((("    ", ""),), one, "", width)
        return lines

    def _restate(self) -> None:
        self.query_one(Page).restate()
        said = "a lets the drain go on with them" if self._accepted else "space accepts the one at the cursor"
        self.query_one("#accept-choice", SpanLine).set_spans(
            (("[ No ]", "accent"), ("   n or esc", "muted")), ((said, "accent" if self._accepted else "warn"),)
        )

    def action_accept(self) -> None:
        """Accept the next."""
        if self._left and self._guard.lets_pass():
            self._accepted.append(self._left[0])
            self._restate()

    def action_take_back(self) -> None:
        """Take the last acceptance back."""
        if self._accepted:
            self._accepted.pop()
            self._restate()

    def action_apply(self) -> None:
        """Take the accepted ones upon the drain."""
        if self._accepted and self._guard.lets_pass():
            self.dismiss(tuple(self._accepted))
