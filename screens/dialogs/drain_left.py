"""Drains that a console had begun and did not end: what is left of each, and the offer to go on with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.drain_commands import resume_command
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.guard import InputGuard
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.render.drain import left_lines
from vgpu_console.screens.seams import Copier
from vgpu_console.screens.widgets.cells import Span, glyphs
from vgpu_console.screens.widgets.span_line import SpanLine


class GoOn(NamedTuple):
    """What the operator wants of a drain that was left."""

    id: str
    look: bool = False  # only look at it
    failed_too: bool = False


class DrainLeftDialog(Dialog[GoOn]):
    """One drain at a time; ``a`` goes on with it, nothing else does. Enter is no answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "go_on", "Go on with it", id="left.go-on"),
        Binding("v", "look", "Look at it", id="left.look"),
        Binding("f", "failed", "Try those that failed once more", id="left.failed"),
        Binding("tab,right", "other(1)", "The next drain", id="left.next"),
        Binding("shift+tab,left", "other(-1)", "The drain before", id="left.previous"),
        Binding("c,y", "copy", "Copy the command", id="left.copy"),
        Binding("n", "close", "No", show=False),
        Binding("enter", "enter", "No answer", show=False),
    ]
    AUTO_FOCUS = "Page"

    def __init__(
        self, drains: Sequence[KnownDrain], clock: Callable[[], float], why_not: Callable[[bool], str], *, seen: bool
    ) -> None:
        """``why_not`` as for a new drain; ``seen``: the operator comes from looking at it."""
        super().__init__()
        self._drains = tuple(drains)
        self._clock = clock
        self._guard = InputGuard(clock)
        self._why_not = why_not
        self._seen = seen
        self._at = 0
        self._failed_too = not self._known.drain.unfinished
        self._said = ""
        self.heading = self._title()

    @property
    def _known(self) -> KnownDrain:
        return self._drains[self._at]

    def _title(self) -> str:
        host = self._known.drain.host
        number = f"  ({self._at + 1} of {len(self._drains)})" if len(self._drains) > 1 else ""
        return f"The drain of {host} is not done{number}"

    def inside(self) -> ComposeResult:
        """The page and the choice."""
        yield Page(self._lines, beside=4, id="left-page")
        yield SpanLine(id="left-said")
        yield SpanLine(id="left-choice")

    def on_mount(self) -> None:
        """From now on keys count, after a moment."""
        self._guard = InputGuard(self._clock)
        self.restate()

    def _lines(self, width: int) -> list[tuple[Span, ...]]:
        return left_lines(self._drains, self._at, width, failed_too=self._failed_too)

    def _why(self) -> str:
        return self._why_not(self._known.drain.service == "wanted")

    def restate(self) -> None:
        """Show what is chosen now."""
        from textual.content import Content

        from vgpu_console.text import plain

        self.query_one("#dialog").border_title = Content(f" {plain(self._title(), 120)} ")
        self.query_one(Page).restate()
        said = self.query_one("#left-said", SpanLine)
        said.display = bool(self._said)
        said.set_spans(((self._said, "warn"),))
        why = self._why()
        left: tuple[Span, ...] = (("[ No ]", "accent"), ("   n or esc: it stays, 4 shows it", "muted"))
        right: tuple[Span, ...] = (("a goes on with it", "accent"),)
        if why:
            left, right = ((f"{glyphs().fail} not possible now", "fail"), (f"  {why}", "muted")), ()
        self.query_one("#left-choice", SpanLine).set_spans(left, right)
        parts = [] if why else ["a go on"]
        parts += [] if self._seen else ["v look at it"]
        parts += ["tab other"] if len(self._drains) > 1 else []
        self.set_footing(" · ".join([*parts, "c copy command", "esc"]))

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_go_on(self) -> None:
        """Go on with it."""
        if not self._guard.lets_pass():
            return
        if why := self._why():
            self._tell(f"not possible now: {why}")
        else:
            self.dismiss(GoOn(self._known.drain.id, failed_too=self._failed_too))

    def action_look(self) -> None:
        """Show its table."""
        if not self._seen:
            self.dismiss(GoOn(self._known.drain.id, look=True))

    def action_failed(self) -> None:
        """Those that failed, too, or not."""
        if self._known.view.counts.get("failed") and self._known.drain.unfinished:
            self._failed_too = not self._failed_too
            self.restate()

    def action_other(self, step: int) -> None:
        """Another drain."""
        self._at = (self._at + step) % len(self._drains)
        self._failed_too = not self._known.drain.unfinished
        self._tell("")

    def action_copy(self) -> None:
        """Copy the command that goes on with it."""
        if isinstance(self.app, Copier):
            self.app.copy_text(resume_command(self._known.drain), "the command")

    def action_enter(self) -> None:
        """Enter alone is no answer."""
        self._tell("enter alone is no answer: n for no, a goes on with it")

    def _tell(self, text: str) -> None:
        self._said = text
        self.restate()
