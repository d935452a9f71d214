"""Plans built by hand, one for each danger, for the dialog that shows any plan."""

from __future__ import annotations

from typing import Any

import msgspec

from vgpu_console.actions.plan import Check, Danger, HttpStep, Plan, Target, sealed

PASS = Check(id="quota.fresh", status="pass", evidence="limits were read 3 s ago", source="keystone", age_s=3.0)
WARN = Check(
    id="quota.below-usage",
    status="warn",
    evidence="5 vGPUs in use, 1 above the limit of 4",
    source="placement",
    age_s=2.0,
)
UNKNOWN = Check(id="quota.capacity", status="unknown", evidence="how many vGPUs the hosts can hold is not known")
FAIL = Check(
    id="quota.role",
    status="fail",
    evidence="needs role admin on the system or in a project (Keystone limits)",
    source="token",
)


def plan(danger: Danger = "change", *checks: Check, name: str = "ml-research", **changes: Any) -> Plan:
    """A change of a project's limit from 8 to 4."""
    step = HttpStep(
        title=f"set class:VGPU of {name} to 4",
        method="PATCH",
        service="limits",
        path="/limits/0f3e6d1c",
        body={"limit": {"resource_limit": 4}},
    )
    undo = msgspec.structs.replace(step, title=f"set class:VGPU of {name} to 8")
    known: dict[str, Any] = {
        "action": "quota.set",
        "title": f"class:VGPU of {name}",
        "target": Target(kind="project limit", id="a1" * 16, name=name),
        "before": {"limit": 8},
        "after": {"limit": 4},
        "steps": (step,),
        "checks": checks or (PASS,),
        "effect": ("project is now at 5 of 4: no new vGPU server until two are gone",),
        "inverse": (undo,),
        "commands": ("openstack limit set --resource-limit 4 0f3e6d1c",),
        "danger": danger,
    }
    return sealed(Plan(**{**known, **changes}))
