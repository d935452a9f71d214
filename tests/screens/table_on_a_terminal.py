"""A table on a real terminal, driven by keys, for ``test_table_bytes.py``: run as a script inside a pty.

After each key it writes a byte to the file descriptor named in ``DONE_FD``, once the screen is up to date.
"""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.screens import themes
from vgpu_console.screens.widgets.cells import bar, number, state, text
from vgpu_console.screens.widgets.fleet_table import Column, FleetTable, TableRow
from vgpu_console.screens.widgets.narrow_updates import NarrowUpdates
from vgpu_console.screens.widgets.source_strip import SourceStrip
from vgpu_console.screens.widgets.title_line import TitleLine

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b]0;evil\x07\x9b31m[/x]\u202eevil"

COLUMNS = (
    Column("host", "HOST", 12, flex=1),
    Column("state", "STATE", 10),
    Column("used", "USED / MAX", 20),
    Column("free", "FREE", 8, align="right"),
)


def fleet(count: int, changed: int = 0, round_: int = 0) -> list[TableRow]:
    """Rows of which the first ``changed`` differ from round to round."""
    out = []
    for i in range(count):
        used = round_ % 4 if i < changed else i % 4
        name = HOSTILE if i == 1 else f"gpu-{i:03}"
        out.append(TableRow(f"{i}", (text(name), state("up", "ok"), bar(used, 4), number(4 - used))))
    return out


class TerminalApp(NarrowUpdates[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "unchanged"),
        Binding("c", "changed"),
        Binding("t", "tick"),
        Binding("x", "exit"),
        Binding("b", "big"),
    ]

    def __init__(self) -> None:
        super().__init__()
        themes.register_themes(self)
        self.now = 1000.0
        self.rounds = 0
        self.table = FleetTable(COLUMNS)
        self.strip = SourceStrip(clock=lambda: self.now)

    def compose(self) -> ComposeResult:
        title = TitleLine()
        title.show(CloudIdentity(cloud="prod", region="RegionOne", scope=HOSTILE))
        yield title
        yield self.strip
        yield self.table

    def on_mount(self) -> None:
        self.strip.show(
            Snapshot(
                sources=(
                    SourceStatus(kind="nova", fetched_at=998.0, interval_s=60.0),
                    SourceStatus(kind="libvirt", host="gpu-001", fetched_at=998.0, error=HOSTILE, error_kind="auth"),
                )
            )
        )
        self.table.set_rows(fleet(200))
        self._done()

    def _done(self) -> None:
        self.call_after_refresh(lambda: self.call_after_refresh(os.write, int(os.environ["DONE_FD"]), b"."))

    def action_unchanged(self) -> None:
        self.table.set_rows(fleet(200, 10, self.rounds) if self.rounds else fleet(200))
        self._done()

    def action_changed(self) -> None:
        self.rounds += 1
        self.table.set_rows(fleet(200, 10, self.rounds))
        self._done()

    def action_tick(self) -> None:
        self.now += 1.0
        self.strip.tick()
        self._done()

    def action_big(self) -> None:
        self.table.set_rows(fleet(50_000))
        self._done()

    def action_exit(self) -> None:
        self.exit()

    def on_fleet_table_moved(self) -> None:
        if self.rounds:
            self._done()


if __name__ == "__main__":
    TerminalApp().run()
    sys.exit(0)
