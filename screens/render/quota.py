"""Projects' vGPU limits and what they use of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vgpu_console.model.snapshot import ProjectQuota, QuotaTotals, Snapshot
from vgpu_console.screens.render import marks, words
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.widgets.cells import Cell, Span, bar, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

PANEL_BAR, TABLE_BAR = 12, 8

PANEL_COLUMNS = (
    Column("project", "PROJECT", 12, flex=2, maximum=30),
    Column("used", "USED / LIMIT", 20),
    Column("origin", "FROM", 15, flex=1),
)
COLUMNS = (
    Column("project", "PROJECT", 12, flex=3, maximum=60),
    Column("resource", "RESOURCE", 8, flex=1, maximum=24),
    Column("used", "USED / LIMIT", 18),
    replace(marks.COLUMN, priority=3),
    Column("held", "HELD BY", 11, flex=1, priority=2, maximum=30),
    Column("free", "FREE", 4, "right"),
    Column("origin", "FROM", 11, flex=2, priority=1, maximum=30),
    Column("default", "DEFAULT", 7, "right", priority=4),
    Column("id", "PROJECT ID", 32, priority=5),
)
"""By their worth: what is used of what limit, where the limit comes from, then who holds it."""

UNLIMITED = -1


def row_id(quota: ProjectQuota) -> str:
    """The identity of a quota row: one project's one resource."""
    return f"{quota.project_id}/{quota.resource}"


def target_of(row_id: str) -> LimitTarget:
    """The limit that a row is about."""
    project_id, _, resource = row_id.partition("/")
    return LimitTarget(project_id, resource)


def resource_word(resource: str) -> str:
    """The resource as its class, without the prefixes that nearly all of them have."""
    name = resource.removeprefix("class:")
    short = name.removeprefix("CUSTOM_")
    return name if short in _STANDARD else short


_STANDARD = frozenset({"VGPU", "VGPU_DISPLAY_HEAD", "PGPU", "PCI_DEVICE", "VCPU", "PCPU", "MEMORY_MB", "DISK_GB"})
"""Classes that a custom one could be mistaken for without its prefix."""


def origin(quota: ProjectQuota, *, short: bool = False) -> Span:
    """Where the limit comes from, and of a missing one what that means on this cloud, as a word or as a limit."""
    match quota.origin:
        case "project":
            return "project", ""
        case "default":
            return "default", "muted"
        case "missing":
            return f"missing → {(_AS_LIMIT if short else _MEANS)[quota.missing_means or 'unknown']}", "warn"
        case _:
            return "? not visible", "unknown"


_MEANS = {"unlimited": "unlimited", "zero": "nothing", "unknown": "?"}
_AS_LIMIT = {"unlimited": "∞", "zero": "0", "unknown": "?"}


def use(quota: ProjectQuota, width: int = PANEL_BAR) -> Cell:
    """A bar with its numbers; without a limit there is nothing to draw a bar against."""
    if quota.limit is None or quota.limit == UNLIMITED:
        limit = "∞" if quota.limit == UNLIMITED else ("–" if quota.origin == "missing" else words.UNKNOWN)
        tone = "unknown" if quota.used is None else ""
        return Cell(((f"{words.number(quota.used)} / {limit}", tone),), quota.used)
    return bar(quota.used, quota.limit, width)


def headroom(quota: ProjectQuota) -> int | None:
    """What the project may still take; None when unknown or without a limit."""
    if quota.limit is None or quota.limit == UNLIMITED or quota.used is None:
        return None
    return quota.limit - quota.used


def is_fault(quota: ProjectQuota) -> bool:
    """Whether a row needs an eye: full, above its limit, without a limit, or not known."""
    left = headroom(quota)
    return quota.origin in ("missing", "unknown") or quota.used is None or (left is not None and left <= 0)


def _note(quota: ProjectQuota) -> tuple[Span, ...]:
    left = headroom(quota)
    if left is None or (quota.limit == 0 and quota.used == 0):
        return ()
    if left < 0:
        return ((f"  {-left} above", "fail"),)
    return (("  full", "warn"),) if left == 0 else ()


def held(quota: ProjectQuota) -> Cell:
    """Who holds what is used: servers, ``+2 moving`` counted twice while a migration runs, and what is leaked."""
    if quota.used_by_instances is None:
        return Cell((("–", "muted"),), 0) if quota.used == 0 else Cell(((words.UNKNOWN, "unknown"),))
    if not quota.used and not quota.used_by_instances and not quota.leaked:
        return Cell((("–", "muted"),), 0)
    spans: list[Span] = [(str(quota.used_by_instances), "")]
    if quota.used_by_migrations:
        spans.append((f" +{quota.used_by_migrations} moving", "accent"))
    if quota.leaked is None:
        spans.append((" ? leaked", "unknown"))
    elif quota.leaked:
        spans.append((f" +{quota.leaked} leaked", "warn"))
    return Cell(tuple(spans), quota.used_by_instances)


