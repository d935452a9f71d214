"""What all diagnoses look at: a snapshot with the facts it was joined from, and the indexes that several need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Provider, Snapshot, VgpuServer
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.expected_use import at_rest
from vgpu_console.rules.quota_usage import migrations_of

SETTLED_S = 60.0
"""Seconds after a server's last change before its devices and its allocations are held against each other."""


class Ground:
    """A snapshot, its facts and the moment (seconds since the epoch); each index is made when it is first asked for."""

    def __init__(self, snapshot: Snapshot, facts: Facts, now: float) -> None:
        self.snapshot = snapshot
        self.facts = facts
        self.now = now

    def gpus(self) -> Iterator[tuple[Host, PhysicalGpu]]:
        """Every known physical GPU with its host."""
        for host in self.snapshot.hosts:
            for gpu in host.gpus or ():
                yield host, gpu

    @cached_property
    def hosts(self) -> Mapping[str, Host]:
        """By name."""
        return {h.name: h for h in self.snapshot.hosts}

    @cached_property
    def devices(self) -> Mapping[str, tuple[MediatedDevice, ...]]:
        """vGPUs by host."""
        found: dict[str, list[MediatedDevice]] = defaultdict(list)
        for mdev in self.snapshot.mdevs:
            found[mdev.host].append(mdev)
        return {host: tuple(mdevs) for host, mdevs in found.items()}

    @cached_property
    def providers(self) -> Mapping[str, Provider]:
        """By uuid."""
        return {p.uuid: p for p in self.snapshot.providers}

    @cached_property
    def providers_of(self) -> Mapping[str, tuple[Provider, ...]]:
        """Providers by the name of their host."""
        found: dict[str, list[Provider]] = defaultdict(list)
        for provider in self.snapshot.providers:
            found[provider.host].append(provider)
        return {host: tuple(providers) for host, providers in found.items()}

    @cached_property
    def vgpu_servers(self) -> Mapping[str, VgpuServer]:
        """Servers that ask for, hold or are allocated vGPUs, by id."""
        return {s.id: s for s in self.snapshot.servers}

    @cached_property
    def servers(self) -> Mapping[str, Server]:
        """All servers that Nova shows, by id; empty while Nova has not answered."""
        nova = self.facts.nova
        return {s.id: s for s in (nova.servers if nova else None) or ()}

    @cached_property
    def migrations_of(self) -> Mapping[str, tuple[MigrationFacts, ...]]:
        """Live migrations by server, the newest first."""
        nova = self.facts.nova
        found: dict[str, list[MigrationFacts]] = defaultdict(list)
        for row in (nova.migrations if nova else None) or ():
            found[row.server_id].append(row)
        return {server: tuple(sorted(rows, key=lambda r: r.id, reverse=True)) for server, rows in found.items()}

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """All consumers in motion: servers that are built, moved or resized, and migrations that run. What they hold,
        and where, is about to change: nothing of theirs is wrong yet."""
        found = {s.id for s in self.servers.values() if not at_rest(s) and not _stopped_short(s)}
        if self.facts.nova is not None:
            for row in migrations_of(self.facts.nova):
                if row.in_progress:
                    found.update((row.server_id, row.uuid))
        return frozenset(found)

    @cached_property
    def moving(self) -> frozenset[str]:
        """Servers that a migration of any kind is moving or resizing now, by id."""
        nova = self.facts.nova
        rows = (*((nova.migrations if nova else None) or ()), *((nova.other_migrations if nova else None) or ()))
        return frozenset(row.server_id for row in rows if row.in_progress)

    def settled(self, server_id: str) -> bool:
        """Whether a server stands still: nothing is done with it, and nothing has been for ``SETTLED_S``.

        A server that Nova does not show, or of which it does not tell when it changed, is not known to stand still.
        """
        server = self.servers.get(server_id)
        if server is None or server.task_state or server.status in (None, "BUILD") or server_id in self.moving:
            return False
        try:
            changed = datetime.fromisoformat(server.updated or "")
        except ValueError:
            return False
        return self.now - changed.timestamp() >= SETTLED_S

    @cached_property
    def running_migrations(self) -> frozenset[str]:
        """The uuids under which migrations of any kind that have not ended hold allocations."""
        nova = self.facts.nova
        rows = (*((nova.migrations if nova else None) or ()), *((nova.other_migrations if nova else None) or ()))
        return frozenset(row.uuid for row in rows if row.in_progress)

    def in_motion(self, consumer_id: str) -> bool:
        """Whether who holds an allocation is being built or moved now, or may be: while Nova does not tell, it may."""
        if consumer_id in self.servers:
            return not self.settled(consumer_id)
        return consumer_id in self.running_migrations or not self.answers("nova")

    @cached_property
    def shared(self) -> frozenset[tuple[str, str]]:
        """(host, uuid) of the mediated devices that several domains of a host are defined with."""
        times: dict[tuple[str, str], int] = defaultdict(int)
        for host, libvirt in self.facts.libvirt.items():
            for domain in libvirt.domains:
                for uuid in domain.mdevs:
                    times[(host, uuid)] += 1
        return frozenset(key for key, count in times.items() if count > 1)

    @cached_property
    def devices_of(self) -> Mapping[str, tuple[MediatedDevice, ...]]:
        """vGPUs by the server whose domain holds them."""
        found: dict[str, list[MediatedDevice]] = defaultdict(list)
        for mdev in self.snapshot.mdevs:
            if mdev.server_id:
                found[mdev.server_id].append(mdev)
        return {server: tuple(mdevs) for server, mdevs in found.items()}

    @cached_property
    def statuses(self) -> Mapping[str, SourceStatus]:
        """How each source fares, by its key (``nova``, ``libvirt:gpu-01``)."""
        return {s.key: s for s in self.snapshot.sources}

    def answers(self, kind: SourceKind, host: str = "") -> bool:
        """Whether the last attempt to read that source went well: what it does not show is then not there."""
        status = self.statuses.get(f"{kind}:{host}" if host else kind)
        return status is not None and status.error is None and status.fetched_at is not None

    def heard(self, kind: SourceKind, host: str = "") -> bool:
        """Whether what that source says may be held against another's word: there is something, and it is not left
        from before an attempt that failed."""
        facts = self.facts
        there = host in facts.libvirt if kind == "libvirt" else host in facts.ssh if kind == "ssh" else None
        if there is None:
            there = {"nova": facts.nova, "placement": facts.placement, "keystone": facts.keystone}[kind] is not None
        status = self.statuses.get(f"{kind}:{host}" if host else kind)
        return there and (status is None or status.error is None)

    def server_words(self, server_id: str) -> str:
        """``server NAME (ID) of project NAME`` as far as it is known, for objects and messages."""
        known = self.vgpu_servers.get(server_id)
        if known is not None:
            return f"server {known.name} ({server_id}) of project {known.project}"
        plain_server = self.servers.get(server_id)
        return f"server {plain_server.name} ({server_id})" if plain_server is not None else f"server {server_id}"


def _stopped_short(server: Server) -> bool:
    """In ERROR, or shelved off its host, and nothing is done to it."""
    return server.status in ("ERROR", "SHELVED_OFFLOADED") and server.task_state is None
