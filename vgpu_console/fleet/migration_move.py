"""One migration that is followed: what has been heard of it so far, and what that comes to as a story."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from vgpu_console.model.check import Check
from vgpu_console.model.migration_end import End, GuestLook
from vgpu_console.model.migration_job import CompletedJob, NotMeasured, WatchState
from vgpu_console.model.migration_trace import Holding, MigrationTrace, ServerAction, action_of
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.clues import Clues, Motion
from vgpu_console.rules.migration.progress import converges, ladder_end_s, permits_post_copy
from vgpu_console.rules.migration.story import story
from vgpu_console.sources.migration_watch import MigrationWatch

RATES_EVERY_S, RATES_KEPT = 2.0, 60
FRESH_S = 10.0
"""libvirt that has not answered for so long says nothing of whether the job moves: it holds back its last answer."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be followed, and what the console knew of the server before.

    ``devices`` are those that it had on the source, mdev uuid -> type id; None: it was not seen there.
    With ``migration`` (Nova's uuid) that one; else the first one newer than ``after``, the number of its last before.
    ``run`` is the journal's run that began it, "" where this console did not.
    """

    server: str
    name: str = ""
    migration: str = ""
    after: int = 0
    project: str = ""
    type_name: str = ""
    vgpus: int | None = None
    ram_mib: int | None = None
    framebuffer_mib: int | None = None
    source: str | None = None
    destination: str | None = None
    devices: dict[str, str] | None = {}
    predicted_low_ms: float | None = None
    predicted_high_ms: float | None = None
    run: str = ""


def subject_of(snapshot: Snapshot, server_id: str, *, migration: str = "", after: int = 0, **known: object) -> Subject:
    """What a snapshot knows of a server; ``known`` are further fields of the subject, which take precedence."""
    server = next((s for s in snapshot.servers if s.id == server_id), None)
    found: dict[str, object] = {"server": server_id, "name": server_id, "migration": migration, "after": after}
    if server is not None:
        held = [d for d in snapshot.mdevs if d.server_id == server_id and d.host == server.host]
        there = known.get("source") in (None, server.host)  # else it has moved, and holds other devices now
        host = snapshot.host(server.host or "")
        sizes = {(g.address, t.type_id): t.framebuffer_mib for g in (host.gpus or () if host else ()) for t in g.types}
        buffers = [sizes.get((d.gpu or "", d.type_id)) for d in held]
        found |= {
            "name": server.name,
            "project": server.project,
            "type_name": " + ".join(sorted(d.type_name or d.type_id for d in held)),
            "vgpus": server.vgpus,
            "ram_mib": server.ram_mib,
            "framebuffer_mib": None if None in buffers or not held else sum(b for b in buffers if b is not None),
            "source": server.host,
            "devices": {d.uuid: d.type_id for d in held if d.uuid} if there or not held else None,
        }
        if not server.vgpus and not held:
            found["framebuffer_mib"] = 0
    else:
        row = next((m for m in snapshot.migrations if m.uuid == migration), None)
        if row is not None:
            found |= {"name": row.server, "project": row.project, "source": row.source}
    return msgspec.convert(found | known, Subject)


class Move:
    """Everything heard of one followed migration. Not thread-safe: its follower holds the lock.

    Times without a word are of a clock that only goes forward; those named wall are seconds since the epoch, both
    of this console. Nova's and the hosts' own times are never set off against them.
    """

    def __init__(self, subject: Subject, began: float) -> None:
        self.subject = subject
        self.began = began
        self.row: MigrationFacts | None = None
        self.newer: tuple[MigrationFacts, ...] = ()  # of the same server, since
        self.first: dict[str, tuple[float, float]] = {}  # status -> (steady, wall) of its first sight
        self.statuses: list[str] = []
        self.attached_late = True  # the first status that was seen was not the first that there is
        self.row_wall: float | None = None
        self.server: Server | None = None
        self.server_gone = False
        self.server_read = False
        self.actions: tuple[ServerAction, ...] | None = None
        self.action: ServerAction | None = None
        self.server_holds: tuple[Holding, ...] | None = None
        self.migration_holds: tuple[Holding, ...] | None = None
        self.asked: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.watch: MigrationWatch | None = None
        self.watch_began: float | None = None
        self.told_end = False
        self.late: CompletedJob | NotMeasured | None = None  # what the destination still knew when all was over
        self.late_asked = False
        self.looks: dict[str, GuestLook] = {}
        self.looking: set[str] = set()
        self.looked: dict[str, float] = {}
        self.moved_bytes: int | None = None  # the most that anybody said was sent
        self.nova_rate: tuple[float, int, float | None] | None = None  # (steady, processed, rate)
        self.job_changed: tuple[tuple[int | None, ...], float] | None = None
        self.idle_since: float | None = None  # the source's libvirt has answered without a job since then
        self.left: deque[tuple[int, int]] = deque(maxlen=12)  # (iteration, least left in it)
        self.rates: deque[float | None] = deque(maxlen=RATES_KEPT)
        self.next_rate = began
        self.ended: float | None = None
        self.found = False  # whether somebody was told that its row is found
        self.settled = False
        self.kept: tuple[object, ...] = ()
        self.same_since: float | None = None
        self.checks: tuple[Check, ...] = ()
        self.told: End | None = None

    # -- what comes in -------------------------------------------------------------------------------------------------

    def saw_row(self, row: MigrationFacts, newer: tuple[MigrationFacts, ...], now: float, wall: float) -> None:
        """Nova's list has a row of it. The list lags behind the other call: what that told is not taken back."""
        known = self.row
        if known is not None and _rank(row.status) < _rank(known.status):
            row = msgspec.structs.replace(row, status=known.status)
        status = row.status or ""
        if not self.statuses:
            self.attached_late = status not in ("accepted", "queued")
        if status and status not in self.first:
            self.first[status] = (now, wall)
            self.statuses.append(status)
        if known is not None and row.memory_total_bytes is None:
            row = msgspec.structs.replace(
                row,
                destination=row.destination or known.destination,
                memory_total_bytes=known.memory_total_bytes,
                memory_processed_bytes=known.memory_processed_bytes,
                memory_remaining_bytes=known.memory_remaining_bytes,
            )
        self.row, self.newer, self.row_wall = row, newer, wall
        if not row.in_progress and self.ended is None:
            self.ended = now

    def saw_bytes(self, row: MigrationFacts, now: float, wall: float) -> None:
        """The call that has the byte counts tells of it."""
        if self.row is None:
            return
        processed = row.memory_processed_bytes
        if processed is not None:
            self.moved_bytes = max(self.moved_bytes or 0, processed)
            before = self.nova_rate
            if before is None:
                self.nova_rate = (now, processed, None)
            elif processed != before[1] and now > before[0]:
                rate = max(0.0, (processed - before[1]) / (now - before[0]))
                self.nova_rate = (now, processed, rate)
        self.saw_row(
            msgspec.structs.replace(
                self.row,
                status=row.status or self.row.status,
                destination=row.destination or self.row.destination,
                memory_total_bytes=row.memory_total_bytes,
                memory_processed_bytes=processed,
                memory_remaining_bytes=row.memory_remaining_bytes,
            ),
            self.newer,
            now,
            wall,
        )

    def saw_watch(self, state: WatchState, now: float, wall: float) -> None:
        """What libvirt's job says now."""
        job = state.job
        answers = state.source.answered_at is not None and wall - state.source.answered_at < FRESH_S
        if job is not None:
            sent = job.data_processed if job.data_processed is not None else job.memory_processed
            if sent:
                self.moved_bytes = max(self.moved_bytes or 0, sent)
            seen = (sent, job.iteration, job.vfio_bytes, job.memory_remaining)
            if self.job_changed is None or self.job_changed[0] != seen:
                self.job_changed = (seen, now)
            if job.iteration is not None and job.memory_remaining is not None:
                if self.left and self.left[-1][0] == job.iteration:
                    self.left[-1] = (job.iteration, min(self.left[-1][1], job.memory_remaining))
                else:
                    self.left.append((job.iteration, job.memory_remaining))
        runs = self.row is not None and self.row.status == "running"
        # a watch that has seen the job's end is over, and asks no more
        if runs and ((answers and state.phase == "waiting") or state.phase == "not-completed"):
            self.idle_since = now if self.idle_since is None else self.idle_since
        else:
            self.idle_since = None

    def sample(self, now: float, wall: float) -> None:
        """Keep one rate for each ``RATES_EVERY_S``, None where nothing was heard."""
        while now >= self.next_rate:
            self.next_rate += RATES_EVERY_S
            if self.row is not None and self.row.status == "running":
                late = now >= self.next_rate  # slots that were missed have no rate
                self.rates.append(None if late else self.rate(now, wall))

    # -- what it comes to ----------------------------------------------------------------------------------------------

    def rate(self, now: float, wall: float) -> float | None:
        """Bytes of memory a second: libvirt's word if it is fresh, else by Nova's two last counts."""
        job = self.watch.reading().job if self.watch is not None else None
        if job is not None and job.memory_bps is not None and wall - job.fetched_at < FRESH_S:
            return float(job.memory_bps)
        if self.nova_rate is not None and now - self.nova_rate[0] < 2 * FRESH_S:
            return self.nova_rate[2]
        return None

    @property
    def measured(self) -> CompletedJob | NotMeasured | None:
        """The downtime by the watch, else by what the destination still knew."""
        found = self.watch.result() if self.watch is not None else None
        if self.newer and self.watch is not None and not self._heard_running(self.watch.reading()):
            # the destination's figures are of its last job, which was a later one
            return self.late or NotMeasured(reason="the server was moved again before anybody looked", final=True)
        if isinstance(found, CompletedJob):
            return found
        if self.late is not None and (found is None or found.final or isinstance(self.late, CompletedJob)):
            return self.late
        return found

    @staticmethod
    def _heard_running(state: WatchState) -> bool:
        return state.job is not None or state.suspended_at is not None or state.iteration is not None

    @property
    def memory_moved(self) -> bool | None:
        """Whether memory was sent. False needs somebody who listened from before it ran."""
        if self.moved_bytes:
            return True
        running = self.first.get("running")
        if self.watch is None or self.watch_began is None or self.ended is None:
            return None
        state = self.watch.reading()
        listened = running is not None and self.watch_began < running[0] and state.source.answered_at is not None
        return False if listened and state.job is None else None

    def motion(self, now: float, wall: float, conf: Mapping[str, str] | None) -> Motion:
        """How it moves."""
        running = self.first.get("running")
        state = self.watch.reading() if self.watch is not None else None
        still = None
        if state is not None and state.source.answered_at is not None and wall - state.source.answered_at < FRESH_S:
            if self.job_changed is not None and state.phase == "running":
                still = now - self.job_changed[1]
        elif self.nova_rate is not None and self.row_wall is not None and wall - self.row_wall < FRESH_S:
            still = now - self.nova_rate[0]
        return Motion(
            running_s=now - running[0] if running is not None else None,
            still_s=still,
            no_job_s=now - self.idle_since if self.idle_since is not None else None,
            iteration=max((i for i, _ in self.left), default=None),
            converges=converges([least for _, least in list(self.left)[:-1]]),
            ladder_end_s=ladder_end_s(conf, self.subject.ram_mib),
        )

    def clues(self, snapshot: Snapshot, now: float, wall: float) -> Clues:
        """All of it, for the story."""
        row = self.row
        hosts = {h.name: h for h in snapshot.hosts}
        ends = [h for h in ((row.source, row.destination) if row is not None else ()) if h]
        confs = {name: hosts[name].nova_conf for name in ends if name in hosts}
        looks = dict(self.looks)
        if row is not None and row.in_progress and self.watch is not None:
            looks |= _seen_by(self.watch.reading(), row, wall)
        trace = MigrationTrace(
            server=self.server,
            server_gone=self.server_gone,
            migrations=None if row is None else (*self.newer, row),
            action=self.action,
            actions=self.actions,
            server_holds=self.server_holds,
            migration_holds=self.migration_holds,
            fetched_at=self.row_wall or 0.0,
        )
        return Clues(
            trace=trace,
            migration=row.uuid if row is not None else self.subject.migration,
            statuses=tuple(self.statuses),
            watch=self.watch.reading() if self.watch is not None else None,
            measured=self.measured,
            guests=looks,
            provider_hosts={p.uuid: p.host for p in snapshot.providers},
            computes={name: hosts[name].service_state for name in ends if name in hosts},
            post_copy={name: permits_post_copy(conf) for name, conf in confs.items()},
            memory_moved=self.memory_moved,
            motion=self.motion(now, wall, confs.get(row.source or "") if row is not None else None),
        )

    def story(self, snapshot: Snapshot, now: float, wall: float) -> End | None:
        """What has become of it so far; None before Nova's row is found."""
        return story(self.clues(snapshot, now, wall)) if self.row is not None else None

    def began_by(self) -> ServerAction | None:
        """The action that its events belong to, by the list of actions."""
        return action_of(self.actions or (), self.row) if self.row is not None else None


_ORDER = ("accepted", "queued", "preparing", "running", "running (post-copy)")


def _rank(status: str | None) -> int:
    return _ORDER.index(status) if status in _ORDER else len(_ORDER)


def _seen_by(state: WatchState, row: MigrationFacts, wall: float) -> dict[str, GuestLook]:
    """Where the guest runs by the events of a running migration."""
    if state.source.answered_at is None and (state.destination is None or state.destination.answered_at is None):
        return {}
    if state.phase == "running" and row.source:
        return {row.source: GuestLook(host=row.source, state="running", seen_at=wall)}
    if state.phase in ("finishing", "completed") and row.destination:
        return {row.destination: GuestLook(host=row.destination, state="running", seen_at=wall)}
    return {}
