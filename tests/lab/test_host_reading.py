"""The console's own sources against a real libvirtd, kernel and sshd: what they read of GPUs that come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from tests.lab.host_machine import TYPES, VFS, GpuHost
from tests.lab.lab import settled, until
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_host import LibvirtHostSource
from vgpu_console.sources.ssh_host import SshHostSource

pytest.importorskip("libvirt", reason="libvirt-python is not installed")
pytestmark = pytest.mark.lab


class Watch:
    """The console's libvirt source, with its events counted."""

    def __init__(self, uri: str) -> None:
        self.rang = threading.Event()
        self.source = LibvirtHostSource("gpu-host", uri, timeout_s=20.0, on_event=self.rang.set)

    def read(self) -> LibvirtFacts:
        """One reading; from here on a new event rings."""
        self.rang.clear()
        return self.source.fetch(None)

    def after_event(self, timeout_s: float = 60.0) -> LibvirtFacts:
        """What it reads once libvirt has told of a change."""
        assert self.rang.wait(timeout_s), "libvirt told of nothing"
        return self.read()


@pytest.fixture
def watch(gpu_host: GpuHost) -> Iterator[Watch]:
    made = Watch(gpu_host.libvirt_uri)
    yield made
    made.source.close()


@pytest.fixture
def facts_by_ssh(gpu_host: GpuHost) -> Iterator[Callable[[], SshFacts]]:
    """The console's SSH source over its own shell."""
    shell = gpu_host.shell()
    source = SshHostSource(gpu_host.address, shell, timeout_s=60.0)
    yield lambda: source.fetch(None)
    shell.close()


def _functions(facts: LibvirtFacts, gpu: str) -> tuple[str, ...]:
    return next(d.virtual_functions or () for d in facts.devices if d.address == gpu)


def _parents(facts: LibvirtFacts, gpu: str) -> tuple[str, ...]:
    return tuple(sorted(d.address for d in facts.devices if d.physical_function == gpu and d.types))


def test_libvirt_shows_gpus_functions_and_types(gpu_host: GpuHost, watch: Watch) -> None:
    facts = watch.read()
    assert (facts.hostname, facts.libvirt_version, facts.skipped) == (gpu_host.name, "11.3.0", ())
    assert (facts.qemu_version or "").startswith("10.0.")
    assert facts.defined_visible
    gpus = [d for d in facts.devices if d.max_virtual_functions]
    assert [d.address for d in gpus] == list(gpu_host.gpus)
    for gpu in gpus:
        assert (gpu.vendor_id, gpu.product_id, gpu.driver) == ("10de", "20f1", "nvidia")
        assert gpu.product == "GA100 [A100 PCIe 40GB]"
        assert gpu.max_virtual_functions == VFS
        assert gpu.virtual_functions == tuple(gpu_host.functions(gpu.address))
    functions = [d for d in facts.devices if d.physical_function]
    assert len(functions) == len(facts.devices) - 2 == 2 * VFS
    for function in functions:
        offers = {offer.type_id: (offer.name, offer.available_instances) for offer in function.types}
        assert offers == {type_id: (name, 1) for type_id, (name, _, _) in TYPES.items()}
    assert (facts.mdevs, facts.domains) == ((), ())


def test_ssh_tells_the_real_maximum_of_every_type(gpu_host: GpuHost, facts_by_ssh: Callable[[], SshFacts]) -> None:
    facts = facts_by_ssh()
    assert facts.kernel is not None
    assert facts.kernel == gpu_host.run("uname -r")
    assert (facts.os_id, facts.os_version) == ("debian", "13")
    assert facts.nvidia_driver == gpu_host.run("cat /sys/module/nvidia/version")
    assert (facts.libvirt_installed, facts.qemu_installed) == ("11.3.0", gpu_host.run("virsh version").split()[-1])
    assert facts.mdev_bus is True
    assert dict(facts.gpu_models) == dict.fromkeys(gpu_host.gpus, "NVIDIA A100-PCIE-40GB")
    assert len(facts.types) == 2 * VFS * len(TYPES)
    for offer in facts.types:
        told = (offer.name, offer.framebuffer_mib, offer.max_instances)
        assert told == TYPES[offer.type_id]
        assert offer.available_instances == 1
    functions = {f.address: f for f in facts.pci}
    assert len(functions) == 2 + 2 * VFS
    for gpu in gpu_host.gpus:
        assert (functions[gpu].sriov_numvfs, functions[gpu].sriov_totalvfs) == (VFS, VFS)
        assert functions[gpu].driver == "nvidia"
        for address in gpu_host.functions(gpu):
            assert functions[address].physical_function == gpu
            assert functions[address].current_vgpu_type is None


