"""Why a host gets no server: one fact of a host in order is changed, and the chain tells that one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.explain.base import (
    HERE,
    THERE,
    base,
    commands,
    difference,
    host,
    of_flavor,
    of_host_providers,
    said,
    statuses,
    without_providers,
)
from tests.rules.migration.two_hosts import (
    FUNCTIONS,
    MDEV,
    PF,
    TYPE,
    TYPE_NAME,
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
    vf,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, MdevFacts, MdevTypeOffer, PciSysfs
from vgpu_console.model.placement import Allocation, Inventory

OTHER_TYPE = "nvidia-471"
NAMES = {TYPE: TYPE_NAME, OTHER_TYPE: "GRID A100-10C"}


def silent(kind: str) -> Change:
    """The host does not answer by that way."""

    def change(known: Facts) -> Facts:
        kept = {h: f for h, f in getattr(known, kind).items() if h != THERE}
        told = msgspec.structs.replace(known, **{kind: kept})
        return of_status(kind, THERE, error="gpu-02: no route to host", fetched_at=None)(told)

    return change


def functions_off(known: Facts) -> Facts:
    """NVIDIA's program has not run since the boot."""
    board = next(d for d in known.libvirt[THERE].devices if d.address == PF)
    pci = (PciSysfs(address=PF, vendor_id="10de", product_id="20f1", sriov_numvfs=0, sriov_totalvfs=4),)
    dark = msgspec.structs.replace(board, virtual_functions=())
    return all_of(of_libvirt(THERE, devices=(dark,)), of_ssh(THERE, pci=pci, types=()))(known)


def of_offers(*types: str) -> Change:
    """The functions offer other types."""

    def change(known: Facts) -> Facts:
        devices = tuple(
            msgspec.structs.replace(
                d, types=tuple(MdevTypeOffer(type_id=t, name=NAMES[t], available_instances=1) for t in types)
            )
            if d.address in FUNCTIONS
            else d
            for d in known.libvirt[THERE].devices
        )
        sizes = {TYPE: 20480, OTHER_TYPE: 10240}
        told = tuple(
            msgspec.structs.replace(t, type_id=x, name=NAMES[x], framebuffer_mib=sizes[x])
            for t in known.ssh[THERE].types
            for x in types
        )
        return all_of(of_libvirt(THERE, devices=devices), of_ssh(THERE, types=told))(known)

    return change


def with_device(type_id: str = TYPE, *, active: bool = True, parent: str | None = vf(0), uuid: str = MDEV) -> Change:
    """A free device on the host; one of another type is offered beside."""

    def change(known: Facts) -> Facts:
        if type_id != TYPE:
            known = of_offers(TYPE, type_id)(known)
        device = MdevFacts(uuid=uuid, type_id=type_id, parent=parent, active=active, persistent=True)
        return of_libvirt(THERE, mdevs=(*known.libvirt[THERE].mdevs, device))(known)

    return change


def full(known: Facts) -> Facts:
    """Two guests hold all that the GPU carries, and Placement knows it."""
    uuids = (MDEV, MDEV.replace("1", "2"))
    mdevs = tuple(MdevFacts(uuid=u, type_id=TYPE, parent=vf(n), active=True) for n, u in enumerate(uuids))
    guests = tuple(DomainFacts(uuid=f"guest-{n}", name=f"g{n}", active=True, mdevs=(u,)) for n, u in enumerate(uuids))
    held = of_host_providers(THERE, allocations=(Allocation("x", {"VGPU": 1}),))
    return all_of(of_libvirt(THERE, mdevs=mdevs, domains=guests), held)(known)


def with_all_functions(known: Facts) -> Facts:
    """nova.conf names no functions, so each of the four has a provider, and the GPU carries two."""
    assert known.placement is not None
    mine = providers(THERE)
    rows = (*(p for p in known.placement.providers if p.root_uuid != mine[0].uuid), *mine)
    told = msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))
    return of_conf(THERE, **{f"mdev_{TYPE}__device_addresses": None})(told)


def with_gone(known: Facts) -> Facts:
    """Placement keeps providers of functions that are not there."""
    mine = [p for p in providers(THERE) if p.parent_uuid]
    gone = [msgspec.structs.replace(p, name=p.name.replace("_41_", "_61_"), uuid=f"{p.uuid}-gone") for p in mine]
    assert known.placement is not None
    rows = (*known.placement.providers, *gone)
    return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))


NO_GPU = {"gpus": "fail", "vfs": None, "nova-conf": None, "room": None}

