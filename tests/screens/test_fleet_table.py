"""The fleet table as an operator meets it: keys, order, filter, marks, and how little it draws."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.strip import Strip

from vgpu_console.screens import themes
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import age, bar, join, number, state, text
from vgpu_console.screens.widgets.columns import Column, layout
from vgpu_console.screens.widgets.fleet_table import AT_ONCE, FleetTable, TableRow

COLUMNS = (
    Column("host", "HOST", 10, flex=1),
    Column("state", "STATE", 8, priority=2),
    Column("used", "USED / MAX", 20, priority=1),
    Column("free", "FREE", 7, align="right"),
)


def row(name: str, used: int | None = 1, free: int | None = 3, word: str = "up") -> TableRow:
    return TableRow(name, (text(name), state(word, "ok"), bar(used, 4), number(free)))


def rows(count: int) -> list[TableRow]:
    return [row(f"gpu-{i}", free=i) for i in range(count)]


class CountingTable(FleetTable):
    """Remembers which lines were asked for."""

    painted: list[int]

    def render_line(self, y: int) -> Strip:
        self.painted.append(y)
        return super().render_line(y)


class TableApp(App[None]):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        themes.register_themes(self)
        self.now = 100.0
        self.table = CountingTable(COLUMNS, clock=lambda: self.now, **options)
        self.table.painted = []
        self.told: list[tuple[str, str | None]] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_fleet_table_opened(self, message: FleetTable.Opened) -> None:
        self.told.append(("opened", message.row_id))

    def on_fleet_table_moved(self, message: FleetTable.Moved) -> None:
        self.told.append(("moved", message.row_id))

    def on_fleet_table_vanished(self, message: FleetTable.Vanished) -> None:
        self.told.append(("vanished", message.row_id))

    def on_fleet_table_counted(self, message: FleetTable.Counted) -> None:
        self.told.append(("counted", f"{len(message.control.rows)}/{message.control.total}"))


Steps = Callable[[TableApp, Pilot[None]], Awaitable[None]]


def play(steps: Steps, size: tuple[int, int] = (80, 12), **options: Any) -> None:
    """Run the steps on a table in a terminal of this size."""

    async def run() -> None:
        app = TableApp(**options)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())


def shown(table: FleetTable) -> list[str]:
    return [table.render_line(y).text for y in range(table.size.height)]


async def settle(app: TableApp, pilot: Pilot[None]) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["down"], "gpu-1"),
        (["j", "j", "k"], "gpu-1"),
        (["up"], "gpu-0"),
        (["end"], "gpu-99"),
        (["G", "g"], "gpu-0"),
        (["G", "home"], "gpu-0"),
        (["pagedown"], "gpu-10"),
        (["ctrl+d", "ctrl+u"], "gpu-0"),
        (["G", "pageup"], "gpu-89"),
        (["G", "down", "down"], "gpu-99"),
    ],
)
def test_keys_move_the_cursor_and_the_cursor_is_always_in_sight(keys: list[str], expected: str) -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(100))
        await pilot.press(*keys)
        assert app.table.cursor_id == expected
        assert app.table.cursor_row == row(expected, free=int(expected[4:]))
        with_sign = [line for line in shown(app.table) if line.startswith("▸")]
        assert len(with_sign) == 1
        assert expected in with_sign[0]

    play(steps)


def test_enter_opens_the_row_under_the_cursor() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert app.told == []
        app.table.set_rows(rows(5))
        await pilot.press("down", "enter")
        assert app.told == [("moved", "gpu-0"), ("counted", "5/5"), ("moved", "gpu-1"), ("opened", "gpu-1")]

    play(steps)


def test_a_click_chooses_and_a_second_click_opens() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(5))
        await pilot.pause()
        app.told.clear()
        await pilot.click(FleetTable, offset=(8, 4))
        assert app.told == [("moved", "gpu-3")]
        await pilot.click(FleetTable, offset=(8, 4))
        assert app.told == [("moved", "gpu-3"), ("opened", "gpu-3")]
        await pilot.click(FleetTable, offset=(8, 9))
        assert len(app.told) == 2

    play(steps)


def test_a_click_on_a_title_sorts_by_it_and_the_next_turns_the_order() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(5))
        await pilot.click(FleetTable, offset=(4, 0))
        assert (app.table.sort_key, app.table.sort_reverse) == ("host", False)
        assert "HOST ▲" in shown(app.table)[0]
        await pilot.click(FleetTable, offset=(4, 0))
        assert (app.table.sort_key, app.table.sort_reverse) == ("host", True)
        assert "HOST ▼" in shown(app.table)[0]

    play(steps)


def test_the_wheel_scrolls_and_the_next_key_brings_the_cursor_back() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(100))
        await pilot.pause()
        app.table.scroll_to(y=50, animate=False)
        await pilot.pause()
        assert app.table.cursor_id == "gpu-0"
        assert not any(line.startswith("▸") for line in shown(app.table))
        app.table.set_rows(rows(100))
        await pilot.pause()
        assert app.table.scroll_offset.y == 50
        await pilot.press("down")
        assert any(line.startswith("▸  gpu-1 ") for line in shown(app.table))

    play(steps)


# Identity -----------------------------------------------------------------------------------------------------------


def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(5))
        app.table.select("gpu-3")
        app.table.set_rows([row("new-1"), row("new-2"), *rows(5)])
        assert app.table.cursor_id == "gpu-3"
        app.table.set_rows([row("gpu-3")])
        assert app.table.cursor_id == "gpu-3"
        await pilot.pause()
        assert [what for what, _ in app.told if what == "vanished"] == []

    play(steps)


def test_the_cursor_keeps_its_line_on_the_screen_in_a_scrolled_list() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(100))
        await pilot.pause()
        app.table.select("gpu-50")
        await pilot.pause()
        before = shown(app.table)
        app.table.set_rows([row("a"), row("b"), *rows(100)])
        await pilot.pause()
        assert shown(app.table) == before

    play(steps)


def test_when_the_row_under_the_cursor_vanishes_the_cursor_stays_in_place_and_says_so() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(5))
        app.table.select("gpu-2")
        await pilot.pause()
        app.told.clear()
        app.table.set_rows([one for one in rows(5) if one.id != "gpu-2"])
        await pilot.pause()
        assert app.table.cursor_id == "gpu-3"
        assert app.told == [("vanished", "gpu-2"), ("moved", "gpu-3"), ("counted", "4/4")]
        app.told.clear()
        app.table.set_rows([])
        await pilot.pause()
        assert app.table.cursor_id is None
        assert app.table.cursor_row is None
        assert app.told == [("vanished", "gpu-3"), ("moved", None), ("counted", "0/0")]

    play(steps)


def test_a_row_that_the_filter_hides_has_not_vanished() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(20))
        app.table.select("gpu-7")
        app.table.filter("gpu-1")
        await pilot.pause()
        assert app.table.cursor_id == "gpu-16"
        assert ("vanished", "gpu-7") not in app.told

    play(steps)


def test_select_of_a_row_that_is_not_there_yet_takes_effect_when_it_comes() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        assert app.table.select("gpu-4") is False
        app.table.set_rows(rows(3))
        assert app.table.cursor_id == "gpu-0"
        app.table.set_rows(rows(9))
        assert app.table.cursor_id == "gpu-4"
        assert app.table.select("gpu-8") is True

    play(steps)


def test_marks_follow_rows_and_go_with_them() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(rows(5))
        await pilot.press("space", "space")
        assert app.table.marks == {"gpu-0", "gpu-1"}
        assert [line[1] for line in shown(app.table)[1:4]] == ["●", "●", " "]
        app.table.sort("free", reverse=True)
        app.table.filter("gpu-4")
        assert app.table.marks == {"gpu-0", "gpu-1"}
        app.table.filter("")
        app.table.set_rows(rows(5)[1:])
        assert app.table.marks == {"gpu-1"}
        await pilot.press("ctrl+backslash")
        assert app.table.marks == frozenset()

    play(steps)


# Order and filter ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_unknown_values_come_last_both_ways_and_equal_ones_keep_their_order(reverse: bool) -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(
            [row("a", free=None), row("b", free=2), row("c", free=5), row("d", free=2), row("e", free=None)]
        )
        app.table.sort("free", reverse)
        known = ["c", "b", "d"] if reverse else ["b", "d", "c"]
        assert [one.id for one in app.table.rows] == [*known, "a", "e"]

    play(steps)


def test_names_sort_as_people_count() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows([row("gpu-10"), row("GPU-2"), row("gpu-1")])
        app.table.sort("host")
        assert [one.id for one in app.table.rows] == ["gpu-1", "GPU-2", "gpu-10"]
        with pytest.raises(KeyError):
            app.table.sort("nonsense")

    play(steps)


def test_a_column_with_values_of_several_kinds_is_still_sorted() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows([TableRow(str(i), (text(str(i), sort=key),)) for i, key in enumerate(["b", 3, "a", 1])])
        app.table.sort("host")
        assert [one.id for one in app.table.rows] == ["3", "1", "2", "0"]

    play(steps)


def test_the_order_is_held_for_two_seconds_after_a_cursor_key() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.sort("free")
        app.table.set_rows([row("a", free=1), row("b", free=2), row("c", free=3)])
        await pilot.press("down")
        turned = [row("a", free=9), row("b", free=5), row("c", free=1), row("d", free=0)]
        app.table.set_rows(turned)
        assert [one.id for one in app.table.rows] == ["a", "b", "c", "d"]
        app.now += 2.1
        app.table.set_rows(turned)
        assert [one.id for one in app.table.rows] == ["d", "c", "b", "a"]
        assert app.table.cursor_id == "b"

    play(steps)


FILTERS = [
    ("GPU-0", ["gpu-0"]),
    ("!gpu-0", ["gpu-1", "edge-2"]),
    ("gpu up", ["gpu-0"]),
    ("gpu !up", ["gpu-1"]),
    ("state:down", ["gpu-1", "edge-2"]),
    ("!state:down", ["gpu-0"]),
    ("st:down host:gpu", ["gpu-1"]),
    ("free>3", ["gpu-1"]),
    ("free>=3", ["gpu-0", "gpu-1"]),
    ("free<4", ["gpu-0"]),
    ("free=7", ["gpu-1"]),
    ("host=gpu-1", ["gpu-1"]),
    ("0000:41:00.4", ["edge-2"]),
    ("free:?", ["edge-2"]),
    ("!", ["gpu-0", "gpu-1", "edge-2"]),
    ("free>", []),
    ("[/x]", []),
]


@pytest.mark.parametrize(("words", "expected"), FILTERS, ids=[words for words, _ in FILTERS])
def test_filter(words: str, expected: list[str]) -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.set_rows(
            [
                row("gpu-0", free=3),
                row("gpu-1", free=7, word="down"),
                row("edge-2", free=None, word="down")._replace(search="edge-2 0000:41:00.4"),
            ]
        )
        app.table.filter(words)
        assert [one.id for one in app.table.rows] == expected
        assert app.table.total == 3
        app.table.filter("")
        assert len(app.table.rows) == 3

    play(steps)


def test_an_empty_table_says_why_in_the_middle_and_as_plain_text() -> None:
    async def steps(app: TableApp, pilot: Pilot[None]) -> None:
        lines = shown(app.table)
        said = [line for line in lines if "[/red]" in line]
        assert len(said) == 1
        assert abs(len(said[0]) - len(said[0].lstrip()) - (len(said[0]) - len(said[0].rstrip()))) <= 1
        app.table.set_empty("word " * 40)
        await pilot.pause()
        assert sum("word" in line for line in shown(app.table)) == 3
        app.table.set_rows(rows(7))
        app.table.filter("zzz")
        await pilot.pause()
        assert any("No row matches zzz: 7 hidden" in line for line in shown(app.table))

    play(steps, empty="No hosts [/red] \x1b[2J")


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


# Cells --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "maximum", "expected", "tone"),
    [
        (3, 4, "████████░░  3 / 4", ""),
        (0, 4, "░░░░░░░░░░  0 / 4", ""),
        (1, 100, "█░░░░░░░░░  1 / 100", ""),
        (99, 100, "█████████░ 99 / 100", ""),
        (4, 4, "██████████  4 / 4", ""),
        (5, 4, "██████████  5 / 4 !", "fail"),
        (3, None, "··········  3 / ?", "unknown"),
        (None, 4, "··········  ? / 4", "unknown"),
        (0, 0, "░░░░░░░░░░  0 / 0", ""),
        (2, 0, "██████████  2 / 0 !", "fail"),
    ],
)
def test_bar(used: int | None, maximum: int | None, expected: str, tone: str) -> None:
    cell = bar(used, maximum)
    assert cell.text == expected
    assert next(t for words, t in cell.spans if "/" in words) == tone
    assert cell.sort == used


def test_an_unlimited_bar_shows_no_maximum() -> None:
    assert bar(3, None, 4, unlimited=True, note="default").text == "····  3 / –  default"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "?"),
        (-5, "0s"),
        (0, "0s"),
        (2.9, "2s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (7200, "2h"),
        (172800, "2d"),
    ],
)
def test_age(seconds: float | None, expected: str) -> None:
    assert age(seconds).text == expected
    assert age(seconds).sort == seconds


def test_unknown_is_a_question_mark_and_never_zero() -> None:
    assert (number(None).spans, number(None).sort) == ((("?", "unknown"),), None)
    assert number(0).text == "0"
    assert number(12345).text == "12345"
    assert number(2.5, unit="GiB").text == "2.5 GiB"
    assert text(None).spans == (("?", "unknown"),)
    assert text("").text == ""


@pytest.mark.parametrize(
    ("kind", "sign"), [("ok", "✓"), ("warn", "!"), ("fail", "✗"), ("unknown", "?"), ("pending", "…")]
)
def test_a_state_is_a_glyph_and_a_word(kind: Any, sign: str) -> None:
    assert state("word", kind).text == f"{sign} word"


def test_the_signs_follow_the_terminals_encoding() -> None:
    assert cells.glyphs_for("UTF-8") is cells.UNICODE
    assert cells.glyphs_for("utf8") is cells.UNICODE
    assert cells.glyphs_for("ANSI_X3.4-1968") is cells.ASCII
    assert cells.glyphs_for(None) is cells.ASCII
    for glyphs in (cells.UNICODE, cells.ASCII):
        signs = [value for value in vars(glyphs).values() if isinstance(value, str)]
        assert all(cell_len(sign) == 1 for sign in signs)
    assert all(value.isascii() for value in vars(cells.ASCII).values() if isinstance(value, str))
