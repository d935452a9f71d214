"""Nova: services, hypervisors, servers, flavors, quota refusals, live migrations, and who may ask."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.cloud_under_test import COMPUTE, NONE, TEXT, CloudUnderTest, has


def _servers(cloud: CloudUnderTest, **params: str) -> list[dict[str, Any]]:
    return list(cloud.admin.get("compute", "/servers/detail", COMPUTE, all_tenants="1", **params)["servers"])


def _stamp(seconds_from_now: float, now: str) -> str:
    moment = datetime.datetime.fromisoformat(now) + datetime.timedelta(seconds=seconds_from_now)
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def server(cloud: CloudUnderTest) -> Iterator[dict[str, Any]]:
    """A server of ml-research with a vGPU on gpu-01 or gpu-02; deleted afterwards."""
    made = cloud.boot("contract-1")
    yield made
    cloud.until(lambda: not _task(cloud, made["id"]), "the server is at rest")
    cloud.delete(made["id"])


def _task(cloud: CloudUnderTest, server_id: str) -> str | None:
    row = cloud.admin("GET", "compute", f"/servers/{server_id}", version=COMPUTE)
    return None if row.status == 404 else row.body["server"]["OS-EXT-STS:task_state"]


# -- versions ------------------------------------------------------------------------------------------------------


def test_version_document_needs_no_token(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "compute", "/", token="")
    assert reply.status == 200
    document = reply.body["version"]
    has(document, id=str, status=str, version=str, min_version=str, updated=str, links=list)
    assert (document["id"], document["min_version"], document["version"]) == ("v2.1", "2.1", "2.104")


def test_the_microversion_is_answered_in_a_header(cloud: CloudUnderTest) -> None:
    for version in ("2.53", "2.96"):
        reply = cloud.admin("GET", "compute", "/servers", version=version)
        assert (reply.status, reply.headers["OpenStack-API-Version"]) == (200, f"compute {version}")
    assert cloud.admin("GET", "compute", "/servers").headers["OpenStack-API-Version"] == "compute 2.1"


def test_a_microversion_beyond_the_newest_is_406(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "compute", "/servers", version="2.999")
    assert reply.status == 406
    has(reply.body["computeFault"], code=int, message=str)


# -- services and hypervisors --------------------------------------------------------------------------------------


def test_services(cloud: CloudUnderTest) -> None:
    computes = cloud.admin.get("compute", "/os-services", COMPUTE, binary="nova-compute")["services"]
    assert {row["host"] for row in computes} == {"gpu-01", "gpu-02", "gpu-03"}
    for row in computes:
        has(row, id=str, binary=str, host=str, zone=str, status=str, state=str, updated_at=TEXT, disabled_reason=TEXT)
        has(row, forced_down=bool)
        assert uuid.UUID(row["id"])
        assert (row["state"], row["status"]) == ("up", "enabled")


def test_a_service_is_disabled_with_a_reason_and_enabled(cloud: CloudUnderTest) -> None:
    row = cloud.admin.get("compute", "/os-services", COMPUTE, binary="nova-compute", host="gpu-02")["services"][0]
    path = f"/os-services/{row['id']}"
    off = cloud.admin("PUT", "compute", path, json={"status": "disabled", "disabled_reason": "a test"}, version=COMPUTE)
    assert off.status == 200
    assert (off.body["service"]["status"], off.body["service"]["disabled_reason"]) == ("disabled", "a test")
    on = cloud.admin("PUT", "compute", path, json={"status": "enabled"}, version=COMPUTE)
    assert (on.body["service"]["status"], on.body["service"]["disabled_reason"]) == ("enabled", None)


def test_hypervisors(cloud: CloudUnderTest) -> None:
    rows = cloud.admin.get("compute", "/os-hypervisors/detail", "2.88")["hypervisors"]
    assert {row["hypervisor_hostname"] for row in rows} == {"gpu-01", "gpu-02", "gpu-03"}
    for row in rows:
        has(row, id=str, hypervisor_hostname=str, state=str, status=str, host_ip=str, hypervisor_type=str)
        has(row, hypervisor_version=int, service=dict, uptime=TEXT)
        has(row["service"], id=str, host=str, disabled_reason=TEXT)
        assert row["service"]["host"] == row["hypervisor_hostname"]
        assert not {"vcpus", "memory_mb", "running_vms", "cpu_info"} & set(row)
    root = cloud.providers()["gpu-01"]
    assert root["uuid"] == next(row["id"] for row in rows if row["hypervisor_hostname"] == "gpu-01")
    before = cloud.admin.get("compute", "/os-hypervisors/detail", "2.87")["hypervisors"][0]
    has(before, vcpus=int, memory_mb=int, running_vms=int)


# -- servers -------------------------------------------------------------------------------------------------------


def test_servers_of_all_projects(cloud: CloudUnderTest) -> None:
    rows = {row["name"]: row for row in _servers(cloud)}
    assert {"train-1", "train-2", "desk-1"} <= set(rows)
    for row in rows.values():
        has(row, id=str, name=str, status=str, tenant_id=str, user_id=str, created=str, updated=str, locked=bool)
        has(row, OS_EXT_SRV_ATTR__host=TEXT, OS_EXT_SRV_ATTR__hypervisor_hostname=TEXT)
        has(row, OS_EXT_SRV_ATTR__instance_name=str, OS_EXT_STS__vm_state=str, OS_EXT_STS__task_state=TEXT)
        has(row, OS_EXT_STS__power_state=int, flavor=dict, addresses=dict, metadata=dict)
        has(row["flavor"], original_name=str, ram=int, vcpus=int, disk=int, ephemeral=int, swap=int, extra_specs=dict)
    train = rows["train-1"]
    assert train["OS-EXT-SRV-ATTR:host"] in ("gpu-01", "gpu-02")
    assert (train["status"], train["OS-EXT-STS:power_state"]) == ("ACTIVE", 1)
    assert train["flavor"]["original_name"] == "a100-10c"
    assert train["flavor"]["extra_specs"]["resources:VGPU"] == "1"


def test_a_member_sees_its_own_servers_without_their_hosts(cloud: CloudUnderTest) -> None:
    rows = cloud.member.get("compute", "/servers/detail", COMPUTE)["servers"]
    assert {row["tenant_id"] for row in rows} == {cloud.project_id("ml-research")}
    for row in rows:
        assert "OS-EXT-SRV-ATTR:host" not in row
        assert "extra_specs" in row["flavor"]
    other = next(row["id"] for row in _servers(cloud) if row["name"] == "desk-1")
    assert cloud.member("GET", "compute", f"/servers/{other}", version=COMPUTE).status == 404


def test_servers_come_in_pages(cloud: CloudUnderTest) -> None:
    everything = {row["id"] for row in _servers(cloud)}
    seen: list[str] = []
    params: dict[str, str] = {"limit": "1"}
    while True:
        body = cloud.admin.get("compute", "/servers/detail", COMPUTE, all_tenants="1", **params)
        seen += [row["id"] for row in body["servers"]]
        if not body.get("servers_links"):
            break
        assert body["servers_links"][0]["rel"] == "next"
        params["marker"] = seen[-1]
    assert set(seen) == everything
    assert len(seen) == len(everything)


def test_an_unknown_marker_is_400(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "compute", "/servers", params={"marker": str(uuid.uuid4())}, version=COMPUTE)
    assert reply.status == 400
    has(reply.body["badRequest"], code=int, message=str)


def test_changes_since(cloud: CloudUnderTest) -> None:
    made = cloud.boot("changes-1")
    assert [r["id"] for r in _servers(cloud, **{"changes-since": _stamp(3600, made["updated"])})] == []
    since = {"changes-since": _stamp(-1, made["created"])}
    assert made["id"] in {row["id"] for row in _servers(cloud, **since)}
    cloud.delete(made["id"])
    rows = {row["id"]: row["status"] for row in _servers(cloud, **since)}
    assert rows[made["id"]] == "DELETED"
    assert made["id"] not in {row["id"] for row in _servers(cloud)}


def test_an_unknown_server_is_404(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "compute", f"/servers/{uuid.uuid4()}", version=COMPUTE)
    assert reply.status == 404
    has(reply.body["itemNotFound"], code=int, message=str)


def test_flavors(cloud: CloudUnderTest) -> None:
    rows = {r["name"]: r for r in cloud.admin.get("compute", "/flavors/detail", COMPUTE, is_public="None")["flavors"]}
    assert {"a100-10c", "t4-4q", "plain"} <= set(rows)
    for row in rows.values():
        has(row, id=str, name=str, ram=int, vcpus=int, disk=int, extra_specs=dict)
    assert rows["a100-10c"]["extra_specs"]["resources:VGPU"] == "1"
    assert rows["plain"]["extra_specs"] == {}
    assert "extra_specs" not in cloud.admin.get("compute", "/flavors/detail", "2.60")["flavors"][0]


# -- quota ---------------------------------------------------------------------------------------------------------


def test_a_server_over_the_vgpu_limit_is_refused(cloud: CloudUnderTest) -> None:
    project = cloud.project_id("ml-research")
    used = cloud.admin.get("placement", "/usages", "1.37", project_id=project)["usages"]["VGPU"]
    limit = next(
        r
        for r in cloud.system.get("identity", "/limits", project_id=project)["limits"]
        if r["resource_name"] == "class:VGPU"
    )
    path = f"/limits/{limit['id']}"
    assert cloud.system("PATCH", "identity", path, json={"limit": {"resource_limit": used}}).status == 200
    try:
        refused = cloud.create("too-many")
        assert refused.status == 403
        message = refused.body["forbidden"]["message"]
        assert f"class:VGPU is over limit of {used} due to current usage {used} and delta 1" in message
        assert cloud.create("no-gpu", "plain").status == 202
    finally:
        cloud.system("PATCH", "identity", path, json={"limit": {"resource_limit": limit["resource_limit"]}})
        for row in _servers(cloud):
            if row["name"] in ("no-gpu", "too-many"):
                cloud.delete(row["id"])


# -- live migration ------------------------------------------------------------------------------------------------


def _destination(server: dict[str, Any]) -> str:
    return {"gpu-01": "gpu-02", "gpu-02": "gpu-01"}[server["OS-EXT-SRV-ATTR:host"]]


def _migrate(cloud: CloudUnderTest, server: dict[str, Any], host: str | None) -> Any:
    body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
    return cloud.admin("POST", "compute", f"/servers/{server['id']}/action", json=body, version=COMPUTE)


def _rows(cloud: CloudUnderTest, server: dict[str, Any]) -> list[dict[str, Any]]:
    params = {"instance_uuid": server["id"], "migration_type": "live-migration"}
    return list(cloud.admin.get("compute", "/os-migrations", COMPUTE, **params)["migrations"])


def _in_flight(cloud: CloudUnderTest, server: dict[str, Any]) -> list[dict[str, Any]]:
    return list(cloud.admin.get("compute", f"/servers/{server['id']}/migrations", COMPUTE)["migrations"])


def _running(cloud: CloudUnderTest, server: dict[str, Any]) -> dict[str, Any]:
    def running() -> dict[str, Any] | None:
        rows = [r for r in _in_flight(cloud, server) if r["status"] == "running" and r["memory_total_bytes"]]
        return rows[0] if rows else None

    found = cloud.until(running, "the migration runs")
    assert found is not None
    return found


def _ended(cloud: CloudUnderTest, server: dict[str, Any], status: str) -> dict[str, Any]:
    cloud.until(lambda: [r["status"] for r in _rows(cloud, server)] == [status], f"the migration is {status}")
    cloud.until(lambda: not _task(cloud, server["id"]), "the server is at rest")
    return _rows(cloud, server)[0]


def test_a_live_migration_from_request_to_end(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    source, destination = server["OS-EXT-SRV-ATTR:host"], _destination(server)
    assert _rows(cloud, server) == []
    assert _migrate(cloud, server, destination).status == 202
    row = _running(cloud, server)
    has(row, id=int, uuid=str, server_uuid=str, status=str, source_compute=str, dest_compute=str, source_node=str)
    has(row, dest_node=str, dest_host=TEXT, created_at=str, updated_at=TEXT, user_id=str, project_id=str)
    for kind in ("memory", "disk"):
        fields = {f"{kind}_{what}_bytes": int for what in ("total", "processed", "remaining")}
        has(row, **fields)
    assert (row["source_compute"], row["dest_compute"], row["server_uuid"]) == (source, destination, server["id"])
    shown = cloud.admin.get("compute", f"/servers/{server['id']}/migrations/{row['id']}", COMPUTE)["migration"]
    assert (shown["id"], shown["uuid"]) == (row["id"], row["uuid"])
    seen = cloud.server(server["id"])
    assert (seen["status"], seen["OS-EXT-STS:task_state"]) == ("MIGRATING", "migrating")

    listed = _rows(cloud, server)
    assert len(listed) == 1
    has(listed[0], id=int, uuid=str, instance_uuid=str, status=str, migration_type=str, source_compute=str)
    has(listed[0], dest_compute=TEXT, source_node=TEXT, dest_node=TEXT, dest_host=TEXT, created_at=str)
    has(listed[0], updated_at=TEXT, project_id=str, user_id=str, old_instance_type_id=(int, NONE))
    # of whoever started it, which is not the project that its allocation counts for
    assert listed[0]["project_id"] == row["project_id"] == cloud.project_id("admin") != server["tenant_id"]
    assert "memory_total_bytes" not in listed[0]
    assert (listed[0]["id"], listed[0]["uuid"]) == (row["id"], row["uuid"])

    done = _ended(cloud, server, "completed")
    assert done["uuid"] == row["uuid"]
    moved = cloud.server(server["id"])
    assert (moved["OS-EXT-SRV-ATTR:host"], moved["status"]) == (destination, "ACTIVE")
    assert _in_flight(cloud, server) == []
    gone = cloud.admin("GET", "compute", f"/servers/{server['id']}/migrations/{row['id']}", version=COMPUTE)
    assert gone.status == 404


def test_usage_counts_twice_while_it_runs(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    def usage() -> int:
        answer = cloud.admin.get("placement", "/usages", "1.37", project_id=server["tenant_id"])
        return int(answer["usages"]["VGPU"])

    before = usage()
    assert _migrate(cloud, server, _destination(server)).status == 202
    row = _running(cloud, server)
    assert usage() == before + 1
    held = cloud.admin.get("placement", f"/allocations/{row['uuid']}", "1.39")
    assert held["project_id"] == server["tenant_id"]
    roots = {r["uuid"]: r["root_provider_uuid"] for r in cloud.providers().values()}
    source = cloud.providers()[server["OS-EXT-SRV-ATTR:host"]]["uuid"]
    assert {roots[provider] for provider in held["allocations"]} == {source}
    _ended(cloud, server, "completed")
    cloud.until(lambda: usage() == before, "the usage is what it was")


@pytest.mark.parametrize(("call", "ends"), [("confirmResize", "confirmed"), ("revertResize", "reverted")])
def test_a_cold_migration_holds_both_hosts_until_it_is_confirmed_or_reverted(
    cloud: CloudUnderTest, server: dict[str, Any], call: str, ends: str
) -> None:
    def usage() -> int:
        answer = cloud.admin.get("placement", "/usages", "1.37", project_id=server["tenant_id"])
        return int(answer["usages"]["VGPU"])

    def rows() -> list[dict[str, Any]]:
        listed = cloud.admin.get("compute", "/os-migrations", COMPUTE, instance_uuid=server["id"])
        return list(listed["migrations"])

    def act(body: dict[str, Any]) -> int:
        path = f"/servers/{server['id']}/action"
        return int(cloud.admin("POST", "compute", path, json=body, version=COMPUTE).status)

    before, source = usage(), server["OS-EXT-SRV-ATTR:host"]
    assert act({"migrate": None}) == 202
    cloud.until(lambda: cloud.server(server["id"])["status"] == "VERIFY_RESIZE", "it waits for a word")
    (row,) = rows()
    assert (row["migration_type"], row["status"], row["source_compute"]) == ("migration", "finished", source)
    assert _rows(cloud, server) == []  # no live one
    assert _in_flight(cloud, server) == []
    assert usage() == before + 1
    held = cloud.admin.get("placement", f"/allocations/{row['uuid']}", "1.39")
    assert held["project_id"] == server["tenant_id"]
    roots = {r["uuid"]: r["root_provider_uuid"] for r in cloud.providers().values()}
    assert {roots[provider] for provider in held["allocations"]} == {cloud.providers()[source]["uuid"]}
    assert act({call: None}) in (202, 204)
    cloud.until(lambda: [r["status"] for r in rows()] == [ends], f"it is {ends}")
    cloud.until(lambda: usage() == before, "one side is given back")
    cloud.until(lambda: cloud.server(server["id"])["status"] == "ACTIVE", "the server is at rest")
    assert (cloud.server(server["id"])["OS-EXT-SRV-ATTR:host"] == source) is (ends == "reverted")


@pytest.fixture
def slow(cloud: CloudUnderTest) -> Iterator[None]:
    """Migrations that take long enough to be interrupted."""
    cloud.set_migration_seconds(60.0)
    yield
    cloud.set_migration_seconds(6.0)


@pytest.mark.usefixtures("slow")
def test_a_running_migration_is_aborted(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    assert _migrate(cloud, server, _destination(server)).status == 202
    row = _running(cloud, server)
    path = f"/servers/{server['id']}/migrations/{row['id']}"
    assert cloud.admin("DELETE", "compute", path, version=COMPUTE).status == 202
    cloud.until(lambda: _rows(cloud, server)[0]["status"] in ("cancelled", "error"), "it is aborted")
    cloud.until(lambda: not _task(cloud, server["id"]), "the server is at rest")
    assert cloud.server(server["id"])["OS-EXT-SRV-ATTR:host"] == server["OS-EXT-SRV-ATTR:host"]
    again = cloud.admin("DELETE", "compute", path, version=COMPUTE)
    assert again.status == 409


def _action(cloud: CloudUnderTest, server: dict[str, Any], name: str) -> dict[str, Any]:
    """The newest instance action of that name with its events."""
    path = f"/servers/{server['id']}/os-instance-actions"
    rows = [r for r in cloud.admin.get("compute", path, COMPUTE)["instanceActions"] if r["action"] == name]
    found = max(rows, key=lambda r: r["start_time"])
    return dict(cloud.admin.get("compute", f"{path}/{found['request_id']}", COMPUTE)["instanceAction"])


def test_the_events_of_a_live_migration(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    assert _migrate(cloud, server, _destination(server)).status == 202
    _ended(cloud, server, "completed")
    action = _action(cloud, server, "live-migration")
    has(action, request_id=str, action=str, start_time=str, user_id=str, project_id=str, instance_uuid=str)
    assert action["message"] is None
    found = {event["event"]: event for event in action["events"]}
    for event in action["events"]:
        has(event, event=str, start_time=str, finish_time=TEXT, result=TEXT, host=TEXT, details=TEXT, traceback=TEXT)
        has(event, hostId=str)
    names = ["compute_check_can_live_migrate_destination", "compute_check_can_live_migrate_source"]
    names += ["conductor_live_migrate_instance", "compute_live_migration", "compute_pre_live_migration"]
    names += ["compute_post_live_migration_at_destination"]
    assert {name: found[name]["result"] for name in names} == dict.fromkeys(names, "Success")
    source, destination = server["OS-EXT-SRV-ATTR:host"], _destination(server)
    assert found["compute_live_migration"]["host"] == source
    assert found["compute_pre_live_migration"]["host"] == destination
    member = cloud.member.get("compute", f"/servers/{server['id']}/os-instance-actions", COMPUTE)["instanceActions"]
    assert "live-migration" in {row["action"] for row in member}


@pytest.mark.usefixtures("slow")
def test_the_events_of_an_abort(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    """The rollback is an event of the migration's own action, the abort has one of its own."""
    assert _migrate(cloud, server, _destination(server)).status == 202
    row = _running(cloud, server)
    path = f"/servers/{server['id']}/migrations/{row['id']}"
    assert cloud.admin("DELETE", "compute", path, version=COMPUTE).status == 202
    cloud.until(lambda: _rows(cloud, server)[0]["status"] in ("cancelled", "error"), "it is aborted")

    def rolled_back() -> bool:
        events = {e["event"]: e["result"] for e in _action(cloud, server, "live-migration")["events"]}
        assert events["compute_live_migration"] == "Success", "of the submission"
        return events.get("compute_rollback_live_migration_at_destination") == "Success"

    cloud.until(rolled_back, "the rollback is told")
    assert _action(cloud, server, "live_migration_cancel")["start_time"] > row["created_at"]
    cloud.until(lambda: not _task(cloud, server["id"]), "the server is at rest")


