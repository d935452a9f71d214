"""Each project's limit and use of each vGPU resource class, from Keystone's unified limits and Placement's usages."""

from __future__ import annotations

from collections.abc import Collection

from vgpu_console.model.keystone import KeystoneFacts, ProjectLimit, RegisteredLimit
from vgpu_console.model.placement import PlacementFacts
from vgpu_console.model.snapshot import LimitOrigin, ProjectQuota

PREFIX = "class:"


def _compute_place(keystone: KeystoneFacts, region: str) -> tuple[str | None, frozenset[str | None]]:
    """The service id and region ids under which oslo.limit looks Nova's limits up: those of its compute endpoint."""
    services = [s.id for s in keystone.services or () if s.type == "compute"]
    if not services:
        return None, frozenset()
    endpoints = [e for e in keystone.endpoints or () if e.service_id in services]
    in_region = [e for e in endpoints if not region or e.region_id == region]
    chosen = in_region or endpoints
    service = chosen[0].service_id if chosen else services[0]
    return service, frozenset(e.region_id for e in chosen)


def registered_by_resource(keystone: KeystoneFacts, region: str) -> dict[str, RegisteredLimit]:
    """The registered limits that Nova's endpoint in this region finds, by resource name.

    One that is registered for another region, or for none while the endpoint has one, is not found and counts as
    missing (oslo.limit: filters by the endpoint's service_id and region_id).
    """
    service, regions = _compute_place(keystone, region)
    out: dict[str, RegisteredLimit] = {}
    for limit in keystone.registered_limits or ():
        if service is not None and limit.service_id != service:
            continue
        if regions and limit.region_id not in regions:
            continue
        out.setdefault(limit.resource_name, limit)
    return out


def project_quotas(
    keystone: KeystoneFacts | None, placement: PlacementFacts | None, classes: Collection[str], region: str
) -> tuple[ProjectQuota, ...]:
    """One row per project and resource class: those in use or limited first, then by name."""
    usages = placement.usages if placement is not None else {}
    if keystone is None or keystone.projects is None:
        names = {p: p for p in usages}
    else:
        names = {p.id: p.name for p in keystone.projects if p.enabled is not False or p.id in usages}
    registered = registered_by_resource(keystone, region) if keystone else {}
    readable = keystone is not None and keystone.registered_limits is not None
    own: dict[tuple[str, str], ProjectLimit] = {}
    service, regions = _compute_place(keystone, region) if keystone else (None, frozenset())
    for limit in (keystone.project_limits or ()) if keystone else ():
        foreign = (service is not None and limit.service_id != service) or (regions and limit.region_id not in regions)
        if limit.project_id is not None and not foreign:
            own[(limit.project_id, limit.resource_name)] = limit
            names.setdefault(limit.project_id, limit.project_id)
    limited = {r for r in registered if r.startswith(PREFIX + "CUSTOM_")} | {
        r for _, r in own if r.startswith(PREFIX + "CUSTOM_")
    }
    resources = sorted({PREFIX + c for c in classes} | limited)
    rows = []
    for resource in resources:
        default = registered.get(resource)
        for project_id, name in names.items():
            override = own.get((project_id, resource))
            value, origin = _effective(keystone, readable, default, override)
            used = usages.get(project_id, {}).get(resource.removeprefix(PREFIX), 0) if placement is not None else None
            rows.append(
                ProjectQuota(
                    project_id=project_id,
                    project=name,
                    resource=resource,
                    limit=value,
                    origin=origin,
                    used=used,
                    limit_id=override.id if override else None,
                    default=default.default_limit if default else None,
                )
            )
    rows.sort(
        key=lambda q: (q.resource != PREFIX + "VGPU", q.resource, -(q.used or 0), q.origin != "project", q.project)
    )
    return tuple(rows)


def _effective(
    keystone: KeystoneFacts | None, readable: bool, default: RegisteredLimit | None, override: ProjectLimit | None
) -> tuple[int | None, LimitOrigin]:
    if override is not None:
        return override.resource_limit, "project"
    if keystone is None or not readable:
        return None, "unknown"
    if default is None:
        return None, "missing"
    if keystone.project_limits is None or keystone.limits_complete is False:
        return None, "unknown"  # an override may exist that this token cannot see
    return default.default_limit, "default"
