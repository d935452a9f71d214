"""What ``explain`` does: reads the fleet, finds what is meant, asks what the chain needs, and writes it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from vgpu_console.actions.devices import find_host
from vgpu_console.actions.plan import PlanError
from vgpu_console.actions.projects import find_project
from vgpu_console.actions.registry import action
from vgpu_console.actions.servers import find_server
from vgpu_console.cli_migrate_text import write_checks
from vgpu_console.cli_output import Layout, json_text, write_table
from vgpu_console.cli_plan import Reading, reading
from vgpu_console.cli_run import (
    NAME,
    NO_CONNECTION,
    OK,
    REFUSED,
    demo_of,
    is_dark,
    layout,
    no_connection,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.fleet.explain import GoneError, explain, last_beginning
from vgpu_console.rules.explain.chain import Explanation, Kind, Place
from vgpu_console.rules.explain.report import explain_report
from vgpu_console.rules.what_if import UnknownName, find_flavor
from vgpu_console.sources.nova_migrations import NovaMigrations
from vgpu_console.table_formats import UNKNOWN
from vgpu_console.text import plain
from vgpu_console.views import EVERYTHING, OPENSTACK

Given = Mapping[str, tuple[Any, str]]

_MAX = 4_000
_SIGNS = {"pass": "ok", "warn": "! warn", "fail": "x fail", "unknown": "? unknown"}


def show_explanation(given: Given, kind: Kind, name: str, form: str) -> int:
    """Writes why; returns the exit code: 0 only where every step passes."""
    settings = settings_of(given)
    with reading(settings, demo_of(given), EVERYTHING) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        try:
            found = _explained(read, kind, name)
        except PlanError as error:
            say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
            return error.exit
        except GoneError as error:
            say(f"{NAME}: {error}")
            return NO_CONNECTION
        if form == "json":
            sys.stdout.write(json_text(explain_report(found), pretty=True) + "\n")
        else:
            write_explanation(found, sys.stdout, layout(settings))
        sys.stdout.flush()
        tell_gaps((), read.snapshot.errors)
    return OK if found.verdict == "pass" else REFUSED


def _explained(read: Reading, kind: Kind, name: str) -> Explanation:
    """Raises PlanError for a name that is nobody's or several's, GoneError."""
    facts, snapshot = read.facts, read.snapshot
    if kind == "server":
        object_id = find_server(facts, name).id
    elif kind == "project":
        object_id = find_project(facts, name).id
    elif kind == "host":
        object_id = find_host(snapshot, name).name
    elif facts.nova is None or facts.nova.flavors is None:
        raise PlanError("nova has not answered: no flavor can be looked up", NO_CONNECTION)
    else:
        try:
            object_id = find_flavor(facts, plain(name.strip(), 600)).id
        except UnknownName as error:
            raise PlanError(str(error) if name.strip() else "no flavor was named") from None
    reader = NovaMigrations(read.fleet.cloud, read.fleet.clock)
    return explain(
        read.fleet.candidates,
        snapshot,
        facts,
        kind,
        object_id,
        read.fleet.clock(),
        functools.partial(last_beginning, reader),
    )


def write_explanation(found: Explanation, out: TextIO, how: Layout) -> None:
    """The answer, the chain in its order, what stands beside it, the verdict and what mends it."""
    out.write(f"{plain(found.title)} {plain(found.summary, _MAX)}\n\n")
    write_checks(found.steps, out, how)
    if found.places:
        out.write("\n")
        _write_places(found.kind, found.places, out, how)
    out.write(f"\nverdict: {found.verdict}\n")
    for mend in found.mends:
        key = action(mend.action).key if mend.action else ""
        beside = f" (key {key} in the console)" if key else ""
        out.write(f"  {plain(mend.words, _MAX)}{beside}\n")
        if mend.command:
            out.write(f"      $ {plain(mend.command, _MAX)}\n")


def _write_places(kind: Kind, places: Sequence[Place], out: TextIO, how: Layout) -> None:
    if kind == "project":
        rows = [[p.name, _SIGNS[p.status], _number(p.room), plain(p.why, _MAX) or "–"] for p in places]
        write_table(["flavor", "status", "room", "why"], rows, [False, False, True, False], out, how)
        return
    rows = [
        [
            p.name,
            _SIGNS[p.status],
            *map(_number, (p.room, p.offered, p.used, p.reserved, p.real)),
            plain(p.why, _MAX) or "–",
        ]
        for p in places
    ]
    names = ["host", "status", "room", "offered", "used", "reserved", "real", "why"]
    right = [False, False, True, True, True, True, True, False]
    write_table(names, rows, right, out, how, [0, 0, 0, 1, 1, 2, 1, 0])


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
