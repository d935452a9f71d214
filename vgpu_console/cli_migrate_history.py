"""``migrations --history``: past live migrations and their downtimes, from this console's own file."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vgpu_console.cli_migrate_text import range_words
from vgpu_console.cli_output import write
from vgpu_console.cli_run import FAILED, NAME, OK, demo_of, layout, say, settings_of
from vgpu_console.migration_history import HistoryError, MigrationHistory, MigrationRecord, default_path, percentiles
from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.rules.migration.downtime import told_downtime
from vgpu_console.view_filters import Filters
from vgpu_console.views import VIEWS, Column, View


def _get(name: str) -> Any:
    return lambda record: getattr(record, name)


def _data(name: str, field: str = "") -> Column:
    return Column(name, _get(field or name), table=False)


def _downtime(record: MigrationRecord) -> str | None:
    """What was heard stands beside the figure that it makes doubtful."""
    return None if record.downtime_ms is None else told_downtime(record.downtime_ms, record.heard_ms, "{:.0f}".format)


def _when(name: str) -> Any:
    def get(record: MigrationRecord) -> str | None:
        moment: float | None = getattr(record, name)
        if moment is None:
            return None
        return (
            datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )

    return get


def _known(name: str) -> Any:
    """An empty text is one that nobody knows."""
    return lambda record: getattr(record, name) or None


def _predicted(record: MigrationRecord) -> str | None:
    low, high = record.predicted_low_ms, record.predicted_high_ms
    return None if low is None or high is None else range_words(low, high)


def _view(name: str, words: str, columns: tuple[Column, ...]) -> View:
    return View(name, words, columns, lambda _snapshot, _filters: [], frozenset(), lambda _snapshot: "")


_HISTORY = _view(
    "history",
    "past migrations",
    (
        _data("migration"),
        Column("started", _when("started")),
        Column("ended", _when("ended"), table=False),
        Column("cloud", _known("cloud"), priority=5),
        Column("server_id", _get("server"), table=False),
        Column("server", _known("server_name")),
        Column("project", _known("project"), priority=4),
        Column("type", _known("type_name"), priority=3),
        _data("vgpus"),
        _data("ram_mib"),
        _data("framebuffer_mib"),
        Column("source", _known("source")),
        Column("destination", _known("destination")),
        Column("end", _known("end"), show=lambda record: record.end or "under way"),
        _data("predicted_low_ms"),
        _data("predicted_high_ms"),
        Column("predicted", _predicted, priority=2, data=False),
        Column("downtime_ms", _get("downtime_ms"), show=_downtime, right=True),
        Column("measured_by", _known("measured_by"), table=False),
        Column("not_measured", _known("not_measured"), table=False),
        Column("rate", _get("rate"), table=False),
        _data("heard_downtime_ms", "heard_ms"),
    ),
)

_PERCENTILES = _view(
    "percentiles",
    "measured downtimes",
    (
        Column("type", _known("type_name")),
        Column("source", _get("source")),
        Column("destination", _get("destination")),
        Column("count", _get("count"), right=True),
        Column("p50_ms", _get("p50"), right=True),
        Column("p90_ms", _get("p90"), right=True),
        Column("max_ms", _get("most"), right=True),
    ),
)


def measured(given: Mapping[str, tuple[Any, str]]) -> View:
    """The view of the cloud's migrations with the downtimes that this console has measured: Nova knows none.

    A history that cannot be read is told, and the view has none then.
    """
    settings, demo = settings_of(given), demo_of(given)
    view = VIEWS["migrations"]
    try:
        records = MigrationHistory(default_path(demo is not None)).records(
            cloud=settings.cloud if demo is None else None
        )
    except HistoryError as error:
        say(f"{NAME}: {error}")
        return view
    known = {r.migration: r for r in records}

    def rows(snapshot: Snapshot, filters: Filters) -> list[Migration]:
        return [_with_measured(m, known.get(m.uuid)) for m in view.rows(snapshot, filters)]

    def shown(column: Column) -> Column:
        if column.name != "downtime_ms":
            return column
        plain = column.show or (lambda _migration: None)
        return column._replace(show=lambda m: (_downtime(known[m.uuid]) if m.uuid in known else None) or plain(m))

    return view._replace(columns=tuple(map(shown, view.columns)), rows=rows)


def _with_measured(migration: Migration, record: MigrationRecord | None) -> Migration:
    if record is None or record.downtime_ms is None:
        return migration
    return msgspec.structs.replace(migration, downtime_ms=round(record.downtime_ms))


def show_history(
    given: Mapping[str, tuple[Any, str]],
    form: str,
    hosts: Sequence[str],
    projects: Sequence[str],
    *,
    last: int | None,
    by_pairs: bool,
) -> int:
    """Writes the migrations, the latest first, or the percentiles of their downtimes; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    history = MigrationHistory(default_path(demo is not None))
    try:
        records = history.records(cloud=settings.cloud if demo is None else None)
    except HistoryError as error:
        say(f"{NAME}: {error}")
        return FAILED
    kept = [
        r
        for r in records
        if (not hosts or r.source in hosts or r.destination in hosts) and (not projects or r.project in projects)
    ][:last]
    rows: Sequence[Any] = percentiles(kept) if by_pairs else kept
    left_out = write(_PERCENTILES if by_pairs else _HISTORY, rows, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    if not records:
        say(f"no migrations: nothing is in {history.path}")
    elif not rows:
        say("no migration of these was completed and measured" if kept else "no migration matches")
    return OK
