"""``vgpu-console diff``: files and the fleet as it is, held against each other; exit codes like diff(1)'s."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from tests.builders import NOW, small_fleet
from vgpu_console.cli_output import snapshot_text
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.writer import Writer

Invoke = Callable[..., Result]
replace = msgspec.structs.replace


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Snapshot], str]:
    """Writes a snapshot to a file, as the command does."""

    def to_file(name: str, snapshot: Snapshot) -> str:
        (tmp_path / name).write_text(snapshot_text(snapshot, pretty=False) + "\n")
        return str(tmp_path / name)

    return to_file


def moved() -> Snapshot:
    """A minute later: one server has moved, one limit was raised, one host no longer answers."""
    fleet = small_fleet()
    first, *servers = fleet.servers
    quota, *quotas = fleet.quotas
    return replace(
        fleet,
        taken_at=NOW + 60,
        servers=(replace(first, host="gpu-02"), *servers),
        quotas=(replace(quota, limit=12), *quotas),
    )


def test_two_that_are_the_same_end_with_0_and_no_row(invoke: Invoke, write: Any) -> None:
    result = invoke("whole", "diff", write("a", small_fleet()), write("b", small_fleet()))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[0] == "nothing differs"


def test_a_difference_ends_with_1_and_is_a_row(invoke: Invoke, write: Any) -> None:
    result = invoke("whole", "diff", write("a", small_fleet()), write("b", moved()))

    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["KIND", "WHAT", "HOST", "NAME", "FIELD", "BEFORE", "AFTER"],
        ["moved", "server", "gpu-02", "vm-train-1", "host", "gpu-01", "gpu-02"],
        ["changed", "quota", "–", "ml-research", "class:VGPU", "limit", "10", "12"],
    ]
    assert "1 moved, 1 changed" in result.stderr


def test_the_json_is_the_promised_object(invoke: Invoke, write: Any) -> None:
    names = write("a", small_fleet()), write("b", moved())
    result = invoke("whole", "diff", *names, "-o", "json")
    document = json.loads(result.stdout)

    assert result.exit_code == 1
    assert list(document) == ["schema_version", "before", "after", "same", "counts", "not_compared", "changes"]
    assert document["before"] == {
        "from": names[0],
        "taken_at": "2025-10-09T08:53:20Z",
        "cloud": "prod",
        "region": "RegionOne",
        "silent": [],
    }
    assert document["same"] is False
    assert document["counts"]["moved"] == 1
    assert document["changes"][0] | {"id": ""} == {
        "kind": "moved",
        "what": "server",
        "id": "",
        "name": "vm-train-1",
        "field": "host",
        "before": "gpu-01",
        "after": "gpu-02",
        "host": "gpu-02",
    }


def test_markdown_has_a_table_for_each_kind(invoke: Invoke, write: Any) -> None:
    result = invoke("whole", "diff", write("a", small_fleet()), write("b", moved()), "-o", "md")

    assert result.stdout.startswith("# vGPU fleet: what differs\n")
    assert "\n## Moved\n\n| what | host | name | field | before | after |\n" in result.stdout
    assert "| server | gpu-02 | vm-train-1 | host | gpu-01 | gpu-02 |" in result.stdout


def test_live_is_the_fleet_as_it_is_now(invoke: Invoke, write: Any) -> None:
    before = write("a", small_fleet(broken=False))

    assert invoke("whole", "diff", before, "live").exit_code == 0
    assert invoke("whole", "diff", "live", before).exit_code == 0
    partial = invoke("partial", "diff", before, "live")
    assert partial.exit_code == 1, "a source that fell silent is a difference"
    assert "changed  source  gpu-04" in partial.stdout
    assert "libvirt:gpu-04: no answer within 5 s" in partial.stderr


def test_what_is_the_same_as_far_as_it_was_seen_ends_with_5(invoke: Invoke, write: Any) -> None:
    result = invoke("partial", "diff", write("a", small_fleet()), "live")

    assert (result.exit_code, result.stdout) == (5, "")


def test_without_a_connection_nothing_is_compared(invoke: Invoke, write: Any) -> None:
    result = invoke("dark", "diff", write("a", small_fleet()), "live")

    assert (result.exit_code, result.stdout) == (3, "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "it is empty"),
        ('{"schema_version": 1, "taken_at"', "cut off"),
        ('{"schema_version": 99}', "newer vgpu-console"),
        ("SQLite format 3", "no snapshot"),
    ],
)
def test_a_file_that_is_no_snapshot_ends_with_2_before_the_fleet_is_read(
    content: str | None, words: str, invoke: Invoke, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    if content is not None:
        path.write_text(content)
    result = invoke("broken", "diff", str(path), "live")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"vgpu-console: {path}: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_two_times_of_a_recording(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "night.vgpurec"
    with Writer(path, small_fleet()) as writer:
        writer.write(small_fleet())
        writer.write(moved())
    result = invoke("broken", "diff", f"{path}@start", f"{path}@+1m", "-o", "json")

    assert result.exit_code == 1
    assert [(c["kind"], c["what"]) for c in json.loads(result.stdout)["changes"]] == [
        ("moved", "server"),
        ("changed", "quota"),
    ]
    assert invoke("broken", "diff", f"{path}@start", f"{path}@+30s").exit_code == 0


@pytest.mark.parametrize(
    ("moment", "words"), [("", "which of its times?"), ("@+9d", "not in the recording"), ("@noon", "no time")]
)
def test_a_time_that_a_recording_does_not_have_is_told(moment: str, words: str, invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "night.vgpurec"
    with Writer(path, small_fleet()) as writer:
        writer.write(small_fleet())
    result = invoke("broken", "diff", f"{path}{moment}", f"{path}@end")

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_whose_name_has_an_at_in_it_is_a_file(invoke: Invoke, write: Any) -> None:
    name = write("fleet@home.json", small_fleet())

    assert invoke("broken", "diff", name, name).exit_code == 0


def test_the_fleet_with_itself_is_not_read_twice(invoke: Invoke) -> None:
    assert invoke("broken", "diff", "live", "live").exit_code == 2


def test_what_makes_a_comparison_odd_is_said(invoke: Invoke, write: Any) -> None:
    other = replace(small_fleet(), identity=replace(small_fleet().identity, cloud="lab"))
    turned = invoke("whole", "diff", write("b", moved()), write("a", small_fleet()))

    assert "is the later of the two" in turned.stderr
    assert (
        "of two clouds: prod, RegionOne and lab, RegionOne"
        in invoke("whole", "diff", write("a", small_fleet()), write("c", other)).stderr
    )
    never = tuple(replace(s, fetched_at=None) if s.error else s for s in small_fleet().sources)
    silent = write("d", replace(small_fleet(), sources=never))
    assert "silent on both sides: libvirt:gpu-04, ssh:gpu-04" in invoke("whole", "diff", silent, silent).stderr
