"""What the screens ask of the rest of the program: an engine that delivers snapshots and can carry out plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import World
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.migration_trace import ServerAction
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.candidates import Destination

if TYPE_CHECKING:
    from vgpu_console.actions.drain import DrainOptions
    from vgpu_console.actions.drain_desk import KnownDrain
    from vgpu_console.recording.format import Begun
    from vgpu_console.recording.replay import Position
    from vgpu_console.rules.migration.drain_words import DrainPlans


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


class Drainer(Protocol):
    """Drains of hosts: planned, begun, found again; the live one is ``actions.drain_desk.DrainDesk``.

    ``drains`` and ``drain`` return at once, ``open`` too; all else blocks: not for the UI loop.
    """

    def open(
        self,
        on_change: Callable[[], None],
        on_over: Callable[[KnownDrain], None],
        on_left: Callable[[tuple[KnownDrain, ...]], None],
    ) -> None:
        """Look for drains that were left; all three are called from foreign threads."""
        ...

    def read_left(self) -> None:
        """Look for them again."""
        ...

    def drains(self) -> tuple[KnownDrain, ...]:
        """Those that run here, those that were left, those that ended here."""
        ...

    def drain(self, id: str) -> KnownDrain | None:
        """One of them."""
        ...

    def plan(
        self,
        wanted: Mapping[str, frozenset[str] | None],
        to: Sequence[str] | None = None,
        *,
        tell: Callable[[str], None] = ...,
        cancelled: Callable[[], bool] = ...,
    ) -> DrainPlans:
        """Where servers would go; ``wanted``: host -> servers, None: all. Raises PlanError."""
        ...

    def begin(self, plans: DrainPlans, options: DrainOptions) -> tuple[str, ...]:
        """Begin what was planned; the ids of the drains. Raises PlanError."""
        ...

    def resume(self, id: str, *, failed_too: bool = False) -> None:
        """Take up a drain that was left. Raises PlanError."""
        ...

    def pause(self, id: str) -> None:
        """Start no more for now."""
        ...

    def go_on(self, id: str) -> None:
        """Start again."""
        ...

    def stop(self, id: str) -> None:
        """Start no more at all."""
        ...

    def accept(self, id: str, checks: Sequence[str]) -> None:
        """Take these checks' warnings upon oneself."""
        ...

    def plan_enable(self, host: str) -> Plan:
        """The plan that lets the scheduler use a host again. Raises PlanError."""
        ...

    def close(self) -> None:
        """Start no more; another console may take up what is left."""
        ...


@runtime_checkable
class DrainingEngine(Protocol):
    """An engine that may be able to drain hosts."""

    @property
    def drainer(self) -> Drainer | None:
        """What drains them; None: this engine does not."""
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
class ActionTeller(Protocol):
    """An engine that may read what a server's newest boot or move said of itself."""

    @property
    def last_action(self) -> Callable[[str], ServerAction | None] | None:
        """By the server's id; blocks: not for the UI loop. None: this engine does not."""
        ...


class Transport(FleetEngine, Protocol):
    """An engine that shows a recording; the real one is ``recording.replay.Replay``. Every method returns at once."""

    @property
    def position(self) -> Position:
        """Where it is now."""
        ...

    def now(self) -> float:
        """The recorded time, seconds since the epoch: the console's clock."""
        ...

    def marks(self, cells: int) -> Sequence[Begun | None]:
        """What began where, for a line of so many cells."""
        ...

    def toggle(self) -> None:
        """Play, or pause."""
        ...

    def step(self, frames: int) -> None:
        """So many frames on or back, and pause there."""
        ...

    def skip(self, seconds: float) -> None:
        """So many seconds on or back."""
        ...

    def seek(self, time: float) -> None:
        """To a recorded time."""
        ...

    def to_mark(self, direction: int) -> bool:
        """To the next frame (-1: the one before) in which something began; False when there is none."""
        ...

    def change_speed(self, steps: int) -> float:
        """Faster or slower by so many steps; the new speed."""
        ...


@runtime_checkable
class Copier(Protocol):
    """What can put text into the operator's clipboard, and says what it did."""

    def say(self, text: str) -> None:
        """A message that goes away by itself."""

    def copy_text(self, text: str, what: str) -> None:
        """Copy a text; ``what`` names it in the toast."""
