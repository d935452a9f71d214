"""What the doctor tells of a real host: libvirt, mdevctl and the kernel behind every word. One boot, one long story."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.device_console import DeviceConsole
from tests.lab.host_machine import GpuHost
from tests.lab.lab import settled
from vgpu_console.model.snapshot import Finding

A20, A10 = "nvidia-472", "nvidia-471"
CONF = f"[devices]\nenabled_mdev_types = {A20}\n[libvirt]\nlive_migration_downtime = 500000\n"

OURS = {
    "vfs-off",
    "vfs-partial",
    "function-unbound",
    "mdev-not-active",
    "mdev-cannot-start",
    "mdev-parent-lost",
    "mdev-uuid-twice",
    "mdev-no-autostart",
    "free-mdev-pins-type",
    "type-not-enabled",
    "conf-address-unknown",
    "type-not-offered",
    "no-mdev-types",
    "mdevctl-missing",
    "domain-mdev-missing",
    "mdev-shared",
}
"""What can be looked for with a host alone, without a cloud."""


@pytest.fixture
def console(gpu_host: GpuHost, tmp_path: Path) -> Iterator[DeviceConsole]:
    gpu_host.write_nova_conf(CONF)
    made = DeviceConsole(gpu_host, tmp_path)
    yield made
    made.close()


def found(console: DeviceConsole, *ids: str) -> dict[str, Finding]:
    """Reads until just these are told: libvirt's lists lag behind what happens."""
    settled(lambda: sorted({f.id for f in console.read().snapshot.findings} & OURS), sorted(ids), "the findings")
    return {f.id: f for f in console.snapshot.findings if f.id in OURS}


def test_a_host_that_falls_ill_of_one_thing_after_the_other(gpu_host: GpuHost, console: DeviceConsole) -> None:
    first, second = gpu_host.gpus
    assert found(console) == {}

    pinned = gpu_host.make_mdev_behind(gpu_host.functions(second)[0], A10)
    told = found(console, "free-mdev-pins-type")["free-mdev-pins-type"]
    assert told.objects == (f"gpu {console.name} {second}", f"mdev {console.name} {pinned}")
    assert set(gpu_host.available(second, A20).values()) == {0}, "the driver makes none beside it, as it says"
    gpu_host.remove_mdev_behind(pinned)

    (plan,) = console.read().create(first, "A100-20C")
    uuid, function = str(plan.target.key["uuid"]), str(plan.target.key["function"])
    console.done(plan)
    console.read().done(console.stop(uuid))
    told = found(console, "mdev-not-active")["mdev-not-active"]
    assert told.command == f"vgpu-console mdev start {console.name} {uuid}"

    other = gpu_host.make_mdev_behind(gpu_host.functions(first)[3], A10)
    told = found(console, "free-mdev-pins-type", "mdev-cannot-start")["mdev-cannot-start"]
    assert "another size" in told.message
    refused = gpu_host.attempt(f"mdevctl start -u {uuid}")
    assert refused.returncode != 0, "as it says"
    gpu_host.remove_mdev_behind(other)

    gpu_host.set_vfs(first, 0)
    told = found(console, "vfs-off", "mdev-parent-lost")["mdev-parent-lost"]
    assert function in told.message
    assert told.command == f"vgpu-console sriov enable {console.name} --gpu {first}"


def test_guests_whose_devices_are_gone_or_somebody_elses(gpu_host: GpuHost, console: DeviceConsole) -> None:
    (plan,) = console.read().create(gpu_host.gpus[0], "A100-20C")
    uuid = str(plan.target.key["uuid"])
    console.done(plan)
    guests = [gpu_host.define_guest(name, [uuid]) for name in ("one", "two")]
    told = found(console, "mdev-shared")["mdev-shared"]
    assert told.objects == (f"mdev {console.name} {uuid}", *sorted(f"server {guest}" for guest in guests))

    gpu_host.run("virsh -q undefine two")
    gpu_host.run(f"mdevctl stop -u {uuid}; mdevctl undefine -u {uuid}")
    told = found(console, "domain-mdev-missing")["domain-mdev-missing"]
    assert uuid in told.message
    refused = gpu_host.attempt("virsh -q start one")
    assert f"mediated device '{uuid}' not found" in refused.stderr
    gpu_host.run("virsh -q undefine one")
