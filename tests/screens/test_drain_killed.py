"""kill -9 in the middle of a drain, on a real terminal: the next offers to go on, and does nothing by itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.screens.terminal import Terminal
from vgpu_console.actions.drain import Drain
from vgpu_console.actions.drain_store import DrainStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Whatever a test opens is closed after it."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def console(home: Path, terminals: list[Terminal]) -> Terminal:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TEXTUAL_ANIMATIONS": "none",
        "PYTHONPATH": str(ROOT),
    }
    terminal = Terminal([sys.executable, "-m", "vgpu_console", "--demo", "--scenario", "moves"], env)
    terminals.append(terminal)
    return terminal


def drain_of(store: DrainStore) -> Drain | None:
    found, broken = store.drains()
    assert not broken, "the last state or the one before, never half a file"
    return found[0] if found else None


def test_kill_9_in_the_middle_and_the_next_console(tmp_path: Path, terminals: list[Terminal]) -> None:
    store = DrainStore(tmp_path / ".local/state/vgpu-console/drains-demo")
    first = console(tmp_path, terminals)
    assert first.read_until(lambda sent: b"gpu-04" in sent and b"A100-20C" in sent), first.sent[-2000:]
    for _ in range(20):
        first.press(b"d")
        if first.read_until(lambda sent: b"servers can go" in sent, 2.0):
            break
        first.press(b"\x1b")
    assert b"servers can go" in first.sent
    for key in (b" ", b"a"):
        time.sleep(0.5)
        first.press(key)
        first.read_more()

    def under_way(_sent: bytes) -> bool:
        drain = drain_of(store)
        return drain is not None and bool(drain.having("running"))

    assert first.read_until(under_way, 20.0), first.sent[-2000:]
    first._process.kill()
    first._process.wait()
    left = drain_of(store)
    assert left is not None
    assert left.unfinished
    assert store.held(left.cloud, left.host) == "", "the lock has ended with its process"

    second = console(tmp_path, terminals)
    assert second.read_until(lambda sent: b"is not done" in sent, 30.0), second.sent[-2000:]
    second.press(b"\r")
    second.read_more(1.0)
    assert drain_of(store) == left, "neither by itself nor by enter"
    assert store.held(left.cloud, left.host) == ""
    second.press(b"a")
    assert second.read_until(lambda _sent: bool(store.held(left.cloud, left.host)), 10.0), "now this console runs it"
