"""Placement of the embedded cloud: providers, inventories, allocations, usages, traits; candidates are beside."""

from __future__ import annotations

import re
from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response, Router
from vgpu_console.simulator.placement_candidates import (
    candidates,
    has_traits,
    in_tree,
    parse_required,
    parse_resources,
)
from vgpu_console.simulator.policies import require_placement_admin
from vgpu_console.simulator.providers import Inventory, PlacementConflict, Provider
from vgpu_console.simulator.state import State

CONCURRENT = "placement.concurrent_update"


def version_document(state: State) -> dict[str, Any]:
    """Placement's description of its one API."""
    return {
        "id": "v1.0",
        "max_version": f"{state.placement_max[0]}.{state.placement_max[1]}",
        "min_version": "1.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }


def build_router() -> Router:
    """All routes below ``/placement``."""
    router = Router()
    for path in ("", "/"):
        router.add("GET", path, lambda r: Response({"versions": [version_document(r.state)]}))
    router.add("GET", "/resource_providers", list_providers)
    router.add("GET", "/resource_providers/{uuid}", show_provider)
    router.add("GET", "/resource_providers/{uuid}/inventories", show_inventories)
    router.add("PUT", "/resource_providers/{uuid}/inventories", put_inventories)
    router.add("GET", "/resource_providers/{uuid}/usages", show_provider_usages)
    router.add("GET", "/resource_providers/{uuid}/allocations", show_provider_allocations)
    router.add("GET", "/resource_providers/{uuid}/traits", show_provider_traits)
    router.add("PUT", "/resource_providers/{uuid}/traits", put_provider_traits)
    router.add("GET", "/resource_providers/{uuid}/aggregates", show_aggregates)
    router.add("DELETE", "/resource_providers/{uuid}", delete_provider)
    router.add("GET", "/allocations/{consumer}", show_allocations)
    router.add("PUT", "/allocations/{consumer}", put_allocations)
    router.add("DELETE", "/allocations/{consumer}", delete_allocations)
    router.add("GET", "/usages", show_usages)
    router.add("GET", "/allocation_candidates", candidates)
    router.add("GET", "/traits", list_traits)
    router.add("PUT", "/traits/{name}", make_trait)
    router.add("GET", "/resource_classes", list_classes)
    return router


def _links(uuid: str, version: tuple[int, int]) -> str:
    href = f"/placement/resource_providers/{uuid}"
    names = ["inventories", "usages"]
    if version >= (1, 1):
        names.append("aggregates")
    if version >= (1, 6):
        names.append("traits")
    if version >= (1, 11):
        names.append("allocations")
    rows = [f'{{"rel":"self","href":"{href}"}}', *(f'{{"rel":"{n}","href":"{href}/{n}"}}' for n in names)]
    return ",".join(rows)


def _encode(providers: list[Provider], version: tuple[int, int]) -> bytes:
    """The list's rows as JSON, by hand: a fleet of a thousand hosts has 129,000 of them.

    Names are host names and PCI addresses; the few that would need escaping are not used here.
    """
    template = _links("%s", version)
    per_row = template.count("%s")
    nested = version >= (1, 14)
    rows = []
    for provider in providers:
        uuid = provider.uuid
        row = f'{{"uuid":"{uuid}","name":"{provider.name}","generation":{provider.generation},"links":['
        row += template % ((uuid,) * per_row)
        if nested:
            parent = f'"{provider.parent}"' if provider.parent else "null"
            row += f'],"parent_provider_uuid":{parent},"root_provider_uuid":"{provider.root}"}}'
        else:
            row += "]}"
        rows.append(row)
    return ('{"resource_providers":[' + ",".join(rows) + "]}").encode()


def list_providers(request: Request) -> Response:
    """GET /resource_providers with in_tree, name, uuid, resources (that fit now), required, member_of."""
    require_placement_admin(request, "placement:resource_providers:list")
    placement = request.state.placement
    known = {"name", "uuid", "in_tree", "resources", "required", "member_of"}
    for name in request.query:
        if name not in known:
            raise ApiError(400, f"Invalid query string parameters: '{name}' was unexpected", "placement.undefined_code")
    root = request.one("in_tree")
    if root is not None:
        rows = in_tree(placement, root)
    else:
        rows = [provider for tree in placement.trees.values() for provider in tree.values()]
    named, uuid = request.one("name"), request.one("uuid")
    if named is not None:
        rows = [provider for provider in rows if provider.name == named]
    if uuid is not None:
        rows = [provider for provider in rows if provider.uuid == uuid]
    resources = request.one("resources")
    if resources:
        wanted = parse_resources(resources)
        rows = [p for p in rows if all(p.can_take(resource, amount) for resource, amount in wanted.items())]
    if "required" in request.query:
        terms = parse_required(request.query["required"], request.version)
        rows = [provider for provider in rows if has_traits(provider.traits, terms)]
    member_of = request.one("member_of")
    if member_of:
        aggregates = set(member_of.removeprefix("in:").split(","))
        rows = [provider for provider in rows if aggregates & set(provider.aggregates)]
    return Response(_encode(rows, request.version))


def _provider(request: Request, uuid: str) -> Provider:
    provider = request.state.placement.providers.get(uuid)
    if provider is None:
        raise ApiError(404, f"No resource provider with uuid {uuid} found")
    return provider


def show_provider(request: Request, uuid: str) -> Response:
    """GET /resource_providers/{uuid}."""
    require_placement_admin(request, "placement:resource_providers:show")
    listed = _encode([_provider(request, uuid)], request.version)
    return Response(listed[len(b'{"resource_providers":[') : -2])


def delete_provider(request: Request, uuid: str) -> Response:
    """DELETE /resource_providers/{uuid}: refused with 409 while it is used."""
    require_placement_admin(request, "placement:resource_providers:delete")
    try:
        request.state.placement.remove(_provider(request, uuid))
    except PlacementConflict as conflict:
        raise ApiError(409, str(conflict), conflict.code) from conflict
    return Response(status=204)


def show_inventories(request: Request, uuid: str) -> Response:
    """GET …/inventories."""
    require_placement_admin(request, "placement:resource_providers:inventories:list")
    provider = _provider(request, uuid)
    return Response(
        {
            "resource_provider_generation": provider.generation,
            "inventories": {name: inventory.as_json() for name, inventory in provider.inventories.items()},
        }
    )


def put_inventories(request: Request, uuid: str) -> Response:
    """PUT …/inventories: all of them, with the generation that was read."""
    require_placement_admin(request, "placement:resource_providers:inventories:update")
    provider = _provider(request, uuid)
    body = request.json()
    if body.get("resource_provider_generation") != provider.generation:
        raise ApiError(409, "resource provider generation conflict", CONCURRENT)
    try:
        inventories = {name: Inventory(**fields) for name, fields in (body.get("inventories") or {}).items()}
    except TypeError as error:
        raise ApiError(400, f"JSON does not validate: {error}") from error
    try:
        request.state.placement.set_inventories(provider, inventories)
    except PlacementConflict as conflict:
        raise ApiError(409, str(conflict), conflict.code) from conflict
    return show_inventories(request, uuid)


def show_provider_usages(request: Request, uuid: str) -> Response:
    """GET …/usages: what is allocated of each class it offers."""
    require_placement_admin(request, "placement:resource_providers:usages")
    provider = _provider(request, uuid)
    usages = {name: provider.used(name) for name in provider.inventories}
    return Response({"resource_provider_generation": provider.generation, "usages": usages})


def show_provider_allocations(request: Request, uuid: str) -> Response:
    """GET …/allocations: by consumer."""
    require_placement_admin(request, "placement:resource_providers:allocations:list")
    provider = _provider(request, uuid)
    rows: dict[str, Any] = {}
    for consumer_id, resources in (provider.allocations or {}).items():
        rows[consumer_id] = {"resources": resources}
        if request.version >= (1, 28):
            rows[consumer_id]["consumer_generation"] = request.state.placement.consumers[consumer_id].generation
    return Response({"allocations": rows, "resource_provider_generation": provider.generation})


def show_provider_traits(request: Request, uuid: str) -> Response:
    """GET …/traits."""
    require_placement_admin(request, "placement:resource_providers:traits:list")
    provider = _provider(request, uuid)
    return Response({"traits": sorted(provider.traits), "resource_provider_generation": provider.generation})


def put_provider_traits(request: Request, uuid: str) -> Response:
    """PUT …/traits: all of them, with the generation that was read."""
    require_placement_admin(request, "placement:resource_providers:traits:update")
    provider = _provider(request, uuid)
    body = request.json()
    if body.get("resource_provider_generation") != provider.generation:
        raise ApiError(
            409,
            "Resource provider's generation already changed. Please update the generation and try again.",
            CONCURRENT,
        )
    request.state.placement.set_traits(provider, [str(trait) for trait in body.get("traits") or []])
    return show_provider_traits(request, uuid)


def show_aggregates(request: Request, uuid: str) -> Response:
    """GET …/aggregates."""
    require_placement_admin(request, "placement:resource_providers:aggregates:list")
    provider = _provider(request, uuid)
    body: dict[str, Any] = {"aggregates": list(provider.aggregates)}
    if request.version >= (1, 19):
        body["resource_provider_generation"] = provider.generation
    return Response(body)


# -- allocations and usages --------------------------------------------------------------------------------------


def show_allocations(request: Request, consumer: str) -> Response:
    """GET /allocations/{consumer}: empty for an unknown one."""
    require_placement_admin(request, "placement:allocations:list")
    placement = request.state.placement
    held = placement.consumers.get(consumer)
    if held is None:
        return Response({"allocations": {}})
    body: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": resources, "generation": placement.providers[uuid].generation}
            for uuid, resources in held.allocations.items()
        }
    }
    if request.version >= (1, 12):
        body |= {"project_id": held.project, "user_id": held.user}
    if request.version >= (1, 28):
        body["consumer_generation"] = held.generation
    if request.version >= (1, 38):
        body["consumer_type"] = held.kind
    return Response(body)


