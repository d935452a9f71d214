"""Several lines of toned text, wrapped: facts panels and lists. They take spans, never markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style as RichStyle
from textual.content import Content
from textual.style import Style

from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.columns import safe
from vgpu_console.screens.widgets.toned import Toned

Line = Sequence[Span]


class Lines(Toned):
    """Lines of spans, wrapped at the widget's width. Text passes the gate for foreign text once more on its way."""

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; background: $background; color: $foreground; }"

    def __init__(self, *lines: Line, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._lines: tuple[tuple[Span, ...], ...] = tuple(tuple(line) for line in lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines; does nothing when they are the ones that are shown."""
        new = tuple(tuple(line) for line in lines)
        if new != self._lines:
            self._lines = new
            self.refresh(layout=True)

    @property
    def text(self) -> str:
        """The words without tones."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    def render(self) -> Content:
        """The lines as Content in the tones of the theme."""
        styles = self.tones().normal
        signs = cells.glyphs()
        lines = (
            Content.assemble(
                *((safe(text, signs), _without_ground(styles.get(tone, styles[""]))) for text, tone in line if text)
            )
            for line in self._lines
        )
        return Content("\n").join(lines)


def _without_ground(style: RichStyle) -> Style:
    """The style without its background, so that the widget's own shows through."""
    return Style.from_rich_style(
        RichStyle(
            color=style.color,
            bold=style.bold,
            italic=style.italic,
            underline=style.underline,
            reverse=style.reverse,
        )
    )
