"""Plans that mend what a migration left: a server in ERROR whose guest runs, allocations held by an ended migration."""

from __future__ import annotations

import shlex
from typing import Any

from vgpu_console.actions.plan import REFUSED, Check, CheckStatus, HttpStep, Plan, PlanError, Target, sealed
from vgpu_console.model.migration_trace import Consumer
from vgpu_console.model.nova import ComputeService, MigrationFacts, Server

RESET, HEAL = "migrate.reset", "migrate.heal"
DISABLE, ENABLE = "service.disable", "service.enable"
ALLOCATIONS_MICROVERSION = "1.28"
SERVICES_MICROVERSION = "2.53"
_REASON_LIMIT = 255


def plan_reset(server: Server, guest_runs_on: str | None, looked_at: bool) -> Plan:
    """Set a server in ERROR back to ACTIVE. ``guest_runs_on``: the host where libvirt has its guest running.

    ``looked_at`` False: libvirt could not be asked, and then somebody must accept that. Raises PlanError when the
    server is not in ERROR.
    """
    if server.status != "ERROR":
        raise PlanError(
            f"{server.name or server.id} is {server.status}, not in ERROR: there is nothing to reset", REFUSED
        )
    status: CheckStatus
    if not looked_at:
        status, evidence = "unknown", f"whether its guest runs on {server.host} could not be looked at"
    elif guest_runs_on is None:
        status, evidence = "fail", f"no guest of it runs on {server.host}: ACTIVE would be untrue; reboot it instead"
    elif guest_runs_on != server.host:
        status = "fail"
        evidence = f"its guest runs on {guest_runs_on}, but Nova says {server.host}: reset would hide that"
    else:
        status, evidence = "pass", f"its guest runs on {guest_runs_on}"
    return sealed(
        Plan(
            action=RESET,
            title=f"reset the state of {server.name or server.id} to ACTIVE",
            target=Target(kind="server", id=server.id, name=server.name or server.id, key={"server": server.id}),
            before={"status": "ERROR", "task": server.task_state, "host": server.host},
            after={"status": "ACTIVE", "task": None, "host": server.host},
            steps=(
                HttpStep(
                    title="set its state to active",
                    method="POST",
                    service="compute",
                    path=f"/servers/{server.id}/action",
                    body={"os-resetState": {"state": "active"}},
                ),
            ),
            checks=(Check(id="reset.guest-runs", status=status, evidence=evidence, source="libvirt"),),
            effect=("Nova's word is changed, nothing else: the guest has never stopped",),
            inverse=(
                HttpStep(
                    title="set its state to error again",
                    method="POST",
                    service="compute",
                    path=f"/servers/{server.id}/action",
                    body={"os-resetState": {"state": "error"}},
                ),
            ),
            commands=(f"openstack server set --state active {server.id}",),
            settle_s=5.0,
        )
    )


def plan_heal(migration: MigrationFacts, held: Consumer, server: Server | None) -> Plan:
    """Take away what an ended migration still holds in Placement. Raises PlanError when it runs or holds nothing."""
    if migration.in_progress:
        raise PlanError(f"migration {migration.uuid} is {migration.status}: what it holds is in use", REFUSED)
    if not held.holds:
        raise PlanError(f"migration {migration.uuid} holds nothing: there is nothing to heal", REFUSED)
    holds = {h.provider: dict(h.resources) for h in held.holds}
    counted = ", ".join(f"{n} {c}" for c, n in sorted(_sum(holds).items()))
    who = server.name if server is not None and server.name else migration.server_id
    body: dict[str, Any] = {
        "allocations": {},
        "consumer_generation": held.generation,
        "project_id": held.project_id,
        "user_id": held.user_id,
    }
    known = held.generation is not None and held.project_id and held.user_id
    back = {**body, "allocations": {p: {"resources": r} for p, r in holds.items()}, "consumer_generation": None}
    path = f"/allocations/{migration.uuid}"
    return sealed(
        Plan(
            action=HEAL,
            title=f"free what the migration of {who} still holds",
            target=Target(
                kind="allocation",
                id=migration.uuid,
                name=f"{who} {migration.uuid[:8]}",
                key={"consumer": migration.uuid, "server": migration.server_id},
            ),
            before={"holds": holds},
            after={"holds": {}},
            steps=(_put("take its allocations away", path, body),) if known else (_delete(path),),
            checks=(
                Check(
                    id="heal.ended",
                    status="pass",
                    evidence=f"the migration is {migration.status}, so nothing uses them",
                    source="nova",
                ),
                *_split_brain(server, migration),
            ),
            effect=(f"{counted} are free again for the scheduler and no longer count for the project",),
            inverse=(_put("give them back to the migration", path, back),) if known else (),
            inverse_note="" if known else "who owned them is not known: they cannot be given back",
            commands=(f"openstack resource provider allocation delete {migration.uuid}",),
            danger="risk",
            settle_s=5.0,
        )
    )


