"""Could a project start some servers of a flavor now: what its quota says, and what each host says.

Quota follows Nova's own order of questions (nova: limit/placement.py, limit/utils.py). Capacity follows Placement's
free devices, held against what each GPU can really make: Placement offers a virtual function of a full GPU as well.
Aggregates, availability zones and the scheduler's other filters are not looked at.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

import msgspec

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.host_room import HostRoom, host_rooms
from vgpu_console.rules.quota_meaning import Confs, enforcement, missing_limit_means, release_knows_strategy
from vgpu_console.rules.quota_place import PREFIX, SERVERS, nova_place, project_limits_at, registered_at
from vgpu_console.rules.quota_requests import nova_resources

Verdict = Literal["yes", "no", "unknown"]

_KEY = re.compile(r"^(resources|trait)([a-zA-Z0-9_-]{0,64}):(.+)$")


class UnknownName(ValueError):
    """No flavor or project is meant by what was given, or several are; ``str()`` is one plain line."""


class FlavorRequest(msgspec.Struct, frozen=True):
    """What a flavor asks of Placement, by groups, and how its numbered groups may share a provider."""

    groups: tuple[RequestGroup, ...]
    policy: str | None  # group_policy


class QuotaLine(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of the request against its limit. ``limit`` None: none is registered, or it is not known."""

    resource: str
    wanted: int
    used: int | None
    limit: int | None
    verdict: Verdict
    why: str


class QuotaPart(msgspec.Struct, frozen=True, kw_only=True):
    """What the quota says."""

    verdict: Verdict
    lines: tuple[QuotaLine, ...]
    note: str  # whether Nova enforces limits at all, as far as that is known


class CapacityPart(msgspec.Struct, frozen=True, kw_only=True):
    """What the hosts say. ``room`` is how many such servers fit now; None when nothing is known."""

    verdict: Verdict
    room: int | None
    hosts: tuple[HostRoom, ...]
    note: str


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, with both parts."""

    verdict: Verdict
    why: str
    project_id: str
    project: str
    flavor_id: str
    flavor: str
    count: int
    quota: QuotaPart
    capacity: CapacityPart


def find_flavor(facts: Facts, name_or_id: str) -> Flavor:
    """The flavor of that id, else of that name. Raises UnknownName."""
    flavors = (facts.nova.flavors if facts.nova else None) or ()
    found = [f for f in flavors if f.id == name_or_id] or [f for f in flavors if f.name == name_or_id]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(
            f"{len(found)} flavors are called '{name_or_id}'; their ids: {', '.join(f.id for f in found)}"
        )
    if facts.nova is None or facts.nova.flavors is None:
        raise UnknownName("the flavors could not be read from Nova")
    near = difflib.get_close_matches(name_or_id, dict.fromkeys(f.name for f in flavors), n=3, cutoff=0.6)
    raise UnknownName(f"no flavor has the id or name '{name_or_id}'" + (f"; is it {', '.join(near)}?" if near else ""))


def request_of(flavor: Flavor) -> FlavorRequest:
    """The groups of ``resources…:`` and ``trait…:`` extra specs, with the flavor's own CPU, memory and disk."""
    resources: dict[str, dict[str, int]] = defaultdict(dict)
    required: dict[str, list[str]] = defaultdict(list)
    forbidden: dict[str, list[str]] = defaultdict(list)
    named: set[str] = set()
    for key, value in (flavor.extra_specs or {}).items():
        found = _KEY.match(key)
        if found is None:
            continue
        kind, suffix, name = found.groups()
        if kind == "trait" and value in ("required", "forbidden"):
            (required if value == "required" else forbidden)[suffix].append(name)
        elif kind == "resources" and value.strip().isdigit():
            named.add(PREFIX + name)
            if int(value):
                resources[suffix][name] = int(value)
    own = nova_resources(flavor.extra_specs, flavor.vcpus, flavor.ram_mib, flavor.disk_gib)
    for resource, amount in own.items():
        if resource != SERVERS and resource not in named:
            resources[""][resource.removeprefix(PREFIX)] = amount
    groups = tuple(
        RequestGroup(
            suffix=suffix,
            resources=resources[suffix],
            required=tuple(sorted(required[suffix])),
            forbidden=tuple(sorted(forbidden[suffix])),
        )
        for suffix in sorted(resources)
        if resources[suffix]
    )
    return FlavorRequest(groups, (flavor.extra_specs or {}).get("group_policy"))