def panel_row(quota: ProjectQuota) -> TableRow:
    """A row of the dashboard's panel."""
    word = origin(quota)
    return TableRow(
        row_id(quota),
        (text(quota.project), use(quota), Cell((word, *_note(quota)))),
        f"{quota.project} {quota.resource} {word[0]}",
    )


def quota_row(quota: ProjectQuota, mark: marks.Mark | None = None) -> TableRow:
    """A row of the quota view. ``mark``: of the findings that name the project."""
    word = origin(quota, short=True)
    left = headroom(quota)
    if left is not None:
        full = left == 0 and quota.limit != 0
        free = Cell((("full", "warn"),) if full else ((str(left), "fail" if left < 0 else ""),), left)
    elif quota.limit == UNLIMITED or quota.missing_means == "unlimited":
        free = Cell((("∞", "muted"),), 1 << 31)
    elif quota.missing_means == "zero":
        free = Cell((("0", "warn"),), 0)
    else:
        free = Cell(((words.UNKNOWN, "unknown"),))
    return TableRow(
        row_id(quota),
        (
            text(quota.project),
            text(resource_word(quota.resource)),
            use(quota, TABLE_BAR),
            marks.cell(mark),
            held(quota),
            free,
            Cell((word,)),
            Cell(((limit_word(quota.default), "muted"),), quota.default),
            text(quota.project_id, "muted"),
        ),
        f"{quota.project} {quota.project_id} {quota.resource} {word[0]}",
    )


def limit_word(limit: int | None) -> str:
    """A limit in a cell: ``∞`` for -1, ``–`` where there is none."""
    return "–" if limit is None else "∞" if limit == UNLIMITED else str(limit)


def promised_briefly(totals: QuotaTotals | None) -> tuple[Span, ...]:
    """The same where there is little room: ``promised 34 + 1 unlimited of 26 real``."""
    if totals is None or not totals.unlimited:
        return promised(totals)
    parts = [str(totals.promised)] if totals.promised else []
    parts.append(f"{totals.unlimited} unlimited")
    return ((f"promised {' + '.join(parts)} of {words.number(totals.capacity)} real", "warn"),)


def promised(totals: QuotaTotals | None) -> tuple[Span, ...]:
    """``promised 34 of 26 real: 131 %``: the sum of limits against what the hosts can really make.

    Says so when projects without a limit, or whose limit is not known, make the sum meaningless.
    """
    if totals is None:
        return ()
    spans: list[Span] = []
    if totals.promised is not None:
        share = round(100 * totals.promised / totals.capacity) if totals.capacity else None
        against = f" of {words.number(totals.capacity)} real"
        against += "" if share is None else f": {share} %"
        over = totals.capacity is not None and totals.promised > totals.capacity
        spans.append((f"promised {totals.promised}{against}", "warn" if over else "muted"))
    elif totals.capacity is not None:
        spans.append((f"{totals.capacity} real", "muted"))
    if totals.unlimited:
        spans.append(((", " if spans else "") + f"{totals.unlimited} without a limit", "warn"))
    if totals.unknown:
        spans.append(((", " if spans else "") + f"{totals.unknown} not known", "unknown"))
    return tuple(spans)


def totals_of(snapshot: Snapshot | None, resource: str) -> QuotaTotals | None:
    """The totals of one resource."""
    return next((t for t in snapshot.quota_totals if t.resource == resource), None) if snapshot else None


def totals_lines(snapshot: Snapshot | None, most: int) -> list[tuple[Span, ...]]:
    """A line per resource: what is promised against what is real, what is used, what no limit promises, the default."""
    if snapshot is None:
        return []
    defaults: dict[str, int | None] = {}
    for row in snapshot.quotas:
        if defaults.get(row.resource) is None:
            defaults[row.resource] = row.default
    shown = sorted(snapshot.quota_totals, key=lambda t: (t.resource != "class:VGPU", not t.used, not t.capacity))
    width = max((len(resource_word(t.resource)) for t in shown[:most]), default=0)
    lines = []
    for one in shown[:most]:
        default = defaults.get(one.resource)
        spans: list[Span] = [(f"{resource_word(one.resource):<{width}}", "title"), ("   ", ""), *promised(one)]
        spans += [("   ", ""), (f"{words.number(one.used)} used", "unknown" if one.used is None else "")]
        if one.unreserved is not None:
            spans += [("   ", ""), (f"{one.unreserved} unreserved", "" if one.unreserved else "muted")]
        if default is None and one.resource in defaults:
            spans += [("   ", ""), ("no default registered", "warn")]
        else:
            spans += [("   ", ""), (f"default {limit_word(default)}", "muted")]
        lines.append(tuple(spans))
    if len(shown) > most and lines:
        lines[-1] = (*lines[-1], (f"   +{len(shown) - most} more", "muted"))
    return lines


def resource_of(quotas: Sequence[ProjectQuota]) -> str:
    """The resource that all rows are about; empty when there are several."""
    names = {q.resource for q in quotas}
    return resource_word(names.pop()) if len(names) == 1 else ""
