"""Where guests with vGPUs really run, by the libvirts that answer: held against the host that Nova names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

from vgpu_console.model.host_facts import DomainFacts
from vgpu_console.model.migration_end import GuestLook, GuestState
from vgpu_console.rules.diagnosis.ground import Ground

AFTER_S = 5.0
"""Nova is asked about as often, in seconds: a libvirt that was read later than that is too new to be compared."""


class Sighting(NamedTuple):
    """A domain of a server on a host."""

    host: str
    domain: DomainFacts


_SEEN: WeakKeyDictionary[Ground, Mapping[str, tuple[Sighting, ...]]] = WeakKeyDictionary()


def sightings(ground: Ground) -> Mapping[str, tuple[Sighting, ...]]:
    """Server id -> the domains of it, on all hosts whose libvirt answers. Guests without vGPUs are not listed."""
    made = _SEEN.get(ground)
    if made is None:
        found: dict[str, list[Sighting]] = defaultdict(list)
        for host, facts in ground.facts.libvirt.items():
            if ground.heard("libvirt", host):
                for domain in facts.domains:
                    found[domain.uuid].append(Sighting(host, domain))
        made = _SEEN[ground] = {server: tuple(seen) for server, seen in found.items()}
    return made


def running_on(ground: Ground, server_id: str) -> set[str | None]:
    """The hosts on which its guest is alive."""
    return {s.host for s in sightings(ground).get(server_id, ()) if s.domain.active}


def newer_than_nova(ground: Ground, host: str) -> bool:
    """Whether that libvirt was read so much later than Nova that it may show what Nova's answer could not know of."""
    nova, libvirt = ground.statuses.get("nova"), ground.statuses.get(f"libvirt:{host}")
    if nova is None or libvirt is None or nova.fetched_at is None or libvirt.fetched_at is None:
        return False
    return libvirt.fetched_at - nova.fetched_at > max(AFTER_S, nova.interval_s)


def guest_looks(ground: Ground, server_id: str, hosts: Iterable[str | None]) -> dict[str, GuestLook]:
    """What the libvirts of these hosts say of a server's guest, for the story of its migration.

    A guest without a vGPU is not listed: that there is none is known only where it is seen to run on another host.
    """
    seen = {s.host: s.domain for s in sightings(ground).get(server_id, ())}
    elsewhere = any(domain.active for domain in seen.values())
    looks = {}
    for host in hosts:
        if not host:
            continue
        domain, state, why = seen.get(host), None, ""
        if domain is not None and domain.active is not None:
            state = "running" if domain.active else "shut off"
        elif not ground.heard("libvirt", host):
            why = "its libvirt does not answer"
        elif domain is None and elsewhere:
            state = "absent"
        looks[host] = GuestLook(host=host, state=cast("GuestState | None", state), why=why)
    return looks
