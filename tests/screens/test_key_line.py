"""The key line: whole entries only, in their order, and the key that finds all others at any width."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.screens.driving import console, drive, press, view
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.keys import BY_ID
from vgpu_console.screens.widgets.span_line import SpanLine

VIEWS = (("1",), ("enter",), ("2",), ("3",), ("4",))
"""To each view, and from the first into a host."""


def _lines(size: tuple[int, int]) -> list[str]:
    """What the key line says on each view."""
    found: list[str] = []

    async def look(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
        for keys in VIEWS:
            await press(pilot, *keys)
            found.append(view(app).query_one("#keys", SpanLine).text)

    drive(console(), look, size)
    return found


def _words(line: str) -> list[str]:
    return [entry.split(" ", 1)[1] for entry in line.strip().split("  ")]


@pytest.mark.parametrize("width", [60, 72, 80, 81, 82, 83, 84, 85, 86, 87, 88, 100, 119, 120, 121, 132, 200])
def test_nothing_is_cut_and_help_is_always_there(width: int) -> None:
    known = {key.word for key in BY_ID.values()} | {"open"}
    for line in _lines((width, 24)):
        assert "…" not in line
        assert len(line) <= width
        assert set(_words(line)) <= known, line
        assert "? help" in line


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    wide = [_words(line) for line in _lines((200, 40))]
    for line, whole in zip(_lines((80, 24)), wide, strict=True):
        some = [word for word in _words(line) if word != "help"]
        assert some == [word for word in whole if word != "help"][: len(some)]
        assert len(some) < len(whole)
