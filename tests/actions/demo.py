"""A console on the embedded cloud: facts as its own sources read them, joined, and the world that plans are applied to.

Nothing is mocked: requests go through the real connection, its scopes and its wall, into the embedded services.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vgpu_console.actions.cloud_world import CloudWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Check, HttpStep, Plan, Step
from vgpu_console.actions.runner import Outcome, apply
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.keystone import KeystoneSource
from vgpu_console.sources.nova import NovaSource
from vgpu_console.sources.placement import PlacementSource

NOW = 1_800_000_000.0
CATALOGUE = load_catalogue()


def still_demo() -> DemoCloud:
    """The small scenario on a clock that stands still, after its first migration has ended."""
    clock = [NOW - 300]
    cloud = open_demo("small", clock=lambda: clock[0], living=False)
    while clock[0] < NOW:
        clock[0] += 5
        cloud.advance()
    return cloud


class Console:
    """One operator's console: a credential, a connection, a journal."""

    def __init__(
        self, cloud: DemoCloud, folder: Path, *, read_only: bool = False, user: str = "admin", project: str = "admin",
        system: bool = False,
    ) -> None:  # fmt: skip
        self.cloud = cloud
        spec = cloud.spec(user=user, project=project, system=system)
        self.connection = CloudConnection(spec, read_only=read_only, http=cloud.http())
        self.world = CloudWorld(self.connection, read_only, "demo")
        self.journal = Journal(folder / "journal.jsonl", clock=lambda: NOW)
        self.facts = Facts()
        self.snapshot = Snapshot()

    def read(self) -> Console:
        """Read Keystone, Nova and Placement once."""
        keystone = KeystoneSource(self.connection).fetch(None)
        try:
            nova = NovaSource(self.connection).fetch(None)
            owners = {s.id: s.project_id for s in nova.servers or ()}
            placement = PlacementSource(self.connection, lambda: owners).fetch(None)
        except SourceError as error:
            if error.kind != "forbidden":  # a reader or a member may not be allowed to
                raise
            nova = placement = None  # type: ignore[assignment]
        kinds: tuple[Any, ...] = ("keystone", "nova", "placement")
        self.facts = Facts(
            identity=self.connection.identity(),
            keystone=keystone,
            nova=nova,
            placement=placement,
            statuses=tuple(
                SourceStatus(kind=kind, fetched_at=NOW - 3, attempted_at=NOW - 3, interval_s=30.0) for kind in kinds
            ),
        )
        self.snapshot = Joiner(CATALOGUE).join(self.facts, NOW)
        return self

    def project(self, name: str) -> str:
        """A project's id by its name."""
        return next(p.id for p in self.cloud.state.projects.values() if p.name == name)

    def apply(self, plan: Plan, *, accept: bool = True) -> Outcome:
        """Apply a plan, taking its warnings upon oneself."""
        accepted = frozenset(c.id for c in plan.needs_override) if accept else frozenset()
        return apply(plan, self.world, self.journal, accepted=accepted)

    def journaled(self) -> list[tuple[str, str | None, str]]:
        """(event, result, message) of every line of the journal."""
        return [(e.event, e.result, e.message) for e in self.journal.entries()]


def limits_in(cloud: DemoCloud, resource: str = "class:VGPU") -> dict[str, int]:
    """What the embedded Keystone holds: ``default`` and project names with their own limits."""
    state = cloud.state
    registered = [r.default_limit for r in state.registered_limits.values() if r.resource_name == resource]
    found = dict(zip(("default",), registered, strict=False))
    for limit in state.limits.values():
        if limit.resource_name == resource:
            owner = state.projects.get(limit.project_id or "")
            found[owner.name if owner else str(limit.project_id or limit.domain_id)] = limit.resource_limit
    return found


def requests(steps: Iterable[Step]) -> list[HttpStep]:
    """The steps, which must all be requests to OpenStack."""
    taken = [step for step in steps if isinstance(step, HttpStep)]
    assert taken == list(steps)
    return taken


def check(plan: Plan, id: str) -> Check:
    """One check of a plan."""
    return next(c for c in plan.checks if c.id == id)
