"""Ask for a limit: what holds now, what a number means here, and a line to type it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from vgpu_console.actions.limit_values import parse_limit
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.projects import PlanError
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line, Lines
from vgpu_console.screens.widgets.span_line import SpanLine

Planner = Callable[[int | None], tuple[Plan, ...]]
"""From a limit (None: take the own limit away) to plans. Raises PlanError."""

_BACK = frozenset({"d", "default", "clear"})


class LimitDialog(Dialog[tuple[int | None, tuple[Plan, ...]]]):
    """Enter makes the plan of what was typed and hands both on; nothing is changed here."""

    def __init__(
        self,
        heading: str,
        about: Callable[[int], Sequence[Line]],
        planner: Planner,
        *,
        present: str = "",
        clearable: bool = False,
    ) -> None:
        super().__init__()
        self.heading = heading
        self.footing = "enter shows the plan · esc"
        self._about = about
        self._planner = planner
        self._present = present
        self._clearable = clearable
        self._busy = False

    def inside(self) -> ComposeResult:
        """What holds now, the line, and below it what is wrong with what was typed."""
        page = Page(self._about, beside=4, id="limit-about")
        page.can_focus = False
        yield page
        with Horizontal(classes="field"):
            yield SpanLine((("new limit", "title"),), classes="field-name")
            hint = "a number, or d for the default" if self._clearable else "a number"
            yield Input(self._present, placeholder=hint, id="limit-line")
        yield Lines(id="limit-error")

    def on_mount(self) -> None:
        """The present limit is there, marked, so that typing replaces it."""
        line = self.query_one(Input)
        line.focus()
        line.select_all()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#limit-error", Lines).show([])

    @on(Input.Submitted)
    async def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if self._busy:
            return
        self._busy = True
        try:
            value = self._value(event.value)
            plans = await asyncio.to_thread(self._planner, value)
        except PlanError as error:
            self.query_one("#limit-error", Lines).show([((f"✗ {error}", "fail"),)])
        else:
            self.dismiss((value, plans))
        finally:
            self._busy = False

    def _value(self, typed: str) -> int | None:
        if self._clearable and typed.strip().lower() in _BACK:
            return None
        if not typed.strip():
            raise PlanError("no number was typed")
        return parse_limit(typed)
