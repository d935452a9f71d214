"""Why a flavor finds no host: what it asks for, who offers that, what is left of it, and Placement's own word."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Host, Provider
from vgpu_console.rules.aggregates import has, wishes
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.explain.chain import Chain, Explanation, Place, counted, few, placement_read, unread
from vgpu_console.rules.explain.mends import mend_ghosts
from vgpu_console.rules.explain.offers import by_host, figures, ghosts, left, offering, on_full_gpus
from vgpu_console.rules.explain.request import (
    DEVICES,
    UNTRAITED,
    Answers,
    asked_amounts,
    device_groups,
    parts_of,
    words_of,
)
from vgpu_console.rules.explain.traits import fitting, look_at_traits
from vgpu_console.rules.explain.vendor import look_at_aliases
from vgpu_console.rules.host_room import HostRoom, host_rooms
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.scene import version
from vgpu_console.rules.resource_classes import is_device_class, pci_aliases
from vgpu_console.rules.what_if import FlavorRequest, request_of

SEVERAL_GROUPS_API = (2, 103, 0)
"""Nova 33.0.0 (2026.1), the first that honours every numbered group of vGPUs, speaks 2.103."""

ROOM_AT_MOST, HOSTS_COUNTED = 64, 100
ROOM_OF_MANY = 4
"""Room is counted up to so many servers on a host, and of a fleet with more hosts than that only to the few."""

HEADLINE: dict[CheckStatus, str] = {
    "pass": "finds a host",
    "warn": "finds a host, but",
    "fail": "finds no host",
    "unknown": "whether it finds a host is not known",
}


def explain_flavor(ground: Ground, flavor: Flavor, answers: Answers | None = None) -> Explanation:
    """The chain of one flavor. ``answers`` are Placement's for one such server; without them its word is unknown."""
    chain = Chain(ground)
    specs = flavor.extra_specs
    request = request_of(flavor)
    groups = device_groups(request)
    aliases = pci_aliases(specs)
    headline = dict(HEADLINE)
    if specs is None:
        chain.step("request", "unknown", "its extra specs are not visible to this credential", "nova")
    elif not groups and not aliases:
        chain.step("request", "warn", "asks for no vGPU: its servers start, and get none", "nova", mends=[_ask(flavor)])
        headline["warn"] = "is a plain flavor"
    else:
        asked = [words_of(asked_amounts(groups))] if groups else []
        asked += [f"{n} × PCI alias {name}" for name, n in aliases.items()]
        required = sorted({t for g in groups for t in g.required})
        with_traits = f", with {', '.join(required)}" if required else ""
        chain.step("request", "pass", f"asks for {' and '.join(asked)}{with_traits}", "nova")
    if groups:
        _devices(chain, flavor, request, groups, answers)
    if aliases:
        look_at_aliases(chain, aliases)
    _aggregates(chain, flavor)
    if specs is not None:
        _candidates(chain, request, answers)
    return chain.ended("flavor", flavor.id, flavor.name, headline)


def _ask(flavor: Flavor) -> Mend:
    command = shlex.join(["openstack", "flavor", "set", "--property", "resources:VGPU=1", flavor.name])
    return Mend(words="let the flavor ask for a vGPU (servers that exist keep the old one)", command=command)


# --- what it asks for -------------------------------------------------------------------------------------------------


def _devices(
    chain: Chain,
    flavor: Flavor,
    request: FlavorRequest,
    groups: tuple[RequestGroup, ...],
    answers: Answers | None,
) -> None:
    ground = chain.ground
    if not placement_read(ground):
        chain.step("class", "unknown", f"who offers it: {unread(ground, 'placement')}", "placement")
        _groups(chain, flavor, request, groups, ())
        return
    offers = offering(ground.snapshot, asked_amounts(groups))
    if _class(chain, groups, offers) != "fail":
        _groups(chain, flavor, request, groups, offers)
        look_at_traits(chain, groups)
        _types(chain, groups, offers)
        _ghosts(chain, groups, offers)
    else:
        _groups(chain, flavor, request, groups, offers)
    _room(chain, flavor, request, groups, offers, answers)


