"""Keystone through the console's source: what each credential may see, and what it says about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import Asked, CannedCloud, Reply
from vgpu_console.simulator import open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.keystone import KeystoneSource

V = "/identity/v3"


def limit(number: int, project: str | None, value: Any = 4, **changes: Any) -> dict[str, Any]:
    """An entry of GET /v3/limits."""
    return {
        "id": f"l{number}",
        "project_id": project,
        "domain_id": None,
        "service_id": "svc-nova",
        "region_id": "RegionOne",
        "resource_name": "class:VGPU",
        "resource_limit": value,
    } | changes


class CannedKeystone(CannedCloud):
    """A cloud with one of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[Any]] = {
            "domains": [{"id": "default", "name": "Default"}],
            "projects": [
                {"id": "p-admin", "name": "admin", "domain_id": "default", "enabled": True},
                {"id": "p-ml", "name": "ml\x1b[31m", "domain_id": "default", "enabled": None},
            ],
            "services": [{"id": "svc-nova", "type": "compute", "name": "nova"}],
            "endpoints": [
                {"id": "e1", "service_id": "svc-nova", "region_id": "RegionOne", "interface": "public",
                 "url": "https://bob:hunter22@nova.test/v2.1"},
            ],
            "registered_limits": [
                {"id": "r1", "service_id": "svc-nova", "region_id": None, "resource_name": "class:VGPU",
                 "default_limit": -1},
            ],
            "limits": [limit(1, "p-ml")],
            "role_assignments": [
                {"role": {"id": "r", "name": "reader"}, "scope": {"system": {"all": True}},
                 "user": {"id": "u", "name": "nova", "domain": {"id": "default", "name": "Default"}}},
                {"role": {"id": "a", "name": "admin"}, "scope": {"system": {"all": True}},
                 "group": {"id": "g", "name": "operators", "domain": {"id": "default", "name": "Default"}}},
            ],
        }  # fmt: skip
        for key in self.lists:
            self.get(f"{V}/{key}", self._list)
        self.get(f"{V}/limits/model", Reply(200, {"model": {"name": "flat", "description": "x"}}))
        self.get(f"{V}/auth/projects", Reply(200, {"projects": self.lists["projects"][:1]}))

    def _list(self, asked: Asked) -> Reply:
        key = asked.path.rpartition("/")[2]
        return Reply(200, {key: self.lists[key], "links": {"next": None}})


@pytest.fixture
def cloud() -> CannedKeystone:
    return CannedKeystone()


def test_a_first_read_tells_everything(cloud: CannedKeystone) -> None:
    source = KeystoneSource(cloud.connection())
    facts = source.fetch(None)
    assert [d.name for d in facts.domains or ()] == ["Default"]
    assert [(p.id, p.name, p.enabled) for p in facts.projects or ()] == [
        ("p-admin", "admin", True),
        ("p-ml", "ml·[31m", None),
    ]
    assert [s.type for s in facts.services or ()] == ["compute"]
    assert [e.url for e in facts.endpoints or ()] == ["https://nova.test/v2.1"]
    assert [(r.region_id, r.default_limit) for r in facts.registered_limits or ()] == [(None, -1)]
    assert [(x.project_id, x.resource_limit) for x in facts.project_limits or ()] == [("p-ml", 4)]
    assert (facts.enforcement_model, facts.limits_scope, facts.limits_complete) == ("flat", "system", True)
    assert [(r.user, r.group, r.domain, r.role) for r in facts.system_roles or ()] == [
        ("nova", "", "Default", "reader"),
        ("", "operators", "Default", "admin"),
    ]
    assert source.notes == ()


def test_no_refresh_costs_more_than_three_requests_and_all_is_read_in_turns(cloud: CannedKeystone) -> None:
    source = KeystoneSource(cloud.connection())
    facts = source.fetch(None)
    first, costs, before = facts, set(), len(cloud.asked)
    for _ in range(16):
        facts = source.fetch(facts)
        costs.add(source.requests)
    assert costs == {3}
    assert facts == first
    assert set(cloud.paths(before)) == {f"{V}/{key}" for key in [*cloud.lists, "limits/model"]}


def test_a_new_limit_and_a_new_project_are_seen_at_once_and_soon(cloud: CannedKeystone) -> None:
    source = KeystoneSource(cloud.connection())
    facts = source.fetch(None)
    cloud.lists["limits"].append(limit(2, "p-new", 9))
    cloud.lists["projects"].append({"id": "p-new", "name": "new"})
    facts = source.fetch(facts)
    assert [x.resource_limit for x in facts.project_limits or ()] == [4, 9]
    facts = source.fetch(facts)
    assert "p-new" in [p.id for p in facts.projects or ()]


class TestCompleteness:
    @pytest.mark.parametrize(
        ("system", "roles", "limits", "complete", "note"),
        [
            (True, ["admin"], [], True, ""),
            (False, ["admin"], ["p-admin", "p-ml"], True, ""),
            (False, ["admin"], ["p-admin"], None, "perhaps only this project's"),
            (False, ["admin"], [], None, "perhaps only this project's"),
            (False, ["member"], [], False, "only those of this credential's project"),
            (False, ["member"], ["p-admin"], False, "only those of this credential's project"),
        ],
    )
    def test_is_claimed_only_where_it_is_known(
        self, cloud: CannedKeystone, system: bool, roles: list[str], limits: list[str], complete: Any, note: str
    ) -> None:
        cloud.system, cloud.roles = system, roles
        cloud.lists["limits"] = [limit(i, project) for i, project in enumerate(limits)]
        source = KeystoneSource(cloud.connection())
        facts = source.fetch(None)
        assert facts.limits_complete is complete
        assert facts.limits_scope == ("system" if system else "project")
        assert any(note in n for n in source.notes) or not note

    def test_limits_that_cannot_be_read_are_unknown(self, cloud: CannedKeystone) -> None:
        cloud.get(f"{V}/limits", Reply(404, {}))
        facts = KeystoneSource(cloud.connection()).fetch(None)
        assert (facts.project_limits, facts.limits_complete) == (None, None)
        assert facts.registered_limits


