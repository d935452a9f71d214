"""Narrow updates write fewer bytes and leave the same picture on the terminal."""

from __future__ import annotations

from typing import Any

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from vgpu_console.screens.widgets.narrow_updates import NarrowUpdate, render_strip

CONSOLE = Console(color_system="truecolor", force_terminal=True, width=60)

COLORS = st.sampled_from([None, "default", "red", "#123456", "#abcdef", "color(99)"])
STYLES = st.none() | st.builds(
    Style,
    color=COLORS,
    bgcolor=COLORS,
    bold=st.sampled_from([None, True, False]),
    underline=st.sampled_from([None, True]),
    reverse=st.sampled_from([None, True]),
)
WORDS = st.text(alphabet=st.sampled_from("ab █░计✓"), max_size=6)
STRIPS = st.lists(st.tuples(WORDS, STYLES).map(lambda pair: Segment(*pair)), max_size=8).map(Strip)


def picture(written: str, columns: int = 60) -> list[Any]:
    screen = pyte.Screen(columns, 3)
    pyte.Stream(screen).feed(written)
    return [dict(screen.buffer[y]) for y in range(3)]


@given(STRIPS)
def test_a_strip_looks_the_same_and_leaves_no_style_behind(strip: Strip) -> None:
    short = render_strip(strip, ColorSystem.TRUECOLOR)
    full = "".join(
        text if style is None else Strip.render_style(style, text, ColorSystem.TRUECOLOR) for text, style, _ in strip
    )
    assert picture(short + "|") == picture(full + "|")
    assert short == "" or len(short) <= len(full) + 2 * len(list(strip))


@given(STRIPS, st.integers(0, 40), st.integers(1, 40))
def test_only_the_span_is_written(strip: Strip, start: int, length: int) -> None:
    width = 50
    whole = strip.adjust_cell_length(width)
    x = 3
    spans = [(1, x + start, min(x + width, x + start + length))]
    if spans[0][1] >= spans[0][2]:
        return
    before = "\x1b[2;1H" + "~" * 60
    chops: Any = [{}, {x: whole}, {}]
    ends = [[], [x + width], []]
    wide = picture(before + ChopsUpdate(chops, spans, ends).render_segments(CONSOLE))
    narrow = picture(before + NarrowUpdate(chops, spans, ends).render_segments(CONSOLE))
    plain_line = picture(before)
    _, left, right = spans[0]
    for column in range(left + _cuts_a_wide_character(whole, left - x), right):
        assert narrow[1][column] == wide[1][column]
    for column in [*range(left), *range(right, 60)]:
        assert narrow[1][column] == plain_line[1][column]


def _cuts_a_wide_character(strip: Strip, at: int) -> bool:
    """A span that begins in the middle of a wide character shows a space there, as any terminal must."""
    return strip.crop(0, at).text + strip.crop(at).text != strip.text


def test_a_style_that_stays_is_written_once() -> None:
    ground = Style.parse("#d5dce4 on #11161c")
    ok = Style.parse("#7fce8d on #11161c")
    strip = Strip([Segment("a", ground), Segment("b", ok), Segment("c", ground)])
    assert render_strip(strip, ColorSystem.TRUECOLOR) == (
        "\x1b[38;2;213;220;228;48;2;17;22;28ma\x1b[38;2;127;206;141mb\x1b[38;2;213;220;228mc\x1b[0m"
    )
