"""The last look at a server before it moves: is it still there, does its destination still take it, who says no."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from vgpu_console.actions.drain import Drain, Item
from vgpu_console.actions.drain_world import DrainWorld
from vgpu_console.actions.migrate import newest, plan_start
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.fleet.drain_places import plan_drain
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import Destination, DowntimeSettings
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.drain_words import DrainPlan, Leaving, Move, Stay
from vgpu_console.rules.migration.scene import UnknownHost, UnknownServer
from vgpu_console.rules.migration.slots import Need
from vgpu_console.sources.base import SourceError

OF_THE_WHOLE = frozenset({"migrate.fresh", "migrate.source-service"})
"""Checks that fail for all servers alike and may pass again by themselves: nobody is skipped for them."""

TO_ACCEPT = "needs to be accepted: "

OF_THE_MOMENT = frozenset({"migrate.server-state", "migrate.guest"})
"""Checks that may pass again by themselves: a task ends, libvirt's list of guests is a moment behind."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``wait`` concerns this server, ``all wait`` every one; ``patient``: however long that takes.

    ``elsewhere`` are other servers that were given another destination by the way.
    """

    word: Literal["start", "wait", "all wait", "skip"]
    item: Item
    why: str = ""
    plan: Plan | None = None
    patient: bool = False
    to_accept: tuple[str, ...] = ()
    elsewhere: tuple[Item, ...] = ()


class Starter:
    """Looks at servers whose turn has come, with what Nova says now. Blocks; never raises for what the world does."""

    def __init__(
        self,
        world: DrainWorld,
        settings: DowntimeSettings,
        past: Callable[[], Sequence[PastMove]],
        clock: Callable[[], float],
    ) -> None:
        self._world = world
        self._settings = settings
        self._past = past
        self._clock = clock

    def accepted(self, drain: Drain, plan: Plan) -> frozenset[str]:
        """Of what the operator accepted that which this plan needs: only this is journaled with it."""
        return frozenset(c.id for c in plan.needs_override) & frozenset(drain.accepted)

    def look(self, drain: Drain, item: Item, live: Sequence[MigrationFacts]) -> Turn:
        """Whether the server may start now. ``live`` are the cloud's live migrations, read just now."""
        try:
            row = self._world.server(item.server)
            own = self._world.migrations(item.server) if row is not None else ()
        except SourceError as error:
            return Turn(word="all wait", item=item, why=f"Nova does not answer: {error}")
        if row is None:
            return Turn(word="skip", item=item, why="the server was deleted meanwhile")
        if row.host != drain.host:
            why = f"it is on {row.host or 'no host'} now: it moved without this drain"
            return Turn(word="skip", item=item, why=why)
        moving = next((m for m in own if m.in_progress), None)
        if moving is not None:
            why = f"it migrates to {moving.destination or 'another host'} already, without this drain"
            return Turn(word="wait", item=item, why=why, patient=True)
        snapshot, facts = self._world.known()
        if facts.nova is None:
            return Turn(word="all wait", item=item, why="Nova was not read yet")
        facts = _with_now(facts, row, live)
        now = self._clock()
        taken = _unseen(drain, snapshot, live)
        try:
            if snapshot.host(item.destination) is None:
                gone = Stay(server=leaving_of(item), reason=f"{item.destination or 'its destination'} is not known")
                return self._elsewhere(drain, item, row, own, gone, (snapshot, facts, taken, now))
            found = self._plan(drain, snapshot, facts, (item.server,), (item.destination,), taken, now)
            return self._judge(drain, item, row, own, found, (snapshot, facts, taken, now))
        except (UnknownServer, UnknownHost) as unknown:
            why = f"{unknown} is not in the view yet"
            return Turn(word="wait", item=item, why=why)

    def _judge(
        self,
        drain: Drain,
        item: Item,
        row: Server,
        own: Sequence[MigrationFacts],
        found: DrainPlan,
        scene: tuple[Snapshot, Facts, Mapping[str, Sequence[Need]], float],
    ) -> Turn:
        if found.moves:
            return self._start(drain, item, row, own, found.moves[0])
        if not found.stay:
            return Turn(word="wait", item=item, why=f"the view does not have it on {drain.host} yet")
        stay = found.stay[0]
        fails = frozenset(stay.fails) or frozenset(f for r in stay.hosts for f in r.fails)
        if fails and fails <= OF_THE_WHOLE:
            return Turn(word="all wait", item=item, why=stay.reason)
        if stay.fails:
            passing = row.task_state is not None or fails == {"migrate.guest"}
            if fails <= OF_THE_MOMENT and passing:
                return Turn(word="wait", item=item, why=stay.reason)
            return Turn(word="skip", item=item, why=stay.reason)
        return self._elsewhere(drain, item, row, own, stay, scene)

    def _elsewhere(
        self,
        drain: Drain,
        item: Item,
        row: Server,
        own: Sequence[MigrationFacts],
        stay: Stay,
        scene: tuple[Snapshot, Facts, Mapping[str, Sequence[Need]], float],
    ) -> Turn:
        """Its destination takes it no more: all that wait are placed anew, together."""
        snapshot, facts, taken, now = scene
        waiting = {i.server: i for i in drain.having("waiting")} | {item.server: item}
        found = self._plan(drain, snapshot, facts, tuple(waiting), drain.to, taken, now)
        moves = {m.server.server: m for m in found.moves}
        others = tuple(
            _sent_to(other, moves[id], "")
            for id, other in waiting.items()
            if id != item.server and id in moves and moves[id].destination != other.destination
        )
        mine = moves.get(item.server)
        if mine is None:
            why = next((s.reason for s in found.stay if s.server.server == item.server), stay.reason)
            return Turn(word="skip", item=item, why=why, elsewhere=others)
        told = f"re-placed from {item.destination} to {mine.destination}: {stay.reason}"
        turn = self._start(drain, _sent_to(item, mine, told), row, own, mine)
        return msgspec.structs.replace(turn, elsewhere=others)

    def _start(self, drain: Drain, item: Item, row: Server, own: Sequence[MigrationFacts], move: Move) -> Turn:
        item = _sent_to(item, move, item.why if item.why.startswith("re-placed") else "")
        open_checks = [c for c in move.checks if c.status in ("warn", "unknown") and c.id not in drain.accepted]
        if open_checks:
            words = "; ".join(f"{c.id}: {c.evidence}" for c in open_checks)
            ids = tuple(sorted({c.id for c in open_checks}))
            silent = ids == ("migrate.allocation-candidate",)  # one host is never cut off an answer: there was none
            return Turn(word="wait", item=item, why=f"{TO_ACCEPT}{words}", to_accept=ids, patient=silent)
        chosen = Destination(
            host=move.destination, verdict=move.verdict, reason="", checks=move.checks, predicted=move.predicted
        )
        try:
            plan = plan_start(row, chosen, newest(own))
        except PlanError as error:
            return Turn(word="skip", item=item, why=str(error))
        return Turn(word="start", item=item, plan=plan)

    def _plan(
        self,
        drain: Drain,
        snapshot: Snapshot,
        facts: Facts,
        servers: Sequence[str],
        to: Sequence[str] | None,
        taken: Mapping[str, Sequence[Need]],
        now: float,
    ) -> DrainPlan:
        """The plan for some of its servers."""
        settings = self._settings
        if drain.max_downtime_ms is not None:
            settings = msgspec.structs.replace(settings, max_downtime_ms=drain.max_downtime_ms)
        return plan_drain(
            self._world.ask,
            snapshot,
            facts,
            drain.host,
            now,
            to=to,
            settings=settings,
            past=self._past(),
            only=frozenset(servers),
            taken=taken,
        )


