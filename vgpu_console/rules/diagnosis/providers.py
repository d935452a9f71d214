"""Placement's providers of vGPUs against the devices that the hosts really have, and against one another."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator

from vgpu_console.model.evidence import host_says, libvirt_says, placement_says
from vgpu_console.model.snapshot import Finding, MediatedDevice, Provider
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import (
    NO_TRAITS,
    HostCensus,
    Kind,
    Traits,
    allocated,
    census,
    consumers,
    hurt,
    objects,
)
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.nova_offers import nova_offers, placed
from vgpu_console.rules.what_if import request_of

GHOST_PROVIDER = Diagnosis(
    id="ghost-provider",
    severity="fail",
    title="Placement offers devices that the host does not have",
    why="The scheduler sends servers there, and they fail to boot: Nova keeps the provider of a device that has gone.",
    needs=("placement", "libvirt"),
)
UNDELETABLE = Diagnosis(
    id="provider-undeletable",
    severity="fail",
    title="Nova offers a function no more that a server holds",
    why="nova-compute tries to delete its provider at every update and Placement refuses: no inventory of that host is "
    "written any more, and deleting a server there fails, too, and leaves it in ERROR with its allocations.",
    needs=("placement", "libvirt", "ssh"),
    fleeting=True,
)
COUNTS_INACTIVE = Diagnosis(
    id="provider-counts-inactive",
    severity="fail",
    title="A virtual function is offered twice",
    why="Nova counts a mediated device that is only defined beside the one that could be created: servers that are put "
    "on the second fail to boot.",
    needs=("placement", "libvirt"),
    action="mdev.start",
    fleeting=True,
)
LOST_TRAIT = Diagnosis(
    id="trait-lost",
    severity="warn",
    title="A provider lacks the trait that its siblings have",
    why="Flavors that require the trait are never put on it, so that its vGPUs stay empty: Nova deletes and creates "
    "providers as devices come and go, and a new one has none of the operator's traits.",
    needs=("placement",),
)

_MANY = 16  # providers that one command names


def vgpu_total(provider: Provider) -> int:
    """What a provider offers of VGPU and of custom classes."""
    return sum(
        i.total
        for i in provider.inventories or ()
        if i.resource_class == "VGPU" or i.resource_class.startswith("CUSTOM_")
    )


def _names(providers: Iterable[str], at_most: int = 3) -> str:
    listed = list(providers)
    return ", ".join(listed[:at_most]) + (" …" if len(listed) > at_most else "")


# -- devices that are not there ----------------------------------------------------------------------------------------


def _ghosts(ground: Ground) -> Iterator[Finding]:
    for name, one in census(ground).hosts.items():
        host = one.host
        if not one.adrift or host is None or host.gpus is None or host.stale or "libvirt" not in host.known_from:
            continue
        if ground.facts.libvirt[name].skipped:
            continue  # a device that could not be read is not one that is not there
        devices = _names(p.device or "" for p in one.adrift)
        held = consumers(one.adrift)
        off = [g for g in host.gpus if g.sriov and g.vfs_enabled == 0]
        here = [g for g in off if any(_same_bus(g.address, p.device) for p in one.adrift)]
        why = "; the virtual functions of its GPU are off" if here else ""
        yield GHOST_PROVIDER.found(
            f"host {name}",
            f"Placement offers {len(one.adrift)} devices that the host does not have: {devices}; boots there "
            f"fail{why}{hurt(ground, held)}",
            placement_says(_names(f"{p.name} total {vgpu_total(p)}, {allocated(p)} in use" for p in one.adrift)),
            libvirt_says(name, f"no node device at {devices}"),
            host=name,
            objects=objects(ground, f"host {name}", held),
            command=f"vgpu-console sriov enable {shlex.quote(name)} --gpu {here[0].address}"
            if here
            else _delete_free(one.adrift),
            key="v" if here else "",
        )


def _same_bus(gpu: str, device: str | None) -> bool:
    return device is not None and device.rpartition(":")[0] == gpu.rpartition(":")[0]


def _delete_free(providers: Iterable[Provider]) -> str:
    """Deletes those that nobody holds; Placement refuses the others until their servers are gone."""
    free = [p.uuid for p in providers if not p.allocations][:_MANY]
    if not free:
        return ""
    if len(free) == 1:
        return shlex.join(["openstack", "resource", "provider", "delete", free[0]])
    return f"for rp in {shlex.join(free)}; do openstack resource provider delete $rp; done"


# -- functions that Nova wants to drop while they are in use -----------------------------------------------------------


def _undeletable(ground: Ground) -> Iterator[Finding]:
    for name, one in census(ground).hosts.items():
        host = one.host
        if host is None or host.gpus is None or host.nova_conf is None or host.stale or one.types is None:
            continue
        if not one.held or "libvirt" not in host.known_from:
            continue
        carried: dict[str, list[MediatedDevice]] = defaultdict(list)
        for mdev in ground.devices.get(name, ()):
            if mdev.parent:
                carried[mdev.parent].append(mdev)
        doubtful = [p for p in one.held if _doubtful(one, p, carried) and allocated(p, ground.unsettled)]
        if not doubtful:
            continue
        offers = nova_offers(host, placed(m for m in ground.devices.get(name, ()) if m.mechanism == "mdev"))
        if offers is None:
            continue
        dropped = [p for p in doubtful if p.device not in offers.providers and p.device not in offers.unknown]
        if dropped:
            yield _dropped(ground, one, dropped, carried)


def _doubtful(one: HostCensus, provider: Provider, carried: dict[str, list[MediatedDevice]]) -> bool:
    """Whether a function has no device of the type that nova.conf gives it: only then Nova may report none."""
    gpu = one.gpus.get(provider.gpu or "")
    if gpu is None or gpu.mechanism != "mdev" or provider.device is None or one.types is None:
        return False
    wanted = one.types.of(provider.device)
    return not wanted or all(m.type_id != wanted for m in carried.get(provider.device, ()))


def _dropped(
    ground: Ground, one: HostCensus, dropped: list[Provider], carried: dict[str, list[MediatedDevice]]
) -> Finding:
    name, held = one.name, consumers(dropped)
    number = len(dropped)
    types = {m.type_name or m.type_id for p in dropped for m in carried.get(p.device or "", ())}
    wanted = {one.types.of(p.device or "") for p in dropped} if one.types is not None else set[str]()
    now = ", ".join(sorted(wanted - {""})) or "no type"
    devices = _names(p.device or "" for p in dropped)
    is_are = "function is" if number == 1 else "functions are"
    return UNDELETABLE.found(
        f"host {name}",
        f"{number} {is_are} in use ({devices}) and nova.conf gives {'it' if number == 1 else 'them'} {now}, not "
        f"{_names(sorted(types)) or 'what is there'}: once nova-compute runs with it, deletes fail until the type is "
        f"enabled again{hurt(ground, held)}",
        host_says(name, f"nova.conf: {now} at {devices}"),
        libvirt_says(name, f"{devices}: {_names(sorted(types)) or 'no device'}"),
        placement_says(_names(f"{p.name}: {allocated(p)} in use" for p in dropped)),
        host=name,
        objects=objects(ground, f"host {name}", held),
        command=f"vgpu-console nova-conf {shlex.quote(name)}",
        key="N",
    )


# -- a defined device counted twice ------------------------------------------------------------------------------------


def _doubled(ground: Ground) -> Iterator[Finding]:
    for name, one in census(ground).hosts.items():
        if not one.doubled or not ground.heard("libvirt", name):
            continue
        idle = {m.parent: m for m in ground.devices.get(name, ()) if m.state == "defined" and m.parent}
        for provider in one.doubled:
            mdev = idle.get(provider.device or "")
            if mdev is None and ground.facts.libvirt[name].defined_visible:
                continue  # it has been started since: Nova writes the right number at its next update
            uuid = mdev.uuid if mdev is not None else None
            what = f"mdev {uuid} is defined there and not active" if uuid else "which only a defined device can cause"
            yield COUNTS_INACTIVE.found(
                f"provider {provider.name}",
                f"offers {vgpu_total(provider)} VGPU on one virtual function, which carries one: {what}",
                placement_says(f"{provider.name}: total {vgpu_total(provider)}"),
                libvirt_says(
                    name,
                    f"{provider.device}: {mdev.type_name or mdev.type_id} inactive"
                    if mdev is not None
                    else "devices that are only defined cannot be listed here",
                ),
                host=name,
                objects=(f"provider {provider.name}", *((f"mdev {name} {uuid}",) if uuid else ())),
                command=shlex.join(["vgpu-console", "mdev", "start", name, uuid])
                if uuid
                else f"ssh {shlex.quote(name)} sudo systemctl restart nova-compute",
                key="o" if uuid else "",
            )


# -- traits ------------------------------------------------------------------------------------------------------------


def _lost_traits(ground: Ground) -> Iterator[Finding]:
    by_kind: dict[Kind, dict[str, dict[Traits, list[Provider]]]] = defaultdict(dict)
    for name, one in census(ground).hosts.items():
        for kind, by_traits in one.kinds.items():
            if kind.known:
                by_kind[kind][name] = by_traits
            if len(by_traits) > 1:
                yield from _lost_among_siblings(ground, name, kind, by_traits)
    yield from _lost_on_a_whole_host(ground, by_kind)


def _lost_among_siblings(
    ground: Ground, name: str, kind: Kind, by_traits: dict[Traits, list[Provider]]
) -> Iterator[Finding]:
    """More than half of a host's providers of one kind have a trait; those that have none of an operator's at all, or
    are the only one without it, have lost it."""
    everybody = sum(len(p) for p in by_traits.values())
    having: dict[str, int] = defaultdict(int)
    for traits, providers in by_traits.items():
        for trait in traits:
            having[trait] += len(providers)
    usual = frozenset(t for t, n in having.items() if 2 * n > everybody)
    lacking = [
        (p, usual - traits)
        for traits, providers in by_traits.items()
        for p in providers
        if (not traits and usual) or any(having[t] == everybody - 1 for t in usual - traits)
    ]
    if lacking:
        missing = sorted(frozenset[str]().union(*(gone for _, gone in lacking)))
        others = f"the other {everybody - len(lacking)} of this kind on the host have it"
        yield _without(ground, name, kind, [p for p, _ in lacking], missing, others)


def _lost_on_a_whole_host(
    ground: Ground, by_kind: dict[Kind, dict[str, dict[Traits, list[Provider]]]]
) -> Iterator[Finding]:
    """A host all of whose providers were made anew: no trait at all, where every other host with the type has one that
    a flavor requires."""
    wanted = _required(ground)
    for kind, hosts in by_kind.items():
        bare = [name for name, by_traits in hosts.items() if set(by_traits) == {NO_TRAITS}]
        full = [by_traits for name, by_traits in hosts.items() if name not in set(bare)]
        if len(bare) != 1 or len(full) < 2:
            continue
        common = frozenset.intersection(*(traits for by_traits in full for traits in by_traits))
        missing = sorted(common & wanted.get(kind.resource_class, NO_TRAITS))
        if missing:
            providers = hosts[bare[0]][NO_TRAITS]
            others = f"all of the other {len(full)} hosts with it have it"
            yield _without(ground, bare[0], kind, providers, missing, others)


def _required(ground: Ground) -> dict[str, Traits]:
    """Class -> the operator's traits that flavors require with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for flavor in (ground.facts.nova.flavors if ground.facts.nova else None) or ():
        for group in request_of(flavor).groups:
            for resource_class in group.resources:
                found[resource_class].update(t for t in group.required if t.startswith("CUSTOM_"))
    return {resource_class: frozenset(traits) for resource_class, traits in found.items()}


