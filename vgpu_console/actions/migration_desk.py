"""Live migrations for a console that stays: checked, planned, followed, mended and kept, over one cloud.

Plans are made from what Nova says at that moment, not from the latest view: a server that moves changes every second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.migrate import newest, plan_abort, plan_force, plan_start
from vgpu_console.actions.migrate_mend import plan_heal, plan_reset
from vgpu_console.actions.migration_record import keep, unended
from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, Plan, PlanError
from vgpu_console.fleet.migration_follow import Followers, MigrationReader
from vgpu_console.fleet.migration_move import subject_of
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.migration_history import HistoryError, MigrationHistory, MigrationRecord
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_end import GuestLook
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.migration_trace import FORCE_ACTION, Consumer, ServerAction
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.scene import UnknownHost, UnknownServer
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_guest import look_at_guest
from vgpu_console.sources.migration_watch import LibvirtAddress

LOG = logging.getLogger("vgpu_console.follow")

ABORT, FORCE, RESET, HEAL = "migrate.abort", "migrate.force", "migrate.reset", "migrate.heal"
RECORDS_KEPT = 500
"""So many of the latest migrations of the history are at hand; Nova's own list is no longer."""


FLEET_WITHIN_S = 30.0
"""So long re-attaching waits for the first reading of the fleet; after that it does with what is known."""

NOTE_EVERY_S = 1.0


class Checker(Protocol):
    """The pre-checks of a fleet: ``Engine.precheck``."""

    def __call__(self, server_id: str, destination: str | None = None) -> Precheck: ...


