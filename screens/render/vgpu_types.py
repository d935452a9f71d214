"""The types of a GPU in a table: how large, how many at most and who says so, how many there are and can still be."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.mdev_room import TypeRoom
from vgpu_console.screens.render import words
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Span, glyphs, number, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("type", "TYPE", 10, flex=1, maximum=16),
    Column("memory", "MEMORY", 7, "right"),
    Column("max", "REAL MAX", 11, "right"),
    Column("created", "CREATED", 7, "right", priority=1),
    Column("used", "USED", 4, "right", priority=1),
    Column("creatable", "CAN ADD", 7, "right"),
    Column("why", "WHY NOT MORE", 14, flex=5, priority=2),
)

_ORIGIN = {"host": "host", "catalogue": "list", "unknown": ""}


def on_function(room: TypeRoom, function: str | None, creatable: Sequence[str]) -> tuple[int | None, str]:
    """How many can be made now, on one function where one is named, and why not more."""
    if function is None:
        return room.creatable, room.why_not
    if room.creatable == 0:
        return 0, room.why_not
    if room.type_id not in creatable:
        return 0, f"the driver does not offer it on {function}"
    return 1, "a function carries one vGPU"


def type_row(room: TypeRoom, creatable: int | None, why: str) -> TableRow:
    """One type; dim when none can be made."""
    none = creatable == 0
    tone = "muted" if none else ""
    most: tuple[Span, ...] = ((words.number(room.max), "unknown" if room.max is None else tone),)
    if _ORIGIN[room.max_source]:
        most += ((f" {_ORIGIN[room.max_source]}", "muted"),)
    now: Span = (words.number(creatable), "unknown" if creatable is None else tone or "accent")
    return TableRow(
        room.type_id,
        (
            Cell(((room.label, tone), *(((f" {glyphs().mark}", "muted"),) if room.enabled else ())), room.label),
            text(words.gib(room.framebuffer_mib), tone if room.framebuffer_mib is not None else "unknown"),
            Cell(most, room.max),
            number(room.created, tone),
            number(room.used, tone),
            Cell((now,), creatable),
            text(why, "muted"),
        ),
    )


def gpu_line(host: Host, gpu: PhysicalGpu, number_of: tuple[int, int], function: str | None) -> tuple[Span, ...]:
    """The GPU that the table is about, and which of the host's it is."""
    at, total = number_of
    spans: tuple[Span, ...] = ((gpu.address, "accent"), (f" {gpu.model or 'GPU'}", "title"))
    if gpu.sriov:
        spans += ((f"  VFs {words.number(gpu.vfs_enabled)}/{words.number(gpu.vfs_total)}", "muted"),)
    if gpu.mechanism == "vendor-vfio":
        spans += (("  vendor VFIO", "muted"),)
    if function is not None:
        spans += (("  on ", "muted"), (function, "accent"))
    if total > 1:
        spans += ((f"  GPU {at} of {total}", ""), ("  ← →", "accent"))
    return spans


def type_lines(room: TypeRoom | None, creatable: int | None, why: str, place: str | None, width: int) -> list[Line]:
    """What is to be said of the type under the cursor: where the next ones would live, why not more, who says so."""
    if room is None:
        return []
    lines: list[Line] = []
    if creatable == 0:
        lines += hang(((f"{glyphs().fail} none  ", "fail"),), why or "no room", "", width)
    else:
        where = [place] if place is not None else list(room.functions)
        shown = ", ".join(where[:3]) + (f" … {where[-1]}" if len(where) > 3 else "")
        least = "" if creatable is None else f"{creatable} "
        first: tuple[Span, ...] = (
            (f"{glyphs().ok} {least}on  " if creatable else "? on  ", "ok" if creatable else "unknown"),
        )
        lines += hang(first, shown, "", width)
        if why:
            lines += hang((("  ", ""),), why, "muted", width)
    if room.max is not None and room.max_evidence:
        who = {"host": "the host's driver says", "catalogue": "the catalogue says"}.get(room.max_source, "at most")
        lines += hang((("  ", ""),), f"{who} {room.max}: {room.max_evidence}", "muted", width)
    if room.enabled:
        lines.append(((f"{glyphs().mark} ", "muted"), ("nova.conf names it for this GPU", "muted")))
    if room.enabled is False:
        said = "nova.conf does not name it for this GPU: Nova would not hand it out"
        lines += hang(((f"{glyphs().warn} ", "warn"),), said, "", width)
    return lines


def find(snapshot: Snapshot | None, host: str, gpu: str) -> tuple[Host, PhysicalGpu] | None:
    """A host's GPU, None when it is not there any more."""
    owner = snapshot.host(host) if snapshot is not None else None
    board = next((g for g in (owner.gpus or ()) if g.address == gpu), None) if owner is not None else None
    return (owner, board) if owner is not None and board is not None else None
