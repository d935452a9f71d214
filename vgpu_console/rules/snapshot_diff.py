"""What came, went, moved and changed between two snapshots of a fleet.

What one of them could not see is told as ``unknown`` or ``known``: a host that fell silent has not lost its devices,
and a Nova that did not answer has not deleted its servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from vgpu_console.model.snapshot import Finding, Host, Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.snapshot_things import ALL, NOT_SET, Things

Kind = Literal["came", "went", "moved", "changed", "known", "unknown"]
"""``known``: only the later one could see it; ``unknown``: only the earlier one could."""

KINDS: tuple[Kind, ...] = ("went", "came", "moved", "changed", "unknown", "known")
"""In the order in which they are told."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. ``before`` and ``after`` are values of ``field``, None where that is not known.

    An ``id`` of "*" stands for all things of the kind: a service that knows them answered on one side only, and
    ``before`` or ``after`` is how many the other side has.
    """

    kind: Kind
    what: str  # "host", "gpu", "type", "vgpu", "server", "quota", "migration", "provider", "finding", "source"
    id: str
    name: str
    field: str = ""
    before: Any = None
    after: Any = None
    host: str = ""


class _Eyes:
    """What a snapshot could see."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._services = {s.kind for s in snapshot.sources if s.fetched_at is not None and not s.host}
        self.hosts: Mapping[str, Host] = {h.name: h for h in snapshot.hosts}
        self._blind: dict[str, set[str]] = {}
        for one in snapshot.unlooked:
            for name in one.ids:
                self._blind.setdefault(name, set()).update(one.hosts or ("",))

    def service(self, kind: SourceKind) -> bool:
        """Whether that service has ever answered."""
        return kind in self._services

    def devices(self, host: str) -> bool:
        """Whether the devices of a host are known; those of a host that is not there are known not to be there."""
        found = self.hosts.get(host)
        return found.gpus is not None if found is not None else self.service("nova")

    def finding(self, finding: Finding) -> bool:
        """Whether what the finding tells could have been looked at."""
        blind = self._blind.get(finding.id, set())
        return not blind & {finding.host, ""}


def differences(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Every difference that matters to an operator: by kind of thing, then by host and name."""
    old, new = _Eyes(before), _Eyes(after)
    found: list[Change] = []
    for things in ALL:
        some = list(_compared(things, before, after, old, new))
        found += sorted(some, key=lambda c: (c.host, c.name, c.id))
    found += _sources(before, after, old, new)
    return tuple(found)


def unseen(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """The sources that have answered on neither side: nothing of theirs could be compared."""
    silent = {s.key for s in after.sources if s.fetched_at is None}
    return tuple(s.key for s in before.sources if s.fetched_at is None and s.key in silent)


def _compared(things: Things, before: Snapshot, after: Snapshot, old_eyes: _Eyes, new_eyes: _Eyes) -> Iterator[Change]:
    old = {things.id(t): t for t in things.of(before)}
    new = {things.id(t): t for t in things.of(after)}
    if things.service is not None:
        was, now = old_eyes.service(things.service), new_eyes.service(things.service)
        if not was or not now:
            yield from _all_of(things, len(old) if was else None, len(new) if now else None)
            return
    for key in old.keys() | new.keys():
        if key not in new:
            yield from _alone(things, old[key], "went", "unknown", new_eyes, old_eyes)
        elif key not in old:
            yield from _alone(things, new[key], "came", "known", old_eyes, new_eyes)
        else:
            yield from _changed(things, old[key], new[key])


def _all_of(things: Things, was: int | None, now: int | None) -> Iterator[Change]:
    if was or now:
        kind: Kind = "unknown" if now is None else "known"
        yield Change(kind=kind, what=things.what, id="*", name="all of them", field="number", before=was, after=now)


def _alone(things: Things, thing: Any, seen: Kind, unseen: Kind, other: _Eyes, own: _Eyes) -> Iterator[Change]:
    """A thing that only one side has. What a host brings or takes with it is told by the host's own line."""
    host = things.host(thing)
    if things.of_host and (host not in other.hosts) and host in own.hosts:
        return
    if things.devices and not other.devices(host):
        return  # the host's line says that its devices are not known
    sees = other.finding(thing) if isinstance(thing, Finding) else True
    yield _told(things, thing, seen if sees else unseen)


def _told(things: Things, thing: Any, kind: Kind, field: str = "", before: Any = None, after: Any = None) -> Change:
    return Change(
        kind=kind,
        what=things.what,
        id=things.id(thing),
        name=things.name(thing),
        field=field,
        before=before,
        after=after,
        host=things.host(thing),
    )


def _changed(things: Things, old: Any, new: Any) -> Iterator[Change]:
    was, now = things.fields(old), things.fields(new)
    for name, one in was.items():
        other = now[name]
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted(one.keys() | other.keys()):
                before, after = one.get(key, NOT_SET), other.get(key, NOT_SET)
                if before != after:
                    yield _told(things, new, "changed", f"{name} {key}", before, after)
        elif one is None:
            yield _told(things, new, "known", name, None, other)
        elif other is None:
            yield _told(things, new, "unknown", name, one, None)
        else:
            kind: Kind = "moved" if name in things.moves and things.moved(one, other) else "changed"
            yield _told(things, new, kind, name, one, other)


def _sources(before: Snapshot, after: Snapshot, old: _Eyes, new: _Eyes) -> Iterator[Change]:
    """Sources that answer on one side only; those of a host that came or went are told by its own line."""
    was, now = ({s.key: s for s in one.sources} for one in (before, after))
    for key in sorted(was.keys() | now.keys()):
        one, other = was.get(key), now.get(key)
        host = (one or other).host  # type: ignore[union-attr]
        if host and (host in old.hosts) != (host in new.hosts):
            continue
        words = ["not asked" if s is None else "answers" if s.error is None else s.error for s in (one, other)]
        if (one is None) != (other is None) or (one and other and (one.error is None) != (other.error is None)):
            yield Change(
                kind="changed",
                what="source",
                id=key,
                name=key,
                field="state",
                before=words[0],
                after=words[1],
                host=host,
            )
