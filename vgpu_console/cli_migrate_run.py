"""What ``migrate`` does: the pre-check, and plans of a live migration's start, abort, force-complete, reset and heal.

How plans are gone about is in ``cli_plan``, how a migration is followed in ``cli_follow``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vgpu_console.actions import migrate, migrate_mend
from vgpu_console.actions.devices import find_host
from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, Plan, PlanError
from vgpu_console.actions.runner import Outcome
from vgpu_console.actions.servers import find_server
from vgpu_console.cli_follow import Followed, follow_to_its_end
from vgpu_console.cli_migrate_text import check_lines, check_record, write_check
from vgpu_console.cli_output import json_text
from vgpu_console.cli_plan import Proposal, Reading, Way, change, reading
from vgpu_console.cli_run import NAME, OK, demo_of, is_dark, layout, no_connection, say, settings_of, tell_gaps
from vgpu_console.cli_run import REFUSED as REFUSED_CODE
from vgpu_console.fleet.migration_move import subject_of
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.migration_history import HistoryError
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_trace import FORCE_ACTION
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.scene import UnknownHost, UnknownServer
from vgpu_console.sources.libvirt_guest import look_at_guest
from vgpu_console.sources.nova_migrations import NovaMigrations
from vgpu_console.text import plain
from vgpu_console.views import EVERYTHING, OPENSTACK

Given = Mapping[str, tuple[Any, str]]
_SHOWN = 8
AGAIN_S = 30.0
"""So long a second reading of the fleet may take."""


# --- check ------------------------------------------------------------------------------------------------------------


def check_server(given: Given, server: str, to: str | None, max_downtime: float | None, form: str) -> int:
    """``migrate check``; returns the exit code: 0 only where every check passes."""
    settings = settings_of(given)
    with reading(settings, demo_of(given), EVERYTHING) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        try:
            found = _precheck(read, find_server(read.facts, server), to, max_downtime)
        except PlanError as error:
            say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
            return error.exit
        if form == "json":
            sys.stdout.write(json_text(check_record(found), pretty=True) + "\n")
        else:
            write_check(found, sys.stdout, layout(settings))
        sys.stdout.flush()
        say(*found.notes)
        tell_gaps((), read.snapshot.errors)
    return OK if found.chosen is not None and found.chosen.verdict == "pass" else REFUSED_CODE


def _precheck(
    read: Reading, server: Server, to: str | None, max_downtime: float | None, *, others: bool = True
) -> Precheck:
    """The pre-check of the server that was found. Raises PlanError."""
    if not server.host:
        raise PlanError(f"{server.name or server.id} is on no host: there is nothing to move", REFUSED)
    destination = find_host(read.snapshot, to).name if to is not None else None
    try:
        found: Precheck = read.fleet.precheck(
            server.id, destination, snapshot=read.snapshot, max_downtime_s=max_downtime, others=others
        )
    except UnknownServer:
        raise PlanError(f"{server.name or server.id} is in no source that was read", NO_CONNECTION) from None
    except UnknownHost as error:
        raise PlanError(f"no source has told of host {error}", NO_CONNECTION) from None
    return found


# --- start and follow -------------------------------------------------------------------------------------------------


def start_migration(
    given: Given, server: str, to: str | None, max_downtime: float | None, way: Way, *, follow: bool
) -> int:
    """``migrate start``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        row = find_server(read.facts, server)
        found = _precheck(read, row, to, max_downtime)
        if found.chosen is None:
            raise PlanError(_nowhere(found), REFUSED)
        last = migrate.newest(NovaMigrations(read.fleet.cloud).migrations(row.id))
        plan = migrate.plan_start(row, found.chosen, last)

        def then(outcomes: Sequence[Outcome]) -> int | None:
            return _after_start(read, outcomes[0], row, last, found, to, max_downtime, way, follow)

        return Proposal([plan], several=False, noun="migration", notes=found.notes, then=then)

    return change(given, migrate.START, way, make, kinds=EVERYTHING)


def _nowhere(found: Precheck) -> str:
    """Why no host is a destination, a line each."""
    lines = [f"refused: {found.server or found.server_id} can go from {found.source} to no other host"]
    lines += [f"  {one.host}: {one.reason}" for one in found.candidates[:_SHOWN]]
    more = len(found.candidates) - _SHOWN
    return "\n".join([*lines, f"  and {more} more hosts: migrate check shows them"] if more > 0 else lines)


