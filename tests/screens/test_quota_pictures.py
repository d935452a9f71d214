"""Pictures (SVG) of the quota view and of the way of a change, in the sizes that operators have and without colours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.screens import fleets
from tests.screens.driving import console
from tests.screens.plans import FAIL, PASS, UNKNOWN, WARN, plan
from tests.screens.test_pictures import SIZES, _name, _ready, _still, _then
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.plan import PlanDialog

__all__ = ["_still"]  # the fixture that keeps pictures from moving

PLANS: dict[str, tuple[Plan, ...]] = {
    "change": (plan("change"),),
    "risk": (plan("risk", PASS, WARN, UNKNOWN),),
    "destroy": (plan("destroy", PASS, WARN),),
    "blocked": (plan("change", FAIL, PASS),),
    "bulk": (
        plan("change", PASS, name="render"),
        plan("risk", WARN, UNKNOWN, name="ml-research"),
        plan("risk", WARN, name="vdi", before={"limit": 6}),
    ),
}


def _finished(*outcomes: Outcome) -> ChangeRun:
    run = ChangeRun([o.plan for o in outcomes], frozenset(), lambda: ())
    run.outcomes = list(outcomes)
    run.finished = True
    return run


def _working() -> ChangeRun:
    run = ChangeRun([plan()], frozenset(), lambda: ())
    run.word = plan().steps[0].title
    return run


RUNS: dict[str, ChangeRun] = {
    "working": _working(),
    "moved": _finished(
        Outcome(
            plan=plan(),
            result="moved",
            message="changed since it was planned: limit was 8 and is 6",
            observed={"limit": 6},
        )
    ),
    "failed": _finished(
        Outcome(
            plan=plan(),
            result="failed",
            message="limits: 503 from keystone; nothing was changed",
            observed={"limit": 8},
        )
    ),
    "unverified": _finished(
        Outcome(
            plan=plan(),
            result="unverified",
            message="the step was taken, but what is true now could not be read: keystone: no answer",
            steps_taken=1,
        )
    ),
    "bulk": _finished(
        Outcome(plan=plan(name="render"), result="done", message="applied and read back", observed={"limit": 4}),
        Outcome(plan=plan(name="vdi"), result="refused", message="cannot be re-checked, nothing was sent: keystone"),
        Outcome(plan=plan(name="students"), result="interrupted", message="not begun: stopped by the operator"),
    ),
}


def _over(shown: Dialog[Any], *keys: str) -> Any:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        pilot.app.push_screen(shown)
        await pilot.pause()
        await _then(*keys)(pilot)

    return run


def _mono() -> VgpuConsoleApp:
    return console(settings=Settings(theme="mono"))


@pytest.mark.parametrize("size", SIZES, ids=_name)
@pytest.mark.parametrize("name", [*PLANS])
def test_plan(snap_compare: Any, name: str, size: tuple[int, int]) -> None:
    shown = PlanDialog(PLANS[name], lambda: 1.0)
    assert snap_compare(console(), terminal_size=size, run_before=_over(shown))


@pytest.mark.parametrize("name", [*RUNS])
def test_outcome(snap_compare: Any, name: str) -> None:
    assert snap_compare(console(), terminal_size=(100, 30), run_before=_over(ApplyDialog(RUNS[name])))


@pytest.mark.parametrize("size", SIZES, ids=_name)
def test_limit_dialog(snap_compare: Any, size: tuple[int, int]) -> None:
    app = console()
    app.changes.why_not = lambda action_id: ""  # type: ignore[method-assign]
    assert snap_compare(app, terminal_size=size, run_before=_then("3", "l"))


@pytest.mark.parametrize("size", SIZES, ids=_name)
def test_project(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(console(), terminal_size=size, run_before=_then("3", "down", "enter"))


def test_finding(snap_compare: Any) -> None:
    assert snap_compare(console(), terminal_size=(100, 30), run_before=_then("3", "tab", "enter"))


def test_no_findings(snap_compare: Any) -> None:
    shown = fleets.fleet(quota_findings=())
    assert snap_compare(console(shown), terminal_size=(100, 30), run_before=_then("3"))


@pytest.mark.parametrize("keys", [("3",), ("3", "enter")], ids=["quota", "project"])
def test_mono(snap_compare: Any, keys: tuple[str, ...]) -> None:
    assert snap_compare(_mono(), terminal_size=(120, 40), run_before=_then(*keys))


@pytest.mark.parametrize("name", ["risk", "bulk"])
def test_mono_plan(snap_compare: Any, name: str) -> None:
    shown = PlanDialog(PLANS[name], lambda: 1.0)
    assert snap_compare(_mono(), terminal_size=(120, 40), run_before=_over(shown))


def test_mono_outcome(snap_compare: Any) -> None:
    assert snap_compare(_mono(), terminal_size=(120, 40), run_before=_over(ApplyDialog(RUNS["moved"])))
