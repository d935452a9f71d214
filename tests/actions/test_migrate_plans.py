"""Starting, aborting and forcing a live migration: what is sent, what comes of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import check, requests
from tests.actions.migrating_console import DESTINATION, SOURCE, MigratingConsole
from vgpu_console.actions.migrate import newest, plan_abort, plan_force, plan_start
from vgpu_console.actions.observe_migrations import observe_start
from vgpu_console.actions.plan import PlanError
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.sources.base import SourceError


@pytest.fixture
def console(tmp_path: Path) -> MigratingConsole:
    made = MigratingConsole(tmp_path)
    made.read()
    return made


def test_start_asks_nova_and_sees_the_new_row(console: MigratingConsole) -> None:
    plan = plan_start(console.server, console.destination(), console.last)
    (step,) = requests(plan.steps)
    assert step.body == {"os-migrateLive": {"host": DESTINATION, "block_migration": "auto"}}
    assert (step.path, step.microversion) == (f"/servers/{console.id}/action", "2.68")
    assert plan.danger == "risk"
    assert plan.effect == ("the guest stands still for 1 to 4 s (predicted)", "84 GiB at 25 GiB/s")
    assert f"--host {DESTINATION} {console.id}" in plan.commands[0]
    outcome = console.apply(plan)
    assert (outcome.result, outcome.observed) == ("done", {"started": True})
    assert newest(console.reader.migrations(console.id)) > int(plan.target.key["last_migration"] or 0)
    console.until("completed")
    assert console.server.host == DESTINATION


def test_the_accepted_doubts_are_journaled(console: MigratingConsole) -> None:
    plan = plan_start(console.server, console.destination(), console.last)
    doubts = {c.id for c in plan.needs_override}
    assert doubts == {"migrate.nvidia-driver"}
    refused = console.apply(plan, accept=False)
    assert refused.result == "refused"
    assert console.reader.migrations(console.id) == ()
    console.apply(plan)
    assert set(next(e for e in console.journal.entries() if e.event == "begun").overrides) == doubts


def test_a_check_that_fails_forbids(console: MigratingConsole) -> None:
    chosen = console.destination()
    failing = msgspec.structs.replace(chosen.checks[0], status="fail", evidence="post-copy is on")
    plan = plan_start(console.server, msgspec.structs.replace(chosen, checks=(failing,)), console.last)
    outcome = console.apply(plan)
    assert (outcome.result, outcome.message) == ("refused", "not allowed: post-copy is on")


def test_a_server_that_somebody_else_moves_meanwhile_is_refused(console: MigratingConsole) -> None:
    plan = plan_start(console.server, console.destination(), console.last)
    console.begin()
    console.pass_time(1)
    outcome = console.apply(plan)
    assert outcome.result == "moved"
    assert "started was False and is True" in outcome.message
    assert len(console.reader.migrations(console.id)) == 1


def test_a_server_that_changed_between_check_and_start_is_refused(console: MigratingConsole) -> None:
    plan = plan_start(console.server, console.destination(), console.last)
    with console.cloud.state.lock:
        console.cloud.compute.set(console.demo_server, "SHUTOFF", "stopped", None)
    outcome = console.apply(plan)
    assert (outcome.result, outcome.message) == (
        "moved",
        "changed since it was planned: status was ACTIVE and is SHUTOFF",
    )
    assert console.reader.migrations(console.id) == ()


def test_a_refusal_of_nova_is_told(console: MigratingConsole) -> None:
    plan = plan_start(console.server, msgspec.structs.replace(console.destination(), host=SOURCE), console.last)
    outcome = console.apply(plan)
    assert outcome.result == "failed"
    assert "Unable to migrate" in outcome.message
    assert "nothing was changed" in outcome.message


def test_a_read_only_console_begins_nothing(tmp_path: Path) -> None:
    console = MigratingConsole(tmp_path, read_only=True)
    console.read()
    outcome = console.apply(plan_start(console.server, console.destination(), console.last))
    assert (outcome.result, console.reader.migrations(console.id)) == ("refused", ())


def test_a_server_on_no_host_has_nowhere_to_move_from(console: MigratingConsole) -> None:
    with pytest.raises(PlanError, match="is on no host"):
        plan_start(msgspec.structs.replace(console.server, host=None), console.destination(), 0)


def test_a_cloud_that_answers_nonsense_sends_nothing(console: MigratingConsole) -> None:
    class Nonsense:
        def get(self, service: str, path: str, *, params: object = None) -> dict[str, object]:
            return {"migrations": "none"}

    with pytest.raises(SourceError, match="no list of migrations"):
        observe_start(Nonsense(), plan_start(console.server, console.destination(), 0))


# -- abort -------------------------------------------------------------------------------------------------------------


def test_abort_while_it_runs(console: MigratingConsole) -> None:
    console.begin()
    running = console.until("running")
    plan = plan_abort(console.facts, console.server, running)
    (step,) = requests(plan.steps)
    assert (step.method, step.path) == ("DELETE", f"/servers/{console.id}/migrations/{running.id}")
    assert any("into ERROR" in line for line in plan.effect)
    outcome = console.apply(plan)
    assert (outcome.result, outcome.observed) == ("done", {"in_progress": False})
    console.pass_time(2)
    assert (console.server.status, console.server.host) == ("ERROR", SOURCE)


def test_abort_in_the_queue_says_what_stays_reserved(console: MigratingConsole) -> None:
    console.begin()
    queued = console.until("queued")
    plan = plan_abort(console.facts, console.server, queued)
    assert check(plan, "abort.status").status == "pass"
    assert any(f"reserved on {DESTINATION} stays reserved" in line for line in plan.effect)
    assert console.apply(plan).ok
    assert console.server.status == "ACTIVE"


def test_abort_while_it_is_prepared_ends_as_soon_as_that_is_done(console: MigratingConsole) -> None:
    console.begin()
    plan = plan_abort(console.facts, console.server, console.until("preparing"))
    assert console.apply(plan).ok
    assert (console.reader.migrations(console.id)[0].status, console.server.status) == ("cancelled", "ACTIVE")


def test_an_accepted_one_cannot_be_aborted_yet(console: MigratingConsole) -> None:
    console.begin()
    plan = plan_abort(console.facts, console.server, console.until("accepted"))
    assert check(plan, "abort.status").status == "fail"
    assert console.apply(plan).result == "refused"


@pytest.mark.parametrize(("spoken", "status"), [("2.64", "fail"), ("", "unknown"), ("2.65", "pass")])
def test_an_old_nova_aborts_only_what_runs(console: MigratingConsole, spoken: str, status: str) -> None:
    console.begin()
    queued = console.until("queued")
    assert console.facts.nova is not None
    nova = msgspec.structs.replace(console.facts.nova, max_microversion=spoken)
    facts = msgspec.structs.replace(console.facts, nova=nova)
    assert check(plan_abort(facts, console.server, queued), "abort.status").status == status
    running = msgspec.structs.replace(queued, status="running")
    assert check(plan_abort(facts, console.server, running), "abort.status").status == "pass"


def test_one_that_ended_meanwhile_is_not_aborted(console: MigratingConsole) -> None:
    console.begin()
    plan = plan_abort(console.facts, console.server, console.until("running"))
    done = console.until("completed")
    assert console.apply(plan).result == "moved"
    with pytest.raises(PlanError, match="has ended: completed"):
        plan_abort(console.facts, console.server, done)


def test_an_abort_that_stops_nothing_is_not_called_done(console: MigratingConsole) -> None:
    """The source's nova-compute is dead: Nova's API accepts, and the message waits."""
    console.cloud.migrations.fault = "source-compute-dies"
    console.begin()
    running = console.until("running")
    console.cloud.state.hosts[SOURCE].up = False
    outcome = console.apply(plan_abort(console.facts, console.server, running))
    assert (outcome.result, outcome.observed) == ("unverified", {"in_progress": True})


# -- force -------------------------------------------------------------------------------------------------------------


def test_force_pauses_the_guest_and_says_so(console: MigratingConsole) -> None:
    console.begin()
    console.until("running")
    console.pass_time(6)
    running = console.until("running")
    predicted = Downtime(low_ms=1000.0, high_ms=4000.0, basis=())
    plan = plan_force(console.server, running, 0, predicted)
    assert plan.danger == "risk"
    assert plan.effect[0].startswith("Nova pauses the guest at once")
    assert any("GiB of memory are left" in line for line in plan.effect)
    outcome = console.apply(plan)
    assert (outcome.result, outcome.observed) == ("done", {"force_requests": 1})
    console.until("completed")
    # of a second one, planned before the first was seen, nothing is sent
    assert console.apply(plan).result == "moved"


def test_only_what_runs_is_forced(console: MigratingConsole) -> None:
    console.begin()
    with pytest.raises(PlanError, match="only a running migration can be forced; this one is queued"):
        plan_force(console.server, console.until("queued"), 0, None)
