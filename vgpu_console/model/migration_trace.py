"""What OpenStack says of one server's live migration, read afresh: the server, its migrations, events, allocations."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from vgpu_console.model.nova import MigrationFacts, Server

LIVE_ACTION, CANCEL_ACTION = "live-migration", "live_migration_cancel"
FORCE_ACTION = "live_migration_force_complete"

SAME_CLOCK_S = 2.0
"""An action and its migration are written by two of Nova's services, whose clocks may differ by so much."""


class ActionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an instance action. Times are Nova's own words; ``details`` need microversion 2.84 and role admin."""

    name: str  # "compute_check_can_live_migrate_destination"
    result: str | None  # "Success", "Error"; None while it runs
    host: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    details: str | None = None


class ServerAction(msgspec.Struct, frozen=True, kw_only=True):
    """An instance action with its events, oldest first."""

    request_id: str
    action: str  # "live-migration", "live_migration_cancel", "live_migration_force_complete"
    started_at: str | None = None
    message: str | None = None  # "Error" once one of its events has failed
    events: tuple[ActionEvent, ...] = ()


class Holding(msgspec.Struct, frozen=True):
    """What a consumer holds of one provider."""

    provider: str
    resources: dict[str, int]


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer of Placement with what it holds and what a safe change of it needs (``GET /allocations``, 1.28)."""

    uuid: str
    holds: tuple[Holding, ...] = ()
    generation: int | None = None  # None also: it holds nothing
    project_id: str | None = None
    user_id: str | None = None


class MigrationTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. None: not read. ``server`` None with ``server_gone``: Nova knows no such server any more.

    ``server_holds`` and ``migration_holds`` are the allocations of the two consumers: while a server moves, its
    migration's uuid holds what it had on the source.
    """

    server: Server | None = None
    server_gone: bool = False
    migrations: tuple[MigrationFacts, ...] | None = None  # live ones of this server, the newest first
    action: ServerAction | None = None  # the live-migration action of the migration that was asked about
    actions: tuple[ServerAction, ...] | None = None  # its latest of every kind without their events, the newest first
    server_holds: tuple[Holding, ...] | None = None
    migration_holds: tuple[Holding, ...] | None = None
    fetched_at: float = 0.0

    def migration(self, uuid: str) -> MigrationFacts | None:
        """One of its migrations."""
        return next((m for m in self.migrations or () if m.uuid == uuid), None)


def nova_seconds(stamp: str | None) -> float | None:
    """One of Nova's times as seconds since the epoch, by Nova's clock; None when it is none. No zone means UTC."""
    try:
        moment = datetime.datetime.fromisoformat(stamp or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def action_of(
    actions: Sequence[ServerAction], migration: MigrationFacts, name: str = LIVE_ACTION
) -> ServerAction | None:
    """The action of that name that belongs to a migration: for what began it the last one before its row was made.

    None where Nova's times do not tell.
    """
    made = nova_seconds(migration.created_at)
    if made is None:
        return None
    known = [(at, a) for a in actions if a.action == name and (at := nova_seconds(a.started_at)) is not None]
    before = [(at, a) for at, a in known if at <= made + SAME_CLOCK_S]
    return max(before, key=lambda pair: pair[0])[1] if before else None


def asked_during(actions: Sequence[ServerAction], migration: MigrationFacts, name: str) -> bool | None:
    """Whether an action of that name (an abort, a forced completion) was asked for while the migration ran.

    None where Nova's times do not tell.
    """
    begun, changed = nova_seconds(migration.created_at), nova_seconds(migration.updated_at)
    if begun is None:
        return None
    ended = None if migration.in_progress else changed
    times = [nova_seconds(a.started_at) for a in actions if a.action == name]
    if any(
        at is not None and at >= begun - SAME_CLOCK_S and (ended is None or at <= ended + SAME_CLOCK_S) for at in times
    ):
        return True
    return None if None in times else False
