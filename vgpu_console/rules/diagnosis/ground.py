"""What all diagnoses look at: a snapshot with the facts it was joined from, and the indexes that several need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Evidence, Host, MediatedDevice, PhysicalGpu, Provider, Snapshot, VgpuServer
from vgpu_console.model.source import SourceKind, SourceStatus


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
    def statuses(self) -> Mapping[str, SourceStatus]:
        """How each source fares, by its key (``nova``, ``libvirt:gpu-01``)."""
        return {s.key: s for s in self.snapshot.sources}

    def answers(self, kind: SourceKind, host: str = "") -> bool:
        """Whether the last attempt to read that source went well: what it does not show is then not there."""
        status = self.statuses.get(f"{kind}:{host}" if host else kind)
        return status is not None and status.error is None and status.fetched_at is not None

    def server_words(self, server_id: str) -> str:
        """``server NAME (ID) of project NAME`` as far as it is known, for objects and messages."""
        known = self.vgpu_servers.get(server_id)
        if known is not None:
            return f"server {known.name} ({server_id}) of project {known.project}"
        plain_server = self.servers.get(server_id)
        return f"server {plain_server.name} ({server_id})" if plain_server is not None else f"server {server_id}"


def nova_says(text: str) -> Evidence:
    """Nova's side of a finding."""
    return Evidence("nova", "", text)


def placement_says(text: str) -> Evidence:
    """Placement's side."""
    return Evidence("placement", "", text)


def keystone_says(text: str) -> Evidence:
    """Keystone's side."""
    return Evidence("keystone", "", text)


def libvirt_says(host: str, text: str) -> Evidence:
    """A host's libvirt."""
    return Evidence("libvirt", host, text)


def host_says(host: str, text: str) -> Evidence:
    """A host's own files and programs, read over SSH: sysfs, nova.conf, nvidia-smi."""
    return Evidence("ssh", host, text)
