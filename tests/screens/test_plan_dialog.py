"""How a plan is confirmed: the ladder from y to typing the name, and everything that must not confirm it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.screens.driving import console, drive, press, screen_text, toasts
from tests.screens.plans import FAIL, PASS, UNKNOWN, WARN, plan
from vgpu_console.actions.plan import Check, Plan
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.dialogs.guard import InputGuard
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.plan import PlanDialog

Driver = Pilot[Any]
OPEN = "open"


class Seconds:
    """A clock that the test moves; by itself it passes a second with each look."""

    def __init__(self, each: float = 1.0) -> None:
        self.each = each
        self.at = 0.0

    def __call__(self) -> float:
        self.at += self.each
        return self.at


def answer(
    plans: Plan | Sequence[Plan],
    test: Callable[[VgpuConsoleApp, Driver], Awaitable[None]],
    *,
    clock: Callable[[], float] | None = None,
    size: tuple[int, int] = (120, 40),
) -> object:
    """What the dialog gave back: OPEN, None for no, or the accepted checks."""
    given: list[object] = [OPEN]

    async def run(app: VgpuConsoleApp, pilot: Driver) -> None:
        shown = PlanDialog([plans] if isinstance(plans, Plan) else plans, clock or Seconds())
        await app.push_screen(shown, lambda result: given.append(result))
        await pilot.pause()
        await test(app, pilot)

    drive(console(), run, size=size)
    return given[-1]


def keys(*pressed: str) -> Callable[[VgpuConsoleApp, Driver], Awaitable[None]]:
    """Press these."""

    async def run(_app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, *pressed)

    return run


@pytest.mark.parametrize(
    ("pressed", "given"),
    [
        (("y",), frozenset()),
        (("right", "enter"), frozenset()),
        (("enter",), OPEN),
        (("enter", "enter", "enter"), OPEN),
        (("a",), OPEN),
        (("l",), OPEN),
        (("space",), OPEN),
        (("n",), None),
        (("escape",), None),
        (("q",), None),
        (("right", "left", "enter"), None),
    ],
)
def test_a_change_wants_y_or_a_moved_choice(pressed: tuple[str, ...], given: object) -> None:
    assert answer(plan("change"), keys(*pressed)) == given


@pytest.mark.parametrize(
    ("pressed", "given"),
    [
        (("a",), frozenset()),
        (("y",), OPEN),
        (("enter",), OPEN),
        (("right", "enter"), OPEN),
        (("l",), OPEN),
        (("D",), OPEN),
        (("n",), None),
        (("escape",), None),
    ],
)
def test_a_risk_wants_a_key_of_its_own(pressed: tuple[str, ...], given: object) -> None:
    assert answer(plan("risk"), keys(*pressed)) == given


@pytest.mark.parametrize(
    ("pressed", "given"),
    [
        (("tab", *"ml-research", "enter"), frozenset()),
        (("tab", *"ml-researc", "enter"), OPEN),
        (("tab", "enter"), OPEN),
        (("y", "a", "enter"), OPEN),
        (("escape",), None),
    ],
)
def test_what_destroys_wants_the_name(pressed: tuple[str, ...], given: object) -> None:
    assert answer(plan("destroy"), keys(*pressed)) == given


def test_each_open_check_is_accepted_by_itself_and_none_that_passes() -> None:
    both = frozenset({"quota.below-usage", "quota.capacity"})
    risk = plan("risk", PASS, WARN, UNKNOWN)
    assert answer(risk, keys("a")) == OPEN
    assert answer(risk, keys("space", "a")) == OPEN
    assert answer(risk, keys("space", "space", "a")) == both
    assert answer(risk, keys("space", "space", "backspace", "a")) == OPEN
    assert answer(plan("change", PASS, WARN), keys("y")) == OPEN
    assert answer(plan("change", PASS, WARN), keys("space", "y")) == {"quota.below-usage"}


def test_what_is_left_to_accept_is_said() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "2 to accept · 1 pass" in screen_text(app)
        assert "space accepts each of 2 first" in screen_text(app)
        await press(pilot, "a")
        assert any("first 2 checks to accept" in toast for toast in toasts(app))
        await press(pilot, "space", "space")
        assert screen_text(app).count("✓ accepted") == 2
        assert "a applies" in screen_text(app)

    answer(plan("risk", PASS, WARN, UNKNOWN), test)


def test_a_failed_check_forbids_it_whatever_is_pressed() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "cannot be applied" in screen_text(app)
        assert "✗ fail" in screen_text(app)
        await press(pilot, "space", "y", "a", "right")

    assert answer(plan("risk", FAIL, WARN), test) == OPEN
    assert answer(plan("change", FAIL), keys("y", "enter")) is None  # enter closes what has one way out


def test_nothing_to_do_is_said_and_not_applied() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "Nothing to do: it is already so." in screen_text(app)
        await press(pilot, "y")

    assert answer(plan("change", steps=(), before={"limit": 4}), test) == OPEN


def test_keys_that_were_typed_for_the_screen_before_confirm_nothing() -> None:
    clock = Seconds(0.0)

    async def test(_app: VgpuConsoleApp, pilot: Driver) -> None:
        clock.at = 0.29
        await press(pilot, "y")
        clock.at = 0.44
        await press(pilot, "y")

    assert answer(plan(), test, clock=clock) == frozenset()
    clock.at = 0.0

    async def early(_app: VgpuConsoleApp, pilot: Driver) -> None:
        clock.at = 0.29
        await press(pilot, "y")

    assert answer(plan(), early, clock=clock) == OPEN


def test_a_key_held_down_passes_once() -> None:
    now = [0.0]
    guard = InputGuard(lambda: now[0])
    passed = []
    for _ in range(60):
        now[0] += 1 / 30
        passed.append(guard.lets_pass())
    assert not any(passed)
    now[0] += 0.2
    assert guard.lets_pass()


def test_a_check_is_accepted_only_once_it_was_in_sight() -> None:
    long = plan("risk", WARN, effect=tuple(f"line {n} of what it means" for n in range(40)))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "below-usage" not in screen_text(app)
        assert "5 vGPUs in use" not in screen_text(app)
        await press(pilot, "space")
        assert "! warn" in screen_text(app)
        assert "5 vGPUs in use, 1 above the limit of 4" in screen_text(app)
        assert "accepted" not in screen_text(app)
        await press(pilot, "space")
        assert "✓ accepted" in screen_text(app)

    assert answer(long, test, size=(80, 24)) == OPEN


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
@pytest.mark.parametrize("danger", ["change", "risk", "destroy"])
def test_the_choice_is_in_sight_at_every_size(danger: Any, size: tuple[int, int]) -> None:
    many = tuple(Check(id=f"x.{n}", status="pass", evidence="so it is " * 12) for n in range(20))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert "[ No ]" in screen_text(app)
        page = app.screen.query_one(Page)
        await press(pilot, "G")
        assert page.scroll_offset.y == page.max_scroll_y > 0

    assert answer(plan(danger, *many), test, size=size) == OPEN


def test_everything_of_a_plan_is_on_its_page() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        page = app.screen.query_one(Page).text
        for words in (
            "limit     8  →  4",
            "no new vGPU server until two are gone",
            "PATCH /limits/0f3e6d1c",
            "openstack limit set --resource-limit 4 0f3e6d1c",
            "set class:VGPU of ml-research to 8",
            plan().hash,
        ):
            assert words in page
        await press(pilot, "c")
        assert app.clipboard == "openstack limit set --resource-limit 4 0f3e6d1c"

    answer(plan(), test)


def test_several_plans_are_a_table_and_their_checks_are_accepted_once_each() -> None:
    three = [
        plan("change", PASS, name="render"),
        plan("risk", WARN, UNKNOWN, name="ml-research"),
        plan("risk", WARN, name="vdi"),
    ]

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        said = screen_text(app)
        assert "3 changes" in said
        assert "ml-research, vdi: 5 vGPUs in use" in said
        await press(pilot, "space", "space", "a")

    assert answer(three, test) == {"quota.below-usage", "quota.capacity"}
