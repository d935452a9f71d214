"""Every way in which a migration ends otherwise, made to happen: what the console says of it, and its repair."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, SOURCE, FullLab
from tests.lab.full_tests.libvirt_witness import Witness
from tests.lab.lab import until
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Timeline

pytestmark = pytest.mark.timeout(900)

OTHER_TYPE = "nvidia-472"


@pytest.fixture
def busy_server(slow_line: None, clean_lab: FullLab) -> Any:
    """A server whose guest writes faster than the slow line carries: its migration does not end by itself."""
    return clean_lab.boot("busy", image="fast")


@pytest.fixture
def busy_witness(clean_lab: FullLab, busy_server: Any) -> Iterator[Witness]:
    made = Witness(clean_lab, busy_server.id)
    yield made
    made.close()


def running(console: FullConsole, server_id: str) -> Timeline:
    """Start it and wait until memory goes over the line."""
    outcome = console.start(server_id, DESTINATION)
    assert outcome.ok, outcome.message
    return console.until(server_id, lambda t: t.status == "running" and (t.memory_processed or 0) > 0, "memory is sent")


def in_error_on_source(console: FullConsole, server_id: str) -> None:
    """The server is in ERROR, though its guest never stopped."""
    found = console.server(server_id)
    assert (found.host, found.status) == (SOURCE, "ERROR")
    assert console.lab.guests(SOURCE)[server_id] == 1
    assert server_id not in console.lab.guests(DESTINATION)


def reset(console: FullConsole, server_id: str, told: Timeline) -> None:
    """What the story offers: the state is set back, since libvirt says that the guest runs."""
    assert told.end is not None
    assert "migrate.reset" in [m.action for m in told.end.mends]
    console.typed("migrate", "reset", server_id)
    assert console.server(server_id).status == "ACTIVE"


def test_aborted_while_running(console: FullConsole, busy_server: Any) -> None:
    running(console, busy_server.id)
    console.typed("migrate", "abort", busy_server.id)
    told = console.end(busy_server.id)
    assert told.end is not None
    assert told.end.kind == "aborted", told.end
    assert isinstance(told.measured, NotMeasured)
    in_error_on_source(console, busy_server.id)
    reset(console, busy_server.id, told)


def test_destination_dies_and_a_second_try_completes(console: FullConsole, slow_line: None, server: Any) -> None:
    running(console, server.id)
    console.lab.run(DESTINATION, "pkill -KILL -x qemu-system-x86")
    told = console.end(server.id)
    assert told.end is not None
    assert told.end.kind == "destination-died", told.end
    in_error_on_source(console, server.id)
    reset(console, server.id, told)
    assert console.start(server.id, DESTINATION).ok
    again = console.until(server.id, lambda t: t.settled and t.migration != told.migration, "the second end")
    assert again.end is not None
    assert again.end.kind == "completed", again.end
    assert isinstance(again.measured, CompletedJob)


def test_forced_to_its_end(console: FullConsole, busy_server: Any, busy_witness: Witness) -> None:
    running(console, busy_server.id)
    console.typed("migrate", "force-complete", busy_server.id)
    told = console.end(busy_server.id)
    assert told.end is not None
    assert told.end.kind == "forced", told.end
    print(f"forced: console {told.downtime_ms} ms, libvirt {busy_witness.downtime_of_source} ms")
    assert told.downtime_ms == busy_witness.downtime_of_source == busy_witness.downtime_of_destination
    assert (told.downtime_ms or 0) > 2000


def test_refused_by_qemu(console: FullConsole) -> None:
    """QEMU without ``enable-migration``: it blocks migrations of a guest whose memory nobody can track."""
    console.lab.run(SOURCE, "touch /run/no-vfio-migration")
    try:
        server = console.lab.boot("fixed")
    finally:
        console.lab.run(SOURCE, "rm /run/no-vfio-migration")
    assert console.start(server.id, DESTINATION).ok
    told = console.end(server.id)
    assert told.end is not None
    assert told.end.kind == "refused-by-qemu", told.end
    in_error_on_source(console, server.id)
    reset(console, server.id, told)


def test_device_that_cannot_be_migrated(console: FullConsole) -> None:
    """A driver without live migration: QEMU that is told to insist on it does not even start the guest."""
    console.lab.forget_devices(SOURCE)
    console.lab.set(SOURCE, module__migratable="N")
    try:
        with pytest.raises(AssertionError, match="vfio-pci"):
            console.lab.boot("fixed")
    finally:
        console.lab.set(SOURCE, module__migratable="Y")
        console.lab.clean()
        console.lab.forget_devices(SOURCE)


def test_post_copy_is_refused_by_the_checks_and_by_qemu(console: FullConsole, server: Any) -> None:
    """Nova asks nobody, and QEMU moves no mediated device with it: somebody else begins it all the same."""
    console.lab.set(SOURCE, libvirt__live_migration_permit_post_copy="true")
    try:
        checked = console.check(server.id, DESTINATION).chosen
        assert checked is not None
        assert checked.verdict == "fail"
        assert [c.id for c in checked.checks if c.status == "fail"] == ["migrate.post-copy"]
        console.followers.follow(console.subject(server.id, destination=DESTINATION))
        console.ask_nova(server.id, DESTINATION)
        told = console.end(server.id)
        assert told.end is not None
        assert told.end.kind == "refused-by-qemu", told.end
        assert f"live_migration_permit_post_copy is on at {SOURCE}" in told.end.explanation
        in_error_on_source(console, server.id)
        reset(console, server.id, told)
    finally:
        console.lab.set(SOURCE, libvirt__live_migration_permit_post_copy="")


def test_wrong_type_is_refused_by_the_checks_and_by_nova(console: FullConsole, server: Any) -> None:
    console.lab.forget_devices(DESTINATION)
    console.lab.set(DESTINATION, devices__enabled_mdev_types=OTHER_TYPE)
    try:
        checked = console.check(server.id, DESTINATION).chosen
        assert checked is not None
        assert checked.verdict == "fail"
        assert "nvidia-471" in checked.reason, checked.reason
        console.followers.follow(console.subject(server.id, destination=DESTINATION))
        console.ask_nova(server.id, DESTINATION)
        told = console.end(server.id)
        assert told.end is not None
        assert told.end.kind == "refused", told.end
        assert "nvidia-471" in told.end.explanation, told.end.explanation
        assert (console.server(server.id).status, console.lab.guests(SOURCE)[server.id]) == ("ACTIVE", 1)
    finally:
        console.lab.set(DESTINATION, devices__enabled_mdev_types="")


def test_aborted_in_the_queue_and_the_device_that_stays_reserved(
    console: FullConsole, slow_line: None, busy_server: Any
) -> None:
    waiting = console.lab.boot("waiting")
    console.lab.forget_devices(DESTINATION)
    running(console, busy_server.id)
    taken = set(console.lab.mdevs(DESTINATION))
    assert console.start(waiting.id, DESTINATION).ok
    console.until(waiting.id, lambda t: t.status == "queued", "it waits for the other one")
    until(lambda: set(console.lab.mdevs(DESTINATION)) - taken, "its device is made", 60)
    console.typed("migrate", "abort", waiting.id)
    told = console.end(waiting.id)
    assert told.end is not None
    assert told.end.kind == "aborted-queued", told.end
    assert (console.server(waiting.id).status, console.lab.guests(SOURCE)[waiting.id]) == ("ACTIVE", 1)
    (leaked,) = set(console.lab.mdevs(DESTINATION)) - taken
    assert any(leaked in line.text for line in told.end.evidence), told.end.evidence
    console.typed("migrate", "abort", busy_server.id)
    console.end(busy_server.id)

    pinned = console.lab.flavor_on(DESTINATION, console.lab.mdevs(DESTINATION)[leaked])
    with pytest.raises(AssertionError, match="mdev-capable resource is not available"):
        console.lab.boot("blocked", pinned, host=DESTINATION)
    console.lab.restart_compute(DESTINATION)
    console.lab.boot("healed", pinned, host=DESTINATION)


def test_source_compute_dies_and_the_guest_is_where_nova_does_not_look(
    console: FullConsole, slow_line: None, server: Any, witness: Witness
) -> None:
    running(console, server.id)
    console.lab.kill_compute(SOURCE)
    until(lambda: console.lab.guests(DESTINATION).get(server.id) == 1, "libvirt finishes alone", 120)
    until(lambda: console.compute_state(SOURCE) == "down", "Nova misses the service", 90, every_s=2)
    console.look()
    alone = console.until(server.id, lambda t: t.story and t.story.kind == "source-compute-down", "it is told", 60)
    assert alone.status == "running"
    console.lab.restart_compute(SOURCE)
    console.look()
    told = console.end(server.id)
    assert told.end is not None
    assert (told.end.kind, told.end.severity) == ("split-brain", "fail"), told.end
    assert told.downtime_ms == witness.downtime_of_source
    assert console.server(server.id).host == SOURCE
    assert SOURCE in next(c.evidence for c in told.verified if c.id == "verify.left")

    _tell_nova(console, server.id, DESTINATION)
    console.lab.restart_compute(DESTINATION)
    row = console.row(server.id)
    console.typed("migrate", "heal", server.id)
    assert console.reader.consumer(row.uuid).holds == ()
    until(lambda: console.server(server.id).power_state == 1, "Nova sees it run", 120, every_s=2)
    assert (console.server(server.id).host, console.server(server.id).status) == (DESTINATION, "ACTIVE")


def _tell_nova(console: FullConsole, server_id: str, host: str) -> None:
    """The repair that the story names: where the server is, in the database of its cell."""
    with sqlite3.connect(console.lab.home / "nova" / "nova_cell1.db", timeout=30) as database:
        (node,) = database.execute("select id from compute_nodes where host = ? and deleted = 0", (host,)).fetchall()
        database.execute(
            "update instances set host = ?, node = ?, compute_id = ? where uuid = ?", (host, host, node[0], server_id)
        )
