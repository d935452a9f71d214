"""Reads a recording: which moments it holds, and the snapshot of any of them."""

from __future__ import annotations

import bisect
import contextlib
import gc
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.recording.changes import ChangedFrame, Times, WholeFrame, numbers_of, spliced, unpack_times
from vgpu_console.recording.format import WHOLE, Begun, Record, RecordingError, unpack
from vgpu_console.recording.open_file import OpenFile
from vgpu_console.recording.scan import Scan
from vgpu_console.recording.tables import LISTS, StoredHost, decode_items, host_of
from vgpu_console.text import plain

MOST_ITEMS = 20_000_000
"""Of one list: beyond any fleet."""


class Moment(NamedTuple):
    """A frame of a recording: its place, its time (seconds since the epoch) and what began in it."""

    number: int
    time: float
    begun: Begun


class _State(NamedTuple):
    """A frame as numbers."""

    taken_at: float
    rest: int
    lists: dict[str, list[int]]
    times: list[Times]


class Recording(OpenFile):
    """A recording that is open for reading. Frames are counted from 0; ``note`` says what could not be read.

    Everything was checked against its checksums when this has been made; what a killed writer left half is left out.
    Not thread-safe. Raises RecordingError for a file that is no recording, or a newer one.
    """

    def __init__(self, path: Path, *, fd: int | None = None) -> None:
        """``fd``: the file, open already; it is closed with this."""
        self.path = path
        self._fd = _open(path) if fd is None else fd
        try:
            self._scan = Scan(self._fd, str(path))
        except BaseException:
            os.close(self._fd)
            raise
        self.header = self._scan.header
        self.note, self.damage, self.end = self._scan.note, self._scan.damage, self._scan.end
        self.frames = [Moment(i, r.time, r.directory.begun) for i, r in enumerate(self._scan.records)]
        """All moments, in the order of the file."""
        self._found: dict[str, list[Any]] = {table: [None] * count for table, count in self._scan.counts.items()}
        self._starts = {table: [place.first for place in places] for table, places in self._scan.places.items()}
        self._state: tuple[int, _State] | None = None
        self._built: dict[str, tuple[list[int], tuple[Any, ...]]] = {}
        self._sources: tuple[list[int], list[Times], list[SourceStatus]] = ([], [], [])
        self._latest: list[float] = []
        for moment in self.frames:
            self._latest.append(max(moment.time, self._latest[-1]) if self._latest else moment.time)

    # What there is ------------------------------------------------------------------------------------------------

    def at(self, time: float) -> int:
        """The frame that shows what was known then: the last one before or at that time, else the first.

        Raises RecordingError when there is no frame at all.
        """
        if not self.frames:
            raise RecordingError(f"{self.path}: holds no whole frame")
        return max(0, bisect.bisect_right(self._latest, time) - 1)

    def snapshot(self, number: int) -> Snapshot:
        """The snapshot of a frame. Raises RecordingError where the file contradicts itself."""
        return self.state(number)[0]

    def state(self, number: int) -> tuple[Snapshot, dict[str, list[int]], int]:
        """The snapshot with the numbers of its lists' items and of the rest: what a writer goes on from."""
        if not 0 <= number < len(self.frames):
            raise RecordingError(f"{self.path}: there is no frame {number}")
        with _no_collection():
            try:
                state = self._state_at(number)
                return self._snapshot(state), state.lists, state.rest
            except (ValueError, IndexError, KeyError, TypeError, OverflowError, OSError, msgspec.DecodeError) as error:
                raise RecordingError(f"{self.path}: frame {number} cannot be read: {plain(error, 200)}") from None

    def items(self, table: str, numbers: Sequence[int]) -> list[Any]:
        """Items of a table by their numbers. Raises ValueError for a number that there is not."""
        known = self._found[table]
        for number in numbers:
            if not 0 <= number < len(known):
                raise ValueError(f"there is no {table} {number}")
            if known[number] is None:
                self._load(table, number)
        return [known[number] for number in numbers]

    def item_counts(self) -> dict[str, int]:
        """How many items each table has."""
        return dict(self._scan.counts)

    # A frame ------------------------------------------------------------------------------------------------------

    def _state_at(self, number: int) -> _State:
        records = self._scan.records
        whole = number
        while records[whole].kind != WHOLE:
            whole -= 1  # the first one is whole: the scan has seen to that
        state: _State | None = None
        begin = whole
        if self._state is not None and whole <= self._state[0] <= number:
            begin, state = self._state[0] + 1, self._state[1]
        for place in range(begin, number + 1):
            state = self._next(state, records[place])
        if state is None:
            raise ValueError("nothing to stand on")
        self._state = (number, state)
        return state

    def _next(self, state: _State | None, record: Record) -> _State:
        directory = record.directory
        raw = unpack(os.pread(self._fd, directory.size, record.end - directory.size), directory.raw)
        if record.kind == WHOLE or state is None:
            frame = msgspec.msgpack.decode(raw, type=WholeFrame)
            lists = {name: numbers_of(frame.lists.get(name, []), MOST_ITEMS) for name in LISTS}
            times = [row for _, row in unpack_times(frame.times, frame.taken_at)]
            return _State(frame.taken_at, frame.rest, lists, times)
        change = msgspec.msgpack.decode(raw, type=ChangedFrame)
        lists = dict(state.lists)
        for name, splices in change.lists.items():
            lists[name] = spliced(lists[name], splices, MOST_ITEMS)
        rows = unpack_times(change.times, change.taken_at)
        if change.times.gaps is None:
            times = [row for _, row in rows]
        elif not rows:
            times = state.times
        else:
            times = list(state.times)
            for place, row in rows:
                times[place] = row
        return _State(change.taken_at, change.rest, lists, times)

    def _snapshot(self, state: _State) -> Snapshot:
        built = {name: self._list(name, table, state) for name, table in LISTS.items()}
        rest: Snapshot = self.items("rest", [state.rest])[0]
        return msgspec.structs.replace(rest, taken_at=state.taken_at, **built)

    def _list(self, name: str, table: str, state: _State) -> tuple[Any, ...]:
        """A list's items. Frames that have the same ones share the tuple, and each item is made once."""
        numbers = state.lists[name]
        if name == "sources":
            return self._statuses(numbers, state.times)
        old_numbers, old = self._built.get(name, ([], ()))
        if numbers is old_numbers or numbers == old_numbers:
            return old
        if name == "hosts":
            known = dict(zip(old_numbers, old, strict=True))
            built = tuple(known.get(n) or self._host(n) for n in numbers)
        else:
            built = tuple(self.items(table, numbers))
        self._built[name] = (numbers, built)
        return built

    def _host(self, number: int) -> Any:
        stored: StoredHost = self.items("host", [number])[0]
        self.items("gpu", stored.gpus or ())
        self.items("finding", stored.findings)
        return host_of(stored, self._found["gpu"], self._found["finding"])

    def _statuses(self, numbers: list[int], times: list[Times]) -> tuple[SourceStatus, ...]:
        if len(numbers) != len(times):
            raise ValueError("times of other sources")
        old_numbers, old_times, old = self._sources
        same_length = len(old) == len(numbers)
        out: list[SourceStatus] = []
        for i, (number, row) in enumerate(zip(numbers, times, strict=True)):
            if same_length and old_numbers[i] == number and old_times[i] == row:
                out.append(old[i])
                continue
            status: SourceStatus = self.items("source", [number])[0]
            out.append(
                SourceStatus(
                    kind=status.kind,
                    host=status.host,
                    fetched_at=row.fetched_at,
                    attempted_at=row.attempted_at,
                    duration_s=row.duration_s,
                    error=status.error,
                    error_kind=status.error_kind,
                    failures=row.failures,
                    next_at=row.next_at,
                    interval_s=status.interval_s,
                    requests=row.requests,
                    notes=status.notes,
                )
            )
        self._sources = (numbers, times, out)
        return tuple(out)

    def _load(self, table: str, number: int) -> None:
        """Read the chunk that holds an item."""
        place = self._scan.places[table][bisect.bisect_right(self._starts[table], number) - 1]
        items = decode_items(table, unpack(os.pread(self._fd, place.size, place.at), place.raw))
        if len(items) != place.items:
            raise ValueError(f"{len(items)} of {place.items} items")
        self._found[table][place.first : place.first + place.items] = items


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or type(error).__name__}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RecordingError(f"{path}: is no regular file")
    return fd


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """While hundreds of thousands of items are made and none is dropped, looking for garbage takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
