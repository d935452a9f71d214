"""What is looked at before a limit is changed. Each check has an id, its evidence, its source and that source's age."""

from __future__ import annotations

from typing import NamedTuple

from vgpu_console.actions.limit_values import UNLIMITED, noun
from vgpu_console.actions.plan import Check, CheckStatus
from vgpu_console.model.facts import CloudIdentity, Facts
from vgpu_console.model.placement import ResourceProvider
from vgpu_console.model.snapshot import MissingWord, Snapshot
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.quota_meaning import release_knows_strategy
from vgpu_console.rules.resource_classes import any_class

STALE_INTERVALS = 5
"""An action is refused on what is older than so many of its source's intervals, and than ``STALE_LEAST_S``."""
STALE_LEAST_S = 60.0

NEEDS_ADMIN = "needs role admin on the system or in a project (Keystone limits)"


def status_of(facts: Facts, kind: SourceKind) -> SourceStatus | None:
    """How the cloud's source of that kind fares."""
    return next((s for s in facts.statuses if s.kind == kind and not s.host), None)


def age_of(facts: Facts, kind: SourceKind, now: float) -> float | None:
    """Seconds since that source's last good answer."""
    status = status_of(facts, kind)
    return status.age_s(now) if status is not None else None


def fresh(facts: Facts, now: float, stale_s: float | None = None) -> Check:
    """``quota.fresh``: limits were read lately, and the last attempt to read them did not fail."""
    status = status_of(facts, "keystone")
    age = status.age_s(now) if status is not None else None

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="quota.fresh", status=word, evidence=evidence, source="keystone", age_s=age)

    if status is None or age is None:
        return check("fail", "limits were never read")
    if status.error is not None:
        return check("fail", f"limits could not be read last time: {status.error}")
    most = stale_s if stale_s is not None else max(STALE_LEAST_S, STALE_INTERVALS * status.interval_s)
    if age > most:
        return check("fail", f"limits were last read {age:.0f} s ago, more than {most:.0f} s: refresh first")
    return check("pass", f"limits were read {age:.0f} s ago")


def missing_role(identity: CloudIdentity) -> str | None:
    """Why this credential may not change limits by Keystone's default policy; "" when it may, None when not known."""
    roles = {role.lower() for role in (*identity.roles, *identity.limits_roles)}
    if "admin" in roles:
        return ""
    if not roles:
        return None
    return f"{NEEDS_ADMIN}; this credential has {', '.join(sorted(roles))}"


def role(identity: CloudIdentity) -> Check:
    """``quota.role``: the admin role, on the system or in any project (keystone: policies/limit.py)."""
    missing = missing_role(identity)
    if missing is None:
        return Check(id="quota.role", status="unknown", evidence="the roles of this credential are not known")
    if missing:
        return Check(id="quota.role", status="fail", evidence=missing, source="token")
    where = identity.limits_scope if "admin" in {r.lower() for r in identity.limits_roles} else identity.scope
    return Check(id="quota.role", status="pass", evidence=f"role admin: {where or identity.scope}", source="token")


def model(facts: Facts, now: float) -> Check:
    """``quota.model``: oslo.limit enforces the flat model only."""
    name = facts.keystone.enforcement_model if facts.keystone is not None else None
    age = age_of(facts, "keystone", now)
    if name is None:
        return Check(id="quota.model", status="unknown", evidence="the enforcement model could not be read", age_s=age)
    if name == "flat":
        return Check(
            id="quota.model", status="pass", evidence="enforcement model flat", source="/limits/model", age_s=age
        )
    evidence = f"enforcement model {name}: Nova's oslo.limit knows only flat, and fails every quota check"
    return Check(id="quota.model", status="warn", evidence=evidence, source="/limits/model", age_s=age)


def limits_visible(facts: Facts, now: float) -> Check:
    """``quota.limits-visible``: what is planned rests on all limits, not on those of one project."""
    complete = facts.keystone.limits_complete if facts.keystone is not None else None
    age = age_of(facts, "keystone", now)
    if complete:
        return Check(id="quota.limits-visible", status="pass", evidence="limits of all projects are visible", age_s=age)
    evidence = (
        "only this project's limits are visible (before Keystone 29 the system scope is needed to see all)"
        if complete is False
        else "perhaps only this project's limits are visible: a project may have one that does not show here"
    )
    return Check(id="quota.limits-visible", status="unknown", evidence=evidence, source="/limits", age_s=age)


def below_usage(used: int | None, limit: int | None, resource: str, age_s: float | None) -> Check:
    """``quota.below-usage``: the limit is not below what is used now. ``limit`` None: not known."""

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="quota.below-usage", status=word, evidence=evidence, source="placement", age_s=age_s)

    if limit == UNLIMITED:
        return check("pass", "no limit is no lower than any use")
    if used is None or limit is None:
        return check("unknown", "what is used is not known" if used is None else "the limit then is not known")
    if used > limit:
        return check("warn", f"{used} {noun(resource, used)} in use, {used - limit} above the limit of {limit}")
    return check("pass", f"{used} {noun(resource, used)} in use, limit {limit}")


