"""Live migrations as an operator would see them in Nova, Placement and libvirt while the clock moves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError


def start(api: Api, server_id: str, host: str | None, version: str = "2.68") -> Any:
    body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
    return api.call("POST", "compute", f"/servers/{server_id}/action", version, body)


def statuses(api: Api, clock: FakeClock, server_id: str, seconds: float, step: float = 0.25) -> list[str]:
    """The statuses of the newest migration in the order they were seen."""
    seen: list[str] = []
    for _ in range(int(seconds / step)):
        status = api.migrations(server_id)[0]["status"]
        if not seen or seen[-1] != status:
            seen.append(status)
        clock.tick(step)
    return seen


@pytest.fixture
def api(settled: DemoCloud) -> Api:
    """After the scenario's own migration: vm-train-7 is on gpu-01, and gpu-02 has room."""
    return Api(settled)


def test_the_scenario_opens_with_a_migration_under_way_that_completes(cloud: DemoCloud, clock: FakeClock) -> None:
    admin = Api(cloud)
    server = admin.server("vm-train-7")
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"]) == ("MIGRATING", "gpu-02")
    (row,) = admin.get("compute", f"/servers/{server['id']}/migrations", "2.80")["migrations"]
    assert (row["status"], row["source_compute"], row["dest_compute"]) == ("running", "gpu-02", "gpu-01")
    assert 0 < row["memory_remaining_bytes"] < row["memory_total_bytes"]
    clock.tick(10)
    (later,) = admin.get("compute", f"/servers/{server['id']}/migrations", "2.80")["migrations"]
    assert later["memory_remaining_bytes"] < row["memory_remaining_bytes"]
    clock.tick(120)
    assert admin.migrations(server["id"])[0]["status"] == "completed"
    assert admin.server("vm-train-7")["OS-EXT-SRV-ATTR:host"] == "gpu-01"
    assert admin.get("compute", f"/servers/{server['id']}/migrations", "2.80")["migrations"] == []


def test_from_accepted_to_completed(api: Api, clock: FakeClock) -> None:
    server_id = api.server("vm-train-1")["id"]
    assert start(api, server_id, "gpu-02").status_code == 202
    assert statuses(api, clock, server_id, 120) == ["accepted", "queued", "preparing", "running", "completed"]
    assert api.server("vm-train-1")["OS-EXT-SRV-ATTR:host"] == "gpu-02"


def test_usage_counts_twice_while_it_runs_and_the_migration_holds_the_source(api: Api, clock: FakeClock) -> None:
    server = api.server("vm-train-1")
    path = f"/usages?project_id={server['tenant_id']}"
    before = api.get("placement", path, "1.9")["usages"]["VGPU"]
    start(api, server["id"], "gpu-02")
    clock.tick(8)
    assert api.get("placement", path, "1.9")["usages"]["VGPU"] == before + 1
    migration = api.migrations(server["id"])[0]
    names = {}
    for consumer in (server["id"], migration["uuid"]):
        held = api.get("placement", f"/allocations/{consumer}", "1.38")
        assert held["consumer_type"] == "unknown"
        rows = [api.get("placement", f"/resource_providers/{uuid}", "1.39") for uuid in held["allocations"]]
        names[consumer] = {row["name"].partition("_")[0] for row in rows}
    assert names == {server["id"]: {"gpu-02"}, migration["uuid"]: {"gpu-01"}}
    clock.tick(120)
    assert api.get("placement", path, "1.9")["usages"]["VGPU"] == before
    assert api.get("placement", f"/allocations/{migration['uuid']}", "1.38") == {"allocations": {}}


def test_an_aborted_one_leaves_the_server_in_error_on_the_source(api: Api, clock: FakeClock) -> None:
    server = api.server("vm-train-1")
    start(api, server["id"], "gpu-02")
    clock.tick(20)
    migration = api.migrations(server["id"])[0]
    assert migration["status"] == "running"
    answer = api.call("DELETE", "compute", f"/servers/{server['id']}/migrations/{migration['id']}", "2.80")
    assert answer.status_code == 202
    assert statuses(api, clock, server["id"], 10) == ["running", "cancelled", "error"]
    after = api.server("vm-train-1")
    assert (after["status"], after["OS-EXT-SRV-ATTR:host"]) == ("ERROR", "gpu-01")
    held = api.get("placement", f"/allocations/{server['id']}", "1.28")["allocations"]
    rows = [api.get("placement", f"/resource_providers/{uuid}", "1.39")["name"] for uuid in held]
    assert all(name.startswith("gpu-01") for name in rows)
    assert start(api, server["id"], "gpu-02").status_code == 409
    reset = {"os-resetState": {"state": "active"}}
    assert api.call("POST", "compute", f"/servers/{server['id']}/action", "2.68", reset).status_code == 202
    assert start(api, server["id"], "gpu-02").status_code == 202


