"""The support bundle: what somebody needs to look at a fleet from outside, without whose fleet it is."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from vgpu_console.config import KEYS, Settings
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.moments import utc_words
from vgpu_console.recording.scrub import Scrubber
from vgpu_console.safe_file import write_new
from vgpu_console.text import plain

FOLDER = "vgpu-console-bundle"
LOG_LINES = 2_000
JOURNAL_ENTRIES = 2_000
MOST_LINE = 8_000

README = """\
A support bundle of vgpu-console, made {made}.

  doctor.json     what is wrong by the console's own diagnosis, and what it could not look at
  snapshot.json   the whole fleet as the console saw it; "vgpu-console diff" reads it
  versions.json   of the program and of what it stands on
  settings.json   every setting with where it came from
  journal.jsonl   what was changed with this console, the latest {journal} lines
  log.txt         the latest {log} lines of its log

Names, addresses and ids of hosts, projects, servers, users and clouds have been
replaced, the same by the same throughout, with a random key that was not kept:
project-3fa94c is one project, and nobody can tell which. In texts every word
was replaced (x-3fa94c) that is not one of this program's own. PCI addresses,
vGPU types, versions and numbers are as they were. No password, token or other
credential was read for this bundle. Look through it before you give it away.
"""

_NAMED_SETTINGS: Mapping[str, str] = {
    "cloud": "cloud",
    "limits_cloud": "cloud",
    "region": "region",
    "hosts.extra": "host",
    "ssh.user": "user",
}


def write_bundle(
    path: Path,
    snapshot: Snapshot,
    *,
    settings: Settings | None = None,
    journal: Iterable[msgspec.Struct] = (),
    versions: Mapping[str, str] | None = None,
    log: Iterable[str] = (),
    now: float | None = None,
) -> Path:
    """Write the bundle as a ``.tar.gz`` that only its owner can read, whole or not at all, and return its path.

    ``journal`` are entries of ``actions.journal``, oldest first, ``log`` lines of the log; ``now`` is seconds since the
    epoch (None: the snapshot's time). Raises OSError; FileExistsError when there is a file of that name.
    """
    now = snapshot.taken_at if now is None else now
    return write_new(path, bundle_bytes(snapshot, settings, journal, versions or {}, log, now))


def bundle_bytes(
    snapshot: Snapshot,
    settings: Settings | None,
    journal: Iterable[msgspec.Struct],
    versions: Mapping[str, str],
    log: Iterable[str],
    now: float,
) -> bytes:
    """The bundle as it is written: a new key each time."""
    scrubber = Scrubber()
    entries = [msgspec.to_builtins(entry) for entry in list(journal)[-JOURNAL_ENTRIES:]]
    lines = list(log)[-LOG_LINES:]
    listing = settings.listing() if settings is not None else ()
    scrubber.learn(snapshot)
    scrubber.learn(entries)
    scrubber.learn([{_NAMED_SETTINGS[s.key]: s.value} for s in listing if s.key in _NAMED_SETTINGS])
    scrubbed = scrubber.scrub(snapshot)
    files = {
        "README.txt": README.format(made=utc_words(now), journal=len(entries), log=len(lines)).encode(),
        "doctor.json": _json({"at": utc_words(now), "findings": scrubbed.findings, "unknown": scrubbed.unlooked}),
        "snapshot.json": msgspec.json.encode(scrubbed) + b"\n",
        "versions.json": _json({plain(name): plain(version) for name, version in versions.items()}),
        "settings.json": _json([_setting(scrubber, s.key, s.value, s.origin, s.detail) for s in listing]),
        "journal.jsonl": b"".join(msgspec.json.encode(scrubber.scrub(entry)) + b"\n" for entry in entries),
        "log.txt": "".join(scrubber.text(plain(line.rstrip("\n"), MOST_LINE)) + "\n" for line in lines).encode(),
    }
    return _archive(files, now)


def _setting(scrubber: Scrubber, key: str, value: Any, origin: str, detail: str) -> dict[str, Any]:
    """A setting with its value scrubbed. Where it came from is an option or a variable of this program, or no path."""
    named = {_NAMED_SETTINGS.get(key, "value"): value}
    where = detail if origin in ("command line", "environment") else ""
    return {
        "setting": key if key in KEYS else scrubber.text(key),
        "value": next(iter(scrubber.scrub(named).values())),
        "origin": origin,
        "where": where,
    }


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _archive(files: Mapping[str, bytes], now: float) -> bytes:
    """A tar file that says nothing of who made it and on what machine."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=int(now), compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(now), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
