"""Which type nova.conf gives to each function of a host, and how many of a type it lets Nova offer there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vgpu_console.rules.nova_conf import addresses_of, enabled_types, max_instances_of


class HostTypes(NamedTuple):
    """nova.conf of one host, read once for all its functions; the rule is ``nova_conf.types_for_device``'s."""

    named: Mapping[str, str]  # device address -> the type that names it first
    default: str  # the type of every device that none names; "" for none
    caps: Mapping[str, int]  # type id -> [mdev_<type>] max_instances, over the whole host

    def of(self, address: str) -> str:
        """The type that Nova makes on a device; "" for none."""
        return self.named.get(address, self.default)


def host_types(conf: Mapping[str, str] | None) -> HostTypes | None:
    """None when nova.conf could not be read."""
    if conf is None:
        return None
    named: dict[str, str] = {}
    default = ""
    caps: dict[str, int] = {}
    for type_id in enabled_types(conf) or ():
        listed = addresses_of(conf, type_id)
        if not listed and not default:
            default = type_id
        for address in listed:
            named.setdefault(address, type_id)
        cap = max_instances_of(conf, type_id)
        if cap is not None:
            caps[type_id] = cap
    return HostTypes(named, default, caps)
