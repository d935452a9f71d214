"""Each project's limit and use of each vGPU resource class, from Keystone's unified limits and Placement's usages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import KeystoneFacts, ProjectLimit, RegisteredLimit
from vgpu_console.model.nova import NovaFacts
from vgpu_console.model.placement import PlacementFacts
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    LimitOrigin,
    MissingMeaning,
    ProjectQuota,
    Provider,
    QuotaTotals,
    Snapshot,
)
from vgpu_console.rules.quota_audit import audit
from vgpu_console.rules.quota_meaning import missing_limit_means
from vgpu_console.rules.quota_place import PREFIX, nova_place, project_limits_at, registered_at
from vgpu_console.rules.quota_usage import Usage, usage_split
from vgpu_console.rules.resource_classes import any_class

CUSTOM = "CUSTOM_"


def quota_classes(facts: Facts, classes: Collection[str]) -> frozenset[str]:
    """``classes``, and every custom class that a flavor, a server's own flavor, an inventory or a limit names."""
    nova, placement, keystone = facts.nova, facts.placement, facts.keystone
    found = {*classes}
    for specs in {id(s): s for s in _extra_specs(nova)}.values():
        found.update(c for c in any_class(specs) if c.startswith(CUSTOM))
    for provider in placement.providers if placement else ():
        found.update(i.resource_class for i in provider.inventories or () if i.resource_class.startswith(CUSTOM))
    place = nova_place(keystone, facts.identity.region)
    names = {*registered_at(keystone, place), *(resource for _, resource in project_limits_at(keystone, place))}
    found.update(n.removeprefix(PREFIX) for n in names if n.startswith(PREFIX + CUSTOM))
    return frozenset(found)


def _extra_specs(nova: NovaFacts | None) -> Iterable[Mapping[str, str]]:
    if nova is None:
        return
    for flavor in nova.flavors or ():
        if flavor.extra_specs:
            yield flavor.extra_specs
    for server in nova.servers or ():
        if server.extra_specs:
            yield server.extra_specs


def project_quotas(facts: Facts, classes: Collection[str]) -> tuple[ProjectQuota, ...]:
    """One row per project and resource class: those in use or limited first, then by name."""
    keystone, placement = facts.keystone, facts.placement
    usages = placement.usages if placement is not None else {}
    split = usage_split(facts.nova, placement)
    if keystone is None or keystone.projects is None:
        names = {p: p for p in usages}
    else:
        names = {p.id: p.name for p in keystone.projects if p.enabled is not False or p.id in usages}
    place = nova_place(keystone, facts.identity.region)
    registered = registered_at(keystone, place)
    own = project_limits_at(keystone, place)
    readable = keystone is not None and keystone.registered_limits is not None
    for project_id, _ in own:
        names.setdefault(project_id, project_id)
    confs = {host: ssh.nova_conf for host, ssh in facts.ssh.items()}
    rows = []
    for resource in sorted(PREFIX + c for c in classes):
        default = registered.get(resource)
        meaning = missing_limit_means(facts.nova, confs, resource)
        for project_id, name in names.items():
            override = own.get((project_id, resource))
            value, origin = _effective(keystone, readable, default, override)
            used = _used(placement, split, project_id, resource.removeprefix(PREFIX))
            use = split.of(project_id, resource.removeprefix(PREFIX))
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
                    used_by_instances=use.instances if use else None,
                    used_by_migrations=use.migrations if use else None,
                    leaked=use.leaked if use else None,
                    free=None if value is None or value < 0 or used is None else max(0, value - used),
                    in_flight=use.in_flight if use else None,
                    missing_means=meaning.word if origin == "missing" else None,
                )
            )
    rows.sort(
        key=lambda q: (q.resource != PREFIX + "VGPU", q.resource, -(q.used or 0), q.origin != "project", q.project)
    )
    return tuple(rows)


def _used(placement: PlacementFacts | None, split: Usage, project_id: str, resource_class: str) -> int | None:
    """What Nova will count. A project that holds something and has no usage is one whose usage could not be read."""
    if placement is None:
        return None
    usage = placement.usages.get(project_id)
    if usage is not None:
        return usage.get(resource_class, 0)
    use = split.of(project_id, resource_class)
    return None if use is not None and (use.instances or use.migrations or use.leaked) else 0


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


