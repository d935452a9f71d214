"""Following migrations on the command line: how time passes, what is shown on the way, what is kept of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from vgpu_console.actions.migration_record import keep
from vgpu_console.cli_migrate_text import MOVED, end_lines, end_record, progress_words
from vgpu_console.cli_output import json_text
from vgpu_console.cli_run import FAILED, INTERRUPTED, NAME, OK, Progress, say
from vgpu_console.model.snapshot import Snapshot

if TYPE_CHECKING:
    from vgpu_console.actions.drain_run import DrainRunner
    from vgpu_console.fleet.engine import Engine
    from vgpu_console.fleet.migration_follow import Followers
    from vgpu_console.fleet.migration_move import Subject
    from vgpu_console.model.migration_timeline import Timeline

REST_S = 0.25
LINE_S = 10.0
"""Where there is no terminal to rewrite a line on, figures are told no oftener than this; phases at once."""
FIND_S = 90.0
"""A migration that Nova was asked for shows within this, or was never begun."""


class Turns:
    """How a command spends its time: everything has a thread of its own, and the command sleeps between two looks."""

    def follow(self, followers: Followers) -> None:
        """Begin to ask about migrations."""
        followers.start()

    def watch(self, engine: Engine) -> None:
        """Begin to read the fleet again and again."""
        engine.start(lambda snapshot: None)

    def drain(self, runner: DrainRunner) -> None:
        """Begin to move servers."""
        runner.start()

    def rest(self) -> None:
        """Between two looks."""
        time.sleep(REST_S)

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()


class Teller:
    """One line that is rewritten on a terminal; anywhere else a line when it says something else."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._progress = Progress(sys.stderr)
        self._rewrites = sys.stderr.isatty()
        self._said: object = None
        self._said_at = float("-inf")

    def tell(self, key: object, words: str) -> None:
        """``key`` is what matters: a change of it is told at once, one of the words alone now and then."""
        if self._rewrites:
            self._progress.tell(words)
            return
        now = self._turns.now()
        if key != self._said or (now - self._said_at >= LINE_S):
            self._said, self._said_at = key, now
            say(words)

    def clear(self) -> None:
        """Takes the line away."""
        self._progress.clear()


class Followed(NamedTuple):
    """What is needed to follow on a fleet that was read."""

    fleet: Any  # runtime's Fleet
    snapshot: Snapshot
    journal: Any  # actions.journal's Journal, None where nothing is to be written there
    cloud: str


@contextmanager
def following(
    what: Followed, turns: Turns, snapshot: Callable[[], Snapshot] | None = None
) -> Iterator[tuple[Followers, list[str]]]:
    """Followers that are begun, and the lines of what could not be kept; what has settled goes into the history.

    So does what is found under way: a console that takes over from a killed one has the prediction and the type there.
    """
    notes: list[str] = []

    def found(timeline: Timeline) -> None:
        notes.extend(keep(timeline, what.fleet.history(), None, what.cloud))

    def settled(timeline: Timeline) -> None:
        notes.extend(keep(timeline, what.fleet.history(), what.journal, what.cloud))

    followers: Followers = what.fleet.followers(
        snapshot=snapshot or (lambda: what.snapshot), on_found=found, on_settled=settled
    )
    turns.follow(followers)
    try:
        yield followers, notes
    finally:
        followers.stop()


def follow_to_its_end(what: Followed, subject: Subject, form: str) -> int:
    """Follow one migration, write its result on stdout, return the exit code. Ctrl+c leaves the migration running."""
    turns = Turns()
    teller = Teller(turns)
    again = f"{NAME} migrate follow {subject.server}"
    timeline: Timeline | None = None
    began = turns.now()
    with following(what, turns) as (followers, notes):
        followers.follow(subject)
        try:
            while True:
                timeline = followers.timeline(subject.server)
                if timeline is not None:
                    if timeline.settled:
                        break
                    teller.tell(_key(timeline), progress_words(timeline))
                    if not timeline.migration and turns.now() - began > FIND_S and _nova_answers(timeline):
                        break
                turns.rest()
        except KeyboardInterrupt:
            teller.clear()
            say(f"the migration of {subject.name} goes on without this command", f"to follow it again: {again}")
            return INTERRUPTED
    teller.clear()
    say(*dict.fromkeys(notes))
    return write_end(timeline, form, again)


def write_end(timeline: Timeline, form: str, again: str) -> int:
    """The result on stdout; the exit code."""
    if form == "json":
        sys.stdout.write(json_text(end_record(timeline), pretty=True) + "\n")
    else:
        sys.stdout.writelines(line + "\n" for line in end_lines(timeline))
    sys.stdout.flush()
    if not timeline.migration:
        say(f"{NAME}: Nova shows no migration of it; if one appears: {again}")
        return FAILED
    end = timeline.end
    return OK if end is not None and end.kind in MOVED else FAILED


def _nova_answers(timeline: Timeline) -> bool:
    return any(v.kind == "nova" and v.error is None and v.answered_at is not None for v in timeline.voices)


def _key(timeline: Timeline) -> tuple[object, ...]:
    """What is told at once when it changes."""
    now, story = timeline.now, timeline.story
    voice = next((v for v in timeline.voices if v.kind == "nova"), None)
    silent = voice is not None and voice.error is not None
    told = story.kind if story is not None and (story.over or story.severity in ("warn", "fail")) else ""
    phase = now.name if now is not None and timeline.end is None else None
    return bool(timeline.migration), phase, told, silent
