"""What is wrong with the fleet, the worst first, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.screens import finding_actions, keys
from vgpu_console.screens.render import findings
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.seams import DeviceTarget, LimitTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable
from vgpu_console.screens.widgets.span_line import SpanLine


class DoctorScreen(ViewScreen):
    """A row for each finding; enter shows its evidence and what mends it. The keys for changes work on its object."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("doctor")]
    view = "doctor"

    def __init__(self) -> None:
        super().__init__()
        self._rows: RowCache[tuple[str, Finding]] = RowCache(
            lambda pair: pair[0], lambda pair, _: findings.finding_row(*pair)
        )
        self._by_row: dict[str, Finding] = {}
        self._of: Snapshot | None = None

    def body(self) -> Iterable[Widget]:
        """The findings, and a line of what was not looked at."""
        yield TablePane("Findings", findings.COLUMNS, noun="finding", id="doctor-pane")
        yield SpanLine(id="doctor-unlooked")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the table up to date."""
        found = snapshot.findings if snapshot else ()
        if snapshot is not self._of:
            self._of = snapshot
            self._by_row = dict(zip(findings.row_ids(found), found, strict=True))
        pane = self.query_one(TablePane)
        pane.show(
            self._rows.rows(p for p in self._by_row.items() if not pane.faults_only or p[1].severity != "info"),
            empty=findings.why_none(snapshot),
            right=findings.counts(found),
            of=len(found),
        )
        foot = self.query_one("#doctor-unlooked", SpanLine)
        line = findings.foot(snapshot)
        foot.display = bool(line)
        foot.set_spans(line)
        self.more_rows(self._rows)

    @on(FleetTable.Opened)
    def _opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        finding = self._by_row.get(event.row_id)
        if finding is not None:
            finding_actions.open_finding(self.console, finding)

    @on(FleetTable.Vanished)
    def _mended(self, event: FleetTable.Vanished) -> None:
        event.prevent_default()  # good news, and the count says it
        event.stop()

    @on(FleetTable.Moved)
    def _other_row(self) -> None:
        self.show_keys()

    # What the keys are about --------------------------------------------------------------------------------------

    def _current(self) -> Finding | None:
        pane = self.pane if self.is_mounted else None
        return self._by_row.get(pane.table.cursor_id or "") if pane is not None else None

    def device_targets(self, key_id: str) -> Sequence[DeviceTarget]:
        """The devices that the finding under the cursor names, else its host."""
        finding = self._current()
        if finding is None:
            return ()
        targets = finding_actions.device_targets(finding, self.console.snapshot)
        if key_id == "nova-side" and finding.host:
            return (DeviceTarget(finding.host, "host"),)
        return targets

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The limit that it is about."""
        finding = self._current()
        return finding_actions.limit_targets(finding, self.console.snapshot) if finding is not None else ()

    def server_target(self) -> str | None:
        """The server that it names."""
        finding = self._current()
        return finding_actions.server_target(finding, self.console.snapshot) if finding is not None else None

    def action_finding_host(self) -> None:
        """Go to the host of the finding under the cursor."""
        finding = self._current()
        if finding is not None and finding.host:
            self.console.open_host(finding.host)
        else:
            self.console.say(
                "this finding is of no one host" if finding is not None else "no finding is under the cursor"
            )

    def action_unlooked(self) -> None:
        """List what could not be looked at."""
        snapshot = self.console.snapshot
        if snapshot is None or not snapshot.unlooked:
            self.console.say("everything was looked at" if snapshot is not None else "nothing is read yet")
            return
        from vgpu_console.screens.dialogs.unlooked import UnlookedDialog

        self.app.push_screen(UnlookedDialog(snapshot.unlooked))

    def name_of(self, row_id: str) -> str:
        """What the finding is about."""
        finding = self._by_row.get(row_id)
        return finding.object if finding is not None else row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """Its command first, then message, object and id."""
        finding = self._by_row.get(row_id)
        if finding is None:
            return []
        command = [("c", "command", finding.command)] if finding.command else []
        return [*command, ("m", "message", finding.message), ("n", "object", finding.object), ("i", "id", finding.id)]
