"""The recorder's loop on a fleet whose frames take longer to make than there is time from one to the next."""

from __future__ import annotations

import io
import itertools
import threading
from pathlib import Path
from typing import Any

from tests.builders.fleet import small_fleet
from vgpu_console.cli_record_run import Recorder
from vgpu_console.cli_run import OK, Progress
from vgpu_console.recording.reader import Recording


class SlowFleet:
    """Joining takes five seconds of the clock; what is asked for in between is counted."""

    def __init__(self) -> None:
        self.at = 0.0
        self.ticks: list[float] = []
        self.collector = self.joiner = self

    def steady(self) -> float:
        """The loop's clock, which waiting moves."""
        return self.at

    def clock(self) -> float:
        """The time of the frames."""
        return 1_760_000_000.0 + self.at

    def tick(self) -> float:
        """Starts what is due."""
        self.ticks.append(self.at)
        return 1.0

    def pending(self) -> tuple[str, ...]:
        """All have answered."""
        return ()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Time passes."""
        self.at += timeout_s
        return seen + 1

    def facts(self) -> None:
        """What is joined does not matter here."""

    def join(self, facts: None, now: float) -> Any:
        """Takes its time."""
        self.at += 5.0
        fleet = small_fleet()
        return type(fleet)(taken_at=now, identity=fleet.identity, hosts=fleet.hosts, sources=fleet.sources)


def test_sources_are_asked_between_frames_that_are_late(tmp_path: Path) -> None:
    fleet: Any = SlowFleet()
    recorder = Recorder(
        fleet, tmp_path / "slow.rec", 1.0, 60.0, threading.Event(), Progress(io.StringIO()), fleet.steady
    )
    assert recorder.run(10.0) == OK
    with Recording(tmp_path / "slow.rec") as recording:
        times = [moment.time for moment in recording.frames]
    assert len(times) > 8
    for one, other in itertools.pairwise(times):
        asked = [at for at in fleet.ticks if one < 1_760_000_000.0 + at + 5.0 and 1_760_000_000.0 + at <= other]
        assert asked, (one, other)


def test_it_ends_in_time_and_counts_its_frames(tmp_path: Path) -> None:
    fleet: Any = SlowFleet()
    fleet.join = lambda facts, now: small_fleet()
    recorder = Recorder(
        fleet, tmp_path / "ten.rec", 10.0, 60.0, threading.Event(), Progress(io.StringIO()), fleet.steady
    )
    assert recorder.run(10.0) == OK
    with Recording(tmp_path / "ten.rec") as recording:
        assert len(recording.frames) == 7  # at 0, 10 … 60
    assert 59.9 < fleet.at < 60.2
