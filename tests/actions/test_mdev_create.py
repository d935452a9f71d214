"""Mediated devices: exactly what a GPU really holds can be planned and made, and the next one's refusal says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.actions.demo import NOW, check, still_demo
from tests.actions.device_console import ONE_A100, HostConsole, demo_of
from vgpu_console.actions.mdev_create import plan_create
from vgpu_console.actions.plan import DeviceStep, Plan, PlanError
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, MdevFacts, MdevTypeOffer, NvidiaGpu, PciDevice
from vgpu_console.model.snapshot import Migration
from vgpu_console.rules.mdev_room import type_rooms
from vgpu_console.rules.nova_offers import devices_of, nova_offers

A100 = "0000:41:00.0"
A100_TABLE = [("40C", 1), ("20C", 2), ("10C", 4), ("8C", 5), ("5C", 8), ("4C", 10)]
"""NVIDIA's equal-size maxima of an A100 40 GB, which has 16 virtual functions whatever the type."""


@pytest.fixture
def one(tmp_path: Path) -> HostConsole:
    return HostConsole(demo_of(tmp_path, ONE_A100), tmp_path / "j").read()


@pytest.fixture
def fleet(tmp_path: Path) -> HostConsole:
    return HostConsole(still_demo(), tmp_path / "j").read()


def create(console: HostConsole, host: str, gpu: str, type_text: str, count: int = 1, **more: Any) -> tuple[Plan, ...]:
    return plan_create(console.facts, console.snapshot, host, gpu, type_text, count, now=NOW, **more)


def refusal(console: HostConsole, *args: Any, **more: Any) -> tuple[int, str]:
    with pytest.raises(PlanError) as refused:
        create(console, *args, **more)
    return refused.value.exit, str(refused.value)


def key(plan: Plan, name: str) -> str:
    return plan.target.key[name] or ""


@pytest.mark.parametrize(("size", "maximum"), A100_TABLE)
def test_exactly_the_real_maximum_is_made_and_the_next_is_refused(one: HostConsole, size: str, maximum: int) -> None:
    name = f"A100-{size}"
    assert refusal(one, "gpu-01", A100, name, maximum + 1) == (
        4,
        f"{maximum} more {name} can be made on gpu-01 {A100}, not {maximum + 1}: its maximum is {maximum}",
    )
    plans = create(one, "gpu-01", A100, name, maximum)
    assert len({key(p, "function") for p in plans}) == len({key(p, "uuid") for p in plans}) == maximum
    assert [o.result for o in one.apply_all(plans)] == ["done"] * maximum
    gpu = one.host("gpu-01").gpus[0]
    assert Counter(kind.short_name for kind in gpu.running()) == {name: maximum}
    assert all(len(on) == 1 for on in gpu.mdevs.values())
    one.read()
    assert refusal(one, "gpu-01", A100, name) == (
        4,
        f"no {name} can be made on gpu-01 {A100}: all {maximum} of its maximum are created",
    )
    other = "A100-4C" if size != "4C" else "A100-8C"
    mdevs = "mdev" if maximum == 1 else "mdevs"
    assert refusal(one, "gpu-01", A100, other)[1].endswith(
        f"GPU runs {name}; free its {maximum} {mdevs} to change size"
    )


@pytest.mark.parametrize(("size", "maximum"), A100_TABLE)
def test_one_by_one_is_the_same_as_at_once(one: HostConsole, size: str, maximum: int) -> None:
    for made in range(maximum):
        (plan,) = create(one, "gpu-01", A100, size)
        left = maximum - made - 1
        ends = f"{left} more can be made after this one" if left else f"it is full, {maximum} is its real maximum"
        assert plan.effect[1].startswith(f"GPU {A100} will run A100-{size}: ")
        assert plan.effect[1].endswith(ends)
        assert one.apply(plan).ok
        one.read()
    assert refusal(one, "gpu-01", A100, size)[0] == 4


