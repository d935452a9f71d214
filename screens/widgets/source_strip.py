"""The line that says how old each source's answer is, and which of them do not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import Freshness, SourceStatus
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span, age_text
from vgpu_console.screens.widgets.columns import spans_width
from vgpu_console.screens.widgets.span_line import SpanLine

_SHORT = {"placement": "plac", "keystone": "keys"}
_SILENT = frozenset({"unreachable", "timeout"})
_WORST: tuple[Freshness, ...] = ("failed", "never", "stale", "fresh")


class SourceStrip(SpanLine):
    """One line for all sources, kept up to date each second. It draws only what changed, the ages as a rule."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._clock = clock
        self._sources: tuple[SourceStatus, ...] = ()

    def on_mount(self) -> None:
        """Let the ages grow."""
        self.set_interval(1.0, self.tick)

    def on_resize(self) -> None:
        """A narrow line is shorter in its words."""
        self.tick()

    def show(self, snapshot: Snapshot) -> None:
        """Show how the sources of this snapshot fare."""
        self._sources = snapshot.sources
        self.tick()

    def tick(self) -> None:
        """Bring the ages up to now."""
        self.set_spans(strip_spans(self._sources, self._clock(), self.size.width))


def strip_spans(sources: Iterable[SourceStatus], now: float, width: int) -> tuple[Span, ...]:
    """The words of the line for ``width`` cells: with the reason of the worst trouble as far as there is room for it,
    and with short names where even that does not help."""
    services = [one for one in sources if not one.host]
    hosts: dict[str, list[SourceStatus]] = {}
    for one in sources:
        if one.host:
            hosts.setdefault(one.host, []).append(one)
    if not services and not hosts:
        return ((" no source has been asked yet", "muted"),)
    glyphs = cells.glyphs()
    trouble = _trouble(services, hosts, now)
    for short in (False, True):
        line = _line(services, hosts, now, short)
        taken = spans_width(line, glyphs)
        if taken <= width or short:
            if trouble and width - taken >= 12:
                line.append((f" {trouble}", "warn"))
            return tuple(line)
    return ()


def _sign(freshness: Freshness, known: bool) -> Span:
    glyphs = cells.glyphs()
    if freshness == "fresh":
        return (glyphs.fresh, "ok")
    if freshness == "never":
        return (glyphs.pending, "muted")
    return (glyphs.stale, "warn") if known else (glyphs.fail, "fail")


def _line(
    services: Sequence[SourceStatus], hosts: dict[str, list[SourceStatus]], now: float, short: bool
) -> list[Span]:
    gap, before_sign = ("  ", "") if short else ("   ", " ")
    out: list[Span] = []
    for one in services:
        name = _SHORT.get(one.kind, one.kind) if short else one.kind
        age = one.age_s(now)
        words = name if age is None else f"{name} {age_text(age)}"
        out += [(gap if out else " ", ""), (words + before_sign, ""), _sign(one.freshness(now), age is not None)]
    if hosts:
        fresh = sum(all(one.freshness(now) == "fresh" for one in parts) for parts in hosts.values())
        worst = min((_worst(parts, now) for parts in hosts.values()), key=_WORST.index)
        known = any(one.fetched_at is not None for parts in hosts.values() for one in parts)
        out += [(gap if out else " ", ""), (f"hosts {fresh}/{len(hosts)}{before_sign}", ""), _sign(worst, known)]
    return out


def _worst(parts: Sequence[SourceStatus], now: float) -> Freshness:
    return min((one.freshness(now) for one in parts), key=_WORST.index)


def _trouble(services: Sequence[SourceStatus], hosts: dict[str, list[SourceStatus]], now: float) -> str:
    """The first source in trouble and why, with how many more there are; services come before hosts."""
    found = [_reason(one, one.kind, now) for one in services if one.freshness(now) in ("failed", "stale")]
    for host, parts in sorted(hosts.items()):
        bad = [one for one in parts if one.freshness(now) in ("failed", "stale")]
        if bad:
            found.append(_reason(min(bad, key=lambda one: _WORST.index(one.freshness(now))), host, now))
    if not found:
        return ""
    return found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)"


def _reason(one: SourceStatus, name: str, now: float) -> str:
    age = one.age_s(now)
    if one.error is None or one.error_kind in _SILENT:
        return f"{name} has not answered yet" if age is None else f"{name} no answer for {age_text(age)}"
    return f"{name}: {one.error}"
