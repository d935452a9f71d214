"""Keystone v3 of the embedded cloud: tokens and their scopes, the catalogue, projects, roles."""

from __future__ import annotations

import secrets
from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response, Router
from vgpu_console.simulator.keystone_limits import add_limit_routes
from vgpu_console.simulator.policies import require_system_or_project_reader
from vgpu_console.simulator.state import REGION, Endpoint, Project, Service, State, Token, User, iso_micro

_UNAUTHORIZED = "The request you have made requires authentication."


def version_document(base: str) -> dict[str, Any]:
    """Keystone's description of its v3 API."""
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def build_router() -> Router:
    """All routes below ``/identity``."""
    router = Router()
    for path in ("", "/"):
        router.add("GET", path, lambda r: Response({"versions": {"values": [version_document(r.base)]}}, 300))
    router.add("GET", "/v3", lambda r: Response({"version": version_document(r.base)}))
    router.add("POST", "/v3/auth/tokens", issue)
    router.add("GET", "/v3/auth/tokens", validate)
    router.add("DELETE", "/v3/auth/tokens", revoke)
    router.add("GET", "/v3/auth/catalog", lambda r: Response({"catalog": catalog(r.state, r.base), "links": {}}))
    router.add("GET", "/v3/auth/projects", own_projects)
    router.add("GET", "/v3/auth/domains", lambda r: _list(r, "domains", []))
    router.add("GET", "/v3/auth/system", own_system)
    router.add("GET", "/v3/projects", list_projects)
    router.add("GET", "/v3/projects/{project_id}", show_project)
    router.add("GET", "/v3/domains", list_domains)
    router.add("GET", "/v3/domains/{domain_id}", show_domain)
    router.add("GET", "/v3/users", list_users)
    router.add("GET", "/v3/users/{user_id}", show_user)
    router.add("GET", "/v3/roles", list_roles)
    router.add("GET", "/v3/role_assignments", list_role_assignments)
    router.add("GET", "/v3/services", list_services)
    router.add("GET", "/v3/endpoints", list_endpoints)
    router.add(
        "GET",
        "/v3/regions",
        lambda r: _list(r, "regions", [{"id": REGION, "description": "", "parent_region_id": None}]),
    )
    add_limit_routes(router)
    return router


def authenticate(request: Request) -> None:
    """Put the request's token on it. Raises ApiError 401."""
    token = request.state.tokens.get(request.headers.get("x-auth-token", ""))
    if token is None or token.expires <= request.state.now:
        raise ApiError(401, _UNAUTHORIZED)
    request.token = token


def _stamp(moment: float) -> str:
    return iso_micro(moment) + "Z"


def issue(request: Request) -> Response:
    """POST /v3/auth/tokens: by password or by an earlier token, for any scope."""
    state = request.state
    auth = request.json().get("auth") or {}
    identity = auth.get("identity") or {}
    methods = identity.get("methods") or []
    if "password" in methods:
        user = _user_by_password(state, (identity.get("password") or {}).get("user") or {})
    elif "token" in methods:
        earlier = state.tokens.get((identity.get("token") or {}).get("id", ""))
        user = earlier.user if earlier and earlier.expires > state.now else None
    else:
        raise ApiError(401, _UNAUTHORIZED)
    if user is None:
        raise ApiError(401, _UNAUTHORIZED)
    scope = _scope(state, user, auth.get("scope"))
    roles = user.roles.get(scope, ()) if scope else ()
    if scope and not roles:
        raise ApiError(401, _UNAUTHORIZED)
    token = Token(secrets.token_urlsafe(48), user, scope, roles, state.now, state.now + state.token_life_s)
    for old in [t for t, known in state.tokens.items() if known.expires <= state.now]:
        del state.tokens[old]
    state.tokens[token.id] = token
    return Response({"token": _token_json(state, token, request.base)}, 201, {"X-Subject-Token": token.id})


def _user_by_password(state: State, asked: dict[str, Any]) -> User | None:
    domain = asked.get("domain") or {}
    for user in state.users.values():
        same = asked.get("id") == user.id or (
            asked.get("name") == user.name
            and user.domain_id in (domain.get("id"), _domain_id(state, domain.get("name")))
        )
        if same and secrets.compare_digest(str(asked.get("password", "")).encode(), user.password.encode()):
            return user
    return None


def _domain_id(state: State, name: str | None) -> str | None:
    return next((domain.id for domain in state.domains.values() if domain.name == name), None)


