"""The older quota calls of the embedded Nova, with either quota driver and by microversion."""

from __future__ import annotations

import pytest

from tests.simulator.client import Api
from vgpu_console.simulator import DemoCloud

INJECTED = {"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
NETWORK = {"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}
GROUPS = {"server_groups", "server_group_members"}
ALWAYS = {"id", "instances", "cores", "ram", "metadata_items", "key_pairs"}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2.1", ALWAYS | INJECTED | NETWORK),
        ("2.49", ALWAYS | INJECTED | NETWORK),
        ("2.50", ALWAYS | INJECTED | GROUPS),
        ("2.56", ALWAYS | INJECTED | GROUPS),
        ("2.57", ALWAYS | GROUPS),
        ("2.104", ALWAYS | GROUPS),
    ],
)
def test_the_default_class_by_microversion(admin: Api, version: str, names: set[str]) -> None:
    assert set(admin.get("compute", "/os-quota-class-sets/default", version)["quota_class_set"]) == names


@pytest.mark.parametrize(("version", "more"), [("2.35", NETWORK | INJECTED), ("2.36", INJECTED), ("2.57", set())])
def test_a_projects_set_by_microversion(admin: Api, version: str, more: set[str]) -> None:
    project = admin.token["project"]["id"]
    for path in ("", "/defaults", "/detail"):
        body = admin.get("compute", f"/os-quota-sets/{project}{path}", version)["quota_set"]
        assert set(body) == ALWAYS | GROUPS | more
        if path == "/detail":
            assert {frozenset(v) for k, v in body.items() if k != "id"} == {frozenset({"limit", "in_use", "reserved"})}


def test_the_unified_driver_translates_and_answers_zero_for_what_is_not_registered(
    cloud: DemoCloud, admin: Api
) -> None:
    body = admin.get("compute", "/os-quota-class-sets/default", "2.56")["quota_class_set"]
    assert (body["instances"], body["cores"], body["ram"]) == (20, 256, 1048576)
    assert (body["key_pairs"], body["server_groups"]) == (0, 0)
    project = cloud.builder.project_named("ml-research").id
    assert admin.get("compute", f"/os-quota-sets/{project}", "2.56")["quota_set"]["cores"] == 512


def test_the_database_driver_knows_nothing_of_keystone(cloud: DemoCloud, admin: Api) -> None:
    cloud.state.quota_driver = "db"
    project = cloud.builder.project_named("ml-research").id
    cloud.state.legacy_quotas[project] = {"ram": 1024}
    body = admin.get("compute", f"/os-quota-sets/{project}", "2.56")["quota_set"]
    assert (body["instances"], body["cores"], body["ram"]) == (10, 20, 1024)
    assert admin.get("compute", "/limits", "2.56")["limits"]["absolute"]["maxTotalInstances"] == 10


def test_who_may_ask(cloud: DemoCloud, admin: Api) -> None:
    alice = Api(cloud, user="alice", project="ml-research")
    own, other = (cloud.builder.project_named(n).id for n in ("ml-research", "vdi"))
    assert alice.call("GET", "compute", "/os-quota-class-sets/default").status_code == 403
    assert alice.call("GET", "compute", f"/os-quota-sets/{own}").status_code == 200
    assert alice.call("GET", "compute", f"/os-quota-sets/{other}").status_code == 403
    assert admin.call("GET", "compute", "/os-quota-sets/nobody").status_code == 400
