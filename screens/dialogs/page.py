"""Text that scrolls in a dialog, laid out for the width it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from vgpu_console.screens.lines import Line, Lines

_LEAST = 20


class Page(VerticalScroll):
    """Lines made by ``build`` for a width in cells, made again when the width changes or on ``restate``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("ctrl+d", "page_down", "Page down", show=False),
        Binding("ctrl+u", "page_up", "Page up", show=False),
        Binding("g", "scroll_home", "Top", show=False),
        Binding("G", "scroll_end", "End", show=False),
    ]

    def __init__(self, build: Callable[[int], Sequence[Line]], *, beside: int = 0, id: str | None = None) -> None:
        """``beside`` is how many lines the dialog's other widgets take, margins included."""
        super().__init__(id=id, classes="page")
        self._build = build
        self._beside = beside
        self._lines = Lines()

    def compose(self) -> ComposeResult:
        """The lines."""
        yield self._lines

    def on_mount(self) -> None:
        """The first lines, for a width that layout then corrects."""
        self.fit()
        self.restate()

    def fit(self) -> None:
        """Leave room for the rest of the dialog, which is at most nine tenths of the screen high with its frame."""
        self.styles.max_height = max(1, self.app.size.height * 9 // 10 - 2 - self._beside)

    def on_resize(self) -> None:
        """Another width breaks the lines elsewhere."""
        self.restate()

    def restate(self) -> None:
        """Make the lines again."""
        width = self.scrollable_content_region.width or 76
        self._lines.show(self._build(max(_LEAST, width)))

    def shows(self, line: int) -> bool:
        """Whether that line of the page is in sight."""
        return self.scroll_offset.y <= line < self.scroll_offset.y + max(1, self.size.height)

    def reveal(self, line: int) -> None:
        """Bring that line into sight, with some of what stands around it."""
        if not self.shows(line):
            self.scroll_to(y=max(0, line - self.size.height // 3), animate=False, force=True)

    @property
    def text(self) -> str:
        """The words without tones."""
        return self._lines.text
