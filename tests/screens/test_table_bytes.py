"""How many bytes the table costs on a line: counted on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

SCRIPT = Path(__file__).with_name("table_on_a_terminal.py")
COLUMNS, LINES = 100, 30
GIVE_UP_S = 20.0


class Terminal:
    """The far end of a pty on which the script runs."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.done, done_far = os.pipe()
        env = {
            **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORFGBG")},
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "TEXTUAL_ANIMATIONS": "none",
            "DONE_FD": str(done_far),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=slave, stdout=slave, stderr=slave, env=env, pass_fds=(done_far,)
        )
        os.close(slave)
        os.close(done_far)
        self.all = b""
        self.wait()

    def _read(self, seconds: float) -> bytes:
        """What arrives until nothing has for ``seconds``."""
        out = b""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:  # the script has ended
                break
            if not part:
                break
            out += part
        self.all += out
        return out

    def wait(self) -> bytes:
        """The bytes written until the script says that it is done, and the line is quiet."""
        until = time.monotonic() + GIVE_UP_S
        out = b""
        while time.monotonic() < until:
            ready = select.select([self.master, self.done], [], [], 0.2)[0]
            if self.master in ready:
                out += self._read(0.01)
            if self.done in ready:
                assert os.read(self.done, 1) == b".", "the script ended"
                return out + self._read(0.25)
        pytest.fail(f"no answer from the script; it wrote {out[-500:]!r}")

    def press(self, keys: str) -> bytes:
        os.write(self.master, keys.encode())
        return self.wait()

    def screen(self) -> list[str]:
        """What the terminal shows. Kitty keyboard sequences, which pyte does not know, are left out."""
        screen = pyte.Screen(COLUMNS, LINES)
        stream = pyte.ByteStream(screen)
        stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*u", b"", self.all))
        return list(screen.display)

    def close(self) -> None:
        os.write(self.master, b"x")
        self._read(0.5)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.done)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


def test_bytes_on_the_line(terminal: Terminal) -> None:
    assert "gpu-000" in terminal.screen()[3]

    assert terminal.press("u") == b"", "a refresh that changes nothing"

    ten = terminal.press("c")
    assert 0 < len(ten) < 2000, "ten of 200 rows"
    assert all("█" not in line or "1 / 4" in line for line in terminal.screen()[3:13])
    assert terminal.press("u") == b"", "the same again"

    down = terminal.press("j")
    assert 0 < len(down) < 1500, "the cursor moves by a line"
    assert terminal.screen()[4].startswith("▸")
    assert not terminal.screen()[3].startswith("▸")

    tick = terminal.press("t")
    assert 0 < len(tick) < 120, "one age of one source"
    assert "nova 3s" in terminal.screen()[1]

    big = terminal.press("b")
    assert len(big) < 25_000, "50,000 rows cost no more than a screen"


def test_no_text_of_strangers_steers_the_terminal(terminal: Terminal) -> None:
    terminal.press("c")
    terminal.press("j")
    assert b"\x1b]52" not in terminal.all
    assert b"\x1b]0;evil" not in terminal.all
    assert b"\x9b31m" not in terminal.all
    assert "\u009b".encode() not in terminal.all
    assert "\u202e".encode() not in terminal.all
    shown = "\n".join(terminal.screen())
    assert "·]52;c;ZXZpbA==·" in shown
    assert "[/x]" in shown
