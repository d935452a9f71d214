"""Drains for a console that stays: planned, begun, paused, stopped, found again, taken up where another console died.

The runner of each drain has a thread of its own; what is shown of them is kept here, so that nobody waits for a disk.
"""

from __future__ import annotations

import getpass
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from vgpu_console.actions.drain import Drain, DrainOptions, Item, new_drain, taken_up, tried_again
from vgpu_console.actions.drain_report import DrainView, view_of
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.actions.drain_store import DrainFileError, DrainLock, DrainStore, new_id
from vgpu_console.actions.drain_world import Following, LiveDrainWorld, Reader
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.migrate_mend import plan_service
from vgpu_console.actions.plan import REFUSED, Plan, PlanError
from vgpu_console.actions.runner import World
from vgpu_console.fleet.drain_places import plan_drains
from vgpu_console.fleet.precheck import Asker
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import DowntimeSettings
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.drain_words import AtOnce, DrainPlans
from vgpu_console.rules.migration.placement import at_once
from vgpu_console.rules.migration.scene import UnknownHost

LOG = logging.getLogger("vgpu_console.drain")

CANCELLED = "cancelled"
FLEET_WITHIN_S = 30.0
"""So long a drain that was left is not offered, unless the fleet has been read before."""


class KnownDrain(msgspec.Struct, frozen=True, kw_only=True):
    """A drain as the console knows it. ``here``: it runs, or ran, in this console; ``holder``: who else runs it."""

    drain: Drain
    view: DrainView
    here: bool = False
    holder: str = ""

    @property
    def left(self) -> bool:
        """Whether something is to be done about it and nobody does."""
        return self.drain.unfinished and not self.holder and (not self.here or self.view.over)

    @property
    def runs_here(self) -> bool:
        """Whether this console is at it."""
        return self.here and not self.view.over