def _without(
    ground: Ground, name: str, kind: Kind, providers: list[Provider], missing: list[str], others: str
) -> Finding:
    traits = ", ".join(missing)
    number = len(providers)
    flavors = sorted(
        flavor.name
        for flavor in (ground.facts.nova.flavors if ground.facts.nova else None) or ()
        if any(set(missing) & set(g.required) and kind.resource_class in g.resources for g in request_of(flavor).groups)
    )
    for_whom = f"; flavors that require it: {_names(flavors)}" if flavors else ""
    of = f" with {kind.type_id}" if kind.known else ""
    return LOST_TRAIT.found(
        f"host {name}",
        f"{number} provider{'s' if number > 1 else ''} of {kind.resource_class}{of} without {traits}: "
        f"{_names(p.device or p.name for p in providers)}; {others}{for_whom}",
        placement_says(_names(f"{p.name}: {', '.join(p.traits or ()) or 'no trait'}" for p in providers)),
        host=name,
        objects=(f"host {name}", *(f"provider {p.name}" for p in providers[:_MANY])),
        command=" && ".join(_set_traits(p, missing) for p in providers[:_MANY]),
    )


def _set_traits(provider: Provider, missing: list[str]) -> str:
    """The client replaces all traits, so that those that are there are named, too."""
    words = ["openstack", "--os-placement-api-version", "1.6", "resource", "provider", "trait", "set"]
    for trait in sorted({*(provider.traits or ()), *missing}):
        words += ["--trait", trait]
    return shlex.join([*words, provider.uuid])


CHAPTER = Chapter(
    (GHOST_PROVIDER, UNDELETABLE, COUNTS_INACTIVE, LOST_TRAIT), (_ghosts, _undeletable, _doubled, _lost_traits)
)
