"""The part of a host's nova.conf that would make Placement tell the truth about its vGPUs. Printed, never written.

Mediated devices: of each SR-IOV GPU exactly as many virtual functions are named as it can carry vGPUs of its type, so
that Nova reports no more. ``max_instances`` cannot do that: it is a cap for the whole host (see ``nova_caps``).
Vendor VFIO: a ``device_spec`` for each function that has a type, and an alias per type.

Nova reports nothing of a function that is named no more, but leaves its provider in Placement (nova:
virt/libvirt/driver.py, _ensure_pgpu_providers deletes only what reports a total of 0): the snippet says which.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping

import msgspec

from vgpu_console.model.snapshot import Host, Provider, Snapshot
from vgpu_console.rules.nova_conf import addresses_of, enabled_types, mdev_class_of
from vgpu_console.rules.nova_gpu import GpuSide, label
from vgpu_console.rules.nova_snippet_pci import pci_section

_TYPE_ID = re.compile(r"[A-Za-z0-9_]+(-[A-Za-z0-9_.]+)?")
_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_CLASS = re.compile(r"VGPU|CUSTOM_[A-Z0-9_]+")
_WIDTH = 110

_STAYS_UNTRUE = (
    "a GPU that is given another size, by a change of type or by hand, reports nothing of the new one until the last "
    "device of the old size is gone; its providers are deleted meanwhile and come back with new uuids, without traits",
    "while the virtual functions of a GPU are off (a boot without sriov-manage), its providers stay and nothing starts",
    "a device that is defined and does not run counts its function twice, until it is started",
)

_HELD = (
    "Not named above, and with allocations: Nova reports these no more, but they stay in Placement as they are. "
    "Move or delete their servers first:"
)
_DELETABLE = (
    "Not named above: Nova reports these no more, but leaves them in Placement, where they keep offering what cannot "
    "start. Delete them while nova-compute is stopped:"
)


class NovaConfSnippet(msgspec.Struct, frozen=True, kw_only=True):
    """The text, and what an operator has to do or decide besides (all of which the text says in comments too).

    ``deletable`` are uuids of providers that stay in Placement and hold nothing; ``held`` those that would stay, or be
    refused to go, with allocations. ``undecided`` are GPUs for which no type is chosen.
    """

    host: str
    text: str
    deletable: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What is written for one GPU."""

    side: GpuSide
    type_id: str
    name: str
    addresses: tuple[str, ...]
    remarks: tuple[str, ...]


def nova_conf_snippet(snapshot: Snapshot, host_name: str, choose: Mapping[str, str] | None = None) -> str:
    """The text of ``snippet_of``."""
    return snippet_of(snapshot, host_name, choose).text


def snippet_of(snapshot: Snapshot, host_name: str, choose: Mapping[str, str] | None = None) -> NovaConfSnippet:
    """What to write into nova.conf of a host's nova-compute. ``choose``: type ids for GPUs, by PCI address.

    Without a choice a GPU keeps the type that its servers use, else the one that nova.conf gives it, else the one that
    it carries. A host whose GPUs are not known gives comments only. Raises KeyError for a host that is not known.
    """
    host = snapshot.host(host_name)
    if host is None:
        raise KeyError(host_name)
    if host.gpus is None:
        why = "; ".join(host.errors) or "neither libvirt nor the shell has answered"
        return NovaConfSnippet(host=host.name, text=_comment(f"The GPUs of {host.name} are not known: {why}"))
    lines = _comment(f"nova.conf of nova-compute on {host.name}. Restart nova-compute after a change.").splitlines()
    if host.nova_conf is None:
        lines += _comment("Its nova.conf was not read: types are those that its GPUs carry.").splitlines()
    sides = [GpuSide(snapshot, host, gpu) for gpu in host.gpus]
    mdev = [s for s in sides if s.gpu.mechanism != "vendor-vfio"]
    choices, open_remarks = _choices(snapshot, mdev, choose or {})
    for remark in open_remarks.values():
        lines += _comment(remark).splitlines()
    deletable: list[Provider] = []
    held: list[Provider] = []
    if choices:
        lines += ["", *_devices_section(host, choices)]
        for type_id in dict.fromkeys(c.type_id for c in choices):
            lines += ["", *_type_section(host, type_id, [c for c in choices if c.type_id == type_id])]
        deletable, held = _left_behind(choices)
        lines += _left_lines(snapshot, deletable, held)
        lines += ["", "# What stays untrue whatever is written here:"]
        lines += [line for text in _STAYS_UNTRUE for line in _comment(text, "#  - ").splitlines()]
    for section in pci_section(snapshot, host, [s for s in sides if s.gpu.mechanism == "vendor-vfio"]):
        lines += ["", *section]
    if not choices and len(lines) == 1:
        lines += _comment("No GPU of this host offers vGPUs now.").splitlines()
    return NovaConfSnippet(
        host=host.name,
        text="\n".join(lines) + "\n",
        deletable=tuple(p.uuid for p in deletable),
        held=tuple(p.uuid for p in held),
        undecided=tuple(open_remarks),
    )


