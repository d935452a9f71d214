"""The engine over a recording: it delivers the frame of its time, and its time is the console's."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.builders.fleet import NOW, small_fleet
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.recording.format import RecordingError
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.replay import SPEEDS, PlayLine, Replay
from vgpu_console.recording.writer import Writer

TIMES = (0, 10, 20, 30, 7_230, 7_240)
"""Somebody stopped recording for two hours."""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


class Screen:
    """What a console would have been given."""

    def __init__(self) -> None:
        self.shown: list[Snapshot] = []
        self._news = threading.Condition()

    def __call__(self, snapshot: Snapshot) -> None:
        with self._news:
            self.shown.append(snapshot)
            self._news.notify_all()

    def until(self, true: Callable[[], bool]) -> None:
        """Waits until something is so."""
        with self._news:
            assert self._news.wait_for(true, 10), [s.taken_at - NOW for s in self.shown]

    def until_shown(self, since_start: float) -> None:
        """Waits for the frame of that time to be the last one shown."""
        self.until(lambda: bool(self.shown) and self.shown[-1].taken_at == NOW + since_start)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording with a gap, and a finding that begins in its fourth frame."""
    fleet = msgspec.structs.replace(small_fleet(), findings=())
    new = (Finding(id="vfs-off", severity="fail", object="gpu gpu-02 0000:41:00.0", message="off"),)
    with Writer(tmp_path / "r.rec", fleet) as out:
        for number, at in enumerate(TIMES):
            out.write(msgspec.structs.replace(fleet, taken_at=NOW + at, findings=new if number >= 3 else ()))
    return tmp_path / "r.rec"


@pytest.fixture
def start(path: Path) -> Iterator[Callable[..., tuple[Replay, Clock, Screen]]]:
    """Begins replays and ends them."""
    running: list[Replay] = []

    def begin(**how: object) -> tuple[Replay, Clock, Screen]:
        clock, screen = Clock(), Screen()
        replay = Replay(Recording(path), steady=clock, **how)  # type: ignore[arg-type]
        running.append(replay)
        replay.start(screen)
        return replay, clock, screen

    yield begin
    for replay in running:
        replay.stop()


Begin = Callable[..., tuple[Replay, Clock, Screen]]


def test_it_shows_the_moment_it_is_told_with_the_ages_of_that_moment(start: Begin) -> None:
    replay, clock, screen = start(at=NOW + 14, playing=False)
    screen.until_shown(10)
    clock.at += 1_000
    assert replay.now() == NOW + 14
    assert replay.paused
    nova = screen.shown[-1].sources[0]
    assert nova.age_s(replay.now()) == replay.now() - (nova.fetched_at or 0)
    assert len(screen.shown) == 1


def test_nothing_can_be_changed_or_asked(start: Begin) -> None:
    replay, _, screen = start(playing=False)
    screen.until_shown(0)
    assert screen.shown[-1].identity.read_only
    assert (replay.world, replay.journal, replay.mover) == (None, None, None)
    assert "recording" in replay.candidates((), None).error
    assert replay.facts().nova is None
    assert replay.facts().identity.cloud == "prod"
    replay.refresh_now()


def test_it_plays_at_its_speed_skips_the_gap_and_stops_at_the_end(start: Begin) -> None:
    replay, clock, screen = start(speed=10.0)
    screen.until_shown(0)
    clock.at = 0.95
    assert replay.now() == pytest.approx(NOW + 9.5)
    clock.at = 3.5  # 35 s along: past the frame at 30, in the gap
    screen.until_shown(30)
    assert replay.now() == pytest.approx(NOW + 35)
    clock.at = 4.05
    screen.until_shown(7_230)
    assert replay.now() == pytest.approx(NOW + 7_230.5)
    clock.at = 99.0
    screen.until_shown(7_240)
    assert replay.now() == NOW + 7_240
    assert replay.paused
    replay.resume()  # from the beginning again
    screen.until_shown(0)
    assert not replay.paused


def test_step_skip_seek_marks_and_speed(start: Begin) -> None:
    replay, _, screen = start(playing=False)
    replay.step(1)
    screen.until_shown(10)
    replay.skip(15)
    screen.until_shown(20)
    assert replay.now() == NOW + 25
    replay.step(-1)  # to the beginning of what is shown, then back
    assert replay.now() == NOW + 20
    replay.step(-1)
    screen.until_shown(10)
    assert replay.to_mark(1)
    screen.until_shown(30)
    assert not replay.to_mark(1)
    replay.seek(NOW + 7_300)
    screen.until_shown(7_240)
    assert replay.to_mark(-1)
    screen.until_shown(30)
    replay.skip(-10_000)
    screen.until_shown(0)
    replay.step(-5)
    assert replay.position.number == 0
    replay.step(50)
    screen.until_shown(7_240)
    assert [replay.change_speed(1) for _ in range(20)][-1] == SPEEDS[-1]
    assert [replay.change_speed(-1) for _ in range(20)][-1] == SPEEDS[0]
    assert not replay.position.playing


def test_a_seek_into_the_gap_shows_what_was_last_known_and_then_goes_on(start: Begin) -> None:
    replay, clock, screen = start(at=NOW + 3_600)
    screen.until_shown(30)
    assert replay.now() == NOW + 30
    clock.at += 10.5
    screen.until_shown(7_230)


def test_marks_on_a_line_of_cells(start: Begin) -> None:
    replay, _, _ = start(playing=False)
    marks = replay.marks(5)
    assert [m.fails if m else 0 for m in marks] == [0, 0, 0, 1, 0]
    assert replay.marks(0) == []


def test_a_frame_that_cannot_be_read_is_told_and_pauses(path: Path) -> None:
    recording, screen = Recording(path), Screen()

    def broken(number: int) -> Snapshot:
        if number == 2:
            raise RecordingError("frame 2 cannot be read: no")
        return Recording.snapshot(recording, number)

    recording.snapshot = broken  # type: ignore[method-assign]
    clock = Clock()
    replay = Replay(recording, steady=clock)
    replay.start(screen)
    screen.until_shown(0)
    clock.at = 20.5
    deadline = time.monotonic() + 10
    while not replay.position.note and time.monotonic() < deadline:
        time.sleep(0.01)
    assert replay.position.note == "frame 2 cannot be read: no"
    assert replay.paused
    replay.step(1)
    screen.until_shown(30)
    replay.stop()


def test_one_frame_is_shown_and_does_not_play(tmp_path: Path) -> None:
    with Writer(tmp_path / "one.rec", small_fleet()) as out:
        out.write(small_fleet())
    screen = Screen()
    replay = Replay(Recording(tmp_path / "one.rec"))
    replay.start(screen)
    screen.until_shown(0)
    replay.toggle()
    assert replay.position._replace(time=0) == (0, 1, 0, NOW, NOW, False, 1.0, 1.0, "")
    assert replay.marks(10) == [None] * 10
    replay.stop()


def test_a_recording_without_a_frame_cannot_be_replayed(tmp_path: Path) -> None:
    Writer(tmp_path / "none.rec", small_fleet()).close()
    with pytest.raises(RecordingError, match="holds no whole frame"):
        Replay(Recording(tmp_path / "none.rec"))


def test_times_that_go_back_play_on() -> None:
    line = PlayLine([0, 10, 20, 5, 15])
    assert line.length == 40
    assert [line.number(p) for p in (0, 15, 25, 35, 40)] == [0, 1, 2, 3, 4]
    assert line.time(35) == 10
    assert list(itertools.accumulate([10] * 4, initial=0)) == [line.place(n) for n in range(5)]