def test_a_plan_shows_all_that_will_happen(one: HostConsole) -> None:
    first, second = create(one, "gpu-01", "41:00.0", "GRID A100-20C", 2)
    assert (first.action, first.danger, first.settle_s) == ("mdev.create", "change", 15.0)
    assert first.target.kind == "mediated device"
    assert first.target.id == f"gpu-01 {key(first, 'uuid')}"
    assert first.target.name == f"gpu-01 {key(first, 'uuid')[:8]}"
    assert (key(first, "function"), key(second, "function")) == ("0000:41:00.4", "0000:41:00.5")
    assert [s.call for s in first.steps if isinstance(s, DeviceStep)] == ["define", "autostart-on", "start"]
    assert [s.call for s in first.inverse if isinstance(s, DeviceStep)] == ["stop", "undefine"]
    assert (first.before["state"], first.after["state"]) == ("absent", "active")
    assert {c.status for c in first.checks} == {"pass"}
    assert first.effect[0] == (
        "0000:41:00.4 will carry one A100-20C (20 GiB), running now and started with its function from now on"
    )
    assert "Placement then offers 16 on this GPU, 2 are real: boots beyond that fail" in first.effect
    assert any(line.startswith("Nova drops 14 providers at its next update") for line in second.effect)
    assert "Placement then offers 2 on this GPU, as many as it holds" in second.effect


def test_the_commands_are_those_of_libvirt_and_of_mdevctl(one: HostConsole) -> None:
    (plan,) = create(one, "gpu-01", A100, "20C", uuid="4b20d080-1b54-4048-85b3-a6a62d165c01")
    define, autostart, start = [c for c in plan.commands if "virsh" in c]
    assert "<parent>pci_0000_41_00_4</parent>" in define
    assert define.endswith("| virsh nodedev-define /dev/stdin")
    name = "mdev_4b20d080_1b54_4048_85b3_a6a62d165c01_0000_41_00_4"
    assert (autostart, start) == (f"virsh nodedev-autostart {name}", f"virsh nodedev-start {name}")
    uuid = "--uuid 4b20d080-1b54-4048-85b3-a6a62d165c01"
    assert plan.commands[-2:] == (
        f"mdevctl define --auto {uuid} --parent 0000:41:00.4 --type nvidia-472",
        f"mdevctl start {uuid}",
    )


def test_transient_devices_are_created_and_not_defined(one: HostConsole) -> None:
    (plan,) = create(one, "gpu-01", A100, "20C", persistent=False)
    assert [s.call for s in plan.steps if isinstance(s, DeviceStep)] == ["create"]
    assert (plan.after["persistent"], plan.after["autostart"]) == (False, None)
    assert "(transient)" in plan.effect[0]
    assert one.apply(plan).ok
    found = one.host("gpu-01").find_mdev(key(plan, "uuid"))
    assert found is not None
    assert (found[1].active, found[1].persistent) == (True, False)


def test_the_same_plan_twice_is_the_same_plan(one: HostConsole) -> None:
    again = HostConsole(one.cloud, one.journal.path.parent).read()
    assert [p.hash for p in create(one, "gpu-01", A100, "10C", 4)] == [
        p.hash for p in create(again, "gpu-01", A100, "10C", 4)
    ]


def test_a_gpu_without_functions_takes_several_on_itself(fleet: HostConsole) -> None:
    (plan,) = create(fleet, "gpu-05", "41:00.0", "T4-4Q")
    assert key(plan, "function") == "0000:41:00.0"
    assert plan.effect[1] == "GPU 0000:41:00.0 will run T4-4Q: after this one it is full, 4 is its real maximum"
    assert not any("sriov-manage" in line for line in plan.effect)
    assert fleet.apply(plan).ok
    fleet.read()
    assert refusal(fleet, "gpu-05", "41:00.0", "T4-4Q")[1].endswith("all 4 of its maximum are created")


def test_several_on_one_function_get_uuids_of_their_own(tmp_path: Path) -> None:
    scenario = ONE_A100.replace('"A100-40", types = ["A100-20C"]', '"T4", types = ["T4-4Q"]')
    console = HostConsole(demo_of(tmp_path, scenario), tmp_path / "j").read()
    plans = create(console, "gpu-01", A100, "T4-4Q", 4)
    assert len({key(p, "uuid") for p in plans}) == 4
    assert {key(p, "function") for p in plans} == {A100}
    assert all(o.ok for o in console.apply_all(plans))


