"""The timeline of a live migration: as it goes, as it ended, what mends it, and what is on the list of migrations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.fleet.follow_scene import DESTINATION, FollowScene
from tests.rules.migration.two_hosts import NOW, facts
from tests.screens.demo_console import Demo, until, until_dialog
from tests.screens.driving import drive, pane, press, row_ids, screen_text, toasts, view
from tests.screens.movers import StillMover, engine_of, row_of
from tests.screens.test_device_pictures import LOOKS, look_name
from tests.screens.test_pictures import _ready, _still
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.check import Check
from vgpu_console.model.evidence import libvirt_says, nova_says
from vgpu_console.model.migration_end import End, Mend
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Happening, Phase, Timeline, Voice
from vgpu_console.model.snapshot import Migration
from vgpu_console.screens.dialogs.plan import PlanDialog
from vgpu_console.screens.render.timeline import clock_word, rate_word, sparkline, timeline_lines
from vgpu_console.screens.timeline import TimelineScreen

__all__ = ["_still"]  # the fixture that keeps pictures from moving

Driver = Pilot[Any]
SERVER, UUID = "5e12f0aa-0000-4000-8000-000000000001", "aaaa0000-0000-4000-8000-000000000007"
GIB = 2**30

RUNNING = Timeline(
    server=SERVER,
    name="vm-train-1",
    project="ml-research",
    migration=UUID,
    number=7,
    type_name="GRID A100-20C",
    vgpus=1,
    ram_mib=12 * 1024,
    framebuffer_mib=20 * 1024,
    source="gpu-01",
    destination="gpu-02",
    status="running",
    phases=(
        Phase(name="accepted", state="done", since=NOW - 41, duration_s=0.4, evidence="Nova: accepted", source="nova"),
        Phase(name="queued", state="done", since=NOW - 40, duration_s=1.1, evidence="Nova: queued", source="nova"),
        Phase(name="preparing", state="done", since=NOW - 39, duration_s=1.9, evidence="Nova: preparing"),
        Phase(name="memory", state="now", since=NOW - 37, duration_s=37.0, source="libvirt"),
        Phase(name="device", state="to come"),
        Phase(name="post", state="to come"),
        Phase(name="verified", state="to come"),
    ),
    memory_total=12 * GIB,
    memory_processed=9 * GIB,
    memory_remaining=int(3.8 * GIB),
    memory_from="libvirt",
    rate=1.31e9,
    dirty_rate=0.42e9,
    iteration=2,
    eta_s=4.6,
    rates=(0.4e9, 0.9e9, 1.2e9, None, None, 1.3e9, 1.1e9, 1.31e9),
    predicted_low_ms=21_400.0,
    predicted_high_ms=34_000.0,
    expected_downtime_ms=300,
    voices=(
        Voice(kind="nova", answered_at=NOW - 4),
        Voice(kind="libvirt", host="gpu-01", answered_at=NOW - 1),
        Voice(kind="libvirt", host="gpu-02", answered_at=NOW - 19, error="no answer within 5 s"),
    ),
    events=(
        Happening(at="2027-01-15T07:59:19.000000", name="compute_check_can_live_migrate_destination", result="Success",
                  host="gpu-02"),
        Happening(at="2027-01-15T07:59:21.000000", name="compute_pre_live_migration", result="Success", host="gpu-02"),
    ),
    story=End(kind="under-way", title="running", explanation="it goes on", over=False, severity="ok"),
    created_at="2027-01-15T07:59:19Z",
    updated_at="2027-01-15T07:59:56Z",
    taken_at=NOW,
)  # fmt: skip

REFUSAL = (
    "internal error: unable to execute QEMU command 'migrate': 0000:00:06.0: VFIO migration is not supported in kernel"
)

BAD = msgspec.structs.replace(
    RUNNING,
    status="error",
    phases=(
        *RUNNING.phases[:3],
        Phase(name="memory", state="failed", since=NOW - 37, duration_s=2.0, evidence="Nova: running", source="nova"),
        Phase(name="device", state="not reached"),
        Phase(name="post", state="not reached"),
        Phase(name="verified", state="failed", evidence="the server is in ERROR on gpu-01", source="nova"),
    ),
    rate=None,
    rates=(),
    measured=NotMeasured(reason="it did not complete: the guest stays on the source", final=True),
    verified=(
        Check(id="verify.server", status="warn", evidence="the server is in ERROR on gpu-01", source="nova", age_s=3.0),
        Check(id="verify.guest", status="pass", evidence="it runs on gpu-01", source="libvirt", age_s=2.0),
    ),
    events=(
        RUNNING.events[0],
        Happening(at="2027-01-15T07:59:23.000000", name="compute__do_live_migration", result="Error", host="gpu-01",
                  details=REFUSAL),
    ),
    story=End(
        kind="refused-by-qemu",
        title="QEMU of gpu-01 refused to begin",
        explanation="Nova calls the server an ERROR although its guest never stopped; nothing was moved.",
        over=True,
        severity="warn",
        evidence=(nova_says(REFUSAL), libvirt_says("gpu-01", "gpu-01 (source): the guest is running")),
        unknown=("whether the guest is on gpu-02 (destination) could not be looked at",),
        mends=(
            Mend(words="set its state to ACTIVE again: the guest never stopped", action="migrate.reset",
                 command=f"openstack server set --state active {SERVER}"),
            Mend(words="free the device that stays reserved on gpu-02",
                 command="ssh gpu-02 sudo systemctl restart nova-compute"),
        ),
        avoid=("do not reboot it hard: its guest is well",),
    ),
    took_s=44.0,
)  # fmt: skip

DONE = msgspec.structs.replace(
    RUNNING,
    status="completed",
    phases=tuple(msgspec.structs.replace(p, state="done") for p in RUNNING.phases),
    measured=CompletedJob(downtime_ms=23_412, source="JOB_COMPLETED event of the source"),
    story=End(
        kind="completed", title="completed: gpu-01 → gpu-02", explanation="it runs there", over=True, severity="ok"
    ),
    took_s=71.0,
)  # fmt: skip


def console(mover: StillMover, theme: Any = "dark") -> VgpuConsoleApp:
    engine = engine_of(mover, migrations=tuple(row_of(t) for t in mover.shown))
    return VgpuConsoleApp(lambda: engine, settings=Settings(theme=theme), clock=lambda: NOW)


def text_of(timeline: Timeline, width: int = 100) -> str:
    return "\n".join("".join(word for word, _ in line) for line in timeline_lines(timeline, width, NOW))


async def opened(app: VgpuConsoleApp, pilot: Driver) -> None:
    """The first row of the list of migrations, opened."""
    await press(pilot, "4")
    await until(pilot, lambda: row_ids(app))
    await press(pilot, "enter")
    await until(pilot, lambda: isinstance(app.screen, TimelineScreen) and app.screen.is_mounted)
    await pilot.pause()


# Lines ----------------------------------------------------------------------------------------------------------------


def test_a_gap_is_a_gap_and_a_single_rate_is_full() -> None:
    assert sparkline((), 10) == ()
    assert sparkline((None, None), 10) == ()
    ((drawn, _),) = sparkline((1.0, None, 4.0), 10)
    assert drawn == "▃ █"
    ((drawn, _),) = sparkline((0.0, 0.0), 10)
    assert drawn == "▁▁"
    ((drawn, _),) = sparkline(tuple(float(n) for n in range(30)), 5)
    assert len(drawn) == 5


@pytest.mark.parametrize(("value", "words"), [(None, "?"), (4.5e7, "45 MB/s"), (1.31e9, "1.3 GB/s")])
def test_rates(value: float | None, words: str) -> None:
    assert rate_word(value) == words


@pytest.mark.parametrize(("value", "words"), [(-1.0, "00:00"), (71.9, "01:11"), (3723.0, "1:02:03")])
def test_times(value: float, words: str) -> None:
    assert clock_word(value) == words


def test_what_runs_tells_its_figures_with_their_sources() -> None:
    text = text_of(RUNNING)
    for words in ("68 %", "8.2 of 12.0 GiB", "1.3 GB/s", "dirty 420 MB/s", "pass 2"):
        assert words in text
    assert "predicted 21–34 s" in text
    assert "libvirt's limit now 0.30 s" in text
    assert "libvirt gpu-02 19s ◐" in text
    assert "no answer within 5 s" in text
    assert "measured" not in text


def test_what_is_not_known_is_never_nought() -> None:
    text = text_of(msgspec.structs.replace(RUNNING, memory_remaining=None, rate=None, dirty_rate=None, rates=()))
    assert "? %" in text
    assert "0 %" not in text
    assert "? of 12.0 GiB" in text


def test_the_end_comes_first_with_the_reason_that_nova_hides() -> None:
    text = text_of(BAD)
    assert text.index("! QEMU of gpu-01 refused to begin") < text.index("accepted")
    assert "R set its state to ACTIVE again" in text
    assert "· free the device" in text, "the console has no plan for it: the command alone"
    assert "not measured: it did not complete" in text
    assert "VFIO migration is not supported" in " ".join(text.split())
    assert "do not reboot it hard" in text


def test_nothing_is_mended_while_nova_still_tidies_up() -> None:
    early = msgspec.structs.replace(BAD, phases=(*BAD.phases[:6], Phase(name="verified", state="now")))
    text = text_of(early)
    assert "looking again until nothing changes" in text
    assert "set its state" not in text


def test_predicted_stands_beside_measured() -> None:
    assert "measured 23.4 s   predicted 21–34 s" in text_of(DONE)


@pytest.fixture
def scene() -> Iterator[FollowScene]:
    made = FollowScene()
    yield made
    made.close()


@pytest.mark.parametrize("fault", [None, "destination-dies", "qemu-refuses", "guest-dies", "post-fails"])
def test_every_end_of_the_real_followers_can_be_shown(scene: FollowScene, fault: Any) -> None:
    scene.cloud.migrations.fault = fault
    followers = scene.followers()
    followers.follow(scene.subject(after=0, destination=DESTINATION))
    scene.start()
    done = scene.end(followers)
    assert done.end is not None
    for width in (40, 76, 140):
        text = text_of(done, width)
        assert " ".join(done.end.title.split()[:3]) in " ".join(text.split())
    for mend in done.end.mends:
        assert mend.command in text_of(done, 300)


# The screen -----------------------------------------------------------------------------------------------------------


def test_enter_on_a_migration_opens_it_and_escape_leaves_it() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "vm-train-1   gpu-01 → gpu-02" in screen_text(app)
        assert "a abort" in screen_text(app)
        assert "reset" not in screen_text(app).splitlines()[-1]
        await press(pilot, "R")
        assert not toasts(app), "there is nothing to mend: the key is not there"
        await press(pilot, "a")
        assert any("this console only watches" in toast or "read" in toast for toast in toasts(app))
        await press(pilot, "escape")
        await until(pilot, lambda: not isinstance(app.screen, TimelineScreen))

    drive(console(StillMover(facts(), RUNNING)), test)


def test_one_that_nobody_follows_is_followed_when_it_is_opened() -> None:
    mover = StillMover(facts())
    row = Migration(
        uuid=UUID, server_id=SERVER, server="vm-train-1", source="gpu-01", destination="gpu-02", status="error",
        running=False, project="ml-research", vgpu=True,
    )  # fmt: skip
    engine = engine_of(mover, migrations=(row,))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert mover.followed == [(UUID, SERVER)]
        assert "asking Nova for the migration" in screen_text(app)

    drive(VgpuConsoleApp(lambda: engine, clock=lambda: NOW), test)


def test_the_commands_can_be_copied() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert "R reset" in screen_text(app)
        await press(pilot, "c")
        assert any("copied the commands" in toast for toast in toasts(app))

    drive(console(StillMover(facts(), BAD)), test)


def test_foreign_words_are_words() -> None:
    bad = "[/red] [b]x[@click=app.quit] a[/]b [x='"
    assert BAD.story is not None
    story = msgspec.structs.replace(
        BAD.story, title=bad, explanation=bad, mends=(Mend(words=bad, command=bad),), evidence=(nova_says(bad),)
    )
    event = Happening(at=bad, name=bad, result="Error", host=bad, details=bad)
    hostile = msgspec.structs.replace(
        BAD, name=bad, type_name=bad, source=bad, destination=bad, story=story, events=(event,), created_at=bad
    )
    mover = StillMover(facts(), hostile)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await opened(app, pilot)
        assert screen_text(app).count("[/red] [b]x[@click=app.quit] a[/]b [x='") >= 3
        mover.on_settled(hostile)
        await until(pilot, lambda: any("[/red]" in toast for toast in toasts(app)))
        await press(pilot, "y")
        await press(pilot, "escape")

    drive(console(mover), test)


def test_the_end_is_told_wherever_the_operator_is() -> None:
    mover = StillMover(facts(), BAD)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        mover.on_settled(BAD)
        await until(pilot, lambda: any("QEMU of gpu-01 refused to begin" in toast for toast in toasts(app)))

    drive(console(mover), test)


def test_the_list_tells_ends_and_downtimes() -> None:
    old = msgspec.structs.replace(row_of(BAD), uuid="old", server_id="x", server="vm-old")
    record = MigrationRecord(migration="old", end="destination-died", downtime_ms=None)
    mover = StillMover(facts(), DONE, records={"old": record})
    engine = engine_of(mover, migrations=(row_of(DONE), old))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "4")
        await until(pilot, lambda: len(row_ids(app)) == 2)
        rows = {row.id: " ".join(cell.text for cell in row.cells) for row in pane(app).table.rows}
        assert "✓ completed" in rows[UUID]
        assert "23.4 s" in rows[UUID]
        assert "✗ destination died" in rows["old"]

    drive(VgpuConsoleApp(lambda: engine, clock=lambda: NOW), test)


def test_a_downtime_over_clocks_that_are_apart_is_nowhere_shown_as_if_it_were_sure() -> None:
    """On the timeline, in the list, for one that is followed and one of the history, and in the message at its end."""
    assert isinstance(DONE.measured, CompletedJob)
    apart = msgspec.structs.replace(DONE, measured=msgspec.structs.replace(DONE.measured, heard_ms=1_460))
    old = msgspec.structs.replace(row_of(BAD), uuid="old", server_id="x", server="vm-old")
    record = MigrationRecord(migration="old", end="completed", downtime_ms=8_412.0, heard_ms=2_150.0)
    mover = StillMover(facts(), apart, records={"old": record})
    engine = engine_of(mover, migrations=(row_of(apart), old))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        mover.on_settled(apart)
        await until(pilot, lambda: any("downtime 23.4 s (heard 1.46 s)" in toast for toast in toasts(app)))
        await press(pilot, "4")
        await until(pilot, lambda: len(row_ids(app)) == 2)
        rows = {row.id: " ".join(cell.text for cell in row.cells) for row in pane(app).table.rows}
        assert "! 1.46 s" in rows[UUID]
        assert "! 2.15 s" in rows["old"]
        await opened(app, pilot)
        await until(pilot, lambda: "measured 23.4 s (heard 1.46 s)" in screen_text(app))

    drive(VgpuConsoleApp(lambda: engine, clock=lambda: NOW), test)


# On the embedded cloud ------------------------------------------------------------------------------------------------


def test_a_running_one_of_a_console_that_died_is_followed_and_aborted(tmp_path: Path) -> None:
    demo = Demo(tmp_path, hosts=True)

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        mover = app.changes.moves.mover
        assert mover is not None
        await until(pilot, lambda: any(t.migration for t in mover.timelines()), 30)
        (found,) = mover.timelines()
        assert found.name == "vm-train-7"
        await press(pilot, "4")
        await until(pilot, lambda: row_ids(app))
        view(app).select(found.migration)
        await press(pilot, "enter")
        await until(pilot, lambda: "vm-train-7   gpu-0" in screen_text(app))
        await until(pilot, lambda: not view(app).why_not("migrate.start") and "a abort" in screen_text(app))
        await press(pilot, "a")
        await until_dialog(pilot, PlanDialog)
        assert "abort the migration of vm-train-7" in screen_text(app)
        await press(pilot, "y")

        def told() -> bool:
            now = mover.timeline(found.migration)
            return now is not None and now.settled

        await until(pilot, told, 60)
        await until(pilot, lambda: "R reset" in screen_text(app))
        await press(pilot, "R")
        await until_dialog(pilot, PlanDialog)
        assert "reset the state of vm-train-7 to ACTIVE" in screen_text(app)
        await press(pilot, "y")
        server = demo.cloud.state.servers[found.server]
        await until(pilot, lambda: server.status == "ACTIVE")

    demo.run(test)


# Pictures -------------------------------------------------------------------------------------------------------------

STATES = {"running": RUNNING, "ended-badly": BAD, "completed": DONE}


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
@pytest.mark.parametrize("name", STATES)
def test_timeline_pictures(snap_compare: Any, name: str, look: Any) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await opened(pilot.app, pilot)

    app = console(StillMover(facts(), STATES[name]), look[1])
    assert snap_compare(app, terminal_size=look[0], run_before=run)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
def test_list_pictures(snap_compare: Any, look: Any) -> None:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        await press(pilot, "4")
        await until(pilot, lambda: row_ids(pilot.app))

    others = [
        msgspec.structs.replace(one, migration=f"{UUID[:-1]}{n}", server=f"{n}", name=f"vm-train-{n}")
        for n, one in enumerate((DONE, BAD), 8)
    ]
    app = console(StillMover(facts(), RUNNING, *others), look[1])
    assert snap_compare(app, terminal_size=look[0], run_before=run)
