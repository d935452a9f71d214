"""A live migration from the pre-checks to the verified end: the console's downtime is libvirt's own, on both hosts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, SOURCE, TYPE
from tests.lab.full_tests.libvirt_witness import Witness
from vgpu_console.model.migration_job import CompletedJob

pytestmark = pytest.mark.timeout(600)

VERIFIED = ("server", "guest", "allocations", "left", "devices", "source-device")


def test_check_start_follow_measure(console: FullConsole, server: Any, witness: Witness) -> None:
    (before,) = console.lab.held(SOURCE, server.id)
    there = console.lab.mdevs(SOURCE)
    outcome = console.start(server.id, DESTINATION)
    assert outcome.ok, outcome.message
    told = console.end(server.id)
    assert told.end is not None
    assert (told.end.kind, told.end.severity) == ("completed", "ok"), told.end
    assert isinstance(told.measured, CompletedJob), str(told.measured)
    print(
        f"downtime: console {told.downtime_ms} ms ({told.measured.source}), libvirt {witness.downtime_of_source} ms on "
        f"the source and {witness.downtime_of_destination} ms on the destination, heard {witness.stood_still_s:.2f} s; "
        f"Nova took {told.took_s:.1f} s; vfio {told.measured.vfio_bytes} bytes"
    )
    assert told.measured.source == "JOB_COMPLETED event of the source"
    assert told.downtime_ms == witness.downtime_of_source == witness.downtime_of_destination
    assert witness.stood_still_s is not None
    assert told.measured.heard_ms == pytest.approx(witness.stood_still_s * 1000, abs=300)
    # libvirt counts it over the clocks of two hosts, which run apart while their processors are emulated
    apart = console.lab.ahead_s(DESTINATION) - console.lab.ahead_s(SOURCE)
    assert witness.stood_still_s == pytest.approx(told.downtime_ms / 1000 - apart, abs=0.6), f"clocks {apart:.2f} s"
    assert (told.measured.vfio_bytes or 0) > 0
    assert {c.id: c.status for c in told.verified} == {f"verify.{word}": "pass" for word in VERIFIED}
    assert console.lab.guests(DESTINATION) == {server.id: 1}
    assert console.lab.guests(SOURCE) == {}
    assert console.lab.mdevs(SOURCE) == there, "the source keeps its device, free"
    assert before in there
    snapshot = console.look()
    held = [d for d in snapshot.mdevs if d.server_id == server.id]
    assert [(d.host, d.type_id) for d in held] == [(DESTINATION, TYPE)]
    assert held[0].uuid != before


def test_two_vgpus(console: FullConsole) -> None:
    server = console.lab.boot("two", "a100-10c.two")
    outcome = console.start(server.id, DESTINATION)
    assert outcome.ok, outcome.message
    told = console.end(server.id)
    assert told.end is not None
    assert told.end.kind == "completed", told.end
    assert told.downtime_ms is not None
    assert len(console.lab.held(DESTINATION, server.id)) == 2
    assert {c.status for c in told.verified} == {"pass"}