def quota_totals(
    quotas: Iterable[ProjectQuota], hosts: Collection[Host], providers: Iterable[Provider]
) -> tuple[QuotaTotals, ...]:
    """Per resource: what is promised to all projects together against what the hosts can really make."""
    rows: dict[str, list[ProjectQuota]] = defaultdict(list)
    for quota in quotas:
        rows[quota.resource].append(quota)
    capacity = _capacities(hosts, providers)
    return tuple(_total_of(resource, mine, capacity(resource.removeprefix(PREFIX))) for resource, mine in rows.items())


def _total_of(resource: str, rows: list[ProjectQuota], capacity: int | None) -> QuotaTotals:
    known = [q.limit for q in rows if q.limit is not None and q.limit >= 0]
    zero = sum(q.origin == "missing" and q.missing_means == "zero" for q in rows)
    unlimited = sum(
        (q.limit is not None and q.limit < 0) or (q.origin == "missing" and q.missing_means == "unlimited")
        for q in rows
    )
    promised = sum(known) if known or zero else None
    unknown = len(rows) - len(known) - zero - unlimited
    used = [q.used for q in rows]
    sure = capacity is not None and promised is not None and not unlimited and not unknown
    return QuotaTotals(
        resource=resource,
        promised=promised,
        unlimited=unlimited,
        unknown=unknown,
        capacity=capacity,
        used=None if None in used else sum(n for n in used if n is not None),
        unreserved=max(0, (capacity or 0) - (promised or 0)) if sure else None,
    )


def _capacities(hosts: Collection[Host], providers: Iterable[Provider]) -> Callable[[str], int | None]:
    """Class -> what the GPUs that Placement offers it on can make; None where one of them is not known.

    Placement's own totals are no measure: on SR-IOV cards it counts virtual functions, more than a GPU's type allows.
    """
    gpus = {(host.name, gpu.address): gpu for host in hosts for gpu in host.gpus or ()}
    asked = {host.name for host in hosts if host.gpus is not None}
    offered: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for provider in providers:
        if provider.device is None or (provider.gpu is None and provider.host in asked):
            continue  # the host has no such device: it can make nothing
        for inventory in provider.inventories or ():
            offered[inventory.resource_class][(provider.host, provider.gpu or provider.device)] = None

    def of(resource_class: str) -> int | None:
        if resource_class not in offered:
            return None
        found = [gpus[key].vgpus_max if key in gpus else None for key in offered[resource_class]]
        return None if None in found else sum(n for n in found if n is not None)

    return of


class QuotaJoin:
    """The quota parts of a snapshot, remembered while what they are made of stays the same."""

    def __init__(self) -> None:
        self._rows: tuple[object, tuple[ProjectQuota, ...]] | None = None
        self._findings: tuple[object, tuple[Finding, ...]] | None = None

    def add_to(self, snapshot: Snapshot, facts: Facts, classes: Collection[str]) -> Snapshot:
        """The snapshot with rows, totals, findings and what a missing limit means."""
        nova, placement = facts.nova, facts.placement
        basis = (
            facts.identity,
            facts.keystone,
            (
                nova.servers,
                (nova.migrations, nova.other_migrations),
                nova.flavors,
                nova.max_microversion,
                nova.all_projects,
            )
            if nova
            else None,
            (placement.providers, placement.usages, placement.strangers, placement.by_tree) if placement else None,
            {host: ssh.nova_conf for host, ssh in facts.ssh.items()},
            classes,
        )
        if self._rows is None or self._rows[0] != basis:
            self._rows = (basis, project_quotas(facts, quota_classes(facts, classes)))
        rows = self._rows[1]
        totals = quota_totals(rows, snapshot.hosts, snapshot.providers)
        snapshot = msgspec.structs.replace(
            snapshot, quotas=rows, quota_totals=totals, missing_limit=_missing_limit(facts)
        )
        if self._findings is None or self._findings[0] != (basis, totals):
            self._findings = ((basis, totals), audit(facts, snapshot))
        return msgspec.structs.replace(snapshot, quota_findings=self._findings[1])


def _missing_limit(facts: Facts) -> MissingMeaning:
    """What a missing ``class:VGPU`` means on this cloud."""
    return missing_limit_means(facts.nova, {host: ssh.nova_conf for host, ssh in facts.ssh.items()})
