"""What the widgets that draw tones share: the palette of the theme in use, made once per theme."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from vgpu_console.screens.widgets.tones import Palette, palette


class Toned(Widget):
    """A widget that resolves tones to styles, again whenever the theme or its own colours change."""

    _palette: Palette | None = None
    _palette_base: Style | None = None
    _palette_variables: dict[str, str] | None = None

    def _on_mount(self, event: object) -> None:
        """Follow changes of the theme, also those that leave the widget's own colours as they are."""
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def _theme_changed(self, _theme: object) -> None:
        if self._palette_variables is not None and self._palette_variables != self.app.theme_variables:
            self.refresh()

    def notify_style_update(self) -> None:
        """A theme or a style changed: find the tones' styles anew when they are next needed."""
        super().notify_style_update()
        self._palette = None

    def tones(self) -> Palette:
        """The styles of all tones over the widget's own colours."""
        base, variables = self.rich_style, self.app.theme_variables
        if self._palette is None or base != self._palette_base or variables is not self._palette_variables:
            self._palette_base = base
            self._palette_variables = variables
            self._palette = palette(variables, base)
        return self._palette
