"""Changes that a console had begun and never ended: what was planned, by whom, and what is true of it now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vgpu_console.actions.plan import Plan
from vgpu_console.actions.unfinished import Unfinished
from vgpu_console.screens.render import words
from vgpu_console.screens.render.plans import change_word, key_word, value_word
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Span, glyphs

_PERHAPS_RUNNING_S = 120.0
"""A change that began so lately may be one that another console is at."""


def unfinished_lines(found: Sequence[Unfinished], now: float, width: int) -> list[Line]:
    """Each with what was being applied and what is true now."""
    lines: list[Line] = []
    for one in found:
        plan = one.entry.plan
        lines += [()] if lines else []
        what = f"was applying {plan.title}: {change_word(plan)}" if plan is not None else "was applying something"
        lines += hang(((f"{glyphs().warn} ", "warn"),), what, "", width)
        lines += hang((("  ", ""),), *_now(one, plan), width)
        begun = f"begun {words.time_of(one.entry.at)} UTC by {one.entry.user or 'unknown'} from {one.entry.source}"
        lines += hang((("  ", ""),), begun, "muted", width)
        age = _age(one.entry.at, now)
        if age is not None and age < _PERHAPS_RUNNING_S:
            said = f"only {words.age(age)} ago: perhaps another console is still at it"
            lines += hang((("  ", ""),), said, "warn", width)
    return lines


def _now(one: Unfinished, plan: Plan | None) -> Span:
    if plan is None or one.observed is None:
        return f"what is true now is not known: {one.error}", "unknown"
    if one.observed == plan.after:
        return "now it is as planned: the change is there", "ok"
    if one.observed == plan.before:
        return "now it is as before: nothing was changed", ""
    state = ", ".join(
        f"{key_word(k)} {value_word(k, v)}" for k, v in one.observed.items() if v != plan.before.get(k) or k == "limit"
    )
    return f"now it is neither as before nor as planned: {state}", "warn"


def _age(at: str, now: float) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())
    except ValueError:
        return None
