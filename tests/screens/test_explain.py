"""e: why a server, project or host has a vGPU or none; a flavor by its name; from one explanation on to another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.rules.explain import base as cloud
from tests.rules.explain.test_host import functions_off
from tests.rules.explain.test_project import TAKEN, limited
from tests.rules.explain.test_server import moved
from tests.rules.migration.two_hosts import HERE, NOW, SERVER, THERE, all_of, joined, of_server, of_service
from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import drive, pane, press, row_ids, screen_text, toasts, view
from tests.screens.fleets import IDENTITY, StillEngine
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_trace import ServerAction
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.rules.explain.chain import Explanation, Kind
from vgpu_console.screens.dialogs.explain import ExplainDialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.server import ServerDialog

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]


class KnownEngine(StillEngine):
    """Shows the fleet of some facts; Placement answers from them, when it may."""

    def __init__(self, known: Facts, action: ServerAction | None = None) -> None:
        super().__init__(msgspec.structs.replace(joined(known), identity=IDENTITY))
        self.known = known
        self.asked: list[tuple[RequestGroup, ...]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.last_action: Callable[[str], ServerAction | None] | None = (lambda _id: action) if action else None

    def facts(self) -> Facts:
        """What was read."""
        return self.known

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """By what is known."""
        self.may_answer.wait(10)
        self.asked.append(tuple(groups))
        return cloud.candidates(self.known)


def console(engine: KnownEngine, theme: Any = "dark") -> VgpuConsoleApp:
    return VgpuConsoleApp(lambda: engine, settings=Settings(theme=theme), clock=lambda: NOW)


async def explained(app: VgpuConsoleApp, pilot: Driver) -> ExplainDialog:
    """The dialog, once there is an answer."""
    await until_dialog(pilot, ExplainDialog)
    shown = app.screen
    assert isinstance(shown, ExplainDialog)
    await until(pilot, lambda: shown.settled)
    return shown


def found(shown: ExplainDialog) -> Explanation:
    assert shown.found is not None
    return shown.found


def test_a_host_of_the_fleet_view() -> None:
    engine = KnownEngine(of_service(HERE, status="disabled", disabled_reason="ticket 4711")(cloud.base()))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "e")
        shown = await explained(app, pilot)
        assert (found(shown).kind, found(shown).name) == ("host", HERE)
        text = screen_text(app)
        assert "THIS IS WHY" in text
        assert "nova-compute is disabled: ticket 4711" in text
        assert "openstack compute service set --enable gpu-01 nova-compute" in text
        await press(pilot, "c")
        assert any("openstack compute service set" in toast for toast in toasts(app))
        await press(pilot, "escape")
        assert view(app).view == "fleet"

    drive(console(engine), test)


def test_a_project_of_the_fleet_views_quota_and_of_the_quota_view() -> None:
    engine = KnownEngine(limited(1)(cloud.base()))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "tab", "e")
        assert (found(await explained(app, pilot)).kind, found(await explained(app, pilot)).id) == ("project", "p-ml")
        await press(pilot, "escape", "3", "e")
        shown = await explained(app, pilot)
        assert found(shown).kind == "project"
        assert "its own limit is 1, 1 are used" in screen_text(app)
        await press(pilot, "escape", "enter")  # who holds what of it
        await press(pilot, "e")
        assert found(await explained(app, pilot)).kind == "project"

    drive(console(engine), test)


def test_a_server_of_the_servers_view_and_on_from_there() -> None:
    engine = KnownEngine(cloud.base())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "e")
        shown = await explained(app, pilot)
        assert (found(shown).kind, found(shown).verdict) == ("server", "pass")
        assert "ALL IN ORDER" in screen_text(app)
        for key, kind in (("f", "flavor"), ("p", "project"), ("h", "host")):
            await press(pilot, key)
            await until(pilot, lambda kind=kind: getattr(getattr(app.screen, "found", None), "kind", "") == kind)  # type: ignore[misc]
            await press(pilot, "escape", "e")
            await until(pilot, lambda: getattr(getattr(app.screen, "found", None), "kind", "") == "server")

    drive(console(engine), test)


def test_the_servers_dialog_explains_its_server() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "enter")
        await until_dialog(pilot, ServerDialog)
        assert "e explain" in screen_text(app)
        await press(pilot, "e")
        assert found(await explained(app, pilot)).id == SERVER

    drive(console(KnownEngine(cloud.base())), test)


def test_a_migrations_server_and_a_hosts_vgpu() -> None:
    engine = KnownEngine(moved("failed")(cloud.base()))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "4", "e")
        assert found(await explained(app, pilot)).id == SERVER
        await press(pilot, "escape")
        app.open_host(HERE)
        await until(pilot, lambda: getattr(app.screen, "host", None) == HERE and row_ids(app))
        await press(pilot, "e")
        assert found(await explained(app, pilot)).kind == "host"
        await press(pilot, "escape")
        held = next(row for row in row_ids(app) if row.startswith("mdev:"))
        pane(app).table.select(held)
        await press(pilot, "e")
        assert found(await explained(app, pilot)).id == SERVER

    drive(console(engine), test)


def test_a_flavor_by_its_name_while_placement_is_asked() -> None:
    engine = KnownEngine(cloud.of_flavor(resources__VGPU="2")(cloud.base()))
    engine.may_answer.clear()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "colon", *"flavor", "space", *"tra")
        assert "explain flavor" in screen_text(app)
        await press(pilot, "enter")
        await until_dialog(pilot, ExplainDialog)
        assert "looking" in screen_text(app), "the screen does not wait for Placement"
        engine.may_answer.set()
        shown = await explained(app, pilot)
        assert found(shown).kind == "flavor"
        text = " ".join(shown.query_one(Page).text.split())
        assert "asks one device for 2 VGPU" in text
        assert "group_policy=none" in text
        before = len(engine.asked)
        await press(pilot, "r")
        await until(pilot, lambda: len(engine.asked) > before)
        await explained(app, pilot)

    drive(console(engine), test)


def test_a_flavor_in_the_palette() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "ctrl+p", *"train")
        await until(pilot, lambda: "explain flavor" in screen_text(app))

    drive(console(KnownEngine(cloud.base())), test)


def test_what_nova_said_of_the_build_is_read() -> None:
    failed = cloud.boot_failed("Insufficient compute resources: mdev-capable resource is not available.")
    engine = KnownEngine(of_server(host=None, hypervisor=None, status="ERROR")(cloud.base()), failed)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "e")
        shown = await explained(app, pilot)
        assert "its build failed on gpu-02" in " ".join(shown.query_one(Page).text.split())

    drive(console(engine), test)


def test_nothing_under_the_cursor_is_said() -> None:
    empty = msgspec.structs.replace(cloud.base(), nova=None, keystone=None, placement=None, libvirt={}, ssh={})

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "e")
        assert any(": flavor NAME" in toast for toast in toasts(app))

    drive(console(KnownEngine(empty)), test)


def test_what_is_gone_is_said_and_looked_for_again() -> None:
    engine = KnownEngine(cloud.base())

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        app.open_explanation("flavor", "no-such-id")
        shown = await explained(app, pilot)
        assert "Nova lists this flavor no more" in screen_text(app)
        assert shown.found is None
        await press(pilot, "c", "y", "r")
        await explained(app, pilot)

    drive(console(engine), test)


def test_a_name_that_looks_like_markup_is_a_name() -> None:
    engine = KnownEngine(of_server(name="[/red] [b]x a[/]b [x='")(cloud.base()))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "2", "e")
        shown = await explained(app, pilot)
        assert "[/red] [b]x a[/]b [x='" in screen_text(app)
        await press(pilot, "y")
        assert any("copied" in toast for toast in toasts(app))
        assert shown.is_attached

    drive(console(engine), test)


def test_on_the_embedded_cloud(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await until(pilot, lambda: len(app.snapshot.mdevs if app.snapshot else ()) > 10)
        await press(pilot, "2")
        await until(pilot, lambda: row_ids(app))
        lost = next(s.id for s in app.snapshot.servers if s.name == "vm-train-9") if app.snapshot else ""
        view(app).select(lost)
        await press(pilot, "e")
        shown = await explained(app, pilot)
        assert "the scheduler found no host for it then" in found(shown).summary
        assert {p.name for p in found(shown).places} >= {"gpu-01", "gpu-02"}

    demo.run(test)


# Pictures -------------------------------------------------------------------------------------------------------------

ERROR = all_of(of_server(status="ERROR", vm_state="error"), moved("failed"))
PICTURES: dict[str, tuple[Facts, Kind, str]] = {
    "server": (ERROR(cloud.base()), "server", SERVER),
    "flavor": (cloud.of_flavor(resources__VGPU="2")(cloud.base()), "flavor", "f1"),
    "project": (all_of(limited(1), TAKEN)(cloud.base()), "project", "p-ml"),
    "host": (functions_off(cloud.base()), "host", THERE),
}


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
@pytest.mark.parametrize("name", PICTURES)
def test_the_explanation(name: str, look: tuple[tuple[int, int], str], snap_compare: Any) -> None:
    size, theme = look
    known, kind, object_id = PICTURES[name]

    async def before(pilot: Any) -> None:
        await _ready(pilot)
        pilot.app.open_explanation(kind, object_id)
        await explained(pilot.app, pilot)
        await pilot.pause()

    assert snap_compare(console(KnownEngine(known), theme), terminal_size=size, run_before=before)
