"""Pre-checks of the server itself: its state, where its guest runs, what its flavor asks for, its project's quota."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS
from vgpu_console.rules.migration.scene import Scene

_RUNNING, _PAUSED = 1, 3
_YES = frozenset({"1", "t", "true", "on", "y", "yes"})


def server_state(scene: Scene) -> Check:
    """Nova live-migrates a server that is ACTIVE or PAUSED and has no task (nova: compute/api.py live_migrate).

    Its conductor then wants the guest running or paused (nova: conductor/tasks/live_migrate.py).
    """
    server = scene.nova
    status = server.status if server is not None else scene.server.status
    task = server.task_state if server is not None else scene.server.task_state
    power = server.power_state if server is not None else scene.server.power_state
    if status is None:
        return scene.check("server-state", "unknown", "the server's status is not known", "nova")
    if status == "ERROR":
        evidence = "the server is in ERROR: Nova refuses to move it until its state is reset"
        return scene.check("server-state", "fail", evidence, "nova")
    if task is not None or status in LIVE_MIGRATION_IN_PROGRESS or status == "MIGRATING":
        return scene.check("server-state", "fail", f"the server is busy: {task or status}", "nova")
    if status not in ("ACTIVE", "PAUSED"):
        evidence = f"the server is {status}: only an ACTIVE or PAUSED one is live-migrated"
        return scene.check("server-state", "fail", evidence, "nova")
    if power is not None and power not in (_RUNNING, _PAUSED):
        evidence = f"the server is {status}, but Nova knows its guest as not running (power state {power})"
        return scene.check("server-state", "fail", evidence, "nova")
    return scene.check("server-state", "pass", f"{status}, no task", "nova")


def locked(scene: Scene) -> Check | None:
    """A locked server is moved by an administrator only (nova: os-lock)."""
    if scene.nova is None or scene.nova.locked is not True:
        return None
    return scene.check("server-locked", "warn", "the server is locked: its owner did not want it changed", "nova")


def guest(scene: Scene) -> Check | None:
    """The guest must run where Nova says: after a source's nova-compute died in a move, it may run on the other host.

    Left out where the source's libvirt does not answer, which other checks say.
    """
    uuid = scene.server.id
    elsewhere = [
        host
        for host, facts in scene.facts.libvirt.items()
        if host != scene.source.name and any(d.uuid == uuid and d.active is not False for d in facts.domains)
    ]
    if elsewhere:
        evidence = f"Nova says {scene.source.name}, but libvirt of {', '.join(elsewhere)} has the guest as well"
        if scene.domain is None:
            evidence = f"Nova says {scene.source.name}, but the guest runs on {', '.join(elsewhere)}"
        return scene.check("guest", "fail", evidence, "libvirt")
    if scene.source.libvirt is None:
        return None
    if scene.domain is None:
        evidence = f"libvirt of {scene.source.name} has no guest of this server that holds a vGPU"
        return scene.check("guest", "fail", evidence, "libvirt", end=scene.source)
    if scene.domain.active is False:
        return scene.check("guest", "fail", f"the guest does not run on {scene.source.name}", "libvirt")
    return scene.check("guest", "pass", f"runs on {scene.source.name} only", "libvirt", end=scene.source)


def flavor(scene: Scene) -> Check | None:
    """What Nova moves no server with: an accelerator of Cyborg's, memory encryption; QEMU none with a vGPU and vIOMMU.

    Left out where the flavor asks for none of it.
    """
    specs = scene.extra_specs or {}
    refused = []
    if specs.get("accel:device_profile"):
        refused.append("an accelerator of Cyborg's")
    if specs.get("hw:mem_encryption", "").strip().lower() in _YES:
        refused.append("encrypted memory")
    if specs.get("hw:viommu_model") and scene.vgpus:
        refused.append("a virtual IOMMU beside a vGPU")
    if not refused:
        return None
    return scene.check("flavor", "fail", f"it has {' and '.join(refused)}: that cannot be live-migrated", "nova")


def double_allocation(scene: Scene) -> Check | None:
    """While a server moves it counts twice against its project's limit (nova: both consumers hold allocations).

    The move itself is not held against the limit, but what the project asks for meanwhile is.
    """
    needed = {c: n for c, n in scene.server.requested.items() if c == "VGPU" or c.startswith("CUSTOM_")}
    if not needed and scene.devices and scene.mechanism == "mdev":
        needed = {"VGPU": scene.vgpus}
    if not needed:
        return None  # PCI aliases count for no limit of a vGPU class
    lines: list[str] = []
    over = unknown = False
    for resource_class, amount in sorted(needed.items()):
        resource = f"class:{resource_class}"
        quota = next(
            (q for q in scene.snapshot.quotas if q.project_id == scene.server.project_id and q.resource == resource),
            None,
        )
        if quota is not None and quota.missing_means == "unlimited":
            lines.append(f"{resource} is unlimited here")
        elif quota is None or quota.limit is None or (quota.used is None and quota.limit != -1):
            unknown = True
            lines.append(f"{resource} of the project is not known")
        elif quota.limit == -1 or quota.used is None:
            lines.append(f"{resource} is unlimited")
        else:
            after = quota.used + amount
            over = over or after > quota.limit
            lines.append(f"{resource} {quota.used} of {quota.limit} counts {after} while it runs")
    evidence = "; ".join(lines)
    if over:
        return scene.check("double-allocation", "warn", f"{evidence}: no new vGPU server until it ends", "keystone")
    return scene.check("double-allocation", "unknown" if unknown else "pass", evidence, "keystone")
