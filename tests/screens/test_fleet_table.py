"""The fleet table as an operator meets it: keys, order, filter, marks, and how little it draws."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.screens.fleet_table import TableApp, play, row, rows, shown
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow

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
