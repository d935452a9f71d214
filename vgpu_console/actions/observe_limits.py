"""Reads limits afresh for a plan: exactly the keys that its ``before`` and ``after`` are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from vgpu_console.actions.plan import Plan
from vgpu_console.sources.base import SourceError

_OWN_KEY = re.compile(r"\[([^\[\]]+)\]$")


class Reader(Protocol):
    """What an observation may ask of a cloud. Raises SourceError."""

    def get(self, service: str, path: str, *, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object at a path."""
        ...

    def created(self, key: Mapping[str, str | None]) -> str | None:
        """The id of the limit of that key, when this console has just made it."""
        ...


def observe_limits(reader: Reader, plan: Plan) -> dict[str, Any]:
    """The limit, the default, or both with all own limits, as the plan's target says."""
    key = plan.target.key
    seen: dict[str, Any] = {}
    if "limit" in plan.before:
        seen["limit"] = _own_limit(reader, key)
    if "default" in plan.before:
        seen["default"] = _default(reader, key)
    if plan.target.kind == "registered limit":
        seen |= _all_own(reader, key, (*plan.before, *plan.after))
    return seen


def _rows(reader: Reader, name: str, key: Mapping[str, str | None], **more: str | None) -> list[dict[str, Any]]:
    """The rows of that resource and place; Keystone cannot filter for "no region", so the place is compared here."""
    asked = {"resource_name": key["resource"], "service_id": key["service_id"], **more}
    body = reader.get("limits", f"/{name}", params={k: v for k, v in asked.items() if v is not None})
    rows = body.get(name)
    if not isinstance(rows, list):
        raise SourceError("protocol", f"keystone's answer has no list of {name.replace('_', ' ')}")
    if body.get("truncated") is True:
        raise SourceError("protocol", f"keystone cut the list of {name.replace('_', ' ')} ([DEFAULT] list_limit)")
    place = (key["resource"], key["service_id"], key["region_id"])
    return [
        row
        for row in rows
        if isinstance(row, dict) and (row.get("resource_name"), row.get("service_id"), row.get("region_id")) == place
    ]


def _default(reader: Reader, key: Mapping[str, str | None]) -> Any:
    rows = _rows(reader, "registered_limits", key)
    return rows[-1].get("default_limit") if rows else None  # of two alike the last counts in oslo.limit


def _own_limit(reader: Reader, key: Mapping[str, str | None]) -> Any:
    for row in _rows(reader, "limits", key, project_id=key["project_id"]):
        if row.get("project_id") == key["project_id"]:
            return row.get("resource_limit")
    made = reader.created(key)
    if made is None:
        return None
    # before Keystone 29 a project's token is shown its own project's limits in lists, but any limit by its id
    try:
        row = reader.get("limits", f"/limits/{made}").get("limit") or {}
    except SourceError as error:
        if error.kind == "protocol":
            return None  # 404: it is gone again
        raise
    return row.get("resource_limit")


def _all_own(reader: Reader, key: Mapping[str, str | None], known: tuple[str, ...]) -> dict[str, Any]:
    names = {found[1]: one for one in known if (found := _OWN_KEY.search(one))}
    own: dict[str, Any] = {}
    for row in _rows(reader, "limits", key):
        owner = str(row.get("project_id") or row.get("domain_id"))
        kind = "project" if row.get("project_id") else "domain"
        own[names.get(owner, f"{kind} [{owner}]")] = row.get("resource_limit")
    return own
