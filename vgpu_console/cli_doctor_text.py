"""The doctor's findings for eyes: a line each under their severity, or one whole; then what was not looked at."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import click
from msgspec import structs
from rich.cells import cell_len

from vgpu_console.cli_output import Layout
from vgpu_console.model.snapshot import Severity, Unlooked
from vgpu_console.rules.diagnosis.telling import FindingRecord
from vgpu_console.text import plain

_WIDTH = 100
_MAX = 4_000
_NARROWEST = 30
"""Cells that a message needs beside its object; with less it has lines of its own."""

_wrap = partial(textwrap.wrap, break_on_hyphens=False)
"""Names have hyphens, and are copied."""

_COLOURS: dict[Severity, str] = {"fail": "red", "warn": "yellow", "info": "cyan"}
_MOST_HOSTS = 6


def folded(records: Sequence[FindingRecord]) -> list[FindingRecord]:
    """Findings of one diagnosis that say the same of several objects as one, in the place of the first."""
    alike: dict[tuple[str, str, str], list[FindingRecord]] = {}
    for record in records:
        alike.setdefault((record.severity, record.id, record.message), []).append(record)
    return [
        structs.replace(group[0], objects=tuple(dict.fromkeys(one for r in group for one in r.objects)))
        if len(group) > 1
        else group[0]
        for group in alike.values()
    ]


def finding_lines(records: Sequence[FindingRecord], how: Layout) -> Iterator[str]:
    """One line for each, under the word of its severity; on a terminal the message is folded below its own column."""
    told = Counter(r.severity for r in records)
    records = folded(records)
    ids = max((len(r.id) for r in records), default=0)
    about = max((cell_len(_about(r)) for r in records), default=0)
    indent = 2 + ids + 2 + about + 2
    for severity in _COLOURS:
        group = [r for r in records if r.severity == severity]
        if group:
            yield _word(severity, f"{severity} {told[severity]}", how)
        for record in group:
            head = f"  {record.id:<{ids}}  {_about(record)}"
            room = None if how.width is None else how.width - indent
            message = plain(record.message, _MAX)
            if room is None:
                yield f"{head}{' ' * (indent - cell_len(head))}{message}".rstrip()
            elif room >= _NARROWEST:
                first, *rest = _wrap(message, room) or [""]
                yield f"{head}{' ' * (indent - cell_len(head))}{first}".rstrip()
                yield from (" " * indent + line for line in rest)
            else:
                yield head
                yield from _wrap(message, how.width or 0, initial_indent=" " * 6, subsequent_indent=" " * 6)


def detail_lines(records: Sequence[FindingRecord], how: Layout) -> Iterator[str]:
    """Each finding whole: why it matters, what each side says and how old that is, and the command, to be copied."""
    width = min(how.width or _WIDTH, _WIDTH)

    def folded(label: str, text: str) -> list[str]:
        return _wrap(plain(text, _MAX), width, initial_indent=f"      {label}", subsequent_indent=" " * 8)

    for number, record in enumerate(records):
        if number:
            yield ""
        objects = ", ".join(plain(one) for one in record.objects)
        yield f"{_word(record.severity, f'{record.severity:<4}', how)}  {objects}  ({record.id})"
        yield from folded("", record.message)
        yield from folded("why: ", record.why) if record.why else ()
        for one in record.evidence:
            where = f" {one.host}" if one.host else ""
            yield from folded(f"{one.source}{plain(where)} ({_age(one.age_s)}): ", one.text)
        if not record.evidence and record.source:
            yield from folded("from: ", f"{', '.join(record.source)} ({_age(record.age_s)})")
        yield from (f"      $ {plain(line, _MAX)}" for line in record.command.splitlines())


def unlooked_lines(unlooked: Sequence[Unlooked], how: Layout, *, after: bool) -> list[str]:
    """What could not be looked at, why, and what access would show it; ``after`` puts an empty line in front."""
    if not unlooked:
        return []
    width = min(how.width, _WIDTH) if how.width else 0
    lines = [""] if after else []
    lines.append("not looked at")
    for one in unlooked:
        lines += _folded(f"  {one.source}{_hosts(one)}: {plain(one.reason, _MAX)}", 4, width)
        lines += _folded(f"    leaves open {', '.join(one.ids)}", 6, width)
        lines += _folded(f"    would show it: {one.access}", 6, width)
    return lines


def _folded(text: str, indent: int, width: int) -> list[str]:
    return _wrap(text, width, subsequent_indent=" " * indent, drop_whitespace=True) if width else [text]


def _hosts(one: Unlooked) -> str:
    if not one.hosts:
        return ""
    more = f" and {len(one.hosts) - _MOST_HOSTS} more" if len(one.hosts) > _MOST_HOSTS else ""
    return " of " + ", ".join(map(plain, one.hosts[:_MOST_HOSTS])) + more


def _about(record: FindingRecord) -> str:
    more = len(record.objects) - 1
    return plain(record.objects[0]) + (f" +{more}" if more else "")


def _age(seconds: float | None) -> str:
    return "age unknown" if seconds is None else f"{seconds:.0f} s ago"


def _word(severity: Severity, text: str, how: Layout) -> str:
    return click.style(text, fg=_COLOURS[severity], bold=severity == "fail") if how.colour else text
