"""A report for scripts: one JSON object with a schema version, and CSV tables that no spreadsheet runs."""

from __future__ import annotations

import io
from typing import Any

import msgspec

from vgpu_console.reports.report import SCHEMA_VERSION, Report
from vgpu_console.reports.section import Section
from vgpu_console.reports.wording import stamp
from vgpu_console.table_formats import write_csv


def as_json(report: Report) -> str:
    """The promised object, indented: who looked and when, the summary, and a list for each section."""
    who = report.identity
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "taken_at": stamp(report.taken_at),
        "made_at": stamp(report.made_at),
        "cloud": who.cloud or None,
        "region": who.region or None,
        "user": who.user or None,
        "scope": who.scope or None,
        "limits_scope": who.limits_scope or None,
        "read_only": who.read_only,
        "summary": report.summary,
        **{section.id: section.records() for section in report.sections},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def as_csv(report: Report, section: str | None = None) -> str:
    """One section's table, or all of them: each after a line with its id, an empty line between."""
    out = io.StringIO()
    if section is not None:
        _write(next(s for s in report.sections if s.id == section), out)
        return out.getvalue()
    for number, one in enumerate(report.sections):
        out.write(("\n" if number else "") + one.id + "\n")
        _write(one, out)
    return out.getvalue()


def _write(section: Section, out: io.StringIO) -> None:
    names = [c.name for c in section.columns if c.data]
    write_csv(names, ([record[name] for name in names] for record in section.records()), out)
