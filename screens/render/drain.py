"""A drain as a table: a row with a bar for each server, the sums above it, and how it ended below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from vgpu_console.actions.drain import Drain, ItemState
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.actions.drain_report import AS_ASKED, DrainRow, DrainView, report_lines
from vgpu_console.screens.render import words
from vgpu_console.screens.render.migrate_check import downtime_range
from vgpu_console.screens.render.timeline import clock_word, measured_cell, milliseconds
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Span, bar, glyphs, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

BAR_WIDTH = 12

COLUMNS = (
    Column("server", "SERVER", 12, flex=2, maximum=40),
    Column("state", "STATE", 13),
    Column("progress", "RAM COPIED", 18),
    Column("destination", "TO", 9, flex=1, maximum=24),
    Column("downtime", "DOWNTIME", 9, "right"),
    Column("predicted", "PREDICTED", 9, "right", priority=1),
    Column("type", "TYPE", 10, flex=1, maximum=24, priority=3),
    Column("project", "PROJECT", 12, flex=1, maximum=30, priority=4),
    Column("result", "RESULT", 22, flex=4, priority=2),
)
LIST_COLUMNS = (
    Column("host", "HOST", 12, flex=1, maximum=30),
    Column("state", "STATE", 18, flex=1, maximum=40),
    Column("progress", "MOVED", 20),
    Column("failed", "FAILED", 6, "right"),
    Column("begun", "BEGUN", 19, priority=1),
    Column("by", "BY", 10, flex=1, maximum=30, priority=2),
    Column("id", "ID", 22, priority=3),
)

BY_OPERATOR = "by the operator"
"""The runner's word for a key that was pressed."""

_PHASES = {"memory": "RAM", "device": "switch-over", "": "begun"}
_FIRST: tuple[ItemState, ...] = ("done", "running", "starting", "checking", "waiting", "failed", "skipped")
_WORDS: dict[ItemState, str] = {
    "done": "moved",
    "running": "under way",
    "starting": "starting",
    "checking": "checking",
    "waiting": "waiting",
    "failed": "failed",
    "skipped": "skipped",
}


# One server -------------------------------------------------------------------------------------------------------


def state(row: DrainRow, *, live: bool = True) -> Span:
    """Where it is: the phase while it runs, else a word with its sign. Not ``live``: nobody looks any more."""
    signs = glyphs()
    if not live and row.state in ("running", "starting"):
        return f"{signs.unknown} was moving", "unknown"
    if row.state == "running":
        return f"{signs.cursor} {_PHASES.get(row.phase, row.phase)}", "accent"
    known: dict[ItemState, Span] = {
        "done": (f"{signs.ok} moved", "ok"),
        "failed": (f"{signs.fail} failed", "fail"),
        "skipped": (f"{signs.warn} skipped", "warn"),
        "starting": (f"{signs.cursor} asking Nova", "accent"),
        "checking": (f"{signs.cursor} checking", "accent"),
    }
    return known.get(row.state, (f"{signs.separator} {row.state}", "muted"))


def progress(row: DrainRow, *, live: bool = True) -> Cell:
    """The guest's memory that is copied; of what was sent to the end no share is told, since no API reports it."""
    if row.state == "done":
        return _bar(100)
    if row.state != "running" or not live:
        return Cell((("", ""),), -1)
    if row.phase in ("", "accepted", "queued", "preparing"):
        return _bar(0)
    if row.phase != "memory":  # memory is all there; the rest is not reported
        return _bar(100)
    if row.ram_percent is None:
        return Cell((("? not reported", "unknown"),), 0)
    return _bar(int(row.ram_percent))


def _bar(share: int) -> Cell:
    drawn = bar(share, 100, BAR_WIDTH)
    return Cell(((f"{share:3d} % ", ""), *(s for s in drawn.spans if s[1] in ("bar", "bar-rest"))), share)


def downtime(row: DrainRow) -> Cell:
    """What was measured, or with a sign what was heard in its place; before that the prediction with a tilde."""
    if row.measured_ms is not None:
        return measured_cell(row.measured_ms, row.heard_ms)
    if row.state == "done":
        return Cell((("? not told", "unknown"),))
    told = downtime_range(row.predicted_low_ms, row.predicted_high_ms)
    if row.state in ("failed", "skipped") or not told:
        return Cell((("–", "muted"),))
    return Cell(((f"~{told}", "muted"),))


def _said(row: DrainRow) -> str:
    return "; ".join(one for one in (row.message, row.doubt) if one)


def result(row: DrainRow) -> Span:
    """What it came to, or what it waits for."""
    if row.state == "done":
        return _said(row) or "completed", "warn" if _said(row) else "muted"
    tones = {"failed": "fail", "skipped": "warn"}
    return row.message, tones.get(row.state, "muted")


