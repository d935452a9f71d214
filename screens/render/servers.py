"""Servers that ask for, hold or are allocated vGPUs."""

from __future__ import annotations

from vgpu_console.model.snapshot import Snapshot, VgpuServer
from vgpu_console.screens.render import marks, words
from vgpu_console.screens.widgets.cells import Cell, Span, number, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("name", "SERVER", 14, flex=3),
    Column("project", "PROJECT", 12, flex=2, priority=1),
    Column("host", "HOST", 10, flex=1),
    Column("status", "STATUS", 12),
    marks.COLUMN,
    Column("vgpus", "VGPUS", 5, "right"),
    Column("types", "TYPE", 11, flex=1, priority=2),
    Column("flavor", "FLAVOR", 14, flex=1, priority=3),
    Column("ram", "RAM", 8, "right", priority=4),
    Column("created", "CREATED", 19, priority=5),
    Column("id", "ID", 36, priority=6),
)

_MOVING = frozenset({"MIGRATING", "RESIZE", "VERIFY_RESIZE", "REBUILD", "BUILD"})

_STATUS: dict[str, Span] = {
    "ACTIVE": ("✓ active", "ok"),
    "SHUTOFF": ("· shutoff", "muted"),
    "ERROR": ("✗ error", "fail"),
    "MIGRATING": ("▸ migrating", "accent"),
    "BUILD": ("… build", "accent"),
    "PAUSED": ("! paused", "warn"),
    "SUSPENDED": ("· suspended", "muted"),
}


def status(server: VgpuServer) -> Span:
    """Nova's status with a glyph; words that this table does not know are shown as they are."""
    if not server.status:
        return "? unknown", "unknown"
    return _STATUS.get(server.status.upper(), (f"· {server.status.lower()}", ""))


def disagreement(server: VgpuServer) -> str | None:
    """What does not add up between flavor, Placement and the host, as one line; None when it does or is unknown."""
    if server.vgpus is None or (server.status or "").upper() in _MOVING or server.task_state:
        return None  # while it moves, it is allocated on both sides
    if server.allocated is not None and server.host and server.allocated != server.vgpus:
        return f"the flavor asks for {server.vgpus}, Placement has {server.allocated}"
    if server.devices and len(server.devices) != server.vgpus:
        return f"the flavor asks for {server.vgpus}, the host gives {len(server.devices)}"
    return None


def is_fault(server: VgpuServer) -> bool:
    """Whether a server needs an eye."""
    return (server.status or "").upper() in ("ERROR", "", "UNKNOWN") or disagreement(server) is not None


def server_row(server: VgpuServer, mark: marks.Mark | None = None) -> TableRow:
    """One server as a row; its id is Nova's server id. ``mark``: of the findings that name it."""
    state = status(server)
    kinds = ", ".join(dict.fromkeys(words.short_type(t) for t in server.types))
    off = disagreement(server) is not None
    vgpus = number(server.vgpus)
    if off:
        vgpus = Cell(((f"{words.number(server.vgpus)} !", "warn"),), server.vgpus)
    return TableRow(
        server.id,
        (
            text(server.name or server.id),
            text(server.project or server.project_id),
            text(server.host or "–", "" if server.host else "muted"),
            Cell((state,)),
            marks.cell(mark),
            vgpus,
            text(kinds or "–", "" if kinds else "muted"),
            text(server.flavor or words.UNKNOWN, "" if server.flavor else "unknown"),
            Cell(((words.gib(server.ram_mib), "" if server.ram_mib is not None else "unknown"),), server.ram_mib),
            text(words.time_of(server.created), "muted"),
            text(server.id, "muted"),
        ),
        f"{server.name} {server.project} {server.host or ''} {state[0]} {kinds} {server.flavor or ''} {server.id}",
    )


def details(server: VgpuServer, snapshot: Snapshot) -> list[tuple[str, tuple[Span, ...]]]:
    """Everything known of one server as label and value lines; each device with where it lives."""
    requested = ", ".join(f"{name} {amount}" for name, amount in server.requested.items())
    lines: list[tuple[str, tuple[Span, ...]]] = [
        ("Id", ((server.id, ""),)),
        ("Project", ((server.project or words.UNKNOWN, ""), (f"  {server.project_id}", "muted"))),
        ("Host", ((server.host or "none", "" if server.host else "muted"),)),
        ("Status", (status(server), *(((f"  {server.task_state}", "accent"),) if server.task_state else ()))),
        ("Flavor", ((server.flavor or words.UNKNOWN, ""), (f"  {words.gib(server.ram_mib)} RAM", "muted"))),
        ("Asks for", ((requested or words.number(server.vgpus), ""),)),
        ("Placement", ((words.number(server.allocated), "" if server.allocated is not None else "unknown"),)),
        ("Created", ((words.time_of(server.created), ""),)),
    ]
    off = disagreement(server)
    if off:
        lines.append(("!", ((off, "warn"),)))
    devices = [m for m in snapshot.mdevs if m.server_id == server.id]
    if devices:
        for device in devices:
            place = device.parent or words.UNKNOWN
            lines.append(
                (
                    "Device",
                    (
                        (words.short_type(device.type_name), ""),
                        (f"  {device.host} {place}", ""),
                    ),
                )
            )
            lines.append(("", ((device.uuid or "vendor VFIO", "muted"),)))
    else:
        lines.append(("Device", (("none seen on a host", "muted"),)))
    names = {p.uuid: p for p in snapshot.providers}
    for uuid in server.allocated_on:
        provider = names.get(uuid)
        lines.append(("Provider", ((provider.name if provider else uuid, ""), (f"  {uuid}", "muted"))))
    return lines
