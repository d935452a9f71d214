"""A report as one HTML file that needs nothing else: no font, script, picture or style from anywhere.

Text from the cloud is escaped; that nothing is fetched or run even so is also forbidden to the browser by a policy that
allows this one style sheet and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator
from typing import Any

from vgpu_console import __version__
from vgpu_console.reports.report import Report
from vgpu_console.reports.section import Section, label
from vgpu_console.reports.style import STYLE
from vgpu_console.table_formats import shown
from vgpu_console.text import plain
from vgpu_console.views import Column

_POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{}'"

_LONGEST_LINE = 10_000

_WORDS = {"fail": "✗", "warn": "!", "info": "·", "unknown": "?"}
"""Before the words of a row that needs an eye: colour alone says nothing on paper."""


def as_page(report: Report) -> str:
    """The whole document."""
    return "".join(_document(report))


def _document(report: Report) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{_text(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    yield f"<header>\n<h1>{_text(report.title)}</h1>\n<dl>\n"
    for name, words in report.heads():
        yield f"<div><dt>{name}</dt><dd>{_text(words)}</dd></div>\n"
    yield "</dl>\n"
    if report.gaps:
        lines = "".join(f"<li>{_text(gap)}</li>" for gap in report.gaps[:20])
        more = f"<li>and {len(report.gaps) - 20} more, see Sources</li>" if len(report.gaps) > 20 else ""
        yield (
            '<aside class="gaps"><p>Not all sources answered; what they would tell is unknown here:</p>'
            f"<ul>{lines}{more}</ul></aside>\n"
        )
    yield '</header>\n<nav aria-label="Sections"><ul>\n'
    for section in report.sections:
        yield f'<li><a href="#{section.id}">{section.title}</a> {len(section.rows)}</li>\n'
    yield '</ul></nav>\n<main>\n<section id="summary">\n<h2>Summary</h2>\n<dl class="facts">\n'
    for fact in report.facts():
        mark = f'<span class="mark">{_WORDS[fact.tone]}</span> ' if fact.tone else ""
        yield f'<div class="{fact.tone or "plain"}"><dt>{fact.name}</dt><dd>{mark}{_text(fact.words)}'
        yield f"<small>{_text(fact.note)}</small></dd></div>\n" if fact.note else "</dd></div>\n"
    yield "</dl>\n</section>\n"
    for section in report.sections:
        yield from _section(section)
    yield f"</main>\n<footer>vgpu-console {__version__}; ? is what is not known, – is where there is nothing to know"
    yield "</footer>\n</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.id}">\n<h2>{section.title}</h2>\n'
    if section.rows:
        yield from _table(section)
    else:
        yield f'<p>{_text(section.about)}</p>\n<p class="empty">{_text(section.empty)}</p>\n'
    if section.notes:
        yield "<ul>" + "".join(f"<li>{_text(note)}</li>" for note in section.notes) + "</ul>\n"
    yield "</section>\n"


def _table(section: Section) -> Iterator[str]:
    columns = [c for c in section.columns if c.table and c.name not in section.under]
    under = [c for c in section.columns if c.name in section.under]
    values = {c.name: c.get for c in section.columns}
    yield f'<div class="wide"><table class="{section.id}">\n<caption>{_text(section.about)}</caption>\n<thead><tr>'
    for column in columns:
        yield f'<th scope="col"{_right(column)}>{label(column)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in section.rows:
        tone = section.tone(row)
        yield f'<tr class="{tone}">' if tone else "<tr>"
        for index, column in enumerate(columns):
            words = _text(shown(column, row))
            if column.name in section.code:
                words = f"<code>{words}</code>"
            if column.name == section.bar[0]:
                words += _bar(values[section.bar[0]](row), values[section.bar[1]](row))
            if column.name == section.lead:
                words += "".join(_line(section, one, row) for one in under)
            if index == 0:
                mark = f'<span class="mark">{_WORDS[tone]}</span> ' if tone else ""
                yield f'<th scope="row"{_right(column)}>{mark}{words}</th>'
            else:
                yield f"<td{_right(column)}>{words}</td>"
        yield "</tr>\n"
    yield "</tbody>\n</table></div>\n"


def _line(section: Section, column: Column, row: Any) -> str:
    """A line under a cell; none where there is nothing to say."""
    value = column.get(row)
    if not value:
        return ""
    if column.name in section.code:
        lines = [f"<code>{_text(plain(line, _LONGEST_LINE))}</code>" for line in str(value).split("\n")]
        return "".join(f'<div class="under {column.name}">{line}</div>' for line in lines)
    return f'<div class="under {column.name}">{_text(shown(column, row))}</div>'


def _bar(part: Any, whole: Any) -> str:
    """A part of a whole as a bar beside its figure; none where one of them is not known."""
    if not isinstance(part, int) or not isinstance(whole, int) or whole <= 0:
        return ""
    return f' <meter min="0" max="{whole}" value="{min(part, whole)}" aria-hidden="true"></meter>'


def _right(column: Column) -> str:
    return ' class="figure"' if column.right else ""


def _text(words: str) -> str:
    return html.escape(words, quote=True)
