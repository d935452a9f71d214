"""What is kept of a migration that was followed: the history's row, and one line after the run that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.actions.migrating_console import MigratingConsole
from tests.fleet.follow_scene import FollowScene
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.journal_runs import runs
from vgpu_console.actions.migrate import plan_start
from vgpu_console.actions.migration_record import keep, outcome_words, record_of, unended
from vgpu_console.migration_history import MigrationHistory
from vgpu_console.model.migration_end import End
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Timeline

END = End(kind="completed", title="completed: gpu-01 → gpu-02", explanation="", over=True, severity="ok")


def timeline(**more: Any) -> Timeline:
    known: dict[str, Any] = {
        "server": "s-1", "name": "vm", "migration": "m-1", "number": 7, "type_name": "A100-20C", "ram_mib": 65536,
        "framebuffer_mib": 20480, "source": "gpu-01", "destination": "gpu-02", "status": "completed", "story": END,
        "measured": CompletedJob(downtime_ms=1427, source="JOB_COMPLETED event of the source"),
        "rates": (None, 100.0, 300.0), "predicted_low_ms": 900.0, "predicted_high_ms": 4000.0,
        "created_at": "2026-08-04T12:00:00.000000", "updated_at": "2026-08-04T12:00:22.000000",
    }  # fmt: skip
    return Timeline(**(known | more))


@pytest.fixture
def history(tmp_path: Path) -> MigrationHistory:
    return MigrationHistory(tmp_path / "migrations.sqlite3")


def test_a_measured_one_is_a_past_move(history: MigrationHistory) -> None:
    assert keep(timeline(), history, None, "prod") == ()
    row = history.get("m-1")
    assert row is not None
    assert (row.end, row.downtime_ms, row.measured_by, row.not_measured, row.rate) == (
        "completed", 1427, "JOB_COMPLETED event of the source", "", 200.0,
    )  # fmt: skip
    assert (row.started, (row.ended or 0) - (row.started or 0)) == (1785844800.0, 22.0)
    assert [m.downtime_ms for m in history.past_moves("prod")] == [1427]


def test_a_figure_over_clocks_that_are_apart_is_kept_with_what_was_heard(history: MigrationHistory) -> None:
    job = CompletedJob(downtime_ms=5427, source="JOB_COMPLETED event of the source", heard_ms=1460)
    keep(timeline(measured=job), history, None, "prod")
    row = history.get("m-1")
    assert row is not None
    assert (row.downtime_ms, row.heard_ms) == (5427, 1460)
    assert [m.downtime_ms for m in history.past_moves("prod")] == [1460]
    assert "downtime 5427 ms (heard 1460 ms)" in outcome_words(timeline(measured=job))


def test_why_there_is_no_figure_is_kept_until_there_is_one(history: MigrationHistory) -> None:
    keep(timeline(measured=NotMeasured(reason="nobody watched", final=True)), history, None, "prod")
    assert (history.get("m-1") or record_of(timeline(), "")).not_measured == "nobody watched"
    keep(timeline(), history, None, "prod")
    row = history.get("m-1")
    assert row is not None
    assert (row.downtime_ms, row.not_measured) == (1427, "")


def test_one_that_runs_has_no_end_yet(history: MigrationHistory) -> None:
    going = End(kind="under-way", title="running", explanation="", over=False, severity="ok")
    keep(timeline(story=going, measured=NotMeasured(reason="not ended", final=False)), history, None, "prod")
    row = history.get("m-1")
    assert row is not None
    assert (row.end, row.ended, row.not_measured, row.predicted_low_ms) == ("", None, "", 900.0)


def test_a_history_that_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is no database, and long enough to be looked at as one" * 20)
    (note,) = keep(timeline(), MigrationHistory(broken), Journal(tmp_path / "j"), "prod")
    assert "is damaged" in note


def test_the_outcome_follows_the_run_that_began_it(tmp_path: Path) -> None:
    console = MigratingConsole(tmp_path)
    console.read()
    for _ in range(2):
        target = "gpu-02" if console.server.host == "gpu-01" else "gpu-01"
        plan = plan_start(console.server, console.destination(target), console.last)
        assert console.apply(plan).ok
        row = console.until("completed")
        told = timeline(server=console.id, migration=row.uuid, number=row.id)
        keep(told, None, console.journal, "demo")
        keep(told, None, console.journal, "demo")  # followed again by another console: no second line
    kept = [e for e in console.journal.entries() if e.event == "outcome"]
    assert len(kept) == 2
    assert len({e.run for e in kept}) == 2
    assert kept[0].message.startswith("completed: gpu-01 → gpu-02, downtime 1427 ms (migration ")
    assert console.journal.unfinished() == ()
    listed = runs(console.journal.entries())
    assert [(r.result, "; then: completed" in r.words) for r in listed] == [("done", True), ("done", True)]


def test_what_a_killed_console_followed_is_filled_in_by_the_next(tmp_path: Path, history: MigrationHistory) -> None:
    """It wrote the row when the migration began; nobody saw the end. libvirt of the destination still knows."""
    scene = FollowScene(seconds=3.0)
    first = scene.followers()

    def found(timeline: Timeline) -> None:
        keep(timeline, history, None, "demo")

    first._on_found = found
    first.follow(scene.subject(predicted_low_ms=900.0))
    migration = scene.start()
    scene.until(first, lambda t: t.status == "preparing")
    first.stop(0.5)
    for _ in range(100):
        scene.clock.tick(0.5)
        scene.cloud.advance()
    assert migration.status == "completed"
    (subject,) = unended(history, "demo")
    assert (subject.migration, subject.server, subject.predicted_low_ms) == (migration.uuid, scene.server.id, 900.0)
    second = scene.followers()
    second.follow(subject)
    keep(scene.end(second), history, None, "demo")
    row = history.get(migration.uuid)
    assert row is not None
    assert (row.end, row.downtime_ms) == ("completed", migration.downtime_ms)
    assert unended(history, "demo") == ()
    scene.close()


def test_a_migration_of_somebody_else_has_no_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert keep(timeline(), None, journal, "prod") == ()
    assert list(journal.entries()) == []


def test_words_of_one_without_an_end() -> None:
    assert outcome_words(timeline(story=None, status=None)) == "migration m-1 is not found"
