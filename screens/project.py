"""One project's quota of one resource: who holds what of it, and where the limit comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import on
from textual.containers import Container, VerticalScroll
from textual.widget import Widget

from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import empty, holders, quota
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class ProjectScreen(ViewScreen):
    """Servers, migrations and leaks of the project as a table, the figures beside it; enter opens the server."""

    view = "quota"
    detail = True

    def __init__(self, project_id: str, resource: str) -> None:
        super().__init__()
        self.project_id = project_id
        self.resource = resource
        self._found: tuple[Snapshot, list[holders.Holder]] | None = None

    def body(self) -> Iterable[Widget]:
        """Holders left, figures right."""
        with Container(id="host-body"):
            yield TablePane(self.project_id, holders.COLUMNS, noun="holder", id="holders-pane", counted=False)
            with VerticalScroll(id="facts"):
                yield Lines(id="facts-lines")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring holders and figures up to date; a project that went away leaves its reason behind."""
        pane, side = self.query_one(TablePane), self.query_one("#facts-lines", Lines)
        row = self._row(snapshot)
        if snapshot is None or row is None:
            pane.show([], empty=empty.why_empty(snapshot, ("keystone", "placement"), "this project has no quota here"))
            side.show([])
            return
        found = self._holders(snapshot, row)
        shown = [h for h in found if not pane.faults_only or h.kind != "server"]
        pane.pane_title = f"{row.project}  {quota.resource_word(row.resource)}"
        pane.show(
            [holders.holder_row(h) for h in shown],
            empty=empty.why_empty(snapshot, ("nova", "placement"), "nothing of this project holds any"),
            right=quota.use(row).spans,
            of=len(found),
        )
        side.show(holders.facts_lines(row, snapshot, max(20, side.size.width)))

    def _row(self, snapshot: Snapshot | None) -> ProjectQuota | None:
        rows = snapshot.quotas if snapshot else ()
        return next((q for q in rows if (q.project_id, q.resource) == (self.project_id, self.resource)), None)

    def _holders(self, snapshot: Snapshot, row: ProjectQuota) -> list[holders.Holder]:
        """Who holds it by this snapshot, worked out once."""
        if self._found is None or self._found[0] is not snapshot:
            engine = self.console.engine
            self._found = (snapshot, holders.holders(row, snapshot, engine.facts() if engine is not None else None))
        return self._found[1]

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        one = next((h for h in self._found[1] if h.id == event.row_id), None) if self._found else None
        if one is not None and one.server_id is not None:
            self.console.open_server(one.server_id)
        else:
            self.console.say("Nova knows no server for it: y copies its id")

    @on(FleetTable.Vanished)
    def _holder_vanished(self, event: FleetTable.Vanished) -> None:
        event.prevent_default()
        event.stop()
        self.console.say(f"{event.row_id} holds nothing here any more")

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The limit that the screen is about."""
        return (LimitTarget(self.project_id, self.resource),)

    def name_of(self, row_id: str) -> str:
        """The holder's name."""
        one = next((h for h in self._found[1] if h.id == row_id), None) if self._found else None
        return one.name if one is not None and one.name else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """The holder's name and id, and the project's id."""
        return [
            ("n", "name", self.name_of(row_id)),
            ("i", "id", row_id),
            ("p", "project id", self.project_id),
        ]
