"""Could a project start N servers now: the quota, the hosts, and which of the two says no."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.quota_facts import (
    IN_ORDER,
    KEYSTONE,
    NOVA,
    libvirt,
    migration,
    own,
    provider,
    registered,
    root,
    server,
    snapshot_of,
    ssh,
    with_conf,
    with_keystone,
    with_nova,
    with_placement,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import ComputeService, Flavor, Hypervisor
from vgpu_console.model.placement import Candidate, Candidates, RequestGroup
from vgpu_console.rules.what_if import UnknownName, WhatIf, can_start, find_flavor, request_of

SMALL = (NOVA.flavors or ())[0]


def ask(
    facts: Facts, count: int = 1, flavor: str = "vgpu.small", candidates: Candidates | None = None, who: str = "p-ml"
) -> WhatIf:
    return can_start(facts, snapshot_of(facts), who, flavor, count, candidates)


def flavored(**specs: str) -> Facts:
    """With a second flavor, ``other``, of these extra specs (``resources1__VGPU`` is resources1:VGPU)."""
    other = Flavor(id="f2", name="other", extra_specs={k.replace("__", ":"): v for k, v in specs.items()})
    return with_nova(flavors=(SMALL, other))


def verdicts(answer: WhatIf) -> tuple[str, str, str]:
    return answer.verdict, answer.quota.verdict, answer.capacity.verdict


def test_what_fits_both_is_yes() -> None:
    answer = ask(IN_ORDER, 2)
    assert verdicts(answer) == ("yes", "yes", "yes")
    assert answer.why.startswith("the quota allows it, and there is room for 2; asked for in one request, Nova tries")
    assert ask(IN_ORDER, 1).why == "the quota allows it, and there is room for 1"
    assert (answer.project, answer.flavor, answer.count) == ("ml-research", "vgpu.small", 2)


def test_the_quota_alone_can_refuse() -> None:
    answer = ask(IN_ORDER, 3)
    assert verdicts(answer) == ("no", "no", "yes")
    assert answer.why == "quota refuses it: class:VGPU: 1 used and 3 wanted of 3 (own limit)"


def test_the_hosts_alone_can_refuse_and_each_says_why() -> None:
    answer = ask(with_keystone(project_limits=(own("p-ml", 99),)), 4)
    assert verdicts(answer) == ("no", "yes", "no")
    (host,) = answer.capacity.hosts
    assert (host.host, host.room, host.reasons) == ("gpu-01", 3, ("all 4 devices that fit are taken",))
    assert answer.why == "capacity refuses it: there is room for 3 of 4 (gpu-01: all 4 devices that fit are taken)"


def test_both_can_refuse() -> None:
    answer = ask(IN_ORDER, 9)
    assert verdicts(answer) == ("no", "no", "no")
    assert answer.why.startswith("quota and capacity refuse it: ")


def test_the_real_maximum_of_a_gpu_bounds_what_placement_offers() -> None:
    """Four functions, each with a provider of its own, and a type that fits the GPU twice; one is in use."""
    facts = msgspec.structs.replace(IN_ORDER, ssh={"gpu-01": ssh(2, quota__driver="nova.quota.UnifiedLimitsDriver")})
    facts = msgspec.structs.replace(facts, keystone=with_keystone(project_limits=(own("p-ml", 99),)).keystone)
    assert ask(facts, 2).verdict == "yes"  # libvirt has no guest in this cloud: both are free
    answer = ask(facts, 3)
    assert answer.capacity.verdict == "no"
    assert answer.capacity.hosts[0].reasons == (
        "Placement still offers 1 device, but A100 PCIe 40GB 0000:41:00.0 can make no more",
    )


def test_where_the_gpus_are_not_known_room_is_placements_word_and_not_a_yes() -> None:
    answer = ask(msgspec.structs.replace(IN_ORDER, libvirt={}, ssh={}), 1)
    assert (answer.capacity.verdict, answer.capacity.room, answer.capacity.hosts[0].certain) == ("unknown", 1, False)
    assert answer.verdict == "unknown"


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ({"state": "down", "status": "enabled"}, "nova-compute is down"),
        ({"state": "up", "status": "disabled", "disabled_reason": "disk"}, "nova-compute is disabled: disk"),
    ],
)
def test_a_host_that_takes_no_server_has_no_room(service: dict[str, Any], reason: str) -> None:
    answer = ask(with_nova(services=(ComputeService(id="s1", host="gpu-01", **service),)))
    assert (answer.capacity.verdict, answer.capacity.room) == ("no", 0)
    assert answer.capacity.hosts[0].reasons == (reason,)


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        ({"resources__VGPU": "1", "trait__CUSTOM_A40": "required"}, "has the traits CUSTOM_A40"),
        ({"resources__VGPU": "1", "trait__CUSTOM_A100_10C": "forbidden"}, "has the traits not CUSTOM_A100_10C"),
        ({"resources__VGPU": "2"}, "no single device gives 2 VGPU: each gives 1; use numbered groups"),
        ({"resources__CUSTOM_NO": "1"}, "no device offers 1 CUSTOM_NO"),
    ],
)
def test_a_flavor_that_no_device_can_serve_is_told_why(specs: dict[str, str], reason: str) -> None:
    answer = ask(flavored(**specs), flavor="other")
    assert answer.capacity.verdict == "no"
    assert reason in answer.capacity.hosts[0].reasons[0]


def test_a_trait_of_the_host_counts_for_the_unnumbered_group_only() -> None:
    loose = flavored(resources__VGPU="1", trait__COMPUTE_NODE="required")
    tight = flavored(resources1__VGPU="1", trait1__COMPUTE_NODE="required")
    assert ask(loose, flavor="other").capacity.verdict == "yes"
    assert ask(tight, flavor="other").capacity.verdict == "no"


def test_numbered_groups_without_a_policy_are_refused_by_placement() -> None:
    groups = {"resources1__VGPU": "1", "resources2__VGPU": "1"}
    assert "no group_policy" in ask(flavored(**groups), flavor="other").capacity.note
    assert ask(flavored(**groups, group_policy="none"), flavor="other").capacity.room == 1


def test_isolated_groups_come_from_different_devices() -> None:
    groups = {"resources1__VGPU": "1", "resources2__VGPU": "1"}
    wide = (provider(0, ("vm-1", 1)), provider(1, total=2))
    for policy, room in (("none", 1), ("isolate", 0)):
        facts = with_placement(*wide, facts=flavored(**groups, group_policy=policy))
        assert ask(facts, flavor="other").capacity.room == room


def test_devices_that_the_host_does_not_have_give_no_room() -> None:
    facts = msgspec.structs.replace(IN_ORDER, libvirt={"gpu-01": libvirt(functions=0)}, ssh={})
    answer = ask(facts)
    assert answer.capacity.hosts[0].reasons == ("Placement offers 3 devices that the host does not have",)


def test_rooms_of_several_hosts_add_up() -> None:
    nova = msgspec.structs.replace(
        NOVA,
        services=(*(NOVA.services or ()), ComputeService(id="s2", host="gpu-02", state="up", status="enabled")),
        hypervisors=(*(NOVA.hypervisors or ()), Hypervisor(id="h2", name="gpu-02", service_host="gpu-02")),
    )
    facts = msgspec.structs.replace(IN_ORDER, nova=nova, libvirt={"gpu-01": libvirt(), "gpu-02": libvirt("gpu-02")})
    facts = msgspec.structs.replace(facts, ssh={**facts.ssh, "gpu-02": ssh()})
    facts = with_placement(
        provider(0, ("vm-1", 1)),
        provider(1),
        root("gpu-02"),
        *(provider(n, host="gpu-02") for n in range(4)),
        facts=facts,
    )
    facts = msgspec.structs.replace(facts, keystone=with_keystone(project_limits=(own("p-ml", 99),)).keystone)
    answer = ask(facts, 6)
    assert [(h.host, h.room) for h in answer.capacity.hosts] == [("gpu-01", 1), ("gpu-02", 4)]
    assert answer.capacity.note.startswith("there is room for 5 of 6 on 2 hosts")


def candidates(memory: int, **more: Any) -> Candidates:
    """Placement's answer: every free function with the root's memory, of which so much is left."""
    functions = [f"gpu-01-vf{n}" for n in (1, 2, 3)]
    return Candidates(
        candidates=tuple(Candidate({"gpu-01-root": {"MEMORY_MB": 1024}, f: {"VGPU": 1}}) for f in functions),
        free={"gpu-01-root": {"MEMORY_MB": memory}, **{f: {"VGPU": 1} for f in functions}},
        roots=dict.fromkeys(["gpu-01-root", *functions], "gpu-01-root"),
        **more,
    )


@pytest.mark.parametrize(("memory", "room"), [(4096, 2), (1024, 1), (1023, 0)])
def test_placements_candidates_bound_the_room_by_memory(memory: int, room: int) -> None:
    answer = ask(IN_ORDER, 2, candidates=candidates(memory))
    assert answer.capacity.room == room
    assert answer.capacity.verdict == ("yes" if room == 2 else "no")


def test_a_list_of_candidates_that_was_cut_bounds_nothing() -> None:
    assert ask(IN_ORDER, 2, candidates=candidates(0, cut=True)).capacity.verdict == "yes"


def test_candidates_that_could_not_be_had_are_no_yes() -> None:
    answer = ask(IN_ORDER, 2, candidates=Candidates(error="placement failed: 503"))
    assert (answer.verdict, answer.capacity.verdict, answer.capacity.room) == ("unknown", "unknown", 2)
    assert "CPU, memory and disk" in answer.capacity.note
    assert answer.capacity.note.endswith("placement failed: 503")


def test_a_no_needs_no_candidates() -> None:
    facts = msgspec.structs.replace(IN_ORDER, keystone=with_keystone(project_limits=(own("p-ml", 99),)).keystone)
    assert ask(facts, 4, candidates=Candidates(error="placement failed: 503")).capacity.verdict == "no"


class TestQuota:
    def test_a_running_migration_counts_twice_and_the_refusal_says_so(self) -> None:
        facts = with_nova(migrations=(migration("vm-1", "running"),))
        facts = with_placement(
            provider(0, ("vm-1", 1)),
            provider(1, ("mig-1", 1)),
            provider(2),
            provider(3),
            facts=facts,
            usages={"p-ml": {"VGPU": 2}},
        )
        answer = ask(facts, 2)
        assert answer.quota.verdict == "no"
        assert "2 used and 2 wanted of 3 (own limit, 1 of it counted twice" in answer.why

    def test_the_default_holds_for_who_has_no_limit_of_its_own(self) -> None:
        assert ask(IN_ORDER, 1, who="p-vdi").quota.verdict == "yes"
        refused = ask(IN_ORDER, 2, who="p-vdi")
        assert refused.why == "quota refuses it: class:VGPU: 0 used and 2 wanted of 1 (default)"

    def test_servers_and_processors_are_counted_from_novas_list(self) -> None:
        many = tuple(server(f"vm-{n}", extra_specs={}, status="ACTIVE") for n in range(10))
        answer = ask(with_nova(servers=many), 1)
        refused = {line.resource: (line.used, line.limit) for line in answer.quota.lines if line.verdict == "no"}
        assert refused == {"servers": (10, 10), "class:VCPU": (20, 20)}

    @pytest.mark.parametrize(("newest", "verdict"), [("2.104", "yes"), ("2.96", "no"), ("", "unknown")])
    def test_a_limit_that_is_not_registered_means_what_the_release_makes_of_it(self, newest: str, verdict: str) -> None:
        left = tuple(r for r in KEYSTONE.registered_limits or () if r.resource_name != "class:VGPU")
        facts = with_keystone(registered_limits=left, project_limits=())
        facts = msgspec.structs.replace(facts, nova=msgspec.structs.replace(NOVA, max_microversion=newest))
        assert ask(facts).quota.verdict == verdict

    @pytest.mark.parametrize(("newest", "verdict"), [("2.104", "yes"), ("2.96", "no")])
    def test_minus_one_means_what_the_release_makes_of_it(self, newest: str, verdict: str) -> None:
        facts = with_keystone(project_limits=(own("p-ml", -1),))
        facts = msgspec.structs.replace(facts, nova=msgspec.structs.replace(NOVA, max_microversion=newest))
        assert ask(facts).quota.verdict == verdict

    def test_zero_refuses(self) -> None:
        assert ask(with_keystone(project_limits=(own("p-ml", 0),))).quota.verdict == "no"

    def test_a_limit_in_the_wrong_place_does_not_exist(self) -> None:
        facts = with_keystone(
            registered_limits=(
                *(r for r in KEYSTONE.registered_limits or () if r.resource_name != "class:VGPU"),
                registered("class:VGPU", 0, region_id=None),
            ),
            project_limits=(own("p-ml", 0, region_id=None),),
        )
        assert ask(facts).quota.verdict == "yes"

    def test_where_nova_enforces_nothing_the_quota_is_no_obstacle(self) -> None:
        answer = ask(with_conf(quota__driver="nova.quota.DbQuotaDriver"), 3)
        assert (answer.quota.verdict, answer.quota.lines) == ("yes", ())
        assert "DbQuotaDriver" in answer.quota.note

    def test_a_model_that_oslo_limit_does_not_know_refuses_all(self) -> None:
        answer = ask(with_keystone(enforcement_model="strict_two_level"))
        assert (answer.verdict, answer.quota.verdict) == ("no", "no")
        assert "strict_two_level" in answer.why

    @pytest.mark.parametrize(
        "facts",
        [
            msgspec.structs.replace(IN_ORDER, keystone=None),
            with_keystone(registered_limits=None),
            with_keystone(limits_complete=False, project_limits=()),
        ],
    )
    def test_limits_that_cannot_be_seen_are_unknown(self, facts: Facts) -> None:
        assert ask(facts).quota.verdict == "unknown"


def test_without_placement_the_room_is_unknown() -> None:
    answer = ask(msgspec.structs.replace(IN_ORDER, placement=None))
    assert (answer.capacity.verdict, answer.capacity.room) == ("unknown", None)


class TestFlavors:
    def test_are_found_by_id_and_by_name(self) -> None:
        assert find_flavor(IN_ORDER, "f1") == find_flavor(IN_ORDER, "vgpu.small")

    def test_that_nobody_knows_are_an_error(self) -> None:
        with pytest.raises(UnknownName, match="no flavor has the id or name 'x'"):
            find_flavor(IN_ORDER, "x")

    def test_of_equal_names_are_an_error_with_their_ids(self) -> None:
        twin = msgspec.structs.replace(SMALL, id="f9")
        with pytest.raises(UnknownName, match="f1, f9"):
            find_flavor(with_nova(flavors=(SMALL, twin)), "vgpu.small")

    def test_that_could_not_be_read_are_an_error(self) -> None:
        with pytest.raises(UnknownName, match="could not be read"):
            find_flavor(with_nova(flavors=None), "vgpu.small")

    @pytest.mark.parametrize("count", [0, -1])
    def test_a_count_below_one_is_an_error(self, count: int) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            ask(IN_ORDER, count)

    def test_groups_hold_what_placement_is_asked_for(self) -> None:
        flavor = Flavor(
            id="f",
            name="f",
            vcpus=4,
            ram_mib=2048,
            disk_gib=0,
            extra_specs={
                "resources1:VGPU": "1",
                "trait1:CUSTOM_B": "required",
                "trait1:CUSTOM_A": "forbidden",
                "resources:MEMORY_MB": "512",
                "resources:VCPU": "0",
                "group_policy": "isolate",
                "hw:other": "x",
            },
        )
        request = request_of(flavor)
        assert request.policy == "isolate"
        assert request.groups == (
            RequestGroup(suffix="", resources={"MEMORY_MB": 512}),
            RequestGroup(suffix="1", resources={"VGPU": 1}, required=("CUSTOM_B",), forbidden=("CUSTOM_A",)),
        )