def can_start(
    facts: Facts,
    snapshot: Snapshot,
    project_id: str,
    flavor: str,
    count: int,
    candidates: Candidates | None = None,
) -> WhatIf:
    """Whether ``count`` servers of a flavor (name or id) could start now, and if not, for which of two reasons.

    ``candidates``, Placement's own answer for one such server, adds CPU, memory and disk to what is looked at; where it
    failed there is no yes. Raises UnknownName, ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError("the number of servers must be at least 1")
    chosen = find_flavor(facts, flavor)
    quota = _quota(facts, snapshot, project_id, chosen, count)
    capacity = _capacity(facts, snapshot, chosen, count, candidates)
    parts = {"quota": quota.verdict, "capacity": capacity.verdict}
    refusing = [name for name, verdict in parts.items() if verdict == "no"]
    unknown = [name for name, verdict in parts.items() if verdict == "unknown"]
    verdict: Verdict = "no" if refusing else "unknown" if unknown else "yes"
    reasons = [line.why for line in quota.lines if line.verdict == quota.verdict] if quota.verdict != "yes" else []
    if quota.verdict != "yes" and not reasons:
        reasons.append(quota.note)
    if capacity.verdict != "yes":
        reasons.append(capacity.note)
    names = {q.project_id: q.project for q in snapshot.quotas}
    project = next((p.name for p in (facts.keystone and facts.keystone.projects) or () if p.id == project_id), "")
    return WhatIf(
        verdict=verdict,
        why=_summary(verdict, refusing or unknown, reasons, quota, capacity, count),
        project_id=project_id,
        project=project or names.get(project_id, project_id),
        flavor_id=chosen.id,
        flavor=chosen.name,
        count=count,
        quota=quota,
        capacity=capacity,
    )


def _summary(
    verdict: Verdict, parts: list[str], reasons: list[str], quota: QuotaPart, capacity: CapacityPart, count: int
) -> str:
    if verdict == "yes":
        return f"the quota allows it, and {capacity.note}" + ("" if quota.note == "" else f" ({quota.note})")
    lead = " and ".join(parts)
    said = "refuses it" if len(parts) == 1 else "refuse it"
    return f"{lead} {said if verdict == 'no' else 'not known'}: {'; '.join(dict.fromkeys(reasons))}"


# --- quota ------------------------------------------------------------------------------------------------------------


def _quota(facts: Facts, snapshot: Snapshot, project_id: str, flavor: Flavor, count: int) -> QuotaPart:
    confs: Confs = {host: ssh.nova_conf for host, ssh in facts.ssh.items()}
    enforced = enforcement(confs)
    if enforced.word == "off":
        return QuotaPart(verdict="yes", lines=(), note=f"Nova enforces no such limit: {enforced.why}")
    note = "" if enforced.word == "on" else f"whether Nova enforces unified limits is not known: {enforced.why}"
    model = facts.keystone.enforcement_model if facts.keystone else None
    cost = nova_resources(flavor.extra_specs, flavor.vcpus, flavor.ram_mib, flavor.disk_gib)
    lines = tuple(
        _line(facts, snapshot, project_id, resource, amount * count, confs) for resource, amount in sorted(cost.items())
    )
    if model not in (None, "flat"):
        return QuotaPart(
            verdict="no", lines=lines, note=f"Keystone's enforcement model is {model}: Nova cannot check any limit"
        )
    return QuotaPart(verdict=_worst(line.verdict for line in lines), lines=lines, note=note)


def _worst(verdicts: object) -> Verdict:
    found = set(verdicts)  # type: ignore[call-overload]
    return "no" if "no" in found else "unknown" if "unknown" in found else "yes"


def _line(facts: Facts, snapshot: Snapshot, project_id: str, resource: str, wanted: int, confs: Confs) -> QuotaLine:
    row = next((q for q in snapshot.quotas if q.project_id == project_id and q.resource == resource), None)
    keystone = facts.keystone
    place = nova_place(keystone, facts.identity.region)
    override = project_limits_at(keystone, place).get((project_id, resource))
    default = registered_at(keystone, place).get(resource)
    used = row.used if row is not None else _counted(facts, project_id, resource)
    limit = override.resource_limit if override else default.default_limit if default else None

    def line(verdict: Verdict, why: str) -> QuotaLine:
        return QuotaLine(resource=resource, wanted=wanted, used=used, limit=limit, verdict=verdict, why=why)

    if keystone is None or keystone.registered_limits is None:
        return line("unknown", f"{resource}: the limits could not be read")
    if limit is None:
        meaning = missing_limit_means(facts.nova, confs, resource)
        verdicts: Mapping[str, Verdict] = {"unlimited": "yes", "zero": "no", "unknown": "unknown"}
        return line(verdicts[meaning.word], f"{resource}: no limit is registered, which means {meaning.word}")
    if override is None and (keystone.project_limits is None or keystone.limits_complete is False):
        return line("unknown", f"{resource}: whether the project has a limit of its own is not visible")
    if limit < 0:
        if release_knows_strategy(facts.nova) is False:
            return line("no", f"{resource}: -1 refuses everything on a Nova older than 31 (oslo.limit before 2.12)")
        return line("yes", f"{resource}: unlimited")
    if used is None:
        return line("unknown", f"{resource}: what the project uses is not known")
    twice = f", {row.in_flight} of it counted twice while a migration runs" if row is not None and row.in_flight else ""
    whose = "own limit" if override else "default"
    words = f"{resource}: {used} used and {wanted} wanted of {limit} ({whose}{twice})"
    return line("yes" if used + wanted <= limit else "no", words)


def _counted(facts: Facts, project_id: str, resource: str) -> int | None:
    """Use of what is no vGPU, from Nova's list of servers: Placement is not asked for these."""
    nova = facts.nova
    if nova is None or nova.servers is None:
        return None
    mine = [s for s in nova.servers if s.project_id == project_id]
    if resource == SERVERS:
        return len(mine)
    disks = {f.name: f.disk_gib for f in nova.flavors or ()}  # a server in the list does not tell its disk
    total = 0
    for server in mine:
        if server.status == "SHELVED_OFFLOADED":
            continue
        disk = disks.get(server.flavor or "")
        if disk is None and resource == PREFIX + "DISK_GB":
            return None
        total += nova_resources(server.extra_specs, server.vcpus, server.ram_mib, disk).get(resource, 0)
    return total


