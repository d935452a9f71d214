"""The plan of a drain on a fleet that has been read: asks Placement where the servers' flavors fit, as often as needed.

Servers of one flavor share their answers. Where Placement's answer for all hosts would be cut, the hosts that the plan
chose are asked for by themselves, and the plan is made again with what they said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from vgpu_console.fleet.precheck import ALL_AT_ONCE, AT_ONCE, Asker, flavor_of
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import DowntimeSettings
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.drain_words import DrainPlan, DrainPlans
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.pairs import Pairs
from vgpu_console.rules.migration.placement import drain_plan, leaving
from vgpu_console.rules.migration.slots import Need
from vgpu_console.rules.what_if import FlavorRequest, request_of

REQUESTS_AT_MOST = 60
"""So many single hosts are asked for in one plan, a request each; what is left is told as unknown."""
ROUNDS = 3
"""A host that turns out full sends its servers to others, which are asked then."""


class FlavorAnswers:
    """What Placement said for each flavor: by host, under "" for all hosts at once."""

    def __init__(self, ask: Asker, ground: Ground, servers: Iterable[str]) -> None:
        self._ask = ask
        self._ground = ground
        self._requests: dict[bytes, FlavorRequest] = {}
        self._of: dict[str, bytes] = {}
        self._told: dict[bytes, dict[str, Candidates]] = {}
        self.asked = 0
        for id in servers:
            row = ground.nova_servers.get(id)
            if row is None or row.extra_specs is None:
                continue
            request = request_of(flavor_of(ground.facts, row))
            key = msgspec.json.encode(request, order="deterministic")
            self._requests[key] = request
            self._of[id] = key
            self._told.setdefault(key, {})

    def by_server(self) -> dict[str, Mapping[str, Candidates]]:
        """What ``drain_plan`` takes: the servers of one flavor have the same answers."""
        return {id: self._told[key] for id, key in self._of.items()}

    def ask_for_all(self) -> None:
        """One request a flavor, where the answer is likely to be whole."""
        if len(self._ground.snapshot.providers) > ALL_AT_ONCE:
            return
        for key, request in self._requests.items():
            self.asked += 1
            self._told[key][""] = self._ask(request.groups, request.policy)

    def ask_for(self, pairs: Iterable[tuple[str, str]]) -> bool:
        """One request for each flavor and host among (server, host) that nothing is known of; whether there was one."""
        wanted = {
            (self._of[id], host): self._ground.roots[host]
            for id, host in pairs
            if id in self._of and host in self._ground.roots and not self._tells(self._of[id], host)
        }
        jobs = list(wanted.items())[: max(0, REQUESTS_AT_MOST - self.asked)]
        self.asked += len(jobs)
        if not jobs:
            return False

        def answer(job: tuple[tuple[bytes, str], str]) -> Candidates:
            (key, _), root = job
            request = self._requests[key]
            return self._ask(request.groups, request.policy, in_tree=root, limit=1)

        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="candidates") as pool:
            for ((key, host), _), told in zip(jobs, pool.map(answer, jobs), strict=True):
                self._told[key][host] = told
        return True

    def _tells(self, key: bytes, host: str) -> bool:
        told = self._told[key]
        if host in told:
            return True
        whole = told.get("")
        if whole is None or whole.error:
            return False
        root = self._ground.roots.get(host)
        return not whole.cut or any(whole.roots.get(u) == root for c in whole.candidates for u in c.allocations)


def plan_drain(
    ask: Asker,
    snapshot: Snapshot,
    facts: Facts,
    host: str,
    now: float,
    *,
    to: Sequence[str] | None = None,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
    only: frozenset[str] | None = None,
    taken: Mapping[str, Sequence[Need]] | None = None,
) -> DrainPlan:
    """``drain_plan`` with Placement's word for what it chooses. Blocks while Placement is asked.

    Raises UnknownHost and ValueError as ``drain_plan`` does.
    """
    pairs = Pairs(snapshot, facts, now)
    servers = [s.server for s in leaving(snapshot, facts, host, pairs) if only is None or s.server in only]
    answers = FlavorAnswers(ask, pairs.ground, servers)
    if to is not None and len(to) == 1:
        answers.ask_for((id, to[0]) for id in servers)
    else:
        answers.ask_for_all()
    for _ in range(ROUNDS):
        plan = drain_plan(
            snapshot,
            facts,
            host,
            now,
            to=to,
            answers=answers.by_server(),
            settings=settings,
            past=past,
            only=only,
            taken=taken,
        )
        if not answers.ask_for((m.server.server, m.destination) for m in plan.moves):
            break
    return plan


def plan_drains(
    ask: Asker,
    snapshot: Snapshot,
    facts: Facts,
    wanted: Mapping[str, frozenset[str] | None],
    now: float,
    *,
    to: Sequence[str] | None = None,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
    looking_at: Callable[[str], None] = lambda host: None,
) -> DrainPlans:
    """Plans for several hosts, one after the other, so that all fit together. ``wanted``: host -> servers, None: all.

    A host that is emptied is no destination for the others, unless ``to`` names it. ``looking_at`` is called with each
    host as its turn comes. Blocks. Raises UnknownHost, and ValueError when ``to`` is but the only host to be emptied.
    """
    if to is None and len(wanted) > 1:
        to = tuple(h.name for h in snapshot.hosts if h.name not in wanted)
    plans: list[DrainPlan] = []
    taken: dict[str, list[Need]] = {}
    for host, servers in wanted.items():
        looking_at(host)
        allowed = to if to is None or len(wanted) == 1 else tuple(h for h in to if h != host)
        plan = plan_drain(
            ask, snapshot, facts, host, now, to=allowed, settings=settings, past=past, only=servers, taken=taken
        )
        plans.append(plan)
        for move in plan.moves:
            taken.setdefault(move.destination, []).append(move.takes)
    named = any(servers is not None for servers in wanted.values())
    return DrainPlans(plans=tuple(plans), to=tuple(to) if to is not None else None, chosen=named)
