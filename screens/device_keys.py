"""What the keys for devices mean on a row: which action, on which of its devices, or why none. Pure, over a snapshot.

One key does what both kinds of vGPUs need: on a vendor VFIO GPU ``n`` and ``x`` set and clear the type of a function,
and ``o`` starts what is defined and stops what runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vgpu_console.model.snapshot import Host, MediatedDevice, PhysicalGpu, Snapshot
from vgpu_console.screens.seams import DeviceTarget

CREATE, SET_TYPE = "mdev.create", "vgpu-type.set"
REMOVE, CLEAR_TYPE = "mdev.remove", "vgpu-type.clear"
START, STOP = "mdev.start", "mdev.stop"
AUTOSTART = "mdev.autostart"
ENABLE = "sriov.enable"

OF_ONE = frozenset({CREATE, ENABLE})
"""Begun on the row under the cursor, whatever is marked."""


class Meant(NamedTuple):
    """The action that a key stands for here, and why it is not possible; "" when nothing here speaks against it.

    ``devices`` are those it is about; ``gpus`` the addresses of those to choose from. ``on`` is for autostart.
    """

    action: str
    why_not: str = ""
    devices: tuple[MediatedDevice, ...] = ()
    gpus: tuple[str, ...] = ()
    on: bool = False


def meant(snapshot: Snapshot, key_id: str, targets: Sequence[DeviceTarget]) -> Meant:
    """What the key of that action means on these rows."""
    if not targets:
        return Meant(key_id, "no host, GPU or device is under the cursor (1 shows the hosts)")
    if key_id == CREATE:
        return _create(snapshot, targets[0])
    if key_id == ENABLE:
        return _enable(snapshot, targets[0])
    return _on_devices(snapshot, key_id, targets)


# One GPU ----------------------------------------------------------------------------------------------------------


def _boards(snapshot: Snapshot, target: DeviceTarget) -> tuple[list[PhysicalGpu], str]:
    """The GPUs that a row stands for, and why there are none."""
    host = snapshot.host(target.host)
    if host is None:
        return [], f"no source knows {target.host} any more"
    if host.gpus is None:
        return [], f"the GPUs of {host.name} are not known: {_unread(host)}"
    if target.kind == "host":
        return list(host.gpus), "" if host.gpus else f"{host.name} has no GPU"
    boards = [g for g in host.gpus if g.address == target.gpu]
    return boards, "" if boards else f"its GPU is not on {host.name} any more"


def _unread(host: Host) -> str:
    return "; ".join(host.errors) or "libvirt and ssh of this host did not answer yet"


def _create(snapshot: Snapshot, target: DeviceTarget) -> Meant:
    boards, why = _boards(snapshot, target)
    if why:
        return Meant(CREATE, why)
    able = [g for g in boards if not _why_none(g)]
    if not able:
        return Meant(CREATE, "; ".join(dict.fromkeys(f"{g.address}: {_why_none(g)}" for g in boards)))
    typed = all(g.mechanism == "vendor-vfio" for g in able)
    action = SET_TYPE if typed else CREATE
    if target.kind == "function" and _there(snapshot, target):
        return Meant(action, f"{target.function} is taken: a function carries one vGPU")
    return Meant(action, gpus=tuple(g.address for g in able))


def _why_none(gpu: PhysicalGpu) -> str:
    if gpu.sriov and gpu.vfs_enabled == 0:
        return "its virtual functions are off (v enables them)"
    return "" if gpu.mechanism in ("mdev", "vendor-vfio") else "its driver offers no vGPUs now"


def _enable(snapshot: Snapshot, target: DeviceTarget) -> Meant:
    boards, why = _boards(snapshot, target)
    if why:
        return Meant(ENABLE, why)
    where = target.host if target.kind == "host" else f"{target.host} {target.gpu}"
    if all(g.sriov is False for g in boards):
        return Meant(ENABLE, f"{where} has no SR-IOV")
    known = [g for g in boards if g.sriov and g.vfs_enabled is not None and g.vfs_total]
    off = [g for g in known if (g.vfs_enabled or 0) < (g.vfs_total or 0)]
    if not known:
        return Meant(ENABLE, f"whether {where} has virtual functions is not known")
    if not off:
        total = sum(g.vfs_total or 0 for g in known)
        return Meant(ENABLE, f"all {total} virtual functions of {where} are on")
    if len(off) > 1:
        return Meant(ENABLE, f"{len(off)} GPUs of {where} have functions off: enter opens it, choose one")
    return Meant(ENABLE, gpus=(off[0].address,))


# Devices ----------------------------------------------------------------------------------------------------------


def _there(snapshot: Snapshot, target: DeviceTarget) -> list[MediatedDevice]:
    """The device that a row stands for, or the one on its function."""
    own = [m for m in snapshot.mdevs if m.host == target.host]
    if target.uuid is not None:
        return [m for m in own if m.uuid == target.uuid]
    if target.function is None:
        return []
    return [m for m in own if m.parent == target.function]


def _on_devices(snapshot: Snapshot, key_id: str, targets: Sequence[DeviceTarget]) -> Meant:
    if any(t.kind == "host" for t in targets):
        return Meant(key_id, "that is for a device: enter on a host shows its devices")
    found: dict[tuple[str, str], MediatedDevice] = {}
    for target in targets:
        devices = _there(snapshot, target)
        if target.kind == "gpu" or (target.kind == "function" and not devices):
            return Meant(key_id, f"there is no vGPU on this row ({target.function or target.gpu})")
        if not devices:
            return Meant(key_id, f"{target.uuid or target.function} is not on {target.host} any more")
        for device in devices:
            found[(device.host, device.uuid or device.parent or "")] = device
    devices = list(found.values())
    typed = {d.mechanism == "vendor-vfio" for d in devices}
    if len(typed) > 1:
        return Meant(key_id, "mediated devices and functions with a type are marked: mark those of one kind")
    if key_id == REMOVE:
        return Meant(CLEAR_TYPE if typed == {True} else REMOVE, devices=tuple(devices))
    if typed == {True}:
        return Meant(key_id, "a function with a type is no mediated device: x clears its type, n sets one")
    if key_id == AUTOSTART:
        return Meant(AUTOSTART, devices=tuple(devices), on=any(d.autostart is False for d in devices))
    return _start_or_stop(devices)


def _start_or_stop(devices: Sequence[MediatedDevice]) -> Meant:
    states = {d.state for d in devices}
    if "unknown" in states:
        return Meant(START, "whether it runs is not known")
    if len(states) > 1:
        return Meant(START, "some of the marked devices run and some do not: mark those of one kind")
    return Meant(STOP if states == {"active"} else START, devices=tuple(devices))
