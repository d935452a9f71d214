"""Who holds what a project is counted for, while things move and after they went wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.quota_facts import IN_ORDER, NOVA, migration, provider, root, row, server, with_placement
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import LIVE_MIGRATION_IN_PROGRESS, MigrationFacts, Server
from vgpu_console.model.placement import PlacementFacts
from vgpu_console.rules.quota_usage import Use, owners, usage_split


def world(
    *holders: tuple[str, int],
    servers: tuple[Server, ...] = (server("vm-1"),),
    migrations: tuple[MigrationFacts, ...] = (),
    others: tuple[MigrationFacts, ...] = (),
    strangers: dict[str, str] | None = None,
) -> Facts:
    """The cloud in order, with these consumers on one provider each; Placement counts all of it for the project."""
    nova = msgspec.structs.replace(NOVA, servers=servers, migrations=migrations, other_migrations=others)
    facts = msgspec.structs.replace(IN_ORDER, nova=nova)
    providers = [provider(i, holder, total=2) for i, holder in enumerate(holders)]
    used = sum(n for _, n in holders)
    return with_placement(*providers, facts=facts, strangers=strangers or {}, usages={"p-ml": {"VGPU": used}})


def split(facts: Facts) -> tuple[int | None, ...]:
    """used, by instances, by migrations, leaked, in flight of the project."""
    q = row(facts)
    return (q.used, q.used_by_instances, q.used_by_migrations, q.leaked, q.in_flight)


def test_a_servers_own_share_is_an_instances() -> None:
    assert split(world(("vm-1", 1))) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("status", sorted(LIVE_MIGRATION_IN_PROGRESS))
def test_while_a_migration_runs_both_sides_count_and_one_is_counted_twice(status: str) -> None:
    facts = world(("vm-1", 2), ("mig-1", 2), migrations=(migration("vm-1", status),))
    assert split(facts) == (4, 2, 2, 0, 2)


def test_a_migration_counts_for_its_servers_project_whoever_started_it() -> None:
    facts = world(("vm-1", 1), ("mig-1", 1), migrations=(migration("vm-1", "running", project_id="p-vdi"),))
    assert split(facts) == (2, 1, 1, 0, 1)
    assert row(facts, "vdi").used_by_migrations == 0


def test_before_the_claim_only_the_migration_holds_and_nothing_is_counted_twice() -> None:
    assert split(world(("mig-1", 2), migrations=(migration("vm-1", "preparing"),))) == (2, 0, 2, 0, 0)


@pytest.mark.parametrize("status", ["error", "failed", "completed", "cancelled"])
def test_what_an_ended_migration_still_holds_is_leaked_once_placement_was_read_after_its_end(status: str) -> None:
    ended = (migration("vm-1", status),)
    before = world(("vm-1", 1), ("mig-1", 1), migrations=ended)
    after = world(("vm-1", 1), ("mig-1", 1), migrations=ended, strangers={"mig-1": "p-ml"})
    assert split(before) == (2, 1, 0, 0, 0)
    assert split(after) == (2, 1, 0, 1, 0)


def test_a_consumer_nobody_knows_is_leaked_but_not_at_first_sight() -> None:
    assert split(world(("vm-1", 1), ("who", 1))) == (2, 1, 0, 0, 0)
    assert split(world(("vm-1", 1), ("who", 1), strangers={"who": "p-ml"})) == (2, 1, 0, 1, 0)


def test_a_stranger_that_nova_knows_by_now_is_no_leak() -> None:
    both = (server("vm-1"), server("vm-2"))
    assert split(world(("vm-1", 1), ("vm-2", 1), servers=both, strangers={"vm-2": "p-ml"})) == (2, 2, 0, 0, 0)


def resize(server_id: str, status: str, uuid: str = "cold", **changes: Any) -> MigrationFacts:
    """A resize, as Nova lists it."""
    return migration(server_id, status, uuid=uuid, id=7, migration_type="resize", **changes)


@pytest.mark.parametrize("status", ["pre-migrating", "migrating", "post-migrating", "finished", "confirming"])
@pytest.mark.parametrize("kind", ["resize", "migration"])
def test_a_resize_holds_both_sides_until_it_is_confirmed_or_reverted(kind: str, status: str) -> None:
    under = msgspec.structs.replace(resize("vm-1", status), migration_type=kind)
    assert split(world(("vm-1", 1), ("cold", 1), others=(under,))) == (2, 1, 1, 0, 1)


def test_a_resize_to_more_counts_the_smaller_side_twice() -> None:
    assert split(world(("vm-1", 2), ("cold", 1), others=(resize("vm-1", "finished"),))) == (3, 2, 1, 0, 1)


def test_a_resize_and_a_leak_are_told_apart_by_the_record() -> None:
    facts = world(
        ("vm-1", 1),
        ("cold", 1),
        ("who", 1),
        servers=(server("vm-1", status="VERIFY_RESIZE"),),
        others=(resize("vm-1", "finished"),),
        strangers={"who": "p-ml"},
    )
    assert split(facts) == (3, 1, 1, 1, 1)
    assert [leak.consumer_id for leak in usage_split(facts.nova, facts.placement).leaks] == ["who"]


@pytest.mark.parametrize("status", ["confirmed", "reverted", "error", "failed"])
def test_what_an_ended_resize_still_holds_is_leaked(status: str) -> None:
    ended = resize("vm-1", status)
    facts = world(("vm-1", 1), ("cold", 1), others=(ended,), strangers={"cold": "p-ml"})
    assert split(facts) == (2, 1, 0, 1, 0)
    assert usage_split(facts.nova, facts.placement).leaks[0].migration == ended


@pytest.mark.parametrize("status", ["RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "MIGRATING"])
def test_a_resize_whose_record_was_not_read_is_guessed_by_its_server(status: str) -> None:
    facts = world(("vm-1", 1), ("cold", 1), servers=(server("vm-1", status=status),), strangers={"cold": "p-ml"})
    assert split(facts) == (2, 1, 1, 0, 1)


def test_without_its_record_a_resize_and_a_leak_cannot_be_told_apart_so_the_leak_is_unknown() -> None:
    facts = world(
        ("vm-1", 1),
        ("cold", 1),
        ("who", 1),
        servers=(server("vm-1", status="RESIZE"),),
        strangers={"cold": "p-ml", "who": "p-ml"},
    )
    assert split(facts) == (3, 1, 0, None, 0)
    assert usage_split(facts.nova, facts.placement).leaks == ()


def test_whom_a_consumer_counts_for() -> None:
    nova = msgspec.structs.replace(
        NOVA,
        servers=(server("vm-1"), server("vm-2", "p-vdi")),
        migrations=(migration("vm-1", "running"), migration("vm-2", "completed", uuid="old", id=2)),
        other_migrations=(resize("vm-2", "finished"), resize("vm-9", "finished", uuid="of-nobody")),
    )
    assert owners(nova) == {"vm-1": "p-ml", "vm-2": "p-vdi", "mig-1": "p-ml", "cold": "p-vdi"}
    assert owners(None) == {}


def test_a_leak_whose_project_is_not_told_counts_for_none_and_is_still_listed() -> None:
    facts = world(("vm-1", 1), ("who", 1), strangers={"who": ""})
    usage = usage_split(facts.nova, facts.placement)
    assert [(leak.consumer_id, leak.project_id) for leak in usage.leaks] == [("who", "")]
    assert usage.of("p-ml", "VGPU") == Use(1, 0, 0, 0)


def test_an_ended_migrations_project_is_its_servers_where_nova_does_not_tell_it() -> None:
    ended = migration("vm-1", "error", project_id=None)
    facts = world(("vm-1", 1), ("mig-1", 1), migrations=(ended,), strangers={"mig-1": ""})
    assert split(facts) == (2, 1, 0, 1, 0)


@pytest.mark.parametrize(
    "facts",
    [
        msgspec.structs.replace(IN_ORDER, nova=None),
        msgspec.structs.replace(IN_ORDER, nova=msgspec.structs.replace(NOVA, servers=None)),
        msgspec.structs.replace(IN_ORDER, nova=msgspec.structs.replace(NOVA, all_projects=False)),
    ],
)
def test_who_holds_it_is_unknown_unless_nova_shows_all_servers(facts: Facts) -> None:
    assert split(facts) == (1, None, None, None, None)


def test_a_project_that_holds_something_and_has_no_usage_was_not_read() -> None:
    unread = PlacementFacts(providers=(root(), provider(0, ("vm-1", 1))), usages={})
    assert split(msgspec.structs.replace(IN_ORDER, placement=unread)) == (None, 1, 0, 0, 0)
    assert row(msgspec.structs.replace(IN_ORDER, placement=unread), "vdi").used == 0


def test_every_amount_finds_its_place() -> None:
    """Instances, migrations and leaks add up to what Placement counts once nothing changes hands."""
    facts = world(
        ("vm-1", 2),
        ("mig-1", 2),
        ("mig-2", 1),
        ("who", 1),
        servers=(server("vm-1"), server("vm-2")),
        migrations=(migration("vm-1", "running"), migration("vm-2", "failed", uuid="mig-2", id=2)),
        strangers={"mig-2": "p-ml", "who": "p-ml"},
    )
    used, instances, migrations, leaked, in_flight = split(facts)
    assert (used, in_flight) == (6, 2)
    assert used == (instances or 0) + (migrations or 0) + (leaked or 0)
