"""Migrations of every kind through the console's source: one list where it is whole, and what a cut list left out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sources.canned_cloud import Asked, Reply
from tests.sources.test_nova import CannedNova, V, cloud, migration, server
from vgpu_console.sources.nova import LOST_AT_MOST, MIGRATION_HISTORY, PROGRESS_AT_MOST, NovaSource

__all__ = ["cloud"]  # the fixture


class TestMigrations:
    def test_byte_counts_are_asked_for_those_that_run(self, cloud: CannedNova) -> None:
        cloud.migrations = [migration(3, "running"), migration(2, "accepted"), migration(1)]
        cloud.progress = {
            "id": 3,
            "uuid": "m-0003",
            "status": "running",
            "memory_total_bytes": 100,
            "memory_processed_bytes": 40,
            "memory_remaining_bytes": None,
        }
        facts = NovaSource(cloud.connection()).fetch(None)
        rows = {m.id: m for m in facts.migrations or ()}
        assert (rows[3].memory_total_bytes, rows[3].memory_processed_bytes) == (100, 40)
        assert rows[3].memory_remaining_bytes is None
        assert rows[2].memory_total_bytes is rows[1].memory_total_bytes is None
        assert [p for p in cloud.paths() if p.endswith("/migrations")] == [f"{V}/servers/s-0003/migrations"]

    def test_their_number_is_bounded(self, cloud: CannedNova) -> None:
        cloud.migrations = [migration(n, "running") for n in range(30)]
        source = NovaSource(cloud.connection())
        source.fetch(None)
        assert len([p for p in cloud.paths() if p.endswith("/migrations")]) == PROGRESS_AT_MOST
        assert "progress of 20 more was not asked for" in source.notes[0]

    def test_one_that_just_ended_is_no_error(self, cloud: CannedNova) -> None:
        cloud.migrations = [migration(3, "running")]
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        assert [m.status for m in facts.migrations or ()] == ["running"]
        cloud.changed_migrations = [migration(3, "completed")]
        assert [m.status for m in source.fetch(facts).migrations or ()] == ["completed"]

    def test_those_of_a_deleted_server_go_with_it(self, cloud: CannedNova) -> None:
        cloud.migrations = [migration(1), migration(2)]
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.changed = [server(1, status="DELETED")]
        assert [m.id for m in source.fetch(facts).migrations or ()] == [2]


def resize(number: int, status: str = "finished", **changes: Any) -> dict[str, Any]:
    """A resize in GET /os-migrations."""
    return migration(number, status, migration_type="resize", **changes)


def asked_for(cloud: CannedNova) -> list[dict[str, str]]:
    """The questions for migrations, without the size of the page."""
    path = f"{V}/os-migrations"
    return [{k: v[0] for k, v in a.query.items() if k != "limit"} for a in cloud.asked if a.path == path]


def cut(cloud: CannedNova, first: list[Any], *others: Any) -> None:
    """A list without end: the newest are ``first``; the rest is found by asking for it."""

    def answer(asked: Asked) -> Reply:
        kind, of = (asked.query.get(name, [""])[0] for name in ("migration_type", "instance_uuid"))
        if not kind and not of:
            return Reply(200, {"migrations": first, "migrations_links": [{"rel": "next", "href": "x"}]})
        rows = [row for row in others if row["migration_type"] == kind or row["instance_uuid"] == of]
        return Reply(200, {"migrations": rows})

    cloud.get(f"{V}/os-migrations", answer)


class TestOtherKinds:
    def test_one_list_tells_all_kinds(self, cloud: CannedNova) -> None:
        cloud.migrations = [resize(4), migration(3), migration(2, "confirmed", migration_type="migration")]
        facts = NovaSource(cloud.connection()).fetch(None)
        assert [m.id for m in facts.migrations or ()] == [3]
        assert [(m.id, m.migration_type, m.in_progress) for m in facts.other_migrations or ()] == [
            (4, "resize", True),
            (2, "migration", False),
        ]
        assert asked_for(cloud) == [{}]

    def test_a_refresh_follows_them(self, cloud: CannedNova) -> None:
        cloud.migrations = [resize(4, "migrating")]
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.changed_migrations = [resize(4, "confirmed"), migration(5, "completed")]
        after = source.fetch(facts)
        assert [(m.id, m.status) for m in after.other_migrations or ()] == [(4, "confirmed")]
        assert [m.id for m in after.migrations or ()] == [5]
        cloud.changed_migrations = []
        again = source.fetch(after)
        assert again.other_migrations is after.other_migrations
        assert again.migrations is after.migrations

    def test_no_bytes_are_asked_for_them(self, cloud: CannedNova) -> None:
        cloud.migrations = [resize(4, "migrating"), resize(3, "running")]
        NovaSource(cloud.connection()).fetch(None)
        assert [p for p in cloud.paths() if p.endswith("/migrations")] == []

    def test_ended_ones_are_forgotten_in_time_and_those_in_progress_never(self, cloud: CannedNova) -> None:
        ended = [resize(n, "confirmed") for n in range(MIGRATION_HISTORY + 5, 1, -1)]
        cloud.migrations = [*ended, resize(1, "finished")]
        found = NovaSource(cloud.connection()).fetch(None).other_migrations or ()
        assert len(found) == MIGRATION_HISTORY + 1
        assert found[-1].id == 1

    def test_where_they_may_not_be_read_neither_kind_is_known(self, cloud: CannedNova) -> None:
        cloud.get(f"{V}/os-migrations", Reply(403, {"forbidden": {"message": "no"}}))
        facts = NovaSource(cloud.connection()).fetch(None)
        assert (facts.migrations, facts.other_migrations) == (None, None)


class TestAListThatIsCut:
    def test_older_live_ones_are_asked_for(self, cloud: CannedNova) -> None:
        cut(cloud, [resize(9, "confirmed")], migration(3))
        facts = NovaSource(cloud.connection()).fetch(None)
        assert asked_for(cloud) == [{}, {"migration_type": "live-migration"}]
        assert [m.id for m in facts.migrations or ()] == [3]

    def test_and_the_record_of_a_server_that_waits_to_be_confirmed(self, cloud: CannedNova) -> None:
        cloud.servers = [server(1, status="VERIFY_RESIZE"), server(2, status="VERIFY_RESIZE"), server(3)]
        cut(cloud, [resize(9, instance_uuid="s-0002")], resize(1))
        facts = NovaSource(cloud.connection(), use_only=True).fetch(None)
        assert asked_for(cloud) == [{}, {"instance_uuid": "s-0001"}]
        assert [m.id for m in facts.other_migrations or () if m.in_progress] == [9, 1]

    def test_of_many_such_servers_some_stay_unknown_and_that_is_told(self, cloud: CannedNova) -> None:
        cloud.servers = [server(n, status="VERIFY_RESIZE") for n in range(LOST_AT_MOST + 3)]
        cut(cloud, [])
        source = NovaSource(cloud.connection(), use_only=True)
        source.fetch(None)
        assert len(asked_for(cloud)) == 1 + LOST_AT_MOST
        assert source.notes == ("migrations: those of 3 more servers under a resize are not known",)


class TestForTheQuotaViewAlone:
    def test_only_who_uses_what_is_read(self, cloud: CannedNova) -> None:
        cloud.migrations = [migration(3, "running")]
        facts = NovaSource(cloud.connection(), use_only=True).fetch(None)
        assert (facts.services, facts.hypervisors) == (None, None)
        assert [m.status for m in facts.migrations or ()] == ["running"]
        read = [p.removeprefix(V) for p in cloud.paths() if p.startswith(V + "/")]
        assert sorted(p for p in read if p != "/") == ["/flavors/detail", "/os-migrations", "/servers/detail"]


@pytest.mark.parametrize(
    ("kind", "status", "going_on"),
    [
        ("live-migration", "running", True),
        ("live-migration", "finished", False),
        (None, "running", True),
        ("resize", "finished", True),
        ("migration", "post-migrating", True),
        ("resize", "confirmed", False),
        ("evacuation", "done", False),
        ("resize", None, False),
    ],
)
def test_what_is_in_progress(cloud: CannedNova, kind: str | None, status: str | None, going_on: bool) -> None:
    cloud.migrations = [migration(1, migration_type=kind) | {"status": status}]
    facts = NovaSource(cloud.connection(), use_only=True).fetch(None)
    (one,) = (*(facts.migrations or ()), *(facts.other_migrations or ()))
    assert one.in_progress is going_on
