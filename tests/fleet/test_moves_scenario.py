"""The demo's fleet for moving servers: one can go, and one host is there to be refused."""

from __future__ import annotations

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.runtime import Fleet


def test_a_server_can_go_to_two_hosts_and_not_to_the_third() -> None:
    fleet = Fleet(Settings(), DemoChoice("moves"))
    try:
        snapshot = fleet.snapshot(20.0)
        server = next(s for s in snapshot.servers if s.name == "vm-train-1")
        found = fleet.precheck(server.id, snapshot=snapshot)
    finally:
        fleet.close()
    assert {d.host: d.verdict for d in found.candidates} == {"gpu-02": "warn", "gpu-03": "warn", "gpu-04": "fail"}
    assert found.chosen is not None
    open_checks = [c.id for c in found.chosen.checks if c.status != "pass"]
    assert open_checks == ["migrate.dirty-tracking"]