@pytest.mark.parametrize(
    ("args", "more", "exit", "says"),
    [
        (("gpu-09", A100, "20C"), {}, 2, "no host is called 'gpu-09'; is it gpu-0"),
        (("gpu-01", "99:00.0", "20C"), {}, 2, "gpu-01 has no GPU at 0000:99:00.0"),
        (("gpu-01", A100, "A100-30C"), {}, 2, "has no vGPU type 'A100-30C'; is it A100-"),
        (("gpu-01", A100, "20C", 0), {}, 2, "0 devices cannot be made"),
        (("gpu-04", A100, "10C"), {}, 3, "the GPUs of gpu-04 are not known"),
        (
            ("gpu-02", "81:00.0", "20C"),
            {},
            4,
            "virtual functions are off: enable them first: vgpu-console sriov enable",
        ),
        (("gpu-06", A100, "L40S-12Q"), {}, 4, "no mediated devices (vendor VFIO): a vGPU there is a type set on"),
        (("gpu-02", A100, "10C"), {}, 4, "GPU runs A100-20C; free its 1 mdev to change size"),
        (("gpu-02", A100, "20C", 2), {"function": "41:00.5"}, 2, "for one device only"),
        (("gpu-02", A100, "20C"), {"function": "41:00.0"}, 2, "is the physical function of the GPU"),
        (("gpu-02", A100, "20C"), {"function": "81:00.4"}, 2, "has no function 0000:81:00.4; enabled are 0000:41:00.4"),
        (("gpu-02", A100, "20C"), {"function": "there"}, 2, "'there' is no PCI address"),
        (("gpu-02", A100, "20C"), {"uuid": "not-a-uuid"}, 2, "is no uuid for a device"),
        (("gpu-01", A100, "20C"), {"function": "41:00.4"}, 4, "held by server vm-train-1 of project ml-research"),
        (("gpu-02", A100, "20C"), {"function": "41:00.4"}, 4, "lives on it, held by nobody"),
        (("gpu-05", A100, "T4-4Q"), {"function": "41:00.4"}, 2, "has no virtual functions"),
    ],
)
def test_what_cannot_be_planned_says_why(
    fleet: HostConsole, args: tuple[Any, ...], more: dict[str, Any], exit: int, says: str
) -> None:
    given, message = refusal(fleet, *args, **more)
    assert says in message
    assert given == exit


def test_a_function_can_be_chosen(fleet: HostConsole) -> None:
    (plan,) = create(fleet, "gpu-02", A100, "20C", function="pci_0000_41_01_3")
    assert key(plan, "function") == "0000:41:01.3"
    assert fleet.apply(plan).ok


def test_a_uuid_that_is_taken_names_its_holder(fleet: HostConsole) -> None:
    taken = next(m.uuid for m in fleet.snapshot.mdevs if m.server == "vm-train-1")
    exit, message = refusal(fleet, "gpu-01", "81:00.0", "20C", uuid=taken)
    assert exit == 4  # the GPU is full: said first
    fleet.host("gpu-01").gpus[1].claimed.clear()
    other = next(m for m in fleet.snapshot.mdevs if m.host == "gpu-02")
    exit, message = refusal(fleet, "gpu-02", A100, "20C", uuid=other.uuid)
    assert (exit, message) == (4, f"{other.uuid} is taken on gpu-02: nvidia-472 on 0000:41:00.4")
    (plan,) = create(fleet, "gpu-02", A100, "20C", uuid=taken)
    assert check(plan, "mdev.uuid-free").evidence.startswith("a device of gpu-01 has the same uuid")


def test_a_uuid_made_up_never_is_one_that_a_guest_has_lost(one: HostConsole) -> None:
    first = key(create(one, "gpu-01", A100, "20C")[0], "uuid")
    libvirt = one.facts.libvirt["gpu-01"]
    guest = DomainFacts(uuid="11111111-0000-4000-8000-000000000001", name="instance-0000002a", mdevs=(first,))
    lost = msgspec.structs.replace(libvirt, domains=(guest,))
    one.facts = msgspec.structs.replace(one.facts, libvirt={"gpu-01": lost})
    one.join()
    assert key(create(one, "gpu-01", A100, "20C")[0], "uuid") != first
    (repair,) = create(one, "gpu-01", A100, "20C", uuid=first)
    assert repair.after["held_by"] == guest.uuid
    assert check(repair, "mdev.uuid-free").status == "warn"
    assert "domain instance-0000002a" in check(repair, "mdev.uuid-free").evidence
    assert repair.danger == "risk"


