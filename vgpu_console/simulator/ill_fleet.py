"""Illnesses of the fleet as a whole: versions and configurations that do not go together, sources, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_console.simulator.ill_limits import ILL as OF_LIMITS

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud
    from vgpu_console.simulator.hosts import Host

Illness = Callable[["DemoCloud"], None]


def _on(host: str, change: Callable[[Host], None]) -> Illness:
    return lambda cloud: change(cloud.state.hosts[host])


def _libvirt_option(host: str, **options: str) -> Illness:
    """[libvirt] live_migration_… in that host's nova.conf."""

    def ill(cloud: DemoCloud) -> None:
        group = cloud.state.hosts[host].nova_conf.setdefault("libvirt", {})
        group.update({f"live_migration_{name}": value for name, value in options.items()})

    return ill


def service_down(cloud: DemoCloud) -> None:
    """Forced down when it was evacuated, and never taken back."""
    cloud.state.hosts["gpu-04"].forced_down = True


def old_kernel(host: Host) -> None:
    """Installed long ago and never brought up to date."""
    host.kernel, host.os = "5.4.0-190-generic", ("ubuntu", "20.04", "Ubuntu 20.04.6 LTS")


def old_libvirt(host: Host) -> None:
    """That of Ubuntu 22.04."""
    host.libvirt_version = 8_000_000


def old_qemu(host: Host) -> None:
    """That of Ubuntu 22.04."""
    host.qemu_version = 6_002_000


def other_driver(host: Host) -> None:
    """Not updated with the others."""
    host.driver = "550.54.16"


def other_system(host: Host) -> None:
    """The first that was installed anew."""
    host.os, host.kernel = ("rhel", "10.0", "Red Hat Enterprise Linux 10.0 (Coughlan)"), "6.12.0-55.9.1.el10_0.x86_64"


def other_framework(cloud: DemoCloud) -> None:
    """A host with the older driver, which makes the same type with mediated devices, has joined."""
    fleet, model = cloud.builder, cloud.state.hosts["gpu-05"]
    host = fleet.host("gpu-06")
    host.driver = model.driver
    host.nova_conf = {group: dict(options) for group, options in model.nova_conf.items()}
    gpu = fleet.gpu(host, "L40S", ("L40S-12Q",))
    gpu.named = gpu.functions()[:4]
    fleet.inventories(host)


def ecc_off(host: Host) -> None:
    """Somebody has switched it off for more framebuffer."""
    host.gpus[0].ecc = False


def clock_ahead(host: Host) -> None:
    """Its time server is gone."""
    host.clock_ahead_s = 7.0


def ssh_silent(cloud: DemoCloud) -> None:
    """No answer over SSH."""
    cloud.faults.ssh["gpu-04"] = "timeout"


def garbled_device(host: Host) -> None:
    """A card's product data holds characters that XML cannot carry; a function that Nova does not name."""
    host.garbled.add(host.gpus[0].functions()[-1])


def other_name(host: Host) -> None:
    """Its address leads to another machine, or it was renamed."""
    host.hostname = "gpu-40.example.net"


def qemu_updated(host: Host) -> None:
    """nova-compute has not been restarted since."""
    host.nova_qemu_version = 8_001_000


def libvirt_updated(host: Host) -> None:
    """libvirtd has not been restarted since."""
    host.libvirt_installed = 10_005_000


ILL: dict[str, Illness] = {
    "service-down": service_down,
    "clock-differs": _on("gpu-02", clock_ahead),
    "kernel-too-old": _on("gpu-04", old_kernel),
    "libvirt-too-old": _on("gpu-04", old_libvirt),
    "qemu-too-old": _on("gpu-04", old_qemu),
    "post-copy-permitted": _libvirt_option("gpu-03", permit_post_copy="true"),
    "downtime-ladder": _libvirt_option("gpu-02", downtime="500", downtime_steps="10", downtime_delay="75"),
    "completion-timeout": _libvirt_option("gpu-02", completion_timeout="800"),
    "driver-differs": _on("gpu-02", other_driver),
    "os-differs": _on("gpu-02", other_system),
    "framework-differs": other_framework,
    "ecc-differs": _on("gpu-02", ecc_off),
    "source-failed": ssh_silent,
    "devices-unreadable": _on("gpu-03", garbled_device),
    "host-name-contradicts": _on("gpu-04", other_name),
    "hypervisor-version-contradicts": _on("gpu-04", qemu_updated),
    "update-not-restarted": _on("gpu-04", libvirt_updated),
    **OF_LIMITS,
}
"""Diagnosis -> what makes the healthy fleet ill of it."""
