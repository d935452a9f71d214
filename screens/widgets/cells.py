"""Cells of the fleet table and the helpers that build them: text, numbers, bars, states and ages.

A cell is a row of spans, each with a *tone*; a theme decides what a tone looks like (``themes.py``, ``tones.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Tone = Literal["", "ok", "warn", "fail", "unknown", "muted", "accent", "bar", "bar-rest", "bar-over", "title"]
Span = tuple[str, str]
"""A piece of text and its tone."""

Kind = Literal["ok", "warn", "fail", "unknown", "pending", "muted"]


class Cell(NamedTuple):
    """One cell: what it shows, and the value it is sorted and compared by (None: unknown, always last)."""

    spans: tuple[Span, ...]
    sort: Any = None

    @property
    def text(self) -> str:
        """The cell's words without tones."""
        return "".join(text for text, _ in self.spans)


@dataclass(frozen=True)
class Glyphs:
    """The signs that widgets draw. Each is one cell wide."""

    ok: str = "✓"
    warn: str = "!"
    fail: str = "✗"
    unknown: str = "?"
    pending: str = "…"
    cursor: str = "▸"
    mark: str = "●"
    ascending: str = "▲"
    descending: str = "▼"
    more: str = "…"
    full: str = "█"
    rest: str = "░"
    no_bar: str = "·"
    fresh: str = "●"
    stale: str = "◐"
    unlimited: str = "–"
    separator: str = "·"
    ascii: bool = False


UNICODE = Glyphs()
ASCII = Glyphs(
    ok="+",
    fail="x",
    pending="~",
    cursor=">",
    mark="*",
    ascending="^",
    descending="v",
    more="~",
    full="#",
    rest="-",
    no_bar=".",
    fresh="*",
    stale="!",
    unlimited="-",
    separator="|",
    ascii=True,
)

_current = UNICODE


def use_glyphs(chosen: Glyphs) -> None:
    """Choose the signs for all widgets: ASCII for a terminal whose encoding is not UTF-8. Call it before mounting."""
    global _current
    _current = chosen


def glyphs() -> Glyphs:
    """The signs in use."""
    return _current


def glyphs_for(encoding: str | None) -> Glyphs:
    """The signs that a terminal of this encoding can show; an unknown encoding is taken to be plain ASCII."""
    return UNICODE if (encoding or "").replace("-", "").replace("_", "").lower() in ("utf8", "utf8sig") else ASCII


def text(value: str | None, tone: str = "", sort: Any = None) -> Cell:
    """A word or a name. None is unknown; the empty string is empty. Sorted by the text itself unless told otherwise."""
    if value is None:
        return unknown()
    return Cell(((value, tone),), (value or None) if sort is None else sort)


def unknown(note: str = "") -> Cell:
    """The unknown: a question mark, with a word beside it when there is one to say."""
    return Cell(((f"{_current.unknown} {note}" if note else _current.unknown, "unknown"),), None)


def number(value: float | None, tone: str = "", unit: str = "") -> Cell:
    """A number without thousands separators, with its unit behind a space; None is ``?``, never 0."""
    if value is None:
        return unknown()
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return Cell(((f"{shown} {unit}" if unit else shown, tone),), value)


def state(word: str | None, kind: Kind) -> Cell:
    """A state as glyph, word and tone, so that it can be read without colour."""
    if word is None:
        return unknown()
    sign: str = {
        "ok": _current.ok,
        "warn": _current.warn,
        "fail": _current.fail,
        "unknown": _current.unknown,
        "pending": _current.pending,
        "muted": _current.separator,
    }[kind]
    return Cell(((f"{sign} {word}", "muted" if kind == "pending" else kind),), word)


def bar(
    used: int | None,
    maximum: int | None,
    width: int = 10,
    *,
    digits: int = 2,
    unlimited: bool = False,
    note: str = "",
    sort: Any = None,
) -> Cell:
    """A bar with its numbers: ``███████░░░  3 / 4``.

    An unknown side is ``?`` and the bar is dotted; ``unlimited`` shows ``–`` for the maximum. Used beyond the maximum
    is a full bar with ``!`` in tone ``fail``. A use above zero never looks empty, and a bar looks full only when it is.
    Sorted by ``used`` unless told otherwise.
    """
    shown_used = _current.unknown if used is None else str(used)
    shown_max = _current.unlimited if unlimited else _current.unknown if maximum is None else str(maximum)
    over = used is not None and maximum is not None and not unlimited and used > maximum
    spans: list[Span] = []
    if used is None or maximum is None or unlimited:
        spans.append((_current.no_bar * width, "muted"))
    elif over:
        spans.append((_current.full * width, "bar-over"))
    else:
        filled = _filled(used, maximum, width)
        if filled:
            spans.append((_current.full * filled, "bar"))
        if filled < width:
            spans.append((_current.rest * (width - filled), "bar-rest"))
    tone = "fail" if over else "unknown" if used is None or (maximum is None and not unlimited) else ""
    spans.append((" " * (1 + max(0, digits - len(shown_used))), ""))
    spans.append((f"{shown_used} / {shown_max}", tone))
    if over:
        spans.append((f" {_current.warn}", "fail"))
    if note:
        spans.append((" " * (1 + max(0, digits - len(shown_max) - 2 * over)), ""))
        spans.append((note, "muted"))
    return Cell(tuple(spans), used if sort is None else sort)


def _filled(used: int, maximum: int, width: int) -> int:
    if maximum <= 0 or used <= 0:
        return 0
    if used >= maximum:
        return width
    return min(max(1, round(used * width / maximum)), max(1, width - 1))


_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def age_text(seconds: float | None) -> str:
    """``2s``, ``3m``, ``1h``, ``2d``: whole units, rounded down; None is ``?``. The future counts as now."""
    if seconds is None:
        return _current.unknown
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def age(seconds: float | None, tone: str = "") -> Cell:
    """An age as a cell, sorted by its seconds."""
    return Cell(((age_text(seconds), "unknown" if seconds is None else tone),), seconds)


def spans(*parts: Span, sort: Any = None) -> Cell:
    """A cell of the given spans."""
    return Cell(parts, sort)


def join(parts: Iterable[Cell], separator: str = " ", sort: Any = None) -> Cell:
    """Several cells as one, the empty ones left out; sorted by the first part unless told otherwise."""
    kept = [part for part in parts if part.spans and part.text]
    out: list[Span] = []
    for position, part in enumerate(kept):
        if position:
            out.append((separator, "muted"))
        out.extend(part.spans)
    if sort is None and kept:
        sort = kept[0].sort
    return Cell(tuple(out), sort)
