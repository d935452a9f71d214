"""Nova: services, hypervisors, aggregates, servers of all projects, flavors and migrations of every kind.

The first read takes everything in pages. After that servers and migrations are asked for with ``changes-since``, with
a window that overlaps the last one and is set by Nova's own clock (the Date header), never by ours. Now and then, and
after a failure, everything is read again, so that a change that slipped through cannot stay.
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from vgpu_console.model.nova import (
    LIVE_MIGRATION,
    LIVE_MIGRATION_IN_PROGRESS,
    Aggregate,
    ComputeService,
    Flavor,
    Hypervisor,
    MigrationFacts,
    NovaFacts,
    Server,
)
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import Answer, CloudConnection, HttpStatusError, counting
from vgpu_console.sources.cloud_errors import ROLES
from vgpu_console.sources.nova_records import (
    read_aggregate,
    read_flavor,
    read_hypervisor,
    read_migration,
    read_server,
    read_service,
)
from vgpu_console.sources.tolerant import integer, optional_ident, records, rows, text

WANTED = "2.100"
"""Newest microversion of use: nothing after it adds a field that is read here. 2.96 is 2024.1's newest."""

HYPERVISOR_WANTED = "2.87"
"""From 2.88 on Nova may ask every nova-compute for its uptime while it answers (api/openstack/compute/hypervisors)."""

PAGE = 1000  # Nova's own [api]max_limit may make pages smaller
MAX_PAGES = 10_000
MIGRATION_HISTORY = 500  # newest live migrations kept, ended ones included; of the other kinds as many
LOST_AT_MOST = 10  # servers under a resize whose record is looked for in one fetch; one request each
PROGRESS_AT_MOST = 10  # migrations whose byte counts are asked for in one fetch; one request each
OVERLAP = datetime.timedelta(seconds=120)  # controllers' clocks may differ by this much without a change being missed
FULL_EVERY = 20  # refreshes between two full reads
FLAVORS_EVERY = 10  # refreshes between two reads of the flavors, and of the host aggregates

T = TypeVar("T")

_GONE = frozenset({"DELETED", "SOFT_DELETED"})
_UNDER_RESIZE = frozenset({"RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE"})
_WITH_PROGRESS = LIVE_MIGRATION_IN_PROGRESS - {"accepted"}  # /servers/{id}/migrations does not show accepted ones


class _Moves(NamedTuple):
    """Migrations: live ones, and those of the other kinds."""

    live: tuple[MigrationFacts, ...] | None = None
    other: tuple[MigrationFacts, ...] | None = None


