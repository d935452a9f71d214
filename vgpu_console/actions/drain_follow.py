"""The servers of a drain on the console's own followers: libvirt heard beside Nova, downtime measured, ends told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from vgpu_console.actions.drain import Item
from vgpu_console.actions.drain_report import End, Followed
from vgpu_console.fleet.migration_move import Subject, subject_of
from vgpu_console.model.migration_job import CompletedJob
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.snapshot import Snapshot


class TimelineSource(Protocol):
    """What is asked of ``fleet.migration_follow.Followers``."""

    def follow(self, subject: Subject) -> None: ...
    def timeline(self, migration_or_server: str) -> Timeline | None: ...


class TimelineFollowing:
    """Implements ``Following`` with the timeline of one migration, which somebody else keeps."""

    def __init__(
        self,
        followers: TimelineSource,
        item: Item,
        source: str,
        snapshot: Snapshot,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._followers = followers
        self._migration = item.migration
        self._clock = clock
        followers.follow(
            subject_of(
                snapshot,
                item.server,
                migration=item.migration,
                name=item.name,
                project=item.project,
                source=source,
                destination=item.destination or None,
                predicted_low_ms=item.predicted_low_ms,
                predicted_high_ms=item.predicted_high_ms,
            )
        )

    def look(self) -> Followed:
        """How far the timeline is; its end only when nothing more is to be found out about it."""
        timeline = self._followers.timeline(self._migration)
        return Followed() if timeline is None else followed_of(timeline, self._clock())

    def close(self) -> None:
        """The timeline stays: others may look at it."""


def followed_of(timeline: Timeline, now: float) -> Followed:
    """What a drain's row tells of a timeline; the age is that of whoever answered last."""
    ages = [age for voice in timeline.voices if (age := voice.age_s(now)) is not None]
    silent = next((v for v in timeline.voices if v.kind == "nova" and v.error is not None), None)
    phase = timeline.now
    message = f"nova does not answer: {silent.error}" if silent is not None else ""
    if not message and timeline.story is not None and timeline.story.severity in ("warn", "fail"):
        message = timeline.story.title
    return Followed(
        phase=phase.name if phase is not None else "",
        ram_percent=timeline.per_cent,
        message=message,
        age_s=min(ages, default=None),
        end=_end(timeline),
    )


def _end(timeline: Timeline) -> End | None:
    """A migration that moved its server and was not completed is a failure: something is left to mend."""
    story = timeline.end
    if story is None or not timeline.settled:
        return None
    measured = timeline.measured
    job = measured if isinstance(measured, CompletedJob) else None
    ok = story.kind in ("completed", "forced")
    left = [c.evidence for c in timeline.verified if c.status in ("fail", "warn")]
    words = [] if ok else [story.title, story.explanation]
    return End(
        kind=story.kind,
        ok=ok,
        message="; ".join(w for w in (*words, *left) if w),
        measured_ms=float(job.downtime_ms) if job is not None else None,
        heard_ms=float(job.heard_ms) if job is not None and job.heard_ms is not None else None,
        measured_by=str(job.source) if job is not None else "",
        not_measured="" if job is not None or measured is None else str(getattr(measured, "reason", "")),
        gone=story.kind == "server-gone",
    )
