"""Pre-checks that Nova and Placement answer of the two hosts: services, zones, aggregates, the queue, allocations."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.model.nova import Aggregate
from vgpu_console.rules.aggregates import has, tenants, wishes
from vgpu_console.rules.migration.scene import Scene, version

VGPU_MIGRATION_API = (2, 96, 0)
"""Nova 29.0.0 (2024.1), the first that live-migrates mediated devices, speaks 2.96."""
PCI_MIGRATION_API = (2, 100, 0)
"""Nova 31.0.0 (2025.1), the first with live_migratable PCI functions, speaks 2.100."""

DEFAULT_CONCURRENCY = 1
"""[compute] max_concurrent_live_migrations, nova: conf/compute.py."""


def same_host(scene: Scene) -> Check | None:
    """Nova refuses the host that the server is on."""
    if scene.source.name != scene.destination.name:
        return None
    return scene.check("same-host", "fail", f"the server is on {scene.source.name} already", "nova")


def source_service(scene: Scene) -> Check:
    """nova-compute of the source drives the migration."""
    host = scene.source.host
    if host.service_state is None:
        return scene.check("source-service", "unknown", f"nova-compute of {host.name} is not known", "nova")
    if host.service_state != "up":
        return scene.check("source-service", "fail", f"nova-compute of {host.name} is {host.service_state}", "nova")
    return scene.check("source-service", "pass", f"{host.name} is up", "nova")


def destination_service(scene: Scene) -> Check:
    """The scheduler takes no host whose service is down or disabled."""
    host = scene.destination.host
    if host.service_state is None or host.service_status is None:
        return scene.check("destination-service", "unknown", f"nova-compute of {host.name} is not known", "nova")
    if host.service_state != "up":
        evidence = f"nova-compute of {host.name} is {host.service_state}"
        return scene.check("destination-service", "fail", evidence, "nova")
    if host.service_status != "enabled":
        why = f": {host.disabled_reason}" if host.disabled_reason else ""
        return scene.check("destination-service", "fail", f"{host.name} is {host.service_status}{why}", "nova")
    return scene.check("destination-service", "pass", f"{host.name} is up and enabled", "nova")


def zone(scene: Scene) -> Check:
    """A server that was created for a zone may not leave it (Nova, availability zones).

    Nova also stays in the source's cell, which no API tells of a host.
    """
    here, there = scene.source.host.zone, scene.destination.host.zone
    pinned = scene.nova.pinned_zone if scene.nova is not None else None
    if there is None or (here is None and pinned is None):
        return scene.check("zone", "unknown", "the availability zones of both hosts are not known", "nova")
    if pinned:
        word = "pass" if pinned == there else "fail"
        evidence = f"the server may not leave zone {pinned}, {scene.destination.name} is in {there}"
        return scene.check("zone", word, evidence, "nova")  # type: ignore[arg-type]
    if here == there:
        return scene.check(
            "zone", "pass", f"{scene.source.name} and {scene.destination.name} are in zone {here}", "nova"
        )
    evidence = f"{scene.source.name} is in zone {here}, {scene.destination.name} in {there}"
    if pinned is None:
        return scene.check("zone", "warn", f"{evidence}: refused if it was created for its zone", "nova")
    return scene.check("zone", "pass", f"{evidence}, and the server is bound to none", "nova")


def aggregate(scene: Scene) -> Check:
    """What Nova's filters of aggregates say, if they are on, which no API tells.

    They are AggregateInstanceExtraSpecsFilter and AggregateMultiTenancyIsolation; with [scheduler]
    limit_tenants_to_placement_aggregate the second is Placement's matter (nova: scheduler/filters, request_filter.py).
    """
    known = scene.ground.aggregates
    if known is None:
        return scene.check("aggregate", "unknown", "the host aggregates could not be read", "nova")
    mine, theirs = known.get(scene.source.name, []), known.get(scene.destination.name, [])
    problems = [*_extra_specs(scene, mine, theirs), *_tenants(scene, mine, theirs)]
    if problems:
        return scene.check("aggregate", "warn", "; ".join(problems), "nova")
    return scene.check("aggregate", "pass", f"nothing in the aggregates of {scene.destination.name} forbids it", "nova")


def _extra_specs(scene: Scene, mine: list[Aggregate], theirs: list[Aggregate]) -> list[str]:
    """The flavor's wishes that the source's aggregates meet and the destination's do not."""
    found = []
    for name, wanted in wishes(scene.extra_specs).items():
        if not has(theirs, name, wanted) and (has(mine, name, wanted) or not mine):
            found.append(f"the flavor wants aggregates with {name} = {wanted}, {scene.destination.name} is in none")
    return found


