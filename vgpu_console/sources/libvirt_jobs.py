"""libvirt's job statistics as facts: of the migration that runs, and of the last one that has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from vgpu_console.model.migration_job import CompletedJob, DowntimeSource, JobReading, JobType, NotMeasured
from vgpu_console.sources.base import LibvirtOpener
from vgpu_console.sources.libvirt_errors import GONE, code_of, explain
from vgpu_console.text import plain

# virDomainGetJobStatsFlags. Statistics of an ended job are read with both or not at all: without KEEP (libvirt 6.0)
# the first reader destroys them.
STATS_COMPLETED, STATS_KEEP_COMPLETED = 1, 2
KEPT = STATS_COMPLETED | STATS_KEEP_COMPLETED

_TYPES: tuple[JobType, ...] = ("none", "bounded", "unbounded", "completed", "failed", "cancelled")
_OPERATIONS = (
    "unknown operation",
    "start",
    "save",
    "restore",
    "incoming migration",
    "outgoing migration",
    "snapshot",
    "snapshot revert",
    "dump",
    "backup",
    "snapshot delete",
)
INCOMING, OUTGOING = "incoming migration", "outgoing migration"

PAUSED = 3  # virDomainState


def read_job(stats: Mapping[str, Any], fetched_at: float) -> JobReading:
    """What ``jobStats(0)`` answered. Fields that are missing, negative or no numbers are None.

    Keys are literal, since bindings that were built against an older libvirt lack the newer names' constants.
    """
    number = _numbers(stats)
    return JobReading(
        type=_type_of(stats),
        operation=_operation_of(stats),
        time_elapsed_ms=number("time_elapsed"),
        time_remaining_ms=number("time_remaining"),
        data_total=number("data_total"),
        data_processed=number("data_processed"),
        data_remaining=number("data_remaining"),
        memory_total=number("memory_total"),
        memory_processed=number("memory_processed"),
        memory_remaining=number("memory_remaining"),
        memory_bps=number("memory_bps"),
        dirty_pages_s=number("memory_dirty_rate"),
        page_size=number("memory_page_size"),
        iteration=number("memory_iteration"),
        expected_downtime_ms=number("downtime"),
        setup_ms=number("setup_time"),
        vfio_bytes=number("vfio_data_transferred"),
        auto_converge_percent=number("auto_converge_throttle"),
        postcopy_requests=number("memory_postcopy_requests"),
        fetched_at=fetched_at,
    )


def read_completed(stats: Mapping[str, Any], source: DowntimeSource, fetched_at: float) -> CompletedJob | None:
    """The figures of an ended migration; None when these are of something else, of a failure, or without a downtime.

    Takes the parameters of a JOB_COMPLETED event (which have no ``type``) and the answer of ``jobStats(KEPT)``.
    """
    number = _numbers(stats)
    downtime = number("downtime")
    wanted = INCOMING if source == "completed job statistics of the destination" else OUTGOING
    if downtime is None or _operation_of(stats) not in (None, wanted):
        return None
    if ("type" in stats and _type_of(stats) != "completed") or stats.get("success") is False:
        return None
    success = stats.get("success")
    return CompletedJob(
        downtime_ms=downtime,
        source=source,
        downtime_net_ms=number("downtime_net"),
        total_ms=number("time_elapsed"),
        total_net_ms=number("time_elapsed_net"),
        setup_ms=number("setup_time"),
        transferred_bytes=number("data_processed"),
        memory_total=number("memory_total"),
        memory_bps=number("memory_bps"),
        iterations=number("memory_iteration"),
        page_size=number("memory_page_size"),
        vfio_bytes=number("vfio_data_transferred"),
        auto_converge_percent=number("auto_converge_throttle"),
        postcopy=bool(number("memory_postcopy_requests")),
        success=success if isinstance(success, bool) else None,
        errmsg=plain(stats["errmsg"], 240) if stats.get("errmsg") else None,
        fetched_at=fetched_at,
    )


def completed_downtime(
    opener: LibvirtOpener, uri: str, domain_uuid: str, *, clock: Callable[[], float] = time.time
) -> CompletedJob | NotMeasured:
    """What a destination's libvirt still knows of the migration that brought a domain to it (blocking).

    For a console that comes back when all is over. libvirt keeps the figures of a domain's last job only, until it is
    restarted, the domain ends, or somebody reads them without KEEP; they say nothing of when the migration was.
    Raises SourceError when the libvirt cannot be asked.
    """
    try:
        connection = opener(uri, True)
    except Exception as error:
        raise explain(error) from None
    try:
        domain = connection.lookupByUUIDString(domain_uuid)
        stats = domain.jobStats(KEPT)
        found = read_completed(stats, "completed job statistics of the destination", clock())
        if found is not None:
            return unless_postcopy(found)
        if domain.state()[0] == PAUSED:
            return NotMeasured(reason="the guest has not been started on the destination", final=False)
    except Exception as error:
        if code_of(error) in GONE:
            return NotMeasured(reason="the destination's libvirt has no such domain", final=True)
        raise explain(error) from None
    finally:
        with contextlib.suppress(Exception):
            connection.close()
    return NotMeasured(reason=NO_FIGURES, final=True)


NO_FIGURES = "the destination's libvirt keeps no figures of this migration (restarted since, or read away by another)"
POSTCOPY = "libvirt's figure of a post-copy migration leaves out what the guest waited for on the destination"


def unless_postcopy(job: CompletedJob) -> CompletedJob | NotMeasured:
    """libvirt's figures, unless the guest was moved by post-copy: then its downtime is none of the guest's."""
    return NotMeasured(reason=POSTCOPY, final=True) if job.postcopy else job


def _type_of(stats: Mapping[str, Any]) -> JobType:
    number = stats.get("type")
    return _TYPES[number] if isinstance(number, int) and 0 <= number < len(_TYPES) else "unknown"


def _operation_of(stats: Mapping[str, Any]) -> str | None:
    number = stats.get("operation")
    if not isinstance(number, int):
        return None
    return _OPERATIONS[number] if 0 <= number < len(_OPERATIONS) else f"operation {number}"


def _numbers(stats: Mapping[str, Any]) -> Callable[[str], int | None]:
    def number(name: str) -> int | None:
        value = stats.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    return number
