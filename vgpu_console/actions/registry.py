"""Every action of the console as one table: keys, palette, help, commands and the way plans are applied follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vgpu_console.actions.observe_devices import DeviceReader, observe_mdev, observe_vfs, observe_vgpu_type
from vgpu_console.actions.observe_limits import Reader, observe_limits
from vgpu_console.actions.observe_migrations import (
    CloudReader,
    observe_forced,
    observe_holdings,
    observe_progress,
    observe_server,
    observe_service,
    observe_start,
)
from vgpu_console.actions.plan import Danger, Plan
from vgpu_console.actions.quota_checks import missing_role
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind

READ_ONLY = "this console is read-only"
NO_SHELL_CHANGES = "the console may only read over SSH: set [ssh] changes = true to let it change hosts"


class WorldReader(Reader, DeviceReader, CloudReader, Protocol):
    """What an observation may ask of the whole world: the cloud's API and the hosts."""


Observe = Callable[[WorldReader, Plan], dict[str, Any]]
"""Reads afresh what a plan of the action is about. Raises SourceError."""


@dataclass(frozen=True)
class Action:
    """One thing that can be changed. ``danger`` is the least of its plans' dangers; a plan may know of more.

    ``impossible`` says why it cannot be done with this credential on this cloud, "" when it can. ``over_shell`` marks
    what the console can only do by changing a host over SSH, which is a right of its own ([ssh] changes).
    """

    id: str
    title: str
    key: str  # on its screen; "" when it has none
    danger: Danger
    target: str  # the kind of its plans' target
    observe: Observe
    impossible: Callable[[Snapshot], str]
    over_shell: bool = False

    def available(self, snapshot: Snapshot, read_only: bool, shell_changes: bool = True) -> str:
        """ "" when it is possible, else the reason, for a disabled key or a refused command.

        ``shell_changes``: whether this console may change hosts over SSH (``FleetWorld.shell_changes``).
        """
        if read_only:
            return READ_ONLY
        if self.over_shell and not shell_changes:
            return NO_SHELL_CHANGES
        return self.impossible(snapshot)


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


def _no_hosts(snapshot: Snapshot, kind: SourceKind, name: str) -> str:
    """Why no host can be changed by that channel: none is read by it. One that answers is enough."""
    statuses = [s for s in snapshot.sources if s.kind == kind]
    if any(s.fetched_at is not None and s.error is None for s in statuses):
        return ""
    failed = next((s for s in statuses if s.error is not None), None)
    if failed is not None:
        return f"no host's {name} answers; {failed.host}: {failed.error}"
    return f"no host's {name} is read yet" if statuses else f"no host's {name} is read ([{kind}] enabled?)"


def _no_libvirt(snapshot: Snapshot) -> str:
    return _no_hosts(snapshot, "libvirt", "libvirt")


def _no_ssh(snapshot: Snapshot) -> str:
    return _no_hosts(snapshot, "ssh", "sysfs (over SSH)")


def _no_nova(snapshot: Snapshot) -> str:
    """Why Nova cannot be asked to move servers: it does not answer, or the role is missing. Unknown roles forbid
    nothing."""
    status = next((s for s in snapshot.sources if s.kind == "nova"), None)
    if status is None or (status.fetched_at is None and status.error is None):
        return "Nova is not read yet"
    if status.error is not None:
        return f"Nova cannot be read: {status.error}"
    roles = {role.lower() for role in snapshot.identity.roles}
    if not roles or "admin" in roles:
        return ""
    return f"needs role admin in a project (Nova); this credential has {', '.join(sorted(roles))} there"


_MDEV, _FUNCTION, _GPU = "mediated device", "virtual function", "physical GPU"
_MIGRATION, _SERVICE = "live migration", "compute service"

ACTIONS: tuple[Action, ...] = (
    Action("quota.set", "Set a project's limit", "l", "change", "project limit", observe_limits, _no_limits),
    Action("quota.clear", "Clear a project's limit", "L", "change", "project limit", observe_limits, _no_limits),
    Action("quota.default", "Set the default limit", "D", "change", "registered limit", observe_limits, _no_limits),
    Action("quota.import", "Import legacy quota", "", "change", "registered limit", observe_limits, _no_import),
    Action("mdev.create", "Create a mediated device", "n", "change", _MDEV, observe_mdev, _no_libvirt),
    Action("mdev.remove", "Remove a mediated device", "x", "destroy", _MDEV, observe_mdev, _no_libvirt),
    Action("mdev.start", "Start a mediated device", "o", "change", _MDEV, observe_mdev, _no_libvirt),
    Action("mdev.stop", "Stop a mediated device", "o", "risk", _MDEV, observe_mdev, _no_libvirt),
    Action("mdev.autostart", "Switch autostart", "A", "change", _MDEV, observe_mdev, _no_libvirt),
    Action("vgpu-type.set", "Set a vGPU type", "n", "change", _FUNCTION, observe_vgpu_type, _no_ssh, True),
    Action("vgpu-type.clear", "Clear a vGPU type", "x", "destroy", _FUNCTION, observe_vgpu_type, _no_ssh, True),
    Action("sriov.enable", "Enable virtual functions", "v", "risk", _GPU, observe_vfs, _no_libvirt),
    Action("migrate.start", "Live-migrate a server", "m", "risk", "server", observe_start, _no_nova),
    Action("migrate.abort", "Abort a live migration", "a", "change", _MIGRATION, observe_progress, _no_nova),
    Action("migrate.force", "Force a live migration's end", "f", "risk", _MIGRATION, observe_forced, _no_nova),
    Action("migrate.reset", "Reset a server to ACTIVE", "", "change", "server", observe_server, _no_nova),
    Action("migrate.heal", "Free what a migration left", "", "risk", "allocation", observe_holdings, _no_nova),
    Action("service.disable", "Disable a compute service", "", "change", _SERVICE, observe_service, _no_nova),
    Action("service.enable", "Enable a compute service", "", "change", _SERVICE, observe_service, _no_nova),
)

_BY_ID = {one.id: one for one in ACTIONS}


def action(id: str) -> Action:
    """The action of that id. Raises KeyError."""
    return _BY_ID[id]
