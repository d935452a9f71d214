"""Placement through the console's source: every change is seen, also one that moves no generation, and cheaply."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import Asked, CannedCloud, Reply
from vgpu_console.model.placement import PlacementFacts, RequestGroup, ResourceProvider
from vgpu_console.simulator import open_demo
from vgpu_console.sources import placement_details
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.placement import PlacementSource

V = "/placement"


class CannedPlacement(CannedCloud):
    """Trees of a host with virtual functions, with Placement's own rules for generations.

    Writing a consumer's allocations moves the generation of the providers it then holds; deleting them, and dropping a
    provider from them, moves none (placement objects/allocation.py).
    """

    def __init__(self, hosts: int = 2, functions: int = 4) -> None:
        super().__init__()
        self.providers: dict[str, dict[str, Any]] = {}
        self.consumers: dict[str, tuple[str, dict[str, dict[str, int]]]] = {}
        self.full: set[str] = set()  # roots without a free mebibyte: in no allocation candidate
        for h in range(hosts):
            self.add(f"h{h}", None, {"MEMORY_MB": {"total": 1024, "allocation_ratio": 1.5}})
            for f in range(functions):
                self.add(f"h{h}-vf{f}", f"h{h}", {"VGPU": {"total": 1}})
        self.get(f"{V}/resource_providers", self._list)
        self.get(f"{V}/allocation_candidates", self._candidates)
        self.get(f"{V}/usages", self._usages)

    def add(self, uuid: str, root: str | None, inventories: dict[str, Any]) -> None:
        self.providers[uuid] = {"uuid": uuid, "name": f"{uuid}.example", "generation": 1, "parent_provider_uuid": root,
                                "root_provider_uuid": root or uuid}  # fmt: skip
        defaults = {"reserved": 0, "allocation_ratio": 1.0, "max_unit": 1}
        detail = {
            "inventories": {rc: defaults | inventory for rc, inventory in inventories.items()},
            "traits": ["OWNER_NOVA"],
        }
        self.providers[uuid]["_"] = detail
        for what in ("inventories", "traits"):
            self.get(f"{V}/resource_providers/{uuid}/{what}", Reply(200, detail))
        self.get(f"{V}/resource_providers/{uuid}/allocations", lambda _asked: Reply(200, self._held(uuid)))

    def remove(self, uuid: str) -> None:
        del self.providers[uuid]
        for what in ("inventories", "traits", "allocations"):
            del self.routes["GET", f"{V}/resource_providers/{uuid}/{what}"]

    def allocate(self, consumer: str, project: str, held: dict[str, dict[str, int]]) -> None:
        self.consumers[consumer] = (project, held)
        for uuid in held:
            self.providers[uuid]["generation"] += 1
        self.get(f"{V}/allocations/{consumer}", Reply(200, {"project_id": project}))

    def boot(self, consumer: str, project: str, function: str) -> None:
        self.allocate(consumer, project, {function: {"VGPU": 1}, function.split("-")[0]: {"MEMORY_MB": 1}})

    def delete(self, consumer: str) -> None:
        del self.consumers[consumer]

    def _held(self, uuid: str) -> dict[str, Any]:
        found = {c: {"resources": held[uuid]} for c, (_, held) in self.consumers.items() if uuid in held}
        return {"allocations": found, "resource_provider_generation": self.providers[uuid]["generation"]}

    def _used(self, uuid: str, resource_class: str) -> int:
        return sum(held.get(uuid, {}).get(resource_class, 0) for _, held in self.consumers.values())

    def _list(self, _asked: Asked) -> Reply:
        rows = [{k: v for k, v in p.items() if k != "_"} for p in self.providers.values()]
        return Reply(200, {"resource_providers": rows})

    def _candidates(self, asked: Asked) -> Reply:
        tree = asked.query.get("in_tree", [None])[0]
        summaries = {}
        for uuid, provider in self.providers.items():
            root = provider["root_provider_uuid"]
            if root in self.full or tree not in (None, root):
                continue
            resources = {}
            for resource_class, one in provider["_"]["inventories"].items():
                capacity = int((one["total"] - one["reserved"]) * one["allocation_ratio"])
                resources[resource_class] = {"capacity": capacity, "used": self._used(uuid, resource_class)}
            summaries[uuid] = {"resources": resources, "traits": provider["_"]["traits"]}
        return Reply(200, {"allocation_requests": [], "provider_summaries": summaries})

    def _usages(self, asked: Asked) -> Reply:
        total: dict[str, int] = defaultdict(int)
        for project, held in self.consumers.values():
            if project == asked.query["project_id"][0]:
                for resources in held.values():
                    for resource_class, amount in resources.items():
                        total[resource_class] += amount
        if asked.headers["openstack-api-version"].endswith(("1.38", "1.39")):
            return Reply(200, {"usages": {"unknown": {**total, "consumer_count": 1}}})
        return Reply(200, {"usages": total})


class Reader:
    """A source with the projects that Nova knows, fetched step by step."""

    def __init__(self, cloud: CannedPlacement) -> None:
        self.cloud = cloud
        self.known: dict[str, str] = {}
        self.source = PlacementSource(cloud.connection(), lambda: self.known)
        self.facts: PlacementFacts | None = None
        self.asked: list[str] = []

    def fetch(self) -> PlacementFacts:
        before = len(self.cloud.asked)
        self.facts = self.source.fetch(self.facts)
        self.asked = [p.removeprefix(V) for p in self.cloud.paths(before)]
        return self.facts

    def provider(self, uuid: str) -> ResourceProvider:
        assert self.facts is not None
        return next(p for p in self.facts.providers if p.uuid == uuid)

    def holders(self) -> dict[str, list[str]]:
        """Provider -> consumers, of those that are held."""
        assert self.facts is not None
        return {p.uuid: [a.consumer_id for a in p.allocations] for p in self.facts.providers if p.allocations}

    def truth(self) -> None:
        """What was read step by step is what a new reader sees."""
        fresh = Reader(self.cloud)
        fresh.known = self.known
        fresh.fetch()
        assert self.facts is not None
        assert fresh.facts is not None
        assert self.holders() == fresh.holders()
        assert self.facts.usages == fresh.facts.usages
        assert [(p.uuid, p.generation, p.traits) for p in self.facts.providers] == [
            (p.uuid, p.generation, p.traits) for p in fresh.facts.providers
        ]


@pytest.fixture
def cloud() -> CannedPlacement:
    return CannedPlacement()


@pytest.fixture
def reader(cloud: CannedPlacement) -> Reader:
    """Two servers on two hosts, read once."""
    cloud.boot("s1", "p1", "h0-vf0")
    cloud.boot("s2", "p2", "h1-vf3")
    reader = Reader(cloud)
    reader.known = {"s1": "p1", "s2": "p2"}
    reader.fetch()
    return reader


class TestAFirstRead:
    def test_tells_trees_inventories_holders_traits_and_usages(self, reader: Reader) -> None:
        assert reader.facts is not None
        function = reader.provider("h0-vf0")
        assert (function.name, function.parent_uuid, function.root_uuid) == ("h0-vf0.example", "h0", "h0")
        assert [(i.resource_class, i.total) for i in function.inventories or ()] == [("VGPU", 1)]
        assert function.traits == ("OWNER_NOVA",)
        assert reader.provider("h0").inventories == ()  # memory is not a vGPU class
        assert reader.holders() == {"h0-vf0": ["s1"], "h1-vf3": ["s2"]}
        assert reader.facts.usages == {"p1": {"VGPU": 1}, "p2": {"VGPU": 1}}
        assert reader.facts.max_microversion == "1.39"

    def test_costs_far_less_than_three_requests_per_provider(self, reader: Reader) -> None:
        assert sorted(reader.asked) == [
            "/allocation_candidates",
            "/resource_providers",
            "/resource_providers/h0-vf0/allocations",
            "/resource_providers/h1-vf3/allocations",
            "/usages",
            "/usages",
        ]
        assert reader.source.requests == len(reader.asked) + 3  # the log-in, and each service's version document

    def test_a_host_with_no_memory_left_is_read_provider_by_provider(self, cloud: CannedPlacement) -> None:
        cloud.full = {"h1"}
        cloud.boot("s2", "p2", "h1-vf3")
        reader = Reader(cloud)
        reader.known = {"s2": "p2"}
        reader.fetch()
        assert reader.holders() == {"h1-vf3": ["s2"]}
        assert [(i.total, i.max_unit) for i in reader.provider("h1-vf3").inventories or ()] == [(1, 1)]

    def test_a_large_cloud_is_read_tree_by_tree(self, cloud: CannedPlacement, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(placement_details, "ALL_AT_ONCE", 3)
        cloud.boot("s2", "p2", "h1-vf3")
        reader = Reader(cloud)
        reader.known = {"s2": "p2"}
        reader.fetch()
        asked = [a.query.get("in_tree") for a in cloud.asked if a.path == f"{V}/allocation_candidates"]
        assert sorted(asked, key=str) == [["h0"], ["h1"]]
        assert reader.holders() == {"h1-vf3": ["s2"]}

    def test_an_inventory_without_capacity_is_read_as_it_is(self, cloud: CannedPlacement) -> None:
        cloud.add("h0-x", "h0", {"CUSTOM_GPU": {"total": 4, "reserved": 4}})
        reader = Reader(cloud)
        reader.fetch()
        assert [(i.total, i.reserved) for i in reader.provider("h0-x").inventories or ()] == [(4, 4)]

    def test_goes_on_where_it_broke_off(self, cloud: CannedPlacement, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(placement_details, "ALL_AT_ONCE", 3)
        monkeypatch.setattr(placement_details, "PORTION", 1)
        good = cloud.routes["GET", f"{V}/allocation_candidates"]

        def second_fails(asked: Asked) -> Reply:
            assert callable(good)
            return good(asked) if asked.query["in_tree"] == ["h0"] else Reply(503, b"")

        cloud.get(f"{V}/allocation_candidates", second_fails)
        reader = Reader(cloud)
        with pytest.raises(SourceError):
            reader.fetch()
        cloud.get(f"{V}/allocation_candidates", good)
        before = len(cloud.asked)
        reader.fetch()
        trees = [a.query["in_tree"] for a in cloud.asked[before:] if a.path == f"{V}/allocation_candidates"]
        assert trees == [["h1"]]
        assert reader.provider("h0-vf0").traits == reader.provider("h1-vf0").traits == ("OWNER_NOVA",)

    def test_a_provider_that_vanishes_meanwhile_is_told(self, cloud: CannedPlacement) -> None:
        cloud.full = {"h0", "h1"}
        cloud.get(f"{V}/resource_providers/h0-vf1/inventories", Reply(404, {}))
        reader = Reader(cloud)
        reader.fetch()
        assert reader.provider("h0-vf1").inventories is None
        assert reader.source.notes == ("providers: 1 vanished while they were read",)


class TestARefresh:
    def test_of_an_unchanged_cloud_is_one_request_and_the_same_objects(self, reader: Reader) -> None:
        before = reader.facts
        assert before is not None
        after = reader.fetch()
        assert reader.asked == ["/resource_providers"]
        assert after.providers is before.providers
        assert after.usages is before.usages

    def test_of_any_length_costs_two_at_most(self, reader: Reader) -> None:
        costs = set()
        for _ in range(20):
            reader.fetch()
            costs.add(reader.source.requests)
        assert costs <= {1, 2}

    def test_sees_a_boot(self, reader: Reader) -> None:
        reader.cloud.boot("s3", "p1", "h0-vf2")
        reader.known["s3"] = "p1"
        facts = reader.fetch()
        assert reader.holders()["h0-vf2"] == ["s3"]
        assert facts.usages["p1"] == {"VGPU": 2}
        assert "/resource_providers/h1-vf3/allocations" not in reader.asked
        assert reader.asked.count("/usages") == 1

    def test_sees_a_deletion_although_no_generation_moves(self, reader: Reader) -> None:
        reader.cloud.delete("s1")
        del reader.known["s1"]
        facts = reader.fetch()
        assert reader.asked == ["/resource_providers", "/resource_providers/h0-vf0/allocations"]
        assert reader.holders() == {"h1-vf3": ["s2"]}
        assert "p1" not in facts.usages

    def test_follows_a_live_migration_from_claim_to_end(self, reader: Reader) -> None:
        cloud = reader.cloud
        cloud.allocate("m1", "p1", {"h0-vf0": {"VGPU": 1}})
        cloud.boot("s1", "p1", "h1-vf0")
        reader.known["m1"] = "p1"
        facts = reader.fetch()
        assert reader.holders() == {"h0-vf0": ["m1"], "h1-vf0": ["s1"], "h1-vf3": ["s2"]}
        assert facts.usages["p1"] == {"VGPU": 2}
        cloud.delete("m1")
        del reader.known["m1"]
        facts = reader.fetch()
        assert reader.holders() == {"h1-vf0": ["s1"], "h1-vf3": ["s2"]}
        assert facts.usages["p1"] == {"VGPU": 1}
        reader.truth()

    def test_follows_a_rollback_that_drops_the_destination_in_silence(self, reader: Reader) -> None:
        cloud = reader.cloud
        cloud.allocate("m1", "p1", {"h0-vf0": {"VGPU": 1}})
        cloud.boot("s1", "p1", "h1-vf0")
        reader.known["m1"] = "p1"
        reader.fetch()
        cloud.delete("m1")
        cloud.boot("s1", "p1", "h0-vf0")  # moves h0-vf0 only
        reader.fetch()
        assert reader.holders() == {"h0-vf0": ["s1"], "h1-vf3": ["s2"]}
        reader.truth()

    def test_sees_new_traits_new_and_vanished_providers(self, reader: Reader) -> None:
        cloud = reader.cloud
        cloud.providers["h0-vf1"]["_"]["traits"].append("CUSTOM_A100_20C")
        cloud.providers["h0-vf1"]["generation"] += 1
        cloud.add("h1-new", "h1", {"VGPU": {"total": 2}})
        cloud.remove("h0-vf2")
        reader.fetch()
        assert reader.provider("h0-vf1").traits == ("CUSTOM_A100_20C", "OWNER_NOVA")
        assert [i.total for i in reader.provider("h1-new").inventories or ()] == [2]
        reader.truth()

    def test_a_plain_host_is_left_alone(self, reader: Reader) -> None:
        reader.cloud.add("cpu", None, {"MEMORY_MB": {"total": 9}})
        reader.fetch()
        reader.cloud.providers["cpu"]["generation"] += 1
        reader.fetch()
        assert reader.asked == ["/resource_providers"]

    def test_a_leak_is_looked_into_once(self, reader: Reader) -> None:
        del reader.known["s1"]  # Nova forgot it, Placement did not
        facts = reader.fetch()
        assert reader.asked[1:] == ["/resource_providers/h0-vf0/allocations"]
        assert facts.usages["p1"] == {"VGPU": 1}
        reader.fetch()
        assert reader.asked == ["/resource_providers"]

    def test_novas_silence_proves_nothing(self, reader: Reader) -> None:
        reader.known.clear()
        facts = reader.fetch()
        assert reader.asked == ["/resource_providers"]
        assert facts.strangers == {}

    def test_a_consumer_is_a_stranger_when_nova_did_not_know_it_twice(self, reader: Reader) -> None:
        reader.cloud.boot("s3", "p3", "h0-vf1")  # Placement learns of a new server before Nova's list is read again
        assert reader.fetch().strangers == {}
        again = reader.fetch()
        assert again.strangers == {"s3": "p3"}
        assert reader.fetch().strangers is again.strangers
        reader.known["s3"] = "p3"
        assert reader.fetch().strangers == {}

    def test_one_that_was_there_at_the_first_reading_is_a_stranger_at_once(self, cloud: CannedPlacement) -> None:
        cloud.boot("s1", "p1", "h0-vf0")
        cloud.boot("who", "p9", "h0-vf1")
        reader = Reader(cloud)
        reader.known = {"s1": "p1"}
        assert reader.fetch().strangers == {"who": "p9"}
        cloud.delete("who")  # by an operator: no generation moves, the next sweep sees it
        assert [bool(reader.fetch().strangers) for _ in range(placement_details.SWEEP_EVERY)][-1] is False

    @pytest.mark.parametrize("large", [False, True])
    def test_a_sweep_finds_what_nobody_told(self, reader: Reader, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if large:
            monkeypatch.setattr(placement_details, "ALL_AT_ONCE", 3)
        reader.cloud.delete("s1")  # an operator's own DELETE: the server lives on
        for _ in range(placement_details.SWEEP_EVERY):
            reader.fetch()
        assert reader.holders() == {"h1-vf3": ["s2"]}

    def test_a_null_generation_is_always_read_again(self, reader: Reader) -> None:
        reader.cloud.providers["h0-vf1"]["generation"] = None
        for _ in range(2):
            reader.fetch()
            assert "/resource_providers/h0-vf1/traits" in reader.asked

    def test_the_demo_cloud_costs_one_or_two(self) -> None:
        demo = open_demo(3)
        connection = CloudConnection(demo.spec(), read_only=True, http=demo.http())
        source = PlacementSource(connection, dict)
        first = source.fetch(None)
        assert any(p.allocations for p in first.providers)
        assert source.fetch(first).providers is first.providers
        assert source.requests <= 2


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

    def test_as_many_as_were_asked_for_may_not_be_all(
        self, cloud: CannedPlacement, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vgpu_console.sources.placement.CANDIDATES_AT_MOST", 1)
        body = {"allocation_requests": [{"allocations": {"h0": {"resources": {"VCPU": 1}}}}], "provider_summaries": {}}
        cloud.get(f"{V}/allocation_candidates", Reply(200, body))
        assert PlacementSource(cloud.connection(), dict).candidates(self.GROUPS).cut

    def test_the_demo_cloud_answers_for_a_flavor_of_its_own(self) -> None:
        demo = open_demo(1)
        connection = CloudConnection(demo.spec(), read_only=True, http=demo.http())
        found = PlacementSource(connection, dict).candidates((RequestGroup(resources={"VGPU": 1, "VCPU": 1}),))
        assert found.candidates
        assert all(sum(r.get("VGPU", 0) for r in c.allocations.values()) == 1 for c in found.candidates)
        assert set(found.roots.values()) == {next(u for u, root in found.roots.items() if u == root)}
