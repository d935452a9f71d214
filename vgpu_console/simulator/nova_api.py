"""Nova of the embedded cloud: versions, services, hypervisors, flavors; the rest is beside."""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.hosts import Host
from vgpu_console.simulator.http_base import ApiError, Request, Response, Router
from vgpu_console.simulator.nova_common import MAX_PAGE, Nova, page_links
from vgpu_console.simulator.nova_migrations import (
    MigrationCalls,
    list_migrations,
    server_migrations,
    show_server_migration,
)
from vgpu_console.simulator.nova_quota import add_quota_routes
from vgpu_console.simulator.nova_servers import ServerCalls, list_servers, show_server
from vgpu_console.simulator.policies import require_compute_admin
from vgpu_console.simulator.state import Aggregate, Flavor, State, iso_micro

REPORT_INTERVAL_S = 10.0


def version_document(state: State, base: str) -> dict[str, Any]:
    """Nova's description of its v2.1 API."""
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"{state.compute_max[0]}.{state.compute_max[1]}",
        "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{base}/compute/v2.1/"}],
    }


def build_router(nova: Nova) -> Router:
    """All routes below ``/compute``."""
    router = Router()
    servers = ServerCalls(nova)
    calls = MigrationCalls(nova)
    for path in ("", "/"):
        router.add("GET", path, lambda r: Response({"versions": [version_document(r.state, r.base)]}))
    router.add("GET", "/v2.1", lambda r: Response({"version": version_document(r.state, r.base)}))
    router.add("GET", "/v2.1/servers", lambda r: list_servers(r, detail=False))
    router.add("GET", "/v2.1/servers/detail", lambda r: list_servers(r, detail=True))
    router.add("POST", "/v2.1/servers", servers.create)
    router.add("GET", "/v2.1/servers/{server_id}", show_server)
    router.add("DELETE", "/v2.1/servers/{server_id}", servers.delete)
    router.add("POST", "/v2.1/servers/{server_id}/action", servers.action)
    router.add("GET", "/v2.1/servers/{server_id}/os-instance-actions", servers.actions)
    router.add("GET", "/v2.1/servers/{server_id}/os-instance-actions/{request_id}", servers.show_action)
    router.add("GET", "/v2.1/servers/{server_id}/migrations", server_migrations)
    router.add("GET", "/v2.1/servers/{server_id}/migrations/{migration_id}", show_server_migration)
    router.add("DELETE", "/v2.1/servers/{server_id}/migrations/{migration_id}", calls.abort)
    router.add("POST", "/v2.1/servers/{server_id}/migrations/{migration_id}/action", calls.force_complete)
    router.add("GET", "/v2.1/os-migrations", list_migrations)
    router.add("GET", "/v2.1/os-services", list_services)
    router.add("PUT", "/v2.1/os-services/{service_id}", update_service)
    router.add("GET", "/v2.1/os-hypervisors", lambda r: list_hypervisors(r, detail=False))
    router.add("GET", "/v2.1/os-hypervisors/detail", lambda r: list_hypervisors(r, detail=True))
    router.add("GET", "/v2.1/os-hypervisors/{hypervisor_id}", show_hypervisor)
    router.add("GET", "/v2.1/os-aggregates", list_aggregates)
    router.add("GET", "/v2.1/flavors", lambda r: list_flavors(r, detail=False))
    router.add("GET", "/v2.1/flavors/detail", lambda r: list_flavors(r, detail=True))
    router.add("GET", "/v2.1/flavors/{flavor_id}", show_flavor)
    router.add("GET", "/v2.1/flavors/{flavor_id}/os-extra_specs", show_extra_specs)
    add_quota_routes(router)
    return router


# -- services and hypervisors ------------------------------------------------------------------------------------


def _service_json(request: Request, host: Host) -> dict[str, Any]:
    now = request.state.now
    beat = now - now % REPORT_INTERVAL_S
    body: dict[str, Any] = {
        "id": host.service_id if request.version >= (2, 53) else host.service_number,
        "binary": "nova-compute",
        "host": host.name,
        "zone": host.zone,
        "status": host.status,
        "state": "up" if host.up and not host.forced_down else "down",
        "updated_at": iso_micro(beat if host.up else beat - 86400),
        "disabled_reason": host.disabled_reason,
    }
    if request.version >= (2, 11):
        body["forced_down"] = host.forced_down
    return body


