"""What a drain looks like to an operator: a row for each server while it goes on, and the report at its end."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from vgpu_console.actions.drain import Drain, DrainStatus, Item, ItemState
from vgpu_console.rules.migration.downtime import clocks_apart, of_one_clock, told_downtime
from vgpu_console.rules.migration.drain_words import AtOnce

AS_ASKED = "as asked for"
"""Why so many run at a time, where nothing else bounds them."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a migration ended. ``gone``: because its server was deleted, which is nobody's failure."""

    kind: str  # "completed", "failed", "aborted" …
    ok: bool
    message: str = ""
    measured_ms: float | None = None
    heard_ms: float | None = None  # by one clock, where libvirt counts over two
    measured_by: str = ""
    not_measured: str = ""
    gone: bool = False


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a migration is. ``age_s``: how old that is; ``ram_percent`` None: not known, or not begun."""

    phase: str = ""  # "queued", "preparing", "memory", "device" …
    ram_percent: float | None = None
    message: str = ""
    age_s: float | None = None
    end: End | None = None


class DrainRow(msgspec.Struct, frozen=True, kw_only=True):
    """One server in the table."""

    server: str
    name: str
    project: str
    type: str  # names of its types, "" for a server without vGPU
    destination: str
    state: ItemState
    phase: str
    ram_percent: float | None
    predicted_low_ms: float | None
    predicted_high_ms: float | None
    measured_ms: float | None
    heard_ms: float | None
    message: str
    migration: str
    age_s: float | None = None

    @property
    def pause_ms(self) -> float | None:
        """The measured downtime to reckon with: as it was heard, where the hosts' clocks seem to be apart."""
        return None if self.measured_ms is None else of_one_clock(self.measured_ms, self.heard_ms)

    @property
    def doubt(self) -> str:
        """Why what was heard stands where libvirt measured something else; "" where it does not."""
        return "" if self.measured_ms is None else clocks_apart(self.measured_ms, self.heard_ms)


class DrainView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a drain at one moment. ``at_once``: so many run at a time; ``at_once_why`` says who bounds it."""

    id: str
    cloud: str
    host: str
    status: DrainStatus
    why: str
    at: float
    started: float
    ended: float | None
    at_once: int
    at_once_why: str
    counts: Mapping[ItemState, int]
    rows: tuple[DrainRow, ...]
    to_accept: tuple[str, ...] = ()  # ids of checks that servers wait for somebody to accept
    enable_again: str = ""  # the command, where this drain has disabled nova-compute

    @property
    def over(self) -> bool:
        """Whether nothing runs any more and nothing will be started."""
        return self.ended is not None


def row_of(item: Item, followed: Followed | None) -> DrainRow:
    """The row of one server; what is followed is newer than what was written."""
    now = followed if item.state == "running" else None
    return DrainRow(
        server=item.server,
        name=item.name,
        project=item.project,
        type=type_words(item.types),
        destination=item.destination,
        state=item.state,
        phase=now.phase if now is not None else "",
        ram_percent=now.ram_percent if now is not None else None,
        predicted_low_ms=item.predicted_low_ms,
        predicted_high_ms=item.predicted_high_ms,
        measured_ms=item.measured_ms,
        heard_ms=item.heard_ms,
        message=(now.message if now is not None and now.message else item.why),
        migration=item.migration,
        age_s=now.age_s if now is not None else None,
    )


def view_of(
    drain: Drain,
    bound: AtOnce,
    at: float,
    followed: Mapping[str, Followed] = MappingProxyType({}),
    *,
    notes: tuple[str, ...] = (),
    to_accept: tuple[str, ...] = (),
) -> DrainView:
    """A drain at one moment. ``bound`` is Nova's own; ``notes`` say what else it waits for."""
    most = drain.max_parallel if bound.most is None else min(drain.max_parallel, bound.most)
    return DrainView(
        id=drain.id,
        cloud=drain.cloud,
        host=drain.host,
        status=drain.status,
        why="; ".join(w for w in (drain.why, *notes) if w),
        at=at,
        started=drain.created,
        ended=drain.ended,
        at_once=most,
        at_once_why=bound.why if most != drain.max_parallel else AS_ASKED,
        counts=drain.counts,
        rows=tuple(row_of(i, followed.get(i.server)) for i in drain.items),
        to_accept=to_accept,
        enable_again=enable_command(drain),
    )


