"""Keystone of the embedded cloud: scopes, what each may see, and the rules of unified limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import BASE_URL, DemoCloud


def token_request(cloud: DemoCloud, **password_user: str) -> int:
    user: dict[str, Any] = {"domain": {"id": "default"}, **password_user}
    body: Any = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    return cloud.http().post(f"{BASE_URL}/identity/v3/auth/tokens", json=body).status_code


def vgpu(admin: Api, name: str) -> dict[str, Any]:
    """The registered limit of a resource."""
    rows = admin.get("identity", f"/registered_limits?resource_name={name}")["registered_limits"]
    assert len(rows) == 1
    return dict(rows[0])


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ({"name": "admin", "password": "demo"}, 201),
        ({"name": "admin", "password": "wrong"}, 401),
        ({"name": "nobody", "password": "demo"}, 401),
    ],
)
def test_only_the_right_password_gets_a_token(cloud: DemoCloud, user: dict[str, str], status: int) -> None:
    assert token_request(cloud, **user) == status


def test_a_token_tells_its_scope_its_roles_and_where_the_services_are(cloud: DemoCloud) -> None:
    project = Api(cloud).token
    assert project["project"]["name"] == "admin"
    assert [role["name"] for role in project["roles"]] == ["admin"]
    urls = {s["type"]: {e["interface"]: e["url"] for e in s["endpoints"]}["public"] for s in project["catalog"]}
    assert urls == {
        "identity": "http://demo.invalid/identity",
        "compute": "http://demo.invalid/compute/v2.1",
        "placement": "http://demo.invalid/placement",
    }
    assert Api(cloud, system=True).token["system"] == {"all": True}
    assert "catalog" not in Api(cloud, project=None).token


def test_a_token_ends_when_its_hour_is_over(cloud: DemoCloud, clock: FakeClock) -> None:
    admin = Api(cloud)
    clock.tick(3599)
    assert admin.call("GET", "compute", "/servers").status_code == 200
    clock.tick(2)
    assert admin.call("GET", "compute", "/servers").status_code == 401
    assert admin.call("GET", "identity", "/projects").status_code == 401


def test_the_systems_scope_is_refused_by_nova_and_placement(cloud: DemoCloud) -> None:
    system = Api(cloud, system=True)
    assert system.call("GET", "compute", "/servers/detail").status_code == 403
    assert system.call("GET", "placement", "/resource_providers").status_code == 403
    assert len(system.get("identity", "/limits")["limits"]) == 5


def test_a_projects_token_sees_its_own_limits_only_until_keystone_29(cloud: DemoCloud) -> None:
    alice = Api(cloud, user="alice", project="ml-research")
    assert {row["resource_name"] for row in alice.get("identity", "/limits")["limits"]} == {"class:VGPU", "class:VCPU"}
    admin = Api(cloud)
    assert admin.get("identity", "/limits")["limits"] == []
    cloud.state.sees_all_limits = True
    assert len(admin.get("identity", "/limits")["limits"]) == 5
    assert len(alice.get("identity", "/limits")["limits"]) == 2


@pytest.mark.parametrize("path", ["/projects", "/domains", "/services", "/endpoints", "/users", "/role_assignments"])
def test_a_member_lists_nothing_of_the_cloud_but_a_system_reader_does(cloud: DemoCloud, path: str) -> None:
    assert Api(cloud, user="alice", project="ml-research").call("GET", "identity", path).status_code == 403
    assert Api(cloud, user="auditor", system=True).call("GET", "identity", path).status_code == 200


def test_roles_on_the_system_are_listed_with_names_on_request(cloud: DemoCloud) -> None:
    auditor = Api(cloud, user="auditor", system=True)
    rows = auditor.get("identity", "/role_assignments?scope.system=all&include_names=true")["role_assignments"]
    assert {(r["user"]["name"], r["user"]["domain"]["name"], r["role"]["name"]) for r in rows} == {
        ("admin", "Default", "admin"),
        ("nova", "Default", "reader"),
        ("auditor", "Default", "reader"),
    }
    assert all(r["scope"] == {"system": {"all": True}} for r in rows)
    plain = auditor.get("identity", "/role_assignments")["role_assignments"]
    assert {"project", "system"} == {next(iter(r["scope"])) for r in plain}
    assert all(set(r["user"]) == {"id"} for r in plain)


def test_a_default_that_projects_override_cannot_be_changed_or_deleted(admin: Api) -> None:
    limit = vgpu(admin, "class:VGPU")
    change = {"registered_limit": {"default_limit": 8}}
    for method, body in (("PATCH", change), ("DELETE", None)):
        answer = admin.call(method, "identity", f"/registered_limits/{limit['id']}", body=body)
        assert answer.status_code == 403
        assert "there are project limits associated with it" in answer.json()["error"]["message"]
    free = vgpu(admin, "class:DISK_GB")
    answer = admin.call("PATCH", "identity", f"/registered_limits/{free['id']}", body=change)
    assert (answer.status_code, answer.json()["registered_limit"]["default_limit"]) == (200, 8)
    assert admin.call("DELETE", "identity", f"/registered_limits/{free['id']}").status_code == 204


def test_limits_come_and_go_and_keep_keystones_rules(cloud: DemoCloud) -> None:
    system = Api(cloud, system=True)
    default = vgpu(system, "class:VGPU")
    render = next(p for p in system.get("identity", "/projects")["projects"] if p["name"] == "render")
    row = {
        "service_id": default["service_id"],
        "region_id": "RegionOne",
        "resource_name": "class:VGPU",
        "resource_limit": 7,
        "project_id": render["id"],
    }
    made = system.call("POST", "identity", "/limits", body={"limits": [row]})
    assert made.status_code == 201
    limit_id = made.json()["limits"][0]["id"]
    assert system.call("POST", "identity", "/limits", body={"limits": [row]}).status_code == 409
    missing = system.call("POST", "identity", "/limits", body={"limits": [row | {"resource_name": "class:NONE"}]})
    assert missing.status_code == 403
    assert "no corresponding registered limit" in missing.json()["error"]["message"]
    changed = system.call("PATCH", "identity", f"/limits/{limit_id}", body={"limit": {"resource_limit": -2}})
    assert changed.status_code == 400
    changed = system.call("PATCH", "identity", f"/limits/{limit_id}", body={"limit": {"resource_limit": 9}})
    assert changed.json()["limit"]["resource_limit"] == 9
    assert system.call("DELETE", "identity", f"/limits/{limit_id}").status_code == 204
    member = Api(cloud, user="alice", project="ml-research")
    assert member.call("POST", "identity", "/limits", body={"limits": [row]}).status_code == 403


def test_the_enforcement_model_is_told_to_anyone_with_a_token(cloud: DemoCloud) -> None:
    alice = Api(cloud, user="alice", project="ml-research")
    assert alice.get("identity", "/limits/model")["model"]["name"] == "flat"
