"""Placement through the console's source: every change is seen, also one that moves no generation, and cheaply."""

from __future__ import annotations

import pytest

from tests.sources.canned_cloud import Asked, Reply
from tests.sources.canned_placement import CannedPlacement, Reader, V, two_servers
from vgpu_console.simulator import open_demo
from vgpu_console.sources import placement_details
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection
from vgpu_console.sources.placement import PlacementSource


@pytest.fixture
def cloud() -> CannedPlacement:
    return CannedPlacement()


@pytest.fixture
def reader(cloud: CannedPlacement) -> Reader:
    return two_servers(cloud)


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
