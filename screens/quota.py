"""Every project's vGPU limit, where it comes from, and what the project uses of it."""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.widget import Widget

from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.screens.render import empty, quota
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class QuotaScreen(ViewScreen):
    """One row for each project and resource; enter shows the project's servers."""

    view = "quota"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[ProjectQuota] = RowCache(quota.row_id, lambda q, _: quota.quota_row(q))

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield TablePane("Quota", quota.COLUMNS, noun="row", id="all-quota-pane")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the table up to date."""
        pane = self.query_one(TablePane)
        rows = snapshot.quotas if snapshot else ()
        pane.show(
            self._rows.rows(q for q in rows if not pane.faults_only or quota.is_fault(q)),
            empty=empty.why_no_quotas(snapshot),
            right=quota.promised(snapshot) if snapshot else (),
            of=len(rows),
        )
        self.more_rows(self._rows)

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        one = self._quota(event.row_id)
        if one is not None:
            # A name with spaces cannot be a column's word of the filter; its words are looked for anywhere then.
            self.console.open_filtered("servers", one.project if " " in one.project else f"project:{one.project}")

    def _quota(self, row_id: str) -> ProjectQuota | None:
        snapshot = self.console.snapshot
        return next((q for q in snapshot.quotas if quota.row_id(q) == row_id), None) if snapshot else None

    def name_of(self, row_id: str) -> str:
        """The project's name."""
        one = self._quota(row_id)
        return one.project if one else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """Name and id of the project."""
        return [("n", "project name", self.name_of(row_id)), ("i", "project id", row_id.partition("/")[0])]
