"""What is merely in motion is no illness: a fleet that moves, builds, resizes and deletes, read again and again.

Also where the sources' answers are some seconds apart, as they are when a service is slow: what such a pair shows is
told only when a later reading of all its sources shows it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import pytest

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.diagnosis import allocations, capacity, computes, flavors, moves, providers, reserved_devices
from vgpu_console.rules.diagnosis.confirm import Confirmation
from vgpu_console.runtime import Fleet
from vgpu_console.simulator.cloud import DemoCloud
from vgpu_console.simulator.state import Server

NOW = 1_800_000_000.0
EVERY_S = 2.0
LASTS_S = 60.0

CHAPTERS = (
    providers.CHAPTER,
    capacity.CHAPTER,
    allocations.CHAPTER,
    flavors.CHAPTER,
    moves.CHAPTER,
    reserved_devices.CHAPTER,
    computes.CHAPTER,
)
OURS = {d.id for chapter in CHAPTERS for d in chapter.diagnoses} | {"usage-leaked"}


def _server(cloud: DemoCloud, name: str) -> Server:
    return next(s for s in cloud.state.servers.values() if s.name == name)


def _moves(cloud: DemoCloud) -> None:
    for name, target in (("desk-01", "gpu-04"), ("desk-02", "gpu-04"), ("vm-train-3", "gpu-01")):
        cloud.migrations.start(_server(cloud, name), target, _server(cloud, name).user_id)


def _fails(cloud: DemoCloud) -> None:
    """As before Nova 32.2: the server stays ACTIVE."""
    cloud.migrations.raises = False
    cloud.migrations.fault = "destination-dies"
    cloud.migrations.start(_server(cloud, "desk-01"), "gpu-04", _server(cloud, "desk-01").user_id)


def _builds_and_deletes(cloud: DemoCloud) -> None:
    desk = _server(cloud, "desk-01")
    for number in range(3):
        made = cloud.compute.new_server(f"new-{number}", desk.project_id, desk.user_id, desk.flavor)
        cloud.compute.boot(made)
        cloud.state.after(30.0 + number, lambda made=made: cloud.compute.delete(made))  # type: ignore[misc]
    cloud.state.after(10.0, lambda: cloud.compute.delete(desk))


def _resizes(cloud: DemoCloud) -> None:
    server = _server(cloud, "desk-01")
    cloud.resizes.start(server, None, server.user_id, None)
    cloud.state.after(30.0, lambda: cloud.resizes.confirm(server))


HAPPENINGS: tuple[Callable[[DemoCloud], None], ...] = (_moves, _fails, _builds_and_deletes, _resizes)


def _read(happens: Callable[[DemoCloud], None]) -> list[Facts]:
    """What all sources say, again and again, while it happens."""
    clock = [NOW]
    with closing(Fleet(Settings(), DemoChoice("well"), clock=lambda: clock[0])) as fleet:
        fleet.snapshot(20.0)
        read = [fleet.facts()]
        assert fleet._demo is not None
        happens(fleet._demo)
        while clock[0] < NOW + LASTS_S:
            clock[0] += EVERY_S
            fleet.collector.refresh_now()
            fleet.collector.tick()
            seen = fleet.collector.version
            while fleet.collector.busy():
                seen = fleet.collector.wait(seen, 1.0)
                fleet.collector.tick()
            read.append(fleet.facts())
        return read


def _apart(cloud: Facts, hosts: Facts) -> Facts:
    """What the services said at one moment and the hosts at another."""

    def statuses() -> Iterator[SourceStatus]:
        yield from (s for s in cloud.statuses if not s.host)
        yield from (s for s in hosts.statuses if s.host)

    return msgspec.structs.replace(cloud, libvirt=hosts.libvirt, ssh=hosts.ssh, statuses=tuple(statuses()))


@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda h: h.__name__.strip("_"))
def test_while_something_moves_nothing_is_told(happens: Callable[[DemoCloud], None]) -> None:
    read = _read(happens)
    assert len({id(f.nova.servers) for f in read if f.nova}) > 2, "nothing happened"
    for late in (0, 3, -3):
        joiner, confirmation = Joiner(load_catalogue()), Confirmation()
        for number in range(3, len(read) - 3):
            facts = _apart(read[number], read[number + late])
            now = NOW + EVERY_S * (number + max(late, 0))
            snapshot = joiner.join(facts, now)
            told = confirmation.confirmed(snapshot.findings, snapshot.sources)
            assert not [(f.id, f.message) for f in told if f.id in OURS], (
                f"reading {number}, hosts {late} readings later"
            )
