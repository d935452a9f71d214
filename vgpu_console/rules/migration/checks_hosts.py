"""Pre-checks of the two hosts: versions, operating systems, processors, NVIDIA's driver."""

from __future__ import annotations

import msgspec

from vgpu_console.model.check import Check
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.migration.scene import HostScene, Scene, version

MIN_LIBVIRT, MIN_QEMU = (8, 6, 0), (8, 1, 0)
"""nova: virt/libvirt/driver.py, MIN_MDEV_LIVEMIG_LIBVIRT_VERSION and MIN_MDEV_LIVEMIG_QEMU_VERSION."""
MIN_KERNEL = (5, 18, 0)
"""Nova's release note of vGPU live migration (2024.1); nothing in Nova looks at it."""
RED_HAT_KERNEL = (5, 14, 0)
MIN_LIBVIRT_VARIANT, MIN_QEMU_VARIANT = (10, 0, 0), (8, 2, 2)
"""The same for live_migratable PCI functions: MIN_VFIO_PCI_VARIANT_LIBVIRT_VERSION and …_QEMU_VERSION."""

_RED_HAT = frozenset({"rhel", "centos", "rocky", "almalinux", "ol"})


class Told(msgspec.Struct, frozen=True):
    """A version of one host: what runs, by libvirt or Nova, else what is ``installed``, by SSH."""

    end: HostScene
    text: str | None
    source: SourceKind
    installed: bool = False

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """As a tuple; None when it is not known."""
        return version(self.text)

    def __str__(self) -> str:
        return f"{self.end.name} {self.text or '?'}{' (installed)' if self.installed else ''}"


def libvirt(scene: Scene) -> Check:
    """Nova checks it on the source, and on the destination by what it says it supports."""
    least = MIN_LIBVIRT_VARIANT if scene.mechanism == "vendor-vfio" else MIN_LIBVIRT
    return _at_least(scene, "libvirt", least, tuple(_libvirt(end) for end in scene.ends))


def qemu(scene: Scene) -> Check:
    """The version that a guest is started with; one that was started earlier may still run an older one."""
    least = MIN_QEMU_VARIANT if scene.mechanism == "vendor-vfio" else MIN_QEMU
    return _at_least(scene, "qemu", least, tuple(_qemu(scene, end) for end in scene.ends))


def qemu_order(scene: Scene) -> Check | None:
    """Nova takes no destination with an older hypervisor (nova: conductor/tasks/live_migrate.py).

    Its conductor leaves that out with [workarounds] skip_hypervisor_version_check_on_lm, in its own nova.conf.
    """
    here, there = (_qemu(scene, end) for end in scene.ends)
    if here.numbers is None or there.numbers is None or there.numbers >= here.numbers:
        return None
    conf = scene.source.conf or {}
    skipped = conf.get("workarounds.skip_hypervisor_version_check_on_lm", "").lower() in ("true", "1", "yes", "on")
    evidence = f"QEMU: {there} is older than {here}"
    if skipped:
        evidence += "; skip_hypervisor_version_check_on_lm is set on the source, the conductor's own word counts"
    return scene.check("qemu-order", "warn" if skipped else "fail", evidence, there.source)


def kernel(scene: Scene) -> Check:
    """5.18 on both. Of Red Hat's 9.4 and later, which call theirs 5.14, NVIDIA lists live migration as supported."""
    versions = [(end, version(end.host.kernel)) for end in scene.ends]
    unread = [end.why_unread("ssh") for end, found in versions if found is None]
    shown = ", ".join(f"{end.name} {end.host.kernel or '?'}" for end, _ in versions)
    old = [end for end, found in versions if found is not None and found < MIN_KERNEL]
    excused = [end for end in old if backports(end)]
    if len(excused) < len(old):
        names = ", ".join(end.name for end in old if end not in excused)
        return scene.check("kernel", "fail", f"{shown}: {names} is older than 5.18", "ssh")
    if unread:
        return scene.check("kernel", "unknown", "; ".join(unread), "ssh")
    if excused:
        evidence = f"{shown}: older than 5.18, but NVIDIA supports moves with Red Hat's own of 9.4 and later"
        return scene.check("kernel", "warn", evidence, "ssh")
    return scene.check("kernel", "pass", f"{shown}: at least 5.18", "ssh")


def os_pair(scene: Scene) -> Check:
    """NVIDIA supports no migration between RHEL 9.4 and 10 (NVIDIA AI Enterprise, live migration)."""
    told = [os_of(end) for end in scene.ends]
    unread = [end.why_unread("ssh") for end, os in zip(scene.ends, told, strict=True) if os is None]
    if unread:
        return scene.check("os", "unknown", "; ".join(unread), "ssh")
    (here, here_v), (there, there_v) = (os or ("", ()) for os in told)
    names = ", ".join(f"{end.name} {end.host.os_name or '?'}" for end in scene.ends)
    if (here, here_v[:2]) == (there, there_v[:2]):
        return scene.check("os", "pass", names, "ssh")
    if supports_no_move(*scene.ends):
        return scene.check("os", "fail", f"{names}: NVIDIA supports no move between RHEL 9.4 and 10", "ssh")
    return scene.check("os", "warn", f"{names}: not the same system", "ssh")