def test_a_type_that_nova_does_not_make_costs_nova_its_providers(one: HostConsole) -> None:
    (plan,) = create(one, "gpu-01", A100, "10C")
    found = check(plan, "mdev.nova-type")
    assert (found.status, plan.danger) == ("warn", "risk")
    assert "nova.conf gives 0000:41:00.4 A100-20C: Nova will not use this device" in found.evidence
    assert "drops the 16 providers" in found.evidence
    assert "Placement then offers 0 on this GPU; it could hold 2" in plan.effect
    assert one.apply(plan, accept=False).message.startswith("needs to be accepted: mdev.nova-type")


def test_what_nova_is_said_to_offer_is_what_it_then_offers(one: HostConsole) -> None:
    for wanted in ("20C", "20C"):
        (plan,) = create(one, "gpu-01", A100, wanted)
        assert one.apply(plan).ok
        one.cloud.compute.update_inventories(one.host("gpu-01"))
        one.read()
        host = one.snapshot.host("gpu-01")
        assert host is not None
        offers = nova_offers(host, devices_of(one.snapshot, "gpu-01"))
        assert offers is not None
        there = {p.device: i.total for p in one.snapshot.providers for i in p.inventories or () if p.device}
        assert there == {f: n for f, n in offers.totals.items() if n}
    assert len(there) == 2


def test_traits_set_by_hand_are_missed_before_they_are_lost(one: HostConsole) -> None:
    _, second = create(one, "gpu-01", A100, "20C", 2)
    assert any("traits that were put on them by hand are lost" in line for line in second.effect)


def test_a_cap_for_the_host_is_counted_over_all_gpus(tmp_path: Path) -> None:
    scenario = ONE_A100.replace(
        'gpus = [{ board = "A100-40", types = ["A100-20C"] }]',
        'gpus = [{ board = "A100-40", types = ["A100-20C"] }]\nmax_instances = { "A100-20C" = 1 }',
    )
    console = HostConsole(demo_of(tmp_path, scenario), tmp_path / "j").read()
    first, second = create(console, "gpu-01", A100, "20C", 2)
    found = check(second, "mdev.max-instances")
    assert found.status == "warn"
    assert found.evidence.startswith("max_instances 1 for A100-20C on the whole host; 0 there, 2 then: Nova keeps 1")
    assert any(line.startswith("Nova offers 1 on the whole host then (max_instances)") for line in second.effect)
    (alone,) = create(console, "gpu-01", A100, "20C")
    assert check(alone, "mdev.max-instances").status == "pass"
    assert first.hash == alone.hash  # what is done to the world is the same


def test_an_old_libvirt_is_told_apart(one: HostConsole) -> None:
    def with_version(version: str | None, **more: Any) -> Plan:
        facts = msgspec.structs.replace(one.facts.libvirt["gpu-01"], libvirt_version=version, **more)
        one.facts = msgspec.structs.replace(one.facts, libvirt={"gpu-01": facts})
        return create(one.join(), "gpu-01", A100, "20C")[0]

    assert check(with_version("7.0.0"), "mdev.defined-visible").status == "fail"
    between = with_version("7.5.0")
    assert check(between, "mdev.defined-visible").status == "warn"
    assert [s.call for s in between.steps if isinstance(s, DeviceStep)] == ["define", "start"]
    assert (between.after["persistent"], between.after["autostart"]) == (None, None)
    assert between.commands[2].endswith("mdev_" + key(between, "uuid").replace("-", "_"))
    assert check(with_version(None), "mdev.defined-visible").status == "unknown"
    blind = with_version("10.0.0", defined_visible=False)
    assert "one may be there unseen" in check(blind, "mdev.defined-visible").evidence
    skipped = with_version("10.0.0", defined_visible=True, skipped=("mdev_x: no uuid",))
    assert check(skipped, "mdev.function-free").status == "unknown"


def test_without_ssh_the_maximum_is_the_tables_and_novas_side_is_unknown(one: HostConsole) -> None:
    one.without("ssh", "gpu-01")
    plans = create(one, "gpu-01", A100, "20C", 2)
    assert "the real maximum is 2 (bundled table)" in check(plans[0], "mdev.room").evidence
    assert check(plans[0], "mdev.nova-type").status == "unknown"
    assert any("nova.conf of gpu-01 could not be read" in line for line in plans[0].effect)
    assert refusal(one, "gpu-01", A100, "20C", 3)[0] == 4


def test_without_libvirt_nothing_is_planned(one: HostConsole) -> None:
    one.without("libvirt", "gpu-01")
    exit, message = refusal(one, "gpu-01", A100, "20C")
    assert (exit, message) == (3, "the devices of gpu-01 are not known: not read: libvirt: gpu-01: no route to host")


