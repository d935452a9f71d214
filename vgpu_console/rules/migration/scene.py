"""What the pre-checks of one move look at: the server, the two hosts, and what each source said and when."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, Mechanism, SshFacts
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot, VgpuServer
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.resource_classes import pci_aliases

_NUMBERS = re.compile(r"\d+")
_WORDS = {"libvirt": "libvirt", "ssh": "SSH"}


class UnknownServer(LookupError):
    """No server of that id is in the snapshot."""


class UnknownHost(LookupError):
    """No host of that name is in the snapshot; "" for a server that is on none."""


class HostScene(msgspec.Struct, frozen=True, kw_only=True):
    """One end of the move. ``status`` tells how its libvirt and SSH fare; ``libvirt`` and ``ssh`` what they said."""

    host: Host
    status: Mapping[SourceKind, SourceStatus]
    libvirt: LibvirtFacts | None = None
    ssh: SshFacts | None = None

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def conf(self) -> Mapping[str, str] | None:
        """Its nova.conf; None when that could not be read."""
        return self.host.nova_conf

    def age_s(self, kind: SourceKind, now: float) -> float | None:
        """How old what libvirt or SSH told of it is."""
        status = self.status.get(kind)
        return status.age_s(now) if status is not None else None

    def why_unread(self, kind: SourceKind) -> str:
        """Why a source says nothing of this host, for an evidence."""
        status = self.status.get(kind)
        word = _WORDS.get(kind, kind)
        if status is None:
            return f"{word} of {self.name} is not asked"
        if not status.error:
            return f"{word} of {self.name} does not say"
        return f"{word} of {self.name}: {status.error.removeprefix(f'{self.name}: ').removeprefix('libvirt: ')}"

    @property
    def no_conf(self) -> str:
        """Why its nova.conf is not known, for an evidence."""
        if self.ssh is not None:
            return f"nova.conf of {self.name} is not readable"
        return f"nova.conf of {self.name}: {self.why_unread('ssh')}"


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one server and one destination. ``devices`` are the vGPUs that the server holds now."""

    server: VgpuServer
    nova: Server | None  # Nova's own row; None: not read
    source: HostScene
    destination: HostScene
    devices: tuple[MediatedDevice, ...]
    gpus: tuple[PhysicalGpu, ...]  # those of the source that carry ``devices``
    domain: DomainFacts | None  # the guest in the source's libvirt
    migrations: tuple[MigrationFacts, ...] | None  # live ones in progress, anywhere
    ground: Ground
    candidates: Candidates | None = None
    predicted: Downtime | None = None
    max_downtime_ms: float | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The joined view."""
        return self.ground.snapshot

    @property
    def facts(self) -> Facts:
        """What the sources said."""
        return self.ground.facts

    @property
    def now(self) -> float:
        """The moment that ages are counted to."""
        return self.ground.now

    @property
    def vgpus(self) -> int:
        """So many devices must be found on the destination; 0 for a server without vGPU.

        What a flavor asks for by PCI alias may be a vGPU of the vendor VFIO framework: it is taken for one.
        """
        return len(self.devices) or self.server.vgpus or sum(self.aliases.values())

    @property
    def aliases(self) -> dict[str, int]:
        """PCI aliases that the flavor names, with how many of each (``pci_passthrough:alias``)."""
        return pci_aliases(self.extra_specs)

    @property
    def mechanism(self) -> Mechanism:
        """How its vGPUs are made."""
        kinds = {d.mechanism for d in self.devices}
        return kinds.pop() if len(kinds) == 1 else "unknown" if self.vgpus else "none"

    @property
    def types(self) -> dict[str, str]:
        """Type id -> name of its devices."""
        return {d.type_id: d.type_name for d in self.devices}

    @property
    def needed(self) -> dict[str, int]:
        """Type id -> how many devices of it."""
        found: dict[str, int] = {}
        for device in self.devices:
            found[device.type_id] = found.get(device.type_id, 0) + 1
        return found

    @property
    def ends(self) -> tuple[HostScene, HostScene]:
        """Source and destination."""
        return self.source, self.destination

    @property
    def extra_specs(self) -> Mapping[str, str] | None:
        """Of the server's flavor; None: not visible."""
        return self.nova.extra_specs if self.nova is not None else None

    def cloud_status(self, kind: SourceKind) -> SourceStatus | None:
        """How an OpenStack service fares."""
        return self.ground.statuses.get("", {}).get(kind)

    def age_of(self, kind: SourceKind, end: HostScene | None = None) -> float | None:
        """How old the answer of a host's source, or of an OpenStack service, is."""
        if kind in ("libvirt", "ssh"):
            return end.age_s(kind, self.now) if end is not None else self.older(kind, kind)
        status = self.cloud_status(kind)
        return status.age_s(self.now) if status is not None else None

    def older(self, of_source: SourceKind, of_destination: SourceKind) -> float | None:
        """The age of the older of two answers, one for each end; None when one was never given."""
        ages = (self.age_of(of_source, self.source), self.age_of(of_destination, self.destination))
        known = [a for a in ages if a is not None]
        return max(known) if len(known) == len(ages) else None

    def check(
        self, word: str, status: CheckStatus, evidence: str, source: str, *, end: HostScene | None = None
    ) -> Check:
        """A check with the age of its source: of both hosts the older one, where ``end`` does not name the only one."""
        known = source in ("libvirt", "ssh", "nova", "placement", "keystone")
        age = self.age_of(source, end) if known else None  # type: ignore[arg-type]
        return Check(id=f"migrate.{word}", status=status, evidence=evidence, source=source, age_s=age)


