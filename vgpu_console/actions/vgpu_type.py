"""vGPUs of the vendor VFIO framework: giving a virtual function a type, and taking it away.

There are no mediated devices on such a host. A virtual function becomes a vGPU when a type's number is written to its
``current_vgpu_type``, and stops being one when 0 is written; a guest gets it as a PCI device.
"""

from __future__ import annotations

from typing import NamedTuple

from vgpu_console.actions.devices import find_gpu, find_host, find_type, pci_address
from vgpu_console.actions.host_checks import guest_words, host_age, host_fresh
from vgpu_console.actions.plan import (
    NO_CONNECTION,
    REFUSED,
    Check,
    CheckStatus,
    Plan,
    PlanError,
    ShellStep,
    Target,
    sealed,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, PciSysfs, SshFacts
from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.device_spec import DeviceSpec, device_specs
from vgpu_console.rules.mdev_room import TypeRoom, type_rooms

SET, CLEAR = "vgpu-type.set", "vgpu-type.clear"
VIRTUAL_FUNCTION = "virtual function"
SETTLE_S = 15.0


class _Ground(NamedTuple):
    """What a plan about one GPU's functions stands on."""

    facts: Facts
    snapshot: Snapshot
    host: Host
    gpu: PhysicalGpu
    ssh: SshFacts
    now: float
    stale_s: float | None

    @property
    def functions(self) -> dict[str, PciSysfs]:
        """The GPU's virtual functions as sysfs shows them, by address."""
        return {p.address: p for p in self.ssh.pci if p.physical_function == self.gpu.address}

    def holders(self, address: str) -> list[DomainFacts] | None:
        """The domains that name a function, running or not; None when the host's libvirt was not read."""
        libvirt = self.facts.libvirt.get(self.host.name)
        return None if libvirt is None else [d for d in libvirt.domains if address in d.pci]

    def specs(self, address: str) -> list[DeviceSpec] | None:
        """The ``device_spec`` entries that match a function; None when nova.conf was not read."""
        specs = device_specs(self.host.nova_conf)
        vendor = self.gpu.vendor_id
        return None if specs is None else [s for s in specs if s.matches(address, self.gpu.address, vendor)]


def plan_set_type(
    facts: Facts,
    snapshot: Snapshot,
    host: str,
    gpu: str,
    type_text: str,
    count: int = 1,
    *,
    now: float,
    function: str | None = None,
    stale_s: float | None = None,
) -> tuple[Plan, ...]:
    """Give so many free virtual functions of a GPU a type, a plan each, to be applied in this order.

    ``type_text`` is the type's number, its name, or its name without the vendor's. ``function`` names the one to use.
    Raises PlanError: what is not there (2), a host that was not read (3), no room (4, with the reason).
    """
    ground = _ground(facts, snapshot, host, gpu, now, stale_s)
    if count < 1:
        raise PlanError(f"the number of vGPUs must be at least 1, not {count}")
    if function is not None and count != 1:
        raise PlanError("a virtual function carries one vGPU: give either a function or a number")
    room = find_type(type_rooms(snapshot, ground.host.name, ground.gpu.address), type_text)
    chosen = [_named(ground, function, room)] if function is not None else _free(ground, room, count)
    return tuple(_set(ground, address, room, place) for place, address in enumerate(chosen))


def plan_clear_type(
    facts: Facts, snapshot: Snapshot, host: str, function: str, now: float, *, stale_s: float | None = None
) -> Plan:
    """Take the type of a virtual function away. Raises PlanError as ``plan_set_type`` does."""
    ground = _ground(facts, snapshot, host, function, now, stale_s)
    address = _function(ground, function)
    current = ground.functions[address].current_vgpu_type
    if current is None:
        raise PlanError(f"{ground.host.name} {address}: which type it has could not be read", NO_CONNECTION)
    where = f"{ground.host.name} {address}"
    name = _type_name(ground, current)
    step = _write(ground, address, 0, f"clear {name} of {address}")
    checks = (_fresh(ground), _not_open(ground, address), _counted(ground, address), _spec_of(ground, address, 0))
    return sealed(
        Plan(
            action=CLEAR,
            title=f"vGPU of {where}: clear {name}" if current else f"vGPU of {where}: no type",
            target=_target(ground, address),
            before={"type": current},
            after={"type": 0},
            steps=(step,) if current else (),
            checks=checks if current else checks[:1],
            effect=(
                (f"{name} on {address} is gone; the GPU may then carry other sizes where it was the last",)
                if current
                else ("it has no type: nothing to do",)
            ),
            inverse=(_write(ground, address, current, f"set {name} on {address}"),) if current else (),
            inverse_note="" if current else "nothing to undo",
            commands=_commands(ground, address, 0) if current else (),
            danger="destroy",
            settle_s=SETTLE_S if current else 0.0,
        )
    )


def _ground(facts: Facts, snapshot: Snapshot, host: str, gpu: str, now: float, stale_s: float | None) -> _Ground:
    found = find_host(snapshot, host)
    board = find_gpu(snapshot, found.name, gpu)
    ssh = facts.ssh.get(found.name)
    if ssh is None:
        raise PlanError(
            f"{found.name} has not been read over SSH: the types of its functions are not known", NO_CONNECTION
        )
    if board.mechanism == "mdev":
        raise PlanError(f"{found.name} {board.address} carries mediated devices: its functions take no type", REFUSED)
    if board.mechanism != "vendor-vfio":
        why = (
            "its virtual functions are off: enable them first"
            if board.sriov and board.vfs_enabled == 0
            else "nothing on the host says that it can carry vGPUs"
        )
        raise PlanError(f"{found.name} {board.address}: {why}", REFUSED)
    return _Ground(facts, snapshot, found, board, ssh, now, stale_s)


def _function(ground: _Ground, text: str) -> str:
    """A virtual function by its address."""
    wanted = pci_address(text) or text
    if wanted in ground.functions:
        return wanted
    if wanted == ground.gpu.address:
        raise PlanError(f"{wanted} is the GPU itself: name one of its virtual functions")
    raise PlanError(f"{ground.gpu.address} on {ground.host.name} has no virtual function {wanted}")


def _type_name(ground: _Ground, number: int) -> str:
    found = next((t for t in ground.gpu.types if t.type_id == str(number)), None)
    return (short_type_name(found.type_name) if found is not None else "") or f"type {number}"


def _named(ground: _Ground, function: str, room: TypeRoom) -> str:
    address = _function(ground, function)
    entry = ground.functions[address]
    if str(entry.current_vgpu_type) == room.type_id:
        return address  # already so: a plan without steps
    if entry.current_vgpu_type is None:
        raise PlanError(f"{ground.host.name} {address}: which type it has could not be read", NO_CONNECTION)
    if entry.current_vgpu_type:
        raise PlanError(f"{address} has {_type_name(ground, entry.current_vgpu_type)}: clear it first", REFUSED)
    if room.creatable == 0 or not any(str(n) == room.type_id for n, _ in entry.creatable_vgpu_types or ()):
        raise PlanError(f"{ground.host.name} {address}: no {room.label}: {room.why_not}", REFUSED)
    return address


def _free(ground: _Ground, room: TypeRoom, count: int) -> list[str]:
    """Functions to use: those that Nova hands out and no guest names first, then in the order of the room."""
    where = f"{ground.host.name} {ground.gpu.address}"
    offered = [
        f.address
        for f in sorted(ground.functions.values(), key=lambda f: f.address)
        if f.current_vgpu_type == 0 and any(str(n) == room.type_id for n, _ in f.creatable_vgpu_types or ())
    ]
    most = len(offered) if room.creatable is None else min(room.creatable, len(offered))
    if most == 0:
        raise PlanError(f"{where}: no {room.label}: {room.why_not}", REFUSED)
    if count > most:
        raise PlanError(f"{where} has room for {most} more {room.label}, not for {count}: {room.why_not}", REFUSED)
    return sorted(offered, key=lambda a: (bool(ground.holders(a)), not ground.specs(a), a))[:count]


def _set(ground: _Ground, address: str, room: TypeRoom, place: int) -> Plan:
    entry = ground.functions[address]
    number, name, where = int(room.type_id), room.label, f"{ground.host.name} {address}"
    done = entry.current_vgpu_type == number
    checks = (
        _fresh(ground),
        _creatable(ground, room, place),
        _not_open(ground, address, has_none=entry.current_vgpu_type == 0),
        _spec_of(ground, address, number),
    )
    return sealed(
        Plan(
            action=SET,
            title=f"vGPU of {where}: {name}",
            target=_target(ground, address, str(number)),
            before={"type": entry.current_vgpu_type},
            after={"type": number},
            steps=() if done else (_write(ground, address, number, f"set {name} on {address}"),),
            checks=checks[:1] if done else checks,
            effect=_set_effect(ground, address, name, done),
            inverse=() if done else (_write(ground, address, 0, f"clear {name} of {address}"),),
            inverse_note="nothing to undo" if done else "only while no guest has it open",
            commands=() if done else _commands(ground, address, number),
            settle_s=0.0 if done else SETTLE_S,
        )
    )


def _set_effect(ground: _Ground, address: str, name: str, done: bool) -> tuple[str, ...]:
    if done:
        return (f"it is {name} already",)
    out = [f"{address} becomes {name}; a reboot or sriov-manage sets it back to none"]
    if not any(f.current_vgpu_type for f in ground.functions.values()):
        out.append("it is the first vGPU of this GPU: from then on the driver offers only what fits beside it")
    spec = next(iter(ground.specs(address) or ()), None)  # the first that matches holds
    if spec is not None and spec.resource_class:
        out.append(f"Nova hands it out as {spec.resource_class}")
    return tuple(out)


def _target(ground: _Ground, address: str, type_id: str | None = None) -> Target:
    return Target(
        kind=VIRTUAL_FUNCTION,
        id=f"{ground.host.name} {address}",
        name=f"{ground.host.name} {address}",
        key={"host": ground.host.name, "gpu": ground.gpu.address, "function": address, "type": type_id},
    )


def _write(ground: _Ground, address: str, number: int, title: str) -> ShellStep:
    return ShellStep(title=title, host=ground.host.name, call="set-vgpu-type", address=address, value=number)


def _commands(ground: _Ground, address: str, number: int) -> tuple[str, ...]:
    path = f"/sys/bus/pci/devices/{address}/nvidia/current_vgpu_type"
    return (f'ssh {ground.host.name} "echo {number} | sudo tee {path}"',)


def _fresh(ground: _Ground) -> Check:
    """``vfio.fresh``: the functions' types are read over SSH."""
    return host_fresh("vfio.fresh", ground.facts, "ssh", ground.host.name, ground.now, ground.stale_s)


def _creatable(ground: _Ground, room: TypeRoom, place: int) -> Check:
    """``place`` functions get the type before this one, and each may change what the driver offers."""
    age = host_age(ground.facts, "ssh", ground.host.name, ground.now)
    source = "creatable_vgpu_types"
    if place == 0 or room.creatable is not None:
        most = f" of at most {room.max} on the GPU" if room.max is not None else ""
        evidence = f"the driver offers {room.label}{most} on this function"
        return Check(id="vfio.creatable", status="pass", evidence=evidence, source=source, age_s=age)
    evidence = f"the real maximum of {room.label} is not known: the driver may refuse it after {place}"
    return Check(id="vfio.creatable", status="unknown", evidence=evidence, source=source, age_s=age)


def _not_open(ground: _Ground, address: str, *, has_none: bool = False) -> Check:
    """``vfio.not-open``: no guest names the function, running or shut off.

    With ``has_none`` a function without a type is given one: that a guest which is shut off waits for it, as after a
    boot of its host, forbids nothing.
    """
    age = host_age(ground.facts, "libvirt", ground.host.name, ground.now)

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="vfio.not-open", status=word, evidence=evidence, source="libvirt", age_s=age)

    holders = ground.holders(address)
    if holders is None:
        return check("unknown", f"libvirt of {ground.host.name} was not read: a guest may have the function")
    if holders and has_none and all(d.active is False for d in holders):
        words = "; ".join(guest_words(ground.snapshot, d) for d in holders)
        return check("warn", f"it is given back to {words}: is this the type that it had?")
    if holders:
        return check("fail", f"it belongs to {'; '.join(guest_words(ground.snapshot, d) for d in holders)}")
    fresh = host_fresh("vfio.not-open", ground.facts, "libvirt", ground.host.name, ground.now, ground.stale_s)
    if fresh.status != "pass":
        return check("unknown", f"no guest had the function, but {fresh.evidence}")
    return check("pass", "no guest of libvirt has the function")


