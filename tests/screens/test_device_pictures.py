"""Pictures (SVG) of what changes vGPUs: types, plans, refusals, results, functions that come up, Nova's side."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.actions.demo import NOW, still_demo
from tests.actions.device_console import HostConsole
from tests.screens.demo_console import until, until_dialog
from tests.screens.fleets import StillEngine
from tests.screens.test_pictures import _name, _ready, _still, _then
from vgpu_console.actions.mdev_change import plan_remove
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import BEFORE_FAILED, Outcome
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import PhysicalGpu, Snapshot
from vgpu_console.screens.change_run import ChangeRun
from vgpu_console.screens.dialogs.apply import ApplyDialog
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.nova_side import NovaSideDialog
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.dialogs.vgpu_type import VgpuTypeDialog
from vgpu_console.screens.host import HostScreen

__all__ = ["_still"]  # the fixture that keeps pictures from moving

FIRST, SECOND = "0000:41:00.0", "0000:81:00.0"
LOOKS = [((80, 24), "dark"), ((120, 40), "dark"), ((120, 40), "mono")]


def look_name(value: tuple[tuple[int, int], str]) -> str:
    """The size, and the theme where it is not the usual one."""
    size, theme = value
    return _name(size) + ("" if theme == "dark" else f"-{theme}")


class ReadEngine(StillEngine):
    """Shows a fleet that was read once, and has the facts that it was joined from."""

    def __init__(self, read: HostConsole, snapshot: Snapshot) -> None:
        super().__init__(snapshot, world=read.fleet, journal=read.journal)
        self._facts = read.facts

    def facts(self) -> Facts:
        """What was read."""
        return self._facts


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> HostConsole:
    """The embedded cloud's fleet on a clock that stands still."""
    return HostConsole(still_demo(), tmp_path_factory.mktemp("pictures")).read()


@pytest.fixture
def console(read: HostConsole, look: tuple[tuple[int, int], Any]) -> VgpuConsoleApp:
    """The console in front of it."""
    return console_of(read, read.snapshot, look[1])


def console_of(read: HostConsole, snapshot: Snapshot, theme: Any = "dark") -> VgpuConsoleApp:
    """The console in front of a snapshot."""
    steady = itertools.count()
    engine = ReadEngine(read, snapshot)
    return VgpuConsoleApp(
        lambda: engine, settings=Settings(theme=theme), clock=lambda: NOW, steady=lambda: float(next(steady))
    )


def on(host: str, row: str, *keys: str, ends: type[Dialog[Any]]) -> Any:
    """Open a host, put the cursor on a row, press keys one after the other, until a dialog is there."""

    async def run(pilot: Any) -> None:
        await _ready(pilot)
        pilot.app.open_host(host)
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen) and pilot.app.screen.query("TablePane"))
        await pilot.pause()
        pilot.app.screen.select(row)
        await _then(*keys)(pilot)
        await until_dialog(pilot, ends)
        for field in pilot.app.screen.query("Input"):
            field.cursor_blink = False
        await pilot.pause()

    return run


def over(shown: Callable[[], Dialog[Any]]) -> Any:
    """A dialog over the dashboard."""

    async def run(pilot: Any) -> None:
        await _ready(pilot)
        pilot.app.push_screen(shown())
        await _then()(pilot)

    return run


def devices_of(read: HostConsole, host: str, *, used: bool) -> list[str]:
    """The uuids of a host's devices, those in use or the free ones."""
    return [m.uuid or "" for m in read.snapshot.mdevs if m.host == host and bool(m.used) is used]


def removals(read: HostConsole, *uuids: str) -> list[Plan]:
    return [plan_remove(read.facts, read.snapshot, "gpu-05", uuid, NOW) for uuid in uuids]


pytestmark = pytest.mark.parametrize("look", LOOKS, ids=look_name)


def test_types(snap_compare: Any, console: VgpuConsoleApp, look: Any) -> None:
    run = on("gpu-02", f"gpu:{FIRST}", "n", ends=VgpuTypeDialog)
    assert snap_compare(console, terminal_size=look[0], run_before=run)


def test_types_of_a_vendor_vfio_gpu(snap_compare: Any, console: VgpuConsoleApp, look: Any) -> None:
    run = on("gpu-06", f"gpu:{FIRST}", "n", ends=VgpuTypeDialog)
    assert snap_compare(console, terminal_size=look[0], run_before=run)


def test_a_type_that_cannot_be_made(snap_compare: Any, console: VgpuConsoleApp, look: Any) -> None:
    run = on("gpu-02", f"gpu:{FIRST}", "n", "up", "p", "2", "enter", ends=VgpuTypeDialog)
    assert snap_compare(console, terminal_size=look[0], run_before=run)


