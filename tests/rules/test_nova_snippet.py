"""The nova.conf snippet: as many functions per GPU as it can carry, those that are in use first, and what stays."""

from __future__ import annotations

import configparser
import json
from collections.abc import Sequence

import msgspec
import pytest

from tests.fleet.host_builders import PF, vendor_ssh
from tests.fleet.host_builders import vf as vendor_vf
from tests.rules.nova_hosts import (
    A100_10C,
    A100_20C,
    GPU0,
    GPU1,
    HOST,
    T4,
    T4_4Q,
    conf_of,
    guest,
    host_facts,
    mdev,
    provider,
    server,
    snapshot_of,
    vf,
)
from vgpu_console.model.host_facts import LibvirtFacts, PciDevice
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.nova_conf import types_for_device
from vgpu_console.rules.nova_side import nova_side
from vgpu_console.rules.nova_snippet import nova_conf_snippet, snippet_of


def options(text: str) -> dict[str, str]:
    """The snippet as an ini file: group.option -> value."""
    parser = configparser.RawConfigParser(strict=True, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {f"{group}.{name}": value for group in parser.sections() for name, value in parser.items(group)}


def addresses(text: str, type_id: str = A100_20C) -> list[str]:
    return options(text)[f"mdev_{type_id}.device_addresses"].split(",")


def test_each_gpu_names_as_many_functions_as_it_carries() -> None:
    snapshot = snapshot_of(*host_facts((GPU0, GPU1), conf=conf_of(A100_20C, nvidia_472__max_instances="4")))
    text = nova_conf_snippet(snapshot, HOST)
    assert options(text)["devices.enabled_mdev_types"] == A100_20C
    assert addresses(text) == [vf(GPU0, 0), vf(GPU0, 1), vf(GPU1, 0), vf(GPU1, 1)]
    assert f"mdev_{A100_20C}.max_instances" not in options(text)


def test_functions_in_use_are_never_left_out() -> None:
    used, idle = mdev(vf(GPU0, 9)), mdev(vf(GPU0, 12))
    domain = guest(used)
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[idle, used], domains=[domain])
    snapshot = snapshot_of(libvirt, ssh, [provider(vf(GPU0, 9), consumer=domain.uuid)], [server(domain)])
    assert addresses(nova_conf_snippet(snapshot, HOST)) == sorted([vf(GPU0, 9), vf(GPU0, 12)])


def test_an_allocation_goes_before_a_free_device_and_the_rest_is_told() -> None:
    idle = mdev(vf(GPU0, 0))
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[idle])
    there = [provider(vf(GPU0, n), consumer=f"consumer-{n}" if n > 4 else None) for n in (0, 3, 5, 6, 7)]
    made = snippet_of(snapshot_of(libvirt, ssh, there), HOST)
    assert addresses(made.text) == [vf(GPU0, 5), vf(GPU0, 6)]
    assert made.held == (there[4].uuid,)
    assert made.deletable == (there[0].uuid, there[1].uuid)
    assert f"{there[4].name}  {there[4].uuid}  consumer consumer-7" in made.text
    assert f"#   openstack resource provider delete {there[1].uuid}" in made.text


def test_providers_that_would_be_refused_to_go_are_named() -> None:
    used = mdev(vf(GPU0, 0), A100_10C)
    domain = guest(used, name="vm-render")
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[used], domains=[domain])
    there = [provider(vf(GPU0, 0), consumer=domain.uuid)]
    snapshot = snapshot_of(libvirt, ssh, there, [server(domain)])
    text = nova_conf_snippet(snapshot, HOST, {GPU0: A100_20C})
    words = " ".join(text.replace("#", "").split())
    assert "has allocations (server vm-render) and would report nothing" in words
    assert "Placement refuses at every update" in words
    kept = nova_conf_snippet(snapshot, HOST)  # left to itself it keeps the type that servers use
    assert options(kept)["devices.enabled_mdev_types"] == A100_10C
    assert "left out, for no GPU is to have it: nvidia-472" in kept


def test_two_types_on_two_gpus() -> None:
    libvirt, ssh = host_facts((GPU0, GPU1), conf=conf_of(A100_20C))
    made = snippet_of(snapshot_of(libvirt, ssh), HOST, {GPU1: A100_10C})
    assert options(made.text)["devices.enabled_mdev_types"] == f"{A100_20C}, {A100_10C}"
    assert addresses(made.text) == [vf(GPU0, 0), vf(GPU0, 1)]
    assert addresses(made.text, A100_10C) == [vf(GPU1, n) for n in range(4)]


