"""A live migration as libvirt tells it: the running job on the source, and the figures of one that has ended."""

from __future__ import annotations

from typing import Literal

import msgspec

JobType = Literal["none", "bounded", "unbounded", "completed", "failed", "cancelled", "unknown"]
"""virDomainJobType. A migration runs as ``unbounded``: libvirt does not foretell its end."""

DowntimeSource = Literal[
    "JOB_COMPLETED event of the source",
    "completed job statistics of the destination",
    "SUSPENDED→RESUMED events",
]
"""Where a measured downtime comes from, in the order in which it is trusted."""

WatchPhase = Literal[
    "waiting",  # no job has been seen yet
    "running",  # memory is being copied, the guest runs on the source
    "switching-over",  # the guest stands still
    "finishing",  # the guest runs on the destination, libvirt has not told its figures yet
    "completed",  # the guest runs on the destination
    "not-completed",  # aborted or failed: the guest stays on the source
    "unknown",  # neither libvirt could say how it ended
]


class JobReading(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of ``virDomainGetJobStats`` for a running job. None: not told, or not told yet.

    Sizes are bytes, times milliseconds. ``data_*`` is memory and disks together; a vGPU's framebuffer is in neither,
    and is counted in ``vfio_bytes`` only (libvirt ≥ 10.6.0).
    """

    type: JobType
    operation: str | None = None  # virDomainJobOperation: "outgoing migration"
    time_elapsed_ms: int | None = None
    time_remaining_ms: int | None = None  # of bounded jobs alone
    data_total: int | None = None
    data_processed: int | None = None
    data_remaining: int | None = None
    memory_total: int | None = None
    memory_processed: int | None = None
    memory_remaining: int | None = None
    memory_bps: int | None = None  # bytes a second over the wire
    dirty_pages_s: int | None = None  # pages that the guest wrote per second, as of the last iteration
    page_size: int | None = None
    iteration: int | None = None  # passes over the memory; one that climbs does not converge
    expected_downtime_ms: int | None = None  # what the switch-over may take or is expected to; never a measure
    setup_ms: int | None = None
    vfio_bytes: int | None = None
    auto_converge_percent: int | None = None  # how much the guest's CPUs are slowed down; None: not at all
    postcopy_requests: int | None = None
    fetched_at: float = 0.0  # seconds since the epoch

    @property
    def runs(self) -> bool:
        """Whether a job was under way."""
        return self.type in ("bounded", "unbounded")

    @property
    def dirty_bytes_s(self) -> int | None:
        """The dirty rate in bytes a second; None when either half of it is unknown."""
        if self.dirty_pages_s is None or self.page_size is None:
            return None
        return self.dirty_pages_s * self.page_size


class CompletedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A migration that has ended well, with the downtime that was measured and where that figure comes from.

    ``downtime_ms`` is from the CPUs' stop on the source to their start on the destination. libvirt counts it over two
    clocks, the hosts'; ``downtime_net_ms`` leaves the hand-over out and holds whatever the clocks say. ``heard_ms`` is
    from SUSPENDED on the source to RESUMED on the destination as both were heard here: one clock, and the journeys of
    two events.
    """

    downtime_ms: int
    source: DowntimeSource
    downtime_net_ms: int | None = None
    heard_ms: int | None = None
    total_ms: int | None = None
    total_net_ms: int | None = None
    setup_ms: int | None = None
    transferred_bytes: int | None = None  # memory and disks
    memory_total: int | None = None
    memory_bps: int | None = None
    iterations: int | None = None
    page_size: int | None = None
    vfio_bytes: int | None = None
    auto_converge_percent: int | None = None
    postcopy: bool = False
    success: bool | None = None  # as libvirt says it; None: this libvirt tells figures of successes only
    errmsg: str | None = None
    fetched_at: float = 0.0  # seconds since the epoch


class NotMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """There is no downtime to tell. ``final``: and none will come any more."""

    reason: str
    final: bool

    def __str__(self) -> str:
        return f"not measured: {self.reason}"


class EndState(msgspec.Struct, frozen=True, kw_only=True):
    """How well one end's libvirt can be asked. Times are seconds since the epoch."""

    host: str
    connected: bool = False
    error: str | None = None  # one plain line about the last attempt; None when it was good
    answered_at: float | None = None
    asked_at: float | None = None  # a call that has not come back began then; None when no call is under way


class WatchState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a watched migration at one moment. Times are seconds since the epoch."""

    phase: WatchPhase
    job: JobReading | None = None  # the last one of the running job; stays when the job has ended
    iteration: int | None = None  # by event: newer than the one in ``job``
    suspended_at: float | None = None  # the guest stood still on the source
    resumed_at: float | None = None  # and ran on the destination
    source: EndState
    destination: EndState | None = None  # None while nobody knows where it goes

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in ("completed", "not-completed", "unknown")
