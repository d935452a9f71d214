"""Usage that nobody gives back: allocations of ended migrations, and of consumers that Nova does not know."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.quota_usage import usage_split


def leaks(facts: Facts) -> Iterator[Finding]:
    """A finding per consumer. What is to be deleted is said only where Nova itself says that the migration has ended
    and the server holds its own share; elsewhere the command shows what is held."""
    placement = facts.placement
    if placement is None:
        return
    names = {p.id: p.name for p in (facts.keystone.projects if facts.keystone else None) or ()}
    providers = {p.uuid: p.name for p in placement.providers}
    found = usage_split(facts.nova, placement).leaks
    holding = {a.consumer_id for p in placement.providers for a in p.allocations or ()} if found else set[str]()
    for leak in found:
        what = ", ".join(f"{n} {c}" for c, n in sorted(leak.resources.items()))
        where = ", ".join(providers.get(u, u) for u in leak.providers[:3]) + (" …" if len(leak.providers) > 3 else "")
        project = names.get(leak.project_id, leak.project_id)
        counts = f"counts for project {project}" if project else "the project it counts for is not known"
        migration, verb = leak.migration, "show"
        if migration is None:
            why = (
                "Nova lists no server and no running migration with this id (nor does it list a server that is "
                "soft-deleted): make sure, then delete its allocation"
            )
        elif migration.server_id in holding:
            why = f"the migration of server {migration.server_id} has ended ({migration.status})"
            verb = "delete"
        else:
            why = (
                f"the migration of server {migration.server_id} has ended ({migration.status}) and the server holds "
                "nothing itself: find out on which host it runs before anything is deleted"
            )
        yield Finding(
            id="usage-leaked",
            severity="warn",
            object=f"consumer {leak.consumer_id}",
            message=f"holds {what} on {where}, which {counts}: {why}",
            command=shlex.join(["openstack", "resource", "provider", "allocation", verb, leak.consumer_id]),
        )
