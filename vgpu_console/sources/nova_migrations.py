"""One server's live migration, read afresh: for plans before it, for following it, for what became of it.

Each method is one or two requests and raises SourceError. Lists of the whole cloud are the NovaSource's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import msgspec

from vgpu_console.model.migration_trace import (
    LIVE_ACTION,
    ActionEvent,
    Consumer,
    Holding,
    MigrationTrace,
    ServerAction,
    action_of,
)
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError
from vgpu_console.sources.nova import WANTED
from vgpu_console.sources.nova_records import read_migration, read_server
from vgpu_console.sources.tolerant import amounts, ident, integer, mapping, optional_ident, records, rows, text

PAGE = 500
"""The most migrations that are asked for at once."""
_DETAILS = 2000


class NovaMigrations:
    """Reads through the console's one connection. ``notes`` tell what the last call left out."""

    def __init__(self, connection: CloudConnection, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._clock = clock
        self.notes: list[str] = []

    def server(self, server_id: str) -> Server | None:
        """The server as Nova has it now; None when there is none of that id."""
        try:
            body = self._connection.get("compute", f"/servers/{quote(server_id, safe='')}", microversion=WANTED)
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return next(iter(records([body.get("server")], lambda row: read_server(row, {}), "servers", self.notes)), None)

    def migrations(self, server_id: str) -> tuple[MigrationFacts, ...]:
        """Its live migrations, the newest first, those in progress with their byte counts."""
        asked = {"instance_uuid": server_id, "migration_type": "live-migration"}
        found = [m for m in self._listed(asked) if m.server_id == server_id]
        if not any(m.in_progress and m.status != "accepted" for m in found):
            return tuple(found)
        return counted(found, self.in_progress(server_id))

    def running(self, since: str | None = None) -> tuple[MigrationFacts, ...]:
        """Every live migration of the cloud that changed since (Nova's time; None: all), the newest first.

        One request for any number of migrations that are followed; byte counts are not in it. A row that was never
        changed since it was made has no such time and is in no answer with ``since``.
        """
        asked: dict[str, Any] = {"migration_type": "live-migration", "limit": PAGE}
        if since is not None:
            asked["changes-since"] = since
        return tuple(self._listed(asked))

    def in_progress(self, server_id: str) -> tuple[MigrationFacts, ...]:
        """Its rows of ``GET /servers/{id}/migrations`` with their byte counts.

        One that is only accepted is not among them, nor one that has ended; none, too, where it may not be read.
        """
        path = f"/servers/{quote(server_id, safe='')}/migrations"
        try:
            body = self._connection.get("compute", path, microversion=WANTED)
        except HttpStatusError as error:
            if error.status not in (403, 404, 409):
                raise
            return ()
        return tuple(records(rows(body, "migrations", "migrations"), _with_bytes, "migrations", self.notes))

    def actions(self, server_id: str) -> tuple[ServerAction, ...] | None:
        """Its latest actions without their events, the newest first; None when they may not be read."""
        path = f"/servers/{quote(server_id, safe='')}/os-instance-actions"
        try:
            body = self._connection.get("compute", path, params={"limit": 20}, microversion=WANTED)
        except HttpStatusError as error:
            if error.status not in (403, 404):
                raise
            self.notes.append(f"instance actions: {error}")
            return None
        found = records(rows(body, "instanceActions", "instance actions"), _action, "instance actions", self.notes)
        return tuple(sorted(found, key=lambda a: a.started_at or "", reverse=True))

    def with_events(self, server_id: str, request_id: str) -> ServerAction | None:
        """One action with all its events; None when it may not be read or is no more."""
        path = f"/servers/{quote(server_id, safe='')}/os-instance-actions/{quote(request_id, safe='')}"
        try:
            body = self._connection.get("compute", path, microversion=WANTED)
        except HttpStatusError as error:
            if error.status not in (403, 404):
                raise
            self.notes.append(f"events of an instance action: {error}")
            return None
        return next(iter(records([body.get("instanceAction")], _action, "instance actions", self.notes)), None)

    def action(self, server_id: str, name: str = LIVE_ACTION) -> ServerAction | None:
        """Its newest action of that name with all events; None when it had none, or when it may not be read."""
        newest = next((a for a in self.actions(server_id) or () if a.action == name), None)
        return self.with_events(server_id, newest.request_id) if newest is not None else None

    def consumer(self, uuid: str) -> Consumer:
        """What a consumer holds in Placement, and what is needed to change that safely."""
        body = self._connection.get("placement", f"/allocations/{quote(uuid, safe='')}", microversion="1.28")
        out = []
        for key, row in mapping(body, "allocations").items():
            provider = optional_ident({"uuid": key}, "uuid")
            if provider is not None and isinstance(row, dict):
                out.append(Holding(provider, amounts(row, "resources")))
        return Consumer(
            uuid=uuid,
            holds=tuple(sorted(out, key=lambda h: h.provider)),
            generation=integer(body, "consumer_generation"),
            project_id=optional_ident(body, "project_id"),
            user_id=optional_ident(body, "user_id"),
        )

    def trace(self, server_id: str, migration: str | None = None) -> MigrationTrace:
        """Everything about one migration (None: the newest). Seven requests at most."""
        self.notes.clear()
        server = self.server(server_id)
        moves = self.migrations(server_id)
        told = next((m for m in moves if migration in (None, m.uuid)), None)
        uuid = migration or (told.uuid if told is not None else None)
        actions = self.actions(server_id) if server is not None else None
        began = action_of(actions or (), told) if told is not None else None
        return MigrationTrace(
            server=server,
            server_gone=server is None,
            migrations=moves,
            action=self.with_events(server_id, began.request_id) if began is not None else None,
            actions=actions,
            server_holds=self.consumer(server_id).holds,
            migration_holds=self.consumer(uuid).holds if uuid is not None else (),
            fetched_at=self._clock(),
        )

    def _listed(self, asked: dict[str, Any]) -> list[MigrationFacts]:
        """Live migrations of ``GET /os-migrations``, the newest first."""
        body = self._connection.get("compute", "/os-migrations", params=asked, microversion=WANTED)
        found = records(rows(body, "migrations", "migrations"), read_migration, "migrations", self.notes)
        if body.get("migrations_links"):
            self.notes.append(f"migrations: only the newest {len(found)} were read")
        return sorted((m for m in found if m.live), key=lambda m: -m.id)


def counted(listed: Iterable[MigrationFacts], rows: Iterable[MigrationFacts]) -> tuple[MigrationFacts, ...]:
    """Migrations with the byte counts of other rows of the same ones."""
    known = {row.id: row for row in rows}
    return tuple(_counted(m, known.get(m.id)) for m in listed)


def _with_bytes(record: dict[str, Any]) -> MigrationFacts:
    found = read_migration({**record, "instance_uuid": record.get("server_uuid")})
    return msgspec.structs.replace(
        found,
        memory_total_bytes=integer(record, "memory_total_bytes"),
        memory_processed_bytes=integer(record, "memory_processed_bytes"),
        memory_remaining_bytes=integer(record, "memory_remaining_bytes"),
    )


def _counted(listed: MigrationFacts, counted: MigrationFacts | None) -> MigrationFacts:
    """The list's row with what the other call knows better: it was asked later."""
    if counted is None:
        return listed
    return msgspec.structs.replace(
        listed,
        status=counted.status or listed.status,
        destination=counted.destination or listed.destination,
        memory_total_bytes=counted.memory_total_bytes,
        memory_processed_bytes=counted.memory_processed_bytes,
        memory_remaining_bytes=counted.memory_remaining_bytes,
    )


def _action(record: dict[str, Any]) -> ServerAction:
    """An instance action. Raises BadRecord."""
    events = record.get("events")
    found = [_event(e) for e in events if isinstance(e, dict)] if isinstance(events, list) else []
    found.sort(key=lambda e: e.started_at or "")
    return ServerAction(
        request_id=ident(record, "request_id"),
        action=text(record, "action") or "",
        started_at=text(record, "start_time"),
        message=text(record, "message"),
        events=tuple(found),
    )


def _event(record: dict[str, Any]) -> ActionEvent:
    return ActionEvent(
        name=text(record, "event") or "",
        result=text(record, "result"),
        host=text(record, "host"),
        started_at=text(record, "start_time"),
        finished_at=text(record, "finish_time"),
        details=text(record, "details", _DETAILS),
    )
