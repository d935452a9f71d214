"""Who holds what a project is counted for, and whether what-if is right: by what Nova then does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.lab import Lab, until
from tests.lab.quota_console import VGPU, QuotaConsole, ask_for_server, delete_all, servers_of
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS
from vgpu_console.model.snapshot import ProjectQuota
from vgpu_console.rules.what_if import WhatIf, can_start, find_flavor, request_of

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("limits_restored")]

Opener = Callable[..., QuotaConsole]


def _what_if(console: QuotaConsole, project: str, flavor: str, count: int = 1, *, candidates: bool = True) -> WhatIf:
    """The answer of the console by what was last read, with Placement's own candidates or without."""
    request = request_of(find_flavor(console.facts, flavor))
    found = console.fleet.placement.candidates(request.groups, policy=request.policy) if candidates else None
    return can_start(console.facts, console.snapshot, console.project(project), flavor, count, found)


def test_what_a_migration_counts_twice_is_in_flight(lab: Lab, open_console: Opener, sdk: Any) -> None:
    console = open_console().read()
    lab.control("/migration", {"seconds": 5})
    server = next(s for s in sdk.compute.servers(all_projects=True) if s.name == "train-1")
    before = console.row("ml-research")
    assert before.used is not None
    console.done(console.plan_set("ml-research", before.used + 1))
    other = {"gpu-01": "gpu-02", "gpu-02": "gpu-01"}[server.compute_host]
    sdk.compute.live_migrate_server(server, host=other, block_migration="auto")

    def doubled() -> ProjectQuota | None:
        row = console.read().row("ml-research")
        return row if row.used_by_migrations else None

    row = until(doubled, "the migration holds a vGPU too", 30)
    assert row is not None
    assert (row.used, row.in_flight, row.free) == (before.used + 1, 1, 0)
    assert (row.used_by_instances, row.used_by_migrations, row.leaked) == (before.used, 1, 0)
    assert console.narrow() == list(console.snapshot.quotas)
    answer = _what_if(console, "ml-research", "a100-10c")
    assert (answer.verdict, answer.quota.verdict) == ("no", "no")
    assert "1 of it counted twice while a migration runs" in answer.why
    status, words = ask_for_server(lab, "lab-member", "a100-10c")
    assert (status, f"over limit of {before.used + 1}" in words) == (403, True), words
    plan = console.plan_set("ml-research", before.used)
    assert any("counts twice while a migration runs, and goes by itself" in line for line in plan.effect), plan.effect

    def over() -> bool:
        facts = console.read().facts
        assert facts.nova is not None
        running = [m for m in facts.nova.migrations or () if m.status in LIVE_MIGRATION_IN_PROGRESS]
        return not running and console.row("ml-research").used == before.used

    until(over, "the migration's share is given back", 40)
    after = console.row("ml-research")
    assert (after.in_flight, after.used_by_migrations, after.leaked, after.free) == (0, 0, 0, 1)


@contextmanager
def _held_by_a_stranger(sdk: Any, project_id: str, vgpus: list[int]) -> Iterator[str]:
    """vGPUs of gpu-03 in the name of a consumer that Nova does not know, as a migration that died leaves them."""
    gpus = sorted((p.name, p.id) for p in sdk.placement.resource_providers() if p.name.startswith("gpu-03_pci_"))
    stranger = str(uuid.uuid4())
    body = {
        "allocations": {id: {"resources": {"VGPU": n}} for (_, id), n in zip(gpus, vgpus, strict=True) if n},
        "project_id": project_id,
        "user_id": "nobody",
        "consumer_generation": None,
        "consumer_type": "MIGRATION",
    }
    assert sdk.placement.put(f"/allocations/{stranger}", json=body).ok
    try:
        yield stranger
    finally:
        assert sdk.placement.delete(f"/allocations/{stranger}").ok


def test_what_nobody_gives_back_is_leaked(lab: Lab, open_console: Opener, sdk: Any) -> None:
    console = open_console().read()
    before = console.row("vdi").used
    assert before is not None
    with _held_by_a_stranger(sdk, console.project("vdi"), [0, 1]) as stranger:
        console.read()
        row = console.read().row("vdi")  # at the first sight it could be a server that is being made
        assert (row.used, row.used_by_instances, row.leaked) == (before + 1, before, 1)
        assert console.narrow() == list(console.snapshot.quotas)
        finding = console.findings()[("usage-leaked", f"consumer {stranger}")]
        assert "counts for project vdi" in finding.message
        assert stranger in finding.command
        plan = console.plan_set("vdi", 3)
        assert any("held by nothing that runs (leaked)" in line for line in plan.effect), plan.effect
    until(lambda: console.read().row("vdi").leaked == 0, "the leak is gone", 20)


def test_a_leak_of_a_project_without_servers_is_found_by_the_quota_command_too(open_console: Opener, sdk: Any) -> None:
    """Nothing that Nova knows points to that project: what is used of the devices does."""
    console = open_console().read()
    with _held_by_a_stranger(sdk, console.project("empty"), [1, 1]):
        rows = {q.project: q for q in console.narrow() if q.resource == VGPU}
        assert (rows["empty"].used, rows["empty"].used_by_instances, rows["empty"].leaked) == (2, 0, 2)
        assert list(rows.values()) == [q for q in open_console().read().snapshot.quotas if q.resource == VGPU]


