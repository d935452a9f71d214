"""What an operator should see before typing a limit: what holds, what is used, and what a number means here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vgpu_console.actions import quota_checks
from vgpu_console.actions.limit_values import UNLIMITED, shown
from vgpu_console.actions.quota_effects import thing
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.screens.render import quota, words
from vgpu_console.screens.render.facts import labelled
from vgpu_console.screens.render.plans import check_span
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.widgets.cells import Span

About = Callable[[int], Sequence[Line]]
Rows = Sequence[ProjectQuota | None]

_MOST_NAMED = 12


def rows_of(targets: Sequence[LimitTarget], snapshot: Snapshot) -> list[ProjectQuota | None]:
    """The quota row of each target."""
    found = {(q.project_id, q.resource): q for q in snapshot.quotas}
    return [found.get((t.project_id, t.resource)) for t in targets]


def heading(targets: Sequence[LimitTarget], rows: Rows) -> str:
    """``Limit of class:VGPU for ml-research``."""
    resources = ", ".join(dict.fromkeys(t.resource for t in targets))
    if len(targets) == 1:
        return f"Limit of {resources} for {_name(targets[0], rows[0])}"
    return f"Limit of {resources} for {len(targets)} projects"


def present(rows: Rows) -> str:
    """What the line holds at first: the limit that all have now, else nothing."""
    values = {row.limit if row is not None else None for row in rows}
    only = values.pop() if len(values) == 1 else None
    return "" if only is None else str(only)


def default_of(resource: str, snapshot: Snapshot) -> int | None:
    """The default of a resource, None when none is registered or known."""
    return next((q.default for q in snapshot.quotas if q.resource == resource and q.default is not None), None)


def _name(target: LimitTarget, row: ProjectQuota | None) -> str:
    return row.project if row is not None else target.project_id


def limit_lines(
    targets: Sequence[LimitTarget], rows: Rows, facts: Facts, snapshot: Snapshot, width: int, *, clearable: bool
) -> list[Line]:
    """Of one project all figures, of several a line each; below, what -1 and 0 mean on this cloud."""
    lines: list[Line] = []
    if len(targets) == 1:
        lines += _one(rows[0])
    else:
        for target, row in list(zip(targets, rows, strict=True))[:_MOST_NAMED]:
            beside: Span = (f"  {quota.resource_word(target.resource)}", "muted")
            figures = _figures(row) if row is not None else (("not known", "unknown"),)
            lines.append(((f"{words.clip(_name(target, row), 24):<24} ", ""), *figures, beside))
        if len(targets) > _MOST_NAMED:
            lines.append(((f"and {len(targets) - _MOST_NAMED} more", "muted"),))
    lines += _promised(targets[0].resource, snapshot)
    default = default_of(targets[0].resource, snapshot)
    return [*lines, (), *_meanings(targets[0].resource, facts, width, default if clearable else None, clearable)]


def default_lines(resource: str, facts: Facts, snapshot: Snapshot, width: int) -> list[Line]:
    """The default now, how many follow it, and who does not."""
    rows = [q for q in snapshot.quotas if q.resource == resource]
    default = default_of(resource, snapshot)
    own = sum(q.origin == "project" for q in rows)
    lines: list[Line] = [labelled("now", (shown(default) if default is not None else "not registered", "accent"))]
    if default is None:
        row = next((q for q in rows if q.missing_means is not None), None)
        word = row.missing_means if row is not None else None
        if word is not None:
            meaning = {"unlimited": "no limit at all", "zero": "nothing can start", "unknown": "not known"}[word]
            lines.append(labelled("", (f"which here means: {meaning}", "muted")))
    lines.append(labelled("follow it", (words.plural(len(rows) - own, "project"), "")))
    lines.append(labelled("do not", (words.plural(own, "project"), ""), ("  with a limit of their own", "muted")))
    lines += _promised(resource, snapshot)
    return [*lines, (), *_meanings(resource, facts, width, None, False)]


def _one(row: ProjectQuota | None) -> list[Line]:
    if row is None:
        return [(("what the project has and uses is not known", "unknown"),)]
    word, tone = quota.origin(row)
    where = {"project": "its own", "default": "the default"}.get(row.origin, word)
    now: Span = (shown(row.limit), "accent") if row.limit is not None else (word, tone)
    lines: list[Line] = [labelled("now", now, *(((f"  {where}", "muted"),) if row.limit is not None else ()))]
    lines.append(labelled("used", *_figures(row, limit=False)))
    return lines


def _figures(row: ProjectQuota, *, limit: bool = True) -> tuple[Span, ...]:
    used: Span = (words.number(row.used), "unknown" if row.used is None else "")
    spans: list[Span] = [used]
    if limit:
        spans = [used, (f" of {quota.limit_word(row.limit) if row.limit is not None else 'none'}", "")]
    if row.used and (row.used_by_migrations or row.leaked):
        spans += [("   ", ""), *quota.held(row).spans]
    return tuple(spans)


def _promised(resource: str, snapshot: Snapshot) -> list[Line]:
    said = quota.promised(quota.totals_of(snapshot, resource))
    return [labelled("in all", *said)] if said else []


def _meanings(resource: str, facts: Facts, width: int, default: int | None, clearable: bool) -> list[Line]:
    lines = hang((("0         ", "accent"),), f"no new {thing(resource)}; what runs stays", "muted", width)
    for check in quota_checks.unlimited(facts, UNLIMITED):
        sign, tone = check_span(check.status)
        first: list[Span] = [("-1        ", "accent")]
        if check.status != "pass":
            first.append((f"{sign} ", tone))
        lines += hang(first, check.evidence, "muted", width)
    if clearable:
        said = f"takes the project's own limit away: the default holds ({shown(default)})"
        lines += hang((("d         ", "accent"),), said, "muted", width)
    return lines
