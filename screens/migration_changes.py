"""How a live migration begins and is interfered with from the keyboard: check, plan, timeline; abort, force, mends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.rules.migration.downtime import told_downtime
from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.render.timeline import milliseconds
from vgpu_console.screens.seams import Mover

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.screens.changes import Changes
    from vgpu_console.screens.dialogs.migrate_check import Begun

START = "migrate.start"
NO_MOVER = "this console follows no live migrations"


class MovesChanged(Message):
    """Something new about followed migrations. The followers themselves hold the news."""

    def can_replace(self, message: Message) -> bool:
        """One is enough."""
        return isinstance(message, MovesChanged)


class MoveEnded(Message):
    """The end of a followed migration is told for good."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.timeline = timeline


class MigrationChanges:
    """Asks what is needed; ``changes`` has the plans confirmed and applied. No method blocks."""

    def __init__(self, app: VgpuConsoleApp, changes: Changes) -> None:
        self._app = app
        self._changes = changes

    @property
    def mover(self) -> Mover | None:
        """What checks and follows; None while the cloud is opened, and where the engine does neither."""
        return self._app.engine.mover if self._app.engine is not None else None

    def open(self) -> None:
        """Follow what is under way, also what an earlier console began."""
        mover = self.mover
        if mover is None:
            return
        app = self._app

        def changed() -> None:
            app.post_message(MovesChanged())

        def settled(timeline: Timeline) -> None:
            app.post_message(MoveEnded(timeline))

        mover.open(changed, settled)

    def tell(self, timeline: Timeline) -> None:
        """How one ended, wherever the operator is."""
        end = timeline.end
        if end is None:
            return
        words = f"{timeline.name}: {end.title}"
        if timeline.downtime_ms is not None:
            words += f", downtime {told_downtime(timeline.downtime_ms, timeline.heard_ms, milliseconds)}"
        elif end.mends:
            words += "; 4 and enter show what mends it"
        self._app.say(words, {"warn": "warning", "fail": "error"}.get(end.severity, "information"))  # type: ignore[arg-type]

    # Begin --------------------------------------------------------------------------------------------------------

    def why_not_check(self, server_id: str | None) -> str:
        """Why no check is possible; one of a read-only console is."""
        if self._app.snapshot is None or self._app.engine is None:
            return self._changes.why_not(START)
        if self.mover is None:
            return NO_MOVER
        return "" if server_id else "no server is under the cursor (2 shows them)"

    def begin(self, server_id: str, destination: str | None = None, why_again: str = "") -> None:
        """Check where the server could go; from there on to the plan and to the timeline."""
        from vgpu_console.screens.dialogs.migrate_check import MigrateCheckDialog

        mover = self.mover
        if mover is None:
            return

        def answered(begun: Begun | None) -> None:
            if begun is not None and self._changes.can_begin():
                self._confirm(mover, server_id, begun)

        self._app.push_screen(
            MigrateCheckDialog(
                mover,
                server_id,
                self._name(server_id),
                destination=destination,
                why_not=lambda: self._changes.why_not(START),
                why_again=why_again,
            ),
            answered,
        )

    def _confirm(self, mover: Mover, server_id: str, begun: Begun) -> None:
        def ended(run: ChangeRun) -> None:
            if any(o is not None and o.steps_taken for o in run.outcomes):
                mover.follow_start(begun.plan, begun.chosen)
                if run.ok:
                    self._app.open_timeline("", server_id, begun.plan.target.name)

        def again() -> None:
            self.begin(server_id, begun.chosen.host, "the server changed meanwhile: checked again")

        self._changes.confirm((begun.plan,), lambda: (begun.plan,), again=again, then=ended)

    def _name(self, server_id: str) -> str:
        """The server's name with its project."""
        snapshot = self._app.snapshot
        server = next((s for s in snapshot.servers if s.id == server_id), None) if snapshot else None
        if server is not None:
            return f"{server.name or server_id} ({server.project or server.project_id})"
        row = next((m for m in snapshot.migrations if m.server_id == server_id), None) if snapshot else None
        return row.server or server_id if row is not None else server_id

    # On one that is shown -----------------------------------------------------------------------------------------

    def why_not_act(self, action_id: str, timeline: Timeline | None) -> str:
        """Why an action is not possible on this migration."""
        why = NO_MOVER if self.mover is None else self._changes.why_not(action_id)
        if why:
            return why
        if timeline is None or not timeline.migration:
            return "its migration is not found yet"
        story = timeline.story
        if action_id in ("migrate.abort", "migrate.force"):
            return f"it has ended: {story.title}" if story is not None and story.over else ""
        if timeline.end is not None and not timeline.settled:
            return "it is looked at again until nothing changes any more"
        offered = story is not None and any(m.action == action_id for m in story.mends)
        return "" if offered else "there is nothing of that kind to mend"

    def act(self, action_id: str, timeline: Timeline) -> None:
        """Ask for what the plan needs, in a thread, and show it."""
        mover = self.mover
        if mover is None or not self._changes.can_begin():
            return
        again = self._again(action_id, timeline)
        self._app.run_worker(self._plan(mover, action_id, timeline, again), exclusive=True, group="migration-plan")

    def _again(self, action_id: str, timeline: Timeline) -> Callable[[], None]:
        return lambda: self.act(action_id, timeline)

    async def _plan(self, mover: Mover, action_id: str, timeline: Timeline, again: Callable[[], None]) -> None:
        try:
            plan: Plan = await asyncio.to_thread(mover.plan, action_id, timeline)
        except PlanError as error:
            self._app.say(str(error), "error")
        else:
            self._changes.confirm((plan,), lambda: (plan,), again=again)
