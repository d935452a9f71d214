"""Twenty migrations at once: one pace for all, each to its end; and the thread that drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from tests.fleet.follow_scene import FollowScene, Inline
from tests.simulator.client import FakeClock
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.fleet.migration_move import Subject, subject_of
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.simulator import open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch
from vgpu_console.sources.nova_migrations import NovaMigrations


class Counting:
    """The real reader; keeps when each request was made."""

    def __init__(self, reader: NovaMigrations, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self.times: list[float] = []
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._reader, name)

        def counted(*arguments: Any) -> Any:
            self.times += [self._clock()] * (2 if name == "migrations" else 1)
            self.names.append(name)
            return call(*arguments)

        return counted


def test_twenty_cost_two_requests_a_second() -> None:
    clock = FakeClock()
    cloud = open_demo(10, clock=clock, gpus=4, used=0.3)
    cloud.state.migration_seconds = 20.0
    movers = [s for s in cloud.state.servers.values() if s.host][:400:2]
    connection = CloudConnection(cloud.spec(), read_only=True, http=cloud.http())
    reader = Counting(NovaMigrations(connection, clock), clock)
    followers = Followers(
        reader,
        address=lambda host: LibvirtAddress(host, f"demo://{host}/system", cloud.libvirt),
        clock=clock,
        steady=clock,
        watch=partial(MigrationWatch, interval_s=0.05, clock=clock, steady=clock),
        pool=Inline(),
    )
    try:
        begun = 0
        for server in movers:
            followers.follow(Subject(server=server.id, name=server.name))
            cloud.migrations.start(server, None, "operator")
            begun += 1
            if begun == 20:
                break
        assert begun == 20
        started = clock.now
        while followers.busy and clock.now < started + 900:
            followers.step()
            clock.tick(0.1)
            cloud.advance()
            time.sleep(0.0005)
        assert not followers.busy, [t.status for t in followers.timelines() if not t.settled]
    finally:
        followers.stop(0.5)
    took = clock.now - started
    assert len(reader.times) <= 2 * took + 2
    most = max(sum(t <= other < t + 1.0 - 1e-6 for other in reader.times) for t in reader.times)
    assert most <= 2
    statuses = {t.end.kind for t in followers.timelines() if t.end is not None}
    assert statuses <= {"completed", "refused"}
    assert "completed" in statuses
    lists = [t for t, n in zip(reader.times, reader.names, strict=False) if n == "running"]
    assert max(b - a for a, b in pairwise(lists)) < 2.5, "no migration waits for the others' details"


def test_the_thread_follows_and_stops() -> None:
    scene = FollowScene(seconds=1.0)
    changes: list[None] = []
    followers = Followers(
        scene.reader,
        address=lambda host: LibvirtAddress(host, f"demo://{host}/system", scene.cloud.libvirt),
        snapshot=lambda: scene.snapshot,
        on_change=lambda: changes.append(None),
        clock=scene.clock,
        steady=scene.clock,
        watch=partial(MigrationWatch, interval_s=0.02, clock=scene.clock, steady=scene.clock),
    )
    followers.start()
    try:
        followers.follow(scene.subject())
        scene.start()
        for _ in range(1500):
            if not followers.busy:
                break
            scene.clock.tick(0.2)
            scene.cloud.advance()
            time.sleep(0.01)
        (done,) = followers.timelines()
        assert done.end is not None
        assert (done.end.kind, bool(changes)) == ("completed", True)
    finally:
        followers.stop()
    assert followers._thread is not None
    assert not followers._thread.is_alive()


def test_a_call_of_on_settled_that_fails_does_not_end_the_following() -> None:
    scene = FollowScene(seconds=2.0)
    followers = scene.followers()

    def fail(_timeline: Any) -> None:
        raise OSError("no space left")

    followers._on_settled = followers._on_found = fail
    followers.follow(scene.subject())
    scene.start()
    assert scene.end(followers).settled
    scene.close()


def test_the_same_migration_is_followed_once() -> None:
    scene = FollowScene()
    migration = scene.start()
    scene.clock.tick(10)
    scene.cloud.advance()
    followers = scene.followers()
    followers.follow(scene.subject(migration=migration.uuid))
    followers.reattach()
    scene.until(followers, lambda t: t.status)
    followers.step()
    assert [t.migration for t in followers.timelines()] == [migration.uuid]
    assert followers.attached == (migration.uuid,)
    followers.forget(migration.uuid)
    assert not followers.busy
    scene.close()


def test_a_row_beyond_novas_list_is_asked_for_by_its_server() -> None:
    scene = FollowScene(seconds=1.0)
    migration = scene.start()
    for _ in range(200):
        scene.clock.tick(0.1)
        scene.cloud.advance()

    class Cut(Counting):
        def running(self, since: str | None = None) -> Any:
            self.names.append("running")
            return ()

    reader = Cut(scene.reader, scene.clock)
    followers = scene.followers(reader=reader)
    followers.follow(Subject(server=scene.server.id, migration=migration.uuid))
    done = scene.end(followers)
    assert (done.status, "migrations" in reader.names) == ("completed", True)
    scene.close()


def test_failing_requests_come_ever_more_seldom() -> None:
    clock = FakeClock()

    class Down:
        def __init__(self) -> None:
            self.times: list[float] = []

        def running(self, since: str | None = None) -> Any:
            self.times.append(clock.now)
            raise SourceError("unreachable", "connection refused")

    reader = Down()
    followers = Followers(reader, clock=clock, steady=clock, pool=Inline())  # type: ignore[arg-type]
    followers.follow(Subject(server="s-1"))
    for _ in range(600):
        followers.step()
        clock.tick(0.1)
    gaps = [b - a for a, b in pairwise(reader.times)]
    assert gaps[0] < gaps[1] < gaps[2]
    assert 9.9 <= max(gaps) <= 10.2
    (timeline,) = followers.timelines()
    assert (timeline.voices[0].error, timeline.voices[0].answered_at) == ("connection refused", None)
    followers.stop(0)


def test_a_subject_knows_what_the_console_knew() -> None:
    scene = FollowScene()
    found = scene.subject(destination="gpu-02", predicted_low_ms=1.0)
    assert (found.name, found.source, found.destination, found.ram_mib) == ("vm-train-1", "gpu-01", "gpu-02", 65536)
    assert (found.type_name, found.framebuffer_mib, list((found.devices or {}).values())) == (
        "GRID A100-20C",
        20480,
        ["nvidia-472"],
    )
    stranger = subject_of(Snapshot(), "s-9", migration="m-9")
    assert (stranger.name, stranger.framebuffer_mib) == ("s-9", None)
