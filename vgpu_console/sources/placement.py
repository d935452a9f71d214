"""Placement: provider trees with their inventories, allocations and traits, and what projects use.

A refresh lists all providers in one request; :mod:`placement_details` tells which of them are then looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vgpu_console.model.placement import Candidates, PlacementFacts, RequestGroup, ResourceProvider
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.cloud import CloudConnection, counting
from vgpu_console.sources.placement_details import WANTED, ProviderDetails
from vgpu_console.sources.placement_records import read_candidates, read_providers
from vgpu_console.sources.placement_usages import ProjectUsages

USAGES_WANTED = "1.37"
"""The last with plain ``{class: amount}`` usages; later ones group by consumer type, which Nova does not set."""

CANDIDATES_AT_MOST = 1000  # what Nova's scheduler asks for ([scheduler] max_placement_results)


class PlacementSource:
    """Reads Placement through one connection. ``requests`` and ``notes`` describe the last fetch.

    ``project_of`` gives, by consumer id, the projects of what Nova knows now: servers, and live migrations by their
    uuid while they run. A consumer that is not, or no more, among them is looked into.
    """

    kind: SourceKind = "placement"
    host = ""

    def __init__(self, connection: CloudConnection, project_of: Callable[[], Mapping[str, str]]) -> None:
        self._connection = connection
        self._project_of = project_of
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._details = ProviderDetails(connection)
        self._projects = ProjectUsages(connection, USAGES_WANTED)
        self._before: frozenset[str] = frozenset()  # the strangers of the reading before

    def close(self) -> None:
        """Nothing of its own: the connection is the caller's."""

    def fetch(self, previous: PlacementFacts | None) -> PlacementFacts:
        """One reading; what nothing happened to since the last is not read again. Raises SourceError."""
        notes: list[str] = []
        with counting() as tally:
            try:
                facts = self._fetch(previous, notes)
            finally:
                self.requests = tally.count
        self.notes = tuple(notes)
        return facts

    def _fetch(self, previous: PlacementFacts | None, notes: list[str]) -> PlacementFacts:
        known = self._project_of()
        # listed before the details are read: what moves in between is seen, by its generation, the next time
        listed = read_providers(
            self._connection.answer("placement", "/resource_providers", microversion=WANTED),
            {p.uuid: p for p in previous.providers} if previous is not None else {},
            notes,
        )
        self._details.update(listed, known, previous is None, notes)
        providers = tuple(self._details.complete(provider) for provider in listed)
        if previous is not None and previous.providers == providers:
            providers = previous.providers
        if previous is not None and previous.providers is providers and not self._projects.unmet:
            usages = previous.usages
        else:
            holders = ((p.uuid, allocation) for p in providers for allocation in p.allocations or ())
            usages = self._projects.read(holders, known, notes)
        newest = self._connection.max_microversion("placement")
        return PlacementFacts(
            providers=providers,
            usages=usages,
            max_microversion=newest,
            strangers=self._lasting_strangers(providers, known, previous),
        )

    def candidates(
        self,
        groups: Sequence[RequestGroup],
        *,
        policy: str | None = None,
        in_tree: str | None = None,
        limit: int = CANDIDATES_AT_MOST,
    ) -> Candidates:
        """Where Placement could put one request now: ``GET /allocation_candidates``. Raises SourceError.

        ``policy`` is the flavor's ``group_policy``; ``in_tree`` confines it to the tree of a provider, ``limit`` to so
        many ways.
        """
        params: dict[str, Any] = {"limit": limit}
        if policy:
            params["group_policy"] = policy
        for group in groups:
            params[f"resources{group.suffix}"] = ",".join(f"{c}:{n}" for c, n in sorted(group.resources.items()))
            traits = [*group.required, *(f"!{trait}" for trait in group.forbidden)]
            if traits:
                params[f"required{group.suffix}"] = ",".join(traits)
            if in_tree:
                params[f"in_tree{group.suffix}"] = in_tree
        body = self._connection.get("placement", "/allocation_candidates", params=params, microversion=WANTED)
        return read_candidates(body, limit)

    def _lasting_strangers(
        self, providers: tuple[ResourceProvider, ...], known: Mapping[str, str], previous: PlacementFacts | None
    ) -> dict[str, str]:
        """The strangers of this reading that were so at the one before: at once, a new server is one too."""
        if not known:  # Nova has not answered: its silence says nothing
            self._before = frozenset()
            return {}
        now = {a.consumer_id for p in providers for a in p.allocations or () if a.consumer_id not in known}
        lasting = now if previous is None else now & self._before
        self._before = frozenset(now)
        found = {consumer: self._projects.strangers.get(consumer, "") for consumer in sorted(lasting)}
        return previous.strangers if previous is not None and previous.strangers == found else found
