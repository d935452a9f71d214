"""The audit of limits: a cloud in order has no finding, and each thing that is wrong has exactly its own."""

from __future__ import annotations

import shlex

import msgspec
import pytest

from tests.rules.quota_facts import (
    IN_ORDER,
    KEYSTONE,
    NOVA,
    findings,
    migration,
    own,
    provider,
    registered,
    server,
    snapshot_of,
    with_conf,
    with_keystone,
    with_nova,
    with_placement,
    with_registered,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.keystone import Endpoint, Project, Service, SystemRole
from vgpu_console.model.nova import Flavor

SECOND_REGION = Endpoint(id="e9", service_id="svc-nova", region_id="RegionTwo", interface="public", url="http://nova2")
OLD_NOVA = msgspec.structs.replace(NOVA, max_microversion="2.96")


def _leaked(facts: Facts, holder: str, project: str = "p-ml") -> Facts:
    providers = (provider(0, ("vm-1", 1)), provider(1, (holder, 1)), provider(2), provider(3))
    return with_placement(*providers, facts=facts, strangers={holder: project}, usages={"p-ml": {"VGPU": 2}})


def _old_nova(facts: Facts) -> Facts:
    return msgspec.structs.replace(facts, nova=OLD_NOVA)


CASES: dict[str, tuple[Facts, str, str, str, str]] = {
    # what is wrong: facts, id, severity, object, command
    "model": (
        with_keystone(enforcement_model="strict_two_level"),
        "limits-model-not-flat",
        "fail",
        "keystone",
        "crudini --set /etc/keystone/keystone.conf unified_limit enforcement_model flat",
    ),
    "model not readable": (
        with_keystone(enforcement_model=None),
        "limits-model-unknown",
        "info",
        "keystone",
        r"grep -A 5 '^\[unified_limit\]' /etc/keystone/keystone.conf",
    ),
    "class of a flavor not registered": (
        with_keystone(
            registered_limits=tuple(r for r in KEYSTONE.registered_limits or () if r.resource_name != "class:VGPU"),
            project_limits=(),
        ),
        "limit-not-registered",
        "warn",
        "limit class:VGPU",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 1 class:VGPU",
    ),
    "custom class of a flavor not registered": (
        with_nova(flavors=(*(NOVA.flavors or ()), Flavor(id="f2", name="x", extra_specs={"resources1:CUSTOM_X": "1"}))),
        "limit-not-registered",
        "warn",
        "limit class:CUSTOM_X",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 0 class:CUSTOM_X",
    ),
    "class of a live server not registered": (
        with_nova(servers=(server("vm-1", extra_specs={"resources:CUSTOM_OLD": "1"}),)),
        "limit-not-registered",
        "warn",
        "limit class:CUSTOM_OLD",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 0 class:CUSTOM_OLD",
    ),
    "servers not registered": (
        with_registered(without="servers"),
        "limit-not-registered",
        "fail",
        "limit servers",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 0 servers",
    ),
    "memory not registered": (
        with_registered(without="class:MEMORY_MB"),
        "limit-not-registered",
        "info",
        "limit class:MEMORY_MB",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit -1 class:MEMORY_MB",
    ),
    "registered without a region": (
        with_registered(registered("class:VCPU", 20, region_id=None)),
        "limit-in-wrong-place",
        "fail",
        "limit class:VCPU",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 20 class:VCPU",
    ),
    "registered for another service": (
        with_registered(registered("class:VCPU", 20, service_id="svc-glance")),
        "limit-in-wrong-place",
        "fail",
        "limit class:VCPU",
        "openstack registered limit create --service svc-nova --region RegionOne --default-limit 20 class:VCPU",
    ),
    "registered twice": (
        with_registered(registered("class:VCPU", 7, id="r-old", region_id="gone")),
        "limit-duplicate",
        "warn",
        "limit class:VCPU",
        "openstack registered limit delete r-old",
    ),
    "registered twice, with a project's own": (
        with_keystone(
            registered_limits=(
                *(KEYSTONE.registered_limits or ()),
                registered("class:VCPU", 7, id="r-old", region_id=None),
            ),
            project_limits=(
                *(KEYSTONE.project_limits or ()),
                own("p-vdi", 9, "class:VCPU", id="l-old", region_id=None),
            ),
        ),
        "limit-duplicate",
        "warn",
        "limit class:VCPU",
        "openstack limit delete l-old && openstack registered limit delete r-old",
    ),
    "project gone": (
        with_keystone(project_limits=(*(KEYSTONE.project_limits or ()), own("p-gone", 1))),
        "limit-of-dead-project",
        "warn",
        "project p-gone",
        "openstack limit delete l-p-gone",
    ),
    "project disabled": (
        with_keystone(
            projects=(*(KEYSTONE.projects or ()), Project(id="p-off", name="retired", enabled=False)),
            project_limits=(*(KEYSTONE.project_limits or ()), own("p-off", 1)),
        ),
        "limit-of-dead-project",
        "warn",
        "project retired",
        "openstack limit delete l-p-off",
    ),
    "limit of a domain": (
        with_keystone(
            project_limits=(*(KEYSTONE.project_limits or ()), own("x", 1, project_id=None, domain_id="default")),
        ),
        "limit-of-domain",
        "warn",
        "domain default",
        "openstack limit delete l-x",
    ),
    "default above capacity": (
        with_registered(registered("class:VGPU", 5)),
        "limit-above-capacity",
        "warn",
        "limit class:VGPU",
        "openstack registered limit set --default-limit 4 r-class:VGPU",
    ),
    "project's limit above capacity": (
        with_keystone(project_limits=(own("p-ml", 5),)),
        "limit-above-capacity",
        "warn",
        "project ml-research",
        "openstack limit set --resource-limit 4 l-p-ml",
    ),
    "project over its limit": (
        with_keystone(project_limits=(own("p-ml", 0),)),
        "project-over-limit",
        "warn",
        "project ml-research",
        "openstack limit set --resource-limit 1 l-p-ml",
    ),
    "Nova does not enforce": (
        with_conf(quota__driver="nova.quota.DbQuotaDriver"),
        "unified-limits-off",
        "fail",
        "nova",
        "crudini --set /etc/nova/nova.conf quota driver nova.quota.UnifiedLimitsDriver",
    ),
    "driver not told": (
        with_conf(),
        "unified-limits-unknown",
        "info",
        "nova",
        r"grep -A 20 '^\[quota\]' /etc/nova/nova.conf",
    ),
    "Nova's user without a role": (
        with_keystone(system_roles=(SystemRole(user="admin", role="admin"),)),
        "nova-user-cannot-read-limits",
        "warn",
        "nova",
        "openstack role add --user nova --user-domain Default --system all reader",
    ),
    "role assignments not visible": (
        with_keystone(system_roles=None),
        "nova-user-unknown",
        "info",
        "nova",
        "openstack role assignment list --user nova --names",
    ),
    "a group has the role": (
        with_keystone(system_roles=(SystemRole(group="services", role="reader"),)),
        "nova-user-unknown",
        "info",
        "nova",
        "openstack role assignment list --user nova --names",
    ),
    "limits partly visible": (
        with_keystone(limits_complete=None),
        "limits-partly-visible",
        "info",
        "keystone",
        "openstack role add --user admin --system all reader",
    ),
    "two compute services": (
        with_keystone(
            services=(*(KEYSTONE.services or ()), Service("svc-old", "compute", "nova-legacy")),
            endpoints=(
                *(KEYSTONE.endpoints or ()),
                Endpoint(id="e3", service_id="svc-old", region_id="RegionOne", interface="public", url="http://x"),
            ),
        ),
        "compute-service-ambiguous",
        "warn",
        "keystone",
        "openstack endpoint list --service svc-nova --interface public",
    ),
    "endpoints not visible": (
        with_keystone(endpoints=None),
        "limits-place-unknown",
        "info",
        "nova",
        "openstack endpoint list --service compute",
    ),
    "ended migration holds on": (
        _leaked(with_nova(migrations=(migration("vm-1", "error"),)), "mig-1"),
        "usage-leaked",
        "warn",
        "consumer mig-1",
        "vgpu-console migrate heal mig-1",
    ),
    "nobody's allocation": (
        _leaked(IN_ORDER, "who"),
        "usage-leaked",
        "warn",
        "consumer who",
        "openstack resource provider allocation show who",
    ),
}


def test_a_cloud_in_order_has_no_finding() -> None:
    assert findings(IN_ORDER) == []


@pytest.mark.parametrize("case", CASES)
def test_each_fault_has_its_own_finding_and_no_other(case: str) -> None:
    facts, finding_id, severity, about, command = CASES[case]

    (found,) = findings(facts)

    assert (found.id, found.severity, found.object, found.command) == (finding_id, severity, about, command)
    assert found.message
    assert found.host == ""


@pytest.mark.parametrize("case", CASES)
def test_every_command_is_one_that_a_shell_takes(case: str) -> None:
    words = shlex.split(findings(CASES[case][0])[0].command)
    assert words[0] in ("openstack", "crudini", "grep", "vgpu-console")
    assert "" not in words


def test_before_nova_31_a_missing_limit_refuses_and_minus_one_too() -> None:
    missing = _old_nova(CASES["class of a flavor not registered"][0])
    assert [(f.id, f.severity) for f in findings(missing)] == [("limit-not-registered", "fail")]
    assert "refused" in findings(missing)[0].message

    endless = _old_nova(with_keystone(project_limits=(own("p-ml", -1),)))
    (found,) = findings(endless)
    assert (found.id, found.object) == ("minus-one-refuses", "project ml-research")
    assert found.command == "openstack limit set --resource-limit 2147483647 l-p-ml"

    default = _old_nova(with_registered(registered("class:VGPU", -1)))
    assert [(f.id, f.object) for f in findings(default)] == [("minus-one-refuses", "limit class:VGPU")]


def test_minus_one_is_in_order_on_a_newer_nova() -> None:
    assert findings(with_keystone(project_limits=(own("p-ml", -1),))) == []


def test_the_limits_of_another_region_that_has_a_nova_are_that_ones() -> None:
    facts = with_keystone(
        endpoints=(*(KEYSTONE.endpoints or ()), SECOND_REGION),
        registered_limits=(
            *(KEYSTONE.registered_limits or ()),
            registered("class:VGPU", 7, id="r2", region_id="RegionTwo"),
        ),
    )
    assert findings(facts) == []


def test_a_limit_that_only_the_other_region_has_is_missing_here() -> None:
    facts = with_keystone(
        endpoints=(*(KEYSTONE.endpoints or ()), SECOND_REGION),
        registered_limits=tuple(
            msgspec.structs.replace(r, region_id="RegionTwo") if r.resource_name == "class:VCPU" else r
            for r in KEYSTONE.registered_limits or ()
        ),
    )
    assert [(f.id, f.object) for f in findings(facts)] == [("limit-not-registered", "limit class:VCPU")]


def test_without_a_region_of_ones_own_the_place_is_not_known() -> None:
    facts = with_keystone(endpoints=(*(KEYSTONE.endpoints or ()), SECOND_REGION))
    facts = msgspec.structs.replace(facts, identity=msgspec.structs.replace(facts.identity, region=""))
    assert [f.id for f in findings(facts)] == ["limits-place-unknown"]
    assert "RegionOne, RegionTwo" in findings(facts)[0].message


def test_a_resource_that_a_flavor_overrides_with_nothing_needs_no_limit() -> None:
    bare = Flavor(id="f2", name="bare", vcpus=1, extra_specs={"resources:VCPU": "0", "resources:CUSTOM_NONE": "0"})
    facts = msgspec.structs.replace(
        with_registered(without="class:VCPU"), nova=msgspec.structs.replace(NOVA, flavors=(bare,), servers=())
    )
    assert [f.object for f in findings(facts)] == []


def test_dedicated_processors_need_a_limit_of_their_own() -> None:
    pinned = Flavor(id="f2", name="pinned", vcpus=4, extra_specs={"hw:cpu_policy": "dedicated"})
    facts = with_nova(flavors=(*(NOVA.flavors or ()), pinned))
    assert [(f.id, f.object) for f in findings(facts)] == [("limit-not-registered", "limit class:PCPU")]


def test_what_a_nova_conf_requires_is_refused_while_it_is_missing() -> None:
    facts, *_ = CASES["class of a flavor not registered"]
    conf = {
        "quota.driver": "nova.quota.UnifiedLimitsDriver",
        "quota.unified_limits_resource_list": "servers,class:VGPU",
    }
    facts = msgspec.structs.replace(facts, ssh={"gpu-01": msgspec.structs.replace(facts.ssh["gpu-01"], nova_conf=conf)})
    (found,) = (f for f in findings(facts) if f.id == "limit-not-registered")
    assert (found.severity, "every request for it is refused" in found.message) == ("fail", True)


def test_where_nova_enforces_nothing_a_missing_limit_is_not_the_trouble() -> None:
    facts, *_ = CASES["class of a flavor not registered"]
    facts = msgspec.structs.replace(
        facts, ssh={"gpu-01": SshFacts(host="gpu-01", nova_conf={"quota.driver": "nova.quota.DbQuotaDriver"})}
    )
    assert [(f.id, f.severity) for f in findings(facts)] == [
        ("unified-limits-off", "fail"),
        ("limit-not-registered", "info"),
    ]


def test_a_project_is_not_called_gone_by_one_who_sees_only_some() -> None:
    facts = with_keystone(limits_scope="project", project_limits=(own("p-gone", 1),))
    lesser = msgspec.structs.replace(facts, identity=msgspec.structs.replace(facts.identity, roles=("service",)))
    assert "limit-of-dead-project" not in {f.id for f in findings(lesser)}
    assert "limit-of-dead-project" in {f.id for f in findings(facts)}


def test_an_ended_migration_whose_server_holds_nothing_is_looked_at_before_it_is_deleted() -> None:
    facts = with_nova(migrations=(migration("vm-1", "error"),))
    facts = with_placement(provider(0, ("mig-1", 1)), provider(1), facts=facts, strangers={"mig-1": "p-ml"})
    (found,) = (f for f in findings(facts) if f.id == "usage-leaked")
    assert found.command == "openstack resource provider allocation show mig-1"
    assert "on which host it runs" in found.message


def test_names_are_quoted_for_the_shell() -> None:
    odd = "a b;rm -rf $HOME"
    facts = with_keystone(project_limits=(own("p-gone", 1, id=odd),))
    (found,) = (f for f in findings(facts) if f.id == "limit-of-dead-project")
    assert shlex.split(found.command) == ["openstack", "limit", "delete", odd]


def test_the_worst_comes_first_and_what_concerns_the_cloud_is_among_its_findings() -> None:
    facts = with_keystone(enforcement_model="strict_two_level", system_roles=None, project_limits=(own("p-ml", 0),))
    snapshot = snapshot_of(facts)
    assert [f.severity for f in snapshot.quota_findings] == ["fail", "warn", "info"]
    assert [f.id for f in snapshot.findings if f.host == ""] == ["limits-model-not-flat", "project-over-limit"]


def test_without_keystone_only_what_others_tell_is_said() -> None:
    facts = msgspec.structs.replace(_leaked(IN_ORDER, "who"), keystone=None)
    assert [f.id for f in findings(facts)] == ["usage-leaked"]
