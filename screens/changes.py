"""The way of a change through the screens: number, plan, confirmation, application, outcome. One for the whole console.

It holds no rules: plans come from ``actions``, are applied by its runner in a thread, and their outcomes are shown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from vgpu_console.actions import quota, quota_checks
from vgpu_console.actions.journal import Journal, JournalError
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.projects import PlanError
from vgpu_console.actions.registry import action
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.change_run import ChangeRun, Replan
from vgpu_console.screens.dialogs.limit import Planner
from vgpu_console.screens.render import limits
from vgpu_console.screens.render.plans import outcome_word
from vgpu_console.screens.render.unfinished import Unfinished, look_at
from vgpu_console.screens.seams import LimitTarget

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp

LOG = logging.getLogger("vgpu_console.screens")

AGAIN_WITHIN_S = 30.0
"""Planning again waits so long for limits to be read anew."""


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
        self._again: tuple[ChangeRun, float | None, float] | None = None

    @property
    def running(self) -> bool:
        """Whether a change is being applied now."""
        return self.run is not None and not self.run.finished

    # What is possible ---------------------------------------------------------------------------------------------

    def why_not(self, action_id: str) -> str:
        """Why an action is not possible with this credential, on this cloud, on what is known now; "" when it is."""
        snapshot, engine = self._app.snapshot, self._app.engine
        if snapshot is None or engine is None:
            return "the cloud is still being asked"
        read_only = snapshot.identity.read_only or engine.world is None or engine.journal is None
        why = action(action_id).available(snapshot, read_only)
        if why:
            return why
        fresh = quota_checks.fresh(Facts(statuses=snapshot.sources), self._app.now())
        return fresh.evidence if fresh.status == "fail" else ""

    # A limit ------------------------------------------------------------------------------------------------------

    def begin(self, action_id: str, targets: Sequence[LimitTarget]) -> None:
        """Ask for a number where one is needed, and show the plan."""
        if self.running:
            self._app.say("a change is being applied: one after the other", "warning")
            return
        snapshot = self._app.snapshot
        if snapshot is None or self._app.engine is None or not targets:
            return
        if action_id == "quota.clear":
            self._plan_at_once(targets)
        elif action_id == "quota.default":
            self._ask_default(targets[0].resource, snapshot)
        else:
            self._ask_limit(targets, snapshot)

    def _facts(self) -> tuple[Facts, Snapshot]:
        engine, snapshot = self._app.engine, self._app.snapshot
        if engine is None or snapshot is None:
            raise PlanError("the cloud is still being asked")
        return engine.facts(), snapshot

    def _ask_limit(self, targets: Sequence[LimitTarget], snapshot: Snapshot) -> None:
        facts, _ = self._facts()
        rows = limits.rows_of(targets, snapshot)
        clearable = any(row is not None and row.origin == "project" for row in rows)

        def planner(value: int | None) -> tuple[Plan, ...]:
            return self._limit_plans(targets, value)

        self._ask(
            limits.heading(targets, rows),
            planner,
            lambda width: limits.limit_lines(targets, rows, facts, snapshot, width, clearable=clearable),
            present=limits.present(rows),
            clearable=clearable,
        )

    def _limit_plans(self, targets: Sequence[LimitTarget], value: int | None) -> tuple[Plan, ...]:
        facts, snapshot = self._facts()
        now = self._app.now()
        if value is None:
            plans = [quota.plan_clear(facts, snapshot, t.project_id, t.resource, now) for t in targets]
            return tuple(p for p in plans if not p.changes_nothing) or tuple(plans)
        found: list[Plan] = []
        for resource in dict.fromkeys(t.resource for t in targets):
            mine = [t.project_id for t in targets if t.resource == resource]
            found += quota.plan_set_many(facts, snapshot, mine, resource, value, now)
        return tuple(found)

    def _ask_default(self, resource: str, snapshot: Snapshot) -> None:
        facts, _ = self._facts()

        def planner(value: int | None) -> tuple[Plan, ...]:
            if value is None:
                raise PlanError("a default is a number")
            facts, snapshot = self._facts()
            return (quota.plan_default(facts, snapshot, resource, value, self._app.now()),)

        default = limits.default_of(resource, snapshot)
        self._ask(
            f"Default limit of {resource}",
            planner,
            lambda width: limits.default_lines(resource, facts, snapshot, width),
            present="" if default is None else str(default),
        )

    def _ask(
        self, heading: str, planner: Planner, about: limits.About, *, present: str, clearable: bool = False
    ) -> None:
        from vgpu_console.screens.dialogs.limit import LimitDialog

        def planned(result: tuple[int | None, tuple[Plan, ...]] | None) -> None:
            if result is not None:
                value, plans = result
                self.confirm(plans, lambda: planner(value))

        self._app.push_screen(LimitDialog(heading, about, planner, present=present, clearable=clearable), planned)

    def _plan_at_once(self, targets: Sequence[LimitTarget]) -> None:
        def replan() -> tuple[Plan, ...]:
            return self._limit_plans(targets, None)

        try:
            plans = replan()
        except PlanError as error:
            self._app.say(str(error), "error")
        else:
            self.confirm(plans, replan)

    # Confirm, apply, tell -----------------------------------------------------------------------------------------

    def confirm(self, plans: Sequence[Plan], replan: Replan) -> None:
        """Show plans; when they are confirmed, apply them."""
        from vgpu_console.screens.dialogs.plan import PlanDialog

        def answered(accepted: frozenset[str] | None) -> None:
            if accepted is not None:
                self._apply(ChangeRun(plans, accepted, replan))

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
            if wish == "again":
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

    def _tell_done(self, run: ChangeRun) -> None:
        outcomes = [o for o in run.outcomes if o is not None]
        if len(outcomes) == 1:
            self._app.say(outcome_word(outcomes[0]))
        else:
            self._app.say(f"{len(outcomes)} changes applied and read back")

    # Again --------------------------------------------------------------------------------------------------------

    def _plan_again(self, run: ChangeRun) -> None:
        """Once limits were read anew: what was planned from would only be refused again."""
        self._again = (run, _keystone_at(self._app.snapshot), self._app.steady() + AGAIN_WITHIN_S)
        self._app.say("reading limits again …")
        self._app.ask_sources()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Plan again, when that was asked for and limits were read since."""
        if self._again is None:
            return
        run, read_at, deadline = self._again
        if _keystone_at(snapshot) == read_at:
            if self._app.steady() > deadline:
                self._again = None
                self._app.say("limits could not be read again", "error")
            return
        self._again = None
        try:
            plans = run.replan()
        except PlanError as error:
            self._app.say(str(error), "error")
        else:
            self.confirm(plans, run.replan)

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
        self._app.push_screen(WhatIfDialog(self._facts, project_id))


def _keystone_at(snapshot: Snapshot | None) -> float | None:
    status = next((s for s in snapshot.sources if s.kind == "keystone"), None) if snapshot else None
    return status.fetched_at if status is not None else None
