"""What a flavor asks for, and which device a provider's name means."""

from __future__ import annotations

import pytest

from vgpu_console.model.placement import Inventory, ResourceProvider
from vgpu_console.rules.resource_classes import device_address, requested, vgpu_classes


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("gpu-01_pci_0000_84_00_0", "0000:84:00.0"),
        ("gpu_01.example.org_pci_0000_41_01_7", "0000:41:01.7"),
        ("gpu-01_0000:25:00.0", "0000:25:00.0"),
        ("gpu-01_pci_0000_AF_00_0", "0000:af:00.0"),
        ("gpu-01", None),
        ("gpu-01_pci_0000_84_00_9", None),
    ],
)
def test_the_device_in_a_providers_name(name: str, address: str | None) -> None:
    assert device_address(name) == address


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (None, None),
        ({}, {}),
        ({"resources:VGPU": "1"}, {"VGPU": 1}),
        ({"resources1:VGPU": "1", "resources2:VGPU": "1", "group_policy": "none"}, {"VGPU": 2}),
        ({"resources_GPU-A:CUSTOM_BIG": "2"}, {"CUSTOM_BIG": 2}),
        ({"resources:CUSTOM_OTHER": "1"}, {}),
        ({"resources:VGPU": "one"}, {}),
        ({"trait:CUSTOM_A100": "required"}, {}),
    ],
)
def test_what_a_flavor_asks_for(specs: dict[str, str] | None, expected: dict[str, int] | None) -> None:
    assert requested(specs, {"VGPU", "CUSTOM_BIG"}) == expected


def test_custom_classes_count_as_vgpus_only_on_a_device() -> None:
    def holding(name: str, parent: str | None) -> ResourceProvider:
        inventory = Inventory(resource_class=f"CUSTOM_{name.upper()}", total=1)
        full = f"{name}_pci_0000_84_00_0" if parent else name
        return ResourceProvider(uuid=name, name=full, generation=1, parent_uuid=parent, inventories=(inventory,))

    assert vgpu_classes([holding("metal", None), holding("big", "root")], ["CUSTOM_SMALL"]) == {
        "VGPU",
        "CUSTOM_BIG",
        "CUSTOM_SMALL",
    }
