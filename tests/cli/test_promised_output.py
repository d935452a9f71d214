"""The views of the command line, byte for byte. ``UPDATE_GOLDEN=1`` writes the golden files anew; read the diff."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

GOLDEN = Path(__file__).parent / "golden"

PROMISED = {
    "hosts": "name service_state service_status gpus vfs_enabled vfs_total mdevs_created mdevs_used mdevs_max driver "
    "kernel libvirt qemu findings",
    "gpus": "host address model mechanism vfs_enabled vfs_total types",
    "types": "host gpu type_id type_name framebuffer_mib max max_source created used available",
    "mdevs": "uuid host parent gpu type_id type_name state autostart server_id server project_id project",
    "servers": "id name project_id project host status vgpus",
    "quota": "project_id project resource limit origin used limit_id default used_by_instances used_by_migrations "
    "leaked free",
    "migrations": "uuid server_id source destination status progress downtime_ms",
    "providers": "uuid name host device gpu generation inventories used traits parent_uuid",
}


@pytest.mark.parametrize("view", PROMISED)
def test_json_has_the_promised_names_in_the_promised_order(view: str, invoke: Callable[..., Result]) -> None:
    rows = json.loads(invoke("whole", view, "-o", "json").stdout)

    assert rows
    assert {tuple(row) for row in rows} == {tuple(PROMISED[view].split())}


@pytest.mark.parametrize("form", ["json", "csv", "md", "table"])
@pytest.mark.parametrize("view", PROMISED)
def test_the_whole_output_is_the_golden_one(view: str, form: str, invoke: Callable[..., Result]) -> None:
    result = invoke("whole", view, "-o", form)

    assert result.exit_code == 0
    assert result.stderr == ""
    golden = GOLDEN / f"{view}.{'txt' if form == 'table' else form}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(result.stdout, encoding="utf-8")
    assert result.stdout == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("view", PROMISED)
def test_every_data_format_says_the_same(view: str, invoke: Callable[..., Result]) -> None:
    whole = json.loads(invoke("whole", view, "-o", "json").stdout)
    lines = [json.loads(line) for line in invoke("whole", view, "-o", "ndjson").stdout.splitlines()]
    table = list(csv.DictReader(io.StringIO(invoke("whole", view, "-o", "csv").stdout)))

    assert lines == whole
    assert [list(row) for row in table] == [list(row) for row in whole]
    first = next(iter(whole[0]))
    assert [row[first] for row in table] == ["" if row[first] is None else str(row[first]) for row in whole]


def test_unknown_is_null_empty_and_a_question_mark(invoke: Callable[..., Result]) -> None:
    """The silent host has GPUs that nobody could count: that is not zero in any format."""
    row = next(r for r in json.loads(invoke("whole", "hosts", "-o", "json").stdout) if r["name"] == "gpu-04")
    line = next(
        r for r in csv.DictReader(io.StringIO(invoke("whole", "hosts", "-o", "csv").stdout)) if r["name"] == "gpu-04"
    )
    words = next(r for r in invoke("whole", "hosts").stdout.splitlines() if r.startswith("gpu-04")).split()

    assert (row["gpus"], row["mdevs_max"], row["mdevs_used"]) == (None, None, 2)
    assert (line["gpus"], line["mdevs_max"], line["mdevs_used"]) == ("", "", "2")
    assert words[:5] == ["gpu-04", "down", "?", "?", "?"]
    assert "2/?" in words


def test_what_does_not_apply_is_not_called_unknown(invoke: Callable[..., Result]) -> None:
    """A T4 has no virtual functions, a free device no server, a vendor VFIO function no mdev uuid."""
    gpus = invoke("whole", "gpus").stdout
    mdevs = invoke("whole", "mdevs").stdout

    assert "T4              mdev             –" in gpus
    assert [line.split()[-2:] for line in mdevs.splitlines() if " defined " in line] == [["–", "–"]]
    assert sum(line.startswith("–") for line in mdevs.splitlines()) == 3


def test_a_limit_without_end_is_minus_one_for_scripts_and_a_word_for_eyes(invoke: Callable[..., Result]) -> None:
    limits = [row["limit"] for row in json.loads(invoke("whole", "quota", "-o", "json").stdout)]

    assert limits == [10, 8, 4, None, -1]
    assert "unlimited" in invoke("whole", "quota").stdout
    assert ",-1," in invoke("whole", "quota", "-o", "csv").stdout


def test_the_snapshot_is_whole_and_names_its_schema(invoke: Callable[..., Result]) -> None:
    result = invoke("whole", "snapshot")
    document = json.loads(result.stdout)

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert document["schema_version"] == 1
    assert document["errors"] == []
    assert [len(document[part]) for part in ("hosts", "mdevs", "servers", "quotas", "migrations")] == [6, 16, 17, 5, 3]
    assert {"sources", "identity", "providers", "findings", "taken_at"} <= set(document)


def test_the_snapshot_of_a_partly_silent_fleet_carries_the_errors(invoke: Callable[..., Result]) -> None:
    result = invoke("partial", "snapshot")

    assert result.exit_code == 5
    assert json.loads(result.stdout)["errors"] == [
        {
            "source": f"{kind}:gpu-04",
            "kind": kind,
            "host": "gpu-04",
            "error": f"no answer within {s} s",
            "error_kind": "timeout",
        }
        for kind, s in (("libvirt", 5), ("ssh", 10))
    ]