def test_stale_facts_and_a_failed_reading_forbid_it(one: HostConsole) -> None:
    def first(plans: tuple[Plan, ...]) -> Plan:
        return plans[0]

    late = first(plan_create(one.facts, one.snapshot, "gpu-01", A100, "20C", now=NOW + 500))
    assert check(late, "mdev.fresh").status == "fail"
    assert "refresh first" in check(late, "mdev.fresh").evidence
    statuses = tuple(
        msgspec.structs.replace(s, error="connection closed due to keepalive timeout") if s.host else s
        for s in one.facts.statuses
    )
    one.facts = msgspec.structs.replace(one.facts, statuses=statuses)
    failed = first(create(one.join(), "gpu-01", A100, "20C"))
    assert "keepalive timeout" in check(failed, "mdev.fresh").evidence
    assert one.apply(failed).result == "refused"


def test_a_live_migration_and_a_server_on_the_way_are_told(fleet: HostConsole) -> None:
    moving = Migration(
        uuid="m", server_id="s", server="vm-train-9", project="ml-research", source="gpu-01", destination="gpu-02",
        status="running", running=True, vgpu=True,
    )  # fmt: skip
    fleet.snapshot = msgspec.structs.replace(fleet.snapshot, migrations=(*fleet.snapshot.migrations, moving))
    found = check(create(fleet, "gpu-02", A100, "20C")[0], "mdev.migration")
    assert found.status == "warn"
    assert "vm-train-9 of project ml-research gpu-01 -> gpu-02" in found.evidence
    fleet.read()
    server = next(s for s in fleet.snapshot.servers if s.name == "vm-train-1")
    provider = fleet.cloud.state.placement.by_name["gpu-02_pci_0000_41_00_6"]
    fleet.cloud.state.placement.allocate("booting", {provider.uuid: {"VGPU": 1}}, server.project_id, "admin")
    (plan,) = create(fleet.read(), "gpu-02", A100, "20C")
    claimed = check(plan, "mdev.claimed")
    assert (claimed.status, plan.danger) == ("warn", "risk")
    assert "booting, neither a server nor a migration that Nova tells of" in claimed.evidence


def test_a_defined_device_of_another_size_is_in_the_way_at_the_next_start(tmp_path: Path) -> None:
    scenario = ONE_A100 + '[[mdev]]\nhost = "gpu-01"\ngpu = 0\ntype = "A100-10C"\nfunction = 3\nactive = false\n'
    console = HostConsole(demo_of(tmp_path, scenario), tmp_path / "j").read()
    (plan,) = create(console, "gpu-01", A100, "20C")
    found = check(plan, "mdev.one-size")
    assert (found.status, plan.danger) == ("warn", "risk")
    assert "1 device of another size (A100-10C) is defined here and cannot start any more" in found.evidence


def offering(console: HostConsole, offers: dict[str, str], mdevs: tuple[MdevFacts, ...] = ()) -> HostConsole:
    """The host's facts as if every free function offered exactly these types: id -> name."""
    libvirt = console.facts.libvirt["gpu-01"]
    taken = {m.parent for m in mdevs}
    devices = tuple(
        msgspec.structs.replace(
            d,
            types=tuple(
                MdevTypeOffer(type_id=t, name=name, available_instances=0 if d.address in taken else 1)
                for t, name in offers.items()
            ),
        )
        if d.physical_function
        else d
        for d in libvirt.devices
    )
    facts = msgspec.structs.replace(libvirt, devices=devices, mdevs=mdevs)
    console.facts = msgspec.structs.replace(console.facts, libvirt={"gpu-01": facts}, ssh={})
    return console.join()


def test_mixed_sizes_are_allowed_as_far_as_the_driver_offers_them(one: HostConsole) -> None:
    there = MdevFacts(uuid="0e0e0e0e-0000-4000-8000-000000000001", type_id="nvidia-472", parent="0000:41:00.4")
    console = offering(one, {"nvidia-472": "GRID A100-20C", "nvidia-471": "GRID A100-10C"}, (there,))
    plans = create(console, "gpu-01", A100, "10C", 2)
    assert [key(p, "function") for p in plans] == ["0000:41:00.5", "0000:41:00.6"]
    assert check(plans[0], "mdev.one-size").status == "warn"
    assert "it carries A100-20C; where each fits only the driver knows" in check(plans[0], "mdev.one-size").evidence
    exit, message = refusal(console, "gpu-01", A100, "10C", 3)
    assert (exit, message.rpartition(": ")[2]) == (4, "the framebuffer that is left ends it")


