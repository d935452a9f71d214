"""Runs a drain: looks at each server again, starts it when its turn comes, follows it, and writes down every step."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from vgpu_console.actions.drain import Drain, Item, tried_again
from vgpu_console.actions.drain_report import DrainView, Followed, view_of
from vgpu_console.actions.drain_start import TO_ACCEPT, Starter, Turn
from vgpu_console.actions.drain_store import DrainFileError, DrainLock, DrainStore
from vgpu_console.actions.drain_world import DrainWorld, Following
from vgpu_console.actions.migrate import plan_abort
from vgpu_console.actions.migrate_mend import plan_service
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.rules.migration.candidates import DowntimeSettings
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.drain_words import AtOnce
from vgpu_console.rules.migration.placement import at_once
from vgpu_console.sources.base import SourceError

LOG = logging.getLogger("vgpu_console.drain")

PACE_S = 1.0
"""Between two turns of the thread."""
RETRY_S = 15.0
"""A server whose turn has to wait is looked at again after this."""
PATIENCE_S = 180.0
"""So long a server waits for something that may pass by itself (a task, a doubt nobody has accepted), then it is
skipped."""
APPEARS_S = 90.0
"""A migration that Nova was asked for shows within this, or was never begun."""


class DrainRunner:
    """Takes a drain to its end. ``tick`` does what is due and never waits for a migration; ``start`` gives it a thread.

    The lock of the host must be held: it is given away when the runner ends. ``on_view`` is called from the thread that
    ticks, whenever something has changed.
    """

    def __init__(
        self,
        drain: Drain,
        world: DrainWorld,
        store: DrainStore,
        lock: DrainLock,
        *,
        settings: DowntimeSettings | None = None,
        past: Callable[[], Sequence[PastMove]] = lambda: (),
        clock: Callable[[], float] = time.time,
        on_view: Callable[[DrainView], None] = lambda view: None,
    ) -> None:
        self._drain = drain
        self._world = world
        self._store = store
        self._lock_of_host = lock
        self._clock = clock
        self._on_view = on_view
        self._starter = Starter(world, settings or DowntimeSettings(), past, clock)
        self._guard = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._following: dict[str, Following] = {}
        self._followed: dict[str, Followed] = {}
        self._waits: dict[str, tuple[float, float]] = {}  # server -> since when, and when to look again
        self._to_accept: dict[str, tuple[str, ...]] = {}
        self._note = ""  # what keeps all of it waiting
        self._unsaved = ""
        self._view = self._make_view()

    # what an operator does

    @property
    def drain(self) -> Drain:
        """The drain as it is now."""
        with self._guard:
            return self._drain

    def view(self) -> DrainView:
        """The table as it is now. Asks nobody."""
        with self._guard:
            return self._view

    def start(self) -> None:
        """Go on in a thread of its own until it is over."""
        self._thread = threading.Thread(target=self._run, name=f"drain-{self._drain.host}", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self.view().over

    def close(self) -> None:
        """Leave it: migrations go on in Nova, nothing more is started, and another console may take it up."""
        with self._guard:
            self._closing = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)
            if self._thread.is_alive():  # in the midst of a start: it gives the lock away itself
                return
        self._leave()

    def pause(self) -> None:
        """Start no more until ``resume``; those that run go on."""
        self._set_status("paused", "by the operator")

    def resume(self) -> None:
        """Start again, after a pause or a stop; failures so far count no more. One that is over is taken up anew."""
        with self._guard:
            if self._drain.ended is not None:
                return
            self._waits.clear()
            self._change(msgspec.structs.replace(self._drain, forgiven=len(self._drain.having("failed"))))
        self._set_status("running", "")

    def stop(self) -> None:
        """Start no more at all; those that run go on to their end."""
        self._set_status("stopped", "by the operator")

    def accept(self, ids: Iterable[str]) -> None:
        """Take the warnings and unknowns of these checks upon oneself from here on; who was skipped for one waits."""
        with self._guard:
            if self._drain.ended is not None:
                return
            drain = msgspec.structs.replace(self._drain, accepted=tuple(sorted({*self._drain.accepted, *ids})))
            again = [i.server for i in drain.having("skipped") if i.why.startswith(TO_ACCEPT)]
            status, why = drain.status, drain.why
            drain = tried_again(drain, again) if again else drain
            self._waits.clear()
            self._to_accept.clear()
            self._change(msgspec.structs.replace(drain, status=status, why=why))
        self._wake.set()

    def abort_plans(self) -> tuple[Plan, ...]:
        """A plan for each running migration that aborts it, to be confirmed and applied as any other. Blocks.

        Raises SourceError.
        """
        plans = []
        _, facts = self._world.known()
        for item in self.drain.having("running"):
            server = self._world.server(item.server)
            row = next((m for m in self._world.migrations(item.server) if m.uuid == item.migration), None)
            if server is None or row is None:
                continue
            try:
                plans.append(plan_abort(facts, server, row))
            except PlanError as error:
                LOG.info("%s: %s", item.name, error)
        return tuple(plans)

    # what the thread does

    def tick(self) -> float:
        """Do what is due now; seconds until the next time. 0 when the drain is over."""
        if self.drain.ended is not None:
            return 0.0
        self._note = ""
        if self.drain.service == "wanted" and self.drain.status == "running":
            self._disable()
        for item in self.drain.having("starting"):
            self._clear_up(item)
        for item in self.drain.having("running"):
            self._follow(item)
        if self.drain.status == "running" and self.drain.service != "wanted":
            if self.drain.too_many_failures:
                many = f"{self.drain.failures} failed"
                self._set_status("stopped", f"{many}: no more is started")
            else:
                self._start_what_can()
        self._end_if_over()
        self._publish()
        return 0.0 if self.drain.ended is not None else PACE_S

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    rest = self.tick()
                except Exception:
                    LOG.exception("the drain goes on after a fault of this console")
                    rest = 5.0
                if rest <= 0:
                    break
                self._wake.wait(rest)
                self._wake.clear()
        finally:
            self._leave()

    def _leave(self) -> None:
        for following in self._following.values():
            following.close()
        self._following.clear()
        self._lock_of_host.release()

    def _disable(self) -> None:
        """Disable nova-compute of the host before anything moves; the drain pauses where that fails."""
        _, facts = self._world.known()
        services = (facts.nova.services if facts.nova is not None else None) or ()
        service = next((s for s in services if s.host == self.drain.host), None)
        if service is None:
            self._note = f"nova-compute of {self.drain.host} is not known yet"
            return
        if service.status == "disabled":
            self._change(msgspec.structs.replace(self.drain, service="was disabled"))
            return
        reason = self.drain.reason or f"drained by vgpu-console ({self.drain.id})"
        plan = plan_service(service, enable=False, reason=reason)
        outcome = self._world.start(plan, frozenset())
        if outcome.ok:
            self._change(msgspec.structs.replace(self.drain, service="disabled"))
        elif outcome.observed is not None and outcome.observed.get("status") == "disabled":
            self._change(msgspec.structs.replace(self.drain, service="was disabled"))
        else:
            self._set_status("paused", f"nova-compute was not disabled: {outcome.message}")

    def _start_what_can(self) -> None:
        """Start waiting servers in their order, as many as may run at once."""
        refused: set[str] = set()
        while True:
            now = self._clock()
            item = next(
                (
                    i
                    for i in self.drain.having("waiting")
                    if i.server not in refused and self._waits.get(i.server, (0.0, 0.0))[1] <= now
                ),
                None,
            )
            if item is None or self.drain.status != "running" or self._closing:
                return
            try:
                live = self._world.running()
            except SourceError as error:
                self._note = f"Nova does not answer: {error}"
                return
            if not self._may_start(live):
                return
            self._put(msgspec.structs.replace(item, state="checking"))
            self._publish()
            turn = self._starter.look(self.drain, item, live)
            if not self._obey(item, turn):
                return
            refused.add(item.server)

    def _may_start(self, live: Sequence[MigrationFacts]) -> bool:
        """Whether one more may run: by what the operator allows, and by what Nova does at once."""
        drain = self.drain
        mine = {i.server for i in drain.having("starting", "running")}
        others = {m.server_id for m in live if m.in_progress and m.source == drain.host} - mine
        if len(mine) >= drain.max_parallel:
            return False
        most = self._at_once().most
        if most is not None and len(mine) + len(others) >= most:
            if not mine:
                self._note = f"waiting: {len(others)} other migrations leave {drain.host}, Nova does {most} at once"
            return False
        return True

    def _obey(self, item: Item, turn: Turn) -> bool:
        """Do what was found of a server whose turn has come; whether others may still have theirs now."""
        self._to_accept.pop(item.server, None)
        for other in turn.elsewhere:
            self._put(other)
        item = turn.item
        if turn.word == "start" and turn.plan is not None:
            self._waits.pop(item.server, None)
            return self._begin(item, turn.plan)
        if turn.word == "skip":
            self._waits.pop(item.server, None)
            self._put(msgspec.structs.replace(item, state="skipped", why=turn.why, ended_at=self._clock()))
            return True
        self._to_accept.update({item.server: turn.to_accept} if turn.to_accept else {})
        self._put(msgspec.structs.replace(item, state="waiting", why=turn.why))
        if turn.word == "all wait":
            self._note = turn.why
            return False
        self._wait_with(item, turn)
        return True

    def _wait_with(self, item: Item, turn: Turn) -> None:
        """Look at it again later; give it up when that has gone on for too long and nothing of ours runs."""
        now = self._clock()
        since = self._waits.get(item.server, (now, 0.0))[0]
        if self.drain.having("starting", "running") and turn.to_accept:
            since = now  # what our own migrations count for may be over with them
        self._waits[item.server] = (since, now + RETRY_S)
        if turn.patient or now - since < PATIENCE_S:
            return
        self._put(msgspec.structs.replace(item, state="skipped", why=turn.why, ended_at=now))

    def _begin(self, item: Item, plan: Plan) -> bool:
        """Ask Nova to move it. What is about to be done is on the disk before."""
        before = int(plan.target.key["last_migration"] or 0)
        item = msgspec.structs.replace(
            item, state="starting", before=before, asked_at=self._clock(), why="", migration="", number=None
        )
        if not self._put(item):
            self._put(msgspec.structs.replace(item, state="waiting", before=None, asked_at=None))
            self._set_status("paused", self._unsaved)
            return False
        self._publish()
        outcome = self._world.start(plan, self._starter.accepted(self.drain, plan))
        LOG.info("%s: %s: %s", item.name, outcome.result, outcome.message)
        if outcome.result == "moved":
            self._put(msgspec.structs.replace(item, state="waiting", why=outcome.message, before=None, asked_at=None))
            self._waits[item.server] = (self._waits.get(item.server, (self._clock(), 0.0))[0], self._clock() + RETRY_S)
            return True
        if outcome.result == "refused":  # nothing was sent: Nova could not be asked, or nothing can be written down
            self._put(msgspec.structs.replace(item, state="waiting", why=outcome.message, before=None, asked_at=None))
            if "journal" in outcome.message or self._world.read_only:
                self._set_status("paused", outcome.message)
            else:
                self._note = outcome.message
            return False
        if outcome.result == "failed" and outcome.observed == plan.before:
            self._put(
                msgspec.structs.replace(
                    item, state="failed", why=outcome.message, ended_at=self._clock(), end="refused"
                )
            )
            return not self.drain.too_many_failures
        self._put(msgspec.structs.replace(item, why="" if outcome.ok else outcome.message))
        self._clear_up(self.drain.item(item.server))
        return True

    def _clear_up(self, item: Item) -> None:
        """What became of a start: the server's newer migration is ours; none for long means that none was begun."""
        try:
            rows = self._world.migrations(item.server)
            mine = [m for m in rows if m.id > (item.before or 0)]
            server = self._world.server(item.server) if not mine else None
        except SourceError as error:
            self._note = f"Nova does not answer: {error}"
            return
        now = self._clock()
        if mine:
            first = min(mine, key=lambda m: m.id)
            self._put(msgspec.structs.replace(item, state="running", migration=first.uuid, number=first.id, why=""))
            self._follow(self.drain.item(item.server))
        elif server is None:
            why = "the server was deleted meanwhile"
            self._put(msgspec.structs.replace(item, state="skipped", why=why, ended_at=now))
        elif server.host != self.drain.host:
            why = f"it is on {server.host or 'no host'} now, without a migration of this drain"
            self._put(msgspec.structs.replace(item, state="skipped", why=why, ended_at=now))
        elif server.task_state is None and now - (item.asked_at or 0.0) >= APPEARS_S:
            why = "Nova was asked and began no migration"
            self._put(msgspec.structs.replace(item, state="failed", why=why, ended_at=now, end="not begun"))

    def _follow(self, item: Item) -> None:
        """How far it is; its end is written down."""
        if item.server not in self._following:
            self._following[item.server] = self._world.follow(item, self._drain.host)
        followed = self._following[item.server].look()
        self._followed[item.server] = followed
        end = followed.end
        if end is None:
            return
        self._following.pop(item.server).close()
        state = "done" if end.ok else "skipped" if end.gone else "failed"
        self._put(
            msgspec.structs.replace(
                item,
                state=state,
                why=end.message,
                end=end.kind,
                ended_at=self._clock(),
                measured_ms=end.measured_ms,
                heard_ms=end.heard_ms,
                measured_by=end.measured_by,
                not_measured=end.not_measured,
            )
        )

    def _end_if_over(self) -> None:
        drain = self.drain
        if drain.having("starting", "running"):
            return
        if not drain.unfinished:
            self._change(msgspec.structs.replace(drain, status="ended", why="", ended=self._clock()))
        elif drain.status == "stopped":
            self._change(msgspec.structs.replace(drain, ended=self._clock()))

    def _at_once(self) -> AtOnce:
        host = self._world.known()[0].host(self._drain.host)
        return at_once(host) if host is not None else AtOnce(1, f"{self._drain.host} is not known")

    # what is kept

    def _set_status(self, status: str, why: str) -> None:
        with self._guard:
            if self._drain.status != "ended":
                self._change(msgspec.structs.replace(self._drain, status=status, why=why))
        self._wake.set()
        self._publish()

    def _put(self, item: Item) -> bool:
        """Keep one item; whether it is on the disk."""
        with self._guard:
            return self._change(self._drain.with_item(item))

    def _change(self, drain: Drain) -> bool:
        with self._guard:
            if drain == self._drain:
                return True
            self._drain = drain
            try:
                self._store.save(drain)
                self._unsaved = ""
            except DrainFileError as error:
                LOG.warning("%s", error)
                self._unsaved = str(error)
        return not self._unsaved

    def _publish(self) -> None:
        view = self._make_view()
        with self._guard:
            same = msgspec.structs.replace(view, at=0.0) == msgspec.structs.replace(self._view, at=0.0)
            self._view = view
        if not same:
            self._on_view(view)

    def _make_view(self) -> DrainView:
        with self._guard:
            open_ids = sorted({id for ids in self._to_accept.values() for id in ids})
            return view_of(
                self._drain,
                self._at_once(),
                self._clock(),
                self._followed,
                notes=tuple(w for w in (self._note, self._unsaved) if w),
                to_accept=tuple(open_ids),
            )
