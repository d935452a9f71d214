"""A console that may change limits on the lab, and what Nova itself then says to a request."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from tests.lab.lab import IMAGE, Lab, until
from tests.lab.lab_fleet import LabFleet
from vgpu_console.actions.cloud_world import CloudWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Check, Plan
from vgpu_console.actions.projects import find_project
from vgpu_console.actions.quota import plan_clear, plan_default, plan_set
from vgpu_console.actions.runner import Outcome, Progress, apply
from vgpu_console.config import Settings
from vgpu_console.fleet.collector import OPENSTACK
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Finding, ProjectQuota, Snapshot
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.runtime import Fleet

VGPU = "class:VGPU"


class QuotaConsole:
    """One operator's console: reads, plans, applies, keeps a journal."""

    def __init__(self, lab: Lab, folder: Path, cloud: str = "lab-admin", *, hosts: bool = False) -> None:
        self.lab = lab
        self.cloud = cloud
        self.narrow_requests = 0
        self.fleet = LabFleet(lab, cloud, hosts=hosts, read_only=False)
        self.world = CloudWorld(self.fleet.cloud, False, cloud)
        self.journal = Journal(folder / f"{cloud}.jsonl")
        self._joiner = Joiner(load_catalogue())
        self.facts = Facts()
        self.snapshot = Snapshot()

    def read(self) -> QuotaConsole:
        """Ask every source once."""
        self.facts = self.fleet.read()
        self.snapshot = self._joiner.join(self.facts, time.time())
        return self

    def project(self, name: str) -> str:
        """A project's id."""
        return find_project(self.facts, name).id

    def row(self, project: str, resource: str = VGPU) -> ProjectQuota:
        """A project's row of the quota view."""
        return next(q for q in self.snapshot.quotas if q.project == project and q.resource == resource)

    def narrow(self) -> list[ProjectQuota]:
        """The rows as ``vgpu-console quota`` reads them: a new console that asks for no more than they need."""
        fleet = Fleet(Settings(cloud=self.cloud), kinds=OPENSTACK, use_only=True)
        try:
            snapshot = fleet.snapshot(60.0)
            assert not snapshot.errors, snapshot.errors
            self.narrow_requests = fleet.cloud.requests
            return list(snapshot.quotas)
        finally:
            fleet.close()

    def plan_set(self, project: str, value: int, resource: str = VGPU) -> Plan:
        """``quota set``, of what was last read."""
        return plan_set(self.facts, self.snapshot, self.project(project), resource, value, time.time())

    def plan_clear(self, project: str, resource: str = VGPU) -> Plan:
        """``quota clear``, of what was last read."""
        return plan_clear(self.facts, self.snapshot, self.project(project), resource, time.time())

    def plan_default(self, value: int, resource: str = VGPU) -> Plan:
        """``quota default``, of what was last read."""
        return plan_default(self.facts, self.snapshot, resource, value, time.time())

    def apply(self, plan: Plan, progress: Progress | None = None) -> Outcome:
        """Apply it, taking its warnings upon oneself."""
        accepted = frozenset(c.id for c in plan.needs_override)
        more: dict[str, Any] = {"progress": progress} if progress is not None else {}
        return apply(plan, self.world, self.journal, accepted=accepted, **more)

    def done(self, plan: Plan) -> Outcome:
        """Apply it and be sure that it was done and read back."""
        outcome = self.apply(plan)
        assert (outcome.result, outcome.message) == ("done", "applied and read back")
        return outcome

    def journaled(self) -> list[tuple[str, str | None]]:
        """(event, result) of every line of the journal."""
        return [(e.event, e.result) for e in self.journal.entries()]

    def findings(self) -> dict[tuple[str, str], Finding]:
        """What the audit found, by id and object."""
        return {(f.id, f.object): f for f in self.snapshot.quota_findings}

    def close(self) -> None:
        """End the sources."""
        self.fleet.close()


def check(plan: Plan, id: str) -> Check:
    """One check of a plan."""
    return next(c for c in plan.checks if c.id == id)


@functools.cache
def _user(lab: Lab, cloud: str) -> Any:
    return lab.connect(cloud)


@functools.cache
def _flavor(lab: Lab, cloud: str, name: str) -> str:
    return str(_user(lab, cloud).compute.find_flavor(name).id)


def ask_for_server(lab: Lab, cloud: str, flavor: str, count: int = 1, name: str = "asked") -> tuple[int, str]:
    """A user asks Nova for servers, all or none: the status of the answer and its words (the reservation id)."""
    server = {
        "name": name,
        "imageRef": IMAGE,
        "flavorRef": _flavor(lab, cloud, flavor),
        "networks": "none",
        "min_count": count,
        "max_count": count,
        "return_reservation_id": True,
    }
    answer = _user(lab, cloud).compute.post("/servers", json={"server": server}, microversion="2.96")
    body = answer.json()
    if answer.ok:
        return answer.status_code, str(body["reservation_id"])
    return answer.status_code, str(next(iter(body.values()))["message"])


def servers_of(lab: Lab, reservation: str) -> list[Any]:
    """What became of a request that Nova took: its servers, once each is ACTIVE or in ERROR."""

    def settled() -> list[Any]:
        path = f"/servers/detail?all_tenants=1&reservation_id={reservation}"
        rows = _user(lab, "lab-admin").compute.get(path, microversion="2.96").json()["servers"]
        return rows if rows and all(r["status"] in ("ACTIVE", "ERROR") for r in rows) else []

    return until(settled, "every server is ACTIVE or in ERROR", 90)


def delete_all(lab: Lab, rows: list[Any]) -> None:
    """Delete servers and wait until Nova knows none of them and none holds anything."""
    admin = _user(lab, "lab-admin")
    for row in rows:
        admin.compute.delete(f"/servers/{row['id']}")

    def gone(id: str) -> bool:
        known = admin.compute.get(f"/servers/{id}", microversion="2.96").status_code != 404
        return not known and not admin.placement.get(f"/allocations/{id}").json()["allocations"]

    for row in rows:
        until(lambda id=row["id"]: gone(id), f"{row['id']} is gone and holds nothing")  # type: ignore[misc]