class NovaSource:
    """Reads Nova through one connection. ``requests`` and ``notes`` describe the last fetch.

    ``use_only`` leaves out what has no part in who uses what: services, hypervisors, the history of migrations, bytes.
    """

    kind: SourceKind = "nova"
    host = ""

    def __init__(self, connection: CloudConnection, *, use_only: bool = False) -> None:
        self._connection = connection
        self._use_only = use_only
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._refreshes = 0
        self._servers_since: str | None = None
        self._migrations_since: str | None = None
        self._all_projects = True
        self._gone: set[str] = set()  # servers that the last read said are deleted
        self._denied: dict[str, str] = {}  # parts that this credential may not read, with the note, until a full read

    def close(self) -> None:
        """Nothing of its own: the connection is the caller's."""

    def fetch(self, previous: NovaFacts | None) -> NovaFacts:
        """Everything anew, or, with the facts of the fetch before, what changed since. Raises SourceError."""
        notes: list[str] = []
        with counting() as tally:
            try:
                facts = self._fetch(previous, notes)
            except SourceError:
                self._servers_since = self._migrations_since = None  # the next fetch reads all
                raise
            finally:
                self.requests = tally.count
        self.notes = tuple(notes)
        return facts

    def _fetch(self, previous: NovaFacts | None, notes: list[str]) -> NovaFacts:
        full = previous is None or self._servers_since is None or self._refreshes >= FULL_EVERY
        if full:
            self._refreshes = 0
            self._servers_since = self._migrations_since = None
            self._all_projects = True  # tried again: a role may have been given
            self._denied.clear()
        else:
            self._refreshes += 1
        old = previous or NovaFacts()
        services = hypervisors = None
        if not self._use_only:
            services = self._optional("services", notes, self._services)
            hypervisors = self._optional("hypervisors", notes, self._hypervisors)
        servers = self._servers(old.servers, notes)
        moves = self._optional("migrations", notes, lambda n: self._migrations(old, servers, n)) or _Moves()
        flavors = old.flavors
        if flavors is None or self._refreshes % FLAVORS_EVERY == 0:
            flavors = self._flavors(old.flavors, notes)
        aggregates = old.aggregates
        if self._refreshes % FLAVORS_EVERY == 0 and not self._use_only:
            aggregates = _same(old.aggregates, self._optional("aggregates", notes, self._aggregates))
        return NovaFacts(
            microversion=self._connection.microversion("compute", WANTED),
            max_microversion=self._connection.max_microversion("compute"),
            services=services,
            hypervisors=hypervisors,
            servers=servers,
            all_projects=self._all_projects,
            migrations=moves.live,
            other_migrations=moves.other,
            flavors=flavors,
            aggregates=aggregates,
        )

    # -- parts -------------------------------------------------------------------------------------------------------

    def _optional(self, what: str, notes: list[str], read: Callable[[list[str]], Any]) -> Any:
        """A part that a lesser credential may not see: None and a note, where the rest can still be told."""
        if what in self._denied:
            notes.append(self._denied[what])
            return None
        try:
            return read(notes)
        except HttpStatusError as exc:
            if exc.status not in (403, 404):
                raise
            note = f"{what}: {exc}"
            if exc.status == 403:
                note = self._denied[what] = f"{what}: not visible to this credential (it needs {ROLES['compute']})"
            notes.append(note)
            return None

    def _services(self, notes: list[str]) -> tuple[ComputeService, ...]:
        body = self._connection.get("compute", "/os-services", params={"binary": "nova-compute"}, microversion=WANTED)
        return tuple(records(rows(body, "services", "services"), read_service, "services", notes))

    def _hypervisors(self, notes: list[str]) -> tuple[Hypervisor, ...]:
        items = [
            i for page, _ in self._pages("/os-hypervisors/detail", "hypervisors", {}, HYPERVISOR_WANTED) for i in page
        ]
        return tuple(records(items, read_hypervisor, "hypervisors", notes))

    def _aggregates(self, notes: list[str]) -> tuple[Aggregate, ...]:
        body = self._connection.get("compute", "/os-aggregates", microversion=WANTED)
        return tuple(records(rows(body, "aggregates", "aggregates"), read_aggregate, "aggregates", notes))

    def _servers(self, old: tuple[Server, ...] | None, notes: list[str]) -> tuple[Server, ...]:
        """All servers: ``old`` brought up to date where the last window is known, else read anew."""
        since = self._servers_since if old is not None else None
        params = {} if since is None else {"changes-since": since}
        changed: list[Any] = []
        date: str | None = None
        for page, answered in self._server_pages(params):
            changed += page
            date = date or answered
        if not self._all_projects:
            notes.append("servers: only those of this credential's project are visible (all projects: admin role)")
        known = {s.id: s for s in old or ()}
        found = records(changed, lambda r: read_server(r, known), "servers", notes)
        self._servers_since = _window(date, changed, "updated")
        current = known if since is not None else {}
        for server in found:
            if server.status in _GONE:
                current.pop(server.id, None)
            else:
                current[server.id] = server
        self._gone = {s.id for s in found if s.status in _GONE}
        return _same(old, tuple(current.values()))

    def _server_pages(self, params: dict[str, Any]) -> Iterator[tuple[list[Any], str | None]]:
        path, key = "/servers/detail", "servers"
        if self._all_projects:
            pages = self._pages(path, key, {**params, "all_tenants": "1"}, WANTED)
            try:
                first = next(pages, None)
            except HttpStatusError as exc:
                if exc.status != 403:
                    raise
                self._all_projects = False
            else:
                if first is not None:
                    yield first
                yield from pages
                return
        yield from self._pages(path, key, params, WANTED)

    def _migrations(self, old: NovaFacts, servers: tuple[Server, ...], notes: list[str]) -> _Moves:
        """The newest migrations of every kind and all that are in progress, live ones with byte counts.

        One list tells all kinds. Only where it is cut are older live ones asked for, and the records of servers that
        wait for their resize to be confirmed, which may be for weeks.
        """
        since = self._migrations_since if old.migrations is not None else None
        answer, items, cut = self._list_migrations({} if since is None else {"changes-since": since})
        found = records(items, read_migration, "migrations", notes)
        self._migrations_since = None if cut and since is not None else _window(answer.date, items, "updated_at")
        if cut and since is None:
            found += self._older_migrations(found, servers, notes)
        known = (*(old.migrations or ()), *(old.other_migrations or ())) if since is not None else ()
        current = {m.id: m for m in (*known, *found)}
        # Nova forgets a server's migrations with the server, and changes-since does not tell
        newest = sorted((m for m in current.values() if m.server_id not in self._gone), key=lambda m: -m.id)
        live = _newest([m for m in newest if m.live])
        other = tuple(_newest([m for m in newest if not m.live]))
        return _Moves(
            _same(old.migrations, tuple(live if self._use_only else self._with_progress(live, notes))),
            _same(old.other_migrations, other),
        )

    def _list_migrations(self, params: dict[str, Any]) -> tuple[Answer, list[Any], bool]:
        """The newest that the parameters allow, and whether there are more of them."""
        asked = {"limit": PAGE, **params}
        answer = self._connection.answer("compute", "/os-migrations", params=asked, microversion=WANTED)
        body = answer.object()
        return answer, rows(body, "migrations", "migrations"), bool(body.get("migrations_links"))

    def _older_migrations(
        self, found: list[MigrationFacts], servers: tuple[Server, ...], notes: list[str]
    ) -> list[MigrationFacts]:
        """What a list that was cut left out of live migrations, and of the resizes that servers are under."""
        wanted: list[dict[str, Any]] = []
        if not self._use_only:
            wanted.append({"migration_type": LIVE_MIGRATION, "limit": MIGRATION_HISTORY})
        moving = {m.server_id for m in found if not m.live and m.in_progress}
        lost = [s.id for s in servers if s.status in _UNDER_RESIZE and s.id not in moving]
        wanted += [{"instance_uuid": server_id} for server_id in lost[:LOST_AT_MOST]]
        if len(lost) > LOST_AT_MOST:
            notes.append(f"migrations: those of {len(lost) - LOST_AT_MOST} more servers under a resize are not known")
        return [
            migration
            for params in wanted
            for migration in records(self._list_migrations(params)[1], read_migration, "migrations", notes)
        ]

    def _with_progress(self, migrations: list[MigrationFacts], notes: list[str]) -> Iterator[MigrationFacts]:
        asked = 0
        left_out = 0
        for migration in migrations:
            bare = msgspec.structs.replace(
                migration, memory_total_bytes=None, memory_processed_bytes=None, memory_remaining_bytes=None
            )
            if migration.status not in _WITH_PROGRESS:
                yield bare
            elif asked >= PROGRESS_AT_MOST:
                left_out += 1
                yield bare
            else:
                asked += 1
                yield self._progress(bare, notes)
        if left_out:
            notes.append(
                f"migrations: progress of {left_out} more was not asked for (at most {PROGRESS_AT_MOST} at once)"
            )

    def _progress(self, migration: MigrationFacts, notes: list[str]) -> MigrationFacts:
        """``migration`` with its byte counts; Nova shows the row only while it runs, so 404 and absence are normal."""
        path = f"/servers/{quote(migration.server_id, safe='')}/migrations"
        try:
            body = self._connection.get("compute", path, microversion=WANTED)
        except HttpStatusError as exc:
            if exc.status not in (403, 404, 409):
                raise
            if exc.status == 403:
                notes.append(f"migrations: {exc}")
            return migration
        for row in rows(body, "migrations", "migrations"):
            if isinstance(row, dict) and (row.get("uuid") == migration.uuid or integer(row, "id") == migration.id):
                return msgspec.structs.replace(
                    migration,
                    status=text(row, "status") or migration.status,
                    destination=text(row, "dest_compute") or migration.destination,
                    memory_total_bytes=integer(row, "memory_total_bytes"),
                    memory_processed_bytes=integer(row, "memory_processed_bytes"),
                    memory_remaining_bytes=integer(row, "memory_remaining_bytes"),
                )
        return migration

    def _flavors(self, old: tuple[Flavor, ...] | None, notes: list[str]) -> tuple[Flavor, ...] | None:
        """All flavors, also private ones; a failure keeps what is known, for nothing else hangs on them."""
        try:
            items = [
                i for page, _ in self._pages("/flavors/detail", "flavors", {"is_public": "None"}, WANTED) for i in page
            ]
        except SourceError as exc:
            if exc.kind in ("unreachable", "timeout", "auth"):
                raise
            notes.append(f"flavors: {exc}")
            return old
        return _same(old, tuple(records(items, read_flavor, "flavors", notes)))

    # -- pages -------------------------------------------------------------------------------------------------------

    def _pages(
        self, path: str, key: str, params: dict[str, Any], microversion: str
    ) -> Iterator[tuple[list[Any], str | None]]:
        """(records, Date header) page by page.

        The marker is the last id. That there is a next link is believed, but it is not followed: behind a proxy it
        often names a host that this machine cannot reach.
        """
        marker: str | None = None
        for _ in range(MAX_PAGES):
            asked = {**params, "limit": PAGE, **({"marker": marker} if marker else {})}
            answer = self._connection.answer("compute", path, params=asked, microversion=microversion)
            body = answer.object()
            items = rows(body, key, key)
            yield items, answer.date
            last = next((optional_ident(i, "id") for i in reversed(items) if isinstance(i, dict)), None)
            if not items or not body.get(f"{key}_links"):
                return
            if last is None or last == marker:
                break
            marker = last
        raise SourceError("protocol", f"nova's list of {key} does not end")


def _newest(migrations: list[MigrationFacts]) -> list[MigrationFacts]:
    """Of a list that begins with the newest as many as are kept, and all that are in progress."""
    return [m for at, m in enumerate(migrations) if at < MIGRATION_HISTORY or m.in_progress]


def _window(date: str | None, items: list[Any], field: str) -> str | None:
    """Where the next ``changes-since`` begins: Nova's clock as it answered, else its newest record, less the overlap.

    None when neither is known: then the next fetch reads everything.
    """
    moment: datetime.datetime | None = None
    if date:
        try:
            moment = email.utils.parsedate_to_datetime(date)
        except (ValueError, TypeError, OverflowError):
            moment = None
    if moment is None:
        stamps = [text(i, field) for i in items if isinstance(i, dict)]
        for stamp in stamps:
            try:
                one = datetime.datetime.fromisoformat(stamp or "")
            except ValueError:
                continue
            one = one if one.tzinfo else one.replace(tzinfo=datetime.UTC)
            moment = one if moment is None else max(moment, one)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    try:
        return (moment.astimezone(datetime.UTC) - OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return None


def _same(old: T | None, new: T) -> T:
    """``old`` itself when nothing changed, so that whoever holds it can see that by identity."""
    return old if old is not None and old == new else new
