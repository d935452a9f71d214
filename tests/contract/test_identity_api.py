"""Keystone: tokens and their scopes, the catalogue, projects, unified limits, and who may see or change what."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.contract.cloud_under_test import NONE, TEXT, Client, CloudUnderTest, has

RESOURCE = "class:VGPU"


def _vgpu_default(cloud: CloudUnderTest) -> dict[str, Any]:
    rows = cloud.admin.get("identity", "/registered_limits", resource_name=RESOURCE)["registered_limits"]
    assert len(rows) == 1
    return dict(rows[0])


def _limit(cloud: CloudUnderTest, project: str, value: int) -> dict[str, Any]:
    default = _vgpu_default(cloud)
    return {
        "project_id": cloud.project_id(project),
        "service_id": default["service_id"],
        "region_id": default["region_id"],
        "resource_name": RESOURCE,
        "resource_limit": value,
    }


def test_project_scoped_token(cloud: CloudUnderTest) -> None:
    login = cloud.sign_in("admin", "admin").login
    assert login.status == 201
    assert login.headers["X-Subject-Token"]
    token = login.body["token"]
    has(token, methods=list, user=dict, project=dict, roles=list, catalog=list, expires_at=str, issued_at=str)
    has(token["user"], id=str, name=str, domain=dict)
    has(token["project"], id=str, name=str, domain=dict)
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == "admin"
    assert token["project"]["name"] == "admin"
    assert "admin" in {role["name"] for role in token["roles"]}
    assert "system" not in token
    assert token["expires_at"] > token["issued_at"]


def test_system_scoped_token(cloud: CloudUnderTest) -> None:
    login = cloud.sign_in("admin", None).login
    assert login.status == 201
    assert login.body["token"]["system"] == {"all": True}
    assert "project" not in login.body["token"]


def test_catalogue_of_a_token(cloud: CloudUnderTest) -> None:
    catalogue = cloud.admin.login.body["token"]["catalog"]
    services = {service["type"]: service for service in catalogue}
    assert {"identity", "compute", "placement"} <= set(services)
    for service in services.values():
        has(service, id=str, type=str, name=str, endpoints=list)
        for endpoint in service["endpoints"]:
            has(endpoint, id=str, interface=str, region=str, region_id=str, url=str)
            assert endpoint["region_id"] == "RegionOne"
        assert {e["interface"] for e in service["endpoints"]} == {"public", "internal", "admin"}


def test_a_wrong_password_is_401(cloud: CloudUnderTest) -> None:
    login = cloud.sign_in("admin", "admin", password="wrong").login
    assert login.status == 401
    has(login.body["error"], code=int, message=str, title=str)
    assert login.body["error"]["title"] == "Unauthorized"
    assert "X-Subject-Token" not in login.headers


def test_a_scope_without_a_role_is_401(cloud: CloudUnderTest) -> None:
    assert cloud.sign_in("ml-user", "vdi").login.status == 401
    assert cloud.sign_in("ml-user", None).login.status == 401


@pytest.mark.parametrize(
    ("service", "path"), [("identity", "/projects"), ("compute", "/servers"), ("placement", "/resource_providers")]
)
@pytest.mark.parametrize("token", ["", "gAAAAABnot-a-token"])
def test_no_or_a_bad_token_is_401(cloud: CloudUnderTest, service: str, path: str, token: str) -> None:
    assert cloud.admin("GET", service, path, token=token).status == 401


def test_a_revoked_token_is_401_everywhere(cloud: CloudUnderTest) -> None:
    client = cloud.sign_in("admin", "admin")
    gone = cloud.admin("DELETE", "identity", "/auth/tokens", headers={"X-Subject-Token": client.token})
    assert gone.status == 204
    for service, path in (("identity", "/projects"), ("compute", "/servers"), ("placement", "/resource_providers")):
        ask = partial(client, "GET", service, path)
        # Nova and Placement may believe what they heard of a token for a while
        cloud.until(lambda ask=ask: ask().status == 401, f"{service} refuses it", 100)  # type: ignore[misc]


def test_version_document_needs_no_token(cloud: CloudUnderTest) -> None:
    reply = cloud.admin("GET", "identity", "", token="")
    assert reply.status in (200, 300)
    document = reply.body.get("version") or reply.body["versions"]["values"][0]
    assert document["id"].startswith("v3.")
    assert document["status"] == "stable"


def test_projects(cloud: CloudUnderTest) -> None:
    body = cloud.admin.get("identity", "/projects")
    has(body, projects=list, links=dict)
    rows = {row["name"]: row for row in body["projects"]}
    assert {"admin", "service", "ml-research", "vdi", "empty"} <= set(rows)
    for row in rows.values():
        has(row, id=str, name=str, domain_id=str, enabled=bool, is_domain=bool, parent_id=TEXT)
    assert {r["id"] for r in cloud.auditor.get("identity", "/projects")["projects"]} == {r["id"] for r in rows.values()}


def test_a_member_lists_its_own_projects_only(cloud: CloudUnderTest) -> None:
    refused = cloud.member("GET", "identity", "/projects")
    assert refused.status == 403
    has(refused.body["error"], code=int, message=str, title=str)
    own = cloud.member.get("identity", "/auth/projects")["projects"]
    assert [row["name"] for row in own] == ["ml-research"]


def test_domains_services_and_endpoints(cloud: CloudUnderTest) -> None:
    domains = cloud.admin.get("identity", "/domains")["domains"]
    assert "default" in {row["id"] for row in domains}
    for row in domains:
        has(row, id=str, name=str, enabled=bool)
    services = {row["type"]: row for row in cloud.admin.get("identity", "/services")["services"]}
    for row in services.values():
        has(row, id=str, type=str, name=str, enabled=bool)
    endpoints = cloud.admin.get("identity", "/endpoints")["endpoints"]
    for row in endpoints:
        has(row, id=str, service_id=str, region_id=TEXT, interface=str, url=str, enabled=bool)
    assert {row["service_id"] for row in endpoints} == {row["id"] for row in services.values()}


def test_limits_model(cloud: CloudUnderTest) -> None:
    for client in (cloud.admin, cloud.member):
        model = client.get("identity", "/limits/model")["model"]
        has(model, name=str, description=str)
        assert model["name"] == "flat"


def test_registered_limits_are_for_everyone_to_read(cloud: CloudUnderTest) -> None:
    for client in (cloud.admin, cloud.system, cloud.auditor, cloud.member):
        rows = {r["resource_name"]: r for r in client.get("identity", "/registered_limits")["registered_limits"]}
        assert rows[RESOURCE]["default_limit"] == 4
        for row in rows.values():
            has(row, id=str, service_id=str, region_id=TEXT, resource_name=str, default_limit=int, description=TEXT)
    filtered = cloud.admin.get("identity", "/registered_limits", resource_name="servers")["registered_limits"]
    assert [row["resource_name"] for row in filtered] == ["servers"]


def test_project_limits_by_who_asks(cloud: CloudUnderTest) -> None:
    """Keystone 30 shows all limits to an administrator of either scope and to the system's readers."""
    for client in (cloud.admin, cloud.system, cloud.auditor):
        rows = client.get("identity", "/limits")["limits"]
        assert (cloud.project_id("ml-research"), RESOURCE, 6) in {
            (r["project_id"], r["resource_name"], r["resource_limit"]) for r in rows
        }
        for row in rows:
            has(row, id=str, project_id=TEXT, domain_id=TEXT, service_id=str, region_id=TEXT, description=TEXT)
            has(row, resource_name=str, resource_limit=int)
    own = cloud.member.get("identity", "/limits")["limits"]
    assert {row["project_id"] for row in own} == {cloud.project_id("ml-research")}