def put_allocations(request: Request, consumer: str) -> Response:
    """PUT /allocations/{consumer} (1.28 and later): with the consumer's generation, null for a new one."""
    require_placement_admin(request, "placement:allocations:update")
    if request.version < (1, 28):
        raise ApiError(400, "JSON does not validate: this cloud takes allocations from version 1.28 on")
    placement = request.state.placement
    body = request.json()
    held = placement.consumers.get(consumer)
    current = held.generation if held else None
    if "consumer_generation" not in body:
        raise ApiError(400, "JSON does not validate: 'consumer_generation' is a required property")
    if body["consumer_generation"] != current:
        raise ApiError(
            409, f"consumer generation conflict - expected {current} but got {body['consumer_generation']}", CONCURRENT
        )
    wanted = {uuid: dict(row.get("resources") or {}) for uuid, row in (body.get("allocations") or {}).items()}
    for uuid in wanted:
        if uuid not in placement.providers:
            raise ApiError(400, f"Allocation for resource provider '{uuid}' that does not exist.")
    try:
        kind = str(body.get("consumer_type") or "unknown")
        placement.allocate(consumer, wanted, str(body.get("project_id")), str(body.get("user_id")), kind=kind)
    except PlacementConflict as conflict:
        raise ApiError(409, str(conflict), conflict.code) from conflict
    return Response(status=204)


