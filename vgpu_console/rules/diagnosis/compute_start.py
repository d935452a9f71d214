"""nova.conf's mediated devices against what the host has: whether nova-compute starts, and finds anything."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from vgpu_console.model.evidence import host_says, libvirt_says
from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.nova_conf import addresses_of, addresses_on_bus, enabled_types

ADDRESS_TWICE = Diagnosis(
    id="conf-address-twice",
    severity="fail",
    title="nova.conf gives one device to two mdev types",
    why="nova-compute refuses to start with it (InvalidLibvirtMdevConfig); one that runs since before keeps running "
    "until its next restart.",
    needs=("ssh",),
)
ADDRESS_MALFORMED = Diagnosis(
    id="conf-address-malformed",
    severity="fail",
    title="nova.conf names a device in a form that Nova does not take",
    why="nova-compute refuses to start with it (InvalidLibvirtMdevConfig): an address is four, two and two hexadecimal "
    "digits and a function, as in 0000:41:00.4.",
    needs=("ssh",),
)
ADDRESS_UNKNOWN = Diagnosis(
    id="conf-address-unknown",
    severity="warn",
    title="nova.conf names devices that the host does not have",
    why="Nova says nothing about them and makes no provider: what they were meant to carry is missing.",
    needs=("ssh", "libvirt"),
)
TYPE_NOT_OFFERED = Diagnosis(
    id="type-not-offered",
    severity="warn",
    title="nova.conf enables an mdev type that no device of the host offers",
    why="Nova says nothing about it and offers nothing of it: a number of another board's, or of another driver's.",
    needs=("ssh",),
)
NO_MDEV_BUS = Diagnosis(
    id="no-mdev-bus",
    severity="fail",
    title="nova.conf enables mdev types on a host whose driver makes no mediated devices",
    why="With kernel 6.8 or later NVIDIA's driver has its own VFIO framework instead: Nova finds no type and reports "
    "nothing, without an error. vGPUs are then PCI devices ([pci] device_spec and alias).",
    needs=("ssh",),
)
NO_MDEV_TYPES = Diagnosis(
    id="no-mdev-types",
    severity="fail",
    title="The driver offers no vGPU type on a GPU",
    why="Nova reports no inventory for it. NVIDIA's vGPU manager (nvidia-vgpu-mgr, nvidia-vgpud) is what fills the "
    "list: it is not running, or this is not the driver for hosts of vGPUs.",
    needs=("libvirt", "ssh"),
)
MDEVCTL_MISSING = Diagnosis(
    id="mdevctl-missing",
    severity="fail",
    title="mdevctl is not installed",
    why="libvirt makes and starts mediated devices by that program: without it Nova can make none.",
    needs=("ssh",),
)

_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VERSION = re.compile(r"(\d+)\.(\d+)")
_VENDOR_SINCE = (6, 8)
"""The kernel from which on NVIDIA's driver has the vendor's VFIO framework."""

_CONTAINERS = ("/etc/kolla/", "/var/lib/config-data/", "/var/lib/openstack/")
"""Where nova.conf is when Nova and libvirt run in containers, whose programs are not the host's."""


def _hosts(ground: Ground) -> Iterator[tuple[Host, SshFacts, Mapping[str, str], tuple[str, ...]]]:
    """Hosts whose nova.conf enables mdev types, with that file and those types."""
    for name, ssh in ground.facts.ssh.items():
        conf = ssh.nova_conf
        types = enabled_types(conf)
        host = ground.hosts.get(name)
        if conf is not None and types and host is not None:
            yield host, ssh, conf, types


def _edit(host: str) -> str:
    return f"vgpu-console nova-conf {shlex.quote(host)}"


class Named(NamedTuple):
    """The devices that a nova.conf names for its types."""

    twice: tuple[tuple[str, tuple[str, ...]], ...]  # address -> its types, of those that have several
    malformed: tuple[tuple[str, str], ...]  # address -> type
    sound: frozenset[str]  # addresses in PCI's form


