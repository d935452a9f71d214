"""What a host says of its GPUs beyond sysfs: modes, the types that a full GPU still supports, and their maxima."""

from __future__ import annotations

import msgspec
import pytest

from tests.fleet.host_builders import A100_10C, A100_20C, PF, Catalogue, Row, mdev, sriov_libvirt, sriov_ssh, vendor_ssh
from vgpu_console.fleet.devices import host_devices
from vgpu_console.fleet.join import Joiner
from vgpu_console.fleet.type_maximum import room
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts, NvidiaGpu, SshFacts, SupportedType
from vgpu_console.model.snapshot import PhysicalGpu, TypeCapacity
from vgpu_console.rules.catalogue import load_catalogue

L40S = (
    SupportedType(address=PF, type_id=1155, name="NVIDIA L40S-12Q", max_instances=4, framebuffer_mib=12288, mig=False),
    SupportedType(address=PF, type_id=1154, name="NVIDIA L40S-8Q", max_instances=6, framebuffer_mib=8192, mig=False),
)
SUPPORTED = "nvidia-smi vgpu -s -v"


def only_gpu(libvirt: LibvirtFacts | None, ssh: SshFacts, catalogue: Catalogue | None = None) -> PhysicalGpu:
    found = host_devices("gpu-01", libvirt, ssh, catalogue or Catalogue({}))
    assert found.gpus is not None
    assert len(found.gpus) == 1
    return found.gpus[0]


def capacity(gpu: PhysicalGpu, type_id: str) -> TypeCapacity:
    return next(t for t in gpu.types if t.type_id == type_id)


def with_modes(ssh: SshFacts, *types: SupportedType, **modes: bool | str | None) -> SshFacts:
    gpu = msgspec.convert({"address": PF, **modes}, NvidiaGpu)
    return msgspec.structs.replace(ssh, nvidia_gpus=(gpu,), supported_types=types)


def test_a_full_vendor_vfio_gpu_names_its_types_and_their_real_maximum() -> None:
    full = vendor_ssh({0: 1155, 1: 1155, 2: 1155, 3: 1155}, ())  # nothing is creatable any more
    gpu = only_gpu(None, with_modes(full, *L40S))
    assert (gpu.active_type_name, gpu.vgpus_max, gpu.max_source) == ("NVIDIA L40S-12Q", 4, "host")
    ours, other = capacity(gpu, "1155"), capacity(gpu, "1154")
    assert (ours.created, ours.max, ours.available, ours.framebuffer_mib) == (4, 4, 0, 12288)
    assert (ours.max_source, ours.max_evidence) == ("host", SUPPORTED)
    assert (other.type_name, other.created, other.max, other.available) == ("NVIDIA L40S-8Q", 0, 6, 0)


def test_without_that_list_a_full_gpu_of_the_framework_has_a_number_for_a_name() -> None:
    gpu = only_gpu(None, vendor_ssh({0: 1155}, ()))
    assert [(t.type_id, t.type_name, t.max) for t in gpu.types] == [("1155", "", None)]


def test_the_devices_of_a_full_gpu_have_their_type_s_name() -> None:
    found = host_devices("gpu-06", None, with_modes(vendor_ssh({0: 1155}, ()), *L40S), Catalogue({}))
    assert [m.type_name for m in found.mdevs] == ["NVIDIA L40S-12Q"]


@pytest.mark.parametrize(
    ("mode", "shown"), [(False, {"1155"}), (True, {"1160"}), (None, {"1155", "1160"})]
)  # fmt: skip
def test_types_that_the_mig_mode_rules_out_are_not_offered(mode: bool | None, shown: set[str]) -> None:
    sliced = SupportedType(address=PF, type_id=1160, name="NVIDIA X-1-12Q", max_instances=4, mig=True)
    gpu = only_gpu(None, with_modes(vendor_ssh({}, ()), L40S[0], sliced, mig=mode))
    assert {t.type_id for t in gpu.types} == shown
    assert gpu.mig is mode


def test_a_type_that_exists_is_shown_whatever_the_mode_says() -> None:
    gpu = only_gpu(None, with_modes(vendor_ssh({0: 1155}, ()), *L40S, mig=True))
    assert [t.type_id for t in gpu.types] == ["1155"]
    assert capacity(gpu, "1155").max == 4


def test_sysfs_goes_before_the_list_and_the_list_before_the_catalogue() -> None:
    listed = SupportedType(address=PF, type_id=472, name="GRID A100-20C", max_instances=7)
    described = with_modes(sriov_ssh(described={A100_20C: 3}), listed)
    assert capacity(only_gpu(sriov_libvirt(), described, Catalogue()), A100_20C).max == 3
    silent = with_modes(sriov_ssh(), listed)
    own = capacity(only_gpu(sriov_libvirt(), silent, Catalogue()), A100_20C)
    assert (own.max, own.max_source, own.max_evidence) == (7, "host", SUPPORTED)


def test_a_gpu_whose_functions_are_off_has_its_types_name_and_maximum_from_the_list() -> None:
    listed = SupportedType(address=PF, type_id=472, name="GRID A100-20C", max_instances=2, framebuffer_mib=20480)
    conf = {"devices.enabled_mdev_types": A100_20C}
    gpu = only_gpu(sriov_libvirt(enabled=0), with_modes(sriov_ssh(numvfs=0, conf=conf), listed))
    assert (gpu.active_type_name, gpu.vgpus_max, gpu.max_source, gpu.vgpus_free) == ("GRID A100-20C", 2, "host", 0)


