"""The plan: what would be changed, from what to what, by which steps, and how it would be undone. A value."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from vgpu_console.model.check import Check, CheckStatus

__all__ = [
    "NO_CONNECTION",
    "REFUSED",
    "USAGE",
    "Check",
    "CheckStatus",
    "Danger",
    "DeviceCall",
    "DeviceStep",
    "HttpStep",
    "OperatorStep",
    "Plan",
    "PlanError",
    "ShellCall",
    "ShellStep",
    "Step",
    "Target",
    "sealed",
]

USAGE, NO_CONNECTION, REFUSED = 2, 3, 4


class PlanError(Exception):
    """No plan can be made. ``str()`` is one plain line; ``exit`` is the command's exit code.

    2: what was asked for makes no sense; 3: a source that is needed has not answered; 4: it is not possible here.
    """

    def __init__(self, message: str, exit: int = USAGE) -> None:
        super().__init__(message)
        self.exit = exit


Danger = Literal["change", "risk", "destroy"]
"""How it is confirmed: yes or no; yes or no after the effect on servers was named; by typing the object's name."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan is about: ``id`` is what calls use, ``name`` is for eyes.

    ``key`` is what a re-read finds it by where one id does not, e.g. a limit that does not exist yet: its project,
    resource, service and region.
    """

    kind: str  # "project limit", "registered limit"
    id: str
    name: str
    key: dict[str, str | None] = {}


class HttpStep(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """One request to an OpenStack service; ``body`` holds no secret, for it is journaled."""

    title: str
    method: Literal["POST", "PATCH", "PUT", "DELETE"]
    service: str  # as CloudConnection.request takes it: "limits" is Keystone with the scope limits need
    path: str
    body: dict[str, Any] | None = None
    microversion: str | None = None


DeviceCall = Literal["define", "create", "start", "autostart-on", "autostart-off", "stop", "undefine"]
"""``create`` makes a transient mediated device (nodeDeviceCreateXML), ``define`` a persistent one that is not started
(nodeDeviceDefineXML), ``start`` and ``stop`` are libvirt's create() and destroy() of a node device."""


class DeviceStep(msgspec.Struct, frozen=True, kw_only=True, tag="libvirt"):
    """One call on a mediated device through a host's libvirt (7.3 and later)."""

    title: str
    host: str
    call: DeviceCall
    uuid: str
    function: str = ""  # PCI address of the function that carries it; with define and create
    type_id: str = ""  # "nvidia-472"; with define and create


ShellCall = Literal["set-vgpu-type", "enable-vfs"]
"""``set-vgpu-type`` writes a virtual function's ``current_vgpu_type`` (vendor VFIO), ``enable-vfs`` runs NVIDIA's
``sriov-manage -e`` on a physical function."""


class ShellStep(msgspec.Struct, frozen=True, kw_only=True, tag="ssh"):
    """One of a few constant commands on a host, with values of a checked form in their places."""

    title: str
    host: str
    call: ShellCall
    address: str  # PCI address of the function
    value: int | None = None  # the numeric type, 0 for none; with set-vgpu-type


class OperatorStep(msgspec.Struct, frozen=True, kw_only=True, tag="operator"):
    """Something the operator does outside the console, which then waits until it can be seen."""

    title: str
    host: str
    command: str  # what to type there


Step = HttpStep | DeviceStep | ShellStep | OperatorStep


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one thing. The dialog shows it, ``--dry-run`` prints it, it is applied, and the journal keeps it.

    ``before`` is what was read and what must still be so when it is applied; ``after`` is what must be read back.
    """

    action: str  # the id of its action
    title: str
    target: Target
    before: dict[str, Any]
    after: dict[str, Any]
    steps: tuple[Step, ...]
    checks: tuple[Check, ...] = ()
    effect: tuple[str, ...] = ()  # what it means, a line each
    inverse: tuple[Step, ...] = ()
    inverse_note: str = ""  # where undoing needs an id that only exists afterwards, or is not possible
    commands: tuple[str, ...] = ()  # the equivalent commands of the field's own tools
    danger: Danger = "change"
    settle_s: float = 0.0  # so long the world may take to show it: lists are stale for a moment, operators slower still
    hash: str = ""

    @property
    def blocked_by(self) -> tuple[Check, ...]:
        """Checks that forbid it."""
        return tuple(c for c in self.checks if c.status == "fail")

    @property
    def needs_override(self) -> tuple[Check, ...]:
        """Checks that an operator must explicitly accept: warnings, and what could not be looked at."""
        return tuple(c for c in self.checks if c.status in ("warn", "unknown"))

    @property
    def changes_nothing(self) -> bool:
        """Whether the world is already as it would be afterwards."""
        return not self.steps


def sealed(plan: Plan) -> Plan:
    """The plan with its hash: of what it was based on and what it would do, not of words or ages."""
    basis = (plan.action, plan.target.id, plan.target.key, plan.before, plan.after, plan.steps)
    encoded = msgspec.json.encode(basis, order="deterministic")
    return msgspec.structs.replace(plan, hash=hashlib.sha256(encoded).hexdigest()[:16])
