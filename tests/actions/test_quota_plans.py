"""What a quota plan says before anything is sent: from what to what, what it means, which checks stand open."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.actions.demo import NOW, Console, check, requests
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.quota import PlanError, plan_clear, plan_default, plan_set, plan_set_many
from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.source import SourceStatus
from vgpu_console.simulator.state import Project

VGPU = "class:VGPU"
NEW = "class:CUSTOM_L40S_12Q"


def changed(of: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(of, **fields)


def set_plan(console: Console, project: str, value: int, resource: str = VGPU, **more: Any) -> Plan:
    return plan_set(console.facts, console.snapshot, console.project(project), resource, value, NOW, **more)


class TestSetting:
    def test_an_own_limit_is_patched_by_its_id(self, console: Console) -> None:
        plan = set_plan(console, "ml-research", 12)
        (step,) = requests(plan.steps)
        limit_id = next(x.id for x in console.cloud.state.limits.values() if x.resource_limit == 10)
        assert (step.method, step.path, step.body) == (
            "PATCH",
            f"/limits/{limit_id}",
            {"limit": {"resource_limit": 12}},
        )
        assert (plan.before, plan.after) == ({"limit": 10}, {"limit": 12})
        assert plan.commands == (f"openstack limit set --resource-limit 12 {limit_id}",)
        assert [(s.method, s.body) for s in requests(plan.inverse)] == [("PATCH", {"limit": {"resource_limit": 10}})]

    def test_a_first_own_limit_is_created_beside_the_default(self, console: Console) -> None:
        plan = set_plan(console, "render", 6)
        (step,) = requests(plan.steps)
        row = step.body["limits"][0] if step.body else {}
        service = console.cloud.state.service("compute").id
        assert (step.method, step.path) == ("POST", "/limits")
        assert (row["project_id"], row["service_id"], row["region_id"]) == (
            console.project("render"), service, "RegionOne",
        )  # fmt: skip
        assert "until now the default held: 4" in plan.effect
        assert plan.inverse == ()
        assert "clear the limit of render" in plan.inverse_note

    @pytest.mark.parametrize(
        ("value", "line", "danger"),
        [
            (5, "project is now at 6 of 5: no new vGPU server until two are gone", "risk"),
            (6, "project is now at 6 of 6: no new vGPU server until one is gone", "change"),
            (7, "project is now at 6 of 7: one more vGPU, as far as quota goes", "change"),
            (9, "project is now at 6 of 9: three more vGPUs, as far as quota goes", "change"),
            (0, "project is now at 6 of 0: no new vGPU server, however many are gone; the 6 in use stay", "risk"),
            (-1, "project has no limit: only the hosts' capacity ends what it can start (6 in use)", "change"),
        ],
    )
    def test_says_where_the_project_then_stands(self, console: Console, value: int, line: str, danger: str) -> None:
        plan = set_plan(console, "vdi", value)
        assert plan.effect[0] == line
        assert plan.danger == danger

    def test_use_that_is_counted_twice_or_leaked_is_told(self, console: Console) -> None:
        quotas = tuple(changed(q, in_flight=1, leaked=2) if q.project == "vdi" else q for q in console.snapshot.quotas)
        console.snapshot = changed(console.snapshot, quotas=quotas)
        plan = set_plan(console, "vdi", 5)
        assert any(
            line.startswith("one of the 6 counts twice while a migration runs, and goes by itself")
            for line in plan.effect
        )
        assert any(line.startswith("two of the 6 are held by nothing that runs") for line in plan.effect)

    def test_the_same_value_is_nothing_to_do(self, console: Console) -> None:
        plan = set_plan(console, "vdi", 6)
        assert plan.changes_nothing
        assert plan.needs_override == ()

    def test_a_missing_registered_limit_is_created_where_nova_looks(self, console: Console) -> None:
        plan = set_plan(console, "render", 2, NEW)
        registers, _ = requests(plan.steps)
        service = console.cloud.state.service("compute").id
        assert registers.body == {
            "registered_limits": [
                {"resource_name": NEW, "default_limit": -1, "service_id": service, "region_id": "RegionOne"}
            ]
        }
        assert (plan.before, plan.after) == ({"limit": None, "default": None}, {"limit": 2, "default": -1})
        assert any("has no registered limit that Nova finds" in line and service in line for line in plan.effect)
        assert plan.danger == "risk"  # that -1 keeps others as they are is Nova's default, and no nova.conf was read

    @pytest.mark.parametrize(
        ("conf", "status"),
        [
            ({"quota.unified_limits_resource_strategy": "require"}, "pass"),
            ({"quota.driver": "nova.quota.UnifiedLimitsDriver"}, "unknown"),  # nova-api's own may name a strategy
            ({}, "unknown"),
        ],
    )
    def test_that_others_stay_as_they_are_is_told_by_a_nova_conf(
        self, console: Console, conf: dict[str, str], status: str
    ) -> None:
        console.facts = changed(console.facts, ssh={"gpu-01": SshFacts(host="gpu-01", nova_conf=conf)})
        assert check(set_plan(console, "render", 2, NEW), "quota.default").status == status

    def test_on_an_old_nova_the_new_default_keeps_zero(self, console: Console) -> None:
        old = changed(console.facts.nova, max_microversion="2.96")
        console.facts = changed(console.facts, nova=old)
        assert set_plan(console, "render", 2, NEW).after["default"] == 0

    def test_where_missing_means_nobody_knows_it_must_be_accepted(self, console: Console) -> None:
        console.facts = changed(console.facts, nova=changed(console.facts.nova, max_microversion=""))
        plan = set_plan(console, "render", 2, NEW)
        assert check(plan, "quota.default").status == "unknown"
        assert plan.danger == "risk"

    def test_a_limit_registered_for_another_region_is_not_novas(self, console: Console) -> None:
        for registered in console.cloud.state.registered_limits.values():
            if registered.resource_name == VGPU:
                registered.region_id = "RegionTwo"
        console.read()
        plan = set_plan(console, "render", 2)
        assert [s.path for s in requests(plan.steps)] == ["/registered_limits", "/limits"]
        assert any("for region RegionTwo stays as it is" in line for line in plan.effect)

    def test_a_name_that_nothing_on_this_cloud_has_is_warned_of(self, console: Console) -> None:
        assert check(set_plan(console, "render", 2, "CUSTOM_L40S_12O"), "quota.resource").status == "warn"
        assert check(set_plan(console, "render", 2, "CUSTOM_L40S_12Q"), "quota.resource").status == "pass"

    def test_names_are_for_eyes_and_commands_hold_ids_only(self, console: Console) -> None:
        name = next(p.name for p in console.cloud.state.projects.values() if p.name.startswith("[b]"))
        plan = set_plan(console, name, 3)
        assert plan.target.name == name
        for command in plan.commands:
            assert name not in command
            assert shlex.split(command)[0] == "openstack"

    def test_two_projects_of_one_name_are_told_apart(self, console: Console) -> None:
        console.cloud.builder.domain("d2", "Lab")
        console.cloud.builder.project("vdi", domain_id="d2")
        console.read()
        assert set_plan(console, "vdi", 7).target.name == "vdi@Default"


class TestSeveral:
    def test_the_missing_default_comes_first_and_once(self, console: Console) -> None:
        ids = [console.project(n) for n in ("render", "vdi", "render")]
        plans = plan_set_many(console.facts, console.snapshot, ids, NEW, 2, NOW)
        assert [(p.action, len(p.steps)) for p in plans] == [("quota.default", 1), ("quota.set", 1), ("quota.set", 1)]
        assert [console.apply(p).result for p in plans] == ["done"] * 3

    def test_without_it_there_is_a_plan_per_project(self, console: Console) -> None:
        ids = [console.project(n) for n in ("render", "vdi")]
        plans = plan_set_many(console.facts, console.snapshot, ids, VGPU, 9, NOW)
        assert [p.target.name for p in plans] == ["render", "vdi"]


class TestClearing:
    def test_names_the_default_that_holds_then(self, console: Console) -> None:
        plan = plan_clear(console.facts, console.snapshot, console.project("vdi"), VGPU, NOW)
        assert (plan.before, plan.after) == ({"limit": 6, "default": 4}, {"limit": None, "default": 4})
        assert plan.effect == (
            "project is now at 6 of 4: no new vGPU server until three are gone", "from now on the default holds: 4",
        )  # fmt: skip
        assert plan.danger == "risk"
        (inverse,) = requests(plan.inverse)
        assert inverse.body is not None
        assert inverse.body["limits"][0]["resource_limit"] == 6

    def test_without_an_own_limit_is_nothing_to_do(self, console: Console) -> None:
        plan = plan_clear(console.facts, console.snapshot, console.project("render"), VGPU, NOW)
        assert plan.changes_nothing
        assert "has no limit of its own" in plan.effect[0]

    def test_works_for_a_project_that_is_gone(self, console: Console) -> None:
        gone = console.project("vdi")
        del console.cloud.state.projects[gone]
        console.read()
        plan = plan_clear(console.facts, console.snapshot, gone, VGPU, NOW)
        assert console.apply(plan).result == "done"


class TestDefault:
    def test_with_own_limits_is_a_sequence_that_names_them(self, console: Console) -> None:
        plan = plan_default(console.facts, console.snapshot, VGPU, 5, NOW)
        assert [s.method for s in requests(plan.steps)] == ["DELETE"] * 4 + ["PATCH", "POST"]
        assert plan.danger == "risk"
        said = "\n".join(plan.effect)
        for name, limit in (("ml-research", "10"), ("vdi", "6"), ("students", "2"), ("Ünïté", "unlimited (-1)")):
            assert name in said
            assert limit in said
        assert "in between they have the default: 4, then 5" in said
        assert "in between nothing new can start in ml-research, vdi" in said

    def test_without_own_limits_is_one_step_with_its_inverse(self, console: Console) -> None:
        console.cloud.state.limits.clear()
        console.read()
        plan = plan_default(console.facts, console.snapshot, VGPU, 5, NOW)
        assert [(s.method, s.body) for s in requests(plan.steps)] == [
            ("PATCH", {"registered_limit": {"default_limit": 5}})
        ]
        assert [s.body for s in requests(plan.inverse)] == [{"registered_limit": {"default_limit": 4}}]
        assert check(plan, "quota.below-usage").evidence == "2 would be above the default: ml-research, vdi"

    def test_a_missing_one_is_created(self, console: Console) -> None:
        plan = plan_default(console.facts, console.snapshot, NEW, 1, NOW)
        assert (plan.before, plan.after) == ({"default": None}, {"default": 1})
        assert check(plan, "quota.below-usage").evidence == "1 would be above the default: render"
        assert plan.danger == "risk"

    def test_a_limit_of_a_project_that_is_gone_is_not_set_again(self, console: Console) -> None:
        gone = console.project("students")
        del console.cloud.state.projects[gone]
        console.read()
        plan = plan_default(console.facts, console.snapshot, VGPU, 5, NOW)
        assert not any(gone in key for key in plan.after)
        assert any("not set again, as the project is gone" in line for line in plan.effect)
        assert console.apply(plan).result == "done"


class TestChecks:
    def test_all_is_well_for_an_admin_with_fresh_facts(self, console: Console) -> None:
        plan = set_plan(console, "ml-research", 9)
        open_ids = {c.id for c in plan.checks if c.status != "pass"}
        assert open_ids == set()
        assert {c.id for c in plan.checks} == {
            "quota.fresh", "quota.role", "quota.model", "quota.capacity", "quota.below-usage", "quota.limits-visible",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("status", "word", "evidence"),
        [
            (SourceStatus(kind="keystone", fetched_at=NOW - 149, interval_s=30), "pass", "149 s ago"),
            (SourceStatus(kind="keystone", fetched_at=NOW - 151, interval_s=30), "fail", "more than 150 s"),
            (SourceStatus(kind="keystone", fetched_at=NOW - 61, interval_s=5), "fail", "more than 60 s"),
            (SourceStatus(kind="keystone", fetched_at=NOW - 1, error="connection refused"), "fail", "refused"),
            (SourceStatus(kind="keystone"), "fail", "never read"),
        ],
    )
    def test_old_facts_forbid(self, console: Console, status: SourceStatus, word: str, evidence: str) -> None:
        console.facts = changed(console.facts, statuses=(status,))
        found = check(set_plan(console, "vdi", 7), "quota.fresh")
        assert found.status == word
        assert evidence in found.evidence

    @pytest.mark.parametrize(
        ("roles", "limits_roles", "word"),
        [
            (("admin",), ("reader",), "pass"),
            (("member",), ("admin",), "pass"),
            (("member", "reader"), ("reader",), "fail"),
            ((), (), "unknown"),
        ],
    )
    def test_the_role(self, console: Console, roles: Any, limits_roles: Any, word: str) -> None:
        identity = changed(console.facts.identity, roles=roles, limits_roles=limits_roles)
        console.facts = changed(console.facts, identity=identity)
        found = check(set_plan(console, "vdi", 7), "quota.role")
        assert found.status == word
        if word == "fail":
            assert found.evidence.startswith("needs role admin on the system or in a project (Keystone limits)")

    @pytest.mark.parametrize(("model", "word"), [("flat", "pass"), ("strict_two_level", "warn"), (None, "unknown")])
    def test_the_enforcement_model(self, console: Console, model: str | None, word: str) -> None:
        console.facts = changed(console.facts, keystone=changed(console.facts.keystone, enforcement_model=model))
        assert check(set_plan(console, "vdi", 7), "quota.model").status == word

    @pytest.mark.parametrize(("complete", "word"), [(True, "pass"), (False, "unknown"), (None, "unknown")])
    def test_whether_all_limits_are_visible(self, console: Console, complete: bool | None, word: str) -> None:
        console.facts = changed(console.facts, keystone=changed(console.facts.keystone, limits_complete=complete))
        assert check(set_plan(console, "vdi", 7), "quota.limits-visible").status == word

    @pytest.mark.parametrize(
        ("capacity", "promised", "value", "word", "evidence"),
        [
            (40, 26, 20, "pass", "40 promised in all, the hosts hold 40, and 1 project has no limit"),
            (40, 26, 21, "warn", "41 promised in all, the hosts hold 40"),
            (None, 26, 21, "unknown", "how many vGPUs the hosts can hold is not known"),
            (40, None, 21, "unknown", "what is promised in all is not known"),
            (10, 26, 5, "pass", "nothing more is promised than before"),
            (40, 26, -1, "warn", "can be more than all hosts hold"),
        ],
    )
    def test_promises_against_what_the_hosts_hold(
        self, console: Console, capacity: Any, promised: Any, value: int, word: str, evidence: str
    ) -> None:
        totals = tuple(
            changed(t, capacity=capacity, promised=promised, unlimited=1, unknown=0) if t.resource == VGPU else t
            for t in console.snapshot.quota_totals
        )
        console.snapshot = changed(console.snapshot, quota_totals=totals)
        found = check(set_plan(console, "vdi", value), "quota.capacity")
        assert found.status == word
        assert evidence in found.evidence

    def test_use_that_is_not_known_is_no_pass(self, console: Console) -> None:
        quotas = tuple(changed(q, used=None) for q in console.snapshot.quotas)
        console.snapshot = changed(console.snapshot, quotas=quotas)
        assert check(set_plan(console, "vdi", 7), "quota.below-usage").status == "unknown"

    @pytest.mark.parametrize(("spoken", "word"), [("2.100", "pass"), ("2.96", "warn"), ("", "unknown")])
    def test_minus_one_by_release(self, console: Console, spoken: str, word: str) -> None:
        console.facts = changed(console.facts, nova=changed(console.facts.nova, max_microversion=spoken))
        assert check(set_plan(console, "vdi", -1), "quota.unlimited").status == word


class TestImpossible:
    @pytest.mark.parametrize(
        ("spoil", "exit", "line"),
        [
            (lambda f: changed(f, keystone=None), 3, "keystone has not answered"),
            (lambda f: changed(f, keystone=changed(f.keystone, registered_limits=None)), 4, "cannot be read"),
            (lambda f: changed(f, keystone=changed(f.keystone, services=None)), 4, "nobody knows where Nova looks"),
            (lambda f: changed(f, keystone=changed(f.keystone, endpoints=())), 4, "no compute endpoint"),
        ],
    )
    def test_says_why_in_one_line(self, console: Console, spoil: Callable[[Any], Any], exit: int, line: str) -> None:
        console.facts = spoil(console.facts)
        with pytest.raises(PlanError, match=line) as caught:
            set_plan(console, "vdi", 7)
        assert caught.value.exit == exit

    def test_several_regions_need_a_word(self, console: Console) -> None:
        keystone = console.facts.keystone
        assert keystone is not None
        assert keystone.endpoints is not None
        nova = next(s.id for s in keystone.services or () if s.type == "compute")
        other = changed(next(e for e in keystone.endpoints if e.service_id == nova), id="e2", region_id="RegionTwo")
        console.facts = changed(
            console.facts,
            keystone=changed(keystone, endpoints=(*keystone.endpoints, other)),
            identity=changed(console.facts.identity, region=""),
        )
        with pytest.raises(PlanError, match="several regions") as caught:
            set_plan(console, "vdi", 7)
        assert caught.value.exit == 4
        assert set_plan(console, "vdi", 7, region="RegionOne").before == {"limit": 6}
        assert requests(set_plan(console, "vdi", 7, region="RegionTwo").steps)[0].path == "/registered_limits"
        with pytest.raises(PlanError, match="no compute endpoint is in region 'Nowhere'"):
            set_plan(console, "vdi", 7, region="Nowhere")

    @pytest.mark.parametrize("value", [-2, 2_147_483_648])
    def test_values_that_keystone_cannot_keep(self, console: Console, value: int) -> None:
        before = console.cloud.app.requests
        for plan in (
            lambda: set_plan(console, "vdi", value),
            lambda: plan_default(console.facts, console.snapshot, VGPU, value, NOW),
            lambda: plan_set_many(console.facts, console.snapshot, [console.project("vdi")], VGPU, value, NOW),
        ):
            with pytest.raises(PlanError) as caught:
                plan()
            assert caught.value.exit == 2
        assert console.cloud.app.requests == before

    def test_an_unknown_project(self, console: Console) -> None:
        with pytest.raises(PlanError, match="no project has the id") as caught:
            plan_set(console.facts, console.snapshot, "0" * 32, VGPU, 4, NOW)
        assert caught.value.exit == 2

    def test_the_highest_value_is_kept(self, console: Console) -> None:
        assert console.apply(set_plan(console, "vdi", 2_147_483_647)).result == "done"


def test_a_project_of_another_domain_shares_no_limit(console: Console) -> None:
    other = Project("e" * 32, "vdi", "d2")
    console.cloud.state.projects[other.id] = other
    console.read()
    assert plan_set(console.facts, console.snapshot, other.id, VGPU, 3, NOW).before == {"limit": None}
