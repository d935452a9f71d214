"""Where a recorder writes: a file of its own, locked, of one cloud, never through a link; whole on a full disk."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.builders.fleet import NOW, small_fleet
from vgpu_console.cli_record_run import in_milliseconds, look_at
from vgpu_console.model.snapshot import Host
from vgpu_console.recording.format import RecordingError
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.writer import Writer


def test_another_cloud_is_refused_and_the_file_left_as_it_was(tmp_path: Path) -> None:
    path, fleet = tmp_path / "prod.rec", small_fleet()
    with Writer(path, fleet) as out:
        out.write(fleet)
    before = path.read_bytes()
    other = msgspec.structs.replace(fleet, identity=msgspec.structs.replace(fleet.identity, cloud="test"))
    with pytest.raises(RecordingError, match="a recording of prod · RegionOne, not of test · RegionOne"):
        Writer(path, other)
    assert path.read_bytes() == before


def test_a_second_recorder_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    path, fleet = tmp_path / "r.rec", small_fleet()
    with Writer(path, fleet) as out:
        out.write(fleet)
        with pytest.raises(RecordingError, match="another recorder is writing it"):
            Writer(path, fleet)
        with pytest.raises(RecordingError, match="another recorder is writing it"):
            look_at(path)
        with Recording(path) as read:
            assert read.snapshot(0) == fleet
    look_at(path)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_refused_wherever_it_points(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"precious")
    link.symlink_to(target)
    with pytest.raises(RecordingError, match="is a symbolic link"):
        look_at(link)
    with pytest.raises(RecordingError, match="is a symbolic link"):
        Writer(link, small_fleet())
    assert target.exists() is there


def test_pipes_folders_and_missing_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(RecordingError):
            look_at(path)
        with pytest.raises(RecordingError):
            Writer(path, small_fleet())
    with pytest.raises(RecordingError, match="there is no folder"):
        look_at(tmp_path / "no" / "file")


def test_an_empty_file_is_a_new_one_and_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "made-by-mktemp"
    path.touch(mode=0o644)
    with Writer(path, small_fleet()) as out:
        out.write(small_fleet())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def changing_hosts(frames: int) -> list[tuple[Host, ...]]:
    """Hosts of which nothing can be stored once, and little be compressed."""
    fleet = small_fleet()
    return [tuple(msgspec.structs.replace(h, kernel=os.urandom(60).hex()) for h in fleet.hosts) for _ in range(frames)]


def write_all(out: Writer, hosts: list[tuple[Host, ...]]) -> None:
    """A frame for each."""
    for number, some in enumerate(hosts):
        out.write(msgspec.structs.replace(small_fleet(), taken_at=NOW + number, hosts=some))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file of this process may grow beyond 12,000 bytes: what a full disk is to a writer, but for its errno."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module that is imported meanwhile would be cut short, too
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_and_leaves_whole_frames(tmp_path: Path, small_files: None) -> None:
    path, fleet, hosts = tmp_path / "full.rec", small_fleet(), changing_hosts(60)
    with Writer(path, fleet) as out:
        with pytest.raises(RecordingError, match=r"no space left on the disk; it keeps [0-9]+ whole frames"):
            write_all(out, hosts)
        written = out.frames
        with pytest.raises(RecordingError, match="an earlier frame could not be written"):
            out.write(fleet)
        assert 0 < written < 60
    with Recording(path) as read:
        assert not read.note
        assert len(read.frames) == written
        assert read.snapshot(written - 1).hosts == hosts[written - 1]


def test_a_really_full_disk(tmp_path: Path) -> None:
    """The same with a real ENOSPC, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with Writer(disk / "f.rec", small_fleet()) as out:
            with pytest.raises(RecordingError, match="no space left on the disk"):
                write_all(out, changing_hosts(200))
            written = out.frames
        with Recording(disk / "f.rec") as read:
            assert not read.note
            assert len(read.frames) == written > 3
            read.snapshot(written - 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


KILLED = """
import sys
from pathlib import Path
import msgspec
from tests.builders.fleet import NOW, small_fleet
from vgpu_console.recording.writer import Writer
fleet = small_fleet()
with Writer(Path(sys.argv[1]), fleet) as out:
    number = out.frames
    while True:
        host = msgspec.structs.replace(fleet.hosts[0], driver=str(number))
        out.write(msgspec.structs.replace(fleet, taken_at=NOW + number, hosts=(host, *fleet.hosts[1:])))
        number += 1
        print(number, flush=True)
"""


def test_kill_9_costs_the_last_frame_at_most_and_the_next_recorder_goes_on(tmp_path: Path) -> None:
    path, told = tmp_path / "killed.rec", 0
    for run in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as writing:
            assert writing.stdout is not None
            for line in writing.stdout:
                told = int(line)
                if told >= 40 * (run + 1):
                    break
            writing.kill()
            rest = writing.stdout.read().split()
        told = int(rest[-1]) if rest and rest[-1].isdigit() else told
        with Recording(path) as read:
            assert told <= len(read.frames) <= told + 1
            for number in range(0, len(read.frames), 7):
                assert read.snapshot(number).hosts[0].driver == str(number)


def test_times_are_kept_to_the_millisecond() -> None:
    fleet = small_fleet()
    status = msgspec.structs.replace(fleet.sources[0], fetched_at=NOW - 1 / 3, duration_s=2 / 3, next_at=None)
    kept = in_milliseconds(msgspec.structs.replace(fleet, taken_at=NOW + 1 / 7, sources=(status,)))
    assert kept.taken_at == 1_760_000_000.143
    assert (kept.sources[0].fetched_at, kept.sources[0].duration_s) == (1_759_999_999.667, 0.667)
    assert kept.sources[0].next_at is None
