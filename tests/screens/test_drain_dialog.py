"""d on a host, on marked hosts and on marked servers: the plan before anything moves, and what is asked for."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.actions.drain_console import HOST, NOW
from tests.screens.demo_console import until, until_dialog
from tests.screens.drainers import LEFT, RUNNING, AbleEngine, DrainingStill, StillDrainer, fleet
from tests.screens.driving import drive, pane, press, row_ids, screen_text, toasts, view
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.screens.dialogs.destinations import DestinationsDialog
from vgpu_console.screens.dialogs.drain import DrainDialog
from vgpu_console.screens.drain import DrainScreen

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]


@pytest.fixture
def drainer(tmp_path: Path) -> StillDrainer:
    return StillDrainer(fleet(tmp_path))


def console(drainer: StillDrainer, theme: Any = "dark", *, able: bool = True) -> VgpuConsoleApp:
    engine = (AbleEngine if able else DrainingStill)(drainer)
    steady = functools.partial(next, itertools.count())
    return VgpuConsoleApp(lambda: engine, settings=Settings(theme=theme), clock=lambda: NOW, steady=steady)


async def planned(pilot: Driver) -> DrainDialog:
    """The dialog with its plan."""
    await until_dialog(pilot, DrainDialog)
    shown = pilot.app.screen
    assert isinstance(shown, DrainDialog)
    await until(pilot, lambda: shown._plans is not None or shown._wrong)
    return shown


async def on_host(app: VgpuConsoleApp, pilot: Driver, host: str = HOST) -> None:
    """The fleet with the cursor on a host."""
    await until(pilot, lambda: row_ids(app, "hosts-pane"))
    view(app).select(host)


def test_one_plan_shows_who_goes_where_in_which_order_and_who_stays(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        shown = await planned(pilot)
        text = screen_text(app)
        assert "Drain gpu-a" in text
        assert "4 of 5 servers can go" in text
        assert "1 must stay" in text
        lines = text.splitlines()
        order = [next(i for i, line in enumerate(lines) if name in line) for name in ("web-1", "note-1", "train-1")]
        assert order == sorted(order), "the shortest downtime first"
        stays = next(line for line in lines if "train-2" in line)
        assert "ERROR" in stays
        assert "→ gpu-" in lines[order[0]]
        assert "to accept" in lines[order[2]], "each has the verdict of its pre-check"
        assert shown._plans is not None
        assert {m.server.name for _, m in shown._plans.moves} == {"web-1", "note-1", "note-2", "train-1"}

    drive(console(drainer), test)


def test_enter_never_begins_it_and_each_check_is_accepted_by_itself(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        shown = await planned(pilot)
        wanted = list(shown._plans.to_accept) if shown._plans is not None else []
        assert wanted, "this fleet has something to accept"
        await press(pilot, "enter", "enter")
        assert "enter alone is no answer" in screen_text(app)
        await press(pilot, "a")
        assert "to accept, one by one, with space" in screen_text(app)
        await press(pilot, "enter", "y", "d")
        assert app.screen is shown
        await press(pilot, *("space" for _ in wanted))
        await press(pilot, "backspace", "a")
        assert app.screen is shown, "what was taken back is open again"
        await press(pilot, "space", "enter")
        assert app.screen is shown
        assert not drainer.begun
        await press(pilot, "a")
        await until(pilot, lambda: drainer.begun)
        _, options = drainer.begun[0]
        assert options.accepted == frozenset(wanted)
        assert (options.max_parallel, options.stop_after_failures, options.disable) == (1, 1, False)
        await until(pilot, lambda: any("run by another console: process 4711" in t for t in toasts(app)))

    drive(console(drainer), test)


def test_options_are_changed_by_key_and_bounded_by_what_nova_does(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        shown = await planned(pilot)
        assert "1/1 at a time" in screen_text(app)
        await press(pilot, "plus")
        assert "Nova runs 1 at once" in screen_text(app)
        assert shown.options.max_parallel == 1
        await press(pilot, "f", "f")
        assert "stop after 3 failures" in screen_text(app)
        await press(pilot, "f", "f", "f")
        assert "never stop" in screen_text(app)
        assert shown.options.stop_after_failures is None
        await press(pilot, "s")
        assert "disable service first" in screen_text(app)
        assert shown.options.disable
        assert "vgpu-console drain gpu-a --max-parallel 1 --stop-after-failures 0 --disable" in shown.commands[0]
        await press(pilot, "c")
        await until(pilot, lambda: any("copied the commands" in t for t in toasts(app)))
        await press(pilot, "escape")
        assert not isinstance(app.screen, DrainDialog)
        assert not drainer.begun

    drive(console(drainer), test)


def test_destinations_are_chosen_and_the_plan_is_made_again(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        shown = await planned(pilot)
        await press(pilot, "t")
        await until_dialog(pilot, DestinationsDialog)
        assert "none marked: any host" in screen_text(app)
        assert [r.id for r in app.screen.query_one("#destinations").rows] == ["gpu-b", "gpu-c"]  # type: ignore[attr-defined]
        await press(pilot, "down", "space", "enter")
        await planned(pilot)
        await until(pilot, lambda: shown._plans is not None and shown._plans.to == ("gpu-c",))
        assert "to gpu-c" in screen_text(app)
        assert shown._plans is not None
        assert {m.destination for _, m in shown._plans.moves} == {"gpu-c"}
        assert shown.options.to == ("gpu-c",)
        await press(pilot, "t")
        await until_dialog(pilot, DestinationsDialog)
        assert "1 marked: only there" in screen_text(app), "what was chosen is marked"
        await press(pilot, "a")
        await until(pilot, lambda: shown._plans is not None and shown._plans.to is None)

    drive(console(drainer), test)


def test_escape_leaves_a_plan_that_takes_long(drainer: StillDrainer) -> None:
    drainer.may_answer.clear()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        await until_dialog(pilot, DrainDialog)
        await until(pilot, lambda: "2 answers of Placement" in screen_text(app))
        assert "planning" in screen_text(app)
        await press(pilot, "a", "enter", "escape")
        assert not isinstance(app.screen, DrainDialog)
        drainer.may_answer.set()
        await until(pilot, lambda: "cancelled" in drainer.asked)
        assert not toasts(app)

    drive(console(drainer), test)


def test_what_cannot_be_planned_is_said(drainer: StillDrainer) -> None:
    drainer.refusal = "no source knows gpu-a any more"

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        await planned(pilot)
        assert "cannot be planned" in screen_text(app)
        assert "no source knows gpu-a any more" in screen_text(app)
        drainer.refusal = ""
        await press(pilot, "r")
        await until(pilot, lambda: "4 of 5 servers can go" in screen_text(app))

    drive(console(drainer), test)


def test_a_console_that_may_change_nothing_shows_the_plan_and_says_why_it_is_all(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        await planned(pilot)
        assert "nothing can be begun  this console is read-only" in screen_text(app)
        await press(pilot, "space", "a")
        assert isinstance(app.screen, DrainDialog)
        assert not drainer.begun

    drive(console(drainer, able=False), test)


def test_without_a_drainer_the_key_is_dim_and_says_so() -> None:
    from tests.screens.driving import console as plain_console

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert view(app).unavailable()["drain"] == "this console drains no hosts"
        await press(pilot, "d")
        assert any("this console drains no hosts" in t for t in toasts(app))

    drive(plain_console(), test)


def test_marked_servers_leave_their_host_and_the_others_stay(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2")
        await until(pilot, lambda: len(row_ids(app)) == 4)
        assert "drain" in view(app).unavailable(), "none is marked"
        await press(pilot, "d")
        assert any("no server is marked" in t for t in toasts(app))
        names = {row.id: row.cells[0].text for row in pane(app).table.rows}
        for id, name in names.items():
            if name in ("note-1", "train-1"):
                view(app).select(id)
                await press(pilot, "space")
        assert "drain" not in view(app).unavailable()
        await press(pilot, "d")
        shown = await planned(pilot)
        assert "Move 2 servers away from gpu-a" in screen_text(app)
        assert shown._plans is not None
        assert {m.server.name for _, m in shown._plans.moves} == {"note-1", "train-1"}
        await press(pilot, "s")
        assert "the service stays as it is" in screen_text(app)
        assert shown.options.chosen
        assert not any(line.startswith("vgpu-console drain") for line in shown.commands), "that would take them all"
        assert sum("server migrate --live-migration" in line for line in shown.commands) == 2

    drive(console(drainer), test)


def test_several_marked_hosts_are_planned_together_and_are_no_destinations(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot, "gpu-a")
        await press(pilot, "space", "space", "d")
        shown = await planned(pilot)
        assert "Drain 2 hosts" in screen_text(app)
        assert shown._plans is not None
        assert shown._plans.hosts == ("gpu-a", "gpu-b")
        assert {m.destination for _, m in shown._plans.moves} == {"gpu-c"}

    drive(console(drainer), test)


def test_on_a_hosts_own_screen(drainer: StillDrainer) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.open_host(HOST)
        await until(pilot, lambda: getattr(app.screen, "host", None) == HOST and row_ids(app))
        await press(pilot, "d")
        await planned(pilot)
        assert "Drain gpu-a" in screen_text(app)

    drive(console(drainer), test)


def test_a_host_that_is_being_drained_shows_that(drainer: StillDrainer) -> None:
    drainer.known = (RUNNING,)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, DrainScreen))
        assert any("is being drained" in t for t in toasts(app))

    drive(console(drainer), test)


def test_a_drain_that_was_left_is_told_of(drainer: StillDrainer) -> None:
    drainer.known = (LEFT,)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await on_host(app, pilot)
        await press(pilot, "d")
        await planned(pilot)
        assert "an earlier drain of gpu-a was left" in screen_text(app)

    drive(console(drainer), test)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_plan_pictures(snap_compare: Any, look: Any, drainer: StillDrainer) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await on_host(pilot.app, pilot)
        await press(pilot, "d")
        await planned(pilot)
        await press(pilot, "space")

    assert snap_compare(console(drainer, look[1]), terminal_size=look[0], run_before=run)
