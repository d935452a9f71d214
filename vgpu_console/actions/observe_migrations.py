"""Reads a server, its migrations, its allocations or a compute service afresh, with the keys that plans are made of."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

from vgpu_console.actions.plan import Plan
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.tolerant import integer, mapping, rows, text

FORCE_ACTION = "live_migration_force_complete"
_ENDED = frozenset({"error", "failed", "completed", "cancelled", "confirmed", "reverted", "done"})


class CloudReader(Protocol):
    """What these observations ask of a cloud. Raises SourceError."""

    def get(self, service: str, path: str, *, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object at a path."""
        ...


def observe_start(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """Whether a migration newer than the plan's last one exists; until then where the server is and what it does.

    What the server does once it moves changes by itself, so that nothing of it is told then.
    """
    key = plan.target.key
    server_id = str(key["server"])
    if any(number > int(key["last_migration"] or 0) for number, _ in _migrations(reader, server_id)):
        return {"started": True}
    server = _server(reader, server_id)
    return {
        "started": False,
        "host": text(server, "OS-EXT-SRV-ATTR:host"),
        "status": text(server, "status"),
        "task": text(server, "OS-EXT-STS:task_state"),
    }


def observe_progress(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """Whether the plan's migration has not ended yet; None when Nova has no such row."""
    key = plan.target.key
    wanted = int(key["migration"] or 0)
    status = next((s for number, s in _migrations(reader, str(key["server"])) if number == wanted), None)
    return {"in_progress": None if status is None else status not in _ENDED}


def observe_forced(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """How often completion was forced for this server so far."""
    server_id = str(plan.target.key["server"])
    body = reader.get("compute", f"/servers/{quote(server_id, safe='')}/os-instance-actions")
    listed = rows(body, "instanceActions", "instance actions")
    return {"force_requests": sum(isinstance(r, dict) and r.get("action") == FORCE_ACTION for r in listed)}


def observe_server(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """Status, task and host of the plan's server."""
    server = _server(reader, str(plan.target.key["server"]))
    return {
        "status": text(server, "status"),
        "task": text(server, "OS-EXT-STS:task_state"),
        "host": text(server, "OS-EXT-SRV-ATTR:host"),
    }


def observe_holdings(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """What the plan's consumer holds: provider uuid -> resource class -> amount."""
    consumer = str(plan.target.key["consumer"])
    held = mapping(reader.get("placement", f"/allocations/{quote(consumer, safe='')}"), "allocations")
    return {"holds": {str(p): dict(mapping(row, "resources")) for p, row in held.items() if isinstance(row, dict)}}


def observe_service(reader: CloudReader, plan: Plan) -> dict[str, Any]:
    """Status and reason of the plan's nova-compute."""
    host = str(plan.target.key["host"])
    body = reader.get("compute", "/os-services", params={"binary": "nova-compute", "host": host})
    found = next((r for r in rows(body, "services", "services") if isinstance(r, dict) and r.get("host") == host), None)
    if found is None:
        raise SourceError("protocol", f"nova has no nova-compute of {host}")
    return {"status": text(found, "status"), "reason": text(found, "disabled_reason")}


def _server(reader: CloudReader, server_id: str) -> dict[str, Any]:
    return mapping(reader.get("compute", f"/servers/{quote(server_id, safe='')}"), "server")


def _migrations(reader: CloudReader, server_id: str) -> list[tuple[int, str | None]]:
    """(number, status) of its migrations of every kind."""
    body = reader.get("compute", "/os-migrations", params={"instance_uuid": server_id})
    found = []
    for row in rows(body, "migrations", "migrations"):
        number = integer(row, "id") if isinstance(row, dict) else None
        if number is not None and row.get("instance_uuid") == server_id:
            found.append((number, text(row, "status")))
    return found
