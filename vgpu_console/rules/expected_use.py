"""What Placement should hold for each server and migration, by what Nova says of them. To be checked, not believed."""

from __future__ import annotations

from vgpu_console.model.nova import NovaFacts, Server
from vgpu_console.model.placement import Holder
from vgpu_console.rules.quota_usage import migrations_of
from vgpu_console.rules.resource_classes import VGPU, any_class

_AT_REST = frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "RESCUE", "REBOOT", "HARD_REBOOT"})
"""Statuses of a server that holds on its host just what its own flavor asks for."""

_REBOOTING = frozenset({"reboot_started", "reboot_pending", "rebooting", "rebooting_hard", "reboot_started_hard"})


def expected_holders(nova: NovaFacts | None) -> dict[str, Holder]:
    """Consumer id -> what is to be expected of it; empty when Nova does not show all servers.

    Of a server at rest that is what the flavor embedded in it asks for of vGPU classes. What moves, or has failed, is
    marked as to be asked. A server that was never placed, or was shelved off its host, holds nothing.
    """
    if nova is None or nova.servers is None or not nova.all_projects:
        return {}
    servers = {s.id: s for s in nova.servers}
    moving = {m.server_id: m.uuid for m in migrations_of(nova) if m.in_progress and m.server_id in servers}
    out = {s.id: _holder(s, s.id in moving) for s in servers.values()}
    for server_id, uuid in moving.items():
        server = servers[server_id]
        out[uuid] = Holder(server.project_id, resources={} if _asks(server) == {} else None)
    return out


def at_rest(server: Server) -> bool:
    """Whether Nova does nothing to a server that would change on which host it is or what it holds there."""
    return server.status in _AT_REST and (server.task_state is None or server.task_state in _REBOOTING)


def _holder(server: Server, moving: bool) -> Holder:
    node = server.hypervisor or server.host or ""
    asks = _asks(server)
    if asks == {} or (not node and server.status in ("ERROR", "SHELVED_OFFLOADED")):
        return Holder(server.project_id, node, {})
    if moving or not at_rest(server) or not node:
        return Holder(server.project_id, node, None)
    return Holder(server.project_id, node, asks)


def _asks(server: Server) -> dict[str, int] | None:
    """What its flavor asks for of classes that can be vGPUs; None when that is not visible."""
    if server.extra_specs is None:
        return None
    return {c: n for c, n in any_class(server.extra_specs).items() if n and (c == VGPU or c.startswith("CUSTOM_"))}
