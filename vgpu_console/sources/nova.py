"""Nova: services, hypervisors, servers of all projects, flavors and live migrations.

The first read takes everything in pages. After that servers and migrations are asked for with ``changes-since``, with
a window that overlaps the last one and is set by Nova's own clock (the Date header), never by ours. Now and then, and
after a failure, everything is read again, so that a change that slipped through cannot stay.
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from vgpu_console.model.nova import (
    LIVE_MIGRATION_IN_PROGRESS,
    ComputeService,
    Flavor,
    Hypervisor,
    MigrationFacts,
    NovaFacts,
    Server,
)
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError, counting
from vgpu_console.sources.cloud_errors import ROLES
from vgpu_console.sources.tolerant import (
    BadRecord,
    flag,
    ident,
    integer,
    mapping,
    optional_ident,
    records,
    rows,
    text,
    text_map,
)

WANTED = "2.100"
"""Newest microversion of use: nothing after it adds a field that is read here. 2.96 is 2024.1's newest."""

HYPERVISOR_WANTED = "2.87"
"""From 2.88 on Nova may ask every nova-compute for its uptime while it answers (api/openstack/compute/hypervisors)."""

PAGE = 1000  # Nova's own [api]max_limit may make pages smaller
MAX_PAGES = 10_000
MIGRATION_HISTORY = 500  # newest live migrations kept, ended ones included
PROGRESS_AT_MOST = 10  # migrations whose byte counts are asked for in one fetch; one request each
OVERLAP = datetime.timedelta(seconds=120)  # controllers' clocks may differ by this much without a change being missed
FULL_EVERY = 20  # refreshes between two full reads
FLAVORS_EVERY = 10  # refreshes between two reads of the flavors

T = TypeVar("T")

_GONE = frozenset({"DELETED", "SOFT_DELETED"})
_WITH_PROGRESS = LIVE_MIGRATION_IN_PROGRESS - {"accepted"}  # /servers/{id}/migrations does not show accepted ones


