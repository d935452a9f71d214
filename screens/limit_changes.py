"""How a change of limits begins: a number is asked for where one is needed, and plans are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vgpu_console.actions import quota, quota_checks
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.dialogs.limit import Planner
from vgpu_console.screens.render import limits
from vgpu_console.screens.seams import LimitTarget

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.screens.changes import Changes


class LimitChanges:
    """Asks for limits and makes their plans; ``changes`` has them confirmed and applied."""

    def __init__(self, app: VgpuConsoleApp, changes: Changes) -> None:
        self._app = app
        self._changes = changes

    def too_old(self, snapshot: Snapshot) -> str:
        """Why what is known of limits is too old to act on; "" when it is not."""
        fresh = quota_checks.fresh(Facts(statuses=snapshot.sources), self._app.now())
        return fresh.evidence if fresh.status == "fail" else ""

    def begin(self, action_id: str, targets: Sequence[LimitTarget]) -> None:
        """Ask for a number where one is needed, and show the plan."""
        if not targets or not self._changes.can_begin():
            return
        facts, snapshot = self._changes.known()
        if action_id == "quota.clear":
            self._changes.plan_at_once(lambda: self._plans(targets, None))
        elif action_id == "quota.default":
            self._ask_default(targets[0].resource, facts, snapshot)
        else:
            self._ask_limit(targets, facts, snapshot)

    def _plans(self, targets: Sequence[LimitTarget], value: int | None) -> tuple[Plan, ...]:
        facts, snapshot = self._changes.known()
        now = self._app.now()
        if value is None:
            plans = [quota.plan_clear(facts, snapshot, t.project_id, t.resource, now) for t in targets]
            return tuple(p for p in plans if not p.changes_nothing) or tuple(plans)
        found: list[Plan] = []
        for resource in dict.fromkeys(t.resource for t in targets):
            mine = [t.project_id for t in targets if t.resource == resource]
            found += quota.plan_set_many(facts, snapshot, mine, resource, value, now)
        return tuple(found)

    def _ask_limit(self, targets: Sequence[LimitTarget], facts: Facts, snapshot: Snapshot) -> None:
        rows = limits.rows_of(targets, snapshot)
        clearable = any(row is not None and row.origin == "project" for row in rows)
        self._ask(
            limits.heading(targets, rows),
            lambda value: self._plans(targets, value),
            lambda width: limits.limit_lines(targets, rows, facts, snapshot, width, clearable=clearable),
            present=limits.present(rows),
            clearable=clearable,
        )

    def _ask_default(self, resource: str, facts: Facts, snapshot: Snapshot) -> None:
        def planner(value: int | None) -> tuple[Plan, ...]:
            if value is None:
                raise PlanError("a default is a number")
            facts, snapshot = self._changes.known()
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
                self._changes.confirm(plans, lambda: planner(value))

        self._app.push_screen(LimitDialog(heading, about, planner, present=present, clearable=clearable), planned)