def _class(chain: Chain, groups: Iterable[RequestGroup], offers: Sequence[Provider]) -> CheckStatus:
    """Whether anybody offers the classes at all."""
    classes = sorted({c for g in groups for c in g.resources})
    offered = {i.resource_class for p in offers for i in p.inventories or () if i.total}
    missing = [c for c in classes if c not in offered]
    if not missing:
        hosts = sorted({p.host for p in offers})
        number = counted(len(offers), "device")
        return chain.step("class", "pass", f"{number} of {few(hosts)} offer {', '.join(classes)}", "placement")
    others = sorted(
        {
            i.resource_class
            for p in chain.ground.snapshot.providers
            for i in p.inventories or ()
            if is_device_class(i.resource_class)
        }
    )
    there = f"; there is {', '.join(others)}" if others else "; no device offers any vGPU class"
    words = f"no provider in Placement offers {', '.join(missing)}{there}"
    host = next((h.name for h in chain.ground.snapshot.hosts if h.gpus), None)
    mend = Mend(
        words="a host offers what [devices] enabled_mdev_types with mdev_class, or [pci] device_spec, of its nova.conf "
        "say: see why it does not",
        command=shlex.join(["vgpu-console", "explain", "host", host]) if host else "",
    )
    return chain.step("class", "fail", words, "placement", mends=[mend])


def _groups(
    chain: Chain,
    flavor: Flavor,
    request: FlavorRequest,
    groups: tuple[RequestGroup, ...],
    offers: Sequence[Provider],
) -> None:
    """How the request is written: several of one class in one group, several groups without a policy, an old Nova."""
    numbered = [g for g in request.groups if g.suffix]
    policy = request.policy
    biggest = {
        c: max((i.max_unit or i.total for p in offers for i in p.inventories or () if i.resource_class == c), default=0)
        for g in groups
        for c in g.resources
    }
    greedy = [(g, c, n) for g in groups for c, n in g.resources.items() if biggest[c] and n > biggest[c]]
    if greedy:
        group, name, amount = greedy[0]
        words = (
            f"asks one device for {amount} {name}, and no device has more than {biggest[name]}: a virtual function "
            "carries one vGPU, so such a request never finds a host"
        )
        chain.step("groups", "fail", words, "placement", mends=_split(flavor, group, name, amount))
    elif len(numbered) > 1 and policy not in ("none", "isolate"):
        said = f"group_policy is {policy!r}" if policy else "has several numbered groups and no group_policy"
        command = shlex.join(["openstack", "flavor", "set", "--property", "group_policy=none", flavor.name])
        mend = Mend(words="say how the groups may share a device", command=command)
        words = f"{said}: Placement refuses the request, and Nova says “No valid host was found” only"
        chain.step("groups", "fail", words, "placement", mends=[mend])
    elif any(n > 1 for g in groups for n in g.resources.values()):
        words = "asks one GPU for several vGPUs, which NVIDIA does not support for one guest"
        mends = [m for g in groups for c, n in g.resources.items() if n > 1 for m in _split(flavor, g, c, n)]
        chain.step("groups", "warn", words, "nova", mends=mends)
    elif sum(bool(g.suffix) for g in groups) > 1 and _older(chain.ground):
        spoken = chain.ground.facts.nova.max_microversion if chain.ground.facts.nova else ""
        words = f"asks in several groups, and Nova speaks {spoken}: before 2.103 (2026.1) it makes the first one only"
        chain.step("groups", "warn", words, "nova")


def _older(ground: Ground) -> bool:
    spoken = version(ground.facts.nova.max_microversion if ground.facts.nova else "")
    return spoken is not None and spoken < SEVERAL_GROUPS_API


def _split(flavor: Flavor, group: RequestGroup, name: str, amount: int) -> list[Mend]:
    """One numbered group for each device, the old request taken away."""
    properties = [f"resources{n}:{name}=1" for n in range(1, amount + 1)]
    properties += [f"trait{n}:{t}=required" for n in range(1, amount + 1) for t in group.required]
    old = [f"resources{group.suffix}:{name}", *(f"trait{group.suffix}:{t}" for t in group.required)]
    old = [key for key in old if f"{key}=1" not in properties and f"{key}=required" not in properties]
    unset = ["openstack", "flavor", "unset", *(w for key in old for w in ("--property", key)), flavor.name]
    both = ["openstack", "flavor", "set", *(w for p in [*properties, "group_policy=none"] for w in ("--property", p))]
    command = shlex.join([*both, flavor.name])
    if old:
        command = f"{shlex.join(unset)} && {command}"
    return [Mend(words="ask for each in a group of its own (Nova 33, 2026.1, or newer)", command=command)]


# --- what is there ----------------------------------------------------------------------------------------------------


