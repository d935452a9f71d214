"""The words of a drain's plan: who leaves a host, where each would go, who cannot and why."""

from __future__ import annotations

from collections import Counter

import msgspec

from vgpu_console.model.check import Check
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.precheck import Verdict
from vgpu_console.rules.migration.slots import Need


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """One server of the host. ``vgpus`` 0: it has none, and nothing of GPUs is looked at."""

    server: str  # id
    name: str
    project_id: str
    project: str
    vgpus: int
    types: tuple[str, ...] = ()  # names, ids where a name is not known; one for each device it holds
    type_ids: tuple[str, ...] = ()
    ram_mib: int | None = None
    status: str | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A server with the destination chosen for it. ``choices``: so many hosts could take it, before the others came."""

    server: Leaving
    destination: str
    verdict: Verdict
    checks: tuple[Check, ...]
    predicted: Downtime
    choices: int = 1
    takes: Need = Need()


class Rejection(msgspec.Struct, frozen=True):
    """Why a host is no destination. ``fails`` are the ids of the checks that say so; () where there is no room."""

    host: str
    reason: str
    fails: tuple[str, ...] = ()


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """A server that cannot go, with the reason, and what speaks against each host where that is the reason."""

    server: Leaving
    reason: str
    hosts: tuple[Rejection, ...] = ()
    fails: tuple[str, ...] = ()  # ids of the checks that keep it where it is, whatever the destination
    migrating: bool = False  # it is on its way already, without this plan


class AtOnce(msgspec.Struct, frozen=True):
    """How many live migrations Nova runs from a host at once; None: no bound. More only wait in Nova's queue."""

    most: int | None
    why: str


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The drain in figures. The downtimes are sums over the moves that have a prediction."""

    servers: int
    with_vgpus: int
    without_vgpus: int
    go: int
    stay: int
    verdicts: dict[str, int]
    predicted_low_ms: float
    predicted_high_ms: float
    unpredicted: int


class DrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it: ``moves`` in the order of the shortest predicted downtime, those without a prediction last."""

    host: str
    moves: tuple[Move, ...]
    stay: tuple[Stay, ...]
    excluded: tuple[Rejection, ...]  # hosts that no server of it can go to
    at_once: AtOnce
    totals: Totals
    notes: tuple[str, ...] = ()  # what the plan does not know

    @property
    def to_accept(self) -> dict[str, int]:
        """Ids of warnings and unknowns -> of how many moves; an operator must accept each id."""
        found = Counter(c.id for m in self.moves for c in m.checks if c.status in ("warn", "unknown"))
        return dict(sorted(found.items()))
