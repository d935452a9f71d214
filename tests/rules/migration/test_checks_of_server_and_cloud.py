"""Every pre-check of the server and of what Nova and Placement say: one changed fact flips exactly one check."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.migration.two_hosts import (
    HERE,
    MDEV,
    OTHER,
    SERVER,
    SPECS,
    THERE,
    THIRD,
    Change,
    aggregate,
    all_of,
    candidates,
    difference,
    evidence,
    facts,
    joined,
    look,
    move,
    of_conf,
    of_libvirt,
    of_nova,
    of_providers,
    of_server,
    of_service,
    of_status,
    statuses,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts
from vgpu_console.model.keystone import ProjectLimit
from vgpu_console.model.nova import Aggregate
from vgpu_console.model.placement import Allocation, Candidates
from vgpu_console.rules.migration.candidates import look_at
from vgpu_console.rules.migration.ground import Ground


def test_with_everything_in_order_all_pass() -> None:
    found = look(facts())
    assert set(statuses(found).values()) == {"pass"}
    assert (found.verdict, found.reason, found.free) == ("pass", "", 2)


def spec(**added: str) -> Change:
    """More extra specs in the flavor; ``__`` stands for a colon."""
    return of_server(extra_specs={**SPECS, **{k.replace("__", ":"): v for k, v in added.items()}})


def limit(value: int) -> Change:
    """The project's own limit of VGPU."""

    def change(known: Facts) -> Facts:
        assert known.keystone is not None
        assert known.keystone.project_limits is not None
        rows: tuple[ProjectLimit, ...] = tuple(
            msgspec.structs.replace(row, resource_limit=value) for row in known.keystone.project_limits
        )
        return msgspec.structs.replace(known, keystone=msgspec.structs.replace(known.keystone, project_limits=rows))

    return change


def no_keystone(known: Facts) -> Facts:
    return msgspec.structs.replace(known, keystone=None)


def guest_elsewhere(known: Facts) -> Facts:
    """Its guest runs on a third host as well."""
    domain = DomainFacts(uuid=SERVER, name="instance-00000001", active=True, mdevs=(MDEV,))
    return msgspec.structs.replace(known, libvirt={**known.libvirt, THIRD: LibvirtFacts(host=THIRD, domains=(domain,))})


def guest_stopped(known: Facts) -> Facts:
    (domain,) = known.libvirt[HERE].domains
    return of_libvirt(HERE, domains=(msgspec.structs.replace(domain, active=False),))(known)


TENANTS = aggregate(THERE, filter_tenant_id="p-other")
SCOPED = spec(aggregate_instance_extra_specs__gpu="a100")