def test_without_functions_the_gpu_itself_is_named() -> None:
    text = nova_conf_snippet(snapshot_of(*host_facts((GPU0, GPU1), vfs=0, types=T4, conf=conf_of(T4_4Q))), HOST)
    assert addresses(text, T4_4Q) == [GPU0, GPU1]


def test_a_class_of_its_own_is_kept_and_its_change_is_told() -> None:
    conf = conf_of(A100_20C, nvidia_472__mdev_class="CUSTOM_A100_20C")
    text = nova_conf_snippet(snapshot_of(*host_facts((GPU0,), conf=conf)), HOST)
    assert options(text)[f"mdev_{A100_20C}.mdev_class"] == "CUSTOM_A100_20C"
    assert "until now its devices were reported as VGPU" in " ".join(text.replace("#", "").split())
    conf[f"mdev_{A100_20C}.device_addresses"] = vf(GPU0, 0)
    assert "until now" not in nova_conf_snippet(snapshot_of(*host_facts((GPU0,), conf=conf)), HOST)


@pytest.mark.parametrize(
    ("conf", "mdevs", "words"),
    [
        (
            conf_of(),
            (),
            "no type is enabled on it and it carries none; choose one of nvidia-471 (A100-10C), nvidia-472",
        ),
        (None, (mdev(vf(GPU0, 0)), mdev(vf(GPU0, 1), A100_10C)), "it has more than one type"),
    ],
)
def test_a_gpu_without_a_type_is_left_to_the_operator(
    conf: dict[str, str] | None, mdevs: Sequence[msgspec.Struct], words: str
) -> None:
    made = snippet_of(snapshot_of(*host_facts((GPU0,), conf=conf, mdevs=mdevs)), HOST)  # type: ignore[arg-type]
    assert made.undecided == (GPU0,)
    assert words in " ".join(made.text.replace("#", "").split())
    assert all(line.startswith("#") for line in made.text.splitlines() if line)


def test_an_unknown_maximum_and_an_unread_host() -> None:
    types = {"nvidia-999": ("GRID NEW-1C", 0, 1024)}
    snapshot = snapshot_of(*host_facts((GPU0,), types=types, described=False, conf=conf_of("nvidia-999")))
    assert "the real maximum of NEW-1C is not known" in nova_conf_snippet(snapshot, HOST)
    assert "The GPUs of gpu-01 are not known" in nova_conf_snippet(snapshot_of(None, None), HOST)
    with pytest.raises(KeyError):
        nova_conf_snippet(snapshot, "elsewhere")


def test_what_the_snippet_says_is_then_true() -> None:
    """The console's own reading of the snippet as nova.conf finds nothing to complain of."""
    libvirt, ssh = host_facts((GPU0, GPU1), conf=conf_of(A100_20C))
    conf = options(nova_conf_snippet(snapshot_of(libvirt, ssh), HOST))
    named = conf[f"mdev_{A100_20C}.device_addresses"].split(",")
    assert all(types_for_device(conf, [a]) == (A100_20C,) for a in named)
    after = snapshot_of(libvirt, msgspec.structs.replace(ssh, nova_conf=conf), [provider(a) for a in named])
    assert [(r.state, r.over_reported, r.stranded) for r in nova_side(after, HOST)] == [("ok", 0, 0)] * 2


def test_hostile_type_ids_write_no_option() -> None:
    evil = "x]\ndebug = true\n["
    libvirt, ssh = host_facts((GPU0,), types={evil: ("EVIL", 1, 1024)}, conf=conf_of())
    made = snippet_of(snapshot_of(libvirt, ssh), HOST, {GPU0: evil})
    assert all(line.startswith("#") for line in made.text.splitlines() if line)


# Vendor VFIO


def vendor(
    current: dict[int, int],
    conf: dict[str, str] | None = None,
    *,
    libvirt: str = "10.0.0",
    qemu: str = "8.2.2",
    counted: int | None = None,
) -> Snapshot:
    ssh = msgspec.structs.replace(vendor_ssh(current, ((1155, "NVIDIA L40S-12Q"),)), host=HOST, nova_conf=conf)
    pci = tuple(msgspec.structs.replace(p, vendor_id="10de") for p in ssh.pci)
    functions = tuple(vendor_vf(n) for n in range(4))
    board = PciDevice(
        address=PF, vendor_id="10de", product_id="26b9", driver="nvidia", virtual_functions=functions,
        max_virtual_functions=32,
    )  # fmt: skip
    parts = tuple(PciDevice(address=f, vendor_id="10de", physical_function=PF) for f in functions)
    facts = LibvirtFacts(host=HOST, libvirt_version=libvirt, qemu_version=qemu, devices=(board, *parts))
    there = [msgspec.structs.replace(provider(PF, counted), name=f"{HOST}_{PF}")] if counted else []
    return snapshot_of(facts, msgspec.structs.replace(ssh, pci=pci), there)


