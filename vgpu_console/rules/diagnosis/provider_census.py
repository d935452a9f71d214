"""Placement's providers of vGPUs, gone through once for all diagnoses: what each GPU offers, who holds what, traits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple
from weakref import WeakKeyDictionary

from vgpu_console.model.snapshot import Host, PhysicalGpu, Provider
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.host_types import HostTypes, host_types
from vgpu_console.rules.resource_classes import VGPU

Traits = frozenset[str]

NO_TRAITS: Traits = frozenset()


class Kind(NamedTuple):
    """What a provider is to a flavor: its class, and the type that is made there ("bus 0000:41" where not known)."""

    resource_class: str
    type_id: str
    known: bool


class Offer(NamedTuple):
    """One way in which providers offer a class: how much at once, and with which traits. ``traits`` None: not read."""

    max_unit: int
    traits: tuple[str, ...] | None
    root_traits: tuple[str, ...] | None


class HostCensus:
    """The providers of one host."""

    def __init__(self, name: str, host: Host | None) -> None:
        self.name = name
        self.host = host
        self.types: HostTypes | None = host_types(host.nova_conf) if host is not None else None
        self.gpus: dict[str, PhysicalGpu] = {g.address: g for g in (host.gpus if host else None) or ()}
        self.offered: dict[str, int] = defaultdict(int)  # GPU -> vGPUs, each function of an SR-IOV GPU once
        self.held: list[Provider] = []  # those that somebody holds something of
        self.doubled: list[Provider] = []  # functions that carry one vGPU and offer more
        self.adrift: list[Provider] = []  # those that offer something and stand for no device that is there
        self.kinds: dict[Kind, dict[Traits, list[Provider]]] = defaultdict(lambda: defaultdict(list))

    def type_at(self, gpu: str | None, address: str) -> str:
        """The type of a function: nova.conf's, else the one that its GPU carries; "" when neither is known."""
        if gpu is None or gpu not in self.gpus:
            return ""
        return self.types.of(address) if self.types is not None else self.gpus[gpu].active_type or ""


class _Traits(NamedTuple):
    """A tuple of traits that was met: its number, and those in it that are an operator's own."""

    number: int
    own: Traits


class Census:
    """All of them; ``offers`` by class, and ``complete`` when no provider's inventory is unknown."""

    def __init__(self, ground: Ground) -> None:
        self.hosts: dict[str, HostCensus] = {}
        self.offers: dict[str, set[Offer]] = defaultdict(set)
        self.complete = True
        self._traits: dict[tuple[str, ...] | None, _Traits] = {}
        for name, providers in ground.providers_of.items():
            host = self.hosts[name] = HostCensus(name, ground.hosts.get(name))
            self._host(host, providers)

    def _host(self, host: HostCensus, providers: tuple[Provider, ...]) -> None:
        root = next((p for p in providers if p.parent_uuid is None), None)
        root_traits = root.traits if root is not None else None
        functions = {  # GPUs that carry at most one vGPU on each function
            a for a, g in host.gpus.items() if (g.sriov or g.functions) and g.mechanism != "vendor-vfio"
        }
        made: set[tuple[str, int, int]] = set()  # offers of this host
        groups: dict[tuple[str, str, str], dict[Traits, list[Provider]]] = {}
        offered = host.offered
        for p in providers:
            if p.parent_uuid is None:
                continue
            if p.inventories is None:
                self.complete = False
                continue
            if p.allocations:
                host.held.append(p)
            gpu, device = p.gpu, p.device
            # Nova tracks any PCI device as <node>_0000:25:00.0: one that is no known GPU may be a network card
            ours = gpu is not None or "_pci_" in p.name
            traits = self._seen(p.traits)
            total = 0
            for one in p.inventories:
                resource_class = one.resource_class
                if resource_class != VGPU and not resource_class.startswith("CUSTOM_"):
                    continue
                total += one.total
                unit = one.max_unit if one.max_unit is not None else one.total
                offer = (resource_class, unit, traits.number)
                if offer not in made:
                    made.add(offer)
                    self.offers[resource_class].add(Offer(unit, p.traits, root_traits))
                if p.traits is not None and device and ours:
                    type_id = host.type_at(gpu, device)
                    key = (resource_class, type_id, "" if type_id else device.rpartition(":")[0])
                    group = groups.get(key)
                    if group is None:
                        kind = Kind(resource_class, type_id or f"bus {key[2]}", bool(type_id))
                        group = groups[key] = host.kinds[kind]
                    group[traits.own].append(p)
            if gpu is None:
                if device and total and ours:
                    host.adrift.append(p)
            elif gpu in functions and device != gpu:
                offered[gpu] += min(1, total)
                if total > 1:
                    host.doubled.append(p)
            else:
                offered[gpu] += total

    def _seen(self, traits: tuple[str, ...] | None) -> _Traits:
        """A tuple of traits, looked at when it is met for the first time."""
        found = self._traits.get(traits)
        if found is None:
            own = frozenset(t for t in traits or () if t.startswith("CUSTOM_"))
            found = self._traits[traits] = _Traits(len(self._traits), own)
        return found


_MADE: WeakKeyDictionary[Ground, Census] = WeakKeyDictionary()


def census(ground: Ground) -> Census:
    """The census of a ground, made when it is first asked for."""
    found = _MADE.get(ground)
    if found is None:
        found = _MADE[ground] = Census(ground)
    return found


def allocated(provider: Provider, but: frozenset[str] = frozenset()) -> int:
    """What consumers hold of VGPU and of custom classes of a provider; ``but`` those are left out."""
    return sum(
        n
        for a in provider.allocations or ()
        if a.consumer_id not in but
        for c, n in a.resources.items()
        if c == VGPU or c.startswith("CUSTOM_")
    )


def allocated_of(provider: Provider, consumer: str) -> int:
    """What one consumer holds of VGPU and of custom classes of a provider."""
    others = frozenset(a.consumer_id for a in provider.allocations or () if a.consumer_id != consumer)
    return allocated(provider, others)


def consumers(providers: Iterable[Provider]) -> tuple[str, ...]:
    """Who holds something of these, each once."""
    return tuple(dict.fromkeys(a.consumer_id for p in providers for a in p.allocations or ()))


def hurt(ground: Ground, ids: Iterable[str], at_most: int = 3) -> str:
    """``; hurt: server web (…) of project vdi``, or nothing; servers first, then who else holds something."""
    servers = [i for i in ids if i in ground.servers]
    if not servers:
        return ""
    names = ", ".join(ground.server_words(i) for i in servers[:at_most])
    more = f" and {len(servers) - at_most} more" if len(servers) > at_most else ""
    return f"; hurt: {names}{more}"


def objects(ground: Ground, first: str, ids: Iterable[str], at_most: int = 50) -> tuple[str, ...]:
    """``first`` and everybody who is hurt, for ``Finding.objects``."""
    told = (ground.server_words(i) if i in ground.servers else f"consumer {i}" for i in ids)
    return tuple(dict.fromkeys((first, *list(told)[:at_most])))
