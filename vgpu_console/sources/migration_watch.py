"""Follows one live migration in the libvirt of both hosts, whoever drives it, and measures the guest's downtime."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from vgpu_console.model.migration_job import CompletedJob, EndState, NotMeasured, WatchState
from vgpu_console.sources.base import LibvirtOpener
from vgpu_console.sources.libvirt_errors import GONE, UNSUPPORTED, code_of, explain, is_lost, words_of
from vgpu_console.sources.libvirt_jobs import KEPT, OUTGOING, read_completed, read_job
from vgpu_console.sources.libvirt_open import open_libvirt
from vgpu_console.sources.migration_verdict import FIGURES_FOLLOW_S, Observed, phase, verdict

LOG = logging.getLogger(__name__)

# virDomainEventID
LIFECYCLE, MIGRATION_ITERATION, JOB_COMPLETED = 0, 20, 21
# virDomainEventType, and of each its details that matter here
SUSPENDED, RESUMED, STOPPED, CRASHED = 3, 4, 5, 8
SUSPENDED_MIGRATED, SUSPENDED_POSTCOPY, RESUMED_POSTCOPY, STOPPED_MIGRATED, STOPPED_FAILED = 1, 7, 3, 3, 5
# virDomainState
RUNNING, PAUSED, SHUTOFF = 1, 3, 5
NOT_VALID = 55  # VIR_ERR_OPERATION_INVALID: "domain is not running"

RETRY_MIN_S, RETRY_MAX_S = 0.5, 5.0
"""How long to wait before a connection that was lost is opened again, at first and at most."""

AFTER_MOVE_S = 0.25
"""How often the destination is asked for its figures once the guest runs there."""


@dataclass(frozen=True)
class LibvirtAddress:
    """Where a host's libvirt is, and who opens it."""

    host: str
    uri: str
    opener: LibvirtOpener = open_libvirt