@pytest.fixture
def own_limit(cloud: CloudUnderTest) -> Iterator[dict[str, Any]]:
    """A limit of the project ``empty``; gone afterwards."""
    reply = cloud.system("POST", "identity", "/limits", json={"limits": [_limit(cloud, "empty", 3)]})
    assert reply.status == 201, reply.body
    assert len(reply.body["limits"]) >= 1
    made = next(r for r in reply.body["limits"] if r["project_id"] == cloud.project_id("empty"))
    yield made
    cloud.system("DELETE", "identity", f"/limits/{made['id']}")


def test_a_limit_is_made_changed_and_removed(cloud: CloudUnderTest, own_limit: dict[str, Any]) -> None:
    path = f"/limits/{own_limit['id']}"
    assert cloud.system.get("identity", path)["limit"]["resource_limit"] == 3
    changed = cloud.system("PATCH", "identity", path, json={"limit": {"resource_limit": 9}})
    assert (changed.status, changed.body["limit"]["resource_limit"]) == (200, 9)
    assert cloud.system.get("identity", path)["limit"]["resource_limit"] == 9
    assert cloud.system("DELETE", "identity", path).status == 204
    assert cloud.system("GET", "identity", path).status == 404


def test_a_second_limit_for_the_same_is_409(cloud: CloudUnderTest, own_limit: dict[str, Any]) -> None:
    again = cloud.system("POST", "identity", "/limits", json={"limits": [_limit(cloud, "empty", 5)]})
    assert again.status == 409
    assert again.body["error"]["title"] == "Conflict"


