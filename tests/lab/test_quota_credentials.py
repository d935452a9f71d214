"""Who may change limits on a real Keystone, and what everybody else is told instead of a 403."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.quota_console import VGPU, QuotaConsole, check
from vgpu_console.actions.limit_place import read_keystone
from vgpu_console.actions.projects import PlanError
from vgpu_console.actions.registry import action
from vgpu_console.sources.base import SourceError

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

Opener = Callable[..., QuotaConsole]


@pytest.mark.parametrize("cloud", ["lab-system", "lab-project-admin", "lab-operator", "lab-split"])
def test_may_change_limits(cloud: str, open_console: Opener, sdk_system: Any) -> None:
    """``lab-split`` reads limits with the system's scope and may set them with the project's only."""
    console = open_console(cloud).read()
    assert action("quota.set").available(console.snapshot, False) == ""
    plan = console.plan_set("ml-research", 8)
    console.done(plan)
    console.done(console.read().plan_default(3))
    own = {limit.project_id: limit.resource_limit for limit in sdk_system.identity.limits(resource_name=VGPU)}
    assert own == {console.project("ml-research"): 8}
    assert next(iter(sdk_system.identity.registered_limits(resource_name=VGPU))).default_limit == 3


def test_what_a_system_scope_alone_cannot_know_is_unknown(open_console: Opener) -> None:
    console = open_console("lab-system").read()
    row = console.row("ml-research")
    assert (row.limit, row.used, row.free, row.used_by_instances) == (6, None, None, None)
    assert check(console.plan_set("ml-research", 1), "quota.below-usage").status == "unknown"


@pytest.mark.parametrize(
    ("cloud", "own_limit"), [("lab-auditor", 6), ("lab-reader", 6), ("lab-member", 6), ("lab-vdi", None)]
)
def test_may_not_change_limits(cloud: str, own_limit: int | None, open_console: Opener, sdk_system: Any) -> None:
    console = open_console(cloud).read()
    keystone = read_keystone(console.facts)
    assert [r.resource_limit for r in keystone.project_limits or () if r.resource_name == VGPU] == (
        [own_limit] if own_limit is not None else []
    )
    for id in ("quota.set", "quota.clear", "quota.default", "quota.import"):
        reason = action(id).available(console.snapshot, False)
        assert reason.startswith("needs role admin"), (id, reason)
        assert "\n" not in reason
    if cloud == "lab-auditor":  # it sees all, so a plan can be shown; it is not carried out
        plan = console.plan_set("ml-research", 9)
        assert check(plan, "quota.role").status == "fail"
        outcome = console.apply(plan)
        assert (outcome.result, "needs role admin" in outcome.message) == ("refused", True), outcome.message
    else:
        with pytest.raises(PlanError, match="needs role admin") as refusal:
            console.plan_set("vdi" if cloud == "lab-vdi" else "ml-research", 9)
        assert refusal.value.exit == 4
    assert {row.resource_limit for row in sdk_system.identity.limits(resource_name=VGPU)} == {6}


@pytest.mark.parametrize("cloud", ["lab-auditor", "lab-reader", "lab-member"])
def test_what_keystone_itself_says_to_who_may_not(cloud: str, open_console: Opener, sdk_system: Any) -> None:
    """The requests of an administrator's plans, sent with a lesser credential: a reason each, and nothing changes."""
    admin, other = open_console().read(), open_console(cloud)
    plans = [
        admin.plan_set("ml-research", 9),
        admin.plan_set("vdi", 9),
        admin.plan_default(9),
        admin.plan_clear("ml-research"),
    ]
    for step in [plan.steps[0] for plan in plans]:
        with pytest.raises(SourceError) as caught:
            other.world.take(step)
        assert caught.value.kind == "forbidden", step.title
        assert "role" in str(caught.value)
        assert "\n" not in str(caught.value)
    now = {limit.project_id: limit.resource_limit for limit in sdk_system.identity.limits(resource_name=VGPU)}
    assert now == {admin.project("ml-research"): 6}
