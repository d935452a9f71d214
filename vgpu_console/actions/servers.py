"""From what an operator typed to one server: by id, by name, by name@project. Never a guess."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from vgpu_console.actions.plan import NO_CONNECTION, PlanError
from vgpu_console.actions.projects import project_labels
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Server
from vgpu_console.text import plain

_SHOWN = 8
"""So many candidates are listed in a message; a cloud may have hundreds of equal names."""


def find_server(facts: Facts, text: str) -> Server:
    """The one server meant by an id, a name or ``name@project`` (the project's name, ``name@domain`` of it, or id).

    Raises PlanError: Nova not read; unknown, with names that are near; ambiguous, with the ids to choose from.
    """
    asked = plain(text.strip(), 600)
    if not asked:
        raise PlanError("no server was named")
    servers = facts.nova.servers if facts.nova is not None else None
    if servers is None:
        raise PlanError("nova has not answered: no server can be looked up", NO_CONNECTION)
    for server in servers:
        if server.id == asked.lower():
            return server
    labels = project_labels(facts)
    found = [s for s in servers if s.name == asked] or _in_project(facts, servers, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(f"{asked!r} is the name of {len(found)} servers: {_listed(found, labels)}; give the id")
    near = _near(servers, asked)
    hint = f"; is it {_listed(near, labels)}?" if near else ""
    scope = "" if facts.nova is None or facts.nova.all_projects else " (only this project's servers are visible)"
    raise PlanError(f"no server has the id or name {asked!r}{scope}{hint}")


def _in_project(facts: Facts, servers: Iterable[Server], asked: str) -> list[Server]:
    """``name@project`` or ``name@project@domain``; the name itself may hold an @."""
    domains = {d.id: d.name for d in (facts.keystone.domains if facts.keystone is not None else None) or ()}
    words: dict[str, set[str]] = {}
    for project in (facts.keystone.projects if facts.keystone is not None else None) or ():
        names = {project.id, project.name, f"{project.name}@{project.domain_id}"}
        words[project.id] = names | {f"{project.name}@{domains.get(project.domain_id, project.domain_id)}"}
    return [s for s in servers if any(asked == f"{s.name}@{p}" for p in words.get(s.project_id, {s.project_id}))]


def _near(servers: Sequence[Server], asked: str) -> list[Server]:
    by_fold: dict[str, list[Server]] = {}
    for server in servers:
        by_fold.setdefault(server.name.casefold(), []).append(server)
    short = [s for s in servers if len(asked) >= 4 and s.id.startswith(asked.lower())]
    if short:
        return short
    name = asked.casefold()
    names = [name] if name in by_fold else difflib.get_close_matches(name, by_fold, n=3, cutoff=0.7)
    return [s for one in names for s in by_fold[one]]


def _listed(servers: Sequence[Server], labels: dict[str, str]) -> str:
    words = [
        f"{s.id} ({s.name}@{labels.get(s.project_id, s.project_id)}, {s.status or '?'} on {s.host or 'no host'})"
        for s in servers[:_SHOWN]
    ]
    more = f" and {len(servers) - _SHOWN} more" if len(servers) > _SHOWN else ""
    return ", ".join(words) + more
