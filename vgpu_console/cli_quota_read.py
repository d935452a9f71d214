"""``quota audit`` and ``quota what-if``: what is wrong with limits, and what they would allow now."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from vgpu_console.actions.projects import PlanError, find_project
from vgpu_console.cli_output import Layout, json_text, write, write_table
from vgpu_console.cli_plan import reading
from vgpu_console.cli_run import (
    FAILED,
    NAME,
    OK,
    PARTIAL,
    REFUSED,
    USAGE,
    demo_of,
    is_dark,
    layout,
    no_connection,
    read_fleet,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules import what_if
from vgpu_console.text import plain
from vgpu_console.view_filters import Filters
from vgpu_console.views import EVERYTHING, OPENSTACK, View, column

Given = Mapping[str, tuple[Any, str]]

_RANK = {"info": 0, "warn": 1, "fail": 2}
_COLOURS = {"fail": "red", "warn": "yellow", "info": "cyan"}
_WIDTH = 100
_MAX = 4_000


# --- totals -----------------------------------------------------------------------------------------------------------

TOTALS = View(
    "quota totals",
    "totals of vGPU quotas",
    (
        column("resource"),
        column("promised", right=True),
        column("unlimited", right=True),
        column("unknown", right=True),
        column("used", right=True),
        column("capacity", right=True),
        column("unreserved", right=True),
    ),
    lambda snapshot, _filters: list(snapshot.quota_totals),
    EVERYTHING,
    lambda _snapshot: "Keystone has no limit for a vGPU resource, and no project uses one",
)
"""What ``vgpu-console quota --totals`` writes: what limits promise in all, against what the hosts can hold."""


# --- audit ------------------------------------------------------------------------------------------------------------


FINDINGS = View(
    "audit",
    "findings about limits",
    tuple(column(name) for name in ("id", "severity", "object", "message", "command")),
    lambda snapshot, _filters: list(snapshot.quota_findings),
    EVERYTHING,
    lambda _snapshot: "the limits are as Nova needs them",
)
"""What ``vgpu-console quota audit`` writes."""


def show_audit(given: Given, form: str, fail_on: str | None) -> int:
    """Writes the findings about limits; returns the exit code, 1 where one is as severe as ``fail_on``."""
    settings, demo = settings_of(given), demo_of(given)
    snapshot = read_fleet(settings, demo, EVERYTHING)
    if is_dark(snapshot, OPENSTACK):
        return no_connection(snapshot)
    found = FINDINGS.rows(snapshot, Filters())
    how = layout(settings)
    if form == "table":
        sys.stdout.writelines(line + "\n" for line in finding_lines(found, how))
    else:
        write(FINDINGS, found, form, sys.stdout, how)
    sys.stdout.flush()
    failed = [s for s in snapshot.errors if s.kind in OPENSTACK]
    if not found and not failed:
        say("no findings: the limits are as Nova needs them")
    tell_gaps([s for s in snapshot.sources if s.kind in OPENSTACK], snapshot.errors)
    if fail_on and any(_RANK[f.severity] >= _RANK[fail_on] for f in found):
        return FAILED
    return PARTIAL if failed else OK


def finding_lines(found: Sequence[Finding], how: Layout) -> list[str]:
    """Findings for eyes. A command has a line of its own, never broken by us, to be copied as it is."""
    width = min(how.width or _WIDTH, _WIDTH)
    lines: list[str] = []
    for finding in found:
        word = f"{finding.severity:<4}"
        if how.colour:
            word = click.style(word, fg=_COLOURS[finding.severity], bold=finding.severity == "fail")
        lines.append(f"{word}  {plain(finding.object)}  ({finding.id})")
        lines += textwrap.wrap(plain(finding.message, _MAX), width, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines += [f"      $ {plain(line, _MAX)}" for line in finding.command.splitlines()]
        if finding.key:
            lines.append(f"      {'or ' if finding.command else ''}key {finding.key} on the console's quota screen")
    return lines


# --- what if ----------------------------------------------------------------------------------------------------------


def show_what_if(given: Given, project: str, flavor: str, count: int, form: str) -> int:
    """Writes whether a project could start servers of a flavor; returns the exit code: 0 yes, 4 no, 5 not known."""
    settings, demo = settings_of(given), demo_of(given)
    with reading(settings, demo, EVERYTHING) as read:
        if is_dark(read.snapshot, OPENSTACK):
            return no_connection(read.snapshot)
        try:
            project_id = find_project(read.facts, project).id
            chosen = what_if.find_flavor(read.facts, flavor)
        except PlanError as error:
            say(f"{NAME}: {error}")
            return error.exit
        except what_if.UnknownName as error:
            say(f"{NAME}: {error}")
            return USAGE
        request = what_if.request_of(chosen)
        candidates = read.fleet.candidates(request.groups, request.policy)
        if candidates.error:
            say(f"allocation candidates: {candidates.error}")
        answer = what_if.can_start(read.facts, read.snapshot, project_id, chosen.id, count, candidates)
    if form == "json":
        sys.stdout.write(json_text(answer, pretty=True) + "\n")
    else:
        _write_answer(answer, layout(settings))
    sys.stdout.flush()
    tell_gaps([s for s in read.snapshot.sources if s.kind in OPENSTACK], read.snapshot.errors)
    return {"yes": OK, "no": REFUSED}.get(answer.verdict, PARTIAL)


def _write_answer(answer: what_if.WhatIf, how: Layout) -> None:
    servers = "server" if answer.count == 1 else "servers"
    out = sys.stdout
    out.write(f"{answer.verdict}: {answer.count} {servers} of {plain(answer.flavor)} in {plain(answer.project)}\n")
    out.write(f"{plain(answer.why, _MAX)}\n\n")
    quota = answer.quota
    out.write(f"quota: {quota.verdict}\n")
    if quota.lines:
        rows = [
            [line.resource, str(line.wanted), _number(line.used), _limit(line), line.verdict, plain(line.why, _MAX)]
            for line in quota.lines
        ]
        names, right = (
            ["resource", "wanted", "used", "limit", "verdict", "why"],
            [False, True, True, True, False, False],
        )
        write_table(names, rows, right, out, how, [0, 0, 0, 0, 0, 1])
    if quota.note:
        out.write(f"{plain(quota.note, _MAX)}\n")
    capacity = answer.capacity
    out.write(f"\ncapacity: {capacity.verdict}: {plain(capacity.note, _MAX)}\n")
    if capacity.hosts:
        rows = [
            [plain(h.host), str(h.room) if h.certain else f"{h.room}?", plain("; ".join(h.reasons), _MAX) or "–"]
            for h in capacity.hosts
        ]
        write_table(["host", "room", "why not more"], rows, [False, True, False], out, how)


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _limit(line: what_if.QuotaLine) -> str:
    if line.limit is None:
        return "?" if line.verdict == "unknown" else "–"
    return "unlimited" if line.limit < 0 else str(line.limit)