def _counted(ground: _Ground, address: str) -> Check:
    """``vfio.allocated``: Placement counts functions on the GPU's provider, so only their number can be compared."""
    providers = [p for p in ground.snapshot.providers if p.gpu == ground.gpu.address and p.host == ground.host.name]
    age = next((s.age_s(ground.now) for s in ground.facts.statuses if s.kind == "placement"), None)

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="vfio.allocated", status=word, evidence=evidence, source="placement", age_s=age)

    if ground.facts.placement is None or any(p.allocations is None for p in providers):
        return check("unknown", "Placement was not read: a server that is being built may be given the function")
    counted = sum(sum(a.resources.values()) for p in providers for a in p.allocations or ())
    libvirt = ground.facts.libvirt.get(ground.host.name)
    held = sum(1 for f in ground.functions if libvirt and any(f in d.pci for d in libvirt.domains))
    if counted > held:
        return check(
            "warn",
            f"Placement counts {counted} functions of this GPU as taken, guests have {held}: "
            "a server that is being built or migrated may be given this one",
        )
    return check("pass", f"Placement counts {counted} functions of this GPU as taken, guests have {held}")


def _spec_of(ground: _Ground, address: str, number: int) -> Check:
    """``vfio.device-spec``: what Nova does with the function once it has the type, or has none any more."""
    age = host_age(ground.facts, "ssh", ground.host.name, ground.now)

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="vfio.device-spec", status=word, evidence=evidence, source="nova.conf", age_s=age)

    specs = ground.specs(address)
    if specs is None:
        return check("unknown", "nova.conf was not read: whether Nova hands this function out is not known")
    if not specs:
        if number == 0:
            return check("pass", "no [pci] device_spec matches it: Nova does not hand it out")
        return check("warn", "no [pci] device_spec matches it: Nova will not hand it out")
    spec = specs[0]  # Nova takes the first that matches
    if number == 0:
        return check("warn", "a [pci] device_spec matches it: Nova still hands it out, and that server will not start")
    if spec.managed is not False:
        return check(
            "warn",
            "its [pci] device_spec does not say managed: no, so libvirt takes the function from the nvidia driver",
        )
    moves = "can be live-migrated" if spec.live_migratable else "is not said to be live-migratable"
    return check("pass", f"a [pci] device_spec matches it, managed: no; it {moves}")