@lru_cache(maxsize=8192)
def _named(options: tuple[tuple[str, str], ...]) -> Named:
    """What the types' device_addresses come to: many hosts have the same, and of one host they rarely change."""
    owners: dict[str, list[str]] = defaultdict(list)
    for type_id, text in options:
        for address in dict.fromkeys(addresses_of({f"mdev_{type_id}.device_addresses": text}, type_id)):
            owners[address].append(type_id)
    pci = [a for a in owners if ":" in a]
    sound = frozenset(a for a in pci if _ADDRESS.fullmatch(a))
    return Named(
        twice=tuple((a, tuple(types)) for a, types in owners.items() if len(types) > 1),
        malformed=tuple((a, owners[a][0]) for a in pci if a not in sound),
        sound=sound,
    )


def _of_type(conf: Mapping[str, str], type_id: str) -> str:
    option = "device_addresses"
    return conf.get(f"mdev_{type_id}.{option}", conf.get(f"vgpu_{type_id}.{option}", ""))


def _addresses(ground: Ground) -> Iterator[Finding]:
    for host, _, conf, types in _hosts(ground):
        named = _named(tuple((t, _of_type(conf, t)) for t in types))
        if named.twice:
            address, owners = named.twice[0]
            more = f", and {len(named.twice) - 1} more" if len(named.twice) > 1 else ""
            yield ADDRESS_TWICE.found(
                f"host {host.name}",
                f"{address} is in the device_addresses of {' and '.join(owners)}{more}",
                host_says(host.name, "; ".join(f"[mdev_{o}] device_addresses has {address}" for o in owners)),
                host=host.name,
                command=_edit(host.name),
                key="N",
            )
        if named.malformed:
            said = _some([a for a, _ in named.malformed])
            yield ADDRESS_MALFORMED.found(
                f"host {host.name}",
                f"[mdev_{named.malformed[0][1]}] device_addresses: {said}",
                host_says(host.name, f"device_addresses: {said}"),
                host=host.name,
                command=_edit(host.name),
                key="N",
            )
        yield from _absent(host, named.sound)


def _absent(host: Host, named: frozenset[str]) -> Iterator[Finding]:
    """Addresses of no device; not those of a GPU whose functions are off, which is told as that."""
    if host.gpus is None or "libvirt" not in host.known_from or host.stale or not named:
        return
    there = {f.address for g in host.gpus for f in g.functions}
    there.update(g.address for g in host.gpus)
    if named <= there:
        return
    buses = [g.address[:8] for g in host.gpus if g.sriov and (g.vfs_enabled or 0) < (g.vfs_total or 0)]
    absent = sorted(a for a in named - there if a[:8] not in buses)
    if absent:
        yield ADDRESS_UNKNOWN.found(
            f"host {host.name}",
            f"nova.conf names {_some(absent)}, where there is no GPU and no function of one",
            host_says(host.name, f"device_addresses: {_some(absent)}"),
            libvirt_says(host.name, f"GPUs at {_some([g.address for g in host.gpus]) or 'no address'}"),
            host=host.name,
            command=_edit(host.name),
            key="N",
        )


def _some(words: list[str]) -> str:
    return ", ".join(words[:3]) + (" …" if len(words) > 3 else "")


