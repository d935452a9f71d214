"""What is heard of followed migrations in libvirt: the running job, the guest on either host, figures of ended jobs.

Nothing here blocks its caller: each migration's watch has threads of its own, single looks are made in a pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from vgpu_console.fleet.migration_move import Move
from vgpu_console.fleet.pool import Pool
from vgpu_console.model.migration_job import NotMeasured
from vgpu_console.model.migration_trace import CANCEL_ACTION, asked_during
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_guest import look_at_guest
from vgpu_console.sources.libvirt_jobs import completed_downtime
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch

WATCHES = 24
"""So many migrations at once are heard in libvirt too: each takes two connections and two threads."""


class Ears:
    """``guard`` is the lock under which moves are changed; ``on_change`` is called after what was heard is kept."""

    def __init__(
        self,
        address: Callable[[str], LibvirtAddress | None],
        watch: Callable[..., MigrationWatch],
        pool: Pool,
        guard: threading.RLock,
        on_change: Callable[[], None],
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self._address = address
        self._make_watch = watch
        self._pool = pool
        self._guard = guard
        self._on_change = on_change
        self._clock = clock
        self._steady = steady

    def begin(self, move: Move, source: str, destination: str | None, watched: int) -> None:
        """Hear a migration in both libvirts, unless so many are heard already that the hosts would feel it."""
        if move.watch is not None or watched >= WATCHES:
            return
        here, there = self._address(source), self._address(destination) if destination else None
        if here is not None:
            move.watch = self._make_watch(move.subject.server, here, there, on_change=self._on_change)
            move.watch_began = self._steady()

    def ask_late(self, move: Move, row: MigrationFacts) -> None:
        """The destination's libvirt may still know the downtime of a migration that nobody watched to its end."""
        if row.status != "completed" or move.late_asked or move.newer or move.server is None:
            return
        heard = move.watch.result() if move.watch is not None else None
        if move.server.host != row.destination or not (
            heard is None or (isinstance(heard, NotMeasured) and heard.final)
        ):
            return
        there = self._address(row.destination or "")
        move.late_asked = True
        if there is None:
            move.late = move.late or NotMeasured(reason="nobody watched, and libvirt is not asked here", final=True)
            return

        def ask() -> None:
            try:
                found = completed_downtime(there.opener, there.uri, move.subject.server, clock=self._clock)
            except SourceError as error:
                found = NotMeasured(reason=f"the destination's libvirt could not be asked: {error}", final=True)
            with self._guard:
                move.late = found
            self._on_change()

        self._pool.submit(ask)

    def look(self, move: Move, host: str, now: float, every_s: float) -> None:
        """Look where the guest is, every so many seconds and never twice at once."""
        address = self._address(host)
        if address is None or host in move.looking or now - move.looked.get(host, -every_s) < every_s:
            return
        move.looking.add(host)

        def look() -> None:
            found = look_at_guest(host, address.uri, address.opener, move.subject.server, clock=self._clock)
            with self._guard:
                move.looks[host] = found
                move.looking.discard(host)
                move.looked[host] = self._steady()
            self._on_change()

        self._pool.submit(look)

    def follow_to(self, move: Move, row: MigrationFacts) -> None:
        """The destination is known now."""
        there = self._address(row.destination) if move.watch is not None and row.destination else None
        if move.watch is not None and there is not None:
            move.watch.follow_to(there)


def tell_watch(move: Move, row: MigrationFacts) -> None:
    """What libvirt cannot tell apart: whether it was aborted or failed. Nova may say so by an action alone."""
    if move.watch is None or row.status == "completed" or move.told_end:
        return
    aborted = "cancelled" in move.statuses
    if not aborted and move.answered.get("actions", -1.0) < (move.ended or 0.0):
        return
    aborted = aborted or bool(asked_during(move.actions or (), row, CANCEL_ACTION))
    move.told_end = True
    move.watch.tell_end("aborted" if aborted else "failed")
