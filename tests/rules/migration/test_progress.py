"""Whether a running migration comes to an end by itself, from what is heard of its job."""

from __future__ import annotations

import pytest

from vgpu_console.model.migration_job import JobReading
from vgpu_console.rules.migration.progress import converges, ladder_end_s, permits_post_copy, time_left_s


@pytest.mark.parametrize(
    ("left", "won"),
    [
        ([], None),
        ([100, 90, 80, 70, 60], None),
        ([100, 90, 80, 40, 35, 30], True),
        ([100, 100, 100, 100, 100, 100], False),
        ([100, 100, 100, 99, 97, 96], False),
        ([900, 500, 100, 100, 100, 100], False),  # it won at first, and no longer
        ([100, 100, 100, 100, 100, 50], True),
    ],
)
def test_passes_over_the_memory(left: list[int], won: bool | None) -> None:
    assert converges(left) is won


@pytest.mark.parametrize(
    ("remaining", "rate", "dirty", "seconds"),
    [
        (1000, 100, None, 10.0),
        (1000, 100, 10, 1000 / (100 - 40)),
        (1000, 100, 25, None),  # as fast as it is sent
        (1000, 0, 0, None),
        (None, 100, 0, None),
        (1000, None, 0, None),
    ],
)
def test_the_time_left(remaining: int | None, rate: int | None, dirty: int | None, seconds: float | None) -> None:
    job = JobReading(type="unbounded", memory_remaining=remaining, memory_bps=rate, dirty_pages_s=dirty, page_size=4)
    assert time_left_s(job) == seconds


def test_the_end_of_novas_ladder() -> None:
    advised = {
        "libvirt.live_migration_downtime": "500000",
        "libvirt.live_migration_downtime_steps": "3",
        "libvirt.live_migration_downtime_delay": "3",
    }
    assert ladder_end_s(advised, 32 * 1024) == 288.0
    assert ladder_end_s({}, 8 * 1024) == 6000.0, "Nova's own defaults"
    assert ladder_end_s(None, 8 * 1024) is None
    assert ladder_end_s({}, None) is None


@pytest.mark.parametrize(
    ("conf", "on"),
    [
        (None, None),
        ({}, False),
        ({"libvirt.live_migration_permit_post_copy": " True "}, True),
        ({"libvirt.live_migration_permit_post_copy": "false"}, False),
    ],
)
def test_post_copy(conf: dict[str, str] | None, on: bool | None) -> None:
    assert permits_post_copy(conf) is on