class MigrationDesk:
    """Thread-safe. ``check`` and the plans block; ``timeline``, ``timelines`` and ``records`` never do.

    ``known`` gives the latest joined view with its facts; ``address`` a host's libvirt, None where it is not asked.
    """

    def __init__(
        self,
        *,
        check: Checker,
        known: Callable[[], tuple[Snapshot, Facts]],
        reader: MigrationReader,
        address: Callable[[str], LibvirtAddress | None],
        history: MigrationHistory | None,
        journal: Journal | None,
        cloud: str,
        following: Callable[..., Followers],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``following`` makes the followers, given ``on_change`` and ``on_settled``; they are not yet started."""
        self._check = check
        self._known = known
        self._reader = reader
        self._address = address
        self._history = history
        self._journal = journal
        self._cloud = cloud
        self._clock = clock
        self._records: Mapping[str, MigrationRecord] = {}
        self._closing = threading.Event()
        self._noted: set[str] = set()
        self._on_change: Callable[[], None] = lambda: None
        self._on_settled: Callable[[Timeline], None] = lambda timeline: None
        self.followers = following(on_change=lambda: self._on_change(), on_settled=self._settled)

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self, on_change: Callable[[], None], on_settled: Callable[[Timeline], None]) -> None:
        """Follow what is under way, and what an earlier console saw begin and not end. Returns at once.

        Both are called from foreign threads and must return at once.
        """
        self._on_change, self._on_settled = on_change, on_settled
        threading.Thread(target=self._begin, name="migration-desk", daemon=True).start()

    def _begin(self) -> None:
        self.read_records()
        self._wait_for_the_fleet()
        if self._history is not None:
            try:
                for subject in unended(self._history, self._cloud):
                    self.followers.follow(subject)
            except HistoryError as error:
                LOG.warning("%s", error)
        if self._closing.is_set():
            return
        self.followers.reattach()
        self.followers.start()
        self._on_change()
        while not self._closing.wait(NOTE_EVERY_S):
            self.note_begun()

    def note_begun(self) -> None:
        """Write down those that are under way: a console that comes after this one fills in what became of them.

        Blocks for as long as another console writes.
        """
        for timeline in self.timelines():
            if timeline.migration and timeline.end is None and timeline.migration not in self._noted:
                self._noted.add(timeline.migration)
                for note in keep(timeline, self._history, None, self._cloud):
                    LOG.warning("%s", note)

    def _wait_for_the_fleet(self) -> None:
        """A migration that is followed from now on is told with its server's name, its type and its devices."""
        deadline = time.monotonic() + FLEET_WITHIN_S
        while not _was_read(self._known()[0]) and time.monotonic() < deadline:
            if self._closing.wait(0.1):
                return

    def close(self) -> None:
        """Follow no more; the migrations go on without us."""
        self._closing.set()
        self.followers.stop(0.5)

    def _settled(self, timeline: Timeline) -> None:
        for note in keep(timeline, self._history, self._journal, self._cloud):
            LOG.warning("%s", note)
        self.read_records()
        self._on_settled(timeline)

    # -- what is known -------------------------------------------------------------------------------------------------

    def timelines(self) -> tuple[Timeline, ...]:
        """All that are followed."""
        return self.followers.timelines()

    def timeline(self, migration_or_server: str) -> Timeline | None:
        """One of them by Nova's uuid of the migration, or the last one of a server."""
        return self.followers.timeline(migration_or_server)

    def records(self) -> Mapping[str, MigrationRecord]:
        """The history's rows by migration, as last read."""
        return self._records

    def read_records(self) -> None:
        """Read the history anew. Blocks."""
        if self._history is None:
            return
        try:
            found = self._history.records(cloud=self._cloud, last=RECORDS_KEPT)
        except HistoryError as error:
            LOG.warning("%s", error)
        else:
            self._records = {one.migration: one for one in found}

    def follow_migration(self, migration: str, server_id: str) -> None:
        """Follow one that Nova has, running or ended. Returns at once."""
        self.followers.follow(subject_of(self._known()[0], server_id, migration=migration))

    def follow_start(self, plan: Plan, chosen: Destination) -> None:
        """Follow what that plan has begun: the first migration of the server newer than its last. Returns at once."""
        key = plan.target.key
        self.followers.follow(
            subject_of(
                self._known()[0],
                str(key["server"]),
                after=int(key["last_migration"] or 0),
                source=key["source"],
                destination=key["destination"],
                predicted_low_ms=chosen.predicted.low_ms,
                predicted_high_ms=chosen.predicted.high_ms,
            )
        )

    # -- checks and plans ----------------------------------------------------------------------------------------------

    def check(self, server_id: str, destination: str | None = None) -> Precheck:
        """Look at every host as a destination; blocks while Placement is asked. Raises PlanError."""
        try:
            return self._check(server_id, destination)
        except UnknownServer:
            raise PlanError("Nova does not list this server any more") from None
        except UnknownHost as error:
            name = str(error)
            raise PlanError(f"no source knows {name} any more" if name else "the server is on no host") from None
        except SourceError as error:
            raise PlanError(str(error), NO_CONNECTION) from None

    def plan_start(self, looked_at: Precheck, chosen: Destination) -> Plan:
        """The plan of what was checked, if the server is still as it was then. Raises PlanError."""
        server, rows = self._server(looked_at.server_id)
        if server is None:
            raise PlanError("the server was deleted meanwhile", REFUSED)
        if server.host != looked_at.source:
            raise PlanError(f"it is on {server.host or 'no host'} now, not on {looked_at.source}", REFUSED)
        if any(m.in_progress for m in rows):
            raise PlanError("it migrates already", REFUSED)
        return plan_start(server, chosen, newest(rows))

    def plan(self, action: str, timeline: Timeline) -> Plan:
        """The plan of one of the actions on a migration: abort, force, reset, heal. Blocks. Raises PlanError."""
        server, rows = self._server(timeline.server)
        row = next((m for m in rows if m.uuid == timeline.migration), None)
        if row is None:
            raise PlanError("Nova does not list this migration (any more)", REFUSED)
        if action == HEAL:
            return plan_heal(row, self._consumer(row.uuid), server)
        if server is None:
            raise PlanError("the server was deleted", REFUSED)
        if action == ABORT:
            return plan_abort(self._known()[1], server, row)
        if action == FORCE:
            forced = sum(a.action == FORCE_ACTION for a in self._actions(server.id))
            low, high = timeline.predicted_low_ms, timeline.predicted_high_ms
            return plan_force(server, row, forced, Downtime(low_ms=low, high_ms=high, basis=()))
        if action == RESET:
            return self._reset(server, timeline)
        raise PlanError(f"{action} is no action on a live migration")

    def _reset(self, server: Server, timeline: Timeline) -> Plan:
        hosts = dict.fromkeys(h for h in (server.host, timeline.source, timeline.destination) if h)
        looks = [look for host in hosts if (look := self._look(host, server.id)) is not None]
        running = next((look.host for look in looks if look.state == "running"), None)
        seen = any(look.host == server.host and look.state is not None for look in looks)
        return plan_reset(server, running, seen)

    def _look(self, host: str, server_id: str) -> GuestLook | None:
        there = self._address(host)
        if there is None:
            return None
        return look_at_guest(host, there.uri, there.opener, server_id, clock=self._clock)

    def _server(self, server_id: str) -> tuple[Server | None, tuple[MigrationFacts, ...]]:
        try:
            return self._reader.server(server_id), self._reader.migrations(server_id)
        except SourceError as error:
            raise PlanError(str(error), NO_CONNECTION) from None

    def _consumer(self, uuid: str) -> Consumer:
        try:
            return self._reader.consumer(uuid)
        except SourceError as error:
            raise PlanError(str(error), NO_CONNECTION) from None

    def _actions(self, server_id: str) -> tuple[ServerAction, ...]:
        try:
            return self._reader.actions(server_id) or ()
        except SourceError as error:
            raise PlanError(str(error), NO_CONNECTION) from None


def _was_read(snapshot: Snapshot) -> bool:
    """Whether Nova and every host have answered, or failed to."""
    kinds = {s.kind for s in snapshot.sources if s.fetched_at is not None or s.error is not None}
    return "nova" in kinds and all(s.fetched_at is not None or s.error is not None for s in snapshot.sources)
