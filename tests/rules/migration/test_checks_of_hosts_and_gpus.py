"""Every pre-check of the two hosts, their GPUs and devices: one changed fact flips exactly one check."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.migration.two_hosts import (
    FUNCTIONS,
    HERE,
    MDEV,
    OTHER,
    PF,
    SERVER,
    THERE,
    TYPE,
    TYPE_NAME,
    Change,
    all_of,
    candidates,
    difference,
    evidence,
    facts,
    look,
    move,
    of_conf,
    of_libvirt,
    of_nova,
    of_providers,
    of_server,
    of_ssh,
    server,
    statuses,
    vf,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, MdevFacts, MdevTypeOffer, NvidiaGpu
from vgpu_console.model.nova import Hypervisor
from vgpu_console.model.placement import Allocation

RHEL96 = {"os_id": "rhel", "os_version": "9.6", "os_name": "Red Hat Enterprise Linux 9.6"}
RHEL94 = {"os_id": "rhel", "os_version": "9.4", "os_name": "Red Hat Enterprise Linux 9.4"}


def both(**changes: Any) -> Change:
    """The same words of both hosts' shells."""
    return all_of(of_ssh(HERE, **changes), of_ssh(THERE, **changes))


def modes(host: str, **changes: Any) -> Change:
    """Another answer of nvidia-smi."""
    known: dict[str, Any] = {"address": PF, "name": "NVIDIA A100-PCIE-40GB", "ecc_current": True, "mig": False}
    return of_ssh(host, nvidia_gpus=(NvidiaGpu(**(known | changes)),))


def product(host: str, product_id: str, name: str) -> Change:
    """Another GPU board in a host, with the same types."""

    def change(known: Facts) -> Facts:
        devices = tuple(
            msgspec.structs.replace(d, product_id=product_id, product=name) for d in known.libvirt[host].devices
        )
        sysfs = tuple(msgspec.structs.replace(p, product_id=product_id) for p in known.ssh[host].pci)
        return all_of(of_libvirt(host, devices=devices), of_ssh(host, pci=sysfs))(known)

    return change


def named(host: str, name: str) -> Change:
    """The type's name as a host's driver writes it."""

    def change(known: Facts) -> Facts:
        devices = tuple(
            msgspec.structs.replace(d, types=tuple(msgspec.structs.replace(t, name=name) for t in d.types))
            for d in known.libvirt[host].devices
        )
        types = tuple(msgspec.structs.replace(t, name=name) for t in known.ssh[host].types)
        return all_of(of_libvirt(host, devices=devices), of_ssh(host, types=types))(known)

    return change


def offers(*available: int | None) -> Change:
    """How many of the type each function of the destination still offers."""

    def change(known: Facts) -> Facts:
        left = dict(zip(FUNCTIONS, available, strict=True))
        devices = tuple(
            msgspec.structs.replace(
                d, types=(MdevTypeOffer(type_id=TYPE, name=TYPE_NAME, available_instances=left[d.address]),)
            )
            if d.address in left
            else d
            for d in known.libvirt[THERE].devices
        )
        return of_libvirt(THERE, devices=devices)(known)

    return change


def devices_there(*parents: str, held: bool = True, active: bool = True) -> Change:
    """Devices on these functions of the destination, held by another server's guest or free."""
    made = tuple(
        MdevFacts(uuid=f"be12f0aa-0000-4000-8000-00000000000{n}", type_id=TYPE, parent=p, active=active)
        for n, p in enumerate(parents)
    )
    domain = DomainFacts(uuid=OTHER, name="instance-00000009", active=True, mdevs=tuple(m.uuid for m in made))
    return of_libvirt(THERE, mdevs=made, domains=(domain,) if held else ())


ABORTED = of_nova(
    max_microversion="2.101",
    migrations=(
        msgspec.structs.replace(
            move(7, HERE, THERE, "cancelled"), created_at="2027-01-15T07:58:00Z", updated_at="2027-01-15T07:59:00Z"
        ),
    ),
)
"""Another server's migration to the destination that was aborted while it waited, a minute ago."""


def taken_there(*functions: int, by: str = OTHER) -> Change:
    """Allocations of another consumer on these functions of the destination."""
    names = {f"{THERE}-vf{n}" for n in functions}
    return of_providers(
        lambda p: msgspec.structs.replace(p, allocations=(Allocation(by, {"VGPU": 1}),)) if p.uuid in names else p
    )


