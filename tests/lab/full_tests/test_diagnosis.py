"""The doctor on real hosts: what real migrations and a real nova-compute leave behind, and nothing while they move."""

from __future__ import annotations

import pytest

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, SOURCE, TYPE, FullLab
from tests.lab.lab import until
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis import allocations, moves, providers, reserved_devices

pytestmark = pytest.mark.timeout(900)

IN_MOTION = {
    d.id
    for chapter in (allocations.CHAPTER, moves.CHAPTER, providers.CHAPTER, reserved_devices.CHAPTER)
    for d in chapter.diagnoses
} | {"usage-leaked"}


def _told(console: FullConsole, diagnosis: str) -> list[Finding]:
    return [f for f in console.look().findings if f.id == diagnosis]


def _one(console: FullConsole, diagnosis: str, timeout_s: float = 30) -> Finding:
    found = until(lambda: _told(console, diagnosis), f"{diagnosis} is told", timeout_s, every_s=3)
    assert len(found) == 1, found
    return found[0]


def test_aborts_leave_a_reserved_device_and_a_server_in_error(
    console: FullConsole, slow_line: None, clean_lab: FullLab
) -> None:
    busy, waiting = clean_lab.boot("busy", image="fast"), clean_lab.boot("waiting")
    clean_lab.forget_devices(DESTINATION)
    assert console.start(busy.id, DESTINATION).ok
    console.until(busy.id, lambda t: t.status == "running", "it runs")
    taken = set(clean_lab.mdevs(DESTINATION))
    assert console.start(waiting.id, DESTINATION).ok
    console.until(waiting.id, lambda t: t.status == "queued", "it waits for the other one")
    until(lambda: set(clean_lab.mdevs(DESTINATION)) - taken, "its device is made", 60)
    (reserved,) = set(clean_lab.mdevs(DESTINATION)) - taken
    assert not [f for f in console.look().findings if f.id in IN_MOTION]

    console.typed("migrate", "abort", waiting.id)
    console.end(waiting.id)
    finding = _one(console, "mdev-may-be-reserved")
    assert (finding.host, finding.severity) == (DESTINATION, "warn")
    assert f"mdev {DESTINATION} {reserved}" in finding.objects
    assert f"server waiting ({waiting.id})" in finding.message
    console.typed("migrate", "abort", busy.id)
    console.end(busy.id)
    error = _one(console, "error-while-guest-runs")
    assert f"is in ERROR, and its guest runs on {SOURCE}" in error.message
    assert error.command == f"vgpu-console migrate reset {busy.id}"
    console.typed(*error.command.split()[1:])
    assert not _told(console, "error-while-guest-runs")
    clean_lab.restart_compute(DESTINATION)  # the reservation would refuse the next migration, too


def test_a_source_that_dies_is_told_before_and_after_it_comes_back(
    console: FullConsole, slow_line: None, clean_lab: FullLab
) -> None:
    server = clean_lab.boot("mover")
    assert console.start(server.id, DESTINATION).ok
    console.until(server.id, lambda t: t.status == "running" and (t.memory_processed or 0) > 0, "memory is sent")
    clean_lab.kill_compute(SOURCE)
    until(lambda: clean_lab.guests(DESTINATION).get(server.id) == 1, "libvirt finishes alone", 120)
    until(lambda: console.compute_state(SOURCE) == "down", "Nova misses the service", 90, every_s=2)
    assert f"its guest is on {DESTINATION} by now" in _one(console, "migration-undriven").message
    assert _one(console, "compute-not-started").host == SOURCE

    clean_lab.restart_compute(SOURCE)
    finding = _one(console, "guest-on-other-host", 180)
    assert f"Nova says {SOURCE}, its guest runs on {DESTINATION}" in finding.message
    leak = _one(console, "usage-leaked")
    assert "openstack resource provider allocation show" in leak.command  # not to be freed while Nova says source
    assert not _told(console, "allocation-on-other-host")
    console.typed("migrate", "heal", server.id)
    # The destination was never told that it is over: its reservation would refuse the next migration.
    clean_lab.clean()
    clean_lab.restart_compute(DESTINATION)


def test_a_cap_below_use_is_told_and_a_server_there_cannot_be_deleted(console: FullConsole, clean_lab: FullLab) -> None:
    first, _ = clean_lab.boot("first"), clean_lab.boot("second")
    option = f"mdev_{TYPE}__max_instances"
    clean_lab.set(SOURCE, **{option: "1"})
    try:
        finding = _one(console, "cap-below-use")
        assert finding.host == SOURCE
        assert "max_instances = 1" in finding.message
        assert "are in use: once nova-compute runs with it" in finding.message
        admin = clean_lab.connect()
        admin.compute.delete_server(first.id)
        until(lambda: admin.compute.get_server(first.id).status == "ERROR", "Nova cannot delete it", 120, every_s=2)
        told = _one(console, "cap-below-use")
        assert f"server first ({first.id})" in told.message
        assert "could not be deleted" in told.message
    finally:
        clean_lab.set(SOURCE, **{option: ""})