def _sent_to(item: Item, move: Move, why: str) -> Item:
    """The item with its destination and what is predicted for that."""
    return msgspec.structs.replace(
        item,
        destination=move.destination,
        predicted_low_ms=move.predicted.low_ms,
        predicted_high_ms=move.predicted.high_ms,
        why=why,
    )


def _with_now(facts: Facts, row: Server, live: Sequence[MigrationFacts]) -> Facts:
    """The facts with this server and the migrations as Nova has just told them."""
    nova = facts.nova
    if nova is None:
        return facts
    rows = tuple(row if s.id == row.id else s for s in nova.servers or ())
    return msgspec.structs.replace(facts, nova=msgspec.structs.replace(nova, servers=rows, migrations=tuple(live)))


def _unseen(drain: Drain, snapshot: Snapshot, live: Sequence[MigrationFacts]) -> dict[str, list[Need]]:
    """What this drain has moved to each host after its libvirt was last read, and what it has just asked for.

    Those under way whose destination Nova already tells are known to the rules by themselves.
    """
    read = {s.host: s.fetched_at for s in snapshot.sources if s.kind == "libvirt"}
    held = {(d.host, d.server_id) for d in snapshot.mdevs}
    told = {m.server_id for m in live if m.in_progress and m.destination}
    found: dict[str, list[Need]] = {}
    for item in drain.having("starting", "running", "done"):
        if (item.destination, item.server) in held or (item.state != "done" and item.server in told):
            continue
        if item.state == "done" and (read.get(item.destination) or 0.0) > (item.ended_at or 0.0):
            continue
        found.setdefault(item.destination, []).append(Need(item.type_ids))
    return found


def leaving_of(item: Item) -> Leaving:
    """The server of an item in the words of a plan."""
    return Leaving(
        server=item.server,
        name=item.name,
        project_id=item.project_id,
        project=item.project,
        vgpus=item.vgpus,
        types=item.types,
        type_ids=item.type_ids,
        ram_mib=item.ram_mib,
    )
