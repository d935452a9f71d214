"""m on a server: the answer before the reasons, other hosts, what is refused, and the way to a migration that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.actions.demo import still_demo
from tests.actions.device_console import HostConsole
from tests.rules.migration.two_hosts import HERE, NOW, SERVER, THERE, facts, of_server, of_ssh
from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import dialog, drive, pane, press, row_ids, screen_text, toasts, view
from tests.screens.fleets import StillEngine
from tests.screens.movers import StillMover, engine_of
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.fleet.precheck import Precheck, precheck
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.screens.dialogs.migrate_check import MigrateCheckDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.server import ServerDialog
from vgpu_console.screens.render.migrate_check import downtime_range
from vgpu_console.screens.timeline import TimelineScreen
from vgpu_console.sources.placement import PlacementSource

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]


def console(mover: StillMover, theme: Any = "dark") -> VgpuConsoleApp:
    engine = engine_of(mover)
    return VgpuConsoleApp(lambda: engine, settings=Settings(theme=theme), clock=lambda: NOW)


async def checked(app: VgpuConsoleApp, pilot: Driver) -> MigrateCheckDialog:
    """The dialog, once everything has answered."""
    await until_dialog(pilot, MigrateCheckDialog)
    shown = app.screen
    assert isinstance(shown, MigrateCheckDialog)
    await until(pilot, lambda: shown._found is not None or shown._wrong)
    return shown


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, ""),
        (None, 3.0, ""),
        (420.0, 2040.0, "0.42–2 s"),
        (9949.0, 9951.0, "9.9–10 s"),
        (21_400.0, 34_000.0, "21–34 s"),
        (115_000.0, 115_200.0, "115 s"),
    ],
)
def test_a_range_has_two_digits_that_count(low: float | None, high: float | None, words: str) -> None:
    assert downtime_range(low, high) == words


def test_the_answer_comes_first_and_the_screen_does_not_wait_for_placement() -> None:
    mover = StillMover(of_ssh(THERE, nvidia_driver="550.54.16")(facts()))
    mover.may_answer.clear()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "m")
        await until_dialog(pilot, MigrateCheckDialog)
        assert "asking Placement" in screen_text(app)
        mover.may_answer.set()
        await checked(app, pilot)
        lines = screen_text(app).splitlines()
        answer = next(i for i, line in enumerate(lines) if "NOT SAFE" in line)
        reason = next(i for i, line in enumerate(lines) if "550.54.16" in line)
        assert answer < reason
        assert "1 fail" in lines[answer]
        assert "downtime" in lines[answer]
        await press(pilot, "enter")
        assert "nothing can be begun" in screen_text(app), "this console only watches"
        assert isinstance(app.screen, MigrateCheckDialog)

    drive(console(mover), test)


def test_a_console_that_only_watches_checks_and_begins_nothing() -> None:
    mover = StillMover(facts())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "m")
        await checked(app, pilot)
        assert "✓ SAFE" in screen_text(app)
        assert "enter plan" not in screen_text(app)
        await press(pilot, "enter")
        assert "nothing can be begun: this console" in screen_text(app)
        await press(pilot, "escape")
        assert not isinstance(app.screen, MigrateCheckDialog)

    drive(console(mover), test)


def test_a_server_that_went_away_is_told_and_looked_for_again() -> None:
    mover = StillMover(facts())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.changes.moves.begin(SERVER)
        await checked(app, pilot)
        await press(pilot, "r")
        await checked(app, pilot)
        assert mover.asked == [SERVER, SERVER]

    drive(console(mover), test)


def test_no_server_under_the_cursor_is_said() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "m")  # hosts have the focus
        assert any("no server is under the cursor" in toast for toast in toasts(app))
        assert "migrate.start" in view(app).unavailable()

    drive(console(StillMover(facts())), test)


def test_a_name_that_looks_like_markup_is_a_name() -> None:
    mover = StillMover(of_server(name="[/red] [b]x a[/]b [x='")(facts()))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "m")
        await checked(app, pilot)
        assert "Migrate [/red] [b]x a[/]b [x='" in screen_text(app)

    drive(console(mover), test)


# On the embedded cloud ------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path, hosts=True)


async def at_server(app: VgpuConsoleApp, pilot: Driver, demo: Demo, name: str = "vm-train-1") -> str:
    """The servers with the cursor on one; its host and gpu-02 have the same driver."""
    for host in demo.cloud.state.hosts.values():
        if host.name in (HERE, THERE):
            host.driver = "550.90.05"
    demo.cloud.state.migration_seconds = 2.0
    app.ask_sources()

    def ready() -> bool:
        snapshot = app.snapshot
        there = snapshot.host(THERE) if snapshot is not None else None
        return there is not None and there.driver == "550.90.05" and len(snapshot.mdevs if snapshot else ()) > 10

    await until(pilot, ready)
    await press(pilot, "2")
    await until(pilot, lambda: row_ids(app))
    server = next(s.id for s in app.snapshot.servers if s.name == name) if app.snapshot else ""
    view(app).select(server)
    return server


def test_from_the_key_to_the_measured_downtime(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        server = await at_server(app, pilot, demo)
        await press(pilot, "m")
        shown = await checked(app, pilot)
        assert shown.chosen is not None
        assert (shown.chosen.host, shown.chosen.verdict) == (THERE, "warn")
        await press(pilot, "tab")
        assert shown.chosen.host != THERE
        assert shown.chosen.verdict == "fail"
        await press(pilot, "enter")
        assert "cannot be overridden" in screen_text(app)
        await press(pilot, "shift+tab", "enter")
        await until_dialog(pilot, PlanDialog)
        plan = app.screen
        assert isinstance(plan, PlanDialog)
        await press(pilot, "a")
        assert dialog(app) is plan, "each warning is accepted before"
        await press(pilot, *("space" for c in shown.chosen.checks if c.status != "pass"), "a")
        await until(pilot, lambda: isinstance(app.screen, TimelineScreen))
        mover = app.changes.moves.mover
        assert mover is not None

        def told() -> bool:
            found = mover.timeline(server)
            return found is not None and found.settled

        await until(pilot, lambda: "RAM " in screen_text(app) and "GiB left" in screen_text(app), 30)
        await until(pilot, told, 60)
        await until(pilot, lambda: "What this rests on" in screen_text(app))
        text = screen_text(app)
        assert "✓ completed: gpu-01 → gpu-02" in text
        assert "measured " in text
        assert "JOB_COMPLETED event of the source" in text
        await until(pilot, demo.history.records)
        (record,) = [r for r in demo.history.records() if r.server == server]
        assert (record.end, record.destination, record.predicted_low_ms is not None) == ("completed", THERE, True)
        assert record.downtime_ms is not None
        await press(pilot, "escape")
        measured = f"{record.downtime_ms / 1000:.2f} s"
        await until(pilot, lambda: measured in screen_text(app))
        events = [e.event for e in demo.journal.entries()]
        assert events.count("outcome") == 1
        assert "migrate.dirty-tracking" in str(demo.journal.path.read_text()), "what was accepted is journaled"

    demo.run(test)


def test_a_server_that_moved_meanwhile_is_checked_again(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        server = await at_server(app, pilot, demo)
        await press(pilot, "m")
        shown = await checked(app, pilot)
        with demo.cloud.state.lock:
            demo.cloud.migrations.start(demo.cloud.state.servers[server], THERE, "another")
        await press(pilot, "enter")
        await until(pilot, lambda: "checked again" in screen_text(app))
        assert "not begun: it migrates already" in screen_text(app)
        assert app.screen is shown

    demo.run(test)


def test_from_the_servers_dialog_and_from_a_vgpu_of_a_host(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        server = await at_server(app, pilot, demo)
        await press(pilot, "enter")
        await until_dialog(pilot, ServerDialog)
        await press(pilot, "m")
        await checked(app, pilot)
        await press(pilot, "escape")
        app.open_host(HERE)
        await until(pilot, lambda: getattr(app.screen, "host", None) == HERE and row_ids(app))
        held = next(m.uuid for m in (app.snapshot.mdevs if app.snapshot else ()) if m.server_id == server)
        view(app).select(f"mdev:{held}")
        await press(pilot, "m")
        shown = await checked(app, pilot)
        assert "vm-train-1" in shown.heading
        await press(pilot, "escape")
        pane(app).table.select(next(row for row in row_ids(app) if row.startswith("gpu:")))
        assert "migrate.start" in view(app).unavailable()

    demo.run(test)


def test_a_server_without_vgpu_works_and_says_so(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await at_server(app, pilot, demo)
        plainly = next(s for s in demo.cloud.state.servers.values() if s.name == "bastion")
        app.changes.moves.begin(plainly.id)
        shown = await checked(app, pilot)
        assert shown._found is not None
        assert shown._found.candidates
        assert all(any(c.id == "migrate.no-vgpu" for c in one.checks) for one in shown._found.candidates)
        await press(pilot, "c")
        await until(pilot, lambda: any("copied" in toast for toast in toasts(app)))
        assert "nothing of GPUs is looked at" in shown.query_one("Page").text  # type: ignore[attr-defined]

    demo.run(test)


# Pictures -------------------------------------------------------------------------------------------------------------

UNREAD = of_ssh(THERE, nvidia_driver=None)
FLEETS = {"pass": facts(), "fail": of_ssh(THERE, nvidia_driver="550.54.16")(facts()), "unknown": UNREAD(facts())}


class FleetMover(StillMover):
    """Checks the embedded cloud's six hosts, as they were read once."""

    def __init__(self, read: HostConsole) -> None:
        super().__init__(read.facts)
        self._read = read

    def check(self, server_id: str, destination: str | None = None) -> Precheck:
        """By its own Placement."""

        def ask(
            groups: Sequence[RequestGroup], policy: str | None, in_tree: str | None = None, limit: int | None = None
        ) -> Candidates:
            placement = PlacementSource(self._read.connection, dict)
            return placement.candidates(groups, policy=policy, in_tree=in_tree, limit=limit or 1000)

        return precheck(ask, self._read.snapshot, self._read.facts, server_id, destination, NOW)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_a_fleets_pictures(snap_compare: Any, tmp_path: Path, look: Any) -> None:
    cloud = still_demo()
    for host in cloud.state.hosts.values():
        if host.name in (HERE, THERE):
            host.driver = "550.90.05"
    read = HostConsole(cloud, tmp_path).read()
    engine = StillEngine(read.snapshot)
    engine.mover = FleetMover(read)

    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await press(pilot, "2")
        view(pilot.app).select(next(s.id for s in read.snapshot.servers if s.name == "vm-train-1"))
        await press(pilot, "m")
        await checked(pilot.app, pilot)

    app = VgpuConsoleApp(lambda: engine, settings=Settings(theme=look[1]), clock=lambda: NOW)
    assert snap_compare(app, terminal_size=look[0], run_before=run)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
@pytest.mark.parametrize("name", FLEETS)
def test_check_pictures(snap_compare: Any, name: str, look: Any) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await press(pilot, "2", "m")
        await checked(pilot.app, pilot)

    app = console(StillMover(FLEETS[name]), look[1])
    assert snap_compare(app, terminal_size=look[0], run_before=run)
