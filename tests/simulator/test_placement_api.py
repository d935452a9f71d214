"""Placement of the embedded cloud: trees, generations, usages by version, candidates, and the errors' shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import DemoCloud


def providers(api: Api, query: str = "") -> dict[str, dict[str, Any]]:
    rows = api.get("placement", f"/resource_providers{query}", "1.39")["resource_providers"]
    return {row["name"]: row for row in rows}


def project_id(api: Api, name: str) -> str:
    return next(str(p["id"]) for p in api.get("identity", "/projects")["projects"] if p["name"] == name)


def test_a_tree_has_the_host_and_its_functions_and_no_gpu_level(admin: Api) -> None:
    root = providers(admin, "?name=gpu-03")["gpu-03"]
    tree = providers(admin, f"?in_tree={root['uuid']}")
    assert len(tree) > 2
    for name, row in tree.items():
        assert row["root_provider_uuid"] == root["uuid"]
        assert row["parent_provider_uuid"] == (None if name == "gpu-03" else root["uuid"])
        assert name == "gpu-03" or name.startswith("gpu-03_pci_0000_41_")
    assert "gpu-03_pci_0000_41_00_0" not in tree  # the physical function carries no vGPU
    assert {link["rel"] for link in root["links"]} == {
        "self",
        "inventories",
        "usages",
        "aggregates",
        "traits",
        "allocations",
    }


def test_a_gpu_without_sriov_is_one_provider_with_its_whole_number(admin: Api) -> None:
    uuid = providers(admin)["gpu-05_pci_0000_41_00_0"]["uuid"]
    inventory = admin.get("placement", f"/resource_providers/{uuid}/inventories", "1.39")["inventories"]
    assert inventory == {
        "VGPU": {
            "total": 4,
            "reserved": 0,
            "min_unit": 1,
            "max_unit": 4,
            "step_size": 1,
            "allocation_ratio": 1.0,
        }
    }
    assert admin.get("placement", f"/resource_providers/{uuid}/usages", "1.39")["usages"] == {"VGPU": 3}


def test_what_is_wrong_with_the_small_fleet_shows_in_placement(settled: DemoCloud) -> None:
    api = Api(settled)
    names = providers(api)
    ghosts = [name for name in names if name.startswith("gpu-02_pci_0000_81_")]
    assert len(ghosts) == 16  # the functions are gone, their providers are not
    assert "gpu-05_pci_0000_81_00_0" not in names  # a device of another size pins that GPU
    capped = [name for name in names if name.startswith("gpu-04_")]
    assert all(name.startswith("gpu-04_pci_0000_41_") for name in capped)  # max_instances strands the second GPU
    assert "gpu-06_0000:41:00.0" in names  # passed-through devices are counted on their physical function


def test_a_defined_device_that_does_not_run_is_counted_twice(cloud: DemoCloud) -> None:
    """Nova adds what exists and what could be created, as long as the GPU is not full."""
    api = Api(cloud)
    uuid = providers(api)["gpu-03_pci_0000_41_04_3"]["uuid"]
    inventory = api.get("placement", f"/resource_providers/{uuid}/inventories", "1.39")["inventories"]
    assert inventory["VGPU"]["total"] == 2


def test_generations_move_with_new_allocations_and_inventories_but_not_with_an_allocations_end(
    settled: DemoCloud, clock: FakeClock
) -> None:
    api = Api(settled)
    before = {name: row["generation"] for name, row in providers(api).items()}
    clock.tick(300)
    assert {name: row["generation"] for name, row in providers(api).items()} == before
    function = "gpu-05_pci_0000_41_00_0"
    rows = providers(api)
    consumer = "/allocations/11111111-2222-4333-8444-555555555555"
    wanted: dict[str, Any] = {
        "allocations": {rows[function]["uuid"]: {"resources": {"VGPU": 1}}},
        "project_id": project_id(api, "vdi"),
        "user_id": "someone",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    assert api.call("PUT", "placement", consumer, "1.38", wanted).status_code == 204
    after = {name: row["generation"] for name, row in providers(api).items()}
    assert {name for name in before if after[name] != before[name]} == {function}
    assert api.call("DELETE", "placement", consumer, "1.38").status_code == 204
    assert {name: row["generation"] for name, row in providers(api).items()} == after
    uuid = providers(api)[function]["uuid"]
    body = api.get("placement", f"/resource_providers/{uuid}/inventories", "1.39")
    stale = body | {"resource_provider_generation": body["resource_provider_generation"] - 1}
    path = f"/resource_providers/{uuid}/inventories"
    answer = api.call("PUT", "placement", path, "1.39", stale)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "placement.concurrent_update")
    body["inventories"]["VGPU"]["reserved"] = 1
    assert api.call("PUT", "placement", path, "1.39", body).status_code == 200
    assert providers(api)[function]["generation"] == after[function] + 1


def test_a_new_device_changes_the_inventories_at_the_next_periodic_update(settled: DemoCloud, clock: FakeClock) -> None:
    """When a GPU has all it can take, the providers of its other functions go away."""
    api = Api(settled)
    free = [n for n in providers(api) if n.startswith("gpu-02_pci_0000_41_")]
    assert len(free) == 16
    connection = settled.libvirt("qemu+ssh://root@gpu-02/system", False)
    connection.nodeDeviceCreateXML(
        "<device><parent>pci_0000_41_01_0</parent><capability type='mdev'><type id='nvidia-472'/>"
        "<uuid>4b20d080-1b54-4048-85b3-a6a62d165c01</uuid></capability></device>"
    )
    assert len([n for n in providers(api) if n.startswith("gpu-02_pci_0000_41_")]) == 16
    clock.tick(61)
    left = [n for n in providers(api) if n.startswith("gpu-02_pci_0000_41_")]
    assert len(left) == 2
    assert "gpu-02_pci_0000_41_01_0" in left


def test_usages_are_grouped_by_consumer_type_from_1_38(admin: Api) -> None:
    path = f"/usages?project_id={project_id(admin, 'vdi')}"
    assert admin.get("placement", path, "1.37")["usages"]["VGPU"] == 6
    grouped = admin.get("placement", path, "1.38")["usages"]
    assert set(grouped) == {"unknown"}
    assert (grouped["unknown"]["VGPU"], grouped["unknown"]["consumer_count"]) == (6, 6)


def test_a_reader_sees_the_own_projects_usage_and_nothing_else(cloud: DemoCloud) -> None:
    victor = Api(cloud, user="victor", project="vdi")
    own = victor.token["project"]["id"]
    assert victor.get("placement", f"/usages?project_id={own}", "1.9")["usages"]["VGPU"] == 6
    other = project_id(Api(cloud), "render")
    assert victor.call("GET", "placement", f"/usages?project_id={other}", "1.9").status_code == 403
    assert victor.call("GET", "placement", "/resource_providers", "1.39").status_code == 403


def test_allocations_are_written_with_the_consumers_generation(admin: Api) -> None:
    uuid = providers(admin)["gpu-05_pci_0000_41_00_0"]["uuid"]
    consumer = "11111111-2222-4333-8444-555555555555"
    path = f"/allocations/{consumer}"
    body: dict[str, Any] = {
        "allocations": {uuid: {"resources": {"VGPU": 1}}},
        "project_id": project_id(admin, "vdi"),
        "user_id": "someone",
        "consumer_generation": 1,
        "consumer_type": "INSTANCE",
    }
    assert admin.call("PUT", "placement", path, "1.38", body).status_code == 409
    body["consumer_generation"] = None
    assert admin.call("PUT", "placement", path, "1.38", body).status_code == 204
    held = admin.get("placement", path, "1.38")
    assert (held["consumer_generation"], held["consumer_type"]) == (1, "INSTANCE")
    body["consumer_generation"] = 1
    body["allocations"][uuid]["resources"]["VGPU"] = 2  # only one was left
    answer = admin.call("PUT", "placement", path, "1.38", body)
    assert answer.status_code == 409
    assert "would exceed the capacity" in answer.json()["errors"][0]["detail"]
    empty = body | {"allocations": {}}
    assert admin.call("PUT", "placement", path, "1.38", empty).status_code == 204
    assert admin.get("placement", path, "1.38") == {"allocations": {}}


def test_a_provider_in_use_cannot_be_deleted(admin: Api) -> None:
    uuid = providers(admin)["gpu-05_pci_0000_41_00_0"]["uuid"]
    answer = admin.call("DELETE", "placement", f"/resource_providers/{uuid}", "1.39")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["code"] == "placement.resource_provider.inuse"


def test_candidates_name_the_whole_tree_with_its_room(settled: DemoCloud) -> None:
    api = Api(settled)
    root = providers(api, "?name=gpu-05")["gpu-05"]["uuid"]
    body = api.get("placement", f"/allocation_candidates?resources=VGPU:1,VCPU:2&in_tree={root}", "1.39")
    (row,) = body["allocation_requests"]
    resources = {k: v for part in row["allocations"].values() for k, v in part["resources"].items()}
    assert resources == {"VGPU": 1, "VCPU": 2}
    summary = body["provider_summaries"]
    assert set(summary) == {r["uuid"] for r in providers(api, f"?in_tree={root}").values()}
    gpu = next(s for s in summary.values() if "VGPU" in s["resources"])
    assert gpu["resources"]["VGPU"] == {"capacity": 4, "used": 3}
    assert (gpu["parent_provider_uuid"], gpu["root_provider_uuid"]) == (root, root)
    assert "CUSTOM_T4_4Q" in gpu["traits"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("resources=VGPU:1&required=CUSTOM_T4_4Q", {"gpu-05"}),
        ("resources=VGPU:1&required=CUSTOM_NOWHERE", set()),
        ("resources=VGPU:2&required=CUSTOM_A100_20C", set()),  # one from each function at most
        ("resources1=VGPU:1&resources2=VGPU:1&required1=CUSTOM_A40_8Q&group_policy=none", {"gpu-03"}),
        ("resources=CUSTOM_L40S_12Q:1", {"gpu-06"}),
    ],
)
def test_candidates_by_trait_and_group(cloud: DemoCloud, query: str, found: set[str]) -> None:
    api = Api(cloud)
    names = {row["uuid"]: row["name"] for row in providers(api).values()}
    if "resources1" in query:
        root = providers(api, "?name=gpu-03")["gpu-03"]["uuid"]
        query += f"&in_tree={root}"
    body = api.get("placement", f"/allocation_candidates?{query}&limit=50", "1.39")
    hosts = {names[u].partition("_")[0] for row in body["allocation_requests"] for u in row["allocations"]}
    assert hosts == found
    assert len(body["allocation_requests"]) <= 50


def test_several_numbered_groups_need_a_policy(admin: Api) -> None:
    answer = admin.call("GET", "placement", "/allocation_candidates?resources1=VGPU:1&resources2=VGPU:1", "1.39")
    assert answer.status_code == 400
    assert "group_policy" in answer.json()["errors"][0]["detail"]


def test_an_unknown_provider_is_404_in_placements_shape(admin: Api) -> None:
    answer = admin.call("GET", "placement", "/resource_providers/nowhere/inventories", "1.39")
    assert answer.status_code == 404
    assert set(answer.json()["errors"][0]) == {"status", "title", "detail", "request_id", "code"}
