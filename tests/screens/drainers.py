"""Drains for the screens: plans by the real rules over a fleet that stands still, and drains as given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.actions.drain_console import HOST, NOW, DrainConsole, Moment, build
from tests.screens.fleets import IDENTITY, StillEngine
from vgpu_console.actions.drain import Drain, DrainOptions, Item
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.actions.drain_report import Followed, view_of
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.fleet.drain_places import plan_drains
from vgpu_console.rules.migration.drain_words import AtOnce, DrainPlans
from vgpu_console.simulator import DemoCloud

NOVA_SAYS = AtOnce(2, f"max_concurrent_live_migrations = 2 in nova.conf of {HOST}")


class StillDrainer:
    """Plans what is known by the real rules when it may; begins nothing, and has the drains that it is given."""

    def __init__(self, operator: DrainConsole, *drains: KnownDrain) -> None:
        self.operator = operator
        self.known = drains
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.begun: list[tuple[DrainPlans, DrainOptions]] = []
        self.asked: list[str] = []
        self.refusal = ""
        self.left: Callable[[tuple[KnownDrain, ...]], None] = lambda drains: None

    def open(
        self,
        on_change: Callable[[], None],
        on_over: Callable[[KnownDrain], None],
        on_left: Callable[[tuple[KnownDrain, ...]], None],
    ) -> None:
        """Remember whom to tell of drains that were left."""
        self.left = on_left

    def read_left(self) -> None:
        """Nothing is on a disk."""
        self.asked.append("read left")

    def drains(self) -> tuple[KnownDrain, ...]:
        """What was given."""
        return self.known

    def drain(self, id: str) -> KnownDrain | None:
        """One of them."""
        return next((one for one in self.known if one.drain.id == id), None)

    def plan(
        self,
        wanted: Mapping[str, frozenset[str] | None],
        to: Sequence[str] | None = None,
        *,
        tell: Callable[[str], None] = lambda words: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> DrainPlans:
        """By the real rules."""
        tell(f"{next(iter(wanted))}: 2 answers of Placement")
        self.may_answer.wait(10)
        if cancelled():
            self.asked.append("cancelled")
            raise PlanError("cancelled")
        if self.refusal:
            raise PlanError(self.refusal)
        return plan_drains(self.operator.fleet.candidates, *self.operator.seen, wanted, NOW, to=to)

    def begin(self, plans: DrainPlans, options: DrainOptions) -> tuple[str, ...]:
        """Remember it; nothing is begun."""
        self.begun.append((plans, options))
        raise PlanError("a drain of gpu-a is run by another console: process 4711 on jump-1")

    def resume(self, id: str, *, failed_too: bool = False) -> None:
        """Remember it; nothing goes on."""
        self.asked.append(f"resume {id}{' failed too' if failed_too else ''}")
        raise PlanError("the state folder is on a disk that is full")

    def pause(self, id: str) -> None:
        """Remember it."""
        self.asked.append(f"pause {id}")

    def go_on(self, id: str) -> None:
        """Remember it."""
        self.asked.append(f"go on {id}")

    def stop(self, id: str) -> None:
        """Remember it."""
        self.asked.append(f"stop {id}")

    def accept(self, id: str, checks: Sequence[str]) -> None:
        """Remember it."""
        self.asked.append(f"accept {id} {' '.join(checks)}")

    def plan_enable(self, host: str) -> Plan:
        """There is no Nova behind it."""
        raise PlanError("nova: no such service")

    def close(self) -> None:
        """Nothing runs."""


class DrainingStill(StillEngine):
    """An engine that shows a fleet and has that drainer."""

    def __init__(self, drainer: StillDrainer) -> None:
        seen = drainer.operator.seen[0]
        well = tuple(msgspec.structs.replace(host, findings=()) for host in seen.hosts)  # diagnoses are others' tests
        shown = {"identity": IDENTITY, "hosts": well, "findings": (), "quota_findings": (), "unlooked": ()}
        super().__init__(msgspec.structs.replace(seen, **shown))
        self.drainer = drainer


class AbleEngine(DrainingStill):
    """The same with a world and a journal, so that changes are possible."""

    def __init__(self, drainer: StillDrainer) -> None:
        super().__init__(drainer)
        self.world = drainer.operator.fleet.world()
        self.journal = drainer.operator.journal


def fleet(folder: Path) -> DrainConsole:
    """The fleet of the drain's own tests: five servers on ``gpu-a``, one of them in no state to move."""
    moment = Moment()
    cloud = DemoCloud(clock=moment)
    build(cloud)
    next(s for s in cloud.state.servers.values() if s.name == "train-2").status = "ERROR"
    cloud.advance()
    return DrainConsole(cloud, moment, folder)


