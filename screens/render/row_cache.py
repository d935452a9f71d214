"""Rows that are built once and kept while their facts stay as they are, a limited number of new ones at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from vgpu_console.screens.widgets.fleet_table import TableRow

Item = TypeVar("Item")

AT_ONCE = 800
"""Building so many rows takes about as long as an operator does not notice (20 ms)."""


class RowCache(Generic[Item]):
    """Rows by identity. ``build`` gets an item and its mark, which is all that the row depends on."""

    def __init__(
        self, key: Callable[[Item], str], build: Callable[[Item, Hashable], TableRow], at_once: int = AT_ONCE
    ) -> None:
        self._key = key
        self._build = build
        self._at_once = at_once
        self._kept: dict[str, tuple[Item, Hashable, TableRow]] = {}
        self.complete = True
        """False when rows were left for the next call."""

    def rows(self, items: Iterable[Item], mark: Callable[[Item], Hashable] | None = None) -> list[TableRow]:
        """The rows of these items. When too many are new, the rest come with later calls; see ``complete``."""
        before, after = self._kept, {}
        rows = []
        room = self._at_once
        self.complete = True
        for item in items:
            key = self._key(item)
            now = mark(item) if mark is not None else None
            kept = before.get(key)
            if kept is None or kept[1] != now or not (kept[0] is item or kept[0] == item):
                if room:
                    room -= 1
                    kept = (item, now, self._build(item, now))
                else:
                    self.complete = False
                    if kept is None:
                        continue
            after[key] = kept
            rows.append(kept[2])
        self._kept = after
        return rows
