"""The lines that every view has beside title and sources: the views with their keys, and a table's title."""

from __future__ import annotations

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.render import words
from vgpu_console.screens.widgets.cells import Span

VIEWS: tuple[tuple[str, str], ...] = (
    ("fleet", "Fleet"),
    ("servers", "Servers"),
    ("quota", "Quota"),
    ("migrations", "Migrations"),
    ("doctor", "Doctor"),
    ("journal", "Journal"),
)
"""The views in the order of their number keys."""


def tab_spans(snapshot: Snapshot | None, current: str, *, narrow: bool) -> tuple[Span, ...]:
    """``1 Fleet  2 Servers  3 Quota  4 Migrations 1▸  5 Doctor 3!``: the views with their keys."""
    spans: list[Span] = []
    running = sum(1 for m in snapshot.migrations if m.running) if snapshot else 0
    wrong = sum(1 for f in snapshot.findings if f.severity != "info") if snapshot else 0
    for number, (name, title) in enumerate(VIEWS, 1):
        here = name == current
        shown = f"{number} {title}"
        if name == "migrations" and running:
            shown += f" {running}▸"
        if name == "doctor" and wrong:
            shown += f" {wrong}!"
        spans.append((f"[{shown}]" if here else f" {shown} ", "accent" if here else "muted"))
        spans.append((" " if narrow else "  ", ""))
    return tuple(spans)


def count_span(title: str, counts: tuple[int, int] | None, filter_text: str, faults_only: bool) -> tuple[Span, ...]:
    """``Hosts 6``; with a filter ``Hosts 2/6  / gpu-0``; ``faults only`` when they are. ``counts``: shown, all."""
    spans: list[Span] = [(title, "title")]
    if counts is not None:
        shown, total = counts
        spans.append((f" {total}" if shown == total else f" {shown}/{total}", ""))
    if filter_text:
        spans.append((f"  / {words.clip(filter_text, 40)}", "accent"))
    if faults_only:
        spans.append(("  faults only", "warn"))
    return tuple(spans)
