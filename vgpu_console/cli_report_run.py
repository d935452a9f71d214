"""``vgpu-console report``: one reading of the fleet, written in one of the formats."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgpu_console.cli_run import (
    FAILED,
    NAME,
    OK,
    PARTIAL,
    demo_of,
    is_dark,
    no_connection,
    read_fleet,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.migration_history import HistoryError, MigrationHistory, MigrationRecord, default_path
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.reports.formats import write_as
from vgpu_console.reports.report import PAST_MOVES, report_of
from vgpu_console.safe_file import write_new
from vgpu_console.views import EVERYTHING, OPENSTACK


def show_report(
    given: Mapping[str, tuple[Any, str]], form: str, path: Path | None, *, force: bool, section: str | None
) -> int:
    """Writes the report to the path or to stdout; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    if path is not None:
        try:
            _look_ahead(path, force)
        except OSError as error:
            return _not_written(error)
    snapshot = read_fleet(settings, demo, EVERYTHING)
    if not snapshot.hosts and is_dark(snapshot, OPENSTACK):
        return no_connection(snapshot)
    text = _written(snapshot, settings, demo, form, section)
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        try:
            write_new(path, text.encode(), replace=force)
        except OSError as error:
            return _not_written(error)
        say(f"written: {path}")
    tell_gaps(snapshot.sources, snapshot.errors)
    return PARTIAL if snapshot.errors else OK


def _not_written(error: OSError) -> int:
    say(f"{NAME}: not written: {error.filename}: {error.strerror}")
    return FAILED


def _look_ahead(path: Path, force: bool) -> None:
    """Says at once what would only be said after the fleet was read. Raises OSError."""
    if not force and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "exists already (--force replaces it)", str(path))
    folder = path.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "no such folder", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _written(snapshot: Snapshot, settings: Settings, demo: DemoChoice | None, form: str, section: str | None) -> str:
    now = time.time()
    if form == "svg":
        from vgpu_console.app_picture import dashboard

        return dashboard(snapshot, settings, now).svg
    history, gap = _history(settings, demo)
    return write_as(report_of(snapshot, history, now, history_gap=gap), form, section)


def _history(settings: Settings, demo: DemoChoice | None) -> tuple[tuple[MigrationRecord, ...], str]:
    """Past live migrations, or why they are not known."""
    history = MigrationHistory(default_path(demo is not None))
    try:
        return history.records(cloud=settings.cloud if demo is None else None, last=PAST_MOVES), ""
    except HistoryError as error:
        say(f"notes:\n  {error}")
        return (), f"past live migrations are not known: {error}"
