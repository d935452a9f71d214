"""Emptying a host: where each of its servers would go so that all fit together, in which order, and who cannot go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vgpu_console.model.check import Check
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import Host, Snapshot
from vgpu_console.rules.migration.candidates import Destination, DowntimeSettings
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.drain_words import AtOnce, DrainPlan, Leaving, Move, Rejection, Stay, Totals
from vgpu_console.rules.migration.pairs import OF_THE_SERVER, Pairs
from vgpu_console.rules.migration.placer import Option, Placer
from vgpu_console.rules.migration.precheck import ORDER
from vgpu_console.rules.migration.scene import UnknownHost
from vgpu_console.rules.migration.slots import HostSlots, Need, gpu_slots, root_of

DEFAULT_AT_ONCE = 1
"""[compute] max_concurrent_live_migrations, nova: conf/compute.py."""


def drain_plan(
    snapshot: Snapshot,
    facts: Facts,
    host: str,
    now: float,
    *,
    to: Sequence[str] | None = None,
    answers: Mapping[str, Mapping[str, Candidates]] | None = None,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
    only: frozenset[str] | None = None,
    taken: Mapping[str, Sequence[Need]] | None = None,
) -> DrainPlan:
    """Choose destinations for every server of ``host``, or for those in ``only``; the same facts give the same plan.

    ``to`` are the destinations that are allowed; None: all. ``answers`` are Placement's by server id and host, "" for
    all hosts; they also tell the room in CPU, memory and disk. ``taken`` is what the snapshot does not show yet as
    taken, by host. Raises UnknownHost for a host that the snapshot does not have, ValueError when ``host`` itself is
    among ``to``.
    """
    own = snapshot.host(host)
    if own is None:
        raise UnknownHost(host)
    if to is not None and host in to:
        raise ValueError(f"{host} is the host that is to be emptied: it cannot be a destination")
    known = {h.name: h for h in snapshot.hosts}
    for name in to or ():
        if name not in known:
            raise UnknownHost(name)
    pairs = Pairs(snapshot, facts, now, answers=answers, settings=settings, past=past)
    servers = leaving(snapshot, facts, host, pairs)
    if only is not None:
        servers = tuple(s for s in servers if s.server in only)
    targets = tuple(sorted(h for h in known if h != host and (to is None or h in to)))
    moves, stay, excluded = _placed(pairs, servers, targets, _coming(pairs, taken or {}))
    return DrainPlan(
        host=host,
        moves=tuple(sorted(moves, key=_order)),
        stay=tuple(sorted(stay, key=lambda s: (s.server.name, s.server.server))),
        excluded=excluded,
        at_once=at_once(own),
        totals=_totals(servers, moves, stay),
        notes=_notes(facts, answers),
    )


def leaving(snapshot: Snapshot, facts: Facts, host: str, pairs: Pairs | None = None) -> tuple[Leaving, ...]:
    """Every server of a host, as far as this credential sees them: those with vGPUs, and Nova's others."""
    pairs = pairs or Pairs(snapshot, facts, snapshot.taken_at)
    out = []
    for server in snapshot.servers:
        if server.host != host:
            continue
        held = pairs.devices(server.id)
        out.append(
            Leaving(
                server=server.id,
                name=server.name,
                project_id=server.project_id,
                project=server.project,
                vgpus=len(held) or server.vgpus or 0,
                types=tuple(d.type_name or d.type_id for d in held),
                type_ids=tuple(d.type_id for d in held),
                ram_mib=server.ram_mib,
                status=server.status,
            )
        )
    names = {q.project_id: q.project for q in snapshot.quotas}
    out += [
        Leaving(
            server=row.id,
            name=row.name,
            project_id=row.project_id,
            project=names.get(row.project_id, row.project_id),
            vgpus=0,
            ram_mib=row.ram_mib,
            status=row.status,
        )
        for row in pairs.rows.values()
        if row.host == host and row.id not in pairs.servers
    ]
    return tuple(sorted(out, key=lambda s: (s.name, s.server)))


def at_once(host: Host) -> AtOnce:
    """Nova's own bound for migrations that leave the host ([compute] or [DEFAULT] max_concurrent_live_migrations)."""
    name = "max_concurrent_live_migrations"
    conf = host.nova_conf
    if conf is None:
        return AtOnce(DEFAULT_AT_ONCE, f"nova.conf of {host.name} is not readable: Nova's default is taken")
    told = conf.get(f"compute.{name}", conf.get(f"DEFAULT.{name}"))
    if told is None or not told.strip().isdigit():
        return AtOnce(DEFAULT_AT_ONCE, f"Nova's default ({name})")
    most = int(told)
    return AtOnce(most or None, f"{name} = {most} in nova.conf of {host.name}")