def some_below_usage(over: list[str], unknown: int, resource: str, age_s: float | None) -> Check:
    """``quota.below-usage`` of a default: names of the projects that would be above it, and how many are not known."""

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="quota.below-usage", status=word, evidence=evidence, source="placement", age_s=age_s)

    if over:
        return check("warn", f"{len(over)} would be above the default: {listed(over)}")
    if unknown:
        return check("unknown", f"what {unknown} projects use of {noun(resource)} is not known")
    return check("pass", "no project without a limit of its own uses more")


class Raise(NamedTuple):
    """By how much a change raises the sum of all limits."""

    more: int | None  # None: not known
    endless: bool = False  # it makes a limit endless
    ended: int = 0  # so many endless limits get an end by it


def capacity(snapshot: Snapshot, resource: str, rise: Raise, age_s: float | None) -> Check:
    """``quota.capacity``: all limits together are not above what the hosts can hold."""
    more = rise.more

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="quota.capacity", status=word, evidence=evidence, source="hosts", age_s=age_s)

    if rise.endless:
        return check("warn", "a limit of -1 can be more than all hosts hold")
    if more is not None and more <= 0 and not rise.ended:
        return check("pass", "nothing more is promised than before")
    totals = next((t for t in snapshot.quota_totals if t.resource == resource), None)
    if totals is None or totals.capacity is None:
        return check("unknown", f"how many {noun(resource)} the hosts can hold is not known")
    if totals.promised is None or more is None or totals.unknown:
        return check("unknown", f"what is promised in all is not known; the hosts hold {totals.capacity}")
    promised = totals.promised + more
    endless = max(0, totals.unlimited - rise.ended)
    beside = f", and {endless} project{'s have' if endless > 1 else ' has'} no limit" if endless else ""
    if promised > totals.capacity:
        return check("warn", f"{promised} promised in all, the hosts hold {totals.capacity}{beside}")
    return check("pass", f"{promised} promised in all, the hosts hold {totals.capacity}{beside}")


def default_kept(word: MissingWord, default: int, why: str, *, told: bool) -> Check:
    """``quota.default``: the default that is registered on the way leaves all other projects as they are.

    ``told``: what a missing limit means is known by evidence, not taken from Nova's defaults.
    """
    if word == "unknown" or not told:
        evidence = f"what a missing registered limit means here is not known ({why}): -1 may free other projects"
        return Check(id="quota.default", status="unknown", evidence=evidence)
    return Check(
        id="quota.default",
        status="pass",
        evidence=f"a missing registered limit means {word} here, as {default} does for all other projects",
    )


def unlimited(facts: Facts, value: int) -> tuple[Check, ...]:
    """``quota.unlimited`` where -1 is asked for: it is endless since Nova 31, and before that below any use."""
    if value != UNLIMITED:
        return ()
    knows = release_knows_strategy(facts.nova)
    newest = facts.nova.max_microversion if facts.nova is not None else ""
    if knows is None:
        evidence = "Nova's release is not known: before 2025.1 it may take -1 for a limit that is always exceeded"
        return (Check(id="quota.unlimited", status="unknown", evidence=evidence),)
    if not knows:
        evidence = (
            f"this Nova (API {newest}, before 2025.1) takes -1 for unlimited only with oslo.limit 2.12 or later; "
            "with an older one nothing can start: a high number is safe"
        )
        return (Check(id="quota.unlimited", status="warn", evidence=evidence, source="nova"),)
    evidence = f"-1 is unlimited on this Nova (API {newest}, 2025.1 or later)"
    return (Check(id="quota.unlimited", status="pass", evidence=evidence, source="nova"),)


def known_resource(facts: Facts, snapshot: Snapshot, resource: str) -> Check:
    """``quota.resource`` for a limit that is new: that something on this cloud is called so, and it is no slip."""
    name = resource.removeprefix("class:")
    offered = {i.resource_class for p in _providers(facts) for i in p.inventories or ()}
    wanted = {wanted for specs in _extra_specs(facts) for wanted in any_class(specs)}
    if (
        not resource.startswith("class:")
        or name in offered | wanted
        or any(q.resource == resource and (q.used or q.limit is not None) for q in snapshot.quotas)
    ):
        return Check(id="quota.resource", status="pass", evidence=f"{resource} is known on this cloud")
    evidence = f"no inventory and no flavor names {name}: is it written right?"
    return Check(id="quota.resource", status="warn", evidence=evidence, source="placement")


def _providers(facts: Facts) -> tuple[ResourceProvider, ...]:
    return facts.placement.providers if facts.placement is not None else ()


def _extra_specs(facts: Facts) -> list[dict[str, str]]:
    if facts.nova is None:
        return []
    offered = [flavor.extra_specs for flavor in facts.nova.flavors or ()]
    return [specs for specs in (*offered, *(server.extra_specs for server in facts.nova.servers or ())) if specs]


def listed(names: list[str], most: int = 6) -> str:
    """Names in a sentence, cut where there are many."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
