"""Where Nova looks for its limits in Keystone, and which limits are there."""

from __future__ import annotations

from typing import NamedTuple

from vgpu_console.actions.projects import NO_CONNECTION, REFUSED, PlanError
from vgpu_console.actions.quota_checks import missing_role
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import KeystoneFacts, ProjectLimit, RegisteredLimit
from vgpu_console.rules import quota_place
from vgpu_console.text import plain


class Place(NamedTuple):
    """The service and region under which oslo.limit looks limits up: those of Nova's endpoint (oslo_limit: limit.py).

    A limit of any other service or region, or of no region where the endpoint has one, does not exist for Nova.
    """

    service_id: str
    service_name: str
    region_id: str | None


def read_keystone(facts: Facts) -> KeystoneFacts:
    """What Keystone answered. Raises PlanError when it has not, or when registered limits could not be read."""
    if facts.keystone is None:
        error = next((s.error for s in facts.statuses if s.kind == "keystone" and s.error), None)
        raise PlanError(f"keystone has not answered{f': {error}' if error else ''}", NO_CONNECTION)
    if facts.keystone.registered_limits is None:
        raise PlanError("registered limits cannot be read with this credential", REFUSED)
    return facts.keystone


def nova_place(facts: Facts, region: str | None = None) -> Place:
    """The place of Nova's limits in a region: the one given, else the credential's, else the only one there is.

    Raises PlanError when it cannot be told, for a limit in the wrong place is one that Nova never sees.
    """
    keystone = read_keystone(facts)
    if keystone.services is None or keystone.endpoints is None:
        words = "services and endpoints cannot be read: nobody knows where Nova looks for limits"
        raise PlanError(missing_role(facts.identity) or words, REFUSED)
    found = quota_place.nova_place(keystone, region or facts.identity.region)
    if found.service_id is None or not found.regions:
        raise PlanError("the catalogue has no compute endpoint: there is no Nova to limit", REFUSED)
    there = ", ".join(sorted(r or "none" for r in found.regions))
    if region and region not in found.regions:
        raise PlanError(f"no compute endpoint is in region {plain(region, 80)!r}; there are: {there}")
    if len(found.regions) > 1:
        raise PlanError(f"Nova has endpoints in several regions ({there}): name one with --region", REFUSED)
    name = next((s.name for s in keystone.services if s.id == found.service_id), "")
    return Place(found.service_id, name or found.service_id, next(iter(found.regions)))


class Limits(NamedTuple):
    """The limits of one resource that Nova finds, and those of the same name that it does not."""

    place: Place
    resource: str
    registered: RegisteredLimit | None
    own: tuple[ProjectLimit, ...]  # of projects and of domains
    elsewhere: tuple[RegisteredLimit, ...]

    def of(self, project_id: str) -> ProjectLimit | None:
        """A project's own limit."""
        return next((one for one in self.own if one.project_id == project_id), None)


def limits_of(keystone: KeystoneFacts, place: Place, resource: str) -> Limits:
    """The limits of a resource by what was last read."""
    holds = quota_place.Place(place.service_id, frozenset({place.region_id})).holds
    named = [r for r in keystone.registered_limits or () if r.resource_name == resource]
    here = [r for r in named if holds(r)]
    own = tuple(one for one in keystone.project_limits or () if one.resource_name == resource and holds(one))
    # of two alike (which Keystone lets in without a region only) the last counts in oslo.limit
    return Limits(place, resource, here[-1] if here else None, own, tuple(r for r in named if not holds(r)))
