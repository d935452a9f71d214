"""What ``drain`` does: plan, ask, then let the drain run and tell how it goes; or take up one that was left."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
import msgspec

from vgpu_console.actions.devices import find_host
from vgpu_console.actions.drain import Drain, DrainOptions, Item, new_drain, taken_up
from vgpu_console.actions.drain_follow import TimelineFollowing
from vgpu_console.actions.drain_report import DrainRow, DrainView, report, report_lines
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.actions.drain_store import DrainFileError, DrainHeld, DrainStore, default_folder, new_id
from vgpu_console.actions.drain_world import Following, LiveDrainWorld
from vgpu_console.actions.plan import USAGE, PlanError
from vgpu_console.actions.registry import READ_ONLY, action
from vgpu_console.cli_drain_read import plan_record, write_plan
from vgpu_console.cli_follow import Followed, Teller, Turns, following
from vgpu_console.cli_output import Layout, json_text
from vgpu_console.cli_plan import Reading, reading, tell_unfinished
from vgpu_console.cli_run import (
    FAILED,
    INTERRUPTED,
    NAME,
    OK,
    PARTIAL,
    REFUSED,
    demo_of,
    forget_typed,
    is_dark,
    layout,
    no_connection,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.config import Settings
from vgpu_console.fleet.drain_places import plan_drain
from vgpu_console.migration_history import HistoryError
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.downtime import PastMove, told_downtime
from vgpu_console.rules.migration.drain_words import DrainPlan
from vgpu_console.rules.migration.scene import UnknownHost
from vgpu_console.sources.nova_migrations import NovaMigrations
from vgpu_console.views import EVERYTHING, OPENSTACK

Given = Mapping[str, tuple[Any, str]]


class Asked(NamedTuple):
    """What ``drain`` was asked for. ``stop_after_failures`` None: whatever fails, it goes on."""

    to: tuple[str, ...]
    max_parallel: int
    stop_after_failures: int | None
    max_downtime: float | None
    disable: bool
    reason: str
    accept: frozenset[str]
    yes: bool
    dry_run: bool
    form: str


# --- begin ------------------------------------------------------------------------------------------------------------


def begin_drain(given: Given, host: str, asked: Asked) -> int:
    """``drain HOST``; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    if not asked.dry_run and (code := _may_not(settings, asked)):
        return code
    with reading(settings, demo, EVERYTHING) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        tell_unfinished(read.journal, read.world)
        try:
            plan = _plan(read, host, asked)
        except PlanError as error:
            say(f"{NAME}: {error}")
            return error.exit
        tell_gaps((), read.snapshot.errors)
        say(*plan.notes)
        store = DrainStore(default_folder(demo is not None))
        _tell_left(store, read.world.name, plan.host)
        if asked.dry_run:
            return _show_plan(settings, plan, asked)
        impossible = _impossible(read, disable=asked.disable)
        if impossible:
            say(f"{NAME}: refused: {impossible}")
            return REFUSED
        if not plan.moves and not (asked.disable and not plan.stay):
            return _nothing_moves(settings, plan, asked)
        accepted = _confirmed(plan, asked)
        if accepted is None:
            return REFUSED
        options = DrainOptions(
            to=_hosts(read.snapshot, asked.to),
            max_parallel=asked.max_parallel,
            stop_after_failures=asked.stop_after_failures,
            accepted=accepted,
            max_downtime_ms=None if asked.max_downtime is None else asked.max_downtime * 1000.0,
            disable=asked.disable,
            reason=asked.reason,
        )
        now = read.fleet.clock()
        drain = new_drain(plan, options, id=new_id(now), cloud=read.world.name, now=now, by=_user())
        return _run(read, drain, store, asked.form)


def _tell_left(store: DrainStore, cloud: str, host: str) -> None:
    """An earlier drain of the host may be what was meant."""
    try:
        left = store.unfinished(cloud, host)
    except DrainFileError as error:
        say(str(error))
        return
    say(*(f"an earlier drain of {host} was left; to go on with it instead: {_resume(d)}" for d in left))


def _may_not(settings: Settings, asked: Asked) -> int:
    """Refused before anything is read; 0: it may go on."""
    if settings.read_only:
        origin = settings.origin("read_only")
        say(f"{NAME}: refused: {READ_ONLY} ({origin.detail or origin.layer}); --dry-run shows the plan")
        return REFUSED
    if not asked.yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        say(f"{NAME}: refused: without a terminal to ask on, this needs --yes; --dry-run shows the plan")
        return REFUSED
    return 0


def _plan(read: Reading, host: str, asked: Asked) -> DrainPlan:
    """Where everything would go. Raises PlanError."""
    name = find_host(read.snapshot, host).name
    try:
        return plan_drain(
            read.fleet.candidates,
            read.snapshot,
            read.facts,
            name,
            read.fleet.clock(),
            to=_hosts(read.snapshot, asked.to),
            settings=read.fleet.downtime_settings(asked.max_downtime),
            past=_past(read),
        )
    except UnknownHost as error:
        raise PlanError(f"no host {error} is known", USAGE) from None
    except ValueError as error:
        raise PlanError(str(error), USAGE) from None


