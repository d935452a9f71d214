"""``vgpu-console diff``: two snapshots read, compared, and told as a table, JSON or Markdown."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vgpu_console.cli_output import json_text, write_table
from vgpu_console.cli_run import (
    NAME,
    OK,
    PARTIAL,
    USAGE,
    demo_of,
    is_dark,
    layout,
    no_connection,
    read_fleet,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.format import MAGIC, RecordingError
from vgpu_console.reports.wording import listed, moment, stamp
from vgpu_console.rules.snapshot_diff import KINDS, Change, differences, unseen
from vgpu_console.snapshot_file import SnapshotFileError, load
from vgpu_console.table_formats import markdown_cell, write_markdown
from vgpu_console.text import plain
from vgpu_console.views import EVERYTHING, NOT_APPLICABLE, OPENSTACK

LIVE = "live"
DIFFERS = 1
SCHEMA_VERSION = 1
"""Raised when a member of what ``-o json`` writes changes its meaning or goes away."""

_NAMES = ("kind", "what", "host", "name", "field", "before", "after")


def show_diff(given: Mapping[str, tuple[Any, str]], before: str, after: str, form: str) -> int:
    """Writes how B differs from A; returns the exit code, like diff(1)'s where both could be read."""
    if before == after == LIVE:
        raise click.UsageError("one of the two must be a file: the fleet is read once")
    settings, demo = settings_of(given), demo_of(given)
    live: Snapshot | None = None
    try:
        files = [None if name == LIVE else read(name) for name in (before, after)]
    except SnapshotFileError as error:
        say(f"{NAME}: {error}")
        return USAGE
    if LIVE in (before, after):
        live = read_fleet(settings, demo, EVERYTHING)
        if is_dark(live, OPENSTACK):
            return no_connection(live)
    old, new = (one if one is not None else live for one in files)
    assert old is not None  # noqa: S101 - of a file or live: one of the two is always there
    assert new is not None  # noqa: S101
    changes = differences(old, new)
    names = (before, after)
    if form == "json":
        sys.stdout.write(json_text(_document(names, old, new, changes), pretty=True) + "\n")
    elif form == "md":
        _markdown(names, old, new, changes)
    elif changes:
        rows = [_cells(change) for change in changes]
        write_table(_NAMES, rows, [False] * len(_NAMES), sys.stdout, layout(settings), [0, 0, 3, 0, 0, 0, 0])
    sys.stdout.flush()
    _tell(names, old, new, changes)
    if live is not None:
        tell_gaps(live.sources, live.errors)
    if changes:
        return DIFFERS
    return PARTIAL if live is not None and live.errors else OK


def read(name: str) -> Snapshot:
    """The snapshot of ``FILE`` or of ``FILE@TIME``. Raises SnapshotFileError."""
    path, at, moment_text = name.rpartition("@")
    if at and path and not Path(name).exists():
        return _recorded(Path(path), moment_text)
    if _is_recording(Path(name)):
        raise SnapshotFileError(
            f"{plain(name)} is a recording: which of its times? {plain(name)}@start, @end, @14:05 …"
        )
    return load(Path(name))


def _is_recording(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # whoever reads it next says why


def _recorded(path: Path, moment_text: str) -> Snapshot:
    """The snapshot that a recording has of that time. Raises SnapshotFileError."""
    from vgpu_console.recording.moments import moment_s
    from vgpu_console.recording.reader import Recording

    try:
        with Recording(path) as recording:
            recording.at(0.0)  # there is a frame at all
            wanted = moment_s(moment_text, recording.frames[0].time, recording.frames[-1].time)
            return recording.snapshot(recording.at(wanted))
    except (RecordingError, ValueError) as error:
        raise SnapshotFileError(plain(error, 1_000)) from None


def _document(names: Sequence[str], old: Snapshot, new: Snapshot, changes: Sequence[Change]) -> dict[str, Any]:
    counts = Counter(change.kind for change in changes)
    return {
        "schema_version": SCHEMA_VERSION,
        **{side: _side(name, one) for side, name, one in zip(("before", "after"), names, (old, new), strict=True)},
        "same": not changes,
        "counts": {kind: counts[kind] for kind in KINDS},
        "not_compared": unseen(old, new),
        "changes": changes,
    }


def _side(name: str, snapshot: Snapshot) -> dict[str, Any]:
    who = snapshot.identity
    return {
        "from": plain(name),
        "taken_at": stamp(snapshot.taken_at),
        "cloud": who.cloud or None,
        "region": who.region or None,
        "silent": [s.key for s in snapshot.sources if s.fetched_at is None],
    }


def _cells(change: Change) -> list[str]:
    alone = not change.field

    def words(value: Any) -> str:
        if value is None:
            return NOT_APPLICABLE if alone else "?"
        if isinstance(value, bool):
            return "on" if value else "off"
        return plain(value) or NOT_APPLICABLE

    return [
        change.kind,
        change.what,
        change.host or NOT_APPLICABLE,
        change.name,
        change.field or NOT_APPLICABLE,
        words(change.before),
        words(change.after),
    ]


def _markdown(names: Sequence[str], old: Snapshot, new: Snapshot, changes: Sequence[Change]) -> None:
    out = sys.stdout
    out.write("# vGPU fleet: what differs\n\n")
    for word, name, one in zip(("From", "To"), names, (old, new), strict=True):
        out.write(f"- {word}: {markdown_cell(name)}, taken {moment(one.taken_at, None)}\n")
    out.write(f"- {_summary(changes)}\n")
    for kind in KINDS:
        rows = [_cells(change)[1:] for change in changes if change.kind == kind]
        if rows:
            out.write(f"\n## {kind.capitalize()}\n\n")
            write_markdown(_NAMES[1:], rows, [False] * (len(_NAMES) - 1), out)


def _summary(changes: Sequence[Change]) -> str:
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "nothing differs"


def _tell(names: Sequence[str], old: Snapshot, new: Snapshot, changes: Sequence[Change]) -> None:
    """Words beside the data: how much, and what the comparison cannot say."""
    say(_summary(changes))
    if old.taken_at > new.taken_at:
        say(f"note: {names[0]} is the later of the two: what came here had gone, and the other way round")
    clouds = [f"{s.identity.cloud}, {s.identity.region}" for s in (old, new)]
    if clouds[0] != clouds[1]:
        say(f"note: these are of two clouds: {clouds[0]} and {clouds[1]}")
    if silent := list(unseen(old, new)):
        say(f"not compared, silent on both sides: {listed(silent)}")
