"""The console's sources, collector and join, pointed at the lab cloud and its hosts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tests.lab.host_libvirt import LabLibvirt
from tests.lab.host_tree import LabShell
from tests.lab.lab import Lab
from vgpu_console.fleet.collector import ALL_KINDS, OPENSTACK, Collector, FactSource
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.quota_usage import owners
from vgpu_console.sources.base import LibvirtOpener
from vgpu_console.sources.cloud import CloudConnection, CloudSpec
from vgpu_console.sources.keystone import KeystoneSource
from vgpu_console.sources.nova import NovaSource
from vgpu_console.sources.placement import PlacementSource
from vgpu_console.sources.ssh_host import SshHostSource


def connection_to(cloud: str = "lab-admin", timeout_s: float = 20.0, *, read_only: bool = True) -> CloudConnection:
    """The console's connection with one of the lab's credentials, by its name in clouds.yaml."""
    return CloudConnection(CloudSpec(cloud=cloud), read_only=read_only, timeout_s=timeout_s)


class LabFleet:
    """A whole console without its face. ``read`` asks every source once, as the first look and each refresh do."""

    def __init__(
        self,
        lab: Lab,
        cloud: str = "lab-admin",
        *,
        hosts: bool = True,
        read_only: bool = True,
        timeout_s: float = 20.0,
        opener: LibvirtOpener | None = None,
        uri: Callable[[str], str] | None = None,
    ) -> None:
        self.libvirt = LabLibvirt(lab)
        self.shell = LabShell(lab)
        self._hosts = hosts
        self._opener = opener or self.libvirt
        self._uri = uri or (lambda host: f"qemu+lab://{host}/system")
        self.nudged: list[str] = []
        self.cloud = connection_to(cloud, timeout_s, read_only=read_only)
        self.nova = NovaSource(self.cloud)
        self.keystone = KeystoneSource(self.cloud)
        self.placement = PlacementSource(self.cloud, lambda: owners(self.collector.facts().nova))
        self.collector = Collector(
            [self.nova, self.keystone, self.placement],
            self._host_sources,
            pacing=lambda kind, hosts: 3600.0,
            deadline=lambda kind: 120.0,
            identity=self.cloud.identity,
            kinds=ALL_KINDS if hosts else OPENSTACK,
        )

    def read(self) -> Facts:
        """Ask every source once more and wait for all of them, those of hosts that Nova has just named included."""
        started = time.time()
        self.collector.refresh_now()
        seen = -1
        while True:
            self.collector.tick()
            facts = self.collector.facts()
            if not self.collector.busy() and all((s.attempted_at or 0) >= started for s in facts.statuses):
                return facts
            assert time.time() - started < 180, f"no end of {[s.key for s in facts.statuses if s.attempted_at is None]}"
            seen = self.collector.wait(seen, 0.2)

    def snapshot(self) -> Snapshot:
        """Read everything and join it."""
        from vgpu_console.rules.catalogue import load_catalogue

        return Joiner(load_catalogue()).join(self.read(), time.time())

    def status(self, key: str) -> SourceStatus:
        """How a source fares: "nova", "libvirt:gpu-01"."""
        return next(s for s in self.collector.facts().statuses if s.key == key)

    def http_requests(self) -> int:
        """HTTP requests of the last reading of the OpenStack services."""
        return self.nova.requests + self.keystone.requests + self.placement.requests

    def close(self) -> None:
        """End the sources and remove the hosts' files."""
        self.collector.close()
        self.shell.close()

    def _host_sources(self, host: str, nudge: Callable[[], None]) -> Iterable[FactSource]:
        if not self._hosts:
            return

        def nudged() -> None:
            self.nudged.append(host)
            nudge()

        from vgpu_console.sources.libvirt_host import LibvirtHostSource

        yield LibvirtHostSource(host, self._uri(host), self._opener, timeout_s=10.0, on_event=nudged)
        yield SshHostSource(host, self.shell, timeout_s=20.0)
