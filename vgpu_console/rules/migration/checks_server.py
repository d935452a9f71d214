"""Pre-checks that OpenStack's own services answer: the server, the computes, the queue, the project's quota."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.rules.migration.scene import Scene, version

VGPU_MIGRATION_API = (2, 96, 0)
"""Nova 29.0.0 (2024.1), the first that live-migrates mediated devices, speaks 2.96."""

DEFAULT_CONCURRENCY = 1
"""[compute] max_concurrent_live_migrations, nova: conf/compute.py."""


def server_state(scene: Scene) -> Check:
    """Nova live-migrates a server that is ACTIVE or PAUSED and has no task (nova: compute/api.py live_migrate)."""
    server = scene.nova
    status = server.status if server is not None else scene.server.status
    task = server.task_state if server is not None else scene.server.task_state

    def check(word: str, evidence: str) -> Check:
        return scene.check("server-state", word, evidence, "nova")  # type: ignore[arg-type]

    if status is None:
        return check("unknown", "the server's status is not known")
    if status == "ERROR":
        return check("fail", "the server is in ERROR: Nova refuses to move it until its state is reset")
    if task is not None:
        return check("fail", f"the server is busy: {task}")
    if status not in ("ACTIVE", "PAUSED"):
        return check("fail", f"the server is {status}: only an ACTIVE or PAUSED one is live-migrated")
    return check("pass", f"{status}, no task")


def locked(scene: Scene) -> Check | None:
    """A locked server is moved by an administrator only (nova: os-lock)."""
    if scene.nova is None or scene.nova.locked is not True:
        return None
    return scene.check("server-locked", "warn", "the server is locked: its owner did not want it changed", "nova")


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
        return scene.check(
            "destination-service", "fail", f"nova-compute of {host.name} is {host.service_state}", "nova"
        )
    if host.service_status != "enabled":
        why = f": {host.disabled_reason}" if host.disabled_reason else ""
        return scene.check("destination-service", "fail", f"{host.name} is {host.service_status}{why}", "nova")
    return scene.check("destination-service", "pass", f"{host.name} is up and enabled", "nova")


def same_host(scene: Scene) -> Check | None:
    """Nova refuses the host that the server is on."""
    if scene.source.name != scene.destination.name:
        return None
    return scene.check("same-host", "fail", f"the server is on {scene.source.name} already", "nova")


def zone(scene: Scene) -> Check:
    """A server that was created for a zone may not leave it. Nova itself stays in the source's cell."""
    here, there = scene.source.host.zone, scene.destination.host.zone
    if here is None or there is None:
        return scene.check("zone", "unknown", "the availability zones of both hosts are not known", "nova")
    if here != there:
        evidence = (
            f"{scene.source.name} is in zone {here}, {scene.destination.name} in {there}: refused if it was asked for"
        )
        return scene.check("zone", "warn", evidence, "nova")
    return scene.check("zone", "pass", f"both hosts are in zone {here}", "nova")


def old_compute(scene: Scene) -> Check:
    """vGPU live migration came with Nova 29.0.0; a compute's own release is in no API."""
    spoken = scene.facts.nova.max_microversion if scene.facts.nova is not None else ""
    parsed = version(spoken)
    if parsed is None:
        return scene.check("nova-release", "unknown", "the microversion that Nova speaks is not known", "nova")
    if parsed < VGPU_MIGRATION_API:
        evidence = f"Nova speaks {spoken}: before 2.96 (2024.1) it moves no vGPU"
        return scene.check("nova-release", "fail", evidence, "nova")
    return scene.check("nova-release", "pass", f"Nova speaks {spoken}, at least 2.96 (2024.1)", "nova")


def concurrency(scene: Scene) -> Check:
    """A source does so many at once as it is told to; the others wait in its queue (nova: compute/manager.py)."""
    if scene.migrations is None:
        return scene.check("concurrency", "unknown", "running migrations are not known", "nova")
    running = sum(m.source == scene.source.name and m.server_id != scene.server.id for m in scene.migrations)
    conf = scene.source.conf
    told = None
    if conf is not None:
        told = conf.get("compute.max_concurrent_live_migrations", conf.get("DEFAULT.max_concurrent_live_migrations"))
    most = int(told) if told is not None and told.lstrip("-").isdigit() else DEFAULT_CONCURRENCY
    if not running:
        return scene.check("concurrency", "pass", f"no other migration leaves {scene.source.name}", "nova")
    where = "nova.conf" if told is not None else "Nova's default"
    if most == 0 or running < most:
        room = "no bound" if most == 0 else f"{most} at once"
        return scene.check("concurrency", "pass", f"{running} leave {scene.source.name}, {room} ({where})", "nova")
    evidence = f"it will wait: {running} leave {scene.source.name} already, {most} at once ({where})"
    return scene.check("concurrency", "warn", evidence, "nova")


def double_allocation(scene: Scene) -> Check | None:
    """While a server moves it counts twice against its project's limit (nova: both consumers hold allocations).

    The move itself is not held against the limit, but what the project asks for meanwhile is.
    """
    if not scene.vgpus:
        return None
    needed = scene.server.requested or {"VGPU": scene.vgpus}
    lines: list[str] = []
    over = unknown = False
    for resource_class, amount in sorted(needed.items()):
        if resource_class not in ("VGPU",) and not resource_class.startswith("CUSTOM_"):
            continue
        resource = f"class:{resource_class}"
        quota = next(
            (q for q in scene.snapshot.quotas if q.project_id == scene.server.project_id and q.resource == resource),
            None,
        )
        if quota is None or quota.used is None or quota.limit is None:
            unlimited = quota is not None and quota.missing_means == "unlimited"
            unknown = unknown or not unlimited
            lines.append(f"{resource} is unlimited here" if unlimited else f"{resource} of the project is not known")
        elif quota.limit == -1:
            lines.append(f"{resource} is unlimited")
        else:
            after = quota.used + amount
            over = over or after > quota.limit
            lines.append(f"{resource} {quota.used} of {quota.limit} counts {after} while it runs")
    evidence = "; ".join(lines) or "the classes of its flavor are not known"
    if over:
        return scene.check("double-allocation", "warn", f"{evidence}: no new vGPU server until it ends", "keystone")
    status = "unknown" if unknown or not lines else "pass"
    return scene.check("double-allocation", status, evidence, "keystone")  # type: ignore[arg-type]