def delete_allocations(request: Request, consumer: str) -> Response:
    """DELETE /allocations/{consumer}."""
    require_placement_admin(request, "placement:allocations:delete")
    held = request.state.placement.consumers.get(consumer)
    if held is None:
        raise ApiError(404, f"No allocations for consumer '{consumer}'")
    request.state.placement.allocate(consumer, {}, held.project, held.user)
    return Response(status=204)


def show_usages(request: Request) -> Response:
    """GET /usages?project_id=: an administrator, or a reader of that project. By consumer type from 1.38."""
    project_id = request.one("project_id")
    if project_id is None:
        raise ApiError(
            400, "Badly formed querystring: 'project_id' is a required property", "placement.query.missing_value"
        )
    token = request.token
    if token is None or token.project_id != project_id or "reader" not in token.roles:
        require_placement_admin(request, "placement:usages")
    placement = request.state.placement
    user_id = request.one("user_id")
    if request.version < (1, 38) and user_id is None:
        return Response({"usages": placement.usages.get(project_id, {})})
    grouped: dict[str, dict[str, int]] = {}
    for consumer in placement.consumers.values():
        if consumer.project != project_id or user_id not in (None, consumer.user):
            continue
        row = grouped.setdefault(consumer.kind, {"consumer_count": 0})
        row["consumer_count"] += 1
        for resources in consumer.allocations.values():
            for name, amount in resources.items():
                row[name] = row.get(name, 0) + amount
    if request.version >= (1, 38):
        chosen = request.one("consumer_type")
        if chosen is not None and chosen != "all":
            grouped = {chosen: grouped[chosen]} if chosen in grouped else {}
        return Response({"usages": grouped})
    flat: dict[str, int] = {}
    for row in grouped.values():
        for name, amount in row.items():
            if name != "consumer_count":
                flat[name] = flat.get(name, 0) + amount
    return Response({"usages": flat})


def list_traits(request: Request) -> Response:
    """GET /traits with name=startswith:… or in:…."""
    require_placement_admin(request, "placement:traits:list")
    names = sorted(request.state.placement.traits)
    wanted = request.one("name")
    if wanted is not None and wanted.startswith("startswith:"):
        names = [name for name in names if name.startswith(wanted.removeprefix("startswith:"))]
    elif wanted is not None and wanted.startswith("in:"):
        names = [name for name in names if name in wanted.removeprefix("in:").split(",")]
    return Response({"traits": names})


def make_trait(request: Request, name: str) -> Response:
    """PUT /traits/{name}: an operator's own; 201 when it is new, 204 when it was there."""
    require_placement_admin(request, "placement:traits:update")
    if not re.fullmatch(r"CUSTOM_[A-Z0-9_]+", name):
        raise ApiError(
            400,
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the "
            'prefix "CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"',
        )
    known = name in request.state.placement.traits
    request.state.placement.traits.add(name)
    return Response(None, 204 if known else 201)


def list_classes(request: Request) -> Response:
    """GET /resource_classes."""
    require_placement_admin(request, "placement:resource_classes:list")
    rows = [{"name": name, "links": []} for name in sorted(request.state.placement.resource_classes)]
    return Response({"resource_classes": rows})
