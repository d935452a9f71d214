"""Placement for the quota view alone: who uses what, in as few requests as can tell it, whatever the cloud's size.

The whole reading (:mod:`placement`) lists who holds each device, one request per device in use. Here a tree is taken
as a whole. ``GET /allocation_candidates`` tells what is used of all trees in one answer, and Nova's servers and
migrations tell what should be: where both agree, for each class of a tree, every amount has found its holder and
nothing is asked. Where they do not (something leaked, or was given by hand, or by a request that is in no flavor), the
devices of that tree are read one by one.

What cannot be seen that way: a server at rest that holds nothing while, in the same tree and of the same class, just as
much leaked. The whole reading compares each consumer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from vgpu_console.model.placement import Allocation, Holder, PlacementFacts, ResourceProvider
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError, counting
from vgpu_console.sources.parallel import for_each
from vgpu_console.sources.placement_records import (
    is_vgpu_class,
    read_allocations,
    read_consumer,
    read_inventories,
    read_providers,
    read_summary,
)
from vgpu_console.sources.placement_usages import ProjectUsages
from vgpu_console.sources.tolerant import amounts, mapping

SPOKEN = "1.36"
"""Every Placement that is still supported speaks it (Train), so that its version document need not be read."""

_CANNOT = (400, 404, 500)  # statuses of a Placement that has no such answer, or not for so many


class _Tree(NamedTuple):
    """A provider tree with what is used of it, by class; None: not told."""

    providers: list[ResourceProvider]
    used: dict[str, int] | None


class PlacementUse:
    """Reads who uses what through one connection. ``requests`` and ``notes`` describe the last fetch.

    ``expected`` gives, by consumer id, what Nova lets expect; empty where Nova does not show all servers, and then
    every device in use is read.
    """

    kind: SourceKind = "placement"
    host = ""

    def __init__(self, connection: CloudConnection, expected: Callable[[], Mapping[str, Holder]]) -> None:
        self._connection = connection
        self._expected = expected
        self._projects = ProjectUsages(connection, SPOKEN, discover=False)
        self.requests = 0
        self.notes: tuple[str, ...] = ()

    def close(self) -> None:
        """Nothing of its own: the connection is the caller's."""

    def fetch(self, previous: PlacementFacts | None) -> PlacementFacts:
        """One reading, always of all; usages that cannot have changed are not asked for again. Raises SourceError."""
        notes: list[str] = []
        with counting() as tally:
            try:
                facts = self._fetch(notes)
            finally:
                self.requests = tally.count
        self.notes = tuple(notes)
        return facts

    def _fetch(self, notes: list[str]) -> PlacementFacts:
        expected = self._expected()
        known = {consumer: holder.project_id for consumer, holder in expected.items()}
        providers = {p.uuid: p for p in self._list(notes)}
        summaries = self._summaries(providers.values())
        trees = _trees(providers.values(), summaries)
        for uuid, summary in summaries.items():
            if uuid in providers:
                found = read_summary(summary)
                providers[uuid] = msgspec.structs.replace(
                    providers[uuid], inventories=found.inventories, traits=found.traits
                )
        due = self._due(expected, providers)
        by_tree: dict[str, tuple[Allocation, ...]] = {}
        unlike: list[str] = []
        for root, tree in trees.items():
            holders = due.get(root, {})
            if tree.used is not None and tree.used == _sum(holders.values()):
                if holders:
                    by_tree[root] = tuple(Allocation(c, held) for c, held in sorted(holders.items()))
            else:
                unlike += [p.uuid for p in tree.providers if _may_be_held(summaries.get(p.uuid))]
        providers |= self._read_devices(unlike, providers, summaries, notes)
        held = [(root, a) for root, allocations in by_tree.items() for a in allocations]
        held += [(p.uuid, a) for p in providers.values() for a in p.allocations or ()]
        usages = self._projects.read(held, known, notes)
        strangers = {a.consumer_id for _, a in held if a.consumer_id not in known} if known else set()
        return PlacementFacts(
            providers=tuple(providers.values()),
            usages=usages,
            strangers={c: self._projects.strangers.get(c, "") for c in sorted(strangers)},
            by_tree=by_tree,
        )

    # -- what should be held -----------------------------------------------------------------------------------------

    def _due(
        self, expected: Mapping[str, Holder], providers: Mapping[str, ResourceProvider]
    ) -> dict[str, dict[str, dict[str, int]]]:
        """Root -> consumer -> what it holds of that tree: as Nova says, or as Placement does where Nova cannot say."""
        roots = {p.name: p.uuid for p in providers.values() if p.parent_uuid is None}
        out: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
        for consumer, holder in expected.items():
            if holder.resources and holder.node in roots:
                out[roots[holder.node]][consumer] = dict(holder.resources)
        asked = self._read_consumers([consumer for consumer, holder in expected.items() if holder.resources is None])
        for consumer, held in asked.items():
            for uuid, resources in held.items():
                root = providers[uuid].root_uuid if uuid in providers else uuid
                mine = out[root].setdefault(consumer, {})
                for resource_class, amount in resources.items():
                    mine[resource_class] = mine.get(resource_class, 0) + amount
        return out

    def _read_consumers(self, consumers: list[str]) -> dict[str, dict[str, dict[str, int]]]:
        """Consumer -> provider -> what it holds of it; Placement answers for one that it does not know, too."""

        def read(consumer: str) -> dict[str, dict[str, int]]:
            return read_consumer(self._get(f"/allocations/{quote(consumer, safe='')}"))

        return for_each(consumers, read)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._connection.get("placement", path, params=params, microversion=SPOKEN, discover=False)

    def _list(self, notes: list[str]) -> list[ResourceProvider]:
        answer = self._connection.answer("placement", "/resource_providers", microversion=SPOKEN, discover=False)
        return read_providers(answer, {}, notes)

    def _summaries(self, providers: Iterable[ResourceProvider]) -> dict[str, dict[str, Any]]:
        """What is used of each provider, of every tree whose host has a free mebibyte of memory.

        A Placement that cannot answer for all trees at once, or not in time, is asked for one after the other.
        """
        try:
            return self._candidates(None)
        except SourceError as exc:
            refused = isinstance(exc, HttpStatusError) and exc.status in _CANNOT
            if not refused and exc.kind != "timeout":
                raise
        parts = for_each({p.root_uuid for p in providers if p.parent_uuid is not None}, self._candidates_of_tree)
        return {uuid: one for part in parts.values() for uuid, one in part.items()}

    def _candidates_of_tree(self, root: str) -> dict[str, dict[str, Any]] | None:
        try:
            return self._candidates(root)
        except HttpStatusError as exc:
            if exc.status in _CANNOT:  # each of its providers is read by itself then
                return None
            raise

    def _candidates(self, root: str | None) -> dict[str, dict[str, Any]]:
        params = {"resources": "MEMORY_MB:1", **({"in_tree": root} if root else {})}
        found = mapping(self._get("/allocation_candidates", params), "provider_summaries")
        return {uuid: one for uuid, one in found.items() if isinstance(one, dict)}

    def _read_devices(
        self,
        uuids: list[str],
        providers: Mapping[str, ResourceProvider],
        summaries: Mapping[str, Any],
        notes: list[str],
    ) -> dict[str, ResourceProvider]:
        """These providers with who holds them, and with their inventories where no summary told those."""

        def read(uuid: str) -> ResourceProvider | None:
            path = f"/resource_providers/{quote(uuid, safe='')}"
            one = providers[uuid]
            try:
                if uuid not in summaries:
                    one = msgspec.structs.replace(one, inventories=read_inventories(self._get(f"{path}/inventories")))
                if uuid not in summaries and not one.inventories:
                    return one  # without an inventory nobody can hold it
                return msgspec.structs.replace(one, allocations=read_allocations(self._get(f"{path}/allocations")))
            except HttpStatusError as exc:
                if exc.status == 404:
                    return None
                raise

        found = for_each(uuids, read)
        if len(found) < len(uuids):
            notes.append(f"providers: {len(uuids) - len(found)} vanished while they were read")
        return found


