"""Drains as text and records: the plan before one, and ``drain --status`` from the state folder; no cloud is asked."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from vgpu_console.actions.drain import Drain
from vgpu_console.actions.drain_report import report, type_words
from vgpu_console.actions.drain_store import DrainFileError, DrainStore, default_folder
from vgpu_console.cli_migrate_text import MAX, downtime_words, range_words
from vgpu_console.cli_output import Layout, json_text, write_table
from vgpu_console.cli_run import FAILED, NAME, OK, demo_of, layout, say, settings_of
from vgpu_console.rules.migration.drain_words import DrainPlan, Move
from vgpu_console.text import plain

# --- the plan ---------------------------------------------------------------------------------------------------------


def plan_record(plan: DrainPlan) -> dict[str, Any]:
    """Where every server would go, as an object."""
    return {
        "host": plan.host,
        "servers": plan.totals.servers,
        "moves": [
            {
                "id": m.server.server,
                "name": m.server.name,
                "project_id": m.server.project_id,
                "project": m.server.project,
                "types": list(m.server.types),
                "destination": m.destination,
                "verdict": m.verdict,
                "predicted_downtime_ms": {"low": _rounded(m.predicted.low_ms), "high": _rounded(m.predicted.high_ms)},
                "checks": [
                    {"id": c.id, "status": c.status, "evidence": c.evidence} for c in m.checks if c.status != "pass"
                ],
            }
            for m in plan.moves
        ],
        "stay": [
            {"id": s.server.server, "name": s.server.name, "reason": s.reason, "fails": list(s.fails)}
            for s in plan.stay
        ],
        "excluded": [{"host": r.host, "reason": r.reason, "fails": list(r.fails)} for r in plan.excluded],
        "at_once": {"most": plan.at_once.most, "why": plan.at_once.why},
        "to_accept": plan.to_accept,
        "notes": list(plan.notes),
    }


def write_plan(plan: DrainPlan, out: TextIO, table: Layout) -> None:
    """The sums first, then every server in the order of its turn, then who stays and which hosts are out."""
    totals = plan.totals
    out.write(
        f"drain of {plain(plan.host)}: {totals.go} of {totals.servers} servers can go, {totals.stay} must stay; "
        f"{_downtimes(plan)}\n"
    )
    out.write(f"at once: {plan.at_once.most or 'no bound'} ({plain(plan.at_once.why, MAX)})\n\n")
    rows = [_row(n, m) for n, m in enumerate(plan.moves, start=1)]
    names = ["#", "server", "project", "type", "destination", "downtime", "to accept"]
    right = [True] + [False] * 6
    if rows:
        write_table(names, rows, right, out, table, [3, 0, 5, 4, 0, 2, 0])
    if plan.stay:
        out.write("\nmust stay:\n")
        out.writelines(f"  {plain(s.server.name)}: {plain(s.reason, MAX)}\n" for s in plan.stay)
    if plan.excluded:
        out.write("\nno destination:\n")
        out.writelines(f"  {plain(r.host)}: {plain(r.reason, MAX)}\n" for r in plan.excluded)
    evidence = {c.id: c.evidence for m in reversed(plan.moves) for c in m.checks if c.status in ("warn", "unknown")}
    if evidence:
        out.write("\nto accept:\n")
        out.writelines(f"  {id} (of {plan.to_accept[id]}): {plain(evidence[id], MAX)}\n" for id in plan.to_accept)


def _downtimes(plan: DrainPlan) -> str:
    totals = plan.totals
    known = totals.go - totals.unpredicted
    if not known:
        return "no downtime can be predicted"
    words = (
        f"guests stand still for {range_words(totals.predicted_low_ms, totals.predicted_high_ms)} in all (predicted)"
    )
    return f"{words}, {totals.unpredicted} not predicted" if totals.unpredicted else words


def _row(number: int, move: Move) -> list[str]:
    open_checks = [c.id for c in move.checks if c.status in ("warn", "unknown")]
    server = move.server
    return [
        str(number),
        plain(server.name),
        plain(server.project),
        plain(type_words(server.types)) or "–",
        plain(move.destination),
        downtime_words(move.predicted),
        ", ".join(open_checks) or "–",
    ]


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


# --- drains that were begun -------------------------------------------------------------------------------------------


def show_drains(given: Mapping[str, tuple[Any, str]], form: str) -> int:
    """``drain --status``: every drain of this cloud, the newest first; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    store = DrainStore(default_folder(demo is not None))
    try:
        found, broken = store.drains(settings.cloud if demo is None else None)
    except DrainFileError as error:
        say(f"{NAME}: {error}")
        return FAILED
    if form == "json":
        rows = [report(d) | {"run_by": store.held(d.cloud, d.host) or None if d.unfinished else None} for d in found]
        sys.stdout.write(json_text(rows, pretty=True) + "\n")
    elif found:
        names = ["id", "cloud", "host", "state", "moved", "failed", "skipped", "left", "begun"]
        write_table(
            names,
            [_drain(d, store) for d in found],
            [False] * 4 + [True] * 4 + [False],
            sys.stdout,
            layout(settings),
            [0, 5, 0, 0, 0, 0, 2, 0, 4],
        )
    sys.stdout.flush()
    say(*(f"{one.path.name}: {one.why}" for one in broken))
    if not found:
        say(f"no drains: nothing is in {store.folder}")
    left = [d for d in found if d.unfinished and not store.held(d.cloud, d.host)]
    say(*(f"to go on with {d.host}: {NAME} drain --resume {d.id}" for d in left))
    return OK


def _drain(drain: Drain, store: DrainStore) -> list[str]:
    counts = drain.counts
    left = sum(not i.final for i in drain.items)
    holder = store.held(drain.cloud, drain.host) if left else ""
    state = f"run by {holder}" if holder else "left" if left else drain.status
    begun = datetime.datetime.fromtimestamp(drain.created, datetime.UTC).isoformat(timespec="seconds")
    shown = [str(counts.get("done", 0)), str(counts.get("failed", 0)), str(counts.get("skipped", 0)), str(left)]
    return [drain.id, plain(drain.cloud), plain(drain.host), plain(state), *shown, begun.replace("+00:00", "Z")]