def without_provider(*functions: int) -> Change:
    """These functions of the destination have none: nova.conf's cap, or Nova has not looked yet."""

    def change(known: Facts) -> Facts:
        gone = {f"{THERE}-vf{n}" for n in functions}
        assert known.placement is not None
        kept = tuple(p for p in known.placement.providers if p.uuid not in gone)
        return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=kept))

    return change


def another_guest_function(known: Facts) -> Facts:
    """The guest holds a network card's function besides."""
    (domain,) = known.libvirt[HERE].domains
    return of_libvirt(HERE, domains=(msgspec.structs.replace(domain, pci=("0000:02:00.3",)),))(known)


def second_vgpu(known: Facts) -> Facts:
    """The guest holds two vGPUs."""
    (domain,) = known.libvirt[HERE].domains
    other = MdevFacts(uuid=MDEV.replace("1", "2"), type_id=TYPE, parent=vf(1), active=True)
    return of_libvirt(
        HERE,
        mdevs=(*known.libvirt[HERE].mdevs, other),
        domains=(msgspec.structs.replace(domain, mdevs=(MDEV, other.uuid)),),
    )(known)


OLD = "5.14.0-427.13.1.el9_4.x86_64"

HOSTS: list[tuple[str, Change, dict[str, str | None]]] = [
    ("libvirt of the source too old", of_libvirt(HERE, libvirt_version="8.5.0"), {"libvirt": "fail"}),
    ("libvirt of the destination too old", of_libvirt(THERE, libvirt_version="8.5.9"), {"libvirt": "fail"}),
    ("libvirt just new enough", of_libvirt(THERE, libvirt_version="8.6.0"), {}),
    (
        "libvirt not told",
        all_of(of_libvirt(THERE, libvirt_version=None), of_ssh(THERE, libvirt_installed=None)),
        {"libvirt": "unknown"},
    ),
    (
        "QEMU of both too old",
        all_of(of_libvirt(HERE, qemu_version="8.0.5"), of_libvirt(THERE, qemu_version="8.0.5")),
        {"qemu": "fail"},
    ),
    (
        "QEMU just new enough",
        all_of(of_libvirt(HERE, qemu_version="8.1.0"), of_libvirt(THERE, qemu_version="8.1.0")),
        {},
    ),
    ("QEMU older on the destination", of_libvirt(THERE, qemu_version="8.1.0"), {"qemu-order": "fail"}),
    (
        "the same with the conductor told to skip that",
        all_of(
            of_libvirt(THERE, qemu_version="8.1.0"),
            of_conf(HERE, workarounds__skip_hypervisor_version_check_on_lm="true"),
        ),
        {"qemu-order": "warn"},
    ),
    ("QEMU newer on the destination", of_libvirt(THERE, qemu_version="10.0.0"), {}),
    (
        "QEMU told by nobody",
        all_of(of_libvirt(THERE, qemu_version=None), of_ssh(THERE, qemu_installed=None), of_nova(hypervisors=None)),
        {"qemu": "unknown"},
    ),
    ("kernel of the source too old", of_ssh(HERE, kernel="5.17.12"), {"kernel": "fail"}),
    ("kernel just new enough", both(kernel="5.18.0-1"), {}),
    ("Red Hat's kernel of 9.4", all_of(both(**RHEL94, kernel=OLD)), {"kernel": "warn"}),
    ("the same kernel on another system", both(kernel=OLD, os_id="ubuntu", os_version="22.04"), {"kernel": "fail"}),
    ("Red Hat's kernel of 9.2", both(kernel=OLD, os_id="rhel", os_version="9.2"), {"kernel": "fail"}),
    ("kernel not told", of_ssh(THERE, kernel=None), {"kernel": "unknown"}),
    ("RHEL 9.4 and 10", of_ssh(THERE, **RHEL94), {"os": "fail"}),
    ("RHEL 10 and 9.6", of_ssh(HERE, **RHEL96), {"os": "warn"}),
    ("RHEL and Ubuntu", of_ssh(THERE, os_id="ubuntu", os_version="24.04"), {"os": "warn"}),
    ("system not told", of_ssh(THERE, os_id=None), {"os": "unknown"}),
    ("another driver of the branch", of_ssh(THERE, nvidia_driver="570.86.11"), {"nvidia-driver": "fail"}),
    (
        "another driver on RHEL 9.6",
        all_of(both(**RHEL96), of_ssh(THERE, nvidia_driver="570.86.11", **RHEL96)),
        {"nvidia-driver": "warn"},
    ),
    (
        "another driver, on RHEL 9.4",
        all_of(both(**RHEL94), of_ssh(THERE, nvidia_driver="570.86.11", **RHEL94)),
        {"nvidia-driver": "fail"},
    ),
    (
        "another driver, systems not told",
        all_of(both(os_id=None), of_ssh(THERE, nvidia_driver="570.86.11", os_id=None)),
        {"nvidia-driver": "unknown", "os": "unknown"},
    ),
    ("driver not told", of_ssh(HERE, nvidia_driver=None), {"nvidia-driver": "unknown"}),
    ("another processor", of_ssh(THERE, cpu_model="AMD EPYC 7763 64-Core Processor"), {"cpu": "warn"}),
    ("processor not told", of_ssh(THERE, cpu_model=None), {"cpu": "unknown"}),
]

