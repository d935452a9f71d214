"""Real live migrations between two libvirt daemons: what the console measures against what the guest itself sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.migration.pair import LIVE, NOVA, PEER2PEER, POSTCOPY, Guest, Pair, until
from tests.lab.migration.requirements import NotPossible, set_up
from tests.lab.migration.settings import Host
from vgpu_console.model.migration_job import CompletedJob, NotMeasured, WatchState
from vgpu_console.sources.libvirt_jobs import completed_downtime
from vgpu_console.sources.libvirt_open import open_libvirt
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch

pytestmark = [pytest.mark.lab, pytest.mark.alone]

EVENT = "JOB_COMPLETED event of the source"
STATISTICS = "completed job statistics of the destination"
LIFECYCLE = "SUSPENDED→RESUMED events"


@pytest.fixture(autouse=True)
def _pointed_at_lab() -> None:
    """No cloud: libvirt alone."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two hosts. LAB_KEEP=1 leaves them up."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    try:
        set_up()
    except NotPossible as reason:
        pytest.skip(f"migration lab: {reason}")
    made = Pair()
    made.up()
    yield made
    if os.environ.get("LAB_KEEP") != "1":
        made.down()


@pytest.fixture
def guest(pair: Pair) -> Iterator[Callable[..., Guest]]:
    """Makes guests on the first host, and ends them."""
    made: list[Guest] = []

    def make(ws_mib: int = 32, rate_mib: int = 10, *, persistent: bool = True) -> Guest:
        made.append(Guest(pair, ws_mib, rate_mib, persistent=persistent))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def watch(pair: Pair) -> Iterator[Callable[..., MigrationWatch]]:
    """Makes the console's watches of migrations from the first host to the second, and ends them."""
    made: list[MigrationWatch] = []

    def make(guest: Guest, source: Any = open_libvirt, destination: Any = open_libvirt) -> MigrationWatch:
        one = MigrationWatch(guest.uuid, _at(pair.a, source), _at(pair.b, destination), interval_s=0.1)
        made.append(one)
        until(lambda: _tried(one), "both libvirts have been asked")
        return one

    yield make
    for one in made:
        one.close(5)


def _tried(watch: MigrationWatch) -> bool:
    """Whether both ends are connected, or it is known that they cannot be, or it is over already."""
    state = watch.reading()
    assert state.destination is not None
    return state.ended or all(end.connected or end.error for end in (state.source, state.destination))


def _at(host: Host, opener: Any = open_libvirt) -> LibvirtAddress:
    return LibvirtAddress(host.name, host.uri, opener)


def _agrees(measured: CompletedJob | NotMeasured, guest: Guest, source: str) -> CompletedJob:
    """The console's figure against the heartbeat's: 10 ms or a tenth."""
    heard = guest.heartbeat.handover().downtime_ms
    assert isinstance(measured, CompletedJob), str(measured)
    print(f"{source}: {measured.downtime_ms} ms, heartbeat {heard:.1f} ms")
    assert measured.source == source
    assert abs(measured.downtime_ms - heard) <= max(10.0, heard / 10), (measured.downtime_ms, heard)
    return measured


def _running(watch: MigrationWatch) -> WatchState:
    """The first reading with the memory's bytes."""

    def told() -> WatchState | None:
        state = watch.reading()
        return state if state.phase == "running" and state.job and state.job.memory_total else None

    found = until(told, "the migration runs with its bytes")
    assert found is not None
    return found


def _stays(watch: MigrationWatch, guest: Guest, how: str = "aborted or failed") -> None:
    """The watch ends without a figure, and the guest beats on where it was."""
    ended = watch.wait(20)
    assert isinstance(ended, NotMeasured), ended
    assert (str(ended), ended.final) == (f"not measured: {how}: the guest stays on the source", True)
    assert watch.reading().phase == "not-completed"
    before = guest.beats()
    until(lambda: guest.beats() > before + 20, "the guest beats on")


@pytest.mark.parametrize(
    ("flags", "persistent"),
    [(NOVA, True), (LIVE | PEER2PEER, True), (LIVE | PEER2PEER, False)],
    ids=["undefine-source", "source-stays-defined", "transient"],
)
def test_downtime_by_the_sources_event(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch], flags: int, persistent: bool
) -> None:
    """Whatever becomes of the domain on the source."""
    one = guest(persistent=persistent)
    watched = watch(one)
    assert (watched.reading().phase, watched.result()) == (
        "waiting",
        NotMeasured(reason="no migration has been seen", final=False),
    )
    migrating = one.migrate(pair.a, pair.b, flags=flags)
    phases, slowest = [], 0.0
    while migrating.runs or "completed" not in phases:
        before = time.perf_counter()
        state, _ = watched.reading(), watched.result()
        slowest = max(slowest, time.perf_counter() - before)
        if state.phase not in phases:
            phases.append(state.phase)
        time.sleep(0.002)
    migrating.succeed()
    done = _agrees(watched.result(), one, EVENT)
    assert phases[-2:] == ["finishing", "completed"]
    assert "running" in phases
    assert slowest < 0.1
    assert done.memory_total
    assert done.transferred_bytes
    assert done.iterations
    assert (done.downtime_net_ms or 0) <= done.downtime_ms
    later = completed_downtime(open_libvirt, pair.b.uri, one.uuid)
    assert isinstance(later, CompletedJob), later
    assert (later.downtime_ms, later.source) == (done.downtime_ms, STATISTICS)
    assert completed_downtime(open_libvirt, pair.b.uri, one.uuid).downtime_ms == done.downtime_ms  # type: ignore[union-attr]