def _types(ground: Ground) -> Iterator[Finding]:
    """Types and the bus they come from. A host whose functions are off offers none, which is told as that."""
    for host, ssh, conf, types in _hosts(ground):
        gpus = [g for g in host.gpus or () if g.sriov is False or g.vfs_enabled]
        if len(gpus) < len(host.gpus or ()) or not gpus:
            continue
        if ssh.mdev_bus is False and _new_kernel(ssh.kernel):
            other = any(g.mechanism == "vendor-vfio" for g in gpus)
            yield NO_MDEV_BUS.found(
                f"host {host.name}",
                f"nova.conf enables {_some(list(types))}, and kernel {ssh.kernel} has no mediated devices of NVIDIA's"
                + ("; its GPUs make vGPUs by vendor VFIO" if other else ""),
                host_says(host.name, f"[devices] enabled_mdev_types = {', '.join(types)}"),
                host_says(host.name, f"kernel {ssh.kernel}; /sys/class/mdev_bus is empty or not there"),
                host=host.name,
                command=_edit(host.name),
                key="N",
            )
            continue
        silent = [g for g in gpus if _offers_nothing(host, conf, g)] if "libvirt" in host.known_from else []
        for gpu in silent:
            yield NO_MDEV_TYPES.found(
                f"gpu {host.name} {gpu.address}",
                "its functions offer no vGPU type; is NVIDIA's vGPU manager running?",
                libvirt_says(host.name, f"{gpu.address}: {gpu.vfs_enabled or 'no'} virtual functions, no mdev types"),
                host_says(host.name, f"nova.conf enables {_some(list(types))}; driver {host.driver or 'unknown'}"),
                host=host.name,
                command=f"ssh {shlex.quote(host.name)} systemctl status nvidia-vgpud nvidia-vgpu-mgr",
            )
        offered = {t.type_id for g in gpus for t in g.types if t.available is not None}
        missing = [t for t in types if t not in offered]
        if missing:
            offered |= {t.type_id for t in ssh.types}
            missing = [t for t in types if t not in offered]
        if missing and offered and not silent:
            yield TYPE_NOT_OFFERED.found(
                f"host {host.name}",
                f"nova.conf enables {_some(missing)}, which no device of this host offers",
                host_says(host.name, f"[devices] enabled_mdev_types = {', '.join(types)}"),
                host_says(host.name, f"mdev_supported_types: {_some(sorted(offered))}"),
                host=host.name,
                command=f"vgpu-console mdev types {shlex.quote(host.name)}",
                key="N",
            )


def _offers_nothing(host: Host, conf: Mapping[str, str], gpu: PhysicalGpu) -> bool:
    """Whether a GPU with NVIDIA's driver has no type and should: nova.conf names it, or means all and none has any."""
    if gpu.types or gpu.mechanism not in ("none", "unknown") or gpu.driver != "nvidia":
        return False
    return bool(addresses_on_bus(conf, gpu.address)) or not any(g.types for g in host.gpus or ())


def _new_kernel(kernel: str | None) -> bool:
    found = _VERSION.match(kernel or "")
    return found is not None and (int(found[1]), int(found[2])) >= _VENDOR_SINCE


def _tools(ground: Ground) -> Iterator[Finding]:
    for host, ssh, _, types in _hosts(ground):
        tools = ssh.tools
        # only where libvirt itself is installed on the host, and not in a container with programs of its own
        if tools is None or "mdevctl" in tools or not ({"libvirtd", "virtqemud"} & tools.keys()):
            continue
        if (ssh.nova_conf_path or "").startswith(_CONTAINERS) or (ssh.mdev_bus is False and _new_kernel(ssh.kernel)):
            continue
        yield MDEVCTL_MISSING.found(
            f"host {host.name}",
            f"nova.conf enables {_some(list(types))}, and mdevctl is not installed",
            host_says(
                host.name,
                f"no mdevctl in /usr/sbin, /usr/bin or /usr/local; libvirt is at "
                f"{tools.get('virtqemud') or tools.get('libvirtd')}",
            ),
            host=host.name,
            command=f"ssh {shlex.quote(host.name)} sudo "
            + (
                "dnf install mdevctl"
                if ssh.os_id in ("rhel", "centos", "rocky", "almalinux")
                else "apt install mdevctl"
            ),
        )


CHAPTER = Chapter(
    (ADDRESS_TWICE, ADDRESS_MALFORMED, ADDRESS_UNKNOWN, TYPE_NOT_OFFERED, NO_MDEV_BUS, NO_MDEV_TYPES, MDEVCTL_MISSING),
    (_addresses, _types, _tools),
)