class DrainDesk:
    """Thread-safe. ``drains`` and ``drain`` return at once; all else may wait for Nova, Placement or the disk.

    ``known`` gives the latest joined view with its facts, ``follow`` follows one migration from its source.
    """

    def __init__(
        self,
        *,
        known: Callable[[], tuple[Snapshot, Facts]],
        reader: Reader,
        ask: Asker,
        world: World,
        journal: Journal,
        follow: Callable[[Item, str], Following],
        store: DrainStore,
        settings: Callable[[], DowntimeSettings],
        past: Callable[[], Sequence[PastMove]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._known = known
        self._ask = ask
        self._store = store
        self._settings = settings
        self._past = past
        self._clock = clock
        self._cloud = world.name
        self._world = LiveDrainWorld(known, reader, ask, world, journal, follow=follow, clock=clock)
        self._guard = threading.RLock()
        self._runners: dict[str, DrainRunner] = {}
        self._ending: list[DrainRunner] = []
        self._drains: dict[str, KnownDrain] = {}
        self._closing = threading.Event()
        self._one_closes = threading.Lock()
        self._on_change: Callable[[], None] = lambda: None
        self._on_over: Callable[[KnownDrain], None] = lambda known: None

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(
        self,
        on_change: Callable[[], None],
        on_over: Callable[[KnownDrain], None],
        on_left: Callable[[tuple[KnownDrain, ...]], None],
    ) -> None:
        """Look for drains that were left; ``on_left`` hears of them once the fleet is read. Returns at once.

        All are called from foreign threads and must return at once.
        """
        self._on_change, self._on_over = on_change, on_over

        def look() -> None:
            self.read_left()
            deadline = time.monotonic() + FLEET_WITHIN_S
            while self._known()[1].nova is None and time.monotonic() < deadline:
                if self._closing.wait(0.1):
                    return
            left = tuple(one for one in self.drains() if one.left)
            if left:
                on_left(left)

        threading.Thread(target=look, name="drain-desk", daemon=True).start()

    def read_left(self) -> None:
        """Read from the disk what other consoles have begun and not ended. Blocks."""
        try:
            every, broken = self._store.drains(self._cloud)
        except DrainFileError as error:
            LOG.warning("%s", error)
            return
        for one in broken:
            LOG.warning("%s", one.why)
        found = [drain for drain in every if drain.unfinished]
        bounds = {drain.id: self._bound(drain.host) for drain in found}
        holders = {drain.id: self._store.held(drain.cloud, drain.host) for drain in found}
        with self._guard:
            others = {id: one for id, one in self._drains.items() if one.here}
            now = self._clock()
            for drain in found:
                if drain.id not in others:
                    view = view_of(drain, bounds[drain.id], now)
                    others[drain.id] = KnownDrain(drain=drain, view=view, holder=holders[drain.id])
            self._drains = others
        self._on_change()

    def close(self) -> None:
        """Start no more; migrations go on, and the next console may take the drains up. Blocks for some seconds."""
        self._closing.set()
        with self._one_closes:
            with self._guard:
                runners = list(self._runners.values())
            for runner in runners:
                runner.close()

    # -- what is known -------------------------------------------------------------------------------------------------

    def drains(self) -> tuple[KnownDrain, ...]:
        """Those that run here, those that were left, those that ended here; the newest first in each."""
        with self._guard:
            known = sorted(self._drains.values(), key=lambda one: one.drain.created, reverse=True)
        return tuple(sorted(known, key=lambda one: 0 if one.runs_here else 1 if one.drain.unfinished else 2))

    def drain(self, id: str) -> KnownDrain | None:
        """One of them."""
        with self._guard:
            return self._drains.get(id)

    # -- plan and begin ------------------------------------------------------------------------------------------------

    def plan(
        self,
        wanted: Mapping[str, frozenset[str] | None],
        to: Sequence[str] | None = None,
        *,
        tell: Callable[[str], None] = lambda words: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> DrainPlans:
        """Where the servers would go. ``wanted``: host -> servers, None: all. Blocks. Raises PlanError.

        ``tell`` hears how far it is, from any thread; once ``cancelled`` says so nothing more is asked.
        """
        snapshot, facts = self._known()
        answers: list[None] = []
        place = [""]

        def looking_at(host: str) -> None:
            if cancelled():
                raise PlanError(CANCELLED)
            number = list(wanted).index(host) + 1
            place[0] = f"{host} ({number} of {len(wanted)})" if len(wanted) > 1 else host
            tell(f"{place[0]}: looking at every server and every destination")

        def ask(
            groups: Sequence[RequestGroup], policy: str | None, in_tree: str | None = None, limit: int | None = None
        ) -> Candidates:
            if cancelled():
                raise PlanError(CANCELLED)
            answer = self._ask(groups, policy, in_tree=in_tree, limit=limit)
            answers.append(None)
            tell(f"{place[0]}: {len(answers)} answer{'s' if len(answers) > 1 else ''} of Placement")
            return answer

        try:
            return plan_drains(
                ask,
                snapshot,
                facts,
                wanted,
                self._clock(),
                to=to,
                settings=self._settings(),
                past=self._past(),
                looking_at=looking_at,
            )
        except UnknownHost as error:
            raise PlanError(f"no source knows {error} any more") from None
        except ValueError as error:
            raise PlanError(str(error)) from None

    def begin(self, plans: DrainPlans, options: DrainOptions) -> tuple[str, ...]:
        """Begin a drain for each host that something leaves; their ids. Raises PlanError with nothing begun.

        The locks of all hosts are held and all is on the disk before the first server moves.
        """
        now = self._clock()
        chosen = [p for p in plans.plans if p.moves or (options.disable and not p.stay)]
        if not chosen:
            raise PlanError("no server can go", REFUSED)
        drains = [new_drain(p, options, id=new_id(now), cloud=self._cloud, now=now, by=_user()) for p in chosen]
        self._run(drains, new=True)
        return tuple(d.id for d in drains)

    def resume(self, id: str, *, failed_too: bool = False) -> None:
        """Take up a drain that was left. ``failed_too``: also the servers that failed wait again. Raises PlanError."""
        try:
            drain = self._store.load(id)
        except DrainFileError as error:
            raise PlanError(str(error), REFUSED) from None
        drain = taken_up(drain)
        if failed_too:
            drain = tried_again(drain, [i.server for i in drain.having("failed")])
        if not drain.unfinished:
            raise PlanError(f"nothing of the drain of {drain.host} is left to do", REFUSED)
        self._run([drain])

    # -- on one that runs ----------------------------------------------------------------------------------------------

    def pause(self, id: str) -> None:
        """Start no more until ``go_on``."""
        if (runner := self._runner(id)) is not None:
            runner.pause()

    def go_on(self, id: str) -> None:
        """Start again, after a pause or a stop that is not yet over."""
        if (runner := self._runner(id)) is not None:
            runner.resume()

    def stop(self, id: str) -> None:
        """Start no more at all; those that run go on to their end."""
        if (runner := self._runner(id)) is not None:
            runner.stop()

    def accept(self, id: str, checks: Sequence[str]) -> None:
        """Take the warnings and unknowns of these checks upon oneself from here on."""
        if (runner := self._runner(id)) is not None:
            runner.accept(checks)

    def plan_enable(self, host: str) -> Plan:
        """The plan that enables nova-compute of a host again. Raises PlanError."""
        nova = self._known()[1].nova
        service = next((s for s in (nova.services if nova is not None else None) or () if s.host == host), None)
        if service is None:
            raise PlanError(f"nova-compute of {host} is not known")
        return plan_service(service, enable=True)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _runner(self, id: str) -> DrainRunner | None:
        with self._guard:
            return self._runners.get(id)

    def _bound(self, host: str) -> AtOnce:
        found = self._known()[0].host(host)
        return at_once(found) if found is not None else AtOnce(1, f"{host} is not known")

    def _run(self, drains: Sequence[Drain], *, new: bool = False) -> None:
        with self._guard:
            ending, self._ending = self._ending, []
        for runner in ending:
            runner.join(2.0)  # until it has given its lock away
        locks: list[DrainLock] = []
        try:
            for drain in drains:
                locks.append(self._store.lock(drain.cloud, drain.host))  # noqa: PERF401 - those before are given back
            for drain in drains:
                self._store.save(drain)
        except DrainFileError as error:
            for drain in drains if new and len(locks) == len(drains) else ():
                self._store.path(drain.id).unlink(missing_ok=True)  # nobody is to take up what was never begun
            for lock in locks:
                lock.release()
            raise PlanError(str(error), REFUSED) from None
        for drain, lock in zip(drains, locks, strict=True):
            runner = DrainRunner(
                drain,
                self._world,
                self._store,
                lock,
                settings=self._settings(),
                past=self._past,
                clock=self._clock,
                on_view=lambda view: self._moved(view),
            )
            with self._guard:
                self._runners[drain.id] = runner
            self._moved(runner.view())
            runner.start()

    def _moved(self, view: DrainView) -> None:
        """Called from the runner's thread with everything new."""
        with self._guard:
            runner = self._runners.get(view.id)
            if runner is None:
                return
            known = KnownDrain(drain=runner.drain, view=view, here=True)
            self._drains[view.id] = known
            if view.over:
                self._ending.append(self._runners.pop(view.id))
        self._on_change()
        if view.over:
            self._on_over(known)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return ""