def _placed(
    pairs: Pairs, servers: Sequence[Leaving], targets: Sequence[str], taken: Mapping[str, Sequence[Need]]
) -> tuple[list[Move], list[Stay], tuple[Rejection, ...]]:
    stay: list[Stay] = []
    options: dict[str, tuple[Option, ...]] = {}
    rejected: dict[str, tuple[Rejection, ...]] = {}
    by_id = {s.server: s for s in servers}
    slots = _Slots(pairs, servers, {t for needs in taken.values() for need in needs for t in need.types})
    for server in servers:
        found, against = _options(pairs, slots, server, targets)
        rejected[server.server] = against
        own = _own_fails(pairs, server, found, targets)
        if own:
            moving = server.status == "MIGRATING"
            stay.append(Stay(server=server, reason=_reason(own), fails=_fails(own), migrating=moving))
        elif not found:
            stay.append(Stay(server=server, reason=_no_host(against, targets), hosts=against))
        else:
            options[server.server] = found
    placer = Placer({h: slots.of(h) for h in targets}, taken)
    moves: list[Move] = []
    left = dict(options)
    while left:  # a destination that turns out wrong for one server of many alike is taken off its list, and once more
        chosen = placer.place(left)
        wrong = False
        for id, option in chosen.items():
            exact = pairs.look(id, option.host)
            if exact.verdict == "fail":
                refusal = Rejection(option.host, _reason(exact.checks), _fails(exact.checks))
                rejected[id] = tuple(sorted((*rejected[id], refusal), key=lambda r: r.host))
                left[id] = tuple(o for o in left[id] if o.host != option.host)
                if not left[id]:
                    del left[id]
                    stay.append(Stay(server=by_id[id], reason=_no_host(rejected[id], targets), hosts=rejected[id]))
                wrong = True
        if wrong:
            continue
        for id, option in chosen.items():
            moves.append(_move(by_id[id], pairs.look(id, option.host), len(options[id]), option.need))
        for id in left.keys() - chosen.keys():
            hosts = ", ".join(o.host for o in left[id][:3])
            more = f" and {len(left[id]) - 3} more" if len(left[id]) > 3 else ""
            reason = f"no room is left on {hosts}{more} once the others are there"
            stay.append(Stay(server=by_id[id], reason=reason, hosts=rejected[id]))
        break
    return moves, stay, _excluded(servers, targets, rejected)


def _coming(pairs: Pairs, taken: Mapping[str, Sequence[Need]]) -> dict[str, list[Need]]:
    """What comes to each host besides: what the caller knows, and servers under way that neither side shows yet.

    nova-compute keeps their places in its memory some seconds before libvirt or Placement tell of them.
    """
    found = {host: list(needs) for host, needs in taken.items()}
    for migration in pairs.ground.migrations or ():
        host, id = migration.destination, migration.server_id
        if host is None or id not in pairs.servers or pairs.host_of(id) == host:
            continue
        held = sum(d.server_id == id for d in pairs.ground.devices.get(host, ()))
        given = sum(
            sum(a.resources.values())
            for p in pairs.ground.providers.get(host, {}).values()
            if p.parent_uuid is not None
            for a in p.allocations or ()
            if a.consumer_id == id
        )
        types = tuple(d.type_id for d in pairs.devices(id))[max(held, given) :]
        if types:
            found.setdefault(host, []).append(Need(types))
    return found


class _Slots:
    """The room on each destination, for the types of the servers that leave and of what comes there besides."""

    def __init__(self, pairs: Pairs, servers: Sequence[Leaving], coming: set[str]) -> None:
        self._pairs = pairs
        self._servers = servers
        self._types = sorted({t for s in servers for t in s.type_ids} | coming)
        self._known: dict[str, tuple[HostSlots, bool]] = {}

    def of(self, host: str) -> HostSlots:
        """What is there, as far as it is known."""
        return self._look(host)[0]

    def counted(self, host: str) -> bool:
        """Whether what is free on its GPUs is known."""
        return self._look(host)[1]

    def _look(self, host: str) -> tuple[HostSlots, bool]:
        if host not in self._known:
            gpus = gpu_slots(self._pairs.scene(self._servers[0].server, host), self._types) if self._servers else ()
            root: dict[str, int] = {}
            asked = {id(a): a for s in self._servers if (a := self._pairs.candidates(s.server, host)) is not None}
            for answer in asked.values():
                for name, left in root_of(answer, self._pairs.root(host))[0].items():
                    root[name] = min(left, root.get(name, left))
            self._known[host] = HostSlots(gpus=gpus or (), root=root), gpus is not None
        return self._known[host]


