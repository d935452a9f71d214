"""Fewer bytes for the same picture: what Textual would write for a changed part of a line, cut to that part.

Textual 8.2.8 writes a changed span of a line from the left edge of its widget on and spells every style out in full.
Over a slow line that makes one changed cell as dear as its row. The App of the console mixes this class in; the picture
is the same with or without it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip

Result = TypeVar("Result")


@lru_cache(maxsize=4096)
def _parts(style: Style, system: ColorSystem) -> tuple[str, str, str]:
    """The SGR parameters of a style: its attributes, its colour, its ground."""
    attributes = Strip.render_ansi(style.without_color, system)
    front = ";".join(style.color.downgrade(system).get_ansi_codes()) if style.color else ""
    back = ";".join(style.bgcolor.downgrade(system).get_ansi_codes(False)) if style.bgcolor else ""
    return attributes, front, back


def render_strip(strip: Strip, system: ColorSystem) -> str:
    """The strip's text, with only what changes from one style to the next between its pieces."""
    out: list[str] = []
    now = ("", "", "")
    for text, style, _ in strip:
        if not text:
            continue
        if style is not None and style.link:
            out.append("\x1b[0m" if any(now) else "")
            out.append(Strip.render_style(style, text, system))
            now = ("", "", "")
            continue
        wanted = ("", "", "") if style is None else _parts(style, system)
        if wanted != now:
            out.append(f"\x1b[{_step(now, wanted)}m")
            now = wanted
        out.append(text)
    if any(now):
        out.append("\x1b[0m")
    return "".join(out)


def _step(now: tuple[str, str, str], wanted: tuple[str, str, str]) -> str:
    """The SGR parameters that lead from one style to another; a reset first where something must be taken away."""
    lost = now[0] != wanted[0] or (now[1] and not wanted[1]) or (now[2] and not wanted[2])
    if lost and any(now):
        return ";".join(("0", *filter(None, wanted)))
    return ";".join(part for part, old in zip(wanted, now, strict=True) if part and part != old)


class NarrowUpdate(ChopsUpdate):
    """An update of parts of lines that begins each part where it begins."""

    def render_segments(self, console: Console) -> str:
        """The update as it is written to the terminal."""
        system = console._color_system or ColorSystem.TRUECOLOR
        out: list[str] = []
        for y, start, stop in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(x, start), min(end, stop)
                if strip is None or left >= right:
                    continue
                out.append(Control.move_to(left, y).segment.text)
                out.append(render_strip(strip.crop(left - x, right - x), system))
        return "".join(out)


class NarrowUpdates(App[Result], Generic[Result]):
    """An App that writes narrow updates."""

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if type(renderable) is ChopsUpdate:
            renderable = NarrowUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
        super()._display(screen, renderable)
