"""What a flavor asks Placement for: its request groups and the sum of its resources."""

from __future__ import annotations

import re

from vgpu_console.simulator.state import Flavor


class Group:
    """One request group of a flavor: what must come from one provider, with its required traits."""

    __slots__ = ("required", "resources", "suffix")

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.resources: dict[str, int] = {}
        self.required: set[str] = set()


def device_groups(flavor: Flavor) -> list[Group]:
    """The groups of a flavor that devices satisfy: ``resources[N]:CLASS``, ``trait[N]:T`` and PCI aliases."""
    groups: dict[str, Group] = {}
    for key, value in flavor.extra_specs.items():
        if match := re.fullmatch(r"resources(\w*):(\w+)", key):
            if int(value):
                groups.setdefault(match[1], Group(match[1])).resources[match[2]] = int(value)
        elif match := re.fullmatch(r"trait(\w*):(\w+)", key):
            if value == "required":
                groups.setdefault(match[1], Group(match[1])).required.add(match[2])
        elif key == "pci_passthrough:alias":
            for alias in value.split(","):
                name, _, count = alias.strip().partition(":")
                for index in range(int(count or 1)):
                    group = groups.setdefault(f"_pci_{name}_{index}", Group(f"_pci_{name}_{index}"))
                    group.resources[f"CUSTOM_{name.upper()}"] = 1
    return [group for group in groups.values() if group.resources]


def resources_of(flavor: Flavor) -> dict[str, int]:
    """All that a server of this flavor asks Placement for."""
    resources = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mib, "DISK_GB": flavor.disk_gib}
    for group in device_groups(flavor):
        for resource_class, amount in group.resources.items():
            resources[resource_class] = resources.get(resource_class, 0) + amount
    return {resource_class: amount for resource_class, amount in resources.items() if amount}
