"""``doctor``: findings grouped by severity, one whole with --only, what was not looked at, and the exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from tests.screens import ailing, fleets
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.diagnosis import live_migration
from vgpu_console.rules.diagnosis.doctor import DIAGNOSES

GOLDEN = Path(__file__).parent / "golden"
FIELDS = ["id", "severity", "objects", "evidence", "message", "command", "source", "age_s", "host", "why", "action"]

Invoke = Callable[..., Result]


def ill(*_: Any, **__: Any) -> Snapshot:
    """Findings of every severity; one host is silent."""
    return ailing.ailing()


def answering(snapshot: Snapshot) -> Snapshot:
    """The same with every source answering."""
    good = tuple(msgspec.structs.replace(s, error=None, error_kind=None, failures=0) for s in snapshot.sources)
    return msgspec.structs.replace(snapshot, sources=good)


def well(*_: Any, **__: Any) -> Snapshot:
    """Nothing is wrong, and everything was looked at."""
    return answering(fleets.fleet())


def only_info(*_: Any, **__: Any) -> Snapshot:
    """One finding that is merely to know."""
    return answering(ailing.ailing(findings=ailing.FINDINGS[-1:], unlooked=()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("doctor.txt", ()),
        ("doctor.json", ("-o", "json")),
        ("doctor.csv", ("-o", "csv")),
        ("doctor.md", ("-o", "md")),
        ("doctor_only.txt", ("--only", "vfs-off", "--only", "driver-differs")),
    ],
)
def test_the_whole_output_is_the_golden_one(name: str, words: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(ill, "doctor", *words)

    golden = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(result.stdout, encoding="utf-8")
    assert result.stdout == golden.read_text(encoding="utf-8")
    assert result.exit_code == 5
    assert "libvirt:gpu-04: no answer within 5 s" in result.stderr


def test_json_is_one_object_of_findings_and_of_what_is_unknown(invoke: Invoke) -> None:
    whole = json.loads(invoke(ill, "doctor", "-o", "json").stdout)

    assert list(whole) == ["findings", "unknown"]
    assert {tuple(f) for f in whole["findings"]} == {tuple(FIELDS)}
    assert {tuple(u) for u in whole["unknown"]} == {("source", "hosts", "ids", "reason", "access")}
    vfs = next(f for f in whole["findings"] if f["id"] == "vfs-off")
    assert vfs["source"] == ["libvirt", "placement"]
    assert vfs["age_s"] == 41.0  # of the older of its two sides
    assert [e["age_s"] for e in vfs["evidence"]] == [41.0, 2.0]


def test_the_other_formats_say_the_same(invoke: Invoke) -> None:
    whole = json.loads(invoke(ill, "doctor", "-o", "json").stdout)
    lines = [json.loads(line) for line in invoke(ill, "doctor", "-o", "ndjson").stdout.splitlines()]
    result = invoke(ill, "doctor", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))

    assert [one for one in lines if "id" in one] == whole["findings"]
    assert [one["unknown"] for one in lines if "unknown" in one] == whole["unknown"]
    assert list(rows[0]) == FIELDS
    assert [row["id"] for row in rows] == [f["id"] for f in whole["findings"]]
    assert "not looked at:" in result.stderr  # a table of findings has no place for it
    assert "reader on the system" in result.stderr


@pytest.mark.parametrize(
    ("case", "words", "code"),
    [
        (ill, (), 5),
        (ill, ("--fail-on", "fail"), 1),
        (well, ("--fail-on", "warn"), 0),
        (only_info, (), 0),
        (only_info, ("--fail-on", "warn"), 0),
        (ill, ("--only", "driver-differs", "--host", "gpu-02"), 0),  # what is silent is none of its sources
        (ill, ("--only", "completion-timeout", "--fail-on", "warn", "--host", "gpu-05"), 0),
        ("dark", (), 3),
        ("unknown_cloud", (), 3),
        (ill, ("--only", "vfs-of"), 2),
        (ill, ("--list", "--host", "gpu-01"), 2),
    ],
)
def test_exit_codes(case: Any, words: tuple[str, ...], code: int, invoke: Invoke) -> None:
    from tests.cli.canned_console import dark, unknown_cloud

    named = {"dark": dark, "unknown_cloud": unknown_cloud}
    assert invoke(named.get(case, case) if isinstance(case, str) else case, "doctor", *words).exit_code == code


def test_an_unknown_diagnosis_is_named_with_the_nearest_that_exists(invoke: Invoke) -> None:
    assert "did you mean vfs-off?" in invoke(ill, "doctor", "--only", "vfs-of").stderr


def test_a_host_keeps_what_names_it_and_what_was_not_looked_at_there(invoke: Invoke) -> None:
    whole = json.loads(invoke(ill, "doctor", "--host", "gpu-01", "-o", "json").stdout)

    assert [f["id"] for f in whole["findings"]] == ["driver-differs"]  # as the other side of it
    assert [u["source"] for u in whole["unknown"]] == ["keystone"]


def test_nothing_wrong_is_said_with_what_that_is_worth(invoke: Invoke) -> None:
    assert "no findings: everything was looked at" in invoke(well, "doctor").stderr
    blind = answering(fleets.fleet(unlooked=ailing.UNLOOKED))
    result = invoke(lambda *_, **__: blind, "doctor")
    assert "no findings in what could be looked at" in result.stderr
    assert "not looked at\n  libvirt of gpu-04: no answer within 5 s\n" in result.stdout


def test_what_is_the_same_on_many_hosts_is_one_line(invoke: Invoke) -> None:
    many = tuple(
        live_migration.TIMEOUT.found(f"host gpu-{n:02}", "800 s for each GiB", host=f"gpu-{n:02}") for n in range(40)
    )
    fleet = answering(fleets.fleet(findings=many))
    said = invoke(lambda *_, **__: fleet, "doctor").stdout.splitlines()

    assert said == ["info 40", "  completion-timeout  host gpu-00 +39  800 s for each GiB"]


@pytest.mark.parametrize("form", ["table", "json", "csv", "md", "ndjson"])
def test_the_list_names_every_diagnosis_and_reads_nothing(form: str, invoke: Invoke) -> None:
    def never(*_: Any, **__: Any) -> Snapshot:
        raise AssertionError("the fleet was read")

    result = invoke(never, "doctor", "--list", "-o", form)

    assert result.exit_code == 0
    assert all(one.id in result.stdout for one in DIAGNOSES)
    if form == "json":
        assert {tuple(row) for row in json.loads(result.stdout)} == {("id", "severity", "title", "why", "needs")}


def test_the_bundle_is_written_once_and_never_over_another_file(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "support.tar.gz"
    first = invoke(ill, "doctor", "--bundle", str(file))
    again = invoke(ill, "doctor", "--bundle", str(file))

    assert first.exit_code == 5
    assert f"support bundle: {file}" in first.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        doctor = archive.extractfile("vgpu-console-bundle/doctor.json")
        assert doctor is not None
        told = doctor.read().decode()
    assert "driver-differs" in told
    assert "gpu-02" not in told  # names are replaced
    assert again.exit_code == 1
    assert "File exists" in again.stderr
