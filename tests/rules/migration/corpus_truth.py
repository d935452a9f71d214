"""What a pre-check of a simulated cloud must come to, worked out from the simulator's own state and nothing else.

No rule, no snapshot and no source of the console is used here: hosts, GPUs, guests, Placement's rows and the faults are
looked at directly, and the reasons are those of Nova's and NVIDIA's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.rules.migration.corpus import World
from vgpu_console.simulator.gpu_models import VgpuType
from vgpu_console.simulator.hosts import Gpu, Host

Verdicts = dict[str, str]

RATE = 1e9
"""Bytes a second: what the console is configured with."""
SLOWEST_SWITCH_MS = 2000.0
UNTRACKED = frozenset({"A100-40", "A100-80", "A40", "T4"})
"""Ampere and older: their GPUs do not tell which pages they write."""


def truth(world: World) -> Verdicts:
    """Check -> warn, unknown or fail, for every one that is not to pass."""
    return {word: status for word, status in _all(world) if status != "pass"}


def _all(w: World) -> Iterator[tuple[str, str]]:
    yield from _server(w)
    yield from _services(w)
    yield from _hosts(w)
    yield from _devices(w)
    yield from _options(w)


def _libvirt(w: World, host: Host) -> bool:
    return host.name not in w.cloud.faults.libvirt


def _ssh(w: World, host: Host) -> bool:
    return host.name not in w.cloud.faults.ssh


def _conf(w: World, host: Host) -> dict[str, dict[str, str]] | None:
    return host.nova_conf if _ssh(w, host) and host.nova_conf_readable else None


def _held(w: World) -> list[tuple[Gpu, VgpuType]]:
    """The GPU and the type of each vGPU that the guest has."""
    guest = w.source.guests[w.server.id]
    found = []
    for gpu in w.source.gpus:
        found += [(gpu, mdev.kind) for mdev in gpu.all_mdevs() if mdev.uuid in guest.mdevs]
        found += [(gpu, kind) for function, kind in gpu.current_types.items() if function in guest.pci]
    return found


def _vendor(w: World) -> bool:
    return bool(w.source.guests[w.server.id].pci)


def _seen(w: World) -> bool:
    """Whether the console can know which devices the guest has."""
    return _libvirt(w, w.source) and (not _vendor(w) or _ssh(w, w.source))


def _server(w: World) -> Iterator[tuple[str, str]]:
    s = w.server
    good = s.status in ("ACTIVE", "PAUSED") and s.task_state is None and s.power_state == 1
    yield "server-state", "pass" if good else "fail"
    yield "server-locked", "warn" if s.locked else "pass"
    yield "flavor", "fail" if "hw:viommu_model" in s.flavor.extra_specs else "pass"
    away = any(s.id in h.guests for h in w.cloud.state.hosts.values() if h is not w.source and _libvirt(w, h))
    yield "guest", "fail" if away else "pass"
    if not _vendor(w):
        limit = next(
            r.default_limit for r in w.cloud.state.registered_limits.values() if r.resource_name == "class:VGPU"
        )
        used = w.cloud.state.placement.usages.get(s.project_id, {}).get("VGPU", 0)
        yield "double-allocation", "warn" if 0 <= limit < used + 1 else "pass"


def _services(w: World) -> Iterator[tuple[str, str]]:
    source, target = w.source, w.destination
    yield "source-service", "pass" if source.up else "fail"
    yield "destination-service", "pass" if target.up and target.status == "enabled" else "fail"
    knows_pin = w.cloud.state.compute_max >= (2, 96)
    if source.zone == target.zone:
        yield "zone", "fail" if knows_pin and w.server.pinned_zone not in (None, target.zone) else "pass"
    elif not knows_pin:
        yield "zone", "warn"
    else:
        yield "zone", "pass" if w.server.pinned_zone in (None, target.zone) else "fail"
    tenants = [a.metadata.get("filter_tenant_id") for a in w.cloud.state.aggregates if target.name in a.hosts]
    named = [t for t in tenants if t is not None]
    yield "aggregate", "warn" if named and w.server.project_id not in named else "pass"
    needed = (2, 100) if _vendor(w) and _seen(w) else (2, 96)
    yield "old-compute", "pass" if w.cloud.state.compute_max >= needed else "fail"
    yield "allocation-candidate", "pass" if _placeable(w) else "fail"


def _placeable(w: World) -> bool:
    """Whether Placement has CPU, memory, disk and a device with the flavor's trait in the destination's tree."""
    placement, flavor = w.cloud.state.placement, w.server.flavor
    root = placement.providers[w.destination.root_uuid]
    base = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mib, "DISK_GB": flavor.disk_gib}
    if any(root.used(c) + n > root.inventories[c].capacity for c, n in base.items()):
        return False
    if "resources:VGPU" not in flavor.extra_specs:
        return True
    return any(_offers(w, p.uuid) for p in placement.trees[root.uuid].values() if p.parent is not None)


def _offers(w: World, uuid: str) -> bool:
    provider = w.cloud.state.placement.providers[uuid]
    wanted = {k.partition(":")[2] for k in w.server.flavor.extra_specs if k.startswith("trait:")}
    inventory = provider.inventories.get("VGPU")
    return inventory is not None and provider.used("VGPU") < inventory.total and wanted <= provider.traits


def _hosts(w: World) -> Iterator[tuple[str, str]]:
    ends = (w.source, w.destination)
    vendor = _vendor(w) and _seen(w)
    told = [_libvirt(w, h) or _ssh(w, h) for h in ends]
    least = 10_000_000 if vendor else 8_006_000
    old = any(t and h.libvirt_version < least for t, h in zip(told, ends, strict=True))
    yield "libvirt", "fail" if old else "pass" if all(told) else "unknown"
    least = 8_002_002 if vendor else 8_001_000
    yield "qemu", "fail" if any(h.qemu_version < least for h in ends) else "pass"  # Nova tells it at any rate
    if w.destination.qemu_version < w.source.qemu_version:
        skip = (_conf(w, w.source) or {}).get("workarounds", {}).get("skip_hypervisor_version_check_on_lm")
        yield "qemu-order", "warn" if skip == "true" else "fail"
    asked = [h for h in ends if _ssh(w, h)]
    kernels = {_kernel(h) for h in asked}
    word = "fail" if "fail" in kernels else "unknown" if len(asked) < 2 else "warn" if "warn" in kernels else "pass"
    yield "kernel", word
    if len(asked) < 2:
        yield from (("os", "unknown"), ("nvidia-driver", "unknown"), ("cpu", "unknown"))
        return
    yield "os", _system(w)
    same = w.source.driver == w.destination.driver
    lenient = all(h.os[0] == "rhel" and h.os[1] == "9.6" for h in ends)
    yield "nvidia-driver", "pass" if same else "warn" if lenient else "fail"
    yield "cpu", "pass" if w.source.cpu_model == w.destination.cpu_model else "warn"


def _kernel(host: Host) -> str:
    major, minor = (int(part) for part in host.kernel.split(".")[:2])
    if (major, minor) >= (5, 18):
        return "pass"
    own = host.os[0] == "rhel" and ".el" in host.kernel and (major, minor) >= (5, 14)
    return "warn" if own and host.os[1] in ("9.4", "9.6", "10.0") else "fail"


def _system(w: World) -> str:
    (a, av, _), (b, bv, _) = w.source.os, w.destination.os
    if (a, av) == (b, bv):
        return "pass"
    if a == b == "rhel" and "10.0" in (av, bv) and {"9.2", "9.4"} & {av, bv}:
        return "fail"
    return "warn"


def _devices(w: World) -> Iterator[tuple[str, str]]:
    target = w.destination
    if not _seen(w):
        yield "other-devices", "unknown"
        yield "dirty-tracking", "unknown"
    if not _seen(w) or not (_libvirt(w, target) or _ssh(w, target)):
        for word in ("framework", "type-id", "type-name", "board", "ecc", "free-slot"):
            yield word, "unknown"
        return
    ((carrier, kind),) = _held(w)
    concerned = _concerned(w, kind)
    yield "framework", _framework(w)
    yield "type-id", _type_id(w, kind)
    rooms = {gpu.address: _free(w, gpu, kind) for gpu in concerned} if _libvirt(w, target) else {}
    likely = [g for g in concerned if rooms.get(g.address) != 0] or concerned
    yield "ecc", _ecc(w, carrier, likely)
    yield "free-slot", _room(w, kind, concerned, rooms)
    conf = _conf(w, target)
    if conf is not None and not _vendor(w):
        enabled = {t.type_id for g in target.gpus for t in g.enabled}
        traits = [k for k in w.server.flavor.extra_specs if k.startswith("trait:")]
        yield "several-types", "warn" if len(enabled) > 1 and enabled - {kind.type_id} and not traits else "pass"


def _on(gpu: Gpu) -> bool:
    return bool(gpu.functions())


def _concerned(w: World, kind: VgpuType) -> list[Gpu]:
    """The destination's GPUs on which the type may be: by nova.conf, without that by what the board offers."""
    target = w.destination
    if _vendor(w):
        return list(target.gpus) if _ssh(w, target) else []
    if _conf(w, target) is not None:
        return [g for g in target.gpus if kind in g.enabled]
    return [g for g in target.gpus if _on(g) and kind in g.board.types]