def test_nova_conf_is_read_as_it_is_now(gpu_host: GpuHost, facts_by_ssh: Callable[[], SshFacts]) -> None:
    facts = facts_by_ssh()
    assert facts.nova_conf_path == "/etc/nova/nova.conf"
    assert facts.nova_conf is not None
    assert facts.nova_conf["devices.enabled_mdev_types"] == "nvidia-471"
    gpu_host.write_nova_conf(
        "[devices]\nenabled_mdev_types = nvidia-472, nvidia-473\n"
        "[mdev_nvidia-472]\nmax_instances = 4\ndevice_addresses = 0000:01:00.1\n"
    )
    facts = facts_by_ssh()
    assert facts.nova_conf is not None
    assert facts.nova_conf["devices.enabled_mdev_types"] == "nvidia-472, nvidia-473"
    assert facts.nova_conf["mdev_nvidia-472.max_instances"] == "4"
    gpu_host.run("rm /etc/nova/nova.conf")
    assert facts_by_ssh().nova_conf is None


def test_a_device_made_behind_our_back_is_told_by_an_event(gpu_host: GpuHost, watch: Watch) -> None:
    watch.read()
    function = gpu_host.functions(gpu_host.gpus[0])[2]
    device = gpu_host.make_mdev_behind(function, "nvidia-472")
    facts = watch.after_event()
    settled(lambda: [m.uuid for m in watch.read().mdevs], [device], "the new device")
    facts = watch.read()
    assert [(m.type_id, m.parent, m.active, m.persistent) for m in facts.mdevs] == [
        ("nvidia-472", function, True, False)
    ]
    types = {d.address: {o.type_id: o.available_instances for o in d.types} for d in facts.devices if d.types}
    assert set(types[function].values()) == {0}
    neighbour = gpu_host.functions(gpu_host.gpus[0])[3]
    assert types[neighbour] == {type_id: int(type_id == "nvidia-472") for type_id in TYPES}
    assert set(types[gpu_host.functions(gpu_host.gpus[1])[0]].values()) == {1}
    watch.rang.clear()
    gpu_host.remove_mdev_behind(device)
    watch.after_event()
    settled(lambda: watch.read().mdevs, (), "no device")


def test_functions_are_switched_off_and_on(
    gpu_host: GpuHost, watch: Watch, facts_by_ssh: Callable[[], SshFacts]
) -> None:
    gpu, other = gpu_host.gpus
    watch.read()
    gpu_host.make_mdev_behind(gpu_host.functions(gpu)[0], "nvidia-471")
    settled(lambda: len(watch.read().mdevs), 1, "the device")
    watch.rang.clear()
    gpu_host.set_vfs(gpu, 0)
    watch.after_event()
    settled(lambda: _functions(watch.read(), gpu), (), "no functions")
    settled(lambda: watch.read().mdevs, (), "the device went with its function")
    facts = watch.read()
    assert len(_functions(facts, other)) == VFS
    assert next(d.max_virtual_functions for d in facts.devices if d.address == gpu) == VFS
    by_ssh = {f.address: f for f in facts_by_ssh().pci}
    assert (by_ssh[gpu].sriov_numvfs, by_ssh[gpu].sriov_totalvfs) == (0, VFS)
    assert len(by_ssh) == 2 + VFS
    gpu_host.set_vfs(gpu, 4)
    wanted = tuple(gpu_host.functions(gpu, 4))
    settled(lambda: _functions(watch.read(), gpu), wanted, "four functions")
    settled(lambda: _parents(watch.read(), gpu), wanted, "types on four functions")


