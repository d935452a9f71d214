"""Why a flavor finds no host: one fact of a cloud in order is changed, and the chain tells that one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.explain.base import (
    HERE,
    NOWHERE,
    THERE,
    base,
    candidates,
    commands,
    difference,
    flavor,
    flavor_named,
    ground_of,
    of_flavor,
    of_host_providers,
    on_both,
    said,
    statuses,
    without_providers,
)
from tests.rules.migration.two_hosts import (
    FUNCTIONS,
    MDEV,
    Change,
    aggregate,
    all_of,
    of_conf,
    of_libvirt,
    of_nova,
    of_providers,
    of_service,
    of_ssh,
    of_status,
    providers,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import MdevFacts, MdevTypeOffer
from vgpu_console.model.placement import Allocation, Candidate, Candidates, Inventory
from vgpu_console.rules.explain.flavor import explain_flavor
from vgpu_console.rules.explain.request import DEVICES, UNTRAITED, parts_of
from vgpu_console.rules.what_if import request_of


def of_two_devices(known: Facts) -> Facts:
    """Every device offers two, as those without SR-IOV do."""
    offer = (Inventory(resource_class="VGPU", total=2, max_unit=2),)
    return all_of(*(of_host_providers(h, inventories=offer) for h in (HERE, THERE)))(known)


def with_ghosts(known: Facts) -> Facts:
    """Placement keeps providers of functions that are not there any more."""
    gone = tuple(
        msgspec.structs.replace(p, name=p.name.replace("_41_", "_61_"), uuid=f"{p.uuid}-gone")
        for p in providers(THERE)
        if p.parent_uuid
    )
    assert known.placement is not None
    rows = (*known.placement.providers, *gone)
    return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))


def held_by_others(known: Facts) -> Facts:
    """Every device is allocated to somebody."""
    return on_both(lambda h: of_host_providers(h, allocations=(Allocation("x", {"VGPU": 1}),)))(known)


WORST_FIRST = ("fail", "unknown", "warn", "pass")

TABLE: list[tuple[str, Change, dict[str, Any], str, str]] = [
    (
        "plain",
        of_flavor(replace=True),
        {"request": "warn", "class": None, "traits": None, "room": None},
        "request",
        "asks for no vGPU: its servers start, and get none",
    ),
    (
        "its extra specs are hidden",
        lambda k: of_nova(flavors=(msgspec.structs.replace(flavor_named(k), extra_specs=None),))(k),
        {"request": "unknown", "class": None, "traits": None, "room": None, "candidates": None},
        "request",
        "not visible to this credential",
    ),
    (
        "two of one virtual function",
        of_flavor(resources__VGPU="2"),
        {"groups": "fail", "room": "fail"},
        "groups",
        "asks one device for 2 VGPU, and no device has more than 1: a virtual function carries one vGPU",
    ),
    (
        "two of one GPU without SR-IOV",
        all_of(of_two_devices, of_flavor(resources__VGPU="2")),
        {"groups": "warn"},
        "groups",
        "which NVIDIA does not support for one guest",
    ),
    (
        "several groups without a policy",
        of_flavor(replace=True, resources1__VGPU="1", resources2__VGPU="1"),
        {"groups": "fail", "traits": None},
        "groups",
        "several numbered groups and no group_policy",
    ),
    (
        "several groups on an old Nova",
        of_flavor(replace=True, resources1__VGPU="1", resources2__VGPU="1", group_policy="none"),
        {"groups": "warn", "traits": None},
        "groups",
        "Nova speaks 2.100: before 2.103 (2026.1) it makes the first one only",
    ),
    (
        "a class that nobody offers",
        of_flavor(replace=True, resources__CUSTOM_A40="1"),
        {"class": "fail", "traits": None, "room": "fail"},
        "class",
        "no provider in Placement offers CUSTOM_A40; there is VGPU",
    ),
    (
        "nobody offers anything",
        on_both(without_providers),
        {"class": "fail", "traits": None, "room": "fail", "candidates": "fail"},
        "class",
        "no device offers any vGPU class",
    ),
    (
        "the trait is lost",
        of_providers(lambda p: msgspec.structs.replace(p, traits=("OWNER_NOVA",))),
        {"traits": "fail", "room": "fail", "candidates": "fail"},
        "traits",
        "none of 4 devices with VGPU has CUSTOM_A100_20C: Nova keeps no trait when it makes a provider anew",
    ),
    (
        "one device was made anew",
        of_providers(lambda p: msgspec.structs.replace(p, traits=()) if p.uuid == f"{THERE}-vf1" else p),
        {"traits": "warn"},
        "traits",
        "3 of 4 devices fit CUSTOM_A100_20C; 1 beside them do not: gpu-02 0000:41:00.0",
    ),
    (
        "a trait that is forbidden",
        of_flavor(trait__CUSTOM_A100_20C="forbidden"),
        {"traits": "fail", "room": "fail"},
        "traits",
        "every device has CUSTOM_A100_20C, which the flavor forbids",
    ),
    (
        "all devices are taken",
        held_by_others,
        {"room": "fail", "candidates": "fail"},
        "room",
        "no host has room: gpu-01, gpu-02: all 2 devices that fit are taken",
    ),
    (
        "all devices are reserved",
        on_both(lambda h: of_host_providers(h, inventories=(Inventory(resource_class="VGPU", total=1, reserved=1),))),
        {"room": "fail", "candidates": "fail"},
        "room",
        "all 2 devices that fit are taken",
    ),
    (
        "all services are down",
        on_both(lambda h: of_service(h, state="down")),
        {"room": "fail"},
        "room",
        "gpu-01, gpu-02: nova-compute is down",
    ),
    (
        "all services are disabled",
        on_both(lambda h: of_service(h, status="disabled", disabled_reason="ticket 4711")),
        {"room": "fail"},
        "room",
        "gpu-01, gpu-02: nova-compute is disabled: ticket 4711",
    ),
    (
        "an aggregate that no host is in",
        all_of(of_nova(aggregates=()), of_flavor(aggregate_instance_extra_specs__rack="7")),
        {"aggregate": "warn", "room": "fail"},
        "aggregate",
        "no host is in an aggregate with rack = 7",
    ),
    (
        "an aggregate that a host is in",
        all_of(
            of_nova(aggregates=(aggregate(THERE, rack="7"),)),
            of_flavor(aggregate_instance_extra_specs__rack="7"),
        ),
        {"aggregate": "pass"},
        "aggregate",
        "aggregates with rack = 7 hold gpu-02",
    ),
    (
        "aggregates that cannot be read",
        all_of(of_nova(aggregates=None), of_flavor(aggregate_instance_extra_specs__rack="7")),
        {"aggregate": "unknown"},
        "aggregate",
        "could not be read",
    ),
    (
        "providers of functions that are gone",
        with_ghosts,
        {"false-offers": "warn"},
        "false-offers",
        "Placement still gives 4 devices that gpu-02 does not have: a server that lands there fails",
    ),
    (
        "Placement is silent",
        lambda k: of_status("placement", error="no answer within 10 s")(msgspec.structs.replace(k, placement=None)),
        {"class": "unknown", "traits": None, "room": None, "candidates": "fail"},
        "class",
        "who offers it: Placement: no answer within 10 s",
    ),
    (
        "the GPUs of every host are silent",
        lambda k: on_both(lambda h: of_status("libvirt", h, error="refused"))(
            msgspec.structs.replace(k, libvirt={}, ssh={})
        ),
        {"room": "unknown"},
        "room",
        "by Placement gpu-01, gpu-02 has room, but what its GPUs can carry is not known",
    ),
]


def test_a_flavor_of_a_cloud_in_order_finds_a_host() -> None:
    found = flavor(base())

    assert (found.verdict, found.summary, found.mends) == ("pass", "finds a host", ())
    assert {p.name: (p.room, p.offered, p.used, p.reserved, p.real) for p in found.places} == {
        HERE: (1, 2, 1, 0, 2),
        THERE: (2, 2, 0, 0, 2),
    }
    assert {s.source: s.age_s for s in found.steps} == {"nova": 3.0, "placement": 3.0}


@pytest.mark.parametrize(("change", "expected", "word", "words"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_fact_changes_its_own_steps(change: Change, expected: dict[str, Any], word: str, words: str) -> None:
    known = change(base())

    found = flavor(known)

    assert difference(flavor(base()), found) == expected
    assert words in said(found, word)
    assert found.verdict == next(s for s in WORST_FIRST if s in statuses(found).values())


# --- what mends it ----------------------------------------------------------------------------------------------------


def test_two_of_one_function_are_asked_for_in_two_groups() -> None:
    found = flavor(of_flavor(resources__VGPU="2")(base()))

    assert commands(found)[0] == (
        "openstack flavor unset --property resources:VGPU --property trait:CUSTOM_A100_20C train && "
        "openstack flavor set --property resources1:VGPU=1 --property resources2:VGPU=1 "
        "--property trait1:CUSTOM_A100_20C=required --property trait2:CUSTOM_A100_20C=required "
        "--property group_policy=none train"
    )


def test_the_command_of_a_lost_trait_keeps_the_traits_that_are_there() -> None:
    found = flavor(of_providers(lambda p: msgspec.structs.replace(p, traits=("OWNER_NOVA",)))(base()))

    assert commands(found) == [
        "for p in gpu-01-vf0 gpu-01-vf1 gpu-02-vf0 gpu-02-vf1; do openstack resource provider trait set "
        '--trait CUSTOM_A100_20C --trait OWNER_NOVA "$p"; done'
    ]


def test_a_trait_that_names_no_type_is_put_on_no_device() -> None:
    known = of_flavor(trait__CUSTOM_A100_20C=None, trait__CUSTOM_FAST="required")(base())

    assert "put CUSTOM_FAST back" in flavor(known).mends[0].words
    assert not [c for c in commands(flavor(known)) if "trait set" in c]


def test_gone_functions_are_switched_on_where_they_are_off_and_deleted_where_they_are_not() -> None:
    assert commands(flavor(with_ghosts(base()))) == [
        "for p in gpu-02-vf0-gone gpu-02-vf1-gone gpu-02-vf2-gone gpu-02-vf3-gone; "
        'do openstack resource provider delete "$p"; done'
    ]

    def off(known: Facts) -> Facts:
        board = next(d for d in known.libvirt[THERE].devices if d.address not in FUNCTIONS)
        dark = msgspec.structs.replace(board, virtual_functions=())
        return of_libvirt(THERE, devices=(dark,))(known)

    dark = off(base())
    dark = msgspec.structs.replace(dark, ssh={HERE: dark.ssh[HERE]})
    found = flavor(dark)
    assert commands(found) == ["vgpu-console sriov enable gpu-02 --gpu 0000:41:00.0"]
    assert found.mends[0].action == "sriov.enable"


def test_gone_functions_without_the_flavors_trait_are_no_matter_of_it() -> None:
    other = of_providers(lambda p: msgspec.structs.replace(p, traits=()) if p.uuid.endswith("-gone") else p)

    assert "false-offers" not in statuses(flavor(all_of(with_ghosts, other)(base())))


# --- Placement's own word ---------------------------------------------------------------------------------------------


def way(host: str, **amounts: int) -> Candidates:
    """One place on a host."""
    return Candidates(candidates=(Candidate({f"{host}-root": amounts}),), roots={f"{host}-root": f"{host}-root"})


def test_no_place_though_devices_are_free_names_the_class_that_is_short() -> None:
    parts = {DEVICES: candidates(base()), "VCPU": way(HERE, VCPU=8), "MEMORY_MB": NOWHERE}

    found = flavor(base(), NOWHERE, parts)

    assert statuses(found)["room"] == "pass", "devices are free"
    assert statuses(found)["candidates"] == "fail"
    assert said(found, "candidates") == "Placement finds no place: no host has 16384 MEMORY_MB left"
    assert found.summary == "finds no host: Placement finds no place: no host has 16384 MEMORY_MB left"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({DEVICES: NOWHERE, UNTRAITED: NOWHERE}, "no 1 VGPU is left"),
        ({DEVICES: NOWHERE, UNTRAITED: way(HERE, VGPU=1)}, "no free 1 VGPU has the traits"),
        ({"VCPU": NOWHERE, "MEMORY_MB": NOWHERE}, "no host has 8 VCPU left; no host has 16384 MEMORY_MB left"),
        ({DEVICES: way(HERE, VGPU=1), "VCPU": way(THERE, VCPU=8)}, "each part is there, but all on no one host"),
        ({}, "and does not say why"),
        ({"VCPU": Candidates(error="gateway timeout")}, "and does not say why"),
    ],
)
def test_the_part_that_nobody_gives(parts: dict[str, Candidates], words: str) -> None:
    assert words in said(flavor(base(), NOWHERE, parts), "candidates")


def test_placement_that_does_not_answer_is_unknown_not_no() -> None:
    assert statuses(flavor(base(), Candidates(error="503")))["candidates"] == "unknown"
    assert statuses(explain_flavor_unasked())["candidates"] == "unknown"
    assert explain_flavor_unasked().verdict == "unknown"


def explain_flavor_unasked() -> Any:
    known = base()
    return explain_flavor(ground_of(known), flavor_named(known))


def test_the_parts_of_a_request_are_its_devices_and_each_class_of_the_host() -> None:
    parts = parts_of(request_of(flavor_named(base())))

    assert list(parts) == [DEVICES, UNTRAITED, "DISK_GB", "MEMORY_MB", "VCPU"]
    assert [(g.resources, g.required) for g in parts[DEVICES].groups] == [({"VGPU": 1}, ("CUSTOM_A100_20C",))]
    assert [(g.resources, g.required) for g in parts[UNTRAITED].groups] == [({"VGPU": 1}, ())]
    assert [g.resources for g in parts["VCPU"].groups] == [{"VCPU": 8}]


# --- one host of several ----------------------------------------------------------------------------------------------


def two_types(known: Facts) -> Facts:
    """gpu-02 makes another type under the same class."""
    device = MdevFacts(uuid=MDEV, type_id="nvidia-471", parent=FUNCTIONS[0], active=True)
    offer = (MdevTypeOffer(type_id="nvidia-471", name="GRID A100-10C", available_instances=1),)
    devices = tuple(
        msgspec.structs.replace(d, types=offer) if d.address in FUNCTIONS else d for d in known.libvirt[THERE].devices
    )
    known = of_libvirt(THERE, devices=devices, mdevs=(device,))(known)
    types = tuple(
        msgspec.structs.replace(t, type_id="nvidia-471", name="GRID A100-10C") for t in known.ssh[THERE].types
    )
    return all_of(of_ssh(THERE, types=types), of_conf(THERE, devices__enabled_mdev_types="nvidia-471"))(known)


def test_two_types_under_one_class_are_left_to_chance_without_a_trait() -> None:
    plain = of_flavor(replace=True, resources__VGPU="1")

    found = flavor(all_of(two_types, plain)(base()))
    assert statuses(found)["types"] == "warn"
    assert said(found, "types") == "which type a server gets is left to chance: A100-10C on gpu-02; A100-20C on gpu-01"
    assert "types" not in statuses(flavor(plain(base())))
    told = of_providers(
        lambda p: msgspec.structs.replace(p, traits=("CUSTOM_A100_10C",)) if p.root_uuid == f"{THERE}-root" else p
    )
    assert "types" not in statuses(flavor(all_of(two_types, told)(base()))), "the flavor asks for one by its trait"


def test_one_host_that_is_down_does_not_keep_a_flavor_from_the_other() -> None:
    found = flavor(of_service(HERE, state="down")(base()))

    assert found.verdict == "pass"
    assert {p.name: (p.room, p.status, p.why) for p in found.places}[HERE] == (0, "fail", "nova-compute is down")
