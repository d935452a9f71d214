"""The engine behind a live screen: one thread that drives the collector and joins what came in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from vgpu_console.fleet.collector import Collector
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.sources.base import SourceError

if TYPE_CHECKING:
    from vgpu_console.actions.drain_desk import DrainDesk
    from vgpu_console.actions.journal import Journal
    from vgpu_console.actions.migration_desk import MigrationDesk
    from vgpu_console.actions.runner import World
    from vgpu_console.fleet.explain import ActionReader
    from vgpu_console.fleet.precheck import Precheck

LOG = logging.getLogger("vgpu_console.engine")

GATHER_S = 0.1
"""Answers that come within this time of one another make one snapshot."""
REST_PER_JOIN = 3
"""After a join the engine rests for so many times its length: the keys need the interpreter more than the figures."""
MOST_REST_S = 5.0


Asker = Callable[[Sequence[RequestGroup], str | None], Candidates]
"""Asks Placement for allocation candidates: (groups, group_policy) -> its answer."""


class Prechecker(Protocol):
    """Looks at a live migration before it is begun; see ``Engine.precheck``."""

    def __call__(
        self, server_id: str, destination: str | None, *, snapshot: Snapshot, max_downtime_s: float | None, others: bool
    ) -> Precheck: ...


class Engine:
    """Produces snapshots until it is stopped. ``on_snapshot`` is called from the engine's own thread.

    ``world`` is what plans are applied to and ``journal`` where that is written down; both block, and an engine that
    only watches has neither. ``candidates`` asks Placement where a request would fit. ``mover`` and ``drainer`` are set
    by who opens it: they check, follow and queue live migrations, and end with the engine.
    ``last_action``, set by them too, reads what a server's newest boot or move said of itself; it blocks.
    """

    def __init__(
        self,
        collector: Collector,
        joiner: Joiner,
        clock: Callable[[], float] = time.time,
        close: Callable[[], None] | None = None,
        *,
        world: World | None = None,
        journal: Journal | None = None,
        candidates: Asker | None = None,
        precheck: Prechecker | None = None,
    ) -> None:
        self._collector = collector
        self._joiner = joiner
        self._clock = clock
        self._close = close or collector.close
        self._candidates = candidates
        self._precheck = precheck
        self.world = world
        self.journal = journal
        self.mover: MigrationDesk | None = None
        self.drainer: DrainDesk | None = None
        self.last_action: ActionReader | None = None
        self._on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None
        self._stopping = threading.Event()
        self._paused = threading.Event()
        self._thread: threading.Thread | None = None
        self.snapshot = Snapshot(taken_at=clock())

    def facts(self) -> Facts:
        """What the sources have answered so far; newer than the snapshot at most by what is being joined."""
        return self._collector.facts()

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """Where Placement could put one such request now. Blocks; a failure is told in the answer, never raised."""
        if self._candidates is None:
            return Candidates(error="this console does not ask Placement")
        return self._candidates(groups, policy)

    def precheck(
        self,
        server_id: str,
        destination: str | None = None,
        *,
        max_downtime_s: float | None = None,
        others: bool = True,
    ) -> Precheck:
        """Whether the server could be live-migrated there (None: anywhere), by the newest snapshot. Blocks.

        ``max_downtime_s`` goes before the configured limit; without ``others`` only the destination is looked at.
        Raises UnknownServer and UnknownHost (rules.migration.scene), SourceError where this engine asks no cloud.
        """
        if self._precheck is None:
            raise SourceError("unavailable", "this console does not ask Placement")
        return self._precheck(
            server_id, destination, snapshot=self.snapshot, max_downtime_s=max_downtime_s, others=others
        )

    @property
    def paused(self) -> bool:
        """True while no source is asked."""
        return self._paused.is_set()

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Begin asking; returns at once."""
        self._on_snapshot = on_snapshot
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the engine's thread and close the sources; calls that hang are left to their daemon threads."""
        self._stopping.set()
        self._collector.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        if self.drainer is not None:
            self.drainer.close()
        if self.mover is not None:
            self.mover.close()
        self._close()

    def refresh_now(self) -> None:
        """Ask every source at once, whatever its pace; also while paused, once."""
        self._collector.refresh_now()
        if self.paused:
            self._collector.tick()

    def pause(self) -> None:
        """Ask no more until ``resume``; ages go on growing."""
        self._paused.set()

    def resume(self) -> None:
        """Ask again."""
        self._paused.clear()
        self._collector.wake()

    def _run(self) -> None:
        seen = joined = -1
        rest = GATHER_S
        while not self._stopping.is_set():
            try:
                next_s = 1.0 if self.paused else self._collector.tick()
                version = self._collector.wait(seen, min(1.0, next_s))
                if version == seen and version == joined:
                    continue
                seen = version
                if self._stopping.wait(rest):
                    return
                joined = seen = self._collector.version
                began = time.perf_counter()
                self.snapshot = self._joiner.join(self._collector.facts(), self._clock())
                rest = min(MOST_REST_S, max(GATHER_S, REST_PER_JOIN * (time.perf_counter() - began)))
                self._on_snapshot(self.snapshot)
            except Exception:
                LOG.exception("the engine goes on after a fault of this console")
                self._stopping.wait(1.0)
