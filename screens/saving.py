"""Out of the console: the screen in front, or a report of the fleet, as files in the exports folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.safe_file import write_numbered
from vgpu_console.screens import export
from vgpu_console.screens.dialogs.save import SCREEN, SaveDialog

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp

COPY = "y"
"""The key that copies the path of what was written last."""

_NAMES = {"m": "md", "h": "html", "n": "json", "c": "csv"}
"""Formats of the fleet's report by their keys."""


class Saving:
    """Asks what to write, writes it in a thread, and says where it is. ``folder`` None: the user's own."""

    def __init__(self, app: VgpuConsoleApp, folder: Path | None) -> None:
        self._app = app
        self._folder = folder
        self.last: Path | None = None
        """What was written last."""

    def ask(self) -> None:
        """Offer the choices; the screen is taken as it is now, before the dialog stands on it."""
        if isinstance(self._app.screen, SaveDialog):
            return
        picture = export.picture_of(self._app)
        snapshot = self._app.snapshot

        def chosen(key: str | None) -> None:
            if key == COPY and self.last is not None:
                self._app.copy_text(str(self.last), "path")
            elif key == SCREEN:
                self._write("vgpu-console", lambda: {".svg": picture.svg.encode(), ".txt": picture.text.encode()})
            elif key in _NAMES and snapshot is not None:
                self._write("vgpu-fleet", self._report(snapshot, _NAMES[key]))

        self._app.push_screen(SaveDialog(has_fleet=snapshot is not None, last=self.last), chosen)

    def _report(self, snapshot: Snapshot, form: str) -> Callable[[], Mapping[str, bytes]]:
        """Makes the report's file, in the thread: a large fleet takes its time."""
        engine, now = self._app.engine, self._app.now()
        mover = engine.mover if engine is not None else None
        past: Mapping[str, MigrationRecord] = mover.records() if mover is not None else {}

        def make() -> Mapping[str, bytes]:
            from vgpu_console.reports.formats import write_as
            from vgpu_console.reports.report import report_of

            rows = sorted(past.values(), key=lambda record: -(record.started or 0.0))
            gap = "" if mover is not None else "past live migrations are not known to this view"
            return {f".{form}": write_as(report_of(snapshot, rows, now, history_gap=gap), form).encode()}

        return make

    def save(self, stem: str, make: Callable[[], Mapping[str, bytes]]) -> None:
        """Write what another part of the console makes, suffix -> bytes; ``make`` is called in the thread."""
        self._write(stem, make)

    def _write(self, stem: str, make: Callable[[], Mapping[str, bytes]]) -> None:
        app = self._app
        folder = self._folder or export.default_folder()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(app.now()))

        def write() -> None:
            try:
                paths = write_numbered(folder, f"{stem}-{stamp}", make())
            except OSError as error:
                app.call_from_thread(app.say, f"not written: {folder}: {error.strerror or error}", "error")
            else:
                app.call_from_thread(self._written, paths)

        app.run_worker(write, thread=True, group="export", exit_on_error=False)

    def _written(self, paths: tuple[Path, ...]) -> None:
        self.last = paths[0]
        more = "".join(f" and {path.name}" for path in paths[1:])
        self._app.say(f"written: {paths[0]}{more}")
