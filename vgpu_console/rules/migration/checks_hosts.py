"""Pre-checks of the two hosts: versions, operating systems, NVIDIA's driver and framework, boards, ECC."""

from __future__ import annotations

from vgpu_console.model.check import Check
from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.snapshot import PhysicalGpu
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.migration.destinations import gpus_for
from vgpu_console.rules.migration.scene import HostScene, Scene, version

MIN_LIBVIRT, MIN_QEMU = (8, 6, 0), (8, 1, 0)
"""nova: virt/libvirt/driver.py, MIN_MDEV_LIVEMIG_LIBVIRT_VERSION and MIN_MDEV_LIVEMIG_QEMU_VERSION."""
MIN_KERNEL = (5, 18, 0)
"""Nova's release note of vGPU live migration (2024.1); nothing in Nova looks at it."""
MIN_LIBVIRT_VARIANT, MIN_QEMU_VARIANT = (10, 0, 0), (8, 2, 2)
"""The same for live_migratable PCI functions: MIN_VFIO_PCI_VARIANT_LIBVIRT_VERSION and …_QEMU_VERSION."""

_RED_HAT = frozenset({"rhel", "centos", "rocky", "almalinux", "ol"})


def libvirt(scene: Scene) -> Check:
    """Nova checks it on the source, and on the destination by what it says it supports."""
    least = MIN_LIBVIRT_VARIANT if scene.mechanism == "vendor-vfio" else MIN_LIBVIRT
    return _at_least(scene, "libvirt", least, tuple(end.host.libvirt for end in scene.ends))


def qemu(scene: Scene) -> Check:
    """The version that libvirt finds installed; a guest that was started earlier may still run an older one."""
    least = MIN_QEMU_VARIANT if scene.mechanism == "vendor-vfio" else MIN_QEMU
    return _at_least(scene, "qemu", least, tuple(end.host.qemu for end in scene.ends))


def qemu_order(scene: Scene) -> Check | None:
    """Nova takes no destination with an older hypervisor (nova: conductor/tasks/live_migrate.py)."""
    here, there = version(scene.source.host.qemu), version(scene.destination.host.qemu)
    if here is None or there is None or there >= here:
        return None
    conf = scene.source.conf or {}
    skipped = conf.get("workarounds.skip_hypervisor_version_check_on_lm", "").lower() in ("true", "1", "yes", "on")
    evidence = (
        f"QEMU of {scene.destination.name} ({_dotted(there)}) is older than of {scene.source.name} ({_dotted(here)})"
    )
    return scene.check("qemu-order", "warn" if skipped else "fail", evidence, "libvirt")


def kernel(scene: Scene) -> Check:
    """5.18 on both. Red Hat's 5.14 of 9.4 and later carries what is needed, and NVIDIA supports it there."""
    versions = [(end, version(end.host.kernel)) for end in scene.ends]
    unread = [end.why_unread("ssh") for end, found in versions if found is None]
    shown = " / ".join(str(end.host.kernel or "?") for end, _ in versions)
    old = [end for end, found in versions if found is not None and found < MIN_KERNEL]
    excused = [end for end in old if _backports(scene, end)]
    if len(excused) < len(old):
        names = ", ".join(end.name for end in old if end not in excused)
        return scene.check("kernel", "fail", f"{shown}: {names} is older than 5.18", "ssh")
    if unread:
        return scene.check("kernel", "unknown", "; ".join(unread), "ssh")
    if excused:
        evidence = f"{shown}: older than 5.18, but Red Hat's of 9.4 and later has vGPU migration"
        return scene.check("kernel", "warn", evidence, "ssh")
    return scene.check("kernel", "pass", f"{shown}: at least 5.18", "ssh")


def os_pair(scene: Scene) -> Check:
    """NVIDIA supports no migration between RHEL 9.4 and 10 (NVIDIA AI Enterprise, live migration)."""
    told = [_os(scene, end) for end in scene.ends]
    unread = [end.why_unread("ssh") for end, os in zip(scene.ends, told, strict=True) if os is None]
    if unread:
        return scene.check("os", "unknown", "; ".join(unread), "ssh")
    (here, here_v), (there, there_v) = (os or ("", ()) for os in told)
    names = f"{scene.source.host.os_name} / {scene.destination.host.os_name}"
    if (here, here_v[:2]) == (there, there_v[:2]):
        return scene.check("os", "pass", names, "ssh")
    if here in _RED_HAT and there in _RED_HAT and {here_v[:1], there_v[:1]} == {(9,), (10,)}:
        nine = here_v if here_v[:1] == (9,) else there_v
        if nine[:2] <= (9, 4):
            return scene.check("os", "fail", f"{names}: NVIDIA supports no move between RHEL 9.4 and 10", "ssh")
    return scene.check("os", "warn", f"{names}: different systems on the two hosts", "ssh")


def nvidia_driver(scene: Scene) -> Check:
    """The vGPU manager: must be the same; from RHEL 9.6 (and not on 10) versions of a branch may differ."""
    here, there = scene.source.host.driver, scene.destination.host.driver
    unread = [end.why_unread("ssh") for end in scene.ends if not end.host.driver]
    if unread:
        return scene.check("nvidia-driver", "unknown", "; ".join(unread), "ssh")
    if here == there:
        return scene.check("nvidia-driver", "pass", f"{here} on both", "ssh")
    evidence = f"{scene.source.name} {here} ≠ {scene.destination.name} {there}"
    systems = [_os(scene, end) for end in scene.ends]
    lenient = all(os is not None and os[0] in _RED_HAT and (9, 6) <= os[1][:2] < (10,) for os in systems)
    if lenient:
        return scene.check("nvidia-driver", "warn", f"{evidence}: RHEL 9.6 and later let versions differ", "ssh")
    return scene.check("nvidia-driver", "fail", f"{evidence}: must be equal", "ssh")