def scene_of(
    ground: Ground,
    server_id: str,
    destination: str,
    *,
    candidates: Candidates | None = None,
    predicted: Downtime | None = None,
    max_downtime_ms: float | None = None,
) -> Scene:
    """The scene of one move. Raises UnknownServer and UnknownHost."""
    snapshot, facts = ground.snapshot, ground.facts
    nova = ground.nova_servers.get(server_id)
    server = ground.servers.get(server_id)
    if server is None:
        if nova is None:
            raise UnknownServer(server_id)
        server = _plain_server(snapshot, nova)
    source = ground.hosts.get(server.host or "")
    target = ground.hosts.get(destination)
    if source is None:
        raise UnknownHost(server.host or "")
    if target is None:
        raise UnknownHost(destination)
    devices = tuple(d for d in ground.devices.get(source.name, ()) if d.server_id == server_id)
    carrying = {d.gpu for d in devices}
    libvirt = facts.libvirt.get(source.name)
    return Scene(
        server=server,
        nova=nova,
        source=_end(ground, source),
        destination=_end(ground, target),
        devices=devices,
        gpus=tuple(g for g in source.gpus or () if g.address in carrying),
        domain=next((d for d in libvirt.domains if d.uuid == server_id), None) if libvirt is not None else None,
        migrations=ground.migrations,
        ground=ground,
        candidates=candidates,
        predicted=predicted,
        max_downtime_ms=max_downtime_ms,
    )


def _end(ground: Ground, host: Host) -> HostScene:
    return HostScene(
        host=host,
        status=ground.statuses.get(host.name, {}),
        libvirt=ground.facts.libvirt.get(host.name),
        ssh=ground.facts.ssh.get(host.name),
    )


def _plain_server(snapshot: Snapshot, nova: Server) -> VgpuServer:
    """A server without vGPUs, which the snapshot does not hold."""
    project = next((q.project for q in snapshot.quotas if q.project_id == nova.project_id), nova.project_id)
    return VgpuServer(
        id=nova.id,
        name=nova.name,
        project_id=nova.project_id,
        project=project,
        host=nova.host,
        status=nova.status,
        vgpus=0,
        task_state=nova.task_state,
        power_state=nova.power_state,
        flavor=nova.flavor,
        ram_mib=nova.ram_mib,
        created=nova.created,
    )


def version(text: str | None) -> tuple[int, ...] | None:
    """The leading numbers of ``8.6.0`` or ``6.1.0-18-amd64`` as a tuple of three; None when there is none."""
    if not text:
        return None
    head = re.match(r"\s*v?(\d+(?:\.\d+)*)", text)
    if head is None:
        return None
    numbers = [int(n) for n in _NUMBERS.findall(head[1])][:3]
    return tuple(numbers + [0] * (3 - len(numbers)))
