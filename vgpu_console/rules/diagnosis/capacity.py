"""What Placement offers of a host against what its GPUs can really carry, with the arithmetic of ``max_instances``.

The cap is for a type over the whole host. Nova walks the functions as libvirt lists them and reports none of those that
would exceed it (nova: virt/libvirt/driver.py, _get_gpu_inventories); that order is of a hash table, another one at
every start of libvirtd.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vgpu_console.model.evidence import Evidence, host_says, libvirt_says, nova_says, placement_says
from vgpu_console.model.snapshot import Finding, PhysicalGpu, Provider
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import HostCensus, allocated, census, consumers, hurt, objects
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

OVER_REPORTED = Diagnosis(
    id="capacity-over-reported",
    severity="warn",
    title="Placement offers more vGPUs than the GPU can carry",
    why="Servers beyond the real maximum are scheduled there and fail to boot: every virtual function counts as one "
    "until max_instances or device_addresses says otherwise.",
    needs=("placement", "libvirt"),
)
STRANDED = Diagnosis(
    id="capacity-stranded",
    severity="warn",
    title="max_instances leaves vGPUs unused",
    why="The cap is for all GPUs of the host together: what exceeds it is never offered to anyone, though the GPUs "
    "could carry it.",
    needs=("libvirt", "ssh"),
)
CAP_BELOW_USE = Diagnosis(
    id="cap-below-use",
    severity="fail",
    title="max_instances is lower than what is in use",
    why="nova-compute tries to delete providers that servers hold and Placement refuses, at every update. Deleting a "
    "server there then fails as well: its guest is gone, it stays in ERROR, and its allocation stays, so that the "
    "use never falls below the cap by itself.",
    needs=("placement", "ssh"),
)
CAP_ORDER = Diagnosis(
    id="cap-order-unstable",
    severity="info",
    title="libvirt's order decides which functions a cap keeps",
    why="The order changes at every start of libvirtd: functions in use may then lose their place to free ones, and "
    "nova-compute tries to delete their providers. device_addresses with as many functions of each GPU as fit on it "
    "needs no cap.",
    needs=("placement", "libvirt", "ssh"),
)

FAILED_SYNC = "Failed to synchronize the placement service"
"""Nova's fault of a server that could not be deleted because Placement refused something else of its host."""


class TypeHere(NamedTuple):
    """A type that Nova makes on some GPUs of a host, with the functions that it makes it on, by GPU."""

    type_id: str
    name: str
    gpus: tuple[tuple[PhysicalGpu, tuple[str, ...], int], ...]  # with the type's real maximum on each
    cap: int | None

    @property
    def real(self) -> int:
        """What the GPUs can carry on these functions."""
        return sum(_most(gpu, functions, most) for gpu, functions, most in self.gpus)

    @property
    def sum_words(self) -> str:
        """``2 GPUs × 2 = 4``."""
        each = [_most(gpu, functions, most) for gpu, functions, most in self.gpus]
        if len(set(each)) == 1:
            return f"{len(each)} GPU{'s' if len(each) > 1 else ''} × {each[0]} = {sum(each)}"
        return f"{' + '.join(map(str, each))} = {sum(each)}"


def _most(gpu: PhysicalGpu, functions: Sequence[str], most: int) -> int:
    return min(most, len(functions)) if gpu.sriov or gpu.functions else most


def types_here(one: HostCensus) -> list[TypeHere]:
    """The types of nova.conf on the host's GPUs; without those GPUs that can make none of it now, because their
    functions are off or they carry another size, and without types whose real maximum is not known everywhere."""
    host, types = one.host, one.types
    if host is None or host.gpus is None or types is None:
        return []
    found: dict[str, list[tuple[PhysicalGpu, tuple[str, ...], int]]] = defaultdict(list)
    names: dict[str, str] = {}
    unknown: set[str] = set()
    for gpu in host.gpus:
        if gpu.mechanism != "mdev":
            continue
        on: dict[str, list[str]] = defaultdict(list)
        for address in [f.address for f in gpu.functions] or ([] if gpu.sriov else [gpu.address]):
            on[types.of(address)].append(address)
        for type_id, addresses in on.items():
            kind = next((t for t in gpu.types if t.type_id == type_id), None)
            if not type_id or kind is None or (gpu.vgpus_created and gpu.active_type not in (None, type_id)):
                continue
            names[type_id] = short_type_name(kind.type_name) or type_id
            if kind.max is None:
                unknown.add(type_id)
            else:
                found[type_id].append((gpu, tuple(addresses), kind.max))
    return [
        TypeHere(type_id, names[type_id], tuple(gpus), types.caps.get(type_id))
        for type_id, gpus in found.items()
        if type_id not in unknown
    ]


