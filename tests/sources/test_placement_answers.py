"""Placement through the console's source: usages, strangers, bad answers, allocation candidates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import Asked, Reply
from tests.sources.canned_placement import CannedPlacement, Reader, V, two_servers
from vgpu_console.model.placement import RequestGroup
from vgpu_console.simulator import open_demo
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.placement import PlacementSource


@pytest.fixture
def cloud() -> CannedPlacement:
    return CannedPlacement()


@pytest.fixture
def reader(cloud: CannedPlacement) -> Reader:
    return two_servers(cloud)


class TestUsagesAndStrangers:
    def test_a_consumer_that_nova_does_not_know_is_asked_for_once(self, cloud: CannedPlacement) -> None:
        cloud.boot("s9", "p9", "h0-vf0")
        reader = Reader(cloud)
        facts = reader.fetch()
        assert facts.usages == {"p9": {"VGPU": 1}}
        assert reader.asked.count("/allocations/s9") == 1
        cloud.boot("s8", "p9", "h0-vf1")
        reader.fetch()
        assert "/allocations/s9" not in reader.asked

    def test_usages_by_consumer_type_are_summed(self, cloud: CannedPlacement, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vgpu_console.sources.placement.USAGES_WANTED", "1.39")
        cloud.boot("s1", "p1", "h0-vf0")
        assert Reader(cloud).fetch().usages == {"p1": {"VGPU": 1}}

    def test_usages_that_are_refused_are_unknown(self, cloud: CannedPlacement) -> None:
        cloud.get(f"{V}/usages", Reply(403, {}))
        cloud.boot("s1", "p1", "h0-vf0")
        reader = Reader(cloud)
        assert reader.fetch().usages == {}
        assert reader.source.notes == ("usages: those of project p1 could not be read",)


class TestBadAnswers:
    def test_a_credential_without_the_role(self, cloud: CannedPlacement) -> None:
        cloud.get(f"{V}/resource_providers", Reply(403, {}))
        with pytest.raises(SourceError, match="needs the admin or service role") as caught:
            Reader(cloud).fetch()
        assert caught.value.kind == "forbidden"

    @pytest.mark.parametrize("uuid", [None, "", "../../x", "a b", "\x1b[2J", 7.5, ["x"]])
    def test_a_provider_without_a_usable_id_is_left_out(self, cloud: CannedPlacement, uuid: Any) -> None:
        rows = [{"uuid": uuid, "name": "x", "generation": 1}, {"uuid": "h0", "name": "good", "generation": 1}]
        cloud.get(f"{V}/resource_providers", Reply(200, {"resource_providers": rows}))
        reader = Reader(cloud)
        names = [p.name for p in reader.fetch().providers]
        assert "good" in names
        assert all(name.isprintable() for name in names)

    def test_a_name_is_made_plain(self, cloud: CannedPlacement) -> None:
        cloud.providers["h0"]["name"] = "host\x1b]0;x\x07"
        reader = Reader(cloud)
        reader.fetch()
        assert reader.provider("h0").name == "host·]0;x·"
        assert reader.fetch() == reader.facts

    @given(
        path=st.sampled_from(["resource_providers", "allocation_candidates", "usages", "resource_providers/h0-vf0/x"]),
        body=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=6),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["resource_providers", "provider_summaries", "resources", "VGPU", "capacity", "used", "traits",
                     "allocations", "inventories", "total", "uuid", "name", "generation", "usages", "h0-vf0"]
                ),
                inner,
                max_size=5,
            ),
            max_leaves=15,
        ),
    )  # fmt: skip
    @settings(max_examples=100, deadline=None)
    def test_whatever_json_says_it_is_facts_or_a_source_error(self, path: str, body: Any) -> None:
        cloud = CannedPlacement(1, 1)
        cloud.boot("s1", "p1", "h0-vf0")
        whats = ["allocations", "inventories", "traits"] if path.endswith("/x") else [""]
        for what in whats:
            cloud.get(
                f"{V}/{path.removesuffix('x') + what if what else path}", Reply(200, json.loads(json.dumps(body)))
            )
        said = ""
        try:
            Reader(cloud).fetch()
        except SourceError as exc:
            said = str(exc)
        assert said.isprintable()


class TestCandidates:
    GROUPS = (
        RequestGroup(resources={"VCPU": 2, "MEMORY_MB": 1024}),
        RequestGroup(suffix="1", resources={"VGPU": 1}, required=("CUSTOM_A",), forbidden=("CUSTOM_B", "CUSTOM_C")),
    )

    def test_are_asked_for_by_groups(self, cloud: CannedPlacement) -> None:
        asked: list[Asked] = []

        def answer(request: Asked) -> Reply:
            asked.append(request)
            return Reply(200, {"allocation_requests": [], "provider_summaries": {}})

        cloud.get(f"{V}/allocation_candidates", answer)
        PlacementSource(cloud.connection(), dict).candidates(self.GROUPS, policy="isolate", in_tree="h0")
        assert asked[0].query == {
            "limit": ["1000"],
            "group_policy": ["isolate"],
            "resources": ["MEMORY_MB:1024,VCPU:2"],
            "in_tree": ["h0"],
            "resources1": ["VGPU:1"],
            "required1": ["CUSTOM_A,!CUSTOM_B,!CUSTOM_C"],
            "in_tree1": ["h0"],
        }

    def test_tell_what_is_left_of_each_provider(self, cloud: CannedPlacement) -> None:
        summaries = {
            "h0": {"resources": {"MEMORY_MB": {"capacity": 8, "used": 3}}, "root_provider_uuid": "h0"},
            "h0-vf0": {"resources": {"VGPU": {"capacity": 1, "used": 2}, "ODD": {}}, "root_provider_uuid": "h0"},
            "no/id": {"resources": {}},
        }
        requests = [{"allocations": {"h0": {"resources": {"MEMORY_MB": 1}}, "h0-vf0": {"resources": {"VGPU": 1}}}}, 7]
        body = {"allocation_requests": requests, "provider_summaries": summaries}
        cloud.get(f"{V}/allocation_candidates", Reply(200, body))
        found = PlacementSource(cloud.connection(), dict).candidates(self.GROUPS)
        assert [c.allocations for c in found.candidates] == [{"h0": {"MEMORY_MB": 1}, "h0-vf0": {"VGPU": 1}}]
        assert found.free == {"h0": {"MEMORY_MB": 5}, "h0-vf0": {"VGPU": 0}}
        assert found.roots == {"h0": "h0", "h0-vf0": "h0"}
        assert not found.cut

    def test_as_many_as_were_asked_for_may_not_be_all(self, cloud: CannedPlacement) -> None:
        body = {"allocation_requests": [{"allocations": {"h0": {"resources": {"VCPU": 1}}}}], "provider_summaries": {}}
        cloud.get(f"{V}/allocation_candidates", Reply(200, body))
        assert PlacementSource(cloud.connection(), dict).candidates(self.GROUPS, limit=1).cut

    def test_the_demo_cloud_answers_for_a_flavor_of_its_own(self) -> None:
        demo = open_demo(1)
        connection = CloudConnection(demo.spec(), read_only=True, http=demo.http())
        found = PlacementSource(connection, dict).candidates((RequestGroup(resources={"VGPU": 1, "VCPU": 1}),))
        assert found.candidates
        assert all(sum(r.get("VGPU", 0) for r in c.allocations.values()) == 1 for c in found.candidates)
        assert set(found.roots.values()) == {next(u for u, root in found.roots.items() if u == root)}
