"""``vgpu-console mdev types``: what could be created on one host's GPUs now, and why not more."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from vgpu_console.actions.devices import find_gpu, find_host
from vgpu_console.actions.plan import PlanError
from vgpu_console.cli_hosts import read_hosts
from vgpu_console.cli_output import write
from vgpu_console.cli_run import (
    NAME,
    NO_CONNECTION,
    OK,
    PARTIAL,
    say,
    tell_gaps,
)
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.mdev_room import TypeRoom, type_rooms
from vgpu_console.views import DEVICES, NOT_APPLICABLE, Column, View, column


def _joined(name: str) -> Column:
    return Column(name, lambda row: list(getattr(row, name)), table=False)


TYPES = View(
    "mdev types",
    "vGPU types",
    (
        column("host", 6),
        column("gpu"),
        column("type_id", 5),
        column("type_name"),
        column("framebuffer_mib", 3, right=True),
        column("max", right=True),
        column("max_source", 4),
        column("created", right=True),
        column("used", 2, right=True),
        column("creatable", right=True),
        Column("why_not", lambda row: row.why_not, show=lambda row: row.why_not or NOT_APPLICABLE, priority=1),
        _joined("functions"),
        column("max_evidence", table=False),
        column("enabled", table=False),
    ),
    lambda _snapshot, _filters: [],
    DEVICES,
    lambda _snapshot: "",
)
"""The names are promised up to ``why_not``; ``functions`` are those that would carry the next ones."""


def show_types(given: Mapping[str, tuple[Any, str]], host: str, gpu: str | None, form: str) -> int:
    """Writes the types of a host's GPUs; returns the exit code."""
    seen = read_hosts(given, [host])
    if isinstance(seen, int):
        return seen
    snapshot = seen.snapshot
    try:
        name, rooms = rooms_of(snapshot, host, gpu)
    except PlanError as error:
        say(f"{NAME}: {error}")
        return error.exit
    left_out = write(TYPES, rooms, form, sys.stdout, seen.how)
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    if not rooms:
        say(f"no vGPU types: {name} has no GPU that offers one")
    own = [s for s in snapshot.errors if s.host == name]
    tell_gaps([s for s in snapshot.sources if s.kind in DEVICES], snapshot.errors)
    if rooms and all(room.creatable is None for room in rooms) and own:
        return NO_CONNECTION
    return PARTIAL if own or snapshot.errors else OK


def rooms_of(snapshot: Snapshot, host: str, gpu: str | None) -> tuple[str, list[TypeRoom]]:
    """A host's name and the types of its GPUs, or of one of them. Raises PlanError."""
    owner = find_host(snapshot, host)
    if gpu is not None or owner.gpus is None:  # a host that was not read has no GPU to find either, and says why
        addresses = [find_gpu(snapshot, owner.name, gpu or "").address]
    else:
        addresses = [one.address for one in owner.gpus]
    return owner.name, [room for address in addresses for room in type_rooms(snapshot, owner.name, address)]