TABLE: list[tuple[str, Change, dict[str, Any], str, str]] = [
    ("service down", of_service(THERE, state="down"), {"service": "fail"}, "service", "nova-compute is down"),
    (
        "service disabled",
        of_service(THERE, status="disabled", disabled_reason="ticket 4711"),
        {"service": "fail"},
        "service",
        "nova-compute is disabled: ticket 4711",
    ),
    (
        "no service",
        lambda k: of_nova(services=(), hypervisors=())(k),
        {"service": "unknown"},
        "service",
        "not known to Nova",
    ),
    (
        "libvirt and SSH are silent",
        all_of(silent("libvirt"), silent("ssh")),
        {"gpus": "unknown", "vfs": None, "nova-conf": None, "room": None},
        "gpus",
        "libvirt of gpu-02: no route to host",
    ),
    (
        "no GPU",
        all_of(of_libvirt(THERE, devices=()), of_ssh(THERE, pci=(), types=(), nvidia_gpus=())),
        {**NO_GPU, "false-offers": "warn"},
        "gpus",
        "show no GPU on it",
    ),
    (
        "functions are off",
        functions_off,
        {"vfs": "fail", "false-offers": "warn", "room": "fail"},
        "vfs",
        "the virtual functions of 0000:41:00.0 are off",
    ),
    (
        "nova.conf cannot be read",
        of_ssh(THERE, nova_conf=None),
        {"nova-conf": "unknown", "room": "unknown"},
        "nova-conf",
        "nova.conf is not readable there",
    ),
    (
        "no type is enabled",
        of_conf(THERE, devices__enabled_mdev_types=None),
        {"nova-conf": "fail", "room": None},
        "nova-conf",
        "no [devices] enabled_mdev_types",
    ),
    (
        "another type is enabled than the GPU has",
        of_conf(THERE, devices__enabled_mdev_types="nvidia-999"),
        {"nova-conf": "fail", "room": None},
        "nova-conf",
        "0000:41:00.0 does not know nvidia-999",
    ),
    (
        "the type's functions are another GPU's",
        of_conf(THERE, **{f"mdev_{TYPE}__device_addresses": "0000:81:00.4"}),
        {"nova-conf": "fail", "room": None},
        "nova-conf",
        "nova.conf gives no type to 0000:41:00.0",
    ),
    (
        "a free device of another type",
        with_device(OTHER_TYPE),
        {"size": "fail", "room": "fail"},
        "size",
        "carries 1 A100-10C (all free) and makes no A100-20C beside them",
    ),
    (
        "a device that is defined and not started",
        with_device(active=False, parent=vf(3)),
        {"defined": "warn"},
        "defined",
        "1 device defined and not running (0000:41:00.7): Nova counts such a function twice",
    ),
    (
        "Placement is silent",
        lambda k: of_status("placement", error="no answer within 10 s")(msgspec.structs.replace(k, placement=None)),
        {"providers": "unknown", "flavors": None},
        "providers",
        "Placement: no answer within 10 s",
    ),
    (
        "no device provider",
        without_providers(THERE),
        {"providers": "fail", "flavors": None},
        "providers",
        "Placement has no vGPU of it",
    ),
    (
        "all is reserved",
        of_host_providers(THERE, inventories=(Inventory(resource_class="VGPU", total=1, reserved=1),)),
        {"providers": "fail", "flavors": None},
        "providers",
        "all 2 of its vGPUs are reserved in Placement",
    ),
    ("full", full, {"room": "fail"}, "room", "nothing is free: 0000:41:00.0: all 2 A100-20C are held"),
    (
        "Placement has nothing left though the GPU has",
        of_host_providers(THERE, allocations=(Allocation("x", {"VGPU": 1}),)),
        {"room": "fail"},
        "room",
        "its GPUs have room for 2, but Placement has nothing left of it",
    ),
    (
        "more offered than real",
        with_all_functions,
        {"over-reported": "warn"},
        "over-reported",
        "Placement offers 0000:41:00.0: 2 more than it can carry",
    ),
    (
        "a cap for the whole host",
        of_conf(THERE, **{f"mdev_{TYPE}__max_instances": "1"}),
        {"max-instances": "warn"},
        "max-instances",
        "max_instances 1 leaves 1 of 2 real vGPUs unused",
    ),
    (
        "providers of functions that are gone",
        with_gone,
        {"false-offers": "warn"},
        "false-offers",
        "Placement offers 4 devices that the host does not have",
    ),
    (
        "kept for other projects",
        of_nova(aggregates=(aggregate(THERE, filter_tenant_id="p-other"),)),
        {"aggregate": "warn"},
        "aggregate",
        "aggregate gpus keeps it for p-other (filter_tenant_id)",
    ),
    ("aggregates unread", of_nova(aggregates=None), {"aggregate": "unknown"}, "aggregate", "could not be read"),
    (
        "no flavor asks for what it has",
        of_flavor(replace=True),
        {"flavors": "warn"},
        "flavors",
        "no flavor asks for VGPU",
    ),
    (
        "no flavor fits its traits",
        of_providers(lambda p: msgspec.structs.replace(p, traits=())),
        {"flavors": "warn"},
        "flavors",
        "they want CUSTOM_A100_20C, which no device of it has",
    ),
]


def test_a_host_in_order_takes_servers() -> None:
    found = host(base())

    assert (found.verdict, found.summary, found.mends) == ("pass", "takes servers with vGPUs", ())
    assert {s.source: s.age_s for s in found.steps} == {"nova": 3.0, "libvirt": 7.0, "ssh": 7.0, "placement": 3.0}


