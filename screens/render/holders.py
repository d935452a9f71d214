"""Who holds what a project is counted for: its servers, its migrations that run, and what is leaked."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, NamedTuple

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.snapshot import Finding, ProjectQuota, Snapshot
from vgpu_console.rules.quota_usage import Leak, usage_split
from vgpu_console.screens.render import quota as quota_words
from vgpu_console.screens.render import words
from vgpu_console.screens.render.facts import labelled
from vgpu_console.screens.render.servers import status
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Span, glyphs, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

COLUMNS = (
    Column("kind", "HELD BY", 9),
    Column("name", "NAME", 16, flex=3, maximum=60),
    Column("amount", "HOLDS", 5, "right"),
    Column("host", "HOST", 10, flex=1, priority=1, maximum=30),
    Column("state", "STATE", 22, flex=2, priority=2, maximum=60),
    Column("id", "ID", 36, priority=3),
)

Kind = Literal["server", "moving", "leaked"]


class Holder(NamedTuple):
    """One consumer. ``server_id`` is the server to show for it, None when Nova knows none."""

    kind: Kind
    id: str
    name: str
    amount: int | None
    host: str
    state: Span
    server_id: str | None


def holders(quota: ProjectQuota, snapshot: Snapshot, facts: Facts | None) -> list[Holder]:
    """Everything of the project that holds the resource or asks for it, by kind, the largest first."""
    wanted = quota.resource.removeprefix("class:")
    amounts: dict[str, int] = defaultdict(int)
    places: dict[str, dict[str, None]] = defaultdict(dict)
    unread = False
    for provider in snapshot.providers:
        unread = unread or provider.allocations is None
        for allocation in provider.allocations or ():
            if wanted in allocation.resources:
                amounts[allocation.consumer_id] += allocation.resources[wanted]
                places[allocation.consumer_id][provider.host] = None
    found: list[Holder] = []
    mine = {s.id: s for s in snapshot.servers if s.project_id == quota.project_id}
    for server in mine.values():
        amount = amounts.get(server.id)
        if amount is None and unread and wanted == "VGPU":
            amount = server.allocated
        if not amount and not server.requested.get(wanted):
            continue
        state = status(server)
        found.append(Holder("server", server.id, server.name, amount or 0, server.host or "–", state, server.id))
    for move in snapshot.migrations:
        if move.running and move.server_id in mine and amounts.get(move.uuid):
            state = (f"counts twice {glyphs().cursor} {move.destination or '?'}", "accent")
            found.append(
                Holder("moving", move.uuid, move.server, amounts[move.uuid], move.source or "–", state, move.server_id)
            )
    for resize in (facts.nova.other_migrations if facts is not None and facts.nova is not None else None) or ():
        if resize.in_progress and resize.server_id in mine and amounts.get(resize.uuid):
            name, state = mine[resize.server_id].name, (_resizes(resize), "accent")
            amount = amounts[resize.uuid]
            found.append(Holder("moving", resize.uuid, name, amount, resize.source or "–", state, resize.server_id))
    found += [
        Holder(
            "leaked",
            leak.consumer_id,
            "no server",
            leak.resources.get(wanted),
            ", ".join(places.get(leak.consumer_id, ())) or "–",
            (_why(leak), "warn"),
            leak.migration.server_id if leak.migration is not None else None,
        )
        for leak in _leaks(quota, facts)
    ]
    order: dict[Kind, int] = {"leaked": 0, "moving": 1, "server": 2}
    return sorted(found, key=lambda h: (order[h.kind], -(h.amount or 0), h.name))


def _resizes(resize: MigrationFacts) -> str:
    """That it counts twice, and what it is: a resize, or what Nova calls a migration and is a cold one."""
    kind = "cold" if resize.migration_type == "migration" else resize.migration_type or "migration"
    return f"counts twice ({kind})"


def _leaks(quota: ProjectQuota, facts: Facts | None) -> list[Leak]:
    if facts is None:
        return []
    wanted = quota.resource.removeprefix("class:")
    split = usage_split(facts.nova, facts.placement)
    return [one for one in split.leaks if one.project_id == quota.project_id and wanted in one.resources]


def _why(leak: Leak) -> str:
    if leak.migration is None:
        return "Nova knows no such server or migration"
    return f"of a migration that has ended ({leak.migration.status or 'status unknown'})"


def holder_row(one: Holder) -> TableRow:
    """A holder as a row; its id is the consumer's."""
    tone = {"server": "", "moving": "accent", "leaked": "warn"}[one.kind]
    amount = Cell(((words.number(one.amount), "muted" if one.amount == 0 else ""),), one.amount)
    return TableRow(
        one.id,
        (
            text(one.kind, tone),
            text(one.name or one.id),
            amount,
            text(one.host, "muted" if one.host == "–" else ""),
            Cell((one.state,)),
            text(one.id, "muted"),
        ),
        f"{one.kind} {one.name} {one.host} {one.state[0]} {one.id}",
    )


