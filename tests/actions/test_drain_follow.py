"""A drain whose migrations are followed by the console's followers: what a row tells, and when one is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions.drain_console import HOST, DrainConsole, console
from vgpu_console.actions.drain import Item
from vgpu_console.actions.drain_follow import TimelineFollowing, followed_of
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.actions.drain_world import LiveDrainWorld
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.model.check import Check
from vgpu_console.model.migration_end import End
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Phase, Timeline, Voice
from vgpu_console.sources.nova_migrations import NovaMigrations

NOW = 1_800_000_000.0


def story(kind: str, severity: str = "ok") -> End:
    return End(kind=kind, title=f"it {kind}", explanation="so and so", over=True, severity=severity)  # type: ignore[arg-type]


def timeline(**fields: object) -> Timeline:
    known: dict[str, object] = {"server": "s1", "name": "one", "migration": "m1"}
    return Timeline(**(known | fields))  # type: ignore[arg-type]


VERIFIED = (Phase(name="verified", state="done"),)


def test_a_row_tells_phase_memory_and_the_age_of_whoever_answered_last() -> None:
    found = followed_of(
        timeline(
            phases=(Phase(name="queued", state="done"), Phase(name="memory", state="now")),
            memory_total=1000,
            memory_remaining=320,
            voices=(Voice(kind="nova", answered_at=NOW - 40), Voice(kind="libvirt", host=HOST, answered_at=NOW - 1)),
        ),
        NOW,
    )
    assert (found.phase, found.ram_percent, found.age_s, found.end) == ("memory", 68, 1.0, None)


def test_nova_that_does_not_answer_is_told() -> None:
    found = followed_of(timeline(voices=(Voice(kind="nova", answered_at=NOW - 9, error="refused"),)), NOW)
    assert (found.message, found.age_s) == ("nova does not answer: refused", 9.0)


def test_it_is_over_only_when_nothing_more_can_be_found_out() -> None:
    told = story("completed")
    assert followed_of(timeline(story=told, phases=(Phase(name="verified", state="now"),)), NOW).end is None
    measured = CompletedJob(downtime_ms=1427, heard_ms=1460, source="JOB_COMPLETED event of the source")
    end = followed_of(timeline(story=told, phases=VERIFIED, measured=measured), NOW).end
    assert end is not None
    assert (end.ok, end.measured_ms, end.heard_ms, end.message) == (True, 1427.0, 1460.0, "")
    assert end.measured_by == "JOB_COMPLETED event of the source"


@pytest.mark.parametrize(
    ("kind", "ok", "gone"),
    [
        ("completed", True, False),
        ("forced", True, False),
        ("moved-not-completed", False, False),
        ("aborted", False, False),
        ("split-brain", False, False),
        ("server-gone", False, True),
        ("unknown", False, False),
    ],
)
def test_which_ends_are_failures(kind: str, ok: bool, gone: bool) -> None:
    reason = NotMeasured(reason="it did not complete", final=True)
    end = followed_of(timeline(story=story(kind), phases=VERIFIED, measured=reason), NOW).end
    assert end is not None
    assert (end.ok, end.gone, end.measured_ms, end.not_measured) == (ok, gone, None, "it did not complete")
    assert end.message == ("" if ok else f"it {kind}; so and so")


def test_what_was_left_behind_is_told_with_the_row() -> None:
    left = Check(id="verify.leak", status="fail", evidence="the migration still holds 1 VGPU")
    end = followed_of(timeline(story=story("completed"), phases=VERIFIED, verified=(left,)), NOW).end
    assert end is not None
    assert (end.ok, end.message) == (True, "the migration still holds 1 VGPU")


def test_a_drain_runs_to_its_end_on_the_followers(tmp_path: Path) -> None:
    operator = console(tmp_path)
    clock = operator.moment
    reader = NovaMigrations(operator.fleet.cloud, clock)
    followers = Followers(reader, snapshot=lambda: operator.seen[0], clock=clock, steady=clock)

    def follow(item: Item, source: str) -> TimelineFollowing:
        return TimelineFollowing(followers, item, source, operator.seen[0], clock)

    operator.world = LiveDrainWorld(
        lambda: operator.seen, reader, operator.fleet.candidates, operator.fleet.world(), operator.journal,
        follow=follow, clock=clock, wait=clock.wait,
    )  # fmt: skip
    runner = operator.runner(operator.drain())
    _run(operator, followers, runner)
    names = ("web-1", "note-1", "note-2", "train-1", "train-2")
    assert {i.name: (i.state, i.end) for i in runner.drain.items} == dict.fromkeys(names, ("done", "completed"))
    assert HOST not in operator.where().values()
    assert {r.phase for v in operator.views for r in v.rows} >= {"memory", "verified"}
    assert all(i.measured_ms is None and i.not_measured for i in runner.drain.items)


def _run(operator: DrainConsole, followers: Followers, runner: DrainRunner) -> None:
    """Turns of the drain and steps of the followers side by side, half a second each."""
    for turn in range(2000):
        if runner.tick() <= 0:
            return
        followers.step()
        operator.moment.wait(0.5)
        operator.cloud.advance()
        if turn % 20 == 0:
            operator.read()
    raise AssertionError([(r.name, r.state, r.phase, r.message) for r in runner.view().rows])
