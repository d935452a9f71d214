"""A report as Markdown, for a ticket, a wiki or a merge request."""

from __future__ import annotations

import io

from vgpu_console.reports.report import Report
from vgpu_console.reports.section import Section, label
from vgpu_console.table_formats import markdown_cell, shown, write_markdown


def as_markdown(report: Report) -> str:
    """The whole report; text from the cloud stands in it as it is, and is never markup."""
    out = io.StringIO()
    out.write(f"# {markdown_cell(report.title)}\n\n")
    out.writelines(f"- {name}: {markdown_cell(words)}\n" for name, words in report.heads())
    if report.gaps:
        out.write("\n**Not all sources answered; what they would tell is unknown here:**\n\n")
        out.writelines(f"- {markdown_cell(gap)}\n" for gap in report.gaps)
    out.write("\n## Summary\n\n")
    rows = [(fact.name, fact.words, fact.note) for fact in report.facts()]
    write_markdown(("Figure", "Value", "Note"), rows, (False, False, False), out)
    for section in report.sections:
        _write(section, out)
    return out.getvalue()


def _write(section: Section, out: io.StringIO) -> None:
    out.write(f"\n## {section.title}\n\n{section.about}\n\n")
    if not section.rows:
        out.write(f"{markdown_cell(section.empty)}\n")
    else:
        columns = [c for c in section.columns if c.table]
        cells = ([shown(c, row) for c in columns] for row in section.rows)
        write_markdown([label(c) for c in columns], cells, [c.right for c in columns], out)
    if section.notes:
        out.write("\n")
        out.writelines(f"- {markdown_cell(note)}\n" for note in section.notes)
