"""Plans that make mediated devices: one plan per device, to be applied in order. Pure: facts in, plans out.

The room is the type's real maximum on the GPU and what the driver offers on each function, never Placement's word. The
uuids follow from host, function and type, so that a plan that is made twice is the same plan.
"""

from __future__ import annotations

import uuid as uuids
from typing import Any

from vgpu_console.actions import mdev_checks as checks
from vgpu_console.actions import mdev_effects as effects
from vgpu_console.actions.devices import device_uuid, find_gpu, find_host, find_type, pci_address, short_uuid
from vgpu_console.actions.mdev_checks import Scene, consumer_words, scene
from vgpu_console.actions.mdev_steps import AUTOSTART, DeviceAt, checked_type_id, commands, knows, making, step
from vgpu_console.actions.observe_devices import mdev_state
from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, Plan, PlanError, Target, sealed
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.mdev_room import VFS_OFF, GpuView, TypeRoom, counted, free_functions, gpu_view, type_rooms
from vgpu_console.rules.nova_offers import Placed, devices_of, nova_offers

CREATE = "mdev.create"
MEDIATED_DEVICE = "mediated device"
SETTLE_S = 15.0
"""So long libvirt's lists may be behind: it polls for a new device every 5 s, and events lag under load."""

_NAMESPACE = uuids.UUID("7f0c1d52-6f0b-5d0e-9a43-3d1f0a1e5b77")


def plan_create(
    facts: Facts,
    snapshot: Snapshot,
    host: str,
    gpu: str,
    type_text: str,
    count: int = 1,
    *,
    persistent: bool = True,
    uuid: str | None = None,
    function: str | None = None,
    now: float,
    stale_s: float | None = None,
) -> tuple[Plan, ...]:
    """Make ``count`` devices of a type on a GPU: persistent (defined, started with its function) or transient.

    ``gpu`` is a PCI address, short or full, or that of one of its functions; ``type_text`` an id or a name; ``uuid``
    and ``function`` are for one device. Raises PlanError: what is not there or makes no sense (2), a host whose libvirt
    was not read (3), and where there is no room, with the reason (4).
    """
    if count < 1:
        raise PlanError(f"{count} devices cannot be made: at least 1")
    if count > 1 and (uuid is not None or function is not None):
        raise PlanError("a uuid or a function can be given for one device only")
    owner = find_host(snapshot, host)
    board = find_gpu(snapshot, owner.name, gpu)
    _must_have_mdevs(owner, board)
    at = scene(facts, snapshot, owner, now, stale_s)
    view = gpu_view(snapshot, owner.name, board.address)
    if view is None:
        raise PlanError(f"GPU {board.address} of {owner.name} is not known", NO_CONNECTION)
    room = find_type(type_rooms(snapshot, owner.name, board.address), type_text)
    checked_type_id(room.type_id)
    functions = _functions(at, view, room, count, function)
    taken = _taken(at)
    plans = []
    for number, place in enumerate(functions, start=1):
        chosen = _given(at, uuid) if uuid is not None else _derived(owner.name, place, room.type_id, taken)
        taken.add(chosen)
        device = DeviceAt(host=owner.name, function=place, type_id=room.type_id, label=room.label, uuid=chosen)
        plans.append(_plan(at, view, room, device, functions, number, persistent=persistent))
    return tuple(plans)


def _must_have_mdevs(host: Host, gpu: PhysicalGpu) -> None:
    where = f"{host.name} {gpu.address}"
    if gpu.mechanism == "vendor-vfio":
        raise PlanError(
            f"{where} has no mediated devices (vendor VFIO): a vGPU there is a type set on a virtual function", REFUSED
        )
    if gpu.sriov and gpu.vfs_enabled == 0:
        raise PlanError(f"{where}: {VFS_OFF}: vgpu-console sriov enable {host.name} --gpu {gpu.address}", REFUSED)
    if gpu.mechanism != "mdev":
        raise PlanError(f"{where}: its driver offers no mediated devices now (is the vGPU manager running?)", REFUSED)


def _functions(at: Scene, view: GpuView, room: TypeRoom, count: int, given: str | None) -> tuple[str, ...]:
    """The functions that carry the new devices, in order. Raises PlanError where there is no room."""
    where = f"{room.host} {room.gpu}"
    chosen = _chosen(at, view, room, given) if given is not None else None
    if room.creatable == 0:
        raise PlanError(f"no {room.label} can be made on {where}: {room.why_not}", REFUSED)
    most = room.creatable
    if most is None and view.gpu.functions:
        most = len(room.functions)
    if most is not None and count > most:
        raise PlanError(f"{most} more {room.label} can be made on {where}, not {count}: {room.why_not}", REFUSED)
    if chosen is not None:
        return (chosen,)
    return room.functions[:count] if view.gpu.functions else (view.gpu.address,) * count


