"""Mending what a migration left: the server's state, leaked allocations, a host that is to take no servers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.actions.demo import check, requests
from tests.actions.migrating_console import DESTINATION, SOURCE, MigratingConsole
from vgpu_console.actions.migrate_mend import plan_heal, plan_reset, plan_service
from vgpu_console.actions.plan import PlanError
from vgpu_console.model.nova import ComputeService, MigrationFacts


@pytest.fixture
def console(tmp_path: Path) -> MigratingConsole:
    made = MigratingConsole(tmp_path)
    made.read()
    return made


@pytest.fixture
def in_error(console: MigratingConsole) -> MigratingConsole:
    """Its migration failed, and Nova put the server into ERROR while the guest runs on."""
    console.cloud.migrations.fault = "destination-dies"
    console.begin()
    console.until("error")
    return console


def test_reset_makes_it_active_and_movable_again(in_error: MigratingConsole) -> None:
    plan = plan_reset(in_error.server, SOURCE, True)
    assert check(plan, "reset.guest-runs").status == "pass"
    outcome = in_error.apply(plan, accept=False)
    assert outcome.observed == {"status": "ACTIVE", "task": None, "host": SOURCE}
    assert outcome.ok
    in_error.cloud.migrations.fault = None
    in_error.begin()
    in_error.until("completed")
    assert in_error.server.host == DESTINATION


@pytest.mark.parametrize(
    ("runs_on", "looked_at", "status"),
    [(None, True, "fail"), (DESTINATION, True, "fail"), (None, False, "unknown"), (SOURCE, True, "pass")],
)
def test_reset_never_makes_an_untruth_of_it(
    in_error: MigratingConsole, runs_on: str | None, looked_at: bool, status: str
) -> None:
    plan = plan_reset(in_error.server, runs_on, looked_at)
    assert check(plan, "reset.guest-runs").status == status
    assert in_error.apply(plan, accept=False).ok is (status == "pass")


def test_a_server_that_is_well_is_not_reset(console: MigratingConsole) -> None:
    with pytest.raises(PlanError, match="is ACTIVE, not in ERROR"):
        plan_reset(console.server, SOURCE, True)


def test_reset_can_be_undone(in_error: MigratingConsole) -> None:
    plan = plan_reset(in_error.server, SOURCE, True)
    assert in_error.apply(plan).ok
    for step in plan.inverse:
        in_error.fleet.take(step)
    assert in_error.server.status == "ERROR"


def leaked(console: MigratingConsole) -> MigrationFacts:
    """A migration that arrived and whose tidying up failed."""
    console.cloud.migrations.fault = "post-fails"
    console.begin()
    return console.until("error")


def test_heal_frees_what_an_ended_migration_holds(console: MigratingConsole) -> None:
    row = leaked(console)
    held = console.reader.consumer(row.uuid)
    assert held.holds
    plan = plan_heal(row, held, console.server)
    (step,) = requests(plan.steps)
    assert step.method == "PUT", "with the consumer's generation, so that no change of another is overwritten"
    assert step.body is not None
    assert step.body["consumer_generation"] == held.generation
    outcome = console.apply(plan)
    assert (outcome.result, outcome.observed) == ("done", {"holds": {}})
    assert console.reader.consumer(row.uuid).holds == ()
    assert console.reader.consumer(console.id).holds, "the server's own stay"
    for back in plan.inverse:
        console.fleet.take(back)
    assert console.reader.consumer(row.uuid).holds == held.holds


def test_heal_without_a_generation_deletes(console: MigratingConsole) -> None:
    row = leaked(console)
    held = msgspec.structs.replace(console.reader.consumer(row.uuid), generation=None)
    plan = plan_heal(row, held, console.server)
    assert [s.method for s in requests(plan.steps)] == ["DELETE"]
    assert (plan.inverse, bool(plan.inverse_note)) == ((), True)
    assert console.apply(plan).ok


def test_heal_of_what_changed_meanwhile_is_refused(console: MigratingConsole) -> None:
    row = leaked(console)
    plan = plan_heal(row, console.reader.consumer(row.uuid), console.server)
    with console.cloud.state.lock:
        console.cloud.state.placement.allocate(row.uuid, {}, console.demo_server.project_id, "u")
    assert console.apply(plan).result == "moved"


def test_nothing_is_healed_that_runs_or_holds_nothing(console: MigratingConsole) -> None:
    console.begin()
    running = console.until("running")
    with pytest.raises(PlanError, match="is running: what it holds is in use"):
        plan_heal(running, console.reader.consumer(running.uuid), console.server)
    done = console.until("completed")
    with pytest.raises(PlanError, match="holds nothing"):
        plan_heal(done, console.reader.consumer(done.uuid), console.server)


def test_after_a_split_brain_healing_is_a_doubt(console: MigratingConsole) -> None:
    """Nova says source: what the migration holds there may be all that the server has."""
    console.cloud.migrations.fault = "source-compute-dies"
    console.begin()
    console.until("running")
    console.pass_time(60)
    with console.cloud.state.lock:
        console.cloud.migrations.restart_compute(console.cloud.state.hosts[SOURCE])
    row = console.until("error")
    assert (console.server.host, console.server.power_state) == (SOURCE, 0)
    plan = plan_heal(row, console.reader.consumer(row.uuid), console.server)
    assert check(plan, "heal.source").status == "warn"
    assert console.apply(plan, accept=False).result == "refused"


# -- compute services --------------------------------------------------------------------------------------------------


def service(console: MigratingConsole, host: str) -> ComputeService:
    console.read()
    assert console.facts.nova is not None
    return next(s for s in console.facts.nova.services or () if s.host == host)


def test_a_host_is_disabled_with_a_reason_and_enabled(console: MigratingConsole) -> None:
    off = plan_service(service(console, DESTINATION), enable=False, reason="drain; ticket 7")
    assert "--disable-reason 'drain; ticket 7'" in off.commands[0]
    outcome = console.apply(off)
    assert (outcome.result, outcome.observed) == ("done", {"status": "disabled", "reason": "drain; ticket 7"})
    now = service(console, DESTINATION)
    assert (now.status, now.disabled_reason) == ("disabled", "drain; ticket 7")
    on = plan_service(now, enable=True)
    assert console.apply(on).ok
    assert service(console, DESTINATION).status == "enabled"
    for step in on.inverse:
        console.fleet.take(step)
    assert service(console, DESTINATION).disabled_reason == "drain; ticket 7"


def test_what_is_so_already_needs_nothing(console: MigratingConsole) -> None:
    plan = plan_service(service(console, "gpu-06"), enable=False, reason="another")
    assert plan.changes_nothing
    assert console.apply(plan).ok
    assert service(console, "gpu-06").disabled_reason == "firmware update, ticket 4711"


def test_a_service_that_changed_meanwhile_is_refused(console: MigratingConsole) -> None:
    plan = plan_service(service(console, DESTINATION), enable=False)
    console.cloud.state.hosts[DESTINATION].status = "disabled"
    assert console.apply(plan).result == "moved"


def test_a_reason_beyond_novas_limit_makes_no_plan(console: MigratingConsole) -> None:
    with pytest.raises(PlanError, match="at most 255 characters"):
        plan_service(service(console, DESTINATION), enable=False, reason="x" * 256)
