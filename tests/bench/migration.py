"""The pre-checks of one server against every host of a fleet that has been read: own time, and requests.

The embedded cloud answers in this process: what it costs itself is taken off.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bench.figures import Figure
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.generator import FleetSize, generate

HOSTS = 200
WITHIN_S = 1.0
AT_MOST = 25


class _Timed:
    """How much processor time the cloud's answers took, and how many they were."""

    def __init__(self, cloud: DemoCloud) -> None:
        self.seconds = 0.0
        self.requests = 0
        self._answer = cloud.app.answer
        cloud.app.answer = self._timed  # type: ignore[method-assign,assignment]

    def _timed(self, *asked: Any) -> Any:
        began = time.thread_time()
        try:
            return self._answer(*asked)
        finally:
            self.seconds += time.thread_time() - began
            self.requests += 1


class _GeneratedFleet(Fleet):
    """A console on a generated cloud of that many hosts."""

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        cloud = DemoCloud(clock=self._clock)
        generate(cloud.builder, FleetSize(HOSTS))
        self.timed = _Timed(cloud)
        return cloud


def figures() -> Iterator[Figure]:
    """One server, everything read, then looked at against all other hosts."""
    fleet = _GeneratedFleet(Settings(), DemoChoice(None))
    snapshot = fleet.snapshot(600.0)
    server = next(s for s in snapshot.servers if s.status == "ACTIVE" and s.devices)
    asked, answering = fleet.timed.requests, fleet.timed.seconds
    began, wall = time.process_time(), time.perf_counter()
    found = fleet.precheck(server.id, snapshot=snapshot)
    spent, whole = time.process_time() - began, time.perf_counter() - wall
    own, requests = spent - (fleet.timed.seconds - answering), fleet.timed.requests - asked
    fleet.close()
    verdicts = Counter(one.verdict for one in found.candidates)
    told = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
    checked = sum(len(one.checks) for one in found.candidates)
    right = len(found.candidates) == HOSTS - 1 and found.chosen is not None
    yield Figure(
        f"pre-check of one server, {HOSTS} hosts",
        f"{own:.2f} s of own processor time, {requests} requests, {whole:.2f} s in all",
        f"{checked:,} checks; {told}",
        aim=f"under {WITHIN_S:g} s, at most {AT_MOST} requests",
        met=right and own < WITHIN_S and requests <= AT_MOST,
    )
