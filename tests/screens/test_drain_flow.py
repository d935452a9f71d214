"""A drain from the key to its end, on the embedded cloud, through the console's own sources, runner, journal, disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.actions.drain_console import build
from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import drive, pane, press, row_ids, screen_text, toasts, view
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.fleet import migration_follow
from vgpu_console.screens.dialogs.drain import DrainDialog
from vgpu_console.screens.dialogs.drain_left import DrainLeftDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.drain import DrainScreen
from vgpu_console.screens.timeline import TimelineScreen
from vgpu_console.simulator import DemoCloud

Driver = Pilot[Any]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    """The fleet of the drain's own tests, and one server alone on ``gpu-b``. Everything is over in a moment."""
    for name, seconds in (("SETTLE_S", 0.3), ("PACE_S", 0.1), ("LIST_S", 0.2)):
        monkeypatch.setattr(migration_follow, name, seconds)
    cloud = DemoCloud()
    build(cloud)
    there = cloud.state.hosts["gpu-b"]
    project = next(p for p in cloud.state.projects.values() if p.name == "ml-research")
    flavor = next(f for f in cloud.state.flavors.values() if f.name == "large")
    cloud.builder.server("solo", project, flavor, there, there.gpus[0])
    cloud.state.migration_seconds = 1.0
    cloud.advance()
    return Demo(tmp_path, hosts=True, cloud=cloud)


def where(demo: Demo) -> dict[str, str | None]:
    return {s.name: s.host for s in demo.cloud.state.servers.values()}


def known(app: VgpuConsoleApp) -> KnownDrain:
    """The only drain."""
    drainer = app.changes.drains.drainer
    assert drainer is not None
    (one,) = drainer.drains()
    return one


def state(app: VgpuConsoleApp, name: str) -> str:
    return next(r.state for r in known(app).view.rows if r.name == name)


def begun(demo: Demo) -> list[str]:
    """The servers whose migration was asked for, as the journal has them."""
    entries = [e.plan for e in demo.journal.entries() if e.event == "begun" and e.plan is not None]
    return [plan.target.name for plan in entries if plan.action == "migrate.start"]


