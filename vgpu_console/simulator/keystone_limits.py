"""Unified limits of the embedded Keystone, with Keystone's rules about references between them."""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response, Router
from vgpu_console.simulator.policies import require_identity_admin
from vgpu_console.simulator.state import Limit, RegisteredLimit, State

_HIGHEST = 2147483647


def add_limit_routes(router: Router) -> None:
    """Routes of /v3/limits and /v3/registered_limits."""
    router.add("GET", "/v3/limits/model", show_model)
    router.add("GET", "/v3/registered_limits", list_registered)
    router.add("POST", "/v3/registered_limits", create_registered)
    router.add("GET", "/v3/registered_limits/{limit_id}", show_registered)
    router.add("PATCH", "/v3/registered_limits/{limit_id}", update_registered)
    router.add("DELETE", "/v3/registered_limits/{limit_id}", delete_registered)
    router.add("GET", "/v3/limits", list_limits)
    router.add("POST", "/v3/limits", create_limits)
    router.add("GET", "/v3/limits/{limit_id}", show_limit)
    router.add("PATCH", "/v3/limits/{limit_id}", update_limit)
    router.add("DELETE", "/v3/limits/{limit_id}", delete_limit)


def show_model(request: Request) -> Response:
    """GET /v3/limits/model."""
    name = request.state.enforcement_model
    return Response(
        {
            "model": {
                "name": name,
                "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
            }
        }
    )


def _registered_json(request: Request, limit: RegisteredLimit) -> dict[str, Any]:
    return {
        "id": limit.id,
        "service_id": limit.service_id,
        "region_id": limit.region_id,
        "resource_name": limit.resource_name,
        "default_limit": limit.default_limit,
        "description": limit.description,
        "links": {"self": f"{request.base}/identity/v3/registered_limits/{limit.id}"},
    }


def _limit_json(request: Request, limit: Limit) -> dict[str, Any]:
    return {
        "id": limit.id,
        "project_id": limit.project_id,
        "domain_id": limit.domain_id,
        "service_id": limit.service_id,
        "region_id": limit.region_id,
        "resource_name": limit.resource_name,
        "resource_limit": limit.resource_limit,
        "description": limit.description,
        "links": {"self": f"{request.base}/identity/v3/limits/{limit.id}"},
    }


