"""What reading a fleet costs: cold, and again when nothing has changed, over simulated fleets of growing size.

Each size runs in a process of its own, so that its memory can be told; the simulated cloud lives in the same process
and its cost is told apart.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure

SIZES = (10, 100, 1000)


def _memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(hosts: int) -> dict[str, float]:
    """Cold and unchanged readings of a fleet (8 GPUs a host, 16 functions a GPU): requests, seconds, MiB."""
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.fleet.collector import OPENSTACK
    from vgpu_console.runtime import Fleet

    moment = [time.time()]
    fleet = Fleet(Settings(), DemoChoice(hosts), clock=lambda: moment[0])
    base = _memory_mib()
    began = time.perf_counter()
    facts = fleet.collector.collect_once(3600.0)
    cold = time.perf_counter() - began
    began = time.perf_counter()
    snapshot = fleet.joiner.join(facts, moment[0])
    join_cold = time.perf_counter() - began
    moment[0] += 600  # past the window in which Nova reports its newest servers as changed
    requests = sum(s.requests for s in facts.statuses if s.kind in OPENSTACK)
    again: list[tuple[int, float, float]] = []
    for _ in range(3):
        fleet.collector.refresh_now()
        began = time.perf_counter()
        fleet.collector.tick()
        seen = fleet.collector.version
        while fleet.collector.busy():
            seen = fleet.collector.wait(seen, 1.0)
            fleet.collector.tick()
        spent = time.perf_counter() - began
        facts = fleet.collector.facts()
        began = time.perf_counter()
        fleet.joiner.join(facts, moment[0])
        again.append(
            (sum(s.requests for s in facts.statuses if s.kind in OPENSTACK), spent, time.perf_counter() - began)
        )
    failed = [s.key for s in facts.statuses if s.error]
    last = min(again, key=lambda a: a[1])
    return {
        "hosts": len(snapshot.hosts),
        "cold_requests": requests,
        "cold_s": cold,
        "join_cold_s": join_cold,
        "again_requests": max(a[0] for a in again),
        "again_s": last[1],
        "join_again_s": min(a[2] for a in again),
        "memory_mib": _memory_mib() - base,
        "failed": len(failed),
    }


def figures() -> Iterator[Figure]:
    """One line per size, and whether an unchanged refresh stays flat."""
    results = {}
    for size in SIZES:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.fleets", str(size)], check=True, stdout=subprocess.PIPE
        )
        results[size] = r = json.loads(done.stdout)
        yield Figure(
            f"cold reading, {size} hosts",
            f"{r['cold_requests']:.0f} requests, {r['cold_s']:.2f} s + join {r['join_cold_s']:.2f} s",
            f"{r['memory_mib']:.0f} MiB",
        )
        yield Figure(
            f"unchanged refresh, {size} hosts",
            f"{r['again_requests']:.0f} requests, {r['again_s']:.2f} s + join {r['join_again_s']:.3f} s",
            aim="at most 10 requests",
            met=r["again_requests"] <= 10,
        )
    small, large = results[SIZES[0]]["again_requests"], results[SIZES[-1]]["again_requests"]
    yield Figure(
        "unchanged refresh, requests",
        f"{large:.0f} at {SIZES[-1]} hosts",
        f"{small:.0f} at {SIZES[0]} hosts",
        f"{large / small:.1f}×",
        "flat in size",
        large <= small,
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
