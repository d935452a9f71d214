"""Placement's allocation candidates: which providers could take a request now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response
from vgpu_console.simulator.policies import require_placement_admin
from vgpu_console.simulator.providers import Placement, Provider

Terms = list[tuple[frozenset[str], bool]]
"""Trait terms, all to be met: any of the traits is there, or (False) none of them is."""

_MOST = 1000
"""Never more candidates than this: what Nova's scheduler asks for at most."""


def parse_resources(text: str) -> dict[str, int]:
    """``VGPU:1,VCPU:2``. Raises ApiError 400."""
    wanted: dict[str, int] = {}
    for part in text.split(","):
        name, _, amount = part.partition(":")
        if not name or not amount.isdigit() or int(amount) < 1:
            raise ApiError(
                400,
                "Badly formed resources parameter. Expected resources query string parameter in form: "
                f"?resources=VCPU:2,MEMORY_MB:1024. Got: {text}",
            )
        wanted[name] = int(amount)
    return wanted


def parse_required(values: list[str], version: tuple[int, int]) -> Terms:
    """``T``, ``!T`` (1.22) and ``in:A,B`` (1.39). Raises ApiError 400."""
    terms: Terms = []
    for value in values if version >= (1, 39) else values[-1:]:
        if value.startswith(("in:", "!in:")) and version >= (1, 39):
            negative = value.startswith("!")
            terms.append((frozenset(value.removeprefix("!").removeprefix("in:").split(",")), not negative))
            continue
        for trait in value.split(","):
            if (trait.startswith("!") and version < (1, 22)) or not trait.removeprefix("!"):
                raise ApiError(
                    400,
                    "Invalid query string parameters: Expected 'required' parameter value of the form: "
                    f"HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {value}",
                )
            terms.append((frozenset({trait.removeprefix("!")}), not trait.startswith("!")))
    return terms


def has_traits(traits: frozenset[str], terms: Terms) -> bool:
    """Whether a provider's traits meet all terms."""
    return all(bool(traits & wanted) == present for wanted, present in terms)


def in_tree(placement: Placement, uuid: str) -> list[Provider]:
    """All providers of the tree that a provider is in; none for an unknown one."""
    provider = placement.providers.get(uuid)
    return list(placement.trees[provider.root].values()) if provider else []


class _Group:
    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.resources: dict[str, int] = {}
        self.terms: Terms = []
        self.tree: str | None = None
        self.aggregates: set[str] = set()


def _groups(request: Request) -> list[_Group]:
    found: dict[str, _Group] = {}
    for name, values in request.query.items():
        match = re.fullmatch(r"(resources|required|in_tree|member_of)(\w*)", name)
        if match is None:
            if name not in ("limit", "group_policy", "root_required", "same_subtree"):
                raise ApiError(400, f"Invalid query string parameters: '{name}' was unexpected")
            continue
        if match[2] and request.version < (1, 25):
            raise ApiError(400, f"Invalid query string parameters: '{name}' was unexpected")
        group = found.setdefault(match[2], _Group(match[2]))
        if match[1] == "resources":
            group.resources = parse_resources(values[-1])
        elif match[1] == "required":
            group.terms = parse_required(values, request.version)
        elif match[1] == "in_tree":
            group.tree = values[-1]
        else:
            group.aggregates = set(values[-1].removeprefix("in:").split(","))
    groups = [group for group in found.values() if group.resources]
    if not groups:
        raise ApiError(400, "At least one request group must be specified.", "placement.query.missing_value")
    if sum(1 for group in groups if group.suffix) > 1 and request.one("group_policy") not in ("none", "isolate"):
        raise ApiError(
            400, 'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.'
        )
    return groups


def _choices(group: _Group, tree: list[Provider]) -> Iterator[dict[str, dict[str, int]]]:
    """Ways to satisfy one group in a tree: a suffixed group from one provider, the other one class by class."""
    if group.tree is not None and all(provider.uuid != group.tree for provider in tree):
        return
    if group.aggregates and not any(group.aggregates & set(provider.aggregates) for provider in tree):
        return
    if group.suffix:
        for provider in tree:
            if has_traits(provider.traits, group.terms) and all(
                provider.can_take(name, amount) for name, amount in group.resources.items()
            ):
                yield {provider.uuid: dict(group.resources)}
        return
    yield from _spread(list(group.resources.items()), tree, {}, group.terms)