GPUS: list[tuple[str, Change, dict[str, str | None]]] = [
    ("another form of the board", product(THERE, "20b0", "GA100 [A100 SXM4 40GB]"), {"board": "warn"}),
    ("another memory", product(THERE, "20b5", "GA100 [A100 PCIe 80GB]"), {"board": "fail"}),
    (
        "80 GB PCIe and 94 GB NVL",
        all_of(product(HERE, "2331", "GH100 [H100 PCIe]"), product(THERE, "2321", "GH100 [H100 NVL]")),
        {"board": "fail"},
    ),
    (
        "H100 and H200",
        all_of(product(HERE, "2331", "GH100 [H100 PCIe]"), product(THERE, "2335", "GH100 [H200 SXM 141GB]")),
        {"board": "fail"},
    ),
    (
        "H100 and H800",
        all_of(product(HERE, "2331", "GH100 [H100 PCIe]"), product(THERE, "2322", "GH100 [H800 PCIe]")),
        {"board": "fail"},
    ),
    ("board named by nvidia-smi only", product(THERE, "", ""), {}),
    ("board not named", all_of(product(THERE, "", ""), modes(THERE, name="")), {"board": "unknown"}),
    ("ECC off on the destination", modes(THERE, ecc_current=False), {"ecc": "fail"}),
    ("ECC off on both", all_of(modes(HERE, ecc_current=False), modes(THERE, ecc_current=False)), {}),
    ("ECC not readable on the destination", modes(THERE, ecc_current=None), {"ecc": "unknown"}),
    ("no nvidia-smi on both", both(nvidia_gpus=()), {"ecc": "unknown"}),
    ("no ECC on such a GPU", all_of(modes(HERE, ecc_current=None), modes(THERE, ecc_current=None)), {"ecc": None}),
    ("the GPU is cut into MIG instances", modes(THERE, mig=True), {"mig": "fail"}),
    ("the source's GPU is", modes(HERE, mig=True), {}),
    ("MIG not told", modes(THERE, mig=None), {}),
    (
        "a MIG-backed type and no MIG",
        all_of(named(HERE, "GRID A100-3-20C"), named(THERE, "GRID A100-3-20C")),
        {"mig": "fail"},
    ),
    (
        "a MIG-backed type and MIG",
        all_of(named(HERE, "GRID A100-3-20C"), named(THERE, "GRID A100-3-20C"), modes(THERE, mig=True)),
        {"mig": "pass"},
    ),
    (
        "a MIG-backed type, MIG not told",
        all_of(named(HERE, "GRID A100-3-20C"), named(THERE, "GRID A100-3-20C"), modes(THERE, mig=None)),
        {"mig": "unknown"},
    ),
]

