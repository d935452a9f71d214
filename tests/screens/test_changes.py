"""Limits changed from the keyboard, on the embedded cloud: what an operator does, and what Keystone holds then."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.screens.demo_console import VGPU, Demo, until, until_dialog
from tests.screens.driving import dialog, pane, press, row_ids, screen_text, toasts, view, words
from tests.screens.plans import plan
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Target
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.limit import LimitDialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.unfinished import UnfinishedDialog
from vgpu_console.screens.quota import QuotaScreen
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.faults import HttpFault

Driver = Pilot[Any]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


async def on_project(app: VgpuConsoleApp, pilot: Driver, demo: Demo, name: str, resource: str = VGPU) -> None:
    """The quota view with the cursor on a project."""
    await press(pilot, "3")
    await until(pilot, lambda: app.current_mode == "quota" and row_ids(app))
    view(app).select(f"{demo.project(name)}/{resource}")
    await pilot.pause()


async def type_limit(pilot: Driver, text: str) -> None:
    """Type into the limit dialog and go on to the plan."""
    await until_dialog(pilot, LimitDialog)
    await press(pilot, *("minus" if c == "-" else c for c in text), "enter")
    await until_dialog(pilot, PlanDialog)


async def accept_all(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Accept each open check."""
    shown = app.screen
    assert isinstance(shown, PlanDialog)
    for _ in range(20):
        if not shown._left:
            return
        await press(pilot, "space")
    raise AssertionError("some check was never accepted")