def test_create_plan(snap_compare: Any, console: VgpuConsoleApp, look: Any) -> None:
    run = on("gpu-02", f"gpu:{FIRST}", "n", "enter", ends=PlanDialog)
    assert snap_compare(console, terminal_size=look[0], run_before=run)


def test_removal_refused(snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any) -> None:
    (uuid, *_) = devices_of(read, "gpu-05", used=True)
    run = on("gpu-05", f"mdev:{uuid}", "x", ends=PlanDialog)
    assert snap_compare(console, terminal_size=look[0], run_before=run)


def test_several_removals(snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any) -> None:
    uuids = (*devices_of(read, "gpu-05", used=True)[:1], *devices_of(read, "gpu-05", used=False))
    assert snap_compare(
        console, terminal_size=look[0], run_before=over(lambda: PlanDialog(removals(read, *uuids), lambda: 1.0))
    )


def test_results_of_removals(snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any) -> None:
    free, *_ = removals(read, *devices_of(read, "gpu-05", used=False))
    plans = removals(read, *devices_of(read, "gpu-05", used=True))
    refused = "; ".join(c.evidence for c in plans[0].blocked_by)
    run = ChangeRun([free, *plans], frozenset(), lambda: (), stop_at_first=True)
    run.outcomes = [
        Outcome(plan=free, result="done", message="applied and read back", observed=free.after),
        Outcome(plan=plans[0], result="refused", message=f"not allowed: {refused}"),
        Outcome(plan=plans[1], result="failed", message="libvirt: Device or resource busy; nothing was changed"),
        Outcome(plan=plans[2], result="refused", message=BEFORE_FAILED),
    ]
    run.finished = True
    assert snap_compare(console, terminal_size=look[0], run_before=over(lambda: ApplyDialog(run)))


@pytest.mark.parametrize("by_console", [True, False], ids=["by-console", "by-hand"])
def test_functions_come_up(
    snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any, by_console: bool
) -> None:
    plan = plan_enable(read.facts, read.snapshot, "gpu-02", SECOND, NOW, by_console=by_console)
    run = ChangeRun([plan], frozenset(), lambda: ())
    run.taken, run.word = len(plan.steps), "waiting: vfs 4 so far, wanted 16"
    assert snap_compare(console, terminal_size=look[0], run_before=over(lambda: ApplyDialog(run)))


def test_nobody_enabled_the_functions(snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any) -> None:
    plan = plan_enable(read.facts, read.snapshot, "gpu-02", SECOND, NOW, by_console=False)
    run = ChangeRun([plan], frozenset(), lambda: ())
    said = "the step was taken, but this was read back: vfs 0"
    run.outcomes = [Outcome(plan=plan, result="unverified", message=said, observed={"vfs": 0}, steps_taken=1)]
    run.finished = True
    assert snap_compare(console, terminal_size=look[0], run_before=over(lambda: ApplyDialog(run)))


@pytest.mark.parametrize("host", ["gpu-02", "gpu-04", "gpu-06"])
def test_novas_side(snap_compare: Any, console: VgpuConsoleApp, read: HostConsole, look: Any, host: str) -> None:
    assert snap_compare(console, terminal_size=look[0], run_before=over(lambda: NovaSideDialog(host, read.snapshot)))


def changed(snapshot: Snapshot, **changes: Any) -> Snapshot:
    """The snapshot with gpu-01's first GPU changed."""
    hosts = list(snapshot.hosts)
    first: PhysicalGpu = (hosts[0].gpus or ())[0]
    hosts[0] = msgspec.structs.replace(hosts[0], gpus=(msgspec.structs.replace(first, **changes),))
    return msgspec.structs.replace(snapshot, hosts=tuple(hosts))


@pytest.mark.parametrize("what", ["no-types", "unknown-maximum"])
def test_types_of_which_little_is_known(snap_compare: Any, read: HostConsole, look: Any, what: str) -> None:
    gpu = (read.snapshot.hosts[0].gpus or ())[0]
    bare = [
        msgspec.structs.replace(t, max=None, max_source="unknown", max_evidence="", framebuffer_mib=None, available=1)
        for t in gpu.types[:2]
    ]
    free = [msgspec.structs.replace(f, mdevs=(), creatable=(bare[0].type_id,)) for f in gpu.functions]
    shown = changed(read.snapshot, types=() if what == "no-types" else tuple(bare), functions=tuple(free))
    shown = msgspec.structs.replace(shown, mdevs=tuple(m for m in shown.mdevs if m.host != "gpu-01"))
    app = console_of(read, shown, look[1])
    run = on("gpu-01", f"gpu:{FIRST}", "n", ends=VgpuTypeDialog)
    assert snap_compare(app, terminal_size=look[0], run_before=run)