def _framework(w: World) -> str:
    if _vendor(w):
        return "pass" if _ssh(w, w.destination) else "unknown"
    return "pass" if any(_on(g) for g in w.destination.gpus) else "unknown"  # a GPU that is off shows neither kind


def _type_id(w: World, kind: VgpuType) -> str:
    target = w.destination
    if _vendor(w):
        return "pass" if _ssh(w, target) else "unknown"
    if _conf(w, target) is None:
        return "unknown"
    return "pass" if any(kind in g.enabled for g in target.gpus) else "fail"


def _ecc(w: World, carrier: Gpu, likely: list[Gpu]) -> str:
    if not likely:
        return "pass"
    if not (_ssh(w, w.source) and _ssh(w, w.destination)):
        return "unknown"
    theirs = {g.ecc for g in likely}
    return "pass" if theirs == {carrier.ecc} else "warn" if carrier.ecc in theirs else "fail"


def _free(w: World, gpu: Gpu, kind: VgpuType) -> int:
    """Places of one GPU that Placement gives away and on which a device is, or can be made."""
    if gpu.mechanism == "vendor-vfio":
        return sum(t is kind and f not in gpu.claimed for f, t in gpu.current_types.items())
    if not gpu.sriov:
        idle = sum(m.kind is kind and m.active and m.uuid not in gpu.claimed for m in gpu.all_mdevs())
        return min(idle + gpu.spare(kind, gpu.running()), _left(w, gpu, gpu.address))
    ready = [f for f in gpu.functions() if _left(w, gpu, f) and _idle(gpu, f, kind)]
    empty = [f for f in gpu.functions() if _left(w, gpu, f) and f not in ready and gpu.available(f, kind)]
    return len(ready) + min(len(empty), gpu.spare(kind, gpu.running()))


