"""Ways to change what Placement and Nova say of an embedded fleet: providers, flavors, migrations, services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tests.rules.diagnosis.ill_facts import Change, facts_of, findings, nova
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Allocation, Inventory, ResourceProvider
from vgpu_console.model.snapshot import Finding

Where = Callable[[ResourceProvider], bool]


def found(scenario: str, *changes: Change) -> tuple[Finding, ...]:
    """What is told of a fleet after some changes."""
    facts = facts_of(scenario)
    for change in changes:
        facts = change(facts)
    return findings(facts)


def one(scenario: str, diagnosis: str, *changes: Change) -> Finding:
    """The only finding of a diagnosis."""
    (finding,) = (f for f in found(scenario, *changes) if f.id == diagnosis)
    return finding


def providers(change: Callable[[ResourceProvider], Mapping[str, Any]], where: Where = lambda _: True) -> Change:
    """Fields of the providers that are meant."""

    def changed(facts: Facts) -> Facts:
        assert facts.placement is not None
        made = tuple(msgspec.structs.replace(p, **change(p)) if where(p) else p for p in facts.placement.providers)
        return msgspec.structs.replace(facts, placement=msgspec.structs.replace(facts.placement, providers=made))

    return changed


def on(host: str) -> Where:
    """Providers of a host's devices."""
    return lambda p: p.parent_uuid is not None and p.name.startswith(f"{host}_")


def named(part: str) -> Where:
    """Providers with that in their name."""
    return lambda p: part in p.name


def held_by(*consumers: str) -> Callable[[ResourceProvider], Mapping[str, Any]]:
    """Who holds a vGPU each of it."""
    return lambda _: {"allocations": tuple(Allocation(c, {"VGPU": 1}) for c in consumers)}


def total(number: int, resource_class: str = "VGPU") -> Callable[[ResourceProvider], Mapping[str, Any]]:
    """What it offers."""
    return lambda _: {
        "inventories": (Inventory(resource_class=resource_class, total=number, max_unit=number),) if number else ()
    }


def traits(*names: str) -> Callable[[ResourceProvider], Mapping[str, Any]]:
    """Its traits."""
    return lambda _: {"traits": names}


def unread(p: ResourceProvider) -> Mapping[str, Any]:
    """Its details could not be read."""
    return {"inventories": None, "allocations": None, "traits": None}


def flavor(name: str, **specs: str | None) -> Change:
    """Extra specs of a flavor, ``resources__VGPU``; None takes one away."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        wanted = {k.replace("__", ":", 1): v for k, v in specs.items()}
        made: list[Flavor] = []
        for f in facts.nova.flavors or ():
            if f.name == name:
                kept = {k: v for k, v in (f.extra_specs or {}).items() if k not in wanted}
                specs_now = kept | {k: v for k, v in wanted.items() if v is not None}
                made.append(msgspec.structs.replace(f, extra_specs=specs_now))
            else:
                made.append(f)
        return nova(flavors=tuple(made))(facts)

    return change


def last_migration(**fields: Any) -> Change:
    """Fields of the newest live migration."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        rows = sorted(facts.nova.migrations or (), key=lambda r: r.id)
        return nova(migrations=(*rows[:-1], msgspec.structs.replace(rows[-1], **fields)))(facts)

    return change


def another_migration(**fields: Any) -> Change:
    """A later one than the newest, like it but for these fields."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        rows = sorted(facts.nova.migrations or (), key=lambda r: r.id)
        later = {"id": rows[-1].id + 1, "uuid": "later"} | fields
        return nova(migrations=(*rows, msgspec.structs.replace(rows[-1], **later)))(facts)

    return change


def service(host: str, **fields: Any) -> Change:
    """Fields of a nova-compute, and of its hypervisor's state."""

    def change(facts: Facts) -> Facts:
        assert facts.nova is not None
        services = tuple(
            msgspec.structs.replace(s, **fields) if s.host == host else s for s in facts.nova.services or ()
        )
        return nova(services=services)(facts)

    return change
