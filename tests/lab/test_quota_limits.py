"""Limits that the console sets, as Nova then enforces them; and what becomes of a change that cannot be finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.quota_console import VGPU, QuotaConsole, ask_for_server, check, delete_all, servers_of
from vgpu_console.actions.plan import HttpStep, Plan
from vgpu_console.actions.quota import plan_restore, plan_set_many

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

Opener = Callable[..., QuotaConsole]
REQUIRED = {"unified_limits_resource_strategy": "require", "unified_limits_resource_list": "servers,class:VGPU"}
NOT_REQUIRED = {"unified_limits_resource_strategy": "require", "unified_limits_resource_list": "servers"}


def _limits(sdk_system: Any, resource: str = VGPU) -> dict[str, int]:
    """What Keystone holds, by openstacksdk: the default, and limits by project id."""
    own = {row.project_id: row.resource_limit for row in sdk_system.identity.limits(resource_name=resource)}
    for registered in sdk_system.identity.registered_limits(resource_name=resource):
        own["default"] = registered.default_limit
    return own


def _without_limits(sdk_system: Any, resource: str = VGPU) -> Any:
    """Delete a resource's limits, its registered one too, and give that back."""
    for limit in list(sdk_system.identity.limits(resource_name=resource)):
        sdk_system.identity.delete_limit(limit.id)
    registered = next(iter(sdk_system.identity.registered_limits(resource_name=resource)))
    sdk_system.identity.delete_registered_limit(registered.id)
    return registered


def test_nova_refuses_by_the_limit_and_allows_by_a_higher_one(lab: Lab, open_console: Opener) -> None:
    console = open_console().read()
    used = console.row("ml-research").used
    assert used
    plan = console.plan_set("ml-research", used)
    assert any("no new vGPU server until one is gone" in line for line in plan.effect), plan.effect
    console.done(plan)
    status, words = ask_for_server(lab, "lab-member", "a100-10c")
    assert status == 403
    assert f"class:VGPU is over limit of {used}" in words
    row = console.read().row("ml-research")
    assert (row.limit, row.used, row.free, row.origin) == (used, used, 0, "project")

    console.done(console.plan_set("ml-research", used + 1))
    status, reservation = ask_for_server(lab, "lab-member", "a100-10c")
    assert status == 202, reservation
    made = servers_of(lab, reservation)
    try:
        assert [row["status"] for row in made] == ["ACTIVE"]
        assert console.read().row("ml-research").free == 0
        assert ask_for_server(lab, "lab-member", "a100-10c")[0] == 403
    finally:
        delete_all(lab, made)
    assert [result for _, result in console.journaled() if result] == ["done", "done"]


def test_clear_makes_the_default_hold(lab: Lab, open_console: Opener, sdk_system: Any) -> None:
    console = open_console().read()
    plan = console.plan_clear("ml-research")
    console.done(plan)
    assert _limits(sdk_system) == {"default": 4}
    row = console.read().row("ml-research")
    assert (row.limit, row.origin, row.limit_id) == (4, "default", None)
    for step in plan.inverse:
        console.world.take(step)
    assert _limits(sdk_system) == {"default": 4, console.project("ml-research"): 6}


@pytest.mark.parametrize(("options", "word", "status"), [(REQUIRED, "zero", 403), (NOT_REQUIRED, "unlimited", 202)])
def test_what_a_missing_registered_limit_means(
    lab: Lab,
    open_console: Opener,
    sdk_system: Any,
    quota_options: Callable[..., None],
    options: dict[str, str],
    word: str,
    status: int,
) -> None:
    """By nova.conf of the hosts, and by what Nova does. Then the console registers it, and Nova enforces that."""
    quota_options(**options)
    before = _without_limits(sdk_system)
    console = open_console(hosts=True).read()
    assert console.snapshot.missing_limit.word == word, console.snapshot.missing_limit.why
    row = console.row("vdi")
    assert (row.origin, row.limit, row.missing_means) == ("missing", None, word)
    assert ("limit-not-registered", "limit class:VGPU") in console.findings()
    answered, words = ask_for_server(lab, "lab-vdi", "t4-4q")
    made = servers_of(lab, words) if answered == 202 else []
    try:
        assert answered == status, words
        assert all(row["status"] == "ACTIVE" for row in made)

        used = console.read().row("vdi").used
        assert used is not None
        plan = console.plan_set("vdi", used)
        assert check(plan, "quota.default").status == "pass"
        console.done(plan)
        registered = next(iter(sdk_system.identity.registered_limits(resource_name=VGPU)))
        assert (registered.service_id, registered.region_id) == (before.service_id, before.region_id)
        assert _limits(sdk_system) == {"default": -1 if word == "unlimited" else 0, console.project("vdi"): used}
        answered, words = ask_for_server(lab, "lab-vdi", "t4-4q")
        assert answered == 403
        assert f"class:VGPU is over limit of {used}" in words
        # for the other project nothing has changed
        answered, words = ask_for_server(lab, "lab-member", "a100-10c")
        made += servers_of(lab, words) if answered == 202 else []
        assert answered == status, words
    finally:
        delete_all(lab, made)


def test_a_missing_limit_is_not_judged_by_a_guess(
    open_console: Opener, sdk_system: Any, quota_options: Callable[..., None]
) -> None:
    """Without any nova.conf nobody knows whether the default that is registered on the way frees other projects."""
    quota_options(**REQUIRED)
    _without_limits(sdk_system)
    console = open_console().read()
    assert check(console.plan_set("vdi", 3), "quota.default").status == "unknown"


