"""A followed migration as lines: phases with the figures of the copying, downtime, sources with their ages, its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vgpu_console.model.migration_end import End, Mend, Severity
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Phase, PhaseState, Timeline, Voice
from vgpu_console.rules.migration.downtime import of_one_clock, told_downtime
from vgpu_console.screens.render import words
from vgpu_console.screens.render.migrate_check import downtime_range
from vgpu_console.screens.render.plans import check_lines
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Cell, Kind, Span, bar, glyphs

KEYS_OF: Mapping[str, str] = {"migrate.abort": "a", "migrate.force": "f", "migrate.reset": "R", "migrate.heal": "H"}
"""The keys of the plans that a mend may name."""

_LABEL = 13
_STALE_S = 10.0
_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", ".:-=+*#@"
_TONES: dict[Severity, Kind] = {"ok": "ok", "note": "muted", "warn": "warn", "fail": "fail"}


def title_spans(timeline: Timeline) -> tuple[Span, ...]:
    """``vm-train-7  gpu-02 → gpu-01  A100-20C``."""
    route = f"{timeline.source or words.UNKNOWN} → {timeline.destination or words.UNKNOWN}"
    kind = words.short_type(timeline.type_name) if timeline.type_name else ""
    if not kind and timeline.vgpus == 0:
        kind = "no vGPU"
    return ((timeline.name or timeline.server, "title"), (f"   {route}", "accent"), (f"   {kind}", "muted"))


def clock_word(total: float) -> str:
    """``00:41``, ``1:02:03``."""
    minutes, left = divmod(int(max(0.0, total)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes:02d}:{left:02d}"


def elapsed(timeline: Timeline, now: float) -> str:
    """How long it took by Nova's two times; while it runs, since this console first saw it."""
    if timeline.took_s is not None:
        return clock_word(timeline.took_s)
    seen = min((p.since for p in timeline.phases if p.since is not None), default=None)
    return "" if seen is None else clock_word(now - seen)


def timeline_lines(timeline: Timeline, width: int, now: float) -> list[Line]:
    """The whole screen: how it ended first, where it has, then the phases, the downtime, the sources, the events."""
    lines: list[Line] = []
    story = timeline.story
    if story is not None and story.over and not timeline.settled:
        lines += [*_not_yet(story, width), ()]
    elif story is not None and (story.over or story.severity in ("warn", "fail")):
        lines += [*end_lines(story, width), ()]
    for phase in timeline.phases:
        lines += phase_lines(timeline, phase, width)
    lines += [(), *downtime_lines(timeline, width), *source_lines(timeline, width, now)]
    if story is not None and timeline.settled:
        lines += _evidence(story, width)
    if timeline.verified:
        lines += [(), (("Verified", "title"),)]
        for check in timeline.verified:
            lines += check_lines(check, width, indent=18)
    lines += event_lines(timeline, width)
    return lines


# Phases -----------------------------------------------------------------------------------------------------------


def _sign(state: PhaseState) -> Span:
    signs = glyphs()
    known: dict[PhaseState, Span] = {
        "done": (signs.ok, "ok"),
        "now": (signs.cursor, "accent"),
        "failed": (signs.fail, "fail"),
        "unknown": (signs.unknown, "unknown"),
        "skipped": (signs.ok, "muted"),
    }
    return known.get(state, (signs.separator, "muted"))


_NAMES = {"memory": "RAM", "device": "switch-over"}


def phase_lines(timeline: Timeline, phase: Phase, width: int) -> list[Line]:
    """One phase: its sign, its name, how long it took, and what is known of it."""
    sign, tone = _sign(phase.state)
    live = phase.state == "now"
    name = _NAMES.get(phase.name, phase.name)
    first: list[Span] = [(f"  {sign} ", tone), (f"{name:<{_LABEL}}", "" if phase.state in ("done", "now") else "muted")]
    took = "" if phase.duration_s is None else _took(phase.duration_s)
    if phase.name == "memory" and phase.state in ("now", "done") and timeline.memory_total:
        return [(*first, *_memory(timeline, live=live, took=took)), *_copying(timeline, width, live=live)]
    word = {"skipped": "passed before this console looked", "not reached": "not reached"}.get(phase.state, "")
    told = phase.evidence or word or (_coming(timeline, phase) if phase.state in ("to come", "now") else "")
    if took:
        first.append((f"{took:<8} ", "muted"))
    return hang(first, told, "" if live else "muted", width)


