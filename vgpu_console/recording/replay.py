"""An engine that shows a recording instead of a cloud: it plays, pauses, steps, seeks, and owns the console's clock."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.format import Begun, RecordingError
from vgpu_console.recording.reader import Moment, Recording

LOG = logging.getLogger("vgpu_console.replay")

SPEEDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
LEAST_GAP_S = 60.0
GAP_STEPS = 5
"""Where frames are further apart than a minute and so many usual steps, nothing was recorded: it is skipped."""

LEAST_PAUSE_S = 0.1
"""Between two frames that are shown: at high speeds those between them are left out."""

MOST_WAIT_S = 0.25
"""The clock is looked at so often, whatever it is that moves it."""

A_RECORDING = "this is a recording: nothing can be changed or asked"


class Position(NamedTuple):
    """Where a replay is."""

    number: int  # of the frame, counted from 0
    frames: int
    time: float  # the recorded time, seconds since the epoch
    first: float
    last: float
    playing: bool
    speed: float
    part: float  # of the whole way, 0 to 1
    note: str  # what is wrong with the recording; "" when nothing is


class PlayLine:
    """A recording's moments on one line without its gaps: what plays is a place on it, in seconds.

    Frames whose times go back, because a clock was set, are a usual step apart like any others.
    """

    def __init__(self, times: Sequence[float]) -> None:
        self._times = list(times)
        steps = sorted(b - a for a, b in itertools.pairwise(times) if b > a)
        self.usual_s = steps[len(steps) // 2] if steps else 1.0
        longest = max(LEAST_GAP_S, GAP_STEPS * self.usual_s)
        self._places = [0.0]
        for a, b in itertools.pairwise(times):
            step = b - a if 0 < b - a <= longest else self.usual_s
            self._places.append(self._places[-1] + step)

    @property
    def length(self) -> float:
        """Seconds from the first moment to the last."""
        return self._places[-1]

    def number(self, place: float) -> int:
        """The frame that is shown at a place."""
        return max(0, bisect.bisect_right(self._places, place) - 1)

    def place(self, number: int) -> float:
        """Where a frame begins."""
        return self._places[number]

    def time(self, place: float) -> float:
        """The recorded time at a place."""
        number = self.number(place)
        return self._times[number] + max(0.0, place - self._places[number])

    def place_of(self, number: int, time: float) -> float:
        """The place of a recorded time within a frame; inside a gap, where the gap begins."""
        after = self._places[number + 1] if number + 1 < len(self._places) else self._places[number]
        offset = max(0.0, time - self._times[number])
        return self._places[number] + (offset if offset < after - self._places[number] else 0.0)


class Replay:
    """Satisfies ``screens.seams.FleetEngine`` and ``Transport``; ``now`` is the console's clock.

    Reads the recording in a thread of its own. Every method returns at once.
    """

    world = None
    journal = None
    mover = None

    def __init__(
        self,
        recording: Recording,
        *,
        at: float | None = None,
        speed: float = 1.0,
        playing: bool = True,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``at``: the recorded time to begin with. Raises RecordingError when there is no frame."""
        self._recording = recording
        self._steady = steady
        self.moments: Sequence[Moment] = recording.frames
        first = recording.at(recording.frames[0].time if recording.frames else 0.0)
        self._line = PlayLine([moment.time for moment in recording.frames])
        self._changed = threading.Condition()
        self._stopping = False
        self._place = self._line.place(first)
        if at is not None:
            self._place = self._line.place_of(recording.at(at), at)
        self._since = steady()
        self._playing = playing and len(self.moments) > 1
        self._speed = speed
        self._shown = -1
        self._note = recording.note
        self._snapshot = Snapshot()
        self._on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None
        self._thread: threading.Thread | None = None

    # What the console asks of an engine ---------------------------------------------------------------------------

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Begin to show frames."""
        self._on_snapshot = on_snapshot
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End, and close the recording."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return  # it reads still; the file is closed with the process
        self._recording.close()

    def facts(self) -> Facts:
        """Who was looking; facts are not recorded."""
        return Facts(identity=self._snapshot.identity, statuses=self._snapshot.sources)

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """Placement cannot be asked about the past."""
        return Candidates(error=A_RECORDING)

    def refresh_now(self) -> None:
        """Nothing: there is nobody to ask."""

    @property
    def paused(self) -> bool:
        """True while the recorded time stands still."""
        return not self.position.playing

    def pause(self) -> None:
        """Let the recorded time stand still."""
        with self._changed:
            self._settle()
            self._playing = False
            self._changed.notify_all()

    def resume(self) -> None:
        """Play; from the beginning again when it has come to its end."""
        with self._changed:
            self._settle()
            if self._place >= self._line.length:
                self._place = 0.0
            self._playing = len(self.moments) > 1
            self._changed.notify_all()

    # Transport ----------------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """Where it is now."""
        with self._changed:
            place = self._now()
            playing = self._playing and place < self._line.length
            return Position(
                number=self._line.number(place),
                frames=len(self.moments),
                time=self._line.time(place),
                first=self.moments[0].time,
                last=self.moments[-1].time,
                playing=playing,
                speed=self._speed,
                part=place / self._line.length if self._line.length else 1.0,
                note=self._note,
            )

    def now(self) -> float:
        """The recorded time: what the console takes for now, so that ages are those of that moment."""
        with self._changed:
            return self._line.time(self._now())

    def marks(self, cells: int) -> list[Begun | None]:
        """What began where, for a line of so many cells."""
        out: list[Begun | None] = [None] * max(0, cells)
        for moment in self.moments:
            if not moment.begun or not out:
                continue
            part = self._line.place(moment.number) / self._line.length if self._line.length else 0.0
            cell = min(cells - 1, int(part * cells))
            out[cell] = _both(out[cell], moment.begun)
        return out

    def toggle(self) -> None:
        """Play, or pause."""
        if self.position.playing:
            self.pause()
        else:
            self.resume()

    def step(self, frames: int) -> None:
        """So many frames on, or back, and pause there."""
        with self._changed:
            self._settle()
            number = self._line.number(self._place)
            if frames < 0 and self._place > self._line.place(number):
                frames += 1  # back to the beginning of the frame that is shown comes first
            self._place = self._line.place(min(max(0, number + frames), len(self.moments) - 1))
            self._playing = False
            self._changed.notify_all()

    def skip(self, seconds: float) -> None:
        """So many seconds on, or back; it goes on playing if it did."""
        with self._changed:
            self._settle()
            self._place = min(max(0.0, self._place + seconds), self._line.length)
            self._changed.notify_all()

    def seek(self, time: float) -> None:
        """To a recorded time."""
        with self._changed:
            self._settle()
            self._place = self._line.place_of(self._recording.at(time), time)
            self._changed.notify_all()

    def to_mark(self, direction: int) -> bool:
        """To the next frame, or with -1 the one before, in which something began; False when there is none."""
        with self._changed:
            self._settle()
            number = self._line.number(self._place)
            others = self.moments[number + 1 :] if direction > 0 else reversed(self.moments[:number])
            found = next((m for m in others if m.begun), None)
            if found is not None:
                self._place = self._line.place(found.number)
                self._changed.notify_all()
        return found is not None

    def change_speed(self, steps: int) -> float:
        """Faster (or with a negative number slower) by so many steps; the new speed."""
        with self._changed:
            self._settle()
            near = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - self._speed))
            self._speed = SPEEDS[min(max(0, near + steps), len(SPEEDS) - 1)]
            self._changed.notify_all()
            return self._speed

    # Inside -------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        """The place now. The lock is held."""
        if not self._playing:
            return self._place
        return min(self._place + (self._steady() - self._since) * self._speed, self._line.length)

    def _settle(self) -> None:
        """Bring the place up to now, from where it can be moved. The lock is held."""
        self._place, self._since = self._now(), self._steady()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                number = self._line.number(self._now())
                if number == self._shown:
                    self._changed.wait(self._wait_s(number))
                    continue
                self._shown = number
            began = time.perf_counter()
            self._show(number)
            with self._changed:
                if not self._stopping:
                    self._changed.wait(max(LEAST_PAUSE_S, time.perf_counter() - began))

    def _wait_s(self, number: int) -> float | None:
        """Until the next frame is due; None when that needs a key. The lock is held."""
        if not self._playing or number + 1 >= len(self.moments):
            return None
        return min(MOST_WAIT_S, max(0.01, (self._line.place(number + 1) - self._now()) / self._speed))

    def _show(self, number: int) -> None:
        try:
            snapshot = self._recording.snapshot(number)
        except RecordingError as error:
            LOG.warning("replay: %s", error)
            with self._changed:
                self._note = str(error)
            self.pause()
            return
        except Exception:
            LOG.exception("the replay goes on after a fault of this console")
            return
        identity = msgspec.structs.replace(snapshot.identity, read_only=True)
        self._snapshot = msgspec.structs.replace(snapshot, identity=identity)
        self._on_snapshot(self._snapshot)


def _both(one: Begun | None, other: Begun) -> Begun:
    if one is None:
        return other
    return Begun(
        fails=one.fails + other.fails,
        warns=one.warns + other.warns,
        migrations=one.migrations + other.migrations,
        failed_sources=one.failed_sources + other.failed_sources,
    )
