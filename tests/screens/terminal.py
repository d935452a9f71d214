"""A real pseudo-terminal around a program, and a strict reader of what the program sends to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections import Counter
from collections.abc import Callable

_CSI = re.compile(rb"\x1b\[([<=>?]?)([0-9;:]*)([ -/]*)([@-~])")

_POINTER = re.compile(rb"\x1b\]22;[a-z-]{1,20}\x07")
"""The shape of the mouse pointer: the one OSC that Textual sends by itself."""

ALLOWED_CSI = frozenset(
    {
        (b"", b"m"),  # colours
        (b"", b"H"),  # move the cursor
        (b"", b"J"),
        (b"", b"K"),
        (b"?", b"h"),  # modes: alternate screen, mouse, focus, paste, cursor, synchronised frames
        (b"?", b"l"),
        (b"?", b"p"),  # "$p": which modes are there
        (b">", b"u"),  # the keyboard protocol of kitty
        (b"<", b"u"),
        (b"=", b"u"),
        (b"?", b"u"),
        (b"", b"t"),  # the title is put on and off the terminal's stack
        (b"", b"c"),
        (b">", b"q"),
    }
)


class Terminal:
    """A program in a pty of the given size; ``sent`` is all that it wrote so far."""

    def __init__(self, command: list[str], env: dict[str, str], columns: int = 120, lines: int = 36) -> None:
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=env, start_new_session=True, close_fds=True
        )
        os.close(child)
        self.sent = b""

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._main, keys)

    def read_until(self, found: Callable[[bytes], bool], timeout_s: float = 20.0) -> bool:
        """Read what the program writes until ``found`` says enough; False after the time is up or the program ended."""
        until = time.monotonic() + timeout_s
        while not found(self.sent):
            left = until - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self._main], [], [], min(left, 0.2))
            if ready:
                try:
                    chunk = os.read(self._main, 65536)
                except OSError:
                    return found(self.sent)
                if not chunk:
                    return found(self.sent)
                self.sent += chunk
        return True

    def read_more(self, quiet_s: float = 0.15, timeout_s: float = 5.0) -> None:
        """Read until nothing came for a while."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            before = len(self.sent)
            self.read_until(lambda sent, before=before: len(sent) > before, quiet_s)  # type: ignore[misc]
            if len(self.sent) == before:
                return

    def wait(self, timeout_s: float = 10.0) -> int:
        """The exit code, once the program has ended; what it still writes is read meanwhile."""
        until = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < until:
            self.read_until(lambda _sent: False, 0.1)
        return self._process.wait(0.1)

    def close(self) -> None:
        """End the program, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)


def commands(sent: bytes) -> Counter[str]:
    """Every control sequence in a stream, by kind. Raises AssertionError at one that the console has no reason to send.

    Text between the sequences must be UTF-8 without any control character but line feeds and carriage returns.
    """
    kinds: Counter[str] = Counter()
    text = bytearray()
    at = 0
    while at < len(sent):
        byte = sent[at]
        pointer = _POINTER.match(sent, at)
        if pointer is not None:
            at = pointer.end()
            continue
        if byte == 0x1B:
            match = _CSI.match(sent, at)
            assert match is not None, f"not a CSI: {sent[at : at + 40]!r}"
            kind = (match[1], match[4])
            assert kind in ALLOWED_CSI, f"{match[0]!r} in {sent[max(0, at - 40) : at + 40]!r}"
            kinds[(match[1] + match[3] + match[4]).decode()] += 1
            at = match.end()
            continue
        assert byte in (0x0A, 0x0D) or (byte >= 0x20 and byte != 0x7F), (
            f"{byte:#x} in {sent[max(0, at - 40) : at + 40]!r}"
        )
        text.append(byte)
        at += 1
    words = text.decode("utf-8")
    bad = {
        c
        for c in words
        if 0x80 <= ord(c) < 0xA0 or c in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    }
    assert not bad, bad
    return kinds
