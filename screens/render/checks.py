"""Checks of a pre-check or a chain of reasons: their signs, how many of each, and one with its evidence and age."""

from __future__ import annotations

from collections.abc import Sequence

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.screens.render.plans import check_lines
from vgpu_console.screens.render.wrap import Line
from vgpu_console.screens.widgets.cells import Kind, Span, glyphs

STATUSES: tuple[CheckStatus, ...] = ("fail", "unknown", "warn", "pass")
"""The worst first."""

KINDS: dict[CheckStatus, Kind] = {"pass": "ok", "warn": "warn", "fail": "fail", "unknown": "unknown"}


def sign(kind: str) -> str:
    """The glyph of a check's state."""
    signs = glyphs()
    return {"pass": signs.ok, "warn": signs.warn, "fail": signs.fail, "unknown": signs.unknown}.get(kind, "·")


def answer_spans(verdict: CheckStatus, word: str, checks: Sequence[Check]) -> tuple[Span, ...]:
    """``✗ NOT SAFE   1 fail · 2 warn · 17 pass``."""
    counts = [(s, sum(c.status == s for c in checks)) for s in STATUSES]
    counted = " · ".join(f"{n} {s}" for s, n in counts if n)
    return ((f"{sign(verdict)} {word}", KINDS[verdict]), (f"   {counted}", "muted"))


def named_check(check: Check, width: int, names: int = 22) -> list[Line]:
    """One check; where there is no room for a column of names the name goes before the evidence."""
    name = check.id.rpartition(".")[2]
    return check_lines(check, width, indent=names, said="" if width >= 90 else f"{name}: {check.evidence}")
