"""Nova's own code reads what the console prints for nova.conf, and counts by it what the console says it would.

No cloud is needed, only Nova's package: its options, its PCI code and its libvirt driver's arithmetic, with libvirt's
lists given to it.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from tests.lab.lab import REPOSITORY, VENV
from tests.rules.nova_hosts import (
    A100_10C,
    A100_20C,
    GPU0,
    GPU1,
    HOST,
    T4,
    T4_4Q,
    conf_of,
    host_facts,
    mdev,
    provider,
    snapshot_of,
    vf,
)
from tests.rules.test_nova_snippet import options, vendor
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.rules.device_spec import device_specs
from vgpu_console.rules.nova_caps import nova_types
from vgpu_console.rules.nova_side import nova_side
from vgpu_console.rules.nova_snippet import nova_conf_snippet

TWO = (GPU0, GPU1)


@pytest.fixture(autouse=True)
def _pointed_at_lab() -> None:
    """These tests need no cloud that runs."""


class Nova:
    """Nova's code in a process of its own."""

    def __init__(self) -> None:
        script = REPOSITORY / "tests" / "lab" / "cloud" / "nova_reads_conf.py"
        command = [str(VENV / "bin" / "python"), "-W", "ignore", str(script)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def reads(
        self,
        conf: str,
        libvirt: LibvirtFacts | None = None,
        *,
        order: random.Random | None = None,
        providers: Sequence[str] = (),
        functions: Sequence[dict[str, str]] = (),
    ) -> dict[str, Any]:
        """What Nova makes of a nova.conf on a host whose libvirt lists these devices, in any order."""
        devices = [d for d in (libvirt.devices if libvirt else ()) if d.types]
        if order is not None:
            order.shuffle(devices)
        asked = {
            "conf": conf,
            "devices": {_name(d.address): {t.type_id: t.available_instances for t in d.types} for d in devices},
            "mdevs": [[_name(m.parent or ""), m.type_id] for m in (libvirt.mdevs if libvirt else ())],
            "providers": list(providers),
            "functions": list(functions),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in said, said["error"]
        return said


@pytest.fixture(scope="module")
def nova() -> Iterator[Nova]:
    made = Nova()
    yield made
    made.process.stdin.close()  # type: ignore[union-attr]
    made.process.wait(timeout=60)


def _name(address: str) -> str:
    return "pci_" + address.replace(":", "_").replace(".", "_")


def _conf(flat: dict[str, str]) -> str:
    groups: dict[str, list[str]] = {}
    for key, value in flat.items():
        group, _, option = key.rpartition(".")
        groups.setdefault(group, []).append(f"{option} = {value}")
    return "\n".join(line for group, lines in groups.items() for line in (f"[{group}]", *lines)) + "\n"


def _per_gpu(inventories: dict[str, int]) -> dict[str, int]:
    out = dict.fromkeys(TWO, 0)
    for name, total in inventories.items():
        out[GPU0 if name.startswith("pci_0000_41") else GPU1] += total
    return out


def test_the_snippet_makes_nova_report_the_real_maximum_of_each_gpu(nova: Nova) -> None:
    libvirt, ssh = host_facts(TWO, conf=conf_of(A100_20C))
    text = nova_conf_snippet(snapshot_of(libvirt, ssh), HOST)
    for seed in range(3):
        said = nova.reads(text, libvirt, order=random.Random(seed))
        assert said["supported"] == [A100_20C]
        assert said["caps"] == {A100_20C: None}
        assert _per_gpu(said["inventories"]) == {GPU0: 2, GPU1: 2}


def test_it_stays_true_while_devices_come_and_functions_in_use_are_kept(nova: Nova) -> None:
    devices = [mdev(vf(GPU0, 7)), mdev(vf(GPU0, 11)), mdev(vf(GPU1, 3))]
    libvirt, ssh = host_facts(TWO, conf=conf_of(A100_20C), mdevs=devices)
    text = nova_conf_snippet(snapshot_of(libvirt, ssh), HOST)
    said = nova.reads(text, libvirt)
    assert _per_gpu(said["inventories"]) == {GPU0: 2, GPU1: 2}
    assert all(said["inventories"][_name(d.parent or "")] == 1 for d in devices)


def test_two_types_with_a_class_of_their_own(nova: Nova) -> None:
    conf = conf_of(A100_20C, nvidia_472__mdev_class="CUSTOM_BIG")
    libvirt, ssh = host_facts(TWO, conf=conf)
    text = nova_conf_snippet(snapshot_of(libvirt, ssh), HOST, {GPU1: A100_10C})
    said = nova.reads(text, libvirt)
    assert said["supported"] == [A100_20C, A100_10C]
    assert _per_gpu(said["inventories"]) == {GPU0: 2, GPU1: 4}
    assert said["classes"][vf(GPU0, 0)] == "CUSTOM_BIG"
    assert said["classes"][vf(GPU1, 0)] == "VGPU"


def test_nova_leaves_the_providers_that_the_snippet_says_to_delete(nova: Nova) -> None:
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C))
    there = [provider(vf(GPU0, n)) for n in range(16)]
    text = nova_conf_snippet(snapshot_of(libvirt, ssh, there), HOST)
    said = nova.reads(text, libvirt, providers=[p.name for p in there])
    left = [
        p for p in there if p.name in said["providers"] and p.name.removeprefix("gpu-01_") not in said["inventories"]
    ]
    assert len(left) == 14
    assert all(f"openstack resource provider delete {p.uuid}" in text for p in left)


