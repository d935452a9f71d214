"""Applies a plan: re-read, refuse if the world moved, journal, take the steps, verify by reading back, journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from vgpu_console.actions.journal import Journal, JournalError, Result
from vgpu_console.actions.plan import OperatorStep, Plan, Step
from vgpu_console.sources.base import SourceError, Unanswered


class World(Protocol):
    """What an action touches: every method may block and raises SourceError."""

    @property
    def read_only(self) -> bool:
        """Whether the wall stands."""
        ...

    @property
    def name(self) -> str:
        """The cloud's name, for the journal."""
        ...

    def refuses(self, step: Step) -> str:
        """Why this console's settings do not allow the step, "" when they do; asks nobody."""
        ...

    def take(self, step: Step) -> None:
        """Take one step. Raises Unanswered when it was sent and nobody knows whether it was obeyed."""
        ...

    def observe(self, plan: Plan) -> dict[str, Any]:
        """Read afresh what the plan's ``before`` and ``after`` are about, with the same keys."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. ``observed`` is what was last read of the target, None when it could not be read."""

    plan: Plan
    result: Result
    message: str
    observed: dict[str, Any] | None = None
    steps_taken: int = 0

    @property
    def ok(self) -> bool:
        """Whether the world is now as planned, and was seen to be."""
        return self.result == "done"


LOOK_AGAIN_S = 0.5
"""Between two looks at a world that takes its time to show a change."""

BEFORE_FAILED = "not begun: the one before it failed"

Progress = Callable[[Plan, int, str], None]
"""Called with the plan, the number of steps taken so far and a word about what happens now."""


def _silent(plan: Plan, steps: int, word: str) -> None:
    pass


