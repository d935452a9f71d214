"""What is wrong with a cloud's unified limits: each finding with why it matters and the command or key that mends it.

Unknown is no pass: where a credential cannot see something, an ``info`` finding says so and how to find out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import KeystoneFacts, RegisteredLimit
from vgpu_console.model.snapshot import Finding, MissingWord, Severity, Snapshot
from vgpu_console.rules.quota_leaks import leaks
from vgpu_console.rules.quota_meaning import enforcement, missing_limit_means, release_knows_strategy
from vgpu_console.rules.quota_place import PREFIX, compute_places, is_novas
from vgpu_console.rules.quota_requests import Request, requested_resources
from vgpu_console.rules.quota_scene import KEY, Scene, openstack, scene_of
from vgpu_console.rules.quota_setup import enforcement_findings, setup_findings

_ORDER: dict[Severity, int] = {"fail": 0, "warn": 1, "info": 2}
_HIGHEST = 2147483647  # of a limit (keystone: limit/schema.py)


def audit(facts: Facts, snapshot: Snapshot) -> tuple[Finding, ...]:
    """All findings about limits, the worst first, then by id and object. Of ``snapshot`` the quota parts are read."""
    confs = {host: ssh.nova_conf for host, ssh in facts.ssh.items()}
    found = [*leaks(facts), *_over(snapshot), *enforcement_findings(enforcement(confs))]
    scene = scene_of(facts)
    if scene is not None:
        found += [*setup_findings(scene), *_strays(scene), *_missing(scene, snapshot)]
        found += [*_dead(scene), *_minus_one(scene), *_above_capacity(scene, snapshot)]
    return tuple(sorted(found, key=lambda f: (_ORDER[f.severity], f.id, f.object)))


def concerns_the_cloud(finding: Finding) -> bool:
    """Whether a finding belongs among those of the whole fleet: not one project's, and not one that is only unknown."""
    return finding.severity != "info" and not finding.object.startswith(("project ", "consumer "))


def _over(snapshot: Snapshot) -> Iterator[Finding]:
    for quota in snapshot.quotas:
        if quota.limit is None or quota.limit < 0 or quota.used is None or quota.used <= quota.limit:
            continue
        verb = "counts" if quota.in_flight == 1 else "count"
        twice = f"; {quota.in_flight} of them {verb} twice while a migration runs" if quota.in_flight else ""
        gone = quota.used - quota.limit + 1
        command = openstack("limit", "set", "--resource-limit", str(quota.used), quota.limit_id or "")
        yield Finding(
            id="project-over-limit",
            severity="warn",
            object=f"project {quota.project}",
            message=f"uses {quota.used} of {quota.limit} {quota.resource}: Nova refuses any new server that asks for "
            f"it until {gone} {'is' if gone == 1 else 'are'} gone{twice}",
            command=command if quota.limit_id else "",
            key=KEY,
        )


def _strays(scene: Scene) -> Iterator[Finding]:
    """Registered limits of Nova's that no Nova finds; a limit of another region that has a Nova is that one's."""
    keystone, place = scene.keystone, scene.place
    if place.service_id is None or not place.regions:
        return
    live = compute_places(keystone)
    for limit in keystone.registered_limits or ():
        resource = limit.resource_name
        right = scene.registered.get(resource)
        if not is_novas(resource) or limit is right:
            continue
        if not place.holds(limit) and (limit.service_id, limit.region_id) in live:
            continue
        spot = f"service {limit.service_id}, {f'region {limit.region_id}' if limit.region_id else 'no region'}"
        if right is None and resource.startswith(PREFIX) | _is_compute(keystone, limit.service_id):
            yield Finding(
                id="limit-in-wrong-place",
                severity="fail",
                object=f"limit {resource}",
                message=f"registered for {spot}, where no Nova looks: for Nova it does not exist, "
                f"{_meaning_words(missing_limit_means(scene.facts.nova, scene.confs, resource).word)}. "
                f"Nova's endpoint gives service {place.service_id}, "
                f"{f'region {place.region}' if place.region else 'no region'}",
                command=scene.create(resource, limit.default_limit),
                key=KEY,
            )
        elif right is not None:
            yield Finding(
                id="limit-duplicate",
                severity="warn",
                object=f"limit {resource}",
                message=f"registered a second time, for {spot}, default {limit.default_limit}: Nova reads the one with "
                f"default {right.default_limit}, and a change of the other has no effect",
                command=_delete_registered(keystone, limit),
            )


