"""Every way a migration can go wrong, as Nova's API, Placement and libvirt show it: what a fully real cloud did."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from tests.simulator.test_live_migration import start
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.simulator.state import Migration


class Ended:
    """One migration of vm-train-1 from gpu-01 to gpu-02, from its request on."""

    def __init__(self, cloud: DemoCloud, clock: FakeClock, fault: Any = None) -> None:
        self.cloud, self.clock, self.api = cloud, clock, Api(cloud)
        cloud.state.migration_seconds = 20.0
        cloud.migrations.fault = fault
        self.id: str = self.api.server("vm-train-1")["id"]
        self.statuses: list[str] = []
        assert start(self.api, self.id, "gpu-02").status_code == 202

    @property
    def row(self) -> dict[str, Any]:
        return self.api.migrations(self.id)[0]

    @property
    def server(self) -> dict[str, Any]:
        return self.api.server("vm-train-1")

    @property
    def demo(self) -> Migration:
        return self.cloud.state.migrations[self.row["id"]]

    def pass_time(self, seconds: float, until: str = "") -> Ended:
        for _ in range(int(seconds * 4)):
            status = self.row["status"]
            if not self.statuses or self.statuses[-1] != status:
                self.statuses.append(status)
            if status == until:
                break
            self.clock.tick(0.25)
        return self

    def ask(self, method: str, tail: str = "", body: Any = None) -> int:
        path = f"/servers/{self.id}/migrations/{self.row['id']}{tail}"
        return self.api.call(method, "compute", path, "2.80", body).status_code

    def events(self) -> dict[str, str]:
        actions = self.api.get("compute", f"/servers/{self.id}/os-instance-actions", "2.84")["instanceActions"]
        one = next(a for a in actions if a["action"] == "live-migration")
        path = f"/servers/{self.id}/os-instance-actions/{one['request_id']}"
        whole = self.api.get("compute", path, "2.84")["instanceAction"]
        return {e["event"]: e["result"] for e in whole["events"]}

    def hosts(self, consumer: str) -> set[str]:
        held = self.api.get("placement", f"/allocations/{consumer}", "1.28")["allocations"]
        names = [self.api.get("placement", f"/resource_providers/{uuid}", "1.39")["name"] for uuid in held]
        return {name.partition("_")[0] for name in names}

    def guest(self, host: str) -> int | None:
        """libvirt's state of the guest there; None where there is no such domain."""
        try:
            return self.cloud.libvirt(f"demo://{host}/system").lookupByUUIDString(self.id).state()[0]
        except DemoLibvirtError:
            return None


ROLLBACK = "compute_rollback_live_migration_at_destination"


@pytest.mark.parametrize("fault", ["destination-dies", "qemu-refuses"])
@pytest.mark.parametrize("raises", [True, False])
def test_a_failure_leaves_error_where_nova_raises(
    settled: DemoCloud, clock: FakeClock, fault: str, raises: bool
) -> None:
    settled.migrations.raises = raises
    one = Ended(settled, clock, fault).pass_time(50)
    assert one.statuses[-2 if raises else -1 :] == (["failed", "error"] if raises else ["failed"])
    assert (one.server["status"], one.server["OS-EXT-SRV-ATTR:host"]) == ("ERROR" if raises else "ACTIVE", "gpu-01")
    assert "fault" not in one.server
    assert (one.guest("gpu-01"), one.guest("gpu-02")) == (1, None)
    assert (one.hosts(one.id), one.hosts(one.row["uuid"])) == ({"gpu-01"}, set())
    assert one.events()["compute_live_migration"] == "Success"
    assert one.events()[ROLLBACK] == "Success"
    assert one.guest("gpu-01") == 1


def test_the_fault_in_error_is_the_earlier_refusals(settled: DemoCloud, clock: FakeClock) -> None:
    api = Api(settled)
    server = api.server("vm-train-1")
    flavor = settled.state.servers[server["id"]].flavor
    trait = flavor.extra_specs.pop("trait:CUSTOM_A100_20C")
    start(api, server["id"], "gpu-05")
    clock.tick(10)
    refused = api.migrations(server["id"])[0]
    flavor.extra_specs["trait:CUSTOM_A100_20C"] = trait
    one = Ended(settled, clock, "destination-dies").pass_time(50)
    fault = one.server["fault"]
    assert fault["message"] == "No valid host was found. There are not enough hosts available."
    assert fault["created"] < one.row["created_at"]
    assert one.row["id"] > refused["id"]


