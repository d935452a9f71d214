"""Where oslo.limit looks Nova's limits up in Keystone, and which limits it finds there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vgpu_console.model.keystone import KeystoneFacts, ProjectLimit, RegisteredLimit

PREFIX = "class:"
SERVERS = "servers"


class Place(NamedTuple):
    """Service and region of Nova's compute endpoint: oslo.limit filters limits by exactly these (oslo_limit/limit.py).

    ``service_id`` None: the catalogue could not be read or has no compute service, and any limit may be the right one.
    """

    service_id: str | None
    regions: frozenset[str | None]  # of the endpoints; more than one only where no region was chosen

    @property
    def region(self) -> str | None:
        """The region, when there is exactly one."""
        return next(iter(self.regions)) if len(self.regions) == 1 else None

    def holds(self, limit: RegisteredLimit | ProjectLimit) -> bool:
        """Whether Nova finds this limit. A limit without a region is not found while the endpoint has one."""
        if self.service_id is not None and limit.service_id != self.service_id:
            return False
        return not self.regions or limit.region_id in self.regions


def nova_place(keystone: KeystoneFacts | None, region: str) -> Place:
    """The place of Nova's limits in a region; an empty ``region`` takes every endpoint of the compute service.

    Where several services are of type compute, one that is called nova goes first, as nova-manage looks for it.
    """
    if keystone is None:
        return Place(None, frozenset())
    services = [s for s in keystone.services or () if s.type == "compute"]
    services.sort(key=lambda s: s.name != "nova")
    if not services:
        return Place(None, frozenset())
    ids = [s.id for s in services]
    endpoints = sorted(
        (e for e in keystone.endpoints or () if e.service_id in ids), key=lambda e: ids.index(e.service_id)
    )
    chosen = [e for e in endpoints if not region or e.region_id == region] or endpoints
    if not chosen:
        return Place(ids[0], frozenset())
    service_id = chosen[0].service_id
    return Place(service_id, frozenset(e.region_id for e in chosen if e.service_id == service_id))


def compute_places(keystone: KeystoneFacts) -> frozenset[tuple[str, str | None]]:
    """(service, region) of every compute endpoint of the catalogue, also those of other regions."""
    services = {s.id for s in keystone.services or () if s.type == "compute"}
    return frozenset((e.service_id, e.region_id) for e in keystone.endpoints or () if e.service_id in services)


def registered_at(keystone: KeystoneFacts | None, place: Place) -> dict[str, RegisteredLimit]:
    """The registered limits that Nova finds, by resource name. Of two alike the last counts, as in oslo.limit."""
    found = (keystone.registered_limits if keystone else None) or ()
    return {limit.resource_name: limit for limit in found if place.holds(limit)}


def project_limits_at(keystone: KeystoneFacts | None, place: Place) -> dict[tuple[str, str], ProjectLimit]:
    """The projects' own limits that Nova finds, by (project id, resource). Of two alike the first counts."""
    out: dict[tuple[str, str], ProjectLimit] = {}
    for limit in (keystone.project_limits if keystone else None) or ():
        if limit.project_id is not None and place.holds(limit):
            out.setdefault((limit.project_id, limit.resource_name), limit)
    return out


def is_novas(resource: str) -> bool:
    """Whether a limit's name is one that Nova asks for while it makes a server: ``servers``, ``class:…``."""
    return resource == SERVERS or resource.startswith(PREFIX)


def class_names(resources: Iterable[str]) -> frozenset[str]:
    """The resource classes among limit names."""
    return frozenset(r.removeprefix(PREFIX) for r in resources if r.startswith(PREFIX))
