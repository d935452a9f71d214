"""Usage that nobody gives back: allocations of ended migrations, and of consumers that Nova does not know."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.evidence import Evidence
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.quota_usage import usage_split

LEAKED = "usage-leaked"
WHY = (
    "It counts against a project's limit and keeps a vGPU from being given to anyone, for ever: nothing gives it back "
    "by itself."
)
NO_AUDIT = " nova-manage placement audit does not look at custom classes: it finds nothing wrong here."


def leaks(facts: Facts) -> Iterator[Finding]:
    """A finding per consumer. What is to be deleted is said only where Nova itself says that the migration has ended
    and the server holds its own share; elsewhere the command shows what is held."""
    placement = facts.placement
    if placement is None:
        return
    names = {p.id: p.name for p in (facts.keystone.projects if facts.keystone else None) or ()}
    providers = {p.uuid: p.name for p in placement.providers}
    found = usage_split(facts.nova, placement).leaks
    trees = {p.uuid: p.root_uuid for p in placement.providers} if found else {}
    holding: dict[str, set[str]] = defaultdict(set)  # consumer -> the trees that it holds something of
    for provider in placement.providers if found else ():
        for allocation in provider.allocations or ():
            holding[allocation.consumer_id].add(provider.root_uuid)
    hosts = {s.id: s.host for s in (facts.nova.servers if facts.nova else None) or ()} if found else {}
    for leak in found:
        what = ", ".join(f"{n} {c}" for c, n in sorted(leak.resources.items()))
        where = ", ".join(providers.get(u, u) for u in leak.providers[:3]) + (" …" if len(leak.providers) > 3 else "")
        project = names.get(leak.project_id, leak.project_id)
        counts = f"counts for project {project}" if project else "the project it counts for is not known"
        migration = leak.migration
        show = shlex.join(["openstack", "resource", "provider", "allocation", "show", leak.consumer_id])
        command, action = show, ""
        if migration is None:
            why = (
                "Nova lists no server and no running migration with this id (nor does it list a server that is "
                "soft-deleted): make sure, then delete its allocation"
            )
            nova = "no server and no migration that runs has this id"
        else:
            nova = f"migration {migration.uuid} of server {migration.server_id}: {migration.status}"
            if migration.server_id not in holding:
                why = (
                    f"the migration of server {migration.server_id} has ended ({migration.status}) and the server "
                    "holds nothing itself: find out on which host it runs before anything is deleted"
                )
            elif hosts.get(migration.server_id) == migration.source and not holding[migration.server_id] & {
                trees.get(u, u) for u in leak.providers
            }:
                why = (
                    f"the migration of server {migration.server_id} has ended ({migration.status}), and Nova says that "
                    f"the server is on {migration.source}, of which it holds nothing itself: this may be its own "
                    "share. Find out on which host its guest runs before anything is deleted"
                )
            else:
                why = f"the migration of server {migration.server_id} has ended ({migration.status})"
                command = shlex.join(["openstack", "resource", "provider", "allocation", "delete", leak.consumer_id])
                if migration.live:
                    command = shlex.join(["vgpu-console", "migrate", "heal", leak.consumer_id])
                    action = "migrate.heal"
        unseen = any(c.startswith("CUSTOM_") for c in leak.resources)
        yield Finding(
            id=LEAKED,
            severity="warn",
            object=f"consumer {leak.consumer_id}",
            message=f"holds {what} on {where}, which {counts}: {why}",
            command=command,
            action=action,
            objects=tuple(
                filter(
                    None,
                    (
                        f"consumer {leak.consumer_id}",
                        f"server {migration.server_id}" if migration is not None else "",
                        f"project {project}" if project else "",
                    ),
                )
            ),
            evidence=(
                Evidence("placement", "", f"consumer {leak.consumer_id} holds {what} on {where}"),
                Evidence("nova", "", nova),
            ),
            why=WHY + (NO_AUDIT if unseen else ""),
        )
