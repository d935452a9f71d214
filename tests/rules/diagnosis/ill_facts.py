"""Facts of the embedded cloud's fleets, ill or well, and ways to change one of them: what a rule says then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.nova import Server
from vgpu_console.model.snapshot import Finding
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.runtime import Fleet

NOW = 1_800_000_000.0

Change = Callable[[Facts], Facts]


@cache
def facts_of(scenario: str) -> Facts:
    """What the console's own sources read of that fleet."""
    fleet = Fleet(Settings(), DemoChoice(scenario), clock=lambda: NOW)
    try:
        fleet.snapshot(20.0)
        return fleet.facts()
    finally:
        fleet.close()


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All findings of a first reading."""
    return Joiner(load_catalogue()).join(facts, NOW).findings


def told(facts: Facts) -> set[str]:
    """The ids of all findings."""
    return {finding.id for finding in findings(facts)}


def without(kind: SourceKind) -> Change:
    """No answer of any source of that kind, ever."""

    def change(facts: Facts) -> Facts:
        statuses = tuple(
            msgspec.structs.replace(s, fetched_at=None, error="no answer", failures=1) if s.kind == kind else s
            for s in facts.statuses
        )
        gone: dict[str, Any] = {kind: {} if kind in ("libvirt", "ssh") else None}
        return msgspec.structs.replace(facts, statuses=statuses, **gone)

    return change


def failing(kind: SourceKind) -> Change:
    """The last attempt of every source of that kind failed; what it said before is still there."""

    def change(facts: Facts) -> Facts:
        return msgspec.structs.replace(
            facts,
            statuses=tuple(
                msgspec.structs.replace(s, error="no answer", failures=1) if s.kind == kind else s
                for s in facts.statuses
            ),
        )

    return change


def libvirt(host: str, change: Callable[[LibvirtFacts], Mapping[str, Any]]) -> Change:
    """Fields of one host's libvirt."""

    def changed(facts: Facts) -> Facts:
        one = facts.libvirt[host]
        return msgspec.structs.replace(
            facts, libvirt=facts.libvirt | {host: msgspec.structs.replace(one, **change(one))}
        )

    return changed


def ssh(host: str, change: Callable[[SshFacts], Mapping[str, Any]]) -> Change:
    """Fields of what one host's own files and programs say."""

    def changed(facts: Facts) -> Facts:
        one = facts.ssh[host]
        return msgspec.structs.replace(facts, ssh=facts.ssh | {host: msgspec.structs.replace(one, **change(one))})

    return changed


def conf(host: str, **options: str | None) -> Change:
    """Options of one host's nova.conf, ``group__option``; None takes one away."""

    def change(one: SshFacts) -> Mapping[str, Any]:
        wanted = {name.replace("__", ".", 1).replace("nvidia_", "nvidia-"): value for name, value in options.items()}
        kept = {k: v for k, v in (one.nova_conf or {}).items() if k not in wanted}
        return {"nova_conf": kept | {k: v for k, v in wanted.items() if v is not None}}

    return ssh(host, change)


def server(name: str, **fields: Any) -> Change:
    """Fields of a server in Nova's answer."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        servers: list[Server] = [
            msgspec.structs.replace(s, **fields) if s.name == name else s for s in facts.nova.servers or ()
        ]
        return msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, servers=tuple(servers)))

    return change


def nova(**fields: Any) -> Change:
    """Fields of Nova's answer."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        return msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, **fields))

    return change


def migrating(name: str) -> Change:
    """A live migration of that server runs."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        assert facts.nova.migrations
        server_id = next(s.id for s in facts.nova.servers or () if s.name == name)
        row = msgspec.structs.replace(facts.nova.migrations[0], id=99, server_id=server_id, status="running")
        return nova(migrations=(*facts.nova.migrations, row))(facts)

    return change


def iso(age_s: float) -> str:
    """A moment so long before NOW, as Nova writes it."""
    return datetime.fromtimestamp(NOW - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
