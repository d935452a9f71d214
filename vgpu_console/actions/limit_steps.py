"""The requests that change unified limits, and the openstack client's commands that do the same.

Registered limits and limits are created by POST of a list, all or nothing, and changed by PATCH (Keystone v3).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

from vgpu_console.actions.limit_place import Place
from vgpu_console.actions.limit_values import shown
from vgpu_console.actions.plan import HttpStep
from vgpu_console.model.keystone import ProjectLimit

SERVICE = "limits"


class Owner(NamedTuple):
    """Whose limit it is: a project's, or a domain's."""

    project_id: str | None
    domain_id: str | None
    name: str  # for eyes

    @property
    def id(self) -> str:
        """The id of whichever it is."""
        return self.project_id or self.domain_id or ""


def register(place: Place, resource: str, value: int) -> HttpStep:
    """Create the registered limit where Nova finds it."""
    row = _placed(place, {"resource_name": resource, "default_limit": value})
    return _step(f"register {resource} with default {shown(value)}", "POST", "/registered_limits", "registered", [row])


def change_default(limit_id: str, resource: str, value: int) -> HttpStep:
    """Change a registered limit. Keystone refuses while any project or domain has a limit of its own."""
    title = f"change the default of {resource} to {shown(value)}"
    return HttpStep(
        title=title,
        method="PATCH",
        service=SERVICE,
        path=f"/registered_limits/{limit_id}",
        body={"registered_limit": {"default_limit": value}},
    )


def create_limits(place: Place, resource: str, values: Iterable[tuple[Owner, int]]) -> HttpStep:
    """Give projects limits of their own, in one request that does all or nothing."""
    listed = list(values)
    rows = []
    for owner, value in listed:
        whose = {"project_id": owner.project_id} if owner.project_id else {"domain_id": owner.domain_id}
        rows.append(_placed(place, {**whose, "resource_name": resource, "resource_limit": value}))
    title = ", ".join(f"{owner.name} to {shown(value)}" for owner, value in listed[:5])
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return _step(f"set {resource} of {title}{more}", "POST", "/limits", "", rows)


def change_limit(limit: ProjectLimit, owner: Owner, value: int) -> HttpStep:
    """Change a project's own limit."""
    return HttpStep(
        title=f"set {limit.resource_name} of {owner.name} to {shown(value)}",
        method="PATCH",
        service=SERVICE,
        path=f"/limits/{limit.id}",
        body={"limit": {"resource_limit": value}},
    )


def delete_limit(limit: ProjectLimit, owner: Owner) -> HttpStep:
    """Take a project's own limit away: the default holds."""
    title = f"delete the own {limit.resource_name} of {owner.name}"
    return HttpStep(title=title, method="DELETE", service=SERVICE, path=f"/limits/{limit.id}")


def _placed(place: Place, row: dict[str, Any]) -> dict[str, Any]:
    row["service_id"] = place.service_id
    if place.region_id is not None:
        row["region_id"] = place.region_id
    return row


def _step(title: str, method: Any, path: str, kind: str, rows: list[dict[str, Any]]) -> HttpStep:
    key = "registered_limits" if kind else "limits"
    return HttpStep(title=title, method=method, service=SERVICE, path=path, body={key: rows})


def commands(steps: Iterable[HttpStep]) -> tuple[str, ...]:
    """The same with the openstack client, a line per object; ids in them, and every value quoted for a shell.

    The client cannot create a domain's limit (``--project`` is mandatory): a shell comment stands in its place.
    """
    lines: list[list[str]] = []
    notes: list[str] = []
    for step in steps:
        body = step.body or {}
        _, kind, *tail = step.path.split("/")
        noun = ["openstack", "registered", "limit"] if kind == "registered_limits" else ["openstack", "limit"]
        if step.method == "DELETE":
            lines.append([*noun, "delete", tail[0]])
        elif step.method == "PATCH":
            change = next(iter(body.values()))
            lines.append([*noun, "set", *_value(change), tail[0]])
        else:
            for row in body[kind]:
                if row.get("domain_id"):
                    notes.append(f"# the limit of domain {row['domain_id']} has no openstack command: POST /v3/limits")
                else:
                    lines.append([*noun, "create", *_whose(row), *_value(row), row["resource_name"]])
    return (*(shlex.join(line) for line in lines), *notes)


def _value(row: dict[str, Any]) -> list[str]:
    if "default_limit" in row:
        return ["--default-limit", str(row["default_limit"])]
    return ["--resource-limit", str(row["resource_limit"])]


def _whose(row: dict[str, Any]) -> list[str]:
    words = ["--service", str(row["service_id"])]
    if row.get("region_id") is not None:
        words += ["--region", str(row["region_id"])]
    if row.get("project_id"):
        words += ["--project", str(row["project_id"])]
    return words
