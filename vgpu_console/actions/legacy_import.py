"""Legacy quota into unified limits: what ``nova-manage limits migrate_to_unified_limits`` does, over the APIs.

Nova's own quota (instances, cores, ram, ...) is read through its API, renamed, and created in Keystone where nothing
of that name is: nothing is overwritten. What flavors ask for and legacy quota never knew (vGPUs, disk, custom classes)
nova-manage only reports; here a default for each is proposed beside it.

Two things differ from nova-manage, because the API shows less than the database. A project's own quota is told from the
default by its value, so one that equals the default is not seen. And where Nova already has the unified driver, its API
answers 0 for whatever is not registered: such a 0 is not taken for a quota.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from vgpu_console.actions import quota_checks as checks
from vgpu_console.actions.limit_place import Limits, Place, limits_of, nova_place, read_keystone
from vgpu_console.actions.limit_steps import Owner, commands, create_limits, register
from vgpu_console.actions.limit_values import UNLIMITED, noun, shown
from vgpu_console.actions.plan import HttpStep, Plan, Target, sealed
from vgpu_console.actions.projects import NO_CONNECTION, PlanError, project_labels
from vgpu_console.actions.quota_effects import registered_anew
from vgpu_console.actions.quota_ground import is_accelerator
from vgpu_console.model.facts import Facts
from vgpu_console.rules.quota_meaning import enforcement
from vgpu_console.rules.resource_classes import any_class
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.parallel import for_each
from vgpu_console.sources.tolerant import integer, mapping

IMPORT = "quota.import"

UNIFIED_NAMES: Mapping[str, tuple[str, ...]] = {
    "instances": ("servers",),
    "cores": ("class:VCPU", "class:PCPU"),  # legacy quota counts dedicated CPUs as cores
    "ram": ("class:MEMORY_MB",),
    "metadata_items": ("server_metadata_items",),
    "injected_files": ("server_injected_files",),
    "injected_file_content_bytes": ("server_injected_file_content_bytes",),
    "injected_file_path_bytes": ("server_injected_file_path_bytes",),
    "key_pairs": ("server_key_pairs",),
    "server_groups": ("server_groups",),
    "server_group_members": ("server_group_members",),
}
"""Legacy name -> unified names (nova: limit/local.py and limit/placement.py LEGACY_LIMITS, cmd/manage.py for PCPU)."""

_ALL_NAMES = "2.56"
"""The newest microversion that shows injected files (2.57 drops them); server groups are in since 2.50."""

_ALWAYS_SCANNED = "class:DISK_GB"
"""Every flavor may ask for disk, and legacy quota never counted it (nova: cmd/manage.py)."""

Status = Literal["exists", "create", "unknown", "left-out"]


class Compute(Protocol):
    """What is needed of a connection to the cloud. Raises SourceError."""

    def get(
        self, service: str, path: str, *, params: dict[str, Any] | None = None, microversion: str | None = None
    ) -> dict[str, Any]:
        """The JSON object at a path."""
        ...


class LegacyQuota(msgspec.Struct, frozen=True):
    """Nova's own quota by legacy name: the defaults, and whole sets of the projects that were asked for, by id."""

    defaults: dict[str, int]
    projects: dict[str, dict[str, int]] = {}


