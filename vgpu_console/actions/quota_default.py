"""Plans that change the default of a resource, and that mend such a change when it broke off. Pure."""

from __future__ import annotations

from typing import Any

from vgpu_console.actions import quota_checks as checks
from vgpu_console.actions import quota_effects as effects
from vgpu_console.actions.limit_steps import (
    Owner,
    change_default,
    commands,
    create_limits,
    delete_limit,
    register,
)
from vgpu_console.actions.limit_values import UNLIMITED, checked_limit, shown, words
from vgpu_console.actions.plan import Check, HttpStep, Plan, sealed
from vgpu_console.actions.projects import REFUSED, PlanError
from vgpu_console.actions.quota_ground import DEFAULT, REGISTERED_LIMIT, Ground, ground_of
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import ProjectLimit
from vgpu_console.model.snapshot import Snapshot


def plan_default(
    facts: Facts,
    snapshot: Snapshot,
    resource: str,
    value: int,
    now: float,
    *,
    region: str | None = None,
    stale_s: float | None = None,
) -> Plan:
    """Set the default of a resource for every project that has no limit of its own; creates it where it is missing.

    Keystone refuses to change a default while anybody has a limit of their own: then the plan deletes those, changes
    the default and sets them again, and says so. Raises PlanError.
    """
    checked_limit(value)
    return default_plan(ground_of(facts, snapshot, resource, now, region, stale_s), value)


def own_key(owner: Owner) -> str:
    """The key of an own limit in ``before`` and ``after``: a name for eyes, and the id that tells it from others."""
    return f"{owner.name} [{owner.id}]"


def default_plan(ground: Ground, value: int, extra: tuple[Check, ...] = ()) -> Plan:
    registered, resource = ground.limits.registered, ground.resource
    own = {ground.owner_of(one): one for one in ground.limits.own}
    kept = {owner: one for owner, one in own.items() if not _is_gone(ground, one)}
    before: dict[str, Any] = {"default": ground.default} | {own_key(o): x.resource_limit for o, x in own.items()}
    after = {**before, "default": value}
    steps: tuple[HttpStep, ...] = ()
    inverse: tuple[HttpStep, ...] = ()
    note, risky = "nothing to undo", False
    effect: list[str] = []
    if registered is None:
        steps = (register(ground.place, resource, value),)
        effect += effects.registered_anew(ground.limits, value)
        note = "delete the registered limit (its id exists only afterwards) while no project has a limit of its own"
        extra = (*extra, checks.known_resource(ground.facts, ground.snapshot, resource))
    elif registered.default_limit != value and not own:
        steps = (change_default(registered.id, resource, value),)
        inverse = (change_default(registered.id, resource, registered.default_limit),)
        note = ""
    elif registered.default_limit != value:
        steps = (
            *(delete_limit(one, owner) for owner, one in own.items()),
            change_default(registered.id, resource, value),
        )
        if kept:
            again = create_limits(ground.place, resource, [(o, x.resource_limit) for o, x in kept.items()])
            steps = (*steps, again)
        after = {"default": value} | {own_key(o): x.resource_limit for o, x in kept.items()}
        effect += _sequence_effect(ground, own, kept, registered.default_limit, value)
        note = f"plan the default again with {registered.default_limit}: the same sequence"
        risky = True
    with_own = {one.project_id for one in ground.limits.own}
    follow = [p for p in dict.fromkeys((*ground.names, *ground.rows)) if p not in with_own]
    over = [ground.names.get(p, p) for p in follow if value != UNLIMITED and (ground.used(p) or 0) > value]
    unknown = sum(ground.used(p) is None for p in follow) if value != UNLIMITED else 0
    if steps:
        effect = [*_followers(len(follow), value, over), *effect]
    held = checks.some_below_usage(over, unknown, resource, ground.placement_age())
    old = ground.default if registered is not None else {"zero": 0, "unlimited": UNLIMITED}.get(ground.missing().word)
    rise = ground.rise(old, value, len(follow))
    return sealed(
        Plan(
            action=DEFAULT,
            title=f"default of {resource}",
            target=ground.default_target(),
            before=before,
            after=after,
            steps=steps,
            checks=ground.checked(steps, held, rise, *checks.unlimited(ground.facts, value), *extra),
            effect=tuple(effect),
            inverse=inverse,
            inverse_note=note,
            commands=commands(steps),
            danger="risk" if risky or over or any(c.status != "pass" for c in extra) else "change",
        )
    )