def _trees(providers: Any, summaries: Mapping[str, dict[str, Any]]) -> dict[str, _Tree]:
    """The trees, each with what is used of it where every provider's summary says so."""
    members: dict[str, list[ResourceProvider]] = defaultdict(list)
    for provider in providers:
        members[provider.root_uuid].append(provider)
    out: dict[str, _Tree] = {}
    for root, tree in members.items():
        parts = [_used(summaries.get(p.uuid)) for p in tree]
        told = [part for part in parts if part is not None]
        out[root] = _Tree(tree, _sum(told) if len(told) == len(parts) else None)
    return out


def _used(summary: dict[str, Any] | None) -> dict[str, int] | None:
    """What is used of the vGPU classes of a provider; None where the summary does not say."""
    if summary is None or not isinstance(summary.get("resources"), dict):
        return None
    resources = mapping(summary, "resources")
    out: dict[str, int] = {}
    for resource_class in resources:
        if is_vgpu_class(resource_class):
            used = amounts(resources, resource_class).get("used")
            if used is None:
                return None
            out[resource_class] = used
    return out


def _may_be_held(summary: dict[str, Any] | None) -> bool:
    used = _used(summary)
    return used is None or any(used.values())


def _sum(parts: Any) -> dict[str, int]:
    """Amounts added up by class; a class of which there is none is left out."""
    out: dict[str, int] = defaultdict(int)
    for part in parts:
        for resource_class, amount in part.items():
            out[resource_class] += amount
    return {resource_class: amount for resource_class, amount in out.items() if amount}
