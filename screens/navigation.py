"""Going places: views, details and dialogs, by key, by name and from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

from vgpu_console.model.nova import Flavor
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.explain.chain import Kind
from vgpu_console.screens.changes import Changes
from vgpu_console.screens.view import ViewScreen
from vgpu_console.screens.widgets.narrow_updates import NarrowUpdates
from vgpu_console.text import plain

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.screens.seams import FleetEngine

TOAST_CHARS = 400


class Navigation(NarrowUpdates[int]):
    """The part of the application that knows the way to each screen: a view is a mode, its details are on its stack."""

    snapshot: Snapshot | None
    changes: Changes
    engine: FleetEngine | None
    _previous_view: str | None = None

    def say(self, text: str, severity: Literal["information", "warning", "error"] = "information") -> None:
        """A message that goes away by itself. The only way to a toast: the text is never read as markup."""
        self.notify(plain(text, TOAST_CHARS), severity=severity, markup=False)

    # Screens are changed on the application's own message loop: a screen that waited for its own removal would wait for
    # ever, and keys, dialogs and the palette call from theirs.

    def go(self, view: str) -> None:
        """Show a view; when it is in front already, leave its details."""
        self.call_next(self._go, view)

    def open_host(self, name: str) -> None:
        """Show one host's devices."""
        self.call_next(self._open_host, name)

    def open_server(self, server_id: str) -> None:
        """Show one server in a dialog, over whatever view is in front."""
        self.call_next(self._open_server, server_id)

    def open_project(self, project_id: str, resource: str) -> None:
        """Show who holds what of a project's quota."""
        self.call_next(self._open_project, project_id, resource)

    def open_timeline(self, migration: str, server_id: str, name: str) -> None:
        """Show how a live migration goes; "" for ``migration``: the one that the server has just begun."""
        self.call_next(self._open_timeline, migration, server_id, name)

    def open_drain(self, drain_id: str) -> None:
        """Show a drain with all its servers."""
        self.call_next(self._open_drain, drain_id)

    def open_explanation(self, kind: Kind, object_id: str) -> None:
        """Show why a server, flavor or project (by its id) or a host is as it is, over whatever is in front."""
        self.call_next(self._open_explanation, kind, object_id)

    def open_row(self, view: str, row_id: str) -> None:
        """Show a view with the cursor on one of its rows."""
        self.call_next(self._open_row, view, row_id)

    def open_filtered(self, view: str, text: str) -> None:
        """Show a view with a filter on it."""
        self.call_next(self._open_filtered, view, text)

    async def _go(self, view: str) -> None:
        if view != self.current_mode:
            self._previous_view = self.current_mode
            await self.switch_mode(view)
        else:
            await self._leave_details()

    async def _leave_details(self) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()

    async def _open_host(self, name: str) -> None:
        from vgpu_console.screens.host import HostScreen

        if self.current_mode != "fleet":
            await self._go("fleet")
        await self._leave_details()
        await self.push_screen(HostScreen(name))

    async def _open_project(self, project_id: str, resource: str) -> None:
        from vgpu_console.screens.project import ProjectScreen

        if self.current_mode != "quota":
            await self._go("quota")
        await self._leave_details()
        await self.push_screen(ProjectScreen(project_id, resource))

    async def _open_server(self, server_id: str) -> None:
        from vgpu_console.screens.dialogs.server import ServerDialog

        server = next((s for s in self.snapshot.servers if s.id == server_id), None) if self.snapshot else None
        if server is None:
            self.say("Nova does not list this server as one with vGPUs")
            return

        def chosen(host: str | None) -> None:
            if host is not None:
                self.open_host(host)

        moves = self.changes.moves
        migrate = None if moves.why_not_check(server_id) else lambda: moves.begin(server_id)
        await self.push_screen(
            ServerDialog(server, self.snapshot, migrate, lambda: self.open_explanation("server", server_id)), chosen
        )

    async def _open_timeline(self, migration: str, server_id: str, name: str) -> None:
        from vgpu_console.screens.timeline import TimelineScreen

        if self.current_mode != "migrations":
            await self._go("migrations")
        await self._leave_details()
        await self.push_screen(TimelineScreen(migration, server_id, name))

    async def _open_drain(self, drain_id: str) -> None:
        from vgpu_console.screens.drain import DrainScreen

        if self.current_mode != "migrations":
            await self._go("migrations")
        await self._leave_details()
        await self.push_screen(DrainScreen(drain_id))

    async def _open_explanation(self, kind: Kind, object_id: str) -> None:
        from vgpu_console.screens.explaining import open_explanation

        open_explanation(cast("VgpuConsoleApp", self), kind, object_id)

    async def _open_row(self, view: str, row_id: str) -> None:
        await self._go(view)
        await self._leave_details()
        if isinstance(self.screen, ViewScreen):
            self.screen.select(row_id)

    async def _open_filtered(self, view: str, text: str) -> None:
        await self._go(view)
        await self._leave_details()
        if isinstance(self.screen, ViewScreen):
            self.screen.filter_to(text)

    def leave_detail(self) -> None:
        """Back from a detail to the view it was opened from."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_view(self, view: str) -> None:
        """One of the views by its number key."""
        self.go(view)

    def action_previous(self) -> None:
        """Back from a detail, else the view before this one."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self._previous_view is not None:
            self.go(self._previous_view)

    def action_jump(self) -> None:
        """Go somewhere by name."""
        from vgpu_console.screens.dialogs.jump import Jump

        def chosen(target: tuple[str, str] | None) -> None:
            if target is not None:
                self.follow(*target)

        self.push_screen(Jump(self.snapshot, self.flavors()), chosen)

    def flavors(self) -> Sequence[Flavor]:
        """The flavors that Nova told of."""
        nova = self.engine.facts().nova if self.engine is not None else None
        return (nova.flavors if nova is not None else None) or ()

    def follow(self, kind: str, name: str) -> None:
        """Go to a target of the jump line or the palette."""
        if kind == "view":
            self.go(name)
        elif kind == "host":
            self.open_host(name)
        elif kind == "server":
            self.open_row("servers", name)
            self.open_server(name)
        elif kind == "project":
            self.open_row("quota", name)
        elif kind == "flavor":
            self.open_explanation("flavor", name)
        else:
            self.call_next(self.run_action, name)
