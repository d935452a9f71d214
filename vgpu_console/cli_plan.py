"""Plans on the command line: shown, asked about, applied one after the other, and told how each ended. For any action.

stdout gets the plans of a dry run, or how each plan ended; everything that is said on the way goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import OperatorStep, Plan, PlanError
from vgpu_console.actions.registry import action
from vgpu_console.actions.runner import BEFORE_FAILED, Outcome, apply
from vgpu_console.actions.unfinished import look_at, state_word
from vgpu_console.cli_output import json_text, write_table
from vgpu_console.cli_plan_text import MAX, changed, outcome_record, plan_lines, plan_record
from vgpu_console.cli_run import (
    FAILED,
    INTERRUPTED,
    NAME,
    OK,
    PARTIAL,
    REFUSED,
    Progress,
    demo_of,
    forget_typed,
    is_dark,
    layout,
    no_connection,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.text import plain
from vgpu_console.views import EVERYTHING, OPENSTACK


class Way(NamedTuple):
    """How the operator wants plans to be gone about: the options of every changing command."""

    dry_run: bool
    yes: bool
    accept: frozenset[str]
    expect: tuple[str, ...]
    form: str  # table or json


class Reading(NamedTuple):
    """One fresh reading of the fleet: what plans are made from, and what they are applied to."""

    facts: Facts
    snapshot: Snapshot
    world: FleetWorld
    journal: Journal
    fleet: Any  # the runtime's Fleet, for what only this command asks of its connection


@contextmanager
def reading(
    settings: Settings, demo: DemoChoice | None, kinds: frozenset[SourceKind], hosts: frozenset[str] | None = None
) -> Iterator[Reading]:
    """Reads the sources of those kinds once and keeps the connection open. Raises SourceError.

    With ``hosts``, of all hosts only those are asked: one change on one host must not wait for a whole fleet.
    """
    from vgpu_console import log

    log.start(settings.log)
    progress = Progress(sys.stderr)
    progress.start()
    fleet = None
    try:
        from vgpu_console.runtime import Fleet

        fleet = Fleet(settings, demo, kinds=kinds, hosts=hosts)
        try:
            snapshot = fleet.snapshot(settings.deadline, progress)
        finally:
            progress.clear()
        yield Reading(fleet.facts(), snapshot, fleet.world(), fleet.journal(), fleet)
    finally:
        progress.clear()
        if fleet is not None:
            fleet.close()


class Proposal(NamedTuple):
    """What a command wants to do: its plans in their order, and what is said or written beside them."""

    plans: Sequence[Plan]
    several: bool  # several things were asked for: JSON is a list, also of one
    notes: tuple[str, ...] = ()
    frame: Callable[[list[Any]], Any] | None = None  # puts the JSON of plans or outcomes into the command's own object
    table: Callable[[], None] | None = None  # writes what the table form has before the plans
    if_broken: str = ""  # said when a plan was begun and did not end well
    hosts_wanted: bool = False  # something in it could be told from the hosts, if they were read too
    noun: str = "limit"  # what the plans are about, over the table of how they ended
    chain: Callable[[Plan], object] | None = None  # plans of one chain: after one that failed, the rest is not begun
    left: int = 0  # things that were asked for and that no plan can do: the rest is then a part
    then: Callable[[Sequence[Outcome]], int | None] | None = None
    """Goes on with what was begun, writes the result itself and returns the exit code; None: nothing to go on with."""


def change(
    given: Mapping[str, tuple[Any, str]],
    action_id: str | None,
    way: Way,
    make: Callable[[Reading], Proposal],
    host_checks: frozenset[str] = frozenset(),
    *,
    kinds: frozenset[SourceKind] | None = None,
    hosts: frozenset[str] | None = None,
) -> int:
    """The whole way of a changing command: refuse early, read, plan, show, ask, apply, tell; returns the exit code.

    ``action_id`` is that of the registry, None where only the plans can tell; ``make`` raises PlanError.
    ``host_checks`` are ids of checks that only the hosts themselves can settle: the hosts are read too when one of
    these stays unknown and was not accepted anyway, for that may take long. With ``kinds``, just these are read, and
    once; with ``hosts``, of the hosts just those.
    """
    settings, demo = settings_of(given), demo_of(given)
    if not way.dry_run:
        if settings.read_only:
            say(f"{NAME}: refused: this console is read-only ({_read_only_by(settings)}); --dry-run shows the plan")
            return REFUSED
        if not way.yes and not _can_ask():
            say(f"{NAME}: refused: without a terminal to ask on, this needs --yes; --dry-run shows the plan")
            return REFUSED
    code = None
    readings = (OPENSTACK, EVERYTHING) if kinds is None else (kinds,)
    for wanted in readings:
        with reading(settings, demo, wanted, hosts) as read:
            if wanted == readings[0]:
                tell_unfinished(read.journal, read.world)
            code = _planned(settings, action_id, way, make, read, host_checks, hosts_read=wanted == readings[-1])
        if code is not None:
            break
    return FAILED if code is None else code


def _planned(
    settings: Settings,
    action_id: str | None,
    way: Way,
    make: Callable[[Reading], Proposal],
    read: Reading,
    host_checks: frozenset[str],
    *,
    hosts_read: bool,
) -> int | None:
    """From a reading to the exit code; None: the hosts must be read too."""
    if is_dark(read.snapshot, OPENSTACK):
        return no_connection(read.snapshot)
    impossible = _impossible(action_id, read.snapshot) if action_id else ""
    if impossible and not way.dry_run:
        say(f"{NAME}: refused: {impossible}")
        return REFUSED
    try:
        proposal = make(read)
    except PlanError as error:
        for line in str(error).splitlines():
            say(f"{NAME}: {line}")
        if impossible:
            say(f"{NAME}: this would be refused: {impossible}")
        return error.exit
    hosts_are_asked = settings.libvirt.enabled or settings.ssh.enabled
    open_questions = any(_unsettled(plan, host_checks - way.accept) for plan in proposal.plans)
    if hosts_are_asked and not hosts_read and (open_questions or proposal.hosts_wanted):
        return None
    tell_gaps((), read.snapshot.errors)
    _tell_strange_checks(way, proposal)
    impossible = "" if action_id else _first_impossible(proposal, read)
    if impossible and not way.dry_run:
        say(f"{NAME}: refused: {impossible}")
        return REFUSED
    if way.expect and sorted(way.expect) != sorted(plan.hash for plan in proposal.plans):
        hashes = ", ".join(plan.hash for plan in proposal.plans) or "none"
        say(f"{NAME}: refused: the plan has changed: expected {', '.join(way.expect)}, it is now {hashes}")
        return REFUSED
    if way.dry_run:
        return _show_only(settings, way, proposal, impossible)
    return _carry_out(settings, way, proposal, read)


def _impossible(action_id: str, snapshot: Snapshot) -> str:
    """Why this credential cannot do it at all; a Keystone that is silent is for the plan to say, with its exit code."""
    silent = any(s.kind == "keystone" and s.error is not None for s in snapshot.sources)
    return "" if silent else action(action_id).available(snapshot, read_only=False)


def _first_impossible(proposal: Proposal, read: Reading) -> str:
    """Why something of it cannot be done here: known before anything is sent. The wall stops no dry run."""
    world = read.world
    if world.read_only:
        return ""
    plans = [plan for plan in proposal.plans if not plan.changes_nothing]
    for one in dict.fromkeys(plan.action for plan in plans):
        why = action(one).available(read.snapshot, read_only=False, shell_changes=world.shell_changes)
        if why:
            return why
    return next((why for plan in plans for step in plan.steps if (why := world.refuses(step))), "")


def _unsettled(plan: Plan, ids: frozenset[str]) -> bool:
    return any(c.status == "unknown" and c.id in ids for c in plan.checks)


def _tell_strange_checks(way: Way, proposal: Proposal) -> None:
    known = {c.id for plan in proposal.plans for c in plan.checks if not plan.changes_nothing}
    for strange in sorted(way.accept - known) if known else ():
        say(f"--accept {strange}: there is no such check here; there are: {', '.join(sorted(known))}")


def _read_only_by(settings: Settings) -> str:
    origin = settings.origin("read_only")
    return origin.detail or origin.layer


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


# --- a dry run --------------------------------------------------------------------------------------------------------


def _show_only(settings: Settings, way: Way, proposal: Proposal, impossible: str = "") -> int:
    if way.form == "json":
        _write_json(proposal, [plan_record(plan) for plan in proposal.plans])
    else:
        if proposal.table is not None:
            proposal.table()
        for number, plan in enumerate(proposal.plans):
            sys.stdout.write("\n" if number or proposal.table is not None else "")
            sys.stdout.writelines(line + "\n" for line in plan_lines(plan))
        sys.stdout.flush()
    say(*proposal.notes)
    blocked = [f"{c.id}: {c.evidence}" for plan in proposal.plans for c in plan.blocked_by]
    reasons = list(dict.fromkeys([*([impossible] if impossible else []), *blocked]))
    if reasons:
        say(f"{NAME}: this would be refused: {'; '.join(reasons)}")
        return REFUSED
    open_checks = _to_accept(proposal.plans, way)
    if open_checks:
        say(f"without a terminal this would need {' '.join(f'--accept {one}' for one in open_checks)}")
    return _with_left(OK, proposal.left, some=bool(proposal.plans))


# --- applying ---------------------------------------------------------------------------------------------------------


def _carry_out(settings: Settings, way: Way, proposal: Proposal, read: Reading) -> int:
    accepted = way.accept
    say(*proposal.notes)
    possible = [plan for plan in proposal.plans if not plan.blocked_by and not plan.changes_nothing]
    if possible and not way.yes:
        for plan in proposal.plans:
            if plan.blocked_by:
                say("", f"{plan.title}: not possible: {'; '.join(c.evidence for c in plan.blocked_by)}")
        for plan in possible:
            say("", *plan_lines(plan))
        say("")
        open_checks = _to_accept(possible, way)
        if not _confirmed(possible, open_checks):
            say(f"{NAME}: refused: not confirmed; nothing was sent")
            return REFUSED
        accepted = accepted | set(open_checks)
    if way.yes and not way.expect and any(plan.danger == "destroy" for plan in possible):
        say(f"{NAME}: refused: with --yes this needs --expect and the plan's hash; --dry-run shows it")
        return REFUSED
    outcomes: list[Outcome] = []
    interrupted = False
    for plan, outcome in _applied(proposal, read, accepted):
        if outcome is None:
            interrupted = True
            outcome = Outcome(plan=plan, result="interrupted", message="interrupted: look at what is there now")
        outcomes.append(outcome)
    if proposal.then is not None and not interrupted:
        code = proposal.then(outcomes)
        if code is not None:
            return code
    _write_outcomes(settings, way, proposal, outcomes)
    missing = sorted({c.id for o in outcomes if o.result == "refused" for c in o.plan.needs_override} - accepted)
    if missing and any(not o.plan.blocked_by for o in outcomes if o.result == "refused"):
        say(f"to accept it: {' '.join(f'--accept {one}' for one in missing)}")
    _tell_chain(proposal, outcomes)
    if proposal.if_broken and any(not o.ok and o.result not in ("refused", "moved") for o in outcomes):
        say(proposal.if_broken)
    return INTERRUPTED if interrupted else exit_code(outcomes, proposal.left)


def _tell_chain(proposal: Proposal, outcomes: Sequence[Outcome]) -> None:
    """Where something was stopped: how far it came, and at what."""
    begun = [o for o in outcomes if not o.message.startswith(NOT_BEGUN)]
    if proposal.chain is None or len(begun) == len(outcomes):
        return
    done = sum(o.ok for o in outcomes)
    failed = "; ".join(f"{o.plan.title}: {o.message}" for o in begun if not o.ok)
    say(f"{done} of {len(outcomes)} done; stopped at {failed}")


def _to_accept(plans: Iterable[Plan], way: Way) -> list[str]:
    """Ids of checks that somebody must accept, each once."""
    return [one for one in dict.fromkeys(c.id for p in plans for c in p.needs_override) if one not in way.accept]


def _confirmed(plans: Sequence[Plan], open_checks: Sequence[str]) -> bool:
    """Asks on the terminal; No unless it is said otherwise. Raises click.Abort at ctrl+c and end of input."""
    destroying = [plan for plan in plans if plan.danger == "destroy"]
    forget_typed()
    for plan in destroying:
        answer = click.prompt(f"Type {plain(plan.target.name)} to go on", err=True, default="", show_default=False)
        if answer != plan.target.name:
            return False
    if destroying and not open_checks:
        return True
    what = f"these {len(plans)} changes" if len(plans) > 1 else "this change"
    question = f"Accept {', '.join(open_checks)} and apply {what}?" if open_checks else f"Apply {what}?"
    return click.confirm(question, default=False, err=True)


NOT_BEGUN = "not begun: "


def _applied(
    proposal: Proposal, read: Reading, accepted: frozenset[str] | set[str]
) -> Iterator[tuple[Plan, Outcome | None]]:
    """Applies one after the other, each as the last has ended; None for the one that ctrl+c ended, and no more then.

    Limits of projects are not begun where the default that they need could not be made, nor is what follows a failure
    in its chain.
    """
    plans = proposal.plans
    progress = Progress(sys.stderr)
    missing: set[str | None] = set()
    broken: set[object] = set()
    for number, plan in enumerate(plans, start=1):
        resource = plan.target.key.get("resource")
        why_not = ""
        if resource in missing and plan.target.kind == "project limit":
            why_not = f"{NOT_BEGUN}the default of {resource} is not there"
        link = proposal.chain(plan) if proposal.chain is not None else None
        if link in broken:
            why_not = BEFORE_FAILED
        if why_not:
            yield plan, Outcome(plan=plan, result="refused", message=why_not)
            continue

        def tell(plan: Plan, taken: int, word: str, number: int = number) -> None:
            step = plan.steps[taken] if taken < len(plan.steps) else None
            if isinstance(step, OperatorStep) and word == step.title:
                progress.clear()
                say(f"run this on {step.host} now, as root: {step.command}")
            progress.tell(f"{_of(plans, number)}{plan.title}: {word}")

        try:
            outcome = apply(plan, read.world, read.journal, accepted=frozenset(accepted), progress=tell)
        except KeyboardInterrupt:
            progress.clear()
            yield plan, None
            for rest in plans[number:]:
                yield rest, Outcome(plan=rest, result="interrupted", message=f"{NOT_BEGUN}interrupted before")
            return
        progress.clear()
        if not outcome.ok and plan.target.kind == "registered limit":
            missing.add(resource)
        if proposal.chain is not None:
            if not outcome.ok and not _never_to_be_sent(plan, accepted):
                broken.add(link)
            if len(plans) > 1:
                say(f"{_of(plans, number)}{plan.title}: {outcome.result}")
        yield plan, outcome


def _of(plans: Sequence[Plan], number: int) -> str:
    """``2 of 5: `` where there are several and their titles do not count them already."""
    count = f"{number} of {len(plans)}"
    return "" if len(plans) == 1 or plans[number - 1].title.endswith(f"({count})") else f"{count}: "


def _never_to_be_sent(plan: Plan, accepted: frozenset[str] | set[str]) -> bool:
    """Whether it was known before anything was sent that this one is not to be: it tells nothing of the next one."""
    return bool(plan.blocked_by) or any(c.id not in accepted for c in plan.needs_override)


def exit_code(outcomes: Sequence[Outcome], left: int = 0) -> int:
    """0 all done; 5 some of several; else 4 when nothing was sent for any of them, and 1. ``left`` have no plan."""
    done = sum(o.ok for o in outcomes)
    if done == len(outcomes):
        return _with_left(OK, left, some=done > 0)
    if done:
        return PARTIAL
    return REFUSED if all(o.result in ("refused", "moved") for o in outcomes) else FAILED


def _with_left(code: int, left: int, *, some: bool) -> int:
    return code if not left else PARTIAL if some else REFUSED


def _write_outcomes(settings: Settings, way: Way, proposal: Proposal, outcomes: Sequence[Outcome]) -> None:
    if way.form == "json":
        _write_json(proposal, [outcome_record(outcome) for outcome in outcomes])
        return
    if proposal.table is not None:
        proposal.table()
        sys.stdout.write("\n" if outcomes else "")
    if outcomes:
        rows = [
            [plain(o.plan.title), changed(o.plan.before, o.plan.after), o.result, plain(_told(o), MAX)]
            for o in outcomes
        ]
        names = [proposal.noun, "change", "result", "message"]
        write_table(names, rows, [False] * 4, sys.stdout, layout(settings), [0, 1, 0, 0])
    sys.stdout.flush()


def _told(outcome: Outcome) -> str:
    """Its message, with the uuid of a device that was made: the next command needs it."""
    uuid = outcome.plan.target.key.get("uuid")
    made = outcome.ok and outcome.plan.before.get("state") == "absent" and uuid
    return f"{outcome.message}: {uuid}" if made else outcome.message


def _write_json(proposal: Proposal, records: list[Any]) -> None:
    value: Any = records if proposal.several or len(records) != 1 else records[0]
    if proposal.frame is not None:
        value = proposal.frame(records)
    sys.stdout.write(json_text(value, pretty=True) + "\n")
    sys.stdout.flush()


# --- what an earlier console left -------------------------------------------------------------------------------------


def tell_unfinished(journal: Journal, world: FleetWorld) -> None:
    """Names on stderr what was begun on this cloud and never ended, and what is true of it now.

    Another console is at it, or was killed.
    """
    for entry in journal.unfinished():
        what = f"{entry.plan.title} ({entry.plan.target.id})" if entry.plan is not None else "a change"
        now = state_word(look_at(entry, world)) if entry.cloud == world.name else "look at what is there"
        say(
            f"unfinished in the journal: {what} on {entry.cloud or 'a cloud'}, begun {entry.at} by {entry.user} "
            f"(run {entry.run}): it is under way now, or its console was killed; {plain(now, MAX)}"
        )
