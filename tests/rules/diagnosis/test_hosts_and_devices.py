"""Diagnoses of hosts, devices and guests: each fleet is ill of one, and with one fact another way it is not told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.diagnosis.ill_facts import (
    Change,
    conf,
    facts_of,
    failing,
    findings,
    iso,
    libvirt,
    migrating,
    nova,
    server,
    ssh,
    told,
    without,
)
from vgpu_console.model.host_facts import LibvirtFacts, NvidiaGpu, PciSysfs, SshFacts
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis import (
    compute_start,
    device_allocations,
    domains,
    functions,
    gpu_modes,
    mediated_devices,
    vendor_vfio,
)

CHAPTERS = (
    functions.CHAPTER,
    mediated_devices.CHAPTER,
    compute_start.CHAPTER,
    vendor_vfio.CHAPTER,
    gpu_modes.CHAPTER,
    domains.CHAPTER,
    device_allocations.CHAPTER,
)
DIAGNOSES = [d for chapter in CHAPTERS for d in chapter.diagnoses]

EITHER = {"vfs-off", "vfs-partial"}
"""Where libvirt is silent the host's own files tell of these, too."""


@pytest.mark.parametrize(
    ("diagnosis", "kind"),
    [(d.id, kind) for d in DIAGNOSES for kind in d.needs if d.id not in EITHER],
    ids=lambda value: str(value),
)
def test_without_a_source_that_it_needs_nothing_is_told(diagnosis: str, kind: SourceKind) -> None:
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(without(kind)(facts))


@pytest.mark.parametrize(
    "diagnosis",
    ["function-unbound", *(d.id for d in (*domains.CHAPTER.diagnoses, *device_allocations.CHAPTER.diagnoses))],
)
def test_what_may_have_moved_on_is_not_told_from_an_old_answer(diagnosis: str) -> None:
    assert diagnosis not in told(failing("libvirt")(facts_of(f"ill-{diagnosis}")))


def _mdevs(host: str, **fields: Any) -> Change:
    """Fields of all mediated devices of a host."""
    return libvirt(host, lambda one: {"mdevs": tuple(msgspec.structs.replace(m, **fields) for m in one.mdevs)})


def _domains(host: str, **fields: Any) -> Change:
    return libvirt(host, lambda one: {"domains": tuple(msgspec.structs.replace(d, **fields) for d in one.domains)})


def _gpus(host: str, **fields: Any) -> Change:
    """Fields of what nvidia-smi says of a host's GPUs."""

    def change(one: SshFacts) -> dict[str, tuple[NvidiaGpu, ...]]:
        return {"nvidia_gpus": tuple(msgspec.structs.replace(g, **fields) for g in one.nvidia_gpus)}

    return ssh(host, change)


def _sysfs(host: str, **fields: Any) -> Change:
    """Fields of all PCI functions in a host's sysfs."""

    def change(one: SshFacts) -> dict[str, tuple[PciSysfs, ...]]:
        return {"pci": tuple(msgspec.structs.replace(p, **fields) for p in one.pci)}

    return ssh(host, change)


def _tools(path: str | None, **tools: str) -> Change:
    """Other programs on gpu-04, and nova.conf elsewhere."""
    return ssh("gpu-04", lambda one: {"tools": tools, "nova_conf_path": path or one.nova_conf_path})


def _own_function(one: LibvirtFacts) -> dict[str, Any]:
    """The inactive device of gpu-03 on a function that Nova knows, instead of one that it does not."""
    return {"mdevs": tuple(msgspec.structs.replace(m, parent="0000:41:00.5") if not m.active else m for m in one.mdevs)}


def _both(*changes: Change) -> Change:
    def change(facts: Any) -> Any:
        for one in changes:
            facts = one(facts)
        return facts

    return change


MOVING: dict[str, Change] = {
    "the server is worked on": server("desk-02", task_state="rebooting_hard"),
    "the server has changed just now": server("desk-02", updated=iso(20)),
    "the server is migrating": migrating("desk-02"),
    "when the server changed is not known": server("desk-02", updated=None),
}
"""A server of which nothing is told yet."""

