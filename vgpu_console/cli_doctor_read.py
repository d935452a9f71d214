"""``doctor``: what is wrong and what could not be looked at, in every format; the manual's list; the support bundle."""

from __future__ import annotations

import contextlib
import difflib
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vgpu_console import __version__
from vgpu_console.cli_doctor_text import detail_lines, finding_lines, unlooked_lines
from vgpu_console.cli_output import Layout, json_text, write
from vgpu_console.cli_run import (
    FAILED,
    NAME,
    OK,
    PARTIAL,
    demo_of,
    is_dark,
    layout,
    no_connection,
    read_fleet,
    say,
    settings_of,
)
from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Finding, Snapshot, Unlooked
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.diagnosis.doctor import BY_ID, DIAGNOSES, ORDER
from vgpu_console.rules.diagnosis.telling import FindingRecord, Teller, concerns
from vgpu_console.text import plain
from vgpu_console.view_filters import Filters, unmatched
from vgpu_console.views import EVERYTHING, OPENSTACK, Column, View, column

Given = Mapping[str, tuple[Any, str]]

_WIDTH = 100


def _said(record: FindingRecord) -> list[str]:
    """The evidence as one text for each side, for formats that have no lists of objects."""
    return [f"{e.source}{f' {e.host}' if e.host else ''}: {e.text}" for e in record.evidence]


FINDINGS = View(
    "doctor",
    "findings",
    (
        column("id"),
        column("severity"),
        column("objects"),
        Column("evidence", _said),
        column("message"),
        column("command"),
        column("source"),
        column("age_s", right=True),
        column("host"),
        column("why"),
        column("action"),
    ),
    lambda snapshot, _filters: Teller(snapshot).records(snapshot.findings),
    EVERYTHING,
    lambda _snapshot: "nothing is wrong in what could be looked at",
)
"""What CSV and Markdown show of a finding; JSON has the same names, and evidence as objects."""

LIST = View(
    "diagnoses",
    "diagnoses",
    (column("id"), column("severity"), column("title"), column("why"), Column("needs", lambda d: list(d.needs))),
    lambda _snapshot, _filters: list(DIAGNOSES),
    frozenset(),
    lambda _snapshot: "",
)
"""What ``doctor --list`` writes."""


def show_list(given: Given, form: str) -> int:
    """Writes every diagnosis that there is, without asking any source; returns the exit code."""
    how = layout(settings_of(given))
    if form == "table":
        sys.stdout.writelines(line + "\n" for line in _list_lines(how))
    else:
        write(LIST, DIAGNOSES, form, sys.stdout, how)
    return OK


def _list_lines(how: Layout) -> Iterator[str]:
    width = min(how.width or _WIDTH, _WIDTH)
    for one in DIAGNOSES:
        yield f"{one.id}  ({one.severity})"
        yield from textwrap.wrap(one.title, width, initial_indent="  ", subsequent_indent="  ")
        yield from textwrap.wrap(one.why, width, initial_indent="    ", subsequent_indent="    ")
        yield f"    needs {', '.join(one.needs) or 'no source'}"


def show_doctor(
    given: Given, form: str, only: Sequence[str], hosts: Sequence[str], fail_on: str | None, bundle: Path | None
) -> int:
    """Writes the findings and what could not be looked at; returns the exit code.

    Raises click.UsageError for a diagnosis that does not exist, OSError when the bundle cannot be written.
    """
    ids = _known_ids(only)
    settings, demo = settings_of(given), demo_of(given)
    snapshot = read_fleet(settings, demo, EVERYTHING)
    if is_dark(snapshot, OPENSTACK) and not snapshot.hosts:
        return no_connection(snapshot)
    found = [f for f in snapshot.findings if _wanted(f, ids, hosts)]
    unlooked = [one for u in snapshot.unlooked if (one := _cut(u, ids, hosts)) is not None]
    how = layout(settings)
    _write(form, snapshot, found, unlooked, bool(ids), how)
    sys.stdout.flush()
    failed = _failed(snapshot, ids, hosts)
    if not failed:
        say(*unmatched(snapshot, Filters(tuple(hosts))))
    say(*_in_words(form, found, unlooked, failed))
    if bundle is not None:
        say(f"support bundle: {_write_bundle(bundle, snapshot, settings, demo is not None)}")
    if is_dark(snapshot, OPENSTACK):
        return no_connection(snapshot)
    if fail_on and any(ORDER[f.severity] <= ORDER[fail_on] for f in found):  # type: ignore[index]
        return FAILED
    return PARTIAL if failed else OK