def nvidia_driver(scene: Scene) -> Check:
    """The vGPU manager: must be the same; on RHEL 9.6 and later 9 versions may differ (NVIDIA, release notes)."""
    unread = [end.why_unread("ssh") for end in scene.ends if not end.host.driver]
    if unread:
        return scene.check("nvidia-driver", "unknown", "; ".join(unread), "ssh")
    shown = ", ".join(f"{end.name} {end.host.driver}" for end in scene.ends)
    if scene.source.host.driver == scene.destination.host.driver:
        return scene.check("nvidia-driver", "pass", shown, "ssh")
    shown = shown.replace(", ", " ≠ ")
    systems = [os_of(end) for end in scene.ends]
    lenient = [drivers_may_differ(end) for end in scene.ends]
    if all(lenient):
        return scene.check("nvidia-driver", "warn", f"{shown}: RHEL 9.6 and later let versions differ", "ssh")
    if all(ok or os is None for ok, os in zip(lenient, systems, strict=True)):
        evidence = f"{shown}: must be equal, unless both hosts are RHEL 9.6 or later, which is not known"
        return scene.check("nvidia-driver", "unknown", evidence, "ssh")
    return scene.check("nvidia-driver", "fail", f"{shown}: must be equal", "ssh")


def cpu(scene: Scene) -> Check:
    """Nova has libvirt compare the processors; a model with less than the guest was given is refused."""
    unread = [end.why_unread("ssh") for end in scene.ends if not end.host.cpu_model]
    if unread:
        return scene.check("cpu", "unknown", "; ".join(unread), "ssh")
    here, there = (end.host.cpu_model for end in scene.ends)
    if here == there:
        return scene.check("cpu", "pass", f"{scene.source.name} and {scene.destination.name}: {here}", "ssh")
    evidence = f"{scene.source.name} {here}, {scene.destination.name} {there}: Nova may find them incompatible"
    return scene.check("cpu", "warn", evidence, "ssh")


def _libvirt(end: HostScene) -> Told:
    if end.libvirt is not None and end.libvirt.libvirt_version:
        return Told(end, end.libvirt.libvirt_version, "libvirt")
    if end.ssh is not None and end.ssh.libvirt_installed:
        return Told(end, end.ssh.libvirt_installed, "ssh", installed=True)
    return Told(end, None, "libvirt")


def _qemu(scene: Scene, end: HostScene) -> Told:
    """Nova's hypervisor version is what that host's libvirt said of QEMU when nova-compute last asked."""
    if end.libvirt is not None and end.libvirt.qemu_version:
        return Told(end, end.libvirt.qemu_version, "libvirt")
    hypervisor = scene.ground.hypervisors.get(end.name)
    if hypervisor is not None and hypervisor.version:
        number = hypervisor.version
        return Told(end, f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}", "nova")
    if end.ssh is not None and end.ssh.qemu_installed:
        return Told(end, end.ssh.qemu_installed, "ssh", installed=True)
    return Told(end, None, "libvirt")


def _at_least(scene: Scene, word: str, least: tuple[int, ...], told: tuple[Told, ...]) -> Check:
    here, there = told
    shown, wanted = f"{here}, {there}", ".".join(map(str, least))
    old = [one.end.name for one in told if one.numbers is not None and one.numbers < least]
    unread = [one.end.why_unread("libvirt") for one in told if one.numbers is None]
    if old:
        status, evidence = "fail", f"{shown}: {', '.join(old)} is older than {wanted}"
    elif unread:
        status, evidence = "unknown", "; ".join(unread)
    else:
        status, evidence = "pass", f"{shown}: at least {wanted}"
    source = next((one.source for one in told if one.source != "libvirt"), "libvirt")
    return Check(
        id=f"migrate.{word}",
        status=status,  # type: ignore[arg-type]
        evidence=evidence,
        source=source,
        age_s=scene.older(here.source, there.source),
    )


def os_of(end: HostScene) -> tuple[str, tuple[int, ...]] | None:
    """os-release's ID and VERSION_ID as numbers."""
    numbers = version(end.ssh.os_version) if end.ssh is not None else None
    if end.ssh is None or not end.ssh.os_id or numbers is None:
        return None
    return end.ssh.os_id.lower(), numbers


def supports_no_move(here: HostScene, there: HostScene) -> bool:
    """Whether NVIDIA says that it supports none between these two systems; False where one is not known."""
    ends = [os_of(end) for end in (here, there)]
    numbers = sorted(os[1] for os in ends if os is not None and os[0] in _RED_HAT)
    return len(numbers) == 2 and numbers[0][:1] == (9,) and numbers[0][:2] <= (9, 4) and numbers[1][:1] == (10,)


def drivers_may_differ(end: HostScene) -> bool:
    """Whether its system is one that NVIDIA allows different driver versions between."""
    os = os_of(end)
    return os is not None and os[0] in _RED_HAT and (9, 6) <= os[1][:2] < (10,)


def backports(end: HostScene) -> bool:
    """Whether it is a Red Hat kernel that NVIDIA supports moves with although it is called older than 5.18."""
    os = os_of(end)
    own = ".el" in (end.host.kernel or "") and (version(end.host.kernel) or ()) >= RED_HAT_KERNEL
    return own and os is not None and os[0] in _RED_HAT and os[1][:2] >= (9, 4)
