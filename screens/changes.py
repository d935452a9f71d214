"""The way of a change through the screens: plan, confirmation, application, outcome. One for the whole console.

It holds no rules: plans come from ``actions`` by way of ``limit_changes`` and ``device_changes``, which ask for what
they need; they are applied by the runner in a thread, and their outcomes are shown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual.message import Message

from vgpu_console.actions.journal import Journal, JournalError
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.actions.registry import action
from vgpu_console.actions.unfinished import Unfinished, look_at
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.screens.change_run import ChangeRun, Replan
from vgpu_console.screens.device_changes import DeviceChanges
from vgpu_console.screens.drain_changes import DrainChanges
from vgpu_console.screens.limit_changes import LimitChanges
from vgpu_console.screens.migration_changes import MigrationChanges
from vgpu_console.screens.render.plans import outcome_word
from vgpu_console.screens.seams import HostChanger

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp

LOG = logging.getLogger("vgpu_console.screens")

AGAIN_WITHIN_S = 30.0
"""Planning again waits so long for what it needs to be read anew."""

NOT_READ = "the cloud is still being asked"

Source = tuple[SourceKind, str]
"""A kind of source and its host; "" for the cloud's own."""


class _Again(NamedTuple):
    """A change that is to be planned again: when what it needs was last read, and how long to wait for more."""

    run: ChangeRun
    read_at: dict[Source, float | None]
    deadline: float


class ChangeMoved(Message):
    """Something new about the change under way."""

    def __init__(self, run: ChangeRun) -> None:
        super().__init__()
        self.run = run

    def can_replace(self, message: Message) -> bool:
        """The run itself holds the news."""
        return isinstance(message, ChangeMoved) and message.run is self.run


