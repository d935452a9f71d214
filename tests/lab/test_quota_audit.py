"""The audit on a cloud that is set up wrongly in every way that a real Keystone lets it be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.quota_console import VGPU, QuotaConsole, ask_for_server

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

Opener = Callable[..., QuotaConsole]


@pytest.fixture
def flavors(sdk: Any) -> Iterator[None]:
    """Flavors that ask for classes no registered limit is there for."""
    made = []
    for name in ("CUSTOM_LAB_HERE", "CUSTOM_LAB_ELSEWHERE"):
        flavor = sdk.compute.create_flavor(name=name.lower(), ram=512, vcpus=1, disk=1)
        sdk.compute.create_flavor_extra_specs(flavor, {f"resources:{name}": "1"})
        made.append(flavor)
    yield
    for flavor in made:
        sdk.compute.delete_flavor(flavor)


@pytest.fixture
def place(sdk_system: Any) -> Any:
    """A registered limit: it has the service and region where Nova looks."""
    return next(iter(sdk_system.identity.registered_limits(resource_name=VGPU)))


@pytest.fixture
def dead_project(sdk_system: Any, place: Any) -> Iterator[Any]:
    """A project with a limit of its own, disabled afterwards."""
    identity = sdk_system.identity
    project = identity.create_project(name="closed", domain_id="default")
    identity.create_limit(
        service_id=place.service_id, region_id=place.region_id, project_id=project.id, resource_name=VGPU,
        resource_limit=2,
    )  # fmt: skip
    yield identity.update_project(project, is_enabled=False)
    identity.delete_project(project)


def test_a_cloud_in_order_has_no_findings(open_console: Opener) -> None:
    console = open_console(hosts=True).read()
    assert [f for f in console.snapshot.quota_findings if f.severity != "info"] == []


def test_findings(
    open_console: Opener, sdk: Any, sdk_system: Any, flavors: None, place: Any, dead_project: Any
) -> None:
    """Limits in the wrong region, missing, twice, of a dead project, above what the hosts hold; each with its cure."""
    identity = sdk_system.identity
    elsewhere = identity.create_region(id="RegionTwo", description="without a Nova")
    for name in (VGPU, "class:CUSTOM_LAB_ELSEWHERE"):
        identity.create_registered_limit(
            service_id=place.service_id, region_id=elsewhere.id, resource_name=name, default_limit=3
        )
    empty = identity.find_project("empty")
    identity.create_limit(
        service_id=place.service_id, region_id=place.region_id, project_id=empty.id, resource_name=VGPU,
        resource_limit=25,
    )  # fmt: skip
    own = {limit.project_id: limit.id for limit in identity.limits(resource_name=VGPU)}
    console = open_console(hosts=True).read()
    found = console.findings()
    try:
        wrong = found[("limit-in-wrong-place", "limit class:CUSTOM_LAB_ELSEWHERE")]
        assert "region RegionTwo, where no Nova looks" in wrong.message
        missing = found[("limit-not-registered", "limit class:CUSTOM_LAB_HERE")]
        assert "flavor custom_lab_here" in missing.message
        twice = found[("limit-duplicate", "limit class:VGPU")]
        assert "RegionTwo" in twice.message
        dead = found[("limit-of-dead-project", "project closed")]
        assert "is disabled" in dead.message
        above = found[("limit-above-capacity", "project empty")]
        assert "25 class:VGPU is more than the 24" in above.message
        assert [id for id, object in found if object == "limit class:CUSTOM_LAB_ELSEWHERE"] == ["limit-in-wrong-place"]

        # the commands are openstackclient's; what they say is done here with openstacksdk, and then they are gone
        assert shlex.split(wrong.command)[:4] == ["openstack", "registered", "limit", "create"]
        _create(identity, wrong.command)
        _create(identity, missing.command)
        duplicate = next(r for r in identity.registered_limits(resource_name=VGPU) if r.region_id == elsewhere.id)
        assert shlex.split(twice.command) == ["openstack", "registered", "limit", "delete", duplicate.id]
        identity.delete_registered_limit(duplicate.id)
        assert shlex.split(dead.command) == ["openstack", "limit", "delete", own[dead_project.id]]
        identity.delete_limit(own[dead_project.id])
        assert shlex.split(above.command) == [
            "openstack", "limit", "set", "--resource-limit", "24", own[empty.id]
        ]  # fmt: skip
        console.done(console.plan_clear("empty"))
        left = [id for id, f in console.read().findings().items() if f.severity != "info"]
        assert left == [("limit-duplicate", "limit class:CUSTOM_LAB_ELSEWHERE")]
    finally:
        for limit in list(identity.registered_limits(region_id=elsewhere.id)):
            identity.delete_registered_limit(limit.id)
        identity.delete_region(elsewhere)


def _create(identity: Any, command: str) -> None:
    """What ``openstack registered limit create`` does with these words."""
    words = shlex.split(command)
    assert words[:4] == ["openstack", "registered", "limit", "create"]
    options = dict(zip(words[4:-1:2], words[5:-1:2], strict=True))
    identity.create_registered_limit(
        service_id=options["--service"],
        region_id=options["--region"],
        default_limit=int(options["--default-limit"]),
        resource_name=words[-1],
    )


def test_a_limit_for_another_region_does_not_exist_for_nova(
    lab: Lab, open_console: Opener, sdk_system: Any, place: Any
) -> None:
    """Registered for no region while the endpoint has one: Nova refuses all, the audit says why and what mends it."""
    identity = sdk_system.identity
    for limit in list(identity.limits(resource_name=VGPU)):
        identity.delete_limit(limit.id)
    identity.delete_registered_limit(place.id)
    stray = identity.create_registered_limit(service_id=place.service_id, resource_name=VGPU, default_limit=50)
    assert stray.region_id is None
    assert ask_for_server(lab, "lab-vdi", "t4-4q")[0] == 403
    console = open_console(hosts=True).read()
    finding = console.findings()[("limit-in-wrong-place", "limit class:VGPU")]
    assert "no region, where no Nova looks" in finding.message
    assert "every request for it is refused" in finding.message
    assert console.row("vdi").origin == "missing"
    plan = console.plan_default(1)
    assert any("Nova does not look there" in line for line in plan.effect), plan.effect
    console.done(plan)
    status, words = ask_for_server(lab, "lab-vdi", "t4-4q")
    assert (status, "over limit of 1 " in words) == (403, True), words
    assert ("limit-duplicate", "limit class:VGPU") in console.read().findings()


def test_a_project_over_its_limit_and_limits_that_are_off(
    open_console: Opener, quota_options: Callable[..., None]
) -> None:
    console = open_console(hosts=True).read()
    console.done(console.plan_set("ml-research", 1))
    assert "uses 2 of 1" in console.read().findings()[("project-over-limit", "project ml-research")].message
    quota_options(driver="nova.quota.DbQuotaDriver")
    finding = console.read().findings()[("unified-limits-off", "nova")]
    assert finding.severity == "fail"
    assert "DbQuotaDriver" in finding.message


def test_novas_user_without_its_role(open_console: Opener, sdk_system: Any) -> None:
    identity = sdk_system.identity
    user, role = identity.find_user("nova"), identity.find_role("reader")
    path = f"/system/users/{user.id}/roles/{role.id}"
    assert identity.delete(path).ok
    try:
        finding = open_console().read().findings()[("nova-user-cannot-read-limits", "nova")]
        assert "--system all reader" in finding.command
    finally:
        assert identity.put(path).ok
    assert not any(id == "nova-user-cannot-read-limits" for id, _ in open_console().read().findings())
