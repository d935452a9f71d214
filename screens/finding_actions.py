"""What a finding is about, for the keys: the devices, limits and servers it names, and the action that mends it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vgpu_console.actions.registry import action
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.screens.render import audit
from vgpu_console.screens.seams import DeviceTarget, LimitTarget

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_SAME_KEY = {"mdev.stop": "mdev.start", "vgpu-type.set": "mdev.create", "vgpu-type.clear": "mdev.remove"}
"""Of actions that share a key: the one whose name the key goes by."""


class Mending(NamedTuple):
    """The action that mends a finding. ``why_not`` says why it cannot be begun; "" when it can."""

    id: str
    key: str
    title: str
    why_not: str


def device_targets(finding: Finding, snapshot: Snapshot | None) -> tuple[DeviceTarget, ...]:
    """The devices that it names, else its host. Of a GPU with the removal of free vGPUs as its cure: those."""
    if snapshot is None:
        return ()
    found = []
    for one in finding.objects or (finding.object,):
        kind, _, rest = one.partition(" ")
        host, _, name = rest.partition(" ")
        if kind == "gpu" and finding.action == "mdev.remove":
            free = (m for m in snapshot.mdevs if m.host == host and m.gpu == name and m.used is False)
            found += [DeviceTarget(host, "vgpu", m.gpu, m.parent, m.uuid) for m in free]
        elif kind == "gpu":
            found.append(DeviceTarget(host, "gpu", name))
        elif kind == "mdev":
            mdev = next((m for m in snapshot.mdevs if m.host == host and m.uuid == name), None)
            if mdev is not None:
                found.append(DeviceTarget(host, "vgpu", mdev.gpu, mdev.parent, mdev.uuid))
    if not found and finding.host and snapshot.host(finding.host) is not None:
        return (DeviceTarget(finding.host, "host"),)
    return tuple(found)


def limit_targets(finding: Finding, snapshot: Snapshot | None) -> tuple[LimitTarget, ...]:
    """The limit that it is about."""
    return audit.targets(finding, snapshot) if snapshot is not None else ()


def server_target(finding: Finding, snapshot: Snapshot | None) -> str | None:
    """The id of the server that it names."""
    for one in finding.objects or (finding.object,):
        if one.startswith("server "):
            known = {s.id for s in snapshot.servers} if snapshot is not None else set[str]()
            ids = _UUID.findall(one)
            return next((i for i in ids if i in known), ids[0] if ids else None)
    return None


def migration_target(finding: Finding) -> str | None:
    """The uuid of the live migration that it names."""
    for one in finding.objects or (finding.object,):
        if one.startswith("migration "):
            return next(iter(_UUID.findall(one)), None)
    return None


def mending(console: VgpuConsoleApp, finding: Finding) -> Mending | None:
    """The registry's action that mends it; None where there is only a command."""
    if not finding.action:
        return None
    try:
        known = action(finding.action)
    except KeyError:
        return None
    return Mending(known.id, known.key, known.title, _why_not(console, finding))


def _why_not(console: VgpuConsoleApp, finding: Finding) -> str:
    name, snapshot = finding.action, console.snapshot
    if name.startswith("quota."):
        return console.why_not(name) or ("" if limit_targets(finding, snapshot) else "its limit is in no row")
    if name == "migrate.start":
        return console.changes.moves.why_not_check(server_target(finding, snapshot))
    if name.startswith("migrate."):
        return console.why_not(name) or ("" if _move(console, finding) else "its migration is not known to Nova")
    if name.startswith("service."):
        return console.why_not(name) or "begun with the command"
    return console.changes.devices.why_not(_SAME_KEY.get(name, name), device_targets(finding, snapshot))


def begin(console: VgpuConsoleApp, finding: Finding) -> None:
    """Begin the action that mends it: the same plan, checks and question as on its own row."""
    name, snapshot = finding.action, console.snapshot
    if name.startswith("quota."):
        console.changes.limits.begin(name, limit_targets(finding, snapshot))
    elif name == "migrate.start":
        console.changes.moves.begin(server_target(finding, snapshot) or "")
    elif name.startswith("migrate."):
        move = _move(console, finding)
        if move is not None:
            console.open_timeline(*move)
    else:
        targets: Sequence[DeviceTarget] = device_targets(finding, snapshot)
        console.changes.devices.begin(_SAME_KEY.get(name, name), targets)


def _move(console: VgpuConsoleApp, finding: Finding) -> tuple[str, str, str] | None:
    """Migration, server and its name, for the timeline, which has the keys that mend a migration."""
    snapshot = console.snapshot
    migration, server = migration_target(finding), server_target(finding, snapshot)
    rows = snapshot.migrations if snapshot is not None else ()
    row = next((m for m in rows if m.uuid == migration or (migration is None and m.server_id == server)), None)
    return (row.uuid, row.server_id, row.server or row.server_id) if row is not None else None


def open_finding(console: VgpuConsoleApp, finding: Finding) -> None:
    """Show a finding whole, over whatever view is in front; from there its host, its action."""
    from vgpu_console.screens.dialogs.finding import FindingDialog

    snapshot = console.snapshot
    told = snapshot.findings if snapshot is not None else ()
    whole = next(
        (f for f in told if (f.id, f.object, f.message) == (finding.id, finding.object, finding.message)), finding
    )

    def chosen(what: str | None) -> None:
        if what == "host":
            console.open_host(whole.host)
        elif what == "server":
            console.open_server(server_target(whole, console.snapshot) or "")
        elif what == "mend":
            begin(console, whole)

    server = server_target(whole, snapshot)
    dialog = FindingDialog(whole, snapshot, console.now(), mending(console, whole), server=bool(server))
    console.push_screen(dialog, chosen)
