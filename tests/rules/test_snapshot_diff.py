"""Two snapshots compared: what an operator is told came, went, moved, changed, or is merely not known any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.builders import NOW, an_id, small_fleet, status
from tests.builders.parts import server
from vgpu_console.model.snapshot import Finding, Host, Snapshot, Unlooked
from vgpu_console.rules.snapshot_diff import Change, differences, unseen

replace = msgspec.structs.replace
FLEET = small_fleet(broken=False)

Told = tuple[str, str, str, str, Any, Any]


def told(before: Snapshot, after: Snapshot) -> list[Told]:
    """The differences as kind, thing, name, field, before, after."""
    return [_told(change) for change in differences(before, after)]


def _told(change: Change) -> Told:
    return change.kind, change.what, change.name, change.field, change.before, change.after


def _with(name: str, index: int, /, **changes: Any) -> Snapshot:
    """The fleet with one of its things changed."""
    things = list(getattr(FLEET, name))
    things[index] = replace(things[index], **changes)
    return replace(FLEET, **{name: tuple(things)})


def _without(name: str, index: int) -> Snapshot:
    things = list(getattr(FLEET, name))
    del things[index]
    return replace(FLEET, **{name: tuple(things)})


def _gpu(**changes: Any) -> Snapshot:
    host = FLEET.hosts[0]
    assert host.gpus
    return _with("hosts", 0, gpus=(replace(host.gpus[0], **changes), *host.gpus[1:]))


def test_a_snapshot_does_not_differ_from_itself() -> None:
    assert differences(FLEET, FLEET) == ()
    assert differences(FLEET, replace(FLEET, taken_at=NOW + 60)) == ()


def test_nor_do_ages_and_new_answers_make_a_difference() -> None:
    later = tuple(replace(s, fetched_at=(s.fetched_at or 0) + 60, requests=9) for s in FLEET.sources)

    assert differences(FLEET, replace(FLEET, sources=later)) == ()


GPU = "0000:41:00.0"
FIRST = FLEET.mdevs[0].uuid
MOVE = "vm-train-7 gpu-02 → gpu-01"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (_with("hosts", 0, service_state="down"), ("changed", "host", "gpu-01", "service", "up", "down")),
        (_with("hosts", 0, service_status="disabled"), ("changed", "host", "gpu-01", "status", "enabled", "disabled")),
        (_with("hosts", 0, driver="570.1"), ("changed", "host", "gpu-01", "driver", "550.90.05", "570.1")),
        (_with("hosts", 0, kernel=None), ("unknown", "host", "gpu-01", "kernel", "5.14.0-503.el9", None)),
        (_gpu(vfs_enabled=0), ("changed", "gpu", GPU, "VFs enabled", 16, 0)),
        (_gpu(vgpus_max=4), ("changed", "gpu", GPU, "real maximum", 2, 4)),
        (_gpu(active_type_name="GRID A100-5C"), ("changed", "gpu", GPU, "type", "GRID A100-20C", "GRID A100-5C")),
        (_gpu(ecc=True), ("known", "gpu", GPU, "ECC", None, True)),
        (_with("mdevs", 0, state="defined"), ("changed", "vgpu", FIRST, "state", "active", "defined")),
        (_with("mdevs", 0, server="vm-b"), ("moved", "vgpu", FIRST, "server", "vm-train-1", "vm-b")),
        (
            _with("mdevs", 0, server=None, server_id=None, domain=None, used=False),
            ("changed", "vgpu", FIRST, "server", "vm-train-1", "free"),
        ),
        (
            _with("mdevs", 0, server=None, server_id=None, domain=None, used=None),
            ("unknown", "vgpu", FIRST, "server", "vm-train-1", None),
        ),
        (_with("servers", 0, host="gpu-02"), ("moved", "server", "vm-train-1", "host", "gpu-01", "gpu-02")),
        (_with("servers", 0, host=None), ("changed", "server", "vm-train-1", "host", "gpu-01", "nowhere")),
        (_with("servers", 0, status="ERROR"), ("changed", "server", "vm-train-1", "status", "ACTIVE", "ERROR")),
        (_without("servers", 0), ("went", "server", "vm-train-1", "", None, None)),
        (_with("quotas", 0, limit=12), ("changed", "quota", "ml-research class:VGPU", "limit", 10, 12)),
        (_with("quotas", 0, limit=-1), ("changed", "quota", "ml-research class:VGPU", "limit", 10, "unlimited")),
        (_with("quotas", 0, used=7), ("changed", "quota", "ml-research class:VGPU", "used", 6, 7)),
        (_with("quotas", 0, used=None), ("unknown", "quota", "ml-research class:VGPU", "used", 6, None)),
        (_with("migrations", 0, status="error"), ("changed", "migration", MOVE, "status", "running", "error")),
        (_without("findings", 0), ("went", "finding", "driver-differs: host gpu-02", "", None, None)),
    ],
)  # fmt: skip
def test_each_difference_is_told_as_what_it_is(after: Snapshot, expected: Told) -> None:
    assert told(FLEET, after) == [expected]


def test_the_other_way_round_it_is_told_the_other_way_round() -> None:
    gone = _without("servers", 0)

    assert told(gone, FLEET) == [("came", "server", "vm-train-1", "", None, None)]
    assert [t[0] for t in told(_with("hosts", 0, kernel=None), FLEET)] == ["known"]


def test_types_and_inventories_are_compared_by_name() -> None:
    host = FLEET.hosts[0]
    assert host.gpus
    first, second = host.gpus[0].types
    fewer = _gpu(types=(replace(first, max=4),))

    assert told(FLEET, fewer) == [
        ("went", "type", f"{GPU} {second.type_name}", "", None, None),
        ("changed", "type", f"{GPU} {first.type_name}", "real maximum", 2, 4),
    ]
    index = next(n for n, p in enumerate(FLEET.providers) if p.inventories and p.parent_uuid)
    inventory = (FLEET.providers[index].inventories or ())[0]
    name = FLEET.providers[index].name
    more = _with("providers", index, inventories=(replace(inventory, total=9, reserved=1),))
    assert told(FLEET, more) == [
        ("changed", "provider", name, "inventory VGPU reserved", "not set", 1),
        ("changed", "provider", name, "inventory VGPU total", 1, 9),
    ]


def test_nova_conf_is_compared_option_by_option() -> None:
    old = _with("hosts", 0, nova_conf={"devices.enabled_mdev_types": "nvidia-472", "a.b": "1"})
    new = _with("hosts", 0, nova_conf={"devices.enabled_mdev_types": "nvidia-471", "c.d": "2"})

    assert [t[3:] for t in told(old, new)] == [
        ("nova.conf a.b", "1", "not set"),
        ("nova.conf c.d", "not set", "2"),
        ("nova.conf devices.enabled_mdev_types", "nvidia-472", "nvidia-471"),
    ]
    assert [(t[0], t[3]) for t in told(old, _with("hosts", 0, nova_conf=None))] == [("unknown", "nova.conf")]


# --- what one side could not see --------------------------------------------------------------------------------------


def _silent(name: str) -> Snapshot:
    """The fleet with one host that no longer answers and of which nothing is remembered."""
    hosts = tuple(
        replace(h, gpus=None, driver=None, kernel=None, libvirt=None, qemu=None, os_name=None, vfs_enabled=None)
        if h.name == name
        else h
        for h in FLEET.hosts
    )
    sources = tuple(
        replace(s, fetched_at=None, error="no route to host", error_kind="unreachable") if s.host == name else s
        for s in FLEET.sources
    )
    mdevs = tuple(m for m in FLEET.mdevs if m.host != name)
    return replace(FLEET, hosts=hosts, sources=sources, mdevs=mdevs)


def test_a_host_that_fell_silent_has_lost_no_device() -> None:
    found = differences(FLEET, _silent("gpu-01"))

    assert {c.kind for c in found} == {"unknown", "changed"}
    assert {c.what for c in found if c.kind == "unknown"} == {"host"}, "its devices are told by its own line"
    assert {c.field for c in found if c.kind == "unknown"} == {"GPUs", "driver", "kernel", "libvirt", "QEMU", "system"}
    assert [(c.before, c.after) for c in found if c.what == "source"] == [("answers", "no route to host")] * 2
    back = differences(_silent("gpu-01"), FLEET)
    assert {c.kind for c in back} == {"known", "changed"}


@pytest.mark.parametrize(
    ("service", "whats"),
    [("nova", {"server", "migration"}), ("placement", {"provider"}), ("keystone", {"quota"})],
)
def test_a_service_that_did_not_answer_has_deleted_nothing(service: str, whats: set[str]) -> None:
    empty = {"nova": ("servers", "migrations"), "placement": ("providers",), "keystone": ("quotas",)}[service]
    failed = tuple(
        replace(s, fetched_at=None, error="no answer within 5 s") if s.kind == service else s for s in FLEET.sources
    )
    dark = replace(FLEET, sources=failed, **dict.fromkeys(empty, ()))

    found = [c for c in differences(FLEET, dark) if c.what != "source"]
    assert {(c.kind, c.what, c.id) for c in found} == {("unknown", what, "*") for what in whats}
    assert {c.before for c in found} == {len(getattr(FLEET, name)) for name in empty}
    assert {c.after for c in found} == {None}
    assert {c.kind for c in differences(dark, FLEET) if c.what != "source"} == {"known"}
    assert unseen(dark, dark) == (service,)


def test_a_host_takes_its_gpus_with_it_in_one_line() -> None:
    gone = replace(
        FLEET,
        hosts=FLEET.hosts[1:],
        mdevs=tuple(m for m in FLEET.mdevs if m.host != "gpu-01"),
        providers=tuple(p for p in FLEET.providers if p.host != "gpu-01"),
        sources=tuple(s for s in FLEET.sources if s.host != "gpu-01"),
    )

    found = differences(FLEET, gone)
    assert [(c.kind, c.what) for c in found] == [("went", "host"), *[("went", "vgpu")] * 3]
    assert [(c.kind, c.what) for c in differences(gone, FLEET)] == [("came", "host"), *[("came", "vgpu")] * 3]


def test_a_finding_that_could_not_be_looked_for_is_not_gone() -> None:
    found = Finding(id="vfs-off", severity="fail", object="gpu gpu-01 a", message="x", host="gpu-01")
    blind = Unlooked(source="libvirt", hosts=("gpu-01",), ids=("vfs-off",), reason="r", access="a")
    before = replace(FLEET, findings=(found,))
    after = replace(FLEET, findings=(), unlooked=(blind,))

    assert told(before, after) == [("unknown", "finding", "vfs-off: gpu gpu-01 a", "", None, None)]
    assert [t[0] for t in told(before, replace(after, unlooked=(replace(blind, hosts=("gpu-02",)),)))] == ["went"]
    assert [t[0] for t in told(before, replace(after, unlooked=(replace(blind, hosts=()),)))] == ["unknown"]
    assert [t[0] for t in told(after, before)] == ["known"]


def test_names_change_and_ids_do_not() -> None:
    renamed = _with("servers", 0, name="vm-new")
    same_name = replace(
        FLEET, servers=(*FLEET.servers, replace(server("vm-train-1", "vdi", "gpu-02"), id=an_id("other")))
    )

    assert told(FLEET, renamed) == [("changed", "server", "vm-new", "name", "vm-train-1", "vm-new")]
    assert told(FLEET, same_name) == [("came", "server", "vm-train-1", "", None, None)]


@pytest.mark.parametrize(
    "make", [lambda: Snapshot(), lambda: Snapshot(hosts=(Host(name="a"),), sources=(status("nova"),))]
)
def test_anything_can_be_compared_with_anything(make: Callable[[], Snapshot]) -> None:
    assert differences(make(), FLEET)
    assert differences(FLEET, make())
    assert len(differences(make(), FLEET)) == len(differences(FLEET, make()))