def specs(text: str) -> list[dict[str, str]]:
    lines = [line.partition(" = ")[2] for line in text.splitlines() if line.startswith("device_spec")]
    return [json.loads(line) for line in lines]


def test_a_device_spec_for_each_function_that_has_a_type() -> None:
    text = nova_conf_snippet(vendor({0: 1155, 2: 1155}, {}), HOST)
    assert specs(text) == [
        {
            "vendor_id": "10de",
            "address": vendor_vf(n),
            "resource_class": "CUSTOM_L40S_12Q",
            "managed": "no",
            "live_migratable": "yes",
        }
        for n in (0, 2)
    ]
    alias = next(line for line in text.splitlines() if line.startswith("alias"))
    assert json.loads(alias.partition(" = ")[2]) == {
        "name": "L40S_12Q",
        "device_type": "type-VF",
        "resource_class": "CUSTOM_L40S_12Q",
        "live_migratable": "yes",
    }
    assert "report_in_placement = true" in text.splitlines()


@pytest.mark.parametrize(("libvirt", "qemu"), [("9.0.0", "8.2.2"), ("10.0.0", "8.2.1")])
def test_an_older_host_says_nothing_of_live_migration(libvirt: str, qemu: str) -> None:
    text = nova_conf_snippet(vendor({0: 1155}, {}, libvirt=libvirt, qemu=qemu), HOST)
    assert "live_migratable" not in specs(text)[0]
    assert "live_migratable is left out: it needs libvirt 10.0.0 and QEMU 8.2.2" in text


def test_names_that_are_there_are_kept() -> None:
    conf = {
        "pci.device_spec": '{"vendor_id": "15b3"}; {"address": "0000:41:00.*", "resource_class": "big-gpu"}',
        "pci.alias": '{"name": "big", "resource_class": "CUSTOM_BIG_GPU", "device_type": "type-VF"}',
    }
    text = nova_conf_snippet(vendor({0: 1155}, conf), HOST)
    assert specs(text)[0]["resource_class"] == "CUSTOM_BIG_GPU"
    assert '"name": "big"' in text
    assert "1 other device_spec of this host stay as they are" in text


def test_no_function_with_a_type() -> None:
    text = nova_conf_snippet(vendor({}, {}), HOST)
    assert "give functions a type first" in text
    assert specs(text) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "1 of 1 L40S-12Q in no [pci] device_spec: Nova does not use them"),
        (f'{{"address": "{vendor_vf(0)}"}}', "does not say managed: no"),
        (f'{{"address": "{vendor_vf(0)}", "managed": "no"}}', "not said to be live_migratable"),
        ('{"address": "0000:41:00.0", "managed": "no"}', "matches 3 functions without a type"),
        ('{"address.bus": "4[01]", "address.slot": "00", "managed": "no"}', "matches 3 functions without a type"),
        ('{"vendor_id": "15b3"}', "in no [pci] device_spec"),
    ],
)
def test_the_side_of_vendor_vfio(spec: str, words: str) -> None:
    conf = {"pci.device_spec": spec, "pci.report_in_placement": "true"} if spec else {}
    (row,) = nova_side(vendor({0: 1155}, conf), HOST)
    assert (row.state, row.type_id, row.mechanism) == ("warn", "1155", "vendor-vfio")
    assert words in row.verdict


def test_the_side_of_vendor_vfio_as_it_should_be() -> None:
    spec = f'{{"address": "{vendor_vf(0)}", "managed": "no", "live_migratable": "yes"}}'
    conf = {"pci.device_spec": spec, "pci.report_in_placement": "true"}
    (row,) = nova_side(vendor({0: 1155}, conf, counted=1), HOST)
    assert (row.state, row.placement_total, row.over_reported) == ("ok", 1, 0)
    (row,) = nova_side(vendor({0: 1155}, conf, counted=3), HOST)
    assert (row.state, row.over_reported) == ("warn", 2)
    assert "Placement counts 3, device_spec matches 1" in row.verdict
    (unread,) = nova_side(vendor({0: 1155}, None), HOST)
    assert (unread.state, unread.configured) == ("unknown", None)


def test_catalogue_names_are_written_as_they_are() -> None:
    """No comment can end a line early: every line is a comment, a section, an option, or empty."""
    text = nova_conf_snippet(snapshot_of(*host_facts((GPU0,), conf=conf_of(A100_20C))), HOST)
    for line in text.splitlines():
        assert not line or line[0] in "#[" or " = " in line
