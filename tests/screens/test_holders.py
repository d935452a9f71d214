"""Who holds what of a project's quota while one of its servers waits for its resize to be confirmed."""

from __future__ import annotations

from pathlib import Path

from tests.screens.demo_console import VGPU, Demo, until
from tests.screens.driving import pane, screen_text
from tests.screens.test_changes import Driver
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.simulator import DemoCloud


def _migrate_cold(cloud: DemoCloud) -> None:
    """One server is migrated cold, and waits for a word."""
    server = next(s for s in cloud.state.servers.values() if s.name == "vm-train-1")
    cloud.resizes.start(server, None, "who", None)
    clock = cloud.clock
    cloud.clock = lambda: clock() + 10
    cloud.advance()
    assert server.status == "VERIFY_RESIZE"


def test_a_cold_migration_is_a_holder_until_it_is_confirmed(tmp_path: Path) -> None:
    demo = Demo(tmp_path, before=_migrate_cold)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.open_project(demo.project("ml-research"), VGPU)
        await until(pilot, lambda: "counts twice (cold)" in screen_text(app))
        holders = [[cell.text.strip() for cell in row.cells] for row in pane(app).table.rows]
        assert ["moving", "vm-train-1", "1"] in [row[:3] for row in holders]
        assert "counted twice until the migration ends" in " ".join(screen_text(app).split())

    demo.run(test)
