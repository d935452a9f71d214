"""What a host's nova.conf says about mediated devices (nova: conf/devices.py, virt/libvirt/driver.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def enabled_types(conf: Mapping[str, str] | None) -> tuple[str, ...] | None:
    """``[devices] enabled_mdev_types`` (or its old name), in order; None when nova.conf could not be read."""
    if conf is None:
        return None
    value = conf.get("devices.enabled_mdev_types", conf.get("devices.enabled_vgpu_types", ""))
    return tuple(_items(value))


def _of_type(conf: Mapping[str, str], type_id: str, option: str) -> str | None:
    return conf.get(f"mdev_{type_id}.{option}", conf.get(f"vgpu_{type_id}.{option}"))


def addresses_of(conf: Mapping[str, str], type_id: str) -> tuple[str, ...]:
    """``[mdev_<type>] device_addresses``, lower case."""
    return tuple(a.lower() for a in _items(_of_type(conf, type_id, "device_addresses") or ""))


def addresses_on_bus(conf: Mapping[str, str] | None, address: str) -> tuple[str, ...]:
    """Every listed device address on the PCI bus of ``address``: where a GPU's virtual functions are while they are on.

    It tells what a GPU whose functions are off is meant for.
    """
    bus = address.lower().rpartition(":")[0] + ":"
    listed = [a for type_id in enabled_types(conf) or () for a in addresses_of(conf or {}, type_id)]
    return tuple(a for a in dict.fromkeys(listed) if a.startswith(bus))


def max_instances_of(conf: Mapping[str, str], type_id: str) -> int | None:
    """``[mdev_<type>] max_instances``: a cap for the whole host, not for a GPU."""
    value = _of_type(conf, type_id, "max_instances")
    return int(value) if value is not None and value.strip().isdigit() else None


def mdev_class_of(conf: Mapping[str, str] | None, type_id: str) -> str | None:
    """``[mdev_<type>] mdev_class``; Nova heeds it only for a type that names addresses. None where it is not said."""
    return _of_type(conf, type_id, "mdev_class") if conf is not None else None


def mdev_classes(conf: Mapping[str, str] | None) -> tuple[str, ...]:
    """The resource classes that ``[mdev_<type>] mdev_class`` names."""
    if conf is None:
        return ()
    return tuple(v.strip() for k, v in conf.items() if k.endswith(".mdev_class") and v.strip())


def types_for_device(conf: Mapping[str, str] | None, addresses: Iterable[str]) -> tuple[str, ...] | None:
    """The types Nova makes on a device with any of these PCI addresses; None when nova.conf could not be read.

    A type that names addresses serves those only. The first that names none is the host's default for all devices
    that no other type claims; later ones without addresses are dropped by Nova with a warning.
    """
    enabled = enabled_types(conf)
    if enabled is None or conf is None:
        return None
    wanted = {a.lower() for a in addresses}
    default: str | None = None
    claimed: set[str] = set()
    named: list[str] = []
    for type_id in enabled:
        listed = addresses_of(conf, type_id)
        claimed.update(listed)
        if not listed and default is None:
            default = type_id
        if wanted.intersection(listed):
            named.append(type_id)
    if default is not None and not wanted <= claimed:
        named.append(default)
    return tuple(dict.fromkeys(named))
