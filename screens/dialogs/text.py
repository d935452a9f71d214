"""Text that is too long for the terminal's clipboard, to be selected by hand."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import TextArea

from vgpu_console.screens.dialogs.base import Dialog


class TextDialog(Dialog[None]):
    """Read-only text; select with shift and the arrow keys or with the terminal's own selection."""

    footing = "shift+arrows select · esc"

    def __init__(self, what: str, text: str, why: str) -> None:
        super().__init__()
        self.heading = f"{what}: {why}"
        self._text = text.replace("\t", "    ")

    def inside(self) -> ComposeResult:
        """The text."""
        yield TextArea(self._text, read_only=True, soft_wrap=False, show_line_numbers=False)
