"""What the pre-checks of all destinations share: one reading of the fleet, looked up by host once for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Aggregate, Hypervisor, MigrationFacts, Server
from vgpu_console.model.snapshot import Finding, Host, MediatedDevice, Provider, Snapshot, VgpuServer
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.diagnosis.reserved_devices import RESERVED


class Ground:
    """Lookups over one snapshot and the facts that it was joined from."""

    def __init__(self, snapshot: Snapshot, facts: Facts, now: float) -> None:
        self.snapshot = snapshot
        self.facts = facts
        self.now = now

    @cached_property
    def hosts(self) -> Mapping[str, Host]:
        """By name."""
        return {h.name: h for h in self.snapshot.hosts}

    @cached_property
    def servers(self) -> Mapping[str, VgpuServer]:
        """Those with vGPUs, by id."""
        return {s.id: s for s in self.snapshot.servers}

    @cached_property
    def nova_servers(self) -> Mapping[str, Server]:
        """Every server that Nova told of, by id."""
        rows = self.facts.nova.servers if self.facts.nova is not None else None
        return {s.id: s for s in rows or ()}

    @cached_property
    def statuses(self) -> Mapping[str, Mapping[SourceKind, SourceStatus]]:
        """How libvirt and SSH of each host fare; the OpenStack services under ""."""
        found: dict[str, dict[SourceKind, SourceStatus]] = defaultdict(dict)
        for status in self.snapshot.sources:
            found[status.host][status.kind] = status
        return found

    @cached_property
    def devices(self) -> Mapping[str, list[MediatedDevice]]:
        """vGPUs by host."""
        found: dict[str, list[MediatedDevice]] = defaultdict(list)
        for device in self.snapshot.mdevs:
            found[device.host].append(device)
        return found

    @cached_property
    def providers(self) -> Mapping[str, Mapping[str, Provider]]:
        """Resource providers of each host by their uuid."""
        found: dict[str, dict[str, Provider]] = defaultdict(dict)
        for provider in self.snapshot.providers:
            found[provider.host][provider.uuid] = provider
        return found

    @cached_property
    def hypervisors(self) -> Mapping[str, Hypervisor]:
        """Compute nodes by the name of their service's host."""
        rows = self.facts.nova.hypervisors if self.facts.nova is not None else None
        return {h.service_host or h.name: h for h in rows or ()}

    @cached_property
    def roots(self) -> Mapping[str, str]:
        """Uuid of each host's root provider, which bears the compute node's name."""
        by_name = {
            p.name: p.uuid
            for p in (self.facts.placement.providers if self.facts.placement is not None else ())
            if p.parent_uuid is None
        }
        named = {host: self.hypervisors[host].name if host in self.hypervisors else host for host in self.hosts}
        return {host: by_name[name] for host, name in named.items() if name in by_name}

    @cached_property
    def migrations(self) -> tuple[MigrationFacts, ...] | None:
        """Live migrations in progress; None: not read."""
        rows = self.facts.nova.migrations if self.facts.nova is not None else None
        return None if rows is None else tuple(m for m in rows if m.in_progress)

    @cached_property
    def reserved(self) -> Mapping[str, Finding]:
        """What the doctor tells of devices that a host's nova-compute may keep for a migration that was aborted."""
        return {f.host: f for f in self.snapshot.findings if f.id == RESERVED.id and f.severity == "warn"}

    @cached_property
    def aggregates(self) -> Mapping[str, list[Aggregate]] | None:
        """Host aggregates by host; None: not read."""
        rows = self.facts.nova.aggregates if self.facts.nova is not None else None
        if rows is None:
            return None
        found: dict[str, list[Aggregate]] = defaultdict(list)
        for aggregate in rows:
            for host in aggregate.hosts:
                found[host].append(aggregate)
        return found
