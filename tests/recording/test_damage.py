"""Files that are cut off, damaged, foreign, newer, hostile: a clear line, and what is whole is read."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec
import pytest

from tests.builders.fleet import NOW, small_fleet
from vgpu_console import __version__
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.format import (
    FIRST_RECORD,
    MAGIC,
    VERSION,
    WHOLE,
    Chunk,
    Directory,
    Header,
    RecordingError,
    record_bytes,
    start_bytes,
)
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.writer import Writer

FRAMES = 4


def frame(number: int) -> Snapshot:
    """The fleet, ten seconds later each; every frame has a little that is new."""
    fleet = small_fleet()
    host = msgspec.structs.replace(fleet.hosts[0], driver=f"550.90.{number:02d}")
    return msgspec.structs.replace(fleet, taken_at=NOW + 10 * number, hosts=(host, *fleet.hosts[1:]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """The bytes of a recording of four frames, and where each frame ends."""
    path = tmp_path_factory.mktemp("whole") / "whole.rec"
    ends = []
    with Writer(path, frame(0)) as out:
        for number in range(FRAMES):
            out.write(frame(number))
            ends.append(out.size)
    return path.read_bytes(), ends


def put(path: Path, data: bytes) -> Path:
    """A file with these bytes."""
    path.write_bytes(data)
    return path


def test_cut_at_every_byte_of_the_last_two_frames(tmp_path: Path, whole: tuple[bytes, list[int]]) -> None:
    data, ends = whole
    frames = [frame(n) for n in range(FRAMES)]
    for size in range(ends[1], len(data)):
        with Recording(put(tmp_path / "cut.rec", data[:size])) as read:
            kept = sum(end <= size for end in ends)
            assert len(read.frames) == kept
            assert bool(read.note) is (size not in ends)
            assert read.damage == (None if size in ends else "cut")
            if read.note:
                assert f"left out ({size - ends[kept - 1]} bytes)" in read.note
                assert read.snapshot(kept - 1) == frames[kept - 1]


def test_a_cut_recording_is_continued_and_the_half_frame_is_taken_away(
    tmp_path: Path, whole: tuple[bytes, list[int]]
) -> None:
    data, ends = whole
    for size in range(ends[2], len(data), 7):
        path = put(tmp_path / "on.rec", data[:size])
        with Writer(path, frame(9)) as out:
            assert out.frames == 3
            assert out.cut == size - ends[2]
            out.write(frame(9))
        with Recording(path) as read:
            assert not read.note
            assert read.snapshot(3) == frame(9)
            assert read.snapshot(2) == frame(2)


def test_cut_in_its_beginning_it_holds_nothing_and_says_so(tmp_path: Path, whole: tuple[bytes, list[int]]) -> None:
    header = Header(cloud="prod", region="RegionOne", created_at=NOW, program=__version__)
    begins = len(start_bytes(header))
    for size in range(begins):
        with pytest.raises(RecordingError, match=str(tmp_path)):
            Recording(put(tmp_path / "short.rec", whole[0][:size]))
    for size in range(begins, begins + 9):
        with Recording(put(tmp_path / "short.rec", whole[0][:size])) as read:
            assert not read.frames
            with pytest.raises(RecordingError, match="holds no whole frame"):
                read.at(NOW)


def test_what_a_power_cut_leaves_is_cut_off(tmp_path: Path, whole: tuple[bytes, list[int]]) -> None:
    data, ends = whole
    zeros = put(tmp_path / "zeros.rec", data[: ends[2]] + bytes(5_000))
    with Recording(zeros) as read:
        assert (len(read.frames), read.damage) == (3, "cut")
    half = bytearray(data)
    half[-40:] = bytes(40)
    with Recording(put(tmp_path / "half.rec", bytes(half))) as read:
        assert (len(read.frames), read.damage) == (3, "cut")


def test_damage_in_the_middle_is_read_up_to_and_never_overwritten(
    tmp_path: Path, whole: tuple[bytes, list[int]]
) -> None:
    data, ends = whole
    for at in range(ends[0], ends[1], 11):
        bad = bytearray(data)
        bad[at] ^= 0x20
        path = put(tmp_path / "bad.rec", bytes(bad))
        with Recording(path) as read:
            assert len(read.frames) == 1
            if read.damage == "cut":
                continue  # a length became so large that the frame would end after the file: it looks like a cut one
            assert f"damaged at byte {ends[0]} and read up to there" in read.note
            assert read.snapshot(0) == frame(0)
        with pytest.raises(RecordingError, match="record into another file"):
            Writer(path, frame(5))
        assert path.read_bytes() == bytes(bad)


def test_a_head_is_covered_by_its_own_checksum(tmp_path: Path, whole: tuple[bytes, list[int]]) -> None:
    """Otherwise a flipped bit in a length would pass for a cut file, and continuing would throw good frames away."""
    data, ends = whole
    for at in range(ends[0], ends[0] + 30):
        for bit in (0x01, 0x80):
            bad = bytearray(data)
            bad[at] ^= bit
            with Recording(put(tmp_path / "head.rec", bytes(bad))) as read:
                assert read.damage == "damaged"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no recording"),
        (b"root:x:0:0:root:/root:/bin/sh\n" * 9, "is no recording"),
        (MAGIC[:9], "ends before its first frame"),
        (MAGIC.replace(b"\r\n", b"\n") + bytes(99), "is no recording"),
        (MAGIC + VERSION.pack(2) + b"what comes then is not ours", r"newer vgpu-console \(format 2"),
        (MAGIC + VERSION.pack(1), "header cannot be read"),
        (MAGIC + VERSION.pack(1) + b"\xff" * 200, "header cannot be read"),
        (start_bytes(Header(schema_version=99)), r"newer vgpu-console \(schema 99"),
    ],
)
def test_foreign_and_newer_files_are_told_in_one_line_and_left_alone(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = put(tmp_path / "foreign", content)
    with pytest.raises(RecordingError, match=words) as caught:
        Recording(path)
    assert "\n" not in str(caught.value)
    if content:
        with pytest.raises(RecordingError, match=words):
            Writer(path, frame(0))
        assert path.read_bytes() == content


def test_no_path_no_file_no_folder(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "is no regular file")):
        with pytest.raises(RecordingError, match=words):
            Recording(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordingError, match="is no regular file"):
        Recording(tmp_path / "pipe")


def _hostile(chunk: Chunk, body: bytes, frame_raw: int = 4, kind: bytes = WHOLE) -> bytes:
    packed = zlib.compress(b"\x90" * frame_raw)
    directory = Directory(chunks=(chunk,), size=len(packed), raw=frame_raw)
    return start_bytes(Header(created_at=NOW)) + record_bytes(kind, NOW, directory, body + packed)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("host", 2**40, 20, 2**50),
        Chunk("host", 1, 20, 2**40),
        Chunk("host", -1, 20, 40),
        Chunk("nonsense", 1, 20, 40),
        Chunk("host", 1, 21, 40),
        Chunk("host", 0, 20, 40),
    ],
)
def test_a_directory_that_lies_is_damage_and_takes_no_memory(tmp_path: Path, chunk: Chunk) -> None:
    path = put(tmp_path / "lies.rec", _hostile(chunk, bytes(20)))
    with Recording(path) as read:
        assert not read.frames
        assert read.damage == "damaged"


@pytest.mark.parametrize(
    "inside",
    [b"[{}]", b'[{"host":5}]', b"[1,2", b'["\xff"]', b"[" * 4_000, b"[{},{}]"],
)
def test_checked_parts_with_nonsense_in_them_are_a_clear_error(tmp_path: Path, inside: bytes) -> None:
    packed = zlib.compress(inside)
    frame_of_it = msgspec.msgpack.encode([NOW, 0, {"hosts": [0, 1]}, [[], [], [], [], [], [], []]])
    body = packed + zlib.compress(frame_of_it)
    directory = Directory(
        chunks=(Chunk("host", 1, len(packed), len(inside)),),
        size=len(body) - len(packed),
        raw=len(frame_of_it),
    )
    path = put(tmp_path / "n.rec", start_bytes(Header(created_at=NOW)) + record_bytes(WHOLE, NOW, directory, body))
    with Recording(path) as read:
        assert len(read.frames) == 1
        with pytest.raises(RecordingError, match="frame 0 cannot be read"):
            read.snapshot(0)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(50_000_000), 9)
    path = put(tmp_path / "bomb.rec", _hostile(Chunk("host", 1, len(packed), 40), packed))
    with Recording(path) as read, pytest.raises(RecordingError):
        read.snapshot(0)


def test_text_of_a_strangers_recording_passes_the_gate(tmp_path: Path) -> None:
    fleet = small_fleet()
    evil = msgspec.structs.replace(fleet.servers[0], name="vm\x1b]52;c;aGk=\x07\u202e", flavor="a\nb\x9b1m")
    finding = msgspec.structs.replace(fleet.findings[0], command="ssh a one\nssh a two")
    shown = msgspec.structs.replace(fleet, servers=(evil, *fleet.servers[1:]), findings=(finding,))
    path = tmp_path / "evil.rec"
    with Writer(path, shown) as out:
        out.write(shown)
    with Recording(path) as read:
        got = read.snapshot(0)
    assert got.servers[0].name == "vm·]52;c;aGk=··"
    assert got.servers[0].flavor == "a\nb·1m"
    assert got.findings[0].command == "ssh a one\nssh a two"
    assert got.servers[1:] == fleet.servers[1:]


def test_the_header_begins_where_the_format_says() -> None:
    assert start_bytes(Header()).startswith(MAGIC + b"\x00\x01")
    assert len(MAGIC) + 2 == FIRST_RECORD
