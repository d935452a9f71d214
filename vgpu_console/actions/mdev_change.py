"""Plans that remove, start and stop a mediated device and change its autostart. Pure: facts in, plan out.

A device that a guest names, running or shut off, is never taken away: the kernel guards only those that are open.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vgpu_console.actions import mdev_checks as checks
from vgpu_console.actions import mdev_effects as effects
from vgpu_console.actions import mdev_steps
from vgpu_console.actions.devices import find_host, find_mdev
from vgpu_console.actions.mdev_checks import Scene, scene
from vgpu_console.actions.mdev_create import SETTLE_S, target
from vgpu_console.actions.mdev_steps import DEFINE, DeviceAt, checked_type_id, commands, knows, making, step
from vgpu_console.actions.observe_devices import NO_MDEV, mdev_state
from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, Check, Danger, DeviceStep, Plan, PlanError, sealed
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import MediatedDevice, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.mdev_room import GpuView, gpu_view, type_rooms
from vgpu_console.rules.nova_offers import Placed, devices_of, nova_offers, placed

REMOVE, START, STOP, AUTOSTART = "mdev.remove", "mdev.start", "mdev.stop", "mdev.autostart"


class _Ground(msgspec.Struct, frozen=True):
    """The device that is meant, with what it is planned from."""

    at: Scene
    device: MediatedDevice
    it: DeviceAt
    view: GpuView | None  # None: its function is not there
    before: dict[str, Any]

    @property
    def persistent(self) -> bool | None:
        """Whether it is defined; what is not active is."""
        return True if self.before["state"] == "defined" else self.before["persistent"]


def _ground(
    facts: Facts, snapshot: Snapshot, host: str | None, uuid: str, now: float, stale_s: float | None
) -> _Ground:
    device = find_mdev(snapshot, host, uuid)
    at = scene(facts, snapshot, find_host(snapshot, device.host), now, stale_s)
    it = DeviceAt(
        host=device.host,
        function=device.parent or "",
        type_id=checked_type_id(device.type_id),
        label=short_type_name(device.type_name) or device.type_id,
        uuid=device.uuid or "",
    )
    view = gpu_view(snapshot, device.host, device.gpu) if device.gpu else None
    before = mdev_state(at.libvirt, it.uuid, it.function)
    if before["autostart"] is None:
        before["autostart"] = device.autostart  # a connection that only reads is not told, but mdevctl's file says
    if before["state"] == "absent":
        raise PlanError(f"{device.host} {it.uuid} has gone meanwhile: refresh", NO_CONNECTION)
    return _Ground(at, device, it, view, before)


def plan_remove(
    facts: Facts, snapshot: Snapshot, host: str | None, uuid: str, now: float, *, stale_s: float | None = None
) -> Plan:
    """Stop a device and remove its definition. ``uuid`` may be its beginning; ``host`` None: wherever it is.

    Raises PlanError: no such device (2), the host's libvirt was not read (3).
    """
    on = _ground(facts, snapshot, host, uuid, now, stale_s)
    running = on.before["state"] != "defined"
    defined = on.persistent is not False and (on.persistent or knows(on.at.libvirt, DEFINE) is not False)
    steps: tuple[DeviceStep, ...] = (step("stop", on.it),) if running else ()
    if defined:
        steps = (*steps, step("undefine", on.it))
    inverse: tuple[DeviceStep, ...] = ()
    note = "its function is not there: it cannot be made again before it is back"
    if on.view is not None:
        autostart = bool(on.before["autostart"])
        inverse = making(on.it, persistent=defined, autostart=autostart, start=running)
        note = "the same device again: same uuid, type and function, as long as the GPU has room for its size"
    return _plan(
        on,
        REMOVE,
        "remove",
        {**NO_MDEV, "beside": on.before["beside"]},
        steps,
        checks=_unused(on),
        effect=(
            f"{on.it.function or 'a function that is gone'} carries no {on.it.label} any more",
            effects.remains(on.view.gpu if on.view else None, _others(on)),
            *_nova(on, None),
        ),
        inverse=inverse,
        note=note,
        danger="destroy",
    )


def plan_stop(
    facts: Facts, snapshot: Snapshot, host: str | None, uuid: str, now: float, *, stale_s: float | None = None
) -> Plan:
    """Stop a device; one that is defined stays so, a transient one is gone. Raises PlanError as for removing."""
    on = _ground(facts, snapshot, host, uuid, now, stale_s)
    if on.before["state"] == "defined":
        return _nothing(on, STOP, "stop", "it is not running")
    if on.persistent is None:
        version = on.at.libvirt.libvirt_version
        raise PlanError(
            f"libvirt {version} does not tell whether {on.it.short} is defined: remove it, or use virsh", REFUSED
        )
    after = {**on.before, "state": "defined"} if on.persistent else {**NO_MDEV, "beside": on.before["beside"]}
    left = "it stays defined" if on.persistent else "it is transient: it is gone then"
    back = "until somebody starts it, or nova-compute does when it starts" if on.persistent else ""
    inverse = making(on.it, persistent=False, autostart=False, start=True)
    return _plan(
        on,
        STOP,
        "stop",
        after,
        (step("stop", on.it),),
        checks=_unused(on),
        effect=(
            f"{on.it.function} runs no {on.it.label} any more; {left}" + (f", {back}" if back else ""),
            effects.remains(on.view.gpu if on.view else None, _others(on)),
            *_nova(on, False if on.persistent else None),
        ),
        inverse=(step("start", on.it),) if on.persistent else inverse,
        note="as long as the GPU has room for its size",
        danger="risk",
    )


def plan_start(
    facts: Facts, snapshot: Snapshot, host: str | None, uuid: str, now: float, *, stale_s: float | None = None
) -> Plan:
    """Start a device that is defined. Raises PlanError as for removing, and where its function is not there (4)."""
    on = _ground(facts, snapshot, host, uuid, now, stale_s)
    if on.before["state"] == "active":
        return _nothing(on, START, "start", "it is running")
    if on.view is None:
        place = on.it.function or "its function"
        raise PlanError(
            f"{on.it.host} {on.it.short} cannot start: {place} is not there (virtual functions off?)", REFUSED
        )
    lost = on.view
    room = next(r for r in type_rooms(snapshot, on.it.host, lost.gpu.address) if r.type_id == on.it.type_id)
    label = on.it.label
    return _plan(
        on,
        START,
        "start",
        {**on.before, "state": "active"},
        (step("start", on.it),),
        checks=(
            checks.fresh(on.at),
            _offered(on),
            checks.one_size(on.at, lost, on.it.type_id, label),
            checks.nova_type_check(on.at, on.it.function, room, lost=0),
            checks.migration(on.at, refuse=False),
        ),
        effect=(
            f"{on.it.function} runs one {label}: GPU {lost.gpu.address} takes no other size while it does",
            *_nova(on, True),
        ),
        inverse=(step("stop", on.it),),
        note="while no guest holds it",
    )


def plan_autostart(
    facts: Facts,
    snapshot: Snapshot,
    host: str | None,
    uuid: str,
    now: float,
    *,
    on: bool,
    stale_s: float | None = None,
) -> Plan:
    """Have a defined device start with its function, or not. Raises PlanError as for removing; transient ones: 4."""
    ground = _ground(facts, snapshot, host, uuid, now, stale_s)
    it, word = ground.it, "on" if on else "off"
    if ground.persistent is not False and knows(ground.at.libvirt, mdev_steps.AUTOSTART) is False:
        version = ground.at.libvirt.libvirt_version
        raise PlanError(f"libvirt {version} tells nothing of autostart (7.8 and later do)", REFUSED)
    if not ground.persistent:
        raise PlanError(
            f"{it.host} {it.short} is transient: only a device that is defined can start by itself", REFUSED
        )
    if ground.before["autostart"] is on:
        return _nothing(ground, AUTOSTART, f"autostart {word}", f"autostart is {word}")
    effect = (
        "it starts with its function from now on: after a boot once sriov-manage has run"
        if on and ground.view is not None and ground.view.gpu.functions
        else "it starts with its function from now on"
        if on
        else "after a boot it stays defined and does not run, until it is started or nova-compute starts"
    )
    return _plan(
        ground,
        AUTOSTART,
        f"autostart {word}",
        {**ground.before, "autostart": on},
        (step("autostart-on" if on else "autostart-off", it),),
        checks=(checks.fresh(ground.at),),
        effect=(effect,),
        inverse=(step("autostart-off" if on else "autostart-on", it),),
    )


def _unused(on: _Ground) -> tuple[Check, ...]:
    """What must hold before a device goes away."""
    return (
        checks.fresh(on.at),
        checks.holder(on.at, on.device),
        checks.allocation(on.at, on.device, on.view),
        checks.migration(on.at, refuse=True),
        checks.defined_visible(on.at, persistent=None),
    )


def _offered(on: _Ground) -> Check:
    """``mdev.room`` of a device that is defined: the driver still offers its type on its function."""
    parent = next((d for d in on.at.libvirt.devices if d.address == on.it.function), None)
    offer = next((t for t in parent.types if t.type_id == on.it.type_id), None) if parent is not None else None
    if offer is None or offer.available_instances is None:
        return on.at.check("mdev.room", "unknown", f"what the driver offers on {on.it.function} is not known")
    if offer.available_instances > 0:
        return on.at.check("mdev.room", "pass", f"the driver offers {on.it.label} on {on.it.function}")
    running = [d for d in _others(on) if d.state != "defined"]
    beside = next((d for d in running if d.parent == on.it.function and on.view and on.view.gpu.functions), None)
    why = f"; {beside.uuid} runs on it" if beside else f"; the GPU runs {len(running)}" if running else ""
    return on.at.check("mdev.room", "fail", f"the driver offers no {on.it.label} on {on.it.function} now{why}")


def _others(on: _Ground) -> tuple[MediatedDevice, ...]:
    """The other devices of the same GPU."""
    return tuple(d for d in on.view.devices if d.uuid != on.it.uuid) if on.view is not None else ()


def _nova(on: _Ground, active: bool | None) -> tuple[str, ...]:
    """What Nova then offers, with the device running, defined only, or (None) gone."""
    if on.view is None:
        return ()
    gpu = on.view.gpu
    there = devices_of(on.at.snapshot, on.it.host)
    rest = placed(
        m for m in on.at.snapshot.mdevs if (m.host, m.mechanism) == (on.it.host, "mdev") and m.uuid != on.it.uuid
    )
    kept = () if active is None else (Placed(on.it.function, gpu.address, on.it.type_id, active),)
    return effects.nova_lines(on.at, gpu, nova_offers(on.at.host, there), nova_offers(on.at.host, (*rest, *kept)))


def _nothing(on: _Ground, action: str, verb: str, why: str) -> Plan:
    """A plan without a step: it is so already."""
    return _plan(on, action, verb, on.before, (), checks=(checks.fresh(on.at),), effect=(why,), note="nothing to undo")


def _plan(
    on: _Ground,
    action: str,
    verb: str,
    after: dict[str, Any],
    steps: tuple[DeviceStep, ...],
    *,
    checks: tuple[Check, ...],
    effect: tuple[str, ...],
    inverse: tuple[DeviceStep, ...] = (),
    note: str = "",
    danger: Danger = "change",
) -> Plan:
    place = f"{on.it.host} {on.it.function}".strip()
    return sealed(
        Plan(
            action=action,
            title=f"{on.it.label} {on.it.short} on {place}: {verb}",
            target=target(on.at.snapshot, on.it, on.device.gpu),
            before=on.before,
            after=after,
            steps=steps,
            checks=checks,
            effect=effect,
            inverse=inverse,
            inverse_note=note,
            commands=commands(steps, on.it, on.at.libvirt),
            danger=danger,
            settle_s=SETTLE_S if steps else 0.0,
        )
    )
