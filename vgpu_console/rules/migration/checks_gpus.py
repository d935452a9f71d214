"""Pre-checks of the GPUs on both hosts: framework, board, ECC, MIG."""

from __future__ import annotations

import re

from vgpu_console.model.check import Check
from vgpu_console.model.snapshot import PhysicalGpu
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.migration.destinations import likely_gpus
from vgpu_console.rules.migration.scene import HostScene, Scene

_MEMORY = re.compile(r"(\d+) ?GB\b")
_NVL_GB = 94
_MIG_BACKED = re.compile(r"-[0-9]-[0-9]+[A-Z]")  # A100-3-20C: three slices, 20 GB


def framework(scene: Scene) -> Check:
    """Mediated devices on both or the vendor's VFIO framework on both: Nova gives a guest no other kind of device."""
    mine = scene.mechanism
    gpus = scene.destination.host.gpus
    if mine == "unknown":
        evidence = f"how the server's vGPU is made is not known: {scene.source.why_unread('libvirt')}"
        return scene.check("framework", "unknown", evidence, "libvirt")
    if gpus is None:
        return scene.check("framework", "unknown", _no_gpus(scene.destination), "libvirt")
    kinds = {g.mechanism for g in gpus} - {"none"}
    if mine in kinds:
        evidence = f"{mine} on {scene.source.name} and {scene.destination.name}"
        return scene.check("framework", "pass", evidence, "libvirt")
    if "unknown" in kinds:
        return scene.check("framework", "unknown", f"how {scene.destination.name} makes vGPUs is not known", "libvirt")
    others = ", ".join(sorted(kinds)) or "no vGPU at all"
    return scene.check("framework", "fail", f"{scene.source.name} {mine}, {scene.destination.name} {others}", "libvirt")


def board(scene: Scene) -> Check | None:
    """The same GPU board.

    NVIDIA supports no move between 80 GB PCIe and 94 GB NVL boards, nor between H100, H200 and H800 (NVIDIA AI
    Enterprise, live migration): another family or another memory fails, another form of the same is warned of.
    """
    targets = likely_gpus(scene)
    if not scene.gpus or targets is None:
        return scene.check("board", "unknown", _gpus_unknown(scene), "libvirt")
    if not targets:
        return None  # no GPU there offers the type, which the checks of the type say
    mine = _boards(scene.gpus, {})
    theirs = _boards(targets, mine)
    if "" in mine or "" in theirs:
        end = scene.source if "" in mine else scene.destination
        return scene.check("board", "unknown", f"a GPU's model is not known on {end.name}", "libvirt", end=end)
    shown = f"{scene.source.name} {_list(mine)}, {scene.destination.name} {_list(theirs)}"
    if mine.keys() == theirs.keys() and len(mine) == 1:
        return scene.check("board", "pass", shown, "libvirt")
    if mine.keys() & theirs.keys():
        return scene.check("board", "warn", f"{shown}: which one Nova takes is not known before", "libvirt")
    pairs = [(here, there) for here in mine.values() for there in theirs.values()]
    if all(_unlike(here, there) for here, there in pairs):
        return scene.check("board", "fail", f"{shown}: NVIDIA supports no move between these", "libvirt")
    return scene.check("board", "warn", f"{shown}: not the same board", "libvirt")