def _scope(state: State, user: User, asked: Any) -> tuple[str, str] | None:
    if asked == "unscoped" or not asked:
        return None
    if "system" in asked:
        return ("system", "all")
    if "domain" in asked:
        domain = asked["domain"]
        return ("domain", domain.get("id") or _domain_id(state, domain.get("name")) or "")
    project = asked.get("project") or {}
    if "id" in project:
        if project["id"] not in state.projects:
            raise ApiError(401, _UNAUTHORIZED)
        return ("project", project["id"])
    domain = project.get("domain") or {}
    domain_id = domain.get("id") or _domain_id(state, domain.get("name"))
    for known in state.projects.values():
        if known.name == project.get("name") and known.domain_id == domain_id and known.enabled:
            return ("project", known.id)
    raise ApiError(401, _UNAUTHORIZED)


def catalog(state: State, base: str) -> list[dict[str, Any]]:
    """The service catalogue with URLs below the base that the client used."""
    return [
        {
            "id": service.id,
            "type": service.type,
            "name": service.name,
            "endpoints": [
                {
                    "id": endpoint.id,
                    "interface": endpoint.interface,
                    "region": endpoint.region_id,
                    "region_id": endpoint.region_id,
                    "url": base + service.path,
                }
                for endpoint in state.endpoints.values()
                if endpoint.service_id == service.id
            ],
        }
        for service in state.services.values()
    ]


def _token_json(state: State, token: Token, base: str) -> dict[str, Any]:
    domain = state.domains[token.user.domain_id]
    body: dict[str, Any] = {
        "methods": ["password"],
        "user": {
            "id": token.user.id,
            "name": token.user.name,
            "domain": {"id": domain.id, "name": domain.name},
            "password_expires_at": None,
        },
        "audit_ids": [token.id[:22]],
        "issued_at": _stamp(token.issued),
        "expires_at": _stamp(token.expires),
    }
    if token.scope is None:
        return body
    kind, scope_id = token.scope
    body["roles"] = [{"id": _role_id(name), "name": name} for name in token.roles]
    body["catalog"] = catalog(state, base)
    if kind == "project":
        project = state.projects[scope_id]
        owner = state.domains[project.domain_id]
        body["project"] = {
            "id": project.id,
            "name": project.name,
            "domain": {"id": owner.id, "name": owner.name},
        }
        body["is_domain"] = False
    elif kind == "system":
        body["system"] = {"all": True}
    else:
        body["domain"] = {"id": scope_id, "name": state.domains[scope_id].name}
    return body


def _role_id(name: str) -> str:
    return (name.encode().hex() + "0" * 32)[:32]


def validate(request: Request) -> Response:
    """GET /v3/auth/tokens: what a token stands for."""
    token = request.state.tokens.get(request.headers.get("x-subject-token", ""))
    if token is None or token.expires <= request.state.now:
        raise ApiError(404, "Could not find token.")
    return Response({"token": _token_json(request.state, token, request.base)}, 200, {"X-Subject-Token": token.id})


def revoke(request: Request) -> Response:
    """DELETE /v3/auth/tokens."""
    if request.state.tokens.pop(request.headers.get("x-subject-token", ""), None) is None:
        raise ApiError(404, "Could not find token.")
    return Response(status=204)


def _list(request: Request, name: str, rows: list[dict[str, Any]]) -> Response:
    links = {"next": None, "self": f"{request.base}/identity{request.path}", "previous": None}
    return Response({name: rows, "links": links})


def _project_json(request: Request, project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": project.domain_id,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": project.domain_id,
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{request.base}/identity/v3/projects/{project.id}"},
    }


def list_projects(request: Request) -> Response:
    """GET /v3/projects with the filters name, domain_id, enabled."""
    require_system_or_project_reader(request, "identity:list_projects")
    name, domain_id = request.one("name"), request.one("domain_id")
    rows = [
        _project_json(request, project)
        for project in request.state.projects.values()
        if (name is None or project.name == name) and (domain_id is None or project.domain_id == domain_id)
    ]
    return _list(request, "projects", rows)


def show_project(request: Request, project_id: str) -> Response:
    """GET /v3/projects/{id}: one's own, or any for an administrator."""
    project = request.state.projects.get(project_id)
    if request.token is None or request.token.project_id != project_id:
        require_system_or_project_reader(request, "identity:get_project")
    if project is None:
        raise ApiError(404, f"Could not find project: {project_id}.")
    return Response({"project": _project_json(request, project)})


def own_projects(request: Request) -> Response:
    """GET /v3/auth/projects: what this user can scope to."""
    mine = {scope_id for kind, scope_id in request.who().user.roles if kind == "project"}
    rows = [_project_json(request, project) for project in request.state.projects.values() if project.id in mine]
    return _list(request, "projects", rows)


def own_system(request: Request) -> Response:
    """GET /v3/auth/system."""
    rows: list[dict[str, Any]] = [{"all": True}] if ("system", "all") in request.who().user.roles else []
    return _list(request, "system", rows)


