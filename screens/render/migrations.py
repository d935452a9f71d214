"""Live migrations. The bar is guest RAM only: no API tells how far a vGPU's framebuffer is."""

from __future__ import annotations

from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.screens.render import words
from vgpu_console.screens.widgets.cells import Cell, Span, bar, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

BAR_WIDTH = 12

COLUMNS = (
    Column("server", "SERVER", 16, flex=3),
    Column("route", "FROM → TO", 20, flex=2),
    Column("status", "STATUS", 14),
    Column("progress", "RAM COPIED", 18),
    Column("copied", "OF GiB", 13, "right", priority=4),
    Column("downtime", "DOWNTIME", 8, "right", priority=3),
    Column("project", "PROJECT", 12, flex=1, priority=2),
    Column("updated", "UPDATED", 19, priority=1),
    Column("created", "STARTED", 19, priority=5),
    Column("uuid", "UUID", 36, priority=6),
)

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


def ram(migration: Migration) -> Cell:
    """How much of the guest's RAM is copied; nothing for a migration that has ended."""
    if not migration.running:
        return Cell((("", ""),))
    if migration.progress is None:
        return Cell((("? not reported", "unknown"),))
    drawn = bar(migration.progress, 100, BAR_WIDTH)
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


def migration_row(migration: Migration) -> TableRow:
    """One migration as a row; its id is Nova's migration uuid."""
    state = status(migration)
    downtime = "" if migration.downtime_ms is None else f"{migration.downtime_ms} ms"
    return TableRow(
        migration.uuid,
        (
            text(migration.server or migration.server_id),
            text(route(migration)),
            Cell((state,)),
            ram(migration),
            _copied(migration),
            Cell(((downtime or "–", "" if downtime else "muted"),), migration.downtime_ms),
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
