"""Names, addresses and ids replaced, the same by the same throughout, by a key that nobody keeps.

What is handed over says how things hang together, not whose they are. The rule for text is the safe one: a word stays
when it is known to be harmless (``harmless``); whatever else stands there is replaced.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

import msgspec

from vgpu_console.model.evidence import Evidence
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.placement import Allocation, Inventory
from vgpu_console.model.snapshot import (
    Finding,
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    QuotaTotals,
    Snapshot,
    TypeCapacity,
    Unlooked,
    VgpuServer,
    VirtualFunction,
)
from vgpu_console.model.source import SourceStatus
from vgpu_console.recording.harmless import RUN, harmless_shape, harmless_word, trimmed

Kind = Literal[
    "cloud", "region", "user", "host", "project", "server", "flavor", "zone", "guest", "provider", "role", "address"
]
Rule = str
"""A Kind, or one of "text", "keep", "drop", "id", "name", "class", "trait", "code", "options"."""

T = TypeVar("T")

RULES: Mapping[type[msgspec.Struct], Mapping[str, Rule]] = {
    CloudIdentity: {
        "cloud": "cloud",
        "region": "region",
        "user": "user",
        "roles": "role",
        "limits_roles": "role",
    },
    SourceStatus: {"host": "host"},
    Evidence: {"host": "host"},
    Finding: {"id": "keep", "host": "host", "key": "keep", "action": "keep"},
    Unlooked: {"hosts": "host", "ids": "keep"},
    TypeCapacity: {"host": "host"},
    VirtualFunction: {"host": "host", "mdevs": "id", "provider_uuid": "id"},
    PhysicalGpu: {"host": "host", "provider_uuid": "id", "vendor_id": "code", "product_id": "code"},
    MediatedDevice: {
        "uuid": "id",
        "host": "host",
        "server_id": "id",
        "server": "server",
        "project_id": "id",
        "project": "project",
        "domain": "guest",
        "provider_uuid": "id",
    },
    VgpuServer: {
        "id": "id",
        "name": "server",
        "project_id": "id",
        "project": "project",
        "host": "host",
        "flavor": "flavor",
        "allocated_on": "id",
        "requested": "class",
    },
    ProjectQuota: {"project_id": "id", "project": "project", "resource": "class", "limit_id": "id"},
    QuotaTotals: {"resource": "class"},
    Migration: {
        "uuid": "id",
        "server_id": "id",
        "server": "server",
        "project": "project",
        "source": "host",
        "destination": "host",
    },
    Inventory: {"resource_class": "class"},
    Allocation: {"consumer_id": "id", "resources": "class"},
    Provider: {"uuid": "id", "name": "provider", "host": "host", "parent_uuid": "id", "traits": "trait"},
    Host: {"name": "host", "zone": "zone", "nova_conf": "options", "disabled_reason": "text"},
}
"""What is not text; fields that are not named here are scrubbed as text, new ones among them."""

NAMED: Mapping[str, Rule] = {
    "host": "host",
    "source_host": "host",
    "destination": "host",
    "hypervisor": "host",
    "project": "project",
    "project_name": "project",
    "project_id": "id",
    "server": "server",
    "server_id": "id",
    "cloud": "cloud",
    "region": "region",
    "region_id": "region",
    "user": "user",
    "flavor": "flavor",
    "zone": "zone",
    "uuid": "id",
    "limit_id": "id",
    "name": "name",
}
"""The same for what has no type here: members of JSON objects, by their name."""

_OPTION_GROUPS = ("devices.", "mdev_", "libvirt.", "compute.", "filter_scheduler.", "scheduler.", "quota.", "pci.")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]|-\d)")
_COLONS = re.compile(r"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:]|\.[0-7](?!\w))")
_DEVICE_OF = re.compile(r"(.+)(_pci_[0-9a-f]{4}_[0-9a-f]{2}_[0-9a-f]{2}_[0-7])")
_CODE = re.compile(r"[0-9a-f]{0,4}")
_STANDARD_CLASS = re.compile(r"(?:class:)?(?:VGPU|PGPU|VCPU|PCPU|MEMORY_MB|DISK_GB|PCI_DEVICE)")
PUBLIC = frozenset({"nova", "default", "Default", "admin", "service", "internal", "RegionOne"})
"""Names that every installation begins with: whose they are says nothing."""

_STANDARD_ROLES = frozenset({"admin", "member", "reader", "manager", "service"})
_STANDARD_TRAIT = re.compile(r"(?:HW|COMPUTE|OWNER|STORAGE|MISC)_[A-Z0-9_]+")
_SECRET = re.compile(
    r"""([\w-]*(?:passw(?:or)?d|passphrase|secret|token|credential|api_?key|private_?key|authorization|cookie)s?\b["']?\s*"""
    r"""(?:=>|[:=])\s*)(?:"[^"\n]*"?|'[^'\n]*'?|[^\s"']+(?: [^\s"':=]+(?=\s*$))?)""",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?<=://)[^\s/@]*@")
_OPTION = re.compile(r"(?:[a-z_]+|(?:mdev|vgpu)_nvidia-\d{1,4}|DEFAULT)\.[a-z_]+")
_NO_WORD = re.compile(r"[^\w\n\x20-\x7e·…→←≠≥≤×–—✓✗●▸‖]")
"""Signs beyond ASCII that this program does not write itself."""

_LEFT_OUT = "(left out)"


class Scrubber:
    """Replaces what it is given; the same name becomes the same stand-in for as long as this object lives.

    The key is random and is nowhere but in here. Names that ``learn`` has met are found in every text, also where
    they are ordinary words.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(32) if key is None else key
        self._aliases: dict[tuple[str, str], str] = {}
        self._ids: dict[str, str] = {}
        self._noted: set[tuple[Rule, str]] = set()
        self._taken: set[str] = set()
        self._names: dict[str, str] = {}
        self._phrases: set[str] = set()
        self._phrase: re.Pattern[str] | None = None
        self._texts: dict[str, str] = {}

    # Stand-ins ----------------------------------------------------------------------------------------------------

    def alias(self, kind: str, name: str) -> str:
        """The stand-in of a name: ``project-3fa94c``. The empty name stays."""
        if not name or name in PUBLIC:
            return name
        known = self._aliases.get((kind, name))
        if known is not None:
            return known
        digits = self._digest(kind, name)
        size = 6
        while f"{kind}-{digits[:size]}" in self._taken:
            size += 1
        made = f"{kind}-{digits[:size]}"
        self._aliases[(kind, name)] = made
        self._taken.add(made)
        return made

    def id(self, value: str) -> str:
        """An id of the same shape; what has none of the known shapes becomes ``id-3fa94c``."""
        known = self._ids.get(value)
        if known is not None:
            return known
        digits = self._digest("id", value.lower())[:32]
        if _UUID.fullmatch(value):
            made = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        else:
            made = digits if _HEX_ID.fullmatch(value) else self.alias("id", value)
        self._ids[value] = made
        return made

    def host(self, name: str) -> str:
        """A host's name label by label, so that a short name and a full one still belong together."""
        if _IPV4.fullmatch(name) or ":" in name:
            return self.alias("address", name)
        first, dot, rest = name.partition(".")
        return self.alias("host", first) + (f".{self.alias('domain', rest)}" if dot else "")

    def _digest(self, kind: str, name: str) -> str:
        return hmac.new(self._key, f"{kind}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    # Values -------------------------------------------------------------------------------------------------------

    def learn(self, value: Any) -> None:
        """Note every name in a value, so that texts are searched for it. All that is to be scrubbed is learnt first."""
        self._learn(value, "text")
        self._phrase = None
        self._texts.clear()

    def scrub(self, value: T) -> T:
        """The value with all its strings scrubbed: a struct, or what JSON is made of."""
        scrubbed: T = self._walk(value, "text")
        return scrubbed

    def text(self, text: str) -> str:
        """A text with everything replaced that is not known to be harmless."""
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = self._scrubbed(text)
        return known

    def _walk(self, value: Any, rule: Rule) -> Any:
        if isinstance(value, str):
            return self._apply(value, rule)
        if isinstance(value, msgspec.Struct):
            told = _telling(type(value))
            return msgspec.structs.replace(value, **{n: self._walk(getattr(value, n), its) for n, its in told})
        if isinstance(value, dict):
            keys = rule if rule in ("class", "options") else "text"
            return {self._apply(key, keys): self._walk(one, self._member(rule, key)) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._walk(one, rule) for one in value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self._apply(str(value), "text")

    def _learn(self, value: Any, rule: Rule) -> None:
        if isinstance(value, str):
            if value and rule != "text" and (rule, value) not in self._noted:
                self._noted.add((rule, value))
                self._note(value, rule)
        elif isinstance(value, msgspec.Struct):
            for name, its in _telling(type(value)):
                self._learn(getattr(value, name), its)
        elif isinstance(value, dict):
            for key, one in value.items():
                if rule == "class":
                    self._note(key, rule)
                self._learn(one, self._member(rule, key))
        elif isinstance(value, (list, tuple)):
            for one in value:
                self._learn(one, rule)

    @staticmethod
    def _member(rule: Rule, key: Any) -> Rule:
        """The rule of an object's member: an option of nova.conf by its group, else by its name."""
        if rule == "options":
            return "text" if str(key).startswith(_OPTION_GROUPS) else "drop"
        return NAMED.get(str(key), "text" if rule == "class" else rule)

    def _note(self, value: str, rule: Rule) -> None:
        if rule == "host":
            self._name(value, self.host(value))
            first = value.partition(".")[0]
            self._name(first, self.host(first))
        elif rule == "provider":
            found = _DEVICE_OF.fullmatch(value)
            self._note(found[1] if found else value, "host")
            self._name(value, self._apply(value, rule))
        elif rule == "name":
            self._name(value, self._apply(value, rule))
        elif rule in typing.get_args(Kind):
            if rule != "role" or value.lower() not in _STANDARD_ROLES:
                self._name(value, self.alias(rule, value))
        elif rule == "id":
            self._name(value, self.id(value))
        elif rule == "class" and not _STANDARD_CLASS.fullmatch(value):
            self._name(value, self._apply(value, rule))
            self._name(value.removeprefix("class:"), self._apply(value.removeprefix("class:"), rule))
        elif rule == "trait" and not _STANDARD_TRAIT.fullmatch(value):
            self._name(value, self._apply(value, rule))

    def _name(self, name: str, alias: str) -> None:
        if name not in PUBLIC and any(char.isalnum() for char in name):
            self._names.setdefault(name, alias)
            if RUN.fullmatch(name) is None:
                self._phrases.add(name)

    def _apply(self, value: str, rule: Rule) -> str:
        if not value or rule == "keep":
            return value
        if rule == "drop":
            return _LEFT_OUT
        if rule == "options":
            return value if _OPTION.fullmatch(value) else self.text(value)
        if rule == "name":
            return self._names.get(value) or self.alias("name", value)
        if rule == "host":
            return self.host(value)
        if rule == "id":
            return self.id(value)
        if rule == "provider":
            found = _DEVICE_OF.fullmatch(value)
            return self.host(found[1]) + found[2] if found else self.host(value)
        if rule == "code":
            return value if _CODE.fullmatch(value) else self.alias("code", value)
        if rule == "class":
            return self._class(value)
        if rule == "trait":
            return value if _STANDARD_TRAIT.fullmatch(value) else self._custom("trait", value)
        if rule == "role":
            return value if value.lower() in _STANDARD_ROLES else self.alias("role", value)
        if rule == "text":
            return self.text(value)
        return self.alias(rule, value)

    def _class(self, value: str) -> str:
        if _STANDARD_CLASS.fullmatch(value):
            return value
        prefix = "class:" if value.startswith("class:") else ""
        return prefix + self._custom("class", value.removeprefix("class:"))

    def _custom(self, kind: str, value: str) -> str:
        """A stand-in that is still a custom class or trait."""
        return "CUSTOM_" + self.alias(kind, value).upper().replace("-", "_")

    # Text ---------------------------------------------------------------------------------------------------------

    def _scrubbed(self, text: str) -> str:
        if self._phrases:
            if self._phrase is None:
                longest = sorted(self._phrases, key=len, reverse=True)
                self._phrase = re.compile("|".join(map(re.escape, longest)))
            text = self._phrase.sub(lambda found: self._names[found[0]], text)
        text = _SECRET.sub(rf"\g<1>{_LEFT_OUT}", _USER_INFO.sub("", text))
        text = _IPV4.sub(lambda found: self.alias("address", found[0]), text)
        text = _COLONS.sub(self._colons, text)
        return RUN.sub(lambda found: self._run(found[0]), _NO_WORD.sub("·", text))

    def _colons(self, found: re.Match[str]) -> str:
        """An IPv6 or MAC address; a PCI address and a time of day have colons, too."""
        return found[0] if harmless_shape(found[0]) else self.alias("address", found[0].lower())

    def _run(self, run: str) -> str:
        whole = self._known(run)
        if whole is not None:
            return whole
        kept, end = trimmed(run)
        whole = self._known(kept)
        if whole is not None:
            return whole + end
        return "/".join(self._component(part) for part in kept.split("/")) + end

    def _component(self, text: str) -> str:
        """What stands between two slashes: as a whole, else what colons and at signs part."""
        kept, end = trimmed(text)
        known = self._known(kept) if kept else ""
        if known is not None:
            return known + end
        parts = re.split(r"([:@])", kept)
        if len(parts) == 1:
            return self.alias("x", kept) + end
        return "".join(part if part in ":@" else self._component(part) for part in parts) + end

    def _known(self, run: str) -> str | None:
        """What a run becomes that is known: a name's stand-in, an id's, or itself when it is harmless."""
        if not run or run in self._taken:
            return run
        name = self._names.get(run)
        if name is not None:
            return name
        if _UUID.fullmatch(run) or _HEX_ID.fullmatch(run):
            return self.id(run)
        found = _DEVICE_OF.fullmatch(run)
        if found is not None:
            return self.host(found[1]) + found[2]
        first, dot, rest = run.partition(".")
        if dot and first in self._taken:  # a full name whose host has been replaced already
            return f"{first}.{rest}" if rest in self._taken else None
        return run if harmless_shape(run) or harmless_word(run) else None


def scrubbed_snapshot(snapshot: Snapshot, also: Iterable[Any] = ()) -> tuple[Snapshot, Scrubber]:
    """A snapshot scrubbed with a new key, and what did it, for what goes with it. ``also`` is learnt from, too."""
    scrubber = Scrubber()
    scrubber.learn(snapshot)
    for one in also:
        scrubber.learn(one)
    return scrubber.scrub(snapshot), scrubber


@functools.cache
def rules_of(kind: type[msgspec.Struct]) -> dict[str, Rule]:
    """The rule of each field of a struct. A choice among fixed words stays as it is; all else is text at best."""
    told = RULES.get(kind, {})
    hints = get_type_hints(kind)
    return {
        name: told.get(name, "keep" if _closed(hints[name]) else NAMED.get(name, "text"))
        for name in kind.__struct_fields__
    }


@functools.cache
def _telling(kind: type[msgspec.Struct]) -> tuple[tuple[str, Rule], ...]:
    """The fields of a struct that can hold a word of somebody's, each with its rule."""
    hints = get_type_hints(kind)
    return tuple((name, rule) for name, rule in rules_of(kind).items() if rule != "keep" and _tells(hints[name]))


def _tells(hint: Any) -> bool:
    if hint in (bool, int, float, type(None)) or get_origin(hint) is Literal:
        return False
    parts = [part for part in typing.get_args(hint) if part is not Ellipsis]
    return any(map(_tells, parts)) if parts else True


def _closed(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return True
    parts = typing.get_args(hint)
    return bool(parts) and all(part is type(None) or get_origin(part) is Literal for part in parts)
