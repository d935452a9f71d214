"""A recording of the hand-built fleet and the console over it; its clock stands until a test moves it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.screens import fleets
from vgpu_console.app_replay import ReplayApp
from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.replay import Replay
from vgpu_console.recording.writer import Writer

MINUTES = 30
EVERY_S = 30.0
BEGINS = fleets.NOW


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def _later(status: SourceStatus, by: float) -> SourceStatus:
    fetched = None if status.fetched_at is None else status.fetched_at + by
    return msgspec.structs.replace(status, fetched_at=fetched, attempted_at=BEGINS + by - 1, next_at=BEGINS + by + 4)


def _driver(host: Host, driver: str) -> Host:
    return msgspec.structs.replace(host, driver=driver)


def frame(number: int) -> Snapshot:
    """What the fleet was then: at first nothing is wrong and nothing moves; gpu-01's driver says which frame it is."""
    shown, by = fleets.fleet(), number * EVERY_S
    return msgspec.structs.replace(
        shown,
        taken_at=BEGINS + by,
        sources=tuple(_later(s, by) for s in shown.sources),
        hosts=(_driver(shown.hosts[0], f"550.90.{number:02d}"), *shown.hosts[1:]),
        migrations=shown.migrations if number >= 20 else (),
        findings=tuple(f for h in shown.hosts for f in h.findings) if number >= 40 else (),
    )


def record(folder: Path) -> Path:
    """Half an hour of it, a frame every thirty seconds."""
    path = folder / "half-an-hour.rec"
    with Writer(path, frame(0)) as out:
        for number in range(int(MINUTES * 60 / EVERY_S) + 1):
            out.write(frame(number))
    return path


def replay(
    path: Path, *, at: float | None = None, speed: float = 1.0, settings: Settings | None = None
) -> tuple[ReplayApp, Replay, Clock]:
    """The console over a recording: paused at so many seconds since it began, else playing."""
    clock = Clock()
    engine = Replay(
        Recording(path),
        at=None if at is None else BEGINS + at,
        speed=speed,
        playing=at is None,
        steady=clock,
    )
    return ReplayApp(engine, settings=settings), engine, clock
