"""Placement: provider trees with their inventories, allocations and traits, and what projects use.

A refresh lists all providers in one request; :mod:`placement_details` tells which of them are then looked into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from vgpu_console.model.placement import Candidates, PlacementFacts, RequestGroup, ResourceProvider
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError, counting
from vgpu_console.sources.parallel import for_each
from vgpu_console.sources.placement_details import WANTED, ProviderDetails
from vgpu_console.sources.placement_records import read_candidates, read_providers, read_usage
from vgpu_console.sources.tolerant import optional_ident
from vgpu_console.text import plain

USAGES_WANTED = "1.37"
"""The last with plain ``{class: amount}`` usages; later ones group by consumer type, which Nova does not set."""

STRANGERS_AT_MOST = 200  # consumers that Nova does not know whose project is looked up in one fetch

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
        self._usages: dict[str, dict[str, int]] = {}
        self._held: dict[str, frozenset[tuple[str, str, int]]] = {}  # project -> what its usages were read for
        self._unmet = False  # some consumers' projects are still to be looked up
        self._strangers: dict[str, str] = {}  # consumers that Nova does not know -> project ("" where none is told)
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
        if previous is not None and previous.providers is providers and not self._unmet:
            usages = previous.usages
        else:
            usages = self._read_usages(providers, known, notes)
        newest = self._connection.max_microversion("placement")
        return PlacementFacts(
            providers=providers,
            usages=usages,
            max_microversion=newest,
            strangers=self._lasting_strangers(providers, known, previous),
        )

    def candidates(
        self, groups: Sequence[RequestGroup], *, policy: str | None = None, in_tree: str | None = None
    ) -> Candidates:
        """Where Placement could put one request now: ``GET /allocation_candidates``. Raises SourceError.

        ``policy`` is the flavor's ``group_policy``; ``in_tree`` confines it to the tree of a provider.
        """
        params: dict[str, Any] = {"limit": CANDIDATES_AT_MOST}
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
        return read_candidates(body, CANDIDATES_AT_MOST)

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
        found = {consumer: self._strangers.get(consumer, "") for consumer in sorted(lasting)}
        return previous.strangers if previous is not None and previous.strangers == found else found

    # -- usages ------------------------------------------------------------------------------------------------------

    def _read_usages(
        self, providers: tuple[ResourceProvider, ...], known: Mapping[str, str], notes: list[str]
    ) -> dict[str, dict[str, int]]:
        """What the projects that hold vGPU classes use of them, asked again only where what they hold has changed.

        A project that holds none is absent: it uses none.
        """
        holders = [(provider.uuid, allocation) for provider in providers for allocation in provider.allocations or ()]
        self._meet_strangers({a.consumer_id for _, a in holders if not known.get(a.consumer_id)}, notes)
        held: dict[str, set[tuple[str, str, int]]] = defaultdict(set)
        for uuid, allocation in holders:
            project = known.get(allocation.consumer_id) or self._strangers.get(allocation.consumer_id)
            if project:
                for resource_class, amount in allocation.resources.items():
                    held[project].add((f"{uuid} {allocation.consumer_id}", resource_class, amount))
        now = {project: frozenset(what) for project, what in held.items()}
        changed = [project for project, what in now.items() if self._held.get(project) != what]
        read = for_each(changed, self._read_usage)
        for project in changed:
            if project in read:
                self._usages[project] = read[project]
            else:
                self._usages.pop(project, None)
                notes.append(f"usages: those of project {plain(project, 64)} could not be read")
        self._held = now
        self._usages = {project: usage for project, usage in self._usages.items() if project in now}
        return dict(self._usages)

    def _meet_strangers(self, strangers: set[str], notes: list[str]) -> None:
        """Ask Placement for the project of consumers that Nova does not know, each once."""
        self._strangers = {c: p for c, p in self._strangers.items() if c in strangers}
        new = sorted(strangers - self._strangers.keys())
        asked = new[:STRANGERS_AT_MOST]
        self._strangers.update(for_each(asked, self._read_consumer))
        self._unmet = len(new) > len(asked)
        if self._unmet:
            notes.append(f"allocations: of {len(new) - len(asked)} consumers the project is not known yet")

    def _read_consumer(self, consumer: str) -> str:
        path = f"/allocations/{quote(consumer, safe='')}"
        try:
            return optional_ident(self._connection.get("placement", path, microversion=WANTED), "project_id") or ""
        except HttpStatusError as exc:
            if exc.status in (400, 404):
                return ""
            raise

    def _read_usage(self, project: str) -> dict[str, int] | None:
        params = {"project_id": project}
        try:
            body = self._connection.get("placement", "/usages", params=params, microversion=USAGES_WANTED)
        except HttpStatusError as exc:
            if exc.status in (400, 403, 404):
                return None
            raise
        return read_usage(body)
