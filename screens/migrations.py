"""Live migrations, running and ended, and the drains that they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from textual import on
from textual.widget import Widget

from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.screens.render import drain, empty, migrations
from vgpu_console.screens.render.marks import Mark, MarkIndex
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable

_DRAINS_SHOWN = 5
"""So many have room below the migrations; the others are scrolled to."""


class MigrationsScreen(ViewScreen):
    """One row for each live migration that Nova tells of, the running ones first; enter shows how it goes or went.

    Below them the drains that run, that were left, or that ended here; there enter shows all servers of one.
    """

    view = "migrations"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[Migration] = RowCache(
            lambda m: m.uuid,
            lambda m, mark: migrations.migration_row(m, *cast("tuple[migrations.Known, int, Mark | None]", mark)),
        )
        self._marks = MarkIndex()
        self._narrow_columns = False

    def body(self) -> Iterable[Widget]:
        """The migrations; below them drains, where there are any."""
        yield TablePane("Live migrations", migrations.COLUMNS, noun="migration", id="migrations-pane")
        drains = TablePane("Drains", drain.LIST_COLUMNS, noun="drain", id="drains-pane")
        drains.display = False
        yield drains

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the table up to date."""
        pane = self.query_one("#migrations-pane", TablePane)
        if self.narrow is not self._narrow_columns:
            self._narrow_columns = self.narrow
            pane.set_columns(migrations.NARROW_COLUMNS if self.narrow else migrations.COLUMNS)
        width = migrations.NARROW_BAR_WIDTH if self.narrow else migrations.BAR_WIDTH
        ordered = migrations.in_order(snapshot) if snapshot else []
        count = len(migrations.running(snapshot)) if snapshot else 0
        mover = self.console.changes.moves.mover
        records = mover.records() if mover is not None else {}
        followed = {t.migration: t for t in mover.timelines()} if mover is not None else {}
        marks = self._marks.of(snapshot)
        pane.show(
            self._rows.rows(
                (m for m in ordered if not pane.faults_only or migrations.is_fault(m)),
                mark=lambda m: (
                    migrations.known_of(followed.get(m.uuid), records.get(m.uuid)),
                    width,
                    marks.of_id(m.uuid),
                ),
            ),
            empty=empty.why_no_migrations(snapshot),
            right=((f"{count} running", "accent"),) if count else (),
            of=len(ordered),
        )
        self.more_rows(self._rows)
        self._show_drains()

    def _show_drains(self) -> None:
        """Nothing where there is none: most of the time that is so."""
        drainer = self.console.changes.drains.drainer
        known = drainer.drains() if drainer is not None else ()
        pane = self.query_one("#drains-pane", TablePane)
        pane.display = bool(known)
        pane.styles.height = min(len(known), _DRAINS_SHOWN) + 3
        left = sum(one.left for one in known)
        pane.show(
            [drain.list_row(one) for one in known],
            empty="no drain was begun",
            right=((f"{left} left to do", "warn"),) if left else (),
        )

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        if event.table is self.query_one("#drains-pane", TablePane).table:
            self.console.open_drain(event.row_id)
            return
        one = self._migration(event.row_id)
        if one is None:
            return
        if self.console.changes.moves.mover is not None:
            self.console.open_timeline(one.uuid, one.server_id, one.server or one.server_id)
        else:
            self.console.open_server(one.server_id)

    def server_target(self) -> str | None:
        """The server whose migration is under the cursor: also to try one again that has ended."""
        pane = self.pane
        one = self._migration(pane.table.cursor_id or "") if pane is not None else None
        return one.server_id if one is not None else None

    def _migration(self, row_id: str) -> Migration | None:
        snapshot = self.console.snapshot
        return next((m for m in snapshot.migrations if m.uuid == row_id), None) if snapshot else None

    def _drain(self, row_id: str) -> KnownDrain | None:
        drainer = self.console.changes.drains.drainer
        return drainer.drain(row_id) if drainer is not None else None

    def name_of(self, row_id: str) -> str:
        """The server that moves, or the drain."""
        known = self._drain(row_id)
        if known is not None:
            return f"the drain of {known.drain.host}"
        one = self._migration(row_id)
        return f"the migration of {one.server}" if one else f"migration {row_id}"

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """The server's name and id, and the migration's uuid; of a drain its id, and its report."""
        known = self._drain(row_id)
        if known is not None:
            report = drain.report_text(known.drain)
            return [("h", "host name", known.drain.host), ("i", "drain id", row_id), ("r", "the report", report)]
        choices = [("u", "migration uuid", row_id)]
        one = self._migration(row_id)
        if one is not None:
            choices = [("n", "server name", one.server), ("i", "server id", one.server_id), *choices]
        return choices
