"""When to ask whom: each source at its own pace, never twice at once, with back-off, deadlines and bounded threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from vgpu_console.fleet.pool import DaemonPool, Pool
from vgpu_console.model.facts import CloudIdentity, Facts
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.model.nova import NovaFacts
from vgpu_console.model.source import ErrorKind, SourceKind, SourceStatus

LOG = logging.getLogger("vgpu_console.collector")

OPENSTACK: frozenset[SourceKind] = frozenset({"keystone", "nova", "placement"})
ALL_KINDS: frozenset[SourceKind] = OPENSTACK | {"libvirt", "ssh"}

EVENT_DELAY_S = 0.3
"""Events come in bursts; a re-read waits this long for the rest of one."""
SETTLE_S = 2.0
"""libvirt's lists are briefly stale after an event (measured: 0.3-4 s under load), so a second re-read follows."""
BACK_OFF_LIMIT_S = 120.0
QUIET_HOST_FACTOR = 6
"""A host that has no GPU is asked this many times less often."""
_NEVER = float("inf")


class FactSource(Protocol):
    """What the collector needs of a source; ``fetch`` is blocking and raises an error with ``kind``."""

    @property
    def kind(self) -> SourceKind: ...
    @property
    def host(self) -> str: ...
    @property
    def requests(self) -> int: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    def fetch(self, previous: Any) -> Any: ...
    def close(self) -> None: ...


HostSources = Callable[[str, Callable[[], None]], Iterable[FactSource]]
"""Makes the sources of a host: (host, what to call when an event says that a re-read is due)."""


class Pacing(Protocol):
    """Seconds between two readings of a source of that kind in a fleet of that many hosts."""

    def __call__(self, kind: SourceKind, hosts: int) -> float: ...


class _Slot:
    """A source with its last good answer and its place in the schedule."""

    def __init__(self, source: FactSource) -> None:
        self.source = source
        self.facts: Any = None
        self.status = SourceStatus(kind=source.kind, host=source.host)
        self.due = 0.0
        self.queued = False  # an attempt waits for a thread, or runs
        self.began: float | None = None  # when the running attempt began
        self.overdue = False  # the running attempt is past its deadline and was counted as failed
        self.settle = False  # read once more soon: an event came
        self.gone = False