def type_words(types: tuple[str, ...]) -> str:
    """``GRID A100-20C``, ``2 × GRID A100-10C``, each once."""
    counted = {one: types.count(one) for one in dict.fromkeys(types)}
    return ", ".join(one if n == 1 else f"{n} × {one}" for one, n in counted.items())


def enable_command(drain: Drain) -> str:
    """How nova-compute is enabled again, where this drain has disabled it; "" where it has not."""
    if drain.service != "disabled":
        return ""
    return f"openstack compute service set --enable {shlex.quote(drain.host)} nova-compute"


def report_lines(drain: Drain) -> tuple[str, ...]:
    """The summary as text: what went, what did not and why, how long the guests stood still."""
    done, failed = drain.having("done"), drain.having("failed")
    skipped, left = drain.having("skipped"), [i for i in drain.items if not i.final]
    lines = [
        f"drain of {drain.host} ({drain.cloud}), begun {_time(drain.created)}"
        + (f", ended {_time(drain.ended)}" if drain.ended is not None else ""),
        f"{len(done)} moved, {len(failed)} failed, {len(skipped)} skipped, {len(left)} not begun or not ended"
        + (f" ({drain.status}{': ' + drain.why if drain.why else ''})" if drain.status != "ended" else ""),
    ]
    measured = sorted(of_one_clock(i.measured_ms, i.heard_ms) for i in done if i.measured_ms is not None)
    if measured:
        unmeasured = len(done) - len(measured)
        lines.append(
            f"downtime measured of {len(measured)}: {_ms(measured[0])} to {_ms(measured[-1])}, together "
            f"{_ms(sum(measured))}" + (f"; not measured of {unmeasured}" if unmeasured else "")
        )
    elif done:
        lines.append("downtime measured of none")
    lines += [f"  moved    {i.name} → {i.destination}  {_downtimes(i)}" for i in done]
    lines += [f"  failed   {i.name} → {i.destination}  {i.why}" for i in failed]
    lines += [f"  skipped  {i.name}  {i.why}" for i in skipped]
    lines += [f"  {i.state:<8} {i.name} → {i.destination}" + (f"  {i.why}" if i.why else "") for i in left]
    if enable_command(drain):
        lines.append(f"nova-compute of {drain.host} was disabled; to enable it again: {enable_command(drain)}")
    if left:
        lines.append(f"to go on: vgpu-console drain --resume {drain.id}")
    return tuple(lines)


def report(drain: Drain) -> dict[str, Any]:
    """The same as an object for ``-o json``."""
    return {
        "id": drain.id,
        "cloud": drain.cloud,
        "host": drain.host,
        "status": drain.status,
        "why": drain.why,
        "begun": _time(drain.created),
        "ended": _time(drain.ended) if drain.ended is not None else None,
        "max_parallel": drain.max_parallel,
        "stop_after_failures": drain.stop_after_failures,
        "accepted": list(drain.accepted),
        "counts": {state: drain.counts.get(state, 0) for state in ("done", "failed", "skipped", "running", "waiting")},
        "enable_again": enable_command(drain) or None,
        "servers": [
            {
                "id": i.server,
                "name": i.name,
                "project_id": i.project_id,
                "project": i.project,
                "types": list(i.types),
                "destination": i.destination or None,
                "state": i.state,
                "why": i.why,
                "migration": i.migration or None,
                "predicted_downtime_ms": {"low": _round(i.predicted_low_ms), "high": _round(i.predicted_high_ms)},
                "downtime_ms": _round(i.measured_ms),
                "heard_downtime_ms": _round(i.heard_ms),
                "measured_by": i.measured_by or None,
                "not_measured": i.not_measured or None,
            }
            for i in drain.items
        ],
    }


def _downtimes(item: Item) -> str:
    if item.predicted_low_ms is None or item.predicted_high_ms is None:
        predicted = "no prediction"
    else:
        predicted = f"predicted {_ms(item.predicted_low_ms)} to {_ms(item.predicted_high_ms)}"
    if item.measured_ms is None:
        return f"{predicted}, not measured{': ' + item.not_measured if item.not_measured else ''}"
    return f"{predicted}, measured {told_downtime(item.measured_ms, item.heard_ms, _ms)}"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g} s" if milliseconds < 1_000_000 else f"{milliseconds / 1000:.0f} s"


def _round(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def _time(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
