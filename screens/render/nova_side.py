"""What Nova and Placement are told of a host's GPUs against what these can do, and the nova.conf that would be true."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from vgpu_console.rules.nova_caps import NovaTypeSide
from vgpu_console.rules.nova_gpu import NovaSideRow, State, label
from vgpu_console.screens.render import words
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Kind, Span, glyphs

_LIST = re.compile(r",(?=[0-9a-f])")
"""The comma between two addresses, where a long list may be broken for eyes."""

_KINDS: dict[State, Kind] = {"ok": "ok", "warn": "warn", "fail": "fail", "unknown": "unknown"}


def side_lines(
    rows: Sequence[NovaSideRow], types: Sequence[NovaTypeSide], snippet: str, why_none: str, width: int
) -> list[Line]:
    """The whole panel: per GPU and type, per type over the host, and the snippet."""
    lines: list[Line] = []
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1].gpu != row.gpu:
            lines += [()] if number else []
            lines.append(((row.gpu, "accent"), (f" {row.model or 'GPU'}", "title"), (_mechanism(row), "muted")))
        lines += _row_lines(row, width)
    if not rows:
        lines += hang((), why_none, "muted", width)
    if types:
        lines += [(), (("Over the whole host", "title"),)]
        for one in types:
            name: Span = (f"  {label(one.type_id, one.type_name)}  ", "")
            lines += hang((name, _sign(one.state)), one.verdict, "", width)
    return [
        *lines,
        (),
        (("nova.conf that tells Placement the truth", "title"), ("   printed, not written", "muted")),
        *_conf(snippet, width),
    ]


def _mechanism(row: NovaSideRow) -> str:
    return "  vendor VFIO" if row.mechanism == "vendor-vfio" else ""


def _row_lines(row: NovaSideRow, width: int) -> list[Line]:
    name = label(row.type_id, row.type_name) if row.type_id else "no type"
    figures: list[Span] = []
    for word, value in (
        ("reports when empty", row.idle_total),
        ("Placement now", row.placement_total),
        ("real", row.real),
        ("at most", row.max),
        ("over-reported", row.over_reported),
        ("stranded", row.stranded),
    ):
        bad = word in ("over-reported", "stranded") and bool(value)
        shown = words.number(value)
        figures += [(f"{word} ", "muted"), (f"{shown}   ", "unknown" if value is None else "warn" if bad else "")]
    lines: list[Line] = _flow(((f"  {name:<10} ", ""),), figures, width)
    lines += hang((("    ", ""),), _configured(row), "muted", width)
    return [*lines, *hang((("    ", ""), _sign(row.state)), row.verdict, "", width)]


def _flow(first: Sequence[Span], pairs: Sequence[Span], width: int) -> list[Line]:
    """Word and figure pairs, as many on a line as fit, below each other where they do not."""
    indent = sum(cell_len(text) for text, _ in first)
    lines: list[list[Span]] = [list(first)]
    used = indent
    for at in range(0, len(pairs), 2):
        pair = pairs[at : at + 2]
        size = sum(cell_len(text) for text, _ in pair)
        if used + size - 3 > width and used > indent:
            lines.append([(" " * indent, "")])
            used = indent
        lines[-1] += pair
        used += size
    return [tuple(line) for line in lines]


def _sign(state: State) -> Span:
    signs = glyphs()
    sign = {"ok": signs.ok, "warn": signs.warn, "fail": signs.fail, "unknown": signs.unknown}[state]
    return f"{sign} ", _KINDS[state]


def _configured(row: NovaSideRow) -> str:
    if row.mechanism == "vendor-vfio":
        if row.configured is None:
            return "[pci] device_spec not readable"
        return (
            f"[pci] device_spec matches {len(row.device_addresses)} of its {len(row.functions)} functions with a type"
        )
    if row.configured is None:
        return "nova.conf not readable"
    if not row.configured:
        return "not in enabled_mdev_types for this GPU"
    where = (
        f"device_addresses: {_some(row.device_addresses)}"
        if row.device_addresses
        else "no device_addresses: every device"
    )
    cap = f" · max_instances {row.max_instances}" if row.max_instances is not None else " · max_instances not set"
    return f"configured · {where}{cap}"


def _some(addresses: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(a.removeprefix("0000:") for a in addresses[:most])
    return shown + (f" and {len(addresses) - most} more" if len(addresses) > most else "")


def _conf(text: str, width: int) -> list[Line]:
    """The snippet, comments dim; a long line goes on below, for eyes only: what is copied has it in one."""
    lines: list[Line] = []
    for line in text.rstrip("\n").split("\n"):
        tone = "muted" if line.startswith("#") else "accent" if line.startswith("[") else ""
        indent = len(line) - len(line.lstrip(" #")) if line.startswith("#") else 4
        lead = line[:indent] if line.startswith("#") else ""
        if cell_len(line) + 2 <= width or not line.strip():
            lines.append((("  ", ""), (line, tone)))
        elif lead:
            rest = hang((("  ", ""), (lead, tone)), line[indent:], tone, width)
            lines += rest
        else:
            lines += hang((("  ", ""),), _LIST.sub(", ", line), tone, width)
    return lines
