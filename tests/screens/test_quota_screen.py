"""The quota view: totals, rows, findings with their commands, and who holds what of a project's quota."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.screens import fleets
from tests.screens.driving import console, dialog, drive, pane, press, row_ids, screen_text, toasts, view, words
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.screens.dialogs.finding import FindingDialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.server import ServerDialog
from vgpu_console.screens.project import ProjectScreen
from vgpu_console.screens.quota import QuotaScreen
from vgpu_console.screens.render import audit
from vgpu_console.screens.seams import LimitTarget

Driver = Pilot[Any]
VGPU = "class:VGPU"


def test_totals_stand_above_the_projects_and_findings_below() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3")
        said = words(app, "quota-totals")
        assert said.startswith("VGPU   promised 34 of 26 real: 131 %, 1 without a limit   17 used")
        assert pane(app, "quota-findings-pane").head.text.startswith("Findings 3")
        assert "1 fail · 1 warn · 1 info" in pane(app, "quota-findings-pane").head.text
        shown = screen_text(app)
        assert "6 +2 moving" in shown
        assert "5 +1 leaked" in shown
        assert "missing → ∞" in shown

    drive(console(), test)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
def test_what_matters_most_is_shown_at_every_width(size: tuple[int, int]) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3")
        shown = pane(app, "all-quota-pane").table.shown_columns
        assert {"project", "used", "held", "free", "origin"} <= set(shown)
        assert "resource" not in shown or size[0] > 120  # all rows are about one

    drive(console(), test, size=size)


def test_the_resource_is_a_column_as_soon_as_there_are_two() -> None:
    more = msgspec.structs.replace(fleets.quota("c3", "render", 4, "project", 1), resource="class:CUSTOM_L40S_12Q")
    both = fleets.fleet(quotas=(*fleets.fleet().quotas, more))
    engine = fleets.StillEngine(fleets.fleet())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3")
        table = pane(app, "all-quota-pane").table
        assert "resource" not in table.shown_columns
        engine.deliver(both)
        for _ in range(100):
            await pilot.pause(0.01)
            if len(table.rows) == 5:
                break
        assert {"project", "resource", "used", "held", "free", "origin"} <= set(table.shown_columns)
        assert "L40S_12Q" in screen_text(app)

    drive(console(engine=engine), test, size=(80, 24))


def test_a_finding_is_read_whole_and_its_command_copied() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3", "tab")
        assert row_ids(app, "quota-findings-pane")[0].startswith("finding limit-not-registered")
        await press(pilot, "y", "y")
        assert app.clipboard == fleets.QUOTA_FINDINGS[0].command
        await press(pilot, "down", "enter")
        assert isinstance(app.screen, FindingDialog)
        assert "one of them leaked" in dialog(app).query_one(Page).text
        await press(pilot, "y")
        assert app.clipboard == "openstack limit set --resource-limit 7 b2-limit"
        await press(pilot, "escape")
        assert isinstance(app.screen, QuotaScreen)

    drive(console(), test)


def test_the_limit_key_on_a_finding_is_about_its_project() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3", "tab", "down")
        assert list(view(app).limit_targets()) == [LimitTarget("b2" * 16, VGPU)]
        await press(pilot, "end")  # about nova: nothing to set
        assert list(view(app).limit_targets()) == []

    drive(console(), test)


def test_a_finding_whose_project_has_a_twin_is_about_neither() -> None:
    twins = (fleets.quota("a1", "vdi", 4, "project", 5), fleets.quota("b2", "vdi", 4, "project", 5))
    finding = Finding(id="project-over-limit", severity="warn", object="project vdi", message="uses 5 of 4 class:VGPU")
    assert audit.targets(finding, fleets.fleet(quotas=twins)) == ()
    assert audit.targets(finding, fleets.fleet(quotas=twins[:1])) == (LimitTarget("a1" * 16, VGPU),)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (fleets.fleet(quota_findings=()), "nothing is wrong with the limits, as far as can be seen"),
        (fleets.all_down(), "unknown: keystone: the password was not accepted (401)"),
    ],
)
def test_no_finding_says_why(shown: Snapshot, said: str) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3")
        assert said in pane(app, "quota-findings-pane").head.text
        assert not pane(app, "quota-findings-pane").table.display

    drive(console(shown), test)


def test_enter_on_a_project_shows_who_holds_what_and_leads_to_the_servers() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3", "down", "enter")
        screen = app.screen
        assert isinstance(screen, ProjectScreen)
        assert screen.project_id == "b2" * 16
        kinds = {row.cells[0].text for row in pane(app).table.rows}
        assert kinds == {"server"}
        said = words(app, "facts-lines")
        assert "uses 6 of 6 class:VGPU, one of them leaked" in said
        assert "the project's own" in said
        assert "leaked    1" in said
        await press(pilot, "enter")
        assert isinstance(app.screen, ServerDialog)
        await press(pilot, "escape", "escape")
        assert isinstance(app.screen, QuotaScreen)
        assert pane(app, "all-quota-pane").table.cursor_id == f"{'b2' * 16}/{VGPU}"

    drive(console(), test)


def test_a_migration_is_a_holder_of_its_own_that_leads_to_its_server() -> None:
    moving = next(s for s in fleets.fleet().servers if s.status == "MIGRATING")

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.open_project(moving.project_id, VGPU)
        await pilot.pause()
        await pilot.pause()
        first = pane(app).table.rows[0]
        assert [cell.text for cell in first.cells][:3] == ["moving", moving.name, "1"]
        assert "counts twice ▸ gpu-01" in first.cells[4].text
        await press(pilot, "enter")
        assert isinstance(app.screen, ServerDialog)
        assert moving.id in screen_text(app)

    drive(console(), test)


def test_a_missing_limit_says_on_the_project_what_that_means_and_how_it_is_known() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.open_project("d4" * 16, VGPU)
        await pilot.pause()
        await pilot.pause()
        said = " ".join(words(app, "facts-lines").split())
        assert "missing → unlimited" in said
        assert "since 31 (2025.1) only 'servers' must be registered" in said
        assert "not registered" in said

    drive(console(), test)


def test_a_key_for_limits_without_a_project_says_where_to_go() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.changes.why_not = lambda action_id: ""  # type: ignore[method-assign]
        await press(pilot, "l")
        assert any("tab to the quota below" in toast for toast in toasts(app))
        await press(pilot, "4", "l")
        assert any("no project is under the cursor" in toast for toast in toasts(app))
        await press(pilot, "2")
        assert [t.resource for t in view(app).limit_targets()] == [VGPU]

    drive(console(), test)


def test_marks_are_what_a_key_is_about_also_those_that_the_filter_hides() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "3", "space", "down", "space", "slash", *"students", "enter")
        assert [t.project_id[:2] for t in view(app).limit_targets()] == ["a1", "c3"]

    drive(console(), test)
