"""Plans that change quota: a project's own limit, taking it away, and the default for all. Pure: facts in, plan out.

A plan says what Keystone will be asked, what that means for those who live under the limit, and how it is undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vgpu_console.actions import quota_checks as checks
from vgpu_console.actions import quota_effects as effects
from vgpu_console.actions.limit_steps import change_limit, commands, create_limits, delete_limit, register
from vgpu_console.actions.limit_values import checked_limit, parse_limit, resource_name, shown
from vgpu_console.actions.plan import Check, HttpStep, Plan, sealed
from vgpu_console.actions.projects import PlanError, find_project
from vgpu_console.actions.quota_default import default_plan, plan_default, plan_restore
from vgpu_console.actions.quota_ground import (
    CLEAR,
    SET,
    Ground,
    default_check,
    effective,
    ground_of,
    implied_default,
    must_exist,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot

__all__ = [
    "PlanError",
    "find_project",
    "parse_limit",
    "plan_clear",
    "plan_default",
    "plan_restore",
    "plan_set",
    "plan_set_many",
    "resource_name",
]


def plan_set(
    facts: Facts,
    snapshot: Snapshot,
    project_id: str,
    resource: str,
    value: int,
    now: float,
    *,
    region: str | None = None,
    stale_s: float | None = None,
) -> Plan:
    """Give a project a limit of its own. Registers the resource first where Nova finds no registered limit.

    ``now`` are seconds since the epoch; ``stale_s`` is the age above which limits are too old to act on. Raises
    PlanError. For several projects see :func:`plan_set_many`.
    """
    checked_limit(value)
    ground = ground_of(facts, snapshot, resource, now, region, stale_s)
    must_exist(ground, project_id)
    return _set(ground, project_id, value, default_comes=False)


def plan_set_many(
    facts: Facts,
    snapshot: Snapshot,
    project_ids: Iterable[str],
    resource: str,
    value: int,
    now: float,
    *,
    region: str | None = None,
    stale_s: float | None = None,
) -> tuple[Plan, ...]:
    """A plan per project, to be applied in this order: where the registered limit is missing, it comes first.

    Raises PlanError when any of them is impossible, before any is applied.
    """
    checked_limit(value)
    ground = ground_of(facts, snapshot, resource, now, region, stale_s)
    ids = list(dict.fromkeys(project_ids))
    for project_id in ids:
        must_exist(ground, project_id)
    if len(ids) == 1 or ground.default is not None:
        return tuple(_set(ground, project_id, value, default_comes=False) for project_id in ids)
    first = default_plan(ground, implied_default(ground), (default_check(ground),))
    return first, *(_set(ground, project_id, value, default_comes=True) for project_id in ids)


def _set(ground: Ground, project_id: str, value: int, *, default_comes: bool) -> Plan:
    own, owner = ground.limits.of(project_id), ground.owner(project_id)
    row, used = ground.rows.get(project_id), ground.used(project_id)
    before: dict[str, Any] = {"limit": own.resource_limit if own is not None else None}
    after: dict[str, Any] = {"limit": value}
    steps: list[HttpStep] = []
    effect = list(effects.standing(row, used, value, ground.resource))
    extra: list[Check] = []
    inverse: tuple[HttpStep, ...] = ()
    note = "nothing to undo"
    if own is None:
        if ground.default is None and not default_comes:
            implied = implied_default(ground)
            steps.append(register(ground.place, ground.resource, implied))
            before["default"], after["default"] = None, implied
            effect += effects.registered_anew(ground.limits, implied)
            extra.append(default_check(ground))
        if ground.default is None:
            extra.append(checks.known_resource(ground.facts, ground.snapshot, ground.resource))
        elif ground.all_visible:
            same = ", the same; from now on it does not follow it" if value == ground.default else ""
            effect.append(f"until now the default held: {shown(ground.default)}{same}")
        steps.append(create_limits(ground.place, ground.resource, [(owner, value)]))
        note = f"clear the limit of {owner.name} (its id exists only afterwards): the default holds again"
        if len(steps) > 1:
            note += "; the registered limit may stay, it leaves all others as they are"
    elif own.resource_limit != value:
        steps.append(change_limit(own, owner, value))
        inverse = (change_limit(own, owner, own.resource_limit),)
        note = ""
    over = checks.below_usage(used, value, ground.resource, ground.placement_age())
    rise = ground.rise(effective(ground, project_id), value)
    return sealed(
        Plan(
            action=SET,
            title=f"{ground.resource} of {owner.name}",
            target=ground.project_target(project_id),
            before=before,
            after=after,
            steps=tuple(steps),
            checks=ground.checked(steps, over, rise, *checks.unlimited(ground.facts, value), *extra),
            effect=tuple(effect),
            inverse=inverse,
            inverse_note=note,
            commands=commands(steps),
            danger="risk" if over.status == "warn" or any(c.status != "pass" for c in extra) else "change",
        )
    )


def plan_clear(
    facts: Facts,
    snapshot: Snapshot,
    project_id: str,
    resource: str,
    now: float,
    *,
    region: str | None = None,
    stale_s: float | None = None,
) -> Plan:
    """Take a project's own limit away, so that the default holds. Also for a project that is gone. Raises PlanError."""
    ground = ground_of(facts, snapshot, resource, now, region, stale_s)
    own = ground.limits.of(project_id)
    if own is None:
        must_exist(ground, project_id)
    owner, row, used = ground.owner(project_id), ground.rows.get(project_id), ground.used(project_id)
    steps: tuple[HttpStep, ...] = ()
    inverse: tuple[HttpStep, ...] = ()
    effect: tuple[str, ...] = (f"{owner.name} has no limit of its own: the default holds ({shown(ground.default)})",)
    found: tuple[Check, ...] = ()
    after_limit = ground.default
    if own is not None:
        steps = (delete_limit(own, owner),)
        inverse = (create_limits(ground.place, ground.resource, [(owner, own.resource_limit)]),)
        effect = (f"from now on the default holds: {shown(after_limit)}",)
        if after_limit is not None:
            effect = (*effects.standing(row, used, after_limit, ground.resource), *effect)
        found = (
            checks.below_usage(used, after_limit, ground.resource, ground.placement_age()),
            ground.rise(own.resource_limit, after_limit),
        )
    return sealed(
        Plan(
            action=CLEAR,
            title=f"{ground.resource} of {owner.name}: clear",
            target=ground.project_target(project_id),
            before={"limit": own.resource_limit if own is not None else None, "default": ground.default},
            after={"limit": None, "default": ground.default},
            steps=steps,
            checks=ground.checked(steps, *found),
            effect=effect,
            inverse=inverse,
            inverse_note="" if inverse else "nothing to undo",
            commands=commands(steps),
            danger="risk" if any(c.id == "quota.below-usage" and c.status == "warn" for c in found) else "change",
        )
    )