def drain_row(row: DrainRow, *, live: bool = True) -> TableRow:
    """One server as a row; its id is the server's."""
    told = state(row, live=live)
    kind = words.short_type(row.type) if row.type else "no vGPU"
    said = result(row)
    return TableRow(
        row.server,
        (
            text(row.name or row.server),
            Cell((told,), _FIRST.index(row.state)),
            progress(row, live=live),
            text(row.destination or glyphs().unlimited),
            downtime(row),
            text(downtime_range(row.predicted_low_ms, row.predicted_high_ms) or words.UNKNOWN, "muted"),
            text(kind, "" if row.type else "muted"),
            text(row.project),
            Cell((said,)),
        ),
        f"{row.name} {told[0]} {row.destination} {kind} {row.project} {said[0]}",
    )


def is_fault(row: DrainRow) -> bool:
    """Whether it did not go as planned."""
    return row.state in ("failed", "skipped") or (row.state == "done" and bool(row.message))


def row_lines(row: DrainRow | None, width: int, most: int) -> list[Line]:
    """All that is said of the row under the cursor; the table has room for its beginning only."""
    if row is None or not _said(row):
        return []
    sign, tone = state(row)
    lines = hang(((f"{row.name or row.server}  ", "title"), (f"{sign}  ", tone)), _said(row), "", width)
    if len(lines) > most:
        lines = [*lines[: most - 1], (*lines[most - 1], (f" {glyphs().more}", "muted"))]
    return lines


# All of them ------------------------------------------------------------------------------------------------------


def status(known: KnownDrain) -> Span:
    """How the whole of it is: a sign and a word."""
    view, signs = known.view, glyphs()
    failed = view.counts.get("failed", 0)
    if known.left and not known.here:
        return f"{signs.warn} left by another console", "warn"
    if known.left and failed:
        return f"{signs.fail} stopped, {failed} failed", "fail"
    if known.left:
        return f"{signs.warn} stopped{_by(view)}", "warn"
    if known.holder:
        return f"{signs.cursor} run by {known.holder}", "accent"
    if view.over:
        if failed:
            return f"{signs.fail} ended, {failed} failed", "fail"
        if view.counts.get("skipped"):
            return f"{signs.warn} ended, {view.counts['skipped']} skipped", "warn"
        return f"{signs.ok} ended", "ok"
    if view.status == "paused":
        return f"‖ paused{_by(view)}", "warn"
    if view.status == "stopped":
        return f"{signs.warn} stopping{_by(view)}", "warn"
    if view.to_accept and not view.counts.get("running") and not view.counts.get("starting"):
        return f"{signs.warn} waits to be accepted", "warn"
    return f"{signs.cursor} running", "accent"


def _by(view: DrainView) -> str:
    """Who has paused or stopped it, where that is all there is to say."""
    return f" {view.why}" if view.why == BY_OPERATOR else ""


def title_spans(known: KnownDrain) -> tuple[Span, ...]:
    """``Drain of gpu-01  ▸ running``."""
    drain = known.drain
    what = f"{words.plural(len(drain.items), 'server')} away from" if drain.chosen else "Drain of"
    return ((f"{what} {drain.host}", "title"), ("   ", ""), status(known))


def elapsed(view: DrainView, now: float) -> str:
    """Since it began, until its end where that has come."""
    return clock_word((view.ended if view.ended is not None else now) - view.started)


def totals(view: DrainView) -> tuple[Span, ...]:
    """``3 of 5 moved · 1 failed``, each that is not zero with its tone."""
    counts = view.counts
    spans: list[Span] = [(f"{counts.get('done', 0)} of {len(view.rows)} moved", "")]
    tones = {"failed": "fail", "skipped": "warn", "running": "accent", "starting": "accent", "checking": "accent"}
    for one in _FIRST[1:]:
        if counts.get(one):
            spans += [(f" {glyphs().separator} ", "muted"), (f"{counts[one]} {_WORDS[one]}", tones.get(one, "muted"))]
    return tuple(spans)


def downtimes(view: DrainView, *, brief: bool = False) -> tuple[Span, ...]:
    """``stood still 41.2 s (2 measured, longest 23 s)   to come ~34–50 s``, as far as it is known."""
    measured = [r.pause_ms for r in view.rows if r.pause_ms is not None]
    open_rows = [r for r in view.rows if r.state not in ("done", "failed", "skipped")]
    low = sum(r.predicted_low_ms or 0.0 for r in open_rows if r.predicted_high_ms is not None)
    high = sum(r.predicted_high_ms or 0.0 for r in open_rows)
    spans: list[Span] = []
    if measured:
        spans.append((f"guests stood still {milliseconds(sum(measured))}", "accent"))
        more = f" ({len(measured)} measured, longest {milliseconds(max(measured))})"
        spans.append((f" ({len(measured)} measured)" if brief else more, "muted"))
    if high:
        spans.append(("   " if spans else "", ""))
        spans.append((f"to come ~{downtime_range(low, high)}", "muted"))
    return tuple(spans)


