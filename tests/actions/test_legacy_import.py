"""Legacy quota of the embedded Nova taken over into its Keystone, and what is left out or must not be believed."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import NOW, Console, limits_in
from vgpu_console.actions.legacy_import import Import, plan_import, read_legacy
from vgpu_console.actions.projects import PlanError
from vgpu_console.simulator import DemoCloud, HttpFault
from vgpu_console.sources.base import SourceError


@pytest.fixture
def console(cloud: DemoCloud, tmp_path: Path) -> Console:
    """A cloud that still has Nova's own quota, and of unified limits servers and class:VGPU only."""
    state = cloud.state
    state.quota_driver = "db"
    kept = {"servers", "class:VGPU"}
    state.limits = {i: x for i, x in state.limits.items() if x.resource_name in kept}
    state.registered_limits = {i: x for i, x in state.registered_limits.items() if x.resource_name in kept}
    console = Console(cloud, tmp_path)
    state.legacy_quotas[console.project("vdi")] = {"cores": 64, "instances": 50, "ram": 51200}
    return console.read()


def planned(console: Console, *projects: str) -> Import:
    legacy = read_legacy(console.connection, [console.project(name) for name in projects])
    return plan_import(console.facts, legacy, NOW)


def rows(found: Import, status: str) -> dict[tuple[str, str], int | None]:
    return {(row.project, row.resource): row.value for row in found.rows if row.status == status}


def test_defaults_get_their_new_names_and_what_exists_is_left_alone(console: Console) -> None:
    found = planned(console)
    assert rows(found, "create") == {
        ("", "class:VCPU"): 20,
        ("", "class:PCPU"): 20,
        ("", "class:MEMORY_MB"): 51200,
        ("", "server_metadata_items"): 128,
        ("", "server_injected_files"): 5,
        ("", "server_injected_file_content_bytes"): 10240,
        ("", "server_injected_file_path_bytes"): 255,
        ("", "server_key_pairs"): 100,
        ("", "server_groups"): 10,
        ("", "server_group_members"): 10,
    }
    exists = {row.resource: row.existing for row in found.rows if row.status == "exists"}
    assert exists == {"servers": 20, "class:VGPU": 4}


def test_what_nova_manage_leaves_out_is_named_with_a_proposal(console: Console) -> None:
    found = planned(console)
    assert found.missing == ("class:DISK_GB",)
    row = next(r for r in found.rows if r.resource == "class:DISK_GB")
    assert (row.value, row.note) == (-1, "proposed default -1: legacy quota never limited it")
    assert [p.after for p in found.proposals] == [{"default": -1}]
    assert {console.apply(p).result for p in found.proposals} == {"done"}
    assert limits_in(console.cloud, "class:DISK_GB") == {"default": -1}


def test_without_vgpu_limits_those_are_left_out_too(console: Console) -> None:
    state = console.cloud.state
    state.limits.clear()
    state.registered_limits = {i: x for i, x in state.registered_limits.items() if x.resource_name == "servers"}
    console.read()
    found = planned(console)
    assert "class:VGPU" in found.missing
    row = next(r for r in found.rows if r.resource == "class:VGPU")
    assert row.note == "proposed default 6: ml-research uses 6, the most; the largest flavor asks for 1"


def test_a_projects_own_quota_follows_its_difference_from_the_default(console: Console) -> None:
    found = planned(console, "vdi", "render")
    own = {key: value for key, value in rows(found, "create").items() if key[0]}
    assert own == {("vdi", "servers"): 50, ("vdi", "class:VCPU"): 64, ("vdi", "class:PCPU"): 64}
    assert any("equals the default" in note for note in found.notes)


def test_it_is_applied_in_order_and_once(console: Console) -> None:
    found = planned(console, "vdi")
    assert {console.apply(plan).result for plan in found.plans} == {"done"}
    assert limits_in(console.cloud, "class:VCPU") == {"default": 20, "vdi": 64}
    assert limits_in(console.cloud, "servers") == {"default": 20, "vdi": 50}
    assert all(r.region_id == "RegionOne" for r in console.cloud.state.registered_limits.values())
    console.read()
    again = planned(console, "vdi")
    assert again.plans == ()
    assert rows(again, "create") == {}


