"""Live migrations. The bar is guest RAM only: no API tells how far a vGPU's framebuffer is."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.migration_end import Severity
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.screens.render import marks, words
from vgpu_console.screens.render.migrate_check import downtime_range
from vgpu_console.screens.render.timeline import end_span, measured_cell
from vgpu_console.screens.widgets.cells import Cell, Span, bar, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

BAR_WIDTH, NARROW_BAR_WIDTH = 12, 6

COLUMNS = (
    Column("server", "SERVER", 16, flex=3),
    Column("route", "FROM → TO", 20, flex=2),
    Column("status", "STATUS", 17),
    replace(marks.COLUMN, priority=2),
    Column("progress", "RAM COPIED", 18),
    Column("copied", "OF GiB", 13, "right", priority=5),
    Column("downtime", "DOWNTIME", 9, "right", priority=1),
    Column("project", "PROJECT", 12, flex=1, priority=4),
    Column("updated", "UPDATED", 19, priority=3),
    Column("created", "STARTED", 19, priority=6),
    Column("uuid", "UUID", 36, priority=7),
)

_NARROW = {"server": 12, "route": 16, "status": 16, "progress": 12}

NARROW_COLUMNS = tuple(replace(c, width=_NARROW.get(c.key, c.width)) for c in COLUMNS)
"""In 80 cells: a shorter bar and shorter names leave room for the downtime, which is what one looks for."""

_ENDED: dict[str, Span] = {
    "completed": ("✓ completed", "ok"),
    "error": ("✗ error", "fail"),
    "failed": ("✗ failed", "fail"),
    "cancelled": ("· cancelled", "muted"),
}


def route(migration: Migration) -> str:
    """``gpu-02 → gpu-01``; ``?`` where Nova does not name the host yet."""
    return f"{migration.source or words.UNKNOWN} → {migration.destination or words.UNKNOWN}"


def status(migration: Migration) -> Span:
    """Nova's status with a glyph."""
    if not migration.status:
        return "? unknown", "unknown"
    if migration.running:
        return f"▸ {migration.status}", "accent"
    return _ENDED.get(migration.status, (f"· {migration.status}", ""))


def ram(migration: Migration, width: int = BAR_WIDTH) -> Cell:
    """How much of the guest's RAM is copied; nothing for a migration that has ended."""
    if not migration.running:
        return Cell((("", ""),))
    if migration.progress is None:
        return Cell((("? not reported" if width >= BAR_WIDTH else "? not told", "unknown"),))
    drawn = bar(migration.progress, 100, width)
    # A bar that is full says nothing about the vGPU, so the share of RAM is written beside it, not "done".
    kept = tuple(s for s in drawn.spans if s[1] in ("bar", "bar-rest"))
    return Cell(((f"{migration.progress:3d} % ", ""), *kept), migration.progress)


def _copied(migration: Migration) -> Cell:
    """GiB of RAM copied and in all; empty for a migration that has ended."""
    if not migration.running or migration.memory_total_bytes is None:
        return Cell((("", ""),))
    done = words.gib_bytes(migration.memory_processed_bytes)
    return Cell(((f"{done} / {words.gib_bytes(migration.memory_total_bytes)}", ""),), migration.memory_processed_bytes)


def is_fault(migration: Migration) -> bool:
    """Whether a migration ended badly."""
    return migration.status in ("error", "failed")


class Known(NamedTuple):
    """What this console itself knows of a migration: from its follower, else from its history.

    ``end`` is the kind of its end, ``trouble`` the title of what is wrong with one that goes on.
    """

    end: str = ""
    severity: Severity = "ok"
    trouble: str = ""
    downtime_ms: float | None = None
    heard_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None


NOTHING = Known()
_GOOD = frozenset({"completed", "forced"})
_NOTED = frozenset({"aborted", "aborted-queued", "server-gone"})


