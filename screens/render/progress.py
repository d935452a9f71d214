"""How far a change is while it is applied: steps, virtual functions that came up, and what the operator has to do."""

from __future__ import annotations

import re

from vgpu_console.actions.plan import OperatorStep, Plan
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import bar, glyphs

_FUNCTIONS = re.compile(r"waiting: vfs (\d+) so far, wanted (\d+)")
"""The runner's word while it waits for functions to show."""


def head_line(done: int, total: int, *, finished: bool) -> Line:
    """Of several changes how many are done: a bar with its numbers, and once it has ended the numbers alone."""
    if finished:
        return ((f"{done} of {total} done", "title"),)
    return (*bar(done, total, 20).spans, (" done …", "accent"))


def step_lines(plan: Plan, taken: int, word: str, width: int) -> list[Line]:
    """The steps of one plan: those taken, the one at work, those that come; below, what happens now."""
    lines: list[Line] = []
    for number, step in enumerate(plan.steps):
        by_hand = isinstance(step, OperatorStep)
        waits = by_hand and word.startswith("waiting")
        done, here = number < taken and not waits, (number == taken and word == step.title) or waits
        sign, tone = (glyphs().ok, "ok") if done else (glyphs().cursor, "accent") if here else ("·", "muted")
        lines += hang(((f"  {sign} ", tone),), step.title, "" if done or here else "muted", width)
        if isinstance(step, OperatorStep):
            lines += _by_hand(step, width)
    functions = _FUNCTIONS.fullmatch(word)
    if functions is not None:
        on, total = int(functions[1]), int(functions[2])
        return [*lines, (), (("  virtual functions  ", "muted"), *bar(on, total, 24).spans)]
    at = f"step {min(len(plan.steps), taken + 1)} of {len(plan.steps)}"
    shown = at if word in [s.title for s in plan.steps] else word
    return [*lines, (), *hang((), f"{shown} …", "accent", width)]


def _by_hand(step: OperatorStep, width: int) -> list[Line]:
    """What is to be typed, on a line of its own; the console looks meanwhile."""
    return [
        (),
        ((f"    run this on {step.host}, as root; the console looks every half second:", ""),),
        *hang((("      ", ""),), step.command, "accent", width),
    ]