async def confirm(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Accept what is open and say yes in the way that the danger wants."""
    shown = app.screen
    assert isinstance(shown, PlanDialog)
    await accept_all(app, pilot)
    await press(pilot, "y" if shown.danger == "change" else "a")


def test_a_limit_is_raised_with_two_keys_and_a_number(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "l")
        assert "Limit of class:VGPU for students" in screen_text(app)
        assert "1" in dialog(app).query_one(Page).text
        await type_limit(pilot, "3")
        assert "limit     2  →  3" in dialog(app).query_one(Page).text
        assert demo.limits()["students"] == 2  # nothing is sent before the answer
        await confirm(app, pilot)
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))
        assert demo.limits()["students"] == 3
        assert any("2 → 3, applied and read back" in toast for toast in toasts(app))
        row = f"{demo.project('students')}/{VGPU}"
        await until(pilot, lambda: "1 / 3" in next(r for r in pane(app).table.rows if r.id == row).cells[2].text)

    demo.run(test)
    assert demo.results() == ["done"]


def test_no_and_escape_send_nothing(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        for leave in (("n",), ("escape",), ("enter", "q")):
            await press(pilot, "l")
            await type_limit(pilot, "9")
            await press(pilot, *leave)
            assert isinstance(app.screen, QuotaScreen)

    demo.run(test)
    assert demo.limits()["students"] == 2
    assert demo.results() == []


def test_the_own_limit_is_cleared_with_its_key_or_with_d(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "L")
        await until_dialog(pilot, PlanDialog)
        assert "limit     2  →  none of its own" in dialog(app).query_one(Page).text
        await confirm(app, pilot)
        await until(pilot, lambda: "students" not in demo.limits())
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))
        view(app).select(f"{demo.project('vdi')}/{VGPU}")
        await press(pilot, "l")
        await type_limit(pilot, "d")
        await confirm(app, pilot)
        await until(pilot, lambda: "vdi" not in demo.limits())
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))

    demo.run(test)
    assert demo.results() == ["done", "done"]


def test_a_default_with_overrides_is_changed_by_the_whole_sequence(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        before = demo.limits()
        await on_project(app, pilot, demo, "render")
        await press(pilot, "D")
        assert "Default limit of class:VGPU" in screen_text(app)
        await type_limit(pilot, "5")
        said = dialog(app).query_one(Page).text
        assert "ml-research 10" in said
        assert "default   4  →  5" in said
        await press(pilot, "y")  # a risk: y is not enough
        assert isinstance(app.screen, PlanDialog)
        await confirm(app, pilot)
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))
        assert demo.limits() == {**before, "default": 5}

    demo.run(test)
    assert demo.results() == ["done"]
    steps = [e.step for e in demo.journal.entries() if e.event == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 3


def test_marked_projects_are_set_with_one_number_and_a_result_each(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "vdi")
        for name in ("vdi", "students", "render"):
            view(app).select(f"{demo.project(name)}/{VGPU}")
            await press(pilot, "space")
        await press(pilot, "l")
        assert "for 3 projects" in screen_text(app)
        await type_limit(pilot, "8")
        assert "3 changes" in screen_text(app)
        demo.set_behind("students", 7)
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "p plan again" in screen_text(app))
        said = dialog(app).query_one(Page).text
        assert "2 of 3 done" in said
        assert "changed meanwhile" in said
        assert "limit was 2 and is 7" in said

    demo.run(test)
    assert {demo.limits()[name] for name in ("vdi", "render")} == {8}
    assert demo.limits()["students"] == 7
    assert sorted(demo.results()) == ["done", "done", "moved"]


def test_what_moved_behind_the_back_is_shown_and_planned_again_from_there(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "l")
        await type_limit(pilot, "3")
        demo.set_behind("students", 6)
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "changed meanwhile" in screen_text(app))
        assert "limit was 2 and is 6" in screen_text(app)
        assert demo.limits()["students"] == 6
        await press(pilot, "p")
        await until_dialog(pilot, PlanDialog)
        assert "limit     6  →  3" in dialog(app).query_one(Page).text
        await confirm(app, pilot)
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))
        assert demo.limits()["students"] == 3

    demo.run(test)
    assert demo.results() == ["moved", "done"]


def test_keystone_that_goes_away_before_the_change_leaves_nothing_half_done(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "l")
        await type_limit(pilot, "3")
        demo.cloud.faults.http["identity"] = HttpFault(kind="refused")
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        await until(pilot, lambda: "not done" in screen_text(app), 60)
        assert "nothing was sent" in screen_text(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, QuotaScreen)

    demo.run(test)
    assert demo.limits()["students"] == 2
    assert demo.results() == ["refused"]


def test_a_console_that_only_reads_dims_the_keys_and_says_why(tmp_path: Path) -> None:
    demo = Demo(tmp_path, read_only=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        for key, word in (("l", "limit"), ("L", "clear"), ("D", "default")):
            assert f"{key} {word}" in words(app, "keys")
            await press(pilot, key)
            assert isinstance(app.screen, QuotaScreen)
            assert any(toast.startswith(f"{word}: ") and "read-only" in toast for toast in toasts(app))
        await press(pilot, "question_mark", *"limit")
        assert "read-only" in screen_text(app)

    demo.run(test)


def test_a_reader_is_told_which_role_is_missing(tmp_path: Path) -> None:
    demo = Demo(tmp_path, user="auditor")

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "l")
        assert any("needs role admin" in toast for toast in toasts(app))
        assert isinstance(app.screen, QuotaScreen)

    demo.run(test)


def test_a_member_sees_what_there_is_and_is_told_the_rest(tmp_path: Path) -> None:
    demo = Demo(tmp_path, user="alice", project="ml-research")

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3")
        await until(pilot, lambda: app.current_mode == "quota")
        assert app.why_not("quota.set") != ""
        await press(pilot, "l")
        assert toasts(app)
        assert "403" not in " ".join(toasts(app))
        assert isinstance(app.screen, QuotaScreen)

    demo.run(test)


def test_limits_that_are_too_old_are_not_acted_on(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "p")
        later = time.time() + 400
        app._clock = lambda: later
        await press(pilot, "l")
        assert any("refresh first" in toast for toast in toasts(app))
        assert isinstance(app.screen, QuotaScreen)

    demo.run(test)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "no number was typed"),
        ("-2", "too low"),
        ("many", "not a whole number"),
        ("9" * 30, "too high"),
        ("3.5", "not a whole number"),
    ],
)
def test_a_number_that_is_none_is_said_where_it_was_typed(demo: Demo, typed: str, said: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")
        await press(pilot, "l")
        await until_dialog(pilot, LimitDialog)
        line = app.screen.query_one("Input")
        line.value = typed  # type: ignore[attr-defined]
        await press(pilot, "enter")
        await until(pilot, lambda: said in screen_text(app))
        assert isinstance(app.screen, LimitDialog)

    demo.run(test)
    assert demo.results() == []


def test_a_missing_registered_limit_is_made_on_the_way(demo: Demo) -> None:
    resource = "class:CUSTOM_L40S_12Q"

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "render", resource)
        await press(pilot, "l")
        await type_limit(pilot, "4")
        await confirm(app, pilot)
        await until(pilot, lambda: isinstance(app.screen, QuotaScreen))

    demo.run(test)
    assert demo.limits(resource) == {"default": -1, "render": 4}
    assert demo.results() == ["done"]


def test_the_screens_go_on_while_a_change_is_applied_and_its_end_is_told(demo: Demo) -> None:
    held = threading.Event()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_project(app, pilot, demo, "students")

        def hold(_seconds: float) -> None:
            held.wait(20)

        demo.cloud.faults.sleep = hold
        await press(pilot, "l")
        await type_limit(pilot, "3")
        demo.cloud.faults.http["identity"] = HttpFault(delay_s=1.0, path="limits")
        await confirm(app, pilot)
        await until_dialog(pilot, ApplyDialog)
        assert "…" in dialog(app).query_one(Page).text
        await press(pilot, "escape")
        assert isinstance(app.screen, QuotaScreen)
        assert any("it goes on" in toast for toast in toasts(app))
        await press(pilot, "1", "q")
        assert app.is_running
        assert any("a change is being applied" in toast for toast in toasts(app))
        await press(pilot, "3")
        await on_project(app, pilot, demo, "vdi")
        await press(pilot, "l")
        assert any("one after the other" in toast for toast in toasts(app))
        demo.cloud.faults.http.clear()
        held.set()
        await until(pilot, lambda: any("2 → 3, applied" in toast for toast in toasts(app)))

    try:
        demo.run(test)
    finally:
        held.set()
    assert demo.limits()["students"] == 3


def test_a_bulk_change_stops_after_the_one_at_work() -> None:
    class World:
        """Takes every step, and is told to stop while it takes the second."""

        read_only = False
        name = "still"

        def __init__(self) -> None:
            self.taken: list[str] = []

        def refuses(self, step: Any) -> str:
            return ""

        def take(self, step: Any) -> None:
            self.taken.append(step.title)
            if len(self.taken) == 2:
                run.stop()

        def observe(self, one: Any) -> dict[str, Any]:
            return dict(one.after if f"set class:VGPU of {one.target.name} to 4" in self.taken else one.before)

    class Nothing:
        """A journal of which nothing is read."""

        def begin(self, *_args: Any, **_more: Any) -> str:
            return "run"

        def step(self, *_args: Any, **_more: Any) -> None:
            pass

        def end(self, *_args: Any, **_more: Any) -> None:
            pass

    plans = [plan(name=name) for name in ("a", "b", "c", "d")]
    run = ChangeRun(plans, frozenset(), lambda: ())
    world = World()
    run.apply(world, Nothing(), lambda: None)  # type: ignore[arg-type]
    assert [o.result for o in run.outcomes if o is not None] == ["done", "done", "interrupted", "interrupted"]
    assert len(world.taken) == 2

    chain = ChangeRun(plans, frozenset(), lambda: (), stop_at_first=True)
    world = World()
    world.taken = ["", ""]  # the second observation finds nothing of what was planned
    world.observe = lambda one: dict(one.before)  # type: ignore[method-assign]
    chain.apply(world, Nothing(), lambda: None)  # type: ignore[arg-type]
    assert [o.message for o in chain.outcomes if o is not None][1:] == ["not begun: the one before it failed"] * 3
    assert len(world.taken) == 3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2, "now it is as before: nothing was changed"),
        (4, "now it is as planned: the change is there"),
        (7, "now it is neither as before nor as planned: limit 7"),
    ],
)
def test_what_a_killed_console_had_under_way_is_told_at_the_start(tmp_path: Path, value: int, said: str) -> None:
    journal = Journal(tmp_path / "journal.jsonl")

    def killed(cloud: DemoCloud) -> None:
        state = cloud.state
        project = next(p.id for p in state.projects.values() if p.name == "students")
        limit = next(x for x in state.limits.values() if (x.project_id, x.resource_name) == (project, VGPU))
        limit.resource_limit = value
        key = {
            "project_id": project,
            "resource": VGPU,
            "service_id": limit.service_id,
            "region_id": limit.region_id,
        }
        target = Target(kind="project limit", id=project, name="students", key=key)
        journal.begin(plan(name="students", before={"limit": 2}, after={"limit": 4}, target=target), cloud="demo")

    demo = Demo(tmp_path, before=killed)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until_dialog(pilot, UnfinishedDialog)
        page = dialog(app).query_one(Page).text
        assert "was applying class:VGPU of students: 2 → 4" in page
        assert said in page
        await press(pilot, "m")
        await until(pilot, lambda: not demo.journal.unfinished())

    demo.run(test)
    assert demo.results() == ["interrupted"]


def test_escape_leaves_an_unfinished_change_for_the_next_start(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").begin(plan(action="later.action"), cloud="demo")
    demo = Demo(tmp_path)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until_dialog(pilot, UnfinishedDialog)
        assert "knows no action later.action" in dialog(app).query_one(Page).text
        await press(pilot, "escape")

    demo.run(test)
    assert len(demo.journal.unfinished()) == 1


def test_what_was_left_on_another_cloud_is_not_looked_for_on_this_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin(plan(name="of-another-cloud"), cloud="elsewhere")
    journal.begin(plan(name="of-this-cloud", action="later.action"), cloud="demo")
    demo = Demo(tmp_path)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until_dialog(pilot, UnfinishedDialog)
        page = dialog(app).query_one(Page).text
        assert "of-this-cloud" in page
        assert "of-another-cloud" not in page
        await press(pilot, "m")
        await until(pilot, lambda: len(demo.journal.unfinished()) == 1)

    demo.run(test)
    assert [e.cloud for e in demo.journal.unfinished()] == ["elsewhere"]
