"""Allocations of servers that are somewhere else. What nobody holds any more the audit of limits finds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from vgpu_console.model.evidence import nova_says, placement_says
from vgpu_console.model.nova import NovaFacts
from vgpu_console.model.snapshot import Finding, Provider, VgpuServer
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.guests import running_on
from vgpu_console.rules.diagnosis.provider_census import allocated_of
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

OTHER_HOST = Diagnosis(
    id="allocation-on-other-host",
    severity="fail",
    title="A server holds vGPUs on a host where it is not",
    why="The vGPU there is kept from everybody and counts against the project. nova-compute of that host corrects it "
    "only where it knows that the server has left; nova-manage placement heal_allocations refuses servers with vGPUs.",
    needs=("placement", "nova"),
    fleeting=True,
)


def _strange(ground: Ground) -> Iterator[Finding]:
    if not (ground.heard("nova") and ground.heard("placement")):
        return
    providers = ground.providers
    for server in ground.snapshot.servers:
        strange = [
            providers[uuid]
            for uuid in server.allocated_on
            if uuid in providers and providers[uuid].host != server.host and providers[uuid].parent_uuid is not None
        ]
        if strange and server.id not in ground.unsettled and running_on(ground, server.id) <= {server.host}:
            yield _told(ground, server, strange)


def _told(ground: Ground, server: VgpuServer, strange: list[Provider]) -> Finding:
    who = ground.server_words(server.id)
    hosts = sorted({p.host for p in strange})
    own = len(strange) < len(server.allocated_on)
    nova = ground.facts.nova
    left = _evacuated(nova, server.id, hosts) if nova is not None else ""
    where = f"is on {server.host}" if server.host else "is on no host"
    words = f"holds {sum(allocated_of(p, server.id) for p in strange)} on {', '.join(hosts)} and {where}"
    if left:
        words += f": it was evacuated from {left}, whose nova-compute gives them back when it starts again"
    elif not own:
        words += ", where it holds no vGPU"
    return OTHER_HOST.found(
        who,
        words,
        placement_says(", ".join(f"{p.name}: {allocated_of(p, server.id)} held by it" for p in strange[:4])),
        nova_says(f"{who}: {server.status} on {server.host or 'no host'}"),
        host=hosts[0],
        objects=(who, *(f"provider {p.name}" for p in strange[:8]), f"project {server.project}"),
        command=f"ssh {shlex.quote(left)} sudo systemctl start nova-compute"
        if left
        else shlex.join(["openstack", "resource", "provider", "allocation", "show", server.id]),
        severity="warn" if left else None,
    )


def _evacuated(nova: NovaFacts, server_id: str, hosts: list[str]) -> str:
    """The host among these that the server was evacuated from."""
    return next(
        (
            row.source
            for row in nova.other_migrations or ()
            if row.server_id == server_id and row.migration_type == "evacuation" and row.source in hosts
        ),
        "",
    )


CHAPTER = Chapter((OTHER_HOST,), (_strange,))
