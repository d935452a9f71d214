"""Who holds what a project is counted for: its servers, migrations that run, and what nobody gives back any more.

Placement counts consumers and does not tell their kinds: Nova writes allocations without a consumer type. So servers
and migrations are told apart by the uuids that Nova knows. While a migration runs, the server holds the destination and
the migration's uuid the source, under the same project: both count (nova: conductor/tasks/migrate.py). A resize and a
cold migration run until they are confirmed or reverted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from vgpu_console.model.nova import MigrationFacts, NovaFacts, Server
from vgpu_console.model.placement import PlacementFacts

_RESIZING = frozenset({"RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "MIGRATING"})
"""Statuses of a server that may be under a migration whose record was not read: made since, or too old for the list."""


class Leak(NamedTuple):
    """Allocations of a consumer that will never give them back."""

    consumer_id: str
    project_id: str  # empty: not told
    resources: dict[str, int]  # resource class -> amount
    providers: tuple[str, ...]
    migration: MigrationFacts | None  # the ended migration it was; None: Nova knows no such server or migration


class Use(NamedTuple):
    """What one project holds of one class. The parts need not add up while something changes hands."""

    instances: int = 0
    migrations: int = 0
    leaked: int | None = 0  # None: a resize without a record runs, and its consumer cannot be told from a leaked one
    in_flight: int = 0


class Usage(NamedTuple):
    """The whole split: (project id, class) -> use; the leaks, those without a project among them."""

    by_project: Mapping[tuple[str, str], Use]
    leaks: tuple[Leak, ...]
    known: bool  # False: Nova or Placement has not been read, or Nova shows one project only

    def of(self, project_id: str, resource_class: str) -> Use | None:
        """One project's use of one class; None when it is not known."""
        return self.by_project.get((project_id, resource_class), Use()) if self.known else None


class _Held(NamedTuple):
    resources: dict[str, int]
    providers: list[str]


def usage_split(nova: NovaFacts | None, placement: PlacementFacts | None) -> Usage:
    """The split of every consumer's allocations.

    A consumer is leaked when Nova knows it for no server and no migration that runs, and did not when Placement was
    read either: until then a server that was made a moment ago would be called a leak.
    """
    if nova is None or placement is None or nova.servers is None or not nova.all_projects:
        return Usage({}, (), False)
    servers = {s.id: s for s in nova.servers}
    migrations = {m.uuid: m for m in migrations_of(nova)}
    held = _held(placement)
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    strangers: dict[str, list[Leak]] = defaultdict(list)
    for consumer, mine in held.items():
        server, migration = servers.get(consumer), migrations.get(consumer)
        runs = migration is not None and migration.in_progress
        owner = _owner(server, migration, servers, placement.strangers.get(consumer, ""))
        if server is None and not runs:
            if consumer in placement.strangers:
                leak = Leak(consumer, owner, mine.resources, tuple(mine.providers), migration)
                strangers[owner].append(leak)
            continue
        twice = held.get(migration.server_id) if migration is not None and server is None else None
        for resource_class, amount in mine.resources.items():
            count = counts[(owner, resource_class)]
            count["instances" if server is not None else "migrations"] += amount
            if twice is not None:
                count["in_flight"] += min(amount, twice.resources.get(resource_class, 0))
    uncertain: set[tuple[str, str]] = set()
    leaks: list[Leak] = []
    resizing = _resizing(servers, {m.server_id for m in migrations.values() if m.in_progress})
    for owner, found in strangers.items():
        unnamed = [leak for leak in found if leak.migration is None]
        leaks += [leak for leak in found if leak.migration is not None]
        if not owner or not resizing.get(owner):
            leaks += unnamed
        elif len(unnamed) <= len(resizing[owner]):
            twins = _held_by(resizing[owner], held)
            for leak in unnamed:  # each is the uuid of a resize: it gives back when that is confirmed or reverted
                for resource_class, amount in leak.resources.items():
                    count = counts[(owner, resource_class)]
                    count["migrations"] += amount
                    doubled = min(amount, twins.get(resource_class, 0))
                    count["in_flight"] += doubled
                    twins[resource_class] = twins.get(resource_class, 0) - doubled
        else:
            uncertain |= {(owner, resource_class) for leak in unnamed for resource_class in leak.resources}
    for leak in leaks:
        for resource_class, amount in leak.resources.items():
            counts[(leak.project_id, resource_class)]["leaked"] += amount
    by_project = {
        key: Use(
            instances=count["instances"],
            migrations=count["migrations"],
            leaked=None if key in uncertain else count["leaked"],
            in_flight=count["in_flight"],
        )
        for key, count in {**{key: defaultdict(int) for key in uncertain}, **counts}.items()
    }
    return Usage(by_project, tuple(sorted(leaks, key=lambda leak: (leak.project_id, leak.consumer_id))), True)


def migrations_of(nova: NovaFacts) -> Iterator[MigrationFacts]:
    """Migrations of every kind."""
    yield from nova.migrations or ()
    yield from nova.other_migrations or ()


def owners(nova: NovaFacts | None) -> dict[str, str]:
    """Consumer id -> project id of what Nova knows now: servers, and migrations while they run.

    A migration that has ended is left out, so that what it still holds is looked into. It counts for the project of its
    server, not for that of whoever started it.
    """
    if nova is None:
        return {}
    out = {s.id: s.project_id for s in nova.servers or ()}
    return out | {m.uuid: out[m.server_id] for m in migrations_of(nova) if m.in_progress and m.server_id in out}


def _held(placement: PlacementFacts) -> dict[str, _Held]:
    """What each consumer holds over all providers."""
    out: dict[str, _Held] = {}
    held = [(provider.uuid, a) for provider in placement.providers for a in provider.allocations or ()]
    held += [(root, a) for root, allocations in placement.by_tree.items() for a in allocations]
    for uuid, allocation in held:
        mine = out.setdefault(allocation.consumer_id, _Held({}, []))
        mine.providers.append(uuid)
        for resource_class, amount in allocation.resources.items():
            mine.resources[resource_class] = mine.resources.get(resource_class, 0) + amount
    return out


def _owner(server: Server | None, migration: MigrationFacts | None, servers: Mapping[str, Server], told: str) -> str:
    """The project a consumer counts for. Placement's own word goes first where it was asked.

    A migration's allocation is the server's, moved to another consumer, and so counts for the server's project; the
    project in Nova's record of it is of whoever started it (nova: objects/migration.py create).
    """
    if server is not None:
        return server.project_id
    if told or migration is None:
        return told
    migrating = servers.get(migration.server_id)
    return migrating.project_id if migrating is not None else ""


def _resizing(servers: Mapping[str, Server], told: Collection[str]) -> dict[str, list[str]]:
    """Project -> servers that may be under a migration, of which no record says so."""
    out: dict[str, list[str]] = defaultdict(list)
    for server in servers.values():
        if server.id in told:
            continue
        if server.status in _RESIZING or (server.task_state or "").startswith("resize"):
            out[server.project_id].append(server.id)
    return out


def _held_by(consumers: list[str], held: Mapping[str, _Held]) -> dict[str, int]:
    out: dict[str, int] = {}
    for consumer in consumers:
        for resource_class, amount in (held[consumer].resources if consumer in held else {}).items():
            out[resource_class] = out.get(resource_class, 0) + amount
    return out
