"""Times, ages and counts as a report words them."""

from __future__ import annotations

import datetime

from vgpu_console.table_formats import UNKNOWN
from vgpu_console.views import NOT_APPLICABLE

NONE = NOT_APPLICABLE
"""Where there is nothing to know."""


def age(seconds: float | None) -> str:
    """``2 s``, ``3 min``, ``5 h``, ``9 d``; ``never`` for None."""
    if seconds is None:
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def moment(at: float | None, tz: datetime.tzinfo | None) -> str:
    """A time for eyes, in that zone (None: this machine's) with its offset; ``?`` for None."""
    if at is None:
        return UNKNOWN
    return datetime.datetime.fromtimestamp(at, tz).astimezone(tz).strftime("%Y-%m-%d %H:%M:%S %z")


def stamp(at: float | None) -> str | None:
    """A time for scripts: ISO 8601 in UTC, to the second."""
    if at is None:
        return None
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plural(count: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: list[str], most: int = 8) -> str:
    """Names in a row, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def seconds(ms: float | None) -> str | None:
    """Milliseconds as seconds with three figures."""
    return None if ms is None else f"{ms / 1000:.3g} s"
