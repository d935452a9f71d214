"""Nova through the console's source: complete lists at the price of what changed, and no record that breaks it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import DATE, Asked, CannedCloud, Reply
from vgpu_console.model.nova import NovaFacts
from vgpu_console.simulator import open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.nova import FLAVORS_EVERY, FULL_EVERY, NovaSource

V = "/compute/v2.1"


def server(number: int, **changes: Any) -> dict[str, Any]:
    """A server as GET /servers/detail gives it from 2.47 on."""
    return {
        "id": f"s-{number:04d}",
        "name": f"vm{number}",
        "status": "ACTIVE",
        "tenant_id": "p-1",
        "user_id": "u-1",
        "created": "2026-11-22T17:00:00Z",
        "updated": "2026-11-22T17:30:00Z",
        "OS-EXT-SRV-ATTR:host": "gpu-01",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": "gpu-01.example",
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{number:08x}",
        "OS-EXT-STS:vm_state": "active",
        "OS-EXT-STS:task_state": None,
        "OS-EXT-STS:power_state": 1,
        "flavor": {"original_name": "vgpu.1", "ram": 4096, "vcpus": 2, "extra_specs": {"resources:VGPU": "1"}},
        "locked": False,
    } | changes


def migration(number: int, status: str = "completed", **changes: Any) -> dict[str, Any]:
    """A row of GET /os-migrations."""
    return {
        "id": number,
        "uuid": f"m-{number:04d}",
        "instance_uuid": f"s-{number:04d}",
        "source_compute": "gpu-01",
        "dest_compute": "gpu-02",
        "status": status,
        "migration_type": "live-migration",
        "created_at": "2026-11-22T17:00:00.000000",
        "updated_at": "2026-11-22T17:00:09.000000",
        "project_id": "p-1",
    } | changes


class CannedNova(CannedCloud):
    """A cloud with lists that a test changes; ``changed`` is what changes-since answers."""

    def __init__(self) -> None:
        super().__init__()
        self.servers = [server(n) for n in range(5)]
        self.changed: list[Any] = []
        self.migrations: list[Any] = []
        self.changed_migrations: list[Any] = []
        self.flavors: list[Any] = [{"id": "f1", "name": "vgpu.1", "ram": 4096, "vcpus": 2, "disk": 10}]
        self.page = 1000
        self.progress: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.get(f"{V}/servers/detail", self._servers)
        self.get(f"{V}/os-migrations", self._migrations)
        self.get(f"{V}/flavors/detail", lambda asked: self._paged(asked, "flavors", self.flavors))
        self.aggregates: list[Any] = []
        self.get(f"{V}/os-aggregates", lambda asked: Reply(200, {"aggregates": self.aggregates}))
        self.get(
            f"{V}/os-services",
            Reply(200, {"services": [{"id": "c1", "host": "gpu-01", "binary": "nova-compute", "state": "up",
                                      "status": "enabled", "zone": "nova", "forced_down": False}]}),
        )  # fmt: skip
        hypervisor = {
            "id": "h1",
            "hypervisor_hostname": "gpu-01.example",
            "service": {"host": "gpu-01"},
            "hypervisor_version": 8002000,
            "state": "up",
        }
        self.get(f"{V}/os-hypervisors/detail", lambda asked: self._paged(asked, "hypervisors", [hypervisor]))

    def _paged(self, asked: Asked, key: str, items: list[Any]) -> Reply:
        marker = asked.query.get("marker", [""])[0]
        start = next((i + 1 for i, one in enumerate(items) if one.get("id") == marker), 0) if marker else 0
        page = items[start : start + self.page]
        body: dict[str, Any] = {key: page}
        if start + self.page < len(items):
            body[f"{key}_links"] = [{"rel": "next", "href": "http://inner.host.invalid/elsewhere"}]
        return Reply(200, body, self.headers)

    def _servers(self, asked: Asked) -> Reply:
        return self._paged(asked, "servers", self.changed if "changes-since" in asked.query else self.servers)

    def _migrations(self, asked: Asked) -> Reply:
        rows = self.changed_migrations if "changes-since" in asked.query else self.migrations
        for row in rows:
            if isinstance(row, dict) and "instance_uuid" in row:
                path = f"{V}/servers/{row['instance_uuid']}/migrations"
                self.get(path, Reply(200, {"migrations": [self.progress]} if self.progress else {"migrations": []}))
        return Reply(200, {"migrations": rows}, self.headers)

    def since(self, path: str = "/servers/detail") -> list[str | None]:
        """The changes-since of each request for a list."""
        return [a.query.get("changes-since", [None])[0] for a in self.asked if a.path == V + path]


@pytest.fixture
def cloud() -> CannedNova:
    return CannedNova()


class TestAFirstRead:
    def test_tells_everything(self, cloud: CannedNova) -> None:
        facts = NovaSource(cloud.connection()).fetch(None)
        assert (facts.microversion, facts.max_microversion) == ("2.100", "2.104")
        assert facts.servers is not None
        one = facts.servers[0]
        assert (one.id, one.name, one.host, one.ram_mib, one.power_state) == ("s-0000", "vm0", "gpu-01", 4096, 1)
        assert one.extra_specs == {"resources:VGPU": "1"}
        assert facts.services is not None
        assert (facts.services[0].host, facts.services[0].state) == ("gpu-01", "up")
        assert facts.hypervisors is not None
        assert (facts.hypervisors[0].service_host, facts.hypervisors[0].version) == ("gpu-01", 8002000)
        assert facts.flavors is not None
        assert facts.flavors[0].name == "vgpu.1"
        assert facts.all_projects

    @pytest.mark.parametrize("page", [1, 2, 4, 5, 6])
    def test_pages_of_any_size(self, cloud: CannedNova, page: int) -> None:
        cloud.page = page
        facts = NovaSource(cloud.connection()).fetch(None)
        assert [s.id for s in facts.servers or ()] == [f"s-{n:04d}" for n in range(5)]

    def test_a_list_that_does_not_end_is_an_error(self, cloud: CannedNova) -> None:
        links = [{"rel": "next", "href": "x"}]
        cloud.get(f"{V}/servers/detail", Reply(200, {"servers": [server(1)], "servers_links": links}))
        with pytest.raises(SourceError, match="does not end"):
            NovaSource(cloud.connection()).fetch(None)

    def test_computes_are_not_asked_for_their_uptime(self, cloud: CannedNova) -> None:
        NovaSource(cloud.connection()).fetch(None)
        asked = [a for a in cloud.asked if a.path == f"{V}/os-hypervisors/detail"]
        assert [a.headers["openstack-api-version"] for a in asked] == ["compute 2.87"]

    def test_an_old_cloud(self, cloud: CannedNova) -> None:
        cloud.compute_version = Reply(200, {"version": {"id": "v2.1", "version": "2.96"}})
        facts = NovaSource(cloud.connection()).fetch(None)
        assert (facts.microversion, facts.max_microversion) == ("2.96", "2.96")
        assert len(facts.servers or ()) == 5


class TestARefresh:
    def test_of_an_unchanged_cloud_costs_four_requests_and_changes_nothing(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        first = source.fetch(None)
        second = source.fetch(first)
        assert source.requests == 4
        assert second == first
        assert second.servers is first.servers

    def test_follows_a_change_a_newcomer_and_a_deletion(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.changed = [server(1, status="SHUTOFF"), server(9), server(2, status="DELETED"), server(3)]
        cloud.changed.append(server(4, status="SOFT_DELETED"))
        after = source.fetch(facts)
        assert {s.id: s.status for s in after.servers or ()} == {
            "s-0000": "ACTIVE",
            "s-0001": "SHUTOFF",
            "s-0003": "ACTIVE",
            "s-0009": "ACTIVE",
        }

    def test_the_window_is_novas_clock_and_overlaps(self, cloud: CannedNova) -> None:
        assert DATE.endswith("18:00:00 GMT")
        source = NovaSource(cloud.connection())
        source.fetch(source.fetch(None))
        assert cloud.since() == [None, "2026-11-22T17:58:00Z"]
        assert cloud.since("/os-migrations") == [None, "2026-11-22T17:58:00Z"]

    @pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT"])
    def test_without_a_usable_clock_the_newest_record_counts(self, cloud: CannedNova, date: str) -> None:
        cloud.headers = {"Date": date}
        source = NovaSource(cloud.connection())
        source.fetch(source.fetch(None))
        assert cloud.since() == [None, "2026-11-22T17:28:00Z"]

    def test_with_no_clock_at_all_everything_is_read(self, cloud: CannedNova) -> None:
        cloud.headers = {"Date": ""}
        cloud.servers = [server(1, updated=None)]
        source = NovaSource(cloud.connection())
        source.fetch(source.fetch(None))
        assert cloud.since() == [None, None]

    def test_reads_all_again_after_a_failure(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.servers = cloud.servers[:2]  # vanished without a trace, e.g. purged from the database
        good = cloud.routes["GET", f"{V}/os-migrations"]
        cloud.get(f"{V}/os-migrations", Reply(500, {}))
        with pytest.raises(SourceError):
            source.fetch(facts)
        cloud.get(f"{V}/os-migrations", good)
        assert len(source.fetch(facts).servers or ()) == 2

    def test_reads_all_again_now_and_then(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.servers = cloud.servers[:3]
        seen = []
        for _ in range(FULL_EVERY + 1):
            facts = source.fetch(facts)
            seen.append(len(facts.servers or ()))
        assert seen == [5] * FULL_EVERY + [3]

    def test_flavors_come_at_a_slow_pace(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        for _ in range(FLAVORS_EVERY - 1):
            facts = source.fetch(facts)
        assert cloud.paths().count(f"{V}/flavors/detail") == 1
        source.fetch(facts)
        assert cloud.paths().count(f"{V}/flavors/detail") == 2

    def test_a_server_whose_cell_is_down_keeps_what_was_known(self, cloud: CannedNova) -> None:
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        cloud.changed = [{"id": "s-0001", "status": "UNKNOWN", "tenant_id": "p-1", "created": "2026-11-22T17:00:00Z"}]
        after = {s.id: s for s in source.fetch(facts).servers or ()}
        assert (after["s-0001"].status, after["s-0001"].name, after["s-0001"].host) == ("UNKNOWN", "vm1", "gpu-01")

    def test_at_the_demo_cloud_it_is_the_same_as_a_first_read(self) -> None:
        demo = open_demo(3)
        connection = CloudConnection(demo.spec(), read_only=True, http=demo.http())
        source = NovaSource(connection)
        again = source.fetch(source.fetch(None))
        fresh = NovaSource(connection).fetch(None)
        assert source.requests <= 5
        assert again.servers
        assert sorted(again.servers, key=lambda s: s.id) == sorted(fresh.servers or (), key=lambda s: s.id)
        assert again.migrations == fresh.migrations


class TestALesserCredential:
    def forbid(self, cloud: CannedNova, *paths: str) -> None:
        for path in paths:
            cloud.get(V + path, Reply(403, {"forbidden": {"message": "no"}}))

    def test_sees_its_own_project_and_says_so(self, cloud: CannedNova) -> None:
        plain_list = cloud.routes["GET", f"{V}/servers/detail"]

        def own_only(asked: Asked) -> Reply:
            if "all_tenants" in asked.query:
                return Reply(403, {"forbidden": {"message": "no"}})
            return plain_list(asked) if callable(plain_list) else plain_list

        cloud.get(f"{V}/servers/detail", own_only)
        self.forbid(cloud, "/os-services", "/os-hypervisors/detail", "/os-migrations")
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        assert not facts.all_projects
        assert len(facts.servers or ()) == 5
        assert (facts.services, facts.hypervisors, facts.migrations) == (None, None, None)
        assert any("only those of this credential's project" in note for note in source.notes)
        before = len(cloud.asked)
        again = source.fetch(facts)
        assert cloud.paths(before) == [f"{V}/servers/detail"]  # what is refused is not asked for each time
        assert again.services is None
        assert any(note.startswith("services: not visible") for note in source.notes)

    def test_that_sees_nothing_is_an_error(self, cloud: CannedNova) -> None:
        self.forbid(cloud, "/os-services", "/os-hypervisors/detail", "/os-migrations", "/servers/detail")
        with pytest.raises(SourceError) as caught:
            NovaSource(cloud.connection()).fetch(None)
        assert caught.value.kind == "forbidden"

    def test_flavors_that_fail_cost_nothing_else(self, cloud: CannedNova) -> None:
        cloud.get(f"{V}/flavors/detail", Reply(500, {}))
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        assert facts.flavors is None
        assert facts.servers
        assert any(note.startswith("flavors: nova at cloud.test failed") for note in source.notes)


class TestBadRecords:
    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ({}, "no id"),
            ({"id": None}, "no id"),
            ({"id": "../x"}, "id is not an id"),
            ({"id": "a\x1b[2J"}, "id is not an id"),
            ({"id": ["x"]}, "no id"),
            ("text", "not an object"),
            (None, "not an object"),
            (7, "not an object"),
        ],
    )
    def test_one_is_left_out_and_told(self, cloud: CannedNova, bad: Any, why: str) -> None:
        cloud.servers.insert(2, bad)
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        assert len(facts.servers or ()) == 5
        assert source.notes == (f"servers: 1 could not be read and is left out ({why})",)

    def test_missing_null_and_ill_typed_fields_are_unknown(self, cloud: CannedNova) -> None:
        cloud.servers = [
            {"id": "a"},
            server(1, flavor=None, status=None, **{"OS-EXT-STS:power_state": "x", "locked": 3}),
            server(2, flavor={"ram": "4096", "vcpus": True, "extra_specs": ["x"]}, status=["ACTIVE"]),
        ]
        one, two, three = NovaSource(cloud.connection()).fetch(None).servers or ()
        assert (one.name, one.host, one.status, one.ram_mib, one.extra_specs) == ("", None, None, None, None)
        assert (two.status, two.power_state, two.locked, two.flavor) == (None, None, None, None)
        assert (three.status, three.ram_mib, three.vcpus, three.extra_specs) == (None, 4096, None, None)

    def test_an_unknown_status_is_passed_on(self, cloud: CannedNova) -> None:
        cloud.servers = [server(1, status="LEVITATING")]
        assert [s.status for s in NovaSource(cloud.connection()).fetch(None).servers or ()] == ["LEVITATING"]

    def test_an_answer_without_its_list_is_an_error(self, cloud: CannedNova) -> None:
        cloud.get(f"{V}/servers/detail", Reply(200, {"servers": {"oops": 1}}))
        with pytest.raises(SourceError, match="no list of servers") as caught:
            NovaSource(cloud.connection()).fetch(None)
        assert caught.value.kind == "protocol"

    @given(name=st.text(max_size=40), reason=st.text(max_size=40))
    @settings(max_examples=40, deadline=None)
    def test_no_text_reaches_the_model_raw(self, name: str, reason: str) -> None:
        cloud = CannedNova()
        hostile = f"{name}\x1b]52;c;AAAA\x07\u202e[/x]"
        cloud.servers = [server(1, name=hostile, fault={"message": reason + "\x9b31m"})]
        (one,) = NovaSource(cloud.connection()).fetch(None).servers or ()
        assert one.name.isprintable()
        assert (one.fault or "").isprintable()

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )

    @given(
        fields=st.dictionaries(
            st.sampled_from([*server(1), *migration(1), "fault", "name", "ram", "host", "service"]), json_values
        ),
        whole=json_values,
    )
    @settings(max_examples=80, deadline=None)
    def test_whatever_json_says_it_is_facts_or_a_source_error(self, fields: dict[str, Any], whole: Any) -> None:
        cloud = CannedNova()
        cloud.servers = [server(1), {**server(2), **fields}, whole] if isinstance(whole, dict) else [server(1)]
        cloud.migrations = [{**migration(1), **fields}]
        cloud.get(f"{V}/os-services", Reply(200, {"services": [{"id": "1", "host": "h", **fields}, whole]}))
        source = NovaSource(cloud.connection())
        facts: NovaFacts | None = None
        try:
            facts = source.fetch(None)
        except SourceError as exc:
            assert str(exc).isprintable()  # noqa: PT017 - it may also be read
        if facts is not None:
            assert any(s.id == "s-0001" for s in facts.servers or ())


class TestAggregates:
    """They are read with the flavors, and a credential that may not read them still reads the rest."""

    ROW: ClassVar[dict[str, Any]] = {
        "id": 3,
        "uuid": "2f0b7c1e-6f1c-4d43-9d4a-6c4c5b1f0c11",
        "name": "gpu\x1b[31m",
        "availability_zone": "az-1",
        "hosts": ["gpu-01", "gpu-02", 7],
        "metadata": {"availability_zone": "az-1", "filter_tenant_id": "p1"},
    }

    def test_with_their_hosts_and_metadata_in_plain_text(self, cloud: CannedNova) -> None:
        cloud.aggregates = [self.ROW]
        (found,) = NovaSource(cloud.connection()).fetch(None).aggregates or ()
        assert (found.name, found.zone, found.hosts) == ("gpu·[31m", "az-1", ("gpu-01", "gpu-02"))
        assert found.metadata == {"availability_zone": "az-1", "filter_tenant_id": "p1"}

    def test_an_unchanged_refresh_does_not_ask_again_and_keeps_them(self, cloud: CannedNova) -> None:
        cloud.aggregates = [self.ROW]
        source = NovaSource(cloud.connection())
        first = source.fetch(None)
        cloud.asked.clear()
        assert source.fetch(first).aggregates is first.aggregates
        assert not [a for a in cloud.asked if a.path.endswith("/os-aggregates")]

    def test_a_credential_that_may_not_see_them_says_so_and_they_are_unknown(self, cloud: CannedNova) -> None:
        cloud.get(f"{V}/os-aggregates", Reply(403, {"forbidden": {"message": "Policy doesn't allow it"}}))
        source = NovaSource(cloud.connection())
        facts = source.fetch(None)
        assert facts.aggregates is None
        assert facts.servers
        assert any(note.startswith("aggregates: not visible") for note in source.notes)

    def test_the_quota_view_does_not_ask_for_them(self, cloud: CannedNova) -> None:
        cloud.aggregates = [self.ROW]
        assert NovaSource(cloud.connection(), use_only=True).fetch(None).aggregates is None


@pytest.mark.parametrize(
    ("told", "zone"),
    [({"pinned_availability_zone": "az-1"}, "az-1"), ({"pinned_availability_zone": None}, ""), ({}, None)],
)
def test_the_zone_that_a_server_may_not_leave(cloud: CannedNova, told: dict[str, Any], zone: str | None) -> None:
    cloud.servers = [server(1) | told]
    (found,) = NovaSource(cloud.connection()).fetch(None).servers or ()
    assert found.pinned_zone == zone