def framework(scene: Scene) -> Check:
    """Mediated devices on both or the vendor's VFIO framework on both: Nova gives a guest no other kind of device."""
    mine = scene.mechanism
    gpus = scene.destination.host.gpus
    if mine == "unknown" or gpus is None:
        why = "how the server's vGPU is made is not known" if mine == "unknown" else _no_gpus(scene.destination)
        return scene.check("framework", "unknown", why, "libvirt")
    kinds = {g.mechanism for g in gpus} - {"none"}
    if mine in kinds:
        return scene.check("framework", "pass", f"{mine} on both", "libvirt")
    if "unknown" in kinds:
        return scene.check("framework", "unknown", f"how {scene.destination.name} makes vGPUs is not known", "libvirt")
    others = ", ".join(sorted(kinds)) or "no vGPU at all"
    return scene.check("framework", "fail", f"{scene.source.name} {mine}, {scene.destination.name} {others}", "libvirt")


def board(scene: Scene) -> Check | None:
    """The same GPU model: NVIDIA supports no move between boards of different memory or of H100, H200, H800."""
    targets = gpus_for(scene)
    if not scene.gpus or targets is None:
        return scene.check("board", "unknown", _gpus_unknown(scene), "libvirt")
    if not targets:
        return None  # no GPU there offers the type, which the checks of the type say
    mine = {_model(g) for g in scene.gpus}
    theirs = {_model(g) for g in targets}
    if "" in mine | theirs:
        return scene.check("board", "unknown", "a GPU's model is not known", "libvirt")
    if theirs == mine and len(mine) == 1:
        return scene.check("board", "pass", f"{mine.pop()} on both", "libvirt")
    shown = f"{scene.source.name} {_list(mine)}, {scene.destination.name} {_list(theirs)}"
    if mine & theirs:
        return scene.check("board", "warn", f"{shown}: which one Nova takes is not known before", "libvirt")
    families = {_family(name) for name in mine | theirs}
    word = "fail" if len(families) > 1 else "warn"
    return scene.check("board", word, f"{shown}: different boards", "libvirt")  # type: ignore[arg-type]


def ecc(scene: Scene) -> Check | None:
    """ECC must be on or off on both GPUs: else the move stops before its end (NVIDIA AI Enterprise)."""
    targets = gpus_for(scene)
    if not scene.gpus or targets is None:
        return scene.check("ecc", "unknown", _gpus_unknown(scene), "ssh")
    if not targets:
        return None
    mine = {g.ecc for g in scene.gpus}
    theirs = {g.ecc for g in targets}
    if None in mine or None in theirs:
        ends = (scene.source if None in mine else None, scene.destination if None in theirs else None)
        names = " and ".join(end.name for end in ends if end is not None)
        return scene.check("ecc", "unknown", f"ECC is not readable on {names} (nvidia-smi there, over SSH)", "ssh")
    shown = f"{scene.source.name} {_on(mine)}, {scene.destination.name} {_on(theirs)}"
    if mine == theirs and len(mine) == 1:
        return scene.check("ecc", "pass", f"ECC {shown}", "ssh")
    return scene.check("ecc", "warn" if mine & theirs else "fail", f"ECC {shown}: must be equal", "ssh")


def _at_least(scene: Scene, word: str, least: tuple[int, ...], told: tuple[str | None, ...]) -> Check:
    versions = [version(one) for one in told]
    shown = " / ".join(one or "?" for one in told)
    old = [end.name for end, found in zip(scene.ends, versions, strict=True) if found is not None and found < least]
    if old:
        return scene.check(word, "fail", f"{shown}: {', '.join(old)} is older than {_dotted(least)}", "libvirt")
    unread = [end.why_unread("libvirt") for end, found in zip(scene.ends, versions, strict=True) if found is None]
    if unread:
        return scene.check(word, "unknown", "; ".join(unread), "libvirt")
    return scene.check(word, "pass", f"{shown}: at least {_dotted(least)}", "libvirt")


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _ssh(scene: Scene, end: HostScene) -> SshFacts | None:
    return scene.facts.ssh.get(end.name)


def _os(scene: Scene, end: HostScene) -> tuple[str, tuple[int, ...]] | None:
    """os-release's ID and VERSION_ID as numbers."""
    ssh = _ssh(scene, end)
    numbers = version(ssh.os_version) if ssh is not None else None
    if ssh is None or not ssh.os_id or numbers is None:
        return None
    return ssh.os_id.lower(), numbers


def _backports(scene: Scene, end: HostScene) -> bool:
    os = _os(scene, end)
    return os is not None and os[0] in _RED_HAT and os[1][:2] >= (9, 4)


def _model(gpu: PhysicalGpu) -> str:
    board = load_catalogue().board(gpu.product_id) if gpu.product_id else None
    return board.name if board is not None else gpu.model


def _family(model: str) -> str:
    """The first word: ``A100``, ``H200``; boards of one family may still differ in memory and form."""
    return model.split()[0] if model.split() else ""


def _no_gpus(end: HostScene) -> str:
    return f"the GPUs of {end.name} are not known: {end.why_unread('libvirt')}"


def _gpus_unknown(scene: Scene) -> str:
    return (
        f"the GPU that carries the server's vGPU on {scene.source.name} is not known"
        if not scene.gpus
        else _no_gpus(scene.destination)
    )


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _on(values: set[bool | None]) -> str:
    return "/".join(sorted("on" if v else "off" for v in values))
