"""What ``vgpu-console journal`` writes, read from the journal's file; no cloud is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from vgpu_console.actions.journal import Journal, default_path
from vgpu_console.actions.journal_runs import Run, runs
from vgpu_console.cli_output import json_text, write
from vgpu_console.cli_plan_text import changed, plan_lines, plan_record
from vgpu_console.cli_run import OK, USAGE, demo_of, layout, say, settings_of
from vgpu_console.text import plain
from vgpu_console.views import Column, View

_WORDS = 4_000


def _get(name: str) -> Any:
    return lambda run: getattr(run, name)


def _of_plan(name: str, otherwise: Any) -> Any:
    return lambda run: getattr(run.plan, name) if run.plan is not None else otherwise


def _data(name: str, get: Any = None) -> Column:
    return Column(name, get or _get(name), table=False)


def _change(run: Run) -> str:
    return changed(run.plan.before, run.plan.after) if run.plan is not None else "?"


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
        _data("action", _of_plan("action", "")),
        Column("title", _of_plan("title", "")),
        _data("target_id", lambda run: run.plan.target.id if run.plan is not None else ""),
        _data("before", _of_plan("before", {})),
        _data("after", _of_plan("after", {})),
        Column("change", _change, data=False),
        _data("steps", lambda run: len(run.plan.steps) if run.plan is not None else 0),
        _data("steps_begun"),
        Column("result", _get("result"), show=lambda run: run.result or "unfinished"),
        Column("message", _get("words"), show=lambda run: run.words or "–", priority=5),
        _data("accepted"),
    ),
    lambda _snapshot, _filters: [],
    frozenset(),
    lambda _snapshot: "",
)


def show_journal(given: Mapping[str, tuple[Any, str]], form: str, last: int | None, unfinished_only: bool) -> int:
    """Writes the runs, those only that are wanted; returns the exit code."""
    settings = settings_of(given)
    path = default_path(demo_of(given) is not None)
    found = runs(Journal(path).entries())
    unfinished = [run for run in found if run.result is None]
    wanted = unfinished if unfinished_only else found
    write(_RUNS, wanted[-last:] if last else wanted, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if not found:
        say(f"no changes: nothing is in {path}")
    if unfinished:
        say(f"{len(unfinished)} unfinished: under way now, or their console was killed; look at what is there")
    return OK


def show_run(given: Mapping[str, tuple[Any, str]], form: str, name: str) -> int:
    """Writes one run whole: who, when, from where, the plan with its checks, what was accepted, how it ended.

    ``name`` is the run's id or the beginning of it. Returns the exit code.
    """
    settings_of(given)
    path = default_path(demo_of(given) is not None)
    found = [run for run in runs(Journal(path).entries()) if run.run.startswith(name)]
    if len(found) != 1:
        several = ", ".join(run.run for run in found[:4])
        say(f"several runs begin with {plain(name)}: {several}" if found else f"no run {plain(name)} in {path}")
        return USAGE
    (run,) = found
    if form == "json":
        click.echo(json_text(_record(run), pretty=True))
    else:
        for line in _lines(run):
            click.echo(plain(line, _WORDS))
    return OK


def _record(run: Run) -> dict[str, Any]:
    return {
        "run": run.run,
        "at": run.at,
        "ended": run.ended,
        "user": run.user,
        "source": run.source,
        "cloud": run.cloud,
        "result": run.result,
        "message": run.message,
        "accepted": run.accepted,
        "observed": run.observed,
        "steps_taken": run.taken,
        "outcomes": [{"at": at, "message": text} for at, text in run.outcomes],
        "plan": plan_record(run.plan) if run.plan is not None else None,
    }


def _lines(run: Run) -> list[str]:
    rows = [
        ("run", run.run),
        ("begun", f"{run.at} by {run.user} from {run.source}, on {run.cloud or 'a cloud without a name'}"),
        ("result", f"{run.result or 'unfinished: under way now, or its console was killed'}  {run.message}".rstrip()),
        ("ended", run.ended or "–"),
        ("accepted", ", ".join(run.accepted) or "nothing had to be"),
    ]
    rows += [("observed", f"{key} {value}") for key, value in (run.observed or {}).items()]
    rows += [("step", f"{step.number}  {step.at}  {step.message}".rstrip()) for step in run.taken]
    rows += [("then", f"{at}  {text}") for at, text in run.outcomes]
    lines = [f"{name:<10} {value}" for name, value in rows]
    return [*lines, "", *plan_lines(run.plan)] if run.plan is not None else lines
