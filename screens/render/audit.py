"""What the audit of limits found, as rows: how bad, about what, and why it matters."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.screens.seams import LimitTarget
from vgpu_console.screens.widgets.cells import Cell, Kind, Span, glyphs, state, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("severity", "", 6),
    Column("object", "ABOUT", 18, flex=1, maximum=36),
    Column("message", "WHAT AND WHY", 30, flex=4),
    Column("command", "COMMAND", 70, flex=2, priority=1),
)

_KINDS: dict[str, tuple[Kind, int]] = {"fail": ("fail", 0), "warn": ("warn", 1), "info": ("muted", 2)}


def row_id(finding: Finding) -> str:
    """The identity of a finding's row."""
    return f"finding {finding.id} {finding.object}"


def finding_row(finding: Finding) -> TableRow:
    """A finding as a row, sorted by how bad it is."""
    kind, order = _KINDS[finding.severity]
    sign = state(finding.severity, kind)
    return TableRow(
        row_id(finding),
        (
            Cell(sign.spans, order),
            text(finding.object),
            text(finding.message),
            text(finding.command, "muted"),
        ),
        f"{finding.severity} {finding.id} {finding.object} {finding.message} {finding.command}",
    )


def counts(findings: Sequence[Finding]) -> tuple[Span, ...]:
    """``2 fail · 1 warn · 3 info``."""
    spans: list[Span] = []
    for severity, (kind, _) in _KINDS.items():
        number = sum(f.severity == severity for f in findings)
        if number:
            spans += [(f" {glyphs().separator} ", "muted")] if spans else []
            spans.append((f"{number} {severity}", kind))
    return tuple(spans)


def targets(finding: Finding, snapshot: Snapshot) -> tuple[LimitTarget, ...]:
    """The limit that a finding is about, where a key can change it: a project's, or the resource's default."""
    kind, _, name = finding.object.partition(" ")
    if kind == "limit":
        row = next((q for q in snapshot.quotas if q.resource == name), None)
        return (LimitTarget(row.project_id, name),) if row is not None else ()
    if kind != "project":
        return ()
    rows = [q for q in snapshot.quotas if name in (q.project, q.project_id)]
    rows = [q for q in rows if q.resource in finding.message] or rows
    return (LimitTarget(rows[0].project_id, rows[0].resource),) if len({q.project_id for q in rows}) == 1 else ()