def _chosen(at: Scene, view: GpuView, room: TypeRoom, given: str) -> str:
    """The function that was asked for, if it can carry the device. Raises PlanError."""
    gpu = view.gpu
    address = pci_address(given)
    if address is None:
        raise PlanError(f"{given!r} is no PCI address")
    if not gpu.functions:
        if address != gpu.address:
            raise PlanError(f"{gpu.address} has no virtual functions: {address} is not on it")
        return address
    if address == gpu.address:
        raise PlanError(f"{address} is the physical function of the GPU: devices live on its virtual functions")
    if all(f.address != address for f in gpu.functions):
        first, last = gpu.functions[0].address, gpu.functions[-1].address
        raise PlanError(f"GPU {gpu.address} has no function {address}; enabled are {first} to {last}")
    there = next((d for d in view.devices if d.parent == address), None)
    if there is not None:
        label = short_type_name(there.type_name) or there.type_id
        state = "is defined" if there.state == "defined" else "lives"
        held = f", held by {consumer_words(at, there.server_id)}" if there.server_id else ", held by nobody"
        raise PlanError(f"{address} is taken: {label} {there.uuid} {state} on it{held}", REFUSED)
    if room.creatable != 0 and address not in free_functions(view, room.type_id):
        raise PlanError(f"the driver offers no {room.label} on {address} now", REFUSED)
    return address


def _taken(at: Scene) -> set[str]:
    """Every uuid that a device has or a guest of the host names, also where its device is lost."""
    own = {m.uuid for m in at.libvirt.mdevs} | {u for d in at.libvirt.domains for u in d.mdevs}
    return own | {m.uuid for m in at.snapshot.mdevs if m.uuid}


def _given(at: Scene, text: str) -> str:
    """A uuid of the operator's. Raises PlanError when it is malformed or a device of the host has it."""
    wanted = device_uuid(text)
    there = next((m for m in at.libvirt.mdevs if m.uuid == wanted), None)
    if there is None:
        return wanted
    holder = next((d for d in at.libvirt.domains if wanted in d.mdevs), None)
    held = f", held by {consumer_words(at, holder.uuid)}" if holder is not None else ""
    place = there.parent or "a function that is gone"
    raise PlanError(f"{wanted} is taken on {at.host.name}: {there.type_id} on {place}{held}", REFUSED)


def _derived(host: str, function: str, type_id: str, taken: set[str]) -> str:
    for counter in range(len(taken) + 1):
        made = str(uuids.uuid5(_NAMESPACE, f"{host} {function} {type_id} {counter}"))
        if made not in taken:
            return made
    raise AssertionError("more uuids are taken than there are")


def _plan(
    at: Scene,
    view: GpuView,
    room: TypeRoom,
    device: DeviceAt,
    functions: tuple[str, ...],
    number: int,
    *,
    persistent: bool,
) -> Plan:
    gpu, count = view.gpu, len(functions)
    flags = knows(at.libvirt, AUTOSTART) is not False  # older ones tell neither of the two
    autostart = persistent and flags
    before = mdev_state(at.libvirt, device.uuid, device.function)
    holder = next((d.uuid for d in at.libvirt.domains if device.uuid in d.mdevs), None)
    after: dict[str, Any] = {
        "state": "active",
        "type": device.type_id,
        "function": device.function,
        "persistent": persistent if flags else None,
        "autostart": True if autostart else None,  # a transient device cannot have it
        "held_by": holder,
        "beside": before["beside"],
    }
    steps = making(device, persistent=persistent, autostart=autostart, start=True)
    undo = (step("stop", device), step("undefine", device)) if persistent else (step("stop", device),)
    there = devices_of(at.snapshot, at.host.name)
    new = [Placed(f, gpu.address, room.type_id, True) for f in functions[:number]]
    offered, then = nova_offers(at.host, (*there, *new[:-1])), nova_offers(at.host, (*there, *new))
    own = {f.address for f in gpu.functions} or {gpu.address}
    lost = len((offered.providers - then.providers) & own) if offered is not None and then is not None else 0
    found = (
        checks.fresh(at),
        checks.room(at, room, count),
        checks.function_free(at, gpu, device.function),
        checks.one_size(at, view, room.type_id, room.label),
        checks.uuid_free(at, device.uuid),
        checks.nova_type_check(at, device.function, room, lost=lost),
        *checks.max_instances(at, room, count),
        checks.defined_visible(at, persistent=persistent),
        checks.migration(at, refuse=False),
        *checks.claimed(at, view),
    )
    of = f" ({number} of {count})" if count > 1 else ""
    lines = (
        effects.made(room, device.function, autostart=autostart, persistent=persistent),
        effects.left_after(room, count),
        *effects.nova_lines(at, gpu, offered, then),
        *(effects.after_boot(gpu) if persistent else ()),
    )
    return sealed(
        Plan(
            action=CREATE,
            title=f"{room.label} on {device.host} {device.function}{of}",
            target=target(at.snapshot, device, gpu.address),
            before=before,
            after=after,
            steps=steps,
            checks=found,
            effect=lines,
            inverse=undo,
            inverse_note=f"while no guest holds it: {counted(len(undo), 'call')} on {device.short}",
            commands=commands(steps, device, at.libvirt),
            danger="risk" if any(c.status == "warn" and c.id in _RISKY for c in found) else "change",
            settle_s=SETTLE_S,
        )
    )


_RISKY = frozenset({"mdev.nova-type", "mdev.one-size", "mdev.claimed", "mdev.uuid-free"})
"""Warnings that are about servers: those that run, come, or would find no place."""


def target(snapshot: Snapshot, device: DeviceAt, gpu: str | None) -> Target:
    """A device as what a plan is about; ``name`` is what is typed to confirm that it goes."""
    return Target(
        kind=MEDIATED_DEVICE,
        id=f"{device.host} {device.uuid}",
        name=f"{device.host} {short_uuid(snapshot, device.host, device.uuid)}",
        key={
            "host": device.host,
            "gpu": gpu,
            "function": device.function or None,
            "uuid": device.uuid,
            "type": device.type_id,
        },
    )
