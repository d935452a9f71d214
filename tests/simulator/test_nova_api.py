"""Nova of the embedded cloud: lists, paging, microversions, boots against quota, services."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import BASE_URL, DemoCloud, open_demo


def boot(api: Api, flavor_name: str, **more: Any) -> Any:
    flavors = api.get("compute", "/flavors/detail", "2.61")["flavors"]
    flavor = next(f for f in flavors if f["name"] == flavor_name)
    body = {"server": {"name": "new", "flavorRef": flavor["id"], "networks": "none", **more}}
    return api.call("POST", "compute", "/servers", "2.96", body)


def test_all_projects_servers_with_their_flavors(admin: Api) -> None:
    servers = admin.get("compute", "/servers/detail?all_tenants=1", "2.96")["servers"]
    assert len(servers) == 19
    train = next(s for s in servers if s["name"] == "vm-train-1")
    assert train["flavor"]["extra_specs"]["resources:VGPU"] == "1"
    assert train["OS-EXT-SRV-ATTR:host"] == "gpu-01"
    failed = next(s for s in servers if s["name"] == "vm-train-9")
    assert (failed["status"], failed["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None)
    assert failed["fault"]["message"].startswith("No valid host was found.")


def test_a_member_sees_the_own_project_and_no_hosts(cloud: DemoCloud) -> None:
    alice = Api(cloud, user="alice", project="ml-research")
    servers = alice.get("compute", "/servers/detail", "2.96")["servers"]
    assert {s["name"] for s in servers} >= {"vm-train-1", "notebook-1"}
    assert all("OS-EXT-SRV-ATTR:host" not in s for s in servers)
    assert alice.call("GET", "compute", "/servers/detail?all_tenants=1").status_code == 403
    assert alice.call("GET", "compute", "/os-services").status_code == 403
    assert alice.call("GET", "compute", "/os-hypervisors/detail").status_code == 403


def test_pages_follow_one_another_until_the_end(admin: Api) -> None:
    seen: list[str] = []
    path = "/servers/detail?all_tenants=1&limit=7"
    pages = 0
    while path:
        body = admin.get("compute", path, "2.96")
        seen += [s["id"] for s in body["servers"]]
        pages += 1
        link = next((row["href"] for row in body.get("servers_links", ()) if row["rel"] == "next"), "")
        path = link.removeprefix(f"{BASE_URL}/compute/v2.1")
    assert pages == 3
    assert len(seen) == len(set(seen)) == 19


@pytest.mark.parametrize(
    ("query", "count"), [("host=gpu-03", 6), ("status=error", 1), ("name=desk", 6), ("host=gpu-99", 0)]
)
def test_filters(admin: Api, query: str, count: int) -> None:
    body = admin.get("compute", f"/servers/detail?all_tenants=1&{query}", "2.96")
    assert len(body["servers"]) == count


def test_changes_since_tells_of_the_deleted_too(settled: DemoCloud, clock: FakeClock) -> None:
    admin = Api(settled)
    server = admin.server("desk-01")
    since = "2099-01-01T00:00:00Z"
    assert admin.get("compute", f"/servers/detail?all_tenants=1&changes-since={since}", "2.96")["servers"] == []
    clock.tick(100)
    since = server["updated"]
    assert admin.call("DELETE", "compute", f"/servers/{server['id']}").status_code == 204
    path = f"/servers/detail?all_tenants=1&changes-since={since}&project_id={server['tenant_id']}&name=desk-01"
    (gone,) = admin.get("compute", path, "2.96")["servers"]
    assert (gone["id"], gone["status"]) == (server["id"], "DELETED")
    assert admin.call("GET", "compute", f"/servers/{server['id']}").status_code == 404
    assert "desk-01" not in {s["name"] for s in admin.get("compute", "/servers/detail?all_tenants=1")["servers"]}


def test_a_boot_takes_an_allocation_and_a_device_and_becomes_active(settled: DemoCloud, clock: FakeClock) -> None:
    rosa = Api(settled, user="rosa", project="students")
    answer = boot(rosa, "desktop.t4-4q")
    assert answer.status_code == 202
    server_id = answer.json()["server"]["id"]
    admin = Api(settled)

    def shown() -> tuple[str, str | None, int]:
        server = admin.get("compute", f"/servers/{server_id}", "2.96")["server"]
        held = admin.get("placement", f"/allocations/{server_id}", "1.38")["allocations"]
        return server["status"], server["OS-EXT-STS:task_state"], len(held)

    assert shown() == ("BUILD", "scheduling", 0)
    clock.tick(1)
    assert shown() == ("BUILD", "spawning", 2)
    clock.tick(10)
    assert shown() == ("ACTIVE", None, 2)
    domain = settled.libvirt("demo://gpu-05/system").lookupByUUIDString(server_id)
    assert "type='mdev'" in domain.XMLDesc()


def test_a_boot_over_the_limit_is_refused_with_oslo_limits_words(settled: DemoCloud) -> None:
    victor = Api(settled, user="victor", project="vdi")  # 6 of 6
    answer = boot(victor, "desktop.a40-8q")
    assert answer.status_code == 403
    assert (
        "Resource class:VGPU is over limit of 6 due to current usage 6 and delta 1"
        in answer.json()["forbidden"]["message"]
    )


def test_a_class_without_a_registered_limit_is_not_refused(settled: DemoCloud) -> None:
    assert boot(Api(settled, user="rosa", project="render"), "render.l40s-12q").status_code == 202


def test_a_boot_onto_ghost_providers_ends_in_error(settled: DemoCloud, clock: FakeClock) -> None:
    """gpu-02's second GPU lost its virtual functions; Placement still offers them."""
    admin = Api(settled)
    ids = [boot(admin, "train.a100-20c", host="gpu-02").json()["server"]["id"] for _ in range(3)]
    clock.tick(60)
    servers = [admin.get("compute", f"/servers/{i}", "2.96")["server"] for i in ids]
    assert "ERROR" in {s["status"] for s in servers}
    failed = next(s for s in servers if s["status"] == "ERROR")
    assert failed["fault"]["message"].startswith("Exceeded maximum number of retries.")
    assert admin.get("placement", f"/allocations/{failed['id']}", "1.28") == {"allocations": {}}


