"""A change while it is applied, and how it ended. Closing it stops nothing but the waiting for an operator's hands."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.bulk import result_lines
from vgpu_console.screens.render.plans import change_lines, outcome_lines
from vgpu_console.screens.render.progress import head_line, step_lines
from vgpu_console.screens.render.words import plural
from vgpu_console.screens.seams import Copier


class ApplyDialog(Dialog[str]):
    """Steps while they are taken, then the outcome; ``again`` is given back when the change is to be planned anew."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "again", "Plan again", id="change.again"),
        Binding("s", "stop", "Stop after this one", id="change.stop"),
        Binding("c", "copy", "Copy what happened", id="change.copy"),
    ]
    AUTO_FOCUS = "Page"

    def __init__(self, run: ChangeRun) -> None:
        super().__init__()
        self.run = run
        self.heading = run.plans[0].title if run.single else plural(len(run.plans), "change")
        self.footing = self._keys()

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(self._lines, id="apply-page")

    def restate(self) -> None:
        """Show the news."""
        if not self.is_mounted:
            return
        self.query_one(Page).restate()
        self.set_footing(self._keys())

    def _keys(self) -> str:
        run = self.run
        if not run.finished:
            if run.stopping:
                return "looking once more …" if run.single else "stops after this one · esc: it goes on"
            if run.by_hand:
                return "c copy the command · esc stops waiting"
            if run.single:
                return "esc: it goes on"
            return "s stop after this one · esc"
        return " · ".join([*(["p plan again"] if run.moved else []), "c copy", "esc"])

    def _lines(self, width: int) -> list[Line]:
        run = self.run
        if not run.single:
            counted = sum(o is not None and o.ok for o in run.outcomes)
            return [
                head_line(counted, len(run.plans), finished=run.finished),
                (),
                *result_lines(run.plans, run.outcomes, -1 if run.finished else run.at, run.word, width),
            ]
        plan, outcome = run.plans[0], run.outcomes[0]
        lines = [*change_lines(plan, width), ()]
        if outcome is not None:
            return [*lines, *outcome_lines(outcome, width)]
        return [*lines, *step_lines(plan, run.taken, run.word, width)]

    def action_again(self) -> None:
        """Plan it anew from what is there now."""
        if self.run.finished and self.run.moved:
            self.dismiss("again")

    def action_stop(self) -> None:
        """Begin no further one of several."""
        if not self.run.single and not self.run.finished:
            self.run.stop()
            self.restate()

    def action_close(self) -> None:
        """Close it; while it waits for the operator's hands, stop waiting and tell what is there."""
        if not self.run.by_hand:
            self.dismiss(None)
        elif not self.run.stopping:
            self.run.stop()
            self.restate()

    def action_copy(self) -> None:
        """Copy the command that is waited for, else how it ended."""
        if isinstance(self.app, Copier):
            command = self.run.by_hand
            self.app.copy_text(command or self.query_one(Page).text, "the command" if command else "the outcome")