class ImportRow(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as the import sees it. ``project_id`` None: a default. ``value`` None: not known."""

    status: Status
    resource: str
    value: int | None
    legacy_name: str = ""  # "" for what legacy quota does not know
    existing: int | None = None  # what Keystone has
    project_id: str | None = None
    project: str = ""
    note: str = ""


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """The whole import. ``plans`` are to be applied in this order; ``proposals`` only when the operator wants them."""

    rows: tuple[ImportRow, ...]
    plans: tuple[Plan, ...]
    proposals: tuple[Plan, ...]
    notes: tuple[str, ...]
    command: str  # what nova-manage would be asked for the same

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes that servers can ask for and that have no registered limit after the import: nova-manage's exit 3."""
        return tuple(row.resource for row in self.rows if row.status == "left-out")


def read_legacy(compute: Compute, project_ids: Iterable[str] = ()) -> LegacyQuota:
    """Nova's own quota: one request for the defaults and one per project. Raises SourceError.

    Needs the admin role in a project (nova: policies/quota_class_sets.py).
    """
    body = compute.get("compute", "/os-quota-class-sets/default", microversion=_ALL_NAMES)
    defaults = _numbers(mapping(body, "quota_class_set"))
    if not defaults:
        raise SourceError("protocol", "nova's answer about the default quota class holds no quota")

    def one(project_id: str) -> dict[str, int]:
        answer = compute.get("compute", f"/os-quota-sets/{project_id}", microversion=_ALL_NAMES)
        return _numbers(mapping(answer, "quota_set"))

    return LegacyQuota(defaults, for_each(project_ids, one))


def _numbers(record: dict[str, Any]) -> dict[str, int]:
    found = {name: integer(record, name) for name in UNIFIED_NAMES}
    return {name: value for name, value in found.items() if value is not None}


def plan_import(
    facts: Facts, legacy: LegacyQuota, now: float, *, region: str | None = None, stale_s: float | None = None
) -> Import:
    """What exists, what would be created, and what is left out. Pure. Raises PlanError."""
    keystone = read_keystone(facts)
    place = nova_place(facts, region)
    if facts.nova is None or facts.nova.flavors is None:
        raise PlanError("nova's flavors have not been read: what servers can ask for is not known", NO_CONNECTION)
    work = _Work(facts, place, now, stale_s)
    for name, value in legacy.defaults.items():
        for resource in UNIFIED_NAMES[name]:
            work.default(name, value, limits_of(keystone, place, resource))
    for project_id, quota in legacy.projects.items():
        for name, value in quota.items():
            if value != legacy.defaults.get(name):
                for resource in UNIFIED_NAMES[name]:
                    work.own(project_id, name, value, limits_of(keystone, place, resource))
    for resource, most in _requestable(facts).items():
        if resource not in work.settled:
            work.left_out(most, limits_of(keystone, place, resource))
    return Import(
        rows=tuple(work.rows),
        plans=tuple(work.plans),
        proposals=tuple(work.proposals),
        notes=tuple(work.notes(legacy)),
        command=_nova_manage(place, legacy.projects),
    )


def _nova_manage(place: Place, projects: Mapping[str, object]) -> str:
    words = ["nova-manage", "limits", "migrate_to_unified_limits"]
    if place.region_id is not None:
        words += ["--region-id", place.region_id]
    lines = [[*words, "--project-id", one, "--dry-run"] for one in projects] or [[*words, "--dry-run"]]
    return "\n".join(shlex.join(line) for line in lines)


def _requestable(facts: Facts) -> dict[str, int]:
    """Every class that a flavor, or the flavor inside a server, asks for -> the most that one server asks of it."""
    most: dict[str, int] = {_ALWAYS_SCANNED: 0}
    nova = facts.nova
    if nova is None:
        return most
    for flavor in nova.flavors or ():
        most[_ALWAYS_SCANNED] = max(most[_ALWAYS_SCANNED], flavor.disk_gib or 0)
    specs = [flavor.extra_specs for flavor in nova.flavors or ()] + [s.extra_specs for s in nova.servers or ()]
    for one in {id(s): s for s in specs if s}.values():
        for name, amount in any_class(one).items():
            if amount:
                most[f"class:{name}"] = max(most.get(f"class:{name}", 0), amount)
    return dict(sorted(most.items()))


class _Work:
    """Gathers rows and plans."""

    def __init__(self, facts: Facts, place: Place, now: float, stale_s: float | None) -> None:
        self.facts = facts
        self.place = place
        self.names = project_labels(facts)
        self.rows: list[ImportRow] = []
        self.plans: list[Plan] = []
        self.proposals: list[Plan] = []
        self.settled: set[str] = set()  # have a registered limit, or will have one by these plans
        confs = {host: ssh.nova_conf for host, ssh in facts.ssh.items()}
        self.enforced = enforcement(confs)
        self._checks = (
            checks.fresh(facts, now, stale_s),
            checks.role(facts.identity),
            checks.limits_visible(facts, now),
            checks.model(facts, now),
        )

    def default(self, name: str, value: int, limits: Limits) -> None:
        """A legacy default."""
        resource = limits.resource
        if limits.registered is not None:
            self.settled.add(resource)
            self._row("exists", name, value, resource, limits.registered.default_limit)
        elif not self._means(value):
            self._row("unknown", name, None, resource, None, note=_ZERO)
        else:
            self.settled.add(resource)
            self._row("create", name, value, resource, None, note=_elsewhere(limits))
            step = register(self.place, resource, value)
            self.plans.append(self._default_plan(limits, value, step, f"legacy quota {name}: {shown(value)}"))

    def own(self, project_id: str, name: str, value: int, limits: Limits) -> None:
        """A project's own legacy quota."""
        owner = Owner(project_id, None, self.names.get(project_id, project_id))
        resource, there = limits.resource, limits.of(project_id)
        if there is not None:
            self._row("exists", name, value, resource, there.resource_limit, owner)
        elif not self._means(value):
            self._row("unknown", name, None, resource, None, owner, _ZERO)
        elif resource not in self.settled:
            note = "its registered limit cannot be created, and without it a project can have none"
            self._row("unknown", name, value, resource, None, owner, note)
        else:
            self._row("create", name, value, resource, None, owner)
            self.plans.append(self._own_plan(owner, limits, value, name))

    def left_out(self, most: int, limits: Limits) -> None:
        """A class that servers ask for and legacy quota does not know."""
        resource = limits.resource
        if limits.registered is not None:
            self._row("exists", "", None, resource, limits.registered.default_limit)
            return
        proposed = self._proposed(resource, most)
        if proposed is None:
            self._row("left-out", "", None, resource, None, note="what is used of it is not known: nothing is proposed")
            return
        value, note = proposed
        self._row("left-out", "", value, resource, None, note=note)
        plan = self._default_plan(limits, value, register(self.place, resource, value), note)
        self.proposals.append(plan)

    def _proposed(self, resource: str, most: int) -> tuple[int, str] | None:
        """A default that stops nobody who runs now, with its reason."""
        if not is_accelerator(resource):
            return UNLIMITED, f"proposed default {UNLIMITED}: legacy quota never limited it"
        if self.facts.placement is None:
            return None
        name = resource.removeprefix("class:")
        use = {project: usage.get(name, 0) for project, usage in self.facts.placement.usages.items()}
        top = max(use, key=lambda p: use[p], default="")
        used = use.get(top, 0)
        whose = f"{self.names.get(top, top)} uses {used}, the most" if used else "none in use"
        value = max(used, most)
        return value, f"proposed default {value}: {whose}; the largest flavor asks for {most}"

    def notes(self, legacy: LegacyQuota) -> list[str]:
        """What an operator should know beside the rows."""
        lines = []
        absent = sorted(set(UNIFIED_NAMES) - set(legacy.defaults))
        if absent:
            lines.append(f"Nova's API does not show {', '.join(absent)}: nova-manage reads the database")
        if any(row.note == _ZERO for row in self.rows):
            lines.append(f"whether Nova enforces unified limits already: {self.enforced.word} ({self.enforced.why})")
        if legacy.projects:
            lines.append(
                "a project's own quota that equals the default does not show in Nova's API and is not imported"
            )
        status = checks.status_of(self.facts, "placement")
        lines += [note for note in (status.notes if status is not None else ()) if note.startswith("usages")]
        if self.place.region_id is not None:
            lines.append(
                f"limits are created in region {self.place.region_id}, where Nova looks; nova-manage creates them "
                "without a region unless --region-id is given"
            )
        return lines

    def _means(self, value: int) -> bool:
        """Whether a value for what is not registered is a quota: the unified driver answers 0 for such."""
        return value != 0 or self.enforced.word == "off"

    def _row(
        self,
        status: Status,
        name: str,
        value: int | None,
        resource: str,
        existing: int | None,
        owner: Owner | None = None,
        note: str = "",
    ) -> None:
        self.rows.append(
            ImportRow(
                status=status,
                resource=resource,
                value=value,
                legacy_name=name,
                existing=existing,
                project_id=owner.project_id if owner else None,
                project=owner.name if owner else "",
                note=note,
            )
        )

    def _key(self, resource: str) -> dict[str, str | None]:
        return {"resource": resource, "service_id": self.place.service_id, "region_id": self.place.region_id}

    def _default_plan(self, limits: Limits, value: int, step: HttpStep, why: str) -> Plan:
        resource = limits.resource
        return sealed(
            Plan(
                action=IMPORT,
                title=f"default of {resource}",
                target=Target(
                    kind="registered limit", id=resource, name=f"default of {resource}", key=self._key(resource)
                ),
                before={"default": None},
                after={"default": value},
                steps=(step,),
                checks=(*self._checks, *checks.unlimited(self.facts, value)),
                effect=(why, *registered_anew(limits, value)),
                inverse_note="delete the registered limit (its id exists only afterwards)",
                commands=commands((step,)),
            )
        )

    def _own_plan(self, owner: Owner, limits: Limits, value: int, name: str) -> Plan:
        resource = limits.resource
        step = create_limits(self.place, resource, [(owner, value)])
        return sealed(
            Plan(
                action=IMPORT,
                title=f"{resource} of {owner.name}",
                target=Target(
                    kind="project limit",
                    id=owner.id,
                    name=owner.name,
                    key={"project_id": owner.project_id, **self._key(resource)},
                ),
                before={"limit": None},
                after={"limit": value},
                steps=(step,),
                checks=self._checks,
                effect=(f"legacy quota {name} of {owner.name}: {shown(value)} {noun(resource, value)}",),
                inverse_note=f"clear the limit of {owner.name} (its id exists only afterwards)",
                commands=commands((step,)),
            )
        )


_ZERO = (
    "Nova's API says 0, as it does with the unified driver for what is not registered: the quota itself is not shown"
)


def _elsewhere(limits: Limits) -> str:
    if not limits.elsewhere:
        return ""
    return (
        "there is one of this name for another region or service, where Nova does not look; nova-manage would skip it"
    )
