"""Who may do what in the embedded cloud: default policies of Keystone, Nova and Placement, as far as needed here."""

from __future__ import annotations

from vgpu_console.simulator.http_base import ApiError, Request


def require_system_or_project_reader(request: Request, rule: str) -> None:
    """Keystone's lists: an admin of any scope, or a reader of the system. Raises ApiError 403."""
    token = request.token
    if token is not None and ("admin" in token.roles or (token.system and "reader" in token.roles)):
        return
    raise ApiError(403, f"You are not authorized to perform the requested action: {rule}.")


def require_identity_admin(request: Request, rule: str) -> None:
    """Keystone's changes: an admin. Raises ApiError 403."""
    if "admin" not in request.roles():
        raise ApiError(403, f"You are not authorized to perform the requested action: {rule}.")


def require_project_scope(request: Request) -> None:
    """Nova takes no token but a project's. Raises ApiError 403 for any other."""
    if request.token is None or request.token.project_id is None:
        raise ApiError(403, "Policy doesn't allow os_compute_api to be performed with a token of this scope.")


def require_compute_admin(request: Request, rule: str) -> None:
    """Nova's administrative calls. Raises ApiError 403."""
    if "admin" not in request.roles():
        raise ApiError(403, f"Policy doesn't allow {rule} to be performed.")


def require_compute_manager(request: Request, rule: str) -> None:
    """Nova's calls for a project's manager (migrations of own servers). Raises ApiError 403."""
    if not {"admin", "manager"} & set(request.roles()):
        raise ApiError(403, f"Policy doesn't allow {rule} to be performed.")


def require_member(request: Request, rule: str) -> None:
    """Nova's changes in one's own project. Raises ApiError 403."""
    if not {"admin", "manager", "member"} & set(request.roles()):
        raise ApiError(403, f"Policy doesn't allow {rule} to be performed.")


def is_admin(request: Request) -> bool:
    """Whether the token has the admin role."""
    return "admin" in request.roles()


def require_placement_admin(request: Request, rule: str) -> None:
    """Placement's calls: role admin or service, in a project. Raises ApiError 403."""
    token = request.token
    if token is None or token.project_id is None or not {"admin", "service"} & set(token.roles):
        raise ApiError(403, f"{rule} is disallowed by policy")
