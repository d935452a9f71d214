"""Which types Nova makes on which device, by the rules of its own start-up code."""

from __future__ import annotations

import pytest

from vgpu_console.rules.nova_conf import enabled_types, max_instances_of, mdev_classes, types_for_device

VF0, VF1 = "0000:41:00.4", "0000:41:00.5"


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        (None, None),
        ({}, ()),
        ({"devices.enabled_mdev_types": "nvidia-471, nvidia-472"}, ("nvidia-471", "nvidia-472")),
        ({"devices.enabled_vgpu_types": "nvidia-35"}, ("nvidia-35",)),
    ],
)
def test_enabled_types(conf: dict[str, str] | None, expected: tuple[str, ...] | None) -> None:
    assert enabled_types(conf) == expected


@pytest.mark.parametrize(
    ("conf", "addresses", "expected"),
    [
        (None, [VF0], None),
        ({"devices.enabled_mdev_types": "a"}, [VF0], ("a",)),
        ({"devices.enabled_mdev_types": "a,b", "mdev_a.device_addresses": VF0}, [VF0], ("a",)),
        ({"devices.enabled_mdev_types": "a,b", "mdev_a.device_addresses": VF0}, [VF1], ("b",)),
        ({"devices.enabled_mdev_types": "a,b", "mdev_a.device_addresses": VF0}, [VF0, VF1], ("a", "b")),
        ({"devices.enabled_mdev_types": "a,b"}, [VF0], ("a",)),  # the second without addresses is dropped by Nova
        ({"devices.enabled_mdev_types": "a", "mdev_a.device_addresses": VF1.upper()}, [VF1], ("a",)),
        ({"devices.enabled_mdev_types": "a", "vgpu_a.device_addresses": VF1}, [VF0], ()),
    ],
)
def test_types_for_device(conf: dict[str, str] | None, addresses: list[str], expected: tuple[str, ...] | None) -> None:
    assert types_for_device(conf, addresses) == expected


def test_caps_and_classes() -> None:
    conf = {"mdev_a.max_instances": "4", "mdev_b.max_instances": "many", "mdev_a.mdev_class": "CUSTOM_BIG"}
    assert max_instances_of(conf, "a") == 4
    assert max_instances_of(conf, "b") is None
    assert mdev_classes(conf) == ("CUSTOM_BIG",)
