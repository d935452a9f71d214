"""Nova's migrations in the embedded cloud: the history of all kinds, live ones in progress, abort, force-complete."""

from __future__ import annotations

from typing import Any

from vgpu_console.simulator.http_base import ApiError, Request, Response
from vgpu_console.simulator.migrating import CannotMigrate
from vgpu_console.simulator.nova_common import MAX_PAGE, Nova, moment, page_links
from vgpu_console.simulator.nova_servers import find_server
from vgpu_console.simulator.policies import is_admin, require_compute_admin, require_compute_manager
from vgpu_console.simulator.state import Migration, iso, iso_micro

_IN_PROGRESS = ("queued", "preparing", "running", "post-migrating")


def _migration_json(request: Request, migration: Migration) -> dict[str, Any]:
    hosts = request.state.hosts
    target = hosts.get(migration.destination or "")
    body: dict[str, Any] = {
        "id": migration.id,
        "instance_uuid": migration.server_id,
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": migration.destination,
        "dest_node": migration.destination,
        "dest_host": target.ip if target else None,
        "status": migration.status,
        "old_instance_type_id": 1,
        "new_instance_type_id": 1,
        "created_at": iso_micro(migration.created),
        "updated_at": iso_micro(migration.updated),
    }
    if request.version >= (2, 23):
        body["migration_type"] = migration.kind
        if migration.kind == "live-migration" and migration.status in _IN_PROGRESS:
            href = f"{request.base}/compute/v2.1/servers/{migration.server_id}/migrations/{migration.id}"
            body["links"] = [{"rel": "self", "href": href}]
    if request.version >= (2, 59):
        body["uuid"] = migration.uuid
    if request.version >= (2, 80):
        body["user_id"] = migration.user_id
        body["project_id"] = migration.project_id
    return body


def list_migrations(request: Request) -> Response:
    """GET /os-migrations with its filters, newest first; limit, marker (a uuid) and changes-since from 2.59."""
    require_compute_manager(request, "os_compute_api:os-migrations:index")
    paged = request.version >= (2, 59)
    changed = moment(request, "changes-since") if paged else None
    changed_before = moment(request, "changes-before") if request.version >= (2, 66) else None
    filters = {
        "server_id": request.one("instance_uuid"),
        "status": request.one("status"),
        "source": request.one("source_compute"),
    }
    host, kind = request.one("host"), request.one("migration_type")
    project_id = request.one("project_id") if request.version >= (2, 80) else None
    rows = [
        migration
        for migration in reversed(request.state.migrations.values())
        if (
            all(value in (None, getattr(migration, name)) for name, value in filters.items())
            and host in (None, migration.source, migration.destination)
            and kind in (None, migration.kind)
            and project_id in (None, migration.project_id)
            and (changed is None or int(migration.updated) >= changed)
            and (changed_before is None or int(migration.updated) <= changed_before)
            and (is_admin(request) or (request.token and request.token.project_id == migration.project_id))
        )
    ]
    marker = request.one("marker") if paged else None
    if marker is not None:
        at = next((index for index, migration in enumerate(rows) if migration.uuid == marker), None)
        if at is None:
            raise ApiError(400, f"Marker {marker} could not be found.")
        rows = rows[at + 1 :]
    limit = request.number("limit") if paged else None
    size = min(MAX_PAGE, limit) if limit else MAX_PAGE
    body: dict[str, Any] = {"migrations": [_migration_json(request, migration) for migration in rows[:size]]}
    if paged and rows and len(rows) > size:
        body["migrations_links"] = page_links(request, rows[size - 1].uuid)
    return Response(body)


def _server_migration_json(request: Request, migration: Migration) -> dict[str, Any]:
    target = request.state.hosts.get(migration.destination or "")
    seen = migration.status == "running" and migration.started is not None
    body: dict[str, Any] = {
        "id": migration.id,
        "server_uuid": migration.server_id,
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": migration.destination,
        "dest_node": migration.destination,
        "dest_host": target.ip if target else None,
        "status": migration.status,
        "memory_total_bytes": migration.memory_total if seen else None,
        "memory_processed_bytes": migration.memory_processed if seen else None,
        "memory_remaining_bytes": migration.memory_remaining if seen else None,
        "disk_total_bytes": 0 if seen else None,
        "disk_processed_bytes": 0 if seen else None,
        "disk_remaining_bytes": 0 if seen else None,
        "created_at": iso(migration.created),
        "updated_at": iso(migration.updated),
    }
    if request.version >= (2, 59):
        body["uuid"] = migration.uuid
    if request.version >= (2, 80):
        body["user_id"] = migration.user_id
        body["project_id"] = migration.project_id
    return body


def server_migrations(request: Request, server_id: str) -> Response:
    """GET /servers/{id}/migrations (2.23): those in progress; an accepted one is not among them yet."""
    require_compute_manager(request, "os_compute_api:servers:migrations:index")
    find_server(request, server_id)
    rows = [
        _server_migration_json(request, migration)
        for migration in request.state.migrations.values()
        if migration.server_id == server_id and migration.kind == "live-migration" and migration.status in _IN_PROGRESS
    ]
    return Response({"migrations": rows})


def _migration(request: Request, server_id: str, migration_id: str) -> Migration:
    migration = request.state.migrations.get(int(migration_id)) if migration_id.isdigit() else None
    if migration is None or migration.server_id != server_id:
        raise ApiError(404, f"Migration {migration_id} not found for instance {server_id}")
    return migration


def show_server_migration(request: Request, server_id: str, migration_id: str) -> Response:
    """GET /servers/{id}/migrations/{id}: 404 as soon as it has ended."""
    require_compute_admin(request, "os_compute_api:servers:migrations:show")
    find_server(request, server_id)
    migration = _migration(request, server_id, migration_id)
    if migration.status not in _IN_PROGRESS:
        raise ApiError(404, f"Live migration {migration_id} for server {server_id} is not in progress.")
    return Response({"migration": _server_migration_json(request, migration)})


class MigrationCalls:
    """Abort and force-complete."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova

    def abort(self, request: Request, server_id: str, migration_id: str) -> Response:
        """DELETE /servers/{id}/migrations/{id}: running from 2.24, queued from 2.65."""
        require_compute_manager(request, "os_compute_api:servers:migrations:delete")
        server = find_server(request, server_id)
        migration = _migration(request, server_id, migration_id)
        if migration.status == "queued" and request.version < (2, 65):
            raise ApiError(400, f"Migration {migration_id} of instance {server_id} is queued. Cannot abort.")
        if server.task_state != "migrating":
            raise ApiError(409, f"Instance {server_id} is in an invalid state for 'abort live migration'")
        try:
            self.nova.migrations.abort(migration, server)
        except CannotMigrate as refused:
            raise ApiError(refused.status, str(refused)) from refused
        return Response(status=202)

    def force_complete(self, request: Request, server_id: str, migration_id: str) -> Response:
        """POST /servers/{id}/migrations/{id}/action with ``force_complete`` (2.22)."""
        require_compute_manager(request, "os_compute_api:servers:migrations:force_complete")
        server = find_server(request, server_id)
        if "force_complete" not in request.json():
            raise ApiError(400, "There is no such action.")
        try:
            self.nova.migrations.force_complete(_migration(request, server_id, migration_id), server)
        except CannotMigrate as refused:
            raise ApiError(refused.status, str(refused)) from refused
        return Response(status=202)
