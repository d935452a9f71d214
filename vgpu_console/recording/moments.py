"""Moments and spans of time as people write them: ``14:05``, ``+1h30m``, ``2026-09-21T14:05Z``, ``10s``."""

from __future__ import annotations

import datetime
import math
import re

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_EPOCH = re.compile(r"@?(\d{9,11}(?:\.\d+)?)", re.ASCII)
_DAY_S = 86_400.0
_MOST_S = 3_660 * _DAY_S

FORMS = "14:05, 14:05:30, 2026-09-21T14:05 (local, or with Z or +02:00), +1h30m (since its start), -10m, start or end"


def span_s(text: str) -> float:
    """Seconds of ``10s``, ``1h30m``, ``2d`` or a bare number of seconds. Raises ValueError with words."""
    found = _SPAN.fullmatch(text.strip().lower())
    parts = found.groups() if found is not None and text.strip() else (None,)
    if not any(parts):
        try:
            seconds = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no span of time like 10s, 5m, 1h30m or 8h") from None
    else:
        seconds = sum(float(n) * unit for n, unit in zip(parts, (_DAY_S, 3_600.0, 60.0, 1.0), strict=True) if n)
    if not (math.isfinite(seconds) and 0 < seconds <= _MOST_S):
        raise ValueError(f"{text!r} must be more than nothing and at most ten years")
    return seconds


def span_words(seconds: float) -> str:
    """``00:02:40``; with days ``3d 00:02:40``."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}d {clock}" if days else clock


def local_words(time: float, *, date: bool = True) -> str:
    """A time as ``2026-09-21 14:05:30``, by this machine's zone."""
    moment = datetime.datetime.fromtimestamp(time)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")


def utc_words(time: float) -> str:
    """A time as ``2026-09-21T14:05:30.000Z``, for programs."""
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_s(text: str, first: float, last: float) -> float:
    """What is meant by a moment of a recording from ``first`` to ``last``: seconds since the epoch.

    A time of day is that of the recording's first day, or of the next one where the recording began after it. Raises
    ValueError with words when it is no time, or none of the recording.
    """
    wanted = text.strip()
    if wanted.lower() in ("start", "first"):
        return first
    if wanted.lower() in ("end", "last"):
        return last
    found = _moment(wanted, first, last)
    if not first - 1 <= found < last + _DAY_S or (found > last + 1 and wanted[:1] != "+"):
        raise ValueError(f"{text} is not in the recording, which goes from {local_words(first)} to {local_words(last)}")
    return min(max(found, first), last)


def _moment(wanted: str, first: float, last: float) -> float:
    if wanted[:1] in ("+", "-") and not wanted[1:2].isspace():
        span = span_s(wanted[1:])
        return first + span if wanted[0] == "+" else last - span
    epoch = _EPOCH.fullmatch(wanted)
    if epoch is not None:
        return float(epoch[1])
    clock = _CLOCK.fullmatch(wanted)
    try:
        if clock is not None:
            day = datetime.datetime.fromtimestamp(first)
            hour, minute, second = (int(part or 0) for part in clock.groups())
            found = day.replace(hour=hour, minute=minute, second=second, microsecond=0)
            if found.timestamp() < math.floor(first):
                found += datetime.timedelta(days=1)
            return found.timestamp()
        return datetime.datetime.fromisoformat(wanted).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{wanted!r} is no time; there are: {FORMS}") from None
