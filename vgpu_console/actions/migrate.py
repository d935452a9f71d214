"""Plans of a live migration: start it, abort it, force its completion. What speaks against it are the pre-checks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vgpu_console.actions.plan import REFUSED, Check, HttpStep, Plan, PlanError, Target, sealed
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime
from vgpu_console.rules.migration.scene import version

START, ABORT, FORCE = "migrate.start", "migrate.abort", "migrate.force"

START_MICROVERSION = "2.68"
"""From 2.34 on Nova answers before its pre-checks, from 2.68 on it takes no ``force`` any more."""
ABORT_MICROVERSION, QUEUED_ABORT = "2.65", (2, 65, 0)
FORCE_MICROVERSION = "2.22"

SETTLE_S, ABORT_SETTLE_S = 15.0, 60.0
_QUEUED = frozenset({"queued", "preparing"})
_RUNNING = frozenset({"running"})


def plan_start(server: Server, chosen: Destination, last_migration: int) -> Plan:
    """Move the server to the chosen host. ``last_migration`` is the number of its newest migration, 0 for none.

    Raises PlanError when the server has no host.
    """
    if not server.host:
        raise PlanError(f"{server.name or server.id} is on no host: there is nothing to move", REFUSED)
    return sealed(
        Plan(
            action=START,
            title=f"live-migrate {server.name or server.id} {server.host} → {chosen.host}",
            target=Target(
                kind="server",
                id=server.id,
                name=server.name or server.id,
                key={
                    "server": server.id,
                    "source": server.host,
                    "destination": chosen.host,
                    "last_migration": str(last_migration),
                },
            ),
            before={"started": False, "host": server.host, "status": server.status, "task": server.task_state},
            after={"started": True},
            steps=(
                HttpStep(
                    title=f"ask Nova to move it to {chosen.host}",
                    method="POST",
                    service="compute",
                    path=f"/servers/{server.id}/action",
                    body={"os-migrateLive": {"host": chosen.host, "block_migration": "auto"}},
                    microversion=START_MICROVERSION,
                ),
            ),
            checks=chosen.checks,
            effect=(downtime_words(chosen.predicted), *chosen.predicted.basis),
            inverse_note="while it runs it can be aborted; afterwards the way back is another migration",
            commands=(start_command(server.id, chosen.host),),
            danger="risk",
            settle_s=SETTLE_S,
        )
    )


def start_command(server_id: str, host: str) -> str:
    """The same by hand. From 2.30 on Nova looks at a named host as at any other."""
    return (
        f"openstack --os-compute-api-version 2.30 server migrate --live-migration "
        f"--host {shlex.quote(host)} {shlex.quote(server_id)}"
    )


def downtime_words(predicted: Downtime) -> str:
    """The prediction in one line."""
    if predicted.low_ms is None or predicted.high_ms is None:
        return "how long the guest stands still cannot be predicted"
    low, high = (
        f"{ms / 1000:.0f}" if ms >= 9950 else f"{ms / 1000:.2g}" for ms in (predicted.low_ms, predicted.high_ms)
    )
    return f"the guest stands still for {low} to {high} s (predicted)"


def plan_abort(facts: Facts, server: Server, migration: MigrationFacts) -> Plan:
    """Abort a live migration that runs or waits. Raises PlanError when it has ended."""
    if not migration.in_progress:
        raise PlanError(f"the migration of {server.name} has ended: {migration.status}", REFUSED)
    waiting = migration.status in _QUEUED
    effect = [f"the guest goes on running on {migration.source}"]
    if waiting:
        effect.append(
            f"a device that Nova has reserved on {migration.destination or 'the destination'} stays reserved until its "
            f"nova-compute is restarted"
        )
    else:
        effect.append(
            "Nova 32.2 and later then puts the server into ERROR although its guest runs: reset it after that"
        )
    return sealed(
        Plan(
            action=ABORT,
            title=f"abort the migration of {server.name or server.id}",
            target=_target(server, migration),
            before={"in_progress": True},
            after={"in_progress": False},
            steps=(
                HttpStep(
                    title=f"abort migration {migration.id}",
                    method="DELETE",
                    service="compute",
                    path=f"/servers/{server.id}/migrations/{migration.id}",
                    microversion=ABORT_MICROVERSION,
                ),
            ),
            checks=_abortable(facts, migration, waiting),
            effect=tuple(effect),
            inverse_note="start another migration",
            commands=(f"openstack --os-compute-api-version 2.65 server migration abort {server.id} {migration.id}",),
            settle_s=ABORT_SETTLE_S,
        )
    )


def plan_force(server: Server, migration: MigrationFacts, forced_before: int, predicted: Downtime | None) -> Plan:
    """Force its completion, which pauses the guest until the end. ``forced_before``: how often that was done so far.

    Raises PlanError when it does not run.
    """
    if migration.status not in _RUNNING:
        raise PlanError(f"only a running migration can be forced; this one is {migration.status}", REFUSED)
    left = migration.memory_remaining_bytes
    effect = ["Nova pauses the guest at once, until all of its memory and its vGPU's have been sent"]
    if left is not None:
        effect.append(f"{left / 2**30:.3g} GiB of memory are left to send; the vGPU's framebuffer comes on top")
    if predicted is not None and predicted.high_ms is not None:
        effect.append(f"{downtime_words(predicted)}; forced, it is at least that")
    return sealed(
        Plan(
            action=FORCE,
            title=f"force the migration of {server.name or server.id} to its end",
            target=_target(server, migration),
            before={"force_requests": forced_before},
            after={"force_requests": forced_before + 1},
            steps=(
                HttpStep(
                    title=f"force migration {migration.id}",
                    method="POST",
                    service="compute",
                    path=f"/servers/{server.id}/migrations/{migration.id}/action",
                    body={"force_complete": None},
                    microversion=FORCE_MICROVERSION,
                ),
            ),
            effect=tuple(effect),
            inverse_note="abort the migration: the guest then goes on on the source",
            commands=(
                f"openstack --os-compute-api-version 2.22 server migration force complete {server.id} {migration.id}",
            ),
            danger="risk",
            settle_s=SETTLE_S,
        )
    )


def newest(migrations: Sequence[MigrationFacts]) -> int:
    """The number of the newest one, 0 for none."""
    return max((m.id for m in migrations), default=0)


def _target(server: Server, migration: MigrationFacts) -> Target:
    key: dict[str, str | None] = {"server": server.id, "migration": str(migration.id), "uuid": migration.uuid}
    return Target(kind="live migration", id=migration.uuid, name=server.name or server.id, key=key)


def _abortable(facts: Facts, migration: MigrationFacts, waiting: bool) -> tuple[Check, ...]:
    spoken = version(facts.nova.max_microversion if facts.nova is not None else "")
    if migration.status == "accepted":
        evidence = "it is only accepted yet: Nova cannot abort it before it is queued"
        return (Check(id="abort.status", status="fail", evidence=evidence, source="nova"),)
    if not waiting:
        return (Check(id="abort.status", status="pass", evidence=f"it is {migration.status}", source="nova"),)
    if spoken is None:
        evidence = f"it is {migration.status}, which 2.65 can abort; what this Nova speaks is not known"
        return (Check(id="abort.status", status="unknown", evidence=evidence, source="nova"),)
    if spoken < QUEUED_ABORT:
        evidence = f"it is {migration.status}, which needs microversion 2.65; this Nova speaks less"
        return (Check(id="abort.status", status="fail", evidence=evidence, source="nova"),)
    return (Check(id="abort.status", status="pass", evidence=f"it is {migration.status}", source="nova"),)
