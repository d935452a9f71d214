"""Every view that is read from the cloud is compared with what openstacksdk says of it, object by object."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.lab_fleet import LabFleet
from vgpu_console.model.facts import Facts

pytestmark = pytest.mark.lab


@pytest.fixture
def facts(fleet: LabFleet) -> Facts:
    """One full reading with the administrator's credential."""
    read = fleet.read()
    assert [(s.key, s.error) for s in read.statuses if s.error] == []
    return read


def test_compute_services(facts: Facts, sdk: Any) -> None:
    assert facts.nova is not None
    found = {(s.id, s.host, s.state, s.status, s.zone, s.forced_down) for s in facts.nova.services or ()}
    expected = {
        (s.id, s.host, s.state, s.status, s.availability_zone, s.is_forced_down)
        for s in sdk.compute.services(binary="nova-compute")
    }
    assert found == expected
    assert {host for _, host, *_ in found} == {"gpu-01", "gpu-02", "gpu-03"}


def test_hypervisors(facts: Facts, sdk: Any) -> None:
    assert facts.nova is not None
    found = {
        (h.id, h.name, h.service_host, h.state, h.status, h.type, h.version, h.host_ip)
        for h in facts.nova.hypervisors or ()
    }
    expected = {
        (
            h.id,
            h.name,
            h.service_details["host"],
            h.state,
            h.status,
            h.hypervisor_type,
            h.hypervisor_version,
            h.host_ip,
        )
        for h in sdk.compute.hypervisors(details=True)
    }
    assert found == expected
    assert len(found) == 3


def test_servers_of_all_projects_with_their_flavors(facts: Facts, sdk: Any) -> None:
    assert facts.nova is not None
    assert facts.nova.all_projects
    found = {
        s.id: (
            s.name,
            s.project_id,
            s.user_id,
            s.host,
            s.hypervisor,
            s.instance_name,
            s.status,
            s.vm_state,
            s.power_state,
            s.flavor,
            s.ram_mib,
            s.vcpus,
            s.extra_specs,
        )
        for s in facts.nova.servers or ()
    }
    expected = {
        s.id: (
            s.name,
            s.project_id,
            s.user_id,
            s.compute_host,
            s.hypervisor_hostname,
            s.instance_name,
            s.status,
            s.vm_state,
            s.power_state,
            s.flavor.original_name,
            s.flavor.ram,
            s.flavor.vcpus,
            dict(s.flavor.extra_specs),
        )
        for s in sdk.compute.servers(all_projects=True)
    }
    assert found == expected
    assert {"train-1", "train-2", "desk-1"} <= {s[0] for s in found.values()}


def test_flavors_with_extra_specs(facts: Facts, sdk: Any) -> None:
    assert facts.nova is not None
    found = {f.id: (f.name, f.ram_mib, f.vcpus, f.disk_gib, f.extra_specs) for f in facts.nova.flavors or ()}
    expected = {
        f.id: (f.name, f.ram, f.vcpus, f.disk, dict(f.extra_specs)) for f in sdk.compute.flavors(get_extra_specs=True)
    }
    assert found == expected
    assert any(f[4] == {"resources:VGPU": "1", "trait:CUSTOM_NVIDIA_T4_4Q": "required"} for f in found.values())


def test_provider_trees_with_their_vgpus_allocations_and_traits(facts: Facts, sdk: Any) -> None:
    """Of inventories and allocations the console keeps the classes that can be vGPUs."""
    assert facts.placement is not None
    providers = {p.uuid: p for p in facts.placement.providers}
    expected = {p.id: p for p in sdk.placement.resource_providers()}
    assert set(providers) == set(expected)
    # three roots and their devices; Nova takes the providers of a GPU's idle functions away while that is full
    assert 3 + 16 < len(providers) <= 3 + 2 * 16 + 2
    offered = held = 0
    for uuid, theirs in expected.items():
        ours = providers[uuid]
        assert (ours.name, ours.parent_uuid, ours.root_uuid, ours.generation) == (
            theirs.name,
            theirs.parent_provider_id,
            theirs.root_provider_id,
            theirs.generation,
        )
        inventories = {
            i.resource_class: (i.total, i.reserved, i.allocation_ratio)
            for i in sdk.placement.resource_provider_inventories(theirs)
            if i.resource_class == "VGPU"
        }
        found = {i.resource_class: (i.total, i.reserved, i.allocation_ratio) for i in ours.inventories or ()}
        assert found == inventories, ours.name
        answer = sdk.placement.get(f"/resource_providers/{uuid}/allocations").json()
        allocations = {
            consumer: {"VGPU": row["resources"]["VGPU"]}
            for consumer, row in answer["allocations"].items()
            if "VGPU" in row["resources"]
        }
        assert {a.consumer_id: a.resources for a in ours.allocations or ()} == allocations, ours.name
        traits = sdk.placement.get(f"/resource_providers/{uuid}/traits").json()["traits"]
        assert ours.traits is not None
        assert sorted(ours.traits) == sorted(traits), ours.name
        offered += len(inventories)
        held += len(allocations)
    assert offered == len(providers) - 3
    assert held >= 3


