"""The calls that make, start, stop and remove a mediated device, and the same as commands of libvirt and mdevctl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

import msgspec

from vgpu_console.actions.devices import node_device, pci_address
from vgpu_console.actions.plan import REFUSED, DeviceCall, DeviceStep, PlanError
from vgpu_console.model.host_facts import LibvirtFacts

DEFINE = (7, 3)
"""libvirt since which mediated devices can be defined, started and undefined."""
LONG_NAMES = (7, 7)
"""Since which a device's name carries its function."""
AUTOSTART = (7, 8)
"""Since which there is autostart, and a device tells whether it is persistent."""

_TYPE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class DeviceAt(msgspec.Struct, frozen=True, kw_only=True):
    """A mediated device that is there or is to be: enough to make it again."""

    host: str
    function: str
    type_id: str
    label: str  # "A100-20C", for eyes
    uuid: str

    @property
    def short(self) -> str:
        """The first digits of the uuid, as tables show them."""
        return self.uuid[:8]


def libvirt_version(facts: LibvirtFacts) -> tuple[int, ...] | None:
    """``11.3.0`` as numbers that can be compared; None when it is not known."""
    parts = (facts.libvirt_version or "").split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else None


def knows(facts: LibvirtFacts, since: tuple[int, int]) -> bool | None:
    """Whether this libvirt is as new as that; None when its version is not known."""
    version = libvirt_version(facts)
    return None if version is None else version >= since


def checked_type_id(type_id: str) -> str:
    """The id, if it is of the form the kernel gives it. Raises PlanError."""
    if not _TYPE_ID.fullmatch(type_id):
        raise PlanError(f"{type_id!r} is not the form of a vGPU type's id", REFUSED)
    return type_id


def step(call: DeviceCall, device: DeviceAt) -> DeviceStep:
    """One call, titled as a person would say it."""
    titles: dict[DeviceCall, str] = {
        "define": f"define {device.short} ({device.label}) on {device.function}",
        "create": f"create {device.short} ({device.label}) on {device.function}",
        "start": f"start {device.short}",
        "autostart-on": f"start {device.short} with its function from now on",
        "autostart-off": f"no longer start {device.short} with its function",
        "stop": f"stop {device.short}",
        "undefine": f"remove the definition of {device.short}",
    }
    placed = call in ("define", "create")
    return DeviceStep(
        title=titles[call],
        host=device.host,
        call=call,
        uuid=device.uuid,
        function=device.function if placed else "",
        type_id=device.type_id if placed else "",
    )


def making(device: DeviceAt, *, persistent: bool, autostart: bool, start: bool) -> tuple[DeviceStep, ...]:
    """The steps that bring a device into being."""
    if not persistent:
        return (step("create", device),) if start else ()
    calls: list[DeviceCall] = ["define"]
    if autostart:
        calls.append("autostart-on")
    if start:
        calls.append("start")
    return tuple(step(call, device) for call in calls)


def device_xml(device: DeviceAt) -> str:
    """What libvirt is given for a device, on one line."""
    parent, type_id = escape(node_device(device.function)), escape(device.type_id)
    return (
        f"<device><parent>{parent}</parent><capability type='mdev'><type id='{type_id}'/>"
        f"<uuid>{escape(device.uuid)}</uuid></capability></device>"
    )


def device_name(device: DeviceAt, *, long: bool) -> str:
    """libvirt's name of the node device; since 7.7 it ends with the function."""
    name = f"mdev_{device.uuid.replace('-', '_')}"
    return f"{name}_{re.sub('[:.]', '_', device.function)}" if long and device.function else name


def commands(steps: Iterable[DeviceStep], device: DeviceAt, facts: LibvirtFacts) -> tuple[str, ...]:
    """The same with virsh on the host, then with mdevctl, which libvirt itself calls."""
    calls = [s.call for s in steps]
    if not calls:
        return ()
    name = device_name(device, long=knows(facts, LONG_NAMES) is not False)
    return (
        f"# on {device.host}, with libvirt:",
        *(_virsh(call, device, name) for call in calls),
        "# or with mdevctl:",
        *_mdevctl(calls, device),
    )


def _virsh(call: DeviceCall, device: DeviceAt, name: str) -> str:
    if call in ("define", "create"):
        return f"echo {shlex.quote(device_xml(device))} | virsh nodedev-{call} /dev/stdin"
    words: dict[DeviceCall, str] = {
        "start": "nodedev-start {}",
        "autostart-on": "nodedev-autostart {}",
        "autostart-off": "nodedev-autostart --disable {}",
        "stop": "nodedev-destroy {}",
        "undefine": "nodedev-undefine {}",
    }
    return f"virsh {words[call].format(name)}"


def _mdevctl(calls: Sequence[DeviceCall], device: DeviceAt) -> list[str]:
    uuid = f"--uuid {device.uuid}"
    # a parent outside PCI: libvirt's name is its subsystem and its name in sysfs (mtty_mtty), mdevctl takes the latter
    parent = device.function if pci_address(device.function) else device.function.partition("_")[2]
    placed = f"{uuid} --parent {shlex.quote(parent or device.function)} --type {shlex.quote(device.type_id)}"
    auto = "define" in calls and "autostart-on" in calls
    words: dict[DeviceCall, str] = {
        "define": f"mdevctl define{' --auto' if auto else ''} {placed}",
        "create": f"mdevctl start {placed}",
        "start": f"mdevctl start {uuid}",
        "autostart-on": f"mdevctl modify --auto {uuid}",
        "autostart-off": f"mdevctl modify --manual {uuid}",
        "stop": f"mdevctl stop {uuid}",
        "undefine": f"mdevctl undefine {uuid}",
    }
    return [words[call] for call in calls if not (auto and call == "autostart-on")]
