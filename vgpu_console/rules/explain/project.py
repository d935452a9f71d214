"""Why a project cannot start a server with a vGPU: its limits, what counts against them, what the hosts have left."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.keystone import Project
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import ProjectQuota
from vgpu_console.rules.aggregates import tenants
from vgpu_console.rules.explain.chain import Chain, Explanation, Place, counted, few, unread
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.quota_leaks import leaks
from vgpu_console.rules.quota_meaning import enforcement, missing_limit_means, release_knows_strategy
from vgpu_console.rules.quota_place import PREFIX
from vgpu_console.rules.quota_scene import openstack
from vgpu_console.rules.quota_usage import usage_split
from vgpu_console.rules.resource_classes import any_class, is_device_class, pci_aliases
from vgpu_console.rules.what_if import Verdict, WhatIf, can_start

HEADLINE: dict[CheckStatus, str] = {
    "pass": "can start a server with a vGPU",
    "warn": "can start a server with a vGPU, but",
    "fail": "cannot start a server with a vGPU",
    "unknown": "whether it can start a server with a vGPU is not known",
}
_STATUS: dict[Verdict, CheckStatus] = {"yes": "pass", "no": "fail", "unknown": "unknown"}


def vgpu_flavors(ground: Ground) -> list[Flavor]:
    """Flavors that ask Placement for a vGPU class: those that limits and capacity can be held against."""
    flavors = (ground.facts.nova.flavors if ground.facts.nova is not None else None) or ()
    return [f for f in flavors if any(n and is_device_class(c) for c, n in any_class(f.extra_specs).items())]


def explain_project(ground: Ground, project: Project, answers: Mapping[str, Candidates] | None = None) -> Explanation:
    """The chain of one project. ``answers`` are Placement's for one server of a flavor, by the flavor's id."""
    chain = Chain(ground)
    flavors = vgpu_flavors(ground)
    found = [can_start(ground.facts, ground.snapshot, project.id, f.id, 1, (answers or {}).get(f.id)) for f in flavors]
    if project.enabled is False:
        command = shlex.join(["openstack", "project", "set", "--enable", project.id])
        mends = [Mend(words="enable it", command=command)]
        chain.step("project", "fail", "the project is disabled: nobody gets a token for it", "keystone", mends=mends)
    if ground.facts.keystone is None:
        chain.step("limit", "unknown", f"its limits: {unread(ground, 'keystone')}", "keystone")
    else:
        _limits(chain, project, flavors, found)
    _flavors(chain, flavors, found)
    _tenants(chain, project)
    return chain.ended("project", project.id, project.name, HEADLINE)


# --- limits -----------------------------------------------------------------------------------------------------------


def _limits(chain: Chain, project: Project, flavors: Sequence[Flavor], found: Sequence[WhatIf]) -> None:
    ground = chain.ground
    confs = {host: ssh.nova_conf for host, ssh in ground.facts.ssh.items()}
    enforced = enforcement(confs)
    if enforced.word == "off":
        chain.step("enforcement", "pass", f"Nova enforces no limit of vGPUs: {enforced.why}", "ssh")
        return
    model = ground.facts.keystone.enforcement_model if ground.facts.keystone is not None else None
    if model not in (None, "flat"):
        words = f"Keystone's enforcement model is {model}: Nova can check no limit, and refuses everything"
        chain.step("enforcement", "fail", words, "keystone")
    asked = {PREFIX + c for f in flavors for c, n in any_class(f.extra_specs).items() if n and is_device_class(c)}
    rows = [q for q in ground.snapshot.quotas if q.project_id == project.id]
    mine = [q for q in rows if q.resource in asked or q.used or q.origin == "project"]
    for row in sorted(mine, key=lambda q: (q.resource != PREFIX + "VGPU", q.resource)):
        _limit(chain, row)
        _doubled(chain, row)
        _leaked(chain, row)
    if not mine:
        chain.step("limit", "unknown", "no limit of a vGPU class is known of this project", "keystone")
    _other_limits(chain, found, asked)
    if enforced.word == "unknown" and any(c.status in ("fail", "unknown") for c in chain.steps):
        words = f"whether Nova enforces these limits at all is not known: {enforced.why}"
        chain.step("enforcement", "unknown", words, "ssh")


def _limit(chain: Chain, row: ProjectQuota) -> None:
    """The limit of one class: what it says, where it comes from, what is left of it."""
    resource, limit = row.resource, row.limit
    raise_it = _raise(row, 1 if row.used is None else row.used + 1)
    if row.origin == "missing":
        _no_limit(chain, row)
    elif limit is None:
        words = f"{resource}: its limit is not visible to this credential (reader on the system sees all limits)"
        chain.step("limit", "unknown", words, "keystone")
    elif limit < 0:
        if release_knows_strategy(chain.ground.facts.nova) is False:
            words = f"{resource}: -1 refuses everything on a Nova older than 31 (oslo.limit before 2.12)"
            chain.step("limit", "fail", words, "keystone", mends=_raise(row, 2147483647))
        else:
            chain.step("limit", "pass", f"{resource}: unlimited (-1)", "keystone")
    elif row.used is None:
        chain.step("limit", "unknown", f"{resource}: what it uses is not known; its limit is {limit}", "placement")
    elif row.used >= limit:
        whose = "its own limit" if row.origin == "project" else "the default"
        words = f"{resource}: {whose} is {limit}" + (": none may be started" if not limit else f", {row.used} are used")
        chain.step("limit", "fail", words, "keystone", mends=raise_it)
    else:
        whose = "own limit" if row.origin == "project" else "default"
        words = f"{resource}: {row.used} of {limit} ({whose}) used, {limit - row.used} free"
        chain.step("limit", "pass", words, "keystone")


def _no_limit(chain: Chain, row: ProjectQuota) -> None:
    confs = {host: ssh.nova_conf for host, ssh in chain.ground.facts.ssh.items()}
    meaning = missing_limit_means(chain.ground.facts.nova, confs, row.resource)
    status: dict[str, CheckStatus] = {"unlimited": "pass", "zero": "fail", "unknown": "unknown"}
    words = f"{row.resource}: no limit is registered, which means {meaning.word} ({meaning.why})"
    more = [] if row.resource == PREFIX + "VGPU" else ["--resource", row.resource]
    mend = Mend(
        words="register a default",
        action="quota.default",
        command=shlex.join(["vgpu-console", "quota", "default", str(max(1, row.used or 0)), *more]),
    )
    chain.step("limit", status[meaning.word], words, "keystone", mends=[mend])


def _raise(row: ProjectQuota, value: int) -> list[Mend]:
    more = [] if row.resource == PREFIX + "VGPU" else ["--resource", row.resource]
    command = shlex.join(["vgpu-console", "quota", "set", row.project_id, str(value), *more])
    return [Mend(words=f"give the project a higher limit of {row.resource}", action="quota.set", command=command)]


def _doubled(chain: Chain, row: ProjectQuota) -> None:
    """What counts twice while something moves. Left out where nothing does."""
    if not row.in_flight:
        return
    full = row.limit is not None and 0 <= row.limit <= (row.used or 0)
    helps = full and row.limit is not None and (row.used or 0) - row.in_flight < row.limit
    words = f"{row.resource}: {row.in_flight} of {row.used} count twice while a migration or resize runs"
    if helps:
        chain.step("doubled", "warn", f"{words}: without that a server could start, so wait for its end", "placement")
    else:
        chain.step("doubled", "pass", words, "placement")


def _leaked(chain: Chain, row: ProjectQuota) -> None:
    """What nobody gives back. Left out where nothing is."""
    if row.leaked is None:
        words = f"{row.resource}: whether something of its use is leaked cannot be told while a resize runs"
        if row.used_by_instances is not None:
            chain.step("leaked", "unknown", words, "placement")
        return
    if not row.leaked:
        return
    ground = chain.ground
    split = usage_split(ground.facts.nova, ground.facts.placement)
    wanted = row.resource.removeprefix(PREFIX)
    mine = {x.consumer_id for x in split.leaks if x.project_id == row.project_id and wanted in x.resources}
    known = [f for f in leaks(ground.facts) if f.object.removeprefix("consumer ") in mine]
    words = f"{row.resource}: {row.leaked} of {row.used} are leaked, held by {few(sorted(mine))}"
    mends = [Mend(words=f.message, command=f.command) for f in known]
    chain.step("leaked", "warn", words, "placement", mends=mends)


def _other_limits(chain: Chain, found: Sequence[WhatIf], asked: set[str]) -> None:
    """CPU, memory, disk and the number of servers, where they refuse every flavor with a vGPU."""
    if not found:
        return
    refused = [[x for x in one.quota.lines if x.verdict == "no" and x.resource not in asked] for one in found]
    if all(refused):
        lines = list(dict.fromkeys(x.why for one in refused for x in one))
        resources = list(dict.fromkeys(x.resource for one in refused for x in one))
        mend = Mend(words=f"raise its limit of {few(resources)}", command=openstack("limit", "list"))
        chain.step("other-limits", "fail", few(lines), "keystone", mends=[mend])
    elif any(refused):
        names = [one.flavor for one, lines in zip(found, refused, strict=True) if lines]
        why = next(x.why for one in refused for x in one)
        chain.step("other-limits", "pass", f"refuse {few(names)} only: {why}", "keystone")


# --- what the hosts have ----------------------------------------------------------------------------------------------


def _flavors(chain: Chain, flavors: Sequence[Flavor], found: Sequence[WhatIf]) -> None:
    """Flavor by flavor whether it could start, and whether any of them finds room on a host."""
    ground = chain.ground
    if ground.facts.nova is None or ground.facts.nova.flavors is None:
        chain.step("capacity", "unknown", f"the flavors could not be read: {unread(ground, 'nova')}", "nova")
        return
    if not flavors:
        by_alias = [f.name for f in ground.facts.nova.flavors if pci_aliases(f.extra_specs)]
        if by_alias:
            words = f"only by PCI alias ({few(by_alias)}), which no limit counts: explain flavor {by_alias[0]}"
            chain.step("capacity", "unknown", words, "nova")
        else:
            chain.step("capacity", "fail", "no flavor that this console sees asks for a vGPU", "nova")
        return
    for one in found:
        room = one.capacity.room
        chain.places.append(Place(name=one.flavor, status=_STATUS[one.verdict], room=room, why=one.why))
    fits = [one for one in found if one.capacity.verdict == "yes"]
    if fits:
        words = f"hosts have room for {few(one.flavor for one in fits)}"
        chain.step("capacity", "pass", words, "placement")
    elif any(one.capacity.verdict == "unknown" for one in found):
        notes = list(dict.fromkeys(one.capacity.note for one in found if one.capacity.verdict == "unknown"))
        chain.step("capacity", "unknown", few(notes, 2), "placement")
    else:
        notes = list(dict.fromkeys(f"{one.flavor}: {one.capacity.note}" for one in found))
        command = shlex.join(["vgpu-console", "explain", "flavor", found[0].flavor])
        mend = Mend(words="see host by host why", command=command)
        chain.step("capacity", "fail", f"no host has room: {few(notes, 2)}", "placement", mends=[mend])


def _tenants(chain: Chain, project: Project) -> None:
    """Hosts that are kept for other projects, where that leaves none."""
    ground = chain.ground
    hosts = [h.name for h in ground.snapshot.hosts if h.gpus]
    if ground.aggregates is None or not hosts:
        return
    known = ground.aggregates

    def kept(host: str) -> bool:
        allowed = {t for a in known.get(host, []) for t in tenants(a)}
        return bool(allowed) and project.id not in allowed

    shut = [h for h in hosts if kept(h)]
    if len(shut) == len(hosts):
        words = f"all hosts with GPUs ({few(shut)}) are kept for other projects (filter_tenant_id of their aggregates)"
        command = shlex.join(["openstack", "aggregate", "list", "--long"])
        chain.step("aggregate", "fail", words, "nova", mends=[Mend(words="see the aggregates", command=command)])
    elif shut:
        words = f"{counted(len(shut), 'host')} with GPUs kept for other projects ({few(shut)})"
        chain.step("aggregate", "pass", words, "nova")
