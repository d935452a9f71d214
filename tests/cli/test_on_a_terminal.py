"""What only a terminal gets: colours, one line of progress on stderr, tables within its width, pretty JSON."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT

OnTerminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def on_terminal(home: Path) -> OnTerminal:
    """Runs a command with stdout and stderr each on a terminal of its own; gives code, stdout and stderr as text."""

    def run(case: str, *arguments: str, columns: int = 100, **environment: str) -> tuple[int, str, str]:
        ends = [pty.openpty() for _ in range(2)]
        for _, inner in ends:
            fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.canned_console", case, *arguments],
            cwd=ROOT,
            env={
                "HOME": str(home),
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                "TERM": "xterm-256color",
                "COLUMNS": str(columns),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=ends[0][1],
            stderr=ends[1][1],
        )
        texts = []
        for outer, inner in ends:
            os.close(inner)
            texts.append(_read_all(outer).replace("\r\n", "\n"))
        return process.wait(60), texts[0], texts[1]

    return run


def _read_all(outer: int) -> str:
    data = b""
    try:
        while chunk := os.read(outer, 65_536):
            data += chunk
    except OSError:  # Linux says that the last writer has gone with EIO
        pass
    os.close(outer)
    return data.decode()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_table_is_coloured_on_a_terminal_and_nowhere_else(
    on_terminal: OnTerminal, spawn: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    _, shown, _ = on_terminal("whole", "hosts")

    assert "\x1b[1;31mdown" in shown
    assert "\x1b" not in spawn("whole", "hosts").stdout


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})]
)
def test_colours_can_be_refused(arguments: list[str], environment: dict[str, str], on_terminal: OnTerminal) -> None:
    _, shown, _ = on_terminal("whole", *arguments, "hosts", **environment)

    assert "gpu-06" in shown
    assert "\x1b" not in shown


def test_a_narrow_terminal_loses_the_least_columns_first_and_says_so(on_terminal: OnTerminal) -> None:
    code, shown, words = on_terminal("whole", "hosts", columns=80)

    assert code == 0
    assert max(len(line) for line in _plain(shown).splitlines()) <= 80
    assert "gpu-06  up, disabled     1  32/32       3/4  570.86.10          0" in _plain(shown)
    assert "no room for: mdevs_created, kernel, libvirt, qemu" in words


def test_a_wide_terminal_shows_all(on_terminal: OnTerminal) -> None:
    _, shown, words = on_terminal("whole", "hosts", columns=200)

    assert "6.12.0-55.el10" in shown
    assert "no room" not in words


def test_progress_is_one_line_that_is_taken_away(on_terminal: OnTerminal) -> None:
    _, shown, words = on_terminal("progressing", "hosts", "-o", "json")

    assert "reading the fleet: 3 of 15 sources have answered" in words
    assert words.endswith("\r\x1b[K")
    assert words.count("\n") == 0
    assert len(json.loads(shown)) == 6


def test_there_is_no_progress_without_a_terminal(spawn: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert spawn("progressing", "hosts").stderr == ""


def test_the_snapshot_is_pretty_for_eyes_and_one_line_for_a_pipe(
    on_terminal: OnTerminal, spawn: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    _, shown, _ = on_terminal("whole", "snapshot")
    piped = spawn("whole", "snapshot").stdout

    assert shown.count("\n") > 100
    assert piped.count("\n") == 1
    assert json.loads(shown) == json.loads(piped)


def test_a_terminal_without_utf8_gets_escapes_and_no_failure(
    spawn: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = spawn("whole", "gpus", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert "\\u2013" in done.stdout
