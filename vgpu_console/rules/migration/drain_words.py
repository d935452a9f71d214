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


class DrainPlans(msgspec.Struct, frozen=True, kw_only=True):
    """The plans of several hosts that are emptied together, each made with what the ones before it take.

    ``to``: the destinations that were allowed, the same for all; None: any. ``chosen``: of named servers only.
    """

    plans: tuple[DrainPlan, ...]
    to: tuple[str, ...] | None = None
    chosen: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that servers leave."""
        return tuple(p.host for p in self.plans)

    @property
    def moves(self) -> tuple[tuple[str, Move], ...]:
        """Every move with the host it leaves, host after host, each in its order."""
        return tuple((p.host, m) for p in self.plans for m in p.moves)

    @property
    def stay(self) -> tuple[tuple[str, Stay], ...]:
        """Every server that cannot go, with its host."""
        return tuple((p.host, s) for p in self.plans for s in p.stay)

    @property
    def to_accept(self) -> dict[str, int]:
        """Ids of warnings and unknowns -> of how many moves."""
        found: Counter[str] = Counter()
        for plan in self.plans:
            found.update(plan.to_accept)
        return dict(sorted(found.items()))

    @property
    def excluded(self) -> tuple[Rejection, ...]:
        """Hosts that take nothing in any of the plans, with the reason of the first."""
        out = [{r.host: r for r in p.excluded} for p in self.plans]
        return tuple(r for host, r in out[0].items() if all(host in one for one in out[1:])) if out else ()

    @property
    def at_once(self) -> AtOnce:
        """The greatest bound of the hosts: more at a time would only wait in Nova's queue on every one of them."""
        bounds = [p.at_once for p in self.plans] or [AtOnce(1, "no host is left")]
        if any(b.most is None for b in bounds):
            return next(b for b in bounds if b.most is None)
        return max(bounds, key=lambda b: b.most or 0)

    @property
    def totals(self) -> Totals:
        """The sums of all plans."""
        each = [p.totals for p in self.plans]
        verdicts: Counter[str] = Counter()
        for one in each:
            verdicts.update(one.verdicts)
        return Totals(
            servers=sum(t.servers for t in each),
            with_vgpus=sum(t.with_vgpus for t in each),
            without_vgpus=sum(t.without_vgpus for t in each),
            go=sum(t.go for t in each),
            stay=sum(t.stay for t in each),
            verdicts=dict(sorted(verdicts.items())),
            predicted_low_ms=sum(t.predicted_low_ms for t in each),
            predicted_high_ms=sum(t.predicted_high_ms for t in each),
            unpredicted=sum(t.unpredicted for t in each),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plans do not know or leave out, each once."""
        told = [n for p in self.plans for n in p.notes]
        if len(self.plans) > 1 and self.to is not None and not set(self.to) & set(self.hosts):
            told.append(f"{', '.join(self.hosts)} take no servers from one another; name destinations to allow it")
        return tuple(dict.fromkeys(told))