def item(name: str, **fields: object) -> Item:
    """A server of a drain, with predictions."""
    known: dict[str, object] = {
        "server": f"id-of-{name}",
        "name": name,
        "project": "ml-research",
        "vgpus": 1,
        "types": ("GRID A100-20C",),
        "destination": "gpu-b",
        "predicted_low_ms": 20_000.0,
        "predicted_high_ms": 34_000.0,
    }
    return Item(**{**known, **fields})  # type: ignore[arg-type]


def drain(*items: Item, **fields: object) -> Drain:
    """A drain of ``gpu-a`` that began four minutes ago."""
    known: dict[str, object] = {
        "id": "20270115T075600-1a2b3c",
        "cloud": "demo",
        "host": HOST,
        "created": NOW - 251.0,
        "by": "operator",
        "max_parallel": 2,
        "stop_after_failures": 2,
        "items": items,
    }
    return Drain(**{**known, **fields})  # type: ignore[arg-type]


def known(one: Drain, followed: Mapping[str, Followed] | None = None, **fields: object) -> KnownDrain:
    """A drain as the desk knows it. ``fields``: here, holder, and of the view notes and to_accept."""
    view_fields = {k: fields.pop(k) for k in ("notes", "to_accept") if k in fields}
    view = view_of(one, NOVA_SAYS, NOW, followed or {}, **view_fields)  # type: ignore[arg-type]
    return KnownDrain(drain=one, view=view, **fields)  # type: ignore[arg-type]


MOVED = item(
    "note-1",
    state="done",
    migration="m-1",
    measured_ms=8_412.0,
    end="completed",
    types=("GRID A100-10C",),
    predicted_low_ms=9_000.0,
    predicted_high_ms=17_000.0,
)
COPYING = item("train-1", state="running", migration="m-2", destination="gpu-c")
SWITCHING = item("note-2", state="running", migration="m-3", types=("GRID A100-10C",))
WAITING = item("train-3")
STUCK = item(
    "train-4",
    why="needs to be accepted: migrate.ecc: whether ECC is on is not readable on gpu-c",
    destination="gpu-c",
)
SKIPPED = item(
    "train-2",
    state="skipped",
    why="the server is in ERROR: only ACTIVE and PAUSED servers can be live-migrated",
    destination="",
    predicted_low_ms=None,
    predicted_high_ms=None,
)
FAILED = item(
    "train-1",
    state="failed",
    migration="m-2",
    destination="gpu-c",
    end="refused-by-qemu",
    why="QEMU of gpu-c refused to begin; operation failed: guest CPU doesn't match specification: missing features: "
    "vmx-xsaves,xsaves on the destination",
)
RUNNING = known(
    drain(MOVED, COPYING, SWITCHING, WAITING, STUCK, SKIPPED, service="disabled"),
    {
        COPYING.server: Followed(phase="memory", ram_percent=63.0, age_s=1.0),
        SWITCHING.server: Followed(phase="device", age_s=1.0),
    },
    to_accept=("migrate.ecc",),
    here=True,
)
BADLY = known(
    drain(
        MOVED,
        FAILED,
        item("note-2", state="failed", migration="m-3", why="nova-compute of gpu-b went down while it moved"),
        WAITING,
        SKIPPED,
        service="disabled",
        status="stopped",
        why="2 failed: no more is started",
        ended=NOW - 12.0,
    ),
    here=True,
)
LEFT = known(drain(MOVED, COPYING, WAITING, SKIPPED, accepted=("migrate.dirty-tracking",)))