def _spread(
    wanted: list[tuple[str, int]], tree: list[Provider], so_far: dict[str, dict[str, int]], terms: Terms
) -> Iterator[dict[str, dict[str, int]]]:
    if not wanted:
        traits = frozenset[str]().union(*(p.traits for p in tree if p.uuid in so_far))
        if has_traits(traits, terms):
            yield so_far
        return
    name, amount = wanted[0]
    for provider in tree:
        if provider.can_take(name, amount):
            chosen = {uuid: dict(resources) for uuid, resources in so_far.items()}
            chosen.setdefault(provider.uuid, {})[name] = amount
            yield from _spread(wanted[1:], tree, chosen, terms)


def _combine(
    groups: list[_Group], tree: list[Provider], isolate: bool
) -> Iterator[tuple[dict[str, dict[str, int]], dict[str, list[str]]]]:
    if not groups:
        yield {}, {}
        return
    for rest, mappings in _combine(groups[:-1], tree, isolate):
        for choice in _choices(groups[-1], tree):
            if isolate and groups[-1].suffix:
                taken = {uuid for suffix, uuids in mappings.items() if suffix for uuid in uuids}
                if taken & set(choice):
                    continue
            merged = {uuid: dict(resources) for uuid, resources in rest.items()}
            for uuid, resources in choice.items():
                into = merged.setdefault(uuid, {})
                for name, amount in resources.items():
                    into[name] = into.get(name, 0) + amount
            by_uuid = {provider.uuid: provider for provider in tree}
            if all(by_uuid[u].can_take(name, amount) for u, row in merged.items() for name, amount in row.items()):
                yield merged, {**mappings, groups[-1].suffix: list(choice)}


def candidates(request: Request) -> Response:
    """GET /allocation_candidates: one unnumbered group and numbered ones, in_tree, root_required, limit."""
    require_placement_admin(request, "placement:allocation_candidates:list")
    if request.version < (1, 10):
        raise ApiError(404, "The resource could not be found.")
    groups = _groups(request)
    placement = request.state.placement
    limit = request.number("limit") or _MOST
    isolate = request.one("group_policy") == "isolate"
    root_terms = (
        parse_required(request.query["root_required"], request.version) if "root_required" in request.query else []
    )
    wanted_tree = next((group.tree for group in groups if group.tree), None)
    roots = list(placement.trees)
    if wanted_tree is not None:
        provider = placement.providers.get(wanted_tree)
        roots = [provider.root] if provider else []
    requests: list[dict[str, Any]] = []
    used_roots: list[str] = []
    seen: set[str] = set()
    for root in roots:
        tree = list(placement.trees[root].values())
        if root_terms and not has_traits(placement.providers[root].traits, root_terms):
            continue
        for allocations, mappings in _combine(groups, tree, isolate):
            key = repr(sorted((uuid, sorted(row.items())) for uuid, row in allocations.items()))
            if isolate or key not in seen:
                seen.add(key)
                row: dict[str, Any] = {"allocations": {u: {"resources": r} for u, r in allocations.items()}}
                if request.version < (1, 12):
                    row = {
                        "allocations": [
                            {"resource_provider": {"uuid": u}, "resources": r} for u, r in allocations.items()
                        ]
                    }
                if request.version >= (1, 34):
                    row["mappings"] = mappings
                requests.append(row)
                if root not in used_roots:
                    used_roots.append(root)
            if len(requests) >= limit:
                break
        if len(requests) >= limit:
            break
    summaries = {}
    involved = {uuid for row in requests for uuid in row["allocations"]} if request.version >= (1, 12) else set()
    for root in used_roots:
        for provider in placement.trees[root].values():
            if request.version >= (1, 29) or provider.uuid in involved:
                summaries[provider.uuid] = _summary(provider, request.version)
    return Response({"allocation_requests": requests, "provider_summaries": summaries})


def _summary(provider: Provider, version: tuple[int, int]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "resources": {
            name: {"capacity": inventory.capacity, "used": provider.used(name)}
            for name, inventory in provider.inventories.items()
        }
    }
    if version >= (1, 17):
        row["traits"] = sorted(provider.traits)
    if version >= (1, 29):
        row["parent_provider_uuid"] = provider.parent
        row["root_provider_uuid"] = provider.root
    return row