def _after_start(
    read: Reading,
    outcome: Outcome,
    row: Server,
    last: int,
    found: Precheck,
    to: str | None,
    max_downtime: float | None,
    way: Way,
    follow: bool,
) -> int | None:
    """Follow what was begun; where the server has changed meanwhile, show what a check says now."""
    chosen = found.chosen
    if outcome.result == "moved":
        _show_new_check(read, row, to, max_downtime)
    if not outcome.ok or not follow or chosen is None:
        if outcome.result in ("done", "unverified"):
            say(f"to follow it: {NAME} migrate follow {row.id}")
        return None
    subject = subject_of(
        read.snapshot,
        row.id,
        after=last,
        name=row.name or row.id,
        source=row.host,
        destination=chosen.host,
        predicted_low_ms=chosen.predicted.low_ms,
        predicted_high_ms=chosen.predicted.high_ms,
    )
    return follow_to_its_end(_followed(read), subject, way.form)


def _show_new_check(read: Reading, row: Server, to: str | None, max_downtime: float | None) -> None:
    from vgpu_console.cli_migrate_text import answer

    again = _read_again(read)
    try:
        found = _precheck(again, find_server(again.facts, row.id), to, max_downtime, others=to is None)
    except PlanError as error:
        say(f"checked again: {error}")
        return
    say(f"checked again: {answer(found)}")
    say(*(check_lines(found.chosen.checks) if found.chosen is not None else ()))


def _read_again(read: Reading) -> Reading:
    """The same fleet as its sources tell it now; what does not answer in time stays as it was."""
    collector, end = read.fleet.collector, time.monotonic() + AGAIN_S
    collector.refresh_now()
    collector.tick()
    seen = collector.version
    while collector.busy() and time.monotonic() < end:
        seen = collector.wait(seen, 0.5)
        collector.tick()
    facts = collector.facts()
    return read._replace(facts=facts, snapshot=read.fleet.joiner.join(facts, read.fleet.clock()))


def _followed(read: Reading) -> Followed:
    return Followed(read.fleet, read.snapshot, read.journal, read.fleet.cloud.spec.cloud or "")


def follow_migration(given: Given, server: str, form: str) -> int:
    """``migrate follow``: the server's newest live migration, running or ended; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    with reading(settings, demo, OPENSTACK) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        try:
            row = find_server(read.facts, server)
            migration = _newest(read, row)
        except PlanError as error:
            say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
            return error.exit
    hosts = frozenset(h for h in (migration.source, migration.destination) if h)
    with reading(settings, demo, EVERYTHING, hosts) as read:
        tell_gaps((), read.snapshot.errors)
        past = _remembered(read, migration)
        subject = subject_of(
            read.snapshot,
            row.id,
            migration=migration.uuid,
            name=row.name or row.id,
            source=migration.source,
            destination=migration.destination,
            predicted_low_ms=past.low_ms if past is not None else None,
            predicted_high_ms=past.high_ms if past is not None else None,
        )
        return follow_to_its_end(_followed(read), subject, form)


def _newest(read: Reading, row: Server) -> MigrationFacts:
    """The server's newest live migration. Raises PlanError when it never had one, SourceError."""
    found: tuple[MigrationFacts, ...] = NovaMigrations(read.fleet.cloud).migrations(row.id)
    if not found:
        raise PlanError(f"{row.name or row.id} has never been live-migrated, as far as Nova remembers", REFUSED)
    return found[0]


def _remembered(read: Reading, migration: MigrationFacts) -> Downtime | None:
    """What was predicted when it was started, where this console's history has it."""
    try:
        record = read.fleet.history().get(migration.uuid)
    except HistoryError as error:
        say(str(error))
        return None
    if record is None or record.predicted_low_ms is None:
        return None
    return Downtime(low_ms=record.predicted_low_ms, high_ms=record.predicted_high_ms, basis=())


# --- abort, force, reset, heal ----------------------------------------------------------------------------------------


def abort_migration(given: Given, server: str, way: Way) -> int:
    """``migrate abort``; returns the exit code."""

    def one(read: Reading, row: Server) -> Sequence[Plan]:
        return [migrate.plan_abort(read.facts, row, _newest(read, row))]

    return _change(given, migrate.ABORT, server, way, one, told=True)


