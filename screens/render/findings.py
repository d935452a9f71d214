"""The doctor's findings as rows and as a page, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vgpu_console.model.snapshot import Finding, Severity, Snapshot, Unlooked
from vgpu_console.rules.diagnosis.telling import Teller
from vgpu_console.screens.render import words
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Kind, Span, glyphs, state, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("severity", "", 6),
    Column("id", "DIAGNOSIS", 18, flex=1, priority=1, maximum=28),
    Column("object", "ABOUT", 18, flex=2, maximum=44),
    Column("message", "WHAT IS WRONG", 28, flex=6),
    Column("host", "HOST", 34, priority=3),
    Column("command", "COMMAND", 60, flex=2, priority=4),
)

KINDS: dict[Severity, tuple[Kind, int]] = {"fail": ("fail", 0), "warn": ("warn", 1), "info": ("muted", 2)}
"""The tone of each severity, and its place: the worst first."""

_SOURCES = {"libvirt": "libvirt", "ssh": "SSH", "nova": "Nova", "placement": "Placement", "keystone": "Keystone"}


def row_ids(findings: Iterable[Finding]) -> list[str]:
    """An identity for each that lasts from one snapshot to the next; of two alike the second gets a number."""
    seen: dict[str, int] = {}
    ids = []
    for one in findings:
        name = f"{one.id} {one.object}"
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return ids


def finding_row(row_id: str, finding: Finding) -> TableRow:
    """A finding as a row, sorted by how bad it is."""
    kind, order = KINDS[finding.severity]
    more = len(finding.objects) - 1
    about = finding.object + (f" +{more}" if more > 0 else "")
    return TableRow(
        row_id,
        (
            Cell(state(finding.severity, kind).spans, order),
            text(finding.id, "muted"),
            text(about),
            text(finding.message),
            text(finding.host or "–", "" if finding.host else "muted"),
            text(finding.command.split("\n")[0], "muted"),
        ),
        f"{finding.severity} {finding.id} {' '.join(finding.objects)} {finding.object} {finding.message} "
        f"{finding.host} {finding.command}",
    )


def counts(findings: Sequence[Finding]) -> tuple[Span, ...]:
    """``2 fail · 1 warn · 3 info``."""
    spans: list[Span] = []
    for severity, (kind, _) in KINDS.items():
        number = sum(f.severity == severity for f in findings)
        if number:
            spans += [(f" {glyphs().separator} ", "muted")] if spans else []
            spans.append((f"{number} {severity}", kind))
    return tuple(spans)


def detail(finding: Finding, snapshot: Snapshot | None, now: float, width: int) -> list[Line]:
    """Why it matters, what each side says and how old that is, and the command."""
    kind, _ = KINDS[finding.severity]
    sign = state(finding.severity, kind).spans
    lines: list[Line] = [*hang((*sign, ("  ", "")), finding.message, "", width)]
    if len(finding.objects) > 1:
        lines += [(), (("About", "title"),)]
        lines += [line for one in finding.objects for line in hang((("  ", ""),), one, "", width)]
    if finding.why:
        lines += [(), (("Why it matters", "title"),), *hang((("  ", ""),), finding.why, "", width)]
    if finding.evidence:
        lines += [(), (("What each side says", "title"),)]
        lines += _evidence(finding, snapshot, now, width)
    if finding.command:
        lines += [(), (("Command", "title"),)]
        lines += [line for row in finding.command.splitlines() for line in hang((("  ", ""),), row, "accent", width)]
    return lines


def _evidence(finding: Finding, snapshot: Snapshot | None, now: float, width: int) -> list[Line]:
    ages = Teller(snapshot or Snapshot(), now)
    heads = [f"{_SOURCES[e.source]} {e.host}".rstrip() for e in finding.evidence]
    column = max(map(len, heads)) if heads else 0
    if column > width // 3:  # names too long for a column: each side gets lines of its own
        column = 0
    lines: list[Line] = []
    for head, one in zip(heads, finding.evidence, strict=True):
        age = ages.age_s(one.key)
        told: Span = (
            f"{words.age(age)} ago" if age is not None else "never read",
            "muted" if age is not None else "warn",
        )
        if column:
            lines += hang(((f"  {head:<{column}}  ", "accent"),), one.text, "", width, told)
        else:
            lines += [((f"  {head}", "accent"),), *hang((("    ", ""),), one.text, "", width, told)]
    return lines


def source_words(unlooked: Unlooked, most: int = 2) -> str:
    """``libvirt of gpu-04 and 3 more hosts``, ``Keystone``."""
    name = _SOURCES[unlooked.source]
    if not unlooked.hosts:
        return name
    more = len(unlooked.hosts) - most
    shown = ", ".join(unlooked.hosts[:most])
    return f"{name} of {shown}" + (f" and {words.plural(more, 'more host')}" if more > 0 else "")


def foot(snapshot: Snapshot | None) -> Line:
    """One line of what was not looked at; empty when everything was."""
    if snapshot is None or not snapshot.unlooked:
        return ()
    ids = {one for u in snapshot.unlooked for one in u.ids}
    names = list(dict.fromkeys(source_words(u) for u in snapshot.unlooked))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    what = "1 diagnosis" if len(ids) == 1 else f"{len(ids)} diagnoses"
    return (("? not looked at: ", "unknown"), (shown, ""), (f"  ({what} open; u lists them)", "muted"))


def unlooked_lines(unlooked: Sequence[Unlooked], width: int) -> list[Line]:
    """Each with its reason, the diagnoses that it leaves open, and the access that would show it."""
    lines: list[Line] = []
    for one in unlooked:
        lines += [()] if lines else []
        lines += hang((("? ", "unknown"),), source_words(one, 8), "title", width)
        lines += hang((("  ", ""),), one.reason, "warn", width)
        lines += hang((("  leaves open  ", "muted"),), ", ".join(one.ids), "", width)
        lines += hang((("  needs        ", "muted"),), one.access, "accent", width)
    return lines


def why_none(snapshot: Snapshot | None) -> str:
    """Why there is no finding: nothing answered yet, or nothing is wrong in what could be looked at."""
    if snapshot is None:
        return "asking every source …"
    if snapshot.sources and all(s.fetched_at is None for s in snapshot.sources):
        return "no source has answered yet: nothing could be looked at"
    if not snapshot.unlooked:
        return "nothing is wrong, and everything was looked at"
    names = list(dict.fromkeys(source_words(u) for u in snapshot.unlooked))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"nothing is wrong in what could be looked at; not looked at: {shown}"
