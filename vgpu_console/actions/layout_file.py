"""A layout: which vGPU types in which number on which hosts and GPUs, as a TOML file that people and CI keep.

::

    version = 1

    [[gpu]]
    host = "gpu-0*"          # globs, as shells have them
    gpu = "0000:41:00.0"     # PCI address, also without "0000:"; left out: every GPU of the host
    type = "A100-20C"        # name, with or without GRID or NVIDIA, or id
    count = 2                # on each GPU that matches; 0: none of that type
    persistent = true        # left out: true
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import msgspec

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.text import plain

VERSION = 1
MOST_ENTRIES = 10_000
LARGEST = 4 * 1024 * 1024
"""Characters of a file: more is no layout."""

_Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class LayoutError(Exception):
    """The file is no layout. ``str()`` is one plain line that says where and why."""


class GpuLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each GPU that matches carries of one type."""

    host: _Glob
    type: _Glob
    count: Annotated[int, msgspec.Meta(ge=0, le=1024)]
    gpu: _Glob = "*"
    persistent: bool = True


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. GPUs that no entry names are left alone."""

    version: int
    gpu: tuple[GpuLayout, ...] = ()


def read_layout(text: str) -> Layout:
    """A layout from TOML text. Raises LayoutError with the line and the key."""
    if len(text) > LARGEST:
        raise LayoutError(f"the file is larger than {LARGEST // 1024 // 1024} MiB: it is no layout")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise LayoutError(f"no TOML: {plain(str(error) or 'nested too deeply', 200)}") from None
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        found = "is missing" if version is None else f"is {plain(repr(version), 40)}"
        raise LayoutError(f"{_where(text, None, 'version')}version {found}; this console reads version {VERSION}")
    try:
        layout = msgspec.convert(data, Layout)
    except msgspec.ValidationError as error:
        raise LayoutError(_told(text, str(error))) from None
    if len(layout.gpu) > MOST_ENTRIES:
        raise LayoutError(f"{len(layout.gpu)} entries; {MOST_ENTRIES} is the most")
    return layout


def to_toml(layout: Layout) -> str:
    """The file of a layout: ``read_layout`` gives the same back."""
    parts = [f"version = {layout.version}\n"]
    for entry in layout.gpu:
        persistent = "true" if entry.persistent else "false"
        parts.append(
            f"[[gpu]]\nhost = {_quoted(entry.host)}\ngpu = {_quoted(entry.gpu)}\ntype = {_quoted(entry.type)}\n"
            f"count = {entry.count}\npersistent = {persistent}\n"
        )
    return "\n".join(parts)


def layout_of(snapshot: Snapshot, hosts: Iterable[str] | None = None) -> Layout:
    """What is there now, an entry per GPU and type. Hosts whose devices are not known are left out.

    A GPU without vGPUs has no entry: a layout leaves what it does not name alone.
    """
    chosen = None if hosts is None else set(hosts)
    entries: list[GpuLayout] = []
    for host in snapshot.hosts:
        if chosen is None or host.name in chosen:
            for gpu in host.gpus or ():
                entries += _entries(snapshot, host, gpu)
    return Layout(version=VERSION, gpu=tuple(entries))


def unread_hosts(snapshot: Snapshot, hosts: Iterable[str] | None = None) -> tuple[str, ...]:
    """The hosts that ``layout_of`` leaves out, for their devices are not known."""
    chosen = None if hosts is None else set(hosts)
    return tuple(
        h.name
        for h in snapshot.hosts
        if (chosen is None or h.name in chosen)
        and (h.gpus is None or any(g.vgpus_created is None and g.mechanism != "none" for g in h.gpus))
    )


def escaped(text: str) -> str:
    """A name as a glob that matches itself only."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _entries(snapshot: Snapshot, host: Host, gpu: PhysicalGpu) -> list[GpuLayout]:
    if gpu.vgpus_created is None:
        return []
    mine = [m for m in snapshot.mdevs if m.host == host.name and m.gpu == gpu.address]
    out = []
    for (type_id, name), count in sorted(Counter((m.type_id, m.type_name) for m in mine).items()):
        transient = [m.persistent is False for m in mine if m.type_id == type_id]
        out.append(
            GpuLayout(
                host=escaped(host.name),
                gpu=gpu.address,
                type=short_type_name(name) or type_id,
                count=count,
                persistent=not all(transient),
            )
        )
    return out


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a part of TOML's; DEL has to be escaped besides."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_ENTRY = re.compile(r"gpu\[([0-9]+)\](?:\.(\w+))?")
_NAMED = re.compile(r"(?:unknown|required) field `([^`]*)`")
_HEADER = re.compile(r"\s*\[\[\s*[\"']?gpu[\"']?\s*\]\]")


def _told(text: str, error: str) -> str:
    """msgspec's words with the place in the file instead of in its structure."""
    found = _PATH.match(error)
    what, path = (found["what"], found["path"] or "") if found else (error, "")
    entry = _ENTRY.match(path)
    number = int(entry[1]) if entry else None
    named = _NAMED.search(what)
    key = (entry[2] if entry else path) or (named[1] if named and "unknown" in what else "")
    what = what.replace("Object contains unknown field", "unknown key").replace(
        "Object missing required field", "missing key"
    )
    about = f"[[gpu]] {number + 1}: " if number is not None else ""
    subject = f"{key}: " if key and f"`{key}`" not in what else ""
    return plain(f"{_where(text, number, key)}{about}{subject}{what[:1].lower()}{what[1:]}", 300)


def _where(text: str, entry: int | None, key: str) -> str:
    """``line 7: `` of a key of the numbered entry, of that entry's head, or of a key before all; "" when not found."""
    heads = [n for n, line in enumerate(text.split("\n")) if _HEADER.match(line)]
    lines = text.split("\n")
    if entry is not None and entry >= len(heads):
        return ""
    start = 0 if entry is None else heads[entry]
    end = next((h for h in heads if h > start), len(lines))
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
    for number in range(start, end):
        if wanted is not None and wanted.match(lines[number]):
            return f"line {number + 1}: "
    return f"line {start + 1}: " if entry is not None else ""