def force_migration(given: Given, server: str, way: Way) -> int:
    """``migrate force-complete``; returns the exit code."""

    def one(read: Reading, row: Server) -> Sequence[Plan]:
        migration = _newest(read, row)
        actions = NovaMigrations(read.fleet.cloud).actions(row.id)
        if actions is None:
            raise PlanError("the server's instance actions may not be read: what was asked for is not seen", REFUSED)
        forced = sum(a.action == FORCE_ACTION for a in actions)
        return [migrate.plan_force(row, migration, forced, _remembered(read, migration))]

    return _change(given, migrate.FORCE, server, way, one, told=True)


def reset_server(given: Given, server: str, way: Way) -> int:
    """``migrate reset``: looks at the guest in libvirt of the hosts it may be on; returns the exit code."""

    def one(read: Reading, row: Server) -> Sequence[Plan]:
        hosts = [row.host] if row.host else []
        for migration in NovaMigrations(read.fleet.cloud).migrations(row.id)[:1]:
            hosts += [migration.source or "", migration.destination or ""]
        runs_on: str | None = None
        looked = False
        for host in dict.fromkeys(h for h in hosts if h):
            address = read.fleet.libvirt_address(host)
            if address is None:
                continue
            look = look_at_guest(host, address.uri, address.opener, row.id, clock=read.fleet.clock)
            if look.state is None:
                say(f"libvirt of {host}: {look.why}")
                continue
            looked = looked or host == row.host
            if look.state == "running":
                runs_on = runs_on or host
        return [migrate_mend.plan_reset(row, runs_on, looked)]

    return _change(given, migrate_mend.RESET, server, way, one)


def heal_migrations(given: Given, text: str, way: Way) -> int:
    """``migrate heal``: for a server all its ended live migrations, or the one that is named by Nova's uuid of it."""

    def make(read: Reading) -> Proposal:
        reader = NovaMigrations(read.fleet.cloud)
        row, migrations = _meant(read.facts, reader, text)
        plans = []
        for migration in migrations:
            held = reader.consumer(migration.uuid)
            if held.holds and not migration.in_progress:
                plans.append(migrate_mend.plan_heal(migration, held, row))
        if not plans:
            who = f"migration {migrations[0].uuid}" if len(migrations) == 1 else "none of its live migrations"
            word = "holds nothing" if len(migrations) == 1 else "holds anything"
            running = any(m.in_progress for m in migrations)
            more = "; what one under way holds is in use" if running else ""
            raise PlanError(f"{who} {word} in Placement: there is nothing to heal{more}", REFUSED)
        return Proposal(plans, several=len(plans) > 1, noun="allocation")

    return change(given, migrate_mend.HEAL, way, make, kinds=OPENSTACK)


def _meant(facts: Facts, reader: NovaMigrations, text: str) -> tuple[Server | None, tuple[MigrationFacts, ...]]:
    """The server and the migrations that a migration's uuid or a server mean. Raises PlanError."""
    asked = plain(text.strip().lower(), 80)
    listed = (facts.nova.migrations if facts.nova is not None else None) or ()
    named = next((m for m in listed if m.uuid == asked), None)
    if named is not None:
        row = next((s for s in (facts.nova.servers if facts.nova else None) or () if s.id == named.server_id), None)
        return row, (named,)
    row = find_server(facts, text)
    found = reader.migrations(row.id)
    if not found:
        raise PlanError(f"{row.name or row.id} has never been live-migrated, as far as Nova remembers", REFUSED)
    return row, found


def _change(
    given: Given,
    action_id: str,
    server: str,
    way: Way,
    one: Callable[[Reading, Server], Sequence[Plan]],
    *,
    told: bool = False,
) -> int:
    def make(read: Reading) -> Proposal:
        row = find_server(read.facts, server)

        def then(outcomes: Sequence[Outcome]) -> int | None:
            if told and outcomes[0].result in ("done", "unverified"):
                say(f"to see how it ends: {NAME} migrate follow {row.id}")
            return None

        return Proposal(one(read, row), several=False, noun="migration" if told else "server", then=then)

    return change(given, action_id, way, make, kinds=OPENSTACK)