@pytest.mark.parametrize(("change", "expected", "word", "words"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_fact_changes_its_own_steps(change: Change, expected: dict[str, Any], word: str, words: str) -> None:
    found = host(change(base()))

    assert difference(host(base()), found) == expected
    assert words in said(found, word)
    assert found.verdict == next(s for s in ("fail", "unknown", "warn", "pass") if s in statuses(found).values())


@pytest.mark.parametrize(
    ("change", "command", "action"),
    [
        (
            of_service(THERE, status="disabled"),
            "openstack compute service set --enable gpu-02 nova-compute",
            "service.enable",
        ),
        (functions_off, "vgpu-console sriov enable gpu-02 --gpu 0000:41:00.0", "sriov.enable"),
        (with_device(OTHER_TYPE), f"vgpu-console mdev remove gpu-02 {MDEV}", "mdev.remove"),
        (with_device(active=False, parent=vf(3)), f"vgpu-console mdev start gpu-02 {MDEV}", "mdev.start"),
        (of_conf(THERE, devices__enabled_mdev_types=None), "vgpu-console nova-conf gpu-02 --snippet", ""),
        (full, "vgpu-console servers --host gpu-02", ""),
    ],
)
def test_the_command_and_the_action_that_mend_it(change: Change, command: str, action: str) -> None:
    found = host(change(base()))

    assert command in commands(found)
    assert action in [m.action for m in found.mends]


def test_a_device_whose_function_is_gone_is_why_nova_compute_does_not_start() -> None:
    lost = all_of(with_device(active=False, parent=None), of_service(THERE, state="down"))

    found = host(lost(base()))

    assert "1 defined device whose function is gone keeps it from starting" in said(found, "service")
    assert commands(found)[0] == f"vgpu-console mdev remove gpu-02 {MDEV}"


def test_a_held_device_of_another_type_is_not_proposed_for_removal() -> None:
    guest = DomainFacts(uuid="guest-1", name="g", active=True, mdevs=(MDEV,))
    found = host(all_of(with_device(OTHER_TYPE), of_libvirt(THERE, domains=(guest,)))(base()))

    assert statuses(found)["size"] == "fail"
    assert not [m for m in found.mends if m.action == "mdev.remove"]


def vendor(known: Facts, name: str = THERE, *, typed: int = 1, **conf: str) -> Facts:
    """The GPU makes vGPUs by the vendor VFIO framework; the first functions have a type."""
    pci = [PciSysfs(address=PF, vendor_id="10de", product_id="26b9", sriov_numvfs=4, sriov_totalvfs=4)]
    pci += [
        PciSysfs(
            address=a,
            vendor_id="10de",
            product_id="26b9",
            physical_function=PF,
            current_vgpu_type=1155 if n < typed else 0,
            creatable_vgpu_types=((1155, "NVIDIA L40S-12Q"),),
        )
        for n, a in enumerate(FUNCTIONS)
    ]
    devices = tuple(msgspec.structs.replace(d, types=()) for d in known.libvirt[name].devices)
    told = all_of(of_libvirt(name, devices=devices), of_ssh(name, pci=tuple(pci), types=(), mdev_bus=False))(known)
    kept = {k.replace("__", "."): v for k, v in conf.items()}
    return of_ssh(name, nova_conf=kept)(told)


SPEC = '{"vendor_id": "10de", "address": "0000:41:00.*", "managed": "no", "live_migratable": "yes"}'


@pytest.mark.parametrize(
    ("known", "word", "status", "words"),
    [
        (
            vendor(base(), devices__enabled_mdev_types=TYPE),
            "nova-conf",
            "fail",
            "this driver makes vGPUs by vendor VFIO: Nova finds no mediated devices",
        ),
        (vendor(base()), "nova-conf", "fail", "nova.conf has no [pci] device_spec"),
        (
            vendor(base(), typed=0, pci__device_spec=SPEC),
            "vgpu-type",
            "fail",
            "no function of 0000:41:00.0 has a vGPU type (it is lost at each boot)",
        ),
        (
            vendor(base(), pci__device_spec=SPEC),
            "vgpu-type",
            "warn",
            "device_spec matches 3 functions without a type",
        ),
    ],
)
def test_the_vendor_framework(known: Facts, word: str, status: str, words: str) -> None:
    found = host(known)

    assert statuses(found)[word] == status
    assert words in said(found, word)


def test_of_two_gpus_one_that_is_off_only_warns() -> None:
    known = base()
    board = next(d for d in known.libvirt[THERE].devices if d.address == PF)
    second = msgspec.structs.replace(board, address="0000:81:00.0", virtual_functions=())
    found = host(of_libvirt(THERE, devices=(*known.libvirt[THERE].devices, second))(known))

    assert statuses(found)["vfs"] == "warn"
    assert statuses(found)["room"] == "pass"


def test_an_older_answer_is_told_as_one() -> None:
    found = host(of_status("libvirt", THERE, error="gpu-02: no route to host")(base()))

    assert statuses(found)["gpus"] == "warn"
    assert "as of an earlier answer" in said(found, "gpus")
    assert statuses(found)["room"] == "unknown"


def test_the_other_host_is_another_matter() -> None:
    assert host(of_service(THERE, state="down")(base()), HERE).verdict == "pass"
