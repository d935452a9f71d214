"""What a limit means for those who live under it, as lines for an operator."""

from __future__ import annotations

from vgpu_console.actions.limit_place import Limits
from vgpu_console.actions.limit_values import UNLIMITED, VGPU, noun, shown, words
from vgpu_console.model.snapshot import ProjectQuota


def thing(resource: str) -> str:
    """What starts under the limit, in the singular."""
    if resource == "servers":
        return "server"
    return "vGPU server" if resource == VGPU else f"server with {noun(resource)}"


def standing(row: ProjectQuota | None, used: int | None, limit: int, resource: str) -> tuple[str, ...]:
    """Where a project stands once the limit holds: ``5 of 4: no new vGPU server until two are gone``."""
    start = thing(resource)
    lines: list[str] = []
    if limit == UNLIMITED:
        lines.append(f"project has no limit: only the hosts' capacity ends what it can start ({_used(used)} in use)")
    elif used is None:
        lines.append(f"what the project uses of {noun(resource)} is not known; its limit is {limit}")
    elif limit == 0:
        stays = f"; the {used} in use stay" if used else ""
        lines.append(f"project is now at {used} of 0: no new {start}, however many are gone{stays}")
    elif used >= limit:
        gone = used - limit + 1
        verb = "is" if gone == 1 else "are"
        lines.append(f"project is now at {used} of {limit}: no new {start} until {words(gone)} {verb} gone")
    else:
        left = limit - used
        more = noun(resource, left)
        lines.append(f"project is now at {used} of {limit}: {words(left)} more {more}, as far as quota goes")
    if limit not in (0, UNLIMITED) and used is not None and row is not None:
        if row.in_flight:
            verbs = ("counts", "goes by itself") if row.in_flight == 1 else ("count", "go by themselves")
            lines.append(
                f"{words(row.in_flight)} of the {used} {verbs[0]} twice while a migration runs, and {verbs[1]}"
            )
        if row.leaked:
            verbs = ("is", "does") if row.leaked == 1 else ("are", "do")
            held = f"{words(row.leaked)} of the {used} {verbs[0]} held by nothing that runs (leaked)"
            lines.append(f"{held}, and {verbs[1]} not go")
    return tuple(lines)


def _used(used: int | None) -> str:
    return "an unknown number" if used is None else str(used)


def registered_anew(limits: Limits, value: int) -> tuple[str, ...]:
    """That and where a registered limit is made."""
    place = limits.place
    lines = [
        f"{limits.resource} has no registered limit that Nova finds: it is created for service {place.service_name} "
        f"({place.service_id}) in {_region(place.region_id)}, with default {shown(value)}"
    ]
    for other in limits.elsewhere:
        where = "another service" if other.service_id != place.service_id else _region(other.region_id)
        lines.append(f"the one of the same name for {where} stays as it is: Nova does not look there")
    return tuple(lines)


def _region(region_id: str | None) -> str:
    return f"region {region_id}" if region_id is not None else "no region"
