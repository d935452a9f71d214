"""The journal on the screen: every change that was begun, the latest first."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from textual import on
from textual.message import Message
from textual.widget import Widget

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.journal_runs import Run, runs
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.render import journal
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable

LOG = logging.getLogger("vgpu_console.screens")

_LOOK_S = 2.0
"""Between two looks at the file, in a thread: a home on a network may be slow."""


class JournalRead(Message):
    """The journal's file was read anew."""

    def __init__(self, found: list[Run], signature: tuple[int, int]) -> None:
        super().__init__()
        self.found = found
        self.signature = signature


class JournalScreen(ViewScreen):
    """One row for each change, of this console and of every other one of this user; enter shows it whole."""

    view = "journal"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[Run] = RowCache(lambda r: r.run, lambda r, _: journal.run_row(r))
        self._runs: list[Run] | None = None
        self._signature: tuple[int, int] | None = None
        self._looked_at = 0.0
        self._looking = False

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield TablePane("Journal", journal.COLUMNS, noun="change", id="journal-pane")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Show what was read last, and look at the file when it is time."""
        self._look(now)
        pane = self.query_one(TablePane)
        found = self._runs or []
        shown = [r for r in reversed(found) if not pane.faults_only or journal.is_fault(r)]
        left = sum(r.result is None for r in found)
        pane.show(
            self._rows.rows(shown),
            empty=self._why_empty(),
            right=((f"{left} unfinished", "warn"),) if left else (),
            of=len(found),
        )
        self.more_rows(self._rows)

    def _why_empty(self) -> str:
        source = self._journal
        if self.console.engine is None:
            return "the cloud is still being opened"
        if source is None:
            return "this console only watches: it keeps no journal"
        return "reading the journal …" if self._runs is None else f"nothing was changed yet: {source.path} is empty"

    @property
    def _journal(self) -> Journal | None:
        return self.console.engine.journal if self.console.engine is not None else None

    def _look(self, now: float) -> None:
        source = self._journal
        if source is None or self._looking or abs(now - self._looked_at) < _LOOK_S:
            return
        self._looking, self._looked_at = True, now
        self.run_worker(lambda: self._read(source, self._signature), thread=True, group="journal")

    def _read(self, source: Journal, known: tuple[int, int] | None) -> None:
        """In a thread: read the file if it is another than the one that is known."""
        try:
            state = os.stat(source.path)
            signature = (state.st_size, state.st_mtime_ns)
        except FileNotFoundError:
            signature = (0, 0)
        except OSError as error:
            LOG.warning("the journal could not be looked at: %s", error)
            signature = known or (0, 0)
        self.post_message(JournalRead([] if signature == known else runs(source.entries()), signature))

    def on_journal_read(self, message: JournalRead) -> None:
        """Show it, unless it is what is shown."""
        self._looking = False
        if message.signature != self._signature:
            self._signature, self._runs = message.signature, message.found
            self.update()

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        from vgpu_console.screens.dialogs.journal_run import JournalRunDialog

        event.stop()
        run = self._run(event.row_id)
        if run is not None:
            self.app.push_screen(JournalRunDialog(run))

    def _run(self, row_id: str) -> Run | None:
        return next((r for r in self._runs or () if r.run == row_id), None)

    def name_of(self, row_id: str) -> str:
        """What was changed."""
        run = self._run(row_id)
        return run.plan.title if run is not None and run.plan is not None else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """The run's id, and what it was about."""
        choices = [("i", "run id", row_id)]
        run = self._run(row_id)
        if run is not None and run.plan is not None:
            choices.append(("t", "id of its target", run.plan.target.id))
            if run.plan.commands:
                choices.append(("c", "the same by hand", "\n".join(run.plan.commands)))
        return choices
