"""Domains against mediated devices and servers: what a guest needs is there, is its own, and Nova knows the guest."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.evidence import Evidence, libvirt_says, nova_says, placement_says
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts
from vgpu_console.model.snapshot import Finding, Provider, VgpuServer
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import allocated_of
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

MDEV_MISSING = Diagnosis(
    id="domain-mdev-missing",
    severity="fail",
    title="A domain wants a mediated device that does not exist",
    why="The server cannot be started. Only a hard reboot gives it another device, and only if its flavor asks for "
    "resources:VGPU itself: not for a custom class, and not in a numbered group.",
    needs=("libvirt",),
    action="mdev.create",
    fleeting=True,
)
MDEV_SHARED = Diagnosis(
    id="mdev-shared",
    severity="fail",
    title="Two domains are defined with the same mediated device",
    why="Only one of them can run at a time: the other is refused, its server goes to ERROR when it is started.",
    needs=("libvirt",),
    fleeting=True,
)
UNKNOWN_DOMAIN = Diagnosis(
    id="domain-unknown",
    severity="warn",
    title="A domain that Nova does not know holds a vGPU",
    why="Its vGPU is taken and no server has it: Placement shows it as free, and boots there fail.",
    needs=("libvirt", "nova"),
    fleeting=True,
)
NO_DEVICE = Diagnosis(
    id="server-without-device",
    severity="fail",
    title="A server runs without the vGPU that it was given",
    why="Its project is charged for a vGPU that the guest does not have. A device that a host lost is not given back "
    "by a plain start; a hard reboot does so only for flavors that ask for resources:VGPU itself.",
    needs=("nova", "libvirt"),
    fleeting=True,
)

_RUNNING = frozenset({"ACTIVE", "PAUSED"})


def _readable(ground: Ground) -> Iterator[tuple[str, LibvirtFacts]]:
    """Hosts whose libvirt answered the last time, and all of whose devices could be read."""
    for host, libvirt in ground.facts.libvirt.items():
        if not libvirt.skipped and ground.answers("libvirt", host):
            yield host, libvirt


def _domains(ground: Ground) -> Iterator[Finding]:
    nova = ground.facts.nova
    complete = nova is not None and nova.servers is not None and nova.all_projects and ground.answers("nova")
    for host, libvirt in _readable(ground):
        there = {m.uuid for m in libvirt.mdevs}
        holders: dict[str, list[DomainFacts]] = defaultdict(list)
        for domain in libvirt.domains:
            for uuid in domain.mdevs:
                holders[uuid].append(domain)
                # of a running guest the device is there, whatever the list says at this moment
                if uuid not in there and domain.active is False and libvirt.defined_visible:
                    yield _missing(ground, host, domain, uuid)
            if complete and domain.uuid not in ground.servers and (held := _vgpus(libvirt, domain)):
                yield _unknown(host, domain, held)
        for uuid, domains in holders.items():
            if len(domains) > 1:
                yield _shared(ground, host, uuid, domains)


def _missing(ground: Ground, host: str, domain: DomainFacts, uuid: str) -> Finding:
    server = ground.vgpu_servers.get(domain.uuid)
    who = ground.server_words(domain.uuid)
    return MDEV_MISSING.found(
        who,
        f"is shut off and cannot be started: its mediated device {uuid} does not exist on {host}",
        libvirt_says(host, f"domain {domain.name} wants {uuid}; no such device, active or defined"),
        *_allocated(ground, server),
        host=host,
        command=_make_again(ground, host, server, uuid),
        key="n",
        objects=(who, f"mdev {host} {uuid}"),
    )


def _make_again(ground: Ground, host: str, server: VgpuServer | None, uuid: str) -> str:
    """The device with its old uuid, on the function that Placement gave to the server; else what tells more."""
    for provider in _providers(ground, server):
        gpus = ground.hosts[host].gpus if host in ground.hosts else ()
        gpu = next((g for g in gpus or () if g.address == provider.gpu), None)
        if provider.host == host and gpu is not None and provider.device and gpu.active_type:
            words = ["vgpu-console", "mdev", "create", host, "--gpu", gpu.address, "--type", gpu.active_type]
            return shlex.join([*words, "--function", provider.device, "--uuid", uuid])
    if server is not None and "resources:VGPU" in (ground.servers[server.id].extra_specs or {}):
        return f"openstack server reboot --hard {server.id}"
    return f"ssh {shlex.quote(host)} sudo mdevctl list --defined"


def _providers(ground: Ground, server: VgpuServer | None) -> list[Provider]:
    listed = [ground.providers.get(uuid) for uuid in (server.allocated_on if server else ())]
    return [provider for provider in listed if provider is not None]


def _allocated(ground: Ground, server: VgpuServer | None) -> tuple[Evidence, ...]:
    names = ", ".join(p.name for p in _providers(ground, server))
    return (placement_says(f"allocated: {names}"),) if names else ()


def _shared(ground: Ground, host: str, uuid: str, domains: list[DomainFacts]) -> Finding:
    who = [ground.server_words(d.uuid) for d in domains]
    idle = next((d for d in domains if d.active is False and d.uuid in ground.vgpu_servers), None)
    return MDEV_SHARED.found(
        f"mdev {host} {uuid}",
        f"is in the domains of {len(domains)} servers: {' and '.join(who)}",
        libvirt_says(host, "; ".join(f"domain {d.name} ({'running' if d.active else 'shut off'})" for d in domains)),
        host=host,
        command=f"openstack server reboot --hard {idle.uuid}" if idle is not None else "",
        objects=(f"mdev {host} {uuid}", *who),
    )


def _vgpus(libvirt: LibvirtFacts, domain: DomainFacts) -> str:
    """The vGPUs of a domain: its mediated devices, and those of its PCI functions that are a GPU's."""
    gpus = {d.address for d in libvirt.devices} if domain.pci else set[str]()
    return ", ".join((*domain.mdevs, *(address for address in domain.pci if address in gpus)))


