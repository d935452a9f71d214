"""Reports byte for byte. ``UPDATE_GOLDEN=1`` writes the golden files anew; read the diff."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.reports.scene import MADE_AT, fleet, history, report
from vgpu_console.reports.formats import SECTIONS, write_as
from vgpu_console.reports.report import report_of
from vgpu_console.reports.tables import as_csv, as_json

GOLDEN = Path(__file__).parent / "golden"

PROMISED = {
    "capacity": "type type_id framebuffer_mib gpus max created used free offered over_committed unknown",
    "hosts": "name service_state service_status gpus models types vfs_enabled vfs_total mdevs_created mdevs_used "
    "mdevs_max mdevs_free findings driver kernel libvirt qemu zone os_name disabled_reason stale unknown",
    "quota": "project_id project resource limit origin used limit_id default used_by_instances used_by_migrations "
    "leaked free in_flight",
    "quota_totals": "resource promised unlimited unknown used capacity unreserved",
    "migrations": "migration started server_id server project type source destination status running progress "
    "predicted_low_ms predicted_high_ms downtime_ms measured_by not_measured heard_downtime_ms",
    "findings": "severity id host object objects message why evidence command action",
    "sources": "source kind host state age_s answered_at duration_s error error_kind notes",
    "unlooked": "source hosts diagnoses reason access",
}
HEAD = "schema_version title taken_at made_at cloud region user scope limits_scope read_only summary"


@pytest.mark.parametrize("form", ["md", "json", "csv"])
def test_the_whole_report_is_the_golden_one(form: str) -> None:
    text = write_as(report(), form)

    golden = GOLDEN / f"fleet.{form}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_the_json_has_the_promised_members_in_the_promised_order() -> None:
    document = json.loads(as_json(report()))

    assert list(document) == [*HEAD.split(), *SECTIONS]
    assert document["schema_version"] == 1
    for section, names in PROMISED.items():
        assert document[section], section
        assert {tuple(row) for row in document[section]} == {tuple(names.split())}, section


@pytest.mark.parametrize("section", SECTIONS)
def test_a_table_of_the_csv_says_what_the_json_says(section: str) -> None:
    rows = json.loads(as_json(report()))[section]
    text = as_csv(report(), section)

    table = list(csv.DictReader(io.StringIO(text)))
    assert [list(row) for row in table] == [list(row) for row in rows]
    assert [[_cell(value) for value in row.values()] for row in rows] == [list(row.values()) for row in table]
    assert f"{section}\n{text}" in as_csv(report()), "and the whole file has the same table under its name"


def _cell(value: Any) -> str:
    """A JSON value as a cell of CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ";".join(_cell(one) for one in value)
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_a_migration_is_told_once_with_what_was_predicted_and_measured() -> None:
    rows = json.loads(as_json(report()))["migrations"]

    told = {row["server"]: (row["status"], row["predicted_high_ms"], row["downtime_ms"]) for row in rows}
    assert len({row["migration"] for row in rows}) == len(rows) == 4
    assert rows[0]["running"] is True
    assert told["vm-train-7"] == ("running", 34_000.0, None)
    assert told["vm-train-1"] == ("completed", 9_000.0, 6_200.0)
    assert next(row for row in rows if row["server"] == "old")["not_measured"] == "the source's libvirt did not answer"


def test_what_was_heard_stands_beside_a_downtime_over_clocks_that_are_apart() -> None:
    apart = [msgspec.structs.replace(one, heard_ms=1_460.0) for one in history() if one.downtime_ms is not None]

    assert "6.2 s (heard 1.46 s)" in write_as(report_of(fleet(), apart, MADE_AT), "md")


def test_a_history_that_cannot_be_read_is_told_where_it_would_be() -> None:
    without = report_of(fleet(), (), MADE_AT, history_gap="past live migrations are not known: the history is damaged")

    assert "past live migrations are not known" in write_as(without, "md")
    assert "past live migrations are not known" in write_as(without, "html")


def test_a_long_history_gives_its_latest_rows() -> None:
    many = history() * 200
    rows = report_of(fleet(), many, MADE_AT).sections[4].rows

    assert len(rows) <= 210
