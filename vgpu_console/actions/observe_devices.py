"""What is true of a vGPU on a host now, with exactly the keys that plans have in ``before`` and ``after``."""

from __future__ import annotations

from typing import Any, Protocol

from vgpu_console.actions.plan import Plan
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts

NO_MDEV: dict[str, Any] = {
    "state": "absent",
    "type": None,
    "function": None,
    "persistent": None,
    "autostart": None,
    "held_by": None,
}
"""What ``mdev_state`` gives for a device that is not there, but for ``beside``."""


class DeviceReader(Protocol):
    """What an observation may ask of hosts: every call reads afresh, may block, and raises SourceError."""

    def libvirt_facts(self, host: str) -> LibvirtFacts:
        """The host's devices and guests, through the connection that changes are made over."""
        ...

    def shell_facts(self, host: str) -> SshFacts:
        """The host's sysfs and configuration."""
        ...


def mdev_state(facts: LibvirtFacts, uuid: str, function: str) -> dict[str, Any]:
    """A mediated device by its uuid: state (absent, defined, active, unknown), type, the function it is on, its flags.

    ``held_by`` is the domain that names it, running or not; ``beside`` are the other devices on ``function``, sorted,
    as far as that is an SR-IOV virtual function, which carries one device only (else it is empty).
    """
    virtual = any(d.address == function and d.physical_function is not None for d in facts.devices)
    beside = sorted(m.uuid for m in facts.mdevs if virtual and m.parent == function and m.uuid != uuid)
    found = next((m for m in facts.mdevs if m.uuid == uuid), None)
    if found is None:
        return {**NO_MDEV, "beside": beside}
    return {
        "state": "unknown" if found.active is None else "active" if found.active else "defined",
        "type": found.type_id,
        "function": found.parent,
        "persistent": found.persistent,
        "autostart": None if found.persistent is False else found.autostart,  # a transient one cannot have it
        "held_by": next((d.uuid for d in facts.domains if uuid in d.mdevs), None),
        "beside": beside,
    }


def vgpu_type_state(facts: SshFacts, function: str) -> dict[str, Any]:
    """The type a virtual function has on a vendor VFIO host; None where sysfs does not say (no such function)."""
    found = next((p for p in facts.pci if p.address == function), None)
    return {"type": found.current_vgpu_type if found is not None else None}


def vfs_state(facts: LibvirtFacts, gpu: str) -> dict[str, Any]:
    """How many virtual functions of a physical GPU are enabled, by libvirt; None when the GPU is not there."""
    found = next((d for d in facts.devices if d.address == gpu), None)
    return {"vfs": None if found is None or found.virtual_functions is None else len(found.virtual_functions)}


def observe_mdev(reader: DeviceReader, plan: Plan) -> dict[str, Any]:
    """For plans whose target's key has host, function and uuid. Raises SourceError.

    A flag that was not known when a device that is there was planned about (libvirt tells autostart only to who may
    change it) is told only once it is as planned.
    """
    key = plan.target.key
    seen = mdev_state(reader.libvirt_facts(key["host"] or ""), key["uuid"] or "", key["function"] or "")
    if plan.before.get("state") != "absent":
        for flag in ("persistent", "autostart"):
            if plan.before.get(flag) is None and seen[flag] != plan.after.get(flag):
                seen[flag] = None
    return seen


def observe_vgpu_type(reader: DeviceReader, plan: Plan) -> dict[str, Any]:
    """For plans whose target's key has host and function. Raises SourceError."""
    key = plan.target.key
    return vgpu_type_state(reader.shell_facts(key["host"] or ""), key["function"] or "")


def observe_vfs(reader: DeviceReader, plan: Plan) -> dict[str, Any]:
    """For plans whose target's key has host and gpu. Raises SourceError."""
    key = plan.target.key
    return vfs_state(reader.libvirt_facts(key["host"] or ""), key["gpu"] or "")
