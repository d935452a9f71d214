"""The journal as rows and as a page: who changed what, when, from where, on what grounds, and how it ended."""

from __future__ import annotations

from vgpu_console.actions.journal_runs import Run
from vgpu_console.screens.render import words
from vgpu_console.screens.render.plans import RESULTS, change_word, key_word, plan_lines, value_word
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Span, glyphs, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("at", "BEGUN (UTC)", 19),
    Column("result", "RESULT", 12),
    Column("title", "CHANGE", 22, flex=6),
    Column("values", "FROM → TO", 12, flex=2, priority=1),
    Column("user", "BY", 12, flex=1, priority=2, maximum=24),
    Column("source", "FROM", 9, flex=1, priority=4, maximum=15),
    Column("cloud", "CLOUD", 8, flex=1, priority=3, maximum=12),
    Column("accepted", "ACCEPTED", 10, flex=1, priority=5),
    Column("message", "WHAT WAS SAID", 20, flex=4, priority=6),
    Column("run", "RUN", 12, priority=7),
)


def result_span(run: Run) -> Span:
    """How it ended: glyph, word and tone."""
    signs = glyphs()
    if run.result is None:
        return f"{signs.unknown} unfinished", "warn"
    kind, word = RESULTS[run.result]
    sign = {"ok": signs.ok, "warn": signs.warn, "fail": signs.fail, "unknown": signs.unknown}.get(kind, signs.separator)
    return f"{sign} {word}", kind


def is_fault(run: Run) -> bool:
    """Whether it wants an eye: it failed, or nobody knows how it ended."""
    return run.result in (None, "failed", "unverified")


def run_row(run: Run) -> TableRow:
    """One run; its id is the journal's."""
    title = run.plan.title if run.plan is not None else words.UNKNOWN
    values = change_word(run.plan) if run.plan is not None else words.UNKNOWN
    result = result_span(run)
    accepted = ", ".join(check.rpartition(".")[2] for check in run.accepted)
    return TableRow(
        run.run,
        (
            text(words.time_of(run.at)),
            Cell((result,)),
            text(title),
            text(values),
            text(run.user),
            text(run.source, "muted"),
            text(run.cloud or "–", "" if run.cloud else "muted"),
            text(accepted or "–", "warn" if accepted else "muted"),
            text(run.words or "–", "" if run.words else "muted"),
            text(run.run, "muted"),
        ),
        f"{run.at} {result[0]} {title} {values} {run.user} {run.source} {run.cloud} {accepted} {run.words} {run.run}",
    )


def run_lines(run: Run, width: int) -> list[Line]:
    """One run whole: how it ended first, then who and when, then the plan with its checks and its inverse."""
    lines: list[Line] = [(result_span(run),)]
    lines += hang((("  ", ""),), run.message, "", width) if run.message else []
    for at, outcome in run.outcomes:
        lines += hang(((f"  {words.time_of(at)} ", "muted"),), outcome, "", width)
    if run.result is None:
        said = "it is under way in another console, or its console was killed: look at what is there now"
        lines += hang((("  ", ""),), said, "warn", width)
    lines += [(), *_row("begun", f"{words.time_of(run.at)} UTC by {run.user or 'unknown'} from {run.source}", width)]
    lines += _row("ended", f"{words.time_of(run.ended)} UTC" if run.ended else "–", width)
    lines += _row("cloud", run.cloud or "–", width)
    lines += _row("accepted", ", ".join(run.accepted) or "nothing had to be", width)
    for key, value in (run.observed or {}).items():
        lines += _row("seen then", f"{key_word(key)} {value_word(key, value)}", width)
    if run.taken:
        lines += [(), (("Steps taken", "title"),)]
        for step in run.taken:
            lines += hang(((f"{step.number:>3} {words.time_of(step.at)} ", "muted"),), step.message, "", width)
    if run.plan is not None:
        lines += [(), (("The plan", "title"),), *plan_lines(run.plan, width, frozenset(run.accepted), None)]
    return lines


def _row(label: str, value: str, width: int) -> list[Line]:
    return hang(((f"{label:<10} ", "muted"),), value, "", width)
