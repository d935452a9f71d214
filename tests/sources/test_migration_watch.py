"""The watch of a migration on the embedded cloud: its phases, its sources of the figure, and lines that break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulator.client import FakeClock
from vgpu_console.model.migration_job import CompletedJob, JobReading, NotMeasured, WatchState
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.compute import notify_domain
from vgpu_console.simulator.migrating import Migrations
from vgpu_console.simulator.state import Migration
from vgpu_console.sources.base import LibvirtOpener
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch

SOURCE, DESTINATION = "gpu-01", "gpu-02"


class Scene:
    """A settled cloud with one server that will move, a clock that the test moves, and a watch."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cloud: DemoCloud = open_demo("small", clock=self.clock, living=False)
        for _ in range(60):
            self.clock.tick(5)
            self.cloud.advance()
        self.cloud.state.migration_seconds = 10.0
        self.server = next(s for s in self.cloud.state.servers.values() if s.name == "vm-train-1")
        self.watches: list[MigrationWatch] = []

    @property
    def migrations(self) -> Migrations:
        return self.cloud.migrations

    def start(self) -> Migration:
        """Ask Nova for the migration."""
        with self.cloud.state.lock:
            return self.migrations.start(self.server, DESTINATION, "operator")

    def watch(self, source: LibvirtOpener | None = None, destination: LibvirtOpener | None = None) -> MigrationWatch:
        """A console's watch that is connected as far as it can be."""
        made = MigrationWatch(
            self.server.id,
            self.address(SOURCE, source),
            self.address(DESTINATION, destination),
            interval_s=0.01,
            clock=self.clock,
            steady=self.clock,
        )
        self.watches.append(made)
        self.until(lambda: made.reading().source.connected or made.reading().source.error)
        self.until(lambda: made.reading().destination.connected or made.reading().destination.error)  # type: ignore[union-attr]
        return made

    def address(self, host: str, opener: LibvirtOpener | None) -> LibvirtAddress:
        return LibvirtAddress(host, f"demo://{host}/system", opener or self.cloud.libvirt)

    def until(self, ready: Callable[[], object], step_s: float = 0.0) -> None:
        """Let time pass for the cloud, and a little for the threads, until something is so."""
        for _ in range(2000):
            if ready():
                return
            self.clock.tick(step_s)
            self.cloud.advance()
            time.sleep(0.005)
        raise AssertionError("it does not come to that")

    def run_until(self, watch: MigrationWatch, *phases: str, step_s: float = 0.4) -> WatchState:
        self.until(lambda: watch.reading().phase in phases, step_s)
        return watch.reading()

    def job_of(self, watch: MigrationWatch) -> JobReading:
        """The last reading that has the memory's bytes."""
        self.until(lambda: (job := watch.reading().job) and job.memory_total, 0.1)
        job = watch.reading().job
        assert job is not None
        return job


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    for watch in made.watches:
        watch.close(5)


def test_from_the_request_to_the_figure(scene: Scene) -> None:
    changes: list[object] = []
    watch = scene.watch()
    watch._on_change = lambda: changes.append(None)
    assert watch.reading().phase == "waiting"
    assert str(watch.result()) == "not measured: no migration has been seen"
    migration = scene.start()
    scene.run_until(watch, "running")
    job = scene.job_of(watch)
    assert (job.type, job.operation, job.page_size) == ("unbounded", "outgoing migration", 4096)
    assert 0 < (job.memory_remaining or 0) <= (job.memory_total or 0)
    assert watch.result() == NotMeasured(reason="the migration has not ended", final=False)
    standing = scene.run_until(watch, "switching-over", step_s=0.1)
    assert (standing.iteration or 0) >= 2
    assert standing.suspended_at is not None
    ended = scene.run_until(watch, "completed", step_s=0.1)
    done = watch.result()
    assert isinstance(done, CompletedJob)
    assert (done.downtime_ms, done.source) == (migration.downtime_ms, "JOB_COMPLETED event of the source")
    assert ended.resumed_at is not None
    assert ended.job is not None, "what it was like stays to be seen"
    assert changes
    scene.until(lambda: not _threads(), 0.0)


def test_the_destinations_figures_stay_for_others(scene: Scene) -> None:
    def unreachable(uri: str, read_only: bool) -> Any:
        raise OSError(113, "No route to host")

    watch = scene.watch(source=unreachable)
    migration = scene.start()
    scene.run_until(watch, "completed")
    done = watch.result()
    assert isinstance(done, CompletedJob)
    assert (done.downtime_ms, done.source) == (migration.downtime_ms, "completed job statistics of the destination")
    assert not migration.figures_read_away
    assert watch.reading().source.error == "No route to host"


