"""What a drain asks of the world, and the world as the console has it: its engine, Nova read afresh, the runner."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from vgpu_console.actions.drain import Item
from vgpu_console.actions.drain_report import End, Followed
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome, World, apply
from vgpu_console.fleet.precheck import Asker
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_trace import ServerAction
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.sources.base import SourceError


class Following(Protocol):
    """One migration that is followed."""

    def look(self) -> Followed:
        """How far it is. May ask Nova; never raises: what cannot be read grows old."""
        ...

    def close(self) -> None:
        """Follow it no more."""
        ...


class DrainWorld(Protocol):
    """Everything a drain asks. All may block; ``server``, ``migrations`` and ``running`` raise SourceError."""

    @property
    def read_only(self) -> bool:
        """Whether the wall stands."""
        ...

    def known(self) -> tuple[Snapshot, Facts]:
        """The latest joined view with its facts; asks nobody."""
        ...

    def server(self, server_id: str) -> Server | None:
        """The server as Nova has it now; None when there is none."""
        ...

    def migrations(self, server_id: str) -> tuple[MigrationFacts, ...]:
        """Its live migrations, the newest first."""
        ...

    def running(self) -> tuple[MigrationFacts, ...]:
        """The cloud's live migrations, those in progress among them."""
        ...

    @property
    def ask(self) -> Asker:
        """Asks Placement where a request would fit."""
        ...

    def start(self, plan: Plan, accepted: frozenset[str]) -> Outcome:
        """Apply a plan, journaled, verified."""
        ...

    def follow(self, item: Item, source: str) -> Following:
        """Follow the migration that the item names, from that host."""
        ...


class Reader(Protocol):
    """What is read of Nova: ``sources.nova_migrations.NovaMigrations``."""

    def server(self, server_id: str) -> Server | None: ...
    def migrations(self, server_id: str) -> tuple[MigrationFacts, ...]: ...
    def running(self, since: str | None = None) -> tuple[MigrationFacts, ...]: ...
    def action(self, server_id: str) -> ServerAction | None: ...


class LiveDrainWorld:
    """Implements DrainWorld over a running engine's view, Nova and the world that plans are applied to.

    ``follow`` is how migrations are followed; without it Nova alone is asked, and no downtime is measured.
    """

    def __init__(
        self,
        known: Callable[[], tuple[Snapshot, Facts]],
        reader: Reader,
        ask: Asker,
        world: World,
        journal: Journal,
        *,
        follow: Callable[[Item, str], Following] | None = None,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.known = known
        self._reader = reader
        self._ask = ask
        self._world = world
        self._journal = journal
        self._follow = follow
        self._clock = clock
        self._wait = wait

    @property
    def read_only(self) -> bool:
        """Whether the wall stands."""
        return self._world.read_only

    def server(self, server_id: str) -> Server | None:
        """The server as Nova has it now. Raises SourceError."""
        return self._reader.server(server_id)

    def migrations(self, server_id: str) -> tuple[MigrationFacts, ...]:
        """Its live migrations, the newest first. Raises SourceError."""
        return self._reader.migrations(server_id)

    def running(self) -> tuple[MigrationFacts, ...]:
        """The cloud's live migrations. Raises SourceError."""
        return self._reader.running()

    @property
    def ask(self) -> Asker:
        """Asks Placement where a request would fit."""
        return self._ask

    def start(self, plan: Plan, accepted: frozenset[str]) -> Outcome:
        """Apply a plan."""
        return apply(plan, self._world, self._journal, accepted=accepted, wait=self._wait)

    def follow(self, item: Item, source: str) -> Following:
        """Follow the migration that the item names, from that host."""
        if self._follow is not None:
            return self._follow(item, source)
        return NovaFollowing(self._reader, item.server, item.migration, self._clock)


PACE_S = 2.0
"""Between two questions to Nova about one migration: nova-compute writes its figures every five seconds."""

_PHASES = {
    "accepted": "accepted",
    "queued": "queued",
    "preparing": "preparing",
    "running": "memory",
    "running (post-copy)": "memory",
    "post-migrating": "post",
}


class NovaFollowing:
    """Follows by Nova's word alone: phases and the memory that is sent, an end with Nova's reason."""

    def __init__(self, reader: Reader, server_id: str, migration: str, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._server_id = server_id
        self._migration = migration
        self._clock = clock
        self._asked = self._read = float("-inf")
        self._last = Followed()

    def look(self) -> Followed:
        """Ask Nova when it is time; the last answer with its age when that fails."""
        now = self._clock()
        if now - self._asked >= PACE_S and self._last.end is None:
            self._asked = now
            try:
                self._last = self._ask()
                self._read = now
            except SourceError as error:
                self._last = _with(self._last, message=f"nova does not answer: {error}")
        return _with(self._last, age_s=None if self._read == float("-inf") else now - self._read)

    def close(self) -> None:
        """Nothing is held open."""

    def _ask(self) -> Followed:
        rows = self._reader.migrations(self._server_id)
        row = next((m for m in rows if m.uuid == self._migration), None)
        if row is None:
            server = self._reader.server(self._server_id)
            gone = server is None
            why = "the server was deleted" if gone else "Nova has no such migration any more"
            return Followed(end=End(kind="unknown", ok=False, message=why, gone=gone, not_measured=why))
        if row.in_progress:
            return Followed(phase=_PHASES.get(row.status or "", row.status or ""), ram_percent=_percent(row))
        return Followed(end=self._ended(row))

    def _ended(self, row: MigrationFacts) -> End:
        server = self._reader.server(self._server_id)
        not_measured = "libvirt was not asked"
        if row.status == "completed":
            return End(kind="completed", ok=True, not_measured=not_measured)
        if server is None:
            return End(kind=row.status or "", ok=False, message="the server was deleted while it moved", gone=True)
        why = failure_words(self._reader.action(self._server_id)) or f"Nova says {row.status}"
        if server.status == "ERROR":
            why = f"{why}; the server is in ERROR on {server.host}"
        return End(kind=row.status or "", ok=False, message=why, not_measured="it did not complete")


def failure_words(action: ServerAction | None) -> str:
    """The reason that an event of the action gives, the last one that failed; "" when none does."""
    failed = [e for e in (action.events if action is not None else ()) if e.result == "Error" and e.details]
    return f"{failed[-1].details}" if failed else ""


def _with(followed: Followed, **fields: object) -> Followed:

    return msgspec.structs.replace(followed, **fields)


def _percent(row: MigrationFacts) -> float | None:
    if not row.memory_total_bytes or row.memory_remaining_bytes is None:
        return None
    return max(0.0, min(100.0, 100.0 * (1 - row.memory_remaining_bytes / row.memory_total_bytes)))
