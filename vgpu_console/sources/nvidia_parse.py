"""What NVIDIA's own program says of a host's GPUs, from the lines that the fact command passes on.

nvidia-smi's layouts are no promise of NVIDIA's: every line is taken for itself, an unknown one is skipped, and a value
that is neither Enabled nor Disabled (``[N/A]``, ``[Unknown Error]``, another language) is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from vgpu_console.model.host_facts import NvidiaGpu, SupportedType
from vgpu_console.sources.fact_command import PROGRAM_LIMIT_S
from vgpu_console.text import plain

_BUS_ID = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_ELEMENT = re.compile(r"<([a-z_]+)>([^<]*)</\1>")
_GPU_ELEMENT = re.compile(r'<gpu id="([^"]*)">')
_HEX = re.compile(r"(?:0x)?([0-9a-f]{1,6})")
_MEMORY = re.compile(r"([0-9]{1,8}) ?MiB")
_COUNT = re.compile(r"[0-9]{1,6}")
_VERSION = re.compile(r"\b([0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?)\b")
_ASKED = {"query": "--query-gpu", "types": "vgpu -s -v", "modes": "-q -x"}
_NOTHING = ("", "n/a", "none", "not supported", "unknown error", "requested functionality has been deprecated")

_WHY_SKIPPED = {
    "stuck": "an earlier nvidia-smi hangs in the driver, so no other was started: GPU modes are unknown",
    "no-timeout": "this host has no timeout(1), so nvidia-smi was not run: GPU modes are unknown",
}


class ProgramAnswers:
    """The section ``==programs==``, line by line under the word it starts with."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.said: dict[str, list[str]] = {}
        self.status: dict[str, int] = {}
        for line in lines:
            word, colon, rest = line.partition(":")
            if colon and word.isascii() and word.replace("-", "").isalpha():
                self.said.setdefault(word, []).append(rest.strip())
                continue
            name, _, number = line.partition(" status ")
            if _COUNT.fullmatch(number):
                self.status[name] = int(number)

    def version(self, program: str) -> str | None:
        """``10.0.0`` in the first line that a program said of itself."""
        found = _VERSION.search(next(iter(self.said.get(program, ())), ""))
        return found[1] if found and self.status.get(program) == 0 else None

    def notes(self) -> list[str]:
        """Why some of what nvidia-smi could say is unknown; empty where it is not installed or has answered."""
        for word in self.said.get("nvidia-smi", ()):
            return [_WHY_SKIPPED[word]] if word in _WHY_SKIPPED else []
        asked = [word for word in _ASKED if word in self.status or word in self.said]
        for word in asked:
            status = self.status.get(word)
            if status in (None, 137):
                return [
                    f"nvidia-smi {_ASKED[word]} gave no answer within {PROGRAM_LIMIT_S} s: GPU modes may be unknown"
                ]
            if status and (word != "query" or self.status.get("modes") != 0):
                said = plain(next(iter(self.said.get(word, ())), ""), 120)
                return [f"nvidia-smi {_ASKED[word]} failed (status {status}){': ' + said if said else ''}"]
        return []


def pci_address(bus_id: str) -> str | None:
    """``0000:41:00.0`` of nvidia-smi's ``00000000:41:00.0``; None when it is no PCI address."""
    found = _BUS_ID.fullmatch(bus_id.strip().lower())
    if found is None:
        return None
    return f"{int(found[1] or '0', 16):04x}:{found[2]}:{found[3]}.{found[4]}"


def switch(text: str) -> bool | None:
    """A mode that is Enabled or Disabled; None for everything else."""
    return {"enabled": True, "disabled": False}.get(text.strip().lower())


def _word(text: str) -> str | None:
    text = text.strip()
    return None if text.strip("[]").lower() in _NOTHING else plain(text, 64)


def firmware_runs(text: str) -> bool | None:
    """Whether a GPU runs GSP firmware: its version says yes, N/A says no, and no word at all says nothing."""
    text = text.strip()
    if not text:
        return None
    return True if _VERSION.search(text) else False if text.strip("[]").lower() == "n/a" else None


