"""Pre-checks and followed migrations as text for eyes and as records for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from vgpu_console.cli_output import Layout, write_table
from vgpu_console.cli_run import NAME
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.model.check import Check
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.report import check_report
from vgpu_console.table_formats import UNKNOWN
from vgpu_console.text import plain

MAX = 4_000
MOVED = frozenset({"completed", "forced"})
"""The ends of a migration that did what was asked for."""

_STATUS = {"pass": "pass", "warn": "! warn", "fail": "x fail", "unknown": "? unknown"}
_COMMANDS = {
    "migrate.abort": "abort {server}",
    "migrate.force": "force-complete {server}",
    "migrate.reset": "reset {server}",
    "migrate.heal": "heal {migration}",
    "migrate.start": "start {server}",
}


# --- pre-checks -------------------------------------------------------------------------------------------------------


def check_record(found: Precheck) -> dict[str, Any]:
    """What ``migrate check -o json`` promises; what follows the promised names may grow."""
    report = check_report(found.server, found.source, found.chosen, found.candidates)
    return report | {"server_id": found.server_id, "notes": list(found.notes)}


def answer(found: Precheck) -> str:
    """Whether it can go, in one line."""
    who, chosen = found.server or found.server_id, found.chosen
    if chosen is None:
        return f"no: {who} can go from {found.source} to no other host"
    way = f"{who} from {found.source} to {chosen.host}"
    if chosen.verdict == "pass":
        return f"yes: {way}: every check passes"
    if chosen.verdict == "fail":
        return f"no: {way}: {chosen.reason}"
    open_checks = sum(c.status in ("warn", "unknown") for c in chosen.checks)
    unknown = sum(c.status == "unknown" for c in chosen.checks)
    what = f"{open_checks} check{'s' if open_checks > 1 else ''} would have to be accepted"
    if chosen.verdict == "unknown":
        return f"not known: {way}: {unknown} of the checks could not be answered; {what}"
    return f"yes, but: {way}: {what}"


def write_check(found: Precheck, out: TextIO, layout: Layout) -> None:
    """The answer, the downtime with its arithmetic, the checks from the worst on, the hosts from the best on."""
    out.write(plain(answer(found), MAX) + "\n")
    if found.chosen is not None:
        if found.chosen.host != found.source:
            out.write(f"\npredicted downtime: {downtime_words(found.chosen.predicted)}\n")
            out.writelines(f"  {plain(line, MAX)}\n" for line in found.chosen.predicted.basis)
        out.write("\n")
        write_checks(found.chosen.checks, out, layout)
    if found.candidates:
        out.write("\n")
        rows = [_host(one) for one in found.candidates]
        names = ["host", "verdict", "free", "downtime", "reason"]
        write_table(names, rows, [False, False, True, False, False], out, layout, [0, 0, 1, 2, 0])


def write_checks(checks: Iterable[Check], out: TextIO, layout: Layout) -> None:
    """Checks as a table: what each says, who says so and how old that is."""
    rows = [[_STATUS[c.status], c.id, c.source or "–", _age(c.age_s), plain(c.evidence, MAX)] for c in checks]
    names = ["status", "check", "source", "age", "evidence"]
    write_table(names, rows, [False, False, False, True, False], out, layout, [0, 0, 1, 1, 0])


def check_lines(checks: Sequence[Check]) -> list[str]:
    """What does not pass, a line each."""
    return [f"  {_STATUS[c.status]:<9} {c.id}: {c.evidence}" for c in checks if c.status != "pass"]


def _host(one: Destination) -> list[str]:
    free = UNKNOWN if one.free is None else str(one.free)
    return [one.host, one.verdict, free, downtime_words(one.predicted), plain(one.reason, MAX) or "–"]


def downtime_words(predicted: Downtime) -> str:
    """``1.2 to 4 s``; ``?`` where nobody can tell."""
    if predicted.low_ms is None or predicted.high_ms is None:
        return UNKNOWN
    return range_words(predicted.low_ms, predicted.high_ms)


def range_words(low_ms: float, high_ms: float) -> str:
    """Two times in seconds."""
    return f"{low_ms / 1000:.3g} to {high_ms / 1000:.3g} s"


def _age(age_s: float | None) -> str:
    return "–" if age_s is None else f"{age_s:.0f} s"


# --- a migration that is followed -------------------------------------------------------------------------------------


def end_record(timeline: Timeline) -> dict[str, Any]:
    """How a migration ended, under its promised names; ``end`` is null while it goes on."""
    story, measured = timeline.story, timeline.measured
    job = measured if isinstance(measured, CompletedJob) else None
    low, high = timeline.predicted_low_ms, timeline.predicted_high_ms
    record: dict[str, Any] = {
        "migration": timeline.migration or None,
        "server": timeline.name,
        "source": timeline.source,
        "destination": timeline.destination,
        "end": timeline.end.kind if timeline.end is not None else None,
        "title": story.title if story is not None else "",
        "explanation": story.explanation if story is not None else "",
        "predicted_downtime_ms": {"low": _rounded(low), "high": _rounded(high)},
        "downtime_ms": timeline.downtime_ms,
    }
    if job is not None:
        record["measured_by"] = job.source
    else:
        record["not_measured"] = not_measured(timeline)
    record["mends"] = [
        {
            "words": m.words,
            "action": m.action or None,
            "command": mend_command(m, timeline),
            "by_hand": m.command or None,
        }
        for m in (story.mends if story is not None else ())
    ]
    return record | {
        "server_id": timeline.server,
        "status": timeline.status,
        "took_s": None if timeline.took_s is None else round(timeline.took_s, 1),
        "evidence": [
            {"text": e.text, "source": e.source, "host": e.host} for e in (story.evidence if story is not None else ())
        ],
        "unknown": list(story.unknown if story is not None else ()),
        "avoid": list(story.avoid if story is not None else ()),
        "verified": [{"id": c.id, "status": c.status, "evidence": c.evidence} for c in timeline.verified],
        "heard_downtime_ms": None if job is None else job.heard_ms,
        "clocks": list(timeline.clock_skew),
    }


def end_lines(timeline: Timeline) -> list[str]:
    """The same for eyes."""
    story, record = timeline.story, end_record(timeline)
    lines = [f"{timeline.name}: {story.title if story is not None else 'not told yet'}"]
    if story is not None and story.explanation:
        lines.append(f"  {story.explanation}")
    low, high = timeline.predicted_low_ms, timeline.predicted_high_ms
    predicted = f" (predicted {range_words(low, high)})" if low is not None and high is not None else ""
    if timeline.downtime_ms is not None:
        lines.append(f"  downtime  {timeline.downtime_ms} ms{predicted}, by the {record['measured_by']}")
    else:
        lines.append(f"  downtime  not measured: {record['not_measured']}{predicted}")
    lines += [f"  clocks    {words}" for words in timeline.clock_skew]
    if timeline.took_s is not None:
        lines.append(f"  took      {timeline.took_s:.0f} s")
    if timeline.migration:
        lines.append(f"  migration {timeline.migration}")
    lines += [f"  {_STATUS[c.status]:<9} {c.evidence}" for c in timeline.verified]
    if (story is not None and not story.over) or (story is not None and story.severity in ("warn", "fail")):
        lines += [f"  seen      {e.text} ({e.source})" for e in story.evidence]
    if story is not None:
        lines += [f"  unknown   {one}" for one in story.unknown]
        lines += [f"  mend      {_mend(m, timeline)}" for m in story.mends]
        lines += [f"  avoid     {one}" for one in story.avoid]
    return [plain(line, MAX) for line in lines]


def not_measured(timeline: Timeline) -> str:
    """Why there is no measured downtime."""
    if isinstance(timeline.measured, NotMeasured):
        return timeline.measured.reason
    return "it has not ended" if timeline.end is None else "nobody watched it in libvirt"


def mend_command(mend: Mend, timeline: Timeline) -> str | None:
    """What to type: this program's command for the action it names, which looks before it changes; else the story's."""
    words = _COMMANDS.get(mend.action)
    if words is None:
        return mend.command or None
    return f"{NAME} migrate {words.format(server=timeline.server, migration=timeline.migration)}"


def _mend(mend: Mend, timeline: Timeline) -> str:
    command = mend_command(mend, timeline)
    return f"{mend.words}: {command}" if command else mend.words


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def progress_words(timeline: Timeline) -> str:
    """Where a migration is, in one line."""
    if not timeline.migration:
        return f"{timeline.name}: asked for; Nova's row of it is not read yet"
    if timeline.end is not None:
        return f"{timeline.name}: {timeline.end.title}; looking whether all is in its place"
    words = [
        f"{timeline.name} {timeline.source or UNKNOWN} → {timeline.destination or UNKNOWN}: {phase_words(timeline)}"
    ]
    nova = next((v for v in timeline.voices if v.kind == "nova"), None)
    if nova is not None and nova.error is not None:
        age = nova.age_s(timeline.taken_at)
        words.append(f"nova does not answer{'' if age is None else f' for {age:.0f} s'}: {nova.error}")
    if timeline.story is not None and not timeline.story.over and timeline.story.severity in ("warn", "fail"):
        words.append(timeline.story.title)
    return "; ".join(words)


def phase_words(timeline: Timeline) -> str:
    """The present phase with its figures."""
    now = timeline.now
    word = now.name if now is not None else timeline.status or "not known"
    if word != "memory":
        return word
    figures = [f"{timeline.per_cent} %" if timeline.per_cent is not None else UNKNOWN]
    if timeline.rate:
        figures.append(f"{timeline.rate / 1e6:.0f} MB/s")
    if timeline.iteration:
        figures.append(f"pass {timeline.iteration}")
    if timeline.eta_s is not None:
        figures.append(f"{timeline.eta_s:.0f} s left")
    return f"memory {', '.join(figures)}"
