"""What a recording of a large quiet fleet costs: bytes of eight hours, a frame's own time, and how long a seek takes.

The fleet is simulated; its sources are asked by the real collector at its real pace. Time runs as it does while they
are asked, and jumps to the next frame when they have answered: eight hours are extrapolated from the frames written.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure

HOSTS, FRAMES = 1000, 63  # every sixtieth frame stands for itself
EVERY_S, EIGHT_HOURS_S = 10.0, 8 * 3600.0
AIM_MB, AIM_SEEK_MS = 50.0, 200.0
SEEKS = 200


class Clock:
    """Real time, with jumps."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def jump_to(self, moment: float) -> None:
        """Never back: frames that took longer are later, as they would be."""
        self._ahead += max(0.0, moment - self())


def measure(hosts: int, frames: int) -> dict[str, float]:
    """Records and reads back; sizes in bytes, times in seconds."""
    from vgpu_console.cli_record_run import in_milliseconds
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.recording.reader import Recording
    from vgpu_console.recording.writer import Writer
    from vgpu_console.runtime import Fleet

    clock = Clock()
    fleet = Fleet(Settings(), DemoChoice(hosts), clock=clock)
    if fleet._demo is not None:
        fleet._demo.life.living = False  # quiet: nobody starts or moves anything
    fleet.collector.collect_once(3600.0)
    sizes: list[int] = []
    spent: list[float] = []
    moved: list[int] = []
    kept: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quiet.rec"
        due = clock()
        snapshot = in_milliseconds(fleet.joiner.join(fleet.collector.facts(), due))
        with Writer(path, snapshot) as out:
            for number in range(frames):
                before = {s.key: s.attempted_at for s in snapshot.sources}
                snapshot = in_milliseconds(fleet.joiner.join(fleet.collector.facts(), clock()))
                moved.append(sum(before.get(s.key) != s.attempted_at for s in snapshot.sources))
                began = time.process_time()
                sizes.append(out.write(snapshot))
                spent.append(time.process_time() - began)
                if number in (0, frames // 2, frames - 1):
                    kept[number] = snapshot
                due = max(due + EVERY_S, clock() + 1.0)
                _until(fleet, clock, due)
        fleet.close()
        began = time.perf_counter()
        recording = Recording(path)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        recording.snapshot(0)
        first = time.perf_counter() - began
        gc.collect()
        gc.freeze()  # as the console does once the first picture stands
        seeks, walls = [], []
        chance = random.Random(1)
        for _ in range(SEEKS):
            number = chance.randrange(frames)
            began, wall = time.process_time(), time.perf_counter()
            recording.snapshot(number)
            seeks.append(time.process_time() - began)
            walls.append(time.perf_counter() - wall)
        same = all(recording.snapshot(number) == one for number, one in kept.items())
        recording.close()
    later = sizes[1:]
    whole = EIGHT_HOURS_S / EVERY_S
    return {
        "first": sizes[0],
        "later": sum(later) / len(later),
        "moved": sum(moved[1:]) / len(later),
        "all": sizes[0] + sum(later) / len(later) * (whole - 1),
        "write_first": spent[0],
        "write": sum(spent[1:]) / len(later),
        "open": opened,
        "show": first,
        "seek": sorted(seeks)[len(seeks) // 2],
        "seek_most": max(seeks),
        "seek_wall": sorted(walls)[len(walls) // 2],
        "same": float(same),
    }


def _until(fleet: Any, clock: Clock, due: float) -> None:
    """Ask what is due until the next frame is, and skip the time in which nothing is asked."""
    seen = -1
    while True:
        next_s = fleet.collector.tick()
        if clock() >= due:
            return
        if fleet.collector.busy():
            seen = fleet.collector.wait(seen, 0.2)
        else:
            clock.jump_to(min(due, clock() + max(0.001, next_s)))


def figures() -> Iterator[Figure]:
    """Size, own time, opening, seeking."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.recording", str(HOSTS), str(FRAMES)], check=True, stdout=subprocess.PIPE
    )
    r = json.loads(done.stdout)
    yield Figure(
        f"recording of a quiet fleet, {HOSTS:,} hosts, 8 h at {EVERY_S:g} s",
        f"{r['all'] / 1e6:.1f} MB",
        f"from {FRAMES} frames: the first {r['first'] / 1e6:.1f} MB, each later one {r['later'] / 1e3:.2f} kB "
        f"({r['moved']:.0f} sources had answered anew)",
        aim=f"under {AIM_MB:g} MB",
        met=r["all"] < AIM_MB * 1e6 and bool(r["same"]),
    )
    yield Figure(
        "a frame of it, own CPU time",
        f"{r['write'] * 1e3:.0f} ms",
        f"the first {r['write_first']:.1f} s",
    )
    yield Figure(
        "replay of it: a seek to any frame",
        f"median {r['seek'] * 1e3:.0f} ms, most {r['seek_most'] * 1e3:.0f} ms",
        f"own CPU time of {SEEKS} seeks, {r['seek_wall'] * 1e3:.0f} ms by the wall clock; "
        f"opening {r['open'] * 1e3:.0f} ms, the first picture {r['show']:.1f} s",
        aim=f"under {AIM_SEEK_MS:g} ms",
        met=r["seek_most"] * 1e3 < AIM_SEEK_MS,
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
