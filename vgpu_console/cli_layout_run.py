"""What ``vgpu-console layout`` does: files read and written, differences told, and made true by plans."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any

from vgpu_console.actions.layout import differences
from vgpu_console.actions.layout_file import (
    LARGEST,
    Layout,
    LayoutError,
    layout_of,
    read_layout,
    to_toml,
    unread_hosts,
)
from vgpu_console.actions.layout_plan import LayoutPlans, Left, plan_layout
from vgpu_console.actions.plan import PlanError
from vgpu_console.cli_hosts import hosts_of
from vgpu_console.cli_output import json_text, write
from vgpu_console.cli_plan import Proposal, Reading, Way, change, reading
from vgpu_console.cli_run import (
    FAILED,
    NAME,
    OK,
    PARTIAL,
    USAGE,
    demo_of,
    is_dark,
    layout,
    no_connection,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.views import EVERYTHING, Column, View, column

Given = Mapping[str, tuple[Any, str]]

_KINDS: frozenset[SourceKind] = frozenset({"nova", "libvirt", "ssh"})
"""What there is to see on hosts; Placement and Keystone say nothing of it."""

_DIFFERENCES = View(
    "layout diff",
    "differences",
    (
        column("host"),
        column("gpu"),
        column("type"),
        column("wanted", right=True),
        column("present", right=True),
        column("verdict"),
        column("why", 1),
        Column("entry", lambda row: row.entry or None, table=False),
        column("type_id", table=False),
        column("persistent", table=False),
        Column("devices", lambda row: [d.uuid or d.parent for d in row.devices], table=False),
    ),
    lambda _snapshot, _filters: [],
    _KINDS,
    lambda _snapshot: "",
)
"""``entry`` is the number of the file's [[gpu]] that asks for it, None where none does."""


def show_layout(given: Given, hosts: Sequence[str], form: str) -> int:
    """``layout show``; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    with reading(settings, demo, _KINDS, frozenset(hosts) or None) as read:
        snapshot = read.snapshot
    if not snapshot.hosts and is_dark(snapshot, frozenset({"nova"})):
        return no_connection(snapshot)
    try:
        names = [host.name for host in hosts_of(snapshot, hosts)]
    except PlanError as error:
        say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
        return error.exit
    found = layout_of(snapshot, names)
    sys.stdout.write(json_text(found, pretty=True) + "\n" if form == "json" else to_toml(found))
    sys.stdout.flush()
    left_out = unread_hosts(snapshot, names)
    if left_out:
        say(f"left out, for want of an answer: {', '.join(left_out)}")
    tell_gaps([s for s in snapshot.sources if s.kind in _KINDS], snapshot.errors)
    return PARTIAL if left_out or snapshot.errors else OK


def show_differences(given: Given, file: str, form: str, *, strict: bool) -> int:
    """``layout diff``, and with ``strict`` ``layout assert``; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    try:
        wanted = _read(file)
    except LayoutError as error:
        return _unusable(file, error)
    with reading(settings, demo, _KINDS, _hosts(wanted)) as read:
        snapshot = read.snapshot
    if not snapshot.hosts and is_dark(snapshot, frozenset({"nova"})):
        return no_connection(snapshot)
    try:
        found = differences(wanted, snapshot)
    except LayoutError as error:
        return _unusable(file, error)
    left_out = write(_DIFFERENCES, found, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    if not found:
        say("no difference: all is as the file says" if wanted.gpu else "no difference: the file names no GPU")
    tell_gaps((), _errors(wanted, snapshot))
    if strict and any(one.verdict != "unreadable" for one in found):
        return FAILED
    return PARTIAL if any(one.verdict == "unreadable" for one in found) else OK


def _read(file: str) -> Layout:
    """The layout in a file, or of the standard input. Raises LayoutError."""
    try:
        with ExitStack() as stack:
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(open(file, "rb"))
            data = stream.read(4 * LARGEST + 1)  # a character has four bytes at most
        return read_layout(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LayoutError(f"no UTF-8: byte {error.start + 1} is not of a text") from None
    except OSError as error:
        raise LayoutError((error.strerror or type(error).__name__).lower()) from None


def _unusable(file: str, error: LayoutError) -> int:
    say(f"{NAME}: {'standard input' if file == '-' else file}: {error}")
    return USAGE


def _hosts(wanted: Layout) -> frozenset[str] | None:
    """The hosts to ask; None for all, where a name stands for several."""
    names = frozenset(entry.host for entry in wanted.gpu)
    return None if any(set(name) & set("*?[") for name in names) else names


def _errors(wanted: Layout, snapshot: Snapshot) -> list[SourceStatus]:
    """The failed sources that the layout has to do with."""
    return [
        status
        for status in snapshot.errors
        if not status.host or any(fnmatchcase(status.host, e.host) for e in wanted.gpu)
    ]


# --- apply ------------------------------------------------------------------------------------------------------------


def apply_layout(given: Given, file: str, prune: bool, way: Way) -> int:
    """``layout apply``; returns the exit code."""
    try:
        wanted = _read(file)
    except LayoutError as error:
        return _unusable(file, error)

    def make(read: Reading) -> Proposal:
        try:
            found = plan_layout(read.facts, read.snapshot, wanted, time.time(), prune=prune)
        except LayoutError as error:
            raise PlanError(str(error)) from None
        left = [one for one in found.left if not _left_alone(one, prune)]
        return Proposal(
            found.plans,
            several=True,
            notes=_notes(found, left),
            frame=lambda records: {"plans" if way.dry_run else "results": records, "left": [*map(_record, found.left)]},
            table=(lambda: _write_left(given, found.left)) if found.left else None,
            noun="item",
            chain=lambda plan: (plan.target.key.get("host"), plan.target.key.get("gpu")),
            left=len(left),
        )

    return change(given, None, way, make, kinds=EVERYTHING, hosts=_hosts(wanted))


def _left_alone(one: Left, prune: bool) -> bool:
    """What is too many and was not to be removed is as it was asked for."""
    return not prune and one.difference.verdict in ("surplus", "other type")


def _notes(found: LayoutPlans, left: Sequence[Left]) -> tuple[str, ...]:
    lines = []
    if not found.plans and not left:
        lines.append("nothing to do: all is as the file says")
    if found.again:
        lines.append("what is to be made where something is removed first needs this command once more")
    return tuple(lines)


def _record(one: Left) -> dict[str, Any]:
    about = one.difference
    names = ("host", "gpu", "type", "wanted", "present", "verdict", "entry")
    return {name: getattr(about, name) for name in names} | {"reason": one.reason, "again": one.again}


_LEFT = View(
    "layout left",
    "items without a plan",
    (
        Column("not planned", lambda row: f"{row.difference.host} {row.difference.gpu}"),
        Column("type", lambda row: row.difference.type),
        Column("wanted", lambda row: row.difference.wanted, right=True),
        Column("present", lambda row: row.difference.present, right=True),
        Column("verdict", lambda row: row.difference.verdict),
        Column("why", lambda row: row.reason),
    ),
    lambda _snapshot, _filters: [],
    _KINDS,
    lambda _snapshot: "",
)


def _write_left(given: Given, left: Sequence[Left]) -> None:
    write(_LEFT, left, "table", sys.stdout, layout(settings_of(given)))
