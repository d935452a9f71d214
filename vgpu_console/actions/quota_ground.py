"""What every plan about one resource stands on: the facts, where its limits are, who uses what, the common checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vgpu_console.actions import quota_checks as checks
from vgpu_console.actions.limit_place import Limits, Place, limits_of, nova_place, read_keystone
from vgpu_console.actions.limit_steps import Owner
from vgpu_console.actions.limit_values import UNLIMITED, VGPU, resource_name
from vgpu_console.actions.plan import Check, Step, Target
from vgpu_console.actions.projects import PlanError, find_project, project_labels
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import ProjectLimit
from vgpu_console.model.snapshot import MissingMeaning, ProjectQuota, Snapshot
from vgpu_console.rules.quota_meaning import missing_limit_is_told, missing_limit_means

SET, CLEAR, DEFAULT = "quota.set", "quota.clear", "quota.default"
PROJECT_LIMIT, REGISTERED_LIMIT = "project limit", "registered limit"


def is_accelerator(resource: str) -> bool:
    """Whether it is a class whose use is read from Placement: VGPU, and every custom one."""
    return resource == VGPU or resource.startswith("class:CUSTOM_")


class Ground(NamedTuple):
    """What a plan about one resource stands on."""

    facts: Facts
    snapshot: Snapshot
    limits: Limits
    names: dict[str, str]
    rows: dict[str, ProjectQuota]
    now: float
    stale_s: float | None

    @property
    def resource(self) -> str:
        """The limit's name, ``class:VGPU``."""
        return self.limits.resource

    @property
    def default(self) -> int | None:
        """The registered limit's value, None where Nova finds none."""
        return self.limits.registered.default_limit if self.limits.registered is not None else None

    @property
    def place(self) -> Place:
        """Where Nova looks."""
        return self.limits.place

    def used(self, project_id: str) -> int | None:
        """What a project uses of the resource, None when it is not known."""
        row = self.rows.get(project_id)
        if row is not None:
            return row.used
        if self.facts.placement is None or not is_accelerator(self.resource):
            return None  # of other classes no use is read
        return self.facts.placement.usages.get(project_id, {}).get(self.resource.removeprefix("class:"), 0)

    def owner(self, project_id: str) -> Owner:
        """A project with its name."""
        return Owner(project_id, None, self.names.get(project_id, project_id))

    def owner_of(self, limit: ProjectLimit) -> Owner:
        """Whose limit that is."""
        if limit.project_id is not None:
            return self.owner(limit.project_id)
        return Owner(None, limit.domain_id, f"domain {limit.domain_id}")

    def key(self, project_id: str | None = None) -> dict[str, str | None]:
        """What a re-read finds the default, or a project's limit, by."""
        key = {"resource": self.resource, "service_id": self.place.service_id, "region_id": self.place.region_id}
        return key if project_id is None else {"project_id": project_id, **key}

    def missing(self) -> MissingMeaning:
        """What no registered limit means for this resource."""
        confs = {host: ssh.nova_conf for host, ssh in self.facts.ssh.items()}
        return missing_limit_means(self.facts.nova, confs, self.resource)

    @property
    def all_visible(self) -> bool:
        """Whether a project that shows no limit of its own is known to have none."""
        return self.facts.keystone is not None and self.facts.keystone.limits_complete is True

    def fresh(self) -> Check:
        """Whether limits were read lately enough to act on."""
        return checks.fresh(self.facts, self.now, self.stale_s)

    def common_checks(self) -> tuple[Check, ...]:
        """Those of every change of a limit."""
        return (
            self.fresh(),
            checks.role(self.facts.identity),
            checks.limits_visible(self.facts, self.now),
            checks.model(self.facts, self.now),
        )

    def checked(self, steps: Sequence[Step], *more: Check) -> tuple[Check, ...]:
        """The checks of a plan: the common ones and more; of one without steps only whether that is read lately."""
        return (*self.common_checks(), *more) if steps else (self.fresh(),)

    def rise(self, old: int | None, new: int | None, times: int = 1) -> Check:
        """What the hosts can hold, when so many limits go from ``old`` to ``new``."""
        return checks.capacity(self.snapshot, self.resource, rise_of(old, new, times), self.placement_age())

    def project_target(self, project_id: str) -> Target:
        """A project's limit, as what a plan is about."""
        name = self.owner(project_id).name
        return Target(kind=PROJECT_LIMIT, id=project_id, name=name, key=self.key(project_id))

    def default_target(self) -> Target:
        """The default, as what a plan is about."""
        name = f"default of {self.resource}"
        return Target(kind=REGISTERED_LIMIT, id=self.resource, name=name, key=self.key())

    def placement_age(self) -> float | None:
        """Seconds since usages were read."""
        return checks.age_of(self.facts, "placement", self.now)


def ground_of(
    facts: Facts, snapshot: Snapshot, resource: str, now: float, region: str | None, stale_s: float | None
) -> Ground:
    """Gathers it. Raises PlanError where limits cannot be read or Nova's place is not known."""
    name = resource_name(resource)
    place = nova_place(facts, region)
    limits = limits_of(read_keystone(facts), place, name)
    rows = {q.project_id: q for q in snapshot.quotas if q.resource == name}
    return Ground(facts, snapshot, limits, project_labels(facts), rows, now, stale_s)


def must_exist(ground: Ground, project_id: str) -> None:
    """Raises PlanError for an id that no project has; where projects are not visible, Keystone will tell."""
    projects = ground.facts.keystone.projects if ground.facts.keystone is not None else None
    if projects is not None and project_id not in ground.names:
        find_project(ground.facts, project_id)  # says what is near
        raise PlanError(f"give the id of the project, not {project_id!r}")


def implied_default(ground: Ground) -> int:
    """The default that means what no registered limit means, so that no other project is touched."""
    return 0 if ground.missing().word == "zero" else UNLIMITED


def default_check(ground: Ground) -> Check:
    """Whether that default leaves the other projects as they are."""
    meaning = ground.missing()
    confs = {host: ssh.nova_conf for host, ssh in ground.facts.ssh.items()}
    told = missing_limit_is_told(ground.facts.nova, confs)
    return checks.default_kept(meaning.word, implied_default(ground), meaning.why, told=told)


def effective(ground: Ground, project_id: str) -> int | None:
    """The limit that holds for a project now, None when it is not known."""
    own = ground.limits.of(project_id)
    if own is not None:
        return own.resource_limit
    if ground.default is not None:
        return ground.default
    return {"zero": 0, "unlimited": UNLIMITED}.get(ground.missing().word)


def rise_of(old: int | None, new: int | None, times: int = 1) -> checks.Raise:
    """By how much the sum of limits rises when so many of them go from ``old`` to ``new``."""
    if new == UNLIMITED:
        return checks.Raise(0, endless=old != UNLIMITED and times > 0)
    if old is None or new is None:
        return checks.Raise(None)
    if old == UNLIMITED:
        return checks.Raise(new * times, ended=times)
    return checks.Raise((new - old) * times)
