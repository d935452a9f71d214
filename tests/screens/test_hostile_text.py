"""Whatever a tenant calls a project or a server: no screen breaks, nothing is obeyed, no control character is drawn."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.screens.driving import console, drive, press, toasts
from tests.screens.hostile import PIECES, hostile_fleet
from vgpu_console.app import VgpuConsoleApp

NAMES = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), min_size=12, max_size=30)

_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u200b")


def drawn(app: VgpuConsoleApp) -> str:
    """Every character of what is on the screen, dialogs and toasts included."""
    screen = app.screen
    strips = screen._compositor.render_strips()
    return "".join(segment.text for strip in strips for segment in strip)


def harmless(app: VgpuConsoleApp) -> None:
    """Fails when a character on the screen could be taken for a command by the terminal."""
    bad = {c for c in drawn(app) if unicodedata.category(c) in _FORBIDDEN or c in _BIDI}
    assert not bad, bad
    assert app.is_running
    assert app._exception is None


async def everywhere(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
    """Through every view, detail, dialog and toast."""
    for key in ("1", "tab", "2", "3", "4"):
        await press(pilot, key)
        harmless(app)
    for keys in (("1", "s"), ("y",), ("colon", "g"), ("question_mark",), ("slash", "left_square_bracket", "slash")):
        await press(pilot, *keys)
        harmless(app)
        await press(pilot, "escape", "escape")
    await press(pilot, "1", "home", "enter")
    harmless(app)
    await press(pilot, "down", "down", "enter")
    harmless(app)
    await press(pilot, "escape", "escape", "2", "y", "n")
    assert toasts(app), "copying says what was copied"
    harmless(app)
    await press(pilot, "y", "a")
    harmless(app)
    assert not {c for c in app.clipboard if unicodedata.category(c) in _FORBIDDEN} - {"\n", "\t"}
    await press(pilot, "enter")
    harmless(app)
    await press(pilot, "escape", "ctrl+p", *"vm")
    await pilot.pause(0.2)
    harmless(app)
    await press(pilot, "escape")


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=NAMES)
def test_any_names_through_every_screen(names: list[str]) -> None:
    drive(console(hostile_fleet(names)), everywhere, size=(120, 36))


@pytest.mark.parametrize("size", [(60, 15), (200, 50)])
def test_all_pieces_at_other_sizes(size: tuple[int, int]) -> None:
    drive(console(hostile_fleet(list(PIECES))), everywhere, size=size)


def test_markup_in_a_toast_is_text() -> None:
    async def test(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
        for piece in PIECES:
            app.say(piece)
        await pilot.pause()
        harmless(app)
        assert any("[@click=app.quit]click[/]" in toast for toast in toasts(app))

    drive(console(), test)