def test_several_projects_and_the_missing_default_first(open_console: Opener, sdk_system: Any) -> None:
    _without_limits(sdk_system)
    console = open_console().read()
    ids = [console.project("vdi"), console.project("empty")]
    for plan in plan_set_many(console.facts, console.snapshot, ids, VGPU, 3, console.facts.statuses[0].fetched_at or 0):
        console.done(plan)
    assert _limits(sdk_system) == {"default": -1, ids[0]: 3, ids[1]: 3}


def test_a_default_with_overrides_goes_by_the_sequence(lab: Lab, open_console: Opener, sdk_system: Any) -> None:
    registered = next(iter(sdk_system.identity.registered_limits(resource_name=VGPU)))
    refused = sdk_system.identity.patch(
        f"/registered_limits/{registered.id}", json={"registered_limit": {"default_limit": 1}}
    )
    assert refused.status_code == 403  # why there is a sequence at all
    console = open_console().read()
    plan = console.plan_default(1)
    assert [step.method for step in plan.steps if isinstance(step, HttpStep)] == ["DELETE", "PATCH", "POST"]
    assert any("ml-research 6" in line for line in plan.effect), plan.effect
    assert plan.danger == "risk"
    console.done(plan)
    assert _limits(sdk_system) == {"default": 1, console.project("ml-research"): 6}
    assert ask_for_server(lab, "lab-vdi", "t4-4q")[0] == 403


def test_a_sequence_that_breaks_off_is_told_and_mended(lab: Lab, open_console: Opener, sdk_system: Any) -> None:
    """Keystone answers no more once the own limits are deleted: nothing is called done, and the limits come back."""
    console = open_console().read()
    plan = console.plan_default(2)

    def break_after_first(plan: Plan, taken: int, word: str) -> None:
        if taken == 1:
            lab.fault("identity", mode="503", path="/registered_limits")

    outcome = console.apply(plan, break_after_first)
    assert outcome.result == "failed"
    assert outcome.steps_taken == 1
    assert "1 of 3 steps were taken" in outcome.message
    assert [e.step for e in console.journal.entries() if e.event == "step"] == [1, 2]
    lab.fault("identity")
    assert _limits(sdk_system) == {"default": 4}
    now = console.read().facts
    broken = next(e.plan for e in console.journal.entries() if e.plan is not None)
    restore = plan_restore(now, console.snapshot, broken, console.facts.statuses[0].fetched_at or 0)
    console.done(restore)
    assert _limits(sdk_system) == {"default": 4, console.project("ml-research"): 6}


def test_two_consoles_change_one_limit(open_console: Opener, sdk_system: Any) -> None:
    first, second = open_console("lab-admin").read(), open_console("lab-operator").read()
    mine, theirs = first.plan_set("ml-research", 7), second.plan_set("ml-research", 5)
    second.done(theirs)
    outcome = first.apply(mine)
    assert (outcome.result, outcome.steps_taken) == ("moved", 0)
    assert "limit was 6 and is 5" in outcome.message
    assert _limits(sdk_system)[first.project("ml-research")] == 5
    assert [result for _, result in first.journaled() if result] == ["moved"]
    first.done(first.read().plan_set("ml-research", 7))


def test_two_consoles_create_one_limit(open_console: Opener, sdk_system: Any) -> None:
    first, second = open_console("lab-admin").read(), open_console("lab-operator").read()
    mine, theirs = first.plan_set("empty", 7), second.plan_set("empty", 5)
    second.done(theirs)
    outcome = first.apply(mine)
    assert outcome.result == "moved"
    assert "limit was none and is 5" in outcome.message
    assert _limits(sdk_system)[first.project("empty")] == 5


def test_keystone_dies_before_and_while_a_limit_is_changed(lab: Lab, open_console: Opener, sdk_system: Any) -> None:
    """Stopped as a process, not by a fault: after the re-read of one plan, before that of the next."""
    console = open_console().read()
    during, before = console.plan_set("ml-research", 9), console.plan_set("vdi", 9)

    def stop_at_the_step(plan: Plan, taken: int, word: str) -> None:
        if word == plan.steps[0].title:
            lab.stop("keystone")

    try:
        failed = console.apply(during, stop_at_the_step)
        refused = console.apply(before)
    finally:
        lab.start("keystone")
    assert (failed.result, failed.steps_taken, failed.observed) == ("failed", 0, None)
    assert "0 of 1 steps were taken; what is true now could not be read" in failed.message
    assert refused.result == "refused"
    assert refused.message.startswith("cannot be re-checked, nothing was sent: ")
    assert "\n" not in failed.message + refused.message
    assert console.journaled() == [
        ("begun", None),
        ("step", None),
        ("ended", "failed"),
        ("begun", None),
        ("ended", "refused"),
    ]
    assert console.journal.unfinished() == ()
    assert _limits(sdk_system) == {"default": 4, console.project("ml-research"): 6}
    console.done(during)
    console.done(before)
    assert _limits(sdk_system) == {"default": 4, console.project("ml-research"): 9, console.project("vdi"): 9}


def test_zero_stops_everything_new(lab: Lab, open_console: Opener) -> None:
    console = open_console().read()
    plan = console.plan_set("vdi", 0)
    assert check(plan, "quota.below-usage").status == "warn"
    assert any("no new vGPU server, however many are gone" in line for line in plan.effect), plan.effect
    console.done(plan)
    row = console.read().row("vdi")
    assert (row.limit, row.free) == (0, 0)
    assert ask_for_server(lab, "lab-vdi", "t4-4q")[0] == 403