DEVICES: list[tuple[str, Change, dict[str, str | None]]] = [
    ("type of another name", named(THERE, "GRID A100-20Q"), {"type-name": "fail"}),
    ("the name with another prefix", named(THERE, "NVIDIA A100-20C"), {}),
    ("full", all_of(devices_there(vf(0), vf(1)), offers(0, 0, 0, 0), taken_there(0, 1)), {"free-slot": "fail"}),
    (
        "one place left",
        all_of(devices_there(vf(0)), offers(0, 1, 1, 1), taken_there(0)),
        {},
    ),
    (
        "full, but for free devices",
        all_of(devices_there(vf(0), vf(1), held=False), offers(0, 0, 0, 0), without_provider(2, 3)),
        {},
    ),
    (
        "the same while Placement still offers the rest",
        all_of(devices_there(vf(0), vf(1), held=False), offers(0, 0, 0, 0)),
        {"free-slot": "warn"},
    ),
    (
        "a free device that may be reserved since an abort",
        all_of(devices_there(vf(0), held=False), ABORTED),
        {"reserved-device": "warn"},
    ),
    (
        "the same, of a Nova that says so of any abort",
        all_of(devices_there(vf(0), held=False), ABORTED, of_nova(max_microversion="2.100")),
        {},
    ),
    ("an abort, and no device is free", all_of(devices_there(vf(0)), taken_there(0), ABORTED), {}),
    (
        "a free device that waits for another's migration",
        all_of(devices_there(vf(0), vf(1), held=False), offers(0, 0, 0, 0), taken_there(0, 1)),
        {"free-slot": "fail"},
    ),
    (
        "free devices that are defined, not active",
        all_of(devices_there(vf(0), vf(1), held=False, active=False), offers(0, 0, 0, 0)),
        {"free-slot": "fail"},
    ),
    (
        "places only on functions without a provider",
        all_of(offers(0, 0, 1, 1), without_provider(2, 3)),
        {"free-slot": "fail"},
    ),
    ("what functions offer not told", offers(None, None, None, None), {"free-slot": "unknown"}),
    (
        "several types and no trait",
        all_of(
            of_conf(THERE, devices__enabled_mdev_types=f"{TYPE},nvidia-471"),
            of_server(extra_specs={"resources:VGPU": "1"}),
        ),
        {"several-types": "warn"},
    ),
    ("several types and a trait", of_conf(THERE, devices__enabled_mdev_types=f"{TYPE},nvidia-471"), {}),
    (
        "several types in classes of their own",
        all_of(
            of_conf(
                THERE,
                **{"devices__enabled_mdev_types": f"{TYPE},nvidia-471", "mdev_nvidia-471__mdev_class": "CUSTOM_TEN"},
            ),
            of_server(extra_specs={"resources:VGPU": "1"}),
        ),
        {},
    ),
    ("a network function besides", another_guest_function, {"other-devices": "fail"}),
    ("two vGPUs", all_of(second_vgpu, lambda known: known), {"other-devices": "warn"}),
]


@pytest.mark.parametrize(
    ("change", "flipped"),
    [row[1:] for row in (*HOSTS, *GPUS, *DEVICES)],
    ids=[row[0] for row in (*HOSTS, *GPUS, *DEVICES)],
)
def test_one_changed_fact_flips_one_check(change: Change, flipped: dict[str, str | None]) -> None:
    assert difference(change, answer=candidates(facts())) == flipped


def test_a_type_that_is_not_enabled_there_fails_by_its_id() -> None:
    other = of_conf(THERE, devices__enabled_mdev_types="nvidia-471")
    found = difference(other, answer=candidates(facts()))
    # what hangs on a GPU that could take it is left out, and there is no place
    assert found == {"type-id": "fail", "free-slot": "fail", "type-name": None, "board": None, "ecc": None}
    assert evidence(other, "type-id") == "nvidia-472 is not enabled on gpu-02 (enabled: nvidia-471)"


def test_what_the_destination_enables_is_unknown_without_its_nova_conf() -> None:
    found = difference(of_ssh(THERE, nova_conf=None), answer=candidates(facts()))
    assert found == {"type-id": "unknown", "post-copy": "unknown"}


def test_a_destination_with_the_vendors_framework_takes_no_mediated_device() -> None:
    def vendor(known: Facts) -> Facts:
        devices = tuple(msgspec.structs.replace(d, types=()) for d in known.libvirt[THERE].devices)
        sysfs = (
            known.ssh[THERE].pci[0],
            *(
                msgspec.structs.replace(p, current_vgpu_type=0, creatable_vgpu_types=((1, "NVIDIA A100-20C"),))
                for p in known.ssh[THERE].pci[1:]
            ),
        )
        return all_of(of_libvirt(THERE, devices=devices), of_ssh(THERE, types=(), pci=sysfs, mdev_bus=False))(known)

    assert difference(vendor, answer=candidates(facts()))["framework"] == "fail"
    assert evidence(vendor, "framework") == "gpu-01 mdev, gpu-02 vendor-vfio"


