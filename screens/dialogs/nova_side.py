"""Nova's side of a host: what is configured and reported of its GPUs, against what they can do; the snippet to copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.nova_caps import nova_types
from vgpu_console.rules.nova_side import nova_side
from vgpu_console.rules.nova_snippet import snippet_of
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render import empty
from vgpu_console.screens.render.nova_side import side_lines
from vgpu_console.screens.seams import Copier


class NovaSideDialog(Dialog[None]):
    """One page that scrolls; ``y`` copies the nova.conf snippet. It shows one moment: closed and opened, the next."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y,c", "copy", "Copy the snippet", id="nova-side.copy")]
    AUTO_FOCUS = "Page"
    footing = "y copy the snippet · esc"

    def __init__(self, host: str, snapshot: Snapshot | None) -> None:
        super().__init__()
        self.heading = f"Nova's side of {host}"
        known = snapshot is not None and snapshot.host(host) is not None
        self._why_none = empty.why_no_devices(snapshot, host)
        self._rows = nova_side(snapshot, host) if snapshot is not None and known else ()
        self._types = nova_types(snapshot, host) if snapshot is not None and known else ()
        self._snippet = snippet_of(snapshot, host).text if snapshot is not None and known else ""

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(self._lines, id="nova-side-page")

    def _lines(self, width: int) -> Sequence[Line]:
        return side_lines(self._rows, self._types, self._snippet, self._why_none, width)

    def action_copy(self) -> None:
        """Copy the snippet."""
        if isinstance(self.app, Copier):
            self.app.copy_text(self._snippet, "nova.conf snippet")
