"""The journal by runs: the lines about one plan as one record, which is what an operator looks for in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from vgpu_console.actions.journal import Entry, Result
from vgpu_console.actions.plan import Plan


class StepTaken(msgspec.Struct, frozen=True):
    """A step that was begun, counted from 1, and what was said of it."""

    number: int
    at: str
    message: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All lines about one plan that was begun. ``result`` None: it never ended, or has not yet.

    ``outcomes`` is what became, later, of something that goes on by itself once it was begun: a live migration.
    """

    run: str
    at: str
    user: str
    source: str
    cloud: str
    plan: Plan | None
    accepted: tuple[str, ...]
    ended: str | None = None
    result: Result | None = None
    message: str = ""
    observed: dict[str, Any] | None = None
    taken: tuple[StepTaken, ...] = ()
    outcomes: tuple[tuple[str, str], ...] = ()  # (when, what became of it)

    @property
    def steps_begun(self) -> int:
        """The number of the last step that was begun."""
        return max((step.number for step in self.taken), default=0)

    @property
    def words(self) -> str:
        """How it ended and what became of it, in a line."""
        return "; then: ".join(filter(None, (self.message, *(text for _, text in self.outcomes))))


def runs(entries: Iterable[Entry]) -> list[Run]:
    """Runs in the order in which they began. Lines about a run whose beginning is not there are passed over."""
    found: dict[str, Run] = {}
    replace = msgspec.structs.replace
    for entry in entries:
        run = found.get(entry.run)
        if entry.event == "begun":
            found[entry.run] = Run(
                run=entry.run,
                at=entry.at,
                user=entry.user,
                source=entry.source,
                cloud=entry.cloud,
                plan=entry.plan,
                accepted=entry.overrides,
            )
        elif run is None:
            continue
        elif entry.event == "step":
            found[entry.run] = replace(run, taken=(*run.taken, StepTaken(entry.step or 0, entry.at, entry.message)))
        elif entry.event == "outcome":
            found[entry.run] = replace(run, outcomes=(*run.outcomes, (entry.at, entry.message)))
        else:
            found[entry.run] = replace(
                run, ended=entry.at, result=entry.result, message=entry.message, observed=entry.observed
            )
    return list(found.values())