def _options(
    pairs: Pairs, slots: _Slots, server: Leaving, targets: Sequence[str]
) -> tuple[tuple[Option, ...], tuple[Rejection, ...]]:
    """The hosts it could go to, the best first, and what speaks against the others."""
    found: list[tuple[tuple[int, int, float], Option]] = []
    against: list[Rejection] = []
    for host in targets:
        looked = pairs.look_alike(server.server, host)
        checks = tuple(c for c in looked.checks if c.id not in OF_THE_SERVER)
        if any(c.status == "fail" for c in checks):
            against.append(Rejection(host, _reason(checks), _fails(checks)))
        elif server.vgpus and not (slots.counted(host) and server.type_ids):
            against.append(Rejection(host, _unknown_room(looked, host), ("migrate.free-slot",)))
        else:
            _, takes = root_of(pairs.candidates(server.server, host), pairs.root(host))
            need = Need(server.type_ids, tuple(sorted(takes.items())))
            found.append((_rank(looked, checks), Option(host, need, _rank(looked, checks))))
    return tuple(o for _, o in sorted(found, key=lambda f: (f[0], f[1].host))), tuple(against)


def _rank(looked: Destination, checks: Sequence[Check]) -> tuple[int, int, float]:
    """The worst word, how many doubts, how long the pause: of those checks that differ between destinations."""
    word = max((ORDER["pass"] - ORDER[c.status] for c in checks), default=0)
    high = looked.predicted.high_ms
    return word, sum(c.status != "pass" for c in checks), float("inf") if high is None else high


def _own_fails(pairs: Pairs, server: Leaving, found: Sequence[Option], targets: Sequence[str]) -> tuple[Check, ...]:
    """What keeps the server where it is, whatever the destination."""
    host = found[0].host if found else targets[0] if targets else ""
    if not host:
        return ()
    return tuple(c for c in pairs.look(server.server, host).checks if c.id in OF_THE_SERVER and c.status == "fail")


def _reason(checks: Sequence[Check]) -> str:
    return next((c.evidence for c in checks if c.status == "fail"), "")


def _fails(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(c.id for c in checks if c.status == "fail")


def _unknown_room(looked: Destination, host: str) -> str:
    doubt = next((c for c in looked.checks if c.id == "migrate.free-slot" and c.status != "pass"), None)
    return doubt.evidence if doubt is not None else f"what is free on {host} is not known"


def _no_host(against: Sequence[Rejection], targets: Sequence[str]) -> str:
    if not targets:
        return "there is no other host"
    if len(against) == 1:
        return f"{against[0].host}: {against[0].reason}"
    told = Counter(r.reason for r in against)
    reason, count = told.most_common(1)[0]
    most = f", mostly: {reason}" if count * 2 > len(against) and count < len(against) else ""
    return (
        f"all {len(against)} hosts: {reason}" if len(told) == 1 else f"none of {len(against)} hosts can take it{most}"
    )


def _move(server: Leaving, looked: Destination, choices: int, need: Need) -> Move:
    return Move(
        server=server,
        destination=looked.host,
        verdict=looked.verdict,
        checks=looked.checks,
        predicted=looked.predicted,
        choices=choices,
        takes=need,
    )


def _order(move: Move) -> tuple[float, float, str, str]:
    low, high = move.predicted.low_ms, move.predicted.high_ms
    end = float("inf")
    return end if high is None else high, end if low is None else low, move.server.name, move.server.server


def _excluded(
    servers: Sequence[Leaving], targets: Sequence[str], rejected: Mapping[str, tuple[Rejection, ...]]
) -> tuple[Rejection, ...]:
    """Hosts that every server rejects, with the reason that most of them have."""
    out = []
    for host in targets:
        told = Counter(r for s in servers for r in rejected.get(s.server, ()) if r.host == host)
        if servers and told.total() >= len(servers):
            out.append(min(told.items(), key=lambda c: (-c[1], c[0].reason))[0])
    return tuple(out)


def _totals(servers: Sequence[Leaving], moves: Sequence[Move], stay: Sequence[Stay]) -> Totals:
    known = [m.predicted for m in moves if m.predicted.known]
    return Totals(
        servers=len(servers),
        with_vgpus=sum(s.vgpus > 0 for s in servers),
        without_vgpus=sum(s.vgpus == 0 for s in servers),
        go=len(moves),
        stay=len(stay),
        verdicts=dict(sorted(Counter(m.verdict for m in moves).items())),
        predicted_low_ms=sum(p.low_ms or 0.0 for p in known),
        predicted_high_ms=sum(p.high_ms or 0.0 for p in known),
        unpredicted=len(moves) - len(known),
    )


def _notes(facts: Facts, answers: Mapping[str, Mapping[str, Candidates]] | None) -> tuple[str, ...]:
    notes = []
    nova = facts.nova
    if nova is None or nova.servers is None:
        notes.append("Nova's list of servers could not be read: servers without vGPUs are not in this plan")
    elif not nova.all_projects:
        notes.append("this credential sees its own project's servers only: others may stay on the host")
    if not any((answers or {}).values()):
        notes.append("Placement was not asked: room in CPU, memory and disk is not looked at")
    return tuple(notes)
