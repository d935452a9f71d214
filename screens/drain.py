"""A drain: every server with its bar, what the whole of it does, and the keys that hold, stop and go on with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from vgpu_console.actions.drain_commands import commands_of
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.actions.drain_report import DrainRow
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens import keys
from vgpu_console.screens.drain_changes import ENABLE, DrainChanges
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import drain as render
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable
from vgpu_console.screens.widgets.span_line import SpanLine

_ROW_LINES = 4


class DrainScreen(ViewScreen):
    """Shows a drain that runs here, that has ended, or that was left; leaving the screen ends nothing."""

    view = "migrations"
    place = "drain"
    detail = True
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("drain")]

    def __init__(self, drain_id: str) -> None:
        super().__init__()
        self.drain_id = drain_id

    def body(self) -> Iterable[Widget]:
        """The headline, the sums, the servers, and below them what the row under the cursor says in full."""
        yield SpanLine(id="drain-title")
        yield SpanLine(id="drain-sums")
        yield Lines(id="drain-notes")
        yield TablePane("Servers", render.COLUMNS, noun="server", id="drain-pane")
        yield Lines(id="drain-row")

    @property
    def known(self) -> KnownDrain | None:
        """The drain as it is now; None when nobody knows it any more."""
        drainer = self._drains.drainer
        return drainer.drain(self.drain_id) if drainer is not None else None

    @property
    def _drains(self) -> DrainChanges:
        return self.console.changes.drains

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring headline, notes and rows up to date."""
        known = self.known
        head = self.query_one("#drain-title", SpanLine)
        pane = self.query_one(TablePane)
        if known is None:
            head.set_spans((("this drain is not known any more", "unknown"),))
            pane.show([], empty="")
            return
        view, width = known.view, max(20, self.app.size.width - 2)
        began = f"begun {render.stamp(view.started)[-8:]}   {render.elapsed(view, now)}"
        head.set_spans(render.title_spans(known), ((began, "muted"),))
        left, right, _ = render.sums(view, width)
        self.query_one("#drain-sums", SpanLine).set_spans(left, right)
        self.query_one("#drain-notes", Lines).show(render.note_lines(known, width))
        rows = [r for r in view.rows if not pane.faults_only or render.is_fault(r)]
        live = known.runs_here or bool(known.holder)
        pane.show([render.drain_row(r, live=live) for r in rows], empty="no server is part of it", of=len(view.rows))
        self._show_row()

    def _row(self, server: str | None) -> DrainRow | None:
        known = self.known
        return next((r for r in known.view.rows if r.server == server), None) if known is not None else None

    def _show_row(self) -> None:
        table = self.query_one(TablePane).table
        width = max(20, self.app.size.width - 4)
        self.query_one("#drain-row", Lines).show(render.row_lines(self._row(table.cursor_id), width, _ROW_LINES))

    @on(FleetTable.Moved)
    def _other_row(self) -> None:
        self._show_row()
        self.show_keys()

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        """The row's timeline, over this screen; of a server that was never begun, the server."""
        from vgpu_console.screens.timeline import TimelineScreen

        event.stop()
        row = self._row(event.row_id)
        if row is None:
            return
        if not row.migration:
            self.console.open_server(row.server)
        elif self.console.changes.moves.mover is None:
            self.console.say("this console follows no live migrations")
        else:
            self.app.push_screen(TimelineScreen(row.migration, row.server, row.name or row.server))

    # Keys ---------------------------------------------------------------------------------------------------------

    def server_target(self) -> str | None:
        """The server under the cursor: one that failed may be tried by itself."""
        pane = self.pane
        return pane.table.cursor_id if pane is not None else None

    def unavailable(self) -> dict[str, str]:
        """Also those of the drain itself."""
        mine = {k.id: self._why_not(k.id) for k in keys.KEYS if k.scope == "drain"}
        return {**super().unavailable(), **{one: why for one, why in mine.items() if why}}

    def _why_not(self, key_id: str) -> str:
        """Why a key of the drain does nothing now."""
        known = self.known
        if known is None:
            return "this drain is not known any more"
        view = known.view
        if known.holder and key_id in ("drain.pause", "drain.resume", "drain.stop", "drain.accept"):
            return f"it is run by {known.holder}"
        if key_id == "drain.resume" and not known.runs_here:
            if not known.left and not known.drain.having("failed"):
                return "it has ended"
            return self._drains.why_not_begin(known.drain.service == "wanted")
        if key_id in ("drain.pause", "drain.resume", "drain.stop", "drain.accept") and not known.runs_here:
            return "it has ended" if not known.left else "nobody runs it: R goes on with it"
        found: Mapping[str, str] = {
            "drain.pause": "" if view.status == "running" else f"it is {view.status} already",
            "drain.resume": "" if view.status != "running" else "it runs",
            "drain.stop": "" if view.status != "stopped" else "it is stopped already",
            "drain.accept": "" if view.to_accept else "nothing waits to be accepted",
            "drain.enable": self.console.why_not(ENABLE) if view.enable_again else "this drain has disabled no service",
        }
        return found.get(key_id, "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that hold it are there until its end, the one that goes on where there is something to go on with."""
        if action != "drain_key":
            return super().check_action(action, parameters)
        known = self.known
        if known is None:
            return False
        wanted = str(parameters[0])
        if wanted == "drain.accept":
            return known.runs_here and bool(known.view.to_accept)
        if wanted == "drain.enable":
            return bool(known.view.enable_again)
        if wanted == "drain.resume":
            if known.runs_here:
                return known.view.status != "running"
            return not known.holder and (known.left or bool(known.drain.having("failed")))
        if wanted in ("drain.pause", "drain.stop"):
            return known.runs_here and (known.view.status == "running" or wanted == "drain.stop")
        return True

    def action_drain_key(self, key_id: str) -> None:
        """Do what a key of the drain means, or say why not."""
        known, why = self.known, self._why_not(key_id)
        if why or known is None:
            self.console.say(f"{keys.BY_ID[key_id].word}: {why}", "warning")
            return
        drains, id = self._drains, self.drain_id
        if key_id == "drain.pause":
            drains.pause(id)
        elif key_id == "drain.resume":
            drains.go_on(id)
        elif key_id == "drain.stop":
            drains.stop(id)
        elif key_id == "drain.enable":
            drains.enable(known.drain.host)
        elif key_id == "drain.accept":
            self._accept(known)
        elif key_id == "drain.report":
            self._report(known)
        elif commands := commands_of((known.drain,)):
            self.console.copy_text("\n".join(commands), "the commands")
        else:
            self.console.say("nothing is left to do, and no service to enable")

    def _accept(self, known: KnownDrain) -> None:
        from vgpu_console.screens.dialogs.drain_accept import DrainAcceptDialog

        said = {
            one: [f"{r.name}: {r.message}" for r in known.view.rows if r.state != "done" and one in r.message]
            for one in known.view.to_accept
        }

        def answered(ids: tuple[str, ...] | None) -> None:
            if ids:
                self._drains.accept(self.drain_id, ids)

        self.app.push_screen(DrainAcceptDialog(said, self.console.steady), answered)

    def _report(self, known: KnownDrain) -> None:
        from vgpu_console.screens.dialogs.drain_report import DrainReportDialog

        self.app.push_screen(DrainReportDialog(known.drain, self._drains.write_report))

    def name_of(self, row_id: str) -> str:
        """The server's name."""
        row = self._row(row_id)
        return row.name if row is not None and row.name else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """Name and id of the server, its migration, what is said of it, and the report of the whole."""
        row, known = self._row(row_id), self.known
        choices = [("n", "server name", self.name_of(row_id)), ("i", "server id", row_id)]
        if row is not None and row.migration:
            choices.append(("u", "migration uuid", row.migration))
        if row is not None and row.message:
            choices.append(("m", "what is said of it", row.message))
        if known is not None:
            choices.append(("r", "the report", render.report_text(known.drain)))
        return choices
