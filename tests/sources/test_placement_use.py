"""Placement for the quota view alone, on answers that are short, odd or wrong: figures, unknown, or an error."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import Asked, CannedCloud, Reply
from vgpu_console.model.placement import Allocation, Holder
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.placement_use import PlacementUse

V = "/placement"
ROOT, VF = "root-1", "vf-1"


def provider(uuid: str, parent: str | None = None, name: str = "") -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name or uuid,
        "generation": 1,
        "parent_provider_uuid": parent,
        "root_provider_uuid": ROOT,
    }


def summary(used: Any, resource_class: str = "VGPU") -> dict[str, Any]:
    return {"resources": {resource_class: {"capacity": 4, "used": used}}, "traits": []}


class CannedPlacement(CannedCloud):
    """One host with one device, of which so much is used; a project with so much usage."""

    def __init__(self, used: Any = 1) -> None:
        super().__init__()
        self.get(
            f"{V}/resource_providers",
            Reply(200, {"resource_providers": [provider(ROOT, name="gpu-01"), provider(VF, ROOT)]}),
        )
        self.summaries: dict[str, Any] = {ROOT: summary(7, "MEMORY_MB"), VF: summary(used)}
        self.get(
            f"{V}/allocation_candidates",
            lambda asked: Reply(200, {"allocation_requests": [], "provider_summaries": self.summaries}),
        )
        self.get(f"{V}/usages", Reply(200, {"usages": {"VGPU": 1, "VCPU": 4}}))
        self.held({"vm-1": 1})

    def held(self, consumers: dict[str, int]) -> None:
        """Who holds the device."""
        held = {consumer: {"resources": {"VGPU": n}} for consumer, n in consumers.items()}
        self.get(f"{V}/resource_providers/{VF}/allocations", Reply(200, {"allocations": held}))

    def read(self, **expected: Holder) -> Any:
        """One reading, with what Nova lets expect (``vm_1`` is vm-1)."""
        holders = {name.replace("_", "-"): holder for name, holder in expected.items()}
        return PlacementUse(self.connection(), lambda: holders).fetch(None)


AT_REST = Holder("p-1", "gpu-01", {"VGPU": 1})


def test_what_adds_up_is_not_asked_for() -> None:
    cloud = CannedPlacement()
    facts = cloud.read(vm_1=AT_REST)
    assert facts.by_tree == {ROOT: (Allocation("vm-1", {"VGPU": 1}),)}
    assert facts.usages == {"p-1": {"VGPU": 1}}
    assert facts.strangers == {}
    read = [p.removeprefix(V) for p in cloud.paths() if p.startswith(V)]
    assert read == ["/resource_providers", "/allocation_candidates", "/usages"]


@pytest.mark.parametrize("used", [0, 2, None, "x", True])
def test_what_does_not_or_is_not_told_is_looked_into(used: Any) -> None:
    cloud = CannedPlacement(used)
    facts = cloud.read(vm_1=AT_REST)
    assert facts.by_tree == {}
    device = next(p for p in facts.providers if p.uuid == VF)
    assert device.allocations == (None if used == 0 else (Allocation("vm-1", {"VGPU": 1}),))


def test_a_stranger_counts_for_the_project_that_placement_names() -> None:
    cloud = CannedPlacement(2)
    cloud.held({"vm-1": 1, "who-1": 1})
    cloud.get(f"{V}/allocations/who-1", Reply(200, {"allocations": {}, "project_id": "p-2"}))
    facts = cloud.read(vm_1=AT_REST)
    assert facts.strangers == {"who-1": "p-2"}
    assert set(facts.usages) == {"p-1", "p-2"}


def test_what_nova_cannot_tell_is_asked_by_consumer() -> None:
    cloud = CannedPlacement()
    body = {"allocations": {VF: {"generation": 1, "resources": {"VGPU": 1, "VCPU": 2}}}, "project_id": "p-1"}
    cloud.get(f"{V}/allocations/vm-1", Reply(200, body))
    facts = cloud.read(vm_1=Holder("p-1", "gpu-01", None))
    assert facts.by_tree == {ROOT: (Allocation("vm-1", {"VGPU": 1}),)}
    assert f"{V}/resource_providers/{VF}/allocations" not in cloud.paths()


def test_a_tree_that_no_summary_covers_is_read_by_itself() -> None:
    cloud = CannedPlacement()
    cloud.summaries = {}
    cloud.get(f"{V}/resource_providers/{ROOT}/inventories", Reply(200, {"inventories": {"VCPU": {"total": 8}}}))
    cloud.get(f"{V}/resource_providers/{VF}/inventories", Reply(200, {"inventories": {"VGPU": {"total": 4}}}))
    facts = cloud.read(vm_1=AT_REST)
    assert {p.uuid: [i.resource_class for i in p.inventories or ()] for p in facts.providers} == {
        ROOT: [],
        VF: ["VGPU"],
    }
    assert [a.consumer_id for p in facts.providers for a in p.allocations or ()] == ["vm-1"]


@pytest.mark.parametrize("failure", [Reply(500, {}), Reply(400, {}), requests.ReadTimeout("no answer")])
def test_a_placement_that_cannot_answer_for_all_trees_is_asked_for_each(failure: Reply | Exception) -> None:
    cloud = CannedPlacement()

    def answer(asked: Asked) -> Reply:
        if "in_tree" in asked.query:
            return Reply(200, {"provider_summaries": cloud.summaries})
        if isinstance(failure, Exception):
            raise failure
        return failure

    cloud.get(f"{V}/allocation_candidates", answer)
    facts = cloud.read(vm_1=AT_REST)
    assert facts.by_tree == {ROOT: (Allocation("vm-1", {"VGPU": 1}),)}


def test_one_that_vanishes_is_told() -> None:
    cloud = CannedPlacement(2)
    cloud.get(f"{V}/resource_providers/{VF}/allocations", Reply(404, {}))
    source = PlacementUse(cloud.connection(), dict)
    assert next(p for p in source.fetch(None).providers if p.uuid == VF).allocations is None
    assert source.notes == ("providers: 1 vanished while they were read",)


def test_no_version_document_is_asked_for() -> None:
    cloud = CannedPlacement()
    cloud.read(vm_1=AT_REST)
    assert f"{V}/" not in cloud.paths()
    spoken = {a.headers["openstack-api-version"] for a in cloud.asked if a.path.startswith(f"{V}/")}
    assert spoken == {"placement 1.36"}


@pytest.mark.parametrize("path", ["/resource_providers", "/allocation_candidates", "/usages"])
def test_a_service_that_fails_is_an_error(path: str) -> None:
    cloud = CannedPlacement()
    cloud.get(V + path, Reply(503, {}))
    with pytest.raises(SourceError):
        cloud.read(vm_1=AT_REST)


def test_who_may_not_read_it_is_told() -> None:
    cloud = CannedPlacement()
    cloud.get(f"{V}/resource_providers", Reply(403, {}))
    with pytest.raises(SourceError) as caught:
        cloud.read()
    assert caught.value.kind == "forbidden"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([ROOT, VF, "resources", "VGPU", "used", "capacity", "allocations", "usages"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(candidates=VALUES, allocations=VALUES, usages=VALUES)
@settings(max_examples=80, deadline=None)
def test_whatever_json_says_it_is_facts_or_a_source_error(candidates: Any, allocations: Any, usages: Any) -> None:
    cloud = CannedPlacement()
    cloud.get(f"{V}/allocation_candidates", Reply(200, {"provider_summaries": candidates}))
    cloud.get(f"{V}/resource_providers/{VF}/allocations", Reply(200, {"allocations": allocations}))
    cloud.get(f"{V}/resource_providers/{VF}/inventories", Reply(200, {"inventories": {"VGPU": {"total": 4}}}))
    cloud.get(f"{V}/resource_providers/{ROOT}/inventories", Reply(200, {"inventories": {}}))
    cloud.get(f"{V}/usages", Reply(200, {"usages": usages}))
    try:
        facts = cloud.read(vm_1=AT_REST, vm_2=Holder("p-2", "elsewhere", {"VGPU": 1}))
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017 - it may also be read
    else:
        assert [p.uuid for p in facts.providers] == [ROOT, VF]
