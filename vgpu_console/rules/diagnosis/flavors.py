"""Flavors that no host can ever take, and hosts on which a flavor may be given the wrong type."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from vgpu_console.model.evidence import host_says, libvirt_says, nova_says, placement_says
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import RequestGroup
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import Census, HostCensus, Kind, Offer, census
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.resource_classes import VGPU
from vgpu_console.rules.what_if import FlavorRequest, request_of

TOO_MANY = Diagnosis(
    id="flavor-asks-too-many",
    severity="warn",
    title="A flavor asks for more vGPUs at once than any device gives",
    why="All of one group must come from one device, and a virtual function gives one: no host is ever found, "
    "however many are free.",
    needs=("nova", "placement"),
)
NO_POLICY = Diagnosis(
    id="flavor-without-group-policy",
    severity="warn",
    title="A flavor has several numbered groups and no group_policy",
    why="Placement refuses such a request: every server of it ends with No valid host was found, and nothing says why.",
    needs=("nova",),
)
OLD_NOVA = Diagnosis(
    id="flavor-needs-newer-nova",
    severity="warn",
    title="A flavor asks for vGPUs in several groups, which this Nova does not honour",
    why="Before Nova 33 (2026.1) a server was given the device of the first group alone, with an error in the log of "
    "nova-compute: it runs with fewer vGPUs than it is charged for.",
    needs=("nova",),
)
NO_TRAIT = Diagnosis(
    id="flavor-trait-nowhere",
    severity="warn",
    title="A flavor requires a trait that no device with its vGPUs has",
    why="No host is ever found for it. A provider that Nova made anew has lost the operator's traits.",
    needs=("nova", "placement"),
)
NO_CLASS = Diagnosis(
    id="flavor-class-nowhere",
    severity="warn",
    title="A flavor asks for a resource class that nobody offers",
    why="No host is ever found for it.",
    needs=("nova", "placement"),
)
NOT_TOLD_APART = Diagnosis(
    id="types-not-told-apart",
    severity="warn",
    title="A host offers several types, and nothing tells them apart",
    why="A flavor that asks for VGPU alone is given whichever type Placement lists first. A live migration that lands "
    "on the wrong one is refused, and Nova then passes the whole host over.",
    needs=("nova", "placement"),
)

_SEVERAL_GROUPS_SINCE = (2, 103)
"""The newest microversion of Nova 33, the first that gives a server devices of several request groups."""

NO_HOST = "No valid host"


class _Asked(NamedTuple):
    """A flavor that asks for vGPUs."""

    flavor: Flavor
    request: FlavorRequest
    groups: tuple[tuple[RequestGroup, dict[str, int]], ...]  # with the classes that can be vGPUs

    @property
    def plain(self) -> bool:
        """Whether one of its groups asks for VGPU without requiring or forbidding any of an operator's traits."""
        return any(
            VGPU in wanted and not any(t.startswith("CUSTOM_") for t in (*group.required, *group.forbidden))
            for group, wanted in self.groups
        )


def _asked(ground: Ground) -> list[_Asked]:
    out = []
    for flavor in (ground.facts.nova.flavors if ground.facts.nova else None) or ():
        if flavor.extra_specs is None or not any(k.startswith("resources") for k in flavor.extra_specs):
            continue
        request = request_of(flavor)
        groups = tuple((g, w) for g in request.groups if (w := _vgpus(g)))
        if groups:
            out.append(_Asked(flavor, request, groups))
    return out


def _vgpus(group: RequestGroup) -> dict[str, int]:
    return {c: n for c, n in group.resources.items() if c == VGPU or c.startswith("CUSTOM_")}


def _flavors(ground: Ground) -> Iterator[Finding]:
    asked = _asked(ground)
    if not asked:
        return
    counted = census(ground)
    placement = ground.heard("placement") and counted.complete and bool(ground.facts.placement)
    for one in asked:
        numbered = [g for g in one.request.groups if g.suffix]
        if len(numbered) > 1 and one.request.policy not in ("none", "isolate"):
            yield _no_policy(ground, one, numbered)
        if len(one.groups) > 1 and _older(ground, _SEVERAL_GROUPS_SINCE):
            yield _old_nova(ground, one)
        if placement:
            yield from _unplaceable(ground, counted, one)


def _older(ground: Ground, version: tuple[int, int]) -> bool:
    """Whether Nova is known to be older than a microversion."""
    text = ground.facts.nova.max_microversion if ground.facts.nova else ""
    major, _, minor = text.partition(".")
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) < version


