"""``vgpu-console replay``: a recording as the console, as one snapshot, or as the list of its frames."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from vgpu_console.cli_output import json_text, snapshot_text, write_table
from vgpu_console.cli_run import FAILED, NAME, OK, USAGE, layout, say, settings_of
from vgpu_console.recording.format import RecordingError
from vgpu_console.recording.moments import local_words, moment_s, utc_words
from vgpu_console.recording.reader import Recording

if TYPE_CHECKING:
    from vgpu_console.recording.reader import Moment


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``replay --list -o json``: when, and how much of each kind is there for the first time."""

    frame: int
    time: str
    new_fails: int
    new_warns: int
    new_migrations: int
    new_source_errors: int


def show_list(given: Mapping[str, tuple[Any, str]], path: Path, form: str) -> int:
    """Writes every frame's time and what began in it; the exit code."""
    try:
        with Recording(path) as recording:
            frames, note = recording.frames, recording.note
    except RecordingError as error:
        return _failed(error)
    rows = [_row(moment) for moment in frames]
    if form == "json":
        sys.stdout.write(json_text(rows, pretty=True) + "\n")
    else:
        shown = [
            [str(r.frame), local_words(m.time)]
            + [str(n or "") for n in (r.new_fails, r.new_warns, r.new_migrations, r.new_source_errors)]
            for r, m in zip(rows, frames, strict=True)
        ]
        names = ["frame", "time", "fails", "warnings", "migrations", "source errors"]
        write_table(names, shown, [True, False, True, True, True, True], sys.stdout, layout(settings_of(given)))
    sys.stdout.flush()
    _tell(note)
    return OK


def show_snapshot(path: Path, moment: str | None) -> int:
    """Writes the snapshot of a moment as ``vgpu-console snapshot`` would have then; the exit code."""
    try:
        with Recording(path) as recording:
            number = recording.at(_wanted(recording, moment or "end"))
            snapshot, note = recording.snapshot(number), recording.note
    except RecordingError as error:
        return _failed(error)
    sys.stdout.write(snapshot_text(snapshot, pretty=sys.stdout.isatty()) + "\n")
    sys.stdout.flush()
    _tell(note)
    return OK


def show_console(given: Mapping[str, tuple[Any, str]], path: Path, moment: str | None, speed: float) -> int:
    """Shows the recording until the operator leaves; the exit code."""
    settings = settings_of(given)
    try:
        recording = Recording(path)
    except RecordingError as error:
        return _failed(error)
    try:
        at = None if moment is None else _wanted(recording, moment)
        recording.at(0.0)
    except RecordingError as error:
        recording.close()
        return _failed(error)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        recording.close()
        say(f"{NAME}: the console needs a terminal; for data: replay FILE --at TIME -o json, or --list")
        return USAGE
    from vgpu_console import log

    log.start(settings.log)
    from vgpu_console.app_replay import run
    from vgpu_console.recording.replay import Replay

    code = run(settings, Replay(recording, at=at, speed=speed, playing=moment is None))
    _tell(recording.note)
    return code


def _wanted(recording: Recording, moment: str) -> float:
    """The time that is meant. Raises RecordingError where there is no frame, UsageError for what is no time of it."""
    recording.at(0.0)
    try:
        return moment_s(moment, recording.frames[0].time, recording.frames[-1].time)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None


def _row(moment: Moment) -> Frame:
    begun = moment.begun
    return Frame(
        frame=moment.number,
        time=utc_words(moment.time),
        new_fails=begun.fails,
        new_warns=begun.warns,
        new_migrations=begun.migrations,
        new_source_errors=begun.failed_sources,
    )


def _failed(error: RecordingError) -> int:
    say(f"{NAME}: {error}")
    return FAILED


def _tell(note: str) -> None:
    if note:
        say(f"note: {note}")
