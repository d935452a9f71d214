"""Which rows of a Snapshot a ``--host`` or ``--project`` keeps, in each view.

Every view takes both: a host filter on quota keeps the projects that have something there, a project filter on hosts
keeps the hosts that carry something of it.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from vgpu_console.model.snapshot import (
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    TypeCapacity,
    VgpuServer,
)
from vgpu_console.text import plain


class Filters(NamedTuple):
    """What to keep: rows about any of these hosts, and about any of these projects (by name or id). Empty: all."""

    hosts: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.hosts or self.projects)


def unmatched(snapshot: Snapshot, filters: Filters) -> list[str]:
    """A line for each filter value that names nothing in the snapshot, with the nearest name that does."""
    lines = []
    hosts = sorted({h.name for h in snapshot.hosts})
    names = sorted(set(_project_names(snapshot).values()) | set(_project_names(snapshot)))
    for known, asked, words in (
        (hosts, filters.hosts, "no host {} is known"),
        (names, filters.projects, "no project {} has a vGPU or a limit for one"),
    ):
        for value in asked:
            if value not in known:
                near = difflib.get_close_matches(value, known, 1, 0.6)
                lines.append(words.format(plain(value, 80)) + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def _project_names(snapshot: Snapshot) -> dict[str, str]:
    names: dict[str, str] = {}
    for q in snapshot.quotas:
        names[q.project_id] = q.project
    for s in snapshot.servers:
        names.setdefault(s.project_id, s.project)
    for m in snapshot.mdevs:
        if m.project_id:
            names.setdefault(m.project_id, m.project or "")
    return names


def _of_project(filters: Filters, project_id: str | None, project: str | None) -> bool:
    return not filters.projects or project_id in filters.projects or (bool(project) and project in filters.projects)


def _on_host(filters: Filters, *hosts: str | None) -> bool:
    return not filters.hosts or any(host in filters.hosts for host in hosts)


def _devices_of_projects(snapshot: Snapshot, filters: Filters) -> list[MediatedDevice]:
    return [m for m in snapshot.mdevs if _of_project(filters, m.project_id, m.project)]


def hosts(snapshot: Snapshot, filters: Filters) -> list[Host]:
    """The hosts asked for; with a project, those that carry something of it."""
    rows = [h for h in snapshot.hosts if _on_host(filters, h.name)]
    if filters.projects:
        held = {m.host for m in _devices_of_projects(snapshot, filters)}
        held |= {s.host for s in snapshot.servers if s.host and _of_project(filters, s.project_id, s.project)}
        rows = [h for h in rows if h.name in held]
    return rows


def gpus(snapshot: Snapshot, filters: Filters) -> list[PhysicalGpu]:
    """The physical GPUs asked for; with a project, those that hold a vGPU of it."""
    rows = [g for h in snapshot.hosts if _on_host(filters, h.name) for g in h.gpus or ()]
    if filters.projects:
        held = {(m.host, m.gpu) for m in _devices_of_projects(snapshot, filters)}
        rows = [g for g in rows if (g.host, g.address) in held]
    return rows


def types(snapshot: Snapshot, filters: Filters) -> list[TypeCapacity]:
    """The vGPU types asked for; with a project, those it has a vGPU of, GPU by GPU."""
    rows = [t for g in gpus(snapshot, filters) for t in g.types]
    if filters.projects:
        held = {(m.host, m.gpu, m.type_id) for m in _devices_of_projects(snapshot, filters)}
        rows = [t for t in rows if (t.host, t.gpu, t.type_id) in held]
    return rows


def mdevs(snapshot: Snapshot, filters: Filters) -> list[MediatedDevice]:
    """The mediated devices asked for."""
    return [m for m in _devices_of_projects(snapshot, filters) if _on_host(filters, m.host)]


def servers(snapshot: Snapshot, filters: Filters) -> list[VgpuServer]:
    """The servers asked for."""
    return [s for s in snapshot.servers if _on_host(filters, s.host) and _of_project(filters, s.project_id, s.project)]


def quota(snapshot: Snapshot, filters: Filters) -> list[ProjectQuota]:
    """The limits asked for; with a host, those of projects that have something there."""
    rows = [q for q in snapshot.quotas if _of_project(filters, q.project_id, q.project)]
    if filters.hosts:
        there = {s.project_id for s in snapshot.servers if _on_host(filters, s.host)}
        there |= {m.project_id for m in snapshot.mdevs if m.project_id and _on_host(filters, m.host)}
        rows = [q for q in rows if q.project_id in there]
    return rows


def migrations(snapshot: Snapshot, filters: Filters) -> list[Migration]:
    """The migrations asked for; a host counts as source and as destination."""
    ids = {s.id: s.project_id for s in snapshot.servers}
    return [
        m
        for m in snapshot.migrations
        if _on_host(filters, m.source, m.destination) and _of_project(filters, ids.get(m.server_id), m.project)
    ]


def providers(snapshot: Snapshot, filters: Filters) -> list[Provider]:
    """The resource providers asked for; with a project, those its servers and migrations hold allocations of."""
    rows = [p for p in snapshot.providers if _on_host(filters, p.host)]
    if filters.projects:
        servers = {s.id for s in snapshot.servers if _of_project(filters, s.project_id, s.project)}
        servers |= {m.uuid for m in migrations(snapshot, filters)}  # a moving server's allocations are its migration's
        rows = [p for p in rows if any(a.consumer_id in servers for a in p.allocations or ())]
    return rows
