"""Snapshots read back from files that ``vgpu-console snapshot`` wrote, or that anybody else did."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from vgpu_console.model.snapshot import SCHEMA_VERSION, Snapshot
from vgpu_console.text import plain

LARGEST = 2**30
"""Bytes. The snapshot of a thousand hosts is a twentieth of this; more is no snapshot."""

_MAX_TEXT = 100_000

_ESCAPED = re.compile(rb"\\[bfnrtu]")
"""How JSON writes a control character, or any other that it does not write as it is."""

_ASCII = bytes(range(0x20, 0x7F)) + b"\t\r\n"
"""What is harmless by itself; the last three stand between texts only, within one they are escaped."""

_COMMAND = re.compile(rb'"command"\s*:\s*"(?:[^"\\]|\\["\\/n])*"')
"""A command with nothing escaped in it but quotes, backslashes and ends of lines."""

_SEVERAL_LINES = frozenset({"command"})
"""Members that may have line ends: commands for a shell."""


class SnapshotFileError(Exception):
    """A file is no snapshot that this console reads; ``str()`` is one plain line."""


class _Head(msgspec.Struct):
    """What is looked at before all else. The rest is skipped."""

    schema_version: int
    taken_at: float = 0.0


def load(path: Path) -> Snapshot:
    """The snapshot in a file, its texts passed through the gate. Raises SnapshotFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SnapshotFileError(f"{plain(path)}: {error.strerror or type(error).__name__}") from None
    if len(data) > LARGEST:
        raise SnapshotFileError(f"{plain(path)}: larger than any snapshot")
    try:
        return decode(data)
    except SnapshotFileError as error:
        raise SnapshotFileError(f"{plain(path)}: {error}") from None


def decode(data: bytes) -> Snapshot:
    """The snapshot in the bytes of a file. Raises SnapshotFileError, which does not name the file."""
    try:
        with _no_collection():
            return _decode(data)
    except UnicodeDecodeError:
        raise SnapshotFileError("this is no snapshot: its text is not UTF-8") from None
    except RecursionError:
        raise SnapshotFileError("this is no snapshot: it is nested too deeply") from None


def _decode(data: bytes) -> Snapshot:
    if not data.strip():
        raise SnapshotFileError("it is empty")
    if not data.lstrip().startswith(b"{"):
        raise SnapshotFileError("this is no snapshot: it is not a JSON object (vgpu-console snapshot writes one)")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError:
        raise SnapshotFileError("this is no snapshot: it has no schema_version") from None
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            raise SnapshotFileError("it is cut off: the snapshot was not written to its end") from None
        raise SnapshotFileError(f"this is no JSON: {plain(error, 200)}") from None
    if head.schema_version > SCHEMA_VERSION:
        raise SnapshotFileError(
            f"it was written by a newer vgpu-console (schema {head.schema_version}; this one reads {SCHEMA_VERSION})"
        )
    if head.schema_version < 1:
        raise SnapshotFileError(f"this is no snapshot: schema_version {head.schema_version}")
    try:
        if _is_plain(data):
            found = msgspec.json.decode(data, type=Snapshot)
        else:
            found = msgspec.convert(_gated(msgspec.json.decode(data)), Snapshot)
    except msgspec.ValidationError as error:
        raise SnapshotFileError(f"this is no snapshot: {plain(error, 200)}") from None
    if not found.taken_at:
        raise SnapshotFileError("this is no snapshot: it does not say when it was taken")
    return found


def _is_plain(data: bytes) -> bool:
    """Whether no text in the document holds anything that the gate would change: by far most do not."""
    if not all(plain(one) == one for one in set(data.translate(None, _ASCII).decode())):
        return False
    return _ESCAPED.search(data) is None or _ESCAPED.search(_COMMAND.sub(b"", data)) is None


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """A hundred thousand structs at once are no garbage, and looking for some takes longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _gated(value: Any, lines: bool = False) -> Any:
    """Every text of a document through the gate that text of a source passes; with ``lines`` each line by itself."""
    if isinstance(value, str):
        return "\n".join(plain(one, _MAX_TEXT) for one in value.split("\n")) if lines else plain(value, _MAX_TEXT)
    if isinstance(value, list):
        return [_gated(one) for one in value]
    if isinstance(value, dict):
        return {_gated(key): _gated(one, key in _SEVERAL_LINES) for key, one in value.items()}
    return value
