"""Marks on the rows of every table: how many findings name what a row stands for, and how bad the worst is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from vgpu_console.model.snapshot import Finding, Severity, Snapshot
from vgpu_console.screens.widgets.cells import Cell
from vgpu_console.screens.widgets.columns import Column

COLUMN = Column("findings", "!", 2, "right")
"""The column that every table of things has for them."""

_TONES: dict[Severity, str] = {"fail": "fail", "warn": "warn", "info": "muted"}
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_BY_ID = ("server", "mdev", "migration", "consumer", "domain")
"""Objects that carry the uuid of what they are: names before it are strangers' words, so the kind comes first."""


class Mark(NamedTuple):
    """So many findings, of which this is the worst severity."""

    number: int
    worst: Severity

    @property
    def fault(self) -> bool:
        """Whether it takes an eye: more than something to know."""
        return self.worst != "info"


def cell(mark: Mark | None) -> Cell:
    """The number in the tone of the worst; empty where there is none."""
    return Cell((("", ""),), 0) if mark is None else Cell(((str(mark.number), _TONES[mark.worst]),), mark.number)


def mark_of(findings: Iterable[Finding]) -> Mark | None:
    """The mark of these findings; None: there are none."""
    told = [f.severity for f in findings]
    return Mark(len(told), next(s for s in _TONES if s in told)) if told else None


class Marks:
    """The findings of one snapshot by what they name."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        found: dict[str, list[Finding]] = {}
        for finding in findings:
            names = {name for one in {finding.object, *finding.objects} for name in _names(one)}
            for name in names:
                found.setdefault(name, []).append(finding)
        self._marks = {name: mark_of(group) for name, group in found.items()}

    def of_id(self, uuid: str | None) -> Mark | None:
        """Of a server, a migration, a mediated device, by its uuid."""
        return self._marks.get(uuid or "")

    def of(self, *words: str) -> Mark | None:
        """Of an object by its words: ``of("gpu", host, address)``, ``of("project", name)``."""
        return self._marks.get(" ".join(words))


def _names(words: str) -> tuple[str, ...]:
    """What an object is found by: its own words, and the uuid in them."""
    if words.partition(" ")[0] not in _BY_ID:
        return (words,)
    head, _, _ = words.partition(" of project ")
    ids = _UUID.findall(head)
    return (words, ids[-1]) if ids else (words,)


class MarkIndex:
    """The marks of the snapshot that was asked for last: made once for it, however often it is shown."""

    def __init__(self) -> None:
        self._of: Snapshot | None = None
        self._marks = Marks()

    def of(self, snapshot: Snapshot | None) -> Marks:
        """Its marks."""
        if snapshot is not self._of:
            self._of = snapshot
            self._marks = Marks(snapshot.findings if snapshot is not None else ())
        return self._marks
