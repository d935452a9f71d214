"""Every project's vGPU limit, where it comes from, who holds what of it, and what is wrong with the limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from textual import on
from textual.widget import Widget

from vgpu_console.model.snapshot import Finding, ProjectQuota, Snapshot
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import audit, empty, quota
from vgpu_console.screens.render.marks import Mark, MarkIndex
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class QuotaScreen(ViewScreen):
    """Totals, one row for each project and resource, and below them the findings; enter shows who holds what."""

    view = "quota"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[ProjectQuota] = RowCache(
            quota.row_id, lambda q, mark: quota.quota_row(q, cast("Mark | None", mark))
        )
        self._marks = MarkIndex()
        self._several = True

    def body(self) -> Iterable[Widget]:
        """What is promised, the projects, what is wrong."""
        yield Lines(id="quota-totals")
        yield TablePane("Quota", quota.COLUMNS, noun="row", id="all-quota-pane")
        yield TablePane("Findings", audit.COLUMNS, noun="finding", id="quota-findings-pane")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring everything up to date."""
        height = self.app.size.height
        self.query_one("#quota-totals", Lines).show(quota.totals_lines(snapshot, 3 if height >= 30 else 2))
        self._show_quotas(self.query_one("#all-quota-pane", TablePane), snapshot)
        self._show_findings(self.query_one("#quota-findings-pane", TablePane), snapshot, height)

    def _show_quotas(self, pane: TablePane, snapshot: Snapshot | None) -> None:
        rows = snapshot.quotas if snapshot else ()
        several = not rows or any(q.resource != rows[0].resource for q in rows)
        if several is not self._several:
            self._several = several
            pane.set_columns(
                [replace(c, priority=0 if several else 9) if c.key == "resource" else c for c in quota.COLUMNS]
            )
        marks = self._marks.of(snapshot)
        pane.show(
            self._rows.rows(
                (q for q in rows if not pane.faults_only or quota.is_fault(q)),
                mark=lambda q: marks.of("project", q.project) or marks.of("project", q.project_id),
            ),
            empty=empty.why_no_quotas(snapshot),
            of=len(rows),
        )
        self.more_rows(self._rows)

    def _show_findings(self, pane: TablePane, snapshot: Snapshot | None, height: int) -> None:
        findings = snapshot.quota_findings if snapshot else ()
        pane.set_class(not findings, "-empty")
        pane.styles.max_height = min(len(findings) + 2, max(5, height // 3)) if findings else 1
        shown = [f for f in findings if not pane.faults_only or f.severity != "info"]
        right = audit.counts(findings) if findings else ((empty.why_no_quota_findings(snapshot), "muted"),)
        pane.show([audit.finding_row(f) for f in shown], empty="", right=right, of=len(findings))

    # What the keys are about --------------------------------------------------------------------------------------

    def _on_findings(self) -> bool:
        pane = self.pane
        return pane is not None and pane.id == "quota-findings-pane"

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The marked rows, else the row under the cursor; of a finding the project or resource that it is about."""
        if not self.is_mounted:
            return ()
        snapshot = self.console.snapshot
        if self._on_findings():
            finding = self._finding(self.query_one("#quota-findings-pane", TablePane).table.cursor_id)
            return audit.targets(finding, snapshot) if finding is not None and snapshot is not None else ()
        table = self.query_one("#all-quota-pane", TablePane).table
        ids = [row.id for row in table.rows if row.id in table.marks]
        ids += sorted(table.marks.difference(ids))  # those that the filter hides
        if not ids and table.cursor_id is not None:
            ids = [table.cursor_id]
        return [quota.target_of(row_id) for row_id in ids]

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        finding = self._finding(event.row_id)
        if finding is not None:
            from vgpu_console.screens.finding_actions import open_finding

            open_finding(self.console, finding)
        else:
            self.console.open_project(*quota.target_of(event.row_id))

    @on(FleetTable.Vanished)
    def _row_vanished(self, event: FleetTable.Vanished) -> None:
        if event.table is self.query_one("#quota-findings-pane", TablePane).table:
            event.prevent_default()  # good news, and the count says it
            event.stop()

    @on(FleetTable.Moved)
    @on(FleetTable.Marked)
    def _other_row(self) -> None:
        self.show_keys()

    def _finding(self, row_id: str | None) -> Finding | None:
        snapshot = self.console.snapshot
        rows = snapshot.quota_findings if snapshot else ()
        return next((f for f in rows if audit.row_id(f) == row_id), None)

    def name_of(self, row_id: str) -> str:
        """The project's name, or what a finding is about."""
        finding = self._finding(row_id)
        if finding is not None:
            return finding.object
        snapshot = self.console.snapshot
        one = next((q for q in snapshot.quotas if quota.row_id(q) == row_id), None) if snapshot else None
        return one.project if one else quota.target_of(row_id).project_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """Of a finding its command first; of a project its name and id."""
        finding = self._finding(row_id)
        if finding is not None:
            command = [("c", "command", finding.command)] if finding.command else []
            return [*command, ("m", "message", finding.message), ("n", "object", finding.object)]
        return [("n", "project name", self.name_of(row_id)), ("i", "project id", row_id.partition("/")[0])]
