"""Cells and tables as CSV and Markdown, wherever the program writes them: one mechanism against what text may do there.

Unknown is ``?`` for eyes and empty in CSV.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec

from vgpu_console.text import plain
from vgpu_console.views import Column

UNKNOWN = "?"

_MAX_CELL = 100_000  # characters: a list of names may be long, each name has passed the gate already


def shown(column: Column, row: Any) -> str:
    """A cell for eyes."""
    if column.show is not None and (words := column.show(row)) is not None:
        return one_line(words)
    value = column.get(row)
    if value is None:
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or "–"
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return plain(msgspec.json.encode(value).decode(), _MAX_CELL)
    return one_line(value) if isinstance(value, str) else plain(value)


def one_line(text: str) -> str:
    """Several lines, which only our own commands have, as one that a shell takes the same way."""
    return "; ".join(plain(line, _MAX_CELL) for line in text.split("\n"))


# --- CSV --------------------------------------------------------------------------------------------------------------


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What begins a formula; the wide ones do so in East Asian versions."""


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO) -> None:
    """Comma-separated, with a header line; a text that a spreadsheet would run as a formula gets ``'`` before it."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row])


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return _text(value)
    text = ";".join(_csv_cell(item) for item in value) if isinstance(value, (list, tuple)) else _text(value)
    return "'" + text if text.startswith(_FORMULA) else text


# --- Markdown ---------------------------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"[\\|`*<>\[\]~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def write_markdown(names: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool], out: TextIO) -> None:
    """A table of GitHub's Markdown; characters that Markdown or HTML would act on are escaped."""
    out.write("| " + " | ".join(names) + " |\n")
    out.write("| " + " | ".join("--:" if r else "---" for r in right) + " |\n")
    for row in rows:
        out.write("| " + " | ".join(markdown_cell(cell) for cell in row) + " |\n")


def markdown_cell(text: str) -> str:
    """The text so that it stands in a table's cell as it is."""
    return _MARKDOWN.sub(lambda m: "\\" + m.group(), plain(text, _MAX_CELL))
