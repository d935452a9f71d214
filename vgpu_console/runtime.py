"""Puts the parts together for one run: settings -> sources -> collector -> engine or a single reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from vgpu_console.config import ConfigError, DemoChoice, Settings
from vgpu_console.fleet.collector import ALL_KINDS, Collector, FactSource
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.sources.base import HostShell, LibvirtOpener

if TYPE_CHECKING:
    from vgpu_console.actions.cloud_world import CloudWorld
    from vgpu_console.actions.journal import Journal
    from vgpu_console.fleet.engine import Engine
    from vgpu_console.simulator import DemoCloud

CLOUD_DEADLINE_S = 60.0
"""A cold reading of a large Placement takes many requests, each with its own, shorter time-out."""

HTTP_TIMEOUT_S = 20.0


class Fleet:
    """The sources of one cloud and its hosts, ready to be collected; ``close`` ends what they hold open.

    Raises SourceError when no connection can even be tried: an unknown cloud, a broken clouds.yaml.
    """

    def __init__(
        self,
        settings: Settings,
        demo: DemoChoice | None = None,
        *,
        kinds: frozenset[SourceKind] = ALL_KINDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from vgpu_console.sources.cloud import CloudConnection, CloudSpec
        from vgpu_console.sources.keystone import KeystoneSource
        from vgpu_console.sources.nova import NovaSource
        from vgpu_console.sources.placement import PlacementSource

        self._settings = settings
        self._clock = clock
        self._demo = self._open_demo(demo) if demo is not None else None
        self._shell: HostShell | None = self._demo.shell if self._demo else None
        if self._demo is not None:
            spec, http = self._demo.spec(), self._demo.http()
        else:
            spec = CloudSpec(cloud=settings.cloud, limits_cloud=settings.limits_cloud, region=settings.region)
            http = None
        self.cloud = CloudConnection(spec, read_only=settings.read_only, timeout_s=HTTP_TIMEOUT_S, http=http)
        sources: list[FactSource] = [
            NovaSource(self.cloud),
            KeystoneSource(self.cloud),
            PlacementSource(self.cloud, self._projects),
        ]
        self.collector = Collector(
            sources,
            self._host_sources,
            pacing=settings.refresh.interval,
            deadline=self._deadline,
            identity=self.cloud.identity,
            expected_hosts=settings.hosts.extra,
            kinds=kinds,
            clock=clock,
        )
        self.joiner = Joiner(load_catalogue())

    def snapshot(self, deadline_s: float, progress: Callable[[int, int], None] | None = None) -> Snapshot:
        """Read every source once."""
        facts = self.collector.collect_once(deadline_s, progress)
        return self.joiner.join(facts, self._clock())

    def engine(self) -> Engine:
        """A live engine on this fleet, not yet started."""
        from vgpu_console.fleet.engine import Engine

        return Engine(self.collector, self.joiner, self._clock, self.close, world=self.world(), journal=self.journal())

    def facts(self) -> Facts:
        """What the sources have answered so far: what plans are made from."""
        return self.collector.facts()

    def world(self) -> CloudWorld:
        """What plans are applied to: this cloud, behind the same wall."""
        from vgpu_console.actions.cloud_world import CloudWorld

        return CloudWorld(self.cloud, self._settings.read_only, self.cloud.spec.cloud or "")

    def journal(self) -> Journal:
        """Where changes are written down."""
        from vgpu_console.actions.journal import Journal, default_path

        return Journal(default_path(self._demo is not None), self._clock)

    def close(self) -> None:
        """Close the sources and what they share."""
        self.collector.close()
        if self._shell is not None:
            self._shell.close()

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        from vgpu_console.simulator import ScenarioError, open_demo

        try:
            return open_demo(choice.scenario, clock=self._clock)
        except ScenarioError as error:
            raise ConfigError(str(error)) from error

    def _projects(self) -> Mapping[str, str]:
        """Consumer id -> project id, as Nova knows its servers and migrations."""
        nova = self.collector.facts().nova
        if nova is None:
            return {}
        # of migrations only those that run: Placement looks into what an ended one still holds
        running = (m for m in nova.migrations or () if m.status in LIVE_MIGRATION_IN_PROGRESS)
        # and a migration counts for the project of its server, not for that of whoever started it
        owners = {s.id: s.project_id for s in nova.servers or ()}
        return owners | {m.uuid: owners[m.server_id] for m in running if m.server_id in owners}

    def _deadline(self, kind: SourceKind) -> float:
        if kind == "libvirt":
            return self._settings.libvirt.timeout * 3
        if kind == "ssh":
            return self._settings.ssh.timeout * 2
        return CLOUD_DEADLINE_S

    def _host_sources(self, host: str, nudge: Callable[[], None]) -> Iterable[FactSource]:
        from vgpu_console.sources.libvirt_host import LibvirtHostSource, open_libvirt
        from vgpu_console.sources.ssh_host import SshHostSource

        settings = self._settings
        if settings.libvirt.enabled:
            opener: LibvirtOpener = self._demo.libvirt if self._demo else open_libvirt
            uri = settings.libvirt.uri.replace("{host}", host)
            yield LibvirtHostSource(
                host,
                f"demo://{host}/system" if self._demo else uri,
                opener,
                timeout_s=settings.libvirt.timeout,
                on_event=nudge,
            )
        if settings.ssh.enabled:
            yield SshHostSource(host, self._host_shell(), timeout_s=settings.ssh.timeout)

    def _host_shell(self) -> HostShell:
        if self._shell is None:
            from vgpu_console.sources.ssh_shell import AsyncSshShell

            ssh = self._settings.ssh
            self._shell = AsyncSshShell(
                user=ssh.user,
                port=ssh.port,
                known_hosts=ssh.known_hosts,
                connect_timeout_s=ssh.timeout,
                concurrency=ssh.concurrency,
            )
        return self._shell


def read_once(
    settings: Settings,
    demo: DemoChoice | None,
    want: frozenset[SourceKind] = ALL_KINDS,
    deadline_s: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
) -> Snapshot:
    """One reading of the sources of the wanted kinds. Raises SourceError when no connection can be tried."""
    fleet = Fleet(settings, demo, kinds=want)
    try:
        return fleet.snapshot(deadline_s, progress)
    finally:
        fleet.close()


def open_engine(settings: Settings, demo: DemoChoice | None, clock: Callable[[], float] = time.time) -> Engine:
    """A live engine for the screens. Raises SourceError when no connection can be tried."""
    return Fleet(settings, demo, clock=clock).engine()
