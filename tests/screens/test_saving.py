"""ctrl+s: the screen, or a report of the fleet, as files; what stands in the way is told."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from tests.screens import fleets
from tests.screens.demo_console import Demo, until
from tests.screens.driving import console, drive, press, toasts
from vgpu_console import safe_file
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.dialogs.copy import CopyDialog
from vgpu_console.screens.dialogs.save import SaveDialog
from vgpu_console.screens.view import ViewScreen

Driver = Pilot[Any]


async def _written(app: VgpuConsoleApp, pilot: Driver) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _suffixes(folder: Path) -> list[str]:
    return sorted(f.suffix for f in _files(folder))


def test_the_screen_is_written_as_two_private_files_and_said_where(tmp_path: Path) -> None:
    folder = tmp_path / "exports"

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, SaveDialog)
        await press(pilot, "enter")
        await _written(app, pilot)
        files = _files(folder)
        assert [f.suffix for f in files] == [".svg", ".txt"]
        assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in files)
        assert "gpu-06" in files[1].read_text()
        assert "Write to a file" not in files[1].read_text(), "the screen, and not the dialog on it"
        svg = files[0].read_text()
        assert svg.startswith("<svg")
        assert "http://" not in svg.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in svg.replace("https://www.textualize.io", "")
        assert f"written: {files[0]} and {files[1].name}" in toasts(app)

    drive(console(exports=folder), test)


@pytest.mark.parametrize(
    ("key", "suffix", "begins"),
    [
        ("m", ".md", "# vGPU fleet of prod"),
        ("h", ".html", "<!DOCTYPE html>"),
        ("n", ".json", "{"),
        ("c", ".csv", "cap"),
    ],
)
def test_a_report_of_the_fleet_in_each_format(key: str, suffix: str, begins: str, tmp_path: Path) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "4", "ctrl+s", key)
        await _written(app, pilot)
        (path,) = _files(tmp_path)
        assert path.name.startswith("vgpu-fleet-")
        assert path.suffix == suffix
        assert path.read_text().startswith(begins)
        assert "gpu-06" in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert f"written: {path}" in toasts(app)

    drive(console(exports=tmp_path), test)


def test_the_path_of_what_was_written_last_can_be_copied(tmp_path: Path) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s", "y")
        assert isinstance(app.screen, SaveDialog), "there is none yet"
        await press(pilot, "n")
        await _written(app, pilot)
        await press(pilot, "ctrl+s", "y")
        (path,) = _files(tmp_path)
        assert app.clipboard == str(path)

    drive(console(exports=tmp_path), test)


def test_keys_may_be_typed_ahead_of_the_dialog(tmp_path: Path) -> None:
    """As fast as a hand that knows them: none reaches the table behind."""

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        for keys in (["ctrl+s", "enter"] * 3, ["ctrl+s", "m"]):
            await pilot.press(*keys)
        await _written(app, pilot)
        assert isinstance(app.screen, ViewScreen)
        assert len(app.screen_stack) == 1, "no host was opened"
        assert _suffixes(tmp_path) == [".md", *[".svg"] * 3, *[".txt"] * 3]

    drive(console(exports=tmp_path), test)


def test_keys_that_all_come_at_once_end_nothing_and_open_nothing(tmp_path: Path) -> None:
    """As a terminal sends what was pasted: every key is there before the first one has taken effect."""

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        for _ in range(5):
            app.post_message(events.Key("ctrl+s", "\x13"))
            app.post_message(events.Key("enter", "\r"))
        await until(pilot, lambda: ".txt" in _suffixes(tmp_path))
        await _written(app, pilot)
        assert isinstance(app.screen, (ViewScreen, SaveDialog))
        assert isinstance(app.screen_stack[0], ViewScreen)
        assert len(app.screen_stack) <= 2, "no host was opened"
        await press(pilot, "escape", "ctrl+s")
        assert isinstance(app.screen, SaveDialog), "and the console goes on"

    drive(console(exports=tmp_path), test)


def test_it_works_over_a_detail_and_over_a_dialog(tmp_path: Path) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "enter", "ctrl+s", "s", "escape")
        await press(pilot, "y")
        assert isinstance(app.screen, CopyDialog)
        await press(pilot, "ctrl+s", "s")
        await _written(app, pilot)
        assert isinstance(app.screen, CopyDialog), "and the dialog is still there"
        texts = [f.read_text() for f in sorted(_files(tmp_path), key=lambda f: len(f.name)) if f.suffix == ".txt"]
        assert "Copy" in texts[1]
        assert "Copy" not in texts[0]

    drive(console(exports=tmp_path), test)


def test_escape_writes_nothing(tmp_path: Path) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s", "escape")
        await _written(app, pilot)
        assert _files(tmp_path) == []

    drive(console(exports=tmp_path), test)


@pytest.mark.parametrize("key", ["s", "h"])
def test_what_cannot_be_written_is_told(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.write_text("a file where the folder should be")

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s", key)
        await _written(app, pilot)
        assert any(toast.startswith(f"not written: {folder}: ") for toast in toasts(app))
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, SaveDialog), "and the console goes on"

    drive(console(exports=folder), test)


def test_the_console_goes_on_while_a_slow_disk_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    write = safe_file.write_new

    def slow(*arguments: Any) -> Path:
        assert gate.wait(20)
        return write(*arguments)

    monkeypatch.setattr(safe_file, "write_new", slow)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s", "n", "3")
        assert app.current_mode == "quota"
        assert _files(tmp_path) == []
        gate.set()
        await _written(app, pilot)
        assert _suffixes(tmp_path) == [".json"]

    drive(console(exports=tmp_path), test)


def test_hostile_names_are_written_and_do_nothing(tmp_path: Path) -> None:
    from tests.screens.hostile import PIECES, hostile_fleet
    from vgpu_console.text import plain

    snapshot = hostile_fleet([plain(piece) for piece in PIECES])

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        for key in "smhnc":
            await press(pilot, "ctrl+s", key)
            await _written(app, pilot)
        assert _suffixes(tmp_path) == [".csv", ".html", ".json", ".md", ".svg", ".txt"]
        assert len([t for t in toasts(app) if t.startswith("written: ")]) == 5

    drive(console(snapshot, exports=tmp_path), test)


def test_on_the_embedded_cloud_past_moves_are_in_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    demo = Demo(tmp_path)
    demo.app.saving._folder = folder

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+s", "n")
        await until(pilot, lambda: ".json" in _suffixes(folder))
        document = json.loads(_files(folder)[0].read_text())
        assert document["cloud"] == "demo"
        assert any(move["running"] for move in document["migrations"])
        assert {q["project"] for q in document["quota"]} >= {"ml-research", "vdi"}

    demo.run(test)


def test_the_dialog_as_it_is_drawn(snap_compare: Any, tmp_path: Path) -> None:
    app = console(fleets.fleet(), exports=Path("/home/op/.local/state/vgpu-console/exports"))
    app.saving.last = Path("/home/op/.local/state/vgpu-console/exports/vgpu-fleet-20260921-141320.html")

    async def open_it(pilot: Driver) -> None:
        from tests.screens.driving import settle

        await settle(pilot)
        await press(pilot, "ctrl+s")

    assert snap_compare(app, terminal_size=(120, 40), run_before=open_it)
