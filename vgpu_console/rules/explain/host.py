"""Why a host gets no server: its service, its GPUs, its nova.conf, what Placement has of it, what is left."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.nova import Flavor
from vgpu_console.model.snapshot import Host, PhysicalGpu, Provider
from vgpu_console.rules.aggregates import has, tenants, wishes
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.explain import host_gpus, mends
from vgpu_console.rules.explain.chain import Chain, Explanation, counted, few, placement_read, unread
from vgpu_console.rules.explain.offers import (
    asked_host,
    devices_offered,
    figures,
    ghosts,
    left,
    on_full_gpus,
    usable_maximum,
)
from vgpu_console.rules.explain.request import asked_amounts, device_groups
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.nova_caps import nova_types
from vgpu_console.rules.nova_side import nova_side
from vgpu_console.rules.resource_classes import is_device_class, pci_aliases
from vgpu_console.rules.what_if import request_of

HEADLINE: dict[CheckStatus, str] = {
    "pass": "takes servers with vGPUs",
    "warn": "takes servers with vGPUs, but",
    "fail": "gets no server with a vGPU",
    "unknown": "whether it takes servers with vGPUs is not known",
}


def explain_host(ground: Ground, host: Host) -> Explanation:
    """The chain of one host. Pure; what no source has told stays unknown."""
    chain = Chain(ground)
    _service(chain, host)
    if host_gpus.look_at_gpus(chain, host):
        host_gpus.look_at_functions(chain, host)
        host_gpus.look_at_nova_conf(chain, host)
        host_gpus.look_at_size(chain, host)
        host_gpus.look_at_types(chain, host)
    _placement(chain, host)
    _room(chain, host)
    _aggregates(chain, host)
    return chain.ended("host", host.name, host.name, HEADLINE)


def _service(chain: Chain, host: Host) -> None:
    if host.service_state is None or host.service_status is None:
        chain.step("service", "unknown", f"nova-compute of {host.name} is not known to Nova", "nova")
    elif host.service_state != "up":
        lost = [d for d in chain.ground.devices.get(host.name, ()) if d.state == "defined" and not d.parent]
        more = ""
        todo = [mends.restart_compute(host.name, "start nova-compute, and look at what its log says")]
        if lost:
            more = (
                f"; {counted(len(lost), 'defined device')} whose function is gone "
                f"keep{'s' if len(lost) == 1 else ''} it from starting (its process stays, its service is down)"
            )
            todo = [mends.remove_devices(host.name, lost), *todo]
            off = [g for g in host.gpus or () if g.sriov and g.vfs_enabled == 0]
            todo = [*(mends.enable_functions(host.name, g.address) for g in off), *todo] if off else todo
        chain.step("service", "fail", f"nova-compute is {host.service_state}{more}", "nova", mends=todo)
    elif host.service_status != "enabled":
        why = f": {host.disabled_reason}" if host.disabled_reason else ""
        words = f"nova-compute is {host.service_status}{why}"
        chain.step("service", "fail", words, "nova", mends=[mends.enable_service(host.name)])
    else:
        chain.step("service", "pass", "nova-compute is up and enabled", "nova")


# --- Placement --------------------------------------------------------------------------------------------------------


def _placement(chain: Chain, host: Host) -> None:
    """What Placement has of its devices, and whether that is true."""
    ground = chain.ground
    if not placement_read(ground):
        chain.step("providers", "unknown", unread(ground, "placement"), "placement")
        return
    mine = [p for p in ground.providers.get(host.name, {}).values() if p.parent_uuid is not None]
    offers = [p for p in mine if devices_offered(p) > 0]
    if host.name not in ground.roots:
        words = "Placement has no provider of this host: nova-compute has never reported"
        todo = [mends.restart_compute(host.name, "let nova-compute report")]
        chain.step("providers", "fail", words, "placement", mends=todo)
        return
    if not offers:
        reserved = sum(i.reserved for p in mine for i in p.inventories or () if is_device_class(i.resource_class))
        words = f"all {reserved} of its vGPUs are reserved in Placement" if reserved else "Placement has no vGPU of it"
        after = "" if reserved else ": nova-compute reports a device only where it can make something now"
        chain.step("providers", "fail", words + after, "placement", mends=_unreported(host, reserved, mine))
        return
    classes = _classes(offers)
    told = figures(host, offers, classes)
    real = "" if told.real is None else f", {told.real} real"
    words = f"Placement offers {told.offered} {', '.join(sorted(classes))}: {told.used} used, {told.reserved} reserved"
    chain.step("providers", "pass", words + real, "placement")
    _false_offers(chain, host, offers, classes)
    _caps(chain, host)


def _unreported(host: Host, reserved: int, providers: Sequence[Provider]) -> list[Mend]:
    if reserved:
        free = [p for p in providers if any(i.reserved for i in p.inventories or ())]
        sets = [
            f"openstack resource provider inventory class set {p.uuid} {i.resource_class} "
            f"--total {i.total} --reserved 0"
            for p in free[:3]
            for i in p.inventories or ()
            if i.reserved
        ]
        return [Mend(words="take the reservation away, if nobody means it", command=one) for one in sets]
    return [mends.restart_compute(host.name, "where nothing above explains it: let nova-compute report anew")]


def _classes(offers: Sequence[Provider]) -> dict[str, int]:
    """The classes that mean vGPUs among what is offered."""
    return {i.resource_class: 1 for p in offers for i in p.inventories or () if is_device_class(i.resource_class)}


def _false_offers(chain: Chain, host: Host, offers: Sequence[Provider], classes: dict[str, int]) -> None:
    """Providers on which nothing can start. Left out where there are none."""
    snapshot = chain.ground.snapshot
    gone = ghosts(snapshot, offers)
    full = on_full_gpus(snapshot, offers, classes)
    parts = []
    if gone:
        parts.append(
            f"{counted(len(gone), 'device')} that the host does not have ({few(p.device or '' for p in gone)})"
        )
    if full:
        parts.append(f"{counted(len(full), 'function')} of GPUs that are full")
    if parts:
        words = f"Placement offers {' and '.join(parts)}: what lands there fails, and is tried elsewhere"
        chain.step("false-offers", "warn", words, "placement", mends=mends.mend_ghosts(snapshot, gone))
        return
    if chain.said("size") or chain.said("nova-conf") == "fail":
        return  # it follows from that
    over = [(r.gpu, r.over_reported) for r in nova_side(snapshot, host.name) if r.over_reported]
    if over:
        words = "; ".join(f"{gpu}: {n} more than it can carry" for gpu, n in over)
        todo = [mends.show_snippet(host.name, "name as many functions of each GPU as it can carry (device_addresses)")]
        chain.step("over-reported", "warn", f"Placement offers {words}", "placement", mends=todo)


def _caps(chain: Chain, host: Host) -> None:
    """``max_instances``, where it cuts something off."""
    for one in nova_types(chain.ground.snapshot, host.name):
        if one.max_instances is not None and one.state != "ok":
            todo = [mends.show_snippet(host.name, "name functions per GPU instead of a cap for the whole host")]
            status: CheckStatus = "unknown" if one.state == "unknown" else "warn"
            chain.step("max-instances", status, one.verdict, "ssh", host.name, todo)


# --- what is left, and for whom ---------------------------------------------------------------------------------------


def _room(chain: Chain, host: Host) -> None:
    """What its GPUs can still hand out, and what Placement can still give of it."""
    if not host.gpus or chain.said("nova-conf") == "fail":
        return  # what Nova makes nothing of has no room
    if not asked_host(host):
        why = unread(chain.ground, "libvirt", host.name)
        chain.step("room", "unknown", f"what is free now: {why}", "libvirt", host.name)
        return
    usable = [g for g in host.gpus if usable_maximum(g) != 0]
    unknown = [g.address for g in usable if g.vgpus_free is None]
    if unknown:
        words = f"the real maximum, or the type in force, of {few(unknown)} is not known"
        chain.step("room", "unknown", words, "libvirt", host.name)
        return
    free = sum(g.vgpus_free or 0 for g in usable)
    if not free:
        words = "; ".join(_taken(g) for g in host.gpus)
        command = f"vgpu-console servers --host {shlex.quote(host.name)}"
        mend = Mend(words="move or delete a server that is on it", command=command)
        chain.step("room", "fail", f"nothing is free: {words}", "libvirt", host.name, [mend] if usable else [])
        return
    given = _left_in_placement(chain, host)
    if given == 0:
        words = f"its GPUs have room for {free}, but Placement has nothing left of it: its providers are all held"
        mend = Mend(words="see who holds them", command=f"vgpu-console providers --host {shlex.quote(host.name)}")
        chain.step("room", "fail", words, "placement", mends=[mend])
        return
    chain.step("room", "pass", f"room for {counted(free, 'vGPU')}", "libvirt", host.name)


def _taken(gpu: PhysicalGpu) -> str:
    if usable_maximum(gpu) == 0:
        return f"{gpu.address}: none can be made"
    name = short_type_name(gpu.active_type_name or "") or gpu.active_type or "vGPUs"
    return f"{gpu.address}: all {gpu.vgpus_max} {name} are held"


def _left_in_placement(chain: Chain, host: Host) -> int | None:
    """None where Placement does not count its devices at all, as with PCI aliases that it is not told of."""
    providers = chain.ground.providers.get(host.name, {}).values()
    offers = [p for p in providers if p.parent_uuid is not None and devices_offered(p) > 0]
    if not offers:
        return None
    return sum(left(p, _classes([p])) for p in offers)


def _aggregates(chain: Chain, host: Host) -> None:
    """For whom the host is kept, and whether any flavor asks for what it has."""
    ground = chain.ground
    if ground.aggregates is None:
        chain.step("aggregate", "unknown", "the host aggregates could not be read", "nova")
    else:
        mine = ground.aggregates.get(host.name, [])
        kept = sorted({t for a in mine for t in tenants(a)})
        names = {q.project_id: q.project for q in ground.snapshot.quotas}
        if kept:
            where = few(a.name for a in mine if tenants(a))
            words = f"aggregate {where} keeps it for {few(names.get(t, t) for t in kept)} (filter_tenant_id)"
            chain.step("aggregate", "warn", words, "nova")
        else:
            inside = f"in {few(a.name for a in mine)}" if mine else "in no aggregate"
            chain.step("aggregate", "pass", f"{inside}; none keeps it for certain projects", "nova")
    _flavors(chain, host)


def _flavors(chain: Chain, host: Host) -> None:
    """Whether some flavor asks for a class and traits that it offers."""
    ground = chain.ground
    flavors = ground.facts.nova.flavors if ground.facts.nova is not None else None
    offers = [p for p in ground.providers.get(host.name, {}).values() if p.parent_uuid and devices_offered(p) > 0]
    if flavors is None or not offers:
        return
    classes = _classes(offers)
    vendor = any(g.mechanism == "vendor-vfio" for g in host.gpus or ())
    asking = [f for f in flavors if asked_amounts(device_groups(request_of(f))).keys() & classes.keys()]
    asking += [f for f in flavors if vendor and pci_aliases(f.extra_specs) and f not in asking]
    if not asking:
        chain.step("flavors", "warn", f"no flavor asks for {', '.join(sorted(classes))}", "nova")
        return
    root = frozenset(
        t for p in ground.providers.get(host.name, {}).values() if not p.parent_uuid for t in p.traits or ()
    )
    have = frozenset(t for p in offers for t in p.traits or ()) | root
    fitting = [
        f
        for f in asking
        if all(have.issuperset(g.required) for g in device_groups(request_of(f))) and not _elsewhere(chain, host, f)
    ]
    if not fitting:
        wanted = sorted({t for f in asking for g in device_groups(request_of(f)) for t in g.required} - have)
        more = f": they want {few(wanted)}, which no device of it has" if wanted else ": they want other aggregates"
        chain.step(
            "flavors", "warn", f"{counted(len(asking), 'flavor')} ask for its class, and none fits{more}", "nova"
        )
        return
    chain.step("flavors", "pass", f"asked for by {few(f.name for f in fitting)}", "nova")


def _elsewhere(chain: Chain, host: Host, flavor: Flavor) -> bool:
    """Whether the flavor asks for an aggregate that the host is not in."""
    mine = (chain.ground.aggregates or {}).get(host.name, [])
    known = chain.ground.aggregates is not None
    return known and any(not has(mine, name, value) for name, value in wishes(flavor.extra_specs).items())
