"""Plans, and how they ended, as text for eyes and as records for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vgpu_console.actions.plan import OperatorStep, Plan, Step
from vgpu_console.actions.runner import Outcome
from vgpu_console.text import plain

MAX = 4_000
"""Characters of one line: evidence and an API's refusal may be long."""

_UNLIMITED = -1


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan under its promised names; what follows them may grow."""
    whole: dict[str, Any] = msgspec.to_builtins(plan)
    names = ("action", "target", "before", "after", "steps", "checks", "inverse", "commands", "hash")
    more = ("title", "effect", "inverse_note", "danger")
    return {name: whole[name] for name in (*names, *more)}


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """How a plan ended, under its promised names."""
    whole: dict[str, Any] = msgspec.to_builtins(outcome.plan)
    names = ("action", "target", "before", "after")
    told = {"result": outcome.result, "message": plain(outcome.message, MAX), "observed": outcome.observed}
    return {name: whole[name] for name in names} | told | {"hash": outcome.plan.hash}


def plan_lines(plan: Plan) -> list[str]:
    """A plan for eyes: what changes, what it means, what was looked at, how it is done and undone."""
    lines = [f"{plan.title}: {changed(plan.before, plan.after)}"]
    lines += [_named("effect", line) for line in plan.effect]
    lines += [_named("check", f"{_STATUS[c.status]:<9} {c.id}: {c.evidence}") for c in plan.checks]
    lines += [_named("command", line) for line in plan.commands]
    lines += [_named("undo", _by_hand(step)) for step in plan.inverse]
    if plan.inverse_note:
        lines.append(_named("undo", plan.inverse_note))
    lines.append(_named("hash", plan.hash))
    return [plain(line, MAX) for line in lines]


def _by_hand(step: Step) -> str:
    """A step in words, with the command where it is somebody else who takes it."""
    return f"{step.title}: {step.command}" if isinstance(step, OperatorStep) else step.title


_STATUS = {"pass": "pass", "warn": "! warn", "fail": "x fail", "unknown": "? unknown"}


def _named(name: str, line: str) -> str:
    return f"  {name:<8} {line}"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """``4 → 8``, with the names where several things change."""
    if "started" in after:  # what a server does once it moves is not foretold
        return "not begun → begun"
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    if "state" in names and "absent" in (before.get("state"), after.get("state")):
        names = ["state"]  # what else a device has comes and goes with it
    if not names:
        return f"stays {', '.join(_value(v) for v in list(before.values())[:1])}"
    single = len(names) == 1 and names[0] == next(iter(after), names[0])
    return ", ".join(
        ("" if single else f"{name} ") + f"{_value(before.get(name))} → {_value(after.get(name))}" for name in names
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else "unlimited (-1)" if value == _UNLIMITED else str(value)
