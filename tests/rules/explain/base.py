"""A small cloud about which there is nothing to explain: two hosts, one server. Tests change one fact of it.

Of the two-host fleet of the pre-checks nova.conf names as many functions of each GPU as it can carry, so that Placement
offers what is real.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tests.rules.migration.two_hosts import (
    HERE,
    NOW,
    SERVER,
    SPECS,
    THERE,
    TYPE,
    Change,
    all_of,
    facts,
    joined,
    of_conf,
    of_nova,
    vf,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import RegisteredLimit
from vgpu_console.model.migration_trace import ActionEvent, ServerAction
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Candidate, Candidates
from vgpu_console.rules.explain.chain import Explanation
from vgpu_console.rules.explain.flavor import explain_flavor
from vgpu_console.rules.explain.host import explain_host
from vgpu_console.rules.explain.project import explain_project
from vgpu_console.rules.explain.request import Answers
from vgpu_console.rules.explain.server import explain_server
from vgpu_console.rules.migration.ground import Ground

NAMED = {f"mdev_{TYPE}__device_addresses": f"{vf(0)},{vf(1)}"}


def base() -> Facts:
    """Everything in order, and nothing over-reported."""
    known = all_of(of_conf(HERE, **NAMED), of_conf(THERE, **NAMED), of_conf(HERE, quota__driver=DRIVER))(facts())
    assert known.placement is not None
    kept = tuple(p for p in known.placement.providers if not p.uuid.endswith(("-vf2", "-vf3")))
    known = msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=kept))
    return with_limits(known, servers=10)


def with_limits(known: Facts, **limits: int) -> Facts:
    """With more registered limits where Nova looks for them: class__VCPU is class:VCPU."""
    assert known.keystone is not None
    old = known.keystone.registered_limits or ()
    more = tuple(
        RegisteredLimit(
            id=f"r-{name}",
            service_id="s-nova",
            region_id="RegionOne",
            resource_name=name.replace("__", ":"),
            default_limit=value,
        )
        for name, value in limits.items()
    )
    return of_keystone(registered_limits=(*old, *more))(known)


def of_keystone(**changes: Any) -> Change:
    """Other answers of Keystone."""

    def change(known: Facts) -> Facts:
        assert known.keystone is not None
        return msgspec.structs.replace(known, keystone=msgspec.structs.replace(known.keystone, **changes))

    return change


def candidates(known: Facts) -> Candidates:
    """What Placement would answer for one server of the flavor: a way for each device left that has the trait."""
    every = known.placement.providers if known.placement is not None else ()
    free = {
        p.uuid: {
            i.resource_class: i.total
            - i.reserved
            - sum(a.resources.get(i.resource_class, 0) for a in p.allocations or ())
            for i in p.inventories or ()
        }
        for p in every
    }
    need = {"VCPU": 8, "MEMORY_MB": 16384}
    ways = tuple(
        Candidate({p.root_uuid: need, p.uuid: {"VGPU": 1}})
        for p in every
        if p.parent_uuid
        and free[p.uuid].get("VGPU", 0) > 0
        and "CUSTOM_A100_20C" in (p.traits or ())
        and all(free[p.root_uuid].get(c, 0) >= n for c, n in need.items())
    )
    return Candidates(candidates=ways, free=free, roots={p.uuid: p.root_uuid for p in every})


DRIVER = "nova.quota.UnifiedLimitsDriver"


def ground_of(known: Facts) -> Ground:
    """The lookups over the real join of these facts."""
    return Ground(joined(known), known, NOW)


def flavor_named(known: Facts, name: str = "train") -> Flavor:
    """One of Nova's flavors."""
    flavors = known.nova.flavors if known.nova is not None else None
    return next(f for f in flavors or () if f.name == name)


