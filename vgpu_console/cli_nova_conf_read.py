"""``vgpu-console nova-conf``: Nova's side of each host against the hardware, and the lines that would make it true."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from vgpu_console.cli_hosts import read_hosts
from vgpu_console.cli_output import json_text, write
from vgpu_console.cli_run import (
    OK,
    PARTIAL,
    say,
    tell_gaps,
)
from vgpu_console.rules.nova_caps import NovaTypeSide, nova_types
from vgpu_console.rules.nova_gpu import NovaSideRow
from vgpu_console.rules.nova_side import nova_side
from vgpu_console.rules.nova_snippet import NovaConfSnippet, snippet_of
from vgpu_console.views import DEVICES, NOT_APPLICABLE, Column, View, column


class Side(NamedTuple):
    """All that is said of one host."""

    host: str
    rows: tuple[NovaSideRow, ...]
    types: tuple[NovaTypeSide, ...]
    conf: NovaConfSnippet

    def record(self) -> dict[str, Any]:
        """All of it under its promised names; ``snippet`` is the text."""
        more: dict[str, Any] = msgspec.to_builtins(self.conf)
        text = more.pop("text")
        return {"host": self.host, "rows": self.rows, "types": self.types, "snippet": text} | more


def _yes_no(row: Any) -> str:
    return "?" if row.configured is None else "yes" if row.configured else "no"


_GPUS = View(
    "nova-conf gpus",
    "GPUs",
    (
        column("host"),
        column("gpu"),
        Column("type", lambda row: row.type_name or row.type_id, show=lambda row: row.type_name or NOT_APPLICABLE),
        Column("in nova.conf", _yes_no, priority=3),
        Column("functions", lambda row: len(row.functions), right=True, priority=5),
        column("placement_total", 2, right=True),
        column("real", right=True),
        column("max", 4, right=True),
        column("over_reported", right=True),
        column("stranded", right=True),
        column("verdict", 1),
    ),
    lambda _snapshot, _filters: [],
    DEVICES,
    lambda _snapshot: "",
)

_TYPES = View(
    "nova-conf types",
    "types",
    (
        column("host"),
        Column("type", lambda row: row.type_name or row.type_id),
        column("gpus", 4, right=True),
        Column(
            "max_instances",
            lambda row: row.max_instances,
            right=True,
            show=lambda row: NOT_APPLICABLE if row.max_instances is None else str(row.max_instances),
            priority=3,
        ),
        column("idle_total", 2, right=True),
        column("real", right=True),
        column("usable_least", 5, right=True),
        column("usable_most", 5, right=True),
        column("verdict", 1),
    ),
    lambda _snapshot, _filters: [],
    DEVICES,
    lambda _snapshot: "",
)


def show_nova_side(given: Mapping[str, tuple[Any, str]], hosts: Sequence[str], snippet: bool, form: str) -> int:
    """Writes it of these hosts, or of all that have GPUs; returns the exit code."""
    seen = read_hosts(given, hosts)
    if isinstance(seen, int):
        return seen
    snapshot, wanted, how = seen
    sides = [
        Side(
            host.name, nova_side(snapshot, host.name), nova_types(snapshot, host.name), snippet_of(snapshot, host.name)
        )
        for host in wanted
        if host.gpus
    ]
    if form == "json":
        sys.stdout.write(json_text([side.record() for side in sides], pretty=True) + "\n")
    elif snippet:
        sys.stdout.write("\n".join(side.conf.text.rstrip("\n") + "\n" for side in sides))
    else:
        for number, side in enumerate(sides):
            sys.stdout.write("\n" if number else "")
            write(_GPUS, side.rows, "table", sys.stdout, how)
            if side.types:
                sys.stdout.write("\n")
                write(_TYPES, side.types, "table", sys.stdout, how)
            sys.stdout.write(f"\n{side.conf.text.rstrip()}\n")
    sys.stdout.flush()
    silent = [host.name for host in wanted if host.gpus is None]
    if silent:
        say(f"not known, for want of an answer: {', '.join(silent)}")
    elif not sides:
        say(f"no GPUs{' on ' + ', '.join(host.name for host in wanted) if hosts else ''}")
    tell_gaps([s for s in snapshot.sources if s.kind in DEVICES], snapshot.errors)
    unknown = any(row.configured is None for side in sides for row in side.rows)
    return PARTIAL if silent or unknown or snapshot.errors else OK
