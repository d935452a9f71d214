"""Why a project cannot start a server: one fact of a project in order is changed, and the chain tells that one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.explain.base import (
    HERE,
    SERVER,
    THERE,
    base,
    commands,
    difference,
    of_flavor,
    of_host_providers,
    of_keystone,
    on_both,
    project,
    said,
    statuses,
    with_limits,
)
from tests.rules.migration.two_hosts import Change, aggregate, all_of, of_conf, of_nova, of_status
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.placement import Allocation
from vgpu_console.rules.quota_leaks import leaks


def limited(value: int) -> Change:
    """The project's own limit is another."""

    def change(known: Facts) -> Facts:
        assert known.keystone is not None
        rows = [msgspec.structs.replace(x, resource_limit=value) for x in known.keystone.project_limits or ()]
        return of_keystone(project_limits=tuple(rows))(known)

    return change


def used(amount: int) -> Change:
    """Placement counts so many for the project."""

    def change(known: Facts) -> Facts:
        assert known.placement is not None
        placement = msgspec.structs.replace(known.placement, usages={"p-ml": {"VGPU": amount}})
        return msgspec.structs.replace(known, placement=placement)

    return change


def unregistered(known: Facts) -> Facts:
    """Keystone has no limit of vGPUs at all."""
    assert known.keystone is not None
    rows = tuple(r for r in known.keystone.registered_limits or () if r.resource_name != "class:VGPU")
    return of_keystone(registered_limits=rows, project_limits=())(known)


def migrating(known: Facts) -> Facts:
    """The server moves, and its migration's uuid holds what it had on the source."""
    row = MigrationFacts(id=7, uuid="m-7", server_id=SERVER, source=HERE, destination=THERE, status="running")
    return held_on_there(of_nova(migrations=(row,))(known), "m-7")


def held_on_there(known: Facts, holder: str) -> Facts:
    """Another consumer holds a device of gpu-02."""
    assert known.placement is not None
    rows = tuple(
        msgspec.structs.replace(p, allocations=(Allocation(holder, {"VGPU": 1}),)) if p.uuid == f"{THERE}-vf0" else p
        for p in known.placement.providers
    )
    return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))


def leaking(known: Facts) -> Facts:
    """A migration that has ended still holds a device."""
    row = MigrationFacts(id=7, uuid="m-7", server_id=SERVER, source=HERE, destination=THERE, status="error")
    known = held_on_there(of_nova(migrations=(row,))(known), "m-7")
    assert known.placement is not None
    placement = msgspec.structs.replace(known.placement, strangers={"m-7": "p-ml"})
    return msgspec.structs.replace(known, placement=placement)


TAKEN = on_both(lambda h: of_host_providers(h, allocations=(Allocation("x", {"VGPU": 1}),)))

