"""What moves from one frame to the next, as few numbers: lists of item numbers, and the times of sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from vgpu_console.model.source import SourceStatus

Runs = list[int]
"""Item numbers as first, count, first, count ...: neighbours of a list mostly are neighbours in the file."""

Splice = tuple[int, int, Runs]
"""From this place of the list so many numbers go, and these come."""

Column = list[int | float | None]


class Times(NamedTuple):
    """What moves of a source's status with every attempt."""

    attempted_at: float | None
    fetched_at: float | None
    next_at: float | None
    duration_s: float | None
    failures: int
    requests: int


class TimeRows(msgspec.Struct, frozen=True, array_like=True):
    """The times of some sources by column. ``gaps``: from each row to the next one; None: all rows."""

    gaps: list[int] | None
    attempted: Column
    fetched: Column
    next: Column
    duration: Column
    failures: list[int]
    requests: list[int]


class WholeFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame that stands for itself."""

    taken_at: float
    rest: int
    lists: dict[str, Runs]
    times: TimeRows


class ChangedFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame as the difference from the one before it; lists that have not changed are not in it."""

    taken_at: float
    rest: int
    lists: dict[str, list[Splice]]
    times: TimeRows


# Numbers of items -----------------------------------------------------------------------------------------------------


def runs_of(numbers: Sequence[int]) -> Runs:
    """The numbers as runs of consecutive ones."""
    out: Runs = []
    first = count = -1
    for number in numbers:
        if number == first + count:
            count += 1
        else:
            if count > 0:
                out += (first, count)
            first, count = number, 1
    if count > 0:
        out += (first, count)
    return out


def numbers_of(runs: Runs, most: int) -> list[int]:
    """The numbers again. Raises ValueError when they are no runs, or more than ``most``."""
    if len(runs) % 2:
        raise ValueError("half a run")
    out: list[int] = []
    for first, count in zip(runs[::2], runs[1::2], strict=True):
        if first < 0 or count < 1 or len(out) + count > most:
            raise ValueError("a run that cannot be")
        out += range(first, first + count)
    return out


def splices(old: Sequence[int], new: Sequence[int]) -> list[Splice]:
    """What makes ``new`` of ``old``, from the end to the beginning, so that places stay true."""
    if len(old) == len(new):
        out: list[Splice] = []
        end = len(new)
        while end > 0:
            if old[end - 1] == new[end - 1]:
                end -= 1
                continue
            begin = end - 1
            while begin > 0 and old[begin - 1] != new[begin - 1]:
                begin -= 1
            out.append((begin, end - begin, runs_of(new[begin:end])))
            end = begin
        return out
    begin = 0
    shorter = min(len(old), len(new))
    while begin < shorter and old[begin] == new[begin]:
        begin += 1
    tail = 0
    while tail < shorter - begin and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return [(begin, len(old) - begin - tail, runs_of(new[begin : len(new) - tail]))]


def spliced(old: list[int], changes: Iterable[Splice], most: int) -> list[int]:
    """A new list with the changes made. Raises ValueError when they do not fit."""
    new = list(old)
    for at, removed, runs in changes:
        if not 0 <= at <= at + removed <= len(new):
            raise ValueError("a change beyond the list")
        new[at : at + removed] = numbers_of(runs, most)
        if len(new) > most:
            raise ValueError("a list that is too long")
    return new


# Times ----------------------------------------------------------------------------------------------------------------


def times_of(status: SourceStatus) -> Times:
    """The moving part of a status."""
    return Times(
        status.attempted_at,
        status.fetched_at,
        status.next_at,
        status.duration_s,
        status.failures,
        status.requests,
    )


def _milliseconds(value: float | None) -> int | float | None:
    """A time as whole milliseconds where that says it exactly, else as it is."""
    if value is None or not math.isfinite(value) or abs(value) > 1e13:
        return value
    whole = round(value * 1000)
    return whole if whole / 1000 == value else float(value)


def _since(value: float | None, before: int) -> int | float | None:
    code = _milliseconds(value)
    return code - before if isinstance(code, int) else code


def _seconds(code: float | None, before: int) -> float | None:
    return (before + code) / 1000 if isinstance(code, int) else code


def pack_times(rows: Sequence[tuple[int, Times]], taken_at: float, *, every: bool) -> TimeRows:
    """Rows with their places, in order. Times are written as milliseconds since the nearest that is known already."""
    base = round(taken_at * 1000)
    out = TimeRows(None if every else [], [], [], [], [], [], [])
    last = 0
    for place, times in rows:
        if out.gaps is not None:
            out.gaps.append(place - last)
            last = place
        attempted = _since(times.attempted_at, base)
        began = base + attempted if isinstance(attempted, int) else base
        fetched = _since(times.fetched_at, began)
        heard = began + fetched if isinstance(fetched, int) else began
        out.attempted.append(attempted)
        out.fetched.append(fetched)
        out.next.append(_since(times.next_at, heard))
        out.duration.append(_since(times.duration_s, 0))
        out.failures.append(times.failures)
        out.requests.append(times.requests)
    return out


def unpack_times(rows: TimeRows, taken_at: float) -> list[tuple[int, Times]]:
    """The rows again. Raises ValueError when the columns are not of one length."""
    base = round(taken_at * 1000)
    places = range(len(rows.attempted)) if rows.gaps is None else _places(rows.gaps)
    columns = zip(
        places, rows.attempted, rows.fetched, rows.next, rows.duration, rows.failures, rows.requests, strict=True
    )
    out: list[tuple[int, Times]] = []
    for place, attempted, fetched, next_at, duration, failures, requests in columns:
        began = base + attempted if isinstance(attempted, int) else base
        heard = began + fetched if isinstance(fetched, int) else began
        out.append(
            (
                place,
                Times(
                    _seconds(attempted, base),
                    _seconds(fetched, began),
                    _seconds(next_at, heard),
                    _seconds(duration, 0),
                    failures,
                    requests,
                ),
            )
        )
    return out


def _places(gaps: Sequence[int]) -> list[int]:
    out: list[int] = []
    at = 0
    for gap in gaps:
        at += gap
        out.append(at)
    return out
