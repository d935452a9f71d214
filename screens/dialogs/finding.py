"""One finding whole: why it matters, what each side says, and the command or the key that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.findings import detail
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.seams import Copier

if TYPE_CHECKING:
    from vgpu_console.screens.finding_actions import Mending


class FindingDialog(Dialog[str]):
    """A page. It ends with what is to be done next: ``host``, ``server`` or ``mend``; None: nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,c", "copy_command", "Copy the command", id="finding.copy"),
        Binding("h", "go('host')", "Go to its host", id="finding.host"),
        Binding("i", "go('server')", "Show the server that it names", id="finding.server"),
    ]

    def __init__(
        self,
        finding: Finding,
        snapshot: Snapshot | None,
        now: float,
        mending: Mending | None = None,
        *,
        server: bool = False,
    ) -> None:
        """``mending`` is the action that mends it, with its key; ``server``: it names one that can be shown."""
        super().__init__()
        self._finding = finding
        self._snapshot = snapshot
        self._now = now
        self._mending = mending
        self._server = server
        self._key = (mending.key or "a") if mending is not None else ""
        if mending is not None:
            self._bindings.bind(self._key, "mend", mending.title)
        self.heading = f"{finding.object}: {finding.id}"
        parts = [f"{self._key} {mending.title.lower()}"] if mending is not None and not mending.why_not else []
        parts += ["c copy the command"] if finding.command else []
        parts += ["h host"] if finding.host else []
        parts += ["i server"] if server else []
        self.footing = " · ".join([*parts, "esc"])

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(self._lines)

    def _lines(self, width: int) -> list[Line]:
        lines: list[Line] = [*detail(self._finding, self._snapshot, self._now, width)]
        mending = self._mending
        if mending is not None:
            lines += [(), (("In this console", "title"),)]
            shown = ((f"  {self._key}  ", "muted" if mending.why_not else "accent"),)
            lines += hang(shown, mending.title + (f": {mending.why_not}" if mending.why_not else ""), "", width)
        elif self._finding.key:
            lines += [(), ((self._finding.key, "accent"), (" on its row in the table changes it", "muted"))]
        return lines

    def action_copy_command(self) -> None:
        """Copy the command."""
        if self._finding.command and isinstance(self.app, Copier):
            self.app.copy_text(self._finding.command, "command")

    def action_go(self, where: str) -> None:
        """Close, and go to its host or show its server."""
        if self._finding.host if where == "host" else self._server:
            self.dismiss(where)

    def action_mend(self) -> None:
        """Close, and begin the action that mends it, or say why that is not possible."""
        if self._mending is None:
            return
        if self._mending.why_not:
            self.app.bell()
        else:
            self.dismiss("mend")