class TestWhatIsRefused:
    def test_is_unknown_and_the_rest_is_kept(self, cloud: CannedKeystone) -> None:
        for key in ("domains", "endpoints"):
            cloud.get(f"{V}/{key}", Reply(403, {}))
        source = KeystoneSource(cloud.connection())
        facts = source.fetch(None)
        assert (facts.domains, facts.endpoints) == (None, None)
        assert facts.projects
        assert [n.partition(":")[0] for n in source.notes] == ["domains", "endpoints"]

    def test_is_not_asked_for_each_time(self, cloud: CannedKeystone) -> None:
        cloud.get(f"{V}/services", Reply(403, {}))
        source = KeystoneSource(cloud.connection())
        facts = source.fetch(None)
        before = len(cloud.asked)
        for _ in range(4):
            facts = source.fetch(facts)
        assert f"{V}/services" not in cloud.paths(before)
        assert any(n.startswith("services: not visible") for n in source.notes)

    def test_is_tried_with_the_projects_scope(self, cloud: CannedKeystone) -> None:
        tokens: dict[str, str] = {}

        def only_project(asked: Asked) -> Reply:
            token = asked.headers["x-auth-token"]
            tokens.setdefault(token, "system" if cloud.tokens == 2 and not tokens else "project")
            if tokens[token] == "system":
                return Reply(403, {})
            return Reply(200, {"domains": [{"id": "d", "name": "D"}]})

        cloud.get(f"{V}/domains", only_project)
        connection = cloud.connection()
        assert [d.id for d in KeystoneSource(connection).fetch(None).domains or ()] == ["d"]

    def test_own_projects_have_names_at_least(self, cloud: CannedKeystone) -> None:
        cloud.get(f"{V}/projects", Reply(403, {}))
        source = KeystoneSource(cloud.connection())
        facts = source.fetch(None)
        assert [p.name for p in facts.projects or ()] == ["admin"]
        assert "projects: only this user's own have names here" in source.notes
        again = source.fetch(facts)
        assert again.projects == facts.projects

    def test_everything_is_an_error(self, cloud: CannedKeystone) -> None:
        for key in [*cloud.lists, "limits/model", "auth/projects"]:
            cloud.get(f"{V}/{key}", Reply(403, {}))
        with pytest.raises(SourceError) as caught:
            KeystoneSource(cloud.connection()).fetch(None)
        assert caught.value.kind == "forbidden"

    def test_an_outage_is_an_error_at_once(self, cloud: CannedKeystone) -> None:
        cloud.get(f"{V}/projects", Reply(503, b""))
        with pytest.raises(SourceError) as caught:
            KeystoneSource(cloud.connection()).fetch(None)
        assert caught.value.kind == "unreachable"


class TestLists:
    def test_a_cut_list_is_told(self, cloud: CannedKeystone) -> None:
        cloud.get(f"{V}/projects", Reply(200, {"projects": [{"id": "p1", "name": "x"}], "truncated": True}))
        source = KeystoneSource(cloud.connection())
        source.fetch(None)
        assert any("Keystone cut the list after 1" in n for n in source.notes)

    def test_pages_are_followed_on_the_host_that_was_asked(self, cloud: CannedKeystone) -> None:
        def paged(asked: Asked) -> Reply:
            start = int(asked.query.get("marker", ["0"])[0])
            following = f"http://inner.invalid/v3/projects?marker={start + 1}" if start < 3 else None
            return Reply(200, {"projects": [{"id": f"p{start}", "name": "x"}], "links": {"next": following}})

        cloud.get(f"{V}/projects", paged)
        facts = KeystoneSource(cloud.connection()).fetch(None)
        assert [p.id for p in facts.projects or ()] == ["p0", "p1", "p2", "p3"]

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (limit(5, None), "neither project_id nor domain_id"),
            (limit(5, "p", value=None), "no resource_limit"),
            (limit(5, "p", value="many"), "no resource_limit"),
            (limit(5, "p", value=True), "no resource_limit"),
            (limit(5, "p", resource_name=""), "no resource_name"),
            (limit(5, "p", service_id=None), "no service_id"),
        ],
    )
    def test_a_limit_that_is_none_is_left_out(self, cloud: CannedKeystone, bad: dict[str, Any], why: str) -> None:
        cloud.lists["limits"].append(bad)
        source = KeystoneSource(cloud.connection())
        assert len(source.fetch(None).project_limits or ()) == 1
        assert source.notes == (f"limits: 1 could not be read and is left out ({why})",)

    @given(
        body=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["limits", "projects", "id", "name", "links", "next", "truncated"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_no_answer_breaks_it(self, body: Any) -> None:
        cloud = CannedKeystone()
        for key in ("limits", "projects", "limits/model"):
            cloud.get(f"{V}/{key}", Reply(200, body))
        source = KeystoneSource(cloud.connection())
        facts = source.fetch(None)
        assert facts.services
        assert all(n.isprintable() for n in source.notes)


def test_the_demo_cloud_at_the_price_of_three() -> None:
    demo = open_demo(2)
    source = KeystoneSource(CloudConnection(demo.spec(), read_only=True, http=demo.http()))
    first = source.fetch(None)
    assert first.projects
    assert first.registered_limits
    assert source.fetch(first) == first
    assert source.requests <= 3
