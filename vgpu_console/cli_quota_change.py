"""What the commands that change quota do: from what was typed to plans. How plans are gone about is in ``cli_plan``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from vgpu_console.actions import legacy_import, quota
from vgpu_console.actions.plan import HttpStep, Plan
from vgpu_console.actions.projects import PlanError, find_project
from vgpu_console.cli_output import write_table
from vgpu_console.cli_plan import Proposal, Reading, Way, change
from vgpu_console.cli_run import NAME, layout, say, settings_of
from vgpu_console.model.facts import Facts
from vgpu_console.text import plain

Given = Mapping[str, tuple[Any, str]]

HOST_CHECKS = frozenset({"quota.capacity", "quota.default"})
"""What the hosts can really hold, and what nova.conf says of a missing limit: only hosts tell."""


def set_limits(given: Given, projects: Sequence[str], limit: str, resource: str, way: Way) -> int:
    """``quota set``; returns the exit code."""

    def typed() -> tuple[int, str]:
        return quota.parse_limit(limit), quota.resource_name(resource)

    def make(read: Reading, value: int, name: str) -> Proposal:
        ids = _project_ids(read.facts, projects, find_project)
        plans = quota.plan_set_many(read.facts, read.snapshot, ids, name, value, time.time())
        return Proposal(plans, several=len(projects) > 1)

    return _checked(typed, lambda one: change(given, "quota.set", way, lambda read: make(read, *one), HOST_CHECKS))


def clear_limits(given: Given, projects: Sequence[str], resource: str, way: Way) -> int:
    """``quota clear``; returns the exit code."""

    def make(read: Reading, name: str) -> Proposal:
        ids = _project_ids(read.facts, projects, _with_a_limit)
        now = time.time()
        plans = [quota.plan_clear(read.facts, read.snapshot, one, name, now) for one in ids]
        return Proposal(plans, several=len(projects) > 1)

    return _checked(
        lambda: quota.resource_name(resource),
        lambda name: change(given, "quota.clear", way, lambda read: make(read, name), HOST_CHECKS),
    )


def set_default(given: Given, limit: str, resource: str, way: Way) -> int:
    """``quota default``; returns the exit code."""

    def typed() -> tuple[int, str]:
        return quota.parse_limit(limit), quota.resource_name(resource)

    def make(read: Reading, value: int, name: str) -> Proposal:
        plan = quota.plan_default(read.facts, read.snapshot, name, value, time.time())
        broken = "limits that were left deleted are set again by: vgpu-console quota restore"
        return Proposal([plan], several=False, if_broken=broken if _takes_away(plan) else "")

    return _checked(typed, lambda one: change(given, "quota.default", way, lambda read: make(read, *one), HOST_CHECKS))


def restore_limits(given: Given, run: str | None, way: Way) -> int:
    """``quota restore``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        begun = [e for e in read.journal.entries() if e.event == "begun" and e.plan is not None]
        found = [e.plan for e in begun if (e.run == run if run else e.plan is not None and _takes_away(e.plan))]
        if not found or found[-1] is None:
            what = f"no change {plain(run, 40)!r} is" if run else "no change of a default that took limits away is"
            raise PlanError(f"{what} in the journal {read.journal.path}")
        plan = quota.plan_restore(read.facts, read.snapshot, found[-1], time.time())
        return Proposal([plan], several=False)

    return change(given, "quota.default", way, make)


def _takes_away(plan: Plan) -> bool:
    return plan.action == "quota.default" and any(
        isinstance(step, HttpStep) and step.method == "DELETE" for step in plan.steps
    )


def _checked(typed: Callable[[], Any], go_on: Callable[[Any], int]) -> int:
    """What can be said of the arguments before any cloud is asked."""
    try:
        value = typed()
    except PlanError as error:
        say(f"{NAME}: {error}")
        return error.exit
    return go_on(value)


def _project_ids(facts: Facts, texts: Sequence[str], find: Callable[[Facts, str], Any]) -> list[str]:
    """The ids of all that were named. Raises PlanError with a line for each that is not one project."""
    ids: dict[str, None] = {}
    errors: list[PlanError] = []
    for text in texts:
        try:
            ids[find(facts, text).id] = None
        except PlanError as error:
            errors.append(error)
    if errors:
        raise PlanError("\n".join(dict.fromkeys(map(str, errors))), max(error.exit for error in errors))
    return list(ids)


class _Gone(msgspec.Struct, frozen=True):
    """A project that is no more, or is not visible, and of which a limit is left."""

    id: str


def _with_a_limit(facts: Facts, text: str) -> Any:
    """As find_project; an id that only a limit still names is as good. Raises PlanError."""
    limits = facts.keystone.project_limits if facts.keystone is not None else None
    if text and any(limit.project_id == text for limit in limits or ()):
        return _Gone(text)
    return find_project(facts, text)


# --- import -----------------------------------------------------------------------------------------------------------


def import_legacy(given: Given, projects: Sequence[str], proposals: bool, way: Way) -> int:
    """``quota import``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        ids = _project_ids(read.facts, projects, find_project)
        legacy = legacy_import.read_legacy(read.fleet.cloud, ids)
        found = legacy_import.plan_import(read.facts, legacy, time.time())
        plans = [*found.plans, *(found.proposals if proposals else ())]
        return Proposal(
            plans,
            several=True,
            notes=_notes(found, proposals, way, plans=len(plans)),
            frame=lambda records: _frame(found, way, records),
            table=lambda: _write_rows(given, found),
            hosts_wanted=any(row.status == "unknown" and row.value is None for row in found.rows),
        )

    return change(given, "quota.import", way, make)


def _frame(found: legacy_import.Import, way: Way, records: list[Any]) -> dict[str, Any]:
    """The import as one object. ``missing`` is what nova-manage ends with exit code 3 for: what is left afterwards."""
    made = {record["target"]["id"] for record in records if record.get("result", "done") == "done"}
    return {
        "rows": msgspec.to_builtins(found.rows),
        "plans" if way.dry_run else "results": records,
        "missing": [name for name in found.missing if name not in made],
        "notes": list(found.notes),
        "nova_manage": found.command,
    }


def _notes(found: legacy_import.Import, proposals: bool, way: Way, plans: int) -> tuple[str, ...]:
    lines = [f"note: {line}" for line in found.notes]
    lines += [f"nova-manage's counterpart: {line}" for line in found.command.splitlines()] if way.dry_run else []
    if not plans:
        lines.append("nothing to create: what can be imported is there")
    if found.missing and not proposals:
        lines.append(
            f"left without a registered limit: {', '.join(found.missing)}; --proposals creates the proposed defaults"
        )
    return tuple(lines)


def _write_rows(given: Given, found: legacy_import.Import) -> None:
    names = ["status", "limit", "of", "legacy", "value", "in_keystone", "note"]
    rows = [
        [
            row.status,
            row.resource,
            plain(row.project) if row.project_id else "default",
            row.legacy_name or "–",
            "?" if row.value is None and row.status != "exists" else "–" if row.value is None else str(row.value),
            "–" if row.existing is None else str(row.existing),
            plain(row.note),
        ]
        for row in found.rows
    ]
    if rows:
        right = [False, False, False, False, True, True, False]
        write_table(names, rows, right, sys.stdout, layout(settings_of(given)), [0, 0, 0, 1, 0, 0, 2])