def test_nothing_is_overwritten_that_came_meanwhile(console: Console) -> None:
    found = planned(console)
    console.cloud.builder.default_limits({"class:VCPU": 7})
    outcomes = {p.target.id: console.apply(p).result for p in found.plans}
    assert outcomes.pop("class:VCPU") == "moved"
    assert set(outcomes.values()) == {"done"}
    assert limits_in(console.cloud, "class:VCPU") == {"default": 7}


def test_zeros_of_the_unified_driver_are_not_taken_for_quota(console: Console) -> None:
    """There Nova's API answers 0 for whatever is not registered: importing that would stop the whole cloud."""
    console.cloud.state.quota_driver = "unified"
    found = planned(console, "vdi")
    assert found.plans == ()
    assert ("", "class:VCPU") in rows(found, "unknown")
    assert all(row.value is None for row in found.rows if row.status == "unknown")
    assert any("whether Nova enforces unified limits already: unknown" in note for note in found.notes)
    assert "class:DISK_GB" in found.missing


def test_another_regions_limit_does_not_count(console: Console) -> None:
    console.cloud.builder.default_limits({"class:VCPU": 7})
    for registered in console.cloud.state.registered_limits.values():
        if registered.resource_name == "class:VCPU":
            registered.region_id = None
    console.read()
    found = planned(console)
    row = next(r for r in found.rows if r.resource == "class:VCPU")
    assert (row.status, row.value) == ("create", 20)
    assert "nova-manage would skip it" in row.note


def test_the_same_is_asked_of_nova_manage(console: Console) -> None:
    found = planned(console, "vdi")
    expected = ["nova-manage", "limits", "migrate_to_unified_limits", "--region-id", "RegionOne", "--project-id"]
    assert shlex.split(found.command) == [*expected, console.project("vdi"), "--dry-run"]


def test_an_old_nova_shows_less_and_that_is_told(console: Console) -> None:
    console.cloud.state.compute_max = (2, 49)
    console.connection = Console(console.cloud, console.journal.path.parent).connection
    found = planned(console)
    assert ("", "server_groups") not in rows(found, "create")
    assert any("does not show server_group_members, server_groups" in note for note in found.notes)


def test_without_usages_nothing_is_proposed_for_vgpus(console: Console) -> None:
    console.cloud.state.limits.clear()
    console.cloud.state.registered_limits.clear()
    console.read()
    console.facts = msgspec.structs.replace(console.facts, placement=None)
    found = planned(console)
    assert found.missing == ("class:DISK_GB", "class:VGPU")
    assert [p.target.id for p in found.proposals] == ["class:DISK_GB"]


def test_reasons_when_it_cannot_be_planned(console: Console) -> None:
    legacy = read_legacy(console.connection)
    with pytest.raises(PlanError, match="flavors have not been read") as caught:
        plan_import(msgspec.structs.replace(console.facts, nova=None), legacy, NOW)
    assert caught.value.exit == 3
    with pytest.raises(PlanError, match="no compute endpoint is in region 'Mars'"):
        plan_import(console.facts, legacy, NOW, region="Mars")


def test_reasons_when_it_cannot_be_read(console: Console, tmp_path: Path) -> None:
    alice = Console(console.cloud, tmp_path / "a", user="alice", project="ml-research")
    with pytest.raises(SourceError, match="it needs the admin role in a project"):
        read_legacy(alice.connection)
    with pytest.raises(SourceError, match="HTTP 400: Project ID nobody is not a valid project"):
        read_legacy(console.connection, ["nobody"])
    console.cloud.faults.http["compute"] = HttpFault(kind="null", null_fields=("quota_class_set",))
    with pytest.raises(SourceError, match="holds no quota"):
        read_legacy(console.connection)