class Changes:
    """Begins changes and follows them. All methods are called on the UI loop and none blocks."""

    def __init__(self, app: VgpuConsoleApp) -> None:
        self._app = app
        self.run: ChangeRun | None = None
        self.limits = LimitChanges(app, self)
        self.devices = DeviceChanges(app, self)
        self.moves = MigrationChanges(app, self)
        self.drains = DrainChanges(app, self)
        self._again: _Again | None = None

    @property
    def running(self) -> bool:
        """Whether a change is being applied now."""
        return self.run is not None and not self.run.finished

    # What is possible ---------------------------------------------------------------------------------------------

    def why_not(self, action_id: str) -> str:
        """Why an action is not possible with this credential, on this cloud, on what is known now; "" when it is."""
        snapshot, engine = self._app.snapshot, self._app.engine
        if snapshot is None or engine is None:
            return NOT_READ
        wanted = action(action_id)
        read_only = snapshot.identity.read_only or engine.world is None or engine.journal is None
        why = wanted.available(snapshot, read_only, self.shell_changes)
        if why or not action_id.startswith("quota."):
            return why
        return self.limits.too_old(snapshot)

    @property
    def shell_changes(self) -> bool:
        """Whether this console may itself change something on hosts over SSH."""
        world = self._app.engine.world if self._app.engine is not None else None
        return isinstance(world, HostChanger) and world.shell_changes

    def can_begin(self) -> bool:
        """Whether a change can begin now; says so where one is under way or nothing is known yet."""
        if self.running:
            self._app.say("a change is being applied: one after the other", "warning")
        return not self.running and self._app.snapshot is not None and self._app.engine is not None

    def known(self) -> tuple[Facts, Snapshot]:
        """What plans are made of. Raises PlanError while nothing has been read."""
        engine, snapshot = self._app.engine, self._app.snapshot
        if engine is None or snapshot is None:
            raise PlanError(NOT_READ)
        return engine.facts(), snapshot

    def plan_at_once(self, planner: Replan, *, stop_at_first: bool = False) -> None:
        """Show the plans of what needs no question, or why there is none."""
        try:
            plans = planner()
        except PlanError as error:
            self._app.say(str(error), "error")
        else:
            self.confirm(plans, planner, stop_at_first=stop_at_first)

    # Confirm, apply, tell -----------------------------------------------------------------------------------------

    def confirm(
        self,
        plans: Sequence[Plan],
        replan: Replan,
        *,
        stop_at_first: bool = False,
        again: Callable[[], None] | None = None,
        then: Callable[[ChangeRun], None] | None = None,
    ) -> None:
        """Show plans; when they are confirmed, apply them. ``stop_at_first``: none after one that failed.

        ``again`` takes the place of planning anew when the world had moved; ``then`` is called when all has ended.
        """
        from vgpu_console.screens.dialogs.plan import PlanDialog

        def answered(accepted: frozenset[str] | None) -> None:
            if accepted is not None:
                self._apply(ChangeRun(plans, accepted, replan, stop_at_first=stop_at_first, again=again, then=then))

        self._app.push_screen(PlanDialog(plans, self._app.steady), answered)

    def _apply(self, run: ChangeRun) -> None:
        engine = self._app.engine
        if engine is None or engine.world is None or engine.journal is None:
            self._app.say("this console only watches: nothing was sent", "error")
            return
        if self.running:
            self._app.say("a change is being applied: one after the other; nothing was sent", "error")
            return
        self.run = run
        world, journal = engine.world, engine.journal
        self._show(run)

        def moved() -> None:
            self._app.post_message(ChangeMoved(run))

        # No daemon: a console that is left while a step is under way ends only when that has been journaled.
        threading.Thread(target=run.apply, args=(world, journal, moved), name="change", daemon=False).start()

    def _show(self, run: ChangeRun) -> None:
        from vgpu_console.screens.dialogs.apply import ApplyDialog

        def closed(wish: str | None) -> None:
            if wish == "again" and run.again is not None:
                run.again()
            elif wish == "again":
                self._plan_again(run)
            elif not run.finished:
                self._app.say("it goes on; its outcome will be told here and in the journal")

        self._app.push_screen(ApplyDialog(run), closed)

    def on_moved(self, run: ChangeRun) -> None:
        """Show the news in the dialog where it is open; tell the end in any case."""
        from vgpu_console.screens.dialogs.apply import ApplyDialog

        shown = next((s for s in self._app.screen_stack if isinstance(s, ApplyDialog) and s.run is run), None)
        if not run.finished:
            if shown is not None:
                shown.restate()
            return
        if run is not self.run:
            return
        self.run = None
        self._app.ask_sources()
        if run.ok:
            self._tell_done(run)
            if shown is not None:
                shown.dismiss(None)
        elif shown is not None:
            shown.restate()
        else:
            self._show(run)
        if run.then is not None:
            run.then(run)

    def _tell_done(self, run: ChangeRun) -> None:
        outcomes = [o for o in run.outcomes if o is not None]
        if len(outcomes) == 1:
            self._app.say(outcome_word(outcomes[0]))
        else:
            self._app.say(f"{len(outcomes)} changes applied and read back")

    # Again --------------------------------------------------------------------------------------------------------

    def _plan_again(self, run: ChangeRun) -> None:
        """Once that was read anew which it was planned from: otherwise it would only be refused again."""
        needed = sources_of(run.plans)
        self._again = _Again(run, _read_at(self._app.snapshot, needed), self._app.steady() + AGAIN_WITHIN_S)
        self._app.say(f"reading {_words(needed)} again …")
        self._app.ask_sources()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Plan again, when that was asked for and what it needs was read since."""
        if self._again is None:
            return
        run, read_at, deadline = self._again
        now = _read_at(snapshot, read_at)
        left = [source for source in read_at if now[source] == read_at[source]]
        if left:
            if self._app.steady() > deadline:
                self._again = None
                self._app.say(f"{_words(left)} could not be read again", "error")
            return
        self._again = None
        self.plan_at_once(run.replan, stop_at_first=run.stop_at_first)

    def leave(self) -> None:
        """The console is being left: nothing more is begun, and nothing is waited for."""
        if self.run is not None:
            self.run.stop()
        self.drains.leave()

    # What was under way when a console ended ------------------------------------------------------------------------

    def look_for_unfinished(self) -> None:
        """Read the journal in a thread; what a killed console left is shown with what is true of it now."""
        engine = self._app.engine
        if engine is None or engine.world is None or engine.journal is None:
            return
        world, journal = engine.world, engine.journal

        def look() -> None:
            try:
                # the journal is one for all clouds; what is true of another one cannot be read here
                found = [look_at(entry, world) for entry in journal.unfinished() if entry.cloud == world.name]
            except Exception:
                LOG.exception("the journal could not be read")
                return
            if found:
                self._app.call_from_thread(self._show_unfinished, found)

        threading.Thread(target=look, name="unfinished", daemon=True).start()

    def _show_unfinished(self, found: Sequence[Unfinished]) -> None:
        from vgpu_console.screens.dialogs.unfinished import UnfinishedDialog

        def answered(settle: bool | None) -> None:
            engine = self._app.engine
            if settle and engine is not None and engine.journal is not None:
                journal = engine.journal
                threading.Thread(target=self._settle, args=(found, journal), name="settle", daemon=False).start()

        self._app.push_screen(UnfinishedDialog(found, self._app.now), answered)

    def _settle(self, found: Sequence[Unfinished], journal: Journal) -> None:
        try:
            for one in found:
                message = f"looked at by a later console; {one.error or 'read back then'}"
                journal.end(one.entry.run, "interrupted", message, one.observed)
        except JournalError as error:
            self._app.call_from_thread(self._app.say, str(error), "error")
        else:
            self._app.call_from_thread(self._app.say, "written down: it is not shown again")

    # What if ------------------------------------------------------------------------------------------------------

    def what_if(self, project_id: str | None) -> None:
        """Ask whether a project could start servers of a flavor now."""
        from vgpu_console.screens.dialogs.what_if import WhatIfDialog

        engine, snapshot = self._app.engine, self._app.snapshot
        if engine is None or snapshot is None:
            self._app.say("the cloud is still being asked")
            return
        self._app.push_screen(WhatIfDialog(self.known, engine.candidates, project_id))


def sources_of(plans: Iterable[Plan]) -> list[Source]:
    """What plans are made of: the source that says what they change, with its host ("" for the cloud's own)."""
    found = []
    for plan in plans:
        host = plan.target.key.get("host") or ""
        kind: SourceKind = "ssh" if action(plan.action).over_shell else "libvirt"
        found.append((kind if host else "keystone", host))
    return list(dict.fromkeys(found))


def _read_at(snapshot: Snapshot | None, sources: Iterable[Source]) -> dict[Source, float | None]:
    """When each of these was last read."""
    at = {(s.kind, s.host): s.fetched_at for s in snapshot.sources} if snapshot is not None else {}
    return {source: at.get(source) for source in sources}


def _words(sources: Iterable[Source]) -> str:
    return ", ".join(f"{kind} of {host}" if host else {"keystone": "limits"}.get(kind, kind) for kind, host in sources)
