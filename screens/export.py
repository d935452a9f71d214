"""The screen in front as an SVG picture and as text."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

if TYPE_CHECKING:
    from textual.app import App

_RUN = re.compile(
    r'(?P<head><text class="[^"]*") x="(?P<x>[\d.]+)"(?P<y> y="[\d.]+") textLength="(?P<length>[\d.]+)"'
    r"(?P<tail>[^>]*)>(?P<text>[^<]*)</text>"
)
_WORDS = re.compile(r"[^ ]+(?: [^ ]+)*")
_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}\s*")


class Picture(NamedTuple):
    """A screen as SVG and as text."""

    svg: str
    text: str


def default_folder() -> Path:
    """``exports`` in the state folder of the user."""
    import platformdirs

    from vgpu_console.config import APP

    return platformdirs.user_state_path(APP) / "exports"


def picture_of(app: App[int]) -> Picture:
    """The screen as it is now. The SVG names no font on another host: it is read offline."""
    from rich.console import Console

    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
        safe_box=False,
    )
    # Textual's own export gives SVG only; the same drawing gives both here.
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    svg = console.export_svg(title=app.title, clear=False)
    text = "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip() + "\n"
    return Picture(_RUN.sub(_tight, _FONT_FACE.sub("", svg)), text)


def _tight(run: re.Match[str]) -> str:
    """A run of text as its words, each at its own place: some viewers drop spaces at the ends and narrow the others."""
    text = html.unescape(run["text"]).replace("\xa0", " ")
    cell = float(run["length"]) / max(1, cell_len(text))
    parts = []
    for words in _WORDS.finditer(text):
        left = float(run["x"]) + cell * cell_len(text[: words.start()])
        inside = html.escape(words[0], quote=False).replace(" ", "&#160;")
        length = cell * cell_len(words[0])
        parts.append(f'{run["head"]} x="{left:g}"{run["y"]} textLength="{length:g}"{run["tail"]}>{inside}</text>')
    return "".join(parts)
