"""The doctor's view: findings the worst first, each with its evidence, and what was not looked at."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.screens import ailing, fleets
from tests.screens.ailing import MIGRATION, SERVER
from tests.screens.demo_console import Demo
from tests.screens.driving import console, dialog, drive, pane, press, row_ids, screen_text, settle, toasts, view, words
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.dialogs.finding import FindingDialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.unlooked import UnlookedDialog
from vgpu_console.screens.doctor import DoctorScreen
from vgpu_console.screens.host import HostScreen

Driver = Pilot[Any]


@pytest.mark.parametrize("key", ["exclamation_mark", "5"])
def test_findings_are_listed_the_worst_first_and_the_tab_counts_them(key: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, key)
        assert isinstance(app.screen, DoctorScreen)
        shown = pane(app, "doctor-pane")
        assert shown.head.text.startswith("Findings 5")
        assert "2 fail · 2 warn · 1 info" in shown.head.text
        severities = [row.cells[0].text.strip() for row in shown.table.rows]
        assert severities == ["✗ fail", "✗ fail", "! warn", "! warn", "· info"]
        assert "5 Doctor 4!" in words(app, "tabs")
        assert "libvirt of gpu-04, Keystone" in words(app, "doctor-unlooked")

    drive(console(ailing.ailing()), test)


def test_a_finding_shows_why_it_matters_what_each_side_says_and_how_old_that_is() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "down", "enter")
        said = dialog(app).query_one(Page).text
        assert "none of 16 virtual functions is enabled" in said
        assert "virtual functions are gone after every boot" in said
        assert "libvirt gpu-04  0000:41:00.0: 0 of 16 virtual functions" in said
        assert "41s ago" in said  # gpu-04's libvirt is silent: that is its last word
        assert "2s ago" in said  # Placement's
        assert "vgpu-console sriov enable gpu-04 --gpu 0000:41:00.0" in said

    drive(console(ailing.ailing()), test)


@pytest.mark.parametrize("key", ["c", "y"])
def test_the_command_is_copied(key: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "down", "enter", key)
        assert app.clipboard == "vgpu-console sriov enable gpu-04 --gpu 0000:41:00.0"

    drive(console(ailing.ailing()), test)


def test_from_a_finding_one_goes_to_its_host_and_to_its_server() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "h")
        assert isinstance(app.screen, HostScreen)
        assert app.screen.host == "gpu-03"
        await press(pilot, "exclamation_mark", "down", "down", "enter", "i")
        await settle(pilot)
        assert SERVER.id in screen_text(app) or SERVER.name in screen_text(app)

    drive(console(ailing.ailing()), test)


def test_what_was_not_looked_at_is_listed_with_the_access_that_would_show_it() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "u")
        assert isinstance(app.screen, UnlookedDialog)
        said = " ".join(app.screen.query_one(Page).text.split())
        assert "libvirt of gpu-04 no answer within 5 s" in said
        assert "leaves open vfs-partial, mdev-not-active, libvirt-too-old" in said
        assert "reader on the system" in said

    drive(console(ailing.ailing()), test)


NOTHING_WRONG = ailing.ailing(findings=(), hosts=fleets.six_hosts())


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (msgspec.structs.replace(NOTHING_WRONG, unlooked=()), "nothing is wrong, and everything was looked at"),
        (NOTHING_WRONG, "nothing is wrong in what could be looked at; not looked at: libvirt of gpu-04, Keystone"),
        (fleets.all_down(), "no source has answered yet: nothing could be looked at"),
    ],
)
def test_no_finding_says_what_that_is_worth(shown: Snapshot, said: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark")
        assert said in " ".join(screen_text(app).split())

    drive(console(shown), test, size=(160, 40))


def test_nothing_unlooked_is_said_too() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "u")
        assert any("everything was looked at" in one for one in toasts(app))

    drive(console(msgspec.structs.replace(NOTHING_WRONG, unlooked=())), test)


def test_the_rows_of_every_table_carry_the_mark_of_a_finding_that_names_them() -> None:
    def mark(app: VgpuConsoleApp, name: str, row_id: str) -> str:
        table = pane(app, name).table
        at = next(i for i, c in enumerate(table.columns) if c.key == "findings")
        return next(row for row in table.rows if row.id == row_id).cells[at].text

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        assert mark(app, "hosts-pane", "gpu-04") == "1"
        await press(pilot, "2")
        assert mark(app, "servers-pane", SERVER.id) == "1"
        assert mark(app, "servers-pane", ailing.FLEET.servers[1].id) == ""
        await press(pilot, "z")
        assert SERVER.id in [row.id for row in pane(app, "servers-pane").table.rows]
        await press(pilot, "3")
        assert mark(app, "all-quota-pane", f"{'b2' * 16}/class:VGPU") == "1"
        await press(pilot, "4")
        assert mark(app, "migrations-pane", MIGRATION.uuid) == "1"
        app.open_host("gpu-04")
        await settle(pilot)
        assert mark(app, "devices-pane", "gpu:0000:41:00.0") == "1"
        assert mark(app, "devices-pane", "gpu:0000:81:00.0") == ""

    drive(console(ailing.ailing()), test)


def test_two_findings_alike_are_two_rows_and_a_filter_finds_by_host_and_id() -> None:
    twice = (ailing.FINDINGS[0], *ailing.FINDINGS)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark")
        assert len(pane(app, "doctor-pane").table.rows) == 6
        view(app).filter_to("vfs-off gpu-04")
        assert [row.id for row in pane(app, "doctor-pane").table.rows] == ["vfs-off gpu gpu-04 0000:41:00.0"]

    drive(console(ailing.ailing(findings=twice)), test)


@pytest.mark.parametrize("way", [("v",), ("enter", "v")])
def test_the_action_that_mends_a_finding_is_begun_from_it(way: tuple[str, ...], tmp_path: Any) -> None:
    demo = Demo(tmp_path, scenario="ill-vfs-off", hosts=True)
    wanted = "vfs-off gpu gpu-01 0000:81:00.0"

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark")
        for _ in range(200):
            if wanted in row_ids(app, "doctor-pane"):
                break
            await pilot.pause(0.05)
        app.open_row("doctor", wanted)
        await settle(pilot)
        await press(pilot, *way)
        for _ in range(100):
            if isinstance(app.screen, PlanDialog):
                break
            await pilot.pause(0.05)
        assert isinstance(app.screen, PlanDialog)
        assert "gpu-01" in dialog(app).heading

    drive(demo.app, test)


def test_an_action_that_is_not_possible_says_why_and_is_not_begun() -> None:
    read_only = msgspec.structs.replace(fleets.IDENTITY, read_only=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "exclamation_mark", "down", "enter")
        said = dialog(app).query_one(Page).text
        assert "Enable virtual functions: " in said
        await press(pilot, "v")
        assert isinstance(app.screen, FindingDialog)

    drive(console(ailing.ailing(identity=read_only)), test)
