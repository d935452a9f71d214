"""Why a flavor with a PCI alias finds no host: functions with a type of the vendor VFIO framework."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.explain.base import THERE, base, commands, flavor, of_flavor, said, statuses
from tests.rules.explain.test_host import SPEC, vendor
from tests.rules.migration.two_hosts import Change, of_conf, of_libvirt, of_service, vf
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts

ALIAS = '{"name": "L40S", "device_type": "type-VF"}'


def in_order() -> Facts:
    """gpu-02 hands out two functions with a type, and a flavor asks for one."""
    known = vendor(base(), typed=2, pci__device_spec=SPEC, pci__alias=ALIAS)
    return of_flavor(replace=True, pci_passthrough__alias="L40S:1")(known)


def held(known: Facts) -> Facts:
    """Two guests hold them."""
    guests = tuple(DomainFacts(uuid=f"g{n}", name=f"g{n}", active=True, pci=(vf(n),)) for n in range(2))
    return of_libvirt(THERE, domains=guests)(known)


def silent(known: Facts) -> Facts:
    """libvirt of gpu-02 does not answer: who holds them is not known."""
    return msgspec.structs.replace(known, libvirt={h: f for h, f in known.libvirt.items() if h != THERE})


def test_two_functions_with_a_type_are_room_for_two() -> None:
    found = flavor(in_order())

    assert statuses(found) == {"request": "pass", "alias": "pass", "functions": "pass", "candidates": "pass"}
    assert said(found, "functions") == "free functions with a type for 2 servers: gpu-02"
    assert [(p.name, p.room, p.used) for p in found.places] == [(THERE, 2, 0)]


@pytest.mark.parametrize(
    ("change", "word", "status", "words"),
    [
        (held, "functions", "fail", "gpu-02: all 2 functions with a type are held"),
        (of_service(THERE, state="down"), "functions", "fail", "gpu-02: nova-compute is down"),
        (
            of_service(THERE, status="disabled", disabled_reason="ticket 4711"),
            "functions",
            "fail",
            "gpu-02: nova-compute is disabled: ticket 4711",
        ),
        (
            of_conf(THERE, pci__device_spec=None),
            "functions",
            "fail",
            "2 free functions with a type, in no [pci] device_spec",
        ),
        (of_conf(THERE, pci__alias=None), "alias", "warn", "has the PCI alias L40S; nova-api's own file decides"),
        (silent, "functions", "unknown", "what is free on gpu-02 is not known"),
    ],
)
def test_one_fact_changes_the_answer(change: Change, word: str, status: str, words: str) -> None:
    found = flavor(change(in_order()))

    assert statuses(found)[word] == status
    assert words in said(found, word)


def test_no_function_with_a_type_points_to_the_host() -> None:
    known: Any = vendor(base(), typed=0, pci__device_spec=SPEC, pci__alias=ALIAS)
    found = flavor(of_flavor(replace=True, pci_passthrough__alias="L40S:1")(known))

    assert "gpu-02: no function has a vGPU type" in said(found, "functions")
    assert commands(found) == ["vgpu-console explain host gpu-02"]


def test_no_such_gpu_anywhere() -> None:
    found = flavor(of_flavor(replace=True, pci_passthrough__alias="L40S:1")(base()))

    assert said(found, "functions") == "no host has a GPU of the vendor VFIO framework that any source has told of"
