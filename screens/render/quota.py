"""Projects' vGPU limits and what they use of them."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.screens.render import words
from vgpu_console.screens.widgets.cells import Cell, Span, bar, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

BAR_WIDTH = 12

PANEL_COLUMNS = (
    Column("project", "PROJECT", 12, flex=2, maximum=30),
    Column("used", "USED / LIMIT", 20),
    Column("origin", "FROM", 15, flex=1),
)
COLUMNS = (
    Column("project", "PROJECT", 12, flex=3),
    Column("resource", "RESOURCE", 13, flex=2, priority=1, maximum=40),
    Column("used", "USED / LIMIT", 20),
    Column("free", "FREE", 4, "right"),
    Column("origin", "FROM", 16, flex=2, priority=2),
    Column("default", "DEFAULT", 9, "right", priority=3),
    Column("id", "PROJECT ID", 32, priority=4),
)

UNLIMITED = -1


def row_id(quota: ProjectQuota) -> str:
    """The identity of a quota row: one project's one resource."""
    return f"{quota.project_id}/{quota.resource}"


def origin(quota: ProjectQuota) -> Span:
    """Where the limit comes from, in words. Without a registered limit Nova, by its release, allows all or none."""
    match quota.origin:
        case "project":
            return "project", ""
        case "default":
            return "default", "muted"
        case "missing":
            return "missing", "warn"
        case _:
            return "? not visible", "unknown"


def use(quota: ProjectQuota) -> Cell:
    """A bar with its numbers; without a limit there is nothing to draw a bar against."""
    if quota.limit is None or quota.limit == UNLIMITED:
        limit = "∞" if quota.limit == UNLIMITED else ("–" if quota.origin == "missing" else words.UNKNOWN)
        tone = "unknown" if quota.used is None else ""
        return Cell(((f"{words.number(quota.used)} / {limit}", tone),), quota.used)
    return bar(quota.used, quota.limit, BAR_WIDTH)


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
    if quota.origin == "missing":
        return (("  no registered limit", "muted"),)
    left = headroom(quota)
    if left is None or (quota.limit == 0 and quota.used == 0):
        return ()
    if left < 0:
        return ((f"  {-left} above", "fail"),)
    return (("  full", "warn"),) if left == 0 else ()


def panel_row(quota: ProjectQuota) -> TableRow:
    """A row of the dashboard's panel."""
    word = origin(quota)
    return TableRow(
        row_id(quota),
        (text(quota.project), use(quota), Cell((word, *(() if quota.origin == "missing" else _note(quota))))),
        f"{quota.project} {quota.resource} {word[0]}",
    )


def quota_row(quota: ProjectQuota) -> TableRow:
    """A row of the quota view."""
    word = origin(quota)
    left = headroom(quota)
    if left is not None:
        free = Cell(((str(left), "fail" if left < 0 else "warn" if left == 0 else ""),), left)
    elif quota.limit == UNLIMITED:
        free = Cell((("∞", "muted"),), 1 << 31)
    else:
        free = Cell(((words.UNKNOWN, "unknown"),))
    default = "–" if quota.default is None else "∞" if quota.default == UNLIMITED else str(quota.default)
    return TableRow(
        row_id(quota),
        (
            text(quota.project),
            text(quota.resource),
            use(quota),
            free,
            Cell((word, *_note(quota))),
            Cell(((default, "muted"),), quota.default),
            text(quota.project_id, "muted"),
        ),
        f"{quota.project} {quota.project_id} {quota.resource} {word[0]}",
    )


def promised(snapshot: Snapshot) -> tuple[Span, ...]:
    """``promised 34 of 26 real: 131 %``: the sum of VGPU limits against the real maximum of hosts that answer.

    Says so when projects without a limit make the sum meaningless.
    """
    rows = [q for q in snapshot.quotas if q.resource == "class:VGPU"]
    if not rows:
        return ()
    if any(q.limit == UNLIMITED for q in rows):
        return (("promised: unlimited", "warn"),)
    limits = [q.limit for q in rows if q.limit is not None]
    if not limits:
        return ()
    total = sum(limits)
    known = [h.mdevs_max for h in snapshot.hosts if h.mdevs_max is not None and not h.stale]
    if not known or not sum(known):
        return ((f"promised {total}", "muted"),)
    real = sum(known)
    share = round(100 * total / real)
    return ((f"promised {total} of {real} real: {share} %", "warn" if share > 100 else "muted"),)


def resource_of(quotas: Sequence[ProjectQuota]) -> str:
    """The resource that all rows are about; empty when there are several."""
    names = {q.resource for q in quotas}
    return names.pop() if len(names) == 1 else ""
