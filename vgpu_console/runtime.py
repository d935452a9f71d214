"""Puts the parts together for one run: settings -> sources -> collector -> engine or a single reading."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from vgpu_console.config import ConfigError, DemoChoice, Settings
from vgpu_console.fleet.collector import ALL_KINDS, Collector, FactSource
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.sources.base import LibvirtOpener

if TYPE_CHECKING:
    from vgpu_console.actions.drain_desk import DrainDesk
    from vgpu_console.actions.drain_store import DrainStore
    from vgpu_console.actions.fleet_world import FleetWorld
    from vgpu_console.actions.journal import Journal
    from vgpu_console.fleet.engine import Engine
    from vgpu_console.fleet.migration_follow import Followers
    from vgpu_console.fleet.precheck import Precheck
    from vgpu_console.migration_history import MigrationHistory
    from vgpu_console.model.migration_timeline import Timeline
    from vgpu_console.rules.migration.candidates import DowntimeSettings
    from vgpu_console.rules.migration.downtime import PastMove
    from vgpu_console.simulator import DemoCloud
    from vgpu_console.sources.host_commands import ChangingShell
    from vgpu_console.sources.migration_watch import LibvirtAddress

CLOUD_DEADLINE_S = 60.0
"""A cold reading of a large Placement takes many requests, each with its own, shorter time-out."""

HTTP_TIMEOUT_S = 20.0


class Fleet:
    """The sources of one cloud and its hosts, ready to be collected; ``close`` ends what they hold open.

    With ``hosts`` only those hosts are asked, of all that Nova names; with ``use_only`` no more is read than the quota
    view needs. Raises SourceError when no connection can even be tried: an unknown cloud, a broken clouds.yaml.
    """

    def __init__(
        self,
        settings: Settings,
        demo: DemoChoice | None = None,
        *,
        kinds: frozenset[SourceKind] = ALL_KINDS,
        hosts: frozenset[str] | None = None,
        use_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from vgpu_console.sources.cloud import CloudConnection, CloudSpec

        self._settings = settings
        self._clock = clock
        self._demo = self._open_demo(demo) if demo is not None else None
        self._shell: ChangingShell | None = self._demo.shell if self._demo else None
        self._world: FleetWorld | None = None
        if self._demo is not None:
            spec, http = self._demo.spec(), self._demo.http()
        else:
            spec = CloudSpec(cloud=settings.cloud, limits_cloud=settings.limits_cloud, region=settings.region)
            http = None
        self.cloud = CloudConnection(spec, read_only=settings.read_only, timeout_s=HTTP_TIMEOUT_S, http=http)
        self.collector = Collector(
            self._use_sources() if use_only else self._cloud_sources(),
            self._host_sources,
            pacing=settings.refresh.interval,
            deadline=self._deadline,
            identity=self.cloud.identity,
            expected_hosts=settings.hosts.extra,
            kinds=kinds,
            hosts=hosts,
            clock=clock,
        )
        self.joiner = Joiner(load_catalogue())

    def snapshot(self, deadline_s: float, progress: Callable[[int, int], None] | None = None) -> Snapshot:
        """Read every source once."""
        facts = self.collector.collect_once(deadline_s, progress)
        return self.joiner.join(facts, self._clock())

    def candidates(
        self,
        groups: Sequence[RequestGroup],
        policy: str | None,
        in_tree: str | None = None,
        limit: int | None = None,
    ) -> Candidates:
        """Where Placement could put one such request now: in all trees, or in that of one root provider.

        Blocks; a failure is told in the answer, never raised.
        """
        from vgpu_console.sources.base import SourceError
        from vgpu_console.sources.placement import CANDIDATES_AT_MOST, PlacementSource

        try:
            return PlacementSource(self.cloud, dict).candidates(
                groups, policy=policy, in_tree=in_tree, limit=limit or CANDIDATES_AT_MOST
            )
        except SourceError as error:
            return Candidates(error=str(error))

    def engine(self) -> Engine:
        """A live engine on this fleet, not yet started."""
        from vgpu_console.actions.migration_desk import MigrationDesk
        from vgpu_console.fleet.engine import Engine
        from vgpu_console.fleet.explain import last_beginning
        from vgpu_console.sources.nova_migrations import NovaMigrations

        engine = Engine(
            self.collector,
            self.joiner,
            self._clock,
            self.close,
            world=self.world(),
            journal=self.journal(),
            candidates=self.candidates,
            precheck=self.precheck,
        )
        engine.mover = MigrationDesk(
            check=engine.precheck,
            known=lambda: (engine.snapshot, engine.facts()),
            reader=NovaMigrations(self.cloud, self._clock),
            address=self.libvirt_address,
            following=functools.partial(self.followers, snapshot=lambda: engine.snapshot),
            history=self.history(),
            journal=engine.journal,
            cloud=self.cloud.spec.cloud or "",
            clock=self._clock,
        )
        engine.last_action = functools.partial(last_beginning, NovaMigrations(self.cloud, self._clock))
        engine.drainer = self._drain_desk(engine, engine.mover.followers)
        return engine

    def _drain_desk(self, engine: Engine, followers: Followers) -> DrainDesk:
        """What drains hosts, over an engine and what follows its migrations."""
        from vgpu_console.actions.drain_desk import DrainDesk
        from vgpu_console.actions.drain_follow import TimelineFollowing
        from vgpu_console.sources.nova_migrations import NovaMigrations

        return DrainDesk(
            known=lambda: (engine.snapshot, engine.facts()),
            reader=NovaMigrations(self.cloud, self._clock),
            ask=self.candidates,
            world=self.world(),
            journal=self.journal(),
            follow=lambda item, source: TimelineFollowing(followers, item, source, engine.snapshot, self._clock),
            store=self.drain_store(),
            settings=self.downtime_settings,
            past=self._past_moves,
            clock=self._clock,
        )

    def _past_moves(self) -> tuple[PastMove, ...]:
        """What downtimes are predicted from; nothing where the history cannot be read."""
        from vgpu_console.migration_history import HistoryError

        try:
            return self.history().past_moves(self.cloud.spec.cloud or "")
        except HistoryError:
            return ()

    def drain_store(self) -> DrainStore:
        """Where drains are written down."""
        from vgpu_console.actions.drain_store import DrainStore, default_folder

        return DrainStore(default_folder(self._demo is not None))

    def precheck(
        self,
        server_id: str,
        destination: str | None = None,
        *,
        snapshot: Snapshot | None = None,
        max_downtime_s: float | None = None,
        others: bool = True,
    ) -> Precheck:
        """Whether a server could be live-migrated there (None: anywhere). Blocks while Placement is asked.

        Goes by what has been read; ``snapshot`` is the joined view of that, where there is one already.
        ``max_downtime_s`` goes before the configured limit. Raises UnknownServer and UnknownHost.
        """
        from vgpu_console.fleet.precheck import precheck
        from vgpu_console.migration_history import HistoryError

        facts, now = self.collector.facts(), self._clock()
        notes: tuple[str, ...] = ()
        past: tuple[PastMove, ...] = ()
        try:
            past = self.history().past_moves(self.cloud.spec.cloud or "")
        except HistoryError as error:
            notes = (f"{error}; the downtime is predicted without it",)
        found = precheck(
            self.candidates,
            snapshot if snapshot is not None else self.joiner.join(facts, now),
            facts,
            server_id,
            destination,
            now,
            settings=self.downtime_settings(max_downtime_s),
            past=past,
            others=others,
        )
        return msgspec.structs.replace(found, notes=notes)

    def downtime_settings(self, max_downtime_s: float | None = None) -> DowntimeSettings:
        """What downtimes are predicted with and held against: ``[migration]``, and a limit that goes before its."""
        from vgpu_console.rules.migration.candidates import DowntimeSettings
        from vgpu_console.rules.migration.downtime import SWITCH_OVER_MS, Rate

        told = self._settings.migration
        limit = max_downtime_s if max_downtime_s is not None else told.max_downtime
        rate = Rate(low=told.rate, high=told.rate, origin="configured: [migration] rate") if told.rate else None
        return DowntimeSettings(
            rate=rate,
            switch_over_ms=told.switchover_ms or SWITCH_OVER_MS,
            max_downtime_ms=None if limit is None else limit * 1000.0,
        )

    def history(self) -> MigrationHistory:
        """This console's memory of past migrations."""
        from vgpu_console.migration_history import MigrationHistory, default_path

        return MigrationHistory(default_path(self._demo is not None))

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since the epoch, as everything of this fleet counts them."""
        return self._clock

    def libvirt_address(self, host: str) -> LibvirtAddress | None:
        """Where a host's libvirt is; None where this console does not ask libvirt."""
        if not self._settings.libvirt.enabled:
            return None
        from vgpu_console.sources.migration_watch import LibvirtAddress

        return LibvirtAddress(host, self._libvirt_uri(host), self._libvirt_opener())

    def followers(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        on_change: Callable[[], None] = lambda: None,
        on_found: Callable[[Timeline], None] = lambda timeline: None,
        on_settled: Callable[[Timeline], None] = lambda timeline: None,
    ) -> Followers:
        """Followers of this cloud's migrations, not yet started; ``snapshot`` gives the latest joined view."""
        from vgpu_console.fleet.migration_follow import Followers
        from vgpu_console.sources.nova_migrations import NovaMigrations

        return Followers(
            NovaMigrations(self.cloud, self._clock),
            address=self.libvirt_address,
            snapshot=snapshot,
            on_change=on_change,
            on_found=on_found,
            on_settled=on_settled,
            clock=self._clock,
        )

    def facts(self) -> Facts:
        """What the sources have answered so far: what plans are made from."""
        return self.collector.facts()

    @property
    def shell_changes(self) -> bool:
        """Whether the console may change hosts over SSH: a setting, and allowed in a demo that does not forbid it."""
        settings = self._settings
        unsaid = self._demo is not None and settings.origin("ssh.changes").layer == "default"
        return settings.ssh.enabled and not settings.read_only and (settings.ssh.changes or unsaid)

    def world(self) -> FleetWorld:
        """What plans are applied to: this cloud and its hosts, behind the same wall."""
        if self._world is None:
            from vgpu_console.actions.cloud_world import CloudWorld
            from vgpu_console.actions.fleet_world import FleetWorld
            from vgpu_console.actions.host_world import HostWorld

            settings = self._settings
            cloud = CloudWorld(self.cloud, settings.read_only, self.cloud.spec.cloud or "")
            hosts = HostWorld(
                read_only=cloud.read_only,
                uri=self._libvirt_uri,
                opener=self._libvirt_opener() if settings.libvirt.enabled else None,
                libvirt_timeout_s=settings.libvirt.timeout,
                shell=self._host_shell if settings.ssh.enabled else None,
                ssh_timeout_s=settings.ssh.timeout,
                shell_changes=self.shell_changes,
                on_taken=self.collector.ask_again,
            )
            self._world = FleetWorld(cloud, hosts)
        return self._world

    def journal(self) -> Journal:
        """Where changes are written down."""
        from vgpu_console.actions.journal import Journal, default_path

        return Journal(default_path(self._demo is not None), self._clock, self._settings.journal.syslog)

    def close(self) -> None:
        """Close the sources and what they share."""
        self.collector.close()
        if self._world is not None:
            self._world.close()
        if self._shell is not None:
            self._shell.close()

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        from vgpu_console.simulator import ScenarioError, open_demo

        try:
            return open_demo(choice.scenario, clock=self._clock)
        except ScenarioError as error:
            raise ConfigError(str(error)) from error

    def _cloud_sources(self) -> list[FactSource]:
        """What every view needs of the cloud."""
        from vgpu_console.rules.quota_usage import owners
        from vgpu_console.sources.keystone import KeystoneSource
        from vgpu_console.sources.nova import NovaSource
        from vgpu_console.sources.placement import PlacementSource

        placement = PlacementSource(self.cloud, lambda: owners(self.collector.facts().nova))
        return [NovaSource(self.cloud), KeystoneSource(self.cloud), placement]

    def _use_sources(self) -> list[FactSource]:
        """What the quota view alone needs of it: the limits, and who uses what."""
        from vgpu_console.rules.expected_use import expected_holders
        from vgpu_console.sources.keystone import KeystoneSource
        from vgpu_console.sources.nova import NovaSource
        from vgpu_console.sources.placement_use import PlacementUse

        placement = PlacementUse(self.cloud, lambda: expected_holders(self.collector.facts().nova))
        return [NovaSource(self.cloud, use_only=True), KeystoneSource(self.cloud, limits_only=True), placement]

    def _deadline(self, kind: SourceKind) -> float:
        if kind == "libvirt":
            return self._settings.libvirt.timeout * 3
        if kind == "ssh":
            return self._settings.ssh.timeout * 2
        return CLOUD_DEADLINE_S

    def _host_sources(self, host: str, nudge: Callable[[], None]) -> Iterable[FactSource]:
        from vgpu_console.sources.libvirt_host import LibvirtHostSource
        from vgpu_console.sources.ssh_host import SshHostSource

        settings = self._settings
        if settings.libvirt.enabled:
            yield LibvirtHostSource(
                host,
                self._libvirt_uri(host),
                self._libvirt_opener(),
                timeout_s=settings.libvirt.timeout,
                on_event=nudge,
            )
        if settings.ssh.enabled:
            yield SshHostSource(host, self._host_shell(), timeout_s=settings.ssh.timeout, clock=self._clock)

    def _libvirt_uri(self, host: str) -> str:
        return f"demo://{host}/system" if self._demo else self._settings.libvirt.uri.replace("{host}", host)

    def _libvirt_opener(self) -> LibvirtOpener:
        from vgpu_console.sources.libvirt_host import open_libvirt

        return self._demo.libvirt if self._demo else open_libvirt

    def _host_shell(self) -> ChangingShell:
        if self._shell is None:
            from vgpu_console.sources.ssh_shell import AsyncSshShell

            ssh = self._settings.ssh
            self._shell = AsyncSshShell(
                user=ssh.user,
                port=ssh.port,
                known_hosts=ssh.known_hosts,
                connect_timeout_s=ssh.timeout,
                concurrency=ssh.concurrency,
                changes=self.shell_changes,
            )
        return self._shell


def read_once(
    settings: Settings,
    demo: DemoChoice | None,
    want: frozenset[SourceKind] = ALL_KINDS,
    deadline_s: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
    use_only: bool = False,
) -> Snapshot:
    """One reading of the sources of the wanted kinds; with ``use_only`` of no more than the quota view needs.

    Raises SourceError when no connection can be tried.
    """
    fleet = Fleet(settings, demo, kinds=want, use_only=use_only)
    try:
        return fleet.snapshot(deadline_s, progress)
    finally:
        fleet.close()


def open_engine(settings: Settings, demo: DemoChoice | None, clock: Callable[[], float] = time.time) -> Engine:
    """A live engine for the screens. Raises SourceError when no connection can be tried."""
    return Fleet(settings, demo, clock=clock).engine()


def scenario_names() -> list[str]:
    """The embedded cloud's scenarios: those of files first, then one for each diagnosis of the doctor."""
    from importlib.resources import files

    from vgpu_console.simulator.illnesses import names

    folder = files("vgpu_console") / "assets" / "scenarios"
    return [*sorted(entry.name.rpartition(".")[0] for entry in folder.iterdir() if "." in entry.name), *names()]