def _no_policy(ground: Ground, one: _Asked, numbered: list[RequestGroup]) -> Finding:
    words = ", ".join(f"resources{g.suffix}" for g in numbered)
    return NO_POLICY.found(
        f"flavor {one.flavor.name}",
        f"asks in {len(numbered)} numbered groups ({words}) and has no group_policy: no host is ever found"
        + _hurt(ground, one.flavor),
        nova_says(f"flavor {one.flavor.name}: {_specs(one.flavor)}"),
        objects=_objects(ground, one.flavor),
        command=shlex.join(["openstack", "flavor", "set", "--property", "group_policy=none", one.flavor.name]),
    )


def _old_nova(ground: Ground, one: _Asked) -> Finding:
    version = ground.facts.nova.max_microversion if ground.facts.nova else ""
    return OLD_NOVA.found(
        f"flavor {one.flavor.name}",
        f"asks for vGPUs in {len(one.groups)} groups; this Nova (API {version}) gives a server the first alone",
        nova_says(f"flavor {one.flavor.name}: {_specs(one.flavor)}"),
        nova_says(f"newest microversion {version}; Nova 33 has {'.'.join(map(str, _SEVERAL_GROUPS_SINCE))}"),
        objects=_objects(ground, one.flavor),
    )


def _unplaceable(ground: Ground, counted: Census, one: _Asked) -> Iterator[Finding]:
    """What Placement can never give, whatever is free: the first reason of each flavor."""
    for group, wanted in one.groups:
        missing = [c for c in wanted if not counted.offers.get(c)]
        if missing:
            yield _no_class(ground, one, missing[0])
            return
        for resource_class, amount in wanted.items():
            # what lacks the traits for certain can never be taken; what they are not known of may have them
            fitting = [offer for offer in counted.offers[resource_class] if _has(offer, group) is not False]
            if not fitting:
                yield _no_trait(ground, counted, one, group, resource_class)
                return
            most = max(offer.max_unit for offer in fitting)
            if amount > most:
                yield _too_many(ground, one, group, resource_class, amount, most)
                return


def _has(offer: Offer, group: RequestGroup) -> bool | None:
    """Whether an offer has the traits that a group requires; None where they are not all known."""
    required = set(group.required)
    if offer.traits is None:
        return None if required else True
    left = required - set(offer.traits)
    if left and not group.suffix:  # the tree as a whole must have them: the root gives CPU and memory
        if offer.root_traits is None:
            return None
        left -= set(offer.root_traits)
    return not left


def _too_many(ground: Ground, one: _Asked, group: RequestGroup, resource_class: str, amount: int, most: int) -> Finding:
    name = one.flavor.name
    where = f"resources{group.suffix}:{resource_class}={amount}"
    command, how = "", "Nova gives a server several vGPUs only since release 33"
    if most == 1 and not group.suffix and not _older(ground, _SEVERAL_GROUPS_SINCE):
        how = "ask in numbered groups with a group_policy"
        words = ["openstack", "flavor", "set", "--property", "group_policy=none"]
        for n in range(1, amount + 1):
            words += ["--property", f"resources{n}:{resource_class}=1"]
            for trait in group.required:
                words += ["--property", f"trait{n}:{trait}=required"]
        unset = ["openstack", "flavor", "unset", "--property", f"resources:{resource_class}"]
        for trait in group.required:
            unset += ["--property", f"trait:{trait}"]
        command = f"{shlex.join([*unset, name])} && {shlex.join([*words, name])}"
    return TOO_MANY.found(
        f"flavor {name}",
        f"{where} must come from one device, and each gives {most}: no host is ever found; {how}"
        + _hurt(ground, one.flavor),
        nova_says(f"flavor {name}: {_specs(one.flavor)}"),
        placement_says(f"the most that any provider gives of {resource_class}{_with(group)} at once is {most}"),
        objects=_objects(ground, one.flavor),
        command=command,
    )


def _with(group: RequestGroup) -> str:
    return f" with {', '.join(group.required)}" if group.required else ""


def _no_trait(ground: Ground, counted: Census, one: _Asked, group: RequestGroup, resource_class: str) -> Finding:
    traits = ", ".join(group.required)
    there = sorted(
        {t for offer in counted.offers[resource_class] for t in offer.traits or () if t.startswith("CUSTOM_")}
    )
    has = f"they have {', '.join(there[:4])}" if there else "they have none of an operator's"
    return NO_TRAIT.found(
        f"flavor {one.flavor.name}",
        f"requires {traits} with {resource_class}, and no provider has all of that" + _hurt(ground, one.flavor),
        nova_says(f"flavor {one.flavor.name}: {_specs(one.flavor)}"),
        placement_says(f"providers of {resource_class}: {has}"),
        objects=_objects(ground, one.flavor),
        command=f"openstack --os-placement-api-version 1.18 resource provider list --required "
        f"{shlex.quote(group.required[0])}",
    )


