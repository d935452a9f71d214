"""Nova's servers in the embedded cloud: lists, details, boots, deletes, actions."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from vgpu_console.simulator.compute import OverQuota
from vgpu_console.simulator.http_base import ApiError, Request, Response
from vgpu_console.simulator.migrating import CannotMigrate
from vgpu_console.simulator.nova_common import MAX_PAGE, Nova, moment, page_links
from vgpu_console.simulator.policies import is_admin, require_compute_admin, require_compute_manager, require_member
from vgpu_console.simulator.state import Flavor, Server, iso, iso_micro

_PROGRESS_STATUSES = ("ACTIVE", "BUILD", "DELETED", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")


def find_server(request: Request, server_id: str) -> Server:
    """The server, if it exists and this token may see it. Raises ApiError 404."""
    server = request.state.servers.get(server_id)
    visible = server is not None and server.deleted is None
    if visible and not is_admin(request):
        visible = request.token is not None and server is not None and server.project_id == request.token.project_id
    if not visible or server is None:
        raise ApiError(404, f"Instance {server_id} could not be found.")
    return server


def embedded_flavor(flavor: Flavor) -> dict[str, Any]:
    """The flavor inside a server (2.47 and later)."""
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mib,
        "disk": flavor.disk_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": flavor.extra_specs,
    }


def server_json(request: Request, server: Server) -> dict[str, Any]:
    """A server in detail, as this microversion and this role see it."""
    version = request.version
    href = f"{request.base}/compute/v2.1/servers/{server.id}"
    body: dict[str, Any] = {
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": _host_id(server),
        "image": "",
        "flavor": embedded_flavor(server.flavor) if version >= (2, 47) else _flavor_link(request, server.flavor),
        "created": iso(server.created),
        "updated": iso(server.updated),
        "addresses": {},
        "accessIPv4": "",
        "accessIPv6": "",
        "links": [
            {"rel": "self", "href": href},
            {"rel": "bookmark", "href": href.replace("/v2.1", "")},
        ],
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": _zone(request, server),
        "config_drive": "",
        "key_name": None,
        "OS-SRV-USG:launched_at": iso_micro(server.launched) if server.launched else None,
        "OS-SRV-USG:terminated_at": iso_micro(server.deleted) if server.deleted else None,
        "security_groups": [{"name": "default"}],
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
    }
    if server.status in _PROGRESS_STATUSES:
        body["progress"] = server.progress
    if server.fault is not None and server.status in ("ERROR", "DELETED"):
        body["fault"] = {
            "code": server.fault_code,
            "created": iso(server.fault_at or server.updated),
            "message": server.fault,
        }
    if version >= (2, 9):
        body["locked"] = server.locked
    if version >= (2, 19):
        body["description"] = server.description
    if version >= (2, 26):
        body["tags"] = []
    if version >= (2, 63):
        body["trusted_image_certificates"] = None
    if version >= (2, 71):
        body["server_groups"] = []
    if version >= (2, 73):
        body["locked_reason"] = None
    if version >= (2, 96):
        body["pinned_availability_zone"] = server.pinned_zone
    if is_admin(request):
        host = request.state.hosts.get(server.host or "")
        body["OS-EXT-SRV-ATTR:host"] = server.host
        body["OS-EXT-SRV-ATTR:hypervisor_hostname"] = server.host
        body["OS-EXT-SRV-ATTR:instance_name"] = server.instance_name
        if version >= (2, 3):
            body["OS-EXT-SRV-ATTR:hostname"] = re.sub(r"[^a-z0-9-]+", "-", server.name.lower()).strip("-") or "server"
            body["OS-EXT-SRV-ATTR:root_device_name"] = "/dev/vda"
            body["OS-EXT-SRV-ATTR:reservation_id"] = f"r-{server.id[:8]}"
            body["OS-EXT-SRV-ATTR:launch_index"] = 0
        if version >= (2, 16):
            status = (
                "" if host is None else "DOWN" if not host.up else "MAINTENANCE" if host.status != "enabled" else "UP"
            )
            body["host_status"] = status
    return body


def _zone(request: Request, server: Server) -> str:
    host = request.state.hosts.get(server.host or "")
    return host.zone if host is not None else ""


def _host_id(server: Server) -> str:
    if not server.host:
        return ""
    return hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest()


def _flavor_link(request: Request, flavor: Flavor) -> dict[str, Any]:
    href = f"{request.base}/compute/flavors/{flavor.id}"
    return {"id": flavor.id, "links": [{"rel": "bookmark", "href": href}]}


def _selected(request: Request) -> list[Server]:
    """The servers a list request asks for, newest first."""
    query = request.query
    every = request.flag("all_tenants") or ("all_tenants" in query and request.one("all_tenants") == "")
    if every:
        require_compute_admin(request, "os_compute_api:servers:detail:get_all_tenants")
    project = request.one("project_id") or request.one("tenant_id") if every else request.who().project_id
    host, status, name = request.one("host"), request.one("status"), request.one("name")
    if host is not None and not is_admin(request):
        host = None  # Nova drops filters that a role may not use
    changed = moment(request, "changes-since")
    changed_before = moment(request, "changes-before") if request.version >= (2, 66) else None
    deleted = request.flag("deleted") and is_admin(request)
    user = request.one("user_id")
    try:
        pattern = re.compile(name) if name else None
    except re.error as error:
        raise ApiError(400, f"Invalid regular expression for name: {error}") from error
    rows = []
    for server in request.state.servers.values():
        if changed is None:
            if (server.deleted is not None) != deleted:
                continue
        elif int(server.updated) < changed:
            continue
        if (
            (project is not None and server.project_id != project)
            or (host is not None and server.host != host)
            or (status is not None and server.status != status.upper())
            or (user is not None and server.user_id != user)
            or (changed_before is not None and int(server.updated) > changed_before)
            or (pattern is not None and not pattern.search(server.name))
        ):
            continue
        rows.append(server)
    rows.reverse()
    return rows


def list_servers(request: Request, *, detail: bool) -> Response:
    """GET /servers and /servers/detail with limit and marker."""
    rows = _selected(request)
    marker = request.one("marker")
    if marker is not None:
        at = next((index for index, server in enumerate(rows) if server.id == marker), None)
        if at is None:
            raise ApiError(400, f"marker [{marker}] not found")
        rows = rows[at + 1 :]
    limit = request.number("limit")
    size = min(MAX_PAGE, limit) if limit else MAX_PAGE
    page, more = rows[:size], len(rows) > size or (limit is not None and len(rows) >= size > 0)
    if detail:
        body: dict[str, Any] = {"servers": [server_json(request, server) for server in page]}
    else:
        body = {
            "servers": [
                {
                    "id": server.id,
                    "name": server.name,
                    "links": [{"rel": "self", "href": f"{request.base}/compute/v2.1/servers/{server.id}"}],
                }
                for server in page
            ]
        }
    if page and more:
        body["servers_links"] = page_links(request, page[-1].id)
    return Response(body)


class ServerCalls:
    """The calls on servers that change something or need Nova's inner workings."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova

    def create(self, request: Request) -> Response:
        """POST /servers: quota, then scheduling and building over the next seconds."""
        require_member(request, "os_compute_api:servers:create")
        asked = request.json().get("server") or {}
        flavor = request.state.flavors.get(str(asked.get("flavorRef", "")).rsplit("/", 1)[-1])
        name = asked.get("name")
        if flavor is None:
            raise ApiError(400, f"Flavor {asked.get('flavorRef')} could not be found.")
        if not isinstance(name, str) or not name.strip() or len(name) > 255:
            raise ApiError(400, "Invalid input for field/attribute name.")
        count = int(asked.get("max_count", asked.get("min_count", 1)))
        host = asked.get("host")
        if host is not None:
            require_compute_admin(request, "compute:servers:create:requested_destination")
            if host not in request.state.hosts:
                raise ApiError(400, f"Compute host {host} could not be found.")
        project_id = request.who().project_id or ""
        try:
            self.nova.compute.check_quota(project_id, flavor, count)
        except OverQuota as over:
            raise ApiError(403, str(over)) from over
        made = []
        for index in range(count):
            title = f"{name}-{index + 1}" if count > 1 else name
            server = self.nova.compute.new_server(title, project_id, request.who().user.id, flavor)
            server.description = asked.get("description")
            server.metadata = dict(asked.get("metadata") or {})
            self.nova.compute.boot(server, host)
            made.append(server)
        href = f"{request.base}/compute/v2.1/servers/{made[0].id}"
        body = {
            "id": made[0].id,
            "links": [{"rel": "self", "href": href}],
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": "default"}],
            "adminPass": "",
        }
        return Response({"server": body}, 202, {"Location": href})

    def delete(self, request: Request, server_id: str) -> Response:
        """DELETE /servers/{id}."""
        require_member(request, "os_compute_api:servers:delete")
        server = find_server(request, server_id)
        self.nova.compute.act(server, "delete", request.token.user.id if request.token else None)
        self.nova.compute.delete(server)
        return Response(status=204)

    def action(self, request: Request, server_id: str) -> Response:
        """POST /servers/{id}/action: os-migrateLive, resize, migrate, confirmResize, revertResize and os-resetState."""
        body = request.json()
        server = find_server(request, server_id)
        if "os-migrateLive" in body:
            return self._migrate_live(request, server, body["os-migrateLive"] or {})
        for call, begin in (
            ("resize", self._resize),
            ("migrate", self._migrate_cold),
            ("confirmResize", self._confirm),
            ("revertResize", self._revert),
        ):
            if call in body:
                try:
                    begin(request, server, body[call] or {})
                except CannotMigrate as refused:
                    raise ApiError(refused.status, str(refused)) from refused
                return Response(status=204 if call == "confirmResize" else 202)
        if "os-resetState" in body:
            require_compute_admin(request, "os_compute_api:os-admin-actions:reset_state")
            state = (body["os-resetState"] or {}).get("state")
            if state not in ("active", "error"):
                raise ApiError(400, f"Invalid input for field/attribute state. Value: {state}.")
            active = state == "active"
            self.nova.compute.set(server, "ACTIVE" if active else "ERROR", "active" if active else "error", None)
            return Response(status=202)
        raise ApiError(400, f"There is no such action: {next(iter(body), '')}")

    def _migrate_live(self, request: Request, server: Server, asked: dict[str, Any]) -> Response:
        require_compute_manager(request, "os_compute_api:os-migrate-server:migrate_live")
        host = asked.get("host")
        if host is not None:
            require_compute_admin(request, "os_compute_api:os-migrate-server:migrate_live:host")
        if "force" in asked and request.version >= (2, 68):
            raise ApiError(400, "Additional properties are not allowed ('force' was unexpected)")
        try:
            who, wait = request.who(), request.version < (2, 34)
            self.nova.migrations.start(server, host, who.user.id, who.project_id, wait=wait)
        except CannotMigrate as refused:
            raise ApiError(refused.status, str(refused)) from refused
        return Response(status=202)

    def _resize(self, request: Request, server: Server, asked: dict[str, Any]) -> None:
        flavor = request.state.flavors.get(str(asked.get("flavorRef") or ""))
        if flavor is None:
            raise ApiError(400, "Unable to locate requested flavor.")
        if flavor is server.flavor:
            raise ApiError(400, "When resizing, instances must change flavor!")
        who = request.who()
        self.nova.resizes.start(server, flavor, who.user.id, who.project_id)

    def _migrate_cold(self, request: Request, server: Server, _asked: dict[str, Any]) -> None:
        require_compute_manager(request, "os_compute_api:os-migrate-server:migrate")
        who = request.who()
        self.nova.resizes.start(server, None, who.user.id, who.project_id)

    def _confirm(self, _request: Request, server: Server, _asked: dict[str, Any]) -> None:
        self.nova.resizes.confirm(server)

    def _revert(self, _request: Request, server: Server, _asked: dict[str, Any]) -> None:
        self.nova.resizes.revert(server)

    def actions(self, request: Request, server_id: str) -> Response:
        """GET /servers/{id}/os-instance-actions, newest first."""
        server = find_server(request, server_id)
        rows = [self._action_json(request, server, index) for index in range(len(server.actions) - 1, -1, -1)]
        return Response({"instanceActions": rows})

    def show_action(self, request: Request, server_id: str, request_id: str) -> Response:
        """GET /servers/{id}/os-instance-actions/{request id}, with its events."""
        server = find_server(request, server_id)
        for index, action in enumerate(server.actions):
            if action.request_id == request_id:
                body = self._action_json(request, server, index)
                body["events"] = []
                for event in action.events:
                    row: dict[str, Any] = {
                        "event": event.event,
                        "start_time": iso_micro(event.start),
                        "finish_time": iso_micro(event.finish) if event.finish else None,
                        "result": event.result,
                        "traceback": None,
                        "hostId": "",
                    }
                    if is_admin(request):
                        row["host"] = event.host
                        if request.version >= (2, 84):
                            row["details"] = event.details
                    body["events"].append(row)
                return Response({"instanceAction": body})
        raise ApiError(404, f"Action for request_id {request_id} on instance {server_id} not found")

    def _action_json(self, request: Request, server: Server, index: int) -> dict[str, Any]:
        action = server.actions[index]
        body: dict[str, Any] = {
            "action": action.action,
            "instance_uuid": server.id,
            "request_id": action.request_id,
            "user_id": action.user_id,
            "project_id": action.project_id,
            "start_time": iso_micro(action.start),
            "message": action.message,
        }
        if request.version >= (2, 58):
            body["updated_at"] = iso_micro(action.updated)
        return body


def show_server(request: Request, server_id: str) -> Response:
    """GET /servers/{id}."""
    return Response({"server": server_json(request, find_server(request, server_id))})
