"""What a source that answers does not show to this credential or account, and what access would show it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vgpu_console.model.snapshot import Unlooked
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis import computes, hosts, live_migration, moves, pairs, reserved_devices
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import census
from vgpu_console.rules.diagnosis.table import Diagnosis

_OF_NOVA_CONF = frozenset(
    {
        "type-not-enabled",
        live_migration.POST_COPY.id,
        live_migration.LADDER.id,
        live_migration.TIMEOUT.id,
        "provider-undeletable",
        "capacity-stranded",
        "cap-below-use",
        "cap-order-unstable",
        "types-not-told-apart",
    }
)
"""Diagnoses that rest on nova.conf, whatever else SSH tells."""


def partly_seen(ground: Ground, diagnoses: Collection[Diagnosis]) -> Iterator[Unlooked]:
    """What was read only in part; ``diagnoses`` are all that there are."""
    yield from _other_projects(ground, diagnoses)
    yield from _lists(ground)
    yield from _flavors(ground, diagnoses)
    yield from _providers(ground, diagnoses)
    yield from _hosts(ground, diagnoses)


def _other_projects(ground: Ground, diagnoses: Collection[Diagnosis]) -> Iterator[Unlooked]:
    nova = ground.facts.nova
    if nova is not None and not nova.all_projects:
        yield Unlooked(
            source="nova",
            hosts=(),
            ids=_needing("nova", diagnoses),
            reason="this credential sees the servers of its own project only",
            access="a credential with the admin role in a project: Nova shows all projects' servers to no one else",
        )


def _lists(ground: Ground) -> Iterator[Unlooked]:
    """Lists of Nova's that a lesser role does not see."""
    nova = ground.facts.nova
    if nova is None:
        return
    of_moves = tuple(d.id for d in (*moves.CHAPTER.diagnoses, *reserved_devices.CHAPTER.diagnoses))
    of_services = tuple(d.id for d in (*hosts.CHAPTER.diagnoses, *computes.CHAPTER.diagnoses) if "nova" in d.needs)
    for what, rows, ids in (("migrations", nova.migrations, of_moves), ("services", nova.services, of_services)):
        if rows is None:
            yield Unlooked(
                source="nova",
                hosts=(),
                ids=ids,
                reason=f"Nova does not show its {what} to this credential",
                access="a credential with the admin role in a project",
            )


def _flavors(ground: Ground, diagnoses: Collection[Diagnosis]) -> Iterator[Unlooked]:
    nova = ground.facts.nova
    ids = tuple(d.id for d in diagnoses if d.id.startswith("flavor-"))
    if nova is not None and ids and nova.flavors and all(f.extra_specs is None for f in nova.flavors):
        yield Unlooked(
            source="nova",
            hosts=(),
            ids=ids,
            reason="Nova does not show the extra specs of flavors to this credential",
            access="a credential whom Nova's policy os_compute_api:os-flavor-extra-specs:index allows",
        )


def _providers(ground: Ground, diagnoses: Collection[Diagnosis]) -> Iterator[Unlooked]:
    if not census(ground).complete:
        yield Unlooked(
            source="placement",
            hosts=(),
            ids=_needing("placement", diagnoses),
            reason="what some providers offer could not be read",
            access="the next readings of Placement: each tries those again",
        )


def _hosts(ground: Ground, diagnoses: Collection[Diagnosis]) -> Iterator[Unlooked]:
    known = {d.id for d in diagnoses}
    with_gpus = {h.name for h in ground.snapshot.hosts if h.gpus}
    no_conf = [
        h
        for h, ssh in ground.facts.ssh.items()
        if h in with_gpus and ssh.nova_conf is None and ground.answers("ssh", h)
    ]
    if no_conf:
        yield Unlooked(
            source="ssh",
            hosts=tuple(no_conf),
            ids=tuple(d.id for d in diagnoses if d.id in _OF_NOVA_CONF),
            reason="nova.conf is not readable for the account on the host",
            access="an account that may read nova.conf: a member of the group nova, or one with sudo for it",
        )
    no_ecc = tuple(h for h in pairs.ecc_unread(ground) if ground.answers("ssh", h))
    if no_ecc:
        yield Unlooked(
            source="ssh",
            hosts=no_ecc,
            ids=(pairs.ECC.id,),
            reason="nvidia-smi told nothing of the GPUs",
            access="nvidia-smi on the host, for the account that reads it",
        )
    blind = tuple(h for h, facts in ground.facts.libvirt.items() if not facts.defined_visible and h in with_gpus)
    if blind and "mdev-not-active" in known:
        yield Unlooked(
            source="libvirt",
            hosts=blind,
            ids=("mdev-not-active",),
            reason="this libvirt cannot list devices that are defined and not active",
            access="libvirt 7.3 or newer on the host",
        )


def _needing(kind: SourceKind, diagnoses: Collection[Diagnosis]) -> tuple[str, ...]:
    return tuple(d.id for d in diagnoses if kind in d.needs)
