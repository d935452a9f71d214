"""What is asked of Placement for an explanation: the flavor's whole request, and where that fits nowhere, its parts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.rules.resource_classes import is_device_class
from vgpu_console.rules.what_if import FlavorRequest

DEVICES = "devices"
"""The part of a request that only devices give: its vGPU classes with their traits, without CPU, memory and disk."""
UNTRAITED = "devices without traits"
"""The same without any trait."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Placement's answers for one server of a flavor. ``parts`` are there where the whole fitted nowhere.

    A part is a resource class that the host itself gives (``VCPU``), asked for alone, or one of the two above.
    """

    whole: Candidates | None = None  # None: not asked
    parts: Mapping[str, Candidates] = {}


def parts_of(request: FlavorRequest) -> dict[str, FlavorRequest]:
    """The questions that tell which part of a request nobody can give."""
    devices = [
        msgspec.structs.replace(g, resources={c: n for c, n in g.resources.items() if is_device_class(c)})
        for g in request.groups
    ]
    devices = [g for g in devices if g.resources]
    out: dict[str, FlavorRequest] = {}
    if devices:
        out[DEVICES] = FlavorRequest(tuple(devices), request.policy)
    if any(g.required or g.forbidden for g in devices):
        bare = tuple(msgspec.structs.replace(g, required=(), forbidden=()) for g in devices)
        out[UNTRAITED] = FlavorRequest(bare, request.policy)
    for group in request.groups:
        for name, amount in sorted(group.resources.items()):
            if not is_device_class(name):
                out[name] = FlavorRequest((RequestGroup(resources={name: amount}),), None)
    return out


def device_groups(request: FlavorRequest) -> tuple[RequestGroup, ...]:
    """The groups that ask for a vGPU class, with these classes only."""
    found = parts_of(request).get(DEVICES)
    return found.groups if found is not None else ()


def asked_amounts(groups: tuple[RequestGroup, ...]) -> dict[str, int]:
    """Class -> how many, over all groups."""
    out: dict[str, int] = {}
    for group in groups:
        for name, amount in group.resources.items():
            out[name] = out.get(name, 0) + amount
    return out


def words_of(amounts: Mapping[str, int]) -> str:
    """``1 VGPU, 2 CUSTOM_A40``."""
    return ", ".join(f"{n} {c}" for c, n in sorted(amounts.items()))
