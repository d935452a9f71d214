"""How many servers of a request each host could take now, and what stands in the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Host, Provider, Snapshot


class HostRoom(msgspec.Struct, frozen=True, kw_only=True):
    """What one host could take. ``room`` stops at the number that was asked for."""

    host: str
    room: int
    certain: bool  # False: what its GPUs can really make is not known, and ``room`` is Placement's word
    reasons: tuple[str, ...]  # why it is not more; empty where it takes all that was asked for


class _Want(msgspec.Struct, frozen=True):
    """One vGPU class that must come from one provider."""

    suffix: str
    resources: dict[str, int]
    required: tuple[str, ...]
    forbidden: tuple[str, ...]

    @property
    def words(self) -> str:
        return ", ".join(f"{n} {c}" for c, n in sorted(self.resources.items()))


def host_rooms(
    snapshot: Snapshot,
    groups: Sequence[RequestGroup],
    policy: str | None,
    count: int,
    candidates: Candidates | None = None,
) -> tuple[HostRoom, ...]:
    """Every host that has vGPU providers or GPUs, by name, with its room for at most ``count`` such servers."""
    providers: dict[str, list[Provider]] = defaultdict(list)
    roots: dict[str, Provider] = {}
    for provider in snapshot.providers:
        if provider.parent_uuid is None:
            roots[provider.host] = provider
        else:
            providers[provider.host].append(provider)
    wants = _wants(groups)
    out = []
    for host in snapshot.hosts:
        mine = providers.get(host.name, [])
        if not mine and not host.gpus:
            continue
        out.append(_room(host, mine, roots.get(host.name), wants, groups, policy, count, candidates))
    return tuple(out)


def _wants(groups: Iterable[RequestGroup]) -> list[_Want]:
    """A numbered group must come from one provider; of the other, each class may come from another one."""
    out: list[_Want] = []
    for group in groups:
        vgpus = {c: n for c, n in group.resources.items() if c == "VGPU" or c.startswith("CUSTOM_")}
        if not vgpus:
            continue
        parts = [vgpus] if group.suffix else [{c: n} for c, n in sorted(vgpus.items())]
        out += [_Want(group.suffix, part, group.required, group.forbidden) for part in parts]
    return out


def _room(
    host: Host,
    providers: list[Provider],
    root: Provider | None,
    wants: list[_Want],
    groups: Sequence[RequestGroup],
    policy: str | None,
    count: int,
    candidates: Candidates | None,
) -> HostRoom:
    def answer(room: int, certain: bool, *reasons: str) -> HostRoom:
        return HostRoom(host=host.name, room=room, certain=certain, reasons=reasons)

    if host.service_state == "down":
        return answer(0, True, "nova-compute is down")
    if host.service_status == "disabled":
        why = f": {host.disabled_reason}" if host.disabled_reason else ""
        return answer(0, True, f"nova-compute is disabled{why}")
    if not providers:
        return answer(0, True, "Placement offers no vGPU of it")
    bench = _Bench(host, providers, root)
    placed, why = 0, ""
    while placed < count:
        why = bench.place(wants, isolate=policy == "isolate")
        if why:
            break
        placed += 1
    reasons = [why] if why else []
    # of a list that was cut, absence says nothing
    if candidates is not None and not candidates.cut and not candidates.error:
        rest = _by_candidates(host, root, groups, candidates, count)
        if rest < placed:
            placed = rest
            reasons = [f"Placement has room for {rest} such servers by CPU, memory, disk and traits"]
    certain = placed == 0 or not bench.unsure
    if placed and bench.unsure:
        reasons.append("what its GPUs can really make is not known")
    return answer(placed, certain, *reasons)


class _Bench:
    """What is left of one host while servers are put on it, one after the other."""

    def __init__(self, host: Host, providers: list[Provider], root: Provider | None) -> None:
        self.root_traits = frozenset((root.traits if root is not None else None) or ())
        self.providers = providers
        self.free = {
            p.uuid: {
                i.resource_class: int((i.total - i.reserved) * i.allocation_ratio) - _held(p, i.resource_class)
                for i in p.inventories or ()
            }
            for p in providers
        }
        self.biggest: dict[str, int] = defaultdict(int)
        for p in providers:
            for i in p.inventories or ():
                self.biggest[i.resource_class] = max(self.biggest[i.resource_class], i.max_unit or i.total)
        gpus = {gpu.address: gpu for gpu in host.gpus or ()}
        self.left = {address: gpu.vgpus_free for address, gpu in gpus.items()}
        self.names = {a: f"{gpu.model or 'GPU'} {a}" for a, gpu in gpus.items()}
        self.asked = host.gpus is not None and not host.stale
        self.unsure = False

    def place(self, wants: list[_Want], *, isolate: bool) -> str:
        """Take what one server needs; "" when that was possible, else why not (nothing is taken then)."""
        taken: list[tuple[Provider, _Want]] = []
        for want in wants:
            provider, why = self._choose(want, {p.uuid for p, w in taken if isolate and w.suffix and want.suffix})
            if provider is None:
                for other, its in taken:
                    self._take(other, its, -1)
                return why
            self._take(provider, want, 1)
            taken.append((provider, want))
        return ""

    def _choose(self, want: _Want, avoid: set[str]) -> tuple[Provider | None, str]:
        offering = [p for p in self.providers if set(want.resources) <= self.free[p.uuid].keys()]
        if not offering:
            return None, f"no device offers {want.words}"
        if any(n > self.biggest[c] for c, n in want.resources.items()):
            c, n = next((c, n) for c, n in want.resources.items() if n > self.biggest[c])
            return None, (
                f"no single device gives {n} {c}: each gives {self.biggest[c]}; use numbered groups (resources1:{c}=1, "
                f"resources2:{c}=1) with a group_policy"
            )
        fitting = [p for p in offering if self._has_traits(p, want)]
        if not fitting:
            traits = ", ".join([*want.required, *(f"not {t}" for t in want.forbidden)])
            return None, f"no device with {want.words} has the traits {traits}"
        free = [
            p
            for p in fitting
            if p.uuid not in avoid and all(self.free[p.uuid][c] >= n for c, n in want.resources.items())
        ]
        if not free:
            return None, "the one device that fits is taken" if len(
                fitting
            ) == 1 else f"all {len(fitting)} devices that fit are taken"
        able = [p for p in free if self._makes(p, want)]
        if not able:
            gone = [p for p in free if self.asked and p.gpu is None and p.device]
            if len(gone) == len(free):
                return None, f"Placement offers {_devices(len(gone))} that the host does not have"
            full = sorted({self.names.get(p.gpu or "", p.gpu or "?") for p in free if p.gpu})
            return None, f"Placement still offers {_devices(len(free))}, but {', '.join(full[:3])} can make no more"
        # a GPU that is known goes first, so that doubt comes last
        return max(able, key=lambda p: (self.left.get(p.gpu or "") is not None, self.left.get(p.gpu or "") or 0)), ""

    def _has_traits(self, provider: Provider, want: _Want) -> bool:
        traits = frozenset(provider.traits or ())
        if not want.suffix:
            traits |= self.root_traits  # of the tree as a whole: the root gives CPU and memory
        return traits.issuperset(want.required) and not traits.intersection(want.forbidden)

    def _makes(self, provider: Provider, want: _Want) -> bool:
        if provider.gpu is None:
            return not (self.asked and provider.device)
        left = self.left.get(provider.gpu)
        return left is None or left >= sum(want.resources.values())

    def _take(self, provider: Provider, want: _Want, sign: int) -> None:
        for resource_class, amount in want.resources.items():
            self.free[provider.uuid][resource_class] -= sign * amount
        left = self.left.get(provider.gpu or "")
        if left is None:
            self.unsure = self.unsure or sign > 0
        else:
            self.left[provider.gpu or ""] = left - sign * sum(want.resources.values())


def _devices(number: int) -> str:
    return f"{number} device{'s' if number != 1 else ''}"


def _held(provider: Provider, resource_class: str) -> int:
    return sum(a.resources.get(resource_class, 0) for a in provider.allocations or ())


def _by_candidates(
    host: Host, root: Provider | None, groups: Sequence[RequestGroup], candidates: Candidates, count: int
) -> int:
    """How many Placement itself would take on this host: its candidates one by one, each as often as it fits."""
    if root is None:
        return 0
    free = {uuid: dict(left) for uuid, left in candidates.free.items() if candidates.roots.get(uuid) == root.uuid}
    room = 0
    for candidate in candidates.candidates:
        if not set(candidate.allocations) <= free.keys():
            continue
        while room < count and all(
            free[uuid].get(c, 0) >= n for uuid, wanted in candidate.allocations.items() for c, n in wanted.items()
        ):
            for uuid, wanted in candidate.allocations.items():
                for c, n in wanted.items():
                    free[uuid][c] -= n
            room += 1
    return room