def _hosts(snapshot: Snapshot, names: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(find_host(snapshot, one).name for one in names)) or None


def _past(read: Reading) -> tuple[PastMove, ...]:
    try:
        found: tuple[PastMove, ...] = read.fleet.history().past_moves(read.fleet.cloud.spec.cloud or "")
    except HistoryError as error:
        say(f"{error}; downtimes are predicted without it")
        return ()
    return found


def _impossible(read: Reading, *, disable: bool) -> str:
    """Why it cannot be done with this credential."""
    ids = ["migrate.start", *(["service.disable"] if disable else [])]
    return next((why for one in ids if (why := action(one).available(read.snapshot, read_only=False))), "")


def _show_plan(settings: Settings, plan: DrainPlan, asked: Asked) -> int:
    _write_plan(settings, plan, asked.form)
    missing = [one for one in plan.to_accept if one not in asked.accept]
    if missing:
        say(f"without a terminal this would need {' '.join(f'--accept {one}' for one in missing)}")
    if not plan.stay:
        return OK
    return PARTIAL if plan.moves else REFUSED


def _write_plan(settings: Settings, plan: DrainPlan, form: str) -> None:
    if form == "json":
        sys.stdout.write(json_text(plan_record(plan), pretty=True) + "\n")
    else:
        write_plan(plan, sys.stdout, layout(settings))
    sys.stdout.flush()


def _nothing_moves(settings: Settings, plan: DrainPlan, asked: Asked) -> int:
    _write_plan(settings, plan, asked.form)
    if not plan.stay:
        say(f"no server is on {plan.host}: there is nothing to do")
        return OK
    say(f"{NAME}: refused: none of its {len(plan.stay)} servers can go")
    return REFUSED


def _confirmed(plan: DrainPlan, asked: Asked) -> frozenset[str] | None:
    """The checks that are accepted; None: it is not to be done. Raises click.Abort at ctrl+c."""
    missing = [one for one in plan.to_accept if one not in asked.accept]
    if asked.yes:
        if missing:
            for one in missing:
                say(f"needs to be accepted, for {plan.to_accept[one]} of {len(plan.moves)}: {one}")
            say(f"{NAME}: refused: to accept it: {' '.join(f'--accept {one}' for one in missing)}")
            return None
        return asked.accept
    write_plan(plan, sys.stderr, Layout())
    say("")
    count = len(plan.moves)
    what = f"live-migrate {count} server{'s' if count != 1 else ''} away from {plan.host}"
    if asked.disable:
        what = f"disable nova-compute of {plan.host} and {what}"
    question = f"Accept {', '.join(missing)} and {what}?" if missing else f"{what[0].upper()}{what[1:]}?"
    forget_typed()
    if not click.confirm(question, default=False, err=True):
        say(f"{NAME}: refused: not confirmed; nothing was sent")
        return None
    return asked.accept | set(missing)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return ""


# --- take up ----------------------------------------------------------------------------------------------------------


