"""A drain as a value: every server of a host with where it goes and how far it is. The next console can take it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from vgpu_console.rules.migration.drain_words import DrainPlan, Leaving, Move, Stay

VERSION = 1
"""Raised when a field of the written drain changes its meaning or goes away."""

ItemState = Literal["waiting", "checking", "starting", "running", "done", "failed", "skipped"]
DrainStatus = Literal["running", "paused", "stopped", "ended"]
ServiceState = Literal["", "wanted", "disabled", "was disabled"]
"""Of the host's nova-compute: left alone; to be disabled first; disabled by this drain; so before it."""

FINAL: frozenset[ItemState] = frozenset({"done", "failed", "skipped"})
UNDER_WAY: frozenset[ItemState] = frozenset({"starting", "running"})


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One server of the drain. Times are seconds since the epoch; None is what is not known.

    ``before`` is the number of the server's newest migration when its start was asked for (0: none): a newer one is the
    drain's own, which is how a console that comes later can tell whether a start was obeyed. ``why`` says why it
    failed, was skipped, or what it waits for.
    """

    server: str  # id
    name: str
    project_id: str = ""
    project: str = ""
    vgpus: int = 0
    types: tuple[str, ...] = ()
    type_ids: tuple[str, ...] = ()
    ram_mib: int | None = None
    destination: str = ""
    predicted_low_ms: float | None = None
    predicted_high_ms: float | None = None
    state: ItemState = "waiting"
    why: str = ""
    before: int | None = None
    migration: str = ""  # Nova's uuid of it
    number: int | None = None  # and its id
    asked_at: float | None = None
    ended_at: float | None = None
    end: str = ""  # "completed", "failed" …
    measured_ms: float | None = None
    heard_ms: float | None = None  # by one clock, where libvirt counts over two
    measured_by: str = ""
    not_measured: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more is done about it."""
        return self.state in FINAL


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, as it is written. ``items`` keep the order in which they are started.

    ``accepted`` are ids of checks whose warning or unknown the operator took upon themselves; no other is passed over.
    ``forgiven`` failures do not count any more: they were there when somebody resumed. ``chosen``: of some servers that
    somebody named, not of all that are on the host.
    """

    version: int = VERSION
    id: str
    cloud: str
    host: str
    created: float
    by: str = ""
    to: tuple[str, ...] | None = None
    max_parallel: int = 1
    stop_after_failures: int | None = None
    accepted: tuple[str, ...] = ()
    max_downtime_ms: float | None = None
    service: ServiceState = ""
    reason: str = ""  # told to Nova when nova-compute is disabled; "": that it is this drain
    status: DrainStatus = "running"
    why: str = ""
    ended: float | None = None
    forgiven: int = 0
    chosen: bool = False
    items: tuple[Item, ...] = ()

    def item(self, server: str) -> Item:
        """The item of a server. Raises KeyError."""
        for one in self.items:
            if one.server == server:
                return one
        raise KeyError(server)

    def having(self, *states: ItemState) -> tuple[Item, ...]:
        """The items in any of these states, in order."""
        return tuple(i for i in self.items if i.state in states)

    def with_item(self, item: Item) -> Drain:
        """The same with one item replaced."""
        return msgspec.structs.replace(self, items=tuple(item if i.server == item.server else i for i in self.items))

    @property
    def failures(self) -> int:
        """Those that count against ``stop_after_failures``."""
        return len(self.having("failed")) - self.forgiven

    @property
    def too_many_failures(self) -> bool:
        """Whether no more may be started."""
        return self.stop_after_failures is not None and self.failures >= self.stop_after_failures

    @property
    def counts(self) -> dict[ItemState, int]:
        """How many items are in each state that occurs."""
        return dict(Counter(i.state for i in self.items))

    @property
    def unfinished(self) -> bool:
        """Whether there is something to take up: items that are not final."""
        return any(not i.final for i in self.items)


class DrainOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asked for. ``stop_after_failures`` None: go on whatever fails."""

    to: tuple[str, ...] | None = None
    max_parallel: int = 1
    stop_after_failures: int | None = 1
    accepted: frozenset[str] = frozenset()
    max_downtime_ms: float | None = None
    disable: bool = False
    reason: str = ""
    chosen: bool = False


def new_drain(plan: DrainPlan, options: DrainOptions, *, id: str, cloud: str, now: float, by: str = "") -> Drain:
    """The drain of a plan: its moves wait in their order, those that cannot go are skipped with their reasons.

    Raises ValueError for numbers below 1.
    """
    if options.max_parallel < 1:
        raise ValueError("at least one migration must be allowed at a time")
    if options.stop_after_failures is not None and options.stop_after_failures < 1:
        raise ValueError("the number of failures to stop after must be at least 1")
    return Drain(
        id=id,
        cloud=cloud,
        host=plan.host,
        created=now,
        by=by,
        to=options.to,
        max_parallel=options.max_parallel,
        stop_after_failures=options.stop_after_failures,
        accepted=tuple(sorted(options.accepted)),
        max_downtime_ms=options.max_downtime_ms,
        service="wanted" if options.disable else "",
        reason=options.reason,
        chosen=options.chosen,
        items=(*(_moving(m) for m in plan.moves), *(_staying(s) for s in plan.stay)),
    )


def taken_up(drain: Drain) -> Drain:
    """The drain as the next console takes it up: what a killed one was looking at waits again, failures are forgiven.

    What was starting stays so until Nova has said what became of it: nothing is started twice.
    """
    items = tuple(msgspec.structs.replace(i, state="waiting") if i.state == "checking" else i for i in drain.items)
    return msgspec.structs.replace(
        drain, items=items, status="running", why="", ended=None, forgiven=len(drain.having("failed"))
    )


def tried_again(drain: Drain, servers: Iterable[str]) -> Drain:
    """With these failed or skipped servers waiting again."""
    wanted = frozenset(servers)
    items = tuple(
        Item(
            server=i.server,
            name=i.name,
            project_id=i.project_id,
            project=i.project,
            vgpus=i.vgpus,
            types=i.types,
            type_ids=i.type_ids,
            ram_mib=i.ram_mib,
            destination=i.destination,
            predicted_low_ms=i.predicted_low_ms,
            predicted_high_ms=i.predicted_high_ms,
        )
        if i.server in wanted and i.state in ("failed", "skipped")
        else i
        for i in drain.items
    )
    again = msgspec.structs.replace(drain, items=items, status="running", why="", ended=None)
    return msgspec.structs.replace(again, forgiven=len(again.having("failed")))


def _moving(move: Move) -> Item:
    return msgspec.structs.replace(
        _item(move.server),
        destination=move.destination,
        predicted_low_ms=move.predicted.low_ms,
        predicted_high_ms=move.predicted.high_ms,
    )


def _staying(stay: Stay) -> Item:
    return msgspec.structs.replace(_item(stay.server), state="skipped", why=stay.reason)


def _item(server: Leaving) -> Item:
    return Item(
        server=server.server,
        name=server.name,
        project_id=server.project_id,
        project=server.project,
        vgpus=server.vgpus,
        types=server.types,
        type_ids=server.type_ids,
        ram_mib=server.ram_mib,
    )
