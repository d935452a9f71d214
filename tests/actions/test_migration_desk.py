"""A console's live migrations: plans are made from what Nova says now, ends are kept, what goes on is found again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.actions.migrating_console import DESTINATION, SOURCE, MigratingConsole
from tests.fleet.follow_scene import Inline
from vgpu_console.actions.migration_desk import MigrationDesk
from vgpu_console.actions.migration_record import unended
from vgpu_console.actions.plan import PlanError
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.migration_history import MigrationHistory
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.rules.migration.scene import UnknownHost, UnknownServer
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.migration_watch import LibvirtAddress, MigrationWatch


class Desk:
    """A desk in front of the embedded cloud, whose followers the test steps."""

    def __init__(self, folder: Path) -> None:
        self.console = MigratingConsole(folder)
        self.console.read()
        self.history = MigrationHistory(folder / "migrations.sqlite3")
        self.error: Exception | None = None
        self.desk = self.again()

    def again(self) -> MigrationDesk:
        """A desk of another console on the same cloud, with the same history."""
        console = self.console

        def address(host: str) -> LibvirtAddress:
            return LibvirtAddress(host, f"demo://{host}/system", console.cloud.libvirt)

        return MigrationDesk(
            check=self.check,
            known=lambda: (console.snapshot, console.facts),
            reader=console.reader,
            address=address,
            following=partial(
                Followers,
                console.reader,
                address=address,
                snapshot=lambda: console.snapshot,
                clock=console.clock,
                steady=console.clock,
                watch=partial(MigrationWatch, interval_s=0.01, clock=console.clock, steady=console.clock),
                pool=Inline(),
            ),
            history=self.history,
            journal=console.journal,
            cloud="demo",
            clock=console.clock,
        )

    def check(self, server_id: str, destination: str | None = None) -> Precheck:
        """What the pre-checks say is not the subject here."""
        if self.error is not None:
            raise self.error
        chosen = self.console.destination()
        return Precheck(server_id=server_id, server="vm-train-1", source=SOURCE, chosen=chosen, candidates=(chosen,))

    def end(self, desk: MigrationDesk | None = None) -> Timeline:
        """Let time pass to the end of the one that is followed."""
        desk = desk or self.desk
        for _ in range(3000):
            desk.followers.step()
            (now, *_) = desk.timelines()
            if now.settled:
                return now
            self.console.clock.tick(0.1)
            self.console.cloud.advance()
        raise AssertionError(f"it does not end: {desk.timelines()}")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.desk.close()


def test_from_the_check_to_the_history(made: Desk) -> None:
    desk, console = made.desk, made.console
    found = desk.check(console.id)
    assert found.chosen is not None
    plan = desk.plan_start(found, found.chosen)
    assert console.apply(plan).ok
    desk.follow_start(plan, found.chosen)
    done = made.end()
    assert done.end is not None
    assert done.end.kind == "completed"
    desk.read_records()
    record = desk.records()[done.migration]
    assert (record.end, record.server, record.predicted_low_ms) == ("completed", console.id, 1000.0)
    assert record.downtime_ms == done.downtime_ms is not None


def test_what_a_console_that_died_saw_begin_is_followed_to_its_end_by_the_next(made: Desk, tmp_path: Path) -> None:
    migration = made.console.begin()
    made.console.until("running")
    made.desk.follow_migration(migration.uuid, made.console.id)
    made.desk.followers.step()
    made.desk.note_begun()
    assert [r.end for r in made.history.records()] == [""]
    made.desk.close()
    made.console.until("completed")
    (subject,) = unended(made.history, "demo")
    assert (subject.migration, subject.name) == (migration.uuid, "vm-train-1")
    following = made.again()
    following.followers.follow(subject)
    done = made.end(following)
    assert done.downtime_ms == migration.downtime_ms, "the destination's libvirt still knows it"
    (record,) = made.history.records()
    assert (record.end, record.downtime_ms) == ("completed", migration.downtime_ms)


def test_a_server_that_is_not_as_it_was_when_it_was_checked_gets_no_plan(made: Desk) -> None:
    found = made.desk.check(made.console.id)
    assert found.chosen is not None
    made.console.begin()
    with pytest.raises(PlanError, match="migrates already"):
        made.desk.plan_start(found, found.chosen)
    made.console.until("completed")
    with pytest.raises(PlanError, match=f"it is on {DESTINATION} now, not on {SOURCE}"):
        made.desk.plan_start(found, found.chosen)
    with made.console.cloud.state.lock:
        del made.console.cloud.state.servers[made.console.id]
    with pytest.raises(PlanError, match="deleted"):
        made.desk.plan_start(found, found.chosen)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnknownServer("x"), "does not list this server"),
        (UnknownHost(""), "is on no host"),
        (UnknownHost("gpu-99"), "no source knows gpu-99"),
        (SourceError("timeout", "placement: no answer"), "placement: no answer"),
    ],
)
def test_a_check_that_cannot_be_made_is_one_line(made: Desk, error: Exception, words: str) -> None:
    made.error = error
    with pytest.raises(PlanError, match=words):
        made.desk.check(made.console.id)


def test_abort_and_the_reset_after_it(made: Desk) -> None:
    desk, console = made.desk, made.console
    migration = console.begin()
    console.until("running")
    desk.follow_migration(migration.uuid, console.id)
    desk.followers.step()
    (running,) = desk.timelines()
    assert desk.plan("migrate.force", running).danger == "risk"
    with pytest.raises(PlanError, match="not in ERROR"):
        desk.plan("migrate.reset", running)
    assert console.apply(desk.plan("migrate.abort", running)).ok
    done = made.end()
    assert done.end is not None
    assert [m.action for m in done.end.mends] == ["migrate.reset"]
    plan = desk.plan("migrate.reset", done)
    assert not plan.needs_override, "libvirt was looked at: its guest runs"
    assert console.apply(plan).ok
    with pytest.raises(PlanError, match="holds nothing"):
        desk.plan("migrate.heal", done)
    with pytest.raises(PlanError, match="has ended"):
        desk.plan("migrate.abort", done)


def test_a_migration_that_nova_does_not_list_gets_no_plan(made: Desk) -> None:
    with pytest.raises(PlanError, match="does not list this migration"):
        made.desk.plan("migrate.abort", Timeline(server=made.console.id, name="vm-train-1", migration="gone"))