def test_a_definition_is_seen_running_and_not(gpu_host: GpuHost, watch: Watch) -> None:
    """Whether it starts by itself is not known: libvirt tells that on a connection that may write only."""
    function = gpu_host.functions(gpu_host.gpus[1])[0]
    device = "6f1c0a52-2a43-4d0a-9f5e-0d3a7b8c9e10"

    def seen() -> list[tuple[str, str, str | None, bool | None, bool | None, bool | None]]:
        return [(m.uuid, m.type_id, m.parent, m.active, m.persistent, m.autostart) for m in watch.read().mdevs]

    defined = [(device, "nvidia-470", function, False, True, None)]
    running = [(device, "nvidia-470", function, True, True, None)]
    gpu_host.run(f"mdevctl define --uuid {device} --parent {function} --type nvidia-470 --auto")
    settled(seen, defined, "the definition")
    gpu_host.run(f"mdevctl start --uuid {device} --parent {function}")
    settled(seen, running, "it runs")
    gpu_host.restart_libvirtd()
    settled(seen, running, "it runs after libvirtd came back")


def test_a_definition_outlives_its_function_and_starts_with_it(gpu_host: GpuHost, watch: Watch) -> None:
    gpu = gpu_host.gpus[1]
    function = gpu_host.functions(gpu)[0]
    device = "0b7f6a0e-6a3c-4a55-9b25-5a2b1f0f7c11"
    gpu_host.run(f"mdevctl define --uuid {device} --parent {function} --type nvidia-470 --auto")
    gpu_host.run(f"mdevctl start --uuid {device} --parent {function}")
    settled(lambda: [(m.uuid, m.active) for m in watch.read().mdevs], [(device, True)], "it runs")
    gpu_host.set_vfs(gpu, 0)
    settled(lambda: _functions(watch.read(), gpu), (), "no functions")
    settled(lambda: [(m.uuid, m.active) for m in watch.read().mdevs], [(device, False)], "the definition is left")
    assert [m.parent for m in watch.read().mdevs] == [function]
    gpu_host.set_vfs(gpu, 4)
    settled(
        lambda: [(m.uuid, m.parent, m.active) for m in watch.read().mdevs],
        [(device, function, True)],
        "started with its function",
    )


@pytest.mark.parametrize("ending", ["restart", "crash"])
def test_libvirtd_comes_back_and_so_do_the_facts(gpu_host: GpuHost, watch: Watch, ending: str) -> None:
    device = gpu_host.make_mdev_behind(gpu_host.functions(gpu_host.gpus[0])[0], "nvidia-473")
    settled(lambda: [m.uuid for m in watch.read().mdevs], [device], "the device")
    before = watch.read()
    watch.rang.clear()
    if ending == "restart":
        gpu_host.restart_libvirtd()
    else:
        gpu_host.kill_libvirtd()
        assert watch.rang.wait(60), "the broken connection was not noticed"
        with pytest.raises(SourceError) as refused:
            watch.read()
        assert refused.value.kind in ("unreachable", "timeout")
        gpu_host.start_libvirtd()
    settled(watch.read, before, "the same facts as before")
    watch.rang.clear()
    gpu_host.remove_mdev_behind(device)
    watch.after_event()
    settled(lambda: watch.read().mdevs, (), "events on the new connection")


def test_guests_are_shown_with_the_devices_they_hold(gpu_host: GpuHost, watch: Watch) -> None:
    first, second = gpu_host.functions(gpu_host.gpus[0])[:2]
    devices = [gpu_host.make_mdev_behind(function, "nvidia-471") for function in (first, second)]
    settled(lambda: len(watch.read().mdevs), 2, "the devices")
    running = gpu_host.start_guest("runs", [devices[0]])
    stopped = gpu_host.define_guest("waits", [devices[1]])
    domains = {d.name: (d.uuid, d.active, d.mdevs) for d in watch.read().domains}
    assert domains == {"runs": (running, True, (devices[0],)), "waits": (stopped, False, (devices[1],))}
    gpu_host.stop_guest("runs")
    settled(lambda: [d.name for d in watch.read().domains], ["waits"], "the transient guest is gone")