async def ready(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Until hosts and devices are known and something may be begun."""
    await until(pilot, lambda: row_ids(app, "hosts-pane") and app.snapshot and app.snapshot.mdevs)
    await until(pilot, lambda: not app.changes.why_not("migrate.start"))


async def agreed(app: VgpuConsoleApp, pilot: Driver, host: str, *keys: str) -> None:
    """From a host of the fleet through the dialog to the running drain."""
    await ready(app, pilot)
    view(app).select(host)
    await press(pilot, "d")
    await until_dialog(pilot, DrainDialog)
    shown = app.screen
    assert isinstance(shown, DrainDialog)
    await until(pilot, lambda: shown._plans is not None)
    await press(pilot, *keys)
    await press(pilot, *("space" for _ in shown._left), "a")
    await until(pilot, lambda: isinstance(app.screen, DrainScreen))


def test_a_host_is_drained_with_its_service_disabled_first_and_enabled_again(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await agreed(app, pilot, "gpu-b", "s")
        assert not known(app).view.over
        await until(pilot, lambda: known(app).view.rows[0].migration, 20)
        host = demo.cloud.state.hosts["gpu-b"]
        assert host.status == "disabled", "before the first server moves"
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, TimelineScreen))
        await until(pilot, lambda: "solo   gpu-b →" in screen_text(app))
        await press(pilot, "escape")
        assert isinstance(app.screen, DrainScreen), "back to the drain"
        await press(pilot, "escape", "1")
        await until(pilot, lambda: known(app).view.over, 60)
        assert any("drain of gpu-b: ended, 1 of 1 moved" in t for t in toasts(app)), "told wherever the operator is"
        assert where(demo)["solo"] != "gpu-b"
        await press(pilot, "4")
        await until(pilot, lambda: row_ids(app, "drains-pane") == [known(app).drain.id])
        pane(app, "drains-pane").table.focus()
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, DrainScreen))
        text = screen_text(app)
        assert "✓ ended" in text
        assert "guests stood still" in text
        await press(pilot, "E")
        await until_dialog(pilot, PlanDialog)
        assert "enable nova-compute of gpu-b" in screen_text(app)
        await press(pilot, "y")
        await until(pilot, lambda: host.status == "enabled")
        journal = demo.journal.path.read_text()
        assert "migrate.dirty-tracking" in journal, "what was accepted is journaled"
        assert [e.plan.action for e in demo.journal.entries() if e.event == "begun" and e.plan is not None] == [
            "service.disable",
            "migrate.start",
            "service.enable",
        ]

    demo.run(test)


def test_paused_stopped_and_gone_on_with(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await agreed(app, pilot, "gpu-a")
        await until(pilot, lambda: state(app, "web-1") in ("starting", "running"), 20)
        await press(pilot, "P")
        await until(pilot, lambda: "‖ paused by the operator" in screen_text(app))
        await until(pilot, lambda: state(app, "web-1") == "done", 60)
        assert state(app, "note-1") == "waiting", "no more is started"
        assert not known(app).view.over
        await press(pilot, "X")
        await until(pilot, lambda: known(app).view.over)
        await until(pilot, lambda: "4 servers left to do" in screen_text(app))
        await press(pilot, "R")
        await until_dialog(pilot, DrainLeftDialog)
        await press(pilot, "a")
        await until(pilot, lambda: state(app, "note-1") in ("starting", "running", "done"), 30)
        assert where(demo)["note-2"] == "gpu-a", "one at a time, as Nova does"

    demo.run(test)


def test_a_console_that_ends_in_the_middle_leaves_it_to_the_next(tmp_path: Path, demo: Demo) -> None:
    async def first(app: VgpuConsoleApp, pilot: Driver) -> None:
        await agreed(app, pilot, "gpu-a")
        await until(pilot, lambda: state(app, "web-1") == "running", 20)
        await press(pilot, "q", "q")
        assert any("the drain stops here, migrations go on" in t for t in toasts(app)), "once more leaves"
        await press(pilot, "q")

    async def second(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until(pilot, lambda: isinstance(app.screen, DrainLeftDialog), 30)
        assert "The drain of gpu-a is not done" in screen_text(app)
        assert state(app, "note-1") == "waiting"
        asked = len(list(demo.journal.entries()))
        await pilot.pause(1.5)
        assert len(list(demo.journal.entries())) == asked, "nothing goes on by itself"
        await press(pilot, "a")
        await until(pilot, lambda: isinstance(app.screen, DrainScreen) and known(app).runs_here)
        await until(pilot, lambda: state(app, "web-1") == "done", 60)
        assert begun(demo).count("web-1") == 1, "what Nova had begun is found, not begun again"
        await until(pilot, lambda: state(app, "note-1") in ("starting", "running"), 30)

    demo.run(first)
    drive(Demo(tmp_path, hosts=True, cloud=demo.cloud).app, second)


def test_marked_servers_of_two_hosts_are_two_drains(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await ready(app, pilot)
        await press(pilot, "2")
        await until(pilot, lambda: len(row_ids(app)) == 5)
        for name in ("note-1", "solo"):
            view(app).select(next(row.id for row in pane(app).table.rows if row.cells[0].text == name))
            await press(pilot, "space")
        await press(pilot, "d")
        await until_dialog(pilot, DrainDialog)
        shown = app.screen
        assert isinstance(shown, DrainDialog)
        await until(pilot, lambda: shown._plans is not None)
        assert "Move 2 servers away from 2 hosts" in screen_text(app)
        assert "gpu-a → gpu-c" in screen_text(app), "neither of the two takes the other's"
        await press(pilot, *("space" for _ in shown._left), "a")
        await until(pilot, lambda: any("2 drains begun" in t for t in toasts(app)))
        drainer = app.changes.drains.drainer
        assert drainer is not None
        await until(pilot, lambda: len(row_ids(app, "drains-pane")) == 2)
        await until(pilot, lambda: all(one.view.over for one in drainer.drains()), 90)
        there = where(demo)
        assert [there[name] for name in ("note-1", "solo", "note-2", "train-1")] == ["gpu-c", "gpu-c", "gpu-a", "gpu-a"]
        assert sorted(begun(demo)) == ["note-1", "solo"]

    demo.run(test)


def test_a_host_that_another_console_drains_is_refused(demo: Demo) -> None:
    lock = demo.drains.lock("demo", "gpu-b")

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await ready(app, pilot)
        view(app).select("gpu-b")
        await press(pilot, "d")
        await until_dialog(pilot, DrainDialog)
        shown = app.screen
        assert isinstance(shown, DrainDialog)
        await until(pilot, lambda: shown._plans is not None)
        await press(pilot, *("space" for _ in shown._left), "a")
        await until(pilot, lambda: any("run by another console" in t for t in toasts(app)))
        assert not begun(demo)
        assert demo.drains.unfinished("demo") == (), "nobody is offered what was never begun"

    try:
        demo.run(test)
    finally:
        lock.release()
