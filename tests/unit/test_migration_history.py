"""The history of migrations: what is remembered, what two consoles do to it, and what a broken file says."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from vgpu_console.migration_history import (
    HistoryError,
    MigrationHistory,
    MigrationRecord,
    Percentiles,
    percentiles,
)


def record(number: int = 1, **changed: Any) -> MigrationRecord:
    known: dict[str, Any] = {
        "migration": f"m-{number}",
        "cloud": "prod",
        "server": "s-1",
        "server_name": "vm-train-7",
        "type_name": "A100-20C",
        "vgpus": 1,
        "ram_mib": 12288,
        "framebuffer_mib": 20480,
        "source": "gpu-02",
        "destination": "gpu-01",
        "started": 1000.0 + number,
    }
    return MigrationRecord(**(known | changed))


@pytest.fixture
def history(tmp_path: Path) -> MigrationHistory:
    return MigrationHistory(tmp_path / "state" / "migrations.sqlite3")


def test_nothing_written_is_an_empty_history_and_makes_no_file(history: MigrationHistory) -> None:
    assert (history.records(), history.get("m-1"), history.past_moves()) == ((), None, ())
    assert not history.path.exists()


def test_a_migration_is_begun_and_later_filled_in(history: MigrationHistory) -> None:
    history.put(record(predicted_low_ms=4000.0, predicted_high_ms=9000.0))
    history.put(MigrationRecord(migration="m-1", ended=1042.0, end="completed", not_measured="libvirt was silent"))
    history.put(MigrationRecord(migration="m-1", downtime_ms=6200.0, measured_by="JOB_COMPLETED event of the source"))
    assert history.get("m-1") == record(
        predicted_low_ms=4000.0,
        predicted_high_ms=9000.0,
        ended=1042.0,
        end="completed",
        downtime_ms=6200.0,
        measured_by="JOB_COMPLETED event of the source",
    )


def test_the_latest_comes_first_and_clouds_are_kept_apart(history: MigrationHistory) -> None:
    for number in (1, 3, 2):
        history.put(record(number))
    history.put(record(9, cloud="other"))
    assert [r.migration for r in history.records(cloud="prod")] == ["m-3", "m-2", "m-1"]
    assert [r.migration for r in history.records(last=1)] == ["m-9"]


def test_predictions_are_made_from_what_completed_and_was_measured(history: MigrationHistory) -> None:
    history.put(record(1, end="completed", downtime_ms=6200.0))
    history.put(record(2, end="aborted", downtime_ms=1.0))
    history.put(record(3, end="completed"))
    history.put(record(4, end="completed", downtime_ms=5.0, framebuffer_mib=None))
    assert [m.downtime_ms for m in history.past_moves("prod")] == [6200.0]


def test_a_downtime_over_two_clocks_is_kept_and_not_reckoned_with(history: MigrationHistory) -> None:
    """The destination's clock was 4 s ahead; what this console heard of the guest is of one clock."""
    history.put(record(1, end="completed", downtime_ms=6200.0, heard_ms=2150.0))
    history.put(record(2, end="completed", downtime_ms=2300.0, heard_ms=2350.0))
    kept = history.get("m-1")
    assert kept is not None
    assert (kept.downtime_ms, kept.heard_ms, kept.pause_ms) == (6200.0, 2150.0, 2150.0)
    assert [(m.downtime_ms, m.heard) for m in history.past_moves("prod")] == [(2300.0, False), (2150.0, True)]
    assert [(p.p50, p.most) for p in percentiles(history.records())] == [(2150.0, 2300.0)]


def test_a_file_of_an_older_console_is_read_as_it_is_and_gains_what_is_new_when_written(
    history: MigrationHistory,
) -> None:
    history.path.parent.mkdir()
    older = sqlite3.connect(history.path)
    older.execute(
        "CREATE TABLE migration (migration TEXT PRIMARY KEY, cloud TEXT, server TEXT, server_name TEXT, project TEXT, "
        "type_name TEXT, vgpus INTEGER, ram_mib INTEGER, framebuffer_mib INTEGER, source TEXT, destination TEXT, "
        'started REAL, ended REAL, "end" TEXT, predicted_low_ms REAL, predicted_high_ms REAL, downtime_ms REAL, '
        "measured_by TEXT, not_measured TEXT, rate REAL) WITHOUT ROWID"
    )
    older.execute("INSERT INTO migration (migration, cloud, started, downtime_ms) VALUES ('old', 'prod', 1.0, 700.0)")
    older.execute("PRAGMA user_version = 1")
    older.commit()

    assert [(r.migration, r.downtime_ms, r.heard_ms) for r in history.records()] == [("old", 700.0, None)]
    assert older.execute("PRAGMA user_version").fetchone() == (1,), "looking changes nothing"

    history.put(record(1, downtime_ms=6200.0, heard_ms=2150.0))
    assert [(r.migration, r.heard_ms) for r in history.records()] == [("m-1", 2150.0), ("old", None)]
    older.close()


def test_only_its_owner_reads_the_file(history: MigrationHistory) -> None:
    history.put(record())
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(history: MigrationHistory, tmp_path: Path) -> None:
    history.path.parent.mkdir()
    history.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HistoryError, match="cannot be written"):
        history.put(record())
    assert not (tmp_path / "elsewhere").exists()


def test_many_writers_at_once_lose_nothing(history: MigrationHistory) -> None:
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            MigrationHistory(history.path).put(record(number))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(history.records()) == 12


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at " * 40, b"SQLite format 3\x00" + b"\xff" * 900]
)
def test_a_damaged_file_says_so_and_stays_as_it_is(history: MigrationHistory, content: bytes) -> None:  # fmt: skip
    history.path.parent.mkdir()
    history.path.write_bytes(content)
    for call in (history.records, lambda: history.put(record())):
        with pytest.raises(HistoryError, match=r"damaged|cannot be") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert history.path.read_bytes() == content


def test_a_file_of_another_program_or_a_newer_console_is_left_alone(history: MigrationHistory) -> None:
    history.path.parent.mkdir()
    other = sqlite3.connect(history.path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    for version, words in ((0, "not one of this console's files"), (3, "newer vgpu-console")):
        other.execute(f"PRAGMA user_version = {version}")
        other.commit()
        with pytest.raises(HistoryError, match=words):
            history.put(record())
        with pytest.raises(HistoryError, match=words):
            history.records()
    assert other.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    other.close()


def test_percentiles_are_of_one_type_between_two_hosts() -> None:
    times = [500.0, 100.0, 300.0, 200.0, 400.0]
    records = [record(n, end="completed", downtime_ms=t) for n, t in enumerate(times)]
    records += [record(20, end="completed"), record(21, end="failed", downtime_ms=9e9)]
    records += [record(22, end="completed", downtime_ms=7.0, destination="gpu-07")]
    pair = {"type_name": "A100-20C", "source": "gpu-02"}
    assert percentiles(records) == (
        Percentiles(**pair, destination="gpu-01", count=5, p50=300.0, p90=500.0, most=500.0),
        Percentiles(**pair, destination="gpu-07", count=1, p50=7.0, p90=7.0, most=7.0),
    )
