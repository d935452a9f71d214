"""The filter line's small language, as a test on rows.

Words are looked for anywhere in the row, in any case, and all of them must be there. ``!word`` must not be there.
``column:word`` looks in one column only; ``column>3``, ``>=``, ``<``, ``<=`` and ``column=word`` compare its value.
A name that is no column is ordinary text, so that ``0000:41:00.4`` finds a PCI address.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from vgpu_console.screens.widgets.cells import Cell
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.table_row import TableRow

Match = Callable[[TableRow], bool]

_TERM = re.compile(r"^(?P<name>[^\s:<>=!]+)(?P<op>>=|<=|:|>|<|=)(?P<value>.*)$", re.DOTALL)

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}


def row_text(row: TableRow) -> str:
    """What a plain word is looked for in, in lower case."""
    return (row.search or " ".join(cell.text for cell in row.cells)).casefold()


def compile_filter(text: str, columns: Sequence[Column]) -> Match | None:
    """The test that ``text`` stands for; None when it asks for nothing."""
    words: list[str] = []
    tests: list[Match] = []
    for term in text.split():
        wanted = not term.startswith("!")
        body = term if wanted else term[1:]
        if not body:
            continue
        test = _column_test(body, columns)
        if test is not None:
            tests.append(test if wanted else _inverse(test))
        elif wanted:
            words.append(body.casefold())
        else:
            tests.append(_inverse(_word_test(body)))
    if not words and not tests:
        return None

    def match(row: TableRow) -> bool:
        if words:
            haystack = row_text(row)
            if not all(word in haystack for word in words):
                return False
        return all(test(row) for test in tests)

    return match


def _inverse(test: Match) -> Match:
    return lambda row: not test(row)


def _word_test(word: str) -> Match:
    needle = word.casefold()
    return lambda row: needle in row_text(row)


def _column_test(body: str, columns: Sequence[Column]) -> Match | None:
    found = _TERM.match(body)
    if found is None or not found["value"]:
        return None
    index = _column_index(found["name"].casefold(), columns)
    if index is None:
        return None
    value, op = found["value"].casefold(), found["op"]
    if op == ":":
        return lambda row: index < len(row.cells) and value in row.cells[index].text.casefold()
    compare = _COMPARE[op]
    try:
        wanted = float(value)
    except ValueError:
        return lambda row: index < len(row.cells) and _compare_text(row.cells[index], compare, value)
    return lambda row: index < len(row.cells) and _compare_number(row.cells[index], compare, wanted, value)


def _column_index(name: str, columns: Sequence[Column]) -> int | None:
    names = [(column.key.casefold(), column.title.casefold()) for column in columns]
    for index, pair in enumerate(names):
        if name in pair:
            return index
    starting = [index for index, pair in enumerate(names) if any(one.startswith(name) for one in pair)]
    return starting[0] if len(starting) == 1 else None


def _compare_text(cell: Cell, compare: Callable[[Any, Any], bool], value: str) -> bool:
    if compare is operator.eq:
        return value in (cell.text.strip().casefold(), str(cell.sort).casefold())
    return cell.sort is not None and compare(cell.text.strip().casefold(), value)


def _compare_number(cell: Cell, compare: Callable[[Any, Any], bool], wanted: float, value: str) -> bool:
    """Unknown compares as nothing: it is in neither ``>3`` nor ``<3``."""
    if isinstance(cell.sort, (int, float)):
        return compare(cell.sort, wanted)
    return _compare_text(cell, compare, value)