def test_a_provider_beside_another_size_is_deleted_as_the_snippet_says(nova: Nova) -> None:
    """Nova slates it for deletion; Placement refuses while it has allocations."""
    libvirt, ssh = host_facts((GPU0,), conf=conf_of(A100_20C), mdevs=[mdev(vf(GPU0, 0), A100_10C)])
    held = provider(vf(GPU0, 0), consumer="c")
    text = nova_conf_snippet(snapshot_of(libvirt, ssh, [held]), HOST, {GPU0: A100_20C})
    assert "would report nothing" in " ".join(text.replace("#", "").split())
    assert held.name not in nova.reads(text, libvirt, providers=[held.name])["providers"]


@pytest.mark.parametrize("cap", [None, 1, 2, 3, 4, 5, 17, 18, 40])
def test_what_a_cap_does_is_what_nova_does(cap: int | None, nova: Nova) -> None:
    """Whatever the order: never more than the console says, never less, and never outside its range."""
    flat = conf_of(A100_20C, **({"nvidia_472__max_instances": str(cap)} if cap else {}))
    libvirt, ssh = host_facts(TWO, conf=flat)
    snapshot = snapshot_of(libvirt, ssh)
    (side,) = nova_types(snapshot, HOST)
    assert None not in (side.usable_least, side.usable_most)
    for seed in range(3):
        kept = _per_gpu(nova.reads(_conf(flat), libvirt, order=random.Random(seed))["inventories"])
        assert sum(kept.values()) == side.idle_total
        assert side.usable_least <= sum(min(2, n) for n in kept.values()) <= side.usable_most  # type: ignore[operator]


def test_what_is_named_is_what_nova_reports(nova: Nova) -> None:
    flat = conf_of(A100_20C, A100_10C, nvidia_472__device_addresses=f"{vf(GPU0, 0)},{vf(GPU0, 1)},{vf(GPU0, 2)}")
    libvirt, ssh = host_facts(TWO, conf=flat)
    rows = nova_side(snapshot_of(libvirt, ssh), HOST)
    said = nova.reads(_conf(flat), libvirt)
    assert sum(r.idle_total or 0 for r in rows) == sum(said["inventories"].values())


def test_a_cap_on_gpus_without_functions(nova: Nova) -> None:
    flat = conf_of(T4_4Q, nvidia_232__max_instances="6")
    libvirt, ssh = host_facts(TWO, vfs=0, types=T4, conf=flat)
    (side,) = nova_types(snapshot_of(libvirt, ssh), HOST)
    said = nova.reads(_conf(flat), libvirt)
    assert sum(said["inventories"].values()) == side.idle_total == 4
    assert options(nova_conf_snippet(snapshot_of(libvirt, ssh), HOST))["devices.enabled_mdev_types"] == T4_4Q


def test_the_pci_section_is_taken_and_matches_exactly_the_functions_with_a_type(nova: Nova) -> None:
    snapshot = vendor({0: 1155, 2: 1155}, {})
    text = nova_conf_snippet(snapshot, HOST) + "\n[filter_scheduler]\npci_in_placement = true\n"
    (gpu,) = snapshot.hosts[0].gpus or ()
    functions = [
        {"address": f.address, "parent_addr": gpu.address, "vendor_id": "10de", "product_id": "26b9"}
        for f in gpu.functions
    ]
    said = nova.reads(text, functions=functions)
    matched = {a: tags for a, tags in said["specs"].items() if tags is not None}
    assert sorted(matched) == [f.address for f in gpu.functions if f.current_vgpu_type]
    wanted = {"resource_class": "CUSTOM_L40S_12Q", "managed": "false", "live_migratable": "true"}
    assert all(tags == wanted for tags in matched.values())
    (alias,) = said["aliases"].items()
    assert alias == (
        "L40S_12Q",
        [{"resource_class": "CUSTOM_L40S_12Q", "dev_type": "type-VF", "live_migratable": "true"}],
    )
    assert said["report_in_placement"] is True


@pytest.mark.parametrize(
    "spec",
    [
        {"address": "0000:41:00.4"},
        {"address": "*:41:00.*"},
        {"address": ":41:00."},
        {"address": "41:00.5", "vendor_id": "10de"},
        {"address": "0000:41:00.4", "vendor_id": "15b3"},
        {"address": {"bus": "4[01]", "function": "[4-6]"}},
        {"vendor_id": "10de", "product_id": "26b9"},
        {"address": "0000:81:00.0"},
    ],
)
def test_a_device_spec_matches_what_nova_says_it_matches(spec: dict[str, Any], nova: Nova) -> None:
    line = msgspec.json.encode(spec).decode()
    (mine,) = device_specs({"pci.device_spec": line}) or ()
    functions = [
        {"address": vf(GPU0, n), "parent_addr": GPU0, "vendor_id": "10de", "product_id": "26b9"} for n in range(6)
    ]
    said = nova.reads(f"[pci]\ndevice_spec = {line}\n", functions=functions)
    for function in functions:
        expected = said["specs"][function["address"]] is not None
        assert mine.matches(function["address"], GPU0, "10de") is expected, function["address"]
