"""Placement's state: provider trees, inventories, consumers and their allocations, with generations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Inventory:
    """What a provider offers of one resource class. Shared between providers until one of them is changed."""

    __slots__ = ("allocation_ratio", "max_unit", "min_unit", "reserved", "step_size", "total")

    def __init__(
        self,
        total: int,
        *,
        reserved: int = 0,
        min_unit: int = 1,
        max_unit: int | None = None,
        step_size: int = 1,
        allocation_ratio: float = 1.0,
    ) -> None:
        self.total = total
        self.reserved = reserved
        self.min_unit = min_unit
        self.max_unit = total if max_unit is None else max_unit
        self.step_size = step_size
        self.allocation_ratio = allocation_ratio

    @property
    def capacity(self) -> int:
        """What can be allocated in all."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    def as_json(self) -> dict[str, int | float]:
        """The inventory in the API's shape."""
        return {name: getattr(self, name) for name in self.__slots__}


class Provider:
    """A resource provider: a compute host (``parent`` None) or a device below one."""

    __slots__ = (
        "aggregates",
        "allocations",
        "device",
        "generation",
        "host",
        "inventories",
        "name",
        "parent",
        "root",
        "traits",
        "uuid",
    )

    def __init__(self, uuid: str, name: str, *, root: str | None = None, host: str = "", device: str = "") -> None:
        self.uuid = uuid
        self.name = name
        self.generation = 0
        self.parent = root
        self.root = root or uuid
        self.host = host
        self.device = device  # PCI address of the function it stands for; empty for a root
        self.inventories: Mapping[str, Inventory] = {}
        self.allocations: dict[str, dict[str, int]] | None = None  # by consumer
        self.traits: frozenset[str] = frozenset()
        self.aggregates: tuple[str, ...] = ()

    def used(self, resource_class: str) -> int:
        """What is allocated of a resource class."""
        if not self.allocations:
            return 0
        return sum(resources.get(resource_class, 0) for resources in self.allocations.values())

    def can_take(self, resource_class: str, amount: int) -> bool:
        """Whether one allocation of that amount fits now."""
        inventory = self.inventories.get(resource_class)
        if inventory is None or not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            return False
        return self.used(resource_class) + amount <= inventory.capacity


class Consumer:
    """Who holds allocations: a server, or a migration under its own uuid."""

    __slots__ = ("allocations", "generation", "kind", "project", "user", "uuid")

    def __init__(self, uuid: str, project: str, user: str, kind: str = "unknown") -> None:
        self.uuid = uuid
        self.project = project
        self.user = user
        self.kind = kind  # Nova writes with a microversion that knows no type, hence "unknown"
        self.generation = 0
        self.allocations: dict[str, dict[str, int]] = {}  # provider uuid -> class -> amount


class PlacementConflict(Exception):
    """A write that Placement answers with 409; ``code`` is its error code."""

    def __init__(self, detail: str, code: str = "placement.undefined_code") -> None:
        super().__init__(detail)
        self.code = code


