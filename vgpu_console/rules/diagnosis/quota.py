"""What the audit of limits finds, as diagnoses: each with a row here, with why it matters and what each side says.

Of its ``info`` findings those that only say that something could not be seen are told as not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from vgpu_console.model.evidence import Evidence, host_says, keystone_says, nova_says, placement_says
from vgpu_console.model.snapshot import Finding, Host, ProjectQuota, Unlooked
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

_KEYSTONE: tuple[SourceKind, ...] = ("keystone",)
_MOST = 3
"""So many hosts say the same as evidence."""

_USE: tuple[SourceKind, ...] = ("keystone", "placement")

OVER_LIMIT = Diagnosis(
    id="project-over-limit",
    severity="warn",
    title="A project uses more than its limit",
    why="Nova refuses every new server of this project that asks for a vGPU, also while GPUs stand empty.",
    needs=_USE,
    action="quota.set",
)
LEAKED = Diagnosis(
    id="usage-leaked",
    severity="warn",
    title="An allocation is held by nobody that Nova knows",
    why="It counts against a project's limit and keeps a vGPU from being given to anyone, for ever: nothing gives it "
    "back by itself, and of custom classes not even nova-manage placement audit tells.",
    needs=("placement", "nova"),
)
NOT_ENFORCED = Diagnosis(
    id="unified-limits-off",
    severity="fail",
    title="Nova does not enforce unified limits",
    why="Whatever limit is set, a project can take every vGPU there is.",
    needs=("keystone", "ssh"),
)
NOT_FLAT = Diagnosis(
    id="limits-model-not-flat",
    severity="fail",
    title="Keystone's enforcement model is not flat",
    why="oslo.limit knows no other model: Nova refuses every request that it has to check.",
    needs=_KEYSTONE,
)
AMBIGUOUS = Diagnosis(
    id="compute-service-ambiguous",
    severity="warn",
    title="Several compute services in one region",
    why="oslo.limit then finds no endpoint unless nova.conf names one, and Nova cannot check any limit.",
    needs=_KEYSTONE,
)
NOVA_USER = Diagnosis(
    id="nova-user-cannot-read-limits",
    severity="warn",
    title="Nova's user may not read limits",
    why="Nova then refuses or allows by the defaults, whatever limit a project has of its own.",
    needs=_KEYSTONE,
)
WRONG_PLACE = Diagnosis(
    id="limit-in-wrong-place",
    severity="fail",
    title="A limit is registered where no Nova looks",
    why="For Nova it does not exist: requests are refused, or nothing is limited at all.",
    needs=_KEYSTONE,
    action="quota.default",
)
DUPLICATE = Diagnosis(
    id="limit-duplicate",
    severity="warn",
    title="A limit is registered twice",
    why="Who changes the one that Nova does not read believes to have changed something.",
    needs=_KEYSTONE,
)
NOT_REGISTERED = Diagnosis(
    id="limit-not-registered",
    severity="warn",
    title="A resource that servers ask for has no registered limit",
    why="Depending on the release it is then refused to everyone, or anyone may take all of it.",
    needs=("keystone", "nova"),
    action="quota.default",
)
OF_DOMAIN = Diagnosis(
    id="limit-of-domain",
    severity="warn",
    title="A domain has a limit of a resource of Nova's",
    why="Nova reads limits of projects only: this one limits nobody.",
    needs=_KEYSTONE,
)
OF_DEAD_PROJECT = Diagnosis(
    id="limit-of-dead-project",
    severity="warn",
    title="A project that is gone or disabled has a limit",
    why="Keystone changes no default while any project has a limit of its own: this one stands in the way.",
    needs=_KEYSTONE,
    action="quota.clear",
)
MINUS_ONE = Diagnosis(
    id="minus-one-refuses",
    severity="fail",
    title="A limit of -1 refuses instead of allowing",
    why="Before Nova 31 the number was compared as it is: every request is refused.",
    needs=("keystone", "nova"),
    action="quota.set",
)
ABOVE_CAPACITY = Diagnosis(
    id="limit-above-capacity",
    severity="warn",
    title="A limit promises more than all hosts can make",
    why="The project is told that it may have what the hosts can never give: its servers fail for want of a host.",
    needs=("keystone", "libvirt"),
    action="quota.set",
)

DIAGNOSES = (
    OVER_LIMIT,
    LEAKED,
    NOT_ENFORCED,
    NOT_FLAT,
    AMBIGUOUS,
    NOVA_USER,
    WRONG_PLACE,
    DUPLICATE,
    NOT_REGISTERED,
    OF_DOMAIN,
    OF_DEAD_PROJECT,
    MINUS_ONE,
    ABOVE_CAPACITY,
)
_BY_ID = {one.id: one for one in DIAGNOSES}


class _Unseen(NamedTuple):
    """What a finding of the audit that says "not known" means: which diagnoses lack it, and what would show it."""

    source: SourceKind
    ids: tuple[str, ...]
    access: str


_UNSEEN: dict[str, _Unseen] = {
    "unified-limits-unknown": _Unseen(
        "ssh", (NOT_ENFORCED.id,), "[ssh] enabled = true and an account that may read nova.conf where nova-api runs"
    ),
    "limits-model-unknown": _Unseen(
        "keystone", (NOT_FLAT.id,), "a credential that Keystone shows GET /v3/limits/model to"
    ),
    "limits-partly-visible": _Unseen(
        "keystone",
        (OVER_LIMIT.id, OF_DEAD_PROJECT.id, OF_DOMAIN.id, DUPLICATE.id, ABOVE_CAPACITY.id),
        "a credential with reader on the system (limits_cloud, or --limits-cloud)",
    ),
    "limits-place-unknown": _Unseen(
        "keystone", (WRONG_PLACE.id, DUPLICATE.id, AMBIGUOUS.id), "the region by name (--region)"
    ),
    "nova-user-unknown": _Unseen(
        "keystone", (NOVA_USER.id,), "a credential with reader on the system: it sees role assignments"
    ),
}


def _limits(ground: Ground) -> Iterator[Finding]:
    quotas = {(f"project {q.project}", q.resource): q for q in ground.snapshot.quotas}
    for finding in ground.snapshot.quota_findings:
        row = _BY_ID.get(finding.id)
        if row is not None and finding.severity != "info":
            yield msgspec.structs.replace(
                finding,
                why=finding.why or row.why,
                action=finding.action or (row.action if finding.key else ""),
                objects=finding.objects or (finding.object,),
                evidence=finding.evidence or _evidence(finding, quotas, ground.snapshot.hosts),
            )


def _evidence(
    finding: Finding, quotas: dict[tuple[str, str], ProjectQuota], hosts: Iterable[Host]
) -> tuple[Evidence, ...]:
    if finding.id == OVER_LIMIT.id:
        resource = next((r for (p, r) in quotas if p == finding.object and r in finding.message), "")
        quota = quotas.get((finding.object, resource))
        if quota is not None:
            limit = keystone_says(f"limit {quota.limit} of {quota.resource} ({quota.origin})")
            return limit, placement_says(f"{quota.used} of {quota.resource} in use")
    if finding.id == LEAKED.id:
        held, _, why = finding.message.partition(": ")
        return placement_says(f"{finding.object} {held}"), nova_says(why)
    if finding.id == NOT_ENFORCED.id:
        told = ((h.name, (h.nova_conf or {}).get("quota.driver")) for h in hosts)
        return tuple(host_says(name, f"nova.conf: [quota] driver = {driver}") for name, driver in told if driver)[
            :_MOST
        ]
    return (keystone_says(finding.message.partition("; ")[0]),)


def unseen(ground: Ground) -> Iterator[Unlooked]:
    """What the audit could not see with this credential."""
    for finding in ground.snapshot.quota_findings:
        hidden = _UNSEEN.get(finding.id)
        if hidden is not None:
            yield Unlooked(source=hidden.source, hosts=(), ids=hidden.ids, reason=finding.message, access=hidden.access)


CHAPTER = Chapter(DIAGNOSES, (_limits,))