TABLE: list[tuple[str, Change, dict[str, Any], str, str]] = [
    (
        "all of its limit is used",
        limited(1),
        {"limit": "fail"},
        "limit",
        "class:VGPU: its own limit is 1, 1 are used",
    ),
    (
        "a limit of 0",
        all_of(limited(0), used(0)),
        {"limit": "fail"},
        "limit",
        "its own limit is 0: none may be started",
    ),
    ("unlimited", limited(-1), {}, "limit", "class:VGPU: unlimited (-1)"),
    (
        "-1 on an old Nova",
        all_of(limited(-1), of_nova(max_microversion="2.96")),
        {"limit": "fail", "other-limits": "fail"},
        "limit",
        "-1 refuses everything on a Nova older than 31",
    ),
    ("no limit at all", unregistered, {}, "limit", "no limit is registered, which means unlimited"),
    (
        "no limit at all on an old Nova",
        all_of(unregistered, of_nova(max_microversion="2.96")),
        {"limit": "fail", "other-limits": "fail"},
        "limit",
        "no limit is registered, which means zero",
    ),
    (
        "limits that are not visible",
        of_keystone(project_limits=None),
        {"limit": "unknown"},
        "limit",
        "its limit is not visible to this credential",
    ),
    (
        "another model",
        of_keystone(enforcement_model="strict_two_level"),
        {"enforcement": "fail"},
        "enforcement",
        "enforcement model is strict_two_level",
    ),
    (
        "no enforcement",
        all_of(limited(0), of_conf(HERE, quota__driver="nova.quota.DbQuotaDriver")),
        {"limit": None, "enforcement": "pass"},
        "enforcement",
        "Nova enforces no limit of vGPUs",
    ),
    (
        "a limit that refuses where nobody knows whether it is enforced",
        all_of(limited(1), of_conf(HERE, quota__driver=None)),
        {"limit": "fail", "enforcement": "unknown"},
        "enforcement",
        "whether Nova enforces these limits at all is not known",
    ),
    (
        "doubled by a migration",
        all_of(migrating, used(2), limited(2)),
        {"limit": "fail", "doubled": "warn"},
        "doubled",
        "1 of 2 count twice while a migration or resize runs: without that a server could start, so wait for its end",
    ),
    (
        "doubled, and room all the same",
        all_of(migrating, used(2)),
        {"doubled": "pass"},
        "doubled",
        "1 of 2 count twice",
    ),
    (
        "leaked",
        all_of(leaking, used(2), limited(2)),
        {"limit": "fail", "leaked": "warn"},
        "leaked",
        "class:VGPU: 1 of 2 are leaked, held by m-7",
    ),
    (
        "too few CPUs",
        lambda k: with_limits(k, class__VCPU=10),
        {"other-limits": "fail"},
        "other-limits",
        "class:VCPU: 8 used and 8 wanted of 10",
    ),
    (
        "the project is disabled",
        lambda k: of_keystone(
            projects=tuple(msgspec.structs.replace(p, enabled=False) for p in k.keystone.projects or ())  # type: ignore[union-attr]
        )(k),
        {"project": "fail"},
        "project",
        "the project is disabled",
    ),
    ("no capacity", TAKEN, {"capacity": "fail"}, "capacity", "no host has room: train: there is room for 0 of 1"),
    (
        "no flavor",
        of_flavor(replace=True),
        {"capacity": "fail"},
        "capacity",
        "no flavor that this console sees asks for a vGPU",
    ),
    (
        "flavors by alias only",
        of_flavor(replace=True, pci_passthrough__alias="A100:1"),
        {"capacity": "unknown"},
        "capacity",
        "only by PCI alias (train)",
    ),
    ("flavors unread", of_nova(flavors=None), {"capacity": "unknown"}, "capacity", "the flavors could not be read"),
    (
        "all hosts are kept for others",
        of_nova(aggregates=(aggregate(HERE, THERE, filter_tenant_id="p-other"),)),
        {"aggregate": "fail"},
        "aggregate",
        "all hosts with GPUs (gpu-01, gpu-02) are kept for other projects",
    ),
    (
        "one host is kept for others",
        of_nova(aggregates=(aggregate(HERE, filter_tenant_id="p-other"),)),
        {"aggregate": "pass"},
        "aggregate",
        "1 host with GPUs kept for other projects (gpu-01)",
    ),
]


def test_a_project_in_order_can_start_a_server() -> None:
    found = project(base())

    assert (found.verdict, found.summary, found.mends) == ("pass", "can start a server with a vGPU", ())
    assert [(p.name, p.status, p.room) for p in found.places] == [("train", "pass", 2)]


@pytest.mark.parametrize(("change", "expected", "word", "words"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_fact_changes_its_own_steps(change: Change, expected: dict[str, Any], word: str, words: str) -> None:
    found = project(change(base()))

    assert difference(project(base()), found) == expected
    assert words in said(found, word)
    assert found.verdict == next(s for s in ("fail", "unknown", "warn", "pass") if s in statuses(found).values())


@pytest.mark.parametrize(
    ("change", "command", "action"),
    [
        (limited(1), "vgpu-console quota set p-ml 2", "quota.set"),
        (
            all_of(unregistered, of_nova(max_microversion="2.96")),
            "vgpu-console quota default 1",
            "quota.default",
        ),
        (TAKEN, "vgpu-console explain flavor train", ""),
    ],
)
def test_what_mends_it(change: Change, command: str, action: str) -> None:
    found = project(change(base()))

    assert command in commands(found)
    assert action in [m.action for m in found.mends]


def test_what_frees_a_leak_is_what_the_audit_says() -> None:
    known = all_of(leaking, used(2), limited(2))(base())
    (leak,) = leaks(known)

    assert leak.command
    assert leak.command in commands(project(known))


def test_silence_of_keystone_is_unknown() -> None:
    from tests.rules.explain.base import ground_of
    from vgpu_console.model.keystone import Project
    from vgpu_console.rules.explain.project import explain_project

    known = of_status("keystone", error="503")(msgspec.structs.replace(base(), keystone=None))
    found = explain_project(ground_of(known), Project(id="p-ml", name="ml"))

    assert statuses(found)["limit"] == "unknown"
    assert "503" in said(found, "limit")
    assert found.verdict == "unknown"
