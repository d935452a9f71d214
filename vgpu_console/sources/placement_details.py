"""What is inside resource providers, kept and read again only where something happened.

Placement has no bulk read of details, but its summaries for ``GET /allocation_candidates`` hold class, capacity, use
and traits of every provider of a tree: one request per tree (one for all trees of a small cloud) instead of three per
provider. They cover trees whose host has a free mebibyte of memory; for the others each provider is read by itself.
Only the classes that can be vGPUs are kept: VGPU and CUSTOM_* (nova.conf's ``mdev_class``, and PCI devices).
A summary tells capacity, (total - reserved) x ratio. Nova writes reserved 0 and ratio 1.0 for mediated devices
(virt/libvirt/driver.py), so for these it is the total; an inventory without capacity is read by itself.

Three things say that a provider must be read again. Its ``generation`` moved: inventories, traits, or an allocation
made on it. A consumer that Nova no longer knows still holds it: ``DELETE /allocations`` moves no generation (placement
objects/allocation.py delete_all). A consumer of it was seen to change on another provider: replacing a consumer's
allocations moves the generation of the new providers only. What none of the three shows (an operator's own DELETE of a
living server's allocations) a sweep finds later, at one request per refresh.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from vgpu_console.model.placement import Allocation, Inventory, ResourceProvider
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError
from vgpu_console.sources.parallel import for_each
from vgpu_console.sources.placement_records import (
    Summary,
    read_allocations,
    read_inventories,
    read_summary,
    read_traits,
)
from vgpu_console.sources.tolerant import mapping

WANTED = "1.39"
ALL_AT_ONCE = 2000  # providers up to which one request asks for the summaries of all trees
PORTION = 64  # trees read before what was read is kept
PLAIN_EVERY = 20  # refreshes between two reads of changed trees that hold no vGPU class
SWEEP_EVERY = 5  # refreshes between two sweeps of a small cloud; a large one has a tree swept at each


class Details(NamedTuple):
    """What was read of a provider as it was at ``generation``."""

    generation: int
    inventories: tuple[Inventory, ...]
    allocations: tuple[Allocation, ...]
    traits: tuple[str, ...] | None

    @property
    def held(self) -> int:
        """The sum of what consumers hold."""
        return sum(sum(a.resources.values()) for a in self.allocations)


class ProviderDetails:
    """The details of all providers. Kept through failures, so that a long first read goes on where it stopped."""

    def __init__(self, connection: CloudConnection) -> None:
        self._connection = connection
        self._details: dict[str, Details] = {}
        self._leaked: set[tuple[str, str]] = set()  # (provider, consumer) read again, and still there
        self._swept: dict[str, int] = {}  # root -> the refresh it was swept at
        self._refresh = 0

    def update(
        self, listed: list[ResourceProvider], consumers: Mapping[str, str], first: bool, notes: list[str]
    ) -> None:
        """Bring everything up to date with a list of providers. ``consumers`` are those that Nova knows.

        Raises SourceError.
        """
        self._refresh = 0 if first else self._refresh + 1
        trees: dict[str, list[ResourceProvider]] = defaultdict(list)
        for provider in listed:
            trees[provider.root_uuid].append(provider)
        present = {p.uuid for p in listed}
        self._details = {uuid: d for uuid, d in self._details.items() if uuid in present}
        self._swept = {root: at for root, at in self._swept.items() if root in trees}
        before = dict(self._details)
        read = self._read_moved(trees, len(listed), notes)
        self._read_again(self._follow(before, read), read)
        self._read_again(self._departed(consumers, read), read)
        if not first:
            self._sweep(trees, len(listed), read)

    def complete(self, provider: ResourceProvider) -> ResourceProvider:
        """``provider`` with its details; without them where they could not be read."""
        details = self._details.get(provider.uuid)
        if details is None:
            return provider
        if (
            provider.inventories is details.inventories
            and provider.allocations is details.allocations
            and provider.traits is details.traits
        ):
            return provider
        return msgspec.structs.replace(
            provider,
            inventories=details.inventories,
            allocations=details.allocations,
            traits=details.traits,
        )

    # -- what moved --------------------------------------------------------------------------------------------------

    def _read_moved(self, trees: dict[str, list[ResourceProvider]], providers: int, notes: list[str]) -> set[str]:
        """Read the providers that are new or whose generation moved; returns which."""
        todo: dict[str, list[ResourceProvider]] = {}
        for root, tree in trees.items():
            moved = [p for p in tree if self._moved(p)]
            if moved and (self._refresh % PLAIN_EVERY == 0 or self._may_hold_vgpus(tree)):
                todo[root] = moved
        bulk = providers <= ALL_AT_ONCE and len(todo) > 1 and len(todo) * 2 > len(trees)
        summaries = self._read_candidates(None) if bulk else None
        roots = list(todo)
        for start in range(0, len(roots), PORTION):
            self._read_portion([todo[root] for root in roots[start : start + PORTION]], summaries, notes)
        return {p.uuid for moved in todo.values() for p in moved}

    def _read_portion(
        self, trees: list[list[ResourceProvider]], summaries: dict[str, Summary] | None, notes: list[str]
    ) -> None:
        """Read what moved in some trees and keep it. ``summaries`` are given when one request asked for all trees."""
        if summaries is None:
            summaries = {}
            # a lone provider is read by itself, which costs little more and tells the inventory as it is
            for found in for_each([t[0].root_uuid for t in trees if len(t) > 1], self._read_candidates).values():
                summaries.update(found)
        read = {uuid: summary for uuid, summary in summaries.items() if summary.exact}
        moved = [provider for tree in trees for provider in tree]
        read |= for_each([p.uuid for p in moved if p.uuid not in read], self._read_alone)
        holding = [p.uuid for p in moved if p.uuid in read and read[p.uuid].used != 0]
        allocations = for_each(holding, self._read_allocations)
        gone = 0
        for provider in moved:
            summary = read.get(provider.uuid)
            held = () if summary is not None and summary.used == 0 else allocations.get(provider.uuid)
            if summary is None or held is None:
                gone += 1
                self._details.pop(provider.uuid, None)
            else:
                self._details[provider.uuid] = Details(provider.generation, summary.inventories, held, summary.traits)
        if gone:
            notes.append(f"providers: {gone} vanished while they were read")

    def _moved(self, provider: ResourceProvider) -> bool:
        known = self._details.get(provider.uuid)
        return known is None or known.generation != provider.generation or provider.generation < 0

    def _may_hold_vgpus(self, tree: list[ResourceProvider]) -> bool:
        """False for a host that had no vGPU class: its root moves with every server, and that is nothing to us."""
        known = [self._details.get(p.uuid) for p in tree]
        return any(d is None or d.inventories or d.allocations for d in known)

    # -- what changed without a generation ---------------------------------------------------------------------------

    def _follow(self, before: Mapping[str, Details], read: set[str]) -> set[str]:
        """The other providers of each consumer that was or is on a provider just read again."""
        changed: set[str] = set()
        for uuid in read:
            if uuid in before:  # a provider that is new to us tells of no change
                for details in (before[uuid], self._details.get(uuid)):
                    changed |= {a.consumer_id for a in details.allocations} if details else set()
        if not changed:
            return set()
        return {
            uuid
            for uuid, details in self._details.items()
            if uuid not in read and any(a.consumer_id in changed for a in details.allocations)
        }

    def _departed(self, consumers: Mapping[str, str], read: set[str]) -> set[str]:
        """The providers held by consumers that Nova does not know, unless that was looked into already."""
        if not consumers:  # Nova has not answered: its silence says nothing
            return set()
        now = {
            (uuid, allocation.consumer_id)
            for uuid, details in self._details.items()
            for allocation in details.allocations
            if allocation.consumer_id not in consumers
        }
        suspects = now - self._leaked
        self._leaked = now
        return {uuid for uuid, _consumer in suspects if uuid not in read}

    def _read_again(self, uuids: Iterable[str], read: set[str]) -> None:
        """Read the allocations of some providers again."""
        wanted = list(uuids)
        allocations = for_each(wanted, self._read_allocations)
        for uuid in wanted:
            read.add(uuid)
            if uuid in allocations:
                self._details[uuid] = self._details[uuid]._replace(allocations=allocations[uuid])

    def _sweep(self, trees: dict[str, list[ResourceProvider]], providers: int, read: set[str]) -> None:
        """Compare what is held with what Placement says is used, a part of the cloud at a time."""
        if providers <= ALL_AT_ONCE:
            if self._refresh % SWEEP_EVERY or not any(d.inventories for d in self._details.values()):
                return
            summaries = self._read_candidates(None)
        else:
            offering = [root for root, tree in trees.items() if any(self._offers(provider.uuid) for provider in tree)]
            if not offering:
                return
            root = min(offering, key=lambda r: self._swept.get(r, -1))
            self._swept[root] = self._refresh
            summaries = self._read_candidates(root)
        different = [
            uuid
            for uuid, summary in summaries.items()
            if uuid in self._details and uuid not in read and summary.used not in (None, self._details[uuid].held)
        ]
        self._read_again(different, read)

    def _offers(self, uuid: str) -> bool:
        details = self._details.get(uuid)
        return details is not None and bool(details.inventories)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._connection.get("placement", path, params=params, microversion=WANTED)

    def _read_candidates(self, root: str | None) -> dict[str, Summary]:
        """The summaries of one tree, or of all; empty for trees that are not covered. Raises SourceError."""
        params = {"resources": "MEMORY_MB:1", **({"in_tree": root} if root else {})}
        try:
            body = self._get("/allocation_candidates", params)
        except HttpStatusError as exc:
            if exc.status in (400, 404, 500):  # the tree is gone, or this Placement cannot answer that: one by one then
                return {}
            raise
        summaries = mapping(body, "provider_summaries")
        return {uuid: read_summary(one) for uuid, one in summaries.items() if isinstance(one, dict)}

    def _read_alone(self, uuid: str) -> Summary | None:
        """Inventories and traits of one provider; None when it is gone. Raises SourceError."""
        try:
            offered = read_inventories(self._get(_path(uuid, "inventories")))
            traits = read_traits(self._get(_path(uuid, "traits")))
        except HttpStatusError as exc:
            if exc.status == 404:
                return None
            raise
        return Summary(offered, None if offered else 0, traits, True)  # without an inventory nobody can hold it

    def _read_allocations(self, uuid: str) -> tuple[Allocation, ...] | None:
        """Who holds vGPU classes of one provider; None when it is gone. Raises SourceError."""
        try:
            return read_allocations(self._get(_path(uuid, "allocations")))
        except HttpStatusError as exc:
            if exc.status == 404:
                return None
            raise


def _path(uuid: str, what: str) -> str:
    return f"/resource_providers/{quote(uuid, safe='')}/{what}"
