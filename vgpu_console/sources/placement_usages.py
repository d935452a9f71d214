"""What projects use, by Placement: ``GET /usages`` of each that holds something, and whom a consumer counts for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from vgpu_console.model.placement import Allocation
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError
from vgpu_console.sources.parallel import for_each
from vgpu_console.sources.placement_records import read_usage
from vgpu_console.sources.tolerant import optional_ident
from vgpu_console.text import plain

STRANGERS_AT_MOST = 200  # consumers that Nova does not know whose project is looked up in one fetch


class ProjectUsages:
    """Usages by project, asked again only where what the project holds has changed.

    ``microversion`` is spoken for both paths; ``discover`` says whether Placement's own newest bounds it. ``strangers``
    are the consumers that Nova does not know, with their project ("" where none is told); ``unmet`` says that some are
    still to be looked up.
    """

    def __init__(self, connection: CloudConnection, microversion: str, *, discover: bool = True) -> None:
        self._connection = connection
        self._microversion = microversion
        self._discover = discover
        self._usages: dict[str, dict[str, int]] = {}
        self._held: dict[str, frozenset[tuple[str, str, int]]] = {}  # project -> what its usages were read for
        self.strangers: dict[str, str] = {}
        self.unmet = False

    def read(
        self, holders: Iterable[tuple[str, Allocation]], known: Mapping[str, str], notes: list[str]
    ) -> dict[str, dict[str, int]]:
        """What the projects that hold vGPU classes use of them. A project that holds none is absent: it uses none.

        ``holders`` are (where, what) of all allocations, ``known`` the projects of what Nova knows. Raises SourceError.
        """
        listed = list(holders)
        self._meet_strangers({a.consumer_id for _, a in listed if not known.get(a.consumer_id)}, notes)
        held: dict[str, set[tuple[str, str, int]]] = defaultdict(set)
        for where, allocation in listed:
            project = known.get(allocation.consumer_id) or self.strangers.get(allocation.consumer_id)
            if project:
                for resource_class, amount in allocation.resources.items():
                    held[project].add((f"{where} {allocation.consumer_id}", resource_class, amount))
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
        self.strangers = {c: p for c, p in self.strangers.items() if c in strangers}
        new = sorted(strangers - self.strangers.keys())
        asked = new[:STRANGERS_AT_MOST]
        self.strangers.update(for_each(asked, self._read_consumer))
        self.unmet = len(new) > len(asked)
        if self.unmet:
            notes.append(f"allocations: of {len(new) - len(asked)} consumers the project is not known yet")

    def _read_consumer(self, consumer: str) -> str:
        path = f"/allocations/{quote(consumer, safe='')}"
        return optional_ident(self._get(path, None, (400, 404)) or {}, "project_id") or ""

    def _read_usage(self, project: str) -> dict[str, int] | None:
        body = self._get("/usages", {"project_id": project}, (400, 403, 404))
        return None if body is None else read_usage(body)

    def _get(self, path: str, params: dict[str, Any] | None, none_at: tuple[int, ...]) -> dict[str, Any] | None:
        """An answer; None at the statuses that say that there is none to have."""
        try:
            return self._connection.get(
                "placement", path, params=params, microversion=self._microversion, discover=self._discover
            )
        except HttpStatusError as exc:
            if exc.status in none_at:
                return None
            raise
