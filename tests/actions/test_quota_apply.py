"""Quota plans applied to the embedded cloud: what Keystone then holds, what Nova then allows, what the journal says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import NOW, Console, check, limits_in, requests
from tests.simulator.client import Api
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.quota import PlanError, plan_clear, plan_default, plan_restore, plan_set
from vgpu_console.simulator import DemoCloud, HttpFault

VGPU = "class:VGPU"
NEW = "class:CUSTOM_L40S_12Q"


def set_plan(console: Console, project: str, value: int, resource: str = VGPU) -> Plan:
    return plan_set(console.facts, console.snapshot, console.project(project), resource, value, NOW)


def default_plan(console: Console, value: int, resource: str = VGPU) -> Plan:
    return plan_default(console.facts, console.snapshot, resource, value, NOW)


def boot(cloud: DemoCloud, user: str, project: str, flavor: str) -> int:
    api = Api(cloud, user=user, project=project)
    flavors = {f["name"]: f["id"] for f in api.get("compute", "/flavors/detail", "2.96")["flavors"]}
    body = {"server": {"name": "new", "flavorRef": flavors[flavor], "networks": "none", "imageRef": ""}}
    return api.call("POST", "compute", "/servers", "2.96", body).status_code


def test_a_limit_set_here_makes_nova_refuse_and_a_raised_one_lets_it_boot(console: Console) -> None:
    cloud = console.cloud
    assert console.apply(set_plan(console, "vdi", 6)).message == "already so: nothing to do"
    assert boot(cloud, "victor", "vdi", "desktop.a40-8q") == 403
    outcome = console.apply(set_plan(console, "vdi", 7))
    assert (outcome.result, outcome.observed, limits_in(cloud)["vdi"]) == ("done", {"limit": 7}, 7)
    assert boot(cloud, "victor", "vdi", "desktop.a40-8q") == 202


def test_below_usage_is_applied_only_when_that_was_accepted(console: Console) -> None:
    plan = set_plan(console, "vdi", 5)
    refused = console.apply(plan, accept=False)
    assert (refused.result, limits_in(console.cloud)["vdi"]) == ("refused", 6)
    assert "quota.below-usage: 6 vGPUs in use, 1 above the limit of 5" in refused.message
    assert console.apply(plan).result == "done"
    assert limits_in(console.cloud)["vdi"] == 5


def test_what_was_missing_is_registered_and_then_enforced(console: Console) -> None:
    cloud = console.cloud
    assert boot(cloud, "rosa", "render", "render.l40s-12q") == 202
    console.read()
    assert console.apply(set_plan(console, "render", 1, NEW)).result == "done"
    assert limits_in(cloud, NEW) == {"default": -1, "render": 1}
    assert boot(cloud, "rosa", "render", "render.l40s-12q") == 403
    assert {r.region_id for r in cloud.state.registered_limits.values()} == {"RegionOne"}


def test_the_inverse_brings_back_what_was(console: Console) -> None:
    before = limits_in(console.cloud)
    for plan in (
        set_plan(console, "vdi", 9),
        plan_clear(console.facts, console.snapshot, console.project("students"), VGPU, NOW),
    ):
        assert console.apply(plan).result == "done"
        assert limits_in(console.cloud) != before
        for step in plan.inverse:
            console.world.take(step)
        assert limits_in(console.cloud) == before


def test_a_default_is_changed_around_the_own_limits(console: Console) -> None:
    before = limits_in(console.cloud)
    outcome = console.apply(default_plan(console, 5))
    assert outcome.result == "done"
    assert limits_in(console.cloud) == before | {"default": 5}


def test_domains_with_limits_of_their_own_get_them_back(console: Console) -> None:
    state = console.cloud.state
    own = next(x for x in state.limits.values() if x.resource_name == VGPU)
    own.project_id, own.domain_id = None, "default"
    console.read()
    plan = default_plan(console, 5)
    assert console.apply(plan).result == "done"
    assert limits_in(console.cloud)["default"] in (5, own.resource_limit)
    assert [x.resource_limit for x in state.limits.values() if x.domain_id == "default"] == [own.resource_limit]
    assert any("has no openstack command" in line for line in plan.commands)


class TestTwoConsoles:
    """Each with its own connection, token and journal, on one cloud."""

    @pytest.fixture
    def other(self, cloud: DemoCloud, tmp_path: Path) -> Console:
        return Console(cloud, tmp_path / "other").read()

    def test_the_second_is_refused_with_the_new_value(self, console: Console, other: Console) -> None:
        first, second = set_plan(console, "vdi", 8), set_plan(other, "vdi", 9)
        assert console.apply(first).result == "done"
        outcome = other.apply(second)
        assert outcome.result == "moved"
        assert outcome.message == "changed since it was planned: limit was 6 and is 8"
        assert limits_in(console.cloud)["vdi"] == 8
        assert [(e, r) for e, r, _ in other.journaled()] == [("begun", None), ("ended", "moved")]
        assert other.journal.unfinished() == ()

    def test_a_first_own_limit_is_not_made_twice(self, console: Console, other: Console) -> None:
        first, second = set_plan(console, "render", 8), set_plan(other, "render", 9)
        assert console.apply(first).result == "done"
        assert other.apply(second).message == "changed since it was planned: limit was none and is 8"
        assert sum(x.resource_name == VGPU for x in console.cloud.state.limits.values()) == 5

    def test_an_own_limit_made_meanwhile_stops_a_change_of_the_default(self, console: Console, other: Console) -> None:
        plan = default_plan(console, 5)
        assert other.apply(set_plan(other, "render", 3)).result == "done"
        outcome = console.apply(plan)
        assert outcome.result == "moved"
        assert f"project [{console.project('render')}] was none and is 3" in outcome.message
        assert limits_in(console.cloud)["default"] == 4

    def test_a_default_registered_meanwhile_is_not_overwritten(self, console: Console, other: Console) -> None:
        first, second = default_plan(console, 3, NEW), set_plan(other, "render", 5, NEW)
        assert console.apply(first).result == "done"
        assert other.apply(second).result == "moved"
        assert limits_in(console.cloud, NEW) == {"default": 3}

    def test_a_limit_deleted_between_re_reading_and_sending(
        self, console: Console, other: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan, clear = (
            set_plan(console, "vdi", 8),
            plan_clear(other.facts, other.snapshot, other.project("vdi"), VGPU, NOW),
        )
        take = console.world.take

        def late(step: object) -> None:
            other.apply(clear)
            take(step)  # type: ignore[arg-type]

        monkeypatch.setattr(console.world, "take", late)
        outcome = console.apply(plan)
        assert outcome.result == "failed"
        assert "HTTP 404" in outcome.message
        assert outcome.observed == {"limit": None}


class TestKeystoneFails:
    def test_down_between_plan_and_apply_sends_nothing_and_the_journal_says_so(self, console: Console) -> None:
        plan = set_plan(console, "vdi", 8)
        console.cloud.faults.http["identity"] = HttpFault(kind="refused")
        outcome = console.apply(plan)
        console.cloud.faults.http.clear()
        assert outcome.result == "refused"
        assert "cannot be re-checked, nothing was sent: keystone at demo.invalid" in outcome.message
        assert limits_in(console.cloud)["vdi"] == 6
        assert [(e, r) for e, r, _ in console.journaled()] == [("begun", None), ("ended", "refused")]
        assert console.apply(plan).result == "done"

    @pytest.mark.parametrize("kind", ["refused", "html", "status", "truncated"])
    def test_down_at_the_step_leaves_things_as_they_were(self, console: Console, kind: str) -> None:
        plan = set_plan(console, "vdi", 8)
        path = requests(plan.steps)[0].path
        console.cloud.faults.http["identity"] = HttpFault(kind=kind, path=path, times=1)  # type: ignore[arg-type]
        outcome = console.apply(plan)
        assert outcome.result == ("done" if kind == "truncated" else "failed")
        assert limits_in(console.cloud)["vdi"] == (8 if kind == "truncated" else 6)
        if kind != "truncated":
            assert outcome.message.endswith("nothing was changed")

    def test_down_in_the_middle_of_a_sequence_can_be_mended_from_the_journal(self, console: Console) -> None:
        before = limits_in(console.cloud)
        plan = default_plan(console, 5)
        console.cloud.faults.http["identity"] = HttpFault(kind="refused", path="/registered_limits/", times=1)
        outcome = console.apply(plan)
        assert (outcome.result, outcome.steps_taken) == ("failed", 4)
        assert limits_in(console.cloud) == {"default": 4}
        begun = next(e for e in console.journal.entries() if e.event == "begun")
        assert begun.plan is not None
        console.read()
        mending = plan_restore(console.facts, console.snapshot, begun.plan, NOW)
        assert console.apply(mending).result == "done"
        assert limits_in(console.cloud) == before
        console.read()
        again = plan_restore(console.facts, console.snapshot, begun.plan, NOW)
        assert again.changes_nothing
        assert again.effect == ("every limit that the plan deleted is there",)

    def test_only_a_change_of_a_default_can_be_mended(self, console: Console) -> None:
        with pytest.raises(PlanError, match="only a change of a default"):
            plan_restore(console.facts, console.snapshot, set_plan(console, "vdi", 8), NOW)

    def test_a_list_that_keystone_cut_is_not_taken_for_the_whole(
        self, console: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = default_plan(console, 5)
        get = console.connection.get

        def cut(service: str, path: str, **more: object) -> object:
            return get(service, path, **more) | {"truncated": True}  # type: ignore[arg-type]

        monkeypatch.setattr(console.connection, "get", cut)
        outcome = console.apply(plan)
        assert outcome.result == "refused"
        assert "list_limit" in outcome.message


class TestCredentials:
    def test_a_read_only_console_sends_nothing(self, cloud: DemoCloud, tmp_path: Path) -> None:
        console = Console(cloud, tmp_path, read_only=True).read()
        plan = set_plan(console, "vdi", 8)
        assert console.apply(plan).message == "this console is read-only"
        assert (limits_in(cloud)["vdi"], console.journaled()) == (6, [])

    def test_the_wall_holds_even_when_the_world_is_told_otherwise(self, cloud: DemoCloud, tmp_path: Path) -> None:
        from vgpu_console.actions.cloud_world import CloudWorld
        from vgpu_console.sources.base import Refused

        console = Console(cloud, tmp_path, read_only=True).read()
        world = CloudWorld(console.connection, False, "demo")
        assert world.read_only
        with pytest.raises(Refused):
            world.take(set_plan(console, "vdi", 8).steps[0])
        assert limits_in(cloud)["vdi"] == 6

    @pytest.mark.parametrize("user", ["auditor", "alice"])
    def test_a_reader_and_a_member_are_told_which_role_they_need(
        self, cloud: DemoCloud, tmp_path: Path, console: Console, user: str
    ) -> None:
        """With facts that an admin read, as the worst case: the roles alone forbid it, and Keystone is not asked."""
        project = {"auditor": "admin", "alice": "ml-research"}[user]
        lesser = Console(cloud, tmp_path, user=user, project=project)
        lesser.facts = msgspec.structs.replace(console.facts, identity=lesser.read().facts.identity)
        plan = set_plan(lesser, "ml-research", 8)
        assert check(plan, "quota.role").status == "fail"
        asked = cloud.app.requests
        outcome = lesser.apply(plan)
        assert (outcome.result, cloud.app.requests) == ("refused", asked)
        assert "needs role admin on the system or in a project (Keystone limits)" in outcome.message

    def test_keystones_own_refusal_is_one_plain_line(self, cloud: DemoCloud, tmp_path: Path, console: Console) -> None:
        reader = Console(cloud, tmp_path, user="auditor")
        with pytest.raises(Exception, match="it needs the admin role") as caught:
            reader.world.take(set_plan(console, "vdi", 8).steps[0])
        assert "\n" not in str(caught.value)
        registered = next(r.id for r in cloud.state.registered_limits.values() if r.resource_name == VGPU)
        change = requests(default_plan(console, 5).steps)[-2]
        assert change.path == f"/registered_limits/{registered}"
        with pytest.raises(Exception, match="there are project limits associated"):
            console.world.take(change)

    def test_reader_on_the_system_and_admin_in_a_project_is_enough(self, cloud: DemoCloud, tmp_path: Path) -> None:
        """Limits of all are read with the one scope and set with the other, without a second cloud."""
        cloud.builder.user("mixed", {"admin": ("admin",)}, system=("reader",))
        console = Console(cloud, tmp_path, user="mixed").read()
        identity = console.facts.identity
        assert (identity.roles, identity.limits_roles, identity.limits_scope) == (("admin",), ("reader",), "system all")
        plan = set_plan(console, "vdi", 8)
        assert {c.status for c in plan.checks if c.id in ("quota.role", "quota.limits-visible")} == {"pass"}
        assert console.apply(plan).result == "done"

    def test_an_admin_of_the_system_alone(self, cloud: DemoCloud, tmp_path: Path) -> None:
        console = Console(cloud, tmp_path, system=True).read()
        assert console.facts.nova is None
        assert console.apply(set_plan(console, "vdi", 8)).result == "done"

    def test_an_admin_of_a_project_who_sees_no_limits_of_others(self, cloud: DemoCloud, tmp_path: Path) -> None:
        """Before Keystone 29: an own limit that does not show is not overwritten, and a new one is still verified."""
        cloud.builder.user("local", {"admin": ("admin",)})
        console = Console(cloud, tmp_path, user="local").read()
        hidden, new = set_plan(console, "vdi", 8), set_plan(console, "render", 8)
        assert check(hidden, "quota.limits-visible").status == "unknown"
        assert not any("until now the default held" in line for line in hidden.effect)
        outcome = console.apply(hidden)
        assert (outcome.result, limits_in(cloud)["vdi"]) == ("failed", 6)
        assert "HTTP 409" in outcome.message
        assert console.apply(new).result == "done"
        assert limits_in(cloud)["render"] == 8


def test_nothing_secret_is_journaled(console: Console, cloud: DemoCloud) -> None:
    console.apply(set_plan(console, "vdi", 8))
    written = console.journal.path.read_text()
    assert not any(token in written for token in cloud.state.tokens)
    assert '"password"' not in written


@pytest.mark.parametrize(
    "make",
    [
        lambda c: set_plan(c, "vdi", 8),
        lambda c: set_plan(c, "render", 8),
        lambda c: set_plan(c, "render", 8, NEW),
        lambda c: plan_clear(c.facts, c.snapshot, c.project("vdi"), VGPU, NOW),
        lambda c: default_plan(c, 5),
        lambda c: default_plan(c, 5, NEW),
    ],
)
def test_planning_sends_nothing_and_a_second_look_at_the_same_facts_gives_the_same_hash(
    console: Console, make: Callable[[Console], Plan]
) -> None:
    asked = console.cloud.app.requests
    plan, again = make(console), make(console)
    assert console.cloud.app.requests == asked
    assert plan.hash == again.hash
    assert console.world.observe(plan) == plan.before
    assert console.apply(plan).result == "done"
    assert console.world.observe(plan) == plan.after
