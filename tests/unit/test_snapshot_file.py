"""Snapshots read back: what was written comes back the same, and anything else is told in one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import small_fleet
from tests.cli.test_hostile_text import CONTROL, HOSTILE, renamed
from vgpu_console.cli_output import snapshot_text
from vgpu_console.model.snapshot import SCHEMA_VERSION, Snapshot
from vgpu_console.snapshot_file import SnapshotFileError, decode, load
from vgpu_console.text import plain

WRITTEN = snapshot_text(small_fleet(), pretty=False).encode()


@pytest.mark.parametrize("pretty", [False, True])
def test_what_was_written_is_what_is_read(pretty: bool, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(snapshot_text(small_fleet(), pretty=pretty) + "\n")

    assert load(path) == small_fleet()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"[]", "not a JSON object"),
        (b"GET / HTTP/1.1", "not a JSON object"),
        (b"\x28\xb5\x2f\xfd\x00", "not a JSON object"),
        (b"{}", "no schema_version"),
        (b'{"items": []}', "no schema_version"),
        (b'{"schema_version": "1"}', "no schema_version"),
        (b'{"schema_version": 0, "taken_at": 1}', "schema_version 0"),
        (b'{"schema_version": 1}', "does not say when"),
        (b'{"schema_version": 1, "taken_at": 1, "hosts": 4}', r"\$\.hosts"),
        (b'{"schema_version": 1, "taken_at": 1, "hosts": [{"name": 4}]}', r"\$\.hosts\[0\]\.name"),
        (b'{"schema_version": 1, "taken_at": 1, "x": "\xff"}', "UTF-8"),
        (b'{"schema_version": 1, "x": ' + b"[" * 100_000, "nested"),
        (b'{"schema_version": 1,}', "no JSON"),
        (WRITTEN[: len(WRITTEN) // 2], "cut off"),
        (WRITTEN[:-1], "cut off"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1, "hosts": {"new": "form"}}).encode(), "newer vgpu-console"),
    ],
)
def test_what_is_no_snapshot_is_told_in_one_line(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(data)

    with pytest.raises(SnapshotFileError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotFileError, match="No such file"):
        load(tmp_path / "nothing")
    with pytest.raises(SnapshotFileError, match="directory"):
        load(tmp_path)


def test_members_of_a_later_minor_version_are_passed_over() -> None:
    document = json.loads(WRITTEN) | {"unheard_of": {"a": 1}}
    document["hosts"][0]["colour"] = "green"

    assert decode(json.dumps(document).encode()) == small_fleet()


@pytest.mark.parametrize("project", ["vdi", "a\x1b[31m", "a\nb"])
def test_a_command_keeps_its_lines_and_a_name_gets_none(project: str) -> None:
    document = json.loads(WRITTEN)
    document["findings"][0]["command"] = "ssh gpu-01 a\nssh gpu-01 b"
    document["findings"][1]["command"] = 'ssh \x1b[2J\nb "quoted" \\n'
    document["servers"][0]["project"] = project
    for indent in (None, 2):
        found = decode(json.dumps(document, indent=indent).encode())
        assert found.findings[0].command == "ssh gpu-01 a\nssh gpu-01 b"
        assert found.findings[1].command == 'ssh ·[2J\nb "quoted" \\n'
        assert found.servers[0].project == plain(project)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WRITTEN) - 1))
def test_a_file_that_ends_too_early_is_never_taken_for_a_whole_one(end: int) -> None:
    with pytest.raises(SnapshotFileError):
        decode(WRITTEN[:end])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WRITTEN) - 1), st.integers(0, 255))
def test_a_damaged_byte_gives_a_snapshot_or_a_clear_line(at: int, byte: int) -> None:
    data = WRITTEN[:at] + bytes([byte]) + WRITTEN[at + 1 :]
    try:
        assert isinstance(decode(data), Snapshot)
    except SnapshotFileError:
        with pytest.raises(SnapshotFileError, match=r"\A[^\n]+\Z"):
            decode(data)


@settings(max_examples=40, deadline=None)
@given(HOSTILE)
def test_text_of_a_foreign_file_passes_the_gate(name: str) -> None:
    document = json.loads(WRITTEN)
    document["hosts"][0]["name"] = name
    document["servers"][0]["requested"] = {name: 1}
    for escaped in (True, False):
        try:
            data = json.dumps(document, ensure_ascii=escaped).encode()
        except UnicodeEncodeError:
            continue
        found = decode(data)
        assert found.hosts[0].name == plain(name, 100_000)
        assert list(found.servers[0].requested) == [plain(name, 100_000)]
        assert not CONTROL.search(found.hosts[0].name)
    assert decode(snapshot_text(renamed(name), pretty=False).encode()) == renamed(name)
