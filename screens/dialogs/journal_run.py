"""One change of the journal whole."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.journal_runs import Run
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.render.journal import run_lines
from vgpu_console.screens.render.wrap import Line
from vgpu_console.screens.seams import Copier


class JournalRunDialog(Dialog[None]):
    """A page of what was planned, on what grounds, and how it ended."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy_commands", "Copy the same by hand", id="journal.copy"),
        Binding("r", "copy_run", "Copy the run's id", id="journal.copy-run"),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.heading = run.plan.title if run.plan is not None else f"run {run.run}"
        self.footing = "c copy the commands · r copy the run's id · esc"

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(self._lines)

    def _lines(self, width: int) -> list[Line]:
        return run_lines(self._run, width)

    def action_copy_commands(self) -> None:
        """Copy what would have done the same."""
        if self._run.plan is not None and self._run.plan.commands and isinstance(self.app, Copier):
            self.app.copy_text("\n".join(self._run.plan.commands), "commands")

    def action_copy_run(self) -> None:
        """Copy the id that ``vgpu-console journal`` takes."""
        if isinstance(self.app, Copier):
            self.app.copy_text(self._run.run, "run id")
