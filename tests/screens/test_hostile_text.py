"""Whatever a tenant calls a project or a server: no screen breaks, nothing is obeyed, no control character is drawn."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.screens.driving import console, drive, press, toasts
from tests.screens.hostile import PIECES, hostile_fleet
from tests.screens.plans import PASS, UNKNOWN, WARN, plan
from vgpu_console.actions.journal import Entry
from vgpu_console.actions.plan import Danger, Plan
from vgpu_console.actions.runner import Outcome
from vgpu_console.actions.unfinished import Unfinished
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.finding import FindingDialog
from vgpu_console.screens.dialogs.limit import LimitDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.unfinished import UnfinishedDialog
from vgpu_console.screens.dialogs.what_if import WhatIfDialog
from vgpu_console.screens.project import ProjectScreen
from vgpu_console.text import plain

Driver = Pilot[Any]

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


def hostile_plans(names: list[str]) -> list[Plan]:
    """Plans of every danger in which each word that comes from outside is hostile."""
    word = names[0]
    checks = [
        msgspec.structs.replace(one, evidence=names[number % len(names)], source=word)
        for number, one in enumerate((PASS, WARN, UNKNOWN))
    ]
    return [
        plan(
            danger,
            *checks,
            name=one,
            title=f"class:VGPU of {one}",
            before={"default": 4, f"{word} [a1]": 3, "limit": None},
            after={"default": 5, f"{word} [a1]": 2, "limit": -1},
            effect=tuple(names),
            commands=tuple(names),
            inverse_note=word,
        )
        for danger, one in zip(_DANGERS, (names * 3)[:3], strict=True)
    ]


_DANGERS: tuple[Danger, ...] = ("change", "risk", "destroy")


async def through_a_change(app: VgpuConsoleApp, pilot: Driver, names: list[str]) -> None:
    """Through every dialog of a change: number, plans, progress, outcomes, what was left unfinished, what if."""
    app.changes.why_not = lambda action_id: ""  # type: ignore[method-assign]
    await press(pilot, "3", "l")
    assert isinstance(app.screen, LimitDialog)
    harmless(app)
    await press(pilot, "escape", "space", "space", "l")
    harmless(app)
    await press(pilot, *"x1", "enter")
    harmless(app)
    await press(pilot, "escape", "W", *"a", "tab", "enter")
    assert isinstance(app.screen, WhatIfDialog)
    harmless(app)
    await press(pilot, "escape", "tab", "enter")
    assert isinstance(app.screen, FindingDialog)
    harmless(app)
    await press(pilot, "y", "escape")
    app.open_project("a1" * 16, app.snapshot.quotas[0].resource if app.snapshot else "")
    await pilot.pause()
    await pilot.pause()
    assert isinstance(app.screen, ProjectScreen)
    harmless(app)
    await press(pilot, "escape")
    plans = hostile_plans(names)
    entry = Entry(at="2026-09-21T14:13:18.000Z", run="1", event="begun", user=plain(names[0]), plan=plans[0])
    left = UnfinishedDialog([Unfinished(entry, {"limit": names[0]}, ""), Unfinished(entry, None, names[0])], app.now)
    shown: list[Dialog[Any]] = [PlanDialog([one], lambda: 1.0) for one in plans]
    shown += [PlanDialog(plans, lambda: 1.0), left]
    run = ChangeRun(plans[:1], frozenset(), lambda: ())
    run.outcomes = [Outcome(plan=plans[0], result="moved", message=names[0], observed={"limit": names[0]})]
    run.finished = True
    several = ChangeRun(plans, frozenset(), lambda: ())
    several.outcomes = [Outcome(plan=one, result="failed", message=names[0]) for one in plans]
    shown += [ApplyDialog(run), ApplyDialog(several)]
    for one_dialog in shown:
        app.push_screen(one_dialog)
        await pilot.pause()
        await press(pilot, "space", "c")
        harmless(app)
        app.pop_screen()
        await pilot.pause()


@pytest.mark.parametrize("size", [(60, 15), (120, 36)])
def test_all_pieces_through_a_change(size: tuple[int, int]) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await through_a_change(app, pilot, list(PIECES))

    drive(console(hostile_fleet(list(PIECES))), test, size=size)


@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(names=NAMES)
def test_any_names_through_a_change(names: list[str]) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await through_a_change(app, pilot, names)

    drive(console(hostile_fleet(list(names))), test, size=(100, 30))


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
