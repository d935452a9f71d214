"""Placement: provider trees, inventories, allocations, traits, usages, summaries, generations, and who may ask."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.contract.cloud_under_test import PLACEMENT, TEXT, CloudUnderTest, has


def _function(cloud: CloudUnderTest, host: str = "gpu-02") -> dict[str, Any]:
    """A provider of a virtual function that nobody uses."""
    rows = cloud.providers()
    return next(rows[name] for name in sorted(rows) if name.startswith(f"{host}_pci_"))


def _generation(cloud: CloudUnderTest, provider: str) -> int:
    return int(cloud.admin.get("placement", f"/resource_providers/{provider}", PLACEMENT)["generation"])


def test_version_document_needs_no_token(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "placement", "/", token="")
    assert reply.status == 200
    document = reply.body["versions"][0]
    has(document, id=str, min_version=str, max_version=str, status=str, links=list)
    assert (document["min_version"], document["max_version"]) == ("1.0", "1.39")


def test_the_microversion_is_answered_in_a_header(cloud: CloudUnderTest) -> None:
    for version in ("1.14", "1.39"):
        reply = cloud.admin("GET", "placement", "/resource_providers", version=version)
        assert (reply.status, reply.headers["OpenStack-API-Version"]) == (200, f"placement {version}")


def test_a_microversion_beyond_the_newest_is_406(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "placement", "/resource_providers", version="1.99")
    assert reply.status == 406
    has(reply.body["errors"][0], status=int, title=str, detail=str, max_version=str, min_version=str)


def test_providers_are_one_tree_per_host(cloud: CloudUnderTest) -> None:
    body = cloud.admin.get("placement", "/resource_providers", PLACEMENT)
    rows = {row["uuid"]: row for row in body["resource_providers"]}
    for row in rows.values():
        has(row, uuid=str, name=str, generation=int, parent_provider_uuid=TEXT, root_provider_uuid=str, links=list)
    roots = {row["name"] for row in rows.values() if row["parent_provider_uuid"] is None}
    assert roots == {"gpu-01", "gpu-02", "gpu-03"}
    children = [row for row in rows.values() if row["parent_provider_uuid"]]
    for row in children:
        assert row["parent_provider_uuid"] == row["root_provider_uuid"]
        assert row["name"].startswith(rows[row["root_provider_uuid"]]["name"] + "_pci_0000_")
    per_host = {root: sum(row["name"].startswith(f"{root}_") for row in children) for root in roots}
    assert per_host == {"gpu-01": 16, "gpu-02": 16, "gpu-03": 2}


def test_old_microversions_know_no_trees(cloud: CloudUnderTest) -> None:
    row = cloud.admin.get("placement", "/resource_providers", "1.13")["resource_providers"][0]
    assert "root_provider_uuid" not in row


def test_a_tree_and_a_name_can_be_asked_for(cloud: CloudUnderTest) -> None:
    root = cloud.providers()["gpu-03"]
    tree = cloud.admin.get("placement", "/resource_providers", PLACEMENT, in_tree=root["uuid"])["resource_providers"]
    assert {row["root_provider_uuid"] for row in tree} == {root["uuid"]}
    assert len(tree) == 3
    named = cloud.admin.get("placement", "/resource_providers", PLACEMENT, name="gpu-03")["resource_providers"]
    assert [row["uuid"] for row in named] == [root["uuid"]]
    nobody = cloud.admin.get("placement", "/resource_providers", PLACEMENT, in_tree=str(uuid.uuid4()))
    assert nobody["resource_providers"] == []


def test_inventories(cloud: CloudUnderTest) -> None:
    for name, total in (("gpu-02", None), (_function(cloud)["name"], 1), ("gpu-03_pci_0000_82_00_0", 4)):
        row = cloud.providers().get(name) or _function(cloud, "gpu-03")
        body = cloud.admin.get("placement", f"/resource_providers/{row['uuid']}/inventories", PLACEMENT)
        assert body["resource_provider_generation"] == row["generation"]
        for inventory in body["inventories"].values():
            has(inventory, total=int, reserved=int, min_unit=int, max_unit=int, step_size=int)
            has(inventory, allocation_ratio=(int, float))
        if total is None:
            assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= set(body["inventories"])
            continue
        assert set(body["inventories"]) == {"VGPU"}
        vgpu = body["inventories"]["VGPU"]
        assert (vgpu["total"], vgpu["max_unit"], vgpu["reserved"], vgpu["allocation_ratio"]) == (total, total, 0, 1.0)


def test_traits_of_a_provider(cloud: CloudUnderTest) -> None:
    row = _function(cloud)
    body = cloud.admin.get("placement", f"/resource_providers/{row['uuid']}/traits", PLACEMENT)
    has(body, traits=list, resource_provider_generation=int)
    assert "OWNER_NOVA" in body["traits"]
    assert any(trait.startswith("CUSTOM_") for trait in body["traits"])


def test_allocations_by_provider_and_by_consumer(cloud: CloudUnderTest) -> None:
    server = next(
        row
        for row in cloud.admin.get("compute", "/servers/detail", "2.96", all_tenants="1")["servers"]
        if row["name"] == "train-1"
    )
    mine = cloud.admin.get("placement", f"/allocations/{server['id']}", PLACEMENT)
    has(mine, allocations=dict, project_id=str, user_id=str, consumer_generation=int, consumer_type=str)
    assert mine["project_id"] == server["tenant_id"]
    held: dict[str, int] = {}
    names = {row["uuid"]: row["name"] for row in cloud.providers().values()}
    for provider, row in mine["allocations"].items():
        has(row, generation=int, resources=dict)
        held |= row["resources"]
        body = cloud.admin.get("placement", f"/resource_providers/{provider}/allocations", PLACEMENT)
        has(body, allocations=dict, resource_provider_generation=int)
        assert body["allocations"][server["id"]]["resources"] == row["resources"]
        assert ("VGPU" in row["resources"]) == ("_pci_" in names[provider])
    assert held["VGPU"] == 1
    assert held["VCPU"] == 2


def test_an_unknown_consumer_holds_nothing(cloud: CloudUnderTest) -> None:
    assert cloud.admin.get("placement", f"/allocations/{uuid.uuid4()}", PLACEMENT) == {"allocations": {}}


def test_an_unknown_provider_is_404(cloud: CloudUnderTest) -> None:
    for what in ("", "/inventories", "/traits", "/allocations"):
        reply = cloud.admin("GET", "placement", f"/resource_providers/{uuid.uuid4()}{what}", version=PLACEMENT)
        assert reply.status == 404
        has(reply.body["errors"][0], status=int, title=str, detail=str)


def test_usages_of_a_project(cloud: CloudUnderTest) -> None:
    project = cloud.project_id("ml-research")
    flat = cloud.admin.get("placement", "/usages", "1.37", project_id=project)["usages"]
    assert flat["VGPU"] >= 2
    assert set(flat) == {"VCPU", "MEMORY_MB", "DISK_GB", "VGPU"}
    grouped = cloud.admin.get("placement", "/usages", "1.38", project_id=project)["usages"]
    for kind, row in grouped.items():
        has(row, consumer_count=int)
        assert kind == kind.strip()
    assert sum(row["VGPU"] for row in grouped.values()) == flat["VGPU"]
    assert cloud.admin.get("placement", "/usages", "1.37", project_id=cloud.project_id("empty")) == {"usages": {}}


def test_usages_need_a_project(cloud: CloudUnderTest) -> None:
    assert cloud.admin("GET", "placement", "/usages", version="1.37").status == 400


def test_summaries_cover_whole_trees(cloud: CloudUnderTest) -> None:
    """One answer about every provider of every tree: what a first reading is made of."""
    body = cloud.admin.get("placement", "/allocation_candidates", PLACEMENT, resources="MEMORY_MB:1")
    has(body, allocation_requests=list, provider_summaries=dict)
    summaries = body["provider_summaries"]
    rows = {row["uuid"]: row for row in cloud.providers().values()}
    assert set(summaries) == set(rows)
    for provider, summary in summaries.items():
        has(summary, resources=dict, traits=list, parent_provider_uuid=TEXT, root_provider_uuid=str)
        assert summary["root_provider_uuid"] == rows[provider]["root_provider_uuid"]
        for amounts in summary["resources"].values():
            has(amounts, capacity=int, used=int)
    used = sum(s["resources"].get("VGPU", {}).get("used", 0) for s in summaries.values())
    projects = [cloud.project_id(name) for name in ("ml-research", "vdi")]
    usages = [cloud.admin.get("placement", "/usages", "1.37", project_id=p)["usages"]["VGPU"] for p in projects]
    assert used == sum(usages)


def test_summaries_of_one_tree(cloud: CloudUnderTest) -> None:
    root = cloud.providers()["gpu-03"]["uuid"]
    query = {"resources": "MEMORY_MB:1", "in_tree": root}
    body = cloud.admin.get("placement", "/allocation_candidates", PLACEMENT, **query)
    assert {row["root_provider_uuid"] for row in body["provider_summaries"].values()} == {root}
    assert len(body["provider_summaries"]) == 3


def test_a_trait_moves_the_generation(cloud: CloudUnderTest) -> None:
    assert cloud.admin("PUT", "placement", "/traits/CUSTOM_CONTRACT", version=PLACEMENT).status in (201, 204)
    provider = _function(cloud)["uuid"]
    path = f"/resource_providers/{provider}/traits"
    now = cloud.admin.get("placement", path, PLACEMENT)
    generation = now["resource_provider_generation"]
    body = {"traits": [*now["traits"], "CUSTOM_CONTRACT"], "resource_provider_generation": generation}
    put = cloud.admin("PUT", "placement", path, json=body, version=PLACEMENT)
    assert put.status == 200
    assert put.body["resource_provider_generation"] == _generation(cloud, provider) == generation + 1
    stale = cloud.admin("PUT", "placement", path, json=body, version=PLACEMENT)
    assert stale.status == 409
    assert stale.body["errors"][0]["code"] == "placement.concurrent_update"
    body = {"traits": now["traits"], "resource_provider_generation": generation + 1}
    assert cloud.admin("PUT", "placement", path, json=body, version=PLACEMENT).status == 200


def test_a_new_allocation_moves_the_generation_and_its_end_does_not(cloud: CloudUnderTest) -> None:
    before = {row["uuid"]: row["generation"] for row in cloud.providers().values()}
    server = cloud.boot("generation-1")
    held = cloud.admin.get("placement", f"/allocations/{server['id']}", PLACEMENT)["allocations"]
    during = {row["uuid"]: row["generation"] for row in cloud.providers().values()}
    assert held
    assert {u for u, generation in during.items() if generation != before[u]} >= set(held)
    assert all(during[u] > before[u] for u in held)
    cloud.delete(server["id"])
    after = {row["uuid"]: row["generation"] for row in cloud.providers().values()}
    assert {u for u in held if after[u] != during[u]} == set()


def test_inventory_in_use_cannot_be_taken_away(cloud: CloudUnderTest) -> None:
    names = {row["uuid"]: row for row in cloud.providers().values()}
    server = next(
        row
        for row in cloud.admin.get("compute", "/servers/detail", "2.96", all_tenants="1")["servers"]
        if row["name"] == "desk-1"
    )
    held = cloud.admin.get("placement", f"/allocations/{server['id']}", PLACEMENT)["allocations"]
    provider = next(u for u, row in held.items() if "VGPU" in row["resources"])
    reply = cloud.admin("DELETE", "placement", f"/resource_providers/{provider}", version=PLACEMENT)
    assert reply.status == 409
    assert reply.body["errors"][0]["code"] == "placement.resource_provider.inuse"
    assert names[provider]["name"] in cloud.providers()


@pytest.mark.parametrize("path", ["/resource_providers", "/allocation_candidates?resources=VGPU:1", "/traits"])
@pytest.mark.parametrize("who", ["member", "system", "auditor"])
def test_only_administrators_of_a_project_may_ask(cloud: CloudUnderTest, who: str, path: str) -> None:
    reply = getattr(cloud, who)("GET", "placement", path, version=PLACEMENT)
    assert reply.status == 403
    has(reply.body["errors"][0], status=int, title=str, detail=str)


def test_a_member_may_ask_for_its_own_usages(cloud: CloudUnderTest) -> None:
    own = cloud.member.get("placement", "/usages", "1.37", project_id=cloud.project_id("ml-research"))
    assert own["usages"]["VGPU"] >= 2
    other = cloud.member("GET", "placement", "/usages", params={"project_id": cloud.project_id("vdi")}, version="1.37")
    assert other.status == 403
