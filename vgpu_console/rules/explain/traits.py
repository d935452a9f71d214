"""Which of the traits that a flavor asks for no device has, and the commands that put a lost one back.

Nova sets no such trait itself; when it makes a provider anew, with another uuid, the operator's traits are gone.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.placement import RequestGroup
from vgpu_console.model.snapshot import PhysicalGpu, Provider, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.explain.chain import Chain, counted, few
from vgpu_console.rules.explain.offers import offering

_AT_MOST = 4


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one group's traits."""

    status: CheckStatus
    evidence: str
    mends: tuple[Mend, ...] = ()


def look_at_traits(chain: Chain, groups: Sequence[RequestGroup]) -> None:
    """A step for all groups together, the worst of them; none where no trait is asked for."""
    wanted = [g for g in groups if g.required or g.forbidden]
    if not wanted:
        return
    found = [_group(chain.ground.snapshot, group) for group in wanted]
    order: Sequence[CheckStatus] = ("fail", "unknown", "warn", "pass")
    worst = min(found, key=lambda one: order.index(one.status))
    chain.step("traits", worst.status, worst.evidence, "placement", mends=worst.mends)


def fitting(snapshot: Snapshot, group: RequestGroup, offers: Iterable[Provider]) -> list[Provider]:
    """Those with the group's traits; of the group without a number the root's traits count too, as in Placement."""
    traits = _traits_of(snapshot, group)
    need, banned = frozenset(group.required), frozenset(group.forbidden)
    return [p for p in offers if need <= (have := traits(p)) and not have & banned]


def _traits_of(snapshot: Snapshot, group: RequestGroup) -> Callable[[Provider], frozenset[str]]:
    """What a provider's traits are to a group."""
    roots = {} if group.suffix else {p.host: p.traits or () for p in snapshot.providers if p.parent_uuid is None}
    return lambda provider: frozenset((*(provider.traits or ()), *roots.get(provider.host, ())))


def _group(snapshot: Snapshot, group: RequestGroup) -> Traits:
    offers = offering(snapshot, group.resources)
    if not offers:
        return Traits(status="unknown", evidence=f"no device offers {', '.join(group.resources)} that could have them")
    if any(p.traits is None for p in offers):
        return Traits(status="unknown", evidence="the traits of the devices could not be read")
    traits = _traits_of(snapshot, group)
    lost = [t for t in group.required if not any(t in traits(p) for p in offers)]
    if lost:
        evidence = (
            f"none of {counted(len(offers), 'device')} with {', '.join(group.resources)} has {few(lost)}: Nova "
            "keeps no trait when it makes a provider anew"
        )
        return Traits(status="fail", evidence=evidence, mends=_mends(snapshot, offers, lost))
    banned = [t for t in group.forbidden if all(t in traits(p) for p in offers)]
    if banned:
        return Traits(status="fail", evidence=f"every device has {few(banned)}, which the flavor forbids")
    fit = fitting(snapshot, group, offers)
    asked = ", ".join([*group.required, *(f"not {t}" for t in group.forbidden)])
    if not fit:
        return Traits(status="fail", evidence=f"each trait is there, but no device has them together: {asked}")
    bare = _beside(offers, fit)
    if bare:
        where = few(sorted({f"{p.host} {p.gpu}" for p in bare}))
        return Traits(
            status="warn",
            evidence=f"{len(fit)} of {len(offers)} devices fit {asked}; {len(bare)} beside them do not: {where}",
            mends=_mends(snapshot, bare, list(group.required)),
        )
    return Traits(status="pass", evidence=f"{len(fit)} of {len(offers)} devices fit {asked}")


def _beside(offers: Sequence[Provider], fit: Sequence[Provider]) -> list[Provider]:
    """Devices without the traits on GPUs where others have them: those were made anew."""
    gpus = {(p.host, p.gpu) for p in fit if p.gpu}
    known = {p.uuid for p in fit}
    return [p for p in offers if p.uuid not in known and (p.host, p.gpu) in gpus]


def _mends(snapshot: Snapshot, offers: Sequence[Provider], traits: Sequence[str]) -> tuple[Mend, ...]:
    """A command for the devices whose type is called like the trait; where none is, only words.

    ``trait set`` replaces all traits of a provider, so those that are there are named again.
    """
    gpus = {(h.name, g.address): g for h in snapshot.hosts for g in h.gpus or ()}
    alike: dict[frozenset[str], list[str]] = defaultdict(list)
    for provider in offers:
        gpu = gpus.get((provider.host, provider.gpu or ""))
        if gpu is not None and any(_named_after(gpu, trait) for trait in traits):
            alike[frozenset(provider.traits or ()) | {*traits}].append(provider.uuid)
    words = f"put {few(traits)} back on the providers of the devices that are meant"
    if not alike:
        return (Mend(words=words),)
    out = []
    for wanted, uuids in list(alike.items())[:_AT_MOST]:
        options = " ".join(f"--trait {shlex.quote(t)}" for t in sorted(wanted))
        loop = f"for p in {' '.join(map(shlex.quote, uuids))}; do "
        out.append(Mend(words=words, command=f'{loop}openstack resource provider trait set {options} "$p"; done'))
    return tuple(out)


def _named_after(gpu: PhysicalGpu, trait: str) -> bool:
    """Whether a trait bears the name of the type that the GPU runs: CUSTOM_A100_20C of GRID A100-20C."""
    name = re.sub(r"[^A-Z0-9]+", "_", short_type_name(gpu.active_type_name or "").upper())
    return bool(name) and trait.endswith(name)
