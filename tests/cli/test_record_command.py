"""``record`` and ``replay`` as an operator runs them, on the embedded cloud, in processes that end in every way."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import ROOT
from tests.cli.one_cloud import _take_terminal, run
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.reader import Recording


def _environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"}


@contextmanager
def recorder(home: Path, path: Path, *options: str, limit: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A recorder of the embedded cloud, a frame a second; ``limit``: no file of it may be longer."""

    def prepare() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "vgpu_console", "--demo", "record", str(path), "--every", "1s", *options]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**_environ(home), "PYTHONDONTWRITEBYTECODE": "1"},  # the limit would cut Python's own files short, too
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def frames(path: Path) -> int:
    """How many whole frames a file has now."""
    with Recording(path) as recording:
        return len(recording.frames)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_recording_of_two_seconds_killed_and_continued_and_read_back(home: Path) -> None:
    path = home / "night.rec"
    with recorder(home, path, "--for", "2s") as first:
        out, words = first.communicate(timeout=60)
    assert (first.returncode, out) == (0, "")
    assert f"recording to {path} every 1 s, for 00:00:02" in words
    assert "recorded 3 frames in 00:00:02" in words
    assert frames(path) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with recorder(home, path) as second:
        until(lambda: frames(path) >= 5)
        second.send_signal(signal.SIGKILL)
    whole = frames(path)
    with path.open("ab") as file:
        file.write(b"\xa7FW")  # as if it had been killed within a write

    with recorder(home, path, "--for", "1s") as third:
        _, words = third.communicate(timeout=60)
    assert "was not whole and was taken away (3 bytes)" in words
    assert f"has {whole} frames; it is continued" in words
    assert frames(path) == whole + 2

    listed = json.loads(run("replay", str(path), "--list", "-o", "json").stdout)
    assert [row["frame"] for row in listed] == list(range(whole + 2))
    assert listed[0]["time"] < listed[-1]["time"]
    table = run("replay", str(path), "--list").stdout.splitlines()
    assert len(table) == whole + 3
    shown = run("replay", str(path), "--at", "+1s", "-o", "json")
    snapshot = msgspec.json.decode(shown.stdout, type=Snapshot)
    with Recording(path) as recording:
        assert snapshot == recording.snapshot(recording.at(recording.frames[0].time + 1))
    assert [h.name for h in snapshot.hosts][:2] == ["gpu-01", "gpu-02"]
    assert json.loads(shown.stdout)["errors"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_well(home: Path, number: signal.Signals) -> None:
    path = home / "s.rec"
    with recorder(home, path) as process:
        until(lambda: path.exists() and path.stat().st_size > 5_000)
        process.send_signal(number)
        _, words = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"{path} has " in words.splitlines()[-1]
    with Recording(path) as recording:
        assert not recording.note
        assert f"recorded {len(recording.frames)} frames" in words


def test_a_second_recorder_is_told(home: Path) -> None:
    path = home / "one.rec"
    with recorder(home, path):
        until(lambda: path.exists() and path.stat().st_size > 5_000)
        result = run("record", str(path), "--for", "1s")
        assert result.exit_code == 1
        assert result.stderr == f"vgpu-console: {path}: another recorder is writing it\n"
        assert run("replay", str(path), "--list").exit_code == 0


def test_a_full_disk_ends_it_with_a_line_and_whole_frames(home: Path) -> None:
    path = home / "full.rec"
    with recorder(home, path, "--for", "1s") as process:
        process.communicate(timeout=60)
    before = frames(path)
    with recorder(home, path, "--log-file", "/dev/null", limit=path.stat().st_size + 1_500) as process:
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"vgpu-console: {path}: no space left on the disk; it keeps " in words
    with Recording(path) as recording:
        assert not recording.note
        assert len(recording.frames) >= before
        assert recording.snapshot(len(recording.frames) - 1).hosts


def test_on_a_terminal_it_says_how_far_it_is_until_ctrl_c(home: Path) -> None:
    path = home / "t.rec"
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vgpu_console", "--demo", "record", str(path), "--every", "1s"],
        cwd=ROOT,
        env={**_environ(home), "COLUMNS": "120"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(inner)
    shown = b""
    try:
        while b"2 frames" not in shown:
            shown += os.read(outer, 65_536)
        os.write(outer, b"\x03")
        while b" kB\r\n" not in shown:
            shown += os.read(outer, 65_536)
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(outer)
    assert "next in 1 s · ctrl+c ends it" in shown.decode()
    assert f"recorded {frames(path)} frames in 00:00:0" in shown.decode()
    assert frames(path) >= 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.symlink_to("/dev/null"), "is a symbolic link"),
        (lambda p: p.mkdir(), "is no regular file"),
        (lambda p: p.write_text("not ours"), "is no recording of vgpu-console"),
    ],
)
def test_a_file_that_is_not_its_own_is_refused_before_the_fleet_is_read(
    home: Path, make: Callable[[Path], object], words: str
) -> None:
    path = home / "other"
    make(path)
    result = run("record", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"vgpu-console: {path}: {words}\n"


def test_what_is_wrong_on_the_command_line(home: Path) -> None:
    for arguments, words in (
        (("record", "x", "--every", "0.5s"), "a frame a second is the most"),
        (("record", "x", "--for", "soon"), "no span of time like 10s, 5m, 1h30m or 8h"),
        (("replay", "x", "-o", "table"), "-o table goes with --list"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr
    assert list(home.iterdir()) == []


def test_without_a_cloud_no_file_is_made(home: Path) -> None:
    (home / "clouds.yaml").write_text(
        "clouds: {far: {auth: {auth_url: 'http://127.0.0.1:9/', username: u, password: p, project_name: p}}}"
    )
    process = subprocess.run(
        [sys.executable, "-m", "vgpu_console", "--os-cloud", "far", "record", str(home / "x.rec")],
        cwd=ROOT,
        env={**_environ(home), "OS_CLIENT_CONFIG_FILE": str(home / "clouds.yaml")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 3
    assert process.stderr.startswith("vgpu-console: no connection: ")
    assert not (home / "x.rec").exists()


def test_replay_without_a_terminal_and_of_what_is_no_recording(home: Path) -> None:
    path = home / "r.rec"
    with recorder(home, path, "--for", "1s") as process:
        process.communicate(timeout=60)
    result = run("replay", str(path))
    assert result.exit_code == 2
    assert "the console needs a terminal; for data: replay FILE --at TIME -o json, or --list" in result.stderr
    result = run("replay", str(path), "--at", "2001-01-01", "-o", "json")
    assert result.exit_code == 2
    assert "is not in the recording, which goes from " in result.stderr
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    result = run("replay", str(path), "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["schema_version"] == 1
    assert result.stderr.startswith("note: its last frame is not whole and is left out (")
    path.write_bytes(data[:40])
    for arguments in (("--list",), ("-o", "json"), ()):
        result = run("replay", str(path), *arguments)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
    assert run("replay", str(home / "none.rec")).stderr == f"vgpu-console: {home}/none.rec: No such file or directory\n"
