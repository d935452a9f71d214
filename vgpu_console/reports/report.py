"""A report of the fleet: one snapshot with past live migrations, laid out once for every format."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.reports.capacity_sections import capacity, hosts, quota, quota_totals
from vgpu_console.reports.finding_sections import all_findings, findings, sources, unlooked
from vgpu_console.reports.migration_section import migrations
from vgpu_console.reports.section import Section
from vgpu_console.reports.summary import Fact, Summary, facts, summary_of
from vgpu_console.reports.wording import NONE, age, moment

SCHEMA_VERSION = 1
"""Raised when a member of the written report changes its meaning or goes away."""

PAST_MOVES = 200
"""So many past live migrations a report tells, the latest."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report in words and figures; times are seconds since the epoch, ``tz`` is the zone that words give them in."""

    title: str
    identity: CloudIdentity
    taken_at: float
    made_at: float
    tz: datetime.tzinfo | None
    summary: Summary
    sections: tuple[Section, ...]
    gaps: tuple[str, ...]  # a line for each source that did not answer

    def heads(self) -> tuple[tuple[str, str], ...]:
        """Of what cloud, seen by whom and when: name and words."""
        who = self.identity
        scope = f"{who.user or '?'}, {who.scope or 'scope unknown'}"
        return (
            ("Cloud", who.cloud or NONE),
            ("Region", who.region or NONE),
            ("Seen by", scope + (f"; limits by {who.limits_scope}" if who.limits_scope else "")),
            (
                "Fleet as of",
                f"{moment(self.taken_at, self.tz)}, {age(self.made_at - self.taken_at)} before this report",
            ),
            ("Report of", moment(self.made_at, self.tz)),
        )

    def facts(self) -> tuple[Fact, ...]:
        """The summary in words."""
        return facts(self.summary)


def report_of(
    snapshot: Snapshot,
    history: Sequence[MigrationRecord],
    now: float,
    tz: datetime.tzinfo | None = None,
    *,
    history_gap: str = "",
) -> Report:
    """The report of a snapshot at ``now``, with past live migrations from this console's history.

    ``tz`` is the zone of times in words; None: this machine's. ``history_gap`` says why there is no history.
    """
    found = all_findings(snapshot)
    who = snapshot.identity
    places = ", ".join(word for word in (who.cloud, who.region) if word)
    return Report(
        title=f"vGPU fleet of {places}" if places else "vGPU fleet",
        identity=who,
        taken_at=snapshot.taken_at,
        made_at=now,
        tz=tz,
        summary=summary_of(snapshot, found),
        sections=(
            capacity(snapshot),
            hosts(snapshot),
            quota(snapshot),
            quota_totals(snapshot),
            migrations(snapshot, history[:PAST_MOVES], tz, history_gap),
            findings(snapshot, found, now),
            sources(snapshot, now, tz),
            unlooked(snapshot),
        ),
        gaps=tuple(f"{s.key}: {s.error}" + _last(s.age_s(now)) for s in snapshot.errors),
    )


def _last(seconds: float | None) -> str:
    return " (never answered)" if seconds is None else f" (last answer {age(seconds)} old)"
