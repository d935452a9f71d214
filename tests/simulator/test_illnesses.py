"""Each diagnosis has a fleet that is ill of it and of nothing else, and in the well fleet there is nothing to find."""

from __future__ import annotations

import pytest

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.diagnosis.doctor import DIAGNOSES
from vgpu_console.runtime import Fleet
from vgpu_console.simulator.illnesses import ILLNESSES

NOW = 1_800_000_000.0

COMPANIONS: dict[str, frozenset[str]] = {
    # Nova goes on offering the functions that are off: that is why it matters
    "vfs-off": frozenset({"ghost-provider"}),
    # QEMU older than nova-compute wants it is also older than a live migration wants it
    "live-migratable-too-old": frozenset({"qemu-too-old"}),
    # a device that is defined and not active is what Nova counts twice
    "provider-counts-inactive": frozenset({"mdev-not-active"}),
    # the source's nova-compute called the migration an error and gave nothing back
    "guest-on-other-host": frozenset({"usage-leaked"}),
    "server-left-migrating": frozenset({"usage-leaked"}),
    # the nova-compute that drives it is the one that is down
    "migration-undriven": frozenset({"compute-not-started"}),
}
"""What cannot be there without the other: diagnosis -> what is found beside it."""

NOT_MADE: dict[str, str] = {
    "source-stale": "whatever is due is asked again: only a console that was held still shows such a source",
}
"""Diagnoses that no scenario has, each with the reason."""

LATER_S: dict[str, float] = {}
"""Diagnoses that are told only by a later reading: so many seconds after the first one."""


def read(scenario: str, later_s: float = 0.0) -> Snapshot:
    """What the console sees of such a fleet, at once or at a second reading."""
    clock = [NOW]
    fleet = Fleet(Settings(), DemoChoice(scenario), clock=lambda: clock[0])
    try:
        snapshot = fleet.snapshot(20.0)
        if later_s:
            clock[0] += later_s
            fleet.collector.refresh_now()
            fleet.collector.tick()
            seen = fleet.collector.version
            while fleet.collector.busy():
                seen = fleet.collector.wait(seen, 1.0)
                fleet.collector.tick()
            snapshot = fleet.joiner.join(fleet.facts(), clock[0])
        return snapshot
    finally:
        fleet.close()


def test_in_a_well_fleet_nothing_is_found_and_nothing_was_left_out() -> None:
    for later_s in (0.0, 60.0):
        snapshot = read("well", later_s)
        assert snapshot.findings == ()
        assert snapshot.quota_findings == ()
        assert snapshot.unlooked == ()
        assert not snapshot.errors
        assert sum(s.allocated or 0 for s in snapshot.servers) == 7
        assert [m.status for m in snapshot.migrations] == ["completed"]
        assert {g.mechanism for h in snapshot.hosts for g in h.gpus or ()} == {"mdev", "vendor-vfio"}


@pytest.mark.parametrize("diagnosis", [d.id for d in DIAGNOSES if d.id not in NOT_MADE])
def test_a_fleet_is_ill_of_just_one_thing(diagnosis: str) -> None:
    snapshot = read(f"ill-{diagnosis}", LATER_S.get(diagnosis, 0.0))
    found = {finding.id for finding in snapshot.findings}
    assert diagnosis in found
    assert found - {diagnosis} == COMPANIONS.get(diagnosis, frozenset())


def test_a_console_that_was_held_still_finds_stale_sources_alone() -> None:
    clock = [NOW]
    fleet = Fleet(Settings(), DemoChoice("well"), clock=lambda: clock[0])
    try:
        assert fleet.snapshot(20.0).findings == ()
        clock[0] += 3600.0
        held = fleet.joiner.join(fleet.facts(), clock[0])
    finally:
        fleet.close()
    assert {finding.id for finding in held.findings} == {"source-stale"}
    assert {finding.object for finding in held.findings} >= {"nova", "placement", "keystone", "host gpu-01"}
    assert held.unlooked == ()


@pytest.mark.parametrize("diagnosis", sorted(ILLNESSES))
def test_what_is_found_says_enough_to_act_on(diagnosis: str) -> None:
    snapshot = read(f"ill-{diagnosis}", LATER_S.get(diagnosis, 0.0))
    known = {s.key for s in snapshot.sources}
    own = [f for f in snapshot.findings if f.id == diagnosis]
    assert own
    for finding in own:
        assert finding.message
        assert finding.objects[:1] == (finding.object,) or not finding.objects
        if diagnosis in {d.id for d in DIAGNOSES}:
            assert finding.evidence, "which side says so is not told"
            assert finding.why
        assert {e.key for e in finding.evidence} <= known


def test_no_illness_is_there_for_nothing() -> None:
    told = {d.id for d in DIAGNOSES}
    unknown = {
        name for name in ILLNESSES if name not in told and not name.startswith(("limit", "unified", "nova-user"))
    }
    assert not unknown
    assert not NOT_MADE.keys() & ILLNESSES.keys()
    assert COMPANIONS.keys() <= ILLNESSES.keys()