class Collector:
    """Asks the sources and keeps their last good answers; thread-safe. One caller drives it with ``tick``.

    ``clock`` gives seconds since the epoch. ``deadline`` gives, per kind, the seconds after which an attempt counts
    as failed; the call itself is not interrupted, and its source is not asked again until it has returned. The cloud
    and the hosts have a pool of threads each: hosts that hang do not keep the cloud from being read.

    With ``hosts`` only those of the cloud's hosts are asked, by their names or their first labels.
    """

    def __init__(
        self,
        sources: Sequence[FactSource],
        host_sources: HostSources,
        *,
        pacing: Pacing,
        deadline: Callable[[SourceKind], float],
        identity: Callable[[], CloudIdentity] | None = None,
        expected_hosts: Sequence[str] = (),
        kinds: frozenset[SourceKind] = ALL_KINDS,
        hosts: frozenset[str] | None = None,
        clock: Callable[[], float] = time.time,
        pools: tuple[Pool, Pool] | None = None,
    ) -> None:
        self._clock = clock
        self._only = None if hosts is None else frozenset(_label(host) for host in hosts)
        self._pacing = pacing
        self._deadline = deadline
        self._identify = identity
        self._identity = CloudIdentity()
        self._identified = False
        self._host_sources = host_sources
        self._expected = tuple(expected_hosts)
        self._kinds = kinds
        self._lock = threading.Condition()
        self._slots: dict[str, _Slot] = {}
        self._version = 0
        self._hosts: set[str] = set()
        self._cloud_pool, self._host_pool = pools or (DaemonPool("cloud", 4, 12), DaemonPool("hosts", 24, 96))
        for source in sources:
            if source.kind in kinds:
                self._add(source)
        for host in self._expected:
            self._add_host(host)

    @property
    def version(self) -> int:
        """Moves with every answer, good or bad."""
        with self._lock:
            return self._version

    def facts(self) -> Facts:
        """The last good answer of every source, with how each fares."""
        with self._lock:
            by_kind: dict[str, Any] = {}
            libvirt: dict[str, Any] = {}
            ssh: dict[str, Any] = {}
            for slot in self._slots.values():
                if slot.facts is None:
                    continue
                if slot.source.kind == "libvirt":
                    libvirt[slot.source.host] = slot.facts
                elif slot.source.kind == "ssh":
                    ssh[slot.source.host] = slot.facts
                else:
                    by_kind[slot.source.kind] = slot.facts
            return Facts(
                identity=self._identity,
                keystone=by_kind.get("keystone"),
                nova=by_kind.get("nova"),
                placement=by_kind.get("placement"),
                libvirt=libvirt,
                ssh=ssh,
                statuses=tuple(s.status for s in self._slots.values()),
                expected_hosts=self._expected,
            )

    def tick(self) -> float:
        """Give up on what is past its deadline, start what is due; seconds until the next thing to do."""
        now = self._clock()
        with self._lock:
            starting = []
            wake = _NEVER
            for slot in self._slots.values():
                if slot.queued:
                    if slot.began is None or slot.overdue:
                        continue  # waiting for a thread is not the source's fault
                    limit = slot.began + self._deadline(slot.source.kind)
                    if now >= limit:
                        self._give_up(slot, now)
                    else:
                        wake = min(wake, limit)
                elif self._held(slot):
                    continue
                elif slot.due <= now:
                    slot.queued, slot.overdue = True, False
                    starting.append(slot)
                    wake = min(wake, now + self._deadline(slot.source.kind))
                else:
                    wake = min(wake, slot.due)
        for slot in starting:
            self._pool(slot).submit(partial(self._attempt, slot))
        return max(0.0, wake - now)

    def wait(self, seen: int, timeout_s: float) -> int:
        """Block until the version is not ``seen`` any more, or the time is up; the version then."""
        with self._lock:
            self._lock.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def wake(self) -> None:
        """Let ``wait`` return at once."""
        with self._lock:
            self._version += 1
            self._lock.notify_all()

    def refresh_now(self) -> None:
        """Make every source due, also those that wait out a failure."""
        with self._lock:
            for slot in self._slots.values():
                slot.due = 0.0
        self.wake()

    def ask_again(self, host: str) -> None:
        """Read a host's sources soon, and once more after that: something was changed there.

        libvirt sends events, but not of everything (who only reads is told nothing of autostart), and SSH sends none.
        """
        with self._lock:
            for slot in self._slots.values():
                if slot.source.host == host:
                    slot.due = min(slot.due, self._clock() + EVENT_DELAY_S)
                    slot.settle = True
        self.wake()

    def pending(self) -> tuple[str, ...]:
        """Keys of the sources that have not yet ended their first attempt."""
        with self._lock:
            return tuple(s.status.key for s in self._slots.values() if s.status.attempted_at is None)

    def busy(self) -> bool:
        """Whether any source is being asked now."""
        with self._lock:
            return any(s.queued for s in self._slots.values())

    def collect_once(self, deadline_s: float, progress: Callable[[int, int], None] | None = None) -> Facts:
        """Ask every source once and return when all have answered or failed, or ``deadline_s`` seconds are over.

        ``progress`` is called with (answered, known) as answers come in.
        """
        end = self._clock() + deadline_s
        seen = -1
        while True:
            self.tick()
            waiting = self.pending()
            with self._lock:
                known = len(self._slots)
            if progress is not None:
                progress(known - len(waiting), known)
            left = end - self._clock()
            if not waiting:
                return self.facts()
            if left <= 0:
                break
            seen = self.wait(seen, min(left, 0.5))
        now = self._clock()
        with self._lock:
            for slot in self._slots.values():
                if slot.status.attempted_at is None:
                    self._fail(slot, "timeout", f"no answer within {deadline_s:g} s", now, now - deadline_s)
        return self.facts()

    def close(self) -> None:
        """Close every source that is not in the middle of a call; those end with their daemon thread."""
        with self._lock:
            idle = [s.source for s in self._slots.values() if not s.queued]
        for source in idle:
            _close(source)
        self._cloud_pool.close()
        self._host_pool.close()

    def _add(self, source: FactSource) -> None:
        slot = _Slot(source)
        self._slots[slot.status.key] = slot

    def _add_host(self, host: str) -> None:
        if host in self._hosts:
            return
        self._hosts.add(host)
        if self._only is not None and _label(host) not in self._only:
            return
        try:
            for source in self._host_sources(host, lambda: self._nudge(host)):
                if source.kind in self._kinds:
                    self._add(source)
        except Exception:  # the answer that named the host is good all the same
            LOG.exception("%s: its sources could not be made", host)

    def _follow_nova(self, facts: NovaFacts) -> None:
        """Ask the hosts that Nova names, and no longer those that it has forgotten."""
        if facts.services is None and facts.hypervisors is None:
            return
        named = {s.host for s in facts.services or ()} | {h.service_host or h.name for h in facts.hypervisors or ()}
        for host in sorted(named - self._hosts):
            self._add_host(host)
        for host in self._hosts - named - set(self._expected):
            self._hosts.discard(host)
            for key in [k for k, s in self._slots.items() if s.source.host == host]:
                slot = self._slots.pop(key)
                slot.gone = True
                if not slot.queued:
                    # never under the lock: closing may wait for a callback, and callbacks wait for the lock
                    self._pool(slot).submit(partial(_close, slot.source))

    def _held(self, slot: _Slot) -> bool:
        """Placement's first reading waits for Nova's: it reads usages of the projects that Nova's servers belong to."""
        if slot.source.kind != "placement" or slot.status.attempted_at is not None:
            return False
        nova = self._slots.get("nova")
        return nova is not None and nova.status.attempted_at is None

    def _nudge(self, host: str) -> None:
        with self._lock:
            slot = self._slots.get(f"libvirt:{host}")
            if slot is None:
                return
            slot.due = min(slot.due, self._clock() + EVENT_DELAY_S)
            slot.settle = True
            self._version += 1
            self._lock.notify_all()

    def _attempt(self, slot: _Slot) -> None:
        with self._lock:
            began = slot.began = self._clock()
        try:
            facts = slot.source.fetch(slot.facts)
        except Exception as error:
            kind: ErrorKind = getattr(error, "kind", "protocol")
            if not hasattr(error, "kind"):
                LOG.exception("%s: a fault of this console", slot.status.key)
                message = f"unreadable answer ({type(error).__name__})"
            else:
                message = str(error).removeprefix(f"{slot.source.kind}: ")  # whose error it is, its status says
            LOG.warning("%s failed after %.2f s: %s", slot.status.key, self._clock() - began, message)
            with self._lock:
                self._fail(slot, kind, message, self._clock(), began)
                self._end(slot)
        else:
            if slot.source.kind in OPENSTACK:
                self._know_identity(again=slot.source.kind == "keystone")  # which has found the scope for limits
            with self._lock:
                self._succeed(slot, facts, self._clock(), began)
                self._end(slot)
        if slot.gone:
            _close(slot.source)

    def _pool(self, slot: _Slot) -> Pool:
        return self._cloud_pool if slot.source.kind in OPENSTACK else self._host_pool

    def _end(self, slot: _Slot) -> None:
        if slot.overdue:
            self._pool(slot).take_back()
        slot.queued, slot.began = False, None

    def _know_identity(self, again: bool) -> None:
        """Who we are and in which scope, asked in a worker's thread after the first good answer, or ``again``."""
        if (self._identified and not again) or self._identify is None:
            return
        self._identified = True
        try:
            identity = self._identify()
        except Exception as error:  # the header then says less; the sources say why
            LOG.info("identity: %s", type(error).__name__)
            self._identified = False
            return
        with self._lock:
            self._identity = identity

    def _interval(self, slot: _Slot) -> float:
        interval = self._pacing(slot.source.kind, len(self._hosts))
        if isinstance(slot.facts, LibvirtFacts) and not slot.facts.devices and not slot.facts.mdevs:
            return interval * QUIET_HOST_FACTOR
        return interval

    def _succeed(self, slot: _Slot, facts: Any, now: float, began: float) -> None:
        slot.facts = facts
        interval = self._interval(slot)
        slot.due = now + (SETTLE_S if slot.settle else interval)
        slot.settle = False
        slot.status = SourceStatus(
            kind=slot.source.kind,
            host=slot.source.host,
            fetched_at=now,
            attempted_at=now,
            duration_s=now - began,
            next_at=slot.due,
            interval_s=interval,
            requests=slot.source.requests,
            notes=slot.source.notes,
        )
        if isinstance(facts, NovaFacts):
            self._follow_nova(facts)
        self._version += 1
        self._lock.notify_all()

    def _give_up(self, slot: _Slot, now: float) -> None:
        slot.overdue = True
        self._pool(slot).lend()
        waited = self._deadline(slot.source.kind)
        LOG.warning("%s: no answer within %.0f s", slot.status.key, waited)
        self._fail(slot, "timeout", f"no answer within {waited:g} s", now, now - waited)

    def _fail(self, slot: _Slot, kind: ErrorKind, message: str, now: float, began: float) -> None:
        interval = self._interval(slot)
        failures = slot.status.failures + 1
        slot.settle = False
        slot.due = now + max(interval, min(BACK_OFF_LIMIT_S, interval * 2 ** min(failures - 1, 10)))
        slot.status = msgspec.structs.replace(
            slot.status,
            attempted_at=now,
            duration_s=now - began,
            error=message,
            error_kind=kind,
            failures=failures,
            next_at=slot.due,
            interval_s=interval,
            requests=slot.source.requests,
        )
        self._version += 1
        self._lock.notify_all()


def _label(host: str) -> str:
    """The first label of a host's name: an operator and Nova may write it with and without a domain."""
    return host.partition(".")[0].lower()


def _close(source: FactSource) -> None:
    try:
        source.close()
    except Exception as error:  # a library's close may fail on a dead connection: there is nothing to save
        LOG.debug("closing %s: %s", source.kind, type(error).__name__)
