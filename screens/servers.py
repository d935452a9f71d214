"""Servers with vGPUs, of all projects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from textual import on
from textual.widget import Widget

from vgpu_console.model.snapshot import Snapshot, VgpuServer
from vgpu_console.screens.render import empty, servers
from vgpu_console.screens.render.marks import Mark, MarkIndex, Marks
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class ServersScreen(ViewScreen):
    """Every server that asks for, holds or is allocated a vGPU; enter shows what is known of it."""

    view = "servers"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[VgpuServer] = RowCache(
            lambda s: s.id, lambda s, mark: servers.server_row(s, cast("Mark | None", mark))
        )
        self._marks = MarkIndex()

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield TablePane("Servers with vGPUs", servers.COLUMNS, noun="server", id="servers-pane")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the table up to date."""
        pane = self.query_one(TablePane)
        marks = self._marks.of(snapshot)
        pane.show(
            self._rows.rows(
                (s for s in snapshot.servers if not pane.faults_only or _needs_an_eye(s, marks)),
                mark=lambda s: marks.of_id(s.id),
            )
            if snapshot
            else [],
            empty=empty.why_no_servers(snapshot),
            of=len(snapshot.servers) if snapshot else 0,
        )
        self.more_rows(self._rows)

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        self.console.open_server(event.row_id)

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The limit on vGPUs of the project whose server is under the cursor."""
        pane = self.pane
        server = self._server(pane.table.cursor_id or "") if pane is not None else None
        return (LimitTarget(server.project_id, "class:VGPU"),) if server is not None else ()

    def server_target(self) -> str | None:
        """The server under the cursor."""
        return self.pane.table.cursor_id if self.pane is not None else None

    def drain_target(self) -> Mapping[str, frozenset[str] | None]:
        """The marked servers, each with the host that it is to leave."""
        snapshot = self.console.snapshot
        marks = self.pane.table.marks if self.is_mounted and self.pane is not None else frozenset()
        found: dict[str, set[str]] = {}
        for server in snapshot.servers if snapshot is not None and marks else ():
            if server.id in marks and server.host:
                found.setdefault(server.host, set()).add(server.id)
        return {host: frozenset(found[host]) for host in sorted(found)}

    @on(FleetTable.Moved)
    @on(FleetTable.Marked)
    def _other_row(self) -> None:
        self.show_keys()

    def _server(self, row_id: str) -> VgpuServer | None:
        snapshot = self.console.snapshot
        return next((s for s in snapshot.servers if s.id == row_id), None) if snapshot else None

    def name_of(self, row_id: str) -> str:
        """The server's name."""
        server = self._server(row_id)
        return server.name if server and server.name else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """Name, id, host and project of the server."""
        choices = [("n", "server name", self.name_of(row_id)), ("i", "server id", row_id)]
        server = self._server(row_id)
        if server is not None:
            choices.append(("p", "project id", server.project_id))
            if server.host:
                choices.append(("h", "host name", server.host))
        return choices


def _needs_an_eye(server: VgpuServer, marks: Marks) -> bool:
    mark = marks.of_id(server.id)
    return servers.is_fault(server) or (mark is not None and mark.fault)
