"""What all dialogs share: a frame with a title, and escape closes."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from vgpu_console.screens.dialogs.page import Page
from vgpu_console.text import plain

Result = TypeVar("Result")


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """A dialog; ``inside()`` gives its widgets. Escape, and q where nothing is typed, close it without a result."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", id="dialog.close"),
        Binding("ctrl+c", "app.interrupt", "Twice: quit", show=False),
    ]
    AUTO_FOCUS = "*"
    heading: str = ""
    footing: str = ""
    _answered = False

    def compose(self) -> ComposeResult:
        """The frame with the dialog's widgets in it."""
        box = Vertical(id="dialog", classes="dialog")
        box.border_title = Content(f" {plain(self.heading, 120)} ")
        box.border_subtitle = Content(f" {self.footing} ") if self.footing else ""
        with box:
            yield from self.inside()

    def inside(self) -> ComposeResult:
        """The widgets of the dialog."""
        raise NotImplementedError

    def on_resize(self) -> None:
        """Pages know how much of the screen they may take."""
        for page in self.query(Page):
            page.fit()

    def set_footing(self, footing: str) -> None:
        """Change the keys at the foot of the frame. ``footing`` is the console's own words."""
        box = self.query_one("#dialog")
        box.border_subtitle = Content(f" {footing} ") if footing else ""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close, once: keys that were typed on while it closed still come to it, and must not close what is behind."""
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