def _comment(text: str, lead: str = "# ") -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=lead,
        subsequent_indent="#" + " " * (len(lead) - 1),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _choices(
    snapshot: Snapshot, sides: Iterable[GpuSide], choose: Mapping[str, str]
) -> tuple[list[_Choice], dict[str, str]]:
    """What is written per GPU; and for the others, by address, why nothing is."""
    choices: list[_Choice] = []
    undecided: dict[str, str] = {}
    for side in sides:
        gpu = side.gpu
        where = f"{gpu.address} ({gpu.model or 'GPU'})"
        type_id, why = _chosen_type(side, choose.get(gpu.address))
        if type_id is None:
            undecided[gpu.address] = f"{where}: {why}"
            continue
        capacity = side.capacity(type_id)
        name = label(type_id, capacity.type_name if capacity is not None else "")
        most = capacity.max if capacity is not None else None
        if not _TYPE_ID.fullmatch(type_id):
            undecided[gpu.address] = f"{where}: {type_id!r} is no type id that nova.conf could hold"
        elif side.off and not side.listed(type_id):
            undecided[gpu.address] = f"{where}: its virtual functions are off; enable them, then print this again"
        elif side.virtual and most is None:
            undecided[gpu.address] = (
                f"{where}: the real maximum of {name} is not known; name so many of its functions and no more: "
                + ", ".join(f.address for f in gpu.functions)
            )
        else:
            choices.append(_choice(snapshot, side, type_id, name, most))
    return choices, undecided


def _chosen_type(side: GpuSide, asked: str | None) -> tuple[str | None, str]:
    if asked is not None:
        known = side.capacity(asked) is not None
        return (asked, "") if known else (None, f"it has no type {asked}")
    carried = side.carried()
    in_use = [t for t, devices in carried.items() if any(d.used for d in devices)]
    configured = side.configured_types() or ()
    for candidates in (in_use, configured, list(carried)):
        if len(candidates) == 1:
            return candidates[0], ""
        if len(candidates) > 1:
            return None, f"it has more than one type ({', '.join(candidates)}); choose one"
    offered = ", ".join(f"{t.type_id} ({label(t.type_id, t.type_name)})" for t in side.gpu.types)
    return None, f"no type is enabled on it and it carries none; choose one of {offered}" if offered else (
        "its virtual functions are off; enable them, then print this again" if side.off else "it offers no vGPUs now"
    )


def _choice(snapshot: Snapshot, side: GpuSide, type_id: str, name: str, most: int | None) -> _Choice:
    gpu = side.gpu
    remarks: list[str] = []
    if not side.virtual:
        addresses: tuple[str, ...] = (gpu.address,)
        remarks.append(
            f"{gpu.address} ({gpu.model or 'GPU'}): the GPU itself, its driver counts to {most or 'its maximum'}"
        )
    else:
        addresses = tuple(_functions(side, type_id)[:most])
        have = len(gpu.functions) if not side.off else gpu.vfs_total
        remarks.append(
            f"{gpu.address} ({gpu.model or 'GPU'}): {len(addresses)} of {have} virtual functions, "
            f"for it carries {most} {name} at most ({side.origin(type_id)})"
        )
        if side.off:
            remarks.append("  its functions are off: these are of those that nova.conf names now")
    others = side.pinned_by(type_id)
    if others:
        words = ", ".join(f"{len(d)} {label(t, d[0].type_name)}" for t, d in others.items())
        remarks.append(f"  it carries {words} now: remove those first, Nova reports no {name} beside another size")
        remarks += [
            f"  provider {p.name} ({p.uuid}) has allocations ({_holders(snapshot, p)}) and would report nothing: "
            "Nova tries to delete it, and Placement refuses at every update"
            for address, p in side.providers.items()
            if p.allocations and address in addresses
        ]
    return _Choice(side=side, type_id=type_id, name=name, addresses=addresses, remarks=tuple(remarks))