def test_a_servers_state_is_reset(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    path = f"/servers/{server['id']}/action"

    def reset(state: str) -> int:
        return int(
            cloud.admin("POST", "compute", path, json={"os-resetState": {"state": state}}, version=COMPUTE).status
        )

    assert reset("error") == 202
    assert cloud.server(server["id"])["status"] == "ERROR"
    refused = _migrate(cloud, server, _destination(server))
    assert refused.status == 409
    assert "while it is in vm_state error" in refused.body["conflictingRequest"]["message"]
    assert reset("active") == 202
    after = cloud.server(server["id"])
    assert (after["status"], after["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    assert reset("happy") == 400
    denied = cloud.member("POST", "compute", path, json={"os-resetState": {"state": "active"}}, version=COMPUTE)
    assert denied.status == 403


def test_a_service_that_does_not_exist_and_a_reason_too_long(cloud: CloudUnderTest) -> None:
    unknown = cloud.admin(
        "PUT", "compute", f"/os-services/{uuid.uuid4()}", json={"status": "disabled"}, version=COMPUTE
    )
    assert unknown.status == 404
    row = cloud.admin.get("compute", "/os-services", COMPUTE, binary="nova-compute", host="gpu-02")["services"][0]
    long = {"status": "disabled", "disabled_reason": "x" * 256}
    assert cloud.admin("PUT", "compute", f"/os-services/{row['id']}", json=long, version=COMPUTE).status == 400
    denied = cloud.member("PUT", "compute", f"/os-services/{row['id']}", json={"status": "disabled"}, version=COMPUTE)
    assert denied.status == 403
    again = cloud.admin.get("compute", "/os-services", COMPUTE, binary="nova-compute", host="gpu-02")["services"][0]
    assert again["status"] == "enabled"


@pytest.mark.usefixtures("slow")
def test_a_server_that_migrates_cannot_be_migrated_again(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    assert _migrate(cloud, server, _destination(server)).status == 202
    row = _running(cloud, server)
    again = _migrate(cloud, server, _destination(server))
    assert again.status == 409
    assert "task_state migrating" in again.body["conflictingRequest"]["message"]
    cloud.admin("DELETE", "compute", f"/servers/{server['id']}/migrations/{row['id']}", version=COMPUTE)


def test_a_host_that_does_not_exist_is_refused(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    reply = _migrate(cloud, server, "gpu-99")
    assert reply.status == 400
    assert "gpu-99" in reply.body["badRequest"]["message"]


def test_migrations_by_status_and_time(cloud: CloudUnderTest, server: dict[str, Any]) -> None:
    assert _migrate(cloud, server, _destination(server)).status == 202
    row = _ended(cloud, server, "completed")

    def listed(**params: str) -> set[str]:
        return {m["uuid"] for m in cloud.admin.get("compute", "/os-migrations", COMPUTE, **params)["migrations"]}

    assert row["uuid"] in listed(status="completed")
    assert row["uuid"] not in listed(status="running")
    created = row["created_at"] + "+00:00"
    assert row["uuid"] in listed(**{"changes-since": _stamp(-1, created)})
    assert row["uuid"] not in listed(**{"changes-since": _stamp(7200, created)})
    assert len(listed(limit="1")) == 1


# -- who may ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/os-services", "/os-hypervisors/detail", "/os-migrations"])
def test_a_member_is_refused(cloud: CloudUnderTest, path: str) -> None:
    reply = cloud.member("GET", "compute", path, version=COMPUTE)
    assert reply.status == 403
    has(reply.body["forbidden"], code=int, message=str)
    assert "Policy doesn't allow" in reply.body["forbidden"]["message"]


def test_a_member_may_not_ask_for_all_projects(cloud: CloudUnderTest) -> None:
    reply = cloud.member("GET", "compute", "/servers/detail", params={"all_tenants": "1"}, version=COMPUTE)
    assert reply.status == 403


@pytest.mark.parametrize("path", ["/os-services", "/os-hypervisors/detail", "/servers/detail", "/os-migrations"])
@pytest.mark.parametrize("who", ["system", "auditor"])
def test_a_system_scoped_token_is_refused(cloud: CloudUnderTest, who: str, path: str) -> None:
    assert getattr(cloud, who)("GET", "compute", path, version=COMPUTE).status == 403
