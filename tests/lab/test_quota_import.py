"""The import of legacy quota beside nova-manage's own: what both would create, and where they differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.quota_console import QuotaConsole, ask_for_server
from vgpu_console.actions.legacy_import import Import, plan_import, read_legacy

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

Opener = Callable[..., QuotaConsole]
Limits = dict[str, int]

_CREATES = re.compile(r"^Creating (default|project) limit: (\S+) = (-?\d+)", re.MULTILINE)
_EXISTS = re.compile(r"^A (default|project) limit: (\S+) = (-?\d+) already exists", re.MULTILINE)
_MISSING = re.compile(r"^\| (\S+) +\| missing +\|$", re.MULTILINE)


@pytest.fixture
def legacy_cloud(lab: Lab, sdk: Any, sdk_system: Any, quota_options: Callable[..., None]) -> Iterator[str]:
    """Nova with its own quota, set through its API; in Keystone some limits are there already. A project's id."""
    quota_options(driver="nova.quota.DbQuotaDriver")
    project = sdk.identity.find_project("ml-research").id
    compute = sdk.compute
    default = {"quota_class_set": {"cores": 48, "ram": 123_456, "server_groups": 7}}
    assert compute.put("/os-quota-class-sets/default", json=default, microversion="2.50").ok
    own = {"quota_set": {"instances": 33, "cores": 64, "metadata_items": 99}}
    assert compute.put(f"/os-quota-sets/{project}", json=own, microversion="2.56").ok
    identity = sdk_system.identity
    for limit in list(identity.limits()):
        identity.delete_limit(limit.id)
    for limit in list(identity.registered_limits()):
        if limit.resource_name not in ("class:MEMORY_MB", "server_groups"):
            identity.delete_registered_limit(limit.id)
    yield project
    assert compute.delete(f"/os-quota-sets/{project}").ok


def _ours(found: Import) -> tuple[Limits, Limits]:
    """What the console would create: defaults, and limits of the project."""
    defaults = {r.resource: r.value for r in found.rows if r.status == "create" and r.project_id is None}
    own = {r.resource: r.value for r in found.rows if r.status == "create" and r.project_id is not None}
    assert None not in (*defaults.values(), *own.values())
    return defaults, own  # type: ignore[return-value]


def _lines(pattern: re.Pattern[str], text: str) -> tuple[Limits, Limits]:
    found = pattern.findall(text)
    return tuple({name: int(value) for kind, name, value in found if kind == one} for one in ("default", "project"))  # type: ignore[return-value]


def test_the_same_as_nova_manage(lab: Lab, open_console: Opener, sdk_system: Any, legacy_cloud: str) -> None:
    done = lab.nova_manage(
        "limits", "migrate_to_unified_limits", "--dry-run", "--verbose", "--region-id", "RegionOne",
        "--project-id", legacy_cloud,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr  # classes without a registered limit
    console = open_console().read()
    legacy = read_legacy(console.fleet.cloud, [legacy_cloud])
    found = plan_import(console.facts, legacy, console.facts.statuses[0].fetched_at or 0)
    theirs, ours = _lines(_CREATES, done.stdout), _ours(found)
    assert ours == theirs
    assert ours[0]["class:VCPU"] == ours[0]["class:PCPU"] == 48
    assert ours[1] == {"servers": 33, "class:VCPU": 64, "class:PCPU": 64, "server_metadata_items": 99}
    exists = {r.resource: r.existing for r in found.rows if r.status == "exists" and r.legacy_name}
    assert exists == _lines(_EXISTS, done.stdout)[0]
    assert "class:MEMORY_MB" in exists  # and the legacy value does not overwrite it
    # in a dry run nova-manage's scan still misses what it would have created itself
    assert set(found.missing) == set(_MISSING.findall(done.stdout)) - ours[0].keys()
    assert set(found.missing) >= {"class:VGPU", "class:DISK_GB"}
    assert found.command.splitlines()[0].split()[:3] == ["nova-manage", "limits", "migrate_to_unified_limits"]


def test_what_is_imported_nova_enforces(
    lab: Lab, open_console: Opener, sdk_system: Any, legacy_cloud: str, quota_options: Callable[..., None]
) -> None:
    """Applied with its proposals, and the driver changed: Nova works with the new limits. A second time: nothing."""
    console = open_console().read()
    now = console.facts.statuses[0].fetched_at or 0
    found = plan_import(console.facts, read_legacy(console.fleet.cloud, [legacy_cloud]), now)
    for plan in (*found.plans, *found.proposals):
        console.done(plan)
    registered = {r.resource_name: r for r in sdk_system.identity.registered_limits()}
    assert {r.region_id for r in registered.values()} == {"RegionOne"}
    assert registered["class:MEMORY_MB"].default_limit == 2_000_000
    assert registered["class:VGPU"].default_limit == 2  # what ml-research uses, the most of all
    again = plan_import(console.read().facts, read_legacy(console.fleet.cloud, [legacy_cloud]), now)
    assert (again.plans, again.proposals, again.missing) == ((), (), ())
    quota_options(driver="nova.quota.UnifiedLimitsDriver")
    status, words = ask_for_server(lab, "lab-member", "a100-10c")
    assert (status, "class:VGPU is over limit of 2" in words) == (403, True), words


def test_zeros_of_the_unified_driver_are_no_quota(
    open_console: Opener, legacy_cloud: str, quota_options: Callable[..., None]
) -> None:
    """Nova answers 0 for what is not registered once the unified driver is on: nothing of that is created."""
    quota_options(driver="nova.quota.UnifiedLimitsDriver")
    console = open_console(hosts=True).read()
    legacy = read_legacy(console.fleet.cloud, [legacy_cloud])
    found = plan_import(console.facts, legacy, console.facts.statuses[0].fetched_at or 0)
    assert found.plans == ()
    assert {r.resource for r in found.rows if r.status == "unknown"} >= {"servers", "class:VCPU"}