def test_usages_of_projects_with_servers(facts: Facts, sdk: Any) -> None:
    assert facts.placement is not None
    assert facts.nova is not None
    projects = {s.project_id for s in facts.nova.servers or ()}
    assert len(projects) == 2
    for project in projects:
        answer = sdk.placement.get("/usages", params={"project_id": project}, microversion="1.9").json()
        assert facts.placement.usages[project] == {"VGPU": answer["usages"]["VGPU"]}


def test_projects_and_domains(facts: Facts, sdk: Any) -> None:
    assert facts.keystone is not None
    found = {p.id: (p.name, p.domain_id, p.enabled) for p in facts.keystone.projects or ()}
    assert found == {p.id: (p.name, p.domain_id, p.is_enabled) for p in sdk.identity.projects()}
    assert {"admin", "service", "ml-research", "vdi", "empty"} <= {p[0] for p in found.values()}
    assert {(d.id, d.name) for d in facts.keystone.domains or ()} == {(d.id, d.name) for d in sdk.identity.domains()}


def test_catalogue(facts: Facts, sdk: Any) -> None:
    assert facts.keystone is not None
    assert {(s.id, s.type, s.name) for s in facts.keystone.services or ()} == {
        (s.id, s.type, s.name) for s in sdk.identity.services()
    }
    assert {(e.id, e.service_id, e.region_id, e.interface, e.url) for e in facts.keystone.endpoints or ()} == {
        (e.id, e.service_id, e.region_id, e.interface, e.url) for e in sdk.identity.endpoints()
    }


def test_registered_limits(facts: Facts, sdk: Any) -> None:
    assert facts.keystone is not None
    assert facts.keystone.enforcement_model == "flat"
    found = {
        (r.id, r.service_id, r.region_id, r.resource_name, r.default_limit)
        for r in facts.keystone.registered_limits or ()
    }
    expected = {
        (r.id, r.service_id, r.region_id, r.resource_name, r.default_limit) for r in sdk.identity.registered_limits()
    }
    assert found == expected
    assert ("class:VGPU", 4) in {(name, limit) for *_, name, limit in found}


def test_project_limits_are_complete(facts: Facts, sdk_system: Any) -> None:
    assert facts.keystone is not None
    assert facts.keystone.limits_complete is True
    assert facts.keystone.limits_scope == "system"
    found = {
        (r.id, r.project_id, r.service_id, r.region_id, r.resource_name, r.resource_limit)
        for r in facts.keystone.project_limits or ()
    }
    expected = {
        (r.id, r.project_id, r.service_id, r.region_id, r.resource_name, r.resource_limit)
        for r in sdk_system.identity.limits()
    }
    assert found == expected
    assert ("class:VGPU", 6) in {(name, limit) for *_, name, limit in found}


def test_live_migrations(facts: Facts, sdk: Any) -> None:
    assert facts.nova is not None
    found = {
        m.uuid: (m.id, m.server_id, m.source, m.destination, m.status, m.project_id)
        for m in facts.nova.migrations or ()
    }
    expected = {
        m.uuid: (m.id, m.server_id, m.source_compute, m.dest_compute, m.status, m.project_id)
        for m in sdk.compute.migrations(migration_type="live-migration")
    }
    assert found == expected


def test_identity_of_the_looker(lab: Lab, facts: Facts) -> None:
    assert facts.identity.cloud == "lab-admin"
    assert facts.identity.region == "RegionOne"
    assert facts.identity.user == "admin"
    assert "admin" in facts.identity.scope
    assert "project" in facts.identity.scope
    assert "system" in facts.identity.limits_scope
    assert facts.identity.read_only
