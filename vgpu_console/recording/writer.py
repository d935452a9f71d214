"""Writes a recording: one frame after the other, each on the disk before the next, so that a kill costs at most one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from vgpu_console import __version__
from vgpu_console.model.snapshot import SCHEMA_VERSION, Finding, Host, Migration, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.recording.changes import (
    ChangedFrame,
    Splice,
    Times,
    WholeFrame,
    pack_times,
    runs_of,
    splices,
    times_of,
)
from vgpu_console.recording.format import (
    DIFFERENCE,
    WHOLE,
    Begun,
    Chunk,
    Directory,
    Header,
    RecordingError,
    pack,
    record_bytes,
    start_bytes,
)
from vgpu_console.recording.open_file import OpenFile
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.tables import LISTS, StoredHost, rest_of, without_times

WHOLE_EVERY = 60
"""Frames from one that stands for itself to the next: a reader starts there. It repeats numbers, never items."""

ITEMS_PER_CHUNK = 8_192
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Writer(OpenFile):
    """Appends snapshots to a recording, of a new file or of one that holds the same cloud.

    ``frames`` counts those in the file, ``size`` its bytes. Raises RecordingError whenever a frame cannot be written;
    the file then ends with the last whole frame. One writer at a time: the file is locked.
    """

    def __init__(self, path: Path, first: Snapshot) -> None:
        """Opens the file; ``first`` is the first snapshot to come, which says whose recording it is.

        Raises RecordingError when the path is a symbolic link or no regular file, when another recorder has it, when
        it holds another cloud's recording, another version's, a damaged one or no recording at all.
        """
        self.path = path
        self.frames = 0
        self.size = 0
        self.cut = 0
        """Bytes of a half frame at the end, which a killed recorder had left and which were taken away."""
        self._failed = False
        self._counts: dict[str, int] = {}
        self._known: dict[str, dict[bytes, int]] = {}
        self._items: dict[str, tuple[Any, ...]] = {}
        self._numbers: dict[str, list[int]] = {}
        self._gpus: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {}
        self._times: list[Times] = []
        self._rest: tuple[Snapshot, int] | None = None
        self._new: dict[str, list[bytes]] = {}
        self._fd = _open(path)
        try:
            self._begin(first)
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, snapshot: Snapshot) -> int:
        """Appends one frame and waits for the disk; its bytes in the file. Raises RecordingError."""
        if not math.isfinite(snapshot.taken_at):
            raise RecordingError("a snapshot without a time cannot be recorded")
        if self._failed:
            raise RecordingError(f"{self.path}: an earlier frame could not be written")
        self._failed = True  # until this one is: what it has numbered is in no file yet
        whole = self.frames % WHOLE_EVERY == 0
        self._new = {}
        if whole:
            self._forget_gone()
        begun = self._begun(snapshot) if self.frames else Begun()
        data = self._frame(snapshot, whole, begun)
        self._append(data)
        self._failed = False
        self.frames += 1
        return len(data)

    # The file -----------------------------------------------------------------------------------------------------

    def _begin(self, first: Snapshot) -> None:
        self.size = os.fstat(self._fd).st_size
        if not self.size:
            header = Header(
                cloud=first.identity.cloud,
                region=first.identity.region,
                created_at=first.taken_at,
                program=__version__,
            )
            self._append(start_bytes(header))
            with contextlib.suppress(OSError):  # some file systems cannot sync a folder
                folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            return
        with Recording(self.path, fd=os.dup(self._fd)) as old:
            self._continue(old, first)

    def _continue(self, old: Recording, first: Snapshot) -> None:
        where = (old.header.cloud, old.header.region)
        if where != (first.identity.cloud, first.identity.region):
            raise RecordingError(
                f"{self.path} is a recording of {_words(*where)}, not of "
                f"{_words(first.identity.cloud, first.identity.region)}: record into another file"
            )
        if old.header.schema_version != SCHEMA_VERSION:
            raise RecordingError(
                f"{self.path} was begun by a version whose snapshots mean something else: record into another file"
            )
        if old.damage == "damaged":
            raise RecordingError(f"{self.path}: {old.note}; record into another file")
        if old.end < self.size:
            self.cut = self.size - old.end
            os.ftruncate(self._fd, old.end)
            self.size = old.end
        self.frames = len(old.frames)
        self._counts = old.item_counts()
        if self.frames:
            self._remember(old)

    def _remember(self, old: Recording) -> None:
        """Take over the last frame, so that what has not changed since costs nothing."""
        last, numbers, rest = old.state(self.frames - 1)
        for name, table in LISTS.items():
            items = tuple(getattr(last, name))
            self._items[name], self._numbers[name] = items, list(numbers[name])
            known = self._known.setdefault(table, {})
            if name == "sources":
                items = tuple(map(without_times, items))
            elif name == "hosts":
                items = tuple(old.items("host", numbers[name]))
            for item, number in zip(items, numbers[name], strict=True):
                known[_digest(msgspec.json.encode(item))] = number
        for host, number in zip(last.hosts, numbers["hosts"], strict=True):
            stored: StoredHost = old.items("host", [number])[0]
            if host.gpus is not None and stored.gpus is not None:
                self._gpus[host.name] = (host.gpus, stored.gpus)
                for gpu, its in zip(host.gpus, stored.gpus, strict=True):
                    self._known.setdefault("gpu", {})[_digest(msgspec.json.encode(gpu))] = its
        self._times = [times_of(s) for s in last.sources]
        self._rest = (rest_of(last), rest)

    def _append(self, data: bytes) -> None:
        """Write at the end; whatever fails, the file ends with a whole record."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._fd, memoryview(data)[done:], self.size + done)
            os.fdatasync(self._fd)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            if not isinstance(error, OSError):
                raise
            why = "no space left on the disk" if error.errno in _SPACE else error.strerror or type(error).__name__
            raise RecordingError(f"{self.path}: {why}; it keeps {self.frames} whole frames") from None
        self.size += len(data)

    # A frame ------------------------------------------------------------------------------------------------------

    def _frame(self, snapshot: Snapshot, whole: bool, begun: Begun) -> bytes:
        changed: dict[str, list[Splice]] = {}
        before, self._gpus = self._gpus, {}
        moved = whole
        for name, table in LISTS.items():
            old_numbers = self._numbers.get(name, [])
            numbers = self._list(name, table, getattr(snapshot, name), before)
            if numbers is not old_numbers and numbers != old_numbers:
                changed[name] = splices(old_numbers, numbers)
                moved = moved or (name == "sources" and len(numbers) != len(old_numbers))
            self._numbers[name] = numbers
        rest = rest_of(snapshot)
        if self._rest is None or self._rest[0] != rest:
            self._rest = (rest, self._number("rest", rest))
        times = [times_of(s) for s in snapshot.sources]
        rows = list(enumerate(times))
        if not moved:
            rows = [row for row, old in zip(rows, self._times, strict=True) if row[1] != old]
        self._times = times
        packed_times = pack_times(rows, snapshot.taken_at, every=moved)
        frame: WholeFrame | ChangedFrame
        if whole:
            lists = {name: runs_of(numbers) for name, numbers in self._numbers.items() if numbers}
            frame = WholeFrame(snapshot.taken_at, self._rest[1], lists, packed_times)
        else:
            frame = ChangedFrame(snapshot.taken_at, self._rest[1], changed, packed_times)
        return self._packed(WHOLE if whole else DIFFERENCE, snapshot.taken_at, msgspec.msgpack.encode(frame), begun)

    def _packed(self, kind: bytes, taken_at: float, frame: bytes, begun: Begun) -> bytes:
        chunks: list[Chunk] = []
        body: list[bytes] = []
        for table, items in self._new.items():
            for at in range(0, len(items), ITEMS_PER_CHUNK):
                some = items[at : at + ITEMS_PER_CHUNK]
                raw = b"[" + b",".join(some) + b"]"
                packed = pack(raw)
                chunks.append(Chunk(table, len(some), len(packed), len(raw)))
                body.append(packed)
        packed = pack(frame)
        body.append(packed)
        directory = Directory(chunks=tuple(chunks), size=len(packed), raw=len(frame), begun=begun)
        return record_bytes(kind, taken_at, directory, b"".join(body))

    def _list(self, name: str, table: str, new: Sequence[Any], gpus: dict[str, Any]) -> list[int]:
        """The numbers of a list's items; those at the place of an equal one before are not even looked at."""
        old, numbers = self._items.get(name, ()), self._numbers.get(name, [])
        new = tuple(new)
        self._items[name] = new
        if name == "hosts":
            self._gpus = {h.name: gpus[h.name] for h in new if h.name in gpus and gpus[h.name][0] == h.gpus}
        if len(new) == len(old):
            changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a is not b and not _same(name, a, b)]
            if not changed:
                return numbers
            out = list(numbers)
            for i in changed:
                out[i] = self._item(name, table, new[i])
            return out
        begin = 0
        for a, b in zip(old, new, strict=False):
            if a is not b and not _same(name, a, b):
                break
            begin += 1
        return numbers[:begin] + [self._item(name, table, item) for item in new[begin:]]

    def _item(self, name: str, table: str, item: Any) -> int:
        if isinstance(item, Host):
            return self._number(table, self._stored(item))
        if name == "sources":
            return self._number(table, without_times(item))
        return self._number(table, item)

    def _stored(self, host: Host) -> StoredHost:
        gpus: tuple[int, ...] | None = None
        if host.gpus is not None:
            known = self._gpus.get(host.name)
            gpus = known[1] if known is not None else tuple(self._number("gpu", gpu) for gpu in host.gpus)
            self._gpus[host.name] = (host.gpus, gpus)
        return StoredHost(
            host=msgspec.structs.replace(host, gpus=None, findings=()),
            gpus=gpus,
            findings=tuple(self._number("finding", finding) for finding in host.findings),
        )

    def _number(self, table: str, item: Any) -> int:
        """The item's number: of an equal one in the file, else the next."""
        encoded = msgspec.json.encode(item)
        digest = _digest(encoded)
        known = self._known.setdefault(table, {})
        number = known.get(digest)
        if number is None:
            number = self._counts.get(table, 0)
            self._counts[table] = number + 1
            known[digest] = number
            self._new.setdefault(table, []).append(encoded)
        return number

    def _forget_gone(self) -> None:
        """Let go of what the last frame does not have: a memory of a day's items would only grow."""
        used: dict[str, set[int]] = {}
        for name, table in LISTS.items():
            used.setdefault(table, set()).update(self._numbers.get(name, ()))
        used["gpu"] = {number for _, numbers in self._gpus.values() for number in numbers}
        for table, numbers in used.items():
            known = self._known.get(table, {})
            if len(known) > 2 * len(numbers) + 1_000:
                self._known[table] = {digest: number for digest, number in known.items() if number in numbers}

    def _begun(self, snapshot: Snapshot) -> Begun:
        """What the snapshot has that the frame before it had not."""
        findings: Sequence[Finding] = self._items.get("findings", ())
        fails = warns = 0
        if findings != snapshot.findings:
            before = {(f.id, f.object) for f in findings}
            new = [f for f in snapshot.findings if (f.id, f.object) not in before]
            fails = sum(f.severity == "fail" for f in new)
            warns = sum(f.severity == "warn" for f in new)
        old: Sequence[Migration] = self._items.get("migrations", ())
        running = {m.uuid for m in old if m.running}
        sources: Sequence[SourceStatus] = self._items.get("sources", ())
        failed = {s.key for s in sources if s.error is not None}
        return Begun(
            fails=fails,
            warns=warns,
            migrations=sum(m.running and m.uuid not in running for m in snapshot.migrations),
            failed_sources=sum(s.key not in failed for s in snapshot.errors),
        )


def _same(name: str, old: Any, new: Any) -> bool:
    if name == "sources":
        return (old.kind, old.host, old.error, old.error_kind, old.interval_s, old.notes) == (
            new.kind,
            new.host,
            new.error,
            new.error_kind,
            new.interval_s,
            new.notes,
        )
    return bool(old == new)


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _words(cloud: str, region: str) -> str:
    return " · ".join(part for part in (cloud or "a cloud without a name", region) if part)


def _open(path: Path) -> int:
    """The file, locked, for reading and writing; made with mode 0600 where there is none. Raises RecordingError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror or type(error).__name__
        raise RecordingError(f"{path}: {why}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise RecordingError(f"{path}: is no regular file")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecordingError(f"{path}: another recorder is writing it") from None
        os.fchmod(fd, 0o600)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise RecordingError(f"{path}: {error.strerror}") from None
        raise
    return fd