def _functions(side: GpuSide, type_id: str) -> list[str]:
    """The virtual functions, those that must not be left out first."""
    gpu = side.gpu
    if side.off:
        return [a for a in side.listed(type_id) if _ADDRESS.fullmatch(a)]
    listed = set(addresses_of(side.conf or {}, type_id))
    on = {d.parent: d for d in side.devices}

    def rank(address: str) -> tuple[int, str]:
        device = on.get(address)
        provider = side.providers.get(address)
        if device is not None and device.type_id == type_id and device.used:
            return 0, address
        if provider is not None and provider.allocations:
            return 1, address
        if device is not None:
            return (2 if device.type_id == type_id else 5), address
        return (3 if address in listed else 4), address

    return sorted((f.address for f in gpu.functions if _ADDRESS.fullmatch(f.address)), key=rank)


def _devices_section(host: Host, choices: list[_Choice]) -> list[str]:
    types = list(dict.fromkeys(c.type_id for c in choices))
    dropped = [t for t in enabled_types(host.nova_conf) or () if t not in types]
    lines = ["[devices]"]
    if dropped:
        lines += _comment(f"left out, for no GPU is to have it: {', '.join(dropped)}").splitlines()
    return [*lines, f"enabled_mdev_types = {', '.join(types)}"]


def _type_section(host: Host, type_id: str, choices: list[_Choice]) -> list[str]:
    lines = [f"[mdev_{type_id}]", f"# {choices[0].name}"]
    for choice in choices:
        for remark in choice.remarks:
            lead = "#    " if remark.startswith("  ") else "# "
            lines += _comment(remark, lead).splitlines()
    lines.append("device_addresses = " + ",".join(sorted(a for c in choices for a in c.addresses)))
    given = mdev_class_of(host.nova_conf, type_id)
    if given is not None and _CLASS.fullmatch(given):
        if not addresses_of(host.nova_conf or {}, type_id) and given != "VGPU":
            lines += _comment(
                f"until now its devices were reported as VGPU, for Nova heeds mdev_class only with addresses: "
                f"from now on flavors have to ask for {given}"
            ).splitlines()
        lines.append(f"mdev_class = {given}")
    if any(c.side.virtual for c in choices):
        lines += _comment(
            "max_instances stays unset: it is a cap for the whole host, and which functions it leaves follows "
            "libvirt's order, another one at every start of libvirtd"
        ).splitlines()
    return lines


def _left_behind(choices: Iterable[_Choice]) -> tuple[list[Provider], list[Provider]]:
    """Providers of functions that are named no more: those that can be deleted, and those with allocations."""
    deletable: list[Provider] = []
    held: list[Provider] = []
    for choice in choices:
        for address, provider in sorted(choice.side.providers.items()):
            if address not in choice.addresses and provider.inventories:
                (deletable if provider.allocations == () else held).append(provider)
    return deletable, held


def _left_lines(snapshot: Snapshot, deletable: list[Provider], held: list[Provider]) -> list[str]:
    lines: list[str] = []
    if held:
        lines += ["", *_comment(_HELD).splitlines()]
        lines += [f"#   {p.name}  {p.uuid}  {_holders(snapshot, p)}" for p in held]
    if deletable:
        lines += ["", *_comment(_DELETABLE).splitlines()]
        lines += [f"#   openstack resource provider delete {p.uuid}  # {p.name}" for p in deletable]
    return lines


def _holders(snapshot: Snapshot, provider: Provider) -> str:
    if provider.allocations is None:
        return "allocations not read"
    servers = {s.id: s for s in snapshot.servers}
    words = []
    for allocation in provider.allocations:
        server = servers.get(allocation.consumer_id)
        words.append(f"server {server.name}" if server is not None else f"consumer {allocation.consumer_id}")
    return ", ".join(words)
