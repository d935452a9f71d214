"""What is known of one server: its request, its allocation, and each device it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from vgpu_console.model.snapshot import Snapshot, VgpuServer
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render.facts import labelled
from vgpu_console.screens.render.servers import details
from vgpu_console.screens.seams import Copier


class ServerDialog(Dialog[str]):
    """Labelled lines; ``h`` goes to the server's host."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,enter", "host", "Go to its host", id="server.host"),
        Binding("m", "migrate", "Check a live migration of it", id="server.migrate"),
        Binding("e", "explain", "Why it has its vGPU, or none", id="server.explain"),
        Binding("y", "copy_id", "Copy its id", id="server.copy"),
    ]

    def __init__(
        self,
        server: VgpuServer,
        snapshot: Snapshot | None,
        migrate: Callable[[], None] | None = None,
        explain: Callable[[], None] | None = None,
    ) -> None:
        """``migrate`` begins with the check of a live migration, ``explain`` shows why; None: not possible."""
        super().__init__()
        self._migrate = migrate
        self._explain = explain
        self._server = server
        self._snapshot = snapshot or Snapshot()
        self.heading = server.name or server.id
        parts = ["h host"] if server.host else []
        parts += ["m migrate"] if server.host and migrate is not None else []
        parts += ["e explain"] if explain is not None else []
        self.footing = " · ".join([*parts, "y copy id", "esc"])

    def inside(self) -> ComposeResult:
        """The lines."""
        lines = [labelled(label, *spans) for label, spans in details(self._server, self._snapshot)]
        with VerticalScroll(classes="list"):
            yield Lines(*lines)

    def action_host(self) -> None:
        """Close and go to the host."""
        if self._server.host:
            self.dismiss(self._server.host)

    def action_migrate(self) -> None:
        """Close, and check a live migration of it."""
        if self._migrate is not None:
            self.dismiss(None)
            self._migrate()

    def action_explain(self) -> None:
        """Close, and show why it has its vGPU, or none; from there on to its flavor, project and host."""
        if self._explain is not None:
            self.dismiss(None)
            self._explain()

    def action_copy_id(self) -> None:
        """Copy the server's id."""
        if isinstance(self.app, Copier):
            self.app.copy_text(self._server.id, "server id")
