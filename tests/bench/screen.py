"""How the console feels on a real terminal: from key to paint, bytes on the line, time to the first paint."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence

from tests.bench.client import console
from tests.bench.figures import Figure

HOSTS = 1000
COLUMNS, ROWS = 120, 40
CURSOR = "▸".encode()


class Pty:
    """A program on a terminal of 120×40."""

    def __init__(self, command: Sequence[str]) -> None:
        self.began = time.perf_counter()
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.environ.pop("NO_COLOR", None)
            os.execv(command[0], list(command))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self, seconds: float) -> bytes:
        """What comes within that time; returns with the first piece."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, seconds))
        if not ready:
            return b""
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:
            return b""

    def until(self, wanted: bytes, seconds: float) -> float:
        """Seconds from now until the bytes were seen. Raises TimeoutError."""
        began, seen = time.perf_counter(), b""
        while time.perf_counter() - began < seconds:
            seen = (seen + self.read(0.05))[-(1 << 18) :]
            if wanted in seen:
                return time.perf_counter() - began
        raise TimeoutError(f"{wanted!r} did not come within {seconds:g} s; last: {seen[-200:]!r}")

    def count(self, seconds: float) -> int:
        """Bytes that come in that time."""
        end, total = time.perf_counter() + seconds, 0
        while (left := end - time.perf_counter()) > 0:
            total += len(self.read(left))
        return total

    def write(self, keys: bytes) -> None:
        """Type."""
        os.write(self._fd, keys)

    def close(self) -> None:
        """Kill it and reap it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)


def _first_paint() -> float:
    times = []
    for _ in range(5):
        terminal = Pty([console(), "--demo"])
        terminal.until(b"vgpu-console", 20.0)
        times.append(time.perf_counter() - terminal.began)
        terminal.close()
    return min(times)


def _fleet(changes: int) -> Pty:
    terminal = Pty([sys.executable, "-m", "tests.bench.screen_app", str(HOSTS), str(changes)])
    terminal.until(b"gpu", 300.0)
    terminal.count(4.0)
    return terminal


def _key_to_paint(terminal: Pty, keys: int) -> list[float]:
    """Milliseconds from the key Down to the bytes that paint the cursor in its new row."""
    chance = random.Random(7)
    times = []
    for press in range(keys):
        terminal.count(0.02 + chance.random() * 0.06)
        began = time.perf_counter()
        terminal.write(b"\x1b[A" if (press // 25) % 2 else b"\x1b[B")
        terminal.until(CURSOR, 5.0)
        times.append((time.perf_counter() - began) * 1000)
    return times


def figures() -> Iterator[Figure]:
    """First paint, key to paint at 1,000 hosts, bytes a refresh."""
    paint = _first_paint()
    yield Figure("first paint of the demo", f"{paint:.2f} s", aim="under 0.5 s", met=paint < 0.5)
    terminal = _fleet(10)
    try:
        times = sorted(_key_to_paint(terminal, 250))
    finally:
        terminal.close()
    p99 = times[int(len(times) * 0.99) - 1]
    yield Figure(
        f"key to paint, {HOSTS} hosts, 10 rows changing at 1 Hz",
        f"p50 {statistics.median(times):.1f} ms, p95 {times[int(len(times) * 0.95) - 1]:.1f} ms, p99 {p99:.1f} ms",
        aim="p99 under 50 ms",
        met=p99 < 50,
    )
    for changes in (0, 10):
        terminal = _fleet(changes)
        try:
            total = terminal.count(20.0)
        finally:
            terminal.close()
        yield Figure(f"bytes a refresh, {changes} changed rows of {HOSTS}", f"{total / 20:.0f} B/s at 1 Hz")
