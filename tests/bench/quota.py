"""The quota view of a cloud with thousands of projects: how many requests, how soon the first rows, how many at once.

The embedded cloud answers in this process; each usage takes as long as it would over a network, so that what is shown
before the last of them can be told.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bench.figures import Figure
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.collector import OPENSTACK
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud, HttpFault
from vgpu_console.simulator.generator import FleetSize, generate

PROJECTS = 5000
HOSTS = 15
USAGE_S = 0.02
"""What one usage takes."""
AT_MOST = 12
"""Requests beside one per project that has usage."""


class _Watch:
    """Counts requests by what they ask for, and how many are under way at once."""

    def __init__(self, fleet: Fleet) -> None:
        self.counts: Counter[str] = Counter()
        self.peak = 0
        self.last_usage = 0.0
        self._under_way = 0
        self._lock = threading.Lock()
        self._send = fleet.cloud.request
        fleet.cloud.request = self._watched  # type: ignore[method-assign]

    def _watched(self, method: str, service: str, path: str, **more: Any) -> Any:
        what = path.rpartition("/")[2] if path.startswith("/resource_providers/") else path
        with self._lock:
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
        try:
            return self._send(method, service, path, **more)
        finally:
            with self._lock:
                self._under_way -= 1
                self.counts[f"{service} {what}"] += 1
                if what == "/usages":
                    self.last_usage = time.perf_counter()


class _GeneratedFleet(Fleet):
    """A console on a generated cloud of that many projects."""

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        cloud = DemoCloud(clock=self._clock)
        generate(cloud.builder, FleetSize(HOSTS, projects=PROJECTS))
        cloud.faults.http["placement"] = HttpFault(delay_s=USAGE_S, path="/usages")
        return cloud


def figures() -> Iterator[Figure]:
    """What ``vgpu-console quota`` asks for; how the same cloud comes onto a screen, which reads it for every view."""
    yield from _command()
    yield from _screen()


def _command() -> Iterator[Figure]:
    fleet = _GeneratedFleet(Settings(), DemoChoice(None), kinds=OPENSTACK, use_only=True)
    watch = _Watch(fleet)
    began = time.perf_counter()
    snapshot = fleet.snapshot(300.0)
    ended = time.perf_counter()
    fleet.close()
    total = fleet.cloud.requests
    asked = sum(watch.counts.values())  # the rest are tokens and the services' version documents
    usages = watch.counts["placement /usages"]
    using = len({q.project_id for q in snapshot.quotas if q.used})
    whole = all(s.fetched_at is not None for s in snapshot.sources) and len(snapshot.quotas) >= PROJECTS
    yield Figure(
        f"quota view, {PROJECTS:,} projects, {using} with usage",
        f"{total} requests: {usages} usages, {asked - usages} lists, {total - asked} tokens and versions",
        f"{len(snapshot.quotas):,} rows in {ended - began:.2f} s",
        aim=f"at most {AT_MOST}, and one per project with usage",
        met=whole and using > 0 and total - usages <= AT_MOST and usages <= using,
    )
    yield Figure("quota view, requests at once", f"at most {watch.peak}", aim="bounded", met=watch.peak <= 16)


def _screen() -> Iterator[Figure]:
    fleet = _GeneratedFleet(Settings(), DemoChoice(None), kinds=OPENSTACK)
    watch = _Watch(fleet)
    engine = fleet.engine()
    first: list[tuple[float, int]] = []
    whole = threading.Event()

    def show(snapshot: Snapshot) -> None:
        if snapshot.quotas and not first:
            first.append((time.perf_counter(), len(snapshot.quotas)))
        if snapshot.quotas and all(s.fetched_at is not None for s in snapshot.sources if s.kind in OPENSTACK):
            whole.set()

    began = time.perf_counter()
    engine.start(show)
    if not whole.wait(300):
        raise TimeoutError("the quota view was not whole after 300 s")
    engine.stop()
    at, rows = first[0]
    yield Figure(
        "quota screen, first rows",
        f"{rows:,} rows after {at - began:.2f} s",
        f"last usage after {watch.last_usage - began:.2f} s",
        aim="before the last usage arrives",
        met=at < watch.last_usage,
    )
