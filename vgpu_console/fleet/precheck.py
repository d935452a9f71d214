"""The pre-checks of one live migration on a fleet that has been read: asks Placement where the server would fit.

One request tells of all hosts where there are few; Placement's answer is cut where there are many, and then the hosts
that nothing else speaks against are asked for one by one, the best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Flavor, Server
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import Destination, DowntimeSettings, destinations, host_of, look_at
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.scene import UnknownHost
from vgpu_console.rules.what_if import request_of

HOSTS_AT_MOST = 20
"""So many hosts are asked for by themselves: a request each."""
ALL_AT_ONCE = 800
"""Up to so many providers Placement is asked for all hosts at once: its answer names a thousand places at most."""
AT_ONCE = 4


class Asker(Protocol):
    """Asks Placement for allocation candidates, of one tree or of all. A failure is told in the answer."""

    def __call__(
        self,
        groups: Sequence[RequestGroup],
        policy: str | None,
        in_tree: str | None = None,
        limit: int | None = None,
    ) -> Candidates: ...


class Precheck(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server could go. ``chosen`` is the destination that was asked for, else the best that does not fail."""

    server_id: str
    server: str
    source: str
    chosen: Destination | None
    candidates: tuple[Destination, ...]  # every other host, the best first; () where only one was asked for
    notes: tuple[str, ...] = ()


def precheck(
    ask: Asker,
    snapshot: Snapshot,
    facts: Facts,
    server_id: str,
    destination: str | None,
    now: float,
    *,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
    others: bool = True,
) -> Precheck:
    """Look at one destination, and with ``others`` at every host. Blocks while Placement is asked.

    Raises UnknownServer, and UnknownHost for the destination or (with "") for a server that is on no host.
    """
    ground = Ground(snapshot, facts, now)
    source = host_of(ground, server_id)
    if not source:
        raise UnknownHost("")
    if destination is not None and destination not in ground.hosts:
        raise UnknownHost(destination)
    server = ground.nova_servers.get(server_id)
    answers = _Answers(ask, ground, server)
    if destination is not None:
        answers.ask_for([destination])
    found: tuple[Destination, ...] = ()
    if others or destination is None:
        answers.ask_for_all()
        found = destinations(
            ground, server_id, candidates=answers.all, in_tree=answers.by_host, settings=settings, past=past
        )
        wanted = [one.host for one in found if one.verdict != "fail" and not answers.tell(one.host)]
        if wanted:
            answers.ask_for(wanted[:HOSTS_AT_MOST])
            found = destinations(
                ground, server_id, candidates=answers.all, in_tree=answers.by_host, settings=settings, past=past
            )
    chosen = next((one for one in found if one.verdict != "fail" and destination is None), None)
    if destination is not None:
        chosen = next((one for one in found if one.host == destination), None) or look_at(
            ground,
            server_id,
            destination,
            candidates=answers.by_host.get(destination),
            settings=settings,
            past=past,
        )
    known = ground.servers.get(server_id) or server
    return Precheck(
        server_id=server_id,
        server=known.name if known is not None else "",
        source=source,
        chosen=chosen,
        candidates=found,
    )


class _Answers:
    """Placement's answers for one server: of all hosts, and of single ones."""

    def __init__(self, ask: Asker, ground: Ground, server: Server | None) -> None:
        self._ask = ask
        self._ground = ground
        # to ask for a part of a flavor that is not visible would find places that are none
        seen = server is not None and None not in (server.extra_specs, server.ram_mib, server.vcpus)
        self._request = request_of(flavor_of(ground.facts, server)) if server is not None and seen else None
        self.all: Candidates | None = None
        self.by_host: dict[str, Candidates] = {}

    def ask_for_all(self) -> None:
        """One request for all hosts, where its answer is likely to be whole."""
        if self._request is not None and len(self._ground.snapshot.providers) <= ALL_AT_ONCE:
            self.all = self._ask(self._request.groups, self._request.policy)

    def ask_for(self, hosts: Sequence[str]) -> None:
        """One request for each of the hosts that have not been asked for."""
        if self._request is None:
            return
        groups, policy = self._request.groups, self._request.policy
        roots = {h: self._ground.roots[h] for h in hosts if h in self._ground.roots and h not in self.by_host}
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="candidates") as pool:
            answers = pool.map(lambda root: self._ask(groups, policy, in_tree=root, limit=1), roots.values())
            self.by_host.update(zip(roots, answers, strict=True))

    def tell(self, host: str) -> bool:
        """Whether what was answered says something of the host."""
        if host in self.by_host:
            return True
        if self.all is None:
            return False
        root = self._ground.roots.get(host)
        return not self.all.cut or any(
            self.all.roots.get(u) == root for c in self.all.candidates for u in c.allocations
        )


def flavor_of(facts: Facts, server: Server) -> Flavor:
    """The flavor as the server keeps it, which may have been changed or deleted since.

    It does not tell the disk: what the server holds in Placement does, for one that boots from a volume holds none.
    """
    held = [
        a.resources
        for p in (facts.placement.providers if facts.placement is not None else ())
        for a in p.allocations or ()
        if a.consumer_id == server.id
    ]
    disk: int | None = sum(one.get("DISK_GB", 0) for one in held) if any("VCPU" in one for one in held) else None
    if disk is None:
        flavors = facts.nova.flavors if facts.nova is not None else None
        disk = next((f.disk_gib for f in flavors or () if f.name == server.flavor), None)
    return Flavor(
        id="",
        name=server.flavor or "",
        ram_mib=server.ram_mib,
        vcpus=server.vcpus,
        disk_gib=disk,
        extra_specs=server.extra_specs,
    )
