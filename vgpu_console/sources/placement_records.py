"""Placement's JSON as facts: providers, summaries, inventories, allocations, usages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from vgpu_console.model.placement import Allocation, Candidate, Candidates, Inventory, ResourceProvider
from vgpu_console.sources.cloud import Answer
from vgpu_console.sources.tolerant import amounts, ident, integer, mapping, optional_ident, records, rows, text
from vgpu_console.text import plain


class Summary(NamedTuple):
    """A provider as one answer described it."""

    inventories: tuple[Inventory, ...]
    used: int | None  # of all vGPU classes together; None: not told
    traits: tuple[str, ...] | None
    exact: bool  # False: an inventory has no capacity, so its total is not known


class _ListedProvider(msgspec.Struct):
    uuid: str
    name: str
    generation: int
    parent_provider_uuid: str | None = None
    root_provider_uuid: str | None = None


class _ProviderList(msgspec.Struct):
    resource_providers: list[_ListedProvider]


def is_vgpu_class(resource_class: str) -> bool:
    """Whether a resource class can stand for vGPUs: VGPU itself, or an operator's own."""
    return resource_class == "VGPU" or resource_class.startswith("CUSTOM_")


def is_uuid_like(identifier: str) -> bool:
    """Whether an id may go into a path and a table as it is: ASCII letters, digits and dashes."""
    return 0 < len(identifier) <= 64 and identifier.isascii() and identifier.replace("-", "").isalnum()


def read_providers(answer: Answer, known: Mapping[str, ResourceProvider], notes: list[str]) -> list[ResourceProvider]:
    """``GET /resource_providers``: those of ``known`` that did not change as they are, the others without details.

    A well-formed answer is decoded by its type, which is ten times faster; the list may be of 100,000 providers.
    """
    try:
        typed = msgspec.json.decode(answer.content, type=_ProviderList).resource_providers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        typed = None
    if typed is None or not all(is_uuid_like(p.uuid) and is_uuid_like(p.root_provider_uuid or p.uuid) for p in typed):
        items = rows(answer.object(), "resource_providers", "resource providers")
        return records(items, _provider, "providers", notes)
    out = []
    for p in typed:
        old = known.get(p.uuid)
        root = p.root_provider_uuid or p.uuid
        if (
            old is not None
            and old.generation == p.generation
            and old.name == p.name
            and old.parent_uuid == p.parent_provider_uuid
            and old.root_uuid == root
        ):
            out.append(old)
            continue
        out.append(
            ResourceProvider(
                uuid=p.uuid,
                name=plain(p.name, 255),
                generation=p.generation,
                parent_uuid=plain(p.parent_provider_uuid, 64) or None,
                root_uuid=root,
            )
        )
    return out


def _provider(record: dict[str, Any]) -> ResourceProvider:
    uuid = ident(record, "uuid")
    generation = integer(record, "generation")
    return ResourceProvider(
        uuid=uuid,
        name=text(record, "name", 255) or "",
        generation=-1 if generation is None else generation,
        parent_uuid=optional_ident(record, "parent_provider_uuid"),
        root_uuid=optional_ident(record, "root_provider_uuid") or uuid,
    )


def read_summary(body: dict[str, Any]) -> Summary:
    """One of ``provider_summaries``. Its capacity is taken for the total (see :mod:`placement_details`)."""
    resources = mapping(body, "resources")
    inventories: list[Inventory] = []
    used: int | None = 0
    exact = isinstance(body.get("resources"), dict)
    for resource_class in sorted(resources):
        if not is_vgpu_class(resource_class):
            continue
        one = mapping(resources, resource_class)
        capacity, taken = integer(one, "capacity"), integer(one, "used")
        exact = exact and bool(capacity) and taken is not None
        used = None if used is None or taken is None else used + taken
        inventories.append(Inventory(resource_class=plain(resource_class, 255), total=capacity or 0))
    traits = read_traits(body)
    return Summary(tuple(inventories), used, traits, exact and traits is not None)