def apply(
    plan: Plan,
    world: World,
    journal: Journal,
    *,
    accepted: frozenset[str] = frozenset(),
    progress: Progress = _silent,
    stop: Callable[[], bool] = lambda: False,
    wait: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Apply one plan. ``accepted`` are the ids of warnings and unknowns that the operator took upon themselves.

    ``stop`` ends the waiting for a change to show, not a step. ``wait`` is how the time between two looks is spent.

    Never raises for what the world does: a refusal, a failure or a change behind our back is an outcome. The journal
    must be writable before anything is sent.
    """
    if world.read_only:
        return Outcome(plan=plan, result="refused", message="this console is read-only")
    if plan.blocked_by:
        reasons = "; ".join(c.evidence for c in plan.blocked_by)
        return Outcome(plan=plan, result="refused", message=f"not allowed: {reasons}")
    open_checks = [c for c in plan.needs_override if c.id not in accepted]
    if open_checks:
        words = "; ".join(f"{c.id}: {c.evidence}" for c in open_checks)
        return Outcome(plan=plan, result="refused", message=f"needs to be accepted: {words}")
    if plan.changes_nothing:
        return Outcome(plan=plan, result="done", message="already so: nothing to do", observed=plan.before)
    reason = next((why for step in plan.steps if (why := world.refuses(step))), "")
    if reason:
        return Outcome(plan=plan, result="refused", message=f"nothing was sent: {reason}")
    progress(plan, 0, "re-reading")
    try:
        now = world.observe(plan)
    except SourceError as error:
        message = f"cannot be re-checked, nothing was sent: {error}"
        note = _not_begun(journal, plan, world, accepted, "refused", message, None)
        return Outcome(plan=plan, result="refused", message=message + note)
    if now != plan.before:
        message = f"changed since it was planned: {_difference(plan.before, now)}"
        note = _not_begun(journal, plan, world, accepted, "moved", message, now)
        return Outcome(plan=plan, result="moved", message=message + note, observed=now)
    try:
        run = journal.begin(plan, cloud=world.name, overrides=tuple(sorted(accepted)))
    except JournalError as error:
        return Outcome(plan=plan, result="refused", message=str(error))
    return _take_steps(plan, world, journal, run, progress, lambda: _settled(plan, world, progress, stop, wait))


def apply_all(
    plans: Iterable[Plan],
    world: World,
    journal: Journal,
    *,
    accepted: frozenset[str] = frozenset(),
    progress: Progress = _silent,
    stop: Callable[[], bool] = lambda: False,
    stop_at_first: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Apply several plans one after the other, an outcome each; ``stop`` is asked before each.

    With ``stop_at_first`` none is begun after the first that did not end as planned.
    """
    outcomes: list[Outcome] = []
    for plan in plans:
        if stop():
            outcomes.append(Outcome(plan=plan, result="interrupted", message="not begun: stopped by the operator"))
        elif stop_at_first and outcomes and not outcomes[-1].ok:
            outcomes.append(Outcome(plan=plan, result="refused", message=BEFORE_FAILED))
        else:
            outcomes.append(apply(plan, world, journal, accepted=accepted, progress=progress, stop=stop, wait=wait))
    return outcomes


def _settled(
    plan: Plan, world: World, progress: Progress, stop: Callable[[], bool], wait: Callable[[float], None]
) -> dict[str, Any]:
    """What is read back: as planned, or what it is still when the patience ends. Raises SourceError.

    A daemon that was restarted, or a line that was cut, may be there again before that.
    """
    looks = int(plan.settle_s / LOOK_AGAIN_S)
    end = time.monotonic() + plan.settle_s
    while True:
        looks -= 1
        try:
            observed = world.observe(plan)
        except SourceError as error:
            if looks < 0 or stop() or error.kind != "unreachable" or time.monotonic() > end:
                raise
            word = f"waiting: {error}"
        else:
            if looks < 0 or stop() or observed == plan.after:
                return observed
            word = f"waiting: {_difference(observed, plan.after, ' so far, wanted ')}"
        progress(plan, len(plan.steps), word)
        wait(LOOK_AGAIN_S)


def _take_steps(
    plan: Plan,
    world: World,
    journal: Journal,
    run: str,
    progress: Progress,
    settled: Callable[[], dict[str, Any]],
) -> Outcome:
    taken = 0
    failure = ""
    doubtful = False
    try:
        for number, step in enumerate(plan.steps, start=1):
            progress(plan, taken, step.title)
            journal.step(run, number, step.title)
            world.take(step)
            taken = number
    except SourceError as error:
        failure = str(error)
        doubtful = isinstance(error, Unanswered)
    except JournalError as error:
        failure = f"stopped after {taken} of {len(plan.steps)} steps: {error}"
    except KeyboardInterrupt:
        _end(journal, run, "interrupted", f"interrupted during step {taken + 1} of {len(plan.steps)}", None)
        raise
    progress(plan, taken, "verifying")
    observed: dict[str, Any] | None
    try:
        # what may have been obeyed takes its time to show like what was; a refusal has changed nothing more
        observed = settled() if doubtful or not failure else world.observe(plan)
    except SourceError as error:
        observed = None
        unread = f"what is true now could not be read: {error}"
    except KeyboardInterrupt:
        words = "all steps were taken" if taken == len(plan.steps) else f"{taken} of {len(plan.steps)} steps were taken"
        _end(journal, run, "interrupted", f"{words}, interrupted while it was read back", None)
        raise
    else:
        unread = ""
    result, message = _judged(plan, taken, failure, observed, unread)
    note = _end(journal, run, result, message, observed)
    return Outcome(plan=plan, result=result, message=message + note, observed=observed, steps_taken=taken)


def _judged(plan: Plan, taken: int, failure: str, observed: dict[str, Any] | None, unread: str) -> tuple[Result, str]:
    total = len(plan.steps)
    if failure:
        if observed is None:
            return "failed", f"{failure}; {taken} of {total} steps were taken; {unread}"
        if observed == plan.after:
            return "done", f"the answer was an error ({failure}), but the change is there"
        state = "nothing was changed" if observed == plan.before else f"now: {_shown(observed)}"
        return "failed", f"{failure}; {state}"
    if observed is None:
        return "unverified", f"{_all_taken(plan)}, but {unread}"
    if observed != plan.after:
        return "unverified", f"{_all_taken(plan)}, but this was read back: {_shown(observed)}"
    return "done", "applied and read back"


def _all_taken(plan: Plan) -> str:
    """That everything was done, in words that fit a single step, and one that only an operator can take."""
    if all(isinstance(step, OperatorStep) for step in plan.steps):
        return "it was waited for"
    return "the step was taken" if len(plan.steps) == 1 else f"all {len(plan.steps)} steps were taken"


def _not_begun(
    journal: Journal,
    plan: Plan,
    world: World,
    accepted: frozenset[str],
    result: Result,
    message: str,
    observed: dict[str, Any] | None,
) -> str:
    """Journal a plan that was confirmed and then not taken, with the reason: its steps have no line."""
    try:
        run = journal.begin(plan, cloud=world.name, overrides=tuple(sorted(accepted)))
        journal.end(run, result, message, observed)
    except JournalError as error:
        return f" ({error})"
    return ""


def _end(journal: Journal, run: str, result: Result, message: str, observed: dict[str, Any] | None) -> str:
    try:
        journal.end(run, result, message, observed)
    except JournalError as error:
        return f" ({error})"
    return ""


def _shown(state: dict[str, Any]) -> str:
    return ", ".join(f"{key} {'none' if value is None else value}" for key, value in state.items())


def _difference(before: dict[str, Any], now: dict[str, Any], between: str = " and is ") -> str:
    changed = [k for k in {**before, **now} if before.get(k) != now.get(k)]
    was = " was " if between == " and is " else " "
    return ", ".join(f"{k}{was}{_word(before.get(k))}{between}{_word(now.get(k))}" for k in changed)


def _word(value: Any) -> str:
    return "none" if value is None else str(value)
