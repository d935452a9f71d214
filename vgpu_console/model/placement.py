"""Facts from Placement: resource providers with their inventories, allocations and traits."""

from __future__ import annotations

import msgspec


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider offers of one resource class."""

    resource_class: str
    total: int
    reserved: int = 0
    max_unit: int | None = None
    allocation_ratio: float = 1.0


class Allocation(msgspec.Struct, frozen=True):
    """What one consumer (a server, or a migration's uuid) holds of one provider."""

    consumer_id: str
    resources: dict[str, int]


class ResourceProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a provider tree: a compute host (root), or a GPU or virtual function below it.

    ``generation`` moves with inventories, traits, aggregates and with allocations that are made, but not when a
    consumer's allocations are deleted (placement: objects/allocation.py). ``inventories``, ``allocations`` and
    ``traits`` are None where they could not be read.
    """

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None = None
    root_uuid: str = ""
    inventories: tuple[Inventory, ...] | None = None
    allocations: tuple[Allocation, ...] | None = None
    traits: tuple[str, ...] | None = None


class Holder(msgspec.Struct, frozen=True):
    """What Nova lets expect of a consumer: a server, or a migration that runs.

    ``resources`` None: it is changing hands, or has failed, so that only Placement can tell what it holds. ``node`` is
    the name of the compute node, and so of its root provider.
    """

    project_id: str
    node: str = ""
    resources: dict[str, int] | None = None


class RequestGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of ``resources…`` that one provider must give where it is numbered, and the tree as a whole otherwise."""

    suffix: str = ""
    resources: dict[str, int] = {}
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """One way to place a request: provider uuid -> resource class -> amount."""

    allocations: dict[str, dict[str, int]]


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of ``GET /allocation_candidates``. ``free``: provider uuid -> class -> what is left of it now."""

    candidates: tuple[Candidate, ...] = ()
    free: dict[str, dict[str, int]] = {}
    roots: dict[str, str] = {}  # provider uuid -> root uuid
    cut: bool = False  # as many as were asked for came: there may be more
    error: str = ""  # why there was no answer; nothing is known then


class PlacementFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of Placement. ``usages``: project id -> resource class -> amount (``GET /usages``).

    ``strangers`` are the consumers that Nova did not know (or whose live migration it says has ended) when Placement
    was read, at two readings in a row or at the first: consumer id -> project id, empty where that is not told.

    ``by_tree`` (root uuid -> who holds how much of the tree) is there for trees whose providers' allocations were not
    read, because what Nova says of its servers and migrations adds up to just what Placement says is used.
    """

    providers: tuple[ResourceProvider, ...] = ()
    usages: dict[str, dict[str, int]] = {}
    max_microversion: str = ""
    strangers: dict[str, str] = {}
    by_tree: dict[str, tuple[Allocation, ...]] = {}
