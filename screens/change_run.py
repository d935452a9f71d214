"""A change under way: the plans, where it is, and what became of each. Written by a worker, read by the screens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import OperatorStep, Plan
from vgpu_console.actions.runner import BEFORE_FAILED, Outcome, World, apply_all
from vgpu_console.text import plain

LOG = logging.getLogger("vgpu_console.screens")

Replan = Callable[[], tuple[Plan, ...]]
"""The same intention planned anew from what is known now. Raises PlanError."""


class ChangeRun:
    """Plans that are applied one after the other in a thread of their own.

    With ``stop_at_first`` none is begun after the first that was tried and did not end as planned; those whose checks
    forbid them were never to be tried.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        accepted: frozenset[str],
        replan: Replan,
        *,
        stop_at_first: bool = False,
        again: Callable[[], None] | None = None,
        then: Callable[[ChangeRun], None] | None = None,
    ) -> None:
        """``again`` takes the place of planning anew; ``then`` is called once when it has ended, on the UI loop."""
        self.plans = tuple(plans)
        self.accepted = accepted
        self.replan = replan
        self.stop_at_first = stop_at_first
        self.again = again
        self.then = then
        self.outcomes: list[Outcome | None] = [None] * len(self.plans)
        self.at = 0
        self.taken = 0
        self.word = "beginning"
        self.finished = False
        self._stop = threading.Event()

    @property
    def single(self) -> bool:
        """Whether it is one change only."""
        return len(self.plans) == 1

    @property
    def ok(self) -> bool:
        """Whether all of it is done and was read back."""
        return all(outcome is not None and outcome.ok for outcome in self.outcomes)

    @property
    def _broken(self) -> bool:
        """Whether one that was tried failed."""
        return any(o is not None and not o.ok and not o.plan.blocked_by for o in self.outcomes)

    @property
    def moved(self) -> bool:
        """Whether any was refused because the world had changed: then planning again makes sense."""
        return any(outcome is not None and outcome.result == "moved" for outcome in self.outcomes)

    @property
    def stopping(self) -> bool:
        """Whether the rest is not to be begun."""
        return self._stop.is_set()

    @property
    def by_hand(self) -> str:
        """What the operator is to type while the console waits for it to show; "" when it waits for nothing such."""
        plan = self.plans[min(self.at, len(self.plans) - 1)]
        step = next((s for s in plan.steps if isinstance(s, OperatorStep)), None)
        return step.command if step is not None and not self.finished and self.taken == len(plan.steps) else ""

    def stop(self) -> None:
        """Begin no further plan, and wait no longer for what was done to show.

        The steps of the one at work are all taken, since half a change is worse than either.
        """
        self._stop.set()

    def apply(self, world: World, journal: Journal, moved: Callable[[], None]) -> None:
        """Apply everything; to be called in a thread. ``moved`` is called whenever there is something new to show."""

        def progress(plan: Plan, steps: int, word: str) -> None:
            self.taken, self.word = steps, word
            moved()

        try:
            for number, plan in enumerate(self.plans):
                if self.stop_at_first and self._broken:
                    self.outcomes[number] = Outcome(plan=plan, result="refused", message=BEFORE_FAILED)
                    continue
                self.at, self.taken, self.word = number, 0, "beginning"
                try:
                    self.outcomes[number] = apply_all(
                        (plan,), world, journal, accepted=self.accepted, progress=progress, stop=self._stop.is_set
                    )[0]
                except Exception as error:
                    LOG.exception("a change broke off by a fault of this console")
                    said = plain(f"a fault of this console: {type(error).__name__}: {error} (the log has more)")
                    self.outcomes[number] = Outcome(plan=plan, result="failed", message=said)
                moved()
        finally:
            self.finished = True
            moved()
