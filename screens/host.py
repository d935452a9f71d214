"""One host: its GPUs, virtual functions and vGPUs with the server and project on each, and the facts beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from textual import on
from textual.containers import Container, VerticalScroll
from textual.widget import Widget

from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.screens.device_keys import OF_ONE
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import devices, empty, facts, hosts
from vgpu_console.screens.seams import DeviceTarget
from vgpu_console.screens.view import TablePane, ViewScreen
from vgpu_console.screens.widgets.fleet_table import FleetTable


class HostScreen(ViewScreen):
    """GPU → VF → vGPU as an indented table; enter on a vGPU opens its server, on a GPU unfolds its idle functions."""

    view = "fleet"
    place = "host"
    detail = True

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self._opened: set[str] = set()
        self._servers: dict[str, str] = {}
        self._tree: tuple[Snapshot, frozenset[str], devices.DeviceTree] | None = None

    def body(self) -> Iterable[Widget]:
        """Devices left, facts right."""
        with Container(id="host-body"):
            yield TablePane(self.host, devices.COLUMNS, noun="device", id="devices-pane", counted=False)
            with VerticalScroll(id="facts"):
                yield Lines(id="facts-lines")

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring devices and facts up to date; a host that went away leaves its reason behind."""
        pane = self.query_one(TablePane)
        host = snapshot.host(self.host) if snapshot else None
        if snapshot is None or host is None:
            self._servers = {}
            pane.show([], empty=empty.why_no_devices(snapshot, self.host))
            self.query_one("#facts-lines", Lines).show([])
            return
        tree = self._tree_of(snapshot, host)
        pane.styles.max_height = len(tree.rows) + 3
        self._servers = tree.servers
        rows = tree.rows
        if pane.faults_only:
            rows = [
                row
                for row in rows
                if any(tone in ("warn", "fail", "unknown") for c in row.cells for _, tone in c.spans)
            ]
        state = hosts.host_state(host, [s for s in snapshot.sources if s.host == host.name], now)
        pane.show(
            rows,
            empty=empty.why_no_devices(snapshot, self.host),
            right=(state, ("   ", ""), *hosts.used_of_max(host).spans),
            of=len(tree.rows),
        )
        self.query_one("#facts-lines", Lines).show(facts.host_facts(host, snapshot, now))

    def _tree_of(self, snapshot: Snapshot, host: Host) -> devices.DeviceTree:
        """The tree of this snapshot, made once: a whole fleet's devices are looked through for it."""
        kept = self._tree
        if kept is None or kept[0] is not snapshot or kept[1] != self._opened:
            kept = self._tree = (snapshot, frozenset(self._opened), devices.device_tree(snapshot, host, self._opened))
        return kept[2]

    @on(FleetTable.Opened)
    def _row_opened(self, event: FleetTable.Opened) -> None:
        event.stop()
        gpu = devices.gpu_of_row(event.row_id)
        if gpu is not None:
            self._opened ^= {gpu}
            self.update()
        elif event.row_id in self._servers:
            self.console.open_server(self._servers[event.row_id])
        else:
            self.console.say("no server holds this")

    @on(FleetTable.Vanished)
    def _device_vanished(self, event: FleetTable.Vanished) -> None:
        event.stop()
        if not event.row_id.startswith(("idle:", "vf:")):
            self.console.say(f"{self.name_of(event.row_id)} is not on {self.host} any more", "warning")

    # What the keys are about --------------------------------------------------------------------------------------

    def device_targets(self, key_id: str) -> Sequence[DeviceTarget]:
        """The marked rows, else the row under the cursor; where no row stands for a device, the host itself."""
        snapshot = self.console.snapshot
        host = snapshot.host(self.host) if snapshot else None
        if snapshot is None or host is None or not self.is_mounted:
            return ()
        table = self.query_one(TablePane).table
        ids = [row.id for row in table.rows if row.id in table.marks]
        ids += sorted(table.marks.difference(ids))  # those that the filter hides
        if not ids or key_id in OF_ONE:
            ids = [table.cursor_id] if table.cursor_id is not None else []
        found = [devices.target_of(snapshot, host, row_id) for row_id in ids]
        return [one for one in found if one is not None] or [DeviceTarget(host.name, "host")]

    def server_target(self) -> str | None:
        """The server that holds the vGPU under the cursor."""
        table = self.query_one(TablePane).table if self.is_mounted else None
        return self._servers.get(table.cursor_id or "") if table is not None else None

    def drain_target(self) -> Mapping[str, frozenset[str] | None]:
        """This host with everything on it."""
        snapshot = self.console.snapshot
        return {self.host: None} if snapshot is not None and snapshot.host(self.host) is not None else {}

    @on(FleetTable.Moved)
    @on(FleetTable.Marked)
    def _other_row(self) -> None:
        self.show_keys()

    def action_sort(self) -> None:
        """Devices stand below the GPU that they are on, so they have one order."""
        self.console.say("devices stay below their GPU: / filters them")

    def action_sort_reverse(self) -> None:
        """The same."""
        self.action_sort()

    def name_of(self, row_id: str) -> str:
        """A device's address or uuid."""
        return row_id.partition(":")[2] or row_id

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """The device's address or uuid, and the server's id where one holds it."""
        choices = [("n", "device", self.name_of(row_id)), ("h", "host name", self.host)]
        if row_id in self._servers:
            choices.append(("i", "server id", self._servers[row_id]))
        return choices