def test_at_rest_the_quota_command_takes_twelve_requests_and_one_per_project_with_usage(open_console: Opener) -> None:
    console = open_console().read()
    rows = console.narrow()
    assert rows == list(console.snapshot.quotas)
    assert console.narrow_requests <= 12 + len({q.project_id for q in rows if q.used})


def test_a_resize_that_waits_for_its_confirmation_counts_as_a_migration(
    lab: Lab, open_console: Opener, sdk: Any
) -> None:
    """A cold migration holds both hosts until it is confirmed; a leak beside it is still told apart."""
    console = open_console().read()
    before = console.row("ml-research")
    assert before.used is not None
    server = next(s for s in sdk.compute.servers(all_projects=True) if s.name == "train-1")
    sdk.compute.migrate_server(server)
    until(lambda: sdk.compute.get_server(server.id).status == "VERIFY_RESIZE", "the server waits to be confirmed", 60)
    try:
        with _held_by_a_stranger(sdk, console.project("ml-research"), [0, 1]):
            console.read()
            row = console.read().row("ml-research")
            assert (row.used, row.used_by_instances, row.used_by_migrations) == (before.used + 2, before.used, 1)
            assert (row.leaked, row.in_flight) == (1, 1)
            assert console.narrow() == list(console.snapshot.quotas)
    finally:
        sdk.compute.confirm_server_resize(server)
    until(lambda: console.read().row("ml-research").used == before.used, "the source is given back", 30)
    until(lambda: console.read().row("ml-research").leaked == 0, "the leak is gone", 20)
    after = console.row("ml-research")
    assert (after.used_by_instances, after.used_by_migrations, after.in_flight) == (before.used, 0, 0)
    assert console.narrow() == list(console.snapshot.quotas)


def test_what_if_yes_no_by_capacity_and_no_by_quota(lab: Lab, open_console: Opener, sdk: Any) -> None:
    """``gpu-03`` has eight vGPUs, most of them taken: Nova starts as many as what-if says, and not one more."""
    console = open_console(hosts=True).read()
    console.done(console.plan_set("vdi", -1))
    made: list[Any] = []
    with _held_by_a_stranger(sdk, console.project("empty"), [2, 3]):
        room = _what_if(console.read(), "vdi", "t4-4q", 100).capacity.room
        assert room == 8 - 5 - (console.row("vdi").used or 0)
        for candidates in (True, False):
            answer = _what_if(console, "vdi", "t4-4q", room + 1, candidates=candidates)
            assert (answer.verdict, answer.quota.verdict, answer.capacity.verdict) == ("no", "yes", "no"), answer.why
            answer = _what_if(console, "vdi", "t4-4q", room, candidates=candidates)
            assert answer.verdict == "yes"
            assert "asked for in one request" in answer.why
        # More than there is never starts. As many as there is, in one request, starts or fails as a whole: Nova tries
        # each host's first candidate only, and which GPU that is it leaves to chance.
        for count, ends in ((room + 1, {"ERROR"}), (room, {"ERROR", "ACTIVE"})):
            status, words = ask_for_server(lab, "lab-vdi", "t4-4q", count)
            assert status == 202, words
            asked = servers_of(lab, words)
            try:
                found = {row["status"] for row in asked}
                assert found <= ends, asked
                assert len(found) == 1, asked
                assert all("No valid host" in row["fault"]["message"] for row in asked if row["status"] == "ERROR")
            finally:
                delete_all(lab, asked)
        try:
            for _ in range(room):
                status, words = ask_for_server(lab, "lab-vdi", "t4-4q")
                made += servers_of(lab, words)
            assert [row["status"] for row in made] == ["ACTIVE"] * room
            full = _what_if(console.read(), "vdi", "t4-4q")
            assert (full.verdict, full.capacity.room) == ("no", 0)
            used = console.row("vdi").used
            assert used is not None
            console.done(console.plan_set("vdi", used))
            both = _what_if(console.read(), "vdi", "t4-4q")
            assert (both.quota.verdict, both.capacity.verdict) == ("no", "no")
        finally:
            delete_all(lab, made)
    answer = _what_if(open_console(hosts=True).read(), "vdi", "t4-4q", used)
    assert (answer.verdict, answer.quota.verdict, answer.capacity.verdict) == ("no", "no", "yes"), answer.why
    status, words = ask_for_server(lab, "lab-vdi", "t4-4q", used)
    assert (status, "class:VGPU is over limit" in words) == (403, True), words


def test_what_if_sees_every_limit_that_nova_asks_for(lab: Lab, open_console: Opener, sdk: Any) -> None:
    """Not the vGPUs but memory is short: 403 for that, and what-if says so."""
    console = open_console().read()
    console.done(console.plan_set("vdi", 3000, "class:MEMORY_MB"))
    answer = _what_if(console.read(), "vdi", "t4-4q")
    assert (answer.verdict, answer.quota.verdict) == ("no", "no")
    line = next(one for one in answer.quota.lines if one.verdict == "no")
    assert (line.resource, line.used, line.wanted, line.limit) == ("class:MEMORY_MB", 2048, 2048, 3000)
    status, words = ask_for_server(lab, "lab-vdi", "t4-4q")
    assert (status, "class:MEMORY_MB is over limit of 3000 due to current usage 2048 and delta 2048" in words) == (
        403,
        True,
    ), words
