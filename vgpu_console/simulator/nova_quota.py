"""The embedded Nova's older view of quota: ``/limits``, ``/os-quota-sets``, ``/os-quota-class-sets``. Never vGPUs.

With the unified driver these calls translate Keystone's limits, 0 where none is registered; with the database driver
they show Nova's own quota, which unified limits know nothing of.
"""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response, Router
from vgpu_console.simulator.policies import is_admin, require_compute_admin

UNIFIED_NAMES = {
    "instances": "servers",
    "cores": "class:VCPU",
    "ram": "class:MEMORY_MB",
    "metadata_items": "server_metadata_items",
    "injected_files": "server_injected_files",
    "injected_file_content_bytes": "server_injected_file_content_bytes",
    "injected_file_path_bytes": "server_injected_file_path_bytes",
    "key_pairs": "server_key_pairs",
    "server_groups": "server_groups",
    "server_group_members": "server_group_members",
}
_COUNTED_IN_PLACEMENT = ("instances", "cores", "ram")
_NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_INJECTED = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")


def add_quota_routes(router: Router) -> None:
    """Routes of the older quota calls."""
    router.add("GET", "/v2.1/limits", show_limits)
    router.add("GET", "/v2.1/os-quota-class-sets/{name}", show_class_set)
    router.add("GET", "/v2.1/os-quota-sets/{project_id}", show_quota_set)
    router.add("GET", "/v2.1/os-quota-sets/{project_id}/defaults", show_defaults)
    router.add("GET", "/v2.1/os-quota-sets/{project_id}/detail", show_detail)


def _defaults(request: Request) -> dict[str, int]:
    state = request.state
    if state.quota_driver == "unified":
        return {legacy: state.limit_of("", name)[0] for legacy, name in UNIFIED_NAMES.items()}
    return dict(state.legacy_defaults)


def _quota(request: Request, project_id: str) -> dict[str, int]:
    """A project's: with the unified driver, only what Placement counts follows the project's own limits."""
    state = request.state
    quota = _defaults(request)
    if state.quota_driver == "unified":
        own = {name: state.limit_of(project_id, UNIFIED_NAMES[name])[0] for name in _COUNTED_IN_PLACEMENT}
        return quota | own
    return quota | state.legacy_quotas.get(project_id, {})


def _used(request: Request, project_id: str) -> dict[str, int]:
    usage = request.state.placement.usages.get(project_id, {})
    servers = sum(1 for s in request.state.servers.values() if s.project_id == project_id and s.deleted is None)
    return {"instances": servers, "cores": usage.get("VCPU", 0), "ram": usage.get("MEMORY_MB", 0)}


def _spoken(
    request: Request, quota: dict[str, Any], *, no_network: tuple[int, int], groups: bool, none: Any = -1
) -> dict[str, Any]:
    """What a microversion says of it: without networks from one on, and without injected files from 2.57 on."""
    network: dict[str, Any] = dict.fromkeys(_NETWORK, none) if request.version < no_network else {}
    return network | {
        name: value
        for name, value in quota.items()
        if not (name in _INJECTED and request.version >= (2, 57)) and (groups or not name.startswith("server_group"))
    }


def _require_reader(request: Request, project_id: str, rule: str) -> None:
    """A reader of that project, or an admin; and the project must exist (nova: api/openstack/identity.py)."""
    if not is_admin(request) and (request.token is None or request.token.project_id != project_id):
        raise ApiError(403, f"Policy doesn't allow os_compute_api:os-quota-sets:{rule} to be performed.")
    if project_id not in request.state.projects:
        raise ApiError(400, f"Project ID {project_id} is not a valid project.")


def show_limits(request: Request) -> Response:
    """GET /limits: the legacy view, which never shows vGPUs."""
    project_id = request.one("tenant_id") or request.who().project_id or ""
    quota, used = _quota(request, project_id), _used(request, project_id)
    absolute = {
        "maxTotalInstances": quota["instances"],
        "maxTotalCores": quota["cores"],
        "maxTotalRAMSize": quota["ram"],
        "totalInstancesUsed": used["instances"],
        "totalCoresUsed": used["cores"],
        "totalRAMUsed": used["ram"],
    }
    return Response({"limits": {"rate": [], "absolute": absolute}})


def show_class_set(request: Request, name: str) -> Response:
    """GET /os-quota-class-sets/{class}: only ``default`` means anything."""
    require_compute_admin(request, "os_compute_api:os-quota-class-sets:show")
    quota = _spoken(request, _defaults(request), no_network=(2, 50), groups=request.version >= (2, 50))
    return Response({"quota_class_set": {"id": name, **quota}})


def show_quota_set(request: Request, project_id: str) -> Response:
    """GET /os-quota-sets/{project}."""
    _require_reader(request, project_id, "show")
    quota = _spoken(request, _quota(request, project_id), no_network=(2, 36), groups=True)
    return Response({"quota_set": {"id": project_id, **quota}})


def show_defaults(request: Request, project_id: str) -> Response:
    """GET /os-quota-sets/{project}/defaults: for anybody."""
    quota = _spoken(request, _defaults(request), no_network=(2, 36), groups=True)
    return Response({"quota_set": {"id": project_id, **quota}})


def show_detail(request: Request, project_id: str) -> Response:
    """GET /os-quota-sets/{project}/detail: limits with what is used."""
    _require_reader(request, project_id, "detail")
    used = _used(request, project_id)
    quota = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in _quota(request, project_id).items()
    }
    none = {"limit": -1, "in_use": 0, "reserved": 0}
    quota = _spoken(request, quota, no_network=(2, 36), groups=True, none=none)
    return Response({"quota_set": {"id": project_id, **quota}})
