"""A followed migration as a timeline: phases with their times, figures with their sources, the events inline."""

from __future__ import annotations

from vgpu_console.fleet.migration_move import FRESH_S, RATES_EVERY_S, Move
from vgpu_console.model.check import Check
from vgpu_console.model.migration_end import End
from vgpu_console.model.migration_job import CompletedJob, WatchState
from vgpu_console.model.migration_timeline import (
    PHASES,
    Happening,
    Phase,
    PhaseName,
    PhaseState,
    Timeline,
    Voice,
)
from vgpu_console.model.migration_trace import nova_seconds
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.migration.downtime import clocks_apart
from vgpu_console.rules.migration.progress import time_left_s

_OF_STATUS: dict[str, PhaseName] = {
    "accepted": "accepted",
    "queued": "queued",
    "preparing": "preparing",
    "running": "memory",
    "running (post-copy)": "device",
}
SKEW_S = 1.0


def timeline_of(move: Move, snapshot: Snapshot, now: float, wall: float, nova: Voice) -> Timeline:
    """The move at this moment. ``nova`` tells how the API fares."""
    subject, row = move.subject, move.row
    state = move.watch.reading() if move.watch is not None else None
    end = move.told if move.settled else move.story(snapshot, now, wall)
    measured = move.measured
    job = state.job if state is not None else None
    fresh = job is not None and (wall - job.fetched_at < FRESH_S or row is None or not row.in_progress)
    memory_from: SourceKind | None = None
    total = processed = remaining = None
    if job is not None and job.memory_total is not None and fresh:
        memory_from, total, processed, remaining = (
            "libvirt",
            job.memory_total,
            job.memory_processed,
            job.memory_remaining,
        )
    elif row is not None and row.memory_total_bytes:
        memory_from, total = "nova", row.memory_total_bytes
        processed, remaining = row.memory_processed_bytes, row.memory_remaining_bytes
    rate = move.rate(now, wall)
    eta = time_left_s(job) if job is not None and fresh and row is not None and row.in_progress else None
    if eta is None and job is None and rate and remaining is not None:
        eta = remaining / rate
    iteration = max(
        (i for i in (job.iteration if job else None, state.iteration if state else None) if i), default=None
    )
    created, changed = (row.created_at, row.updated_at) if row is not None else (None, None)
    begun_at, ended_at = nova_seconds(created), nova_seconds(changed)
    over = row is not None and not row.in_progress
    took = ended_at - begun_at if over and begun_at is not None and ended_at is not None else None
    return Timeline(
        server=subject.server,
        name=subject.name,
        project=subject.project,
        run=subject.run,
        migration=row.uuid if row is not None else subject.migration,
        number=row.id if row is not None else None,
        type_name=subject.type_name,
        vgpus=subject.vgpus,
        ram_mib=subject.ram_mib,
        framebuffer_mib=subject.framebuffer_mib,
        source=row.source if row is not None else subject.source,
        destination=(row.destination if row is not None else None) or subject.destination,
        status=row.status if row is not None else None,
        phases=_phases(move, state, end, wall),
        memory_total=total,
        memory_processed=processed,
        memory_remaining=remaining,
        memory_from=memory_from,
        rate=rate,
        dirty_rate=float(job.dirty_bytes_s) if job is not None and job.dirty_bytes_s is not None else None,
        iteration=iteration,
        eta_s=eta,
        rates=tuple(move.rates),
        rates_every_s=RATES_EVERY_S,
        predicted_low_ms=subject.predicted_low_ms,
        predicted_high_ms=subject.predicted_high_ms,
        expected_downtime_ms=job.expected_downtime_ms if job is not None else None,
        measured=measured,
        voices=(nova, *_libvirts(state)),
        events=_events(move),
        verified=move.checks,
        story=end,
        created_at=created,
        updated_at=changed,
        took_s=took,
        clock_skew=_skews(move, snapshot),
        taken_at=wall,
    )


def _libvirts(state: WatchState | None) -> tuple[Voice, ...]:
    if state is None:
        return ()
    ends = (state.source, state.destination)
    return tuple(
        Voice(kind="libvirt", host=e.host, answered_at=e.answered_at, error=e.error) for e in ends if e is not None
    )


def _events(move: Move) -> tuple[Happening, ...]:
    if move.action is None:
        return ()
    return tuple(
        Happening(at=e.started_at, name=e.name, result=e.result, host=e.host, details=e.details)
        for e in move.action.events
    )


def _skews(move: Move, snapshot: Snapshot) -> tuple[str, ...]:
    """Hosts whose clock differs: their own times, and a downtime over both clocks, are off by so much."""
    row = move.row
    out = []
    for name in (row.source, row.destination) if row is not None else ():
        host = snapshot.host(name or "")
        skew = host.clock_skew_s if host is not None else None
        error = (host.clock_error_s or 0.0) if host is not None else 0.0
        if skew is not None and abs(skew) - error > SKEW_S:
            out.append(f"the clock of {name} is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}")
    job = move.measured
    doubt = clocks_apart(job.downtime_ms, job.heard_ms) if isinstance(job, CompletedJob) else ""
    return (*out, doubt) if doubt else tuple(out)