# -- more than there is ------------------------------------------------------------------------------------------------


def _over_reported(ground: Ground) -> Iterator[Finding]:
    for name, one in census(ground).hosts.items():
        over = [
            (gpu, offered, gpu.vgpus_max)
            for address, offered in one.offered.items()
            if (gpu := one.gpus[address]).vgpus_max is not None and offered > gpu.vgpus_max
        ]
        if over:
            yield _too_many(ground, name, one, over)


def _hardware_says(ground: Ground, host: str, text: str) -> Evidence:
    """What a host's GPUs are: libvirt's word, or its own files' where libvirt is silent."""
    return libvirt_says(host, text) if ground.heard("libvirt", host) else host_says(host, text)


def _type_name(gpu: PhysicalGpu) -> str:
    return short_type_name(gpu.active_type_name or "") or gpu.active_type or "vGPUs"


def _too_many(ground: Ground, name: str, one: HostCensus, over: list[tuple[PhysicalGpu, int, int]]) -> Finding:
    gpu, offered, most = over[0]
    kind = _type_name(gpu)
    kinds = {_type_name(g) for g, _, _ in over}
    alike = len({(o, m) for _, o, m in over}) == 1 and len(kinds) == 1
    extra = sum(o - m for _, o, m in over)
    if len(over) == 1:
        where = gpu.address
        sums = f"Placement offers {offered} vGPUs, {kind} allows {most} on this GPU"
    elif alike:
        where = f"{len(over)} GPUs"
        sums = (
            f"Placement offers {len(over)} × {offered} = {len(over) * offered} {kind}, {len(over)} × {most} = "
            f"{len(over) * most} fit on these GPUs"
        )
    else:
        where = f"{len(over)} GPUs"
        sums = "; ".join(f"{g.address}: Placement offers {o}, {_type_name(g)} allows {m}" for g, o, m in over)
    caps = one.types.caps if one.types is not None else {}
    cap = caps.get(gpu.active_type or "")
    if one.types is None:
        conf = ""
    elif cap is None:
        conf = "; nova.conf has no max_instances for it"
    else:
        conf = f"; max_instances = {cap} is for the whole host, whichever functions libvirt lists first"
    evidence = [
        placement_says(f"inventories of the functions of {where}: {sum(o for _, o, _ in over)} in all"),
        _hardware_says(ground, name, f"{where}: {kind}, {most} of which fit on one" if alike else sums),
    ]
    if one.types is not None:
        evidence.append(host_says(name, f"nova.conf: max_instances of {gpu.active_type} {cap or 'not set'}"))
    first = f"gpu {name} {gpu.address}" if len(over) == 1 else f"host {name}"
    return OVER_REPORTED.found(
        first,
        f"{sums}: {extra} over-reported{conf}",
        *evidence,
        host=name,
        objects=tuple(dict.fromkeys((first, *(f"gpu {name} {g.address}" for g, _, _ in over)))),
        command=f"vgpu-console nova-conf {shlex.quote(name)}",
        key="N",
    )


# -- what the cap does -------------------------------------------------------------------------------------------------


def _caps(ground: Ground) -> Iterator[Finding]:
    for name, one in census(ground).hosts.items():
        if one.types is None or not one.types.caps or one.host is None or one.host.stale:
            continue
        for kind in types_here(one):
            if kind.cap is None:
                continue
            held = [p for p in one.held if _is_of(one, p, kind.type_id) and allocated(p, ground.unsettled)]
            used = sum(allocated(p, ground.unsettled) for p in held)
            if ground.heard("placement") and used > kind.cap:
                yield _below_use(ground, name, kind, held, used)
                continue
            stranded = kind.real - _best(kind, kind.cap)
            if stranded > 0:
                yield _stranded(ground, one, name, kind, stranded)
            elif used and ground.heard("placement"):
                yield from _by_order(ground, name, kind, held, used)


def _is_of(one: HostCensus, provider: Provider, type_id: str) -> bool:
    return provider.gpu is not None and one.types is not None and one.types.of(provider.device or "") == type_id


def _says_cap(name: str, kind: TypeHere) -> Evidence:
    return host_says(name, f"nova.conf: [mdev_{kind.type_id}] max_instances = {kind.cap}")