def list_services(request: Request) -> Response:
    """GET /os-services with the filters binary and host."""
    require_compute_admin(request, "os_compute_api:os-services:list")
    binary, name = request.one("binary"), request.one("host")
    if binary not in (None, "nova-compute"):
        return Response({"services": []})
    hosts = [host for host in request.state.hosts.values() if name in (None, host.name)]
    return Response({"services": [_service_json(request, host) for host in hosts]})


def update_service(request: Request, service_id: str) -> Response:
    """PUT /os-services/{id} (2.53): status with its reason, forced_down."""
    require_compute_admin(request, "os_compute_api:os-services:update")
    host = next((host for host in request.state.hosts.values() if host.service_id == service_id), None)
    if host is None:
        raise ApiError(404, f"Compute service {service_id} could not be found.")
    asked = request.json()
    if "status" in asked:
        if asked["status"] not in ("enabled", "disabled"):
            raise ApiError(400, f"Invalid input for field/attribute status. Value: {asked['status']}.")
        if len(asked.get("disabled_reason") or "") > 255:
            raise ApiError(400, "Invalid input for field/attribute disabled_reason. It is too long.")
        host.status = asked["status"]
        host.disabled_reason = asked.get("disabled_reason") if host.status == "disabled" else None
    if "forced_down" in asked:
        host.forced_down = bool(asked["forced_down"])
    return Response({"service": _service_json(request, host)})


def _hypervisor_json(request: Request, host: Host, *, detail: bool, servers: bool) -> dict[str, Any]:
    modern = request.version >= (2, 88)
    body: dict[str, Any] = {
        "id": host.root_uuid if request.version >= (2, 53) else host.service_number,
        "hypervisor_hostname": host.name,
        "state": "up" if host.up and not host.forced_down else "down",
        "status": host.status,
    }
    if servers:
        body["servers"] = [{"uuid": guest.server_id, "name": guest.name} for guest in host.guests.values()]
    if not detail:
        return body
    body |= {
        "hypervisor_type": "QEMU",
        "hypervisor_version": host.qemu_version if host.nova_qemu_version is None else host.nova_qemu_version,
        "host_ip": host.ip,
        "service": {
            "id": host.service_id if request.version >= (2, 53) else host.service_number,
            "host": host.name,
            "disabled_reason": host.disabled_reason,
        },
    }
    if modern:
        body["uptime"] = " 12:00:00 up 41 days,  3:12,  0 users,  load average: 1.02, 1.10, 1.08"
    else:
        used = sum(guest.memory_mib for guest in host.guests.values())
        body |= {
            "vcpus": host.vcpus,
            "vcpus_used": sum(guest.vcpus for guest in host.guests.values()),
            "memory_mb": host.memory_mib,
            "memory_mb_used": used,
            "free_ram_mb": host.memory_mib - used,
            "local_gb": host.disk_gib,
            "local_gb_used": 0,
            "free_disk_gb": host.disk_gib,
            "disk_available_least": host.disk_gib,
            "running_vms": len(host.guests),
            "current_workload": 0,
            "cpu_info": {"arch": "x86_64", "model": "EPYC-Rome", "vendor": "AMD", "features": [], "topology": {}},
        }
    return body