def _present(move: Move, state: WatchState | None) -> PhaseName:
    """The phase that goes on, or went on last."""
    row = move.row
    if row is None:
        return "accepted"
    last: PhaseName = next((_OF_STATUS[s] for s in reversed(move.statuses) if s in _OF_STATUS), "accepted")
    server = move.server
    arrived = server is not None and row.destination is not None and server.host == row.destination
    if arrived and server is not None and server.host != row.source:
        return "post"
    heard: PhaseName = last  # libvirt's word is newer than Nova's, which may be silent
    if state is not None and row.in_progress:
        if state.phase in ("finishing", "completed"):
            heard = "post"
        elif state.phase == "switching-over":
            heard = "device"
        elif state.phase == "running":
            heard = "memory"
    return max(last, heard, key=PHASES.index)


def _phases(move: Move, state: WatchState | None, end: End | None, wall: float) -> tuple[Phase, ...]:
    present = _present(move, state)
    over = end is not None and end.over
    moved = end is not None and end.moved
    at = PHASES.index("post") if moved else PHASES.index(present)
    starts = _starts(move, state)
    out = []
    for index, name in enumerate(PHASES):
        word: PhaseState
        if name == "verified":
            word = _verified(move) if over else "to come"
        elif index < at or (moved and index == at):
            # what passed between two looks was passed; what was before the first look of all nobody saw
            word = "done" if name in starts or not move.subject.migration or _certain(name, moved) else "skipped"
        elif index == at:
            word = "failed" if over else "now"
        else:
            word = "not reached" if over else "to come"
        since = starts.get(name)
        following = [starts[n] for n in PHASES[index + 1 :] if n in starts]
        duration = following[0] - since if since is not None and following else None
        if word == "now" and since is not None:
            duration = max(0.0, wall - since)
        evidence, source = _evidence(move, state, name, word)
        if name == "device" and isinstance(move.measured, CompletedJob):
            duration, evidence = move.measured.downtime_ms / 1000, f"measured by the {move.measured.source}"
        elif name == "memory" and since is None and state is not None and state.job and state.job.time_elapsed_ms:
            duration, evidence = state.job.time_elapsed_ms / 1000, "by libvirt's own count"
        out.append(
            Phase(
                name=name,
                state=word,
                since=since,
                duration_s=max(0.0, duration) if duration is not None else None,
                evidence=evidence,
                source=source,
                seen_at=move.row_wall if source == "nova" else state.source.answered_at if state is not None else None,
            )
        )
    return tuple(out)


def _certain(name: PhaseName, moved: bool) -> bool:
    """Phases that a migration which arrived has certainly been through."""
    return moved and name in ("memory", "device", "post")


def _starts(move: Move, state: WatchState | None) -> dict[PhaseName, float]:
    """When each phase was first seen, by this console's clock. A phase that was under way before is not among them."""
    found: dict[PhaseName, float] = {}
    for index, status in enumerate(move.statuses):
        name = _OF_STATUS.get(status)
        if name is not None and not (index == 0 and move.attached_late):
            found.setdefault(name, move.first[status][1])
    if state is not None and state.suspended_at is not None:
        found["device"] = state.suspended_at
    if state is not None and state.resumed_at is not None:
        found["post"] = state.resumed_at
    if "arrived" in move.first:
        found.setdefault("post", move.first["arrived"][1])
    if "over" in move.first:
        found["verified"] = move.first["over"][1]
    return found


def _verified(move: Move) -> PhaseState:
    if not move.settled:
        return "now"
    return _worst(move.checks)


def _worst(checks: tuple[Check, ...]) -> PhaseState:
    statuses = {c.status for c in checks}
    if "fail" in statuses or "warn" in statuses:
        return "failed"
    return "unknown" if "unknown" in statuses or not checks else "done"


def _evidence(move: Move, state: WatchState | None, name: PhaseName, word: PhaseState) -> tuple[str, SourceKind | None]:
    if word in ("to come", "not reached", "skipped"):
        return "", None
    if name == "verified":
        bad = next((c.evidence for c in move.checks if c.status != "pass"), "")
        return bad or (f"{len(move.checks)} checks passed" if move.checks else ""), "nova"
    if name in ("device", "post") and state is not None and state.suspended_at is not None:
        return ("the guest stands still" if name == "device" else "the guest runs on the destination"), "libvirt"
    if name == "memory" and state is not None and state.job is not None:
        return "libvirt's job runs" if word == "now" else "libvirt's job", "libvirt"
    status = next((s for s in move.statuses if _OF_STATUS.get(s) == name), "")
    return (f"Nova: {status}" if status else ""), "nova"
