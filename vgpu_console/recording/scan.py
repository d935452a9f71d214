"""One walk through a recording's file: checksums, the frames' times, and where each table's items are."""

from __future__ import annotations

import math
import os
import zlib
from typing import NamedTuple

import msgspec

from vgpu_console.model.snapshot import SCHEMA_VERSION
from vgpu_console.recording.format import (
    FIRST_RECORD,
    FORMAT_VERSION,
    HEAD_SIZE,
    HEADER_KIND,
    MAGIC,
    MOST_RATIO,
    VERSION,
    WHOLE,
    Broken,
    Chunk,
    Damage,
    Directory,
    Header,
    Record,
    RecordingError,
    read_head,
)
from vgpu_console.recording.tables import ITEM_TYPES
from vgpu_console.text import plain

_LATEST = 253_402_300_799.0
"""The end of the year 9999: a later time is none."""


class Place(NamedTuple):
    """Where a chunk of items is: the number of its first, how many, and its bytes in the file."""

    first: int
    items: int
    at: int
    size: int
    raw: int


class Scan:
    """What the walk found. ``end`` is where the last whole record ends; ``damage`` why it ends before the file does.

    Raises RecordingError for a file that is no recording, or one of a newer version.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.records: list[Record] = []
        self.places: dict[str, list[Place]] = {table: [] for table in ITEM_TYPES}
        self.counts: dict[str, int] = dict.fromkeys(ITEM_TYPES, 0)
        self.damage: Damage | None = None
        self.note = ""
        self.header, self.end = self._header(name)
        while self.end < self.size:
            try:
                record, _ = self._record(self.end)
                self._place(record)
            except Broken as error:
                self._tell(error)
                break
            self.end = record.end

    def _header(self, name: str) -> tuple[Header, int]:
        """The header, and where the first frame begins. Raises RecordingError."""
        begin = os.pread(self._fd, FIRST_RECORD, 0)
        magic = begin[: len(MAGIC)]
        if magic != MAGIC[: len(magic)] or not magic:
            raise RecordingError(f"{name}: is no recording of vgpu-console")
        if len(begin) < FIRST_RECORD:
            raise RecordingError(f"{name}: ends before its first frame")
        (version,) = VERSION.unpack_from(begin, len(MAGIC))
        if version > FORMAT_VERSION:
            raise RecordingError(
                f"{name}: was written by a newer vgpu-console (format {version}; this one reads up to {FORMAT_VERSION})"
            )
        try:
            record, body = self._record(FIRST_RECORD)
            if record.kind != HEADER_KIND:
                raise Broken("damaged", "there is no header")
            header = msgspec.json.decode(body, type=Header)
        except (Broken, msgspec.DecodeError) as error:
            raise RecordingError(f"{name}: its header cannot be read: {plain(error, 200)}") from None
        if header.schema_version > SCHEMA_VERSION:
            raise RecordingError(
                f"{name}: holds snapshots of a newer vgpu-console "
                f"(schema {header.schema_version}; this one reads up to {SCHEMA_VERSION})"
            )
        cloud, region, program = map(plain, (header.cloud, header.region, header.program))
        return msgspec.structs.replace(header, cloud=cloud, region=region, program=program), record.end

    def _record(self, at: int) -> tuple[Record, bytes]:
        """The record that begins there, and its body, checked. Raises Broken."""
        try:
            head = read_head(os.pread(self._fd, HEAD_SIZE, at))
        except Broken:
            if self._only_zeros(at):
                raise Broken("cut", "the file ends in zeros") from None
            raise
        begin = at + HEAD_SIZE
        end = begin + head.directory + head.body
        if end > self.size:
            raise Broken("cut", "the file ends inside a frame")
        listed = os.pread(self._fd, head.directory, begin)
        body = os.pread(self._fd, head.body, begin + head.directory)
        if len(listed) + len(body) != end - begin or zlib.crc32(body, zlib.crc32(listed)) != head.check:
            raise Broken("cut" if end == self.size else "damaged", "a frame has another checksum than it says")
        try:
            directory = msgspec.json.decode(listed, type=Directory)
        except msgspec.DecodeError as error:
            raise Broken("damaged", f"a frame's directory cannot be read: {plain(error, 200)}") from None
        return Record(head.kind, head.time, directory, begin + head.directory, end), body

    def _place(self, record: Record) -> None:
        """Note where the record's items are. Raises Broken when it contradicts itself."""
        if record.kind == HEADER_KIND or (record.kind != WHOLE and not self.records):
            raise Broken("damaged", "a frame has nothing to stand on")
        if not (math.isfinite(record.time) and 0 <= record.time <= _LATEST):
            raise Broken("damaged", "a frame has no time")
        chunks = record.directory.chunks
        if not all(map(_possible, chunks)):
            raise Broken("damaged", "a frame holds what this program does not know")
        at = record.body_at
        if at + sum(c.size for c in chunks) + record.directory.size != record.end:
            raise Broken("damaged", "a frame's directory is not of its length")
        for chunk in chunks:
            self.places[chunk.table].append(Place(self.counts[chunk.table], chunk.count, at, chunk.size, chunk.raw))
            self.counts[chunk.table] += chunk.count
            at += chunk.size
        self.records.append(record)

    def _only_zeros(self, at: int) -> bool:
        """Whether nothing but zeros follows: what a power cut leaves of a frame."""
        while at < self.size:
            piece = os.pread(self._fd, min(1 << 20, self.size - at), at)
            if not piece or piece.count(0) != len(piece):
                return False
            at += len(piece)
        return True

    def _tell(self, error: Broken) -> None:
        self.damage = error.kind
        left = self.size - self.end
        if error.kind == "cut":
            self.note = f"its last frame is not whole and is left out ({left} bytes): {error}"
        else:
            self.note = f"damaged at byte {self.end} and read up to there; {left} bytes are left out: {error}"


def _possible(chunk: Chunk) -> bool:
    """Whether a chunk can be what it says: nothing shrinks more, and an item takes at least two characters."""
    known = chunk.table in ITEM_TYPES and min(chunk.count, chunk.size) > 0
    return known and 2 * chunk.count <= chunk.raw <= MOST_RATIO * chunk.size
