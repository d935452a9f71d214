"""What tests of ``migrate`` and ``drain`` share: one embedded fleet that servers can move in, on a clock of its own.

Nothing is mocked: the commands read and change the embedded cloud through the product's own sources. Only the threads
are taken in turns, so that a migration of minutes takes a second or two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.actions.drain_console import HOST, Moment, build
from tests.fleet.follow_scene import Inline
from vgpu_console import cli_drain_run, cli_follow, runtime
from vgpu_console.actions import runner as plan_runner
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.cli_follow import Turns
from vgpu_console.fleet.engine import Engine
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.state import Migration, Server
from vgpu_console.sources.migration_watch import MigrationWatch

TICK_S, READ_S = 0.2, 10.0
__all__ = ["HOST", "MovingFleet"]


class MovingFleet:
    """The fleet of the drain tests: three hosts of one make, five servers on ``gpu-a``; what every ``--demo`` opens.

    ``before_rest`` is called whenever a command sleeps; raise KeyboardInterrupt there for ctrl+c.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = Moment()
        self.cloud = DemoCloud(clock=self.moment)
        build(self.cloud)
        self.cloud.state.migration_seconds = 8.0
        self.cloud.advance()
        self.before_rest: Callable[[], None] = lambda: None
        self._parts: list[Any] = []
        self._read_at = self.moment()
        fleet = self

        class InTurns(Turns):
            """Does a little of everything whenever the command sleeps."""

            def __init__(self) -> None:
                fleet._parts.clear()  # those of the command before

            def follow(self, followers: Followers) -> None:
                fleet._parts.append(followers)

            def watch(self, engine: Engine) -> None:
                fleet._parts.append(engine)

            def drain(self, runner: DrainRunner) -> None:
                fleet._parts.append(runner)

            def rest(self) -> None:
                fleet.turn()

            def now(self) -> float:
                return fleet.moment()

        for module in (cli_follow, cli_drain_run):
            monkeypatch.setattr(module, "Turns", InTurns)
        monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: self.cloud)
        self._defaults(monkeypatch, runtime.Fleet.__init__, clock=self.moment)
        watch = partial(MigrationWatch, interval_s=0.01, clock=self.moment, steady=self.moment)
        self._defaults(monkeypatch, Followers.__init__, steady=self.moment, watch=watch, pool=Inline())
        self._defaults(monkeypatch, plan_runner.apply, wait=self.wait)

    def _defaults(self, monkeypatch: pytest.MonkeyPatch, function: Any, **values: Any) -> None:
        monkeypatch.setattr(function, "__kwdefaults__", {**function.__kwdefaults__, **values})

    def turn(self) -> None:
        """A moment passes, and every part of the command that would have a thread does what is due."""
        self.before_rest()
        self.wait(TICK_S)
        for part in self._parts:
            if isinstance(part, Followers):
                part.step()
            elif isinstance(part, DrainRunner):
                part.tick()
            elif self.moment() - self._read_at >= READ_S:
                self._read_at = self.moment()
                self._read(part)
        time.sleep(0.001)  # the watches of libvirt have threads all the same

    def _read(self, engine: Engine) -> None:
        """Every source afresh, as the engine's thread would at its pace."""
        collector = engine._collector
        collector.refresh_now()
        collector.tick()
        seen = collector.version
        while collector.busy():
            seen = collector.wait(seen, 0.5)
            collector.tick()
        engine.snapshot = engine._joiner.join(collector.facts(), self.moment())

    def wait(self, seconds: float) -> None:
        """Time passes in the cloud."""
        end = self.moment() + seconds
        while self.moment() < end:
            self.moment.wait(min(TICK_S, end - self.moment()))
            self.cloud.advance()

    def named(self, name: str) -> Server:
        return next(s for s in self.cloud.state.servers.values() if s.name == name)

    def where(self) -> dict[str, str | None]:
        """Every server's host in the cloud."""
        return {s.name: s.host for s in self.cloud.state.servers.values() if s.deleted is None}

    def begin(self, name: str, to: str) -> Migration:
        """Somebody else begins a migration."""
        with self.cloud.state.lock:
            return self.cloud.migrations.start(self.named(name), to, "operator")

    def until(self, migration: Migration, status: str) -> None:
        """Wait until Nova says so of a migration."""
        for _ in range(1000):
            if migration.status == status:
                return
            self.wait(TICK_S)
        raise AssertionError(f"it is {migration.status} and never {status}")
