"""How a running migration moves: whether it comes to an end by itself, by what is heard of its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vgpu_console.model.migration_job import JobReading
from vgpu_console.rules.migration.checks_downtime import DEFAULTS, LEAST_GIB
from vgpu_console.rules.migration.downtime import ladder

LESS = 0.95
"""A pass that leaves no less than this part of what the ones before it left has won nothing."""
_PASSES = 3
_YES = ("true", "yes", "on", "1")


def converges(left: Sequence[int]) -> bool | None:
    """Whether passes over the memory leave less and less to send. ``left``: the least that each pass left, in order.

    None while fewer than six are known.
    """
    if len(left) < 2 * _PASSES:
        return None
    return min(left[-_PASSES:]) < LESS * min(left[-2 * _PASSES : -_PASSES])


def time_left_s(job: JobReading) -> float | None:
    """Until the present memory is copied, seconds, at the rate and with the writes of now; None: not to be told."""
    if job.memory_remaining is None or not job.memory_bps:
        return None
    won = job.memory_bps - (job.dirty_bytes_s or 0)
    return job.memory_remaining / won if won > 0 else None


def ladder_end_s(conf: Mapping[str, str] | None, ram_mib: int | None) -> float | None:
    """So many seconds after its start nova-compute allows the longest pause it ever will; None: not known."""
    if conf is None or ram_mib is None:
        return None
    downtime, steps, delay = (_number(conf, name) for name in ("downtime", "downtime_steps", "downtime_delay"))
    gib = max(LEAST_GIB, ram_mib / 1024)
    return float(ladder(max(100, downtime), max(3, steps), max(3, delay), gib)[-1][0])


def permits_post_copy(conf: Mapping[str, str] | None) -> bool | None:
    """Whether nova-compute would migrate by post-copy; None: its nova.conf is not readable."""
    if conf is None:
        return None
    return conf.get("libvirt.live_migration_permit_post_copy", "").strip().lower() in _YES


def _number(conf: Mapping[str, str], option: str) -> int:
    value = conf.get(f"libvirt.live_migration_{option}", "").strip()
    return int(value) if value.isdigit() else DEFAULTS[option]
