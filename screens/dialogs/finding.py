"""One finding whole: why it matters, and the command or the key that mends it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.model.snapshot import Finding
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.holders import finding_lines
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.seams import Copier


class FindingDialog(Dialog[None]):
    """The whole message and the whole command; ``y`` copies the command."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y,c", "copy_command", "Copy the command", id="finding.copy")]

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self._finding = finding
        self.heading = f"{finding.object}: {finding.id}"
        self.footing = "y copies the command · esc" if finding.command else "esc"

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(self._lines)

    def _lines(self, width: int) -> list[Line]:
        finding = self._finding
        lines: list[Line] = [*finding_lines([finding], width)]
        if finding.command:
            lines += [(), (("Command", "title"),), *hang((("  ", ""),), finding.command, "accent", width)]
        if finding.key:
            lines += [(), ((finding.key, "accent"), (" on its row in the table changes it here", "muted"))]
        return lines

    def action_copy_command(self) -> None:
        """Copy the command."""
        if self._finding.command and isinstance(self.app, Copier):
            self.app.copy_text(self._finding.command, "command")