class MigrationWatch:
    """Watches the migration of one domain from before it starts, or from any later moment, to its end.

    Each host is asked in a daemon thread of its own over a read-only connection of its own, so that a call that hangs
    (the source holds jobStats back for a second or two at the end) holds up nobody: ``reading`` and ``result`` never
    block. Connections that are lost are opened again until the end is known or ``close`` is called; figures of ended
    jobs are read so that they stay for others. ``on_change`` is called from a foreign thread and must return at once.
    """

    def __init__(
        self,
        domain_uuid: str,
        source: LibvirtAddress,
        destination: LibvirtAddress | None = None,
        *,
        interval_s: float = 1.0,
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.domain_uuid = domain_uuid.lower()
        self._interval_s = interval_s
        self._on_change = on_change
        self._clock = clock
        self._steady = steady
        self._guard = threading.Lock()
        self._seen = Observed()
        self._over = threading.Event()
        self._source = _End(self, source, self._look_at_source, hears_figures=True)
        self._destination: _End | None = None
        self._source.start()
        if destination is not None:
            self.follow_to(destination)

    def follow_to(self, destination: LibvirtAddress) -> None:
        """Watch this destination: the scheduler may choose it only after the migration was asked for."""
        with self._guard:
            if self._destination is not None or self._over.is_set():
                return
            self._destination = _End(self, destination, self._look_at_destination, hears_figures=False)
            self._seen.destination_known = True
        self._destination.start()

    def reading(self) -> WatchState:
        """What is known at this moment. Never blocks."""
        with self._guard:
            seen, destination = replace(self._seen), self._destination
        return WatchState(
            phase=phase(seen, self._steady()),
            job=seen.job,
            iteration=seen.iteration,
            suspended_at=seen.suspended_wall,
            resumed_at=seen.resumed_wall,
            source=self._source.state,
            destination=destination.state if destination is not None else None,
        )

    def result(self) -> CompletedJob | NotMeasured:
        """The measured downtime by the best source, or why there is none; ``final`` when it stays so. Never blocks."""
        self._is_over()
        with self._guard:
            return verdict(self._seen, self._steady())

    def tell_end(self, how: str) -> None:
        """What the cloud says of the end ("aborted", "failed"): libvirt itself does not tell the two apart."""
        with self._guard:
            self._seen.told = how
        self._tell()

    def wait(self, timeout_s: float) -> CompletedJob | NotMeasured:
        """Block until the result is final or time is up; for commands and tests, not for a screen's thread."""
        deadline = time.monotonic() + timeout_s
        while not _final(self.result()) and time.monotonic() < deadline:
            self._over.wait(0.02)
        return self.result()

    def close(self, wait_s: float = 0.0) -> None:
        """Stop watching. Threads that are inside a call end when it comes back; ``wait_s`` waits for them."""
        with self._guard:
            self._seen.closed = True
        self._finish()
        deadline = time.monotonic() + wait_s
        for end in self._ends():
            end.join(max(0.0, deadline - time.monotonic()))

    def _ends(self) -> list[_End]:
        return [end for end in (self._source, self._destination) if end is not None]

    def _finish(self) -> None:
        self._over.set()
        for end in self._ends():
            end.wake.set()

    def _note(self, **fields: Any) -> None:
        """Add to what was seen, as long as the end is not known: a final result stays what it is."""
        with self._guard:
            before = {name: getattr(self._seen, name) for name in fields}
            if self._over.is_set() or before == fields:
                return
            for name, value in fields.items():
                setattr(self._seen, name, value)
        self._tell()

    def _first(self, **fields: Any) -> None:
        """Add what has not been seen before: the first moment counts."""
        with self._guard:
            fresh = {name: value for name, value in fields.items() if getattr(self._seen, name) is None}
        if fresh:
            self._note(**fresh)

    def _tell(self) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change()
        except Exception:
            LOG.exception("the listener of a migration failed")

    # What the threads ask

    def _look_at_source(self, connection: Any) -> float:
        """One look at the source; seconds until the next."""
        try:
            domain = connection.lookupByUUIDString(self.domain_uuid)
            job = read_job(domain.jobStats(0), self._clock())
            if job.runs:
                if job.operation in (None, OUTGOING):
                    self._note(job=job, ran=True, gone=None, idle=None, idle_running=False)
                return self._interval_s
            state = domain.state()[0]
        except Exception as error:
            if code_of(error) not in (*GONE, NOT_VALID):
                raise
            state = SHUTOFF
        now = self._steady()
        if state == SHUTOFF:
            self._note(idle=None, idle_running=False)
            self._first(gone=now)
            return min(self._interval_s, FIGURES_FOLLOW_S / 4)
        with self._guard:
            again = self._seen.idle is not None
        self._first(idle=now)
        self._note(gone=None, idle_running=again and state == RUNNING)
        return min(self._interval_s, 0.2) if not again and self._seen.ran else self._interval_s

    def _look_at_destination(self, connection: Any) -> float:
        """One look at the destination; seconds until the next."""
        try:
            domain = connection.lookupByUUIDString(self.domain_uuid)
            state = domain.state()[0]
            if state == RUNNING:
                self._first(moved=self._steady())
            with self._guard:
                moved, gone, have = self._seen.moved, self._seen.gone, self._seen.figures_there is not None
            if moved is None and gone is None:
                return self._interval_s
            if not have:
                self._ask_for_figures(domain, state)
        except Exception as error:
            if code_of(error) not in GONE:
                raise
            with self._guard:
                gone = self._seen.gone
            if gone is not None:
                self._note(absent_there=self._steady())
        return AFTER_MOVE_S

    def _ask_for_figures(self, domain: Any, state: int) -> None:
        asked, found = self._steady(), None
        try:
            stats = domain.jobStats(KEPT)
        except Exception as error:
            if code_of(error) not in UNSUPPORTED:  # libvirt < 6.0 cannot tell them without destroying them
                raise
        else:
            found = read_completed(stats, "completed job statistics of the destination", self._clock())
        if found is not None:
            self._note(figures_there=found)
            self._first(moved=asked)
        elif state != PAUSED:
            self._note(no_figures_there=asked)

    # What libvirt's event thread tells

    def _lifecycle(self, at_source: bool, event: int, detail: int) -> None:
        now, wall = self._steady(), self._clock()
        if at_source and event == SUSPENDED:
            if detail in (SUSPENDED_MIGRATED, SUSPENDED_POSTCOPY):
                self._note(ran=True, idle=None, idle_running=False, postcopy=detail == SUSPENDED_POSTCOPY)
            if self._seen.ran:  # a pause before it is not of the migration; one under way is, whoever made it
                self._first(suspended=now, suspended_wall=wall)
        elif at_source and event == RESUMED:  # it did not go after all
            self._note(suspended=None, suspended_wall=None)
        elif at_source and event == STOPPED and detail == STOPPED_MIGRATED:
            self._first(gone=now, moved=now)
        elif not at_source and event == RESUMED:
            self._first(resumed=now, resumed_wall=wall, moved=now)
            if detail == RESUMED_POSTCOPY:
                self._note(postcopy=True)
        elif not at_source and (event == CRASHED or (event == STOPPED and detail == STOPPED_FAILED)):
            self._first(failed_there=now)
            self._note(idle=None, idle_running=False)
        for end in self._ends():
            end.wake.set()

    def _iterated(self, iteration: int) -> None:
        self._note(iteration=iteration, ran=True, idle=None, idle_running=False)

    def _job_completed(self, parameters: Any) -> None:
        found = None
        with contextlib.suppress(Exception):
            found = read_completed(dict(parameters), "JOB_COMPLETED event of the source", self._clock())
        if found is not None:
            self._note(figures=found)
            self._first(moved=self._steady())
            for end in self._ends():
                end.wake.set()

    def _set_end(self, end: _End, **fields: Any) -> None:
        """How an end's line is doing; whether its word may be waited for depends on it."""
        with self._guard:
            before, end.state = end.state, msgspec.structs.replace(end.state, **fields)
            if not self._over.is_set():
                self._seen.source_listening = self._source.listening
            if self._destination is not None and not self._over.is_set():
                self._seen.destination_answers = self._destination.state.connected
                self._seen.destination_error = self._destination.state.error
        if (before.connected, before.error) != (end.state.connected, end.state.error):
            self._tell()

    def _is_over(self) -> bool:
        with self._guard:
            ending = not self._over.is_set() and _final(verdict(self._seen, self._steady()))
            if ending:
                self._over.set()
        if ending:
            self._finish()
            self._tell()
        return self._over.is_set()


class _End:
    """One host's libvirt: a thread, a connection, the events of the domain, and how that goes."""

    def __init__(
        self,
        watch: MigrationWatch,
        address: LibvirtAddress,
        look: Callable[[Any], float],
        *,
        hears_figures: bool,
    ) -> None:
        self.state = EndState(host=address.host)
        self.listening = hears_figures  # JOB_COMPLETED would be heard; or soon, before the first attempt has ended
        self.wake = threading.Event()
        self._watch = watch
        self._address = address
        self._look = look
        self._at_source = hears_figures
        self._connection: Any = None
        self._registered: list[int] = []
        role = "source" if hears_figures else "destination"
        self._thread = threading.Thread(target=self._run, name=f"migration-{role}-{address.host}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        retry_s = RETRY_MIN_S
        while not self._watch._is_over():
            try:
                self._set(asked_at=self._watch._clock())
                connection = self._connected()
                pause_s = self._look(connection)
            except Exception as error:
                connection = self._connection
                if connection is None or is_lost(error) or not _alive(connection):
                    self._forget()
                    pause_s, retry_s = retry_s, min(RETRY_MAX_S, retry_s * 2)
                else:
                    pause_s = RETRY_MIN_S
                self._failed(error)
            else:
                retry_s = RETRY_MIN_S
                self._set(connected=True, error=None, answered_at=self._watch._clock(), asked_at=None)
            if not self._watch._is_over():
                self.wake.wait(pause_s)
                self.wake.clear()
        self._forget()
        self._set(connected=False)

    def _connected(self) -> Any:
        if self._connection is not None:
            if _alive(self._connection):
                return self._connection
            self._forget()
        connection = self._address.opener(self._address.uri, True)
        self._connection = connection
        heard = self._listen(connection)
        self.listening = heard and self._at_source
        self._set(connected=True)
        return connection

    def _listen(self, connection: Any) -> bool:
        """Ask for the domain's events, before the first look at it; whether JOB_COMPLETED was granted."""
        heard = False
        for event, callback in (
            (LIFECYCLE, self._lifecycle),
            (MIGRATION_ITERATION, self._iterated),
            (JOB_COMPLETED, self._job_completed),
        ):
            try:
                self._registered.append(connection.domainEventRegisterAny(None, event, callback, None))
            except Exception as error:
                LOG.debug("libvirt:%s sends no events %d: %s", self._address.host, event, words_of(error))
            else:
                heard = heard or event == JOB_COMPLETED
        with contextlib.suppress(Exception):
            connection.registerCloseCallback(self._cut, None)
        return heard

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        registered, self._registered = self._registered, []
        self.listening = False
        if connection is None:
            return
        for number in registered:
            with contextlib.suppress(Exception):
                connection.domainEventDeregisterAny(number)
        with contextlib.suppress(Exception):
            connection.unregisterCloseCallback()
        with contextlib.suppress(Exception):
            connection.close()

    # Callbacks come in libvirt's event thread; an exception there would go to the terminal.

    def _ours(self, domain: Any) -> bool:
        try:
            return bool(domain.UUIDString() == self._watch.domain_uuid)
        except Exception:
            return False

    def _lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if self._ours(domain):
            self._watch._lifecycle(self._at_source, event, detail)

    def _iterated(self, _connection: Any, domain: Any, iteration: int, _opaque: Any) -> None:
        if self._at_source and self._ours(domain):
            self._watch._iterated(iteration)

    def _job_completed(self, _connection: Any, domain: Any, parameters: Any, _opaque: Any) -> None:
        if self._at_source and self._ours(domain):
            self._watch._job_completed(parameters)

    def _cut(self, *_details: Any) -> None:
        self.listening = False
        self._set(connected=False, error="the connection was lost")
        self.wake.set()

    # How it goes

    def _failed(self, error: Exception) -> None:
        self._set(connected=self._connection is not None, error=str(explain(error)), asked_at=None)

    def _set(self, **fields: Any) -> None:
        self._watch._set_end(self, **fields)


def _final(result: CompletedJob | NotMeasured) -> bool:
    return isinstance(result, CompletedJob) or result.final


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except Exception:
        return False