def _filtered(request: Request, rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    wanted = {name: request.one(name) for name in names if request.one(name) is not None}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _links(request: Request) -> dict[str, Any]:
    return {"next": None, "self": f"{request.base}/identity{request.path}", "previous": None}


def _number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= _HIGHEST:
        raise ApiError(400, f"Invalid input for field '{name}': {value!r} is not an integer between -1 and {_HIGHEST}")
    return value


def _key(limit: RegisteredLimit | Limit) -> tuple[str, str | None, str]:
    return limit.service_id, limit.region_id, limit.resource_name


def _overrides(state: State, registered: RegisteredLimit) -> bool:
    return any(_key(limit) == _key(registered) for limit in state.limits.values())


def list_registered(request: Request) -> Response:
    """GET /v3/registered_limits: any token."""
    rows = [_registered_json(request, limit) for limit in request.state.registered_limits.values()]
    rows = _filtered(request, rows, ("service_id", "region_id", "resource_name"))
    return Response({"registered_limits": rows, "links": _links(request)})


def _registered(request: Request, limit_id: str) -> RegisteredLimit:
    limit = request.state.registered_limits.get(limit_id)
    if limit is None:
        raise ApiError(404, f"Could not find registered limit for {limit_id}.")
    return limit


def show_registered(request: Request, limit_id: str) -> Response:
    """GET /v3/registered_limits/{id}."""
    return Response({"registered_limit": _registered_json(request, _registered(request, limit_id))})


def create_registered(request: Request) -> Response:
    """POST /v3/registered_limits: a list, all or nothing."""
    require_identity_admin(request, "identity:create_registered_limits")
    state = request.state
    made: list[RegisteredLimit] = []
    taken = {_key(limit) for limit in state.registered_limits.values()}
    for row in request.json().get("registered_limits") or []:
        if row.get("service_id") not in state.services:
            raise ApiError(400, f"Invalid service: {row.get('service_id')}")
        limit = RegisteredLimit(
            state.new_id(),
            row["service_id"],
            row.get("region_id"),
            str(row.get("resource_name")),
            _number(row.get("default_limit"), "default_limit"),
            row.get("description"),
        )
        if _key(limit) in taken:
            raise ApiError(409, "Conflict occurred attempting to store registered_limit - Duplicate entry.")
        taken.add(_key(limit))
        made.append(limit)
    state.registered_limits.update({limit.id: limit for limit in made})
    return Response({"registered_limits": [_registered_json(request, limit) for limit in made]}, 201)


def update_registered(request: Request, limit_id: str) -> Response:
    """PATCH /v3/registered_limits/{id}: refused while a project has a limit of its own."""
    require_identity_admin(request, "identity:update_registered_limit")
    limit = _registered(request, limit_id)
    changes = request.json().get("registered_limit") or {}
    if _overrides(request.state, limit):
        raise ApiError(
            403,
            f"Unable to update or delete registered limit {limit_id} because there are project limits associated "
            "with it.",
        )
    if "default_limit" in changes:
        limit.default_limit = _number(changes["default_limit"], "default_limit")
    if "description" in changes:
        limit.description = changes["description"]
    if "region_id" in changes:
        limit.region_id = changes["region_id"]
    if "resource_name" in changes:
        limit.resource_name = str(changes["resource_name"])
    return Response({"registered_limit": _registered_json(request, limit)})


def delete_registered(request: Request, limit_id: str) -> Response:
    """DELETE /v3/registered_limits/{id}: refused as for an update."""
    require_identity_admin(request, "identity:delete_registered_limit")
    limit = _registered(request, limit_id)
    if _overrides(request.state, limit):
        raise ApiError(
            403,
            f"Unable to update or delete registered limit {limit_id} because there are project limits associated "
            "with it.",
        )
    del request.state.registered_limits[limit_id]
    return Response(status=204)


def _sees_all(request: Request) -> bool:
    """Before Keystone 29 only the system's scope sees every limit; since then admin and service roles do too."""
    return request.who().system or (
        request.state.sees_all_limits and bool({"admin", "service"} & set(request.who().roles))
    )


def _visible(request: Request, limit: Limit) -> bool:
    return _sees_all(request) or (limit.project_id is not None and limit.project_id == request.who().project_id)


def list_limits(request: Request) -> Response:
    """GET /v3/limits: all of them, or one's own project's."""
    rows = [_limit_json(request, limit) for limit in request.state.limits.values() if _visible(request, limit)]
    rows = _filtered(request, rows, ("service_id", "region_id", "resource_name", "project_id", "domain_id"))
    return Response({"limits": rows, "links": _links(request)})


def _limit(request: Request, limit_id: str) -> Limit:
    limit = request.state.limits.get(limit_id)
    if limit is None:
        raise ApiError(404, f"Could not find limit for {limit_id}.")
    return limit


def show_limit(request: Request, limit_id: str) -> Response:
    """GET /v3/limits/{id}: an admin of any scope reads each by its id, also where lists do not show it."""
    limit = _limit(request, limit_id)
    if not _visible(request, limit) and "admin" not in request.roles():
        raise ApiError(403, "You are not authorized to perform the requested action: identity:get_limit.")
    return Response({"limit": _limit_json(request, limit)})


def create_limits(request: Request) -> Response:
    """POST /v3/limits: a list, all or nothing; each needs its registered limit."""
    require_identity_admin(request, "identity:create_limits")
    state = request.state
    made: list[Limit] = []
    taken = {(*_key(limit), limit.project_id, limit.domain_id) for limit in state.limits.values()}
    registered = {_key(limit) for limit in state.registered_limits.values()}
    for row in request.json().get("limits") or []:
        limit = Limit(
            state.new_id(),
            row.get("project_id"),
            row.get("domain_id"),
            str(row.get("service_id")),
            row.get("region_id"),
            str(row.get("resource_name")),
            _number(row.get("resource_limit"), "resource_limit"),
            row.get("description"),
        )
        if (limit.project_id is None) == (limit.domain_id is None):
            raise ApiError(400, "Exactly one of project_id and domain_id must be given.")
        if limit.project_id is not None and limit.project_id not in state.projects:
            raise ApiError(400, f"Could not find project: {limit.project_id}.")
        if _key(limit) not in registered:
            raise ApiError(403, "Unable to create a limit that has no corresponding registered limit.")
        key = (*_key(limit), limit.project_id, limit.domain_id)
        if key in taken:
            raise ApiError(409, "Conflict occurred attempting to store limit - Duplicate entry.")
        taken.add(key)
        made.append(limit)
    state.limits.update({limit.id: limit for limit in made})
    return Response({"limits": [_limit_json(request, limit) for limit in made]}, 201)


def update_limit(request: Request, limit_id: str) -> Response:
    """PATCH /v3/limits/{id}: its value and description."""
    require_identity_admin(request, "identity:update_limit")
    limit = _limit(request, limit_id)
    changes = request.json().get("limit") or {}
    if "resource_limit" in changes:
        limit.resource_limit = _number(changes["resource_limit"], "resource_limit")
    if "description" in changes:
        limit.description = changes["description"]
    return Response({"limit": _limit_json(request, limit)})


def delete_limit(request: Request, limit_id: str) -> Response:
    """DELETE /v3/limits/{id}: the registered default holds again."""
    require_identity_admin(request, "identity:delete_limit")
    _limit(request, limit_id)
    del request.state.limits[limit_id]
    return Response(status=204)
