"""Hosts with the same vGPU type, which live migrations go between, that differ where they must not.

Each finding is about the host that is unlike most of its group. Boards need no look: a type's name tells its board.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

from vgpu_console.model.evidence import host_says, libvirt_says
from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.migration.checks_hosts import drivers_may_differ, os_of, supports_no_move
from vgpu_console.rules.migration.scene import HostScene

_SHOWN = 3

DRIVER = Diagnosis(
    id="driver-differs",
    severity="warn",
    title="Hosts with the same type run different NVIDIA drivers",
    why="Nova does not look at drivers: it starts a live migration between them, which then fails.",
    needs=("ssh",),
)
SYSTEM = Diagnosis(
    id="os-differs",
    severity="warn",
    title="Hosts with the same type run systems between which NVIDIA supports no move",
    why="Nova does not look at the operating system: it starts a live migration between them, which may fail.",
    needs=("ssh",),
)
FRAMEWORK = Diagnosis(
    id="framework-differs",
    severity="warn",
    title="The same type is made in different ways",
    why="A guest with a mediated device cannot be given a function of the vendor's framework, nor the other way round: "
    "no live migration between these hosts.",
    needs=("libvirt",),
)
ECC = Diagnosis(
    id="ecc-differs",
    severity="warn",
    title="ECC is on for some GPUs of a type and off for others",
    why="A live migration between them stops before its end, and Nova leaves the server in ERROR.",
    needs=("ssh",),
)

Key = TypeVar("Key")
Group = list[tuple[Host, list[PhysicalGpu]]]


def _groups(ground: Ground) -> dict[str, Group]:
    """Type name without its brand -> the hosts that have it in force, each with those GPUs. Two hosts at least."""
    found: dict[str, dict[str, tuple[Host, list[PhysicalGpu]]]] = defaultdict(dict)
    for host, gpu in ground.gpus():
        name = short_type_name(gpu.active_type_name or "")
        if name:
            found[name].setdefault(host.name, (host, []))[1].append(gpu)
    return {name: list(hosts.values()) for name, hosts in found.items() if len(hosts) > 1}


def _odd(
    group: Group, value: Callable[[Host, list[PhysicalGpu]], Key | None]
) -> Iterator[tuple[Host, Key, Key, list[Host]]]:
    """Each host whose value is not the most frequent one: host, its value, the usual one, and some that have that."""
    values = [(host, value(host, gpus)) for host, gpus in group]
    told = [(host, one) for host, one in values if one is not None]
    counted = Counter(one for _, one in told)
    if len(counted) < 2:
        return
    usual = max(counted, key=lambda one: (counted[one], str(one)))
    others = [host for host, one in told if one == usual][:_SHOWN]
    for host, one in told:
        if one != usual:
            yield host, one, usual, others


def _names(hosts: list[Host]) -> str:
    return ", ".join(host.name for host in hosts)


def _drivers(ground: Ground) -> Iterator[Finding]:
    told: set[str] = set()
    for type_name, group in _groups(ground).items():
        for host, mine, usual, others in _odd(group, lambda host, _: host.driver or None):
            if host.name in told or all(drivers_may_differ(_end(ground, one)) for one in (host, others[0])):
                continue
            told.add(host.name)
            yield DRIVER.found(
                f"host {host.name}",
                f"NVIDIA driver {mine}; {_names(others)} with {type_name}: {usual}",
                host_says(host.name, f"NVIDIA driver {mine}"),
                *(host_says(one.name, f"NVIDIA driver {usual}") for one in others),
                host=host.name,
                objects=_objects(host, others),
                command=f"ssh {host.name} nvidia-smi --query-gpu=driver_version --format=csv,noheader",
            )


def _systems(ground: Ground) -> Iterator[Finding]:
    told: set[str] = set()
    for type_name, group in _groups(ground).items():
        for host, _, _, others in _odd(group, lambda host, _: os_of(_end(ground, host))):
            if host.name in told or not supports_no_move(_end(ground, host), _end(ground, others[0])):
                continue
            told.add(host.name)
            yield SYSTEM.found(
                f"host {host.name}",
                f"{host.os_name}; {_names(others)} with {type_name}: {others[0].os_name}",
                *(host_says(one.name, f"{one.os_name}") for one in (host, *others)),
                host=host.name,
                objects=_objects(host, others),
                command=f"ssh {host.name} cat /etc/os-release",
            )


def _frameworks(ground: Ground) -> Iterator[Finding]:
    words = {"mdev": "mediated devices", "vendor-vfio": "the vendor's VFIO framework"}
    for type_name, group in _groups(ground).items():
        for host, mine, usual, others in _odd(group, _mechanism):
            yield FRAMEWORK.found(
                f"host {host.name}",
                f"makes {type_name} with {words[mine]}; {_names(others)}: {words[usual]}",
                libvirt_says(host.name, f"{type_name}: {words[mine]}"),
                *(libvirt_says(one.name, f"{type_name}: {words[usual]}") for one in others),
                host=host.name,
                objects=_objects(host, others),
                command=f"vgpu-console gpus --host {host.name} --host {others[0].name}",
            )


def _ecc(ground: Ground) -> Iterator[Finding]:
    for type_name, group in _groups(ground).items():
        counted = Counter(gpu.ecc for _, gpus in group for gpu in gpus if gpu.ecc is not None)
        if len(counted) < 2:
            continue
        usual = counted[True] >= counted[False]
        other = next((h, g) for h, gpus in group for g in gpus if g.ecc is usual)
        for host, gpus in group:
            for gpu in gpus:
                if gpu.ecc is (not usual):
                    yield ECC.found(
                        f"gpu {host.name} {gpu.address}",
                        f"ECC is {_on(gpu.ecc)}; on most GPUs with {type_name} it is {_on(usual)} ({other[0].name})",
                        host_says(host.name, f"nvidia-smi: ECC of {gpu.address} {_on(gpu.ecc)}"),
                        host_says(other[0].name, f"nvidia-smi: ECC of {other[1].address} {_on(usual)}"),
                        host=host.name,
                        command=f"ssh {host.name} sudo nvidia-smi -i {gpu.address} -e {int(usual)}",
                    )


def ecc_unread(ground: Ground) -> tuple[str, ...]:
    """Hosts with others of their type whose ECC nobody told: those without nvidia-smi, or without rights for it."""
    found = []
    for group in _groups(ground).values():
        for host, gpus in group:
            ssh = ground.facts.ssh.get(host.name)
            named = {g.address for g in ssh.nvidia_gpus if g.name} if ssh is not None else set()
            if ssh is not None and any(g.ecc is None and g.address not in named for g in gpus):
                found.append(host.name)
    return tuple(dict.fromkeys(found))


def _mechanism(_: Host, gpus: list[PhysicalGpu]) -> str | None:
    kinds = {gpu.mechanism for gpu in gpus} & {"mdev", "vendor-vfio"}
    return kinds.pop() if len(kinds) == 1 else None


def _objects(host: Host, others: list[Host]) -> tuple[str, ...]:
    return (f"host {host.name}", *(f"host {one.name}" for one in others))


def _end(ground: Ground, host: Host) -> HostScene:
    return HostScene(host=host, status={}, ssh=ground.facts.ssh.get(host.name))


def _on(value: bool | None) -> str:
    return "on" if value else "off"


CHAPTER = Chapter((DRIVER, SYSTEM, FRAMEWORK, ECC), (_drivers, _systems, _frameworks, _ecc))
