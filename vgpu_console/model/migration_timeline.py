"""A live migration that is followed: its phases, its figures and its end, as known at one moment."""

from __future__ import annotations

from typing import Literal

import msgspec

from vgpu_console.model.check import Check
from vgpu_console.model.migration_end import End
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.source import SourceKind

PhaseName = Literal["accepted", "queued", "preparing", "memory", "device", "post", "verified"]
PHASES: tuple[PhaseName, ...] = ("accepted", "queued", "preparing", "memory", "device", "post", "verified")

PhaseState = Literal["to come", "now", "done", "failed", "skipped", "not reached", "unknown"]
"""``skipped``: passed while nobody looked; ``not reached``: it ended before; ``unknown``: nobody can tell."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase. ``since`` is when this console first saw it, by its own clock; None: it was not seen to begin.

    ``duration_s`` is measured by one clock alone, which ``evidence`` names where it is not this console's.
    """

    name: PhaseName
    state: PhaseState
    since: float | None = None
    duration_s: float | None = None
    evidence: str = ""
    source: SourceKind | None = None
    seen_at: float | None = None  # when that was last heard, this console's clock


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a timeline and how it fares: ``nova``, or the libvirt of a host."""

    kind: SourceKind
    host: str = ""
    answered_at: float | None = None  # this console's clock; None: never
    error: str | None = None

    def age_s(self, now: float) -> float | None:
        """Seconds since it last answered, None when it never did."""
        return None if self.answered_at is None else max(0.0, now - self.answered_at)


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the instance action. ``at`` is Nova's own words: the clock of whichever host wrote it."""

    at: str | None
    name: str
    result: str | None
    host: str | None = None
    details: str | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known of one followed migration. Sizes are bytes, rates bytes a second.

    ``migration`` is "" until Nova's row has been found. ``rates`` holds one value for each ``rates_every_s``, the
    newest last, None where nothing was heard. ``expected_downtime_ms`` is libvirt's own expectation, never a measure.
    """

    server: str
    name: str
    project: str = ""
    run: str = ""  # the journal's run that began it; "" where that is not known
    migration: str = ""
    number: int | None = None
    type_name: str = ""
    vgpus: int | None = None
    ram_mib: int | None = None
    framebuffer_mib: int | None = None
    source: str | None = None
    destination: str | None = None
    status: str | None = None  # Nova's word
    phases: tuple[Phase, ...] = ()
    memory_total: int | None = None
    memory_processed: int | None = None
    memory_remaining: int | None = None
    memory_from: SourceKind | None = None  # who says the three
    rate: float | None = None
    dirty_rate: float | None = None
    iteration: int | None = None
    eta_s: float | None = None  # of the copying; None also: it does not come to an end by itself
    rates: tuple[float | None, ...] = ()
    rates_every_s: float = 2.0
    predicted_low_ms: float | None = None
    predicted_high_ms: float | None = None
    expected_downtime_ms: int | None = None
    measured: CompletedJob | NotMeasured | None = None
    voices: tuple[Voice, ...] = ()
    events: tuple[Happening, ...] = ()
    verified: tuple[Check, ...] = ()
    story: End | None = None
    created_at: str | None = None  # Nova's words
    updated_at: str | None = None
    took_s: float | None = None  # from Nova's two times, which are of one clock; None while it runs
    clock_skew: tuple[str, ...] = ()  # a line for each host whose clock is known to differ by more than a second
    taken_at: float = 0.0

    @property
    def end(self) -> End | None:
        """How it ended; None while it goes on."""
        return self.story if self.story is not None and self.story.over else None

    @property
    def settled(self) -> bool:
        """Whether it has ended and all that can still be found out has been."""
        return self.end is not None and any(
            p.name == "verified" and p.state not in ("to come", "now") for p in self.phases
        )

    @property
    def now(self) -> Phase | None:
        """The phase that goes on."""
        return next((p for p in self.phases if p.state == "now"), None)

    @property
    def per_cent(self) -> int | None:
        """Of the memory's present pass; None when it is not known."""
        if not self.memory_total or self.memory_remaining is None:
            return None
        return max(0, min(100, round(100 * (1 - self.memory_remaining / self.memory_total))))

    @property
    def downtime_ms(self) -> int | None:
        """The measured one."""
        return self.measured.downtime_ms if isinstance(self.measured, CompletedJob) else None

    @property
    def heard_ms(self) -> int | None:
        """The same as this console heard it, by one clock; None when it did not."""
        return self.measured.heard_ms if isinstance(self.measured, CompletedJob) else None