def test_another_gpu_s_list_is_not_this_one_s() -> None:
    other = msgspec.structs.replace(L40S[0], address="0000:99:00.0")
    gpu = only_gpu(None, with_modes(vendor_ssh({0: 1155}, ()), other))
    assert (gpu.active_type_name, gpu.vgpus_max) == ("NVIDIA L40S-12Q", None)  # a number has one name on a host


@pytest.mark.parametrize(
    ("name", "described", "mixed", "expected"),
    [
        ("A100-4C", 10, False, (10, "host")),
        ("A100-4C", 10, None, (10, "host")),
        ("A100-4C", 10, True, (8, "catalogue")),
        ("A100-4C", 8, True, (8, "host")),  # the host says it itself
        ("A100-4C", 7, True, (7, "host")),
        ("A100-4C", None, True, (8, "catalogue")),
        ("A100-4C", None, False, (10, "catalogue")),
        ("A100-8C", 5, True, (4, "catalogue")),
        ("A100-20C", 2, True, (2, "host")),  # fits as often in either mode
    ],
)
def test_the_maximum_in_mixed_size_mode(
    name: str, described: int | None, mixed: bool | None, expected: tuple[int, str]
) -> None:
    number = {"A100-4C": 468, "A100-8C": 470, "A100-20C": 472}[name]
    listed = SupportedType(address=PF, type_id=number, name=f"GRID {name}", max_instances=described)
    held = mdev(0, f"nvidia-{number}")
    ssh = with_modes(sriov_ssh(), listed, mixed_sizes=mixed)
    found = host_devices("gpu-01", sriov_libvirt(mdevs=[held]), ssh, load_catalogue()).gpus
    assert found is not None
    gpu = found[0]
    assert (gpu.vgpus_max, gpu.max_source) == expected
    evidence = capacity(gpu, f"nvidia-{number}").max_evidence
    assert evidence.endswith("mixed-size mode") is (expected[1] == "catalogue" and mixed is True)
    assert gpu.mixed_sizes is mixed


def test_beside_another_size_only_the_driver_knows_what_is_left() -> None:
    """In mixed-size mode 20C stays creatable beside a 10C, and how often is not a sum of ours."""
    libvirt = sriov_libvirt(mdevs=[mdev(0, A100_10C)])
    gpu = only_gpu(libvirt, with_modes(sriov_ssh(), mixed_sizes=True), Catalogue())
    assert capacity(gpu, A100_20C).available is None
    assert capacity(gpu, A100_10C).available == 0  # the driver offers none


@pytest.mark.parametrize(
    ("limit", "made", "beside", "left"),
    [
        (4, 1, [], 3),
        (4, 4, [], 0),
        (4, 1, [20480, 20480], 1),  # two 20Q take places of 20C
        (4, 1, [10240], None),
        (4, 1, [None], None),
        (None, 1, [], None),
        (4, None, [], None),
    ],
)
def test_room(limit: int | None, made: int | None, beside: list[int | None], left: int | None) -> None:
    assert room(limit, made, beside, 20480) == left


def test_a_size_that_nobody_knows_leaves_no_room_that_could_be_told() -> None:
    assert room(4, 1, [None], None) is None


def test_modes_that_nobody_said_are_unknown() -> None:
    gpu = only_gpu(sriov_libvirt(), sriov_ssh(), Catalogue({"A100-20C": Row(2, 20480, 1)}))
    assert (gpu.ecc, gpu.ecc_pending, gpu.mig, gpu.mixed_sizes, gpu.gsp) == (None,) * 5
    assert capacity(gpu, A100_20C).max == 2


def test_the_modes_of_a_gpu_and_its_name() -> None:
    ssh = with_modes(sriov_ssh(), name="NVIDIA A100-PCIE-40GB", ecc_current=True, ecc_pending=False, gsp=False)
    gpu = only_gpu(None, ssh)
    assert (gpu.model, gpu.ecc, gpu.ecc_pending, gpu.gsp) == ("A100 PCIe 40GB", True, False, False)


def test_a_host_s_versions_without_its_libvirt_are_those_that_are_installed() -> None:
    ssh = msgspec.structs.replace(
        sriov_ssh(), libvirt_installed="9.0.0", qemu_installed="7.2.0", cpu_model="A CPU", clock_skew_s=-3.5,
        clock_error_s=0.6,
    )  # fmt: skip
    host = Joiner(load_catalogue()).join(Facts(ssh={"gpu-01": ssh}), 0.0).hosts[0]
    assert (host.libvirt, host.qemu, host.cpu_model) == ("9.0.0", "7.2.0", "A CPU")
    assert (host.clock_skew_s, host.clock_error_s) == (-3.5, 0.6)
    both = Facts(ssh={"gpu-01": ssh}, libvirt={"gpu-01": sriov_libvirt()})
    asked = Joiner(load_catalogue()).join(both, 0.0).hosts[0]
    assert (asked.libvirt, asked.qemu) == ("10.0.0", "8.2.0")
