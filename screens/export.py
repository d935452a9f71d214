"""The screen in front as an SVG picture and as text, written so that no reader ever sees half a file."""

from __future__ import annotations

import html
import io
import os
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


def write(folder: Path, name: str, picture: Picture) -> tuple[Path, Path]:
    """Write ``name.svg`` and ``name.txt`` into the folder, readable by their owner only; never over another file.

    Each is written beside its place and then linked to it, which neither follows a symbolic link nor replaces
    anything. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for attempt in range(100):
            base = name if attempt == 0 else f"{name}-{attempt + 1}"
            try:
                _write_one(fd, f"{base}.svg", picture.svg)
            except FileExistsError:
                continue
            _write_one(fd, f"{base}.txt", picture.text)
            return folder / f"{base}.svg", folder / f"{base}.txt"
    finally:
        os.close(fd)
    raise FileExistsError(f"{name}.svg and its successors exist")


def _write_one(folder: int, name: str, text: str) -> None:
    """One file, whole or not at all. Raises OSError; FileExistsError when the name is taken, by a link too."""
    part = f".{name}.{os.getpid()}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.unlink(part, dir_fd=folder)
