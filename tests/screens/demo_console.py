"""The console on the embedded cloud, through the real engine, sources, world and journal."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.screens.driving import Test, drive
from vgpu_console.actions.drain_store import DrainStore
from vgpu_console.actions.journal import Journal
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import DemoChoice, LibvirtSettings, Settings, SshSettings
from vgpu_console.migration_history import MigrationHistory
from vgpu_console.runtime import Fleet
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.simulator import DemoCloud

VGPU = "class:VGPU"


class Demo:
    """One operator in front of the embedded cloud. The cloud is there to be looked into and changed from behind."""

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        user: str = "",
        project: str = "admin",
        before: Callable[[DemoCloud], None] = lambda cloud: None,
        hosts: bool = False,
        by_hand: bool = False,
        scenario: str | None = None,
        cloud: DemoCloud | None = None,
    ) -> None:
        """``hosts``: they are read too. ``by_hand``: the console may change nothing over SSH. ``cloud``: another's."""
        # hosts say nothing about quota, and each costs a thread
        quiet = Settings(read_only=read_only, libvirt=LibvirtSettings(enabled=hosts), ssh=SshSettings(enabled=hosts))
        self.settings = quiet
        self.journal = Journal(folder / "journal.jsonl")
        self.history = MigrationHistory(folder / "migrations.sqlite3")
        self.drains = DrainStore(folder / "drains")
        self.cloud: DemoCloud
        outer, theirs = self, cloud

        class DemoFleet(Fleet):
            """Keeps the cloud in reach, gives it a user, and writes its journal where the test can read it."""

            def _open_demo(self, choice: DemoChoice) -> DemoCloud:
                cloud = theirs or super()._open_demo(choice)
                cloud.life.living = False
                if user:
                    cloud.spec = functools.partial(cloud.spec, user=user, project=project)  # type: ignore[method-assign]
                before(cloud)
                outer.cloud = cloud
                return cloud

            def journal(self) -> Journal:
                return outer.journal

            def history(self) -> MigrationHistory:
                return outer.history

            def drain_store(self) -> DrainStore:
                return outer.drains

            @property
            def shell_changes(self) -> bool:
                return super().shell_changes and not by_hand

        self.app = VgpuConsoleApp(
            lambda: DemoFleet(quiet, DemoChoice(scenario)).engine(),
            settings=quiet,
            steady=functools.partial(next, itertools.count()),
        )

    def run(self, test: Test, size: tuple[int, int] = (120, 40)) -> None:
        """Run the console until all of the cloud has answered, then the test."""

        async def ready(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
            await until(
                pilot,
                lambda: (
                    app.snapshot is not None
                    and len(app.snapshot.sources) >= 3
                    and all(s.fetched_at is not None or s.error is not None for s in app.snapshot.sources)
                ),
            )
            await test(app, pilot)

        drive(self.app, ready, size)

    def project(self, name: str) -> str:
        """A project's id."""
        return next(p.id for p in self.cloud.state.projects.values() if p.name == name)

    def limits(self, resource: str = VGPU) -> dict[str, int]:
        """What the embedded Keystone holds: ``default`` and the projects with a limit of their own."""
        state = self.cloud.state
        registered = (r for r in state.registered_limits.values() if r.resource_name == resource)
        found = dict.fromkeys(["default"], next(registered).default_limit)
        for limit in state.limits.values():
            if limit.resource_name == resource:
                owner = state.projects.get(limit.project_id or "")
                found[owner.name if owner else str(limit.project_id)] = limit.resource_limit
        return found

    def set_behind(self, name: str, value: int, resource: str = VGPU) -> None:
        """Somebody else changes a project's limit."""
        state = self.cloud.state
        with state.lock:
            limit = next(
                x for x in state.limits.values() if (x.project_id, x.resource_name) == (self.project(name), resource)
            )
            limit.resource_limit = value

    def results(self) -> list[str]:
        """How each run in the journal ended."""
        return [str(e.result) for e in self.journal.entries() if e.event == "ended"]


async def until(pilot: Pilot[Any], true: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until something is so. Fails when it never is."""
    for _ in range(int(seconds / 0.02)):
        if true():
            break
        await pilot.pause(0.02)
    assert true()
    await pilot.pause()
    await pilot.pause()


async def until_dialog(pilot: Pilot[Any], kind: type[Dialog[Any]]) -> None:
    """Wait for a dialog to be in front."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.is_mounted)