def _below_use(ground: Ground, name: str, kind: TypeHere, held: list[Provider], used: int) -> Finding:
    ids = consumers(held)
    stuck = [
        s
        for s in ground.servers.values()
        if s.status == "ERROR" and s.host == name and s.fault is not None and FAILED_SYNC in s.fault
    ]
    failed = "; ".join(f"{ground.server_words(s.id)} could not be deleted" for s in stuck[:3])
    return CAP_BELOW_USE.found(
        f"host {name}",
        f"max_instances = {kind.cap} of {kind.name}, and {used} are in use: once nova-compute runs with it, {used} - "
        f"{kind.cap} = {used - (kind.cap or 0)} providers cannot be deleted, and deleting a server there fails until "
        f"the cap is raised and nova-compute restarted{f'; {failed}' if failed else ''}{hurt(ground, ids)}",
        _says_cap(name, kind),
        placement_says(f"{used} in use on {len(held)} functions: {', '.join(p.device or '' for p in held[:4])}"),
        *(nova_says(f"server {s.name} is in ERROR: {s.fault}") for s in stuck[:3]),
        host=name,
        objects=objects(ground, f"host {name}", (*(s.id for s in stuck), *ids)),
        command=f"vgpu-console nova-conf {shlex.quote(name)}",
        key="N",
    )


def _best(kind: TypeHere, cap: int) -> int:
    """The most that can start under a cap in any order: a GPU without SR-IOV is kept or left out as a whole."""
    if all(gpu.sriov or gpu.functions for gpu, _, _ in kind.gpus):
        return min(cap, kind.real)
    sizes = sorted(_most(gpu, functions, most) for gpu, functions, most in kind.gpus)
    best = 0
    for order in (sizes, sizes[::-1]):
        total = 0
        for size in order:
            total += size if total + size <= cap else 0
        best = max(best, total)
    return best


def _stranded(ground: Ground, one: HostCensus, name: str, kind: TypeHere, stranded: int) -> Finding:
    whole = all(not (gpu.sriov or gpu.functions) for gpu, _, _ in kind.gpus)
    one_gpus = len(kind.gpus) > 1 and any(kind.cap == most for _, _, most in kind.gpus)
    hint = "; it is what one GPU carries, and counts for all of them together" if one_gpus else ""
    if whole:
        hint += "; a GPU that would exceed it is left out as a whole"
    offered = sum(one.offered.get(gpu.address, 0) for gpu, _, _ in kind.gpus)
    placed = (placement_says(f"{offered} offered on these GPUs"),) if ground.heard("placement") else ()
    return STRANDED.found(
        f"host {name}",
        f"max_instances = {kind.cap} of {kind.name} for the whole host, where {kind.sum_words} fit: {stranded} "
        f"{'is' if stranded == 1 else 'are'} never offered{hint}",
        _says_cap(name, kind),
        _hardware_says(ground, name, f"{kind.name}: {kind.sum_words} fit on {_addresses(kind)}"),
        *placed,
        host=name,
        objects=(f"host {name}", *(f"gpu {name} {gpu.address}" for gpu, _, _ in kind.gpus)),
        command=f"vgpu-console nova-conf {shlex.quote(name)}",
        key="N",
    )


def _addresses(kind: TypeHere) -> str:
    listed = [gpu.address for gpu, _, _ in kind.gpus]
    return ", ".join(listed[:4]) + (" …" if len(listed) > 4 else "")


def _by_order(ground: Ground, name: str, kind: TypeHere, held: list[Provider], used: int) -> Iterator[Finding]:
    """Where more functions could report than the cap keeps, the next order may leave out some that are in use."""
    reporting = 0
    for gpu, functions, most in kind.gpus:
        if not (gpu.sriov or gpu.functions) or gpu.vgpus_created is None:
            return
        taken = {f.address for f in gpu.functions if f.mdevs}
        made = sum(1 for address in functions if address in taken)
        reporting += made + (len(functions) - made if gpu.vgpus_created < most else 0)
    if kind.cap is None or reporting <= kind.cap:
        return
    ids = consumers(held)
    yield CAP_ORDER.found(
        f"host {name}",
        f"max_instances = {kind.cap} keeps {kind.cap} of the {reporting} functions that could report {kind.name}, "
        f"those that libvirt lists first; {used} are in use and may lose their place when libvirtd is started anew"
        f"{hurt(ground, ids)}",
        _says_cap(name, kind),
        libvirt_says(name, f"{reporting} functions carry or could make {kind.name}"),
        placement_says(f"{used} in use: {', '.join(p.device or '' for p in held[:4])}"),
        host=name,
        objects=objects(ground, f"host {name}", ids),
        command=f"vgpu-console nova-conf {shlex.quote(name)}",
        key="N",
    )


CHAPTER = Chapter((OVER_REPORTED, STRANDED, CAP_BELOW_USE, CAP_ORDER), (_over_reported, _caps))
