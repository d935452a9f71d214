"""Snapshots taken apart into items that are stored once each, and put together again.

Each list of a snapshot has a table of items. A host is stored without its GPUs and findings, which have tables of their
own; a source without its times and counts, which move at every frame and are stored as numbers. All the rest of a
snapshot (identity, totals, whatever is added to it) is one small item.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import msgspec

from vgpu_console.model.snapshot import (
    Finding,
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    Unlooked,
    VgpuServer,
)
from vgpu_console.model.source import SourceStatus
from vgpu_console.text import plain

LISTS: dict[str, str] = {
    "sources": "source",
    "hosts": "host",
    "mdevs": "mdev",
    "servers": "server",
    "quotas": "quota",
    "quota_findings": "finding",
    "migrations": "migration",
    "providers": "provider",
    "findings": "finding",
    "unlooked": "unlooked",
}
"""The lists of a snapshot, each with the table of its items."""


class StoredHost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host with the numbers of its GPUs (None: they are unknown) and findings instead of themselves."""

    host: Host
    gpus: tuple[int, ...] | None = None
    findings: tuple[int, ...] = ()


ITEM_TYPES: dict[str, Any] = {
    "source": SourceStatus,
    "host": StoredHost,
    "gpu": PhysicalGpu,
    "mdev": MediatedDevice,
    "server": VgpuServer,
    "quota": ProjectQuota,
    "finding": Finding,
    "migration": Migration,
    "provider": Provider,
    "unlooked": Unlooked,
    "rest": Snapshot,
}

_LISTS_OF: dict[str, Any] = {name: types.GenericAlias(list, (kind,)) for name, kind in ITEM_TYPES.items()}
_DECODERS: dict[str, Any] = {name: msgspec.json.Decoder(kind) for name, kind in _LISTS_OF.items()}
_NOTHING: dict[str, tuple[()]] = dict.fromkeys(LISTS, ())
MOST_CHARS = 100_000


def rest_of(snapshot: Snapshot) -> Snapshot:
    """What is left of a snapshot without its lists and its time."""
    return msgspec.structs.replace(snapshot, taken_at=0.0, **_NOTHING)


def without_times(status: SourceStatus) -> SourceStatus:
    """What of a source's status stays the same while all is well."""
    return msgspec.structs.replace(
        status, fetched_at=None, attempted_at=None, duration_s=None, failures=0, next_at=None, requests=0
    )


def decode_items(table: str, raw: bytes) -> list[Any]:
    """The items of an unpacked chunk; their text has passed ``plain()``, whoever made the file.

    Raises msgspec.DecodeError (which ValidationError is) for what is no such chunk.
    """
    decoder = _DECODERS.get(table)
    if decoder is None:
        raise msgspec.ValidationError(f"unknown table {plain(table, 40)}")
    if raw.isascii() and b"\\" not in raw and b"\x7f" not in raw:
        return list(decoder.decode(raw))  # JSON writes any other control character with a backslash
    cleaned = _plain(msgspec.json.decode(raw))
    return list(msgspec.convert(cleaned, _LISTS_OF[table]))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _plain_lines(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_plain_lines(key): _plain(one) for key, one in value.items()}
    return value


def _plain_lines(text: str) -> str:
    """Commands of several lines are the only text of a snapshot with line ends."""
    return "\n".join(plain(line, MOST_CHARS) for line in text.split("\n"))


def host_of(stored: StoredHost, gpus: Sequence[PhysicalGpu], findings: Sequence[Finding]) -> Host:
    """The host with its own GPUs and findings; ``gpus`` is the whole table, and so is ``findings``."""
    return msgspec.structs.replace(
        stored.host,
        gpus=None if stored.gpus is None else tuple(gpus[n] for n in stored.gpus),
        findings=tuple(findings[n] for n in stored.findings),
    )
