"""libvirt's job statistics as facts: recorded answers of libvirt 9.0, newer and hostile ones, and the late question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.model.migration_job import CompletedJob, DowntimeSource, JobReading, NotMeasured
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_jobs import completed_downtime, read_completed, read_job

NOW = 1_800_000_000.0
EVENT: DowntimeSource = "JOB_COMPLETED event of the source"
STATISTICS: DowntimeSource = "completed job statistics of the destination"

RUNNING: dict[str, Any] = {
    "operation": 5,
    "time_elapsed": 2001,
    "downtime": 300,
    "setup_time": 2,
    "data_total": 168304640,
    "data_processed": 56659579,
    "data_remaining": 95162368,
    "memory_total": 168304640,
    "memory_processed": 56659579,
    "memory_remaining": 95162368,
    "memory_bps": 31477860,
    "memory_constant": 4060,
    "memory_normal": 13797,
    "memory_normal_bytes": 56512512,
    "memory_dirty_rate": 12,
    "memory_iteration": 1,
    "memory_postcopy_requests": 0,
    "memory_page_size": 4096,
    "disk_total": 0,
    "type": 2,
}
ENDED: dict[str, Any] = {
    "operation": 5,
    "time_elapsed": 4009,
    "time_elapsed_net": 4008,
    "downtime": 26,
    "downtime_net": 25,
    "setup_time": 1,
    "data_total": 101195776,
    "data_processed": 35454410,
    "data_remaining": 0,
    "memory_total": 101195776,
    "memory_bps": 248720412,
    "memory_dirty_rate": 0,
    "memory_iteration": 3,
    "memory_postcopy_requests": 0,
    "memory_page_size": 4096,
}


def test_a_running_job() -> None:
    job = read_job(RUNNING, NOW)
    assert job == JobReading(
        type="unbounded",
        operation="outgoing migration",
        time_elapsed_ms=2001,
        data_total=168304640,
        data_processed=56659579,
        data_remaining=95162368,
        memory_total=168304640,
        memory_processed=56659579,
        memory_remaining=95162368,
        memory_bps=31477860,
        dirty_pages_s=12,
        page_size=4096,
        iteration=1,
        expected_downtime_ms=300,
        setup_ms=2,
        postcopy_requests=0,
        fetched_at=NOW,
    )
    assert job.runs
    assert job.dirty_bytes_s == 12 * 4096


def test_what_a_newer_daemon_adds_and_what_an_early_answer_lacks() -> None:
    job = read_job(RUNNING | {"vfio_data_transferred": 60, "auto_converge_throttle": 55}, NOW)
    assert (job.vfio_bytes, job.auto_converge_percent) == (60, 55)
    early = read_job({"type": 2, "operation": 5, "time_elapsed": 3}, NOW)
    assert early.runs
    assert (early.memory_total, early.vfio_bytes, early.auto_converge_percent, early.dirty_bytes_s) == (None,) * 4
    assert not read_job({"type": 0}, NOW).runs


def test_an_ended_one_of_the_event_and_of_the_destination() -> None:
    done = read_completed(ENDED, EVENT, NOW)
    assert done == CompletedJob(
        downtime_ms=26,
        source=EVENT,
        downtime_net_ms=25,
        total_ms=4009,
        total_net_ms=4008,
        setup_ms=1,
        transferred_bytes=35454410,
        memory_total=101195776,
        memory_bps=248720412,
        iterations=3,
        page_size=4096,
        fetched_at=NOW,
    )
    there = read_completed(ENDED | {"operation": 4, "type": 3, "vfio_data_transferred": 60}, STATISTICS, NOW)
    assert there is not None
    assert (there.downtime_ms, there.vfio_bytes, there.source) == (26, 60, STATISTICS)


@pytest.mark.parametrize(
    ("stats", "source"),
    [
        ({"type": 0}, STATISTICS),
        (ENDED | {"type": 3}, STATISTICS),  # of a migration that left this host earlier
        (ENDED | {"operation": 4, "type": 2}, STATISTICS),  # the limit of a running job, no measure
        (ENDED | {"operation": 9}, EVENT),  # a backup
        (ENDED | {"success": False, "errmsg": "no"}, EVENT),
        ({k: v for k, v in ENDED.items() if k != "downtime"}, EVENT),
        (ENDED | {"downtime": -1}, EVENT),
        (ENDED | {"downtime": "26"}, EVENT),
        (ENDED | {"downtime": True}, EVENT),
    ],
)
def test_no_measure(stats: dict[str, Any], source: DowntimeSource) -> None:
    assert read_completed(stats, source, NOW) is None


VALUES = st.one_of(st.integers(), st.booleans(), st.floats(), st.text(), st.none(), st.binary())


@given(st.dictionaries(st.sampled_from([*RUNNING, "success", "errmsg", "vfio_data_transferred"]), VALUES))
def test_any_answer_is_read_and_nothing_is_made_up(stats: dict[str, Any]) -> None:
    job = read_job(stats, NOW)
    for name, key in (("memory_total", "memory_total"), ("expected_downtime_ms", "downtime")):
        value = getattr(job, name)
        assert value is None or (value == stats[key] and value >= 0)
    done = read_completed(stats, EVENT, NOW)
    assert done is None or (done.downtime_ms == stats["downtime"] and (done.errmsg or "").isprintable())


# The late question, on the embedded cloud


class Stats:
    """A connection, domain and daemon in one that answers what it is told to."""

    def __init__(self, stats: Any, state: int = 1) -> None:
        self.stats, self.domain_state, self.closed = stats, state, False
        self.flags: list[int] = []

    def __call__(self, uri: str, read_only: bool) -> Stats:
        assert read_only
        return self

    def lookupByUUIDString(self, uuid: str) -> Stats:
        return self

    def jobStats(self, flags: int) -> Any:
        self.flags.append(flags)
        if isinstance(self.stats, Exception):
            raise self.stats
        return self.stats

    def state(self) -> list[int]:
        return [self.domain_state, 1]

    def close(self) -> None:
        self.closed = True


def test_late_question_keeps_the_figures_and_closes() -> None:
    answering = Stats(ENDED | {"operation": 4, "type": 3})
    answer = completed_downtime(answering, "qemu://b/system", "u", clock=lambda: NOW)
    assert isinstance(answer, CompletedJob)
    assert (answer.downtime_ms, answering.flags, answering.closed) == (26, [3], True)


@pytest.mark.parametrize(
    ("stats", "state", "said", "final"),
    [
        ({"type": 0}, 1, "keeps no figures", True),
        ({"type": 0}, 3, "has not been started", False),
        (DemoLibvirtError(42, "Domain not found"), 1, "has no such domain", True),
        (ENDED | {"operation": 4, "type": 3, "memory_postcopy_requests": 7}, 1, "post-copy", True),
    ],
)
def test_late_question_in_vain(stats: Any, state: int, said: str, final: bool) -> None:
    answer = completed_downtime(Stats(stats, state), "qemu://b/system", "u")
    assert isinstance(answer, NotMeasured)
    assert said in answer.reason
    assert str(answer).startswith("not measured: ")
    assert answer.final == final


def test_late_question_to_a_libvirt_that_does_not_answer() -> None:
    asked = Stats(DemoLibvirtError(1, "internal error: client socket is closed"))
    with pytest.raises(SourceError, match="client socket is closed"):
        completed_downtime(asked, "qemu://b/system", "u")
    assert asked.closed

    def no_route(uri: str, read_only: bool) -> Any:
        raise OSError(113, "No route to host")

    with pytest.raises(SourceError, match="No route to host"):
        completed_downtime(no_route, "qemu://b/system", "u")


def test_late_question_on_the_embedded_cloud() -> None:
    """A server that never migrated has no figures to tell."""
    demo: DemoCloud = open_demo("small", clock=lambda: NOW, living=False)
    server = next(s for s in demo.state.servers.values() if s.name == "vm-train-1")
    answer = completed_downtime(demo.libvirt, f"demo://{server.host}/system", server.id)
    assert isinstance(answer, NotMeasured)
    assert "keeps no figures" in answer.reason
