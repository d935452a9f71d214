"""``migrations --history``: what was followed, measured and predicted; and files that cannot be used."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from tests.cli.one_cloud import run
from vgpu_console.migration_history import MigrationHistory, MigrationRecord

ROWS = tuple(
    MigrationRecord(
        migration=f"4f6d0c0e-95e3-4f43-9df1-00000000000{n}",
        cloud="demo",
        server=f"server-{n}",
        server_name=f"vm-{n}",
        project="vdi",
        type_name="GRID A100-20C",
        vgpus=1,
        ram_mib=16384,
        framebuffer_mib=20480,
        source="gpu-01",
        destination="gpu-02" if n < 4 else "gpu-03",
        started=1_800_000_000.0 + n,
        ended=1_800_000_020.0 + n,
        end="completed" if n < 5 else "aborted",
        predicted_low_ms=1000.0,
        predicted_high_ms=4000.0,
        downtime_ms=n * 100.0 if n < 5 else None,
        measured_by="JOB_COMPLETED event of the source" if n < 5 else "",
        not_measured="" if n < 5 else "it was aborted",
    )
    for n in range(1, 6)
)


@pytest.fixture
def file(home: Path) -> Path:
    path = home / ".local" / "state" / "vgpu-console" / "migrations-demo.sqlite3"
    for row in ROWS:
        MigrationHistory(path).put(row)
    return path


def test_the_latest_is_first_and_no_cloud_is_asked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgpu_console.simulator.open_demo", None)

    rows = json.loads(run("migrations", "--history", "-o", "json").stdout)

    assert [r["server"] for r in rows] == ["vm-5", "vm-4", "vm-3", "vm-2", "vm-1"]
    assert (rows[0]["end"], rows[0]["downtime_ms"], rows[0]["not_measured"]) == ("aborted", None, "it was aborted")
    assert (rows[1]["downtime_ms"], rows[1]["measured_by"]) == (400.0, "JOB_COMPLETED event of the source")
    assert (rows[1]["predicted_low_ms"], rows[1]["predicted_high_ms"]) == (1000.0, 4000.0)


def test_what_was_not_measured_is_empty_in_csv_and_a_question_mark_in_the_table(file: Path) -> None:
    table = run("migrations", "--history").stdout.splitlines()
    rows = list(csv.DictReader(io.StringIO(run("migrations", "--history", "-o", "csv").stdout)))

    assert table[1].split()[-1] == "?"
    assert (rows[0]["downtime_ms"], rows[1]["downtime_ms"]) == ("", "400")


def test_what_was_heard_stands_beside_a_figure_over_clocks_that_are_apart(file: Path) -> None:
    MigrationHistory(file).put(msgspec.structs.replace(ROWS[0], heard_ms=2150.0))

    first = run("migrations", "--history", "--host", "gpu-02").stdout.splitlines()[-1]
    rows = json.loads(run("migrations", "--history", "-o", "json").stdout)
    (pair, _) = json.loads(run("migrations", "--history", "--percentiles", "-o", "json").stdout)

    assert first.endswith("100 (heard 2150)")
    assert (rows[-1]["downtime_ms"], rows[-1]["heard_downtime_ms"], rows[-2]["heard_downtime_ms"]) == (100, 2150, None)
    assert (pair["p50_ms"], pair["max_ms"]) == (300.0, 2150.0)


def test_filters_and_last(file: Path) -> None:
    def servers(*arguments: str) -> list[str]:
        return [r["server"] for r in json.loads(run("migrations", "--history", "-o", "json", *arguments).stdout)]

    assert servers("--host", "gpu-03") == ["vm-5", "vm-4"]
    assert servers("--last", "2") == ["vm-5", "vm-4"]
    assert servers("--project", "vdi") == ["vm-5", "vm-4", "vm-3", "vm-2", "vm-1"]
    assert servers("--project", "render") == []


def test_percentiles_are_of_completed_and_measured_ones_by_type_and_pair(file: Path) -> None:
    rows = json.loads(run("migrations", "--history", "--percentiles", "-o", "json").stdout)

    assert [list(r.values()) for r in rows] == [
        ["GRID A100-20C", "gpu-01", "gpu-02", 3, 200.0, 300.0, 300.0],
        ["GRID A100-20C", "gpu-01", "gpu-03", 1, 400.0, 400.0, 400.0],
    ]
    assert list(rows[0]) == ["type", "source", "destination", "count", "p50_ms", "p90_ms", "max_ms"]


def test_nothing_yet_is_said(home: Path) -> None:
    result = run("migrations", "--history", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "no migrations: nothing is in " in result.stderr


def test_the_clouds_own_list_has_what_was_measured(file: Path) -> None:
    """Nova knows no downtime; a file that cannot be read is told and spoils nothing."""
    before = {row["uuid"]: row["downtime_ms"] for row in json.loads(run("migrations", "-o", "json").stdout)}
    one = next(uuid for uuid, downtime in before.items() if downtime is None)
    MigrationHistory(file).put(msgspec.structs.replace(ROWS[0], migration=one, downtime_ms=703.0))

    after = {row["uuid"]: row["downtime_ms"] for row in json.loads(run("migrations", "-o", "json").stdout)}
    assert after == before | {one: 703}

    MigrationHistory(file).put(msgspec.structs.replace(ROWS[0], migration=one, downtime_ms=703.0, heard_ms=2150.0))
    assert "703 (heard 2150)" in run("migrations").stdout

    file.write_bytes(b"not a database, but long enough to be looked at " * 40)
    result = run("migrations", "-o", "json")
    assert {row["uuid"]: row["downtime_ms"] for row in json.loads(result.stdout)} == before
    assert "is damaged" in result.stderr


def test_a_damaged_file_is_one_clear_line(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to be looked at " * 40)

    result = run("migrations", "--history")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "is damaged" in result.stderr


@pytest.mark.parametrize("option", [["--percentiles"], ["--last", "2"]])
def test_what_belongs_to_the_history_needs_it(option: list[str], home: Path) -> None:
    result = run("migrations", *option)

    assert result.exit_code == 2
    assert f"{option[0]} needs --history" in result.stderr
