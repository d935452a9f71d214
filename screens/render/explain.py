"""An explanation in words: the answer, the chain in its order, what stands beside it, the verdict and what mends it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len

from vgpu_console.actions.registry import action
from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.rules.explain.chain import Explanation, Kind, Place
from vgpu_console.screens.render import words
from vgpu_console.screens.render.checks import KINDS, answer_spans, named_check, sign
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Span

_QUESTIONS: Mapping[Kind, str] = {
    "server": "Why has {} its vGPU, or none",
    "flavor": "Why does {} find a host, or none",
    "project": "Why can {} start a server with a vGPU, or not",
    "host": "Why does {} get servers, or none",
}
_ANSWERS: dict[CheckStatus, str] = {
    "pass": "ALL IN ORDER",
    "warn": "NEEDS A LOOK",
    "unknown": "NOT ALL IS KNOWN",
    "fail": "THIS IS WHY",
}
_NAMES = 15
"""Cells of the column of steps' names."""
_SHOWN = 16
"""So many hosts or flavors stand below the chain."""


def question(kind: Kind, name: str) -> str:
    """The dialog's title."""
    return _QUESTIONS[kind].format(words.clip(name, 60))


def answer(found: Explanation) -> tuple[Span, ...]:
    """``✗ THIS IS WHY   2 fail · 1 warn · 4 pass``."""
    return answer_spans(found.verdict, _ANSWERS[found.verdict], found.steps)


def explain_page(found: Explanation, width: int) -> list[Line]:
    """The summary, every step in the chain's order, hosts or flavors, the verdict and what mends it."""
    lines: list[Line] = [*hang((("", ""),), f"{found.name} {found.summary}", KINDS[found.verdict], width), ()]
    for step in found.steps:
        lines += named_check(step, width, _NAMES)
    if found.places:
        title = "Flavors" if found.kind == "project" else "Hosts"
        lines += [(), ((title, "title"), ("   those with room first", "muted"))]
        lines += place_lines(found, width)
    lines += [(), (("Verdict ", "title"), (f"{sign(found.verdict)} {found.verdict}", KINDS[found.verdict]))]
    if found.mends:
        lines += [(), (("What mends it", "title"),)]
        for mend in found.mends:
            lines += _mend(mend, width)
    return lines


def place_lines(found: Explanation, width: int) -> list[Line]:
    """A line for each: its room and figures, and why not more below its name."""
    name = min(24, max(cell_len(p.name) for p in found.places))
    lines: list[Line] = []
    for place in found.places[:_SHOWN]:
        room = "?" if place.room is None else "no room" if not place.room else f"room for {place.room}"
        first: tuple[Span, ...] = (
            (f"  {sign(place.status)} ", KINDS[place.status]),
            (f"{words.clip(place.name, name):<{name}}  ", ""),
            (f"{room:<12} ", "accent" if place.room else "muted"),
        )
        told = "; ".join(part for part in (_figures(place), place.why) if part)
        lines += hang(first, told, "muted", width) if told else [first]
    if len(found.places) > _SHOWN:
        lines.append(((f"  and {len(found.places) - _SHOWN} more", "muted"),))
    return lines


def _figures(place: Place) -> str:
    """``18 offered, 4 used, 4 real``; "" where Placement counts none of it."""
    if place.offered is None:
        return ""
    reserved = f", {place.reserved} reserved" if place.reserved else ""
    return f"{place.offered} offered, {words.number(place.used)} used{reserved}, {words.number(place.real)} real"


def _mend(mend: Mend, width: int) -> list[Line]:
    key = action(mend.action).key if mend.action else ""
    after = f" ({key} in the console)" if key else ""
    lines = hang((("  · ", "muted"),), f"{mend.words}{after}", "", width)
    return lines + (hang((("    ", ""),), mend.command, "accent", width) if mend.command else [])


def commands(found: Explanation) -> str:
    """The commands that mend it, a line each."""
    return "\n".join(m.command for m in found.mends if m.command)