def known_of(timeline: Timeline | None, record: MigrationRecord | None) -> Known:
    """Of a migration that is followed, or that was and is in the history."""
    if timeline is not None:
        story = timeline.story
        over = story is not None and story.over
        wrong = story is not None and not over and story.severity in ("warn", "fail")
        return Known(
            end=story.kind if story is not None and over else "",
            severity=story.severity if story is not None else "ok",
            trouble=story.title if story is not None and wrong else "",
            downtime_ms=timeline.downtime_ms,
            heard_ms=timeline.heard_ms,
            low_ms=timeline.predicted_low_ms,
            high_ms=timeline.predicted_high_ms,
        )
    if record is None:
        return NOTHING
    severity: Severity = "ok" if record.end in _GOOD else "note" if record.end in _NOTED else "fail"
    return Known(
        end=record.end,
        severity=severity,
        downtime_ms=record.downtime_ms,
        heard_ms=record.heard_ms,
        low_ms=record.predicted_low_ms,
        high_ms=record.predicted_high_ms,
    )


def told_status(migration: Migration, known: Known) -> Span:
    """What it came to where this console knows; else Nova's status."""
    if migration.running and known.trouble:
        return f"! {known.trouble}", "warn"
    if migration.running or not known.end or known.end == migration.status:
        return status(migration)
    return end_span(known.severity, known.end.replace("-", " "))


def downtime(migration: Migration, known: Known) -> Cell:
    """The measured one, or with a sign what was heard in its place; the prediction with a tilde while it runs."""
    measured = known.downtime_ms if known.downtime_ms is not None else migration.downtime_ms
    if measured is not None:
        return measured_cell(measured, known.heard_ms)
    told = downtime_range(known.low_ms, known.high_ms) if migration.running else ""
    return Cell(((f"~{told}", "muted"),), None) if told else Cell((("–", "muted"),), None)


def migration_row(
    migration: Migration, known: Known = NOTHING, bar_width: int = BAR_WIDTH, mark: marks.Mark | None = None
) -> TableRow:
    """One migration as a row; its id is Nova's migration uuid. ``mark``: of the findings that name it."""
    state = told_status(migration, known)
    return TableRow(
        migration.uuid,
        (
            text(migration.server or migration.server_id),
            text(route(migration)),
            Cell((state,)),
            marks.cell(mark),
            ram(migration, bar_width),
            _copied(migration),
            downtime(migration, known),
            text(migration.project),
            text(words.time_of(migration.updated_at), "muted"),
            text(words.time_of(migration.created_at), "muted"),
            text(migration.uuid, "muted"),
        ),
        f"{migration.server} {route(migration)} {state[0]} {migration.project} {migration.uuid}",
    )


def in_order(snapshot: Snapshot) -> list[Migration]:
    """The running ones first, then the latest."""
    ordered = sorted(snapshot.migrations, key=lambda m: m.updated_at or m.created_at or "", reverse=True)
    ordered.sort(key=lambda m: not m.running)
    return ordered


def running(snapshot: Snapshot) -> list[Migration]:
    """The migrations that have not ended."""
    return [m for m in snapshot.migrations if m.running]


def strip_lines(snapshot: Snapshot, most: int) -> list[tuple[Span, ...]]:
    """The dashboard's panel: two lines a running migration, then what Nova cannot say."""
    lines: list[tuple[Span, ...]] = []
    moving = running(snapshot)
    for migration in moving[:most]:
        name = words.clip(migration.server or migration.server_id, 18)
        lines.append(((name, ""), (f"  {words.clip(route(migration), 30)}", "muted")))
        cell = ram(migration)
        lines.append((("RAM ", "muted"), *cell.spans, ("  ", ""), (migration.status or words.UNKNOWN, "accent")))
    if len(moving) > most:
        lines.append(((f"and {len(moving) - most} more: 4", "muted"),))
    if any(m.vgpu for m in moving[:most]):
        lines.append((("vGPU device state: no API reports it", "muted"),))
    return lines


def data_age(snapshot: Snapshot, now: float) -> tuple[Span, ...]:
    """How old the figures of the running migrations are; Nova writes them every five seconds by default."""
    nova = next((s for s in snapshot.sources if s.kind == "nova"), None)
    if nova is None or not running(snapshot):
        return ()
    return ((f"{words.age(nova.age_s(now))} old", "muted"),)
