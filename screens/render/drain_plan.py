"""The plan of a drain in words: who goes where in which order, who stays and why, what is to be accepted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from vgpu_console.actions.drain_report import type_words
from vgpu_console.model.check import Check
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.drain_words import DrainPlans, Move, Stay
from vgpu_console.screens.render import words
from vgpu_console.screens.render.checks import sign
from vgpu_console.screens.render.hosts import free, host_state, statuses_by_host, types
from vgpu_console.screens.render.migrate_check import downtime_range
from vgpu_console.screens.render.plans import check_span
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Kind, Span, glyphs, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

STOPS: tuple[int | None, ...] = (1, 2, 3, 5, 10, None)
"""After so many failures no more is started; None: whatever fails."""

_COMMANDS_SHOWN = 3


@dataclass(frozen=True)
class Choices:
    """What the operator has chosen in the dialog."""

    to: tuple[str, ...] = ()
    max_parallel: int = 1
    stop_after: int | None = 1
    disable: bool = False


HOST_COLUMNS = (
    Column("host", "HOST", 12, flex=2, maximum=40),
    Column("state", "STATE", 12),
    Column("free", "FREE", 5, "right"),
    Column("type", "TYPE", 11, flex=1, maximum=30),
    Column("driver", "DRIVER", 14),
)


def answer(plans: DrainPlans, *, brief: bool = False) -> tuple[Span, ...]:
    """``! 3 of 4 servers can go · 1 must stay``."""
    totals, signs = plans.totals, glyphs()
    if not totals.servers:
        return ((f"{signs.ok} no server is there: nothing is to be moved", "muted"),)
    go = f"{totals.go} of {words.plural(totals.servers, 'server')} can go"
    spans: list[Span]
    if not totals.go:
        spans = [(f"{signs.fail} {go}", "fail")]
    elif totals.stay:
        spans = [(f"{signs.warn} {go}", "warn"), (f"   {totals.stay} must stay", "warn")]
    elif plans.to_accept:
        spans = [(f"{signs.warn} {go}", "warn")]
    else:
        spans = [(f"{signs.ok} {go}", "ok")]
    if brief:
        return tuple(spans)
    counted = " · ".join(f"{n} {status}" for status, n in totals.verdicts.items())
    return (*spans, (f"   {counted}", "muted"))


def downtime_word(plans: DrainPlans) -> Span:
    """The sum of the predicted downtimes."""
    totals = plans.totals
    if totals.go == totals.unpredicted:
        return ("downtime unknown", "unknown") if totals.go else ("", "")
    told = downtime_range(totals.predicted_low_ms, totals.predicted_high_ms)
    more = f", {totals.unpredicted} not predicted" if totals.unpredicted else ""
    return f"downtime {told} in all{more}", "accent"


def options_line(plans: DrainPlans | None, chosen: Choices, width: int) -> tuple[Span, ...]:
    """The choices with the keys that change them."""
    brief = width < 80
    where = "any host" if not chosen.to else words.clip(", ".join(chosen.to), 12 if brief else 30)
    stop = "never stop" if chosen.stop_after is None else f"stop after {words.plural(chosen.stop_after, 'failure')}"
    off = "service off" if brief else "disable service first"
    service = off if chosen.disable else "service stays"
    bound = plans.at_once.most if plans is not None else None
    most = f"/{bound}" if bound is not None else ""
    parts = [
        ("t", f"to {where}"),
        ("+-", f"{chosen.max_parallel}{most} at {'once' if brief else 'a time'}"),
        ("f", stop),
    ]
    if plans is None or not plans.chosen:
        parts.append(("s", service))
    spans: list[Span] = []
    for key, word in parts:
        spans += [(("  " if brief else "   ") if spans else "", ""), (key, "accent"), (f" {word}", "")]
    return tuple(spans)


def plan_page(
    plans: DrainPlans,
    chosen: Choices,
    width: int,
    accepted: Collection[str],
    cursor: str | None,
    commands: Sequence[str],
) -> list[Line]:
    """The whole of it; the check under the cursor is the one to accept next."""
    lines: list[Line] = []
    for note in plans.notes:
        lines += hang(((f"{glyphs().warn} ", "warn"),), note, "", width)
    if plans.stay:
        lines += [(("Must stay", "title"),)]
        for host, one in plans.stay:
            lines += _stay(one, host if len(plans.plans) > 1 else "", width)
        lines.append(())
    if plans.moves:
        bound = plans.at_once
        more = f"Nova runs {bound.most} at once: {bound.why}" if bound.most is not None else bound.why
        lines += hang((("In this order", "title"), ("   ", "")), more, "muted", width)
        lines += _moves(plans, width)
    if plans.to_accept:
        lines += [(), *_to_accept(plans, width, accepted, cursor)]
    if plans.excluded:
        lines += [(), (("No destination", "title"),)]
        for rejected in plans.excluded:
            first = ((f"  {glyphs().fail} ", "fail"), (f"{words.clip(rejected.host, 24)}  ", ""))
            lines += hang(first, rejected.reason, "muted", width)
    if chosen.disable:
        lines += [(), *_service(plans, width)]
    if commands:
        lines += [(), (("The same by hand", "title"),)]
        for command in commands[:_COMMANDS_SHOWN]:
            lines += hang((("  ", ""),), command, "muted", width)
        if len(commands) > _COMMANDS_SHOWN:
            lines.append(((f"  and {len(commands) - _COMMANDS_SHOWN} more: c copies all", "muted"),))
    return lines


def _moves(plans: DrainPlans, width: int) -> list[Line]:
    """``1  notebook-1  A100-20C  gpu-01 → gpu-02  ~17–20 s  ! 2 to accept``."""
    rows = plans.moves
    wide = width >= 90
    name = min(26 if wide else 16, max(cell_len(m.server.name or m.server.server) for _, m in rows))
    routes = [_route(plans, host, m) for host, m in rows]
    route = min(30, max(cell_len(r) for r in routes))
    kinds = [words.short_type(type_words(m.server.types)) or "no vGPU" for _, m in rows]
    kind = min(18, max(cell_len(k) for k in kinds)) if wide else 0
    lines: list[Line] = []
    for at, (_, move) in enumerate(rows):
        told = downtime_range(move.predicted.low_ms, move.predicted.high_ms) or words.UNKNOWN
        first: list[Span] = [
            (f"{at + 1:>4}  ", "muted"),
            (f"{words.clip(move.server.name or move.server.server, name):<{name}}  ", ""),
        ]
        if wide:
            first += [(f"{words.clip(kinds[at], kind):<{kind}}  ", "muted")]
            first += [(f"{words.clip(move.server.project, 14):<14}  ", "muted")]
        first += [(f"{words.clip(routes[at], route):<{route}}  ", "accent"), (f"{told:>9}  ", "")]
        lines.append((*first, _verdict(move, wide=wide)))
    return lines


def _route(plans: DrainPlans, host: str, move: Move) -> str:
    return f"{host} → {move.destination}" if len(plans.plans) > 1 else f"→ {move.destination}"


def _verdict(move: Move, *, wide: bool) -> Span:
    """The pre-check of one server: its worst word, and how many checks are to be accepted."""
    open_checks = [c for c in move.checks if c.status in ("warn", "unknown")]
    tones: dict[str, Kind] = {"pass": "ok", "warn": "warn", "unknown": "unknown", "fail": "fail"}
    word = "pass" if not open_checks else f"{len(open_checks)} to accept" if wide else f"{len(open_checks)} open"
    return f"{sign(move.verdict)} {word}", tones[move.verdict]


def _stay(one: Stay, host: str, width: int) -> list[Line]:
    name = words.clip(one.server.name or one.server.server, 26)
    first: list[Span] = [(f"  {glyphs().fail} ", "fail"), (f"{name}  ", "")]
    first += [(f"{host}  ", "muted")] if host else []
    lines = hang(first, one.reason, "", width)
    for rejected in one.hosts if len({r.reason for r in one.hosts}) > 1 else ():
        lines += hang((("      ", ""), (f"{rejected.host}: ", "muted")), rejected.reason, "muted", width)
    return lines


def evidence_of(plans: DrainPlans) -> dict[str, list[Check]]:
    """Id of a check -> what it says of each move that it is a warning or an unknown for."""
    found: dict[str, list[Check]] = {}
    for _, move in plans.moves:
        for check in move.checks:
            if check.status in ("warn", "unknown"):
                found.setdefault(check.id, []).append(check)
    return found


def _to_accept(plans: DrainPlans, width: int, accepted: Collection[str], cursor: str | None) -> list[Line]:
    left = sum(id not in accepted for id in plans.to_accept)
    told = (f"   {left} left" if left else "   all accepted", "warn" if left else "ok")
    lines: list[Line] = [(("To accept", "title"), told)]
    for id, checks in sorted(evidence_of(plans).items()):
        word, tone = check_span(checks[0].status)
        if id in accepted:
            word, tone = f"{glyphs().ok} accepted", "accent"
        first: list[Span] = [(f"{glyphs().cursor} " if id == cursor else "  ", "accent"), (f"{word:<11}", tone)]
        different = list(dict.fromkeys(c.evidence for c in checks))
        more = f" (and {len(different) - 1} more like it)" if len(different) > 1 else ""
        who = f"{len(checks)} of {len(plans.moves)}"
        lines += hang(first, f"{id.rpartition('.')[2]} ({who}): {different[0]}{more}", "", width)
    return lines


def _service(plans: DrainPlans, width: int) -> list[Line]:
    lines: list[Line] = [(("Compute service", "title"),)]
    for host in plans.hosts:
        said = f"nova-compute of {host} is disabled before the first server moves, so that nothing comes there"
        lines += hang((("  ", ""),), said, "", width)
        again = f"openstack compute service set --enable {host} nova-compute"
        lines += hang((("  to enable it again: ", "muted"),), again, "muted", width)
    return lines


# Destinations -----------------------------------------------------------------------------------------------------


def host_rows(snapshot: Snapshot, leaving: Collection[str], now: float) -> list[TableRow]:
    """The hosts that may be chosen as destinations."""
    by_host = statuses_by_host(snapshot.sources)
    rows = []
    for host in snapshot.hosts:
        if host.name in leaving:
            continue
        state = host_state(host, by_host.get(host.name, ()), now)
        cells = (text(host.name), Cell((state,)), free(host), text(types(host)), text(host.driver))
        rows.append(TableRow(host.name, cells, f"{host.name} {state[0]} {types(host)}"))
    return rows
