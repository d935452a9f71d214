"""What was seen of a migration on both ends, and what follows: its phase, and its downtime or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from vgpu_console.model.migration_job import CompletedJob, JobReading, NotMeasured, WatchPhase
from vgpu_console.sources.libvirt_jobs import NO_FIGURES, POSTCOPY

FIGURES_FOLLOW_S = 2.0
"""JOB_COMPLETED follows the domain's end on the source within a millisecond, the destination's figures come with the
guest's start there: what has not come this long after is taken not to come."""

PATIENCE_S = 60.0
"""The source's last phase takes a second or two, however busy; and who cannot be asked may come back for this long."""

STAYED_S = 5.0
"""A guest that stands still on the source although no job runs is given this long to move after all."""


@dataclass
class Observed:
    """Everything seen, by both ends' threads and events. Times are of a clock that only goes forward, in seconds.

    The two pairs of wall clock and steady clock time belong together.
    """

    job: JobReading | None = None
    iteration: int | None = None
    ran: bool = False  # an outgoing migration was seen under way
    postcopy: bool = False
    suspended: float | None = None
    suspended_wall: float | None = None
    resumed: float | None = None
    resumed_wall: float | None = None
    moved: float | None = None  # since when the guest is known to have moved, by whatever sign
    gone: float | None = None  # the source has it no more, or not running
    idle: float | None = None  # the source has it, and no job
    idle_running: bool = False  # twice in a row, and its CPUs run
    failed_there: float | None = None  # the destination has thrown it away
    absent_there: float | None = None  # the destination was asked after ``gone`` and has it not
    figures: CompletedJob | None = None  # by JOB_COMPLETED
    figures_there: CompletedJob | None = None
    no_figures_there: float | None = None  # the destination runs it and was asked in vain
    source_listening: bool = False  # the line stands and JOB_COMPLETED would be heard
    destination_answers: bool = False
    destination_known: bool = False
    destination_error: str | None = None
    told: str | None = None  # what the cloud says of how it ended: "aborted", "failed: …"
    closed: bool = False


def verdict(seen: Observed, now: float) -> CompletedJob | NotMeasured:
    """The downtime by the best source that has spoken, once no better one can; else why there is none (yet).

    The order of trust is that of DowntimeSource. ``now`` is of the clock of the observations.
    """
    ended = _not_moved(seen, now) if seen.moved is None else _moved(seen, seen.moved, now)
    if isinstance(ended, NotMeasured) and not ended.final and seen.closed:
        return NotMeasured(reason=f"no longer watched: {ended.reason}", final=True)
    return ended


def _moved(seen: Observed, moved: float, now: float) -> CompletedJob | NotMeasured:
    since = now - moved
    figures = seen.figures
    if figures is None:
        may_come = seen.gone is None or now - seen.gone < FIGURES_FOLLOW_S
        if seen.source_listening and since < PATIENCE_S and may_come:
            return NotMeasured(reason="the guest has moved, the source's figures are awaited", final=False)
        figures = seen.figures_there
    if figures is None and since < PATIENCE_S:
        asked = seen.no_figures_there
        if asked is None or asked - moved < FIGURES_FOLLOW_S:
            return NotMeasured(reason=_awaited(seen), final=False)
    postcopy = seen.postcopy or (figures is not None and figures.postcopy)
    heard = _heard_ms(seen)
    if figures is not None and not postcopy:
        return msgspec.structs.replace(figures, heard_ms=heard)
    if heard is not None:
        return CompletedJob(
            downtime_ms=heard,
            heard_ms=heard,
            source="SUSPENDED→RESUMED events",
            total_ms=figures.total_ms if figures else None,
            transferred_bytes=figures.transferred_bytes if figures else None,
            memory_total=figures.memory_total if figures else seen.job.memory_total if seen.job else None,
            vfio_bytes=figures.vfio_bytes if figures else None,
            postcopy=postcopy,
            fetched_at=seen.resumed_wall or 0.0,
        )
    if postcopy:
        return NotMeasured(reason=POSTCOPY, final=True)
    why = NO_FIGURES if seen.no_figures_there is not None else _awaited(seen)
    return NotMeasured(
        reason=f"the source sent no figures, {why}, the guest's stop and start were not seen", final=True
    )


def _heard_ms(seen: Observed) -> int | None:
    """How long the guest stood still between the two events; None where one was not heard."""
    if seen.suspended is None or seen.resumed is None or seen.resumed < seen.suspended:
        return None
    return round((seen.resumed - seen.suspended) * 1000)


def _awaited(seen: Observed) -> str:
    if not seen.destination_known:
        return "the destination is not known"
    if not seen.destination_answers:
        return f"the destination's libvirt cannot be asked: {seen.destination_error or 'no answer yet'}"
    return "the destination's figures are awaited"


def _not_moved(seen: Observed, now: float) -> CompletedJob | NotMeasured:
    if stayed(seen, now):
        how = seen.told or "aborted or failed"
        return NotMeasured(reason=f"{how}: the guest stays on the source", final=True)
    if lost(seen):
        return NotMeasured(reason="the guest is on neither host any more", final=True)
    if seen.gone is not None:
        return NotMeasured(reason=f"the source has the guest no more; {_awaited(seen)}", final=False)
    if not (seen.ran or seen.failed_there):
        return NotMeasured(reason="no migration has been seen", final=False)
    return NotMeasured(reason="the migration has not ended", final=False)


def stayed(seen: Observed, now: float) -> bool:
    """Whether the migration is over and the guest still on the source."""
    if seen.idle is None or not (seen.ran or seen.failed_there is not None):
        return False
    return seen.idle_running or now - seen.idle >= STAYED_S


def lost(seen: Observed) -> bool:
    """Whether the source has lost the guest and the destination does not have it either."""
    return seen.gone is not None and seen.absent_there is not None and seen.absent_there - seen.gone >= FIGURES_FOLLOW_S


def phase(seen: Observed, now: float) -> WatchPhase:
    """Where the migration stands."""
    if seen.moved is not None:
        ended = verdict(seen, now)
        return "completed" if isinstance(ended, CompletedJob) or ended.final else "finishing"
    if stayed(seen, now):
        return "not-completed"
    if lost(seen) or seen.closed:
        return "unknown"
    if seen.suspended is not None or (seen.ran and seen.gone is not None):
        return "switching-over"
    return "running" if seen.ran else "waiting"