def _domain_json(request: Request, domain_id: str) -> dict[str, Any]:
    domain = request.state.domains.get(domain_id)
    if domain is None:
        raise ApiError(404, f"Could not find domain: {domain_id}.")
    links = {"self": f"{request.base}/identity/v3/domains/{domain.id}"}
    return {
        "id": domain.id,
        "name": domain.name,
        "description": "",
        "enabled": True,
        "tags": [],
        "options": {},
        "links": links,
    }


def list_domains(request: Request) -> Response:
    """GET /v3/domains."""
    require_system_or_project_reader(request, "identity:list_domains")
    name = request.one("name")
    rows = [_domain_json(request, d.id) for d in request.state.domains.values() if name in (None, d.name)]
    return _list(request, "domains", rows)


def show_domain(request: Request, domain_id: str) -> Response:
    """GET /v3/domains/{id}."""
    require_system_or_project_reader(request, "identity:get_domain")
    return Response({"domain": _domain_json(request, domain_id)})


def _user_json(request: Request, user: User) -> dict[str, Any]:
    links = {"self": f"{request.base}/identity/v3/users/{user.id}"}
    return {
        "id": user.id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": True,
        "options": {},
        "links": links,
    }


def list_users(request: Request) -> Response:
    """GET /v3/users."""
    require_system_or_project_reader(request, "identity:list_users")
    name = request.one("name")
    rows = [_user_json(request, user) for user in request.state.users.values() if name in (None, user.name)]
    return _list(request, "users", rows)


def show_user(request: Request, user_id: str) -> Response:
    """GET /v3/users/{id}: oneself, or anyone for an administrator."""
    if request.token is None or request.token.user.id != user_id:
        require_system_or_project_reader(request, "identity:get_user")
    if user_id not in request.state.users:
        raise ApiError(404, f"Could not find user: {user_id}.")
    return Response({"user": _user_json(request, request.state.users[user_id])})


def list_roles(request: Request) -> Response:
    """GET /v3/roles."""
    require_system_or_project_reader(request, "identity:list_roles")
    rows = [{"id": _role_id(n), "name": n, "domain_id": None} for n in ("admin", "manager", "member", "reader")]
    return _list(request, "roles", rows)


def list_role_assignments(request: Request) -> Response:
    """GET /v3/role_assignments with the filters user.id, scope.project.id and scope.system, and include_names."""
    require_system_or_project_reader(request, "identity:list_role_assignments")
    user_id, project_id = request.one("user.id"), request.one("scope.project.id")
    system, names = request.one("scope.system"), request.flag("include_names")
    rows: list[dict[str, Any]] = []
    for user in request.state.users.values():
        if user_id not in (None, user.id):
            continue
        for (kind, scope_id), roles in user.roles.items():
            if project_id is not None and (kind, scope_id) != ("project", project_id):
                continue
            if system is not None and kind != "system":
                continue
            who: dict[str, Any] = {"id": user.id}
            if names:
                domain = request.state.domains[user.domain_id].name
                who |= {"name": user.name, "domain": {"id": user.domain_id, "name": domain}}
            scope: dict[str, Any] = {"system": {"all": True}} if kind == "system" else {kind: {"id": scope_id}}
            rows += [{"role": {"id": _role_id(n), "name": n}, "user": who, "scope": scope} for n in roles]
    return _list(request, "role_assignments", rows)


def _service_json(request: Request, service: Service) -> dict[str, Any]:
    links = {"self": f"{request.base}/identity/v3/services/{service.id}"}
    return {
        "id": service.id,
        "type": service.type,
        "name": service.name,
        "description": "",
        "enabled": True,
        "links": links,
    }


def list_services(request: Request) -> Response:
    """GET /v3/services with the filters name and type."""
    require_system_or_project_reader(request, "identity:list_services")
    name, kind = request.one("name"), request.one("type")
    rows = [
        _service_json(request, service)
        for service in request.state.services.values()
        if name in (None, service.name) and kind in (None, service.type)
    ]
    return _list(request, "services", rows)


def _endpoint_json(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "interface": endpoint.interface,
        "region_id": endpoint.region_id,
        "region": endpoint.region_id,
        "service_id": endpoint.service_id,
        "url": request.base + request.state.services[endpoint.service_id].path,
        "enabled": True,
        "links": {"self": f"{request.base}/identity/v3/endpoints/{endpoint.id}"},
    }


def list_endpoints(request: Request) -> Response:
    """GET /v3/endpoints with the filters service_id, interface and region_id."""
    require_system_or_project_reader(request, "identity:list_endpoints")
    wanted = {name: request.one(name) for name in ("service_id", "interface", "region_id")}
    rows = [
        _endpoint_json(request, endpoint)
        for endpoint in request.state.endpoints.values()
        if all(value in (None, getattr(endpoint, name)) for name, value in wanted.items())
    ]
    return _list(request, "endpoints", rows)
