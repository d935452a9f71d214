"""What a killed console had begun, and what is true of it now."""

from __future__ import annotations

from typing import Any, NamedTuple

from vgpu_console.actions.journal import Entry
from vgpu_console.actions.runner import World
from vgpu_console.sources.base import SourceError


class Unfinished(NamedTuple):
    """A line of the journal without its end, and what was read now; ``error`` says why nothing was."""

    entry: Entry
    observed: dict[str, Any] | None
    error: str


def look_at(entry: Entry, world: World) -> Unfinished:
    """Read afresh what an unfinished change was about. Blocks."""
    if entry.plan is None:
        return Unfinished(entry, None, "the journal does not say what it was about")
    try:
        return Unfinished(entry, world.observe(entry.plan), "")
    except SourceError as error:
        return Unfinished(entry, None, str(error))
    except KeyError:
        return Unfinished(entry, None, f"this version knows no action {entry.plan.action}")


def state_word(one: Unfinished) -> str:
    """What is true now, in one line."""
    plan = one.entry.plan
    if plan is None or one.observed is None:
        return f"what is true now is not known: {one.error}"
    if one.observed == plan.after:
        return "now it is as planned: the change is there"
    if one.observed == plan.before:
        return "now it is as before: nothing was changed"
    names = [name for name in one.observed if one.observed[name] != plan.before.get(name) or name == "limit"]
    state = ", ".join(f"{name} {'none' if one.observed[name] is None else one.observed[name]}" for name in names)
    return f"now it is neither as before nor as planned: {state}"