def _unknown(host: str, domain: DomainFacts, held: str) -> Finding:
    rest = "" if domain.active else ", or a server that is soft-deleted and can be restored"
    return UNKNOWN_DOMAIN.found(
        f"domain {host} {domain.uuid}",
        f"domain {domain.name} holds {held}, and Nova has no server of that id: a guest made by hand, or left of a "
        f"server that was deleted while the host was away{rest}",
        libvirt_says(host, f"domain {domain.name} ({'running' if domain.active else 'shut off'}): {held}"),
        nova_says(f"no server {domain.uuid}"),
        host=host,
        command=f"ssh {shlex.quote(host)} sudo virsh dumpxml {domain.uuid}",
        objects=(f"domain {host} {domain.uuid}", *(f"mdev {host} {uuid}" for uuid in domain.mdevs)),
    )


def _servers(ground: Ground) -> Iterator[Finding]:
    """Servers that were given more vGPUs than their domain has. One without a domain is not looked at here."""
    if not ground.answers("nova"):
        return
    bare: dict[str, frozenset[str]] = {}
    held: dict[str, dict[str, DomainFacts]] = {}
    for server in ground.snapshot.servers:
        wanted = max(sum(server.requested.values()), server.allocated or 0)
        if server.status not in _RUNNING or not server.host or wanted <= len(server.devices):
            continue
        libvirt = ground.facts.libvirt.get(server.host)
        if libvirt is None or libvirt.skipped or not ground.answers("libvirt", server.host):
            continue
        if server.host not in bare:
            bare[server.host] = frozenset(libvirt.bare_domains)
            held[server.host] = {d.uuid: d for d in libvirt.domains}
        domain = held[server.host].get(server.id)
        has = len(domain.mdevs) + len(domain.pci) if domain is not None else 0
        if (domain is None and server.id not in bare[server.host]) or has >= wanted or not ground.settled(server.id):
            continue
        wanted = max(sum(server.requested.values()), (server.allocated or 0) - _on_other_hosts(ground, server))
        if has >= wanted:
            continue
        yield _without(ground, server, server.host, wanted, has)


def _on_other_hosts(ground: Ground, server: VgpuServer) -> int:
    """What it holds where it is not: told as that (allocations.py)."""
    given = (ground.providers.get(uuid) for uuid in server.allocated_on)
    return sum(allocated_of(p, server.id) for p in given if p is not None and p.host != server.host)


def _without(ground: Ground, server: VgpuServer, host: str, wanted: int, has: int) -> Finding:
    specs = ground.servers[server.id].extra_specs or {}
    asked = ", ".join(f"{n} {c}" for c, n in sorted(server.requested.items()))
    again = "resources:VGPU" in specs
    who = ground.server_words(server.id)
    return NO_DEVICE.found(
        who,
        f"runs on {host} with {has or 'no'} vGPU{'' if has == 1 else 's'} of {wanted}"
        + ("" if again else "; a hard reboot does not give it one: its flavor does not ask for resources:VGPU itself"),
        nova_says(f"{server.status} on {host}, flavor {server.flavor}{f' asks for {asked}' if asked else ''}"),
        *_allocated(ground, server),
        libvirt_says(host, f"its domain has {has or 'no'} vGPU"),
        host=host,
        command=f"openstack server reboot --hard {server.id}" if again else f"vgpu-console migrate start {server.id}",
        objects=(who,),
    )


CHAPTER = Chapter((MDEV_MISSING, MDEV_SHARED, UNKNOWN_DOMAIN, NO_DEVICE), (_domains, _servers))