def of_flavor(name: str = "train", /, replace: bool = False, **specs: str | None) -> Change:
    """With other extra specs in the flavor: resources__VGPU is resources:VGPU, None takes one out."""

    def change(known: Facts) -> Facts:
        assert known.nova is not None
        old = {} if replace else dict(flavor_named(known, name).extra_specs or {})
        for key, value in specs.items():
            option = key.replace("__", ":", 1)
            if value is None:
                old.pop(option, None)
            else:
                old[option] = value
        rows = [msgspec.structs.replace(f, extra_specs=old) if f.name == name else f for f in known.nova.flavors or ()]
        return of_nova(flavors=tuple(rows))(known)

    return change


def of_host_providers(host: str, **changes: Any) -> Change:
    """Every device provider of a host with other fields."""

    def change(known: Facts) -> Facts:
        assert known.placement is not None
        rows = tuple(
            msgspec.structs.replace(p, **changes) if p.parent_uuid == f"{host}-root" else p
            for p in known.placement.providers
        )
        return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))

    return change


def without_providers(host: str) -> Change:
    """A host of which Placement has the root only."""

    def change(known: Facts) -> Facts:
        assert known.placement is not None
        rows = tuple(p for p in known.placement.providers if p.parent_uuid != f"{host}-root")
        return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))

    return change


def on_both(change: Any, *more: Any) -> Change:
    """The same change of both hosts."""
    return all_of(*(change(host, *more) for host in (HERE, THERE)))


ASKED: Any = object()
NOWHERE = Candidates()


def flavor(known: Facts, answer: Any = ASKED, parts: Mapping[str, Candidates] | None = None) -> Explanation:
    """The chain of the flavor; Placement answers what it would of these facts."""
    whole = candidates(known) if answer is ASKED else answer
    return explain_flavor(ground_of(known), flavor_named(known), Answers(whole=whole, parts=parts or {}))


def host(known: Facts, name: str = THERE) -> Explanation:
    """The chain of a host."""
    ground = ground_of(known)
    return explain_host(ground, ground.hosts[name])


def server(known: Facts, action: ServerAction | None = None, answer: Any = ASKED) -> Explanation:
    """The chain of the server."""
    ground = ground_of(known)
    row = ground.nova_servers[SERVER]
    whole = candidates(known) if answer is ASKED else answer
    kept = Flavor(
        id="", name=row.flavor or "", ram_mib=row.ram_mib, vcpus=row.vcpus, disk_gib=40, extra_specs=row.extra_specs
    )
    return explain_server(ground, row, kept, Answers(whole=whole), action)


def project(known: Facts) -> Explanation:
    """The chain of the project."""
    assert known.keystone is not None
    ground = ground_of(known)
    row = next(p for p in known.keystone.projects or () if p.id == "p-ml")
    return explain_project(ground, row, {"f1": candidates(known)})


def statuses(found: Explanation) -> dict[str, str]:
    """Step -> status, the worst of those with the same name."""
    order = ("fail", "unknown", "warn", "pass")
    out: dict[str, str] = {}
    for step in found.steps:
        name = step.id.removeprefix("explain.")
        out[name] = min(out.get(name, "pass"), step.status, key=order.index)
    return out


def difference(before: Explanation, after: Explanation) -> dict[str, str | None]:
    """The steps whose status is another; None: the step is left out."""
    old, new = statuses(before), statuses(after)
    return {word: new.get(word) for word in {**old, **new} if old.get(word) != new.get(word)}


def said(found: Explanation, word: str) -> str:
    """What a step says."""
    return next(s.evidence for s in found.steps if s.id == f"explain.{word}")


def commands(found: Explanation) -> list[str]:
    """The commands that mend it."""
    return [m.command for m in found.mends if m.command]


def boot_failed(details: str, host_name: str = THERE) -> ServerAction:
    """A server's build with an event that failed."""
    event = ActionEvent(name="compute__do_build_and_run_instance", result="Error", host=host_name, details=details)
    return ServerAction(request_id="req-1", action="create", message="Error", events=(event,))


__all__ = ["HERE", "SERVER", "SPECS", "THERE"]
