"""Which resource classes mean vGPUs, and what a flavor asks of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from vgpu_console.model.placement import ResourceProvider

VGPU = "VGPU"

_RESOURCES = re.compile(r"^resources([A-Za-z0-9_-]{0,64}):([A-Z0-9_]+)$")
_PCI_IN_NAME = re.compile(r"_(?:pci_)?([0-9a-fA-F]{4})[_:]([0-9a-fA-F]{2})[_:]([0-9a-fA-F]{2})[_.]([0-7])$")


def device_address(provider_name: str) -> str | None:
    """The PCI address in a provider's name, None for one that stands for no device.

    Nova names mdev parents ``<node>_pci_0000_84_00_0`` and tracked PCI devices ``<node>_0000:84:00.0``
    (nova: virt/libvirt/driver.py, compute/pci_placement_translator.py).
    """
    found = _PCI_IN_NAME.search(provider_name)
    if found is None:
        return None
    domain, bus, slot, function = found.groups()
    return f"{domain}:{bus}:{slot}.{function}".lower()


def vgpu_classes(providers: Iterable[ResourceProvider], configured: Iterable[str] = ()) -> frozenset[str]:
    """``VGPU``, the classes that nova.conf gives to mdev types, and every custom class on a PCI device's provider."""
    found = {VGPU, *configured}
    for provider in providers:
        if provider.parent_uuid is None or not provider.inventories or device_address(provider.name) is None:
            continue
        found.update(i.resource_class for i in provider.inventories if i.resource_class.startswith("CUSTOM_"))
    return frozenset(found)


def any_class(extra_specs: Mapping[str, str] | None) -> dict[str, int]:
    """Every resource class that a flavor's ``resources…:CLASS=n`` extra specs ask for; what it overrides with 0 too."""
    wanted: dict[str, int] = {}
    for key, value in (extra_specs or {}).items():
        found = _RESOURCES.match(key)
        if found is not None and value.strip().isdigit():
            wanted[found.group(2)] = wanted.get(found.group(2), 0) + int(value)
    return wanted


def requested(extra_specs: Mapping[str, str] | None, classes: Collection[str]) -> dict[str, int] | None:
    """What a flavor's ``resources…:CLASS=n`` extra specs ask for of the given classes, summed over its groups.

    None when the extra specs are not visible. A value that is no number is left out: Nova refuses such a flavor.
    """
    if extra_specs is None:
        return None
    wanted: dict[str, int] = {}
    for key, value in extra_specs.items():
        found = _RESOURCES.match(key)
        if found is not None and found.group(2) in classes and value.strip().isdigit():
            wanted[found.group(2)] = wanted.get(found.group(2), 0) + int(value)
    return wanted


def is_device_class(resource_class: str) -> bool:
    """Whether a class can mean a vGPU: Nova's own, or one that nova.conf or a PCI alias gives to devices."""
    return resource_class == VGPU or resource_class.startswith("CUSTOM_")


def pci_aliases(extra_specs: Mapping[str, str] | None) -> dict[str, int]:
    """PCI aliases that a flavor names, with how many of each (``pci_passthrough:alias``)."""
    found: dict[str, int] = {}
    for word in (extra_specs or {}).get("pci_passthrough:alias", "").split(","):
        name, _, count = word.strip().partition(":")
        if name:
            found[name] = found.get(name, 0) + (int(count) if count.isdigit() else 1)
    return found
