"""Every action of the console as one table: keys, palette, help, commands and the way plans are applied follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vgpu_console.actions.observe_limits import Reader, observe_limits
from vgpu_console.actions.plan import Danger, Plan
from vgpu_console.actions.quota_checks import missing_role
from vgpu_console.model.snapshot import Snapshot

READ_ONLY = "this console is read-only"

Observe = Callable[[Reader, Plan], dict[str, Any]]
"""Reads afresh what a plan of the action is about. Raises SourceError."""


@dataclass(frozen=True)
class Action:
    """One thing that can be changed. ``danger`` is the least of its plans' dangers; a plan may know of more.

    ``impossible`` says why it cannot be done with this credential on this cloud, "" when it can.
    """

    id: str
    title: str
    key: str  # on its screen; "" when it has none
    danger: Danger
    target: str  # the kind of its plans' target
    observe: Observe
    impossible: Callable[[Snapshot], str]

    def available(self, snapshot: Snapshot, read_only: bool) -> str:
        """ "" when it is possible, else the reason, for a disabled key or a refused command."""
        return READ_ONLY if read_only else self.impossible(snapshot)


def _no_limits(snapshot: Snapshot) -> str:
    """Why limits cannot be changed: Keystone does not answer, or the role is missing. Unknown roles forbid nothing."""
    status = next((s for s in snapshot.sources if s.kind == "keystone"), None)
    if status is None or (status.fetched_at is None and status.error is None):
        return "limits are not read yet"
    if status.error is not None:
        return f"limits cannot be read: {status.error}"
    return missing_role(snapshot.identity) or ""


def _no_import(snapshot: Snapshot) -> str:
    """Legacy quota is Nova's, which shows other projects' to an admin of a project only."""
    reason = _no_limits(snapshot)
    roles = {role.lower() for role in snapshot.identity.roles}
    if reason or not roles or "admin" in roles:
        return reason
    return f"needs role admin in a project (Nova quota); this credential has {', '.join(sorted(roles))} there"


ACTIONS: tuple[Action, ...] = (
    Action("quota.set", "Set a project's limit", "l", "change", "project limit", observe_limits, _no_limits),
    Action("quota.clear", "Clear a project's limit", "L", "change", "project limit", observe_limits, _no_limits),
    Action("quota.default", "Set the default limit", "D", "change", "registered limit", observe_limits, _no_limits),
    Action("quota.import", "Import legacy quota", "", "change", "registered limit", observe_limits, _no_import),
)

_BY_ID = {one.id: one for one in ACTIONS}


def action(id: str) -> Action:
    """The action of that id. Raises KeyError."""
    return _BY_ID[id]