def facts_lines(quota: ProjectQuota, snapshot: Snapshot, width: int) -> list[Line]:
    """The panel beside the holders: what is wrong, the limit and where it comes from, and what counts as used."""
    lines = finding_lines(project_findings(quota, snapshot), width)
    lines += [()] if lines else []
    unlimited = quota.limit == quota_words.UNLIMITED
    shown: Span = ("unlimited (-1)", "warn") if unlimited else (quota_words.limit_word(quota.limit), "")
    if quota.limit is None:
        shown = ("none", "warn") if quota.origin == "missing" else (words.UNKNOWN, "unknown")
    lines.append(labelled("limit", shown))
    lines.append(labelled("from", _origin(quota)))
    if quota.origin == "missing" and quota.resource == "class:VGPU":
        lines += hang((("", ""),), f"{snapshot.missing_limit.word}: {snapshot.missing_limit.why}", "muted", width)
    lines.append(labelled("default", (_default(quota.default), "" if quota.default is not None else "warn")))
    lines += [(), labelled("used", (words.number(quota.used), "" if quota.used is not None else "unknown"))]
    lines.append(labelled("servers", _part(quota.used_by_instances)))
    lines.append(labelled("moving", _part(quota.used_by_migrations)))
    if quota.in_flight:
        lines += hang((("", ""),), f"{quota.in_flight} counted twice until the migration ends", "muted", width)
    leaked = _part(quota.leaked)
    lines.append(labelled("leaked", (leaked[0], "warn") if quota.leaked else leaked))
    left = quota_words.headroom(quota)
    free: Span = (
        (str(left), "fail" if left < 0 else "warn" if left == 0 else "") if left is not None else ("–", "muted")
    )
    lines += [(), labelled("free", free)]
    if quota.limit_id:
        lines += [(), labelled("limit id", (quota.limit_id, "muted"))]
    lines.append(labelled("project", (quota.project_id, "muted")))
    return lines


def _origin(quota: ProjectQuota) -> Span:
    word, tone = quota_words.origin(quota)
    return {"project": "the project's own", "default": "the default"}.get(quota.origin, word), tone


def _default(default: int | None) -> str:
    return "not registered" if default is None else "unlimited (-1)" if default == -1 else str(default)


def _part(count: int | None) -> Span:
    return (words.UNKNOWN, "unknown") if count is None else (str(count), "" if count else "muted")


def project_findings(quota: ProjectQuota, snapshot: Snapshot) -> list[Finding]:
    """What the audit found about this project."""
    names = (f"project {quota.project}", f"project {quota.project_id}")
    return [f for f in snapshot.quota_findings if f.object in names]


def finding_lines(findings: list[Finding], width: int) -> list[Line]:
    """Findings as wrapped lines with their glyphs."""
    lines: list[Line] = []
    for one in findings:
        sign, tone = {"fail": (glyphs().fail, "fail"), "warn": (glyphs().warn, "warn")}.get(
            one.severity, (glyphs().separator, "muted")
        )
        lines += hang(((f"{sign} ", tone),), one.message, "", width)
    return lines
