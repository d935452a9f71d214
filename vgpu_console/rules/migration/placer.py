"""Puts servers on destinations so that as many as possible find a place, each on the best host that allows that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vgpu_console.rules.migration.slots import HostSlots, Need


class Option(msgspec.Struct, frozen=True):
    """A host that could take a server: what it takes there, and how good a choice that is (small is good)."""

    host: str
    need: Need
    rank: tuple[int, int, float] = (0, 0, 0.0)


class Placer:
    """Servers with the fewest choices go first; one that finds all its hosts full makes others give way.

    ``taken`` is what comes to a host besides. The same input gives the same places.
    """

    def __init__(self, slots: Mapping[str, HostSlots], taken: Mapping[str, Sequence[Need]]) -> None:
        self._slots = slots
        self._taken: dict[str, list[Need]] = {}
        for host, needs in taken.items():
            here = self._taken.setdefault(host, [])
            for need in needs:  # one that finds no room was counted in what is free already, or came too late
                if host in slots and slots[host].fits([*here, need]):
                    here.append(need)
        self._options: Mapping[str, tuple[Option, ...]] = {}
        self._on: dict[str, list[str]] = {}
        self._at: dict[str, Option] = {}

    def place(self, options: Mapping[str, tuple[Option, ...]]) -> dict[str, Option]:
        """Server id -> its place. Who is missing found none."""
        self._options = options
        self._on = {}
        self._at = {}
        order = sorted(options, key=lambda s: (len(options[s]), -len(options[s][0].need.types), s))
        for server in order:
            self._find(server, set())
        return dict(self._at)

    def _find(self, server: str, full: set[str]) -> bool:
        """Place one server, moving others where that makes room; ``full`` are hosts that were tried on this way."""
        ways = sorted(self._options[server], key=lambda o: (o.rank, len(self._on.get(o.host, ())), o.host))
        for way in ways:
            if way.host not in full and self._fits(way):
                self._put(server, way)
                return True
        for way in ways:
            if way.host in full:
                continue
            full.add(way.host)
            for other in list(self._on.get(way.host, ())):
                was = self._take(other)
                if self._fits(way):
                    self._put(server, way)
                    if self._find(other, full):
                        return True
                    self._take(server)
                self._put(other, was)
        return False

    def _fits(self, way: Option) -> bool:
        on_it = [self._at[s].need for s in self._on.get(way.host, ())]
        return self._slots[way.host].fits([*self._taken.get(way.host, ()), *on_it, way.need])

    def _put(self, server: str, way: Option) -> None:
        self._on.setdefault(way.host, []).append(server)
        self._at[server] = way

    def _take(self, server: str) -> Option:
        was = self._at.pop(server)
        self._on[was.host].remove(server)
        return was
