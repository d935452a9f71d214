"""What the pre-checks of one move look at: the server, the two hosts, and what each source said and when."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, Mechanism
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot, VgpuServer
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.migration.downtime import Downtime

_NUMBERS = re.compile(r"\d+")


class UnknownServer(LookupError):
    """No server of that id is in the snapshot."""


class UnknownHost(LookupError):
    """No host of that name is in the snapshot."""


class HostScene(msgspec.Struct, frozen=True, kw_only=True):
    """One end of the move. ``status`` tells how its libvirt and SSH fare."""

    host: Host
    status: Mapping[SourceKind, SourceStatus]

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
        word = {"libvirt": "libvirt", "ssh": "SSH"}.get(kind, kind)
        if status is None:
            return f"{word} of {self.name} is not asked"
        return f"{word} of {self.name}: {status.error}" if status.error else f"{word} of {self.name} does not say"


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
    snapshot: Snapshot
    facts: Facts
    now: float
    candidates: Candidates | None = None
    predicted: Downtime | None = None
    max_downtime_ms: float | None = None

    @property
    def vgpus(self) -> int:
        """So many devices must be found on the destination; 0 for a server without vGPU."""
        return len(self.devices) or self.server.vgpus or 0

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
    def ends(self) -> tuple[HostScene, HostScene]:
        """Source and destination."""
        return self.source, self.destination

    def cloud_age_s(self, kind: SourceKind) -> float | None:
        """How old the answer of an OpenStack service is."""
        status = next((s for s in self.snapshot.sources if s.kind == kind and not s.host), None)
        return status.age_s(self.now) if status is not None else None

    def check(self, word: str, status: CheckStatus, evidence: str, source: str) -> Check:
        """A check with the age of its source: of both hosts the older one, none when one is not known."""
        if source in ("libvirt", "ssh"):
            ages = [end.age_s(source, self.now) for end in self.ends]  # type: ignore[arg-type]
            known = [a for a in ages if a is not None]
            age = max(known) if len(known) == len(ages) else None
        elif source in ("nova", "placement", "keystone"):
            age = self.cloud_age_s(source)  # type: ignore[arg-type]
        else:
            age = None
        return Check(id=f"migrate.{word}", status=status, evidence=evidence, source=source, age_s=age)


def scene_of(
    snapshot: Snapshot,
    facts: Facts,
    server_id: str,
    destination: str,
    now: float,
    *,
    candidates: Candidates | None = None,
    predicted: Downtime | None = None,
    max_downtime_ms: float | None = None,
) -> Scene:
    """The scene of one move. Raises UnknownServer and UnknownHost."""
    server = next((s for s in snapshot.servers if s.id == server_id), None)
    rows = facts.nova.servers if facts.nova is not None else None
    nova = next((s for s in rows or () if s.id == server_id), None)
    if server is None:
        if nova is None:
            raise UnknownServer(server_id)
        server = _plain_server(snapshot, nova)
    source = snapshot.host(server.host or "")
    target = snapshot.host(destination)
    if source is None:
        raise UnknownHost(server.host or "")
    if target is None:
        raise UnknownHost(destination)
    devices = tuple(d for d in snapshot.mdevs if d.server_id == server_id and d.host == source.name)
    carrying = {d.gpu for d in devices}
    libvirt = facts.libvirt.get(source.name)
    migrations = facts.nova.migrations if facts.nova is not None else None
    return Scene(
        server=server,
        nova=nova,
        source=_end(snapshot, source),
        destination=_end(snapshot, target),
        devices=devices,
        gpus=tuple(g for g in source.gpus or () if g.address in carrying),
        domain=next((d for d in libvirt.domains if d.uuid == server_id), None) if libvirt is not None else None,
        migrations=None if migrations is None else tuple(m for m in migrations if m.in_progress),
        snapshot=snapshot,
        facts=facts,
        now=now,
        candidates=candidates,
        predicted=predicted,
        max_downtime_ms=max_downtime_ms,
    )


def _end(snapshot: Snapshot, host: Host) -> HostScene:
    return HostScene(host=host, status={s.kind: s for s in snapshot.sources if s.host == host.name})


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
