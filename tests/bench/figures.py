"""What the benchmark prints: a figure, what it is compared with, and the ratio that was aimed at."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the result. ``aim`` is the issue's wish in words; ``met`` None where there was none to meet."""

    name: str
    ours: str
    other: str = ""
    ratio: str = ""
    aim: str = ""
    met: bool | None = None

    def row(self) -> str:
        """The line as a row of a Markdown table."""
        verdict = {True: "met", False: "NOT met", None: ""}[self.met]
        return f"| {self.name} | {self.ours} | {self.other} | {self.ratio} | {self.aim} | {verdict} |"


HEAD = "| figure | ours | compared with | ratio | aim | |\n|---|---|---|---|---|---|"


def faster(name: str, ours_s: float, other: str, other_s: float, times: float) -> Figure:
    """A figure that says how many times faster than something else this is."""
    ratio = other_s / ours_s
    return Figure(
        name, f"{ours_s:.3f} s", f"{other}: {other_s:.3f} s", f"{ratio:.1f}×", f"at least {times:g}×", ratio >= times
    )


def machine() -> str:
    """The machine in a line: a figure without it says nothing."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def best_of(runs: int, command: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """The shortest wall time in seconds of a command over some runs, after one that warms the disk."""
    full = dict(os.environ, **(env or {}))
    times = []
    for attempt in range(runs + 1):
        began = time.perf_counter()
        done = subprocess.run(command, env=full, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode not in (0, 5):
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode()[-300:]}")
        if attempt:
            times.append(time.perf_counter() - began)
    return min(times)