def nvidia_gpus(answers: ProgramAnswers, firmware: Mapping[str, str]) -> tuple[NvidiaGpu, ...]:
    """The GPUs by PCI address; ``firmware`` is the driver's own word on each (``GPU Firmware`` of its information)."""
    queried = _queried(answers.said.get("query", ()))
    modes = _modes(answers.said.get("modes", ()))
    gpus = []
    for address in sorted(queried.keys() | modes.keys() | firmware.keys()):
        name, ecc, pending, mig = queried.get(address, ("", "", "", ""))
        said = modes.get(address, {})
        gsp = firmware_runs(firmware.get(address, ""))
        gpus.append(
            NvidiaGpu(
                address=address,
                name=_word(name) or _word(said.get("product_name", "")) or "",
                ecc_current=_either(switch(ecc), switch(said.get("current_ecc", ""))),
                ecc_pending=_either(switch(pending), switch(said.get("pending_ecc", ""))),
                mig=_either(switch(mig), switch(said.get("current_mig", ""))),
                host_mode=_word(said.get("host_vgpu_mode", "")),
                mixed_sizes=switch(said.get("vgpu_heterogeneous_mode", "")),
                gsp=_either(gsp, firmware_runs(said.get("gsp_firmware_version", ""))),
            )
        )
    return tuple(gpus)


def _either(first: bool | None, second: bool | None) -> bool | None:
    return second if first is None else first


def _queried(lines: Iterable[str]) -> dict[str, tuple[str, str, str, str]]:
    """The answer to GPU_QUERY. A name may hold commas; the other fields cannot."""
    found = {}
    for line in lines:
        fields = [f.strip() for f in line.split(",")]
        address = pci_address(fields[0])
        if address is not None and len(fields) >= 5:
            found[address] = (", ".join(fields[1:-3]), fields[-3], fields[-2], fields[-1])
    return found


def _modes(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """The wanted elements of each GPU. The first of a name holds: MIG devices further down have elements alike."""
    found: dict[str, dict[str, str]] = {}
    gpu: dict[str, str] | None = None
    for line in lines:
        start = _GPU_ELEMENT.search(line)
        if start:
            address = pci_address(start[1])
            gpu = None if address is None else found.setdefault(address, {})
            continue
        element = _ELEMENT.search(line)
        if element and gpu is not None:
            gpu.setdefault(element[1], element[2].strip())
    return found


def supported_types(lines: Sequence[str]) -> tuple[SupportedType, ...]:
    """The types of ``nvidia-smi vgpu -s -v``, GPU by GPU. A type without a readable number is left out."""
    types: dict[tuple[str, int], dict[str, str]] = {}
    address: str | None = None
    kind: dict[str, str] | None = None
    for line in lines:
        label, colon, value = line.partition(":")
        label, value = label.strip(), value.strip()
        if line.startswith("GPU ") and label != "GPU Instance Profile ID":
            address, kind = pci_address(line[4:]), None
        elif colon and label == "vGPU Type ID":
            number = _HEX.fullmatch(value.lower())
            kind = types.setdefault((address, int(number[1], 16)), {}) if address and number else None
        elif colon and kind is not None:
            kind.setdefault(label, value)
    return tuple(_supported(address, number, said) for (address, number), said in types.items())


def _supported(address: str, type_id: int, said: Mapping[str, str]) -> SupportedType:
    memory = _MEMORY.fullmatch(said.get("FB Memory", ""))
    maximum = said.get("Max Instances", "")
    profile = said.get("GPU Instance Profile ID", "").lower()
    return SupportedType(
        address=address,
        type_id=type_id,
        name=plain(_word(said.get("Name", "")) or "", 128),
        max_instances=int(maximum) if _COUNT.fullmatch(maximum) else None,
        framebuffer_mib=int(memory[1]) if memory else None,
        mig=True if _HEX.fullmatch(profile) else False if profile.strip("[]") == "n/a" else None,
    )
