"""An operator on a host's screen of the embedded cloud: to a row, through the dialogs of a change, and back."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import dialog, press, row_ids, view
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.host import HostScreen
from vgpu_console.simulator.hosts import Gpu

Driver = Pilot[Any]
FIRST, SECOND = "0000:41:00.0", "0000:81:00.0"


def gpu(demo: Demo, host: str, number: int = 0) -> Gpu:
    """The GPU that the embedded cloud has there."""
    return demo.cloud.state.hosts[host].gpus[number]


def carried(board: Gpu) -> list[str]:
    """The types of its devices, running or defined."""
    return [mdev.kind.type_id for mdevs in board.mdevs.values() for mdev in mdevs]


async def on_host(app: VgpuConsoleApp, pilot: Driver, name: str, row: str = "") -> None:
    """A host's screen with the cursor on a row, once all of its hosts were read."""
    await until(pilot, lambda: len(app.snapshot.mdevs if app.snapshot else ()) > 10)
    app.open_host(name)
    await until(pilot, lambda: isinstance(app.screen, HostScreen) and row_ids(app))
    if row:
        view(app).select(row)
    await pilot.pause()


async def on_empty_gpu(app: VgpuConsoleApp, pilot: Driver, demo: Demo) -> None:
    """On gpu-05's second GPU, whose only device was taken away."""
    with demo.cloud.state.lock:
        gpu(demo, "gpu-05", 1).mdevs.clear()
    app.ask_sources()
    await on_host(app, pilot, "gpu-05", f"gpu:{SECOND}")

    def empty() -> bool:
        devices = app.snapshot.mdevs if app.snapshot is not None else ()
        return not any(m.gpu == SECOND for m in devices if m.host == "gpu-05")

    await until(pilot, empty)


async def confirm(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Accept what is open and say yes in the way that the danger wants."""
    await until_dialog(pilot, PlanDialog)
    shown = app.screen
    assert isinstance(shown, PlanDialog)
    for _ in range(20):
        if not shown._left:
            break
        await press(pilot, "space")
    if shown.danger == "destroy":
        await press(pilot, "tab", *("space" if c == " " else "minus" if c == "-" else c for c in shown.must_type))
        await press(pilot, "enter")
    else:
        await press(pilot, "y" if shown.danger == "change" else "a")


async def back_on_host(app: VgpuConsoleApp, pilot: Driver) -> None:
    """Until the change has ended well and its dialogs are gone."""
    await until(pilot, lambda: isinstance(app.screen, HostScreen), 30)


def page(app: VgpuConsoleApp) -> str:
    """What the page of the dialog in front says."""
    return dialog(app).query_one(Page).text