def test_over_ssh_libvirt_gives_the_same_facts(gpu_host: GpuHost, watch: Watch) -> None:
    wanted = watch.read()
    for user in ("root", "watcher"):
        source = LibvirtHostSource("gpu-host", gpu_host.libvirt_ssh_uri(user), timeout_s=30.0)
        try:
            assert source.fetch(None) == wanted
        finally:
            source.close()


def test_an_ordinary_user_gathers_the_same_facts_but_may_change_nothing(
    gpu_host: GpuHost, facts_by_ssh: Callable[[], SshFacts]
) -> None:
    shell = gpu_host.shell("watcher")
    try:
        theirs = SshHostSource(gpu_host.address, shell, timeout_s=60.0).fetch(None)
    finally:
        shell.close()
    ours = facts_by_ssh()
    assert (ours.create_mdev, theirs.create_mdev) == (True, False)
    alike = {"create_mdev": None, "clock_skew_s": None, "clock_error_s": None}
    assert msgspec.structs.replace(theirs, **alike) == msgspec.structs.replace(ours, **alike)


@pytest.mark.vendor_framework
def test_a_host_of_the_vendors_framework(gpu_host: GpuHost, watch: Watch, facts_by_ssh: Callable[[], SshFacts]) -> None:
    gpu = gpu_host.gpus[0]
    first, second, third = gpu_host.functions(gpu)[:3]
    facts = facts_by_ssh()
    assert facts.mdev_bus is False
    assert facts.types == ()
    names = {int(type_id.partition("-")[2]): name.replace("GRID", "NVIDIA") for type_id, (name, _, _) in TYPES.items()}
    functions = {f.address: f for f in facts.pci}
    assert functions[gpu].current_vgpu_type is None
    assert (functions[first].current_vgpu_type, dict(functions[first].creatable_vgpu_types or ())) == (0, names)

    gpu_host.run(f"echo 472 >/sys/bus/pci/devices/{first}/nvidia/current_vgpu_type")
    functions = {f.address: f for f in facts_by_ssh().pci}
    assert (functions[first].current_vgpu_type, functions[first].creatable_vgpu_types) == (472, ())
    assert (functions[second].current_vgpu_type, dict(functions[second].creatable_vgpu_types or ())) == (
        0,
        {472: "NVIDIA A100-20C"},
    )
    gpu_host.run(f"echo 472 >/sys/bus/pci/devices/{second}/nvidia/current_vgpu_type")
    assert {f.address: f.creatable_vgpu_types for f in facts_by_ssh().pci}[third] == ()

    domain = gpu_host.start_guest("vendor", pci=[first])
    settled(
        lambda: [(d.uuid, d.pci) for d in watch.read().domains], [(domain, (first,))], "the guest with the function"
    )
    settled(lambda: any(d.types for d in watch.read().devices), False, "no mdev types")
    assert sum(d.physical_function is not None for d in watch.read().devices) == 2 * VFS


def test_a_reading_at_the_speed_of_a_refresh(gpu_host: GpuHost, watch: Watch) -> None:
    """Two readings of an unchanged host are equal, so that a refresh with nothing new changes nothing."""
    first = watch.read()
    assert watch.source.fetch(first) is first
    assert not watch.rang.is_set()


def test_nobody_there_is_said_within_the_time_allowed(gpu_host: GpuHost) -> None:
    gpu_host.kill_libvirtd()
    source = LibvirtHostSource("gpu-host", gpu_host.libvirt_uri, timeout_s=5.0)
    with pytest.raises(SourceError):
        source.fetch(None)
    gpu_host.start_libvirtd()
    until(lambda: source.fetch(None).devices, "facts once it is there")
    source.close()
