"""Asks to which moment of a recording to go."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from vgpu_console.recording.moments import local_words
from vgpu_console.recording.replay import Position
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.widgets.span_line import SpanLine


class ReplayTimeDialog(Dialog[float]):
    """Enter goes there; what is no time of the recording is said below the line."""

    heading = "Go to a time"
    footing = "enter goes there · esc"

    def __init__(self, position: Position, parse: Callable[[str], float]) -> None:
        """``parse`` makes seconds since the epoch of what is typed; raises ValueError with words."""
        super().__init__()
        self._position = position
        self._parse = parse

    def inside(self) -> ComposeResult:
        """What there is, and the line."""
        begins, ends = local_words(self._position.first), local_words(self._position.last)
        yield Lines(((f"recorded from {begins} to {ends}", "muted"),))
        with Horizontal(classes="field"):
            yield SpanLine((("time", "title"),), classes="field-name")
            yield Input(placeholder="03:15, +2h, -10m, 2026-09-21T03:15Z, start, end", id="replay-time-line")
        yield Lines(id="limit-error")

    def on_mount(self) -> None:
        """What is shown now is there, marked, so that typing replaces it."""
        line = self.query_one(Input)
        line.value = local_words(self._position.time)
        line.focus()
        line.select_all()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#limit-error", Lines).show([])

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self.dismiss(self._parse(event.value))
        except ValueError as error:
            self.query_one("#limit-error", Lines).show([((f"✗ {error}", "fail"),)])
