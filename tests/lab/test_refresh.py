"""A refresh costs a handful of requests when nothing moved, and sees each thing that did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.lab import SRIOV_TYPE, Lab, until
from tests.lab.lab_fleet import LabFleet
from vgpu_console.model.placement import PlacementFacts

pytestmark = pytest.mark.lab


def _placement(fleet: LabFleet) -> PlacementFacts:
    facts = fleet.read()
    assert [(s.key, s.error) for s in facts.statuses if s.error] == []
    assert facts.placement is not None
    return facts.placement


def _requests_seen_by_services(lab: Lab) -> Counter[str]:
    """How many requests of the console each service has received: counted on their side of the wire."""
    seen: Counter[str] = Counter()
    for service in ("identity", "compute", "placement"):
        for line in (lab.home / "log" / f"{service}.requests").read_text().splitlines():
            method, path, agent = line.split("\t")
            if "vgpu-console" in agent:
                seen[f"{service} {method} {path}"] += 1
    return seen


def test_unchanged_refresh_takes_at_most_ten_requests(lab: Lab, fleet: LabFleet) -> None:
    first = fleet.read()
    fleet.read()
    before = _requests_seen_by_services(lab)
    again = fleet.read()
    made = _requests_seen_by_services(lab) - before
    assert 3 <= made.total() <= 10, made
    assert made.total() == fleet.http_requests()
    assert again.placement is not None
    assert first.placement is not None
    assert {p.uuid for p in again.placement.providers} == {p.uuid for p in first.placement.providers}


def test_unchanged_refresh_hands_back_the_same_facts(fleet: LabFleet) -> None:
    first = fleet.read()
    again = fleet.read()
    assert first.nova is not None
    assert again.nova is not None
    assert first.placement is not None
    assert again.placement is not None
    assert again.nova.servers is first.nova.servers
    assert again.placement.usages is first.placement.usages


def test_a_booted_server_and_its_end_are_seen(lab: Lab, fleet: LabFleet) -> None:
    before = _placement(fleet)
    server = lab.boot("fresh-1", "a100-10c")
    facts = fleet.read()
    assert facts.nova is not None
    assert facts.placement is not None
    seen = {s.id: s for s in facts.nova.servers or ()}[server.id]
    assert (seen.name, seen.status, seen.host) == ("fresh-1", "ACTIVE", server.compute_host)
    holding = [
        (p.name, a.resources)
        for p in facts.placement.providers
        for a in p.allocations or ()
        if a.consumer_id == server.id
    ]
    assert len(holding) == 1
    assert holding[0][0].startswith(f"{server.compute_host}_pci_")
    assert holding[0][1] == {"VGPU": 1}
    project = server.project_id
    assert facts.placement.usages[project]["VGPU"] == before.usages[project]["VGPU"] + 1

    # Nova deletes a server's allocations without moving any generation, and shortly after the server itself.
    lab.delete(server.id)

    def holders() -> set[str]:
        return {a.consumer_id for p in _placement(fleet).providers for a in p.allocations or ()}

    until(lambda: server.id not in holders(), "the deleted server's allocation is gone", 15, every_s=1)
    facts = fleet.read()
    assert facts.nova is not None
    assert facts.placement is not None
    assert server.id not in {s.id for s in facts.nova.servers or ()}
    assert facts.placement.usages[project] == before.usages[project]


def test_a_new_trait_is_seen_and_costs_little(lab: Lab, fleet: LabFleet, sdk: Any) -> None:
    fleet.read()
    provider = next(p for p in sdk.placement.resource_providers() if p.name.startswith("gpu-02_pci_"))
    trait = "CUSTOM_LAB_SPECIAL"
    assert sdk.placement.put(f"/traits/{trait}").ok
    path = f"/resource_providers/{provider.id}/traits"

    def put(change: Callable[[list[str]], list[str]]) -> None:
        now = sdk.placement.get(path).json()
        now["traits"] = change(now["traits"])
        assert sdk.placement.put(path, json=now).ok

    put(lambda traits: [*traits, trait])
    before = _requests_seen_by_services(lab)
    seen = {p.uuid: p for p in _placement(fleet).providers}[provider.id]
    assert trait in (seen.traits or ())
    made = Counter({k: n for k, n in (_requests_seen_by_services(lab) - before).items() if k.startswith("placement")})
    assert made.total() <= 6, made

    put(lambda traits: [t for t in traits if t != trait])
    seen = {p.uuid: p for p in _placement(fleet).providers}[provider.id]
    assert trait not in (seen.traits or ())


def test_a_limit_that_is_set_changed_and_removed_is_seen(fleet: LabFleet, sdk: Any, sdk_system: Any) -> None:
    project = sdk.identity.find_project("empty").id
    fleet.read()
    default = next(sdk_system.identity.registered_limits(resource_name="class:VGPU"))
    made = sdk_system.identity.create_limit(
        project_id=project,
        service_id=default.service_id,
        region_id=default.region_id,
        resource_name="class:VGPU",
        resource_limit=3,
    )

    def seen() -> list[int]:
        facts = fleet.read()
        assert facts.keystone is not None
        return [limit.resource_limit for limit in facts.keystone.project_limits or () if limit.project_id == project]

    try:
        assert seen() == [3]
        limit = next(one for one in sdk_system.identity.limits(project_id=project) if one.project_id == project)
        sdk_system.identity.update_limit(limit, resource_limit=9)
        assert seen() == [9]
    finally:
        limit = made if made.id else next(iter(sdk_system.identity.limits(project_id=project)))
        sdk_system.identity.delete_limit(limit.id)
    assert seen() == []


def test_a_changed_default_is_seen(fleet: LabFleet, sdk_system: Any) -> None:
    fleet.read()
    default = next(sdk_system.identity.registered_limits(resource_name="server_groups"))

    def seen() -> int:
        facts = fleet.read()
        assert facts.keystone is not None
        return next(
            r.default_limit for r in facts.keystone.registered_limits or () if r.resource_name == "server_groups"
        )

    assert seen() == default.default_limit
    sdk_system.identity.update_registered_limit(default, resource_name="server_groups", default_limit=11)
    try:
        assert seen() == 11
    finally:
        sdk_system.identity.update_registered_limit(default, resource_name="server_groups", default_limit=10)


def test_inventories_follow_devices_that_take_the_last_room(lab: Lab, fleet: LabFleet) -> None:
    """Four devices fill a GPU of that type: Nova then takes its free virtual functions out of Placement."""

    def providers() -> set[str]:
        return {p.name for p in _placement(fleet).providers if p.name.startswith("gpu-02_pci_0000_42_")}

    def name(function: str) -> str:
        return "gpu-02_pci_" + function.removeprefix("pci_").replace(":", "_").replace(".", "_")

    assert len(providers()) == 8
    # Nova keeps the devices of servers that are gone, and an earlier test may have left some here. One that is defined
    # and not active takes no room, but its function stays in Placement. Nor can Nova take away what somebody holds.
    left = [m for m in lab.hosts()["gpu-02"]["mdevs"] if name(m["parent"]) in providers()]
    with_device = {name(m["parent"]) for m in left}
    held = {p.name for p in _placement(fleet).providers if p.allocations}
    functions = [f"0000:42:{4 + n >> 3:02x}.{4 + n & 7}" for n in range(8)]
    free = sorted((f for f in functions if name(f) not in with_device), key=lambda f: name(f) not in held)
    chosen = free[: 4 - sum(m["active"] for m in left)]
    made = [lab.control("/hosts/gpu-02/mdevs", {"parent": f, "type": SRIOV_TYPE})["uuid"] for f in chosen]
    try:
        lab.control("/hosts/gpu-02/update", {})
        assert providers() == with_device | {name(f) for f in chosen}
    finally:
        for uuid in made:
            lab.control(f"/hosts/gpu-02/mdevs/{uuid}/destroy", {})
        lab.control("/hosts/gpu-02/update", {})
    until(lambda: len(providers()) == 8, "all eight providers are back", 30)


def test_a_disabled_service_is_seen_with_its_reason(fleet: LabFleet, sdk: Any) -> None:
    service = next(s for s in sdk.compute.services(binary="nova-compute") if s.host == "gpu-02")
    sdk.compute.disable_service(service, disabled_reason="new driver [/red]")
    try:
        facts = fleet.read()
        assert facts.nova is not None
        seen = next(s for s in facts.nova.services or () if s.host == "gpu-02")
        assert (seen.status, seen.disabled_reason) == ("disabled", "new driver [/red]")
    finally:
        sdk.compute.enable_service(service)
    facts = fleet.read()
    assert facts.nova is not None
    assert next(s for s in facts.nova.services or () if s.host == "gpu-02").status == "enabled"
