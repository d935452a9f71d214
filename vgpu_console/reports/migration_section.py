"""Live migrations: those that run and those that are remembered, with the downtime predicted and measured."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.reports.section import Section, data_only, words_only
from vgpu_console.reports.wording import moment, seconds, stamp
from vgpu_console.rules.migration.downtime import told_downtime
from vgpu_console.view_filters import Filters
from vgpu_console.views import VIEWS, Column, column, empty_reason


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration as Nova lists it, or as this console remembers it, or both."""

    migration: str
    started: float | None
    server_id: str
    server: str
    project: str
    type: str | None
    source: str | None
    destination: str | None
    status: str | None
    running: bool
    progress: int | None
    predicted_low_ms: float | None
    predicted_high_ms: float | None
    downtime_ms: float | None
    heard_ms: float | None
    measured_by: str | None
    not_measured: str | None


def moves(snapshot: Snapshot, history: Sequence[MigrationRecord]) -> tuple[Move, ...]:
    """Those that run first, then the latest first."""
    listed_now = {m.uuid: m for m in snapshot.migrations}
    found = [_move(record, listed_now.pop(record.migration, None)) for record in history]
    found += [_of_nova(m) for m in listed_now.values()]
    return tuple(sorted(found, key=lambda m: (not m.running, -(m.started or 0.0), m.migration)))


def _move(record: MigrationRecord, now: Migration | None) -> Move:
    running = now.running if now is not None else not record.end
    return Move(
        migration=record.migration,
        started=record.started if record.started is not None else _begun(now),
        server_id=record.server,
        server=record.server_name,
        project=record.project,
        type=record.type_name or None,
        source=record.source or None,
        destination=record.destination or None,
        status=record.end or (now.status if now is not None else None),
        running=running,
        progress=now.progress if now is not None else None,
        predicted_low_ms=record.predicted_low_ms,
        predicted_high_ms=record.predicted_high_ms,
        downtime_ms=record.downtime_ms,
        heard_ms=record.heard_ms,
        measured_by=record.measured_by or None,
        not_measured=record.not_measured or None,
    )


def _of_nova(now: Migration) -> Move:
    return Move(
        migration=now.uuid,
        started=_begun(now),
        server_id=now.server_id,
        server=now.server,
        project=now.project,
        type=None,
        source=now.source,
        destination=now.destination,
        status=now.status,
        running=now.running,
        progress=now.progress,
        predicted_low_ms=None,
        predicted_high_ms=None,
        downtime_ms=now.downtime_ms,
        heard_ms=None,
        measured_by=None,
        not_measured=None if now.running or now.downtime_ms is not None else "this console did not follow it",
    )


def _begun(now: Migration | None) -> float | None:
    """Nova's ``created_at``, which is UTC without saying so."""
    if now is None or not now.created_at:
        return None
    try:
        at = datetime.datetime.fromisoformat(now.created_at)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()


def _predicted(move: Move) -> str:
    low, high = seconds(move.predicted_low_ms), seconds(move.predicted_high_ms)
    return "not predicted" if low is None or high is None else f"{low} to {high}"


def _measured(move: Move) -> str | None:
    if move.downtime_ms is not None:
        return told_downtime(move.downtime_ms, move.heard_ms, lambda ms: seconds(ms) or "")
    return "under way" if move.running else f"? ({move.not_measured or 'not measured'})"


def _state(move: Move) -> str | None:
    return f"{move.status or 'running'}, {move.progress} %" if move.running and move.progress is not None else None


def migrations(
    snapshot: Snapshot, history: Sequence[MigrationRecord], tz: datetime.tzinfo | None, history_gap: str
) -> Section:
    """Live migrations with the downtime that was predicted and the one that was measured."""
    return Section(
        "migrations",
        "Live migrations",
        "Those that run now and those that this console or Nova remembers, the latest first; downtime as it was "
        "predicted and as it was measured.",
        (
            data_only("migration", lambda m: m.migration),
            Column("started", lambda m: stamp(m.started), show=lambda m: moment(m.started, tz)),
            data_only("server_id", lambda m: m.server_id),
            Column("server", lambda m: m.server or None, show=lambda m: m.server or m.server_id or None),
            Column("project", lambda m: m.project or None),
            column("type"),
            column("source"),
            column("destination"),
            column("status", show=_state),
            data_only("running", lambda m: m.running),
            data_only("progress", lambda m: m.progress),
            data_only("predicted_low_ms", lambda m: m.predicted_low_ms),
            data_only("predicted_high_ms", lambda m: m.predicted_high_ms),
            words_only("predicted", _predicted, right=True),
            Column("downtime_ms", lambda m: m.downtime_ms, True, table=False),
            words_only("measured", _measured, right=True),
            data_only("measured_by", lambda m: m.measured_by),
            data_only("not_measured", lambda m: m.not_measured),
            data_only("heard_downtime_ms", lambda m: m.heard_ms),
        ),
        moves(snapshot, history),
        empty_reason(VIEWS["migrations"], snapshot, Filters()) + ("" if history_gap else ", nor does the history"),
        (history_gap,) if history_gap else (),
    )