FLIPS: list[tuple[str, Change, dict[str, str | None]]] = [
    ("in ERROR", of_server(status="ERROR"), {"server-state": "fail"}),
    ("shut off", of_server(status="SHUTOFF"), {"server-state": "fail"}),
    ("with a task", of_server(task_state="rebooting"), {"server-state": "fail"}),
    ("ACTIVE without a guest", of_server(power_state=0), {"server-state": "fail"}),
    ("PAUSED", of_server(status="PAUSED", power_state=3), {}),
    ("status not told", of_server(status=None), {"server-state": "unknown"}),
    ("locked", of_server(locked=True), {"server-locked": "warn"}),
    ("lock not told", of_server(locked=None), {}),
    ("guest on a third host too", guest_elsewhere, {"guest": "fail"}),
    ("guest defined, not running", guest_stopped, {"guest": "fail"}),
    ("accelerator", spec(accel__device_profile="fpga"), {"flavor": "fail"}),
    ("encrypted memory", spec(hw__mem_encryption="True"), {"flavor": "fail"}),
    ("no encrypted memory", spec(hw__mem_encryption="false"), {}),
    ("virtual IOMMU", spec(hw__viommu_model="intel"), {"flavor": "fail"}),
    ("source down", of_service(HERE, state="down"), {"source-service": "fail"}),
    ("source disabled, as before a drain", of_service(HERE, status="disabled"), {}),
    ("destination down", of_service(THERE, state="down"), {"destination-service": "fail"}),
    ("destination disabled", of_service(THERE, status="disabled"), {"destination-service": "fail"}),
    (
        "services not known",
        of_nova(services=None, hypervisors=None),
        {"source-service": "unknown", "destination-service": "unknown", "zone": "unknown"},
    ),
    (
        "another zone, bound to its own",
        all_of(of_server(pinned_zone="nova"), of_service(THERE, zone="az-2")),
        {"zone": "fail"},
    ),
    ("another zone, bound to none", of_service(THERE, zone="az-2"), {}),
    ("another zone, not told", all_of(of_server(pinned_zone=None), of_service(THERE, zone="az-2")), {"zone": "warn"}),
    ("same zone, not told", of_server(pinned_zone=None), {}),
    ("zone of the destination not known", of_service(THERE, zone=None), {"zone": "unknown"}),
    ("aggregates not readable", of_nova(aggregates=None), {"aggregate": "unknown"}),
    ("kept for others", of_nova(aggregates=(TENANTS,)), {"aggregate": "warn"}),
    ("kept for others and this project", of_nova(aggregates=(aggregate(THERE, filter_tenant_id="x, p-ml"),)), {}),
    (
        "source kept for this project",
        of_nova(aggregates=(aggregate(HERE, filter_tenant_id="p-ml"),)),
        {"aggregate": "warn"},
    ),
    ("flavor's aggregate: both in it", all_of(SCOPED, of_nova(aggregates=(aggregate(HERE, THERE, gpu="a100"),))), {}),
    (
        "flavor's aggregate: source only",
        all_of(SCOPED, of_nova(aggregates=(aggregate(HERE, gpu="a100"),))),
        {"aggregate": "warn"},
    ),
    (
        "flavor's aggregate: filter not in use",
        all_of(SCOPED, of_nova(aggregates=(aggregate(HERE, gpu="a40"), aggregate(THERE, gpu="a40")))),
        {},
    ),
    ("before 2024.1", of_nova(max_microversion="2.95"), {"old-compute": "fail"}),
    ("microversion not known", of_nova(max_microversion=""), {"old-compute": "unknown"}),
    ("another leaves the source", of_nova(migrations=(move(1, HERE, THIRD),)), {"concurrency": "warn"}),
    (
        "another leaves it, two allowed",
        all_of(of_nova(migrations=(move(1, HERE, THIRD),)), of_conf(HERE, compute__max_concurrent_live_migrations="2")),
        {},
    ),
    (
        "another leaves it, no bound",
        all_of(of_nova(migrations=(move(1, HERE, THIRD),)), of_conf(HERE, DEFAULT__max_concurrent_live_migrations="0")),
        {},
    ),
    ("another has left it", of_nova(migrations=(move(1, HERE, THIRD, "completed"),)), {}),
    ("another leaves a third host", of_nova(migrations=(move(1, THIRD, HERE),)), {}),
    ("migrations not known", of_nova(migrations=None), {"concurrency": "unknown"}),
    ("at its limit", limit(1), {"double-allocation": "warn"}),
    ("unlimited", limit(-1), {}),
    ("limit not known", no_keystone, {"double-allocation": "unknown"}),
    ("Nova's answer is old", of_status("nova", fetched_at=1_799_999_000.0), {"fresh": "fail"}),
    ("Nova failed last time", of_status("nova", error="nova: HTTP 503"), {"fresh": "fail"}),
    ("a host's libvirt is old", of_status("libvirt", THERE, fetched_at=1_799_999_700.0), {"fresh": "warn"}),
    ("a host's SSH failed last time", of_status("ssh", HERE, error="gpu-01: timed out"), {"fresh": "warn"}),
    ("SSH asked rarely", of_status("ssh", HERE, fetched_at=1_799_999_800.0, interval_s=240.0), {}),
]


@pytest.mark.parametrize(("change", "flipped"), [row[1:] for row in FLIPS], ids=[row[0] for row in FLIPS])
def test_one_changed_fact_flips_one_check(change: Change, flipped: dict[str, str | None]) -> None:
    assert difference(change) == flipped


ANSWERS: list[tuple[str, Any, str]] = [
    ("not asked", None, "unknown"),
    ("failed", Candidates(error="placement: HTTP 503"), "unknown"),
    ("none anywhere", Candidates(), "fail"),
    ("none there, and cut", Candidates(cut=True), "unknown"),
]