def _is_compute(keystone: KeystoneFacts, service_id: str) -> bool:
    return any(s.id == service_id and s.type == "compute" for s in keystone.services or ())


def _delete_registered(keystone: KeystoneFacts, limit: RegisteredLimit) -> str:
    """Keystone deletes no registered limit that a project's own limit refers to: those go first."""
    place = (limit.service_id, limit.region_id, limit.resource_name)
    overrides = [
        one.id for one in keystone.project_limits or () if (one.service_id, one.region_id, one.resource_name) == place
    ]
    last = openstack("registered", "limit", "delete", limit.id)
    return f"{openstack('limit', 'delete', *overrides)} && {last}" if overrides else last


def _missing(scene: Scene, snapshot: Snapshot) -> Iterator[Finding]:
    """Resources that flavors or servers ask for and that Nova finds no registered limit of."""
    keystone = scene.keystone
    if keystone.registered_limits is None:
        return
    stray = {r.resource_name for r in keystone.registered_limits} if scene.place.service_id else set[str]()
    highest: dict[str, int] = defaultdict(int)
    held: dict[str, int] = defaultdict(int)
    for quota in snapshot.quotas:
        highest[quota.resource] = max(highest[quota.resource], quota.used or 0)
        held[quota.resource] += quota.used_by_instances or 0
    # what servers hold and no flavor names came by a PCI alias, a port or Cyborg: Nova counts those since 34 (2026.2)
    asked = {resource: Request((), 0, n) for resource, n in held.items() if n}
    asked |= requested_resources(scene.facts.nova)
    for resource, request in asked.items():
        if resource in scene.registered or (resource in stray and _told_elsewhere(scene, resource)):
            continue
        meaning = missing_limit_means(scene.facts.nova, scene.confs, resource)
        vgpu = resource == f"{PREFIX}VGPU" or resource.startswith(f"{PREFIX}CUSTOM_")
        severity: Severity = "warn" if vgpu and scene.enforcement.word != "off" else "info"
        yield Finding(
            id="limit-not-registered",
            severity="fail" if meaning.word == "zero" else severity,
            object=f"limit {resource}",
            message=f"{_askers(request)} and Keystone has no registered limit of it: {_meaning_words(meaning.word)} "
            f"({meaning.why}). The command sets the most that any project uses now",
            command=scene.create(resource, highest[resource] if vgpu else -1 if meaning.word != "zero" else 0),
            key=KEY if vgpu else "",
        )


def _told_elsewhere(scene: Scene, resource: str) -> bool:
    """Whether ``_strays`` says where the missing limit has gone."""
    live = compute_places(scene.keystone)
    return any(
        r.resource_name == resource and (r.service_id, r.region_id) not in live
        for r in scene.keystone.registered_limits or ()
    )


def _meaning_words(word: MissingWord) -> str:
    return {
        "unlimited": "any project may take as much as there is",
        "zero": "every request for it is refused",
        "unknown": "what that means on this release is not known",
    }[word]


def _askers(request: Request) -> str:
    if request.held:
        return f"servers hold {request.held} of it (by a PCI alias, a port or Cyborg: counted since Nova 34)"
    words = []
    if request.flavors:
        names = ", ".join(request.flavors[:3]) + (" …" if len(request.flavors) > 3 else "")
        words.append(f"{len(request.flavors)} flavors ({names})" if len(request.flavors) > 1 else f"flavor {names}")
    if request.servers:
        words.append(f"{request.servers} servers" if request.servers > 1 else "a server")
    several = len(words) > 1 or len(request.flavors) > 1 or request.servers > 1
    return f"{' and '.join(words)} {'ask' if several else 'asks'} for it"


