"""A change under way: the plans, where it is, and what became of each. Written by a worker, read by the screens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome, World, apply_all
from vgpu_console.text import plain

LOG = logging.getLogger("vgpu_console.screens")

Replan = Callable[[], tuple[Plan, ...]]
"""The same intention planned anew from what is known now. Raises PlanError."""


class ChangeRun:
    """Plans that are applied one after the other in a thread of their own."""

    def __init__(self, plans: Sequence[Plan], accepted: frozenset[str], replan: Replan) -> None:
        self.plans = tuple(plans)
        self.accepted = accepted
        self.replan = replan
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
    def moved(self) -> bool:
        """Whether any was refused because the world had changed: then planning again makes sense."""
        return any(outcome is not None and outcome.result == "moved" for outcome in self.outcomes)

    @property
    def stopping(self) -> bool:
        """Whether the rest is not to be begun."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin no further plan; the one at work is finished, since half a change is worse than either."""
        self._stop.set()

    def apply(self, world: World, journal: Journal, moved: Callable[[], None]) -> None:
        """Apply everything; to be called in a thread. ``moved`` is called whenever there is something new to show."""

        def progress(plan: Plan, steps: int, word: str) -> None:
            self.taken, self.word = steps, word
            moved()

        try:
            for number, plan in enumerate(self.plans):
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
