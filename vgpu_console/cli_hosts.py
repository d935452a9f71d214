"""Which hosts a command is about, from what was typed."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.actions.devices import find_host
from vgpu_console.actions.plan import PlanError
from vgpu_console.model.snapshot import Host, Snapshot


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
