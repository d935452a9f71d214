"""A diagnosis as a row: a stable id, why it matters, the sources it needs, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from vgpu_console.model.evidence import Evidence
from vgpu_console.model.snapshot import Finding, Severity
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis.ground import Ground


@dataclass(frozen=True)
class Diagnosis:
    """One thing that can be wrong. ``severity`` is the usual one; a finding may be told with another.

    ``needs`` are the sources without which it cannot be told: where one of them has not answered, the doctor says that
    this was not looked at. ``why`` says in a sentence what it does to an operator. ``action`` is the id of the
    registry's action that mends it, "" where only a command does.
    """

    id: str
    severity: Severity
    title: str
    why: str
    needs: tuple[SourceKind, ...]
    action: str = ""
    fleeting: bool = False  # what is in motion can look like it for a moment: told when it is seen twice (confirm.py)

    def found(
        self,
        obj: str,
        message: str,
        *evidence: Evidence,
        host: str = "",
        command: str = "",
        key: str = "",
        objects: tuple[str, ...] = (),
        severity: Severity | None = None,
        why: str = "",
    ) -> Finding:
        """A finding of this diagnosis about ``obj`` ("host gpu-01", "mdev gpu-01 <uuid>", "server web (<id>)")."""
        return Finding(
            id=self.id,
            severity=severity or self.severity,
            object=obj,
            objects=objects or (obj,),
            message=message,
            host=host,
            command=command,
            key=key,
            action=self.action,
            evidence=evidence,
            why=why or self.why,
        )


Look = Callable[[Ground], Iterable[Finding]]
"""Reads the ground once and tells what it finds."""


@dataclass(frozen=True)
class Chapter:
    """The diagnoses of one module of this package with the looks that tell them."""

    diagnoses: tuple[Diagnosis, ...]
    looks: tuple[Look, ...]


def moment(at: float | None) -> str:
    """A moment (seconds since the epoch) as findings tell it.

    They tell since when and not for how long: one that says something else each second would be a new one each second.
    """
    return datetime.fromtimestamp(at or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