def _split_brain(server: Server | None, migration: MigrationFacts) -> tuple[Check, ...]:
    """Where Nova says that the server is on the source, the migration may hold what its guest there needs."""
    if server is None or server.host != migration.source or migration.status == "completed":
        return ()
    evidence = (
        f"the server is on {server.host}, which these may be the only allocations of: look at its own first "
        f"(openstack resource provider allocation show {server.id})"
    )
    return (Check(id="heal.source", status="warn", evidence=evidence, source="nova"),)


def plan_service(service: ComputeService, *, enable: bool, reason: str = "") -> Plan:
    """Let the scheduler use a host or not. Raises PlanError for a reason that Nova would not take."""
    if len(reason) > _REASON_LIMIT:
        raise PlanError(f"a reason has at most {_REASON_LIMIT} characters")
    word = "enabled" if enable else "disabled"
    already = service.status == word
    body = {"status": word} | ({"disabled_reason": reason} if reason and not enable else {})
    back_body = {"status": service.status or "enabled"}
    if service.disabled_reason and enable:
        back_body["disabled_reason"] = service.disabled_reason
    path = f"/os-services/{service.id}"
    why = f" --disable-reason {shlex.quote(reason)}" if reason else ""
    switch = "--enable" if enable else f"--disable{why}"
    before = {"status": service.status, "reason": service.disabled_reason}
    return sealed(
        Plan(
            action=ENABLE if enable else DISABLE,
            title=f"{'enable' if enable else 'disable'} nova-compute of {service.host}",
            target=Target(kind="compute service", id=service.id, name=service.host, key={"host": service.host}),
            before=before,
            after=before if already else {"status": word, "reason": None if enable else reason or None},
            steps=() if already else (_service(f"set it to {word}", path, body),),
            effect=(
                "the scheduler may put servers there again"
                if enable
                else "the scheduler puts no server there; those that are there go on",
            ),
            inverse=() if already else (_service(f"set it to {service.status} again", path, back_body),),
            commands=(f"openstack compute service set {switch} {shlex.quote(service.host)} nova-compute",),
            settle_s=5.0,
        )
    )


def _service(title: str, path: str, body: dict[str, Any]) -> HttpStep:
    return HttpStep(
        title=title, method="PUT", service="compute", path=path, body=body, microversion=SERVICES_MICROVERSION
    )


def _put(title: str, path: str, body: dict[str, Any]) -> HttpStep:
    return HttpStep(
        title=title, method="PUT", service="placement", path=path, body=body, microversion=ALLOCATIONS_MICROVERSION
    )


def _delete(path: str) -> HttpStep:
    return HttpStep(title="take its allocations away", method="DELETE", service="placement", path=path)


def _sum(holds: dict[str, dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for resources in holds.values():
        for resource_class, amount in resources.items():
            total[resource_class] = total.get(resource_class, 0) + amount
    return total