class OldConnection:
    """A libvirt without JOB_COMPLETED, and whose figures of ended jobs cannot be kept (before 6.0)."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def lookupByUUIDString(self, uuid: str) -> Any:
        domain = self._real.lookupByUUIDString(uuid)
        answer = domain.jobStats

        def job_stats(flags: int) -> Any:
            if flags:
                raise _error(8, "invalid argument: unsupported flags (0x2)")
            return answer(0)

        domain.jobStats = job_stats
        return domain

    def domainEventRegisterAny(self, domain: Any, event: int, callback: Any, opaque: Any) -> int:
        if event != 0:
            raise _error(8, "invalid argument: eventID in virConnectDomainEventRegisterAny must be less than 20")
        return int(self._real.domainEventRegisterAny(domain, event, callback, opaque))


def _error(code: int, words: str) -> Exception:
    from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError

    return DemoLibvirtError(code, words)


def test_old_libvirts_leave_the_guests_stop_and_start(scene: Scene) -> None:
    def old(uri: str, read_only: bool) -> Any:
        return OldConnection(scene.cloud.libvirt(uri, read_only))

    watch = scene.watch(old, old)
    migration = scene.start()
    scene.run_until(watch, "running")
    scene.run_until(watch, "completed", step_s=0.05)
    done = watch.result()
    assert isinstance(done, CompletedJob)
    assert done.source == "SUSPENDED→RESUMED events"
    assert abs(done.downtime_ms - (migration.downtime_ms or 0)) <= 100  # two steps of this test's clock


def test_an_abort_is_told_and_named_when_the_cloud_says_so(scene: Scene) -> None:
    watch = scene.watch()
    migration = scene.start()
    scene.run_until(watch, "running")
    with scene.cloud.state.lock:
        scene.migrations.abort(migration, scene.server)
    scene.run_until(watch, "not-completed")
    assert str(watch.result()) == "not measured: aborted or failed: the guest stays on the source"
    watch.tell_end("aborted")
    assert str(watch.result()) == "not measured: aborted: the guest stays on the source"


def test_a_line_that_breaks_is_opened_again(scene: Scene) -> None:
    opened: list[Any] = []

    def opening(uri: str, read_only: bool) -> Any:
        assert read_only
        opened.append(scene.cloud.libvirt(uri, read_only))
        return opened[-1]

    watch = scene.watch(source=opening)
    migration = scene.start()
    scene.run_until(watch, "running")
    before = scene.job_of(watch)
    opened[0].lose()
    scene.until(lambda: len(opened) == 2 and watch.reading().source.connected, 0.05)
    scene.until(lambda: scene.job_of(watch).fetched_at > before.fetched_at, 0.05)
    scene.run_until(watch, "completed")
    done = watch.result()
    assert isinstance(done, CompletedJob)
    assert (done.downtime_ms, done.source) == (migration.downtime_ms, "JOB_COMPLETED event of the source")


def test_a_call_that_hangs_holds_up_neither_the_caller_nor_the_other_end(scene: Scene) -> None:
    hanging, held = threading.Event(), threading.Event()

    class Hanging(OldConnection):
        def lookupByUUIDString(self, uuid: str) -> Any:
            if hanging.is_set():
                held.set()
                release.wait(30)
            return self._real.lookupByUUIDString(uuid)

        def domainEventRegisterAny(self, domain: Any, event: int, callback: Any, opaque: Any) -> int:
            return int(self._real.domainEventRegisterAny(domain, event, callback, opaque))

    release = threading.Event()
    watch = scene.watch(source=lambda uri, read_only: Hanging(scene.cloud.libvirt(uri, read_only)))
    migration = scene.start()
    scene.run_until(watch, "running")
    hanging.set()
    assert held.wait(5)
    asked_at = watch.reading().source.asked_at
    assert asked_at is not None
    scene.run_until(watch, "completed")  # by the event, which comes whatever the call does
    assert watch.reading().source.asked_at == asked_at
    done = watch.result()
    assert isinstance(done, CompletedJob)
    assert (done.downtime_ms, done.source) == (migration.downtime_ms, "JOB_COMPLETED event of the source")
    watch.close(0.1)
    assert [t.name for t in _threads()] == ["migration-source-gpu-01"]
    release.set()
    scene.until(lambda: not _threads())


def test_a_guest_that_is_paused_before_it_migrates_is_not_switching_over(scene: Scene) -> None:
    told: list[None] = []
    watch = scene.watch()
    watch._on_change = lambda: told.append(None)
    host = scene.cloud.state.hosts[SOURCE]
    for event, detail in ((3, 0), (4, 0), (3, 0)):
        notify_domain(host, scene.server.id, event, detail)
    scene.cloud.advance()
    assert watch.reading().phase == "waiting"
    assert watch.reading().suspended_at is None
    scene.start()
    scene.run_until(watch, "running")
    notify_domain(host, scene.server.id, 3, 0)
    scene.cloud.advance()
    assert watch.reading().phase == "switching-over"
    assert told


def test_a_listener_that_fails_does_not_end_the_watch(scene: Scene) -> None:
    watch = scene.watch()

    def fail() -> None:
        raise RuntimeError("the screen has gone")

    watch._on_change = fail
    scene.start()
    scene.run_until(watch, "completed")
    assert isinstance(watch.result(), CompletedJob)


def test_the_destination_is_named_later(scene: Scene) -> None:
    watch = MigrationWatch(
        scene.server.id, scene.address(SOURCE, None), interval_s=0.01, clock=scene.clock, steady=scene.clock
    )
    scene.watches.append(watch)
    assert watch.reading().destination is None
    scene.start()
    scene.run_until(watch, "running")
    watch.follow_to(scene.address(DESTINATION, None))
    watch.follow_to(scene.address("gpu-03", None))  # a second one is none
    scene.run_until(watch, "completed")
    ended = watch.reading().destination
    assert ended is not None
    assert ended.host == DESTINATION
    assert isinstance(watch.result(), CompletedJob)


def test_closing_ends_it(scene: Scene) -> None:
    watch = scene.watch()
    scene.start()
    scene.run_until(watch, "running")
    watch.close(5)
    assert not _threads()
    assert watch.result() == NotMeasured(reason="no longer watched: the migration has not ended", final=True)
    assert watch.wait(0.1) == watch.result()
    for host in (SOURCE, DESTINATION):
        assert not scene.cloud.state.hosts[host].listeners, "the connections are closed"


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(("migration-source", "migration-destination"))]
