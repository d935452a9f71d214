"""Filtering and sorting rows in small steps, so that keys are served while a large fleet is put in order."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from vgpu_console.screens.widgets.row_filter import Match
from vgpu_console.screens.widgets.table_row import TableRow

STEP = 250
"""Rows handled between two yields."""

SLICE_S = 0.003
"""Longest time of putting rows in order before keys are looked at again."""

_DIGITS = re.compile(r"\d+")


def _padded(found: re.Match[str]) -> str:
    return found[0].zfill(12)


def natural(value: str) -> str:
    """A key by which ``gpu-2`` comes before ``gpu-10``, whatever the case."""
    return _DIGITS.sub(_padded, value.casefold())


def sort_key(value: Any) -> Any:
    """What a cell's sort value is compared by; None stays None."""
    return natural(value) if isinstance(value, str) else value


def arrange(
    rows: Sequence[TableRow], match: Match | None, column: int | None, reverse: bool
) -> Generator[None, None, list[TableRow]]:
    """The rows that match, in order of a column (None: as given); yields between steps and returns the list.

    Stable both ways, and rows whose value is unknown come last both ways.
    """
    kept: list[TableRow] = []
    for start in range(0, len(rows), STEP):
        part = rows[start : start + STEP]
        kept.extend(part if match is None else filter(match, part))
        yield
    if column is None:
        return kept
    keys: list[Any] = []
    known: list[int] = []
    last: list[TableRow] = []
    for start in range(0, len(kept), STEP):
        for position in range(start, min(start + STEP, len(kept))):
            row = kept[position]
            key = sort_key(row.cells[column].sort) if column < len(row.cells) else None
            keys.append(key)
            if key is None:
                last.append(row)
            else:
                known.append(position)
        yield
    try:
        known.sort(key=keys.__getitem__, reverse=reverse)
    except TypeError:  # values of several kinds in one column: numbers first, then by their words
        known.sort(key=lambda position: _mixed(keys[position]), reverse=reverse)
    yield
    return [kept[position] for position in known] + last


def _mixed(key: Any) -> tuple[int, float, str]:
    if isinstance(key, (int, float)):
        return (0, float(key), "")
    return (1, 0.0, str(key))


class Arranger:
    """Runs the steps at once, or in slices between other work of the loop."""

    def __init__(
        self, steps: Callable[[], Generator[None, None, list[TableRow]]], show: Callable[[list[TableRow]], None]
    ) -> None:
        self._steps = steps
        self._show = show
        self._pending = False
        self._work: object | None = None

    @property
    def busy(self) -> bool:
        """True while a run in slices is under way."""
        return self._work is not None

    def now(self) -> None:
        """All steps at once; the result of a run in slices that is under way is void."""
        self._work = None
        self._pending = False
        steps = self._steps()
        while True:
            try:
                next(steps)
            except StopIteration as done:
                self._show(done.value)
                return

    def ask(self) -> Coroutine[Any, Any, None] | None:
        """Ask for a run in slices: the coroutine to start, or None when one is under way, which will then run again."""
        self._pending = True
        if self._work is not None:
            return None
        self._work = object()
        return self._in_slices(self._work)

    async def _in_slices(self, work: object) -> None:
        """Run until nothing new was asked for; ``work`` is this run, and when it was replaced its result is void."""
        while self._pending and work is self._work:
            self._pending = False
            steps = self._steps()
            until = time.perf_counter() + SLICE_S
            arranged: list[TableRow] | None = None
            while arranged is None:
                try:
                    next(steps)
                except StopIteration as done:
                    arranged = done.value
                if time.perf_counter() >= until:
                    await asyncio.sleep(0.001)
                    until = time.perf_counter() + SLICE_S
                if work is not self._work:
                    return
            if arranged is not None:
                self._show(arranged)
        if work is self._work:
            self._work = None