def _idle(gpu: Gpu, function: str, kind: VgpuType) -> bool:
    return any(m.kind is kind and m.active and m.uuid not in gpu.claimed for m in gpu.mdevs.get(function, ()))


def _left(w: World, gpu: Gpu, function: str) -> int:
    name = f"{w.destination.name}_pci_{function.replace(':', '_').replace('.', '_')}"
    provider = w.cloud.state.placement.by_name.get(name)
    return 0 if provider is None else provider.inventories["VGPU"].total - provider.used("VGPU")


def _room(w: World, kind: VgpuType, concerned: list[Gpu], rooms: dict[str, int]) -> str:
    target = w.destination
    if _vendor(w) and not _ssh(w, target):
        return "unknown"
    if not _libvirt(w, target):
        return "unknown" if any(_on(g) for g in concerned) else "fail"
    if not sum(rooms.values()):
        return "fail"
    return "warn" if _vain(w, kind, concerned) and not _vendor(w) else "pass"


def _vain(w: World, kind: VgpuType, concerned: list[Gpu]) -> bool:
    """Whether Placement also has a place to give where nothing can be: on a full GPU, on a function that is gone."""
    there = {f: g for g in w.destination.gpus for f in g.functions()}
    for provider in w.cloud.state.placement.trees[w.destination.root_uuid].values():
        if provider.parent is None or not _offers(w, provider.uuid):
            continue
        gpu = there.get(provider.device)
        if gpu is None:
            return True
        at = provider.device
        if gpu in concerned and gpu.sriov and not _idle(gpu, at, kind) and not gpu.available(at, kind):
            return True
    return False


def _options(w: World) -> Iterator[tuple[str, str]]:
    ends = (w.source, w.destination)
    libvirt = [(conf or {}).get("libvirt", {}) for conf in (_conf(w, h) for h in ends)]
    known = [_conf(w, h) is not None for h in ends]
    permitted = any(o.get("live_migration_permit_post_copy", "").lower() == "true" for o in libvirt)
    yield "post-copy", "fail" if permitted else "pass" if all(known) else "unknown"
    if _vendor(w) and _seen(w):
        alias = (_conf(w, w.source) or {}).get("pci", {}).get("alias", "")
        refused = '"live_migratable": "no"' in alias
        yield "live-migratable", "fail" if refused else "pass" if all(known) else "unknown"
    most = _longest_ms(w) if _seen(w) else None
    limit = w.max_downtime_s
    if limit is not None:
        yield "downtime-limit", "unknown" if most is None else "fail" if most > limit * 1000 else "pass"
    elif most is not None:
        ((carrier, _),) = _held(w)
        yield "dirty-tracking", "warn" if carrier.board.key in UNTRACKED else "unknown"
    leaving = [m for m in w.cloud.state.migrations.values() if m.source == w.source.name and not m.ended_status]
    most_at_once = (_conf(w, w.source) or {}).get("compute", {}).get("max_concurrent_live_migrations", "1")
    yield "concurrency", "warn" if leaving and most_at_once != "0" and len(leaving) >= int(most_at_once) else "pass"
    if not known[0]:
        yield from (("downtime-ladder", "unknown"), ("completion-timeout", "unknown"))
        return
    yield "completion-timeout", "pass" if libvirt[0]["live_migration_completion_timeout"] == "0" else "warn"
    allowed = int(libvirt[0]["live_migration_downtime"])
    if most is None:
        yield "downtime-ladder", "pass" if allowed == 500_000 else "unknown"
    else:
        yield "downtime-ladder", "pass" if int(allowed / 3) >= most else "warn"  # of three steps the first


def _longest_ms(w: World) -> float:
    """All of the memory and of the framebuffers, at the configured rate, and the slowest switch-over."""
    mib = w.server.flavor.ram_mib + sum(kind.framebuffer_mib for _, kind in _held(w))
    return SLOWEST_SWITCH_MS + mib * 1024 * 1024 / RATE * 1000
