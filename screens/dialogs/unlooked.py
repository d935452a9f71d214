"""What the doctor could not look at, why, and what access would show it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from vgpu_console.model.snapshot import Unlooked
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.render.findings import unlooked_lines


class UnlookedDialog(Dialog[None]):
    """A page that scrolls."""

    heading = "Not looked at"
    footing = "esc"

    def __init__(self, unlooked: Sequence[Unlooked]) -> None:
        super().__init__()
        self._unlooked = unlooked

    def inside(self) -> ComposeResult:
        """The page."""
        yield Page(lambda width: unlooked_lines(self._unlooked, width))
