"""What reaches a real terminal, byte by byte."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.screens.terminal import Terminal, commands

ROOT = Path(__file__).parents[2]
DOWN = b"\x1b[B"
ESC = b"\x1b"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A plain environment with a home of its own, so that no setting of the developer's counts."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "TEXTUAL_ANIMATIONS": "none",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Whatever a test opens is closed after it."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_hostile_names_send_no_control_byte_of_their_own(env: dict[str, str], terminals: list[Terminal]) -> None:
    terminal = Terminal([sys.executable, "-m", "tests.screens.hostile_console"], env)
    terminals.append(terminal)
    assert terminal.read_until(lambda sent: b"gpu-06" in sent), terminal.sent[-2000:]
    for keys in (b"2", b"3", b"4", b"1", b"\t", b"s", ESC, b"y", ESC, b":g", ESC, b"?", ESC, b"/x", ESC, b"\r"):
        terminal.press(keys)
        terminal.read_more()
    for keys in (DOWN, DOWN, b"\r", ESC, ESC, b"2", b"\r", ESC, b"m", b"\x10", b"vm"):
        terminal.press(keys)
        terminal.read_more()
    before_copy = terminal.sent
    kinds = commands(before_copy)
    assert kinds["m"] > 100, "the console did draw"
    assert b"[@click=app" in before_copy, "markup in a name is shown as it was written"
    terminal.press(ESC)
    terminal.read_more()
    terminal.press(b"\x03")
    time.sleep(0.1)
    terminal.press(b"\x03")
    assert terminal.wait() == 0
    commands(terminal.sent)


def test_the_reader_of_bytes_finds_what_it_is_there_for() -> None:
    for hostile in (
        b"\x1b]52;c;ZXZpbA==\x07",
        b"\x1b[2Jx\x07",
        "\x9b31m".encode(),
        b"\x1bc",
        "\u202e".encode(),
        b"\x1bPq",
    ):
        with pytest.raises(AssertionError):
            commands(b"\x1b[1;1Hname " + hostile)


def test_the_demo_paints_and_leaves_a_clean_terminal(env: dict[str, str], terminals: list[Terminal]) -> None:
    terminal = Terminal([sys.executable, "-m", "vgpu_console", "--demo"], env)
    terminals.append(terminal)
    assert terminal.read_until(lambda sent: b"gpu-06" in sent), terminal.sent[-2000:]
    for keys in (b"2", b"3", b"4", b"1", b"\r"):
        terminal.press(keys)
        terminal.read_more()
    terminal.press(b"qq")
    assert terminal.wait() == 0
    commands(terminal.sent)
    assert terminal.sent.rstrip().endswith(b"\x1b[<u") or b"\x1b[?1049l" in terminal.sent[-400:], (
        "the screen is given back"
    )
