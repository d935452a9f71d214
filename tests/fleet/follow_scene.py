"""A console that follows migrations of the embedded cloud: its own connection, pace and watches; a clock that moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.simulator.client import FakeClock
from vgpu_console.fleet.join import Joiner
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.fleet.migration_move import Subject, subject_of
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.state import Migration, Server
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.libvirt_host import LibvirtHostSource
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch
from vgpu_console.sources.nova import NovaSource
from vgpu_console.sources.nova_migrations import NovaMigrations
from vgpu_console.sources.placement import PlacementSource

SOURCE, DESTINATION = "gpu-01", "gpu-02"


class Inline:
    """A pool whose jobs are done at once."""

    def submit(self, job: Callable[[], None]) -> None:
        job()

    def lend(self) -> None: ...
    def take_back(self) -> None: ...
    def close(self) -> None: ...


class FollowScene:
    """The small scenario, settled; ``vm-train-1`` will move from gpu-01 to gpu-02 in about ten seconds."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.clock = FakeClock()
        self.cloud: DemoCloud = open_demo("small", clock=self.clock, living=False)
        for _ in range(60):
            self.clock.tick(5)
            self.cloud.advance()
        self.cloud.state.migration_seconds = seconds
        self.server = self.named("vm-train-1")
        self.connection = CloudConnection(self.cloud.spec(), read_only=True, http=self.cloud.http())
        self.reader = NovaMigrations(self.connection, self.clock)
        self.snapshot = self.read()
        self.settled: list[Timeline] = []
        self.made: list[Followers] = []
        self.unreachable: set[str] = set()

    def named(self, name: str) -> Server:
        return next(s for s in self.cloud.state.servers.values() if s.name == name)

    def read(self) -> Snapshot:
        """What the console's own sources say now, joined."""
        nova = NovaSource(self.connection).fetch(None)
        owners = {s.id: s.project_id for s in nova.servers or ()}
        placement = PlacementSource(self.connection, lambda: owners).fetch(None)
        libvirt: dict[str, LibvirtFacts] = {}
        for host in (SOURCE, DESTINATION):
            libvirt[host] = LibvirtHostSource(host, f"demo://{host}/system", self.cloud.libvirt).fetch()
        status = [SourceStatus(kind="nova", fetched_at=self.clock.now, attempted_at=self.clock.now)]
        facts = Facts(nova=nova, placement=placement, libvirt=libvirt, statuses=tuple(status))
        return Joiner(load_catalogue()).join(facts, self.clock.now)

    def refresh(self) -> None:
        self.snapshot = self.read()

    def followers(self, *, libvirt: bool = True, reader: Any = None) -> Followers:
        """A console's followers, which the test steps."""

        def address(host: str) -> LibvirtAddress | None:
            if not libvirt or host in self.unreachable:
                return None
            return LibvirtAddress(host, f"demo://{host}/system", self.cloud.libvirt)

        made = Followers(
            reader or self.reader,
            address=address,
            snapshot=lambda: self.snapshot,
            on_settled=self.settled.append,
            clock=self.clock,
            steady=self.clock,
            watch=partial(MigrationWatch, interval_s=0.01, clock=self.clock, steady=self.clock),
            pool=Inline(),
        )
        self.made.append(made)
        return made

    def subject(self, **known: Any) -> Subject:
        return subject_of(self.snapshot, self.server.id, **known)

    def start(self, server: Server | None = None, to: str | None = DESTINATION) -> Migration:
        """Ask Nova for the migration."""
        with self.cloud.state.lock:
            return self.cloud.migrations.start(server or self.server, to, "operator")

    def until(
        self, followers: Followers, ready: Callable[[Timeline], object], *, tick: float = 0.1, most: float = 200.0
    ) -> Timeline:
        """Let time pass and the followers work until something is so of the first timeline."""
        end = self.clock.now + most
        while self.clock.now < end:
            followers.step()
            (now, *_) = followers.timelines() or (None,)
            if now is not None and ready(now):
                return now
            self.clock.tick(tick)
            self.cloud.advance()
            time.sleep(0.002)
        raise AssertionError(f"it does not come to that: {followers.timelines()}")

    def end(self, followers: Followers, **options: Any) -> Timeline:
        """To the end, told for good."""
        return self.until(followers, lambda t: t.settled, **options)

    def abort(self, migration: Migration) -> None:
        """Ask Nova to abort it."""
        with self.cloud.state.lock:
            self.cloud.migrations.abort(migration, self.cloud.state.servers[migration.server_id])

    def close(self) -> None:
        for one in self.made:
            one.stop(0.5)