def _dead(scene: Scene) -> Iterator[Finding]:
    """Limits of projects that are gone or disabled, and of domains, which Nova never reads."""
    keystone, identity = scene.keystone, scene.facts.identity
    sees_all = keystone.limits_scope == "system" or "admin" in {*identity.roles, *identity.limits_roles}
    projects = {p.id: p for p in keystone.projects or ()}
    for limit in keystone.project_limits or ():
        if not is_novas(limit.resource_name):
            continue
        command = openstack("limit", "delete", limit.id)
        if limit.project_id is None:
            yield Finding(
                id="limit-of-domain",
                severity="warn",
                object=f"domain {limit.domain_id}",
                message=f"has a limit of {limit.resource_limit} {limit.resource_name}; Nova reads "
                "limits of projects only",
                command=command,
            )
            continue
        project = projects.get(limit.project_id)
        gone = project is None and keystone.projects is not None and sees_all
        if gone or (project is not None and project.enabled is False):
            state = "is disabled" if project is not None else "does not exist any more"
            yield Finding(
                id="limit-of-dead-project",
                severity="warn",
                object=f"project {project.name if project else limit.project_id}",
                message=f"{state} and has a limit of {limit.resource_limit} {limit.resource_name}; such a limit keeps "
                "the default from being changed",
                command=command,
            )


def _minus_one(scene: Scene) -> Iterator[Finding]:
    """Before Nova 31 and oslo.limit 2.12 a limit of -1 was compared as the number it is."""
    if release_knows_strategy(scene.facts.nova) is not False:
        return
    names = {p.id: p.name for p in scene.keystone.projects or ()}
    spots: list[tuple[str, str, tuple[str, ...], str]] = [
        (f"limit {r.resource_name}", r.resource_name, ("registered", "limit", "set", "--default-limit"), r.id)
        for r in scene.registered.values()
        if r.default_limit < 0
    ]
    spots += [
        (f"project {names.get(p, p)}", resource, ("limit", "set", "--resource-limit"), limit.id)
        for (p, resource), limit in scene.own.items()
        if limit.resource_limit < 0
    ]
    for where, resource, words, limit_id in spots:
        if is_novas(resource):
            yield Finding(
                id="minus-one-refuses",
                severity="fail",
                object=where,
                message=f"-1 of {resource} does not mean unlimited on this release (older than Nova 31): every request "
                f"is refused, unless oslo.limit is 2.12 or newer. The highest number, {_HIGHEST}, does",
                command=openstack(*words, str(_HIGHEST), limit_id),
                key=KEY,
            )


def _above_capacity(scene: Scene, snapshot: Snapshot) -> Iterator[Finding]:
    """Limits that no project could ever use up."""
    capacity = {t.resource: t.capacity for t in snapshot.quota_totals if t.capacity is not None}
    users = Counter(q.resource for q in snapshot.quotas if q.origin == "default")
    for resource, limit in scene.registered.items():
        most = capacity.get(resource)
        if most is not None and limit.default_limit > most:
            yield Finding(
                id="limit-above-capacity",
                severity="warn",
                object=f"limit {resource}",
                message=f"the default of {limit.default_limit} is more than the {most} that all hosts can make; it "
                f"holds for {users[resource]} projects",
                command=openstack("registered", "limit", "set", "--default-limit", str(most), limit.id),
                key=KEY,
            )
    for quota in snapshot.quotas:
        most = capacity.get(quota.resource)
        if quota.origin == "project" and most is not None and quota.limit is not None and quota.limit > most:
            yield Finding(
                id="limit-above-capacity",
                severity="warn",
                object=f"project {quota.project}",
                message=f"the limit of {quota.limit} {quota.resource} is more than the {most} that all hosts can make",
                command=openstack("limit", "set", "--resource-limit", str(most), quota.limit_id or ""),
                key=KEY,
            )
