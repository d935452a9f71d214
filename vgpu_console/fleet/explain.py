"""An explanation of a fleet that has been read: asks Placement, and Nova for a server's events, what the chain needs.

A request for the whole of what a flavor wants; only where that fits nowhere, one for each of its parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from vgpu_console.fleet.precheck import flavor_of
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_trace import ServerAction
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.explain.chain import Explanation, Kind
from vgpu_console.rules.explain.flavor import explain_flavor
from vgpu_console.rules.explain.host import explain_host
from vgpu_console.rules.explain.project import explain_project, vgpu_flavors
from vgpu_console.rules.explain.request import Answers, parts_of
from vgpu_console.rules.explain.server import explain_server
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.what_if import FlavorRequest, request_of
from vgpu_console.sources.base import SourceError

LOG = logging.getLogger("vgpu_console.explain")

FLAVORS_AT_MOST = 12
"""So many flavors of a project are asked for: a request each."""

BEGINNINGS = frozenset({"create", "rebuild", "unshelve", "evacuate", "migrate", "resize", "live-migration"})
"""Actions of a server that ask for a place on a host (nova: compute/instance_actions.py)."""


Asker = Callable[[Sequence[RequestGroup], str | None], Candidates]
"""Asks Placement for allocation candidates: (groups, group_policy) -> its answer. A failure is told in it."""

ActionReader = Callable[[str], ServerAction | None]
"""A server's newest action that asked for a place, with its events; None where it cannot be read."""


class ActionSource(Protocol):
    """Reads a server's actions afresh (``sources.nova_migrations.NovaMigrations``). Both raise SourceError."""

    def actions(self, server_id: str) -> tuple[ServerAction, ...] | None: ...

    def with_events(self, server_id: str, request_id: str) -> ServerAction | None: ...


class GoneError(LookupError):
    """What is to be explained is not in the reading; ``str()`` is one plain line."""


def last_beginning(source: ActionSource, server_id: str) -> ServerAction | None:
    """The server's newest action that asked for a place. Two requests; None where they fail, which is logged."""
    try:
        newest = next((a for a in source.actions(server_id) or () if a.action in BEGINNINGS), None)
        return source.with_events(server_id, newest.request_id) if newest is not None else None
    except SourceError as error:
        LOG.warning("the actions of server %s could not be read: %s", server_id, error)
        return None


def explain(
    ask: Asker,
    snapshot: Snapshot,
    facts: Facts,
    kind: Kind,
    object_id: str,
    now: float,
    last_action: ActionReader | None = None,
) -> Explanation:
    """The explanation of one server, flavor or project by its id, or of one host by its name. Blocks while it asks.

    Raises GoneError.
    """
    ground = Ground(snapshot, facts, now)
    if kind == "server":
        return _server(ask, ground, object_id, last_action)
    if kind == "flavor":
        flavors = (facts.nova.flavors if facts.nova is not None else None) or ()
        flavor = next((f for f in flavors if f.id == object_id), None)
        if flavor is None:
            raise GoneError("Nova lists this flavor no more")
        return explain_flavor(ground, flavor, _answers(ask, request_of(flavor)))
    if kind == "project":
        projects = (facts.keystone.projects if facts.keystone is not None else None) or ()
        project = next((p for p in projects if p.id == object_id), None)
        if project is None:
            raise GoneError("Keystone lists this project no more, or does not show it to this credential")
        asked = {f.id: request_of(f) for f in vgpu_flavors(ground)[:FLAVORS_AT_MOST]}
        return explain_project(ground, project, {id: ask(r.groups, r.policy) for id, r in asked.items()})
    host = ground.hosts.get(object_id)
    if host is None:
        raise GoneError("no source knows this host any more")
    return explain_host(ground, host)


def _server(ask: Asker, ground: Ground, server_id: str, last_action: ActionReader | None) -> Explanation:
    server = ground.nova_servers.get(server_id)
    if server is None:
        raise GoneError("Nova lists this server no more, or could not be read")
    flavor = flavor_of(ground.facts, server)
    answers = action = None
    if not server.host and server.status not in ("BUILD", "SHELVED_OFFLOADED"):
        seen = None not in (server.extra_specs, server.ram_mib, server.vcpus)
        # to ask for a part of a flavor that is not visible would find places that are none
        answers = _answers(ask, request_of(flavor)) if seen else None
        action = last_action(server_id) if last_action is not None else None
    return explain_server(ground, server, flavor, answers, action)


def _answers(ask: Asker, request: FlavorRequest) -> Answers:
    if not request.groups:
        return Answers()
    whole = ask(request.groups, request.policy)
    if whole.error or whole.candidates:
        return Answers(whole=whole)
    return Answers(whole=whole, parts={name: ask(p.groups, p.policy) for name, p in parts_of(request).items()})