ROWS: list[tuple[str, str, Change]] = [
    # functions
    ("vfs-partial", "sysfs counts more: they are being enabled", _sysfs("gpu-04", sriov_numvfs=20)),
    ("function-unbound", "sysfs says that it is bound", _sysfs("gpu-04", driver="nvidia")),
    (
        "function-unbound",
        "the whole GPU is passed through",
        libvirt("gpu-04", lambda one: {"devices": tuple(
            msgspec.structs.replace(d, driver="vfio-pci") if d.virtual_functions else d for d in one.devices)}),
    ),
    # mediated devices
    ("mdev-not-active", "it runs", _mdevs("gpu-03", active=True)),
    ("mdev-not-active", "whether it runs is not known", _mdevs("gpu-03", active=None)),
    (
        "mdev-not-active",
        "Nova makes it just now, for a server that is being built",
        _both(libvirt("gpu-03", _own_function), server("desk-02", status="BUILD", task_state="spawning")),
    ),
    ("mdev-cannot-start", "the GPU takes several sizes", _gpus("gpu-03", mixed_sizes=True)),
    ("mdev-parent-lost", "its function is there", _mdevs("gpu-04", parent="0000:41:00.4")),
    ("mdev-uuid-twice", "the other one is gone",
     libvirt("gpu-01", lambda one: {"mdevs": tuple(m for m in one.mdevs if m.active)})),
    ("mdev-no-autostart", "it is on", _mdevs("gpu-03", autostart=True)),
    ("mdev-no-autostart", "neither libvirt nor mdevctl's files tell",
     _both(_mdevs("gpu-03", autostart=None), ssh("gpu-03", lambda one: {"mdev_autostart": None}))),
    ("mdev-not-persistent", "libvirt does not tell", _mdevs("gpu-03", persistent=None)),
    ("mdev-not-persistent", "nobody has it", libvirt("gpu-03", lambda one: {"domains": ()})),
    ("free-mdev-pins-type", "nova.conf wants that size",
     conf("gpu-04", devices__enabled_mdev_types="nvidia-564")),
    ("free-mdev-pins-type", "nova.conf cannot be read", ssh("gpu-04", lambda one: {"nova_conf": None})),
    ("free-mdev-pins-type", "a guest has it", libvirt("gpu-04", lambda one: {"domains": tuple(
        msgspec.structs.replace(d, mdevs=(one.mdevs[0].uuid,)) for d in
        facts_of("well").libvirt["gpu-03"].domains[:1])})),
    ("type-not-enabled", "nova.conf cannot be read", ssh("gpu-04", lambda one: {"nova_conf": None})),
    # nova-compute
    ("conf-address-twice", "the second type is not enabled",
     conf("gpu-04", devices__enabled_mdev_types="nvidia-562")),
    ("conf-address-unknown", "the functions of a GPU are off",
     libvirt("gpu-04", lambda one: {"devices": tuple(
         msgspec.structs.replace(d, address="0000:c1:00.0", virtual_functions=()) if d.virtual_functions else d
         for d in one.devices)})),
    ("type-not-offered", "nothing of the host's types is known",
     _both(ssh("gpu-04", lambda one: {"types": ()}),
           libvirt("gpu-04", lambda one: {"devices": tuple(
               msgspec.structs.replace(d, types=()) for d in one.devices)}))),
    ("no-mdev-bus", "an older kernel", ssh("gpu-05", lambda one: {"kernel": "5.14.0-427.el9.x86_64"})),
    ("no-mdev-bus", "the kernel is not known", ssh("gpu-05", lambda one: {"kernel": None})),
    ("no-mdev-bus", "whether there are mediated devices is not known",
     ssh("gpu-05", lambda one: {"mdev_bus": None})),
    ("no-mdev-bus", "no type is enabled", conf("gpu-05", devices__enabled_mdev_types=None)),
    ("no-mdev-types", "the whole GPU is passed through", libvirt("gpu-04", lambda one: {"devices": tuple(
        msgspec.structs.replace(d, driver="vfio-pci") for d in one.devices)})),
    ("no-mdev-types", "no type is enabled", conf("gpu-04", devices__enabled_mdev_types=None)),
    ("mdevctl-missing", "the programs were not looked for", ssh("gpu-04", lambda one: {"tools": None})),
    ("mdevctl-missing", "libvirt is in a container", _tools(None, **{"nvidia-smi": "/usr/bin/nvidia-smi"})),
    ("mdevctl-missing", "Nova is in a container",
     _tools("/etc/kolla/nova-compute/nova.conf", libvirtd="/usr/sbin/libvirtd")),
    ("mdevctl-missing", "no type is enabled", conf("gpu-04", devices__enabled_mdev_types=None)),
    # vendor VFIO
    ("vendor-types-lost", "the types could not be read", _sysfs("gpu-05", current_vgpu_type=None)),
    ("vendor-types-lost", "they are set", _sysfs("gpu-05", current_vgpu_type=1155)),
    ("vendor-types-lost", "no device_spec names them", conf("gpu-05", pci__device_spec=None)),
    ("vendor-no-types", "what could be set could not be read", _sysfs("gpu-05", creatable_vgpu_types=None)),
    ("vendor-no-types", "a type could be set", _sysfs("gpu-05", creatable_vgpu_types=((1155, "NVIDIA L40S-12Q"),))),
    ("vendor-vf-untyped", "the types could not be read", _sysfs("gpu-05", current_vgpu_type=None)),
    ("vendor-vf-not-in-spec", "nova.conf cannot be read", ssh("gpu-05", lambda one: {"nova_conf": None})),
    ("vendor-vf-not-in-spec", "one names the whole GPU",
     conf("gpu-05", pci__device_spec='{"vendor_id": "10de", "address": "0000:41:00.0"}')),
    ("vendor-managed", "nova.conf cannot be read", ssh("gpu-05", lambda one: {"nova_conf": None})),
    ("vendor-not-migratable", "nova.conf cannot be read", ssh("gpu-05", lambda one: {"nova_conf": None})),
    ("live-migratable-too-old", "the version is not known",
     _both(libvirt("gpu-05", lambda one: {"qemu_version": None}),
           ssh("gpu-05", lambda one: {"qemu_installed": None}))),
    ("live-migratable-too-old", "a newer one", libvirt("gpu-05", lambda one: {"qemu_version": "10.0.0"})),
    # GPUs
    ("mig-off", "the mode is not known", _gpus("gpu-06", mig=None)),
    ("mig-off", "it is on", _gpus("gpu-06", mig=True)),
    ("mig-on", "the mode is not known", _gpus("gpu-06", mig=None)),
    ("ecc-pending", "what comes is not known", _gpus("gpu-04", ecc_pending=None)),
    ("ecc-pending", "what is is not known", _gpus("gpu-04", ecc_current=None)),
    ("mixed-mode-off", "the driver has no word for it", _gpus("gpu-04", mixed_sizes=None)),
    ("mixed-mode-off", "it is on", _gpus("gpu-04", mixed_sizes=True)),
    ("mixed-mode-on", "the driver has no word for it", _gpus("gpu-04", mixed_sizes=None)),
    # guests
    ("domain-mdev-missing", "the guest runs", _domains("gpu-03", active=True)),
    ("domain-mdev-missing", "defined devices are not shown",
     libvirt("gpu-03", lambda one: {"defined_visible": False})),
    ("domain-mdev-missing", "a device could not be read",
     libvirt("gpu-03", lambda one: {"skipped": ("mdev_x: no XML",)})),
    ("mdev-shared", "the other domain is gone", libvirt("gpu-03", lambda one: {"domains": one.domains[:1]})),
    ("domain-unknown", "it holds a network card", _domains("gpu-03", mdevs=(), pci=("0000:02:00.1",))),
    ("domain-unknown", "only one project's servers are visible", nova(all_projects=False)),
    ("server-without-device", "it is shut off", server("desk-02", status="SHUTOFF")),
    ("server-without-device", "its domain is not there at all",
     libvirt("gpu-03", lambda one: {"bare_domains": ()})),
    *(("server-without-device", words, change) for words, change in MOVING.items()),
    *(("allocation-elsewhere", words, change) for words, change in MOVING.items()),
    *(("device-without-allocation", words, change) for words, change in MOVING.items()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("diagnosis", "words", "change"), ROWS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_one_fact_another_way_and_it_is_not_told(diagnosis: str, words: str, change: Change) -> None:
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(change(facts)), words


def test_every_diagnosis_is_turned_over_by_more_than_a_missing_source() -> None:
    hard = {d.id for d in DIAGNOSES} - {row[0] for row in ROWS}
    assert hard == {"vfs-off", "conf-address-malformed"}  # nothing but the one fact they tell of


@pytest.mark.parametrize(
    ("diagnosis", "objects", "words", "command"),
    [
        ("domain-mdev-missing", "server desk-02", "cannot be started", "mdev create gpu-03 --gpu 0000:41:00.0"),
        ("mdev-shared", "server desk-01", "in the domains of 2 servers", "openstack server reboot --hard"),
        ("server-without-device", "server desk-02", "no vGPUs of 1", "openstack server reboot --hard"),
        ("allocation-elsewhere", "server desk-02", "on 0000:41:00.7", "vgpu-console migrate start"),
        ("device-without-allocation", "server desk-02", "not allocated", "vgpu-console migrate start"),
        ("vendor-types-lost", "server frame-1", "none of the 4", "L40S-12Q --function 0000:41:00.4 && vgpu-console"),
        ("vendor-vf-untyped", "gpu gpu-05", "1 of the 4", "--type L40S-12Q --function 0000:41:00.7"),
        ("mdev-parent-lost", "mdev gpu-04", "0000:e2:00.4", "vgpu-console mdev remove gpu-04"),
        ("free-mdev-pins-type", "mdev gpu-04", "A40-16Q", "vgpu-console mdev remove gpu-04"),
        ("mixed-mode-on", "gpu gpu-04", "mixed-size mode", "nvidia-smi vgpu -i 0000:41:00.0 -shm 0"),
    ],
)  # fmt: skip
def test_a_finding_names_who_is_hurt_and_what_mends_it(diagnosis: str, objects: str, words: str, command: str) -> None:
    finding = next(f for f in findings(facts_of(f"ill-{diagnosis}")) if f.id == diagnosis)
    assert any(one.startswith(objects) for one in finding.objects)
    assert words in f"{finding.message} {finding.evidence}"
    assert command in finding.command


def test_a_server_is_named_with_its_project() -> None:
    finding = next(f for f in findings(facts_of("ill-server-without-device")) if f.id == "server-without-device")
    assert finding.object.startswith("server desk-02 (")
    assert finding.object.endswith(") of project vdi")
    assert {e.source for e in finding.evidence} == {"nova", "placement", "libvirt"}
