"""What may be in motion waits for a second look, and a fleet in which things happen is told no illness for it."""

from __future__ import annotations

import msgspec
import pytest

from tests.rules.diagnosis.ill_facts import facts_of
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.evidence import Evidence
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Finding
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.diagnosis import device_allocations, domains, mediated_devices
from vgpu_console.rules.diagnosis.confirm import Confirmation
from vgpu_console.runtime import Fleet


def read_at(nova: float, libvirt: float) -> tuple[SourceStatus, ...]:
    return (
        SourceStatus(kind="nova", fetched_at=nova),
        SourceStatus(kind="libvirt", host="gpu-01", fetched_at=libvirt),
    )


def finding(id: str = "server-without-device", obj: str = "server web") -> Finding:
    sides = (Evidence("nova", "", "ACTIVE"), Evidence("libvirt", "gpu-01", "no device"))
    return Finding(id=id, severity="fail", object=obj, message="", host="gpu-01", evidence=sides)


def test_a_single_reading_tells_at_once() -> None:
    one = Confirmation()
    assert one.confirmed([finding()], read_at(1, 1)) == (finding(),)
    assert one.confirmed([finding()], read_at(1, 1)) == (finding(),)


def test_what_turns_up_later_waits_until_every_side_has_said_it_again() -> None:
    one = Confirmation()
    assert one.confirmed([], read_at(1, 1)) == ()
    assert one.confirmed([finding()], read_at(6, 11)) == ()
    assert one.confirmed([finding()], read_at(11, 11)) == (), "only Nova was asked again"
    assert one.confirmed([finding()], read_at(16, 21)) == (finding(),)
    assert one.confirmed([finding()], read_at(21, 21)) == (finding(),), "and stays"


def test_what_is_gone_in_between_starts_anew() -> None:
    one = Confirmation()
    one.confirmed([], read_at(1, 1))
    assert one.confirmed([finding()], read_at(6, 11)) == ()
    assert one.confirmed([], read_at(11, 21)) == ()
    assert one.confirmed([finding()], read_at(16, 31)) == ()
    assert one.confirmed([finding()], read_at(21, 41)) == (), "Nova's answer is older than the host's that showed it"
    assert one.confirmed([finding()], read_at(36, 41)) == (finding(),)


def test_each_object_waits_for_itself_and_what_cannot_be_motion_does_not_wait() -> None:
    one = Confirmation()
    one.confirmed([], read_at(1, 1))
    one.confirmed([finding()], read_at(6, 11))
    other, certain = finding(obj="server db"), finding(id="vfs-off")
    assert one.confirmed([finding(), other, certain], read_at(16, 21)) == (finding(), certain)


def test_a_console_that_watches_tells_it_one_reading_later() -> None:
    well, ill = facts_of("well"), facts_of("ill-server-without-device")
    joiner = Joiner(load_catalogue())
    told = [
        {f.id for f in joiner.join(_later(facts, seconds), 1_800_000_000.0 + seconds).findings}
        for seconds, facts in enumerate((well, ill, ill))
    ]
    assert told == [set(), set(), {"server-without-device"}]


def _later(facts: Facts, seconds: float) -> Facts:
    """The same answers, read so much later."""
    statuses = tuple(msgspec.structs.replace(s, fetched_at=(s.fetched_at or 0.0) + seconds) for s in facts.statuses)
    return msgspec.structs.replace(facts, statuses=statuses)


@pytest.mark.parametrize("step_s", [1.3, 3.7, 8.9])
def test_where_servers_come_move_and_go_no_server_is_called_ill(step_s: float) -> None:
    """The sources are read at their own paces while migrations and boots are under way."""
    clock = [1_800_000_000.0]
    fleet = Fleet(Settings(), DemoChoice("small"), clock=lambda: clock[0])
    chapters = (domains.CHAPTER, device_allocations.CHAPTER, mediated_devices.CHAPTER)
    mine = {d.id for chapter in chapters for d in chapter.diagnoses if d.fleeting}
    seen: set[tuple[str, str]] = set()
    statuses: set[str | None] = set()
    try:
        fleet.snapshot(20.0)
        while clock[0] < 1_800_000_000.0 + 400:
            clock[0] += step_s
            fleet.collector.tick()
            version = fleet.collector.version
            while fleet.collector.busy():
                version = fleet.collector.wait(version, 1.0)
            snapshot = fleet.joiner.join(fleet.facts(), clock[0])
            statuses |= {m.status for m in snapshot.migrations} | {s.status for s in snapshot.servers}
            seen |= {(f.id, f.object.split()[1]) for f in snapshot.findings if f.id in mine}
    finally:
        fleet.close()
    assert statuses >= {"running", "completed", "MIGRATING"}
    ill = {("mdev-not-active", "gpu-03"), ("mdev-cannot-start", "gpu-03")}  # from the beginning; the latter while full
    assert seen <= ill
    assert ("mdev-not-active", "gpu-03") in seen
