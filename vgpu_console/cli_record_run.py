"""``vgpu-console record``: reads the fleet at its own pace, and writes a frame when one is due."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vgpu_console.cli_run import FAILED, NAME, OK, Progress, demo_of, is_dark, no_connection, say, settings_of
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.recording.format import RecordingError
from vgpu_console.recording.moments import span_words
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.writer import Writer
from vgpu_console.views import OPENSTACK

if TYPE_CHECKING:
    from vgpu_console.runtime import Fleet

LOG = logging.getLogger("vgpu_console.record")

LOOK_S = 1.0
"""The loop wakes at least so often: to start what is due, and to show how far it is."""

LEAST_REST_S = 0.5
"""After a frame, however long it took: the sources' threads need the interpreter, too."""


def run(given: Mapping[str, tuple[Any, str]], path: Path, every_s: float, for_s: float | None) -> int:
    """Records until it is told to end, or the time is over; the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    try:
        look_at(path)
    except RecordingError as error:
        say(f"{NAME}: {error}")
        return FAILED
    from vgpu_console import log

    log.start(settings.log)
    with ending_signals() as ended:
        progress = Progress(sys.stderr)
        progress.start()
        try:
            from vgpu_console.runtime import Fleet

            fleet = Fleet(settings, demo)
            try:
                return Recorder(fleet, path, every_s, for_s, ended, progress).run(settings.deadline)
            finally:
                fleet.close()
        finally:
            with contextlib.suppress(OSError):
                progress.clear()


class Recorder:
    """One run of the command on an open fleet."""

    def __init__(
        self,
        fleet: Fleet,
        path: Path,
        every_s: float,
        for_s: float | None,
        ended: threading.Event,
        progress: Progress,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._path = path
        self._every_s = every_s
        self._for_s = for_s
        self._ended = ended
        self._progress = progress
        self._steady = steady
        self._seen = -1
        self._frames = 0

    def run(self, deadline_s: float) -> int:
        """Records; the exit code. Raises nothing but what is a fault of this program."""
        if not self._first_reading(deadline_s):
            self._say("ended before the fleet was read: nothing was recorded")
            return OK
        first = self._snapshot()
        if not first.hosts and is_dark(first, OPENSTACK):
            self._progress.clear()
            return no_connection(first)
        try:
            with Writer(self._path, first) as writer:
                return self._record(writer, first)
        except RecordingError as error:
            self._say(f"{NAME}: {error}")
            return FAILED

    def _record(self, writer: Writer, first: Snapshot) -> int:
        if writer.cut:
            self._say(f"the last frame of an earlier recorder was not whole and was taken away ({writer.cut} bytes)")
        if writer.frames:
            self._say(f"{self._path} has {writer.frames} frames; it is continued")
        until = "until ctrl+c" if self._for_s is None else f"for {span_words(self._for_s)}"
        if not sys.stderr.isatty():
            self._say(f"recording to {self._path} every {self._every_s:g} s, {until}")
        began = due = self._steady()
        snapshot: Snapshot | None = first
        try:
            while True:
                if snapshot is not None:
                    writer.write(snapshot)
                    self._frames += 1
                due = max(due + self._every_s, self._steady() + LEAST_REST_S)
                end = float("inf") if self._for_s is None else began + self._for_s
                if due > end + 0.001:
                    self._wait(end, writer, began)
                    break
                if not self._wait(due, writer, began):
                    break
                snapshot = self._joined()
        finally:
            self._progress.clear()
            length = span_words(self._steady() - began)
            self._say(f"recorded {self._frames} frames in {length}; {self._path} has {_size(writer.size)}")
        return OK

    def _first_reading(self, deadline_s: float) -> bool:
        """Ask every source once; False when the command was ended meanwhile."""
        collector = self._fleet.collector
        end = self._steady() + deadline_s
        while not self._ended.is_set():
            collector.tick()
            waiting = collector.pending()
            if not waiting or self._steady() >= end:
                return True
            self._progress.tell(f"reading the fleet: {len(waiting)} sources have yet to answer")
            self._seen = collector.wait(self._seen, 0.5)
        return False

    def _wait(self, due: float, writer: Writer, began: float) -> bool:
        """Ask what is due until the next frame is; False when the command is to end."""
        collector = self._fleet.collector
        while not self._ended.is_set():
            next_s = collector.tick()  # also when a frame took longer than from one to the next: sources go on
            now = self._steady()
            if now >= due:
                return True
            self._progress.tell(
                f"recording {self._path.name}: {span_words(now - began)}, {writer.frames} frames, "
                f"{_size(writer.size)}, next in {due - now:.0f} s · ctrl+c ends it"
            )
            # an answer ends the wait at once, so that its source is asked again in time; a signal within the second
            self._seen = collector.wait(self._seen, max(0.01, min(LOOK_S, next_s, due - now)))
        return False

    def _snapshot(self) -> Snapshot:
        return in_milliseconds(self._fleet.joiner.join(self._fleet.collector.facts(), self._fleet.clock()))

    def _joined(self) -> Snapshot | None:
        """The next frame; None after a fault of this console, which must not end a night's recording."""
        try:
            return self._snapshot()
        except Exception:
            LOG.exception("this frame is left out after a fault of this console")
            return None

    def _say(self, text: str) -> None:
        """Words, also when the terminal has gone away meanwhile."""
        with contextlib.suppress(OSError):
            self._progress.clear()
            say(text)


def in_milliseconds(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its times in whole milliseconds: nobody measures finer, and they are most of a quiet frame."""
    return msgspec.structs.replace(
        snapshot, taken_at=round(snapshot.taken_at, 3), sources=tuple(map(_rounded, snapshot.sources))
    )


def _rounded(status: SourceStatus) -> SourceStatus:
    def ms(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return msgspec.structs.replace(
        status,
        fetched_at=ms(status.fetched_at),
        attempted_at=ms(status.attempted_at),
        next_at=ms(status.next_at),
        duration_s=ms(status.duration_s),
    )


def look_at(path: Path) -> None:
    """Whether a recorder could write there, before a fleet is read for it. Makes no file. Raises RecordingError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise RecordingError(f"{path}: there is no folder {path.parent}") from None
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise RecordingError(f"{path}: the folder {path.parent} cannot be written") from None
        return
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise RecordingError(f"{path}: is a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        raise RecordingError(f"{path}: is no regular file")
    if not os.access(path, os.R_OK | os.W_OK):
        raise RecordingError(f"{path}: cannot be written")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RecordingError(f"{path}: another recorder is writing it") from None
    finally:
        os.close(fd)
    if found.st_size:
        with Recording(path) as old:
            if old.damage == "damaged":
                raise RecordingError(f"{path}: {old.note}; record into another file")


@contextlib.contextmanager
def ending_signals() -> Iterator[threading.Event]:
    """An event that ctrl+c, SIGTERM and a terminal that goes away set, instead of ending the program in mid-frame.

    A second ctrl+c ends it as always: a source may hang while the fleet is closed.
    """
    ended = threading.Event()

    def told(number: int, _frame: object) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    before = {one: signal.signal(one, told) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield ended
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _size(count: int) -> str:
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB"
