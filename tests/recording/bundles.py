"""Opens a support bundle in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.bundle import FOLDER, bundle_bytes

NOW = 1_760_000_000.0


def opened(
    snapshot: Snapshot,
    *,
    settings: Settings | None = None,
    journal: Iterable[msgspec.Struct] = (),
    versions: Mapping[str, str] | None = None,
    log: Iterable[str] = (),
) -> dict[str, bytes]:
    """The files of a bundle by name, unpacked."""
    data = bundle_bytes(snapshot, settings, journal, versions or {}, log, NOW)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name.removeprefix(f"{FOLDER}/"): file.read()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }


def decoded(data: bytes) -> Any:
    """A JSON file."""
    return msgspec.json.decode(data)
