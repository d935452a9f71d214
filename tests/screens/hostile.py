"""Names as tenants can write them, and fleets full of them."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.screens import fleets
from vgpu_console.model.snapshot import Snapshot

PIECES = (
    "\x1b[31m",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x9d52;c;ZXZpbA==\x9c",
    "\x90q\x9c",
    "\r\n",
    "\x00",
    "\x7f",
    "\u202eneve\u202c",
    "\u2066x\u2069",
    "\u200b\u200f\ufeff",
    "[/x]",
    "[/]",
    "[x='",
    "[@click=app.quit]click[/]",
    "[bold",
    "$accent",
    ":warning:",
    "{0}%s\\",
    "研究所",
    "👩‍💻",
    "e\u0301",
    "=HYPERLINK(1)",
    "W" * 5000,
)


def fill(value: Any, names: list[str]) -> Any:
    """A struct with each text that is a name or a note replaced by the next of ``names``; ids stay."""
    if isinstance(value, tuple):
        return tuple(fill(one, names) for one in value)
    if not isinstance(value, msgspec.Struct):
        return value
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(value)):
        old = getattr(value, field.name)
        if field.name in _NAMED and (isinstance(old, str) or old is None):
            changes[field.name] = _next(names)
        elif field.name == "nova_conf" and old is not None:
            changes[field.name] = {_next(names): _next(names) for _ in range(3)}
        elif field.name in ("types", "errors", "notes") and all(isinstance(one, str) for one in old or ()):
            changes[field.name] = (_next(names),)
        elif isinstance(old, (tuple, msgspec.Struct)):
            changes[field.name] = fill(old, names)
    return msgspec.structs.replace(value, **changes)


_NAMED = frozenset(
    {
        *("server", "project", "type_name", "active_type_name", "model", "driver", "kernel", "os_name", "libvirt"),
        *("qemu", "zone", "message", "disabled_reason", "error", "flavor", "domain", "status", "task_state", "source"),
        *("destination", "resource", "cloud", "region", "user", "scope", "limits_scope"),
        *("created", "created_at", "updated_at", "object", "command", "why"),
    }
)


def _next(names: list[str]) -> str:
    names.append(names.pop(0))
    return names[-1]


def hostile_fleet(names: list[str]) -> Snapshot:
    """The small fleet with hostile names in every slot, host and server names included."""
    snapshot: Snapshot = fill(fleets.fleet(), names)
    hosts = tuple(msgspec.structs.replace(h, name=f"{h.name}{_next(names)}") for h in snapshot.hosts)
    renamed = {old.name: new.name for old, new in zip(fleets.six_hosts(), hosts, strict=True)}
    mdevs = tuple(msgspec.structs.replace(m, host=renamed[m.host]) for m in snapshot.mdevs)
    servers = tuple(
        msgspec.structs.replace(s, name=_next(names), host=renamed.get(s.host or "", s.host)) for s in snapshot.servers
    )
    return msgspec.structs.replace(snapshot, hosts=hosts, mdevs=mdevs, servers=servers)
