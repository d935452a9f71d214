"""Listens to guests' heartbeats from outside, in a process of its own, and says how long each stood still.

Run as a program it listens on the given socket; each line on its standard input is answered with one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

BEAT_MS = 2.0
"""A guest writes a byte this often: what the measure cannot be finer than."""


class Emulator(msgspec.Struct, frozen=True):
    """What came from one emulator process. Times are of the monotonic clock that all processes of a machine share."""

    first: float | None
    last: float | None
    beats: int
    longest_pause_ms: float


class Handover(msgspec.Struct, frozen=True):
    """From the last beat of the source's emulator to the first of the destination's."""

    stopped: float
    resumed: float
    longest_pause_ms: float  # within what the source's emulator sent: a guest that was paused there

    @property
    def downtime_ms(self) -> float:
        """How long nothing was heard."""
        return (self.resumed - self.stopped) * 1000


class Heartbeat:
    """The listener of one guest, as the tests hold it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.lab.migration.heartbeat", str(path)]
        root = Path(__file__).resolve().parents[3]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def emulators(self) -> list[Emulator]:
        """What was heard until now, in the order in which the emulators connected."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=list[Emulator])

    def handover(self) -> Handover:
        """The pause between the last two emulators. Raises AssertionError when there were no two that beat."""
        beating = [e for e in self.emulators() if e.first is not None and e.last is not None]
        assert len(beating) >= 2, beating
        source, destination = beating[-2:]
        assert source.last is not None
        assert destination.first is not None
        return Handover(source.last, destination.first, source.longest_pause_ms)

    def close(self) -> None:
        """End the listener."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self.path.unlink(missing_ok=True)


def listen(path: str) -> None:
    """Until standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    heard: list[dict[str, Any]] = []
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
    with contextlib.suppress(PermissionError):  # a beat that waits for a processor is heard late
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    print("listening", flush=True)
    while True:
        for key, _ in waiting.select():
            now = time.monotonic()
            if key.fileobj is listener:
                connection, _ = listener.accept()
                heard.append({"first": None, "last": None, "beats": 0, "longest_pause_ms": 0.0})
                waiting.register(connection, selectors.EVENT_READ, heard[-1])
            elif isinstance(key.fileobj, socket.socket):
                if not _hear(key.fileobj, key.data, now):
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()
            elif not os.read(key.fd, 100):
                return
            else:
                print(json.dumps(heard), flush=True)


def _hear(connection: socket.socket, emulator: dict[str, Any], now: float) -> bool:
    try:
        beats = connection.recv(4096)
    except ConnectionError:
        beats = b""
    if not beats:
        return False
    if emulator["first"] is None:
        emulator["first"] = now
    else:
        emulator["longest_pause_ms"] = max(emulator["longest_pause_ms"], (now - emulator["last"]) * 1000)
    emulator["last"] = now
    emulator["beats"] += len(beats)
    return True


if __name__ == "__main__":
    listen(sys.argv[1])
