"""What plans about one host's functions look at alike: how old its facts are, and who holds what of it."""

from __future__ import annotations

from vgpu_console.actions.plan import Check, CheckStatus
from vgpu_console.actions.quota_checks import STALE_INTERVALS, STALE_LEAST_S
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind, SourceStatus


def host_status(facts: Facts, kind: SourceKind, host: str) -> SourceStatus | None:
    """How the source of that kind on that host fares."""
    return next((s for s in facts.statuses if s.kind == kind and s.host == host), None)


def host_age(facts: Facts, kind: SourceKind, host: str, now: float) -> float | None:
    """Seconds since that source's last good answer."""
    status = host_status(facts, kind, host)
    return status.age_s(now) if status is not None else None


def host_fresh(id: str, facts: Facts, kind: SourceKind, host: str, now: float, stale_s: float | None = None) -> Check:
    """That this host was read lately over that channel, and the last attempt did not fail."""
    status = host_status(facts, kind, host)
    age = status.age_s(now) if status is not None else None

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id=id, status=word, evidence=evidence, source=f"{kind} {host}", age_s=age)

    if status is None or age is None:
        return check("fail", f"{host} was never read over {kind}")
    if status.error is not None:
        return check("fail", f"{host} could not be read over {kind} last time: {status.error}")
    most = stale_s if stale_s is not None else max(STALE_LEAST_S, STALE_INTERVALS * status.interval_s)
    if age > most:
        return check("fail", f"{host} was last read {age:.0f} s ago, more than {most:.0f} s: refresh first")
    return check("pass", f"{host} was read {age:.0f} s ago")


def guest_words(snapshot: Snapshot, domain: DomainFacts) -> str:
    """A guest as an operator knows it: its server and project, or libvirt's name where Nova knows no such server."""
    state = {True: "", False: " (shut off)", None: " (state unknown)"}[domain.active]
    server = next((s for s in snapshot.servers if s.id == domain.uuid), None)
    if server is None:
        return f"domain {domain.name}{state}, no server that Nova tells of"
    return f"server {server.name} of project {server.project}{state}"
