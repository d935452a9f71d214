"""The file of a recording: a header, then frames that are only ever appended, each with its length and checksums.

    magic, u16 version            so that a newer format is known as such, whatever comes after
    record "H"                    whose recording it is (``Header`` as JSON)
    record "W" or "D", ...        a frame: its parts in full, or as the difference from the frame before it

A record is a head of fixed size, a directory (``Directory`` as JSON) and a body. The body holds the chunks of items
that this frame is the first to have, then the frame itself, each compressed by itself. Items (a host, a GPU, a server)
are numbered within their table in the order of the file; frames name them by number, so what has not changed costs
nothing. All numbers of the frame format are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal, NamedTuple

import msgspec

from vgpu_console.model.snapshot import SCHEMA_VERSION

MAGIC = b"\x89vgpu-console recording\r\n\x1a\n"
"""Not text from its first byte, and broken by whatever turns line ends: as PNG does it."""

FORMAT_VERSION = 1
VERSION = struct.Struct(">H")
HEAD = struct.Struct(">2scdIII")
"""Marker, kind, time, length of the directory, length of the body, checksum of both; its own checksum follows."""

CHECK = struct.Struct(">I")
HEAD_SIZE = HEAD.size + CHECK.size
FIRST_RECORD = len(MAGIC) + VERSION.size
MARKER = b"\xa7F"
LEVEL = 6

MOST_DIRECTORY = 1 << 20
MOST_BODY = 1 << 30
MOST_UNPACKED = 1 << 31
"""No frame of this program comes near; a longer one is damage, or made to fill the memory of who opens it."""

MOST_RATIO = 1_100
"""zlib makes nothing smaller than about a thousandth."""

HEADER_KIND, WHOLE, DIFFERENCE = b"H", b"W", b"D"


class RecordingError(Exception):
    """A recording cannot be read or written. ``str()`` is one plain line that says why."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose recording this is; what is appended must be of the same cloud and region."""

    cloud: str = ""
    region: str = ""
    schema_version: int = SCHEMA_VERSION
    created_at: float = 0.0
    program: str = ""  # the version of the program that began it


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Items of one table, compressed together: a JSON list."""

    table: str
    count: int
    size: int  # bytes in the file
    raw: int  # bytes of JSON


class Begun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a frame shows for the first time, by the frame before it: the marks beside the time line."""

    fails: int = 0  # findings
    warns: int = 0
    migrations: int = 0
    failed_sources: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to mark."""
        return bool(self.fails or self.warns or self.migrations or self.failed_sources)


class Directory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a record's body holds, in this order: chunks, then the frame."""

    chunks: tuple[Chunk, ...] = ()
    size: int = 0  # of the frame in the file
    raw: int = 0  # of the frame, unpacked
    begun: Begun = Begun()


class Record(NamedTuple):
    """A record as it stands in the file: where its body begins and where the next record would."""

    kind: bytes
    time: float
    directory: Directory
    body_at: int
    end: int


def pack(data: bytes) -> bytes:
    """Bytes as they are stored."""
    return zlib.compress(data, LEVEL)


def unpack(data: bytes, raw: int) -> bytes:
    """Stored bytes as they were, which must be ``raw`` bytes long. Raises RecordingError."""
    if not 0 <= raw <= MOST_UNPACKED:
        raise RecordingError(f"a part of {raw} bytes is no part of a recording")
    try:
        unpacker = zlib.decompressobj()
        out = unpacker.decompress(data, raw + 1)
    except zlib.error as error:
        raise RecordingError(f"a part cannot be unpacked: {error}") from None
    if len(out) != raw or not unpacker.eof or unpacker.unconsumed_tail:
        raise RecordingError("a part has not the length that its directory says")
    return out


def record_bytes(kind: bytes, time: float, directory: Directory, body: bytes) -> bytes:
    """A whole record. Raises RecordingError when it would be longer than a reader takes."""
    listed = msgspec.json.encode(directory)
    if len(listed) > MOST_DIRECTORY or len(body) > MOST_BODY:
        raise RecordingError(f"a frame of {len(body)} bytes is too long for a recording")
    check = zlib.crc32(body, zlib.crc32(listed))
    head = HEAD.pack(MARKER, kind, time, len(listed), len(body), check)
    return b"".join((head, CHECK.pack(zlib.crc32(head)), listed, body))


def start_bytes(header: Header) -> bytes:
    """What a new file begins with."""
    body = msgspec.json.encode(header)
    return MAGIC + VERSION.pack(FORMAT_VERSION) + record_bytes(HEADER_KIND, header.created_at, Directory(), body)


Damage = Literal["cut", "damaged"]
"""``cut``: the file ends inside its last record, as a killed writer leaves it; ``damaged``: anything else."""


class Broken(Exception):
    """There is no whole record here. ``kind`` says whether this is how a killed writer leaves a file."""

    def __init__(self, kind: Damage, message: str) -> None:
        super().__init__(message)
        self.kind: Damage = kind


class Head(NamedTuple):
    """A record's head, checked."""

    kind: bytes
    time: float
    directory: int
    body: int
    check: int


def read_head(data: bytes) -> Head:
    """The head that ``data`` (``HEAD_SIZE`` bytes, or what is left of the file) is. Raises Broken."""
    if len(data) < HEAD_SIZE:
        raise Broken("cut", "the file ends in the head of a frame")
    head, (check,) = data[: HEAD.size], CHECK.unpack_from(data, HEAD.size)
    if zlib.crc32(head) != check:
        raise Broken("damaged", "a frame's head has another checksum than it says")
    marker, kind, time, directory, body, body_check = HEAD.unpack(head)
    if marker != MARKER or kind not in (HEADER_KIND, WHOLE, DIFFERENCE):
        raise Broken("damaged", "this is no frame")
    if directory > MOST_DIRECTORY or body > MOST_BODY:
        raise Broken("damaged", "a frame is longer than any that is written")
    return Head(kind, time, directory, body, body_check)
