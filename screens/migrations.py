"""Live migrations, running and ended."""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.widget import Widget

from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.screens.render import empty, migrations
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class MigrationsScreen(ViewScreen):
    """One row for each live migration that Nova tells of, the running ones first; enter shows how it goes or went."""

    view = "migrations"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[Migration] = RowCache(
            lambda m: m.uuid,
            lambda m, known: migrations.migration_row(
                m, known if isinstance(known, migrations.Known) else migrations.NOTHING
            ),
        )

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield TablePane("Live migrations", migrations.COLUMNS, noun="migration", id="migrations-pane")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the table up to date."""
        pane = self.query_one(TablePane)
        ordered = migrations.in_order(snapshot) if snapshot else []
        count = len(migrations.running(snapshot)) if snapshot else 0
        mover = self.console.changes.moves.mover
        records = mover.records() if mover is not None else {}
        followed = {t.migration: t for t in mover.timelines()} if mover is not None else {}
        pane.show(
            self._rows.rows(
                (m for m in ordered if not pane.faults_only or migrations.is_fault(m)),
                mark=lambda m: migrations.known_of(followed.get(m.uuid), records.get(m.uuid)),
            ),
            empty=empty.why_no_migrations(snapshot),
            right=((f"{count} running", "accent"),) if count else (),
            of=len(ordered),
        )
        self.more_rows(self._rows)

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
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

    def name_of(self, row_id: str) -> str:
        """The server that moves."""
        one = self._migration(row_id)
        return f"the migration of {one.server}" if one else f"migration {row_id}"

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """The server's name and id, and the migration's uuid."""
        choices = [("u", "migration uuid", row_id)]
        one = self._migration(row_id)
        if one is not None:
            choices = [("n", "server name", one.server), ("i", "server id", one.server_id), *choices]
        return choices
