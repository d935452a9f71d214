"""Why a table is empty, computed from the snapshot: no answer yet, a failure with its reason, or truly none."""

from __future__ import annotations

from collections.abc import Iterable

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.screens.render import words
from vgpu_console.screens.render.facts import Line, status_line

_MOST_SOURCES = 12


def _of_kind(snapshot: Snapshot, kind: SourceKind) -> list[SourceStatus]:
    return [s for s in snapshot.sources if s.kind == kind and not s.host]


def why_empty(snapshot: Snapshot | None, kinds: Iterable[SourceKind], none_there: str) -> str:
    """The reason for an empty table that these sources feed; ``none_there`` when they answered and there is nothing."""
    if snapshot is None:
        return f"asking {_and(list(kinds))} …"
    waiting: list[str] = []
    failed: list[str] = []
    notes: list[str] = []
    for kind in kinds:
        for status in _of_kind(snapshot, kind):
            if status.error is not None and status.fetched_at is None:
                failed.append(f"{kind}: {status.error}")
            elif status.error is not None:
                notes.append(f"as of {kind}'s last answer; now it says: {status.error}")
            elif status.fetched_at is None:
                waiting.append(kind)
            notes.extend(status.notes)
    if failed:
        return "unknown: " + "; ".join(failed)
    if waiting:
        return f"no answer from {_and(waiting)} yet"
    return none_there + (f" ({'; '.join(notes)})" if notes else "")


def why_no_hosts(snapshot: Snapshot | None) -> str:
    """Why the hosts table is empty."""
    return why_empty(snapshot, ("nova", "placement"), "nova knows no compute host, and the configuration names none")


def why_no_servers(snapshot: Snapshot | None) -> str:
    """Why the servers table is empty."""
    return why_empty(snapshot, ("nova", "placement"), "no server asks for a vGPU or holds one")


def why_no_quotas(snapshot: Snapshot | None) -> str:
    """Why the quota table is empty."""
    return why_empty(snapshot, ("keystone", "placement"), "no project has a limit on vGPUs, and none uses any")


def why_no_quota_findings(snapshot: Snapshot | None) -> str:
    """Why there is no finding about limits."""
    return why_empty(snapshot, ("keystone", "nova"), "nothing is wrong with the limits, as far as can be seen")


def why_no_migrations(snapshot: Snapshot | None) -> str:
    """Why the migrations table is empty."""
    return why_empty(snapshot, ("nova",), "no live migration, running or ended, is known to nova")


def why_no_devices(snapshot: Snapshot | None, host_name: str) -> str:
    """Why a host's device table is empty."""
    if snapshot is None:
        return "asking the hosts …"
    host = snapshot.host(host_name)
    if host is None:
        return f"no source knows {host_name} any more"
    if host.gpus is not None:
        return "libvirt answered: this host has no GPU that can make vGPUs"
    failed = [f"{s.kind}: {s.error}" for s in snapshot.sources if s.host == host_name and s.error is not None]
    if failed or host.errors:
        return "unknown: " + "; ".join(failed or host.errors)
    return "no answer from this host yet"


def no_faults(total: int, noun: str) -> str:
    """Why a table that shows faults only is empty."""
    return f"nothing wrong with {words.plural(total, noun)}: z shows all"


def all_down(snapshot: Snapshot | None) -> bool:
    """Whether every source failed and none has ever answered: then there is nothing else to show."""
    if snapshot is None or not snapshot.sources:
        return False
    return all(s.fetched_at is None and s.error is not None for s in snapshot.sources)


def down_lines(snapshot: Snapshot, now: float) -> list[Line]:
    """Each source with its reason and when it is asked again; the console keeps trying."""
    lines: list[Line] = [
        (("No source answers.", "title"),),
        (("Each is asked again by itself; r asks now.", "muted"),),
        (),
    ]
    ordered = sorted(snapshot.sources, key=lambda s: bool(s.host))
    for status in ordered[:_MOST_SOURCES]:
        shown = status_line(status, now, width=9)
        lines.append((*shown, (f"  {status.host}", "muted")) if status.host else shown)
    if len(ordered) > _MOST_SOURCES:
        lines.append(((f"and {len(ordered) - _MOST_SOURCES} more", "muted"),))
    return lines


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else "nothing"