def resume_drain(given: Given, id: str | None, asked: Asked) -> int:
    """``drain --resume [ID]``; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    if code := _may_not(settings, asked):
        return code
    store = DrainStore(default_folder(demo is not None))
    with reading(settings, demo, EVERYTHING) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        try:
            drain = _left(store, read.world.name, id)
        except (PlanError, DrainFileError) as error:
            say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
            return USAGE
        impossible = _impossible(read, disable=drain.service == "wanted")
        if impossible:
            say(f"{NAME}: refused: {impossible}")
            return REFUSED
        left = sum(not i.final for i in drain.items)
        say(f"drain of {drain.host}, begun by {drain.by or 'somebody'}: {left} of {len(drain.items)} servers are left")
        forget_typed()
        if not asked.yes and not click.confirm("Go on with it?", default=False, err=True):
            say(f"{NAME}: refused: not confirmed; nothing was sent")
            return REFUSED
        accepted = tuple(sorted({*drain.accepted, *asked.accept}))
        return _run(read, msgspec.structs.replace(taken_up(drain), accepted=accepted), store, asked.form)


def _left(store: DrainStore, cloud: str, id: str | None) -> Drain:
    """The drain that is meant. Raises PlanError and DrainFileError."""
    if id is not None:
        drain = store.load(id)
        if drain.cloud != cloud:
            raise PlanError(f"drain {id} is of cloud {drain.cloud or 'without a name'}, this is {cloud}")
        if not drain.unfinished:
            raise PlanError(f"nothing of drain {id} is left to do")
        return drain
    found = store.unfinished(cloud)
    if not found:
        raise PlanError(f"no drain of this cloud is left to do (in {store.folder})")
    if len(found) > 1:
        listed = [f"  --resume {d.id}  {d.host}" for d in found]
        raise PlanError("\n".join([f"{len(found)} drains are left to do; name one:", *listed]))
    return found[0]


# --- run --------------------------------------------------------------------------------------------------------------


def _run(read: Reading, drain: Drain, store: DrainStore, form: str) -> int:
    """Let it run to its end and write its report; returns the exit code."""
    try:
        lock = store.lock(drain.cloud, drain.host)
        store.save(drain)
    except DrainFileError as error:
        say(f"{NAME}: refused: {error}")
        return REFUSED if isinstance(error, DrainHeld) else FAILED
    turns, clock = Turns(), read.fleet.clock
    engine = read.fleet.engine()

    def known() -> tuple[Snapshot, Facts]:
        newest: Snapshot = engine.snapshot
        return (newest, engine.facts()) if newest.hosts else (read.snapshot, read.facts)

    what = Followed(read.fleet, read.snapshot, read.journal, drain.cloud)
    with following(what, turns, lambda: known()[0]) as (followers, notes):

        def follow(item: Item, source: str) -> Following:
            return TimelineFollowing(followers, item, source, known()[0], clock)

        world = LiveDrainWorld(
            known,
            NovaMigrations(read.fleet.cloud, clock),
            read.fleet.candidates,
            read.world,
            read.journal,
            follow=follow,
            clock=clock,
        )
        runner = DrainRunner(
            drain, world, store, lock, settings=read.fleet.downtime_settings(), past=lambda: _past(read), clock=clock
        )
        turns.watch(engine)
        turns.drain(runner)
        try:
            view = _tell_all(runner, turns)
        except KeyboardInterrupt:
            runner.close()
            say("interrupted: nothing more is started; migrations that run go on", f"to go on: {_resume(drain)}")
            return INTERRUPTED
        finally:
            engine.stop()
    runner.close()
    say(*dict.fromkeys(notes))
    return _write_report(runner.drain, view, form)


def _resume(drain: Drain) -> str:
    return f"{NAME} drain --resume {drain.id}"


def _tell_all(runner: DrainRunner, turns: Turns) -> DrainView:
    """Tell every change of every server until it is over, or until it waits for somebody who is not here."""
    teller, said = Teller(turns), {row.server: _state(row) for row in runner.view().rows if row.state == "skipped"}
    why = ""
    while True:
        view = runner.view()
        for row in view.rows:
            quiet = row.state in ("waiting", "checking") or row.phase == "verified"
            if not quiet and said.get(row.server) != _state(row):
                said[row.server] = _state(row)
                teller.clear()
                say(_row_words(row))
        if view.why and view.why != why:
            teller.clear()
            say(f"{view.status}: {view.why}")
        why = view.why
        if view.over or (
            view.status == "paused" and not view.counts.get("running") and not view.counts.get("starting")
        ):
            teller.clear()
            return view
        teller.tell(None, _line(view))
        turns.rest()


def _state(row: DrainRow) -> tuple[str, str]:
    return row.state, row.phase if row.state == "running" else ""


def _row_words(row: DrainRow) -> str:
    way = f"{row.name} → {row.destination}" if row.destination else row.name
    words = {"starting": "asking Nova", "running": row.phase or "begun", "done": "moved"}.get(row.state, row.state)
    if row.state == "done":
        pause = "not measured" if row.measured_ms is None else told_downtime(row.measured_ms, row.heard_ms)
        words += f", downtime {pause}"
    return f"{way}: {words}{f': {row.message}' if row.message else ''}"


def _line(view: DrainView) -> str:
    counts = view.counts
    words = [f"{counts.get('done', 0)} of {len(view.rows)} moved"]
    words += [f"{counts[state]} {state}" for state in ("failed", "skipped") if counts.get(state)]
    for row in view.rows:
        if row.state in ("starting", "running"):
            share = f" {row.ram_percent:.0f} %" if row.ram_percent is not None and row.phase == "memory" else ""
            words.append(f"{row.name} {row.phase or row.state}{share}")
    if view.to_accept and not counts.get("running"):
        words.append(f"waits for --accept {' --accept '.join(view.to_accept)}")
    return f"drain of {view.host}: {'; '.join(words)}"


def _write_report(drain: Drain, view: DrainView, form: str) -> int:
    if form == "json":
        sys.stdout.write(json_text(report(drain), pretty=True) + "\n")
    else:
        sys.stdout.writelines(line + "\n" for line in report_lines(drain))
    sys.stdout.flush()
    if not view.over:
        say(f"{NAME}: {view.why or view.status}; to go on: {_resume(drain)}")
    done = len(drain.having("done"))
    if done == len(drain.items) and view.over:
        return OK
    return PARTIAL if done else FAILED
