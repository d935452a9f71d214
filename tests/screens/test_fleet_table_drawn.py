"""What the table draws: only what changed, columns that fit, and no text that breaks a line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from tests.screens.fleet_table import COLUMNS, CountingTable, TableApp, play, row, rows, settle, shown
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import join, number, state, text
from vgpu_console.screens.widgets.columns import Column, layout
from vgpu_console.screens.widgets.fleet_table import AT_ONCE, TableRow

# What is drawn ------------------------------------------------------------------------------------------------------


def test_only_lines_that_differ_are_drawn_again() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        table = app.table
        table.set_rows(rows(200))
        await pilot.pause()
        table.painted.clear()

        table.set_rows(rows(200))
        await pilot.pause()
        assert table.painted == [], "equal rows"

        changed = rows(200)
        changed[3] = row("gpu-3", used=4, free=3)
        changed[150] = row("gpu-150", used=4)
        table.set_rows(changed)
        await pilot.pause()
        assert table.painted == [4], "one visible row and one far below"

        table.painted.clear()
        await pilot.press("down")
        assert sorted(set(table.painted)) == [1, 2], "the cursor left a line and came to another"

        table.painted.clear()
        table.sort("host")
        await pilot.pause()
        assert set(table.painted) <= set(range(12))
        table.painted.clear()
        table.sort("host")
        await pilot.pause()
        assert table.painted == [], "the same order again"

    play(steps)


def test_fifty_thousand_rows_cost_one_screen_of_lines() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        table = app.table
        table.set_rows(rows(50_000))
        await settle(app, pilot)
        assert len(table.rows) == 50_000
        assert len(table.painted) < 100
        table.painted.clear()
        table.sort("free", reverse=True)
        await settle(app, pilot)
        assert table.rows[0].id == "gpu-49999"
        assert table.cursor_id == "gpu-0"
        assert len(table.painted) < 100
        await pilot.press("g")
        assert table.cursor_id == "gpu-49999"
        table.filter("gpu-4999")
        await settle(app, pilot)
        assert len(table.rows) == 11

    play(steps)


def test_keys_are_served_while_many_rows_are_put_in_order() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        table = app.table
        table.set_rows(rows(20))
        await pilot.pause()
        table.set_rows(rows(50_000))
        assert table.arranging
        assert len(table.rows) == 20
        table.action_move(1)
        assert table.cursor_id == "gpu-1"
        await settle(app, pilot)
        assert (len(table.rows), table.cursor_id) == (50_000, "gpu-1")

    play(steps)


def test_the_last_of_several_quick_updates_wins() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        table = app.table
        table.set_rows(rows(AT_ONCE * 10))
        table.set_rows(rows(AT_ONCE * 5))
        await settle(app, pilot)
        assert len(table.rows) == AT_ONCE * 5
        table.set_rows(rows(AT_ONCE * 10))
        await asyncio.sleep(0)
        table.set_rows(rows(3))
        await settle(app, pilot)
        await asyncio.sleep(0.05)
        assert len(table.rows) == 3
        table.set_rows(rows(AT_ONCE * 4))
        table.set_rows(rows(4))
        table.set_rows(rows(AT_ONCE * 3))
        await settle(app, pilot)
        assert len(table.rows) == AT_ONCE * 3

    play(steps)


# Room ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, ["host", "state", "used", "free"]),
        (50, ["host", "used", "free"]),
        (30, ["host", "free"]),
        (12, ["host", "free"]),
        (5, ["host"]),
        (0, []),
    ],
)
def test_columns_leave_by_priority_and_never_run_over(width: int, expected: list[str]) -> None:
    placed = layout(COLUMNS, width)
    assert [one.column.key for one in placed] == expected
    assert all(one.x + one.width <= width for one in placed)
    if len(expected) > 2:
        assert placed[-1].x + placed[-1].width == width


@given(
    st.lists(
        st.builds(
            Column,
            key=st.uuids().map(str),
            title=st.just("T"),
            width=st.integers(1, 40),
            flex=st.integers(0, 5),
            priority=st.integers(0, 4),
            maximum=st.sampled_from([0, 45, 60]),
        ),
        max_size=8,
    ),
    st.integers(0, 250),
    st.integers(0, 4),
)
def test_layout_stays_inside_for_any_columns(columns: list[Column], width: int, start: int) -> None:
    placed = layout(columns, width, start)
    at = start
    for one in placed:
        assert one.x >= at
        assert one.width > 0
        at = one.x + one.width
    assert at <= max(width, start)
    required = [column for column in columns if column.priority == 0]
    if start + sum(column.width + 2 for column in required) <= width:
        assert [one.column for one in placed if one.column.priority == 0] == required
        assert all(one.width >= one.column.width for one in placed)


HOSTILE = st.text(alphabet=st.characters(exclude_categories=()), max_size=80) | st.sampled_from(
    [
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b[2J\x1b[H",
        "\x9b31m\x9d0;x\x9c",
        "a\u202eb\u2066c",
        "[/x]",
        "[@click=app.quit]x[/]",
        "[x='",
        ":warning:",
        "计算" * 40,
        "e\u0301" * 60,
        "👩\u200d👩\u200d👧\ufe0f",
        "x" * 5000,
        "界" * 5000,
        "",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HOSTILE, min_size=1, max_size=8), HOSTILE, st.sampled_from(["left", "right"]), st.integers(8, 60))
def test_no_text_breaks_a_line_or_steers_the_terminal(names: list[str], title: str, align: Any, width: int) -> None:
    columns = [Column("a", title, 9, align=align), Column("b", title, 4, flex=1, priority=1)]
    hostile = [TableRow(f"{i}", (text(name), join([text(name), number(1)])), name) for i, name in enumerate(names)]

    async def run() -> None:
        app = TableApp()
        app.table = CountingTable(columns, empty=title)
        app.table.painted = []
        async with app.run_test(size=(width, 8)) as pilot:
            lines = [app.table.render_line(y) for y in range(8)]
            app.table.set_rows(hostile)
            app.table.filter(names[0])
            app.table.sort("a", reverse=True)
            await pilot.pause()
            lines += [app.table.render_line(y) for y in range(8)]
            expected = app.table.size.width
            for line in lines[8:]:
                assert cell_len(line.text) == expected
            for line in lines:
                assert line.cell_length == cell_len(line.text)
                assert all(char.isprintable() for char in line.text)

    asyncio.run(run())


def test_a_terminal_without_unicode_gets_ascii_only() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(
            [row("计算"), row("gpu-1", used=9), TableRow("x", (text("long" * 20), state("bad", "fail")))]
        )
        app.table.sort("host")
        await pilot.press("space")
        lines = shown(app.table)
        assert all(line.isascii() and len(line) == app.table.size.width for line in lines)
        assert "HOST ^" in lines[0]
        assert any("9 / 4 !" in line for line in lines)

    cells.use_glyphs(cells.ASCII)
    try:
        play(steps)
    finally:
        cells.use_glyphs(cells.UNICODE)
