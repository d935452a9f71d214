"""The fleet on one screen: hosts, projects' quota, and the migrations that run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.widget import Widget

from vgpu_console.model.snapshot import Host, ProjectQuota, Snapshot
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import empty, hosts, migrations, quota
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.seams import DeviceTarget, LimitTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow
from vgpu_console.screens.widgets.span_line import SpanLine

_VGPU = "class:VGPU"


class MovesPanel(Container):
    """The migrations that run, two lines each."""

    def compose(self) -> ComposeResult:
        """A title and the lines."""
        yield SpanLine(id="moves-title", classes="pane-title")
        yield Lines(id="moves-lines")

    def show(self, snapshot: Snapshot | None, now: float) -> None:
        """Show what runs, or why nothing does."""
        running = migrations.running(snapshot) if snapshot else []
        self.query_one("#moves-title", SpanLine).set_spans(
            (("Migrations running", "title"), (f" {len(running)}" if snapshot else "", "")),
            migrations.data_age(snapshot, now) if snapshot else (),
        )
        lines = migrations.strip_lines(snapshot, max(1, (self.size.height - 3) // 2)) if snapshot else []
        if not lines:
            why = empty.why_empty(snapshot, ("nova",), "none runs now")
            lines = [((why, "muted"),)]
        self.query_one("#moves-lines", Lines).show(lines)


class DashboardScreen(ViewScreen):
    """Hosts with their vGPUs against the real maximum; below, quota and running migrations."""

    view = "fleet"

    def __init__(self) -> None:
        super().__init__()
        self._hosts: RowCache[Host] = RowCache(lambda h: h.name, lambda h, state: hosts.host_row(h, cast(Span, state)))
        self._quotas: RowCache[ProjectQuota] = RowCache(quota.row_id, lambda q, _: quota.panel_row(q))

    def body(self) -> Iterable[Widget]:
        """Hosts above, quota and migrations below, and the list of sources for when none answers."""
        yield TablePane("Hosts", hosts.COLUMNS, noun="host", id="hosts-pane")
        with Horizontal(id="below"):
            yield TablePane("Project quota", quota.PANEL_COLUMNS, noun="project", id="quota-pane")
            yield MovesPanel(id="moves")
        yield Lines(id="down")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the panes up to date."""
        down = empty.all_down(snapshot) and snapshot is not None and not snapshot.hosts
        self.set_class(down, "-all-down")
        if down and snapshot is not None:
            self.query_one("#down", Lines).show(empty.down_lines(snapshot, now))
        pane = self.query_one("#hosts-pane", TablePane)
        self._share_room(pane, len(snapshot.hosts) if snapshot else 0)
        pane.show(
            self._host_rows(snapshot, now, pane.faults_only) if snapshot else [],
            empty=empty.why_no_hosts(snapshot),
            right=hosts.totals(snapshot) if snapshot else (),
            of=len(snapshot.hosts) if snapshot else 0,
        )
        quotas = quota_rows_for_panel(snapshot)
        pane = self.query_one("#quota-pane", TablePane)
        pane.pane_title = f"Project quota {quota.resource_of(quotas)}".rstrip()
        pane.show(
            self._quotas.rows(q for q in quotas if not pane.faults_only or quota.is_fault(q)),
            empty=empty.why_no_quotas(snapshot),
            right=quota.promised_briefly(quota.totals_of(snapshot, _VGPU)),
            of=len(quotas),
        )
        self.query_one(MovesPanel).show(snapshot, now)
        self.more_rows(self._hosts, self._quotas)

    def _host_rows(self, snapshot: Snapshot, now: float, faults_only: bool) -> list[TableRow]:
        by_host = hosts.statuses_by_host(snapshot.sources)
        return self._hosts.rows(
            (h for h in snapshot.hosts if not faults_only or hosts.is_fault(h)),
            mark=lambda h: hosts.host_state(h, by_host.get(h.name, ()), now),
        )

    def _share_room(self, pane: TablePane, hosts_shown: int) -> None:
        """The hosts take what they need; the panes below are shown when that leaves room for them."""
        height = self.query_one("#body").size.height
        needed = max(3, hosts_shown) + 3
        pane.styles.max_height = needed
        self.set_class(height >= 28 or height - needed >= 7, "-room")

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        if event.table is self.query_one("#hosts-pane", TablePane).table:
            self.console.open_host(event.row_id)
        else:
            self.console.open_row("quota", event.row_id)

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The marked projects, else the one under the cursor, while the quota panel has the focus."""
        if not self.is_mounted:
            return ()
        table = self.query_one("#quota-pane", TablePane).table
        if not table.has_focus or table.cursor_id is None:
            return ()
        return [quota.target_of(row_id) for row_id in sorted(table.marks) or [table.cursor_id]]

    def why_not(self, action_id: str) -> str:
        """Also that a host has no limit."""
        why = super().why_not(action_id)
        if why and action_id.startswith("quota.") and not self.console.why_not(action_id):
            return "a limit is a project's: tab to the quota below, or 3"
        return why

    def device_targets(self, key_id: str) -> Sequence[DeviceTarget]:
        """The host under the cursor, while the hosts have the focus."""
        pane = self.pane if self.is_mounted else None
        if pane is None or pane.id != "hosts-pane" or pane.table.cursor_id is None:
            return ()
        return (DeviceTarget(pane.table.cursor_id, "host"),)

    def drain_target(self) -> Mapping[str, frozenset[str] | None]:
        """The marked hosts, else the one under the cursor, while the hosts have the focus."""
        pane = self.pane if self.is_mounted else None
        if pane is None or pane.id != "hosts-pane" or pane.table.cursor_id is None:
            return {}
        return dict.fromkeys(sorted(pane.table.marks) or [pane.table.cursor_id])

    @on(FleetTable.Moved)
    def _other_row(self) -> None:
        self.show_keys()

    def name_of(self, row_id: str) -> str:
        """A host's or a project's name."""
        return _project_name(self.console.snapshot, row_id)

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """A host's name, or a project's name and id."""
        name = self.name_of(row_id)
        if name == row_id:
            return [("n", "host name", name)]
        return [("n", "project name", name), ("i", "project id", row_id.partition("/")[0])]


def quota_rows_for_panel(snapshot: Snapshot | None) -> list[ProjectQuota]:
    """The projects' quota of vGPUs; of every resource when none is called VGPU."""
    if snapshot is None:
        return []
    return [q for q in snapshot.quotas if q.resource == _VGPU] or list(snapshot.quotas)


def _project_name(snapshot: Snapshot | None, row_id: str) -> str:
    for one in snapshot.quotas if snapshot else ():
        if quota.row_id(one) == row_id:
            return one.project
    return row_id
