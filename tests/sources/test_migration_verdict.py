"""What follows from what was seen on both ends: the downtime by the best source, or why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.sources.migration_verdict import PATIENCE_S, Observed, phase, verdict

EVENT = CompletedJob(downtime_ms=30, source="JOB_COMPLETED event of the source")
THERE = CompletedJob(downtime_ms=31, source="completed job statistics of the destination", transferred_bytes=7)
POSTCOPY = CompletedJob(downtime_ms=4, source=THERE.source, postcopy=True)
LIFECYCLE = "SUSPENDED→RESUMED events"

HEARD: dict[str, Any] = {"ran": True, "source_listening": True, "destination_known": True, "destination_answers": True}
MOVED: dict[str, Any] = HEARD | {"suspended": 99.975, "resumed": 100.0, "resumed_wall": 5.0, "moved": 100.0}


def seen(base: dict[str, Any], **more: Any) -> Observed:
    return Observed(**(base | more))


@pytest.mark.parametrize(
    ("observed", "now", "downtime_ms", "source"),
    [
        # the event is believed before all else, whenever it comes
        (seen(MOVED, figures=EVENT), 100.0, 30, EVENT.source),
        (seen(MOVED, figures=EVENT, figures_there=THERE, gone=101.0), 101.0, 30, EVENT.source),
        # the destination's word: when the source cannot be heard, or has let the guest go without a word
        (seen(MOVED, figures_there=THERE, source_listening=False), 100.0, 31, THERE.source),
        (seen(MOVED, figures_there=THERE, gone=101.0), 103.0, 31, THERE.source),
        (seen(MOVED, figures_there=THERE), 100 + PATIENCE_S, 31, THERE.source),
        # the guest's stop and start: when the destination was asked for long enough, or cannot be
        (seen(MOVED, source_listening=False, no_figures_there=102.0), 102.0, 25, LIFECYCLE),
        (seen(MOVED, gone=101.0, no_figures_there=102.0), 103.0, 25, LIFECYCLE),
        (seen(MOVED, gone=101.0, destination_answers=False), 100 + PATIENCE_S, 25, LIFECYCLE),
        # post-copy: libvirt's figures are none of the guest's
        (seen(MOVED, postcopy=True, figures=EVENT), 100.0, 25, LIFECYCLE),
        (seen(MOVED, source_listening=False, figures_there=POSTCOPY), 100.0, 25, LIFECYCLE),
    ],
)  # fmt: skip
def test_measured(observed: Observed, now: float, downtime_ms: int, source: str) -> None:
    found = verdict(observed, now)
    assert isinstance(found, CompletedJob)
    assert (found.downtime_ms, found.source) == (downtime_ms, source)
    assert phase(observed, now) == "completed"


def test_what_was_heard_stands_beside_libvirts_figure() -> None:
    """Libvirt counts over two hosts' clocks; the two events are heard by one."""
    beside = verdict(seen(MOVED, figures=EVENT), 100.0)
    alone = verdict(seen(MOVED, figures=EVENT, suspended=None), 100.0)
    assert isinstance(beside, CompletedJob)
    assert isinstance(alone, CompletedJob)
    assert (beside.heard_ms, alone.heard_ms) == (25, None)


NOTHING = {"suspended": None, "resumed": None, "resumed_wall": None}
STAYED = "aborted or failed: the guest stays on the source"


@pytest.mark.parametrize(
    ("observed", "now", "reason", "final", "phase_then"),
    [
        (Observed(), 0.0, "no migration has been seen", False, "waiting"),
        (seen(HEARD), 0.0, "the migration has not ended", False, "running"),
        (seen(HEARD, suspended=1.0), 2.0, "the migration has not ended", False, "switching-over"),
        (seen(MOVED), 100.5, "the guest has moved, the source's figures are awaited", False, "finishing"),
        (seen(MOVED, gone=101.0, figures_there=THERE), 101.5, "the guest has moved, the source's figures are awaited",
         False, "finishing"),
        (seen(MOVED, gone=101.0), 103.5, "the destination's figures are awaited", False, "finishing"),
        (seen(MOVED, gone=101.0, no_figures_there=100.5), 103.5, "the destination's figures are awaited", False,
         "finishing"),
        (seen(MOVED, gone=101.0, destination_answers=False, destination_error="no route"), 103.5,
         "the destination's libvirt cannot be asked: no route", False, "finishing"),
        (seen(MOVED, gone=101.0, destination_known=False), 103.5, "the destination is not known", False, "finishing"),
        (seen(MOVED | NOTHING, gone=101.0, no_figures_there=102.0), 103.5,
         "the source sent no figures, the destination's libvirt keeps no figures of this migration (restarted since, "
         "or read away by another), the guest's stop and start were not seen", True, "completed"),
        (seen(MOVED | NOTHING, gone=101.0, destination_known=False), 100 + PATIENCE_S,
         "the source sent no figures, the destination is not known, the guest's stop and start were not seen", True,
         "completed"),
        (seen(MOVED, suspended=None, postcopy=True, figures=EVENT), 100.0,
         "libvirt's figure of a post-copy migration leaves out what the guest waited for on the destination", True,
         "completed"),
        # over, and the guest is where it was
        (seen(HEARD, idle=5.0), 5.1, "the migration has not ended", False, "running"),
        (seen(HEARD, idle=5.0, idle_running=True), 5.1, STAYED, True, "not-completed"),
        (seen(HEARD, idle=5.0), 10.0, STAYED, True, "not-completed"),
        (seen(HEARD, idle=5.0, idle_running=True, told="aborted"), 5.1,
         "aborted: the guest stays on the source", True, "not-completed"),
        (Observed(idle=5.0, idle_running=True), 99.0, "no migration has been seen", False, "waiting"),
        (Observed(idle=5.0, idle_running=True, failed_there=4.0), 99.0, STAYED, True, "not-completed"),
        # nowhere
        (seen(HEARD, gone=5.0), 6.0, "the source has the guest no more; the destination's figures are awaited", False,
         "switching-over"),
        (seen(HEARD, gone=5.0, absent_there=6.0), 99.0,
         "the source has the guest no more; the destination's figures are awaited", False, "switching-over"),
        (seen(HEARD, gone=5.0, absent_there=7.0), 7.0, "the guest is on neither host any more", True, "unknown"),
        # given up
        (seen(HEARD, closed=True), 0.0, "no longer watched: the migration has not ended", True, "unknown"),
        (seen(HEARD, idle=5.0, idle_running=True, closed=True), 5.1, STAYED, True, "not-completed"),
    ],
)  # fmt: skip
def test_not_measured(observed: Observed, now: float, reason: str, final: bool, phase_then: str) -> None:
    assert verdict(observed, now) == NotMeasured(reason=reason, final=final)
    assert phase(observed, now) == phase_then


def test_a_figure_by_events_takes_its_sizes_from_the_figures_that_are_there() -> None:
    postcopy = CompletedJob(downtime_ms=4, source=EVENT.source, postcopy=True, transferred_bytes=9, total_ms=8)
    found = verdict(seen(MOVED, figures=postcopy), 100.0)
    assert isinstance(found, CompletedJob)
    assert (found.transferred_bytes, found.total_ms, found.postcopy, found.fetched_at) == (9, 8, True, 5.0)