def test_an_abort_in_the_queue_needs_2_65_and_ends_clean(api: Api, clock: FakeClock) -> None:
    server = api.server("vm-train-1")
    start(api, server["id"], "gpu-02")
    clock.tick(1.1)
    migration = api.migrations(server["id"])[0]
    assert migration["status"] == "queued"
    path = f"/servers/{server['id']}/migrations/{migration['id']}"
    assert api.call("DELETE", "compute", path, "2.64").status_code == 400
    assert api.call("DELETE", "compute", path, "2.65").status_code == 202
    assert statuses(api, clock, server["id"], 10) == ["cancelled"]
    assert api.server("vm-train-1")["status"] == "ACTIVE"


def test_force_complete_pauses_the_guest_and_ends_it_soon(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    server = api.server("vm-train-1")
    start(api, server["id"], "gpu-02")
    clock.tick(10)
    migration = api.migrations(server["id"])[0]
    path = f"/servers/{server['id']}/migrations/{migration['id']}/action"
    assert api.call("POST", "compute", path, "2.80", {"force_complete": None}).status_code == 202
    domain = settled.libvirt("demo://gpu-01/system").lookupByUUIDString(server["id"])
    assert domain.state()[0] == 3
    clock.tick(5)
    assert api.migrations(server["id"])[0]["status"] == "completed"


def test_another_type_at_the_destination_is_told_in_the_events_only(api: Api, clock: FakeClock) -> None:
    """The flavor asks for a trait; without it only the type's check on the destination stands in the way."""
    server = api.server("vm-train-1")
    api.cloud.state.servers[server["id"]].flavor.extra_specs.pop("trait:CUSTOM_A100_20C")
    assert start(api, server["id"], "gpu-05").status_code == 202
    clock.tick(5)
    migration = api.migrations(server["id"])[0]
    assert (migration["status"], migration["dest_compute"]) == ("error", None)
    assert api.server("vm-train-1")["status"] == "ACTIVE"
    actions = api.get("compute", f"/servers/{server['id']}/os-instance-actions", "2.84")["instanceActions"]
    path = f"/servers/{server['id']}/os-instance-actions/{actions[0]['request_id']}"
    events = api.get("compute", path, "2.84")["instanceAction"]["events"]
    said = {event["event"]: event["details"] for event in events if event["result"] == "Error"}
    assert said["compute_check_can_live_migrate_destination"] == (
        "Source mdev types ['nvidia-472'] are not supported by this compute : ['nvidia-232']"
    )


def test_the_old_call_waits_and_tells_no_reason(api: Api) -> None:
    server = api.server("vm-train-1")
    answer = start(api, server["id"], "gpu-03", "2.30")
    assert answer.status_code == 400
    message = answer.json()["badRequest"]["message"]
    assert message == "No valid host was found. There are not enough hosts available."


def test_libvirt_tells_progress_on_the_source_and_the_downtime_on_the_destination(
    api: Api, settled: DemoCloud, clock: FakeClock
) -> None:
    server_id = api.server("vm-train-1")["id"]
    source, target = settled.libvirt("demo://gpu-01/system"), settled.libvirt("demo://gpu-02/system")
    completed: list[dict[str, Any]] = []
    source.domainEventRegisterAny(None, 21, lambda conn, dom, params, opaque: completed.append(params), None)
    start(api, server_id, "gpu-02")
    clock.tick(20)
    api.server("vm-train-1")
    stats = source.lookupByUUIDString(server_id).jobStats()
    assert stats["type"] == 2
    assert 0 < stats["memory_remaining"] < stats["memory_total"]
    with pytest.raises(DemoLibvirtError, match="available only on the source host"):
        target.lookupByUUIDString(server_id).jobStats()
    clock.tick(120)
    api.server("vm-train-1")
    assert source.listAllDomains() == [] or server_id not in {d.UUIDString() for d in source.listAllDomains()}
    done = target.lookupByUUIDString(server_id).jobStats(3)
    assert done["type"] == 3
    assert 0 < done["downtime_net"] < done["downtime"]
    assert [params["downtime"] for params in completed] == [done["downtime"]]


def test_the_source_keeps_its_device_as_a_free_handle(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    server_id = api.server("vm-train-1")["id"]
    host = settled.state.hosts["gpu-01"]
    (uuid,) = host.guests[server_id].mdevs
    start(api, server_id, "gpu-02")
    clock.tick(130)
    api.server("vm-train-1")
    found = host.find_mdev(uuid)
    assert found is not None
    assert found[1].active
    assert uuid not in found[0].claimed
    assert settled.state.hosts["gpu-02"].guests[server_id].mdevs != [uuid]


def test_a_failing_one_rolls_back_and_leaves_error(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    settled.migrations.fault = "destination-dies"
    server_id = api.server("vm-train-1")["id"]
    start(api, server_id, "gpu-02")
    assert statuses(api, clock, server_id, 90)[-3:] == ["running", "failed", "error"]
    after = api.server("vm-train-1")
    assert (after["status"], after["OS-EXT-SRV-ATTR:host"]) == ("ERROR", "gpu-01")
    assert server_id in {d.UUIDString() for d in settled.libvirt("demo://gpu-01/system").listAllDomains()}
    assert server_id not in {d.UUIDString() for d in settled.libvirt("demo://gpu-02/system").listAllDomains()}


def test_a_server_deleted_under_way_leaves_nothing_behind(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    server_id = api.server("vm-train-1")["id"]
    start(api, server_id, "gpu-02")
    clock.tick(20)
    migration = api.migrations(server_id)[0]
    assert api.call("DELETE", "compute", f"/servers/{server_id}").status_code == 204
    clock.tick(20)
    for consumer in (server_id, migration["uuid"]):
        assert api.get("placement", f"/allocations/{consumer}", "1.28") == {"allocations": {}}
    assert all(server_id not in host.guests for host in settled.state.hosts.values())
    assert all(server_id not in gpu.claimed.values() for host in settled.state.hosts.values() for gpu in host.gpus)


def test_libvirts_events_come_in_their_order(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    """As measured with libvirt 9.0: the source's stop, the destination's start, the end, and the figures last."""
    server_id = api.server("vm-train-1")["id"]
    source, target = settled.libvirt("demo://gpu-01/system"), settled.libvirt("demo://gpu-02/system")
    seen: list[tuple[Any, ...]] = []
    for side, connection in (("source", source), ("target", target)):
        for event in (0, 20, 21):

            def tell(_connection: Any, domain: Any, *details: Any, side: str = side, event: int = event) -> None:
                if domain.UUIDString() == server_id:
                    seen.append((clock.now, side, event, *[d for d in details[:-1] if isinstance(d, int)]))

            connection.domainEventRegisterAny(None, event, tell, None)
    start(api, server_id, "gpu-02")
    for _ in range(1000):
        clock.tick(0.1)
        settled.advance()
    assert [entry[1:] for entry in seen] == [
        ("target", 0, 2, 1),
        ("source", 20, 1),
        *[entry[1:] for entry in seen if entry[1:] == ("source", 20, 2)],
        ("source", 0, 3, 1),
        ("source", 20, 3),
        ("target", 0, 4, 1),
        ("source", 0, 5, 3),
        ("source", 21),
    ]
    moments = {entry[1:]: entry[0] for entry in seen}
    stood = moments["target", 0, 4, 1] - moments["source", 0, 3, 1]
    done = target.lookupByUUIDString(server_id).jobStats(3)
    assert abs(stood * 1000 - done["downtime"]) <= 101
    assert done["operation"] == 4


def test_figures_that_are_read_without_keeping_them_are_gone(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    server_id = api.server("vm-train-1")["id"]
    start(api, server_id, "gpu-02")
    clock.tick(130)
    domain = settled.libvirt("demo://gpu-02/system").lookupByUUIDString(server_id)
    assert domain.jobStats(3)["type"] == 3
    assert domain.jobStats(3)["type"] == 3
    assert domain.jobStats(1)["type"] == 3
    assert domain.jobStats(3) == {"type": 0}


def test_an_abort_has_no_figures_and_the_guest_goes_on(api: Api, settled: DemoCloud, clock: FakeClock) -> None:
    server_id = api.server("vm-train-1")["id"]
    source, target = settled.libvirt("demo://gpu-01/system"), settled.libvirt("demo://gpu-02/system")
    seen: list[tuple[int, ...]] = []
    source.domainEventRegisterAny(None, 21, lambda *_: seen.append((21,)), None)
    target.domainEventRegisterAny(None, 0, lambda c, d, event, detail, o: seen.append((event, detail)), None)
    start(api, server_id, "gpu-02")
    clock.tick(20)
    migration = api.migrations(server_id)[0]
    assert (
        api.call("DELETE", "compute", f"/servers/{server_id}/migrations/{migration['id']}", "2.80").status_code == 202
    )
    clock.tick(10)
    settled.advance()
    assert seen == [(2, 1), (5, 5)]
    domain = source.lookupByUUIDString(server_id)
    assert (domain.jobStats(), domain.jobStats(3), domain.state()[0]) == ({"type": 0}, {"type": 0}, 1)
