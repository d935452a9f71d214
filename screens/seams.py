"""What the screens ask of the rest of the program: an engine that delivers snapshots and can carry out plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import World
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import Destination


class LimitTarget(NamedTuple):
    """One project's limit of one resource."""

    project_id: str
    resource: str  # "class:VGPU"


class DeviceTarget(NamedTuple):
    """What a row about a host stands for: the host, a GPU, one of its functions, or the vGPU on one.

    A vGPU without a ``uuid`` is a function with a type (vendor VFIO). ``gpu`` of a vGPU may be lost.
    """

    host: str
    kind: Literal["host", "gpu", "function", "vgpu"]
    gpu: str | None = None
    function: str | None = None
    uuid: str | None = None


@runtime_checkable
class HostChanger(Protocol):
    """A world that may hold the right to change hosts over SSH, which is one of its own."""

    @property
    def shell_changes(self) -> bool:
        """Whether the console itself may change something on hosts over SSH."""
        ...


class Mover(Protocol):
    """Live migrations: checked, planned, followed; the live one is ``actions.migration_desk.MigrationDesk``.

    ``check`` and the plans block and raise PlanError: not for the UI loop. All else returns at once.
    """

    def open(self, on_change: Callable[[], None], on_settled: Callable[[Timeline], None]) -> None:
        """Follow what is under way; both are called from foreign threads."""
        ...

    def check(self, server_id: str, destination: str | None = None) -> Precheck:
        """Every host as a destination of the server."""
        ...

    def plan_start(self, looked_at: Precheck, chosen: Destination) -> Plan:
        """The plan of what was checked, if the server is still as it was then."""
        ...

    def plan(self, action: str, timeline: Timeline) -> Plan:
        """The plan of an action on a migration."""
        ...

    def follow_start(self, plan: Plan, chosen: Destination) -> None:
        """Follow what that plan has begun."""
        ...

    def follow_migration(self, migration: str, server_id: str) -> None:
        """Follow one that Nova has."""
        ...

    def timelines(self) -> tuple[Timeline, ...]:
        """All that are followed."""
        ...

    def timeline(self, migration_or_server: str) -> Timeline | None:
        """One of them, or the last one of a server."""
        ...

    def records(self) -> Mapping[str, MigrationRecord]:
        """The history's rows by migration, as last read."""
        ...


class FleetEngine(Protocol):
    """Delivers snapshots from a thread of its own; the live one is ``fleet.engine.Engine``."""

    @property
    def paused(self) -> bool:
        """True while no source is asked."""
        ...

    @property
    def world(self) -> World | None:
        """What plans are applied to; None: this engine only watches. Its methods block: not for the UI loop."""
        ...

    @property
    def journal(self) -> Journal | None:
        """Where every change is written down; None: this engine only watches. Its methods block too."""
        ...

    @property
    def mover(self) -> Mover | None:
        """What checks and follows live migrations; None: this engine does not."""
        ...

    def facts(self) -> Facts:
        """All that is known now; plans are made of it. Does not block."""
        ...

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """Where Placement could put one such request now; a failure is told in it. Blocks: not for the UI loop."""
        ...

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Begin; returns at once. ``on_snapshot`` is called from the engine's thread."""
        ...

    def stop(self) -> None:
        """End; may take a moment."""
        ...

    def refresh_now(self) -> None:
        """Ask every source again; may block, so never call it on the UI loop."""
        ...

    def pause(self) -> None:
        """Ask no more until ``resume``."""
        ...

    def resume(self) -> None:
        """Ask again."""
        ...


@runtime_checkable
class Copier(Protocol):
    """What can put text into the operator's clipboard, and says what it did."""

    def say(self, text: str) -> None:
        """A message that goes away by itself."""

    def copy_text(self, text: str, what: str) -> None:
        """Copy a text; ``what`` names it in the toast."""