def test_hypervisors_lose_their_capacity_figures_at_2_88(admin: Api) -> None:
    old = admin.get("compute", "/os-hypervisors/detail", "2.87")["hypervisors"][0]
    new = admin.get("compute", "/os-hypervisors/detail", "2.88")["hypervisors"][0]
    assert {"vcpus", "memory_mb", "running_vms", "cpu_info"} <= set(old)
    assert not {"vcpus", "memory_mb", "running_vms", "cpu_info"} & set(new)
    assert {"uptime", "service", "hypervisor_version"} <= set(new)


def test_a_service_is_disabled_with_its_reason_and_enabled_again(admin: Api) -> None:
    services = admin.get("compute", "/os-services?binary=nova-compute", "2.96")["services"]
    assert {s["host"]: s["status"] for s in services}["gpu-06"] == "disabled"
    first = services[0]["id"]
    body = {"status": "disabled", "disabled_reason": "maintenance"}
    answer = admin.call("PUT", "compute", f"/os-services/{first}", "2.96", body)
    assert answer.json()["service"]["disabled_reason"] == "maintenance"
    answer = admin.call("PUT", "compute", f"/os-services/{first}", "2.96", {"status": "enabled"})
    assert (answer.json()["service"]["status"], answer.json()["service"]["disabled_reason"]) == ("enabled", None)


@pytest.mark.parametrize(
    ("service", "path", "version", "status", "said"),
    [
        ("compute", "/servers", "2.104", 200, "compute 2.104"),
        ("compute", "/servers", None, 200, "compute 2.1"),
        ("compute", "/servers", "2.105", 406, None),
        ("compute", "/servers", "banana", 400, None),
        ("placement", "/traits", "1.39", 200, "placement 1.39"),
        ("placement", "/traits", "1.40", 406, None),
    ],
)
def test_microversions_are_negotiated(
    admin: Api, service: str, path: str, version: str | None, status: int, said: str | None
) -> None:
    answer = admin.call("GET", service, path, version)
    assert answer.status_code == status
    assert answer.headers.get("OpenStack-API-Version") == said


def test_an_older_cloud_says_and_speaks_less(clock: FakeClock) -> None:
    cloud = open_demo("small", clock=clock, living=False)
    cloud.state.compute_max = (2, 96)
    admin = Api(cloud)
    assert admin.get("compute", "/")["version"]["version"] == "2.96"
    assert admin.call("GET", "compute", "/servers", "2.100").status_code == 406
