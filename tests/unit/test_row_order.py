"""Rows put in order in slices: what is shown is always of the latest request."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.screens.widgets import row_order
from vgpu_console.screens.widgets.cells import Cell
from vgpu_console.screens.widgets.table_row import TableRow


class Desk:
    """An arranger over names, which counts the steps it was let do."""

    def __init__(self) -> None:
        self.names = ["old"]
        self.started = asyncio.Event()
        self.shown: list[list[str]] = []
        self.arranger = row_order.Arranger(self.steps, lambda rows: self.shown.append([row.id for row in rows]))

    def steps(self) -> Generator[None, None, list[TableRow]]:
        rows = [TableRow(name, ()) for name in self.names]
        for _ in range(5):
            self.started.set()
            yield
        return rows

    def start(self) -> asyncio.Task[None]:
        work = self.arranger.ask()
        assert work is not None
        return asyncio.get_running_loop().create_task(work)


@pytest.fixture(autouse=True)
def _a_slice_is_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_order, "SLICE_S", 0.0)


def test_a_run_in_slices_is_void_once_a_later_one_was_done_at_once() -> None:
    async def run() -> None:
        desk = Desk()
        task = desk.start()
        await desk.started.wait()
        desk.names = ["new"]
        desk.arranger.now()
        assert not desk.arranger.busy
        await task
        assert desk.shown == [["new"]]

    asyncio.run(run())


def test_a_request_during_a_run_makes_it_run_once_more() -> None:
    async def run() -> None:
        desk = Desk()
        task = desk.start()
        await desk.started.wait()
        desk.names = ["newer"]
        assert desk.arranger.ask() is None
        desk.names = ["newest"]
        assert desk.arranger.ask() is None
        await task
        assert desk.shown == [["old"], ["newest"]]
        assert not desk.arranger.busy

    asyncio.run(run())


def test_a_run_that_follows_one_that_is_void_is_shown() -> None:
    async def run() -> None:
        desk = Desk()
        first = desk.start()
        await desk.started.wait()
        desk.names = ["few"]
        desk.arranger.now()
        desk.names = ["many"]
        second = desk.start()
        await asyncio.gather(first, second)
        assert desk.shown == [["few"], ["many"]]

    asyncio.run(run())


@given(st.lists(st.none() | st.integers(-50, 50) | st.floats(-9, 9) | st.text(max_size=3), max_size=30), st.booleans())
def test_any_values_are_sorted_with_the_unknown_last(values: list[object], reverse: bool) -> None:
    rows = [TableRow(str(i), (Cell((), value),)) for i, value in enumerate(values)]
    steps = row_order.arrange(rows, None, 0, reverse)
    out: list[TableRow] = []
    while True:
        try:
            next(steps)
        except StopIteration as done:
            out = done.value
            break
    assert {row.id for row in out} == {row.id for row in rows}
    assert len(out) == len(rows)
    sorts = [row.cells[0].sort for row in out]
    unknown = [value is None for value in sorts]
    assert unknown == sorted(unknown)
    numbers = [value for value in sorts if isinstance(value, (int, float))]
    assert numbers == sorted(numbers, reverse=reverse)
