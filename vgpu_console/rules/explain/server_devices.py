"""A server on its host: where its guest runs, what Placement has given it, and which devices the guest holds."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from vgpu_console.model.migration_end import Mend
from vgpu_console.model.nova import Server
from vgpu_console.model.snapshot import MediatedDevice, Provider
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.explain import mends
from vgpu_console.rules.explain.chain import Chain, counted, few, placement_read, unread
from vgpu_console.rules.explain.offers import asked_host
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.resource_classes import is_device_class, pci_aliases

_AWAY = frozenset({"SHELVED_OFFLOADED", "BUILD", "DELETED", "SOFT_DELETED"})


def devices_of(ground: Ground, server: Server) -> tuple[MediatedDevice, ...]:
    """The vGPUs that its guest holds on its host."""
    return tuple(d for d in ground.devices.get(server.host or "", ()) if d.server_id == server.id)


def given_to(ground: Ground, server_id: str) -> list[tuple[Provider, int]]:
    """The device providers that Placement has given it, with how many of each."""
    return [
        (p, amount)
        for p in ground.snapshot.providers
        if p.parent_uuid is not None
        for a in p.allocations or ()
        if a.consumer_id == server_id and (amount := sum(n for c, n in a.resources.items() if is_device_class(c))) > 0
    ]


def _moving(ground: Ground, server: Server) -> bool:
    busy = any(m.server_id == server.id for m in ground.migrations or ())
    return busy or server.task_state is not None or server.status in ("MIGRATING", "RESIZE", "VERIFY_RESIZE")


def look_at_guest(chain: Chain, server: Server) -> None:
    """Where libvirt has its guest; left out where only the host that Nova names has it."""
    ground, host = chain.ground, server.host or ""
    elsewhere = [
        name
        for name, facts in ground.facts.libvirt.items()
        if name != host and any(d.uuid == server.id and d.active is not False for d in facts.domains)
    ]
    if elsewhere and not _moving(ground, server):
        words = f"Nova says {host}, but its guest is on {few(elsewhere)}: do not reboot it before that is settled"
        command = f"vgpu-console migrate follow {server.id}"
        mend = Mend(words="see what became of its last migration", command=command)
        chain.step("guest", "fail", words, "libvirt", elsewhere[0], [mend])


def look_at_allocation(chain: Chain, server: Server, wanted: int | None) -> None:
    """What Placement has given it, and where."""
    ground = chain.ground
    if not placement_read(ground):
        chain.step("allocation", "unknown", unread(ground, "placement"), "placement")
        return
    given = given_to(ground, server.id)
    total = sum(n for _, n in given)
    away = sorted({p.host for p, _ in given if p.host != server.host})
    by_alias = bool(pci_aliases(server.extra_specs)) and not total
    if by_alias:
        words = "asked for by PCI alias: Placement need not count it ([pci] report_in_placement)"
        chain.step("allocation", "pass", words, "placement")
    elif away and not _moving(ground, server):
        words = f"Placement has given it {total} on {few(away)}, and Nova says {server.host}"
        show = shlex.join(["openstack", "resource", "provider", "allocation", "show", server.id])
        mend = Mend(words="see what it holds; a migration may have ended badly", command=show)
        chain.step("allocation", "fail", words, "placement", mends=[mend])
    elif not total:
        words = (
            "Placement has given it no vGPU: nothing keeps another server from its device (nova-manage cannot heal it)"
        )
        chain.step("allocation", "fail", words, "placement", mends=[mends.new_place(server.id)])
    elif wanted is not None and total != wanted and not _moving(ground, server):
        words = f"its flavor asks for {wanted}, Placement has given it {total}"
        chain.step("allocation", "warn", words, "placement", mends=[mends.new_place(server.id)])
    else:
        where = few(p.name for p, _ in given)
        chain.step("allocation", "pass", f"Placement has given it {counted(total, 'vGPU')} of {where}", "placement")


def look_at_devices(chain: Chain, server: Server, wanted: int | None, held: Sequence[MediatedDevice]) -> None:
    """Which devices its guest holds, of which type, from where, and whether those are the ones it was given."""
    ground, host = chain.ground, server.host or ""
    if server.status in _AWAY:
        return
    if not asked_host(ground.hosts.get(host)) and not held:
        words = f"which device its guest holds: {unread(ground, 'libvirt', host)}"
        chain.step("device", "unknown", words, "libvirt", host)
        return
    missing = _missing(ground, server)
    if missing:
        words = f"its guest names {few(missing)}, which {host} does not have: it would not start again"
        todo = [mends.give_device_again(server.id, server.extra_specs or {})]
        chain.step("device", "fail", words, "libvirt", host, todo)
        return
    shared = _shared(ground, server)
    if shared:
        words = f"{few(shared)}: the guests of several servers name it, and one of them can run"
        todo = [mends.give_device_again(server.id, server.extra_specs or {})]
        chain.step("device", "fail", words, "libvirt", host, todo)
        return
    if not held:
        _none_held(chain, server)
        return
    idle = [d for d in held if d.state == "defined"]
    if idle and server.status == "ACTIVE":
        words = f"{few(d.uuid or '' for d in idle)} is defined and not running"
        chain.step("device", "fail", words, "libvirt", host, [mends.start_devices(host, idle)])
    elif wanted and len(held) != wanted and not _moving(ground, server):
        words = f"its flavor asks for {wanted}, its guest holds {len(held)}: {_list(held)}"
        todo = [mends.give_device_again(server.id, server.extra_specs or {})]
        chain.step("device", "fail" if len(held) < wanted else "warn", words, "libvirt", host, todo)
    else:
        chain.step("device", "pass", f"its guest holds {_list(held)} of {host}", "libvirt", host)
    _match(chain, server, held)


def _list(held: Sequence[MediatedDevice]) -> str:
    return ", ".join(
        f"{short_type_name(d.type_name) or d.type_id} on {d.parent or 'a function that is gone'}"
        + (f" (mdev {d.uuid})" if d.uuid else "")
        for d in held
    )


def _none_held(chain: Chain, server: Server) -> None:
    ground, host = chain.ground, server.host or ""
    facts = ground.facts.libvirt.get(host)
    domain = next((d for d in facts.domains if d.uuid == server.id), None) if facts is not None else None
    given = given_to(ground, server.id)
    if _moving(ground, server):
        words = f"no guest of it holds a vGPU on {host} yet: it is on its way ({server.task_state or server.status})"
        chain.step("device", "unknown", words, "libvirt", host)
        return
    untyped = _untyped(ground, host, domain.pci if domain is not None else ())
    if untyped:
        gpus = sorted({gpu for _, gpu in untyped})
        words = f"its guest is given {few(a for a, _ in untyped)}, which has no vGPU type now: it is lost at each boot"
        chain.step("device", "fail", words, "ssh", host, [mends.set_type(host, gpu) for gpu in gpus])
        return
    what = "its guest has no vGPU" if domain is not None else "no guest of it there holds a vGPU, running or defined"
    lost = f", though Placement has given it {', '.join(p.device or p.name for p, _ in given)}" if given else ""
    todo = [mends.give_device_again(server.id, server.extra_specs or {})]
    chain.step("device", "fail", f"libvirt of {host}: {what}{lost}", "libvirt", host, todo)


def _untyped(ground: Ground, host: str, functions: Sequence[str]) -> list[tuple[str, str]]:
    """Of these the functions of the vendor VFIO framework without a type, each with its GPU."""
    known = ground.hosts.get(host)
    gpus = [g for g in (known.gpus if known is not None else None) or () if g.mechanism == "vendor-vfio"]
    return [
        (f.address, g.address) for g in gpus for f in g.functions if f.address in functions and not f.current_vgpu_type
    ]


def _missing(ground: Ground, server: Server) -> list[str]:
    """Devices that its guest names and that libvirt does not list."""
    facts = ground.facts.libvirt.get(server.host or "")
    if facts is None:
        return []
    there = {m.uuid for m in facts.mdevs}
    return [uuid for d in facts.domains if d.uuid == server.id for uuid in d.mdevs if uuid not in there]


def _shared(ground: Ground, server: Server) -> list[str]:
    """Devices that its guest and another one of the host name."""
    facts = ground.facts.libvirt.get(server.host or "")
    domains = facts.domains if facts is not None else ()
    named = Counter(device for d in domains for device in {*d.mdevs, *d.pci})
    return [device for d in domains if d.uuid == server.id for device in (*d.mdevs, *d.pci) if named[device] > 1]


def _match(chain: Chain, server: Server, held: Sequence[MediatedDevice]) -> None:
    """Whether the functions that Placement has given are those that the devices are on. Only mdev has one each."""
    given = {p.device for p, _ in given_to(chain.ground, server.id) if p.device and p.host == server.host}
    there = {d.parent for d in held if d.parent and d.mechanism == "mdev"}
    if not given or not there or _moving(chain.ground, server):
        return
    if given == there:
        chain.step("match", "pass", "Placement and libvirt name the same function", "placement")
        return
    words = (
        f"Placement has given it {', '.join(sorted(given))}, its device is on {', '.join(sorted(there))}: each of them "
        "is taken for free, or for taken, by one side"
    )
    chain.step("match", "warn", words, "placement", mends=[mends.new_place(server.id)])
