"""nova.conf's ``[pci] device_spec``: which PCI functions Nova hands out, and how (nova: pci/devspec.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

_DECODER = json.JSONDecoder()
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
_WIDTHS = {"domain": 4, "bus": 2, "slot": 2, "function": 1}


class DeviceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One ``device_spec``. ``managed`` and ``live_migratable`` None: not said, then Nova means yes and no."""

    vendor_id: str = "*"
    product_id: str = "*"
    address: str | None = None  # "0000:25:00.4", with globs
    patterns: Mapping[str, str] | None = None  # domain, bus, slot, function as regular expressions
    resource_class: str | None = None
    managed: bool | None = None
    live_migratable: bool | None = None
    devname: bool = False  # names a network interface: never a GPU

    def matches(self, address: str, physical_function: str | None, vendor_id: str = "") -> bool:
        """Whether Nova takes this function. Given a whole address of a physical function, all its functions match."""
        if self.devname or self.vendor_id not in ("*", vendor_id or self.vendor_id):
            return False
        if self.patterns is not None:
            return self._by_patterns(address)
        if self.address is None:
            return True
        fields = _glob_fields(self.address)
        if fields is None:
            return False
        if physical_function is not None and "*" not in fields and tuple(_split(physical_function)) == fields:
            return True
        return all(want in ("*", have) for want, have in zip(fields, _split(address), strict=True))

    def _by_patterns(self, address: str) -> bool:
        try:
            return all(
                re.match((self.patterns or {}).get(name, ".*"), part)
                for name, part in zip(_WIDTHS, _split(address), strict=True)
            )
        except re.error:
            return False  # Nova refuses to start with it


def device_specs(conf: Mapping[str, str] | None) -> tuple[DeviceSpec, ...] | None:
    """Every ``[pci] device_spec`` (or its old name), in order; None when nova.conf could not be read."""
    return None if conf is None else tuple(map(_spec, _objects(conf, "pci.device_spec", "pci.passthrough_whitelist")))


def aliases(conf: Mapping[str, str] | None) -> tuple[dict[str, str], ...] | None:
    """Every ``[pci] alias`` as it stands; None when nova.conf could not be read."""
    if conf is None:
        return None
    return tuple({k: str(v) for k, v in one.items()} for one in _objects(conf, "pci.alias"))


def _objects(conf: Mapping[str, str], *options: str) -> list[dict[str, Any]]:
    text = next((conf[o] for o in options if o in conf), "")
    out, at = [], text.find("{")
    while at >= 0:
        try:
            one, at = _DECODER.raw_decode(text, at)
        except ValueError:
            at += 1
        else:
            if isinstance(one, dict):
                out.append(one)
        at = text.find("{", at)
    return out


def _spec(one: Mapping[str, Any]) -> DeviceSpec:
    nested = one.get("address") if isinstance(one.get("address"), dict) else None
    patterns = {name: str(nested[name]) for name in _WIDTHS if name in nested} if nested is not None else {}
    patterns |= {
        name: str(one[f"address.{name}"]) for name in _WIDTHS if f"address.{name}" in one
    }  # as the host says it
    address = one.get("address")
    resource_class = one.get("resource_class")
    return DeviceSpec(
        vendor_id=_hex(one.get("vendor_id")),
        product_id=_hex(one.get("product_id")),
        address=address.lower() if isinstance(address, str) and address else None,
        patterns=patterns or ({} if nested is not None else None),
        resource_class=_class_name(str(resource_class)) if resource_class else None,
        managed=_flag(one.get("managed")),
        live_migratable=_flag(one.get("live_migratable")),
        devname="devname" in one,
    )


def _class_name(word: str) -> str:
    """What Nova makes of a resource class that is not a standard one (nova: compute/pci_placement_translator.py)."""
    name = re.sub(r"[^A-Z0-9_]+", "_", word.upper())
    return name if name.startswith("CUSTOM_") or name in ("VGPU", "PGPU") else f"CUSTOM_{name}"


def _hex(value: Any) -> str:
    word = str(value).strip().lower().removeprefix("0x") if value is not None else "*"
    return word.rjust(4, "0") if word != "*" else word


def _flag(value: Any) -> bool | None:
    word = str(value).strip().lower() if value is not None else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _split(address: str) -> list[str]:
    front, _, function = address.lower().partition(".")
    return [*front.split(":"), function]


def _glob_fields(address: str) -> tuple[str, ...] | None:
    """Domain, bus, slot and function of ``*:0a:00.*``, ``:0a:00.`` or ``0a:00.1``; what is left out is any."""
    front, _, function = address.partition(".")
    parts = front.split(":") if front else []
    if len(parts) > 3:
        return None
    fields = [*["*"] * (3 - len(parts)), *parts, function]
    out = []
    for field, width in zip(fields, _WIDTHS.values(), strict=True):
        word = field.strip() or "*"
        out.append(word if word == "*" else word.rjust(width, "0"))
    return tuple(out)