def test_downtime_by_the_destination_when_the_source_cannot_be_asked(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    def unreachable(uri: str, read_only: bool) -> Any:
        raise OSError(113, "No route to host")

    one = guest()
    watched = watch(one, source=unreachable)
    one.migrate(pair.a, pair.b).succeed()
    _agrees(watched.wait(10), one, STATISTICS)
    assert watched.reading().source.error == "No route to host"


class OlderLibvirt:
    """A real connection or domain as an old libvirt would have it: no JOB_COMPLETED, no figures that can be kept."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def lookupByUUIDString(self, uuid: str) -> OlderLibvirt:
        return OlderLibvirt(self._real.lookupByUUIDString(uuid))

    def jobStats(self, flags: int) -> Any:
        return self._real.jobStats(flags if flags == 0 else 1 << 9)  # a flag that no libvirt knows

    def domainEventRegisterAny(self, domain: Any, event: int, callback: Any, opaque: Any) -> Any:
        return self._real.domainEventRegisterAny(domain, 999 if event == 21 else event, callback, opaque)


def test_downtime_by_the_guests_stop_and_start_when_nobody_keeps_figures(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """By this console's clock, and events come as fast as the machine lets them: it is a long stop that is measured."""

    def older(uri: str, read_only: bool) -> Any:
        return OlderLibvirt(open_libvirt(uri, read_only))

    one = guest(24, 0)
    watched = watch(one, older, older)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    _running(watched)
    one.on(pair.a).suspend()
    migrating.succeed()
    _agrees(watched.wait(15), one, LIFECYCLE)


def test_a_forced_completion_counts_from_the_pause(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """What nova-compute does on force-complete: it pauses the guest, and the memory's rest is all downtime."""
    one = guest(24, 0)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    _running(watched)
    one.on(pair.a).suspend()
    until(lambda: watched.reading().phase == "switching-over", "the pause is seen")
    migrating.succeed()
    assert _agrees(watched.wait(10), one, EVENT).downtime_ms > 500


def test_post_copy_trusts_the_guests_stop_and_start_alone(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """libvirt's own figure is a few milliseconds then, whatever the guest went through."""
    one = guest(24, 0)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, flags=NOVA | POSTCOPY, mib_s=20)
    _running(watched)
    one.on(pair.a).migrateStartPostCopy()
    migrating.succeed()
    done = watched.wait(10)
    assert isinstance(done, CompletedJob), str(done)
    assert (done.source, done.postcopy) == (LIFECYCLE, True)
    assert done.transferred_bytes
    # The guest runs on the destination before its pages are there: the heartbeat begins later than libvirt says. Both
    # moments are those at which events were heard: two journeys of them, on a machine that has something else to do.
    assert done.downtime_ms <= one.heartbeat.handover().downtime_ms + 30


def test_the_figures_are_those_of_the_last_migration(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """To and fro, with both definitions kept: what a host remembers of an earlier journey is not told as this one's."""
    one = guest()
    kept = LIVE | PEER2PEER | 8
    one.migrate(pair.a, pair.b, flags=kept).succeed()
    assert isinstance(completed_downtime(open_libvirt, pair.b.uri, one.uuid), CompletedJob)
    one.migrate(pair.b, pair.a, flags=kept).succeed()
    assert not isinstance(completed_downtime(open_libvirt, pair.b.uri, one.uuid), CompletedJob)
    watched = watch(one)
    time.sleep(0.3)
    assert watched.reading().phase == "waiting"
    assert not watched.result().final  # type: ignore[union-attr]
    one.migrate(pair.a, pair.b, flags=kept).succeed()
    _agrees(watched.wait(10), one, EVENT)
    later = completed_downtime(open_libvirt, pair.b.uri, one.uuid)
    _agrees(later, one, STATISTICS)


def test_a_guest_that_outruns_the_wire_is_seen_and_its_abort_is_no_measure(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    one = guest(24, 0)
    completed: list[object] = []
    own = pair.connection(pair.a)
    number = own.domainEventRegisterAny(None, 21, lambda _c, _d, parameters, _o: completed.append(parameters), None)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    first = _running(watched)
    assert first.job is not None
    assert first.job.operation == "outgoing migration"
    assert first.job.expected_downtime_ms == 300  # libvirt's limit, not a measure
    state = until(lambda: s if (s := watched.reading()).iteration and s.iteration >= 3 else None, "a third pass")
    assert state is not None
    assert state.job is not None
    assert (state.job.memory_processed or 0) > (first.job.memory_processed or 0)
    assert (state.job.memory_remaining or 0) > 0
    assert 10 << 20 < (state.job.memory_bps or 0) < 30 << 20
    one.on(pair.a).abortJob()
    migrating.wait()
    assert migrating.error.get_error_code() == 78  # VIR_ERR_OPERATION_ABORTED
    _stays(watched, one)
    watched.tell_end("aborted")
    _stays(watched, one, "aborted")
    assert completed == []
    own.domainEventDeregisterAny(number)


def test_cable_cut_under_way(pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]) -> None:
    one = guest(24, 0)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    _running(watched)
    pair.cable(pair.b, "cut")
    try:
        time.sleep(0.5)
        flat = watched.reading()
        time.sleep(0.5)
        later = watched.reading()
        assert flat.job is not None
        assert later.job is not None
        assert (later.phase, later.job.memory_processed) == ("running", flat.job.memory_processed)
        assert later.job.fetched_at > flat.job.fetched_at
        migrating.wait(30)
        assert migrating.error is not None
        _stays(watched, one)
    finally:
        pair.cable(pair.b, "mend")


def test_the_sources_libvirt_restarted_under_way(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """The watch finds its way back, to learn that the new daemon has ended the migration."""
    one = guest(24, 0)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    before = _running(watched)
    pair.daemon(pair.a, "kill")
    until(lambda: not watched.reading().source.connected, "the loss is seen")
    assert watched.reading().source.error
    assert watched.reading().job is not None
    pair.daemon(pair.a, "start")
    migrating.wait()
    _stays(watched, one)
    after = watched.reading().source
    assert (after.answered_at or 0) > (before.source.answered_at or 0)


def test_the_destinations_libvirt_killed_under_way(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    one = guest(24, 0)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    _running(watched)
    pair.daemon(pair.b, "kill")
    try:
        migrating.wait()
        _stays(watched, one)
        ended = watched.reading()
        assert ended.destination is not None
        assert not ended.destination.connected
    finally:
        pair.daemon(pair.b, "start")


def test_a_libvirt_that_hangs_holds_up_neither_the_caller_nor_the_other_end(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    one = guest(24, 10)
    watched = watch(one)
    migrating = one.migrate(pair.a, pair.b, mib_s=20)
    _running(watched)
    pair.daemon(pair.a, "freeze")
    try:
        began, slowest = time.time(), 0.0
        while time.time() < began + 1.5:
            before = time.perf_counter()
            state, _ = watched.reading(), watched.result()
            slowest = max(slowest, time.perf_counter() - before)
            time.sleep(0.005)
    finally:
        pair.daemon(pair.a, "thaw")
    assert slowest < 0.1
    assert (state.phase, state.source.connected) == ("running", True)
    assert state.source.asked_at is not None
    assert state.source.asked_at < began + 0.5
    assert state.destination is not None
    assert (state.destination.answered_at or 0) > began + 1
    migrating.succeed()
    done = watched.wait(10)
    assert isinstance(done, CompletedJob)
    # The heartbeat does not agree here: a daemon that hangs at the switch-over takes note of the guest's stop late.
    assert done.source == EVENT


def test_a_console_that_comes_late_and_one_that_comes_too_late(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    """The destination's libvirt remembers until it is restarted."""
    one = guest()
    one.migrate(pair.a, pair.b).succeed()
    late = watch(one)
    _agrees(late.wait(10), one, STATISTICS)
    pair.daemon(pair.b, "restart")
    answer = completed_downtime(open_libvirt, pair.b.uri, one.uuid)
    assert isinstance(answer, NotMeasured)
    assert answer.final
    assert "keeps no figures" in answer.reason
    elsewhere = completed_downtime(open_libvirt, pair.a.uri, one.uuid)
    assert str(elsewhere) == "not measured: the destination's libvirt has no such domain"


def test_closing_ends_the_threads(
    pair: Pair, guest: Callable[..., Guest], watch: Callable[..., MigrationWatch]
) -> None:
    import threading

    one = guest()
    watched = watch(one)
    names = {"migration-source-host-a", "migration-destination-host-b"}
    assert names <= {t.name for t in threading.enumerate()}
    watched.close(5)
    assert not names & {t.name for t in threading.enumerate()}
    assert str(watched.result()) == "not measured: no longer watched: no migration has been seen"
