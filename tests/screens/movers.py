"""Live migrations for the screens: pre-checks of a two-host fleet by the real rules, and timelines as given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tests.rules.migration.two_hosts import NOW, SETTINGS, candidates, joined
from tests.screens.fleets import IDENTITY, StillEngine
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.fleet.precheck import Precheck, precheck
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Migration, Snapshot
from vgpu_console.rules.migration.candidates import Destination


class StillMover:
    """Checks what is known; follows nothing, and has the timelines that it is given."""

    def __init__(
        self, known: Facts, *timelines: Timeline, records: Mapping[str, MigrationRecord] | None = None
    ) -> None:
        self.known = known
        self.shown = timelines
        self._records = records or {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.followed: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.on_settled: Callable[[Timeline], None] = lambda timeline: None

    def open(self, on_change: Callable[[], None], on_settled: Callable[[Timeline], None]) -> None:
        """Nothing is followed."""
        self.on_settled = on_settled

    def check(self, server_id: str, destination: str | None = None) -> Precheck:
        """By the real rules; Placement answers when it may."""
        self.may_answer.wait(10)
        self.asked.append(server_id)

        def ask(
            groups: Sequence[RequestGroup], policy: str | None, in_tree: str | None = None, limit: int | None = None
        ) -> Candidates:
            return candidates(self.known)

        return precheck(ask, joined(self.known), self.known, server_id, destination, NOW, settings=SETTINGS)

    def plan_start(self, looked_at: Precheck, chosen: Destination) -> Plan:
        """Nobody is asked."""
        raise PlanError("nova: no such service")

    def plan(self, action: str, timeline: Timeline) -> Plan:
        """The same."""
        raise PlanError("nova: no such service")

    def follow_start(self, plan: Plan, chosen: Destination) -> None:
        """Nothing is followed."""

    def follow_migration(self, migration: str, server_id: str) -> None:
        """Remember that it was asked for."""
        self.followed.append((migration, server_id))

    def timelines(self) -> tuple[Timeline, ...]:
        """What was given."""
        return self.shown

    def timeline(self, migration_or_server: str) -> Timeline | None:
        """One of them."""
        return next((t for t in reversed(self.shown) if migration_or_server in (t.migration, t.server)), None)

    def records(self) -> Mapping[str, MigrationRecord]:
        """What was given."""
        return self._records


def engine_of(mover: StillMover, **changes: Any) -> StillEngine:
    """An engine that shows the two hosts' fleet and has that mover. ``changes`` replace fields of the snapshot."""
    seen: Snapshot = msgspec.structs.replace(joined(mover.known), identity=IDENTITY, **changes)
    engine = StillEngine(seen)
    engine.mover = mover
    return engine


def row_of(timeline: Timeline, **changes: Any) -> Migration:
    """Nova's row of a timeline in the snapshot."""
    known: dict[str, Any] = {
        "uuid": timeline.migration,
        "server_id": timeline.server,
        "server": timeline.name,
        "project": timeline.project,
        "source": timeline.source,
        "destination": timeline.destination,
        "status": timeline.status,
        "running": timeline.end is None,
        "vgpu": True,
        "progress": timeline.per_cent,
        "created_at": timeline.created_at,
        "updated_at": timeline.updated_at,
    }
    return Migration(**{**known, **changes})
