"""The report of a drain: read here, copied, or written into files."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.drain import Drain
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.render.drain import report_page, report_text
from vgpu_console.screens.seams import Copier


class DrainReportDialog(Dialog[None]):
    """``c`` copies the report, ``w`` writes it as text and as JSON."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,y", "copy", "Copy the report", id="report.copy"),
        Binding("w", "write", "Write the report as text and as JSON", id="report.write"),
    ]
    AUTO_FOCUS = "Page"

    footing = "c copy · w write text and JSON · esc"

    def __init__(self, drain: Drain, write: Callable[[Drain], None]) -> None:
        """``write`` writes the files and says where; it returns at once."""
        super().__init__()
        self._drain = drain
        self._write = write
        self.heading = f"Report of the drain of {drain.host}"

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(lambda width: report_page(self._drain, width), id="report-page")

    def action_copy(self) -> None:
        """Copy it as text."""
        if isinstance(self.app, Copier):
            self.app.copy_text(report_text(self._drain), "the report")

    def action_write(self) -> None:
        """Write it."""
        self._write(self._drain)