def _types(chain: Chain, groups: Sequence[RequestGroup], offers: Sequence[Provider]) -> None:
    """Several vGPU types under one class, and no trait that tells which. Left out where it is one."""
    gpus = {(h.name, g.address): g for h in chain.ground.snapshot.hosts for g in h.gpus or ()}
    for group in groups:
        found: dict[str, set[str]] = defaultdict(set)
        for provider in fitting(chain.ground.snapshot, group, offers):
            gpu = gpus.get((provider.host, provider.gpu or ""))
            offered = {i.resource_class for i in provider.inventories or ()}
            if gpu is not None and gpu.active_type_name and group.resources.keys() & offered:
                found[short_type_name(gpu.active_type_name)].add(provider.host)
        if len(found) > 1:
            told = "; ".join(f"{name} on {few(sorted(hosts))}" for name, hosts in sorted(found.items()))
            words = f"which type a server gets is left to chance: {told}"
            mend = Mend(words="give the devices of each type a trait, and let the flavor require it")
            chain.step("types", "warn", words, "placement", mends=[mend])
            return


def _ghosts(chain: Chain, groups: Sequence[RequestGroup], offers: Sequence[Provider]) -> None:
    """Free devices of Placement on which nothing can start: the scheduler picks them like any other."""
    snapshot, classes = chain.ground.snapshot, asked_amounts(tuple(groups))
    fit = list({p.uuid: p for g in groups for p in fitting(snapshot, g, offers)}.values())
    gone = [p for p in ghosts(snapshot, fit) if left(p, classes)]
    full = on_full_gpus(snapshot, fit, classes)
    parts = []
    if gone:
        parts.append(f"{counted(len(gone), 'device')} that {few(sorted({p.host for p in gone}))} does not have")
    if full:
        gpus = sorted({f"{p.host} {p.gpu}" for p in full})
        parts.append(f"{counted(len(full), 'function')} of full GPUs ({few(gpus)})")
    if not parts:
        return
    words = (
        f"Placement still gives {' and '.join(parts)}: a server that lands there fails with “mdev-capable resource is "
        "not available” and is tried elsewhere"
    )
    chain.step("false-offers", "warn", words, "placement", mends=mend_ghosts(snapshot, gone))


def _room(
    chain: Chain,
    flavor: Flavor,
    request: FlavorRequest,
    groups: tuple[RequestGroup, ...],
    offers: Sequence[Provider],
    answers: Answers | None,
) -> None:
    """Host by host, and whether any of them takes such a server."""
    ground, classes = chain.ground, asked_amounts(groups)
    # where Placement finds no place, devices alone are looked at here: its own step tells what else is short
    whole = answers.whole if answers is not None and answers.whole and answers.whole.candidates else None
    most = ROOM_AT_MOST if len(ground.hosts) <= HOSTS_COUNTED else ROOM_OF_MANY
    rooms = host_rooms(ground.snapshot, request.groups, request.policy, most, whole)
    mine = by_host(offers)
    places = [_place(ground, flavor, one, mine.get(one.host, []), classes) for one in rooms]
    chain.places += sorted(places, key=lambda p: (-(p.room or 0), p.name))
    if not places:
        chain.step("room", "fail", "no host has a GPU that any source has told of", "libvirt")
        return
    taking = [p for p in places if p.room and p.status == "pass"]
    unsure = [p for p in places if p.room and p.status == "unknown"]
    if taking:
        number = counted(sum(p.room or 0 for p in taking), "server")
        least = "at least " if any(p.room == most for p in taking) else ""
        chain.step("room", "pass", f"room for {least}{number} on {few(p.name for p in taking)}", "placement")
    elif unsure:
        words = f"by Placement {few(p.name for p in unsure)} has room, but what its GPUs can carry is not known"
        chain.step("room", "unknown", words, "libvirt")
    else:
        chain.step("room", "fail", f"no host has room: {_reasons(places)}", "placement")