def read_inventories(body: dict[str, Any]) -> tuple[Inventory, ...]:
    """``GET /resource_providers/{uuid}/inventories``, the vGPU classes of it."""
    found = mapping(body, "inventories")
    out = []
    for resource_class in sorted(found):
        one = mapping(found, resource_class)
        total = integer(one, "total")
        if not is_vgpu_class(resource_class) or total is None:
            continue
        ratio = one.get("allocation_ratio")
        known = isinstance(ratio, int | float) and not isinstance(ratio, bool)
        out.append(
            Inventory(
                resource_class=plain(resource_class, 255),
                total=total,
                reserved=integer(one, "reserved") or 0,
                max_unit=integer(one, "max_unit"),
                allocation_ratio=float(ratio) if known and ratio is not None else 1.0,
            )
        )
    return tuple(out)


def read_traits(body: dict[str, Any]) -> tuple[str, ...] | None:
    """The traits in an answer, sorted; None when it holds none."""
    value = body.get("traits")
    return tuple(sorted(plain(t, 255) for t in value if isinstance(t, str))) if isinstance(value, list) else None


def read_allocations(body: dict[str, Any]) -> tuple[Allocation, ...]:
    """``GET /resource_providers/{uuid}/allocations``: who holds vGPU classes of it, by consumer id."""
    found = []
    allocations = mapping(body, "allocations")
    for consumer in allocations:
        held = {c: n for c, n in amounts(mapping(allocations, consumer), "resources").items() if is_vgpu_class(c)}
        if held and is_uuid_like(consumer):
            found.append(Allocation(consumer, held))
    return tuple(sorted(found, key=lambda a: a.consumer_id))


def read_consumer(body: dict[str, Any]) -> dict[str, dict[str, int]]:
    """``GET /allocations/{consumer}``: what it holds of vGPU classes, by provider."""
    allocations = mapping(body, "allocations")
    out: dict[str, dict[str, int]] = {}
    for uuid in allocations:
        held = {c: n for c, n in amounts(mapping(allocations, uuid), "resources").items() if is_vgpu_class(c)}
        if held and is_uuid_like(uuid):
            out[uuid] = held
    return out


def read_usage(body: dict[str, Any]) -> dict[str, int] | None:
    """``GET /usages``: vGPU class -> amount, of the plain shape (to 1.37) or summed over consumer types (from 1.38)."""
    usages = body.get("usages")
    if not isinstance(usages, dict):
        return None
    out: dict[str, int] = defaultdict(int)
    groups = [amounts(usages, key) for key, value in usages.items() if isinstance(value, dict)]
    for group in [amounts(body, "usages"), *groups]:
        for resource_class, amount in group.items():
            if is_vgpu_class(resource_class):
                out[resource_class] += amount
    return dict(out)


def read_candidates(body: dict[str, Any], asked: int) -> Candidates:
    """``GET /allocation_candidates`` of 1.12 and later. ``asked`` is the limit that was set."""
    found: list[Candidate] = []
    for one in rows(body, "allocation_requests", "allocation requests"):
        allocations = mapping(one, "allocations") if isinstance(one, dict) else {}
        placed = {uuid: amounts(mapping(allocations, uuid), "resources") for uuid in allocations if is_uuid_like(uuid)}
        if placed:
            found.append(Candidate(placed))
    summaries = mapping(body, "provider_summaries")
    free: dict[str, dict[str, int]] = {}
    roots: dict[str, str] = {}
    for uuid in summaries:
        summary = mapping(summaries, uuid)
        if not is_uuid_like(uuid):
            continue
        resources = mapping(summary, "resources")
        free[uuid] = {}
        for resource_class in resources:
            one = mapping(resources, resource_class)
            capacity, used = integer(one, "capacity"), integer(one, "used")
            if capacity is not None and used is not None:
                free[uuid][plain(resource_class, 255)] = max(0, capacity - used)
        roots[uuid] = optional_ident(summary, "root_provider_uuid") or uuid
    return Candidates(candidates=tuple(found), free=free, roots=roots, cut=len(found) >= asked)
