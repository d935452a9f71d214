"""From the fact command's output (see ``fact_command``) to SshFacts: what is there is taken, what is cut is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vgpu_console.model.host_facts import PciSysfs, SshFacts, VgpuTypeDescription
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.fact_command import OUTPUT_LIMIT, TOOLS
from vgpu_console.sources.nvidia_parse import ProgramAnswers, nvidia_gpus, supported_types
from vgpu_console.text import plain

_MAGIC = "==vgpu-console-facts 1=="
_HEADER = re.compile(r"==([a-z_-]+)==")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_VERSION = re.compile(r"\b([0-9]{2,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?)\b")
_DEFINITION = re.compile(
    r"[0-9A-Za-z:._-]+/(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}):"
    r'\s*"start"\s*:\s*"(?P<start>auto|manual)"'
)
_EPOCH = re.compile(r"[0-9]{1,11}")
_YES_NO = {"yes": True, "no": False}
_NVIDIA = "10de"
_LONG_VALUE = 16384  # characters of one nova.conf value: a list of some hundred PCI addresses

MULTI_VALUED = frozenset({"pci.device_spec", "pci.alias", "pci.passthrough_whitelist"})
"""Options of nova.conf that may be given many times and then all hold (oslo.config's MultiStrOpt)."""

MULTI_SEPARATOR = "; "
"""Between the values of a multi-valued option in ``SshFacts.nova_conf``; each value is one JSON object."""


def parse_facts(host: str, text: str) -> SshFacts:
    """The facts in the fact command's output; fields whose lines are missing are None.

    Raises SourceError (protocol) when the text is not that command's output at all.
    """
    return parse_answer(host, text)[0]


def parse_answer(host: str, text: str) -> tuple[SshFacts, tuple[str, ...]]:
    """Like parse_facts, with one line for each thing the answer leaves out (cut short, an unreadable nova.conf …)."""
    sections = _sections(text)
    notes: list[str] = []
    if "end" not in sections:
        notes.append("the answer is cut short: some facts of this host are missing")
    pci, types = _pci(sections), _mdev_types(sections.get("mdev_types", ()))
    nova_conf, path, conf_notes = _nova_conf(sections)
    notes.extend(conf_notes)
    programs = ProgramAnswers(sections.get("programs", ()))
    notes.extend(programs.notes())
    rights = dict(line.split(":", 1) for line in sections.get("rights", ()) if ":" in line)
    gpus = sections.get("gpus", ())
    release = dict(_os_release(sections.get("os-release", ())))
    bus = next(iter(sections.get("mdev_bus", ())), "").split()
    facts = SshFacts(
        host=host,
        kernel=_first(sections.get("kernel", ())),
        os_id=release.get("ID"),
        os_version=release.get("VERSION_ID"),
        os_name=release.get("PRETTY_NAME"),
        nvidia_driver=_nvidia_driver(sections.get("nvidia", ())),
        mdev_bus=None if not bus or bus[0] not in ("yes", "no") else bus[0] == "yes" and bus[1:] != ["0"],
        types=types,
        pci=_gpu_functions(pci, {t.address for t in types}),
        gpu_models=tuple((a, plain(model, 256)) for a, model in _gpu_information(gpus, "Model")),
        nova_conf=nova_conf,
        nova_conf_path=path,
        cpu_model=_first(line.partition(":")[2] for line in sections.get("cpu", ())),
        nvidia_gpus=nvidia_gpus(programs, dict(_gpu_information(gpus, "GPU Firmware"))),
        supported_types=supported_types(programs.said.get("types", ())),
        tools=dict(_tools(sections["tools"])) if "tools" in sections else None,
        mdev_autostart=_autostarts(sections["mdev_definitions"]) if "mdev_definitions" in sections else None,
        create_mdev=_YES_NO.get(rights.get("create_mdev", "")),
        set_vgpu_type=_YES_NO.get(rights.get("set_vgpu_type", "")),
        libvirt_installed=programs.version("libvirt"),
        qemu_installed=programs.version("qemu"),
    )
    return facts, tuple(notes)


def _sections(text: str) -> dict[str, list[str]]:
    lines = text[:OUTPUT_LIMIT].split("\n")
    try:
        start = lines.index(_MAGIC)  # whatever a login script printed stands before it
    except ValueError:
        said = next((plain(line.strip(), 80) for line in lines if line.strip()), "")
        raise SourceError(
            "protocol",
            f"the host did not run the fact command; it said: {said}" if said else "the host answered with nothing",
        ) from None
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines[start + 1 :]:
        header = _HEADER.fullmatch(line)
        if header:
            current = sections.setdefault(header[1], [])
        elif line:
            current.append(line.rstrip("\r"))
    return sections


def _first(lines: Iterable[str]) -> str | None:
    return next((plain(line.strip(), 256) for line in lines if line.strip()), None)


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if _NUMBER.fullmatch(text) else None


def _count(text: str) -> int | None:
    number = _number(text)
    return number if number is not None and number >= 0 else None


def _os_release(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if value:
            yield key, plain(value, 256)


def _nvidia_driver(lines: Iterable[str]) -> str | None:
    """/sys/module/nvidia/version is the bare version; the NVRM line also names the module, its build and builder."""
    found = None
    for line in lines:
        if line.startswith("module:") and line[7:].strip():
            return plain(line[7:].strip(), 64)
        match = _VERSION.search(line.partition("NVRM version:")[2])
        found = found or (match[1] if match else None)
    return found


def _gpu_information(lines: Iterable[str], label: str) -> Iterator[tuple[str, str]]:
    """(address, value) of the lines with that label in /proc/driver/nvidia/gpus/<address>/information."""
    for line in lines:
        path, _, value = line.partition(f"/information:{label}:")
        if _ADDRESS.fullmatch(path.lower()) and value.strip():
            yield path.lower(), value.strip()


def _tools(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, path = line.partition(":")
        if name in TOOLS and path.startswith("/"):
            yield name, plain(path.strip(), 256)


def host_clock(text: str) -> tuple[int, int] | None:
    """The host's clock at the beginning and the end of the command, seconds since the epoch; None unless it said both.

    A clock that went backwards meanwhile says nothing.
    """
    try:
        said = [line.strip() for line in _sections(text).get("clock", ())]
    except SourceError:
        return None
    if len(said) != 2 or not all(_EPOCH.fullmatch(s) for s in said):
        return None
    first, last = int(said[0]), int(said[1])
    return (first, last) if first <= last else None


class _Function:
    """What the lines of one PCI function say, until it is made a PciSysfs."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.current: int | None = None
        self.creatable: list[tuple[int, str]] | None = None


def _pci(sections: dict[str, list[str]]) -> dict[str, PciSysfs]:
    functions: dict[str, _Function] = {}

    def of(path: str) -> _Function | None:
        path = path.lower()
        return functions.setdefault(path, _Function()) if _ADDRESS.fullmatch(path) else None

    for line in sections.get("pci", ()):
        path, _, rest = line.partition("/")
        name, _, value = rest.partition(":")
        if (function := of(path)) is not None:
            function.files[name] = value.strip()
    for line in sections.get("links", ()):
        path, _, rest = line.partition("/")
        name, arrow, target = rest.partition(" -> ")
        if arrow and (function := of(path)) is not None:
            function.links[name] = plain(target.rstrip("/").rpartition("/")[2], 64)
    for line in sections.get("vgpu", ()):
        path, _, rest = line.partition("/nvidia/")
        name, _, value = rest.partition(":")
        if (function := of(path)) is None:
            continue
        if name == "current_vgpu_type":
            function.current = _count(value)
        elif name == "creatable_vgpu_types":
            function.creatable = function.creatable or []
            number, _, label = value.partition(":")
            if (type_id := _count(number)) is not None:  # the first line is a heading: "ID : vGPU Name"
                function.creatable.append((type_id, plain(label.strip(), 128)))
    return {address: _as_sysfs(address, function) for address, function in functions.items()}


def _as_sysfs(address: str, function: _Function) -> PciSysfs:
    parent = function.links.get("physfn", "").lower()
    return PciSysfs(
        address=address,
        vendor_id=plain(function.files.get("vendor", "").removeprefix("0x").lower(), 16),
        product_id=plain(function.files.get("device", "").removeprefix("0x").lower(), 16),
        driver=function.links.get("driver") or None,
        numa_node=_count(function.files.get("numa_node", "")),  # -1: the firmware does not say
        sriov_numvfs=_count(function.files.get("sriov_numvfs", "")),
        sriov_totalvfs=_count(function.files.get("sriov_totalvfs", "")),
        physical_function=parent if _ADDRESS.fullmatch(parent) else None,
        current_vgpu_type=function.current,
        creatable_vgpu_types=None if function.creatable is None else tuple(function.creatable),
    )


def _gpu_functions(pci: dict[str, PciSysfs], mdev_parents: set[str]) -> tuple[PciSysfs, ...]:
    """NVIDIA's functions and mdev parents with their physical functions; not the display chip of a server's board."""
    parents = mdev_parents | {f.physical_function for a, f in pci.items() if a in mdev_parents and f.physical_function}
    return tuple(f for a, f in sorted(pci.items()) if f.vendor_id == _NVIDIA or a in parents)


def _autostarts(lines: Iterable[str]) -> dict[str, bool]:
    """``0000:41:00.4/<uuid>:  "start": "auto",`` by uuid."""
    found = {}
    for line in lines:
        definition = _DEFINITION.match(line)
        if definition is not None:
            found[definition["uuid"].lower()] = definition["start"] == "auto"
    return found


def _mdev_types(lines: Iterable[str]) -> tuple[VgpuTypeDescription, ...]:
    """Name and description are said once per bus and type, and hold for the functions that follow."""
    said: dict[tuple[str, str, str], str] = {}
    available: dict[tuple[str, str], int | None] = {}
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    for line in lines:
        device, _, rest = line.partition("/")  # a PCI address holds colons itself
        path, _, value = rest.partition(":")
        type_id, _, what = path.rpartition("/")
        if not type_id or what not in ("name", "description", "available_instances"):
            continue
        device, type_id = plain(device.lower(), 64), plain(type_id, 64)
        bus = device.rpartition(":")[0] or device
        key = (device, type_id)
        available.setdefault(key, None)
        if what == "available_instances":
            available[key] = _count(value)
        else:
            said[bus, type_id, what] = value.strip()
        texts[key] = (said.get((bus, type_id, "name"), ""), said.get((bus, type_id, "description"), ""))
    return tuple(
        VgpuTypeDescription(
            address=device,
            type_id=type_id,
            name=plain(texts[device, type_id][0], 128),
            framebuffer_mib=framebuffer_of(texts[device, type_id][1]),
            max_instances=max_instance_of(texts[device, type_id][1]),
            available_instances=count,
        )
        for (device, type_id), count in available.items()
    )


def framebuffer_of(description: str) -> int | None:
    """MiB of ``framebuffer=20480M`` in a type's sysfs description."""
    match = re.search(r"\bframebuffer=([0-9]{1,8})M\b", description)
    return int(match[1]) if match else None


def max_instance_of(description: str) -> int | None:
    """``max_instance=2`` in a type's sysfs description: what one physical GPU can hold of this type."""
    match = re.search(r"\bmax_instances?=([0-9]{1,6})\b", description)
    return int(match[1]) if match else None


def _nova_conf(sections: dict[str, list[str]]) -> tuple[dict[str, str] | None, str | None, list[str]]:
    notes: list[str] = []
    readable: list[str] = []
    for line in sections.get("nova_conf_files", ()):
        path, _, state = line.rpartition(" ")
        if state == "readable":
            readable.append(plain(path, 256))
        elif state == "unreadable":
            notes.append(f"{plain(path, 256)} may not be read by this user")
    if not readable or "nova_conf" not in sections:
        return None, None, notes
    options: dict[str, list[str]] = {}
    for line in sections["nova_conf"]:
        path, tab, rest = line.partition("\t")
        if not tab:
            continue
        option, equal, value = rest.partition("=")
        if not equal and rest.endswith("!"):
            notes.append(f"{plain(path, 256)}: {plain(rest[:-1], 128)} is set to something of an unexpected form")
            if rest[:-1] not in MULTI_VALUED:
                options.pop(rest[:-1], None)  # what it overrides does not hold either
        elif equal:
            values = options.setdefault(plain(option, 128), [])
            if option not in MULTI_VALUED:
                values.clear()
            values.append(plain(value.strip(), _LONG_VALUE))
    return {k: MULTI_SEPARATOR.join(v) for k, v in options.items()}, ", ".join(readable), notes
