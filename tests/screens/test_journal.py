"""The journal's screen: what was changed, the latest first, and one change whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.screens import fleets
from tests.screens.demo_console import until, until_dialog
from tests.screens.driving import dialog, drive, press, row_ids, screen_text
from tests.screens.fleets import StillEngine
from tests.screens.plans import UNKNOWN, WARN, plan
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.actions.journal import Entry, Event, Journal
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.screens.dialogs.journal_run import JournalRunDialog
from vgpu_console.screens.dialogs.page import Page

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]


def line(minute: int, run: str, event: Event, **fields: Any) -> Entry:
    return Entry(at=f"2026-08-04T11:{minute:02}:07.250Z", run=run, event=event, **fields)


def begun(minute: int, run: str, what: Any, **fields: Any) -> Entry:
    return line(minute, run, "begun", user="ops@bastion", source="10.0.0.7", cloud="prod", plan=what, **fields)


LINES = (
    begun(2, "3f9c00000001", plan("risk", WARN), overrides=("quota.below-usage",)),
    line(2, "3f9c00000001", "step", step=1, message="set class:VGPU of ml-research to 4"),
    line(2, "3f9c00000001", "ended", result="done", message="applied and read back", observed={"limit": 4}),
    begun(9, "3f9c00000002", plan(name="vdi")),
    line(9, "3f9c00000002", "step", step=1),
    line(9, "3f9c00000002", "ended", result="failed", message="keystone: 503 in 0.2 s"),
    begun(14, "77ab00000003", plan("risk", UNKNOWN, name="render", title="live migration of web-1 to gpu-02")),
    line(15, "77ab00000003", "ended", result="done", message="Nova has begun it"),
    line(17, "77ab00000003", "outcome", message="completed: gpu-01 → gpu-02, downtime 1427 ms"),
    begun(31, "91d000000004", plan(name="students")),
    line(31, "91d000000004", "step", step=1),
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in LINES))
    return Journal(path)


def console(journal: Journal | None, theme: Any = "dark") -> VgpuConsoleApp:
    engine = StillEngine(fleets.fleet(), journal=journal)
    return VgpuConsoleApp(lambda: engine, settings=Settings(theme=theme), clock=lambda: fleets.NOW)


async def shown(app: VgpuConsoleApp, pilot: Driver) -> None:
    await press(pilot, "J")
    await until(pilot, lambda: app.current_mode == "journal" and row_ids(app))


def test_the_latest_change_comes_first_and_unfinished_ones_are_counted(journal: Journal) -> None:
    app = console(journal)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shown(app, pilot)
        assert row_ids(app) == ["91d000000004", "77ab00000003", "3f9c00000002", "3f9c00000001"]
        text = screen_text(app)
        assert "Journal 4" in text
        assert "1 unfinished" in text
        assert "? unfinished" in text
        assert "✗ failed" in text
        await press(pilot, "z")
        assert row_ids(app) == ["91d000000004", "3f9c00000002"]

    drive(app, test)


def test_one_change_whole(journal: Journal) -> None:
    app = console(journal)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shown(app, pilot)
        await press(pilot, "G", "enter")
        await until_dialog(pilot, JournalRunDialog)
        text = dialog(app).query_one(Page).text
        for words in (
            "✓ done",
            "by ops@bastion from 10.0.0.7",
            "accepted   quota.below-usage",
            "seen then  limit 4",
            "8  →  4",
            "✓ accepted",
            "To undo it",
            "openstack limit set --resource-limit 4 0f3e6d1c",
        ):
            assert words in text
        await press(pilot, "escape", "k", "k", "enter")
        await until_dialog(pilot, JournalRunDialog)
        assert "completed: gpu-01 → gpu-02, downtime 1427 ms" in dialog(app).query_one(Page).text

    drive(app, test)


def test_what_another_console_writes_is_shown(journal: Journal) -> None:
    moments = iter(range(10_000))
    engine = StillEngine(fleets.fleet(), journal=journal)
    app = VgpuConsoleApp(lambda: engine, settings=Settings(), clock=lambda: fleets.NOW + 3 * next(moments))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await shown(app, pilot)
        Journal(journal.path).begin(plan(name="later"), cloud="prod")

        def five() -> bool:
            app.update_screen()
            return len(row_ids(app)) == 5

        await until(pilot, five)

    drive(app, test)


@pytest.mark.parametrize(
    ("kept", "said"),
    [(True, "nothing was changed yet"), (False, "this console only watches: it keeps no journal")],
)
def test_an_empty_journal_says_why(tmp_path: Path, kept: bool, said: str) -> None:
    app = console(Journal(tmp_path / "none.jsonl") if kept else None)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "J")
        await until(pilot, lambda: app.current_mode == "journal" and said in screen_text(app))
        assert row_ids(app) == []

    drive(app, test)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_journal_pictures(snap_compare: Any, journal: Journal, look: Any) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await shown(pilot.app, pilot)

    assert snap_compare(console(journal, look[1]), terminal_size=look[0], run_before=run)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_one_change_pictures(snap_compare: Any, journal: Journal, look: Any) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await shown(pilot.app, pilot)
        await press(pilot, "G", "enter")
        await until_dialog(pilot, JournalRunDialog)

    assert snap_compare(console(journal, look[1]), terminal_size=look[0], run_before=run)