def test_an_idle_gpu_says_whether_it_takes_one_size_or_several(one: HostConsole) -> None:
    (plan,) = create(one, "gpu-01", A100, "20C")
    assert check(plan, "mdev.one-size").evidence.endswith("from now on it takes the size of A100-20C only")
    mixed = msgspec.structs.replace(one.facts.ssh["gpu-01"], nvidia_gpus=(NvidiaGpu(address=A100, mixed_sizes=True),))
    one.facts = msgspec.structs.replace(one.facts, ssh={"gpu-01": mixed})
    (plan,) = create(one.join(), "gpu-01", A100, "20C")
    assert check(plan, "mdev.one-size").evidence.endswith("is set to take several sizes at once")


def test_mig_backed_types_can_be_tried_when_somebody_takes_it_upon_themselves(one: HostConsole) -> None:
    console = offering(one, {"nvidia-476": "GRID A100-3-20C"})
    (plan,) = create(console, "gpu-01", A100, "A100-3-20C")
    assert check(plan, "mdev.room").status == "unknown"
    assert "MIG-backed: each takes a GPU instance" in check(plan, "mdev.room").evidence
    assert "how many more can be made after this one is not known" in plan.effect[1]
    assert refusal(console, "gpu-01", A100, "A100-3-20C", 17)[0] == 4


def test_a_parent_outside_pci_goes_by_libvirts_name(one: HostConsole) -> None:
    parent = PciDevice(
        address="mtty_mtty", name="mtty_mtty", types=(MdevTypeOffer(type_id="mtty-2", available_instances=12),)
    )
    facts = LibvirtFacts(host="gpu-01", libvirt_version="10.0.0", devices=(parent,))
    one.facts = msgspec.structs.replace(one.facts, libvirt={"gpu-01": facts}, ssh={})
    (plan,) = create(one.join(), "gpu-01", "mtty_mtty", "mtty-2")
    assert "<parent>mtty_mtty</parent>" in plan.commands[1]
    assert any("--parent mtty --type mtty-2" in c for c in plan.commands)
    assert check(plan, "mdev.room").status == "unknown"


def test_a_world_that_moved_stops_it_and_the_rest_is_not_begun(one: HostConsole) -> None:
    plans = create(one, "gpu-01", A100, "10C", 3)
    gpu = one.host("gpu-01").gpus[0]
    gpu.create("0e0e0e0e-0000-4000-8000-000000000001", "nvidia-471", "0000:41:00.5", persistent=False)
    outcomes = one.apply_all(plans)
    assert [o.result for o in outcomes] == ["done", "moved", "refused"]
    assert "beside" in outcomes[1].message
    assert outcomes[2].message == "not begun: the one before it failed"


def test_a_refusal_of_the_kernel_is_passed_on_and_told_what_is_left(one: HostConsole) -> None:
    (plan,) = create(one, "gpu-01", A100, "20C")
    gpu = one.host("gpu-01").gpus[0]
    gpu.create("0e0e0e0e-0000-4000-8000-000000000001", "nvidia-473", "0000:41:01.7", persistent=False)
    outcome = one.apply(plan)
    assert outcome.result == "failed"
    assert "No available instances of nvidia-472 on 0000:41:00.4" in outcome.message
    assert outcome.observed is not None
    assert outcome.observed["state"] == "defined"


def test_a_read_only_console_plans_and_does_nothing(tmp_path: Path) -> None:
    console = HostConsole(demo_of(tmp_path, ONE_A100), tmp_path / "j", read_only=True).read()
    outcome = console.apply(create(console, "gpu-01", A100, "20C")[0])
    assert (outcome.result, outcome.message) == ("refused", "this console is read-only")
    assert not console.host("gpu-01").gpus[0].mdevs


def test_every_type_says_why_not_more(fleet: HostConsole) -> None:
    for host in fleet.snapshot.hosts:
        for gpu in host.gpus or ():
            rooms = type_rooms(fleet.snapshot, host.name, gpu.address)
            assert rooms
            assert all(r.why_not for r in rooms)
