"""A console on the embedded cloud whose clock a test moves; plans of migrations are applied through the real runner."""

from __future__ import annotations

from pathlib import Path

from tests.actions.device_console import HostConsole
from tests.simulator.client import FakeClock
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome, apply
from vgpu_console.model.check import Check
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.state import Migration
from vgpu_console.simulator.state import Server as DemoServer
from vgpu_console.sources.nova_migrations import NovaMigrations

SOURCE, DESTINATION = "gpu-01", "gpu-02"


class MigratingConsole(HostConsole):
    """The small scenario, settled; ``vm-train-1`` is on gpu-01 and could go to gpu-02."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.clock = FakeClock()
        cloud: DemoCloud = open_demo("small", clock=self.clock, living=False)
        self.pass_time(300, cloud)
        cloud.state.migration_seconds = 20.0
        super().__init__(cloud, folder, read_only=read_only)
        self.reader = NovaMigrations(self.connection, self.clock)
        self.demo_server: DemoServer = next(s for s in cloud.state.servers.values() if s.name == "vm-train-1")
        self.id = self.demo_server.id

    def pass_time(self, seconds: float, cloud: DemoCloud | None = None) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.tick(0.5)
            (cloud or self.cloud).advance()

    def until(self, status: str) -> MigrationFacts:
        """Wait until its newest migration has that status."""
        for _ in range(400):
            rows = self.reader.migrations(self.id)
            if rows and rows[0].status == status:
                return rows[0]
            self.clock.tick(0.25)
            self.cloud.advance()
        raise AssertionError(f"it never is {status}")

    @property
    def server(self) -> Server:
        """The server, read now."""
        found = self.reader.server(self.id)
        assert found is not None
        return found

    @property
    def last(self) -> int:
        return max((m.id for m in self.reader.migrations(self.id)), default=0)

    def destination(self, host: str = DESTINATION) -> Destination:
        """What the pre-checks said of a host: here one that passes and one doubt, for they are not the subject."""
        return Destination(
            host=host,
            verdict="warn",
            reason="the drivers differ",
            checks=(
                Check(id="migrate.nvidia-driver", status="warn", evidence="the drivers differ", source="ssh"),
                Check(id="migrate.server-state", status="pass", evidence="ACTIVE", source="nova"),
            ),
            predicted=Downtime(low_ms=1000.0, high_ms=4000.0, basis=("84 GiB at 25 GiB/s",)),
            free=1,
        )

    def begin(self, to: str = DESTINATION) -> Migration:
        """Somebody begins a migration."""
        with self.cloud.state.lock:
            return self.cloud.migrations.start(self.demo_server, to, "operator")

    def apply(self, plan: Plan, *, accept: bool = True) -> Outcome:
        """Apply a plan, taking its warnings upon oneself; waiting moves the clock."""
        accepted = frozenset(c.id for c in plan.needs_override) if accept else frozenset()
        return apply(plan, self.fleet, self.journal, accepted=accepted, wait=lambda seconds: self.pass_time(seconds))