def _reasons(places: Sequence[Place]) -> str:
    """Each reason once, with the hosts it is of, that of the most hosts first."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for place in places:
        hosts[place.why].append(place.name)
    ordered = sorted(hosts.items(), key=lambda one: -len(one[1]))
    told = "; ".join(f"{few(names)}: {why}" for why, names in ordered[:3])
    return told + (f"; and {len(ordered) - 3} more reasons" if len(ordered) > 3 else "")


def _place(
    ground: Ground, flavor: Flavor, room: HostRoom, providers: Sequence[Provider], classes: dict[str, int]
) -> Place:
    host = ground.hosts.get(room.host)
    told = figures(host, providers, classes)
    why = "; ".join(room.reasons)
    fits, status = room.room, _status(room)
    if fits and why:
        why = f"after that, {why}"
    kept = _not_in_aggregate(ground, flavor, room.host)
    if kept and fits:
        why, status = kept, "warn"
    return Place(
        name=room.host,
        status=status,
        room=fits,
        offered=told.offered,
        used=told.used,
        reserved=told.reserved,
        real=told.real,
        why=why or _unknown_real(host, told.real),
    )


def _status(room: HostRoom) -> CheckStatus:
    if not room.room:
        return "fail"
    return "pass" if room.certain else "unknown"


def _unknown_real(host: Host | None, real: int | None) -> str:
    return "" if real is not None or host is None else "what its GPUs can carry is not known"


# --- what the scheduler and Placement say -----------------------------------------------------------------------------


def _not_in_aggregate(ground: Ground, flavor: Flavor, host: str) -> str:
    """Why AggregateInstanceExtraSpecsFilter, if it is on, passes a host over; "" where it does not."""
    wanted = wishes(flavor.extra_specs)
    if not wanted or ground.aggregates is None:
        return ""
    mine = ground.aggregates.get(host, [])
    missing = [f"{name} = {value}" for name, value in wanted.items() if not has(mine, name, value)]
    return f"in no aggregate with {', '.join(missing)}" if missing else ""


def _aggregates(chain: Chain, flavor: Flavor) -> None:
    """Left out where the flavor asks for no aggregate."""
    wanted = wishes(flavor.extra_specs)
    if not wanted:
        return
    asked = ", ".join(f"{name} = {value}" for name, value in wanted.items())
    if chain.ground.aggregates is None:
        chain.step("aggregate", "unknown", f"it asks for aggregates with {asked}, and these could not be read", "nova")
        return
    inside = [h for h in chain.ground.hosts if not _not_in_aggregate(chain.ground, flavor, h)]
    if inside:
        chain.step("aggregate", "pass", f"aggregates with {asked} hold {few(inside)}", "nova")
        return
    command = shlex.join(["openstack", "aggregate", "list", "--long"])
    words = f"no host is in an aggregate with {asked}: Nova passes all over, if AggregateInstanceExtraSpecsFilter is on"
    mends = [Mend(words="put a host into such an aggregate, or take the wish out of the flavor", command=command)]
    chain.step("aggregate", "warn", words, "nova", mends=mends)


def _candidates(chain: Chain, request: FlavorRequest, answers: Answers | None) -> None:
    """Placement's own word for one such server, CPU, memory and disk included."""
    whole = answers.whole if answers is not None else None
    if answers is None or whole is None:
        chain.step("candidates", "unknown", "Placement was not asked for such a server", "placement")
    elif whole.error:
        chain.step("candidates", "unknown", f"Placement did not answer: {whole.error}", "placement")
    elif whole.candidates:
        hosts = _hosts(chain.ground, whole)
        least = "at least " if whole.cut else ""
        places = counted(len(whole.candidates), "place")
        chain.step("candidates", "pass", f"Placement finds {least}{places} on {few(hosts)}", "placement")
    else:
        chain.step("candidates", "fail", _limit(chain.ground, request, answers), "placement")


def _hosts(ground: Ground, found: Candidates) -> list[str]:
    names = {uuid: host for host, uuid in ground.roots.items()}
    roots = {found.roots.get(uuid, uuid) for one in found.candidates for uuid in one.allocations}
    return sorted(names.get(r, r) for r in roots)


def _limit(ground: Ground, request: FlavorRequest, answers: Answers) -> str:
    """Which part of the request nobody can give, or that nobody can give all of them together."""
    lead = "Placement finds no place"
    parts = {name: found for name, found in answers.parts.items() if not found.error}
    amounts = {name: n for g in request.groups for name, n in g.resources.items()}
    short = [n for n, found in parts.items() if not found.candidates and n not in (DEVICES, UNTRAITED)]
    reasons = [f"no host has {amounts.get(name, '?')} {name} left" for name in short]
    if DEVICES in parts and not parts[DEVICES].candidates:
        traits = UNTRAITED in parts and bool(parts[UNTRAITED].candidates)
        what = words_of(asked_amounts(parts_of(request)[DEVICES].groups))
        reasons.append(f"no free {what} has the traits" if traits else f"no {what} is left")
    if reasons:
        return f"{lead}: {'; '.join(reasons)}"
    told = {n: set(_hosts(ground, found)) for n, found in parts.items() if n != UNTRAITED and not found.cut}
    if not told or set.intersection(*told.values()):
        return f"{lead} for it, and does not say why"
    said = "; ".join(f"{n} on {few(sorted(hosts))}" for n, hosts in told.items())
    return f"{lead}: each part is there, but all on no one host ({said})"
