"""What it costs to plan the drain of a full host: where 64 servers of it go among 50 others."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.drain_places import plan_drain
from vgpu_console.rules.migration.drain_words import DrainPlan
from vgpu_console.rules.migration.placement import drain_plan
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.generator import FleetSize, generate

HOSTS, SERVERS = 51, 64
HOST = "gpu-0002"  # of those whose GPUs carry eight of the smallest type each
AT_MOST_S = 3.0


class FullHostFleet(Fleet):
    """A console on a generated cloud with one host that has no place left."""

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        cloud = DemoCloud(clock=self._clock)
        generate(cloud.builder, FleetSize(HOSTS, used=0.3))
        host = cloud.state.hosts[HOST]
        projects = [p for p in cloud.state.projects.values() if p.name.startswith("project-")]
        small = cloud.builder.flavor("gpu.small", 8192, 2, 20, {"resources:VGPU": "1"})
        host.inventory_due = cloud.state.now
        for gpu in host.gpus:
            while len(host.guests) < SERVERS and len(gpu.mdevs) < gpu.enabled[0].maximum:
                number = len(host.guests)
                cloud.builder.server(f"full-{number:02d}", projects[number % len(projects)], small, host, gpu)
        host.inventory_due = None
        return cloud


def figures() -> Iterator[Figure]:
    """The plan alone, to any host and to two; and with Placement asked, which answers in this process."""
    now = time.time()
    fleet = FullHostFleet(Settings(), DemoChoice(None), clock=lambda: now)
    facts = fleet.collector.collect_once(300.0)
    snapshot = fleet.joiner.join(facts, now)
    others = len(snapshot.hosts) - 1
    for name, to in (("any host", None), ("two hosts", ("gpu-0005", "gpu-0008"))):
        began = time.process_time()
        plan = drain_plan(snapshot, facts, HOST, now, to=to)
        yield _figure(f"to {name} of {others}", plan, time.process_time() - began)
    before, began = fleet.cloud.requests, time.process_time()
    plan = plan_drain(fleet.candidates, snapshot, facts, HOST, now)
    yield _figure(f"with {fleet.cloud.requests - before} requests to Placement", plan, time.process_time() - began)
    fleet.close()


def _figure(what: str, plan: DrainPlan, spent: float) -> Figure:
    return Figure(
        f"drain plan, {plan.totals.servers} servers {what}",
        f"{spent:.2f} s of CPU time",
        f"{plan.totals.go} go to {len({m.destination for m in plan.moves})} hosts, {plan.totals.stay} stay",
        aim=f"under {AT_MOST_S:g} s",
        met=spent < AT_MOST_S and plan.totals.servers == SERVERS,
    )