def _known_ids(only: Sequence[str]) -> frozenset[str]:
    for one in only:
        if one not in BY_ID:
            near = difflib.get_close_matches(one, BY_ID, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"{NAME} doctor --list shows them"
            raise click.UsageError(f"--only {plain(one, 80)}: no such diagnosis; {hint}")
    return frozenset(only)


def _wanted(finding: Finding, ids: frozenset[str], hosts: Sequence[str]) -> bool:
    return (not ids or finding.id in ids) and (not hosts or any(concerns(finding, host) for host in hosts))


def _cut(unlooked: Unlooked, ids: frozenset[str], hosts: Sequence[str]) -> Unlooked | None:
    """What of it belongs to these diagnoses and hosts; None: nothing."""
    kept = tuple(one for one in unlooked.ids if not ids or one in ids)
    there = tuple(host for host in unlooked.hosts if not hosts or host in hosts)
    if not kept or (unlooked.hosts and not there):
        return None
    return Unlooked(source=unlooked.source, hosts=there, ids=kept, reason=unlooked.reason, access=unlooked.access)


def _failed(snapshot: Snapshot, ids: frozenset[str], hosts: Sequence[str]) -> list[SourceStatus]:
    """Sources that did not answer and that these diagnoses need of these hosts."""
    needed: set[SourceKind] = {kind for one in ids for kind in BY_ID[one].needs}
    return [
        s
        for s in snapshot.errors
        if (not needed or s.kind in needed) and not (hosts and s.host and s.host not in hosts)
    ]


def _write(
    form: str,
    snapshot: Snapshot,
    found: Sequence[Finding],
    unlooked: Sequence[Unlooked],
    whole: bool,
    how: Layout,
) -> None:
    out = sys.stdout
    records = Teller(snapshot).records(found)
    if form == "json":
        out.write(json_text({"findings": records, "unknown": unlooked}, pretty=True) + "\n")
    elif form == "ndjson":
        out.writelines(json_text(record, pretty=False) + "\n" for record in records)
        out.writelines(json_text({"unknown": one}, pretty=False) + "\n" for one in unlooked)
    elif form == "table":
        lines: Iterable[str] = detail_lines(records, how) if whole else finding_lines(records, how)
        out.writelines(line + "\n" for line in lines)
        out.writelines(line + "\n" for line in unlooked_lines(unlooked, how, after=bool(records)))
    else:
        write(FINDINGS, records, form, out, how)


def _in_words(
    form: str, found: Sequence[Finding], unlooked: Sequence[Unlooked], failed: Sequence[SourceStatus]
) -> list[str]:
    """What is said beside the data: that nothing is wrong, and what a table of findings has no place for."""
    lines = []
    whole = form in ("json", "ndjson")  # those say it all themselves
    if not found and not whole:
        lines.append("no findings in what could be looked at" if unlooked else "no findings: everything was looked at")
    if form != "table" and not whole and unlooked:
        lines += ["not looked at:", *(f"  {line}" for line in unlooked_lines(unlooked, Layout(), after=False)[1:])]
    if failed:
        lines += ["errors:", *(f"  {s.key}: {s.error}" for s in failed)]
    return lines


def _write_bundle(file: Path, snapshot: Snapshot, settings: Settings, demo: bool) -> Path:
    from vgpu_console.actions.journal import Journal, default_path
    from vgpu_console.log import current_file
    from vgpu_console.recording.bundle import write_bundle

    log = current_file()
    lines = log.read_text("utf-8", "replace").splitlines() if log is not None and log.is_file() else []
    journal = Journal(default_path(demo)).entries()
    return write_bundle(file, snapshot, settings=settings, journal=journal, versions=_versions(), log=lines)


def _versions() -> dict[str, str]:
    """Of this program and of what its sources stand on; what is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version

    found = {NAME: __version__, "python": sys.version.split()[0]}
    for package in ("textual", "openstacksdk", "libvirt-python", "asyncssh", "msgspec"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