class NovaSource:
    """Reads Nova through one connection. ``requests`` and ``notes`` describe the last fetch."""

    kind: SourceKind = "nova"
    host = ""

    def __init__(self, connection: CloudConnection) -> None:
        self._connection = connection
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
        services = self._optional("services", notes, self._services)
        hypervisors = self._optional("hypervisors", notes, self._hypervisors)
        servers = self._servers(old.servers, notes)
        migrations = self._optional("migrations", notes, lambda n: self._migrations(old.migrations, n))
        flavors = old.flavors
        if flavors is None or self._refreshes % FLAVORS_EVERY == 0:
            flavors = self._flavors(old.flavors, notes)
        return NovaFacts(
            microversion=self._connection.microversion("compute", WANTED),
            max_microversion=self._connection.max_microversion("compute"),
            services=services,
            hypervisors=hypervisors,
            servers=servers,
            all_projects=self._all_projects,
            migrations=migrations,
            flavors=flavors,
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
        return tuple(records(rows(body, "services", "services"), _service, "services", notes))

    def _hypervisors(self, notes: list[str]) -> tuple[Hypervisor, ...]:
        items = [
            i for page, _ in self._pages("/os-hypervisors/detail", "hypervisors", {}, HYPERVISOR_WANTED) for i in page
        ]
        return tuple(records(items, _hypervisor, "hypervisors", notes))

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
        found = records(changed, lambda r: _server(r, known), "servers", notes)
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

    def _migrations(self, old: tuple[MigrationFacts, ...] | None, notes: list[str]) -> tuple[MigrationFacts, ...]:
        """The newest live migrations, with byte counts for those in progress."""
        params: dict[str, Any] = {"migration_type": "live-migration", "limit": MIGRATION_HISTORY}
        since = self._migrations_since if old is not None else None
        if since is not None:
            params["changes-since"] = since
        answer = self._connection.answer("compute", "/os-migrations", params=params, microversion=WANTED)
        items = rows(answer.object(), "migrations", "migrations")
        found = records(items, _migration, "migrations", notes)
        self._migrations_since = _window(answer.date, items, "updated_at")
        current = {m.id: m for m in old or ()} if since is not None else {}
        current.update({m.id: m for m in found})
        # Nova forgets a server's migrations with the server, and changes-since does not tell
        current = {number: m for number, m in current.items() if m.server_id not in self._gone}
        newest = sorted(current.values(), key=lambda m: m.id, reverse=True)
        kept = [m for i, m in enumerate(newest) if i < MIGRATION_HISTORY or m.status in LIVE_MIGRATION_IN_PROGRESS]
        return _same(old, tuple(self._with_progress(kept, notes)))

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
        return _same(old, tuple(records(items, _flavor, "flavors", notes)))

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


# -- records -----------------------------------------------------------------------------------------------------------


def _service(record: dict[str, Any]) -> ComputeService:
    host = text(record, "host")
    if not host:
        raise BadRecord("no host")
    return ComputeService(
        id=ident(record, "id"),
        host=host,
        state=text(record, "state"),
        status=text(record, "status"),
        disabled_reason=text(record, "disabled_reason"),
        zone=text(record, "zone"),
        updated_at=text(record, "updated_at"),
        forced_down=flag(record, "forced_down"),
    )


def _hypervisor(record: dict[str, Any]) -> Hypervisor:
    name = text(record, "hypervisor_hostname")
    if not name:
        raise BadRecord("no hypervisor_hostname")
    return Hypervisor(
        id=ident(record, "id"),
        name=name,
        service_host=text(mapping(record, "service"), "host") or "",
        state=text(record, "state"),
        status=text(record, "status"),
        type=text(record, "hypervisor_type"),
        version=integer(record, "hypervisor_version"),
        host_ip=text(record, "host_ip"),
    )


def _server(record: dict[str, Any], known: dict[str, Server]) -> Server:
    server_id = ident(record, "id")
    status = text(record, "status")
    if "name" not in record and status == "UNKNOWN" and server_id in known:
        # its cell is down: since 2.69 Nova then sends little more than the id
        return msgspec.structs.replace(known[server_id], status=status)
    flavor = mapping(record, "flavor")
    return Server(
        id=server_id,
        name=text(record, "name") or "",
        project_id=text(record, "tenant_id") or "",
        user_id=text(record, "user_id") or "",
        host=text(record, "OS-EXT-SRV-ATTR:host"),
        hypervisor=text(record, "OS-EXT-SRV-ATTR:hypervisor_hostname"),
        instance_name=text(record, "OS-EXT-SRV-ATTR:instance_name"),
        status=status,
        vm_state=text(record, "OS-EXT-STS:vm_state"),
        task_state=text(record, "OS-EXT-STS:task_state"),
        power_state=integer(record, "OS-EXT-STS:power_state"),
        flavor=text(flavor, "original_name"),
        ram_mib=integer(flavor, "ram"),
        vcpus=integer(flavor, "vcpus"),
        extra_specs=text_map(flavor, "extra_specs"),
        created=text(record, "created"),
        updated=text(record, "updated"),
        locked=flag(record, "locked"),
        fault=text(mapping(record, "fault"), "message", 500),
    )


def _flavor(record: dict[str, Any]) -> Flavor:
    return Flavor(
        id=ident(record, "id"),
        name=text(record, "name") or "",
        ram_mib=integer(record, "ram"),
        vcpus=integer(record, "vcpus"),
        disk_gib=integer(record, "disk"),
        extra_specs=text_map(record, "extra_specs"),
    )


def _migration(record: dict[str, Any]) -> MigrationFacts:
    number = integer(record, "id")
    if number is None:
        raise BadRecord("no id")
    return MigrationFacts(
        id=number,
        uuid=ident(record, "uuid"),
        server_id=ident(record, "instance_uuid"),
        source=text(record, "source_compute"),
        destination=text(record, "dest_compute"),
        status=text(record, "status"),
        migration_type=text(record, "migration_type"),
        created_at=text(record, "created_at"),
        updated_at=text(record, "updated_at"),
        project_id=text(record, "project_id"),
    )
