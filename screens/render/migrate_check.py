"""A pre-check of a live migration in words: the answer first, then the reasons, the downtime and the other hosts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from vgpu_console.fleet.precheck import Precheck
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.screens.render import words
from vgpu_console.screens.render.checks import STATUSES, answer_spans, named_check, sign
from vgpu_console.screens.render.plans import ordered
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Kind, Span, glyphs

_ANSWERS: dict[str, tuple[str, Kind]] = {
    "pass": ("SAFE", "ok"),
    "warn": ("NEEDS A LOOK", "warn"),
    "unknown": ("NEEDS A LOOK", "unknown"),
    "fail": ("NOT SAFE", "fail"),
}
HOSTS_SHOWN = 12


def answer(one: Destination) -> tuple[Span, ...]:
    """``✗ NOT SAFE   1 fail · 2 warn · 17 pass``."""
    return answer_spans(one.verdict, _ANSWERS[one.verdict][0], one.checks)


def seconds(ms: float | None) -> str:
    """Milliseconds as seconds with two digits that count: ``0.42``, ``8.5``, ``34``; ``?`` where not known."""
    if ms is None:
        return words.UNKNOWN
    value = ms / 1000
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def downtime_range(low_ms: float | None, high_ms: float | None) -> str:
    """``21–34 s``; "" where nothing is predicted."""
    if low_ms is None or high_ms is None:
        return ""
    low, high = seconds(low_ms), seconds(high_ms)
    return f"{low} s" if low == high else f"{low}–{high} s"


def downtime_word(predicted: Downtime) -> Span:
    """The prediction, short."""
    told = downtime_range(predicted.low_ms, predicted.high_ms)
    return (f"downtime {told}", "accent") if told else ("downtime unknown", "unknown")


def choice_line(found: Precheck, at: int, width: int) -> tuple[Span, ...]:
    """The destinations by worth, the one that is shown in brackets; those around it where not all have room."""
    parts = [f"{one.host} {sign(one.verdict)}" for one in found.candidates]
    kinds = [_ANSWERS[one.verdict][1] for one in found.candidates]
    first, room = 0, max(20, width - 16)
    while first < at and sum(cell_len(p) + 4 for p in parts[first : at + 1]) > room:
        first += 1
    spans: list[Span] = [("to  ", "muted")]
    if first:
        spans.append((f"{first} before  ", "muted"))
    for number in range(first, len(parts)):
        chosen = number == at
        text = f"[{parts[number]}]" if chosen else f" {parts[number]} "
        room -= cell_len(text) + 1
        if room < 0 and not chosen:
            spans.append((f" {len(parts) - number} more", "muted"))
            break
        spans += [(text, kinds[number] if chosen else "muted"), (" ", "")]
    return tuple(spans)


def check_page(found: Precheck, at: int, width: int) -> list[Line]:
    """What speaks against the destination, the downtime with its arithmetic, the other hosts, and what passes."""
    lines: list[Line] = []
    for note in found.notes:
        lines += hang(((f"{glyphs().warn} ", "warn"),), note, "", width)
    if not found.candidates:
        return [*lines, (("there is no other host that it could go to", "unknown"),)]
    one = found.candidates[at]
    against = [c for c in ordered(one.checks) if c.status != "pass"]
    passing = [c for c in one.checks if c.status == "pass"]
    against.sort(key=lambda c: STATUSES.index(c.status))
    for check in against:
        lines += named_check(check, width)
    if not against:
        lines.append((("nothing speaks against it", "ok"),))
    lines += [(), *downtime_lines(one.predicted, width)]
    lines += [(), (("Hosts", "title"), ("   the best first; tab shows the checks of the next", "muted"))]
    lines += host_lines(found.candidates, at, width)
    lines += [(), (("What passes", "title"),)] if passing else []
    for check in passing:
        lines += named_check(check, width)
    return lines


def downtime_lines(predicted: Downtime, width: int) -> list[Line]:
    """The range, and a line for each step of its arithmetic."""
    told = downtime_range(predicted.low_ms, predicted.high_ms)
    origin = f"   from {predicted.from_history} past migrations" if predicted.from_history else ""
    head: Line = (("Downtime ", "title"), (told or "cannot be predicted", "accent" if told else "unknown"))
    lines: list[Line] = [(*head, (origin, "muted"))]
    for line in predicted.basis:
        lines += hang((("  ", ""),), line, "muted", width)
    return lines


def host_lines(candidates: Sequence[Destination], at: int, width: int) -> list[Line]:
    """Every other host: verdict, free devices, downtime, and the first reason against it."""
    name = min(24, max((cell_len(one.host) for one in candidates), default=8))
    lines: list[Line] = []
    shown = [*range(min(len(candidates), HOSTS_SHOWN)), *([at] if at >= HOSTS_SHOWN else [])]
    for number in shown:
        one = candidates[number]
        word, tone = _ANSWERS[one.verdict]
        free = "" if one.free is None else f"{one.free} free"
        told = downtime_range(one.predicted.low_ms, one.predicted.high_ms)
        first: list[Span] = [
            (f"{glyphs().cursor} " if number == at else "  ", "accent"),
            (f"{words.clip(one.host, name):<{name}}  ", ""),
            (f"{sign(one.verdict)} {word.lower():<12} ", tone),
            (f"{free:<7} {told:<9} ", "muted"),
        ]
        told = one.reason if number != at else ""  # of the one that is shown the checks say more
        lines += hang(first, told, "", width) if told else [tuple(first)]
    if len(candidates) > len(shown):
        lines.append(((f"  and {len(candidates) - len(shown)} more", "muted"),))
    return lines
