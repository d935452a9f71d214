"""Which hosts a command is about, from what was typed, and one reading of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vgpu_console.actions.devices import find_host
from vgpu_console.actions.plan import PlanError
from vgpu_console.cli_output import Layout
from vgpu_console.cli_plan import reading
from vgpu_console.cli_run import NAME, demo_of, is_dark, layout, no_connection, say, settings_of
from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.views import DEVICES, OPENSTACK


class Seen(NamedTuple):
    """Hosts as they were just read, and how a table of them is written."""

    snapshot: Snapshot
    hosts: list[Host]
    how: Layout


def read_hosts(given: Mapping[str, tuple[Any, str]], names: Sequence[str]) -> Seen | int:
    """Reads the hosts of these names, or all; an exit code, with its lines said, where there is nothing to show."""
    settings, demo = settings_of(given), demo_of(given)
    with reading(settings, demo, DEVICES, frozenset(names) or None) as read:
        snapshot = read.snapshot
    if not snapshot.hosts and is_dark(snapshot, OPENSTACK & DEVICES):
        return no_connection(snapshot)
    try:
        return Seen(snapshot, hosts_of(snapshot, names), layout(settings))
    except PlanError as error:
        say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
        return error.exit


def hosts_of(snapshot: Snapshot, names: Sequence[str]) -> list[Host]:
    """The hosts of these names, each once; all for none. Raises PlanError with a line for each that is not one."""
    if not names:
        return list(snapshot.hosts)
    found: dict[str, Host] = {}
    errors: list[PlanError] = []
    for name in names:
        try:
            host = find_host(snapshot, name)
        except PlanError as error:
            errors.append(error)
        else:
            found[host.name] = host
    if errors:
        raise PlanError("\n".join(dict.fromkeys(map(str, errors))), max(error.exit for error in errors))
    return list(found.values())
