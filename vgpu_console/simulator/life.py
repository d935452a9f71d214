"""What goes on in a living cloud by itself: one migration after another, servers that come and go."""

from __future__ import annotations

import msgspec

from vgpu_console.simulator.compute import Compute, OverQuota
from vgpu_console.simulator.hosts import Host
from vgpu_console.simulator.migrating import CannotMigrate, Migrations
from vgpu_console.simulator.state import Flavor, Server


class Burst(msgspec.Struct, eq=False):
    """Servers of one kind that are booted and deleted again."""

    name: str
    project_id: str
    flavor: Flavor
    host: str
    count: int = 0
    servers: list[Server] = []


class Life:
    """Keeps the cloud moving. Everything is scheduled on the state's clock and drawn from its seeded source."""

    def __init__(self, compute: Compute, migrations: Migrations) -> None:
        self.compute = compute
        self.migrations = migrations
        self.state = compute.state
        self.living = False
        self.pause_s = 40.0
        self.burst_s = 60.0
        self.migrating: frozenset[str] = frozenset()  # names of the servers that are moved around
        self.between: tuple[str, ...] = ()
        self.bursts: list[Burst] = []
        self.first: list[tuple[Server, str]] = []  # migrations that are under way from the beginning
        self.past: list[tuple[Server, str]] = []  # migrations that have ended by then

    def recall(self) -> None:
        """Start the migrations that lie in the past; the clock must move on for them to end."""
        for server, target in self.past:
            self.migrations.start(server, target, server.user_id)

    def begin(self) -> None:
        """Start the scenario's own migrations, and everything else if this cloud lives."""
        for server, target in self.first:
            self.migrations.start(server, target, server.user_id)
        if not self.living:
            return
        self._watch()
        if self.bursts:
            self.state.after(self._pause(self.burst_s), self._burst)

    def _pause(self, mean_s: float) -> float:
        return self.state.random.uniform(0.5, 1.5) * mean_s

    def _watch(self) -> None:
        """When no migration is under way any more, start the next one after a pause."""
        if any(m.kind == "live-migration" and not m.ended_status for m in self.state.migrations.values()):
            self.state.after(5.0, self._watch)
            return
        self.state.after(self._pause(self.pause_s), self._migrate)

    def _migrate(self) -> None:
        choices = [
            (server, target)
            for server in self.state.servers.values()
            if server.name in self.migrating and server.status == "ACTIVE" and server.task_state is None
            for target in self.between
            if target != server.host and self._has_room(self.state.hosts[target], server.flavor)
        ]
        if choices:
            server, target = choices[self.state.random.randrange(len(choices))]
            try:
                self.migrations.start(server, target, server.user_id)
            except CannotMigrate:
                choices = []
        self.state.after(5.0, self._watch)

    def _has_room(self, host: Host, flavor: Flavor) -> bool:
        """Whether Placement offers room on the host and the device behind the offer can really take one more."""
        allocations = self.compute.fit(host, flavor) if host.up and host.status == "enabled" else None
        if allocations is None:
            return False
        for uuid in allocations:
            device = self.state.placement.providers[uuid].device
            if not device:
                continue
            gpu = host.gpu_of(device)
            if gpu is None or not gpu.enabled:
                return False
            free = any(m.active and m.uuid not in gpu.claimed for m in gpu.mdevs.get(device, ()))
            if not free and not gpu.available(device, gpu.enabled[0]):
                return False
        return True

    def _burst(self) -> None:
        burst = self.bursts[self.state.random.randrange(len(self.bursts))]
        burst.servers = [server for server in burst.servers if server.deleted is None]
        if burst.servers and (self.state.random.random() < 0.6 or not self._boot(burst)):
            self.compute.act(burst.servers[0], "delete")
            self.compute.delete(burst.servers.pop(0))
        elif not burst.servers:
            self._boot(burst)
        self.state.after(self._pause(self.burst_s), self._burst)

    def _boot(self, burst: Burst) -> bool:
        host = self.state.hosts[burst.host]
        if not self._has_room(host, burst.flavor):
            return False
        try:
            self.compute.check_quota(burst.project_id, burst.flavor)
        except OverQuota:
            return False
        burst.count += 1
        user = next(u.id for u in self.state.users.values())
        server = self.compute.new_server(f"{burst.name}-{burst.count}", burst.project_id, user, burst.flavor)
        burst.servers.append(server)
        self.compute.boot(server, burst.host)
        return True
