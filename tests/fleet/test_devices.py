"""What one host has, joined from libvirt and the shell: groups, counts, maxima and what is honestly unknown."""

from __future__ import annotations

import pytest

from tests.fleet.host_builders import (
    A100_10C,
    A100_20C,
    PF,
    Catalogue,
    Row,
    domain,
    mdev,
    sriov_libvirt,
    sriov_ssh,
    vendor_ssh,
    vf,
)
from vgpu_console.fleet.boards import short_model
from vgpu_console.fleet.devices import HostDevices, host_devices
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, MdevTypeOffer, PciDevice, PciSysfs, SshFacts
from vgpu_console.model.snapshot import PhysicalGpu, TypeCapacity


def only_gpu(found: HostDevices) -> PhysicalGpu:
    assert found.gpus is not None
    assert len(found.gpus) == 1
    return found.gpus[0]


def capacity(gpu: PhysicalGpu, type_id: str) -> TypeCapacity:
    return next(t for t in gpu.types if t.type_id == type_id)


def test_virtual_functions_are_grouped_under_their_gpu() -> None:
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(), None, Catalogue()))
    assert (gpu.address, gpu.model, gpu.mechanism) == (PF, "A100 PCIe 40GB", "mdev")
    assert (gpu.vfs_enabled, gpu.vfs_total, len(gpu.functions)) == (16, 16, 16)


def test_created_and_used_are_counted_apart() -> None:
    held, free = mdev(0), mdev(1)
    found = host_devices("gpu-01", sriov_libvirt(mdevs=[held, free], domains=[domain(7, held)]), None, Catalogue())
    gpu = only_gpu(found)
    assert (gpu.vgpus_created, gpu.vgpus_used, gpu.vgpus_max) == (2, 1, 2)
    assert [(m.uuid, m.used, m.domain) for m in found.mdevs] == [
        (held.uuid, True, "instance-00000007"),
        (free.uuid, False, None),
    ]


def test_the_maximum_is_the_hosts_own_word_before_the_catalogues() -> None:
    described = sriov_ssh(described={A100_20C: 3})
    own = capacity(only_gpu(host_devices("gpu-01", sriov_libvirt(), described, Catalogue())), A100_20C)
    assert (own.max, own.max_source) == (3, "host")
    assert own.max_evidence.endswith("mdev_supported_types/nvidia-472/description")
    bundled = capacity(only_gpu(host_devices("gpu-01", sriov_libvirt(), None, Catalogue())), A100_20C)
    assert (bundled.max, bundled.max_source, bundled.max_evidence) == (2, "catalogue", "test catalogue")
    unknown = capacity(only_gpu(host_devices("gpu-01", sriov_libvirt(), None, Catalogue({}))), A100_20C)
    assert (unknown.max, unknown.max_source, unknown.available) == (None, "unknown", None)


@pytest.mark.parametrize(("made", "available"), [(0, 2), (1, 1), (2, 0)])
def test_sixteen_functions_do_not_make_sixteen_vgpus(made: int, available: int) -> None:
    libvirt = sriov_libvirt(mdevs=[mdev(n) for n in range(made)])
    assert capacity(only_gpu(host_devices("gpu-01", libvirt, None, Catalogue())), A100_20C).available == available


def test_the_other_size_is_not_available_while_one_is_in_place() -> None:
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(mdevs=[mdev(0)]), None, Catalogue()))
    assert capacity(gpu, A100_10C).available == 0
    assert gpu.active_type_name == "GRID A100-20C"


def test_without_libvirt_counts_are_unknown_and_never_zero() -> None:
    gpu = only_gpu(host_devices("gpu-01", None, sriov_ssh(described={A100_20C: 2}), Catalogue()))
    assert (gpu.vgpus_created, gpu.vgpus_used) == (None, None)
    assert capacity(gpu, A100_20C).created is None
    assert gpu.vfs_enabled == 16


def test_a_host_that_nobody_could_ask_has_unknown_gpus() -> None:
    assert host_devices("gpu-01", None, None, Catalogue()).gpus is None


def test_a_host_that_was_asked_and_has_none_has_no_gpus() -> None:
    nic = PciDevice(address="0000:02:00.0", vendor_id="8086", pci_class="020000", virtual_functions=())
    assert host_devices("cpu-01", LibvirtFacts(host="cpu-01", devices=(nic,)), None, Catalogue()).gpus == ()


def test_a_graphics_chip_of_the_mainboard_is_no_gpu_of_ours() -> None:
    vga = PciSysfs(address="0000:03:00.0", vendor_id="1a03", product_id="2000")
    assert host_devices("cpu-01", None, SshFacts(host="cpu-01", pci=(vga,)), Catalogue()).gpus == ()


