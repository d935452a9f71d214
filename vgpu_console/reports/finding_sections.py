"""What is wrong, where the figures are from, and what could not be looked at."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from vgpu_console.model.snapshot import Finding, Snapshot, Unlooked
from vgpu_console.model.source import SourceStatus
from vgpu_console.reports.section import Section, data_only, words_only
from vgpu_console.reports.wording import NONE, age, listed, moment, plural, stamp
from vgpu_console.views import Column, column

SEVERITIES = ("fail", "warn", "info")


def all_findings(snapshot: Snapshot) -> tuple[Finding, ...]:
    """The worst first; those about limits too, which the quota view shows by itself."""
    found = list(snapshot.findings)
    found += [f for f in snapshot.quota_findings if f not in snapshot.findings]
    return tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity)))


def findings(snapshot: Snapshot, found: Sequence[Finding], now: float) -> Section:
    """What is wrong, why it matters, what each side says, and what mends it."""
    ages: Mapping[str, str] = {s.key: age(s.age_s(now)) for s in snapshot.sources}

    statuses = {s.key: s for s in snapshot.sources}

    def evidence(finding: Finding) -> list[dict[str, Any]]:
        return [
            {
                "source": e.source,
                "host": e.host or None,
                "age_s": _age_s(statuses[e.key], now) if e.key in statuses else None,
                "text": e.text,
            }
            for e in finding.evidence
        ]

    def told(finding: Finding) -> str:
        return "; ".join(f"{e.key} ({ages.get(e.key, 'not asked')}): {e.text}" for e in finding.evidence)

    def or_none(text: str) -> str:
        return text or NONE

    return Section(
        "findings",
        "Findings",
        "What is wrong or will be, the worst first: why it matters, what each side says (and how old that is), and "
        "the command that mends it or tells more.",
        (
            column("severity"),
            column("id"),
            Column("host", lambda f: f.host or None, table=False),
            column("object"),
            data_only("objects", lambda f: list(f.objects or (f.object,))),
            column("message"),
            Column("why", lambda f: f.why or None, show=lambda f: or_none(f.why)),
            Column("evidence", evidence, show=lambda f: or_none(told(f))),
            Column("command", lambda f: f.command or None, show=lambda f: or_none(f.command)),
            data_only("action", lambda f: f.action or None),
        ),
        tuple(found),
        "nothing wrong was found by what could be looked at",
        lead="message",
        under=("why", "evidence", "command"),
        code=("command",),
        tone=lambda f: f.severity,
    )


def _age_s(status: SourceStatus, now: float) -> float | None:
    age_s = status.age_s(now)
    return None if age_s is None else round(age_s, 1)


def sources(snapshot: Snapshot, now: float, tz: datetime.tzinfo | None) -> Section:
    """How old each answer is, and who did not answer."""

    def state(status: SourceStatus) -> str:
        return status.freshness(now)

    def error(status: SourceStatus) -> str:
        return status.error or NONE

    return Section(
        "sources",
        "Sources",
        "Where the figures are from: the age of each source's last good answer when this report was made, and what the "
        "last attempt failed with.",
        (
            Column("source", lambda s: s.key),
            data_only("kind", lambda s: s.kind),
            data_only("host", lambda s: s.host or None),
            Column("state", state),
            Column("age_s", lambda s: _age_s(s, now), True, table=False),
            words_only("age", lambda s: age(s.age_s(now)), right=True),
            Column("answered_at", lambda s: stamp(s.fetched_at), show=lambda s: _answered(s, tz)),
            column("duration_s", right=True, show=lambda s: None if s.duration_s is None else f"{s.duration_s:.2f}"),
            Column("error", lambda s: s.error, show=error),
            data_only("error_kind", lambda s: s.error_kind),
            Column("notes", lambda s: list(s.notes), show=lambda s: "; ".join(s.notes) or NONE),
        ),
        tuple(sorted(snapshot.sources, key=lambda s: (s.error is None, bool(s.host), s.host, s.kind))),
        "no source was asked",
        tone=lambda s: "fail" if s.error is not None else "" if state(s) == "fresh" else "warn",
    )


def _answered(status: SourceStatus, tz: datetime.tzinfo | None) -> str:
    return "never" if status.fetched_at is None else moment(status.fetched_at, tz)


def unlooked(snapshot: Snapshot) -> Section:
    """What could not be looked at."""

    def where(one: Unlooked) -> str:
        return listed(list(one.hosts)) or NONE

    return Section(
        "unlooked",
        "Not looked at",
        "What would need a source that did not answer: these may be wrong without a finding above.",
        (
            column("source"),
            Column("hosts", lambda u: list(u.hosts), show=where),
            Column(
                "diagnoses", lambda u: list(u.ids), show=lambda u: listed(list(u.ids), 50) or plural(0, "diagnosis")
            ),
            column("reason"),
            column("access"),
        ),
        snapshot.unlooked,
        "everything that a diagnosis needs has been read",
        tone=lambda u: "unknown",
    )
