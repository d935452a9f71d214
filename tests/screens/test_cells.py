"""Cells: bars, ages, states and signs."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import age, bar, number, state, text

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