def _no_class(ground: Ground, one: _Asked, resource_class: str) -> Finding:
    gpus = [(host.name, gpu) for host, gpu in ground.gpus()]
    vendor = bool(gpus) and all(gpu.mechanism == "vendor-vfio" for _, gpu in gpus)
    evidence = [
        nova_says(f"flavor {one.flavor.name}: {_specs(one.flavor)}"),
        placement_says(f"no provider has an inventory of {resource_class}"),
    ]
    words = f"asks for {resource_class}, which no provider offers"
    if resource_class == VGPU and vendor:
        words += (
            ": the GPUs of this cloud make vGPUs by vendor VFIO, which Nova passes through as PCI devices; ask for "
            "them by a PCI alias"
        )
        evidence.append(libvirt_says(gpus[0][0], f"{gpus[0][1].address}: no mediated devices, vendor VFIO"))
    return NO_CLASS.found(
        f"flavor {one.flavor.name}",
        words + _hurt(ground, one.flavor),
        *evidence,
        objects=_objects(ground, one.flavor),
        command=shlex.join(["openstack", "flavor", "show", one.flavor.name, "-c", "properties"]),
    )


def _specs(flavor: Flavor) -> str:
    specs = flavor.extra_specs or {}
    mine = (k for k in sorted(specs) if k.startswith(("resources", "trait", "group_policy")))
    return ", ".join(f"{k}={specs[k]}" for k in mine)


def _stranded(ground: Ground, flavor: Flavor) -> list[str]:
    """Servers of that flavor that found no host."""
    return [
        s.id
        for s in ground.servers.values()
        if s.status == "ERROR" and s.flavor == flavor.name and s.fault and NO_HOST in s.fault
    ]


def _hurt(ground: Ground, flavor: Flavor) -> str:
    ids = _stranded(ground, flavor)
    if not ids:
        return ""
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return f"; hurt: {', '.join(ground.server_words(i) for i in ids[:3])}{more}"


def _objects(ground: Ground, flavor: Flavor) -> tuple[str, ...]:
    return (f"flavor {flavor.name}", *(ground.server_words(i) for i in _stranded(ground, flavor)[:50]))


# -- several types on one host -----------------------------------------------------------------------------------------


def _types(ground: Ground) -> Iterator[Finding]:
    several = [one for one in census(ground).hosts.values() if _several(one)]
    if not several:
        return
    plain = [one.flavor.name for one in _asked(ground) if one.plain]
    if not plain:
        return
    for one in several:
        types = [k for k in one.kinds if k.resource_class == VGPU and k.known]
        alike = [(a, b) for i, a in enumerate(types) for b in types[i + 1 :] if not _apart(one, a, b)]
        if alike:
            yield _alike(one, sorted({k.type_id for pair in alike for k in pair}), plain)


def _several(one: HostCensus) -> bool:
    return len(one.kinds) > 1 and sum(1 for k in one.kinds if k.resource_class == VGPU and k.known) > 1


def _apart(one: HostCensus, a: Kind, b: Kind) -> bool:
    """Whether every provider of one type has an operator's trait that none of the other has."""
    for this, other in ((a, b), (b, a)):
        common = frozenset.intersection(*one.kinds[this])
        if common - frozenset().union(*one.kinds[other]):
            return True
    return False


def _alike(one: HostCensus, types: list[str], plain: list[str]) -> Finding:
    names = _type_names(one)
    said = ", ".join(names.get(t, t) for t in types)
    some = ", ".join(plain[:3]) + (" …" if len(plain) > 3 else "")
    counts: dict[str, int] = defaultdict(int)
    for kind, by_traits in one.kinds.items():
        counts[kind.type_id] += sum(len(p) for p in by_traits.values())
    evidence = [placement_says(", ".join(f"{counts[t]} providers of VGPU with {names.get(t, t)}" for t in types))]
    if one.types is not None:
        evidence.append(host_says(one.name, f"nova.conf enables {', '.join(types)}"))
    return NOT_TOLD_APART.found(
        f"host {one.name}",
        f"offers {said} as VGPU, and no trait tells them apart; flavors that ask for VGPU alone: {some}",
        *evidence,
        nova_says(f"flavors without a trait: {some}"),
        host=one.name,
        objects=(f"host {one.name}", *(f"flavor {name}" for name in plain[:20])),
        command=f"vgpu-console nova-conf {shlex.quote(one.name)}",
        key="N",
    )


def _type_names(one: HostCensus) -> dict[str, str]:
    return {t.type_id: t.type_name for gpu in one.gpus.values() for t in gpu.types if t.type_name}


CHAPTER = Chapter((TOO_MANY, NO_POLICY, OLD_NOVA, NO_TRAIT, NO_CLASS, NOT_TOLD_APART), (_flavors, _types))
