"""vGPUs of the vendor VFIO framework: functions with a type, which Nova hands out by PCI alias and device_spec."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.snapshot import Host
from vgpu_console.rules.device_spec import DeviceSpec, aliases, device_specs
from vgpu_console.rules.explain.chain import Chain, Place, counted, few, unread
from vgpu_console.rules.migration.ground import Ground


def look_at_aliases(chain: Chain, wanted: Mapping[str, int]) -> None:
    """Whether some host hands out, by these PCI aliases, functions that have a vGPU type and that nobody holds."""
    ground = chain.ground
    confs = {h.name: h.nova_conf for h in ground.snapshot.hosts if h.nova_conf is not None}
    known = {str(one.get("name")) for conf in confs.values() for one in aliases(conf) or ()}
    missing = [name for name in wanted if name not in known]
    if not confs:
        chain.step(
            "alias", "unknown", "no host's nova.conf could be read: what the PCI alias means is not known", "ssh"
        )
    elif missing:
        words = f"no readable nova.conf of a compute host has the PCI alias {few(missing)}; nova-api's own file decides"
        chain.step("alias", "warn", words, "ssh")
    else:
        chain.step("alias", "pass", f"nova.conf has the PCI alias {few(wanted)}", "ssh")
    places = [
        _place(ground, host, wanted)
        for host in ground.snapshot.hosts
        if any(g.mechanism == "vendor-vfio" for g in host.gpus or ())
    ]
    chain.places += sorted(places, key=lambda p: (-(p.room or 0), p.name))
    taking = [p for p in places if p.room and p.status == "pass"]
    if taking:
        total = counted(sum(p.room or 0 for p in taking), "server")
        chain.step("functions", "pass", f"free functions with a type for {total}: {few(p.name for p in taking)}", "ssh")
    elif any(p.status == "unknown" for p in places):
        words = f"what is free on {few(p.name for p in places if p.status == 'unknown')} is not known"
        chain.step("functions", "unknown", words, "libvirt")
    elif places:
        reasons = "; ".join(f"{p.name}: {p.why}" for p in places[:3])
        mend = Mend(words="see why not", command=shlex.join(["vgpu-console", "explain", "host", places[0].name]))
        chain.step("functions", "fail", f"no host has a free function with a type: {reasons}", "ssh", mends=[mend])
    else:
        chain.step(
            "functions", "fail", "no host has a GPU of the vendor VFIO framework that any source has told of", "ssh"
        )


def _place(ground: Ground, host: Host, wanted: Mapping[str, int]) -> Place:
    def place(status: CheckStatus, room: int | None, why: str, used: int | None = None) -> Place:
        real = [g.vgpus_max for g in host.gpus or () if g.mechanism == "vendor-vfio"]
        total = None if None in real else sum(n for n in real if n is not None)
        return Place(name=host.name, status=status, room=room, used=used, real=total, why=why)

    typed = [d for d in ground.devices.get(host.name, ()) if d.mechanism == "vendor-vfio"]
    used = sum(1 for d in typed if d.used)
    if host.service_state == "down":
        return place("fail", 0, "nova-compute is down", used)
    if host.service_status == "disabled":
        why = f": {host.disabled_reason}" if host.disabled_reason else ""
        return place("fail", 0, f"nova-compute is disabled{why}", used)
    if not typed:
        return place("fail", 0, "no function has a vGPU type", 0)
    if any(d.used is None for d in typed):
        return place("unknown", None, unread(ground, "libvirt", host.name))
    specs = device_specs(host.nova_conf)
    if specs is None:
        return place("unknown", None, "nova.conf was not read: which functions Nova hands out is not known", used)
    free = [d for d in typed if not d.used]
    given = [d for d in free if _matches(specs, host, d.gpu, d.parent)]
    least = max(wanted.values(), default=1)
    if not free:
        return place("fail", 0, f"all {len(typed)} functions with a type are held", used)
    if len(given) < least:
        return place("fail", 0, f"{len(free)} free functions with a type, in no [pci] device_spec", used)
    return place("pass", len(given) // least, "", used)


def _matches(specs: tuple[DeviceSpec, ...], host: Host, gpu: str | None, function: str | None) -> bool:
    board = next((g for g in host.gpus or () if g.address == gpu), None)
    vendor = board.vendor_id if board is not None else ""
    return any(s.matches(function or "", gpu, vendor) for s in specs)
