"""At the start: changes that a console had begun and did not live to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.unfinished import Unfinished
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.render.unfinished import unfinished_lines
from vgpu_console.screens.render.words import plural


class UnfinishedDialog(Dialog[bool]):
    """What was under way and what is true now; True is given back when the operator has looked at it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "settle", "Mark as looked at", id="unfinished.settle")]
    AUTO_FOCUS = "Page"

    footing = "m mark as looked at · esc: ask again next time"

    def __init__(self, found: Sequence[Unfinished], now: Callable[[], float]) -> None:
        super().__init__()
        self._found = found
        self._now = now
        self.heading = f"{plural(len(found), 'change')} never ended"

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(lambda width: unfinished_lines(self._found, self._now(), width))

    def action_settle(self) -> None:
        """Have it written down that it was looked at."""
        self.dismiss(True)
