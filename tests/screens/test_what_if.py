"""What if: the question on the screen, on the embedded cloud, with Placement's own word for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import dialog, press
from tests.screens.test_changes import Driver, on_project
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.what_if import WhatIfDialog
from vgpu_console.simulator import DemoCloud, HttpFault

FLAVOR = (*"desktop", "full_stop", *"a40")


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


@pytest.fixture
def roomy(tmp_path: Path) -> Demo:
    """With a limit that allows project vdi what the hosts have room for."""

    def allow(cloud: DemoCloud) -> None:
        project = next(p.id for p in cloud.state.projects.values() if p.name == "vdi")
        for limit in cloud.state.limits.values():
            if (limit.project_id, limit.resource_name) == (project, "class:VGPU"):
                limit.resource_limit = 20

    return Demo(tmp_path, before=allow)


def said(app: VgpuConsoleApp) -> str:
    """What the dialog says, in one line."""
    return " ".join(dialog(app).query_one(Page).text.split())


async def open_for(app: VgpuConsoleApp, pilot: Driver, demo: Demo, project: str) -> None:
    """The dialog, with the project under the cursor filled in."""
    await on_project(app, pilot, demo, project)
    await press(pilot, "W")
    await until_dialog(pilot, WhatIfDialog)


def test_it_says_which_of_quota_and_capacity_refuses_it(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await open_for(app, pilot, demo, "vdi")
        await press(pilot, *FLAVOR, "enter")  # a beginning that only one flavor has
        await until(pilot, lambda: "Quota" in said(app))
        assert said(app).startswith("✗ no")
        assert "6 used and 1 wanted of 6" in said(app)
        assert "Capacity" in said(app)
        assert "gpu-06" in said(app)

    demo.run(test)


def test_a_name_that_fits_several_flavors_names_them(demo: Demo) -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await open_for(app, pilot, demo, "vdi")
        await press(pilot, *"desk", "enter")
        await until(pilot, lambda: "there are desktop.a40-8q, desktop.t4-4q" in said(app))

    demo.run(test)


def test_cpu_memory_and_disk_are_placements_to_tell(roomy: Demo) -> None:
    """A host with vGPUs but without memory takes none, though the snapshot alone does not show that."""

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await open_for(app, pilot, roomy, "vdi")
        await press(pilot, *FLAVOR, "enter")
        await until(pilot, lambda: "Capacity" in said(app))
        before = said(app)
        state = roomy.cloud.state
        with state.lock:
            for host in state.hosts.values():
                root = state.placement.providers[host.root_uuid]
                free = root.inventories["MEMORY_MB"].capacity - root.used("MEMORY_MB")
                state.placement.allocate(state.new_uuid(), {root.uuid: {"MEMORY_MB": free}}, "someone", "nobody")
        await press(pilot, "enter")
        await until(pilot, lambda: "Capacity" in said(app) and said(app) != before)
        assert said(app).startswith("✗ no capacity refuses it")
        assert "Placement has room for 0 such servers by CPU, memory, disk and traits" in said(app)

    roomy.run(test)


def _held_up(app: VgpuConsoleApp, asked: threading.Event, answer: threading.Event) -> None:
    """Have every question to Placement wait for a word."""
    engine = app.engine
    assert engine is not None
    real: Callable[[Sequence[RequestGroup], str | None], Candidates] = engine.candidates

    def slow(groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        asked.set()
        assert answer.wait(20)
        return real(groups, policy)

    engine.candidates = slow  # type: ignore[method-assign]


def test_it_says_that_it_asks_and_can_be_closed_meanwhile(demo: Demo) -> None:
    asked, answer = threading.Event(), threading.Event()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        _held_up(app, asked, answer)
        await open_for(app, pilot, demo, "vdi")
        await press(pilot, *FLAVOR, "enter")
        await until(pilot, asked.is_set)
        assert said(app) == "asking Placement …"
        await press(pilot, "escape")
        assert not isinstance(app.screen, WhatIfDialog)
        answer.set()

    demo.run(test)


def test_a_placement_that_fails_is_not_known_and_no_yes(roomy: Demo) -> None:
    asked, answer = threading.Event(), threading.Event()

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        _held_up(app, asked, answer)
        await open_for(app, pilot, roomy, "vdi")
        await press(pilot, *FLAVOR, "enter")
        await until(pilot, asked.is_set)
        roomy.cloud.faults.http["placement"] = HttpFault("status", status=503, path="/allocation_candidates")
        answer.set()
        await until(pilot, lambda: "Capacity" in said(app))
        assert said(app).startswith("? not known")
        assert "whether CPU, memory and disk are free is not known" in said(app)
        assert "503" in said(app)

    roomy.run(test)