def test_the_events_of_an_abort_are_of_the_migration_it_ends(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock).pass_time(20, "running")
    assert one.ask("DELETE") == 202
    one.pass_time(10)
    assert one.statuses[-3:] == ["running", "cancelled", "error"]
    assert one.events()[ROLLBACK] == "Success"
    actions = one.api.get("compute", f"/servers/{one.id}/os-instance-actions", "2.84")["instanceActions"]
    assert [a["action"] for a in actions[:2]] == ["live_migration_cancel", "live-migration"]


def test_an_abort_in_the_queue_leaves_the_device_reserved_until_a_restart(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock).pass_time(5, "queued")
    assert one.ask("DELETE") == 202
    one.pass_time(5)
    assert (one.statuses[-1], one.server["status"]) == ("cancelled", "ACTIVE")
    assert {"compute_pre_live_migration", ROLLBACK} & set(one.events()) == set()
    (reserved,) = one.demo.devices.values()
    host = settled.state.hosts["gpu-02"]
    found = host.find_mdev(reserved)
    assert found is not None
    assert found[1].active
    assert reserved in found[0].claimed
    assert (one.hosts(one.id), one.hosts(one.row["uuid"])) == ({"gpu-01"}, set())
    settled.migrations.restart_destination(host)
    assert reserved not in found[0].claimed


def test_an_abort_while_it_is_prepared_is_rolled_back_without_an_error(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock).pass_time(10, "preparing")
    assert one.ask("DELETE") == 202
    one.pass_time(10)
    assert (one.statuses[-1], one.server["status"], one.guest("gpu-02")) == ("cancelled", "ACTIVE", None)
    assert one.events()[ROLLBACK] == "Success"


def test_a_dead_nova_compute_leaves_the_guest_where_nova_does_not_look(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "source-compute-dies").pass_time(60)
    assert one.statuses[-1] == "running"
    assert (one.server["status"], one.server["OS-EXT-SRV-ATTR:host"]) == ("MIGRATING", "gpu-01")
    assert (one.guest("gpu-01"), one.guest("gpu-02")) == (None, 1)
    services = one.api.get("compute", "/os-services?binary=nova-compute&host=gpu-01", "2.80")["services"]
    assert services[0]["state"] == "down"
    assert one.ask("DELETE") == 202, "the message waits"
    one.pass_time(10)
    assert one.row["status"] == "running"
    settled.migrations.restart_compute(settled.state.hosts["gpu-01"])
    assert one.row["status"] == "error"
    server = one.server
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:power_state"]) == (
        "ACTIVE",
        "gpu-01",
        0,
    )
    assert (one.hosts(one.id), one.hosts(one.row["uuid"])) == ({"gpu-02"}, {"gpu-01"})
    done = settled.libvirt("demo://gpu-02/system").lookupByUUIDString(one.id).jobStats(3)
    assert done["downtime"] == one.demo.downtime_ms


def test_tidying_up_that_fails_leaves_the_sources_allocations(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "post-fails").pass_time(60)
    assert one.statuses[-2:] == ["running", "error"]
    assert (one.server["status"], one.server["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "gpu-02")
    assert (one.hosts(one.id), one.hosts(one.row["uuid"])) == ({"gpu-02"}, {"gpu-01"})


def job(one: Ended) -> dict[str, Any]:
    return one.cloud.libvirt("demo://gpu-01/system").lookupByUUIDString(one.id).jobStats()


def test_a_job_that_stands_still(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "stuck").pass_time(40)
    before = job(one)
    clock.tick(30)
    after = job(one)
    assert (before["memory_bps"], before["memory_processed"]) == (0, after["memory_processed"])
    assert (one.row["status"], one.guest("gpu-01")) == ("running", 1)


def test_a_guest_that_writes_faster_than_it_is_sent(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "never-converges").pass_time(40)
    before = job(one)
    clock.tick(40)
    after = job(one)
    assert after["memory_iteration"] >= before["memory_iteration"] + 9
    assert after["memory_processed"] > before["memory_processed"]
    assert after["memory_remaining"] > 0.2 * after["memory_total"]
    assert after["memory_dirty_rate"] * 4096 > after["memory_bps"]
    assert one.ask("POST", "/action", {"force_complete": None}) == 202
    assert one.guest("gpu-01") == 3
    assert one.pass_time(20).statuses[-1] == "completed"


def test_nova_says_running_and_libvirt_has_no_job(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "no-job").pass_time(60)
    assert (one.row["status"], job(one)) == ("running", {"type": 0})


def test_a_guest_that_dies(settled: DemoCloud, clock: FakeClock) -> None:
    one = Ended(settled, clock, "guest-dies").pass_time(60)
    assert (one.statuses[-1], one.guest("gpu-01"), one.guest("gpu-02")) == ("error", 5, None)
    assert one.server["OS-EXT-STS:power_state"] == 4