def ecc(scene: Scene) -> Check | None:
    """ECC must be on or off on both GPUs: else the move stops before its end (NVIDIA AI Enterprise).

    Left out where nvidia-smi answered on both hosts and neither GPU has ECC at all.
    """
    targets = likely_gpus(scene)
    if not scene.gpus or targets is None:
        return scene.check("ecc", "unknown", _gpus_unknown(scene), "ssh")
    if not targets:
        return None
    mine, theirs = {g.ecc for g in scene.gpus}, {g.ecc for g in targets}
    if mine == {None} and theirs == {None} and _answered(scene.source, scene.gpus):
        if _answered(scene.destination, targets):
            return None
    elif None not in mine and None not in theirs:
        shown = f"{scene.source.name} {_on(mine)}, {scene.destination.name} {_on(theirs)}"
        if mine == theirs and len(mine) == 1:
            return scene.check("ecc", "pass", shown, "ssh")
        return scene.check("ecc", "warn" if mine & theirs else "fail", f"{shown}: must be equal", "ssh")
    ends = (scene.source if None in mine else None, scene.destination if None in theirs else None)
    names = " and ".join(end.name for end in ends if end is not None)
    return scene.check("ecc", "unknown", f"ECC is not readable on {names} (nvidia-smi there, over SSH)", "ssh")


def mig(scene: Scene) -> Check | None:
    """A MIG-backed type needs a GPU that is cut into instances, a time-sliced one a GPU that is not.

    Left out where no MIG is in the game. That a fitting instance is free is among what the driver offers.
    """
    names = [d.type_name for d in scene.devices]
    targets = likely_gpus(scene)
    if not targets or not names or "" in names:
        return None
    backed = {_MIG_BACKED.search(name) is not None for name in names}
    modes = {g.mig for g in targets}
    if backed == {False} and True not in modes:
        return None
    name = scene.destination.name
    if len(backed) > 1 or (modes & backed and len(modes - {None}) > 1):
        return scene.check("mig", "warn", f"GPUs of {name} with MIG and without: which Nova takes is not known", "ssh")
    kind = "MIG-backed" if True in backed else "time-sliced"
    if modes == backed:
        return scene.check("mig", "pass", f"the type is {kind}, the GPU of {name} is set up for it", "ssh")
    if None in modes:
        return scene.check("mig", "unknown", f"whether the GPU of {name} is cut into MIG instances is not known", "ssh")
    state = "is not cut into MIG instances" if True in backed else "is cut into MIG instances"
    return scene.check("mig", "fail", f"the type is {kind}, the GPU of {name} {state}", "ssh")


def _boards(gpus: tuple[PhysicalGpu, ...], others: dict[str, str]) -> dict[str, str]:
    """What tells boards apart, the product number or else the name, with the name for eyes; "" where nothing does.

    One that is called like one of the ``others`` is the same: not every source tells the number.
    """
    found: dict[str, str] = {}
    for gpu in gpus:
        known = load_catalogue().board(gpu.product_id) if gpu.product_id else None
        name = known.name if known is not None else gpu.model
        alike = next((key for key, other in others.items() if name and other == name), "")
        found[alike or gpu.product_id or name] = name or gpu.product_id
    return found


def _unlike(here: str, there: str) -> bool:
    """Another family (the first word: A100, H200), or another memory where both names tell it."""
    if here.split()[:1] != there.split()[:1]:
        return True
    sizes = (_memory(here), _memory(there))
    return None not in sizes and sizes[0] != sizes[1]


def _memory(name: str) -> int | None:
    found = _MEMORY.search(name)
    return int(found[1]) if found else _NVL_GB if name.endswith("H100 NVL") else None


def _answered(end: HostScene, gpus: tuple[PhysicalGpu, ...]) -> bool:
    """Whether nvidia-smi told of these GPUs."""
    named = {g.address for g in end.ssh.nvidia_gpus if g.name} if end.ssh is not None else set()
    return all(g.address in named for g in gpus)


def _no_gpus(end: HostScene) -> str:
    return f"the GPUs of {end.name} are not known: {end.why_unread('libvirt')}"


def _gpus_unknown(scene: Scene) -> str:
    if not scene.gpus:
        return f"the GPU that carries the server's vGPU on {scene.source.name} is not known"
    return _no_gpus(scene.destination)


def _list(boards: dict[str, str]) -> str:
    return ", ".join(sorted(boards.values()))


def _on(values: set[bool | None]) -> str:
    return "/".join(sorted("on" if v else "off" for v in values))