def _coming(timeline: Timeline, phase: Phase) -> str:
    """What is worth knowing of a phase before it is there."""
    if phase.name == "device":
        size = timeline.framebuffer_mib
        told = downtime_range(timeline.predicted_low_ms, timeline.predicted_high_ms)
        parts = [f"{words.gib(size)} framebuffer: no API reports it"] if size else []
        return " · ".join([*parts, *([f"predicted {told}"] if told else [])])
    if phase.name == "verified":
        return "server, vGPU, allocations, source free"
    return ""


def _took(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else clock_word(value)


def _memory(timeline: Timeline, *, live: bool, took: str) -> tuple[Span, ...]:
    """The bar of the present pass with its numbers."""
    share = 100 if not live else timeline.per_cent
    drawn = tuple(s for s in bar(share, 100, 25).spans if s[1] in ("bar", "bar-rest", "muted"))
    total = words.gib_bytes(timeline.memory_total)
    if not live:
        return (*drawn[:1], (f"  {total} GiB  {took}", "muted"))
    done = None if timeline.memory_total is None or timeline.memory_remaining is None else (
        timeline.memory_total - timeline.memory_remaining
    )  # fmt: skip
    shown = words.UNKNOWN if share is None else f"{share}"
    return (*drawn, (f" {shown:>3} %", "accent"), (f"   {words.gib_bytes(done)} of {total} GiB", ""))


def _copying(timeline: Timeline, width: int, *, live: bool) -> list[Line]:
    """Rate, dirty rate, pass, what is left, and the rates of the last two minutes as a sparkline."""
    indent = (" " * (4 + _LABEL), "")
    parts = [f"{rate_word(timeline.rate)}"] if live and timeline.rate is not None else []
    parts += [f"dirty {rate_word(timeline.dirty_rate)}"] if live and timeline.dirty_rate is not None else []
    parts += [f"pass {timeline.iteration}"] if timeline.iteration else []
    if live:
        left = timeline.memory_remaining
        more = f", ~{clock_word(timeline.eta_s)}" if timeline.eta_s is not None else ""
        parts += [f"{words.gib_bytes(left)} GiB left{more}"] if left is not None else []
    lines = hang((indent,), "   ".join(parts), "", width) if parts else []
    drawn = sparkline(timeline.rates, max(10, min(60, width - 24)))
    if drawn:
        span = clock_word(len(timeline.rates) * timeline.rates_every_s)
        lines.append((indent, *drawn, (f"  {span}", "muted")))
    return lines


def rate_word(bytes_s: float | None) -> str:
    """``1.3 GB/s``, ``45 MB/s``."""
    if bytes_s is None:
        return words.UNKNOWN
    return f"{bytes_s / 1e9:.1f} GB/s" if bytes_s >= 1e9 else f"{bytes_s / 1e6:.0f} MB/s"


def sparkline(rates: Sequence[float | None], most: int) -> tuple[Span, ...]:
    """The newest rates as bars against their greatest; where nothing was heard there is a gap."""
    shown = list(rates)[-most:]
    top = max((r for r in shown if r is not None), default=None)
    if top is None:
        return ()
    bars = _ASCII_BARS if glyphs().ascii else _BARS
    drawn = "".join(" " if r is None else bars[round((len(bars) - 1) * r / top) if top > 0 else 0] for r in shown)
    return ((drawn, "bar"),)


# Downtime and sources ---------------------------------------------------------------------------------------------


def downtime_lines(timeline: Timeline, width: int) -> list[Line]:
    """Predicted against measured; while it runs what libvirt expects, which is no measure."""
    predicted = downtime_range(timeline.predicted_low_ms, timeline.predicted_high_ms) or "not known"
    first: list[Span] = [("Downtime     ", "title")]
    measured = timeline.measured
    if isinstance(measured, CompletedJob):
        pause = told_downtime(measured.downtime_ms, measured.heard_ms, milliseconds)
        first += [(f"measured {pause}", "accent"), (f"   predicted {predicted}", "muted")]
        return [tuple(first), *hang(((" " * _LABEL, ""),), f"by the {measured.source}", "muted", width)]
    if isinstance(measured, NotMeasured) and timeline.end is not None:
        return hang((*first, (f"predicted {predicted}   ", "muted")), str(measured), "unknown", width)
    first.append((f"predicted {predicted}", ""))
    if timeline.expected_downtime_ms is not None and timeline.end is None:
        first.append((f"   libvirt's limit now {milliseconds(timeline.expected_downtime_ms)}", "muted"))
    return [tuple(first)]


def milliseconds(value: float) -> str:
    """``0.42 s``, ``2.31 s``, ``21.4 s``."""
    return f"{value / 1000:.2f} s" if value < 10_000 else f"{value / 1000:.1f} s"


def measured_cell(downtime_ms: float, heard_ms: float | None) -> Cell:
    """A measured downtime for a table, or with a sign what was heard in its place."""
    pause = of_one_clock(downtime_ms, heard_ms)
    sign: tuple[Span, ...] = ((f"{glyphs().warn} ", "warn"),) if pause != downtime_ms else ()
    return Cell((*sign, (milliseconds(pause), "")), pause)


def source_lines(timeline: Timeline, width: int, now: float) -> list[Line]:
    """Who says all this and how old it is; one that fails with its reason."""
    lines: list[Line] = []
    spans: list[Span] = [("Sources      ", "title")]
    for number, voice in enumerate(timeline.voices):
        spans += [(" · ", "muted")] if number else []
        spans.append(_voice(voice, now, over=timeline.end is not None))
    if len(spans) > 1:
        lines.append(tuple(spans))
    for voice in timeline.voices:
        if voice.error:
            lines += hang(((" " * _LABEL, ""), (f"{glyphs().warn} ", "warn")), voice.error, "muted", width)
    for skew in timeline.clock_skew:
        lines += hang(((" " * _LABEL, ""), (f"{glyphs().warn} ", "warn")), skew, "", width)
    return lines


def _voice(voice: Voice, now: float, *, over: bool) -> Span:
    name = f"{voice.kind} {voice.host}".strip()
    age = voice.age_s(now)
    if age is None:
        return f"{name} {glyphs().unknown} no answer", "unknown"
    old = voice.error is not None or (age > _STALE_S and not over)
    return f"{name} {words.age(age)}{f' {glyphs().stale}' if old else ''}", "warn" if old else "muted"


# The end ----------------------------------------------------------------------------------------------------------


def end_span(severity: Severity, title: str) -> Span:
    """A title with the glyph of its severity."""
    signs = glyphs()
    sign = {"ok": signs.ok, "note": signs.separator, "warn": signs.warn, "fail": signs.fail}[severity]
    return f"{sign} {title}", _TONES[severity]


def _not_yet(story: End, width: int) -> list[Line]:
    """Nova tidies up for some seconds: what is still held then is no leak, and nothing is to be mended yet."""
    pending = glyphs().pending
    lines = hang(((f"{pending} ", "accent"),), story.title, "accent", width)
    return [*lines, *hang((("  ", ""),), f"looking again until nothing changes any more {pending}", "muted", width)]


def end_lines(story: End, width: int) -> list[Line]:
    """What it is, why, what is not known, what mends it and what makes it worse."""
    word, tone = end_span(story.severity, story.title)
    lines: list[Line] = hang((), word, tone, width)
    lines += hang((("  ", ""),), story.explanation, "", width)
    for line in story.unknown:
        lines += hang((("  ", ""), (f"{glyphs().unknown} ", "unknown")), line, "muted", width)
    if story.mends:
        lines += [(), (("What mends it", "title"),)]
        for mend in story.mends:
            lines += _mend(mend, width)
    for line in story.avoid:
        lines += hang((("  ", ""), (f"{glyphs().warn} ", "warn")), line, "warn", width)
    return lines


def _mend(mend: Mend, width: int) -> list[Line]:
    """Its key, where the console has a plan for it, the words, and the command."""
    key = KEYS_OF.get(mend.action, "")
    lines = hang((("  ", ""), (f"{key or glyphs().separator} ", "accent" if key else "muted")), mend.words, "", width)
    if mend.command:
        lines += hang((("    ", ""),), mend.command, "muted", width)
    return lines


def _evidence(story: End, width: int) -> list[Line]:
    if not story.evidence:
        return []
    lines: list[Line] = [(), (("What this rests on", "title"),)]
    for one in story.evidence:
        lines += hang((("  ", ""),), one.text, "", width, (one.source, "muted"))
    return lines


def event_lines(timeline: Timeline, width: int) -> list[Line]:
    """The events of Nova's action, with the details that it hides from other views."""
    if not timeline.events:
        return []
    lines: list[Line] = [
        (),
        (("Events", "title"), ("   of Nova's action, by the clock of the host that wrote them", "muted")),
    ]
    for event in timeline.events:
        bad = (event.result or "").lower() == "error"
        sign = (glyphs().fail, "fail") if bad else (glyphs().ok, "ok") if event.result else (glyphs().cursor, "accent")
        stamp = words.time_of(event.at)[-8:]
        first: list[Span] = [(f"  {stamp:>8} ", "muted"), (f"{sign[0]} ", sign[1])]
        lines += hang(first, event.name, "", width, (event.host or "", "muted"))
        if event.details:
            lines += hang(((" " * 13, ""),), event.details, "fail" if bad else "muted", width)
    return lines