# --- capacity ---------------------------------------------------------------------------------------------------------


def _capacity(
    facts: Facts, snapshot: Snapshot, flavor: Flavor, count: int, candidates: Candidates | None
) -> CapacityPart:
    request = request_of(flavor)
    numbered = [g for g in request.groups if g.suffix]
    if len(numbered) > 1 and request.policy not in ("none", "isolate"):
        return CapacityPart(
            verdict="no",
            room=0,
            hosts=(),
            note="the flavor has several numbered groups and no group_policy (none or isolate): Placement refuses that",
        )
    if facts.placement is None:
        return CapacityPart(verdict="unknown", room=None, hosts=(), note="Placement could not be read")
    hosts = host_rooms(snapshot, request.groups, request.policy, count, candidates)
    if not any(_asks_for_vgpus(g) for g in request.groups):
        note = "the flavor asks for no vGPU: its room is not worked out here"
        return CapacityPart(verdict="unknown", room=None, hosts=(), note=note)
    room = sum(h.room for h in hosts)
    doubtful = [h.host for h in hosts if not h.certain]
    sure = sum(h.room for h in hosts if h.certain)
    if room < count:
        why = f"there is room for {room} of {count}" + (f" on {len(hosts)} hosts" if len(hosts) > 1 else "")
        return CapacityPart(verdict="no", room=room, hosts=hosts, note=_with_first_reason(why, hosts))
    unknown = []
    if sure < count and doubtful:
        names = ", ".join(doubtful[:3])
        unknown.append(f"Placement has room for {room}, but what the GPUs of {names} can make is not known")
    if candidates is not None and candidates.error:
        but = "" if unknown else f"there are vGPUs for {room}, but "
        unknown.append(f"{but}whether CPU, memory and disk are free is not known: {candidates.error}")
    if unknown:
        return CapacityPart(verdict="unknown", room=room, hosts=hosts, note="; ".join(unknown))
    at_once = ""
    if count > sum(h.room > 0 for h in hosts):
        # nova: scheduler/manager.py _schedule claims a host's first allocation candidate only, for each of the servers
        at_once = (
            "; asked for in one request, Nova tries the same device of a host for each of them and may find no valid "
            "host: start them one by one"
        )
    return CapacityPart(verdict="yes", room=room, hosts=hosts, note=f"there is room for {room}{at_once}")


def _asks_for_vgpus(group: RequestGroup) -> bool:
    return any(c == "VGPU" or c.startswith("CUSTOM_") for c in group.resources)


def _with_first_reason(why: str, hosts: tuple[HostRoom, ...]) -> str:
    """With the reasons that occur, each once, when there are but few of them."""
    reasons = list(dict.fromkeys(f"{h.host}: {reason}" for h in hosts for reason in h.reasons))
    return f"{why} ({'; '.join(reasons)})" if 0 < len(reasons) <= 2 else why
