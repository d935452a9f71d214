"""Which limits Nova will ask for: the resources that flavors and live servers request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from vgpu_console.model.nova import NovaFacts
from vgpu_console.rules.quota_place import PREFIX, SERVERS
from vgpu_console.rules.resource_classes import any_class


class Request(msgspec.Struct, frozen=True):
    """Who asks for one resource."""

    flavors: tuple[str, ...]  # names
    servers: int
    held: int = 0  # what servers hold where neither flavors nor servers name it


def nova_resources(
    extra_specs: Mapping[str, str] | None,
    vcpus: int | None = None,
    ram_mib: int | None = None,
    disk_gib: int | None = None,
) -> dict[str, int]:
    """What one server of a flavor costs, by limit name, as Nova counts it (nova: scheduler/utils.py ResourceRequest).

    ``resources…:CLASS`` extra specs override the flavor's own figures, also with 0; dedicated CPUs are PCPU.
    """
    named = any_class(extra_specs)
    cost = {PREFIX + c: n for c, n in named.items() if n}
    cost[SERVERS] = 1
    if vcpus and not {"VCPU", "PCPU"} & named.keys():
        dedicated = (extra_specs or {}).get("hw:cpu_policy") == "dedicated"
        cost[PREFIX + ("PCPU" if dedicated else "VCPU")] = vcpus
    if ram_mib and "MEMORY_MB" not in named:
        cost[PREFIX + "MEMORY_MB"] = ram_mib
    if disk_gib and "DISK_GB" not in named:
        cost[PREFIX + "DISK_GB"] = disk_gib
    return cost


def requested_resources(nova: NovaFacts | None) -> dict[str, Request]:
    """Every resource that a flavor or a live server (by the flavor embedded in it) asks for, by limit name."""
    flavors: dict[str, list[str]] = defaultdict(list)
    servers: dict[str, int] = defaultdict(int)
    for flavor in (nova.flavors if nova else None) or ():
        for resource in nova_resources(flavor.extra_specs, flavor.vcpus, flavor.ram_mib, flavor.disk_gib):
            flavors[resource].append(flavor.name)
    for server in (nova.servers if nova else None) or ():
        for resource in nova_resources(server.extra_specs, server.vcpus, server.ram_mib):
            servers[resource] += 1
    return {
        resource: Request(tuple(flavors.get(resource, ())), servers.get(resource, 0))
        for resource in sorted({*flavors, *servers})
    }
