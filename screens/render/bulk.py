"""Several plans in one dialog: a line each, what is to be accepted over all of them, and what became of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len, set_cell_size

from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome
from vgpu_console.screens.render.plans import (
    change_word,
    check_lines,
    check_span,
    open_checks,
    ordered,
    result_span,
    short_name,
)
from vgpu_console.screens.render.words import plural
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Span, glyphs
from vgpu_console.text import plain


def bulk_lines(plans: Sequence[Plan], width: int, accepted: Collection[str], cursor: str | None) -> list[Line]:
    """The plans, a line each, then the checks that are open in any of them, then the commands."""
    column = _column([short_name(p) for p in plans], width)
    lines: list[Line] = []
    for plan in plans:
        worst = next(iter(ordered(plan.checks)), None)
        beside: Span = check_span(worst.status) if worst is not None and worst.status != "pass" else ("", "")
        what: Span = ("already so", "muted") if plan.changes_nothing else (change_word(plan), "accent")
        lines.append((_cell(short_name(plan), column), (f"{what[0]:<26}  ", what[1]), beside))
    found = open_checks([p for p in plans if not p.blocked_by])
    if found:
        lines += [(), (("To accept", "title"),)]
    for id, where in found.items():
        _, check = where[0]
        said = check.evidence
        if len(plans) > 1:
            named = "all of them" if len(where) == len(plans) else ", ".join(short_name(p) for p, _ in where[:6])
            named += f" and {len(where) - 6} more" if 6 < len(where) < len(plans) else ""
            same = len({c.evidence for _, c in where}) == 1
            said = f"{named}: {said}" + ("" if same else " and the like")
        lines += check_lines(check, width, accepted=id in accepted, here=id == cursor, said=said)
    refused = [p for p in plans if p.blocked_by]
    if refused:
        lines += [(), (("Not possible", "title"), (f"   {plural(len(refused), 'change')}", "fail"))]
        for plan in refused:
            first = ((f"  {glyphs().fail} ", "fail"), _cell(short_name(plan), column))
            lines += hang(first, "; ".join(c.evidence for c in plan.blocked_by), "", width)
    commands = [line for plan in plans if not plan.blocked_by for line in plan.commands]
    if commands:
        lines += [(), (("The same by hand", "title"),)]
        for command in commands:
            lines += hang((("  ", ""),), command, "muted", width)
    return lines


def result_lines(
    plans: Sequence[Plan], outcomes: Sequence[Outcome | None], at: int, word: str, width: int
) -> list[Line]:
    """The plans with what became of each; ``at`` is the one at work now, ``word`` what it does."""
    column = _column([short_name(p) for p in plans], width)
    lines: list[Line] = []
    for number, (plan, outcome) in enumerate(zip(plans, outcomes, strict=True)):
        name = _cell(short_name(plan), column)
        if outcome is not None:
            lines.append((name, (f"{change_word(plan)}  ", "muted"), result_span(outcome)))
            if outcome.result not in ("done", "interrupted"):
                lines += hang(((" " * 4, ""),), outcome.message, "", width)
        elif number == at:
            lines.append((name, (f"{change_word(plan)}  ", "muted"), (f"{glyphs().cursor} {word}", "accent")))
        else:
            lines.append((name, (f"{change_word(plan)}  ", "muted"), (f"{glyphs().pending} waits", "muted")))
    return lines


def _column(names: Sequence[str], width: int) -> int:
    return min(max((cell_len(plain(name)) for name in names), default=0), max(12, width * 2 // 5))


def _cell(name: str, column: int) -> Span:
    shown = plain(name)
    if cell_len(shown) > column:
        shown = set_cell_size(shown, column - 1).rstrip() + glyphs().more
    return set_cell_size(shown, column) + "  ", ""