def _tenants(scene: Scene, mine: list[Aggregate], theirs: list[Aggregate]) -> list[str]:
    project = scene.server.project_id
    allowed = {t for a in theirs for t in tenants(a)}
    if allowed and project not in allowed:
        return [f"{scene.destination.name} is kept for other projects (filter_tenant_id of its aggregates)"]
    kept = [a.name for a in mine if project in tenants(a)]
    if kept and project not in allowed:
        return [f"{scene.source.name} is kept for this project by aggregate {kept[0]}, {scene.destination.name} is not"]
    return []


def old_compute(scene: Scene) -> Check:
    """What came with which release, by the API's version: a compute's own release is in no API."""
    spoken = scene.facts.nova.max_microversion if scene.facts.nova is not None else ""
    parsed = version(spoken)
    if parsed is None:
        return scene.check("old-compute", "unknown", "the microversion that Nova speaks is not known", "nova")
    by_pci = scene.mechanism == "vendor-vfio"
    least, since = (PCI_MIGRATION_API, "2.100 (2025.1)") if by_pci else (VGPU_MIGRATION_API, "2.96 (2024.1)")
    if parsed < least:
        evidence = f"Nova speaks {spoken}: before {since} it moves no vGPU of this kind"
        return scene.check("old-compute", "fail", evidence, "nova")
    return scene.check("old-compute", "pass", f"Nova speaks {spoken}, at least {since}", "nova")


def concurrency(scene: Scene) -> Check:
    """A source does so many at once as it is told to; the others wait in its queue (nova: compute/manager.py)."""
    if scene.migrations is None:
        return scene.check("concurrency", "unknown", "running migrations are not known", "nova")
    running = sum(m.source == scene.source.name and m.server_id != scene.server.id for m in scene.migrations)
    if not running:
        return scene.check("concurrency", "pass", f"no other migration leaves {scene.source.name}", "nova")
    conf = scene.source.conf
    told = None
    if conf is not None:
        told = conf.get("compute.max_concurrent_live_migrations", conf.get("DEFAULT.max_concurrent_live_migrations"))
    most = int(told) if told is not None and told.lstrip("-").isdigit() else DEFAULT_CONCURRENCY
    where = "nova.conf" if told is not None else "Nova's default"
    if most == 0 or running < most:
        room = "no bound" if most == 0 else f"{most} at once"
        return scene.check("concurrency", "pass", f"{running} leave {scene.source.name}, {room} ({where})", "nova")
    evidence = f"it will wait: {running} leave {scene.source.name} already, {most} at once ({where})"
    return scene.check("concurrency", "warn", evidence, "nova")


def allocation_candidate(scene: Scene) -> Check:
    """Placement's own word: room for the flavor's groups, with its traits, on the destination."""
    root = scene.ground.roots.get(scene.destination.name)
    found = scene.candidates
    if found is None or found.error or root is None:
        why = (
            f"the provider of {scene.destination.name} is not known"
            if found is not None and not found.error
            else f"Placement did not answer: {found.error}"
            if found is not None
            else f"Placement was not asked for {scene.destination.name}"
        )
        return scene.check("allocation-candidate", "unknown", why, "placement")
    here = sum(any(found.roots.get(uuid) == root for uuid in one.allocations) for one in found.candidates)
    if here:
        some = f"at least {here}" if found.cut else str(here)
        evidence = f"{some} for flavor {scene.server.flavor or '?'} on {scene.destination.name}"
        return scene.check("allocation-candidate", "pass", evidence, "placement")
    if found.cut:
        evidence = f"none of {scene.destination.name} among the first {len(found.candidates)}"
        return scene.check("allocation-candidate", "unknown", evidence, "placement")
    evidence = f"Placement finds no place on {scene.destination.name} for the flavor with its traits"
    return scene.check("allocation-candidate", "fail", evidence, "placement")