class Placement:
    """All providers and consumers. Every write moves the generations that Placement moves: a provider's moves when its
    inventories or traits change and when it is given an allocation, not when an allocation ends."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.by_name: dict[str, Provider] = {}
        self.trees: dict[str, dict[str, Provider]] = {}  # root uuid -> providers of the tree, the root first
        self.consumers: dict[str, Consumer] = {}
        self.usages: dict[str, dict[str, int]] = {}  # project -> class -> amount
        self.resource_classes = {"VCPU", "MEMORY_MB", "DISK_GB", "PCPU", "VGPU"}
        self.traits = {"OWNER_NOVA", "COMPUTE_NODE", "HW_PCI_LIVE_MIGRATABLE", "COMPUTE_MANAGED_PCI_DEVICE"}

    def add(self, provider: Provider) -> Provider:
        """Add a provider to its tree. Raises PlacementConflict for a name that is taken."""
        if provider.name in self.by_name:
            raise PlacementConflict(f"Conflicting resource provider name: {provider.name} already exists.")
        self.providers[provider.uuid] = provider
        self.by_name[provider.name] = provider
        self.trees.setdefault(provider.root, {})[provider.uuid] = provider
        return provider

    def remove(self, provider: Provider) -> None:
        """Delete a provider. Raises PlacementConflict while it has allocations or children."""
        if provider.allocations:
            raise PlacementConflict(
                f"Unable to delete resource provider {provider.uuid}: Resource provider has allocations.",
                "placement.resource_provider.inuse",
            )
        tree = self.trees[provider.root]
        if provider.parent is None and len(tree) > 1:
            raise PlacementConflict(
                f"Unable to delete parent resource provider {provider.uuid}: It has child resource providers.",
                "placement.resource_provider.cannot_delete_parent",
            )
        del self.providers[provider.uuid], self.by_name[provider.name], tree[provider.uuid]
        if not tree:
            del self.trees[provider.root]

    def set_inventories(self, provider: Provider, inventories: Mapping[str, Inventory]) -> None:
        """Replace a provider's inventories. Raises PlacementConflict when a class in use would go away."""
        for resource_class in provider.inventories:
            if resource_class not in inventories and provider.used(resource_class):
                raise PlacementConflict(
                    f"Inventory for '{resource_class}' on resource provider '{provider.uuid}' in use.",
                    "placement.inventory.inuse",
                )
        provider.inventories = inventories
        provider.generation += 1
        self.resource_classes.update(inventories)

    def set_traits(self, provider: Provider, traits: Iterable[str]) -> None:
        """Replace a provider's traits."""
        provider.traits = frozenset(traits)
        provider.generation += 1
        self.traits.update(provider.traits)

    def check(self, allocations: Mapping[str, Mapping[str, int]], consumer_id: str) -> None:
        """Raise PlacementConflict unless the allocations fit, not counting what the consumer holds itself."""
        for uuid, resources in allocations.items():
            provider = self.providers.get(uuid)
            if provider is None:
                raise PlacementConflict(f"Allocation for resource provider '{uuid}' that does not exist.")
            own = (provider.allocations or {}).get(consumer_id, {})
            for resource_class, amount in resources.items():
                inventory = provider.inventories.get(resource_class)
                held = own.get(resource_class, 0)
                if (
                    inventory is None
                    or not inventory.min_unit <= amount <= inventory.max_unit
                    or amount % inventory.step_size
                    or provider.used(resource_class) - held + amount > inventory.capacity
                ):
                    raise PlacementConflict(
                        f"Unable to allocate inventory: Unable to create allocation for '{resource_class}' on resource "
                        f"provider '{uuid}'. The requested amount would exceed the capacity."
                    )

    def allocate(
        self,
        consumer_id: str,
        allocations: Mapping[str, Mapping[str, int]],
        project: str,
        user: str,
        *,
        kind: str = "unknown",
        checked: bool = False,
    ) -> None:
        """Replace a consumer's allocations; an empty mapping removes the consumer. Raises PlacementConflict."""
        if not checked:
            self.check(allocations, consumer_id)
        consumer = self.consumers.get(consumer_id)
        if consumer is not None:
            self._release(consumer)
        if not allocations:
            self.consumers.pop(consumer_id, None)
            return
        if consumer is None:
            consumer = self.consumers[consumer_id] = Consumer(consumer_id, project, user, kind)
        consumer.project = project
        consumer.user = user
        consumer.kind = kind
        consumer.generation += 1
        used = self.usages.setdefault(project, {})
        for uuid, resources in allocations.items():
            provider = self.providers[uuid]
            if provider.allocations is None:
                provider.allocations = {}
            mine = dict(resources)
            provider.allocations[consumer_id] = mine
            consumer.allocations[uuid] = mine
            provider.generation += 1
            for resource_class, amount in mine.items():
                used[resource_class] = used.get(resource_class, 0) + amount

    def _release(self, consumer: Consumer) -> None:
        used = self.usages[consumer.project]
        for uuid, resources in consumer.allocations.items():
            provider = self.providers[uuid]
            if provider.allocations is not None:
                provider.allocations.pop(consumer.uuid, None)
            # the end of an allocation moves no generation (placement: objects/allocation.py)
            for resource_class, amount in resources.items():
                used[resource_class] -= amount
                if not used[resource_class]:
                    del used[resource_class]
        consumer.allocations = {}

    def move(self, source_id: str, target_id: str) -> None:
        """Hand a consumer's allocations to another one, as Nova does with a migration's uuid."""
        source = self.consumers.get(source_id)
        if source is None:
            return
        held = {uuid: dict(resources) for uuid, resources in source.allocations.items()}
        self.allocate(source_id, {}, source.project, source.user)
        self.allocate(target_id, held, source.project, source.user, checked=True)