def without_libvirt(host: str) -> Change:
    """The host's libvirt never answered."""

    def change(known: Facts) -> Facts:
        kept = {h: told for h, told in known.libvirt.items() if h != host}
        rows = tuple(
            msgspec.structs.replace(s, fetched_at=None, error=f"{host}: no route to host")
            if (s.kind, s.host) == ("libvirt", host)
            else s
            for s in known.statuses
        )
        return msgspec.structs.replace(known, libvirt=kept, statuses=rows)

    return change


def test_without_the_destinations_libvirt_nothing_of_its_devices_is_said_to_be_in_order() -> None:
    found = difference(without_libvirt(THERE), answer=candidates(facts()))
    assert found == {"free-slot": "unknown"}
    assert evidence(without_libvirt(THERE), "libvirt") == "gpu-01 10.0.0, gpu-02 10.0.0 (installed): at least 8.6.0"


def test_without_the_sources_libvirt_the_servers_device_is_not_known() -> None:
    found = difference(without_libvirt(HERE), answer=candidates(facts()))
    assert found.pop("guest") is None
    assert found == dict.fromkeys(
        ("type-id", "type-name", "framework", "board", "ecc", "free-slot", "other-devices", "dirty-tracking",
         "downtime-limit"),
        "unknown",
    )  # fmt: skip


def test_a_version_that_is_only_installed_is_told_so_and_by_ssh() -> None:
    (check,) = (c for c in look(without_libvirt(THERE)(facts())).checks if c.id == "migrate.libvirt")
    assert (check.source, "(installed)" in check.evidence) == ("ssh", True)


def test_novas_word_of_qemu_goes_before_what_is_installed() -> None:
    old = all_of(
        without_libvirt(THERE),
        of_nova(
            hypervisors=(
                Hypervisor(id=HERE, name=HERE, service_host=HERE, version=8002002),
                Hypervisor(id=THERE, name=THERE, service_host=THERE, version=8000005),
            )
        ),
    )
    assert evidence(old, "qemu") == "gpu-01 8.2.2, gpu-02 8.0.5: gpu-02 is older than 8.1.0"


def test_a_move_to_the_destination_that_nobody_sees_yet_takes_a_place() -> None:
    other = server(id=OTHER, name="vm-2", host="gpu-09", hypervisor="gpu-09")
    coming = of_nova(servers=(server(), other), migrations=(move(1, "gpu-09", THERE, "queued"),))
    one_left = all_of(devices_there(vf(0), held=False), offers(0, 0, 0, 0))
    assert difference(one_left, answer=candidates(facts())) == {"free-slot": "warn"}
    assert difference(all_of(one_left, coming), answer=candidates(facts())) == {"free-slot": "fail"}


def test_a_move_to_the_destination_that_placement_shows_is_not_counted_twice() -> None:
    other = server(id=OTHER, name="vm-2", host="gpu-09", hypervisor="gpu-09")
    coming = of_nova(servers=(server(), other), migrations=(move(1, "gpu-09", THERE, "queued"),))
    change = all_of(devices_there(vf(0), vf(1), held=False), offers(0, 0, 0, 0), taken_there(0), coming)
    assert statuses(look(change(facts()), answer=candidates(facts())))["free-slot"] in ("pass", "warn")


def test_places_that_placement_offers_on_a_full_gpu_are_warned_of() -> None:
    change = all_of(devices_there(vf(0), held=False), offers(0, 0, 0, 0))
    words = "1 × GRID A100-20C free on gpu-02, first on 0000:41:00.0"
    assert evidence(change, "free-slot").startswith(words)


def test_the_free_places_are_those_of_the_rarest_fact() -> None:
    assert look(facts()).free == 2  # the GPU's maximum, not its four functions
    assert look(all_of(devices_there(vf(0)), offers(0, 1, 1, 1), taken_there(0))(facts())).free == 1
    assert SERVER != OTHER
