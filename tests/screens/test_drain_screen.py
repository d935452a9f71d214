"""A drain as a table: what each server's row says, the keys that hold it, the report, and one that was left."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.actions.drain_console import NOW
from tests.screens.demo_console import until, until_dialog
from tests.screens.drainers import (
    BADLY,
    FAILED,
    LEFT,
    MOVED,
    RUNNING,
    SKIPPED,
    WAITING,
    AbleEngine,
    DrainingStill,
    StillDrainer,
    drain,
    fleet,
    known,
)
from tests.screens.driving import dialog, drive, pane, press, row_ids, screen_text, toasts, view
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.actions.drain_desk import KnownDrain
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.screens.dialogs.copy import CopyDialog
from vgpu_console.screens.dialogs.drain_accept import DrainAcceptDialog
from vgpu_console.screens.dialogs.drain_left import DrainLeftDialog
from vgpu_console.screens.dialogs.drain_report import DrainReportDialog
from vgpu_console.screens.drain import DrainScreen

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]
DONE = known(drain(MOVED, status="ended", ended=NOW - 30.0), here=True)


def console(
    folder: Path, *drains: KnownDrain, theme: Any = "dark", able: bool = True
) -> tuple[VgpuConsoleApp, StillDrainer]:
    drainer = StillDrainer(fleet(folder), *drains)
    engine = (AbleEngine if able else DrainingStill)(drainer)
    steady = functools.partial(next, itertools.count())
    app = VgpuConsoleApp(
        lambda: engine,
        settings=Settings(theme=theme),
        clock=lambda: NOW,
        steady=steady,
        export_folder=folder / "exports",
    )
    return app, drainer


async def opened(app: VgpuConsoleApp, pilot: Driver) -> DrainScreen:
    """From the migrations to the table of the drain."""
    await press(pilot, "4")
    await until(pilot, lambda: row_ids(app, "drains-pane"))
    pane(app, "drains-pane").table.focus()
    await press(pilot, "enter")
    await until(pilot, lambda: isinstance(app.screen, DrainScreen))
    assert isinstance(app.screen, DrainScreen)
    return app.screen


def rows(app: VgpuConsoleApp) -> dict[str, str]:
    return {row.cells[0].text: "  ".join(c.text for c in row.cells[1:]) for row in pane(app).table.rows}


def test_each_server_has_its_state_its_bar_its_downtime_and_what_is_said_of_it(tmp_path: Path) -> None:
    app, _ = console(tmp_path, RUNNING)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        told = rows(app)
        assert "✓ moved" in told["note-1"]
        assert "8.41 s" in told["note-1"]
        assert "9–17 s" in told["note-1"]
        assert "▸ RAM" in told["train-1"]
        assert " 63 % ████████░░░░" in told["train-1"]
        assert "~20–34 s" in told["train-1"]
        assert "▸ switch-over" in told["note-2"]
        assert "· waiting" in told["train-3"]
        assert "! skipped" in told["train-2"]
        assert "in ERROR" in told["train-2"]
        text = screen_text(app)
        assert "1 of 6 moved · 2 under way · 2 waiting · 1 skipped" in text
        assert "guests stood still 8.41 s" in text
        assert "▸ running" in text
        assert "to accept before more can go: migrate.ecc" in text
        assert "openstack compute service set --enable gpu-a nova-compute" in text

    drive(app, test)


def test_a_downtime_over_clocks_that_are_apart_is_shown_as_it_was_heard(tmp_path: Path) -> None:
    moved = msgspec.structs.replace(MOVED, heard_ms=1_460.0)
    app, _ = console(tmp_path, known(drain(moved, status="ended", ended=NOW - 30.0), here=True))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "! 1.46 s" in rows(app)["note-1"]
        assert "heard here: 1460 ms; libvirt counts 8412 ms over" in screen_text(app)
        assert "guests stood still 1.46 s" in screen_text(app)

    drive(app, test)


def test_what_the_row_under_the_cursor_says_is_shown_in_full(tmp_path: Path) -> None:
    app, _ = console(tmp_path, BADLY)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        view(app).select(FAILED.server)
        await pilot.pause()
        assert "missing features: vmx-xsaves,xsaves on the destination" in " ".join(
            line.strip() for line in screen_text(app).splitlines()
        )
        await press(pilot, "z")
        assert set(rows(app)) == {"train-1", "note-2", "train-2"}, "only what needs an eye"

    drive(app, test, (100, 30))


def test_keys_pause_stop_and_go_on(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, RUNNING)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        await press(pilot, "P")
        await until(pilot, lambda: f"pause {RUNNING.drain.id}" in drainer.asked)
        await press(pilot, "X")
        await until(pilot, lambda: f"stop {RUNNING.drain.id}" in drainer.asked)
        await press(pilot, "R")
        assert not any(one.startswith("go on") for one in drainer.asked), "it runs"
        paused = known(drain(*RUNNING.drain.items, status="paused", why="by the operator"), here=True)
        drainer.known = (paused,)
        view(app).update()
        assert "‖ paused by the operator" in screen_text(app)
        await press(pilot, "R")
        await until(pilot, lambda: f"go on {RUNNING.drain.id}" in drainer.asked)

    drive(app, test)


def test_what_has_come_up_since_is_accepted_one_by_one(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, RUNNING)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        await press(pilot, "C")
        await until_dialog(pilot, DrainAcceptDialog)
        assert "train-4: needs to be accepted: migrate.ecc: whether ECC is on" in screen_text(app)
        await press(pilot, "a", "enter", "y")
        assert isinstance(app.screen, DrainAcceptDialog)
        await press(pilot, "space", "a")
        await until(pilot, lambda: f"accept {RUNNING.drain.id} migrate.ecc" in drainer.asked)

    drive(app, test)


def test_the_report_is_read_copied_and_written(tmp_path: Path) -> None:
    app, _ = console(tmp_path, BADLY)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        await press(pilot, "i")
        await until_dialog(pilot, DrainReportDialog)
        assert "1 moved, 2 failed, 1 skipped, 1 not begun or not ended" in screen_text(app)
        await press(pilot, "c")
        await until(pilot, lambda: any("copied the report" in t for t in toasts(app)))
        await press(pilot, "w", "w")
        folder = tmp_path / "exports"
        await until(pilot, lambda: len(list(folder.glob("*.json"))) == 2)
        (first, second) = sorted(folder.glob("drain-gpu-a-*.json"), key=lambda p: len(p.name))
        assert second.stem == f"{first.stem}-2", "nothing is written over"
        assert json.loads(first.read_text())["counts"] == {
            "done": 1,
            "failed": 2,
            "skipped": 1,
            "running": 0,
            "waiting": 1,
        }
        assert first.with_suffix(".txt").read_text().startswith("drain of gpu-a (demo)")
        assert first.stat().st_mode & 0o077 == 0
        await press(pilot, "escape", "y")
        await until_dialog(pilot, CopyDialog)
        assert "the report" in screen_text(app)

    drive(app, test)


def test_the_commands_that_do_the_rest_are_copied(tmp_path: Path) -> None:
    app, _ = console(tmp_path, BADLY)
    copied: list[str] = []
    app.copy_to_clipboard = copied.append  # type: ignore[method-assign, assignment]

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        await press(pilot, "c")
        assert copied[0].splitlines() == [
            f"vgpu-console drain --resume {BADLY.drain.id}",
            "openstack --os-compute-api-version 2.30 server migrate --live-migration --host gpu-b id-of-train-3",
            "openstack compute service set --enable gpu-a nova-compute",
        ]

    drive(app, test)


def test_one_that_ended_well_offers_nothing_more(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, DONE)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        assert "✓ ended" in text
        assert "1 of 1 moved" in text
        assert "03:41" in text, "the time that it took stands still"
        last = text.splitlines()[-1]
        assert not any(word in last for word in ("P pause", "X stop", "R go on", "E enable"))
        await press(pilot, "P", "X", "R", "E")
        assert not isinstance(app.screen, DrainLeftDialog)
        assert not drainer.asked

    drive(app, test)


def test_one_that_ended_badly_says_so_and_tries_the_failed_again_when_asked(tmp_path: Path) -> None:
    ended = drain(MOVED, FAILED, SKIPPED, status="ended", ended=NOW - 12.0)
    app, drainer = console(tmp_path, known(ended, here=True))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "✗ ended, 1 failed" in screen_text(app)
        await press(pilot, "R")
        await until_dialog(pilot, DrainLeftDialog)
        assert "try the 1 that failed once more" in screen_text(app)
        await press(pilot, "enter")
        assert isinstance(app.screen, DrainLeftDialog)
        await press(pilot, "a")
        await until(pilot, lambda: f"resume {ended.id} failed too" in drainer.asked)
        await until(pilot, lambda: any("a disk that is full" in t for t in toasts(app)))

    drive(app, test)


def test_one_that_was_left_is_offered_at_the_start_and_never_goes_on_by_itself(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, LEFT)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        drainer.left((LEFT,))
        await until_dialog(pilot, DrainLeftDialog)
        text = screen_text(app)
        assert "The drain of gpu-a is not done" in text
        assert "train-1  → gpu-c  was under way" in text
        assert "train-3  → gpu-b  waits" in text
        assert "accepted then and still: migrate.dirty-tracking" in text
        await press(pilot, "enter", "y", "space")
        assert isinstance(app.screen, DrainLeftDialog)
        assert not drainer.asked
        await press(pilot, "v")
        await until(pilot, lambda: isinstance(app.screen, DrainScreen))
        text = screen_text(app)
        assert "left by another console" in text
        assert "2 servers left to do; R goes on with it, nothing happens by itself" in text
        assert "? was moving" in rows(app)["train-1"], "nobody looks at it now"
        await press(pilot, "R")
        await until_dialog(pilot, DrainLeftDialog)
        await press(pilot, "n")
        assert isinstance(app.screen, DrainScreen)
        assert not drainer.asked
        await press(pilot, "R")
        await until_dialog(pilot, DrainLeftDialog)
        await press(pilot, "a")
        await until(pilot, lambda: f"resume {LEFT.drain.id}" in drainer.asked)

    drive(app, test)


def test_several_that_were_left_are_looked_at_one_after_the_other(tmp_path: Path) -> None:
    other = known(drain(WAITING, id="20270115T075500-aaaaaa", host="gpu-b", service="wanted"))
    app, drainer = console(tmp_path, LEFT, other)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        drainer.left((LEFT, other))
        await until_dialog(pilot, DrainLeftDialog)
        assert "gpu-a is not done  (1 of 2)" in screen_text(app)
        await press(pilot, "tab")
        assert "gpu-b is not done  (2 of 2)" in screen_text(app)
        assert "nova-compute of gpu-b is disabled first" in screen_text(app)
        await press(pilot, "a")
        await until(pilot, lambda: "resume 20270115T075500-aaaaaa" in drainer.asked)

    drive(app, test)


def test_one_that_another_console_runs_is_only_shown(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, known(LEFT.drain, holder="process 4711 on jump-1"))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "▸ run by process 4711 on jump-1" in screen_text(app)
        await press(pilot, "P", "R", "X")
        assert not drainer.asked
        assert not isinstance(app.screen, DrainLeftDialog)

    drive(app, test)


def test_a_read_only_console_says_why_it_goes_on_with_none(tmp_path: Path) -> None:
    app, drainer = console(tmp_path, LEFT, able=False)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert view(app).unavailable()["drain.resume"] == "this console is read-only"
        await press(pilot, "R")
        assert any("go on: this console is read-only" in t for t in toasts(app))
        drainer.left((LEFT,))
        await until_dialog(pilot, DrainLeftDialog)
        assert "not possible now  this console is read-only" in screen_text(app)
        await press(pilot, "a")
        assert dialog(app)
        assert not drainer.asked

    drive(app, test)


def test_names_from_strangers_are_names(tmp_path: Path) -> None:
    strange = known(
        drain(
            drain(WAITING).items[0],
            *(one for one in drain(SKIPPED).items),
            host="[/red] a[/]b [x='",
            status="paused",
            why="by the operator",
        ),
        here=True,
    )
    app, _ = console(tmp_path, strange)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "Drain of [/red] a[/]b [x='" in screen_text(app)
        await press(pilot, "i")
        assert "[/red] a[/]b [x='" in screen_text(app)

    drive(app, test)


# Pictures -------------------------------------------------------------------------------------------------------------

STATES = {"running": RUNNING, "ended-badly": BADLY}


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
@pytest.mark.parametrize("name", STATES)
def test_drain_pictures(snap_compare: Any, name: str, look: Any, tmp_path: Path) -> None:
    app, _ = console(tmp_path, STATES[name], theme=look[1])

    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await opened(pilot.app, pilot)
        view(pilot.app).select(FAILED.server if name == "ended-badly" else MOVED.server)
        await pilot.pause()

    assert snap_compare(app, terminal_size=look[0], run_before=run)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_left_pictures(snap_compare: Any, look: Any, tmp_path: Path) -> None:
    app, drainer = console(tmp_path, LEFT, theme=look[1])

    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await press(pilot, "4")
        await until(pilot, lambda: row_ids(pilot.app, "drains-pane"))
        drainer.left((LEFT,))
        await until_dialog(pilot, DrainLeftDialog)

    assert snap_compare(app, terminal_size=look[0], run_before=run)
