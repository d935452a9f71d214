"""Placement's provider trees, sorted by host once for each reading, and tied to the hosts' devices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from vgpu_console.fleet.devices import HostDevices
from vgpu_console.model.nova import Hypervisor
from vgpu_console.model.placement import PlacementFacts, ResourceProvider
from vgpu_console.model.snapshot import Provider
from vgpu_console.rules.resource_classes import device_address, vgpu_classes

Holdings = Mapping[str, list[tuple[str, int]]]
"""Consumer -> (provider uuid, vGPUs)."""


class Trees:
    """One reading of Placement by host. A root bears the hypervisor's name, which may not be the service's."""

    def __init__(
        self,
        placement: PlacementFacts | None,
        hypervisors: Iterable[Hypervisor],
        configured: frozenset[str],
    ) -> None:
        self.known = placement is not None
        self.providers = placement.providers if placement else ()
        self.classes = vgpu_classes(self.providers, configured)
        self._by_uuid = {p.uuid: p for p in self.providers}
        service_host = {h.name: h.service_host or h.name for h in hypervisors}
        self._host: dict[str, str] = {}
        self._used: dict[str, int] = defaultdict(int)
        self.held: dict[str, list[tuple[str, int]]] = defaultdict(list)
        shown: list[ResourceProvider] = []
        self._address: dict[str, str | None] = {}
        for provider in self.providers:
            root = self._by_uuid.get(provider.root_uuid, provider)
            host = service_host.get(root.name, root.name)
            self._host[provider.uuid] = host
            for allocation in provider.allocations or ():
                amount = sum(n for c, n in allocation.resources.items() if c in self.classes)
                if amount:
                    self.held[allocation.consumer_id].append((provider.uuid, amount))
                    if provider.parent_uuid is not None:
                        self._used[host] += amount
            if provider.parent_uuid is None:
                continue
            address = device_address(provider.name)
            if address is not None or any(i.resource_class in self.classes for i in provider.inventories or ()):
                shown.append(provider)
                self._address[provider.uuid] = address
        roots = dict.fromkeys(p.root_uuid for p in shown)
        self.shown = [self._by_uuid[r] for r in roots if r in self._by_uuid] + shown
        self.hosts_with_devices = tuple(dict.fromkeys(self._host[p.uuid] for p in shown if self._address[p.uuid]))

    def host_of(self, provider: ResourceProvider) -> str:
        """The compute host in whose tree a provider is."""
        return self._host[provider.uuid]

    def address_of(self, provider: ResourceProvider) -> str | None:
        """The PCI address of the device that a provider stands for."""
        return self._address.get(provider.uuid)

    def used_on(self, host: str) -> int | None:
        """vGPUs that Placement has given away on a host; None when it has not been read."""
        return self._used.get(host, 0) if self.known else None


class TiedProviders:
    """The providers that stand for a device or hold a vGPU class, with the roots of those, tied to GPUs."""

    def __init__(self, providers: tuple[Provider, ...]) -> None:
        self.all = providers
        self.by_device: dict[str, dict[str, Provider]] = defaultdict(dict)
        for provider in providers:
            if provider.device:
                self.by_device[provider.host][provider.device] = provider


class ProviderJoin:
    """Makes both and remembers them while their inputs are the same objects."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._trees = Trees(None, (), frozenset())
        self._tied: tuple[Trees, dict[str, HostDevices], TiedProviders] | None = None
        self._made: dict[str, tuple[ResourceProvider, str, str | None, Provider]] = {}

    def trees(
        self, placement: PlacementFacts | None, hypervisors: tuple[Hypervisor, ...], configured: frozenset[str]
    ) -> Trees:
        """Placement's reading by host; ``configured`` are the classes that nova.conf gives to mdev types."""
        providers = placement.providers if placement is not None else None
        same = len(self._key) == 3 and self._key[0] is providers and self._key[1:] == (hypervisors, configured)
        if not same:
            self._key = (providers, hypervisors, configured)
            self._trees = Trees(placement, hypervisors, configured)
        return self._trees

    def tied(self, trees: Trees, devices: dict[str, HostDevices]) -> TiedProviders:
        """The providers to show, each with the GPU that its device belongs to."""
        old = self._tied
        if old is not None and old[0] is trees and _same_objects(old[1], devices):
            return old[2]
        made = TiedProviders(self._providers(trees, devices))
        self._tied = (trees, devices, made)
        return made

    def _providers(self, trees: Trees, devices: Mapping[str, HostDevices]) -> tuple[Provider, ...]:
        kept: dict[str, tuple[ResourceProvider, str, str | None, Provider]] = {}
        for provider in trees.shown:
            host = trees.host_of(provider)
            address = trees.address_of(provider)
            gpu = devices[host].gpu_of.get(address) if address and host in devices else None
            old = self._made.get(provider.uuid)
            if old is not None and old[0] is provider and old[1] == host and old[2] == gpu:
                kept[provider.uuid] = old
                continue
            made = Provider(
                uuid=provider.uuid,
                name=provider.name,
                host=host,
                generation=provider.generation,
                parent_uuid=provider.parent_uuid,
                device=address,
                gpu=gpu,
                inventories=provider.inventories,
                allocations=provider.allocations,
                traits=provider.traits,
            )
            kept[provider.uuid] = (provider, host, gpu, made)
        self._made = kept
        return tuple(entry[3] for entry in kept.values())


def _same_objects(old: Mapping[str, HostDevices], new: Mapping[str, HostDevices]) -> bool:
    return len(old) == len(new) and all(old.get(host) is found for host, found in new.items())