@pytest.mark.parametrize(("answer", "status"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_placements_word_on_the_destination(answer: Candidates | None, status: str) -> None:
    assert difference(lambda known: known, answer=answer) == {"allocation-candidate": status}


def test_a_place_on_the_source_is_none_on_the_destination() -> None:
    known = facts()
    every = candidates(known)
    here = tuple(c for c in every.candidates if f"{HERE}-root" in c.allocations)
    assert here
    answer = msgspec.structs.replace(every, candidates=here)
    assert difference(lambda unchanged: unchanged, answer=answer) == {"allocation-candidate": "fail"}


def test_to_its_own_host_nothing_else_is_looked_at() -> None:
    known = facts()
    found = look_at(Ground(joined(known), known, 1_800_000_000.0), SERVER, HERE)
    assert statuses(found) == {"same-host": "fail", "fresh": "pass"}
    assert found.reason == "the server is on gpu-01 already"


def without_vgpu(known: Facts) -> Facts:
    """The same server with a flavor that asks for none, and with none."""
    assert known.placement is not None
    bare = tuple(msgspec.structs.replace(p, allocations=()) if p.parent_uuid else p for p in known.placement.providers)
    placement = msgspec.structs.replace(known.placement, providers=bare)
    known = of_server(extra_specs={})(known)
    known = of_libvirt(HERE, domains=(), mdevs=())(known)
    return msgspec.structs.replace(known, placement=placement)


def test_a_server_without_vgpu_is_looked_at_for_what_concerns_it() -> None:
    found = look(without_vgpu(facts()))
    assert found.verdict == "pass"
    assert set(statuses(found)) == {
        "server-state", "source-service", "destination-service", "zone", "aggregate", "cpu", "allocation-candidate",
        "concurrency", "downtime-limit", "fresh", "no-vgpu",
    }  # fmt: skip


def test_a_server_that_asks_for_a_pci_alias_is_never_taken_for_one_without_vgpu() -> None:
    change = all_of(without_vgpu, of_server(extra_specs={"pci_passthrough:alias": "L40S_12Q:1"}))
    found = look(change(facts()))
    assert "no-vgpu" not in statuses(found)
    assert statuses(found)["framework"] == "unknown"


def test_evidence_names_both_hosts_and_the_older_age() -> None:
    known = of_status("ssh", THERE, fetched_at=1_799_999_950.0)(facts())
    check = next(c for c in look(known).checks if c.id == "migrate.nvidia-driver")
    assert (check.evidence, check.source, check.age_s) == ("gpu-01 570.86.10, gpu-02 570.86.10", "ssh", 50.0)


def test_an_age_that_one_host_has_not_is_no_age() -> None:
    known = of_status("libvirt", THERE, fetched_at=None)(facts())
    check = next(c for c in look(known).checks if c.id == "migrate.framework")
    assert check.age_s is None


def test_the_split_brain_says_where_the_guest_runs() -> None:
    moved = all_of(guest_elsewhere, of_libvirt(HERE, domains=(), mdevs=()))
    assert evidence(moved, "guest") == "Nova says gpu-01, but the guest runs on gpu-03"


def test_the_worst_check_comes_first_and_is_the_reason() -> None:
    change = all_of(of_server(locked=True), of_nova(aggregates=None), of_service(THERE, status="disabled"))
    found = look(change(facts()))
    assert [c.status for c in found.checks[:3]] == ["fail", "unknown", "warn"]
    assert (found.verdict, found.reason) == ("fail", "gpu-02 is disabled")
    assert look(all_of(of_server(locked=True), of_nova(aggregates=None))(facts())).verdict == "unknown"
    assert look(of_server(locked=True)(facts())).verdict == "warn"


def test_a_leaked_allocation_of_another_consumer_takes_a_place() -> None:
    leak = of_providers(
        lambda p: (
            msgspec.structs.replace(p, allocations=(Allocation(OTHER, {"VGPU": 1}),))
            if p.uuid.startswith(f"{THERE}-vf")
            else p
        )
    )
    assert difference(leak, answer=candidates(facts())) == {"free-slot": "fail"}


def test_a_hosts_aggregate_with_comparisons_is_not_judged() -> None:
    rows = (Aggregate(id="a", name="a", hosts=(THERE,), metadata={"gpu": "4"}),)
    assert difference(all_of(spec(aggregate_instance_extra_specs__gpu=">= 3"), of_nova(aggregates=rows))) == {}
