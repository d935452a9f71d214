"""Follows live migrations to their ends and beyond: one pace for Nova whatever their number, libvirt beside it.

All questions to Nova and Placement of all followed migrations go through one pace of two requests a second. libvirt is
heard in threads of its own, since it can be silent for seconds at the end of a migration. Whatever fails is told with
its age; the following goes on. A console that died loses nothing: the next one finds the running migrations in Nova.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vgpu_console.fleet.migration_ears import Ears, tell_watch
from vgpu_console.fleet.migration_move import Move, Subject, subject_of
from vgpu_console.fleet.migration_phases import timeline_of
from vgpu_console.fleet.pool import DaemonPool, Pool
from vgpu_console.model.migration_job import NotMeasured
from vgpu_console.model.migration_timeline import Timeline, Voice
from vgpu_console.model.migration_trace import Consumer, ServerAction
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.verify import verify
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch

LOG = logging.getLogger("vgpu_console.follow")

PACE_S = 0.5
"""Between two requests, for all followed migrations together."""
BACK_OFF_S = 10.0
"""The longest pause after requests that failed."""
LIST_S, FIND_S = 1.0, 10.0
SETTLE_S, SETTLE_MOST_S, GIVE_UP_S = 3.0, 40.0, 180.0
"""Nova changes its mind for a second or two after the end (cancelled, then error; ACTIVE, then ERROR): the story is
told for good when nothing has changed for so long, or after the longer time."""
LOOK_S, ROUND_S = 10.0, 2.0


class MigrationReader(Protocol):
    """What following asks of a cloud, one request a call (``migrations``: two). Raises SourceError."""

    def running(self, since: str | None = None) -> tuple[MigrationFacts, ...]: ...
    def migrations(self, server_id: str) -> tuple[MigrationFacts, ...]: ...
    def in_progress(self, server_id: str) -> tuple[MigrationFacts, ...]: ...
    def server(self, server_id: str) -> Server | None: ...
    def actions(self, server_id: str) -> tuple[ServerAction, ...] | None: ...
    def with_events(self, server_id: str, request_id: str) -> ServerAction | None: ...
    def consumer(self, uuid: str) -> Consumer: ...


@dataclass(frozen=True)
class _Question:
    """One request that may be made. ``late``: how overdue it is, in its own intervals."""

    late: float
    name: str
    ask: Callable[[], None]
    move: Move | None = None


class Followers:
    """Follows any number of migrations. Thread-safe; ``timelines`` never blocks for a network.

    ``address`` gives a host's libvirt, None where it is not to be asked; ``snapshot`` the latest one, for names,
    providers and nova.conf. ``on_change`` is called from foreign threads and must return at once; ``on_found`` once for
    each migration when Nova's row of it is found and ``on_settled`` when its end is told for good, both in the
    follower's own thread: they may block.
    """

    def __init__(
        self,
        reader: MigrationReader,
        *,
        address: Callable[[str], LibvirtAddress | None] = lambda host: None,
        snapshot: Callable[[], Snapshot] = Snapshot,
        on_change: Callable[[], None] = lambda: None,
        on_found: Callable[[Timeline], None] = lambda timeline: None,
        on_settled: Callable[[Timeline], None] = lambda timeline: None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        watch: Callable[..., MigrationWatch] = MigrationWatch,
        pool: Pool | None = None,
    ) -> None:
        self._reader = reader
        self._address = address
        self._snapshot = snapshot
        self._on_change = on_change
        self._on_found = on_found
        self._on_settled = on_settled
        self._clock = clock
        self._steady = steady
        self._pool = pool or DaemonPool("migration-looks", 4)
        self._guard = threading.RLock()
        self._ears = Ears(address, watch, self._pool, self._guard, on_change, clock, steady)
        self._moves: list[Move] = []
        self._finished: dict[int, Timeline] = {}  # by the move's place
        self._reattach = False
        self._attached: list[str] = []
        self._listed = -LIST_S
        self._next_at = 0.0
        self._failures = 0
        self._answered_at: float | None = None
        self._error: str | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- for others ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to ask, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="migration-follow", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 2.0) -> None:
        """Ask no more; the migrations go on without us."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait_s)
        with self._guard:
            watches = [m.watch for m in self._moves if m.watch is not None]
        for watch in watches:
            watch.close()
        self._pool.close()

    def follow(self, subject: Subject) -> None:
        """Follow one; a second call for the same migration changes nothing. Returns at once."""
        with self._guard:
            if any(_same(m, subject) for m in self._moves):
                return
            move = Move(subject, self._steady())
            self._moves.append(move)
            if subject.source and subject.destination:  # heard from before it begins, if it can be
                self._ears.begin(move, subject.source, subject.destination, self._watched)
        self._wake.set()

    def reattach(self) -> None:
        """Follow every live migration that Nova says is under way, too: with the next request."""
        with self._guard:
            self._reattach = True
        self._wake.set()

    def timelines(self) -> tuple[Timeline, ...]:
        """All followed migrations as they stand now, in the order in which they were followed."""
        with self._guard:
            snapshot, now, wall = self._snapshot(), self._steady(), self._clock()
            return tuple(self._timeline(place, snapshot, now, wall) for place in range(len(self._moves)))

    def timeline(self, migration_or_server: str) -> Timeline | None:
        """One of them by Nova's uuid of the migration, or the last one of a server."""
        found = [t for t in self.timelines() if migration_or_server in (t.migration, t.server)]
        return found[-1] if found else None

    @property
    def busy(self) -> bool:
        """Whether any is not settled yet."""
        with self._guard:
            return self._reattach or any(not m.settled for m in self._moves)

    @property
    def attached(self) -> tuple[str, ...]:
        """The migrations (Nova's uuids) that ``reattach`` has found under way."""
        with self._guard:
            return tuple(self._attached)

    def forget(self, migration_or_server: str) -> None:
        """Follow it no longer: one that is looked at no more, or that Nova never began."""
        with self._guard:
            for place, move in enumerate(self._moves):
                known = move.row.uuid if move.row is not None else move.subject.migration
                if migration_or_server in (known, move.subject.server) and not move.settled:
                    self._finished[place] = self._now(move)
                    move.settled = True
                    if move.watch is not None:
                        move.watch.close()

    def wait(self, until: Callable[[tuple[Timeline, ...]], bool], timeout_s: float) -> bool:
        """Block until something is so of the timelines; for commands, not for a screen's thread."""
        deadline = time.monotonic() + timeout_s
        while not until(self.timelines()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    # -- one step ------------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Make one request at most, and all that needs none; returns the seconds until there is something to do."""
        now, wall = self._steady(), self._clock()
        with self._guard:
            for move in self._moves:
                if not move.settled:
                    self._hear(move, now, wall)
        for move in [m for m in self._moves if m.row is not None and not m.found]:
            move.found = True
            self._report(self._on_found, self._now(move))
        settled = [m for m in self._moves if not m.settled and self._settles(m, now, wall)]
        for move in settled:
            self._settle(move)
        if now < self._next_at:
            return self._next_at - now
        with self._guard:
            best = self._most_urgent(now)
        if best is None:
            return PACE_S
        cost = 2 if best.name == "find" else 1
        self._next_at = now + PACE_S * cost
        if best.move is not None:
            best.move.asked[best.name] = now
        try:
            best.ask()
        except SourceError as error:
            self._failures += 1
            self._error = str(error)
            self._next_at = now + min(BACK_OFF_S, PACE_S * 2**self._failures)
        else:
            self._failures, self._error, self._answered_at = 0, None, self._clock()
            if best.move is not None:
                best.move.answered[best.name] = now
        self._on_change()
        return max(0.0, self._next_at - self._steady())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self.step()
            except Exception:  # a fault of the console's own: it is logged, and the migrations are followed on
                LOG.exception("following migrations")
                pause = BACK_OFF_S
            self._wake.wait(min(1.0, max(0.02, pause)))
            self._wake.clear()

    def _nova(self) -> Voice:
        return Voice(kind="nova", answered_at=self._answered_at, error=self._error)

    def _timeline(self, place: int, snapshot: Snapshot, now: float, wall: float) -> Timeline:
        done = self._finished.get(place)
        return done or timeline_of(self._moves[place], snapshot, now, wall, self._nova())

    def _now(self, move: Move) -> Timeline:
        with self._guard:
            return timeline_of(move, self._snapshot(), self._steady(), self._clock(), self._nova())

    # -- what may be asked ---------------------------------------------------------------------------------------------

    def _most_urgent(self, now: float) -> _Question | None:
        """The list first, when it is due: it tells of all. Then the most overdue; what was never asked before all."""
        moves = [m for m in self._moves if not m.settled]
        if (moves or self._reattach) and now - self._listed >= LIST_S:
            return _Question(1.0, "list", self._ask_list)
        best: _Question | None = None
        for move in moves:
            for name, interval, ask in self._of(move, now):
                asked = move.asked.get(name)
                late = float("inf") if asked is None else (now - asked) / interval
                if late >= 1.0 and (best is None or late > best.late):
                    best = _Question(late, name, ask, move)
        return best

    def _of(self, move: Move, now: float) -> Iterable[tuple[str, float, Callable[[], None]]]:
        """(name, every so many seconds, the request) of what is worth knowing of one migration now."""
        server, row = move.subject.server, move.row
        if row is None:
            if now - move.began > 3 * LIST_S:  # too old for the list, or it was never begun
                yield "find", FIND_S, lambda: self._heard_rows(move, self._reader.migrations(server))
            return
        over = not row.in_progress
        yield "server", ROUND_S if over else self._server_every(move), lambda: self._heard_server(move)
        if not over and row.status != "accepted":
            heard = move.watch is not None and move.watch.reading().job is not None
            yield "bytes", 10.0 if heard else 2.0, lambda: self._heard_bytes(move)
        if move.server_gone:
            yield "left", ROUND_S if over else 30.0, lambda: self._heard_holds(move, row.uuid, ours=False)
            return
        yield "actions", ROUND_S if over else 20.0, lambda: self._heard_actions(move)
        began = move.began_by()
        if began is not None:
            every = ROUND_S if over else 10.0
            yield "events", every, lambda: self._heard_events(move, began.request_id)
        every = ROUND_S if over else 30.0
        yield "holds", every, lambda: self._heard_holds(move, server, ours=True)
        yield "left", every, lambda: self._heard_holds(move, row.uuid, ours=False)

    def _server_every(self, move: Move) -> float:
        """The server is on the destination a second or two before the migration's row says completed."""
        state = move.watch.reading() if move.watch is not None else None
        near = state is not None and state.phase in ("switching-over", "finishing", "completed", "not-completed")
        return 1.0 if near else 5.0

    # -- the requests, and what their answers mean ---------------------------------------------------------------------

    def _ask_list(self) -> None:
        now = self._steady()
        self._listed = now
        with self._guard:
            since = None if self._reattach else self._since()
            attach = self._reattach
        rows = self._reader.running(since)
        with self._guard:
            if attach:
                self._reattach = False
                self._attach([m for m in rows if m.in_progress])
            by_server: dict[str, list[MigrationFacts]] = {}
            for row in rows:
                by_server.setdefault(row.server_id, []).append(row)
            for move in self._moves:
                if not move.settled and move.subject.server in by_server:
                    self._take_rows(move, by_server[move.subject.server])

    def _since(self) -> str | None:
        """From when on changes are asked for, in Nova's own time; None for all.

        A row that never changed has no time of a change and is in no such list, and one that is not found yet may be
        such a row.
        """
        rows = [m.row for m in self._moves if not m.settled]
        times = [row.created_at for row in rows if row is not None and row.updated_at and row.status != "accepted"]
        known = [t for t in times if t]
        return min(known) if known and len(known) == len(rows) else None

    def _attach(self, rows: Sequence[MigrationFacts]) -> None:
        snapshot = self._snapshot()
        for row in rows:
            subject = subject_of(
                snapshot, row.server_id, migration=row.uuid, source=row.source, destination=row.destination
            )
            self.follow(subject)
            self._attached.append(row.uuid)

    def _heard_rows(self, move: Move, rows: Sequence[MigrationFacts]) -> None:
        with self._guard:
            self._take_rows(move, rows)

    def _take_rows(self, move: Move, rows: Sequence[MigrationFacts]) -> None:
        """Of one server's rows the one that is meant, and those that came after it."""
        wanted = move.row.uuid if move.row is not None else move.subject.migration
        if wanted:
            row = next((m for m in rows if m.uuid == wanted), None)
        else:
            row = min((m for m in rows if m.id > move.subject.after), key=lambda m: m.id, default=None)
        if row is not None:
            newer = tuple(m for m in rows if m.id > row.id) or move.newer
            move.saw_row(row, newer, self._steady(), self._clock())

    def _heard_bytes(self, move: Move) -> None:
        rows = self._reader.in_progress(move.subject.server)
        with self._guard:
            found = next((m for m in rows if move.row is not None and m.id == move.row.id), None)
            if found is not None:
                move.saw_bytes(found, self._steady(), self._clock())

    def _heard_server(self, move: Move) -> None:
        server = self._reader.server(move.subject.server)
        with self._guard:
            move.server, move.server_gone, move.server_read = server, server is None, True
            row = move.row
            if server is not None and row is not None and server.host == row.destination != row.source:
                move.first.setdefault("arrived", (self._steady(), self._clock()))

    def _heard_actions(self, move: Move) -> None:
        actions = self._reader.actions(move.subject.server)
        with self._guard:
            move.actions = actions

    def _heard_events(self, move: Move, request_id: str) -> None:
        action = self._reader.with_events(move.subject.server, request_id)
        with self._guard:
            move.action = action or move.action

    def _heard_holds(self, move: Move, consumer: str, *, ours: bool) -> None:
        holds = self._reader.consumer(consumer).holds
        with self._guard:
            if ours:
                move.server_holds = holds
            else:
                move.migration_holds = holds

    # -- libvirt ---------------------------------------------------------------------------------------------------

    def _hear(self, move: Move, now: float, wall: float) -> None:
        """What needs no request: the watch's word, the next rate, looks at the guest where they are due."""
        row = move.row
        if row is not None:
            if row.in_progress and row.source:
                self._ears.begin(move, row.source, row.destination, self._watched)
            self._ears.follow_to(move, row)
        if move.watch is not None:
            move.saw_watch(move.watch.reading(), now, wall)
        move.sample(now, wall)
        if row is None:
            return
        over = not row.in_progress
        if over:
            move.first.setdefault("over", (now, wall))
            tell_watch(move, row)
        self._ears.ask_late(move, row)
        adrift = row.source is not None and self._down(row.source) and row.status == "running"
        if over or adrift:
            for host in (row.source, row.destination):
                if host:
                    self._ears.look(move, host, now, ROUND_S if over else LOOK_S)

    @property
    def _watched(self) -> int:
        return sum(m.watch is not None and not m.settled for m in self._moves)

    def _down(self, host: str) -> bool:
        found = self._snapshot().host(host)
        return found is not None and found.service_state == "down"

    # -- the end -------------------------------------------------------------------------------------------------------

    def _settles(self, move: Move, now: float, wall: float) -> bool:
        """Whether the end is known for good: all has been read since, and nothing has changed for a while."""
        with self._guard:
            row, ended = move.row, move.ended
            if row is None or ended is None:
                return False
            needed = {"server", "left"} if move.server_gone else {"server", "actions", "holds", "left"}
            if now - ended > GIVE_UP_S:  # something cannot be read: what is missing is told
                return self._failures == 0
            if any(move.answered.get(name, -1.0) < ended for name in needed) or now - ended < SETTLE_S:
                return False
            if any(self._address(h) and move.looked.get(h, -1.0) < ended for h in (row.source, row.destination) if h):
                return False
            measured = move.measured
            if row.status == "completed" and isinstance(measured, NotMeasured) and not measured.final:
                return False
            if move.late_asked and move.late is None:
                return False
            seen = (row, move.server, move.server_holds, move.migration_holds, move.action)
            if seen != move.kept:
                move.kept, move.same_since = seen, now
            started = max(ended, move.same_since or ended)
            again = min(move.answered.get(name, -1.0) for name in needed)
            return now - ended > SETTLE_MOST_S or (again >= started and now - started >= SETTLE_S)

    def _settle(self, move: Move) -> None:
        now, wall = self._steady(), self._clock()
        with self._guard:
            snapshot = self._snapshot()
            clues = move.clues(snapshot, now, wall)
            move.told = move.story(snapshot, now, wall)
            if move.told is not None:
                move.checks = verify(clues, move.told, move.subject.devices, wall)
            move.settled = True
            done = timeline_of(move, snapshot, now, wall, self._nova())
            self._finished[self._moves.index(move)] = done
        if move.watch is not None:
            move.watch.close()
        self._report(self._on_settled, done)
        self._on_change()

    def _report(self, to: Callable[[Timeline], None], timeline: Timeline) -> None:
        try:
            to(timeline)
        except Exception:  # what is done with it elsewhere must not end the following of the others
            LOG.exception("telling of migration %s", timeline.migration)


def _same(move: Move, subject: Subject) -> bool:
    if move.subject.server != subject.server:
        return False
    known = move.row.uuid if move.row is not None else move.subject.migration
    if subject.migration and known:
        return known == subject.migration
    return not move.settled