def sums(view: DrainView, width: int) -> tuple[tuple[Span, ...], tuple[Span, ...], bool]:
    """The line of sums, left and right; and whether the right had no room, so that it needs a line of its own."""
    left, right = totals(view), downtimes(view)
    needed = sum(cell_len(word) for word, _ in (*left, *right)) + 3
    return (left, right, False) if needed <= width else (left, (), bool(right))


def note_lines(known: KnownDrain, width: int) -> list[Line]:
    """What an operator must know beside the table: why it stands, what is to be accepted, how it is gone on with."""
    view, signs = known.view, glyphs()
    lines: list[Line] = []
    if sums(view, width)[2]:
        lines.append(downtimes(view, brief=True))
    if known.runs_here and view.at_once_why != AS_ASKED:
        lines += hang(((f"{view.at_once} at a time: ", "muted"),), view.at_once_why, "muted", width)
    if view.why and view.why != BY_OPERATOR and (not view.over or known.left):
        lines += hang(((f"{signs.warn} ", "warn"),), view.why, "", width)
    if view.to_accept and known.runs_here:
        told = f"to accept before more can go: {', '.join(view.to_accept)} (C shows what they say)"
        lines += hang(((f"{signs.warn} ", "warn"),), told, "", width)
    if known.left:
        left = sum(not i.final for i in known.drain.items)
        told = f"{words.plural(left, 'server')} left to do; R goes on with it, nothing happens by itself"
        lines += hang(((f"{signs.warn} ", "warn"),), told, "warn", width)
    if view.enable_again:
        told = f"nova-compute is disabled; E enables it again, or: {view.enable_again}"
        lines += hang(((f"{signs.separator} ", "muted"),), told, "muted", width)
    return lines


def report_text(drain: Drain) -> str:
    """The report as it is copied and written."""
    return "\n".join(report_lines(drain)) + "\n"


def report_page(drain: Drain, width: int) -> list[Line]:
    """The report in a dialog: the sums in the tone of a title, the servers below, each with a hanging indent."""
    lines: list[Line] = []
    for number, line in enumerate(report_lines(drain)):
        bare = line.lstrip()
        tone = "title" if number == 0 else "fail" if bare.startswith("failed ") else ""
        indent = " " * (len(line) - len(bare))
        lines += hang(((indent, ""),), " ".join(bare.split()), tone, width)
    return lines


# A list of drains -------------------------------------------------------------------------------------------------


def list_row(known: KnownDrain) -> TableRow:
    """One drain among others."""
    drain, view = known.drain, known.view
    done, failed = view.counts.get("done", 0), view.counts.get("failed", 0)
    told = status(known)
    drawn = bar(done, len(view.rows), 10)
    return TableRow(
        drain.id,
        (
            text(drain.host),
            Cell((told,)),
            drawn,
            Cell(((str(failed), "fail" if failed else "muted"),), failed),
            text(stamp(drain.created), "muted"),
            text(drain.by or words.UNKNOWN, "muted"),
            text(drain.id, "muted"),
        ),
        f"{drain.host} {told[0]} {drain.by} {drain.id}",
    )


def stamp(moment: float) -> str:
    """A time as OpenStack's are shown: UTC, to the second."""
    import datetime

    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def left_lines(drains: Sequence[KnownDrain], at: int, width: int, *, failed_too: bool) -> list[Line]:
    """Drains that were left: what is shown in the dialog that offers to go on."""
    known = drains[at]
    drain, signs = known.drain, glyphs()
    counts = known.view.counts
    lines: list[Line] = []
    begun = f"begun {stamp(drain.created)} UTC" + (f" by {drain.by}" if drain.by else "")
    lines.append(((begun, "muted"),))
    lines.append(totals(known.view))
    lines.append(())
    for item in drain.items:
        if item.final and not (failed_too and item.state == "failed"):
            continue
        under_way = item.state in ("starting", "running")
        word = "was under way" if under_way else "failed" if item.state == "failed" else "waits"
        told = f"→ {item.destination or words.UNKNOWN}"
        lines.append(
            (
                (f"  {signs.cursor if under_way else signs.separator} ", "accent" if under_way else "muted"),
                (f"{words.clip(item.name or item.server, 30)}  ", ""),
                (f"{told}  {word}", "muted"),
            )
        )
    lines.append(())
    said = "Nothing goes on by itself: migrations that run are Nova's, and no other server is started."
    lines += hang((), said, "", width)
    said = "Gone on with, each server is checked again right before its turn, and what Nova began meanwhile is found."
    lines += hang((), said, "muted", width)
    if drain.accepted:
        lines += hang((("accepted then and still: ", "muted"),), ", ".join(drain.accepted), "warn", width)
    if drain.service == "wanted":
        lines += hang(((f"{signs.warn} ", "warn"),), f"nova-compute of {drain.host} is disabled first", "", width)
    if counts.get("failed"):
        mark = signs.mark if failed_too else signs.no_bar
        lines.append(
            (
                ("f ", "accent"),
                (f"{mark} ", "accent" if failed_too else "muted"),
                (f"try the {counts['failed']} that failed once more, too", "" if failed_too else "muted"),
            )
        )
    return lines