def list_hypervisors(request: Request, *, detail: bool) -> Response:
    """GET /os-hypervisors[/detail] with limit, marker, hypervisor_hostname_pattern and with_servers."""
    require_compute_admin(request, "os_compute_api:os-hypervisors:list-detail")
    hosts = list(request.state.hosts.values())
    pattern = request.one("hypervisor_hostname_pattern")
    if pattern is not None:
        hosts = [host for host in hosts if pattern in host.name]
    marker = request.one("marker")
    if marker is not None:
        at = next((index for index, host in enumerate(hosts) if host.root_uuid == marker), None)
        if at is None:
            raise ApiError(400, f"marker [{marker}] not found")
        hosts = hosts[at + 1 :]
    limit = request.number("limit")
    size = min(MAX_PAGE, limit) if limit else MAX_PAGE
    servers = request.flag("with_servers")
    body: dict[str, Any] = {
        "hypervisors": [_hypervisor_json(request, host, detail=detail, servers=servers) for host in hosts[:size]]
    }
    if len(hosts) > size:
        body["hypervisors_links"] = page_links(request, hosts[size - 1].root_uuid)
    return Response(body)


def show_hypervisor(request: Request, hypervisor_id: str) -> Response:
    """GET /os-hypervisors/{id}."""
    require_compute_admin(request, "os_compute_api:os-hypervisors:show")
    for host in request.state.hosts.values():
        if host.root_uuid == hypervisor_id:
            body = _hypervisor_json(request, host, detail=True, servers=request.flag("with_servers"))
            return Response({"hypervisor": body})
    raise ApiError(404, f"Compute host {hypervisor_id} could not be found.")


def list_aggregates(request: Request) -> Response:
    """GET /os-aggregates; a zone is among an aggregate's metadata too."""
    require_compute_admin(request, "os_compute_api:os-aggregates:index")
    return Response({"aggregates": [_aggregate_json(request, one) for one in request.state.aggregates]})


def _aggregate_json(request: Request, one: Aggregate) -> dict[str, Any]:
    zone = {"availability_zone": one.zone} if one.zone else {}
    body: dict[str, Any] = {
        "id": one.id,
        "name": one.name,
        "hosts": list(one.hosts),
        "metadata": zone | one.metadata,
        "availability_zone": one.zone,
        "created_at": iso_micro(request.state.now),
        "updated_at": None,
        "deleted_at": None,
        "deleted": False,
    }
    if request.version >= (2, 41):
        body["uuid"] = one.uuid
    return body


# -- flavors -----------------------------------------------------------------------------------------------------


def _flavor_json(request: Request, flavor: Flavor) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.ram_mib,
        "vcpus": flavor.vcpus,
        "disk": flavor.disk_gib,
        "swap": 0 if request.version >= (2, 75) else "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": [{"rel": "self", "href": f"{request.base}/compute/v2.1/flavors/{flavor.id}"}],
    }
    if request.version >= (2, 55):
        body["description"] = None
    if request.version >= (2, 61):
        body["extra_specs"] = flavor.extra_specs
    return body


def list_flavors(request: Request, *, detail: bool) -> Response:
    """GET /flavors[/detail] with limit and marker."""
    flavors = sorted(request.state.flavors.values(), key=lambda flavor: flavor.id)
    marker = request.one("marker")
    if marker is not None:
        if marker not in request.state.flavors:
            raise ApiError(400, f"marker [{marker}] not found")
        flavors = [flavor for flavor in flavors if flavor.id > marker]
    limit = request.number("limit")
    size = min(MAX_PAGE, limit) if limit else MAX_PAGE
    rows = [_flavor_json(request, flavor) for flavor in flavors[:size]]
    if not detail:
        rows = [{name: row[name] for name in ("id", "name", "links")} for row in rows]
    body: dict[str, Any] = {"flavors": rows}
    if len(flavors) > size:
        body["flavors_links"] = page_links(request, flavors[size - 1].id)
    return Response(body)


def _flavor(request: Request, flavor_id: str) -> Flavor:
    if flavor_id not in request.state.flavors:
        raise ApiError(404, f"Flavor {flavor_id} could not be found.")
    return request.state.flavors[flavor_id]


def show_flavor(request: Request, flavor_id: str) -> Response:
    """GET /flavors/{id}."""
    return Response({"flavor": _flavor_json(request, _flavor(request, flavor_id))})


def show_extra_specs(request: Request, flavor_id: str) -> Response:
    """GET /flavors/{id}/os-extra_specs."""
    return Response({"extra_specs": _flavor(request, flavor_id).extra_specs})