def plan_restore(
    facts: Facts,
    snapshot: Snapshot,
    broken: Plan,
    now: float,
    *,
    region: str | None = None,
    stale_s: float | None = None,
) -> Plan:
    """Set again what a change of a default that broke off has left deleted; ``broken`` is its plan, from the journal.

    Raises PlanError when that plan deleted nothing that should be there again.
    """
    if broken.action != DEFAULT or broken.target.kind != REGISTERED_LIMIT:
        raise PlanError("only a change of a default leaves limits to set again")
    ground = ground_of(facts, snapshot, str(broken.target.key.get("resource")), now, region, stale_s)
    if ground.default is None:
        raise PlanError(f"{ground.resource} has no registered limit any more: set the default first", REFUSED)
    wanted = {
        str(row.get("project_id") or row.get("domain_id")): (row, row["resource_limit"])
        for step in broken.steps
        if isinstance(step, HttpStep) and step.method == "POST" and step.body is not None
        for row in step.body.get("limits", ())
    }
    there = {ground.owner_of(one): one.resource_limit for one in ground.limits.own}
    have = {owner.id for owner in there}
    lost: list[tuple[Owner, int]] = []
    for id, (row, limit) in wanted.items():
        if id not in have:
            is_project = row.get("project_id") is not None
            lost.append((ground.owner(id) if is_project else Owner(None, id, f"domain {id}"), limit))
    before: dict[str, Any] = {"default": ground.default} | {own_key(o): v for o, v in there.items()}
    steps = (create_limits(ground.place, ground.resource, lost),) if lost else ()
    return sealed(
        Plan(
            action=DEFAULT,
            title=f"own limits of {ground.resource}: set again",
            target=ground.default_target(),
            before=before,
            after=before | {own_key(o): v for o, v in lost},
            steps=steps,
            checks=ground.checked(steps),
            effect=tuple(f"{o.name} has {shown(v)} again; until then the default holds there" for o, v in lost)
            or ("every limit that the plan deleted is there",),
            inverse_note="clear the limits of these projects" if lost else "nothing to undo",
            commands=commands(steps),
        )
    )


def _is_gone(ground: Ground, limit: ProjectLimit) -> bool:
    """Whether the limit's project is known not to exist: Keystone would refuse to set the limit again."""
    keystone = ground.facts.keystone
    if limit.project_id is None or keystone is None or keystone.projects is None:
        return False
    sees_all = checks.missing_role(ground.facts.identity) == ""  # else the list may be of one's own projects only
    return sees_all and limit.project_id not in ground.names


def _followers(number: int, value: int, over: list[str]) -> list[str]:
    who = "one project without a limit of its own" if number == 1 else f"{words(number)} projects without their own"
    lines = [f"{who}: {shown(value)} from now"]
    if value == 0:
        lines.append("0: none of them can start anything with it; what runs stays")
    if over and value > 0:
        lines.append(f"above it already, nothing new can start there until they are below: {checks.listed(over)}")
    return lines


def _sequence_effect(
    ground: Ground, own: dict[Owner, ProjectLimit], kept: dict[Owner, ProjectLimit], old: int, value: int
) -> list[str]:
    named = checks.listed([f"{o.name} {shown(x.resource_limit)}" for o, x in own.items()], 20)
    lines = [
        f"Keystone changes no default while limits of their own stand beside it: {named}",
        f"so those {words(len(own))} are deleted, the default is changed, and they are set again in one request; in "
        f"between they have the default: {shown(old)}, then {shown(value)}",
    ]
    low = min((v for v in (old, value) if v != UNLIMITED), default=None)
    stuck = [o.name for o in own if low is not None and o.project_id and (ground.used(o.project_id) or 0) >= low]
    if stuck:
        lines.append(f"in between nothing new can start in {checks.listed(stuck)}; what runs goes on")
    gone = [o.name for o in own if o not in kept]
    if gone:
        lines.append(f"not set again, as the project is gone: {checks.listed(gone)}")
    lines.append("descriptions of those limits are not kept; should it break off, the journal has every step")
    return lines