def test_an_idle_gpu_takes_the_one_type_that_nova_gives_it() -> None:
    conf = {"devices.enabled_mdev_types": A100_20C}
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(), sriov_ssh(conf=conf), Catalogue()))
    assert (gpu.active_type, gpu.vgpus_max, gpu.vgpus_free) == (A100_20C, 2, 2)
    two = {"devices.enabled_mdev_types": f"{A100_20C},{A100_10C}", f"mdev_{A100_10C}.device_addresses": vf(3)}
    undecided = only_gpu(host_devices("gpu-01", sriov_libvirt(), sriov_ssh(conf=two), Catalogue()))
    assert (undecided.active_type, undecided.vgpus_max, undecided.vgpus_free) == (None, None, None)


def test_functions_that_are_off_leave_nothing_free() -> None:
    conf = {"devices.enabled_mdev_types": A100_20C}
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(enabled=0), sriov_ssh(numvfs=0, conf=conf), Catalogue()))
    assert (gpu.vfs_enabled, gpu.vfs_total, gpu.mechanism, gpu.vgpus_free) == (0, 16, "unknown", 0)


def test_a_gpu_whose_functions_are_off_is_meant_for_the_type_that_lists_their_addresses() -> None:
    conf = {
        "devices.enabled_mdev_types": f"{A100_20C},{A100_10C}",
        f"mdev_{A100_20C}.device_addresses": f"{vf(0)},{vf(1)}",
        f"mdev_{A100_10C}.device_addresses": "0000:81:00.4",
    }
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(enabled=0), sriov_ssh(numvfs=0, conf=conf), Catalogue()))
    assert gpu.active_type == A100_20C


def test_libvirts_list_of_functions_rules_over_an_older_reading_of_the_shell() -> None:
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(enabled=0), sriov_ssh(numvfs=16), Catalogue()))
    assert (gpu.vfs_enabled, gpu.functions) == (0, ())


def test_a_defined_mdev_whose_function_is_gone_belongs_to_no_gpu() -> None:
    lost = mdev(5, active=False, parent=None)
    found = host_devices("gpu-01", sriov_libvirt(enabled=0, mdevs=[lost]), None, Catalogue())
    assert [(m.state, m.parent, m.gpu) for m in found.mdevs] == [("defined", None, None)]


def test_two_sizes_on_one_gpu_have_no_single_maximum() -> None:
    gpu = only_gpu(host_devices("gpu-01", sriov_libvirt(mdevs=[mdev(0), mdev(1, A100_10C)]), None, Catalogue()))
    assert (gpu.mixed_types, gpu.active_type, gpu.vgpus_max) == (True, None, None)


def test_a_gpu_without_sriov_says_itself_how_many_are_left() -> None:
    t4 = PciDevice(
        address="0000:3b:00.0",
        vendor_id="10de",
        product_id="1eb8",
        product="TU104GL [Tesla T4]",
        types=(MdevTypeOffer(type_id="nvidia-232", name="GRID T4-4Q", available_instances=3),),
    )
    held = mdev(1, "nvidia-232", parent="0000:3b:00.0")
    facts = LibvirtFacts(host="gpu-05", devices=(t4,), mdevs=(held,), domains=(domain(1, held),))
    gpu = only_gpu(host_devices("gpu-05", facts, None, Catalogue({"T4-4Q": Row(4, 4096)})))
    assert (gpu.model, gpu.sriov, gpu.vfs_total) == ("T4", False, 0)
    assert (gpu.vgpus_used, gpu.vgpus_max, capacity(gpu, "nvidia-232").available) == (1, 4, 3)


def test_the_vendor_framework_counts_functions_that_have_a_type() -> None:
    guest = DomainFacts(uuid="2222", name="instance-2", active=True, pci=(vf(1),))
    ssh = vendor_ssh({0: 1155, 1: 1155}, ((1155, "NVIDIA L40S-12Q"),))
    libvirt = LibvirtFacts(host="gpu-06", domains=(guest,))
    found = host_devices("gpu-06", libvirt, ssh, Catalogue({"L40S-12Q": Row(4, 12288)}))
    gpu = only_gpu(found)
    assert (gpu.mechanism, gpu.vgpus_created, gpu.vgpus_used, gpu.vgpus_max) == ("vendor-vfio", 2, 1, 4)
    assert capacity(gpu, "1155").available == 2
    assert [(m.uuid, m.parent, m.used) for m in found.mdevs] == [(None, vf(0), False), (None, vf(1), True)]


def test_the_vendor_framework_without_libvirt_does_not_know_who_uses_it() -> None:
    found = host_devices("gpu-06", None, vendor_ssh({0: 1155}, ((1155, "NVIDIA L40S-12Q"),)), Catalogue())
    assert [m.used for m in found.mdevs] == [None]
    assert only_gpu(found).vgpus_used is None


@pytest.mark.parametrize(
    ("product", "short"),
    [
        ("GA100 [A100 PCIe 40GB]", "A100 PCIe 40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"),
        ("TU104GL [Tesla T4]", "T4"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("", ""),
    ],
)
def test_models_are_named_as_operators_say_them(product: str, short: str) -> None:
    assert short_model(product) == short
