"""A host's GPUs in the chain of why it gets no server: functions, driver, nova.conf, the size they are held at."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu
from vgpu_console.rules.device_spec import device_specs
from vgpu_console.rules.explain import mends
from vgpu_console.rules.explain.chain import Chain, counted, few, unread
from vgpu_console.rules.explain.offers import asked_host
from vgpu_console.rules.mdev_room import listed_types
from vgpu_console.rules.nova_conf import enabled_types
from vgpu_console.rules.nova_gpu import GpuSide, label
from vgpu_console.rules.nova_side import nova_side


def look_at_gpus(chain: Chain, host: Host) -> bool:
    """Whether there are GPUs to look at; says so where there are none, or where nobody has told."""
    if host.gpus is None:
        why = unread(chain.ground, "libvirt", host.name)
        chain.step("gpus", "unknown", f"its GPUs are not known: {why}", "libvirt", host.name)
        return False
    if not host.gpus:
        chain.step("gpus", "fail", "libvirt and sysfs show no GPU on it", "libvirt", host.name)
        return False
    models = few(dict.fromkeys(f"{g.model or 'GPU'} {g.address}" for g in host.gpus))
    if host.stale:
        words = f"{models}, as of an earlier answer: {'; '.join(host.errors)}"
        chain.step("gpus", "warn", words, "libvirt", host.name)
    else:
        chain.step("gpus", "pass", models, "libvirt", host.name)
    return True


def _all_or_some(bad: Sequence[object], of: Sequence[object]) -> CheckStatus:
    """What concerns every GPU leaves the host without; what concerns some leaves it with less."""
    return "pass" if not bad else "fail" if len(bad) == len(of) else "warn"


def look_at_functions(chain: Chain, host: Host) -> None:
    """Virtual functions that are off, and drivers that offer nothing."""
    gpus = host.gpus or ()
    sriov = [g for g in gpus if g.sriov]
    off = [g for g in sriov if g.vfs_enabled == 0]
    if sriov:
        part = [g for g in sriov if g.vfs_enabled and g.vfs_total and g.vfs_enabled < g.vfs_total]
        if off:
            words = (
                f"the virtual functions of {few(g.address for g in off)} are off (sriov-manage runs after each boot)"
            )
            todo = [mends.enable_functions(host.name, g.address) for g in off]
            chain.step("vfs", _all_or_some(off, gpus), words, "libvirt", host.name, todo)
        elif any(g.vfs_enabled is None for g in sriov):
            chain.step("vfs", "unknown", "how many virtual functions are on is not known", "libvirt", host.name)
        elif part:
            words = "; ".join(f"{g.address}: {g.vfs_enabled} of {g.vfs_total} virtual functions are on" for g in part)
            chain.step("vfs", "warn", words, "libvirt", host.name)
        else:
            total = sum(g.vfs_enabled or 0 for g in sriov)
            chain.step("vfs", "pass", f"all {total} virtual functions are on", "libvirt", host.name)
    idle = [g for g in gpus if g.mechanism in ("none", "unknown") and g not in off]
    if idle and asked_host(host):
        words = (
            f"{few(g.address for g in idle)}: its driver offers no vGPU types (is the vGPU manager installed, and "
            "nvidia-vgpu-mgr running?)"
        )
        command = f"ssh {shlex.quote(host.name)} sudo systemctl status nvidia-vgpu-mgr nvidia-vgpud"
        todo = [Mend(words="look at NVIDIA's services", command=command)]
        chain.step("driver", _all_or_some(idle, gpus), words, "libvirt", host.name, todo)


def look_at_nova_conf(chain: Chain, host: Host) -> None:
    """Whether Nova is told to make something of these GPUs."""
    gpus = host.gpus or ()
    conf = host.nova_conf
    if conf is None:
        why = "nova.conf is not readable there" if "ssh" in host.known_from else unread(chain.ground, "ssh", host.name)
        chain.step("nova-conf", "unknown", f"what Nova is to make there: {why}", "ssh", host.name)
        return
    enabled = enabled_types(conf) or ()
    mdev = [g for g in gpus if g.mechanism != "vendor-vfio"]
    vendor = [g for g in gpus if g.mechanism == "vendor-vfio"]
    specs = device_specs(conf) or ()
    snippet = [mends.show_snippet(host.name, "this is what nova.conf would have to say; then restart nova-compute")]
    if vendor and not mdev and enabled and not specs:
        words = (
            f"nova.conf enables the mdev types {few(enabled)}, but this driver makes vGPUs by vendor VFIO: "
            "Nova finds no mediated devices, and needs [pci] device_spec"
        )
        chain.step("nova-conf", "fail", words, "ssh", host.name, snippet)
    elif vendor and not mdev and not specs:
        chain.step("nova-conf", "fail", "nova.conf has no [pci] device_spec: Nova uses none", "ssh", host.name, snippet)
    elif mdev and not enabled and not vendor:
        words = "nova.conf has no [devices] enabled_mdev_types: Nova makes no vGPU there"
        chain.step("nova-conf", "fail", words, "ssh", host.name, snippet)
    else:
        _configured(chain, host, snippet)


def _configured(chain: Chain, host: Host, snippet: list[Mend]) -> None:
    """GPU by GPU: a type that is enabled on it, and that it has."""
    sides = [(g, GpuSide(chain.ground.snapshot, host, g)) for g in host.gpus or () if g.mechanism == "mdev"]
    without = [g for g, side in sides if not side.configured_types()]
    strange = [
        (g, t)
        for g, side in sides
        for t in side.configured_types() or ()
        if g.types and not any(row.type_id == t for row in g.types)
    ]
    if strange:
        words = "; ".join(f"{g.address} does not know {t}" for g, t in strange)
        status = _all_or_some({g.address for g, _ in strange}, sides)  # type: ignore[arg-type]
        chain.step("nova-conf", status, f"nova.conf enables what is not there: {words}", "ssh", host.name, snippet)
    elif without:
        words = f"nova.conf gives no type to {few(g.address for g in without)} (device_addresses name others)"
        chain.step("nova-conf", _all_or_some(without, sides), words, "ssh", host.name, snippet)
    else:
        told = few(enabled_types(host.nova_conf) or ("device_spec",))
        chain.step("nova-conf", "pass", f"nova.conf enables {told}", "ssh", host.name)


def look_at_size(chain: Chain, host: Host) -> None:
    """GPUs that carry another size than the one that Nova makes there. Left out where there are none."""
    if not asked_host(host):
        return
    pinned: list[tuple[PhysicalGpu, str, list[MediatedDevice]]] = []
    for gpu in host.gpus or ():
        side = GpuSide(chain.ground.snapshot, host, gpu)
        for type_id in side.configured_types() or ():
            others = [d for devices in side.pinned_by(type_id).values() for d in devices]
            if others and gpu.mechanism == "mdev":
                pinned.append((gpu, type_id, others))
    if pinned:
        words = "; ".join(_pinned_words(gpu, type_id, others) for gpu, type_id, others in pinned)
        free = [d for _, _, others in pinned for d in others if d.used is False]
        todo = [mends.remove_devices(host.name, free)] if free else []
        bad = {g.address for g, _, _ in pinned}
        chain.step("size", _all_or_some(list(bad), host.gpus or ()), words, "libvirt", host.name, todo)
    idle = [d for d in chain.ground.devices.get(host.name, ()) if d.state == "defined" and d.parent and not d.used]
    if idle:
        words = (
            f"{counted(len(idle), 'device')} defined and not running ({few(d.parent or '' for d in idle)}): Nova "
            "counts such a function twice, and what lands on it fails"
        )
        chain.step("defined", "warn", words, "libvirt", host.name, [mends.start_devices(host.name, idle)])


def _pinned_words(gpu: PhysicalGpu, type_id: str, others: Sequence[MediatedDevice]) -> str:
    name = label(type_id, next((t.type_name for t in gpu.types if t.type_id == type_id), ""))
    free = sum(1 for d in others if d.used is False)
    whose = "all free" if free == len(others) else f"{free} of them free"
    return f"{gpu.address} carries {len(others)} {listed_types(others)} ({whose}) and makes no {name} beside them"


def look_at_types(chain: Chain, host: Host) -> None:
    """Functions of the vendor VFIO framework: with a type, and handed out by Nova."""
    vendor = [g for g in host.gpus or () if g.mechanism == "vendor-vfio"]
    if not vendor:
        return
    untyped = [g for g in vendor if g.functions and not any(f.current_vgpu_type for f in g.functions)]
    if untyped:
        words = f"no function of {few(g.address for g in untyped)} has a vGPU type (it is lost at each boot)"
        todo = [mends.set_type(host.name, g.address) for g in untyped]
        chain.step("vgpu-type", _all_or_some(untyped, vendor), words, "ssh", host.name, todo)
        return
    rows = [r for r in nova_side(chain.ground.snapshot, host.name) if r.mechanism == "vendor-vfio"]
    odd = [r for r in rows if r.state != "ok"]
    if odd:
        status: CheckStatus = "unknown" if all(r.state == "unknown" for r in odd) else "warn"
        words = "; ".join(f"{r.gpu}: {r.verdict}" for r in odd)
        todo = [mends.show_snippet(host.name, "this is what nova.conf would have to say")]
        chain.step("vgpu-type", status, words, "ssh", host.name, todo)
    else:
        typed = sum(1 for g in vendor for f in g.functions if f.current_vgpu_type)
        chain.step("vgpu-type", "pass", f"{counted(typed, 'function')} with a vGPU type", "ssh", host.name)
