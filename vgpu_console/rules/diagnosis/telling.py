"""Findings as records with the age of what each side said, for JSON, reports and screens.

Field names are a promise of ``vgpu-console doctor -o json``: they only ever grow at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from vgpu_console.model.snapshot import Finding, Severity, Snapshot
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.diagnosis.doctor import BY_ID


class EvidenceRecord(msgspec.Struct, frozen=True):
    """What one side says. ``age_s`` is since that source's last good answer; None: it has none."""

    source: SourceKind
    host: str
    text: str
    age_s: float | None


class FindingRecord(msgspec.Struct, frozen=True):
    """A finding for a script. ``source`` are the kinds that it rests on, ``age_s`` the age of the oldest answer."""

    id: str
    severity: Severity
    objects: tuple[str, ...]
    evidence: tuple[EvidenceRecord, ...]
    message: str
    command: str
    source: tuple[SourceKind, ...]
    age_s: float | None
    host: str
    why: str
    action: str


class Teller:
    """Looks up how old the sources of one snapshot are at ``now`` (seconds since the epoch)."""

    def __init__(self, snapshot: Snapshot, now: float | None = None) -> None:
        self._now = snapshot.taken_at if now is None else now
        self._statuses: dict[str, SourceStatus] = {s.key: s for s in snapshot.sources}

    def age_s(self, key: str) -> float | None:
        """Seconds since the last good answer of the source with that key (``libvirt:gpu-01``); None: there is none."""
        status = self._statuses.get(key)
        age = status.age_s(self._now) if status is not None else None
        return None if age is None else round(age, 1)

    def record(self, finding: Finding) -> FindingRecord:
        """The finding with ages."""
        keys = [e.key for e in finding.evidence] or [_key(kind, finding.host) for kind in kinds(finding)]
        ages = [age for age in map(self.age_s, keys) if age is not None]
        return FindingRecord(
            id=finding.id,
            severity=finding.severity,
            objects=finding.objects or (finding.object,),
            evidence=tuple(EvidenceRecord(e.source, e.host, e.text, self.age_s(e.key)) for e in finding.evidence),
            message=finding.message,
            command=finding.command,
            source=kinds(finding),
            age_s=max(ages, default=None),
            host=finding.host,
            why=finding.why,
            action=finding.action,
        )

    def records(self, findings: Iterable[Finding]) -> list[FindingRecord]:
        """The same of several."""
        return [self.record(finding) for finding in findings]


def kinds(finding: Finding) -> tuple[SourceKind, ...]:
    """The kinds of sources that a finding rests on: of its evidence, else those that its diagnosis needs."""
    told = tuple(dict.fromkeys(e.source for e in finding.evidence))
    known = BY_ID.get(finding.id)
    return told or (known.needs if known is not None else ())


def concerns(finding: Finding, host: str) -> bool:
    """Whether a finding is about a host: its own, one of its objects, or one that is part of the evidence."""
    if host == finding.host or any(e.host == host for e in finding.evidence):
        return True
    return any(host in one.split(" ")[1:2] for one in (finding.object, *finding.objects))


def _key(kind: SourceKind, host: str) -> str:
    return f"{kind}:{host}" if kind in ("libvirt", "ssh") and host else kind
