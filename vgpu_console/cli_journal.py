"""``vgpu-console journal``: what was changed, read from the journal's file; no cloud is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from vgpu_console.actions.journal import Entry, Journal, default_path
from vgpu_console.cli_output import write
from vgpu_console.cli_plan_text import changed
from vgpu_console.cli_run import OK, demo_of, layout, say, settings_of
from vgpu_console.views import Column, View


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All lines of the journal about one plan that was begun. ``result`` None: it never ended, or has not yet."""

    run: str
    at: str
    ended: str | None
    user: str
    source: str
    cloud: str
    action: str
    title: str
    target_id: str
    before: dict[str, Any]
    after: dict[str, Any]
    steps: int
    steps_begun: int
    result: str | None
    message: str
    accepted: tuple[str, ...]


def runs(journal: Journal) -> list[Run]:
    """The journal by runs, in the order in which they began."""
    found: dict[str, Run] = {}
    for entry in journal.entries():
        if entry.event == "begun":
            found[entry.run] = _begun(entry)
        elif entry.run in found:
            run = found[entry.run]
            if entry.event == "step":
                begun = max(run.steps_begun, entry.step or 0)
                found[entry.run] = msgspec.structs.replace(run, steps_begun=begun)
            elif entry.event == "outcome":
                found[entry.run] = msgspec.structs.replace(run, message=f"{run.message}; then: {entry.message}")
            else:
                found[entry.run] = msgspec.structs.replace(
                    run, ended=entry.at, result=entry.result, message=entry.message
                )
    return list(found.values())


def _begun(entry: Entry) -> Run:
    plan = entry.plan
    return Run(
        run=entry.run,
        at=entry.at,
        ended=None,
        user=entry.user,
        source=entry.source,
        cloud=entry.cloud,
        action=plan.action if plan else "",
        title=plan.title if plan else "",
        target_id=plan.target.id if plan else "",
        before=plan.before if plan else {},
        after=plan.after if plan else {},
        steps=len(plan.steps) if plan else 0,
        steps_begun=0,
        result=None,
        message="",
        accepted=entry.overrides,
    )


def _get(name: str) -> Any:
    return lambda run: getattr(run, name)


def _data(name: str) -> Column:
    return Column(name, _get(name), table=False)


_RUNS = View(
    "journal",
    "changes",
    (
        Column("run", _get("run"), priority=3),
        Column("at", _get("at")),
        _data("ended"),
        Column("user", _get("user"), priority=2),
        Column("source", _get("source"), priority=4),
        Column("cloud", _get("cloud"), priority=1),
        _data("action"),
        Column("title", _get("title")),
        _data("target_id"),
        _data("before"),
        _data("after"),
        Column("change", lambda run: changed(run.before, run.after), data=False),
        _data("steps"),
        _data("steps_begun"),
        Column("result", _get("result"), show=lambda run: run.result or "unfinished"),
        Column("message", _get("message"), show=lambda run: run.message or "–", priority=5),
        _data("accepted"),
    ),
    lambda _snapshot, _filters: [],
    frozenset(),
    lambda _snapshot: "",
)


def show_journal(given: Mapping[str, tuple[Any, str]], form: str, last: int | None) -> int:
    """Writes the runs, the last ones only where that is wanted; returns the exit code."""
    settings = settings_of(given)
    path = default_path(demo_of(given) is not None)
    found = runs(Journal(path))
    write(_RUNS, found[-last:] if last else found, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if not found:
        say(f"no changes: nothing is in {path}")
    unfinished = sum(run.result is None for run in found)
    if unfinished:
        say(f"{unfinished} unfinished: under way now, or their console was killed; look at what is there")
    return OK