@pytest.mark.parametrize("value", [-2, 2147483648, "many"])
def test_a_limit_that_is_no_limit_is_400(cloud: CloudUnderTest, own_limit: dict[str, Any], value: object) -> None:
    body = {"limit": {"resource_limit": value}}
    assert cloud.system("PATCH", "identity", f"/limits/{own_limit['id']}", json=body).status == 400


def test_unlimited_is_a_limit(cloud: CloudUnderTest, own_limit: dict[str, Any]) -> None:
    body = {"limit": {"resource_limit": -1}}
    changed = cloud.system("PATCH", "identity", f"/limits/{own_limit['id']}", json=body)
    assert (changed.status, changed.body["limit"]["resource_limit"]) == (200, -1)


def test_a_limit_needs_its_registered_limit(cloud: CloudUnderTest) -> None:
    body = {**_limit(cloud, "empty", 3), "resource_name": "class:CUSTOM_NOBODY"}
    refused = cloud.system("POST", "identity", "/limits", json={"limits": [body]})
    assert refused.status == 403
    assert "registered limit" in refused.body["error"]["message"].lower()


def test_a_default_that_projects_override_cannot_be_changed(cloud: CloudUnderTest) -> None:
    default = _vgpu_default(cloud)
    path = f"/registered_limits/{default['id']}"
    for refused in (
        cloud.system("PATCH", "identity", path, json={"registered_limit": {"default_limit": 8}}),
        cloud.system("DELETE", "identity", path),
    ):
        assert refused.status == 403
        assert default["id"] in refused.body["error"]["message"]
    assert _vgpu_default(cloud)["default_limit"] == 4


def test_a_default_without_overrides_can_be_changed(cloud: CloudUnderTest) -> None:
    rows = cloud.system.get("identity", "/registered_limits", resource_name="server_groups")["registered_limits"]
    path = f"/registered_limits/{rows[0]['id']}"
    changed = cloud.system("PATCH", "identity", path, json={"registered_limit": {"default_limit": 11}})
    assert (changed.status, changed.body["registered_limit"]["default_limit"]) == (200, 11)
    back = cloud.system("PATCH", "identity", path, json={"registered_limit": {"default_limit": 10}})
    assert back.status == 200


def test_a_new_default_is_made_and_removed(cloud: CloudUnderTest) -> None:
    place = {key: _vgpu_default(cloud)[key] for key in ("service_id", "region_id")}
    row = {**place, "resource_name": "class:CUSTOM_CONTRACT", "default_limit": 2}
    made = cloud.system("POST", "identity", "/registered_limits", json={"registered_limits": [row]})
    assert made.status == 201
    limit_id = next(r["id"] for r in made.body["registered_limits"] if r["resource_name"] == row["resource_name"])
    again = cloud.system("POST", "identity", "/registered_limits", json={"registered_limits": [row]})
    assert again.status == 409
    assert cloud.system("DELETE", "identity", f"/registered_limits/{limit_id}").status == 204


@pytest.mark.parametrize("who", ["member", "auditor"])
def test_only_administrators_change_limits(cloud: CloudUnderTest, own_limit: dict[str, Any], who: str) -> None:
    client: Client = getattr(cloud, who)
    default = _vgpu_default(cloud)
    for refused in (
        client("PATCH", "identity", f"/limits/{own_limit['id']}", json={"limit": {"resource_limit": 99}}),
        client("POST", "identity", "/limits", json={"limits": [_limit(cloud, "vdi", 99)]}),
        client("PATCH", "identity", f"/registered_limits/{default['id']}", json={"registered_limit": {}}),
    ):
        assert refused.status == 403
        has(refused.body["error"], code=int, message=str, title=str)


def test_an_administrator_in_a_project_changes_limits_too(cloud: CloudUnderTest, own_limit: dict[str, Any]) -> None:
    changed = cloud.admin("PATCH", "identity", f"/limits/{own_limit['id']}", json={"limit": {"resource_limit": 7}})
    assert changed.status == 200
    assert isinstance(changed.body["limit"]["domain_id"], str | NONE)
