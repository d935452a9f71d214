"""Views as text: aligned tables, JSON, NDJSON, CSV and Markdown.

Unknown is ``?`` for eyes (table, Markdown), empty in CSV and null in JSON. A table that goes to a terminal is laid out
by rich within its width; anywhere else it is plain aligned columns that cut nothing off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

import msgspec

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.table_formats import UNKNOWN, shown, write_csv, write_markdown
from vgpu_console.views import View, records

RICH_ROWS = 2_000
"""Longer tables are written as plain aligned columns also on a terminal: rich takes seconds for 10,000 rows."""

_GOOD = frozenset({"up", "enabled", "active", "ACTIVE", "completed"})
_BAD = frozenset({"down", "down, disabled", "ERROR", "error", "failed"})
_WARN = frozenset({"disabled", "up, disabled", "defined", "missing", "cancelled"})


class Layout(NamedTuple):
    """How ``out`` shows a table: the terminal's width (None: no terminal) and whether it has colours."""

    width: int | None = None
    colour: bool = False


def write(view: View, rows: Sequence[Any], form: str, out: TextIO, layout: Layout) -> tuple[str, ...]:
    """Writes the rows in that format; returns the names of columns that a narrow terminal had no room for."""
    if form == "json":
        out.write(json_text(records(view, rows), pretty=True) + "\n")
    elif form == "ndjson":
        for record in records(view, rows):
            out.write(json_text(record, pretty=False) + "\n")
    elif form == "csv":
        write_csv(view.fields(), ([r[name] for name in view.fields()] for r in records(view, rows)), out)
    else:
        columns = [c for c in view.columns if (c.table if form == "table" else c.data)]
        cells = [[shown(column, row) for column in columns] for row in rows]
        names = [c.name for c in columns]
        right = [c.right for c in columns]
        if form == "md":
            write_markdown(names, cells, right, out)
        elif rows:
            return write_table(names, cells, right, out, layout, [c.priority for c in columns])
    return ()


def json_text(value: Any, *, pretty: bool) -> str:
    """JSON of structs and builtins, as text."""
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded, indent=2) if pretty else encoded).decode()


def snapshot_text(snapshot: Snapshot, *, pretty: bool) -> str:
    """The whole snapshot as a JSON object; ``errors``, its last member, names every source that failed and why."""
    errors = [
        {"source": s.key, "kind": s.kind, "host": s.host, "error": s.error, "error_kind": s.error_kind}
        for s in snapshot.errors
    ]
    whole = msgspec.json.encode(snapshot)[:-1] + b',"errors":' + msgspec.json.encode(errors) + b"}"
    return (msgspec.json.format(whole, indent=2) if pretty else whole).decode()


# --- tables -----------------------------------------------------------------------------------------------------------


def write_table(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    out: TextIO,
    layout: Layout,
    priorities: Sequence[int] | None = None,
) -> tuple[str, ...]:
    """Columns under their names, within a terminal's width, or, where there is none, as wide as they need.

    On a terminal too narrow for all, columns leave by their priority; the names of those that left are returned. What
    stays and is still too wide is folded, never cut.
    """
    titles = [name.replace("_", " ").upper() for name in names]
    if layout.width is None or len(rows) > RICH_ROWS:
        out.writelines(_aligned(titles, rows, right))
        return ()
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = _fitting(_widths(titles, rows), priorities or [0] * len(names), layout.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index in kept:
        table.add_column(Text(titles[index]), justify="right" if right[index] else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[index], style=_style(row[index])) for index in kept))
    console = Console(
        file=out,
        width=layout.width,
        force_terminal=True,
        color_system="standard" if layout.colour else None,  # the terminal's own sixteen: they fit its theme
        highlight=False,
        legacy_windows=False,
    )
    console.print(table)
    return tuple(name for index, name in enumerate(names) if index not in kept)


def _fitting(widths: Sequence[int], priorities: Sequence[int], room: int) -> list[int]:
    """The indices of the columns that stay: all, or as many as fit with two cells between them."""
    kept = list(range(len(widths)))
    for index in sorted(kept, key=lambda i: -priorities[i]):
        if priorities[index] == 0 or sum(widths[i] + 2 for i in kept) - 2 <= room:
            break
        kept.remove(index)
    return kept


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(titles, *rows, strict=True)]


def _width(text: str) -> int:
    """Cells that a text takes on a terminal: two for a wide character."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    widths = _widths(titles, rows)
    for row in (titles, *rows):
        parts = []
        for text, room, to_right in zip(row, widths, right, strict=True):
            pad = " " * (room - _width(text))
            parts.append(pad + text if to_right else text + pad)
        yield "  ".join(parts).rstrip() + "\n"


def _style(cell: str) -> str:
    if cell in _GOOD:
        return "green"
    if cell in _BAD:
        return "bold red"
    if cell in _WARN:
        return "yellow"
    return "dim" if cell in (UNKNOWN, "–") else ""
